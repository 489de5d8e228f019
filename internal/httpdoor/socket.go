package httpdoor

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
)

// socket is an accepted connection with what the door knows of it.
type socket struct {
	net.Conn
	door  *Door
	peer  peer
	watch *gate.Watched // of the client's certificate
	once  sync.Once
	renew atomic.Int64 // when Write is to set a new deadline, Unix nanoseconds
}

// Write fails when the peer takes nothing for Limits.WriteIdle, or a little
// less: the deadline is renewed when a quarter of it is over, because that is much cheaper than at every write.
func (s *socket) Write(p []byte) (int, error) {
	if now := s.door.now(); now.UnixNano() >= s.renew.Load() {
		idle := s.door.limits.WriteIdle
		s.Conn.SetWriteDeadline(now.Add(idle))
		s.renew.Store(now.Add(idle / 4).UnixNano())
	}
	return s.Conn.Write(p)
}

// SetWriteDeadline keeps the deadline above when net/http would clear it.
func (s *socket) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		return nil
	}
	return s.Conn.SetWriteDeadline(t)
}

// SetDeadline sets both; the next Write sets its own again.
func (s *socket) SetDeadline(t time.Time) error {
	s.renew.Store(0)
	return s.Conn.SetDeadline(t)
}

// watchCertificate reports whether the connection may stay.
func (s *socket) watchCertificate(ctx context.Context) bool {
	if s.peer.leaf == nil {
		return true
	}
	ev := gate.Evidence{Certificate: s.peer.leaf, Source: s.peer.addr, Door: doorName, Unmetered: true}
	id, out := s.door.gate.Authenticate(ctx, &ev)
	switch {
	case out.Reason == credential.NetworkRefused:
		return true // every request is going to be refused by itself, unless a trusted proxy speaks for another source
	case out.Reason != credential.OK:
		return false
	}
	w, reason := s.door.gate.Watch(ctx, id, gate.Live{
		Door: doorName, Kind: "connection", Source: s.peer.addr, About: "connection with a client certificate",
		Cut: func(credential.Reason) { s.cut() },
	})
	s.watch = w
	return reason == credential.OK
}

// cut resets the connection: what the peer has not read yet is thrown away, and
// an answer that would end with the connection does not look complete.
func (s *socket) cut() {
	s.reset()
	s.Conn.Close()
}

// reset makes the next Close one that resets.
func (s *socket) reset() {
	if c, ok := s.Conn.(interface{ SetLinger(int) error }); ok {
		c.SetLinger(0)
	}
}

// Close gives back the seat and ends the watch.
func (s *socket) Close() error {
	err := s.Conn.Close()
	s.once.Do(func() {
		s.door.seats.Leave(s.peer.addr)
		if s.watch != nil {
			s.watch.Close()
		}
	})
	return err
}

// CloseWrite is used to let a refused peer read its answer.
func (s *socket) CloseWrite() error {
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

type peerKey struct{}

// connContext lets handlers find the peer of a connection.
func connContext(ctx context.Context, c net.Conn) context.Context {
	switch c := c.(type) {
	case *guard:
		s := c.Conn.(*socket)
		ctx = context.WithValue(ctx, peerKey{}, &s.peer)
		c.direct = newDirect(ctx, s.door, &s.peer)
		return ctx
	case tlsGuard:
		return context.WithValue(ctx, peerKey{}, &c.conn.NetConn().(*socket).peer)
	case *tls.Conn:
		return context.WithValue(ctx, peerKey{}, &c.NetConn().(*socket).peer)
	}
	return ctx
}
