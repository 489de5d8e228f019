package mqttdoor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/mqtt"
	"cardea/internal/policy"
)

// Session is a client's connection from the moment at which its CONNECT was
// accepted. To the broker behind the door it is the client's side of the
// connection: Read and Next give what the client sends, as far as it may, and
// Write takes what the broker sends, and delivers it, as far as that may be.
type Session struct {
	door     *Door
	listener *Listener
	conn     net.Conn
	version  mqtt.Version
	clientID string // as the client calls it
	key      string // as the broker does: nobody else's session has the same
	org      string
	source   netip.AddrPort
	local    netip.AddrPort

	id        atomic.Pointer[gate.Identity]
	watching  sync.Mutex
	watch     *gate.Watched
	proofs    int // after the first; each has a watch of its own
	unwatched bool
	end       atomic.Pointer[ending]
	wake      atomic.Pointer[func()] // interrupts what the broker's side waits for

	w         writer
	keepAlive atomic.Uint32 // that was agreed, in seconds; 0 for none
	assigned  bool          // the client id is of the door's making
	clean     bool          // the client wanted a new session
	stays     bool          // the session outlives the connection
	imposed   uint16        // keep alive in seconds that the CONNACK is to say; 0 for none
	will      *will
	resumed   bool // its CONNACK has passed; under the lock of the wills

	in   inbound
	out  outbound
	subs subscriptions

	injecting   sync.Mutex
	hasInjected atomic.Bool
	injected    []byte                       // packets for the broker that are not of the client's making
	toBroker    atomic.Pointer[func([]byte)] // takes such packets at once; nil: they wait for Next

	method string // of enhanced authentication; "" for none
	proof  []byte // the server's last word of it, for CONNACK
	peer   *peer  // with a method: who is at the other end
	reauth reauth

	reassessing sync.Mutex
	spoiled     atomic.Bool // the broker holds a message of it that must not be published any more

	counts
}

// counts are a session's counters.
type counts struct {
	messagesIn, messagesOut, bytesIn, bytesOut, refused atomic.Uint64
	lastActive                                          atomic.Int64 // of the client; seconds since 1970
}

// how a session ended.
type how uint8

const (
	lost       how = iota // the connection broke, or the client closed it without a word
	left                  // the client said so
	leftUnwell            // it said so, and that its will is to be sent
	violated              // it broke the protocol, or the rules in a way that ends it
	cut                   // the gate has cut it
	silent                // its keep alive is over
	deserted              // the broker has ended it
)

// ending is why a session is over; the first one counts.
type ending struct {
	how    how
	reason credential.Reason // with cut
	code   mqtt.Code         // that is told to the client
	said   bool              // the broker's own DISCONNECT has told it
	failed bool              // with cut: the client could not prove again who it is; nobody waits for its end
	err    error             // for the log; nil if nothing is to be said
}

// isOurs reports whether it is the door that has ended the session: nothing of the broker's goes to the client then.
func (e *ending) isOurs() bool {
	return e.how == lost || e.how == violated || e.how == cut || e.how == silent
}

// finish ends the session, if nothing has ended it yet, and wakes whoever waits. It returns at once.
func (s *Session) finish(e ending) bool {
	first := s.end.CompareAndSwap(nil, &e)
	if first || e.how == cut || e.how == silent { // a client's farewell may be stuck on its way to the broker
		s.interrupt()
	}
	return first
}

// interrupt wakes whoever waits for either side of the session.
func (s *Session) interrupt() {
	s.hurry()
	s.conn.SetReadDeadline(past)
	if f := s.wake.Load(); f != nil {
		(*f)()
	}
}

// patience is how long the client may be silent; 0 for ever (MQTT-3.1.2-22).
func (s *Session) patience() time.Duration {
	return time.Duration(s.keepAlive.Load()) * time.Second * 3 / 2
}

// hurry bounds what is still being written to a client that may not read it.
func (s *Session) hurry() { s.conn.SetWriteDeadline(time.Now().Add(lastWord)) }

func (s *Session) over() bool { return s.end.Load() != nil }

// cutBy is what the gate calls: when it returns, nothing is delivered any more.
func (s *Session) cutBy(why credential.Reason) {
	s.finish(ending{how: cut, reason: why, code: farewell(why)})
	s.w.kill(errDead)
}

// OnEnd says how to interrupt what the broker's side of the session waits for. It is called when the session is over, at once if it is already.
func (s *Session) OnEnd(interrupt func()) {
	s.wake.Store(&interrupt)
	if s.over() {
		interrupt()
	}
}

