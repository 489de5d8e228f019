package httpdoor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"cardea/internal/credential"
	"cardea/internal/intake"
)

// newServer makes the one http.Server of the door. It is given guarded
// connections, for which it speaks HTTP/1, and *tls.Conn whose handshake has
// chosen HTTP/2: those it recognises by their type, and the guard is not needed.
func (d *Door) newServer() *http.Server {
	return &http.Server{
		Handler:                      d,
		ReadHeaderTimeout:            d.limits.Header,
		IdleTimeout:                  d.limits.Idle,
		MaxHeaderBytes:               28 << 10, // net/http adds 4 KiB: 32 KiB in all
		DisableGeneralOptionsHandler: true,
		ConnContext:                  connContext,
		ErrorLog:                     d.serverLog(),
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: 100, MaxReadFrameSize: 16 << 10},
	}
}

// Serve accepts connections of ln until Shutdown, and then returns nil; or
// until ctx ends, and then closes everything and returns ctx's error. A door
// may serve several listeners.
func (d *Door) Serve(ctx context.Context, ln net.Listener) error {
	// ctx ends the server, and that ends the loop: net/http is to be told of a listener that was closed
	accepting, stopAccepting := context.WithCancel(context.WithoutCancel(ctx))
	in := &incoming{door: d, ln: ln, conns: make(chan net.Conn), done: make(chan struct{}), stop: stopAccepting}
	stop := context.AfterFunc(ctx, func() {
		d.streams.drain(credential.Draining)
		d.server.Close()
	})
	defer stop()
	go func() {
		in.end(intake.Loop(accepting, ln, d.log, func(c net.Conn) { in.admit(ctx, c) }))
	}()
	err := d.server.Serve(in)
	in.Close()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, http.ErrServerClosed):
		return nil
	}
	return fmt.Errorf("http door on %s: %w", ln.Addr(), err)
}

// incoming is the listener that net/http sees: connections come out of it
// counted, shaken hands with and guarded.
type incoming struct {
	door  *Door
	ln    net.Listener
	conns chan net.Conn
	done  chan struct{}
	stop  func() // ends the loop that accepts; handshakes go on
	once  sync.Once
	err   error // why it ended; set before done is closed
}

// Accept hands out the next ready connection.
func (in *incoming) Accept() (net.Conn, error) {
	select {
	case c := <-in.conns:
		return c, nil
	case <-in.done:
		return nil, in.err
	}
}

// Addr is the address of the real listener.
func (in *incoming) Addr() net.Addr { return in.ln.Addr() }

// Close stops accepting.
func (in *incoming) Close() error { in.end(net.ErrClosed); return nil }

func (in *incoming) end(err error) {
	in.once.Do(func() {
		in.err = err
		in.stop()
		in.ln.Close()
		close(in.done)
	})
}

// admit seats a connection, or closes it at once if there is no seat.
func (in *incoming) admit(ctx context.Context, c net.Conn) {
	d := in.door
	addr := intake.AddrOf(c.RemoteAddr())
	trusted := d.isTrusted(addr)
	if !d.seats.Take(addr, trusted) {
		c.Close()
		return
	}
	s := &socket{Conn: c, door: d}
	s.peer = peer{addr: addr, trusted: trusted, scheme: "http", socket: s}
	if d.tls != nil {
		go in.handshake(ctx, s)
		return
	}
	s.peer.guard = &guard{Conn: s, now: d.now}
	in.deliver(s.peer.guard)
}

func (in *incoming) deliver(c net.Conn) {
	select {
	case in.conns <- c:
	case <-in.done:
		c.Close()
	}
}

// handshake speaks TLS, and puts a connection with a client certificate under
// watch, so that it ends with the certificate even while it is idle.
func (in *incoming) handshake(ctx context.Context, s *socket) {
	d := in.door
	c := tls.Server(s, d.tls)
	s.SetDeadline(d.now().Add(d.limits.Handshake))
	if err := c.HandshakeContext(ctx); err != nil {
		sayItIsTLS(err)
		d.log.Debug("TLS handshake failed", "source", s.peer.addr.String(), "error", err)
		s.Close()
		return
	}
	s.SetDeadline(time.Time{})
	state := c.ConnectionState()
	s.peer.scheme = "https"
	var err error
	if s.peer.leaf, s.peer.presented, err = d.classify(&state); err != nil || !s.watchCertificate(ctx) {
		s.Close()
		return
	}
	if state.NegotiatedProtocol == "h2" {
		in.deliver(c)
		return
	}
	s.peer.guard = &guard{Conn: c, now: d.now}
	in.deliver(tlsGuard{s.peer.guard, c})
}

// sayItIsTLS answers a client that speaks plain HTTP. It does not redirect: a
// redirect would teach clients to send their tokens in the clear first (H22).
func sayItIsTLS(err error) {
	var re tls.RecordHeaderError
	if !errors.As(err, &re) || re.Conn == nil {
		return
	}
	switch string(re.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET":
		io.WriteString(re.Conn, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\n\r\nThis listener speaks HTTPS; use https://.\n")
	}
}
