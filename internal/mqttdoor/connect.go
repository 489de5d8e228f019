package mqttdoor

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/mqtt"
)

// peer is what is known of a client before it says a word of MQTT.
type peer struct {
	source, local netip.AddrPort    // behind a PROXY header
	leaf          *x509.Certificate // that TLS has verified; nil for none
	presented     *x509.Certificate // that proves nobody; nil for none
	tls           *tls.ConnectionState
	web           bool // it speaks WebSocket
}

// exporter is what a client's proof may be bound to (RFC 9266); nil where TLS has no such thing.
func (p *peer) exporter() []byte {
	if p.tls == nil {
		return nil
	}
	data, err := p.tls.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil { // TLS 1.2 without extended master secret
		return nil
	}
	return data
}

var errNotConnect = &mqtt.Error{Code: mqtt.ProtocolError, Why: "the first packet is not CONNECT"}

// maxConnect bounds a CONNECT, in bytes.
const maxConnect = 64 << 10

// greet reads the CONNECT. What it returns points into the buffer, where the packet stays until it is done with.
func (s *Session) greet() (h mqtt.Head, c mqtt.Connect, err error) {
	buf := &s.in.buf
	for {
		b := buf.bytes()
		h, ok, err := mqtt.ReadHead(b)
		switch {
		case err != nil:
			return h, c, err
		case ok && h.Type != mqtt.CONNECT || len(b) > 0 && b[0]>>4 != byte(mqtt.CONNECT):
			return h, c, errNotConnect // MQTT-3.1.0-1
		case ok && h.Total() > maxConnect:
			return h, mqtt.Connect{Version: versionOf(b[h.Size:])}, errPacketTooLarge // M14: before anything is held
		case ok && len(b) >= h.Total():
			c, err := mqtt.ReadConnect(h, b)
			return h, c, err
		}
		if err := buf.fill(s.conn); err != nil {
			return h, c, err
		}
	}
}

// versionOf peeks at the version of a CONNECT that is not read further, so that it can be told why.
func versionOf(b []byte) mqtt.Version {
	if len(b) >= 7 && string(b[:6]) == "\x00\x04MQTT" && b[6] == byte(mqtt.V5) {
		return mqtt.V5
	}
	return mqtt.V311
}

// open reads the CONNECT, finds out who it is, and makes the session ready to
// run. If it fails the client has been told.
func (s *Session) open(ctx context.Context, p peer) bool {
	d := s.door
	s.conn.SetReadDeadline(time.Now().Add(d.limits.Connect))
	hurry := context.AfterFunc(d.stopping, func() { s.conn.SetReadDeadline(past) })
	defer hurry()
	h, c, err := s.greet()
	if err != nil {
		s.malformed(c.Version, err)
		return false
	}
	s.version = c.Version
	size := h.Total() // of the CONNECT, which stays in the buffer until it is done with
	if _, ok := c.Props.Text(mqtt.AuthenticationMethod); ok {
		packet := bytes.Clone(s.in.buf.bytes()[:size]) // others are read before that
		s.in.buf.done(size)
		size = 0
		c, _ = mqtt.ReadConnect(h, packet) // it was good a moment ago
	}
	code, said, err := s.accept(ctx, p, &c)
	if said {
		return false
	}
	if code != mqtt.Success {
		d.refuse(s, code, err)
		return false
	}
	first, err := s.rewrite(c)
	if err != nil {
		s.withdraw()
		d.refuse(s, codeOf(err), err)
		return false
	}
	s.in.buf.done(size)
	s.in.unreleased = d.shelf.use(s.key)
	s.in.access, s.out.access = s.access("publish"), s.access("deliver")
	s.in.evidence = gate.Evidence{Source: s.source.Addr(), Door: doorName}
	s.inject(first)
	s.conn.SetReadDeadline(time.Time{})
	if s.over() { // the gate may have cut it before the deadline was taken away
		s.conn.SetReadDeadline(past)
	}
	return true
}

func codeOf(err error) mqtt.Code {
	if m, ok := errors.AsType[*mqtt.Error](err); ok {
		return m.Code
	}
	return mqtt.ServerUnavailable
}

