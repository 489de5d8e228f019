package httpdoor

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"
)

// guard stands between a connection and net/http's HTTP/1 server, which is
// lenient in ways that have been used for request smuggling: it takes
// Content-Length beside Transfer-Encoding and bare line feeds (H07, H08).
//
// What the scanner approves goes through unchanged. In place of the first byte
// that it does not, the server gets a line that it must refuse itself. So the
// 400 comes in order behind the answers to earlier pipelined requests, the
// connection ends, and nothing after that byte is ever read as a request.
type guard struct {
	net.Conn
	now     func() time.Time
	scan    scanner
	between bool          // the last read began where a request may begin
	rest    []byte        // of the poison, still to be delivered
	refused atomic.Uint32 // a verdict; read by handlers
	raw     atomic.Bool   // hijacked: no longer HTTP
	direct  *direct       // nil in front of Handler alone
}

// tlsGuard lets net/http find the TLS state of a guarded connection.
type tlsGuard struct {
	*guard
	conn *tls.Conn
}

// ConnectionState is looked for by net/http to fill Request.TLS.
func (g tlsGuard) ConnectionState() tls.ConnectionState { return g.conn.ConnectionState() }

// poison is no request line, no header line, no chunk size and no trailer
// line, wherever it is cut in.
const poison = "\x00\r\n\x00\r\n\r\n"

// Read passes on what the scanner has approved, but for what is answered on the spot.
func (g *guard) Read(p []byte) (int, error) {
	for {
		n, err := g.read(p)
		if n == 0 || err != nil || !g.between || !g.scan.fresh() || g.direct == nil {
			return n, err
		}
		// A whole request, or several, while net/http waits for one: its answers
		// to all before have gone out. While it runs a handler it reads single bytes at the most.
		done, err := g.direct.serve(g, p[:n])
		switch {
		case err != nil:
			return 0, err // answered in part: a second answer would be read as the rest of it
		case !done:
			return n, nil
		}
	}
}

// read reads once.
func (g *guard) read(p []byte) (int, error) {
	g.between = false
	if v := verdict(g.refused.Load()); v != pass {
		return g.poisoned(p, v)
	}
	n, err := g.Conn.Read(p)
	if n == 0 || g.raw.Load() {
		return n, err
	}
	g.between = g.scan.fresh()
	good, v := g.scan.scan(p[:n])
	if v == pass {
		return n, err
	}
	g.refused.Store(uint32(v))
	g.rest = []byte(poison)
	m, err := g.poisoned(p[good:], v)
	return good + m, err
}

// poisoned fills p, without an end. For a head that is too large it is filler,
// so that the server runs into its own limit and answers 431.
func (g *guard) poisoned(p []byte, v verdict) (int, error) {
	if v == tooLarge {
		for i := range p {
			p[i] = 'x'
		}
		return len(p), nil
	}
	if len(g.rest) == 0 { // an end would be taken for a peer that has gone, and earlier requests would be given up
		g.rest = []byte(poison)
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

// violated reports whether the peer has broken the framing.
func (g *guard) violated() bool { return verdict(g.refused.Load()) != pass }

const lingerTime = 500 * time.Millisecond

// Close lets a refused peer read its answer: closing with unread bytes would
// reset the connection and take the answer away.
func (g *guard) Close() error {
	if !g.violated() {
		return g.Conn.Close()
	}
	if c, ok := g.Conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		g.Conn.SetReadDeadline(g.now().Add(lingerTime))
		var sink [4096]byte
		for range 64 {
			if _, err := g.Conn.Read(sink[:]); err != nil {
				break
			}
		}
	}
	return g.Conn.Close()
}

// CloseWrite is used by net/http before it lingers.
func (g *guard) CloseWrite() error {
	if c, ok := g.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}
