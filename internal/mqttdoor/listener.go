package mqttdoor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"cardea/internal/credential"
	"cardea/internal/intake"
	"cardea/internal/mqtt"
	"cardea/internal/policy"
)

// Listener says what clients of a listener may show, and what beyond the rules of who they are binds them.
type Listener struct {
	Name string
	// TLS makes it speak TLS; nil is plain TCP. See [Door.TLS].
	TLS *tls.Config
	// Chain is the listener whose authenticators are asked; "" is this one. They decide, within what follows.
	Chain string
	// Tokens, Certificates and Scram are the proofs of Cardea's own credentials that are looked at here, and Scram holds for REST services too. Tokens are
	// those of other issuers as well; they come as password, as user name, or by the method OAUTH2-JWT.
	// A client that shows a token and a certificate must be the same principal by both.
	Tokens, Certificates, Scram bool
	// Demand says that TLS demands a certificate, and that it alone decides: tokens, user name and password are ignored. A
	// client that speaks SCRAM as well must be the same principal by it.
	Demand bool
	// Anonymous is the id of a credential that clients are taken for who show no proof at all; "" for none.
	Anonymous string
	// Rules must allow what a client does, beside its own; nil for no further ones.
	Rules *policy.Set
	// Proxies are the peers that speak for others by a PROXY header of version 2. If there are any, nobody else may connect.
	Proxies []netip.Prefix
	// RefusedFilter is the code for a filter that the rules do not allow; 0 is NotAuthorized. 3.1.1 has only one.
	RefusedFilter mqtt.Code
	// RefusedFilters are refused when a client subscribes to one of them by this very name, whatever the rules say of
	// what it would bring: conformance suites ask for such a one.
	RefusedFilters []string
	// Origins are those of web pages that may connect by WebSocket beside the listener's own, as in https://app.example.com.
	Origins []string
}

func (l *Listener) chain() string {
	if l.Chain != "" {
		return l.Chain
	}
	return l.Name
}

// kind is how expressions call the way on which a client has come.
func (l *Listener) kind(p *peer) string {
	switch {
	case p.web && p.tls != nil:
		return "wss"
	case p.web:
		return "ws"
	case p.tls != nil:
		return "ssl"
	}
	return "tcp"
}

func (l *Listener) refusedFilter() mqtt.Code {
	if l.RefusedFilter != 0 {
		return l.RefusedFilter
	}
	return mqtt.NotAuthorized
}

// TLS returns a configuration whose handshakes ask the gate about client
// certificates, resumed sessions included: VerifyConnection runs then, VerifyPeerCertificate does not (X08).
func (d *Door) TLS(c *tls.Config, demand bool) *tls.Config {
	c = c.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.NextProtos = []string{"mqtt"}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	if demand {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		leaf := verifiedLeaf(&cs)
		if leaf == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(d.ctx, d.limits.Connect)
		defer cancel()
		if d.gate.CheckCertificate(ctx, leaf) != credential.OK {
			return errors.New("the client certificate is not accepted")
		}
		return nil
	}
	return c
}

func verifiedLeaf(cs *tls.ConnectionState) *x509.Certificate {
	if len(cs.VerifiedChains) == 0 || len(cs.VerifiedChains[0]) == 0 {
		return nil
	}
	return cs.VerifiedChains[0][0]
}

// Serve accepts connections of ln until that is closed, and then returns nil; or until ctx ends, and then returns its error.
func (d *Door) Serve(ctx context.Context, ln net.Listener, l *Listener) error {
	err := intake.Loop(ctx, ln, d.log, func(c net.Conn) { d.take(c, l) })
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("MQTT listener %s on %s: %w", l.Name, ln.Addr(), err)
}