// malformed ends a connection that did not begin with a good CONNECT.
func (s *Session) malformed(v mqtt.Version, err error) {
	d := s.door
	m, ok := errors.AsType[*mqtt.Error](err)
	switch {
	case ok:
	case errors.Is(err, os.ErrDeadlineExceeded):
		d.count.late.Add(1)          // M13
		if d.stopping.Err() == nil { // otherwise it was not given all its time
			d.tell(s.source.Addr(), "a connection was refused", "no whole CONNECT came in time", nil)
		}
		s.conn.Close()
		return
	default: // it went away
		s.conn.Close()
		return
	}
	d.count.malformed.Add(1)
	d.failures.Note(s.source.Addr())
	d.tell(s.source.Addr(), "a connection was refused", m.Why, nil)
	if v == mqtt.V5 || v == mqtt.V311 && m.Code == mqtt.UnsupportedVersion {
		s.last(mqtt.AppendConnack(nil, v, &mqtt.Connack{Code: m.Code}), lastWord)
		return
	}
	s.last(nil, 0)
}

// accept decides whether the session may be: who it is, which client id it has, and what its will may do. If it may not, the
// code is what the client is to be told, unless it was told already.
func (s *Session) accept(ctx context.Context, p peer, c *mqtt.Connect) (code mqtt.Code, said bool, err error) {
	id, code, said, err := s.prove(ctx, p, c)
	if id == nil {
		return code, said, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.door.limits.Connect)
	defer cancel()
	return s.seat(ctx, id, c), false, nil
}

// prove finds out who the client is.
func (s *Session) prove(ctx context.Context, p peer, c *mqtt.Connect) (id *gate.Identity, code mqtt.Code, said bool, err error) {
	if _, ok := c.Props.Text(mqtt.AuthenticationMethod); ok {
		id, said, err = s.enhanced(ctx, &p, c)
		if err != nil {
			return nil, codeOf(err), said, nil
		}
		return id, mqtt.Success, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.door.limits.Exchange) // services may be asked, one after the other
	defer cancel()
	id, out := s.listener.authenticate(ctx, s.door.gate, &p, c)
	if out.Reason != credential.OK {
		return nil, refusalFor(out.Reason), false, nil
	}
	return id, mqtt.Success, false, nil
}

// seat gives who is known a client id and a watch, and takes the will.
func (s *Session) seat(ctx context.Context, id *gate.Identity, c *mqtt.Connect) mqtt.Code {
	code := s.name(ctx, id, c)
	if code != mqtt.Success {
		return code
	}
	if why := s.begin(ctx, id); why != credential.OK {
		s.door.owners.release(s)
		return refusals[why.Class()]
	}
	if why := s.takeWill(c); why != credential.OK {
		s.withdraw()
		return refusals[why.Class()]
	}
	return mqtt.Success
}

// withdraw undoes accept, as far as that came.
func (s *Session) withdraw() {
	s.unwatch()
	if u := s.in.unreleased; u != nil {
		s.in.unreleased = nil
		s.door.shelf.leave(s.key, u, s.stays)
	}
	s.door.owners.release(s)
}

// authenticate asks the chain about what the client shows, as far as the listener looks at it.
func (l *Listener) authenticate(ctx context.Context, g *gate.Gate, p *peer, c *mqtt.Connect) (*gate.Identity, gate.Outcome) {
	in := l.entrance(p, c)
	var name string
	if l.Tokens && !l.Demand {
		var ok bool
		if in.Token, name, ok = tokenOf(c); !ok {
			return nil, gate.Outcome{Reason: credential.AmbiguousEvidence}
		}
	}
	if l.Anonymous != "" && in.Certificate == nil && in.Presented == nil && !c.HasUser && !c.HasPassword {
		return g.Assume(ctx, l.Anonymous, &in.Evidence)
	}
	id, out := g.Enter(ctx, in)
	if out.Reason == credential.OK && name != "" && name != string(c.ClientID) && name != id.Principal {
		return nil, gate.Outcome{Reason: credential.AmbiguousEvidence}
	}
	return id, out
}

// tokenOf finds the token: in the user name with an empty password, or in the
// password. Then name is the user name, which must be the client id's or the principal's. It is
// false if both may be one.
func tokenOf(c *mqtt.Connect) (token, name string, ok bool) {
	if len(c.Password) == 0 {
		return string(c.User), "", true
	}
	if strings.HasPrefix(string(c.User), "cardea_") {
		return "", "", false
	}
	return string(c.Password), string(c.User), true
}

// maxClientID bounds a client id, in bytes.
const maxClientID = 256

