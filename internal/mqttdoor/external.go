package mqttdoor

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"cardea/internal/credential"
	"cardea/internal/intake"
	"cardea/internal/mqtt"
)

// ExternalConfig says how to reach a broker of somebody else's.
type ExternalConfig struct {
	Address  string        // host:port
	TLS      *tls.Config   // nil: plain TCP. With a certificate the door shows it
	Password string        // that the door shows beside each user name, so that the broker knows it from others; "" for none
	Proxy    bool          // send a PROXY header of version 2, with the client's address
	Version  mqtt.Version  // the highest that the broker speaks; 0 is 5.0
	Dial     time.Duration // for one attempt to connect, and then for the CONNACK: 5 s
	Log      *slog.Logger
}

// External is an [Upstream] that is reached over the network, one connection for each session.
type External struct {
	c    ExternalConfig
	down atomic.Bool
	fail atomic.Uint64

	loops loops
}

// NewExternal returns an External. It connects when a session comes.
func NewExternal(c ExternalConfig) (*External, error) {
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return nil, credential.Errorf(credential.Invalid, "the broker's address must be HOST:PORT, not %q", c.Address)
	}
	if c.Version == 0 {
		c.Version = mqtt.V5
	}
	set(&c.Dial, 5*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &External{c: c, loops: loops{log: c.Log}}, nil
}

// Failures is how often the broker could not be reached.
func (x *External) Failures() uint64 { return x.fail.Load() }

// Down reports whether the last attempt to reach the broker failed.
func (x *External) Down() bool { return x.down.Load() }

var errBrokerVersion = &mqtt.Error{Code: mqtt.UnsupportedVersion, Why: "the broker behind the door speaks MQTT 3.1.1 only"}

// Admit implements [Upstream].
func (x *External) Admit(c *mqtt.Connect, s *Session) error {
	if c.Version > x.c.Version {
		return errBrokerVersion
	}
	x.identify(c, s.id.Load().Principal, s.org)
	return nil
}

// identify puts in who the broker is to take the session for.
func (x *External) identify(c *mqtt.Connect, principal, org string) {
	if org != "" && org != credential.DefaultOrg {
		principal = org + "/" + principal
	}
	c.HasUser, c.User = true, []byte(principal)
	if x.c.Password != "" {
		c.HasPassword, c.Password = true, []byte(x.c.Password)
	}
}

// dialRetry is the pause before the second attempt, for a broker that restarts.
const dialRetry = 200 * time.Millisecond

// dial connects, if need be in a second attempt.
func (x *External) dial(ctx context.Context, s *Session) (net.Conn, error) {
	c, err := x.reach(ctx, s)
	if err != nil && ctx.Err() == nil {
		select {
		case <-time.After(dialRetry):
		case <-ctx.Done():
		}
		c, err = x.reach(ctx, s)
	}
	if !errors.Is(ctx.Err(), context.Canceled) { // then it was the session that ended
		x.note(err)
	}
	return c, err
}

// reach connects, sends the PROXY header and speaks TLS, as far as that is wanted.
func (x *External) reach(ctx context.Context, s *Session) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, x.c.Dial)
	defer cancel()
	d := net.Dialer{KeepAlive: 30 * time.Second}
	c, err := d.DialContext(ctx, "tcp", x.c.Address)
	if err != nil {
		return nil, err
	}
	if x.c.Proxy {
		if _, err := c.Write(intake.AppendProxy(nil, s.source, s.local)); err != nil { // a new socket takes so much at once
			c.Close()
			return nil, err
		}
	}
	if x.c.TLS == nil {
		return c, nil
	}
	t := tls.Client(c, x.c.TLS)
	if err := t.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return t, nil
}

// note logs when the broker goes and when it comes back.
func (x *External) note(err error) {
	if err == nil {
		if x.down.Load() && x.down.CompareAndSwap(true, false) {
			x.c.Log.Info("the broker behind the MQTT door can be reached again", "address", x.c.Address)
		}
		return
	}
	x.fail.Add(1)
	if x.down.CompareAndSwap(false, true) {
		x.c.Log.Error("the broker behind the MQTT door cannot be reached; clients are told to come again", "address", x.c.Address, "error", err)
	}
}