// take seats a connection, or closes it at once.
func (d *Door) take(c net.Conn, l *Listener) {
	addr := intake.AddrOf(c.RemoteAddr())
	proxy := l.speaksFor(addr)
	if len(l.Proxies) > 0 && !proxy || !proxy && d.failures.Blocked(addr) || !d.seats.Take(addr, proxy) {
		d.count.turnedAway.Add(1)
		c.Close()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ending {
		d.seats.Leave(addr)
		c.Close()
		return
	}
	d.running.Go(func() {
		s := d.shake(c, l, proxy)
		if s == nil {
			d.seats.Leave(addr)
			return
		}
		d.running.Go(func() { // anew: the stack of this goroutine has grown, and a session may last for months
			defer d.seats.Leave(addr)
			s.serve()
		})
	})
}

func (l *Listener) speaksFor(addr netip.Addr) bool {
	for _, p := range l.Proxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// shake makes a session of a connection; nil if nothing comes of it.
func (d *Door) shake(c net.Conn, l *Listener, proxy bool) *Session {
	p := peer{source: addrPort(c.RemoteAddr()), local: addrPort(c.LocalAddr())}
	ready, ok := d.prepare(c, l, proxy, &p)
	if !ok {
		c.Close()
		return nil
	}
	return d.greet(ready, l, p)
}

// prepare reads a PROXY header and speaks TLS, where that is due.
func (d *Door) prepare(c net.Conn, l *Listener, proxy bool, p *peer) (net.Conn, bool) {
	c.SetDeadline(time.Now().Add(d.limits.Connect)) // M13
	defer context.AfterFunc(d.stopping, func() { c.SetDeadline(past) })()
	defer c.SetDeadline(time.Time{})
	if proxy {
		src, dst, err := intake.ReadProxy(c)
		if err != nil {
			d.tell(p.source.Addr(), "a connection was refused", "no good PROXY header", nil)
			return nil, false
		}
		if src.IsValid() {
			p.source, p.local = src, dst
		}
		if d.failures.Blocked(p.source.Addr()) {
			d.count.turnedAway.Add(1)
			return nil, false
		}
	}
	if l.TLS == nil {
		return c, true
	}
	t := tls.Server(c, l.TLS)
	if err := t.HandshakeContext(d.ctx); err != nil {
		d.count.handshakes.Add(1)
		d.failures.Note(p.source.Addr())
		d.tell(p.source.Addr(), "a connection was refused", "the TLS handshake failed", nil)
		d.log.Debug("TLS handshake failed", "listener", l.Name, "source", p.source.Addr().String(), "error", err)
		return nil, false
	}
	state := t.ConnectionState()
	p.leaf, p.tls = verifiedLeaf(&state), &state
	return t, true
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
	}
	return netip.AddrPort{}
}

// greet reads the CONNECT and returns the session that it begins; nil if it begins none, and the client was told.
func (d *Door) greet(c net.Conn, l *Listener, p peer) (s *Session) {
	if t, ok := c.(*net.TCPConn); ok {
		c = &end{conn: t}
	}
	s = &Session{door: d, listener: l, conn: c, source: p.source, local: p.local}
	s.w.conn = c
	s.in.init(s)
	s.out.init(s)
	defer func() {
		if v := recover(); v != nil { // M22
			s.faulty(v)
			s = nil
		}
	}()
	if !s.open(d.ctx, p) {
		s.in.buf.giveBack()
		return nil
	}
	s.lastActive.Store(d.now())
	if !d.enter(s) {
		s.finish(ending{how: cut, reason: credential.Draining, code: mqtt.ServerShuttingDown})
	}
	return s
}

// serve is a session from its CONNECT to its end.
func (s *Session) serve() {
	defer s.in.buf.giveBack()
	defer func() {
		if v := recover(); v != nil { // M22: of concluding; Next and Write have their own
			s.faulty(v)
		}
	}()
	s.conclude(s.door.run(s))
}

// faulty ends a session that a fault of the door has left half done.
func (s *Session) faulty(v any) {
	s.door.log.Error("an MQTT connection was ended by a fault of the door", "source", s.source.Addr().String(), "panic", v)
	s.abandon()
}

// run hands the session to the broker. A fault of the broker's ends this session alone.
func (d *Door) run(s *Session) (err error) {
	defer func() {
		if v := recover(); v != nil {
			d.log.Error("an MQTT session was ended by a fault of the broker", "session", s.about(), "panic", v)
			err = errors.New("a fault of the broker")
		}
	}()
	return d.upstream.Run(d.ctx, s)
}

// conclude says what there is to say, closes, and does what is due after.
func (s *Session) conclude(err error) {
	d := s.door
	s.finish(ending{how: deserted, code: mqtt.ServerUnavailable, err: err})
	e := s.end.Load()
	if e.how == deserted && !e.said && d.owners.others(s) != nil {
		e = &ending{how: deserted, code: mqtt.SessionTakenOver} // MQTT-3.1.4-3, though not every broker says so
	}
	if s.spoiled.Load() {
		s.forget() // before the client is told, and may come back for it
	}
	defer s.hangUp(s.farewell(e)) // who waits for the client id need not wait for that
	s.forsake()
	d.leave(s)
	s.withdraw()
	if s.out.isConnected() { // otherwise it never was the will of a session (MQTT-3.1.2-8)
		d.wills.settle(s, e)
	}
	d.count.add(s)
	switch {
	case e.how == violated && e.err != nil:
		d.count.violated.Add(1)
		d.tell(s.source.Addr(), "an MQTT session was ended", e.err.Error(), s)
	case e.how == deserted && e.err != nil && d.ctx.Err() == nil:
		d.tell(netip.Addr{}, "an MQTT session lost its broker", e.err.Error(), s)
	}
}

// abandon ends what a fault of the door has left half done.
func (s *Session) abandon() {
	s.finish(ending{how: lost})
	s.w.kill(errDead)
	sever(s.conn)
	s.door.leave(s)
	s.withdraw()
}

// forget makes the broker forget a session that holds a message which must not be published.
func (s *Session) forget() {
	ctx, cancel := context.WithTimeout(s.door.ctx, willPatience)
	defer cancel()
	if err := s.door.upstream.Forget(ctx, s); err != nil {
		s.door.log.Error("a message at QoS 2 that is not allowed any more may be published by the broker when its client comes back", "session", s.about(), "error", err)
	}
}

// farewell tells the client why, as far as its version has words for it. What it returns is how long the client
// may take to read them.
func (s *Session) farewell(e *ending) (patience time.Duration) {
	connected := s.out.isConnected()
	patience = hearsay
	if e.how == cut && !e.failed {
		patience = lastWord
	}
	var word []byte
	switch {
	case e.how == lost || e.how == violated && errors.Is(e.err, errTooSlow):
		s.w.kill(errDead)
		sever(s.conn)
		return 0
	case e.said:
	case e.how == left || e.how == leftUnwell:
		patience = 0
	case !connected:
		code := e.code
		if !code.Failed() {
			code = mqtt.ServerUnavailable
		}
		word, patience = mqtt.AppendConnack(nil, s.version, &mqtt.Connack{Code: code}), lastWord
	case s.version == mqtt.V5 && e.code.Failed():
		word = mqtt.AppendDisconnect(nil, s.version, e.code, nil)
	default:
		patience = 0
	}
	if !s.w.last(word, lastWord) {
		sever(s.conn)
		return 0
	}
	return patience
}