// checkClientID says what is wrong with a client id. It is part of what a broker keeps, of log lines, and of topics by rules (M10).
func checkClientID(id string) bool {
	if len(id) > maxClientID || strings.Contains(id, "..") {
		return false
	}
	for _, c := range id {
		switch {
		case c < 0x20, c >= 0x7F && c < 0xA0, c == '\uFFFD':
			return false
		case c < 0x80 && strings.ContainsRune("/+#%<>\"\\`$", c):
			return false
		}
	}
	return true
}

// idBegins is what an assigned client id begins with: the principal's name and
// ":", or nothing if the client could not come back with such an id, because
// the name has what no id may have or a device bears it.
func (s *Session) idBegins(ctx context.Context, id *gate.Identity, own bool) (string, error) {
	begin := id.Principal + ":"
	if own {
		return begin, nil
	}
	if !checkClientID(begin + strings.Repeat("x", 16)) {
		return "", nil
	}
	bearer, _, _ := strings.Cut(begin, ":")
	taken, err := s.door.gate.Bears(ctx, id.Org, bearer)
	if taken {
		begin = ""
	}
	return begin, err
}

// name binds the client id: a device has its own name or that with ":" and
// anything behind; others have any that no device bears. An id that somebody
// else's session has is refused before that session is touched (M08, M09).
func (s *Session) name(ctx context.Context, id *gate.Identity, c *mqtt.Connect) mqtt.Code {
	s.org, s.clientID = id.Org, string(c.ClientID)
	own := id.PrincipalKind == credential.Device
	switch bearer, _, _ := strings.Cut(s.clientID, ":"); {
	case s.clientID == "" && c.Version < mqtt.V5 && !c.CleanStart:
		return mqtt.ClientIDNotValid // MQTT-3.1.3-8 of 3.1.1
	case s.clientID == "":
		begin, err := s.idBegins(ctx, id, own)
		if err != nil {
			return mqtt.ServerUnavailable
		}
		s.clientID, s.assigned = begin+strings.ToLower(rand.Text()[:16]), true
	case !checkClientID(s.clientID):
		return mqtt.NotAuthorized
	case own && bearer != id.Principal:
		return mqtt.NotAuthorized
	case !own:
		taken, err := s.door.gate.Bears(ctx, id.Org, bearer)
		if err != nil {
			return mqtt.ServerUnavailable
		}
		if taken {
			return mqtt.NotAuthorized
		}
	}
	s.key = id.Org + "/" + id.PrincipalID + "/" + s.clientID
	evicted, ok := s.door.owners.claim(s, id.PrincipalID, own)
	if !ok {
		return mqtt.NotAuthorized
	}
	for _, other := range evicted {
		other.cutBy(credential.Kicked)
	}
	return mqtt.Success
}

// rewrite returns the CONNECT as the broker is to see it: with the session's
// key as the client id, and without the client's secrets and its will.
func (s *Session) rewrite(c mqtt.Connect) ([]byte, error) {
	s.agreeKeepAlive(&c)
	n, _ := c.Props.Number(mqtt.TopicAliasMaximum)
	s.out.aliases.most.Store(n)
	c.ClientID = []byte(s.key)
	c.HasWill, c.Will = false, mqtt.Will{}
	c.HasUser, c.User, c.HasPassword, c.Password = false, nil, false, nil
	c.Props = c.Props.AppendWithout(nil, mqtt.AuthenticationMethod, mqtt.AuthenticationData)
	if err := s.door.upstream.Admit(&c, s); err != nil {
		return nil, err
	}
	s.clean, s.stays = c.CleanStart, !c.CleanStart
	if n, _ := c.Props.Number(mqtt.SessionExpiry); c.Version == mqtt.V5 {
		s.stays = n > 0
	}
	return mqtt.AppendConnect(nil, &c), nil
}

// agreeKeepAlive bounds the keep alive. A client of MQTT 5.0 is told (3.2.2.3.14), an earlier one keeps its own.
func (s *Session) agreeKeepAlive(c *mqtt.Connect) {
	most := uint16(s.door.limits.KeepAlive / time.Second)
	if c.Version == mqtt.V5 && (c.KeepAlive == 0 || c.KeepAlive > most) {
		c.KeepAlive, s.imposed = most, most
	}
	s.keepAlive.Store(uint32(c.KeepAlive))
}