// Next returns the next bytes for the broker: one or more packets, or a part of
// one. They are valid until the next call. io.EOF says that the client has said farewell.
func (s *Session) Next() (run []byte, err error) {
	defer func() {
		if p := recover(); p != nil { // M22
			run, err = nil, s.panicked(p)
		}
	}()
	in := &s.in
	for {
		if in.flow.rest == 0 && s.hasInjected.Load() {
			if p := s.takeInjected(); p != nil {
				return p, nil
			}
		}
		if s.over() {
			return nil, io.EOF
		}
		run, used, err := in.flow.next(in.buf.bytes())
		in.buf.done(used)
		switch {
		case err != nil:
			return nil, s.violation(err)
		case len(run) > 0:
			s.bytesIn.Add(uint64(used))
			return run, nil
		case used > 0:
			s.bytesIn.Add(uint64(used))
			continue
		}
		if err := in.buf.fill(s.conn); err != nil {
			if err := s.interrupted(err); err != nil {
				return nil, err
			}
			continue
		}
		s.lastActive.Store(s.door.now())
		if in.flow.rest == 0 && in.buf.bytes()[0]>>4 == byte(mqtt.PUBLISH) {
			// Go hands out what one look at the sockets has found with the last one first. Who has subscribed before, on
			// another connection, and has not waited for the answer, is to get the message all the same.
			runtime.Gosched()
		}
	}
}

// interrupted says what an error of reading means: nil that there is something to do, and the session goes on.
func (s *Session) interrupted(err error) error {
	switch {
	case s.over():
		return io.EOF
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.conn.SetReadDeadline(time.Time{}) // it was inject that set one
		if s.over() {                       // or finish, meanwhile
			return io.EOF
		}
		return nil
	case errors.Is(err, errPacketTooLarge):
		return s.violation(err)
	}
	s.finish(ending{how: lost})
	return err
}

// violation ends a session whose client broke the protocol. It is the door that tells the client: the error says nothing of
// the protocol to a broker that would do it as well.
func (s *Session) violation(err error) error {
	e := ending{how: violated, code: mqtt.ProtocolError, err: err}
	if m, ok := errors.AsType[*mqtt.Error](err); ok {
		e.code = m.Code
	}
	s.finish(e)
	return errDead
}

// meanwhile does something on a goroutine of its own. A fault of it ends the session (M22).
func (s *Session) meanwhile(do func()) {
	go func() {
		defer func() {
			if p := recover(); p != nil {
				_ = s.panicked(p)
			}
		}()
		do()
	}()
}

func (s *Session) panicked(p any) error {
	err := fmt.Errorf("panic: %v", p)
	s.door.log.Error("an MQTT session was ended by a fault of the door", "session", s.about(), "panic", p)
	s.finish(ending{how: violated, code: mqtt.Unspecified})
	return err
}

// Read is Next for a broker that reads into a buffer of its own.
func (s *Session) Read(p []byte) (int, error) {
	if len(s.in.unread) == 0 {
		run, err := s.Next()
		if err != nil {
			return 0, err
		}
		s.in.unread = run
	}
	n := copy(p, s.in.unread)
	s.in.unread = s.in.unread[n:]
	return n, nil
}

// feed is for an upstream that reads itself what the client sends: it judges p, and writes what may go on to the broker. An error
// says that the session is over.
func (s *Session) feed(p []byte, to *writer) (err error) {
	defer func() {
		if v := recover(); v != nil { // M22
			err = s.panicked(v)
		}
	}()
	if s.over() {
		return io.EOF
	}
	s.lastActive.Store(s.door.now())
	in, b := &s.in, p
	if len(in.rest) > 0 {
		in.rest = append(in.rest, p...)
		b = in.rest
	}
	for {
		run, used, err := in.flow.next(b)
		b = b[used:]
		if err != nil {
			return s.violation(err)
		}
		s.bytesIn.Add(uint64(used))
		if len(run) > 0 {
			if err := to.run(run, in.flow.mid()); err != nil {
				s.Deserted(errClosed)
				return err
			}
		}
		if used == 0 {
			break
		}
	}
	if len(b) > maxControl {
		return s.violation(errPacketTooLarge)
	}
	if len(b) == 0 {
		in.rest = nil
		return nil
	}
	in.rest = append(in.rest[:0], b...) // b may be a part of it, behind
	return nil
}

// Mid reports whether what Next returned last ends inside of a packet.
func (s *Session) Mid() bool { return s.in.flow.mid() }

// inject puts a packet between those of the client. An upstream that does not call Next at the moment finds it at the next call.
func (s *Session) inject(p []byte) {
	s.injecting.Lock()
	s.injected = append(s.injected, p...)
	s.hasInjected.Store(true)
	s.injecting.Unlock()
	if !s.over() {
		s.conn.SetReadDeadline(past)
	}
}

func (s *Session) takeInjected() []byte {
	s.injecting.Lock()
	defer s.injecting.Unlock()
	p := s.injected
	s.injected = nil
	s.hasInjected.Store(false)
	return p
}