// Run implements [Upstream]: a loop carries what is plain TCP, and two pumps do the rest.
func (x *External) Run(ctx context.Context, s *Session) error {
	ctx, cancel := context.WithCancel(ctx)
	s.OnEnd(cancel)
	c, err := x.dial(ctx, s)
	cancel() // it holds memory of a session that may last for months
	if err != nil {
		return nil //nolint:nilerr // it is logged once, not for each client; the client is told 0x88
	}
	l := &link{s: s}
	l.w.conn = c
	c.SetReadDeadline(time.Now().Add(x.c.Dial)) // for CONNACK
	s.OnEnd(func() { c.SetDeadline(past) })
	send := l.send
	s.toBroker.Store(&send)
	if d := x.carry(s, l, c); d != nil {
		d.wait(x.c.Dial)
		return nil
	}
	var back sync.WaitGroup
	back.Go(func() {
		defer func() {
			if p := recover(); p != nil { // M22
				_ = s.panicked(p)
			}
		}()
		l.back(c)
	})
	defer back.Wait()
	defer l.close(c)
	return l.forth()
}

// carry gives both connections to a loop, if they are plain TCP.
func (x *External) carry(s *Session, l *link, c net.Conn) *duct {
	on, err := x.loops.get()
	if err != nil {
		return nil
	}
	d := newDuct(on, s, l, c)
	if d == nil {
		return nil
	}
	err = l.w.run(s.takeInjected(), false)
	if err == nil {
		_ = s.feed(s.in.buf.bytes(), &l.w) // what came behind the CONNECT; the session knows what becomes of it
	}
	s.in.buf.release()
	if err != nil {
		s.Deserted(err)
	}
	d.begin()
	return d
}

// Close ends what carries the sessions. None may be left.
func (x *External) Close() error {
	x.loops.close()
	return nil
}

// link is a session's connection to the broker.
type link struct {
	s *Session
	w writer
}

// send puts in a packet of the door's own.
func (l *link) send(p []byte) {
	if err := l.w.insert(p); err != nil {
		l.s.Deserted(err)
	}
}

var (
	errClosed   = errors.New("the broker closed the connection")
	errNoAnswer = errors.New("the broker does not answer")
)

// forth carries what the client may send to the broker, until one of them ends.
func (l *link) forth() error {
	for {
		run, err := l.s.Next()
		if err != nil {
			return nil //nolint:nilerr // the session knows
		}
		if l.w.run(run, l.s.Mid()) != nil {
			l.s.Deserted(errClosed) // before close makes it look like something else
			return nil
		}
	}
}

// back carries what the broker sends to the client.
func (l *link) back(c net.Conn) {
	var buf buffer
	defer buf.giveBack()
	for waits := true; ; {
		if err := buf.fill(c); err != nil {
			switch {
			case l.s.over():
			case errors.Is(err, os.ErrDeadlineExceeded):
				l.s.Deserted(errNoAnswer)
			default:
				l.s.Deserted(errClosed)
			}
			return
		}
		b := buf.bytes()
		if _, err := l.s.Write(b); err != nil {
			return
		}
		buf.done(len(b))
		if waits && l.s.out.isConnected() {
			waits = false
			c.SetReadDeadline(time.Time{})
			if l.s.over() { // it may have set one, meanwhile
				c.SetDeadline(past)
			}
		}
	}
}

// close ends the connection to the broker. A client that has said farewell has said it to the broker too; for
// others it looks as if the network broke, and the broker keeps their sessions.
func (l *link) close(c net.Conn) {
	c.SetDeadline(past)
	c.Close()
}

// Unsubscribe implements [Upstream].
func (x *External) Unsubscribe(s *Session, filters []string) {
	for len(filters) > 0 {
		n := min(len(filters), 100)
		s.answer(mqtt.AppendUnsubscribe(nil, s.version, s.subs.leave(), nil, filters[:n]))
		filters = filters[n:]
	}
}

// Subscriptions implements [Upstream]: no broker tells a client what it is subscribed to.
func (x *External) Subscriptions(*Session) []mqtt.Filter { return nil }

// Forget implements [Upstream]: who connects anew ends what was there before.
func (x *External) Forget(ctx context.Context, s *Session) error {
	return x.visit(ctx, s, s.key, s.version, func(*visitor) error { return nil })
}

// Publish implements [Upstream], as a client of its own that comes and goes.
func (x *External) Publish(ctx context.Context, s *Session, m *Message) error {
	return x.visit(ctx, s, s.key+"/will", s.version, func(v *visitor) error { return v.publish(m) })
}