// connack lets the broker's answer through, with what the door has to say in it.
func (o *outbound) connack(h mqtt.Head, b []byte) (verdict, error) {
	s := o.s
	c, err := mqtt.ReadConnack(s.version, h, b)
	if err != nil {
		return drop, err
	}
	if c.Code != mqtt.Success {
		s.door.tellBroker(c.Code)
		s.finish(ending{how: deserted, code: s.refusalOf(c.Code)})
		return drop, nil
	}
	if s.over() {
		return drop, nil // the gate was faster; the client will be told in its CONNACK
	}
	o.connected = true
	n, _ := c.Props.Number(mqtt.TopicAliasMaximum)
	s.in.aliases.most.Store(n)
	if s.version == mqtt.V5 {
		c.Props = s.connackProps(c.Props)
	}
	s.door.wills.resumed(s)
	if c.SessionPresent {
		s.meanwhile(s.resume)
	} else {
		s.in.unreleased.forget()
	}
	s.door.count.accepted.Add(1)
	o.scratch = mqtt.AppendConnack(o.scratch[:0], s.version, &c)
	return o.flow.swapFor(h.Total(), o.scratch), nil
}

// refusalOf is what a client is told when the broker refuses it: of the door's own business with the broker it is not told.
func (s *Session) refusalOf(c mqtt.Code) mqtt.Code {
	switch {
	case s.version == mqtt.V5 && (c == 1 || c == mqtt.UnsupportedVersion): // a broker of 3.1.1 alone
		return mqtt.UnsupportedVersion
	case s.version == mqtt.V5 && (c == mqtt.QuotaExceeded || c == mqtt.ServerBusy || c == mqtt.ConnectionRateExceeded):
		return c
	}
	return mqtt.ServerUnavailable
}

func (s *Session) connackProps(p mqtt.Properties) mqtt.Properties {
	most := uint32(s.door.limits.Packet)
	if n, ok := p.Number(mqtt.MaximumPacketSize); ok {
		most = min(most, n)
	}
	keepAlive := uint32(s.imposed)
	if n, ok := p.Number(mqtt.ServerKeepAlive); ok {
		keepAlive = n
		s.keepAlive.Store(n)
	}
	q := p.AppendWithout(nil, mqtt.MaximumPacketSize, mqtt.ServerKeepAlive, mqtt.AssignedClientID, mqtt.AuthenticationMethod, mqtt.AuthenticationData)
	q = q.AppendNumber(mqtt.MaximumPacketSize, most)
	if keepAlive > 0 {
		q = q.AppendNumber(mqtt.ServerKeepAlive, keepAlive)
	}
	if s.assigned {
		q = q.AppendText(mqtt.AssignedClientID, s.clientID)
	}
	if s.method != "" { // MQTT-4.12.0-5
		q = q.AppendText(mqtt.AuthenticationMethod, s.method)
		if s.proof != nil {
			q = q.AppendText(mqtt.AuthenticationData, string(s.proof))
		}
	}
	return q
}

// resume looks at what a session that was there before is subscribed to: rights may have changed in the meantime (M07).
func (s *Session) resume() {
	if filters := s.door.upstream.Subscriptions(s); len(filters) > 0 {
		s.subs.bring(slices.Clone(filters))
		s.reassess()
	}
}

// last says a last word, gives the client time to read it, and closes.
func (s *Session) last(p []byte, patience time.Duration) {
	if !s.w.last(p, lastWord) {
		sever(s.conn)
		return
	}
	s.hangUp(patience)
}

// hangUp closes. If there is patience the client may read first what was said, which unread bytes would make the kernel take back.
func (s *Session) hangUp(patience time.Duration) {
	// The farewell of TLS has a patience of its own, which is longer.
	defer time.AfterFunc(2*lastWord+patience, func() { sever(s.conn) }).Stop()
	type halfCloser interface{ CloseWrite() error }
	if c, ok := s.conn.(halfCloser); ok && patience > 0 && c.CloseWrite() == nil {
		s.conn.SetReadDeadline(time.Now().Add(patience))
		_, _ = io.CopyN(io.Discard, s.conn, maxUnread)
	}
	s.conn.Close()
}

const (
	lastWord  = 100 * time.Millisecond // for a last word to be written, and to be read by whom the gate has cut
	hearsay   = time.Second            // to be read by others, who may be busy with what came before it
	maxUnread = 1 << 20                // bytes that a client may send meanwhile
)

// takeWill asks whether the will may be published, and keeps it: it is the door that publishes it, after it has asked again (M04).
func (s *Session) takeWill(c *mqtt.Connect) credential.Reason {
	if !c.HasWill {
		return credential.OK
	}
	w := newWill(c)
	if levels(w.message.Topic) > s.door.limits.Levels {
		return credential.NoRule
	}
	why := s.mayWill(w)
	if why == credential.OK {
		s.will = w
	}
	return why
}