// Write takes what the broker sends.
func (s *Session) Write(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil { // M22
			n, err = 0, s.panicked(v)
		}
	}()
	if e := s.end.Load(); e != nil && e.isOurs() {
		return 0, errDead
	}
	o := &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	b := p
	if len(o.rest) > 0 {
		o.rest = append(o.rest, p...)
		b = o.rest
	}
	for {
		run, used, err := o.flow.next(b)
		b = b[used:]
		if len(run) > 0 && err == nil {
			s.bytesOut.Add(uint64(len(run)))
			err = s.w.run(run, o.flow.mid())
		}
		if err != nil {
			return 0, s.brokerFailed(err)
		}
		if used == 0 {
			break
		}
	}
	if len(b) > maxRest {
		return 0, s.brokerFailed(errPacketTooLarge)
	}
	o.keep(b)
	return len(p), nil
}

// brokerFailed ends a session to which the broker has written what cannot be delivered.
func (s *Session) brokerFailed(err error) error {
	var m *mqtt.Error
	switch {
	case errors.Is(err, errTooSlow):
		s.finish(ending{how: violated, code: mqtt.QuotaExceeded, err: err})
	case errors.As(err, &m):
		s.finish(ending{how: deserted, code: mqtt.ServerUnavailable, err: fmt.Errorf("the broker behind the door: %w", err)})
	default:
		s.finish(ending{how: lost})
	}
	return err
}

// Close is the broker's: it has ended the session.
func (s *Session) Close() error {
	s.finish(ending{how: deserted, code: mqtt.ServerUnavailable})
	return nil
}

// Deserted ends a session whose broker is gone; err is for the log.
func (s *Session) Deserted(err error) {
	s.finish(ending{how: deserted, code: mqtt.ServerUnavailable, err: err})
}

// The rest of net.Conn. Deadlines are the door's business.
var _ net.Conn = (*Session)(nil)

// LocalAddr is that of the client's connection.
func (s *Session) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(s.local) }

// RemoteAddr is the client's, behind a PROXY header.
func (s *Session) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.source) }

// SetDeadline does nothing.
func (s *Session) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (s *Session) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (s *Session) SetWriteDeadline(time.Time) error { return nil }

// Key is how the broker calls the session: organisation, principal and client id.
func (s *Session) Key() string { return s.key }

// access is what is attempted, but for topic, QoS and retain flag.
func (s *Session) access(verb string) policy.Access {
	return policy.Access{Proto: policy.MQTT, Verb: verb, ClientID: s.clientID, Source: s.source.Addr()}
}

// allowed asks the gate, and the listener's own rules after it.
func (s *Session) allowed(a *policy.Access) credential.Reason {
	id := s.id.Load()
	return s.andHere(id, a, s.door.gate.Authorize(id, a))
}

// recall is allowed with the last answer at hand, for what is said over and over.
func (s *Session) recall(m *gate.Memo, a *policy.Access) credential.Reason {
	id := s.id.Load()
	return s.andHere(id, a, s.door.gate.Recall(m, id, a))
}

func (s *Session) andHere(id *gate.Identity, a *policy.Access, d policy.Decision) credential.Reason {
	if d.Allowed() && s.listener.Rules != nil {
		d = policy.Rights{Principal: s.listener.Rules, Holder: &id.Holder}.Decide(a)
	}
	return d.Reason
}

// spend charges a message or a request of the client's to the limits of its credential.
func (s *Session) spend() credential.Reason {
	return s.door.gate.Spend(s.id.Load(), &s.in.evidence).Reason
}

// begin puts the session under the watch of the gate.
func (s *Session) begin(ctx context.Context, id *gate.Identity) credential.Reason {
	s.id.Store(id)
	w, why := s.door.gate.Watch(ctx, id, s.live(0))
	s.watching.Lock()
	defer s.watching.Unlock()
	if s.watch = w; why == credential.OK {
		s.id.CompareAndSwap(id, w.Identity()) // unless it was told of a newer one
	}
	return why
}

// live is the session as the watch of its nth proof sees it.
func (s *Session) live(n int) gate.Live {
	return gate.Live{
		Door: doorName, Kind: "connection", Source: s.source.Addr(), About: s.about(),
		Cut: s.cutBy, Changed: func(id *gate.Identity) { s.changed(n, id) }, Traffic: s.traffic,
	}
}

func (s *Session) about() string {
	if s.version == mqtt.V5 {
		return "MQTT 5.0, client " + s.clientID
	}
	return "MQTT 3.1.1, client " + s.clientID
}

func (s *Session) traffic() credential.Traffic {
	return credential.Traffic{
		MessagesIn: s.messagesIn.Load(), MessagesOut: s.messagesOut.Load(), BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load(),
		Refused: s.refused.Load(), LastActive: time.Unix(s.lastActive.Load(), 0).UTC(),
	}
}

// changed is called when rights have changed and the session may go on: what it is subscribed to is looked at again. What the watch of an
// earlier proof still tells of does not count.
func (s *Session) changed(n int, id *gate.Identity) {
	s.watching.Lock()
	ours := n >= s.proofs
	if ours {
		s.id.Store(id)
	}
	s.watching.Unlock()
	if ours {
		s.meanwhile(s.reassess)
	}
}
