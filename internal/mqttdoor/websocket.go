package mqttdoor

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// subprotocol is what MQTT calls itself in WebSocket (6.0).
const subprotocol = "mqtt"

// closePatience is how long a client may take to answer that the WebSocket is closed (RFC 6455, 7.1.2). Who sees the connection
// end without that reports a fault.
const closePatience = 100 * time.Millisecond

// WebSocket returns a handler that serves MQTT over WebSocket by the rules of a
// listener. source tells the client's address, behind trusted proxies, and certificate what it has shown to TLS: verified, or presented alone. A page of another
// origin is refused, and so is a client that does not name the subprotocol (M19).
func (d *Door) WebSocket(l *Listener, source func(*http.Request) netip.Addr, certificate func(*http.Request) (verified, presented *x509.Certificate)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		addr := source(r)
		switch {
		case !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
			w.Header().Set("Upgrade", "websocket")
			http.Error(w, "MQTT is spoken here over WebSocket", http.StatusUpgradeRequired)
			return
		case !l.allowsOrigin(r):
			d.count.turnedAway.Add(1)
			d.tell(addr, "a WebSocket was refused", "a page of another origin", nil)
			http.Error(w, "pages of this origin may not connect", http.StatusForbidden)
			return
		case !offers(r, subprotocol):
			http.Error(w, `the client must offer the subprotocol "mqtt"`, http.StatusBadRequest)
			return
		case d.failures.Blocked(addr) || !d.seats.Take(addr, false):
			d.count.turnedAway.Add(1)
			http.Error(w, "too many connections", http.StatusServiceUnavailable)
			return
		}
		defer d.seats.Leave(addr)
		p := peer{source: netip.AddrPortFrom(addr, remotePort(r)), local: localAddr(r), tls: r.TLS, web: true}
		p.leaf, p.presented = certificate(r)
		d.serveWebSocket(w, r, l, p)
	})
}

// allowsOrigin compares the page's origin with the listener's own and the further ones. Programs send none.
func (l *Listener) allowsOrigin(r *http.Request) bool {
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		return true
	}
	u, err := url.Parse(origins[0])
	if err != nil || len(origins) > 1 {
		return false
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return u.Scheme == scheme && strings.EqualFold(u.Host, r.Host) || slices.Contains(l.Origins, origins[0])
}

func offers(r *http.Request, protocol string) bool {
	for _, line := range r.Header["Sec-Websocket-Protocol"] {
		for one := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(one) == protocol {
				return true
			}
		}
	}
	return false
}

func (d *Door) serveWebSocket(w http.ResponseWriter, r *http.Request, l *Listener, p peer) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{subprotocol}, CompressionMode: websocket.CompressionDisabled,
		InsecureSkipVerify: true, // the origin was compared, exactly
	})
	if err != nil {
		return // the client has been told
	}
	d.mu.Lock()
	if d.ending {
		d.mu.Unlock()
		_ = ws.Close(websocket.StatusGoingAway, "")
		return
	}
	d.running.Add(1)
	d.mu.Unlock()
	defer d.running.Done()
	c := d.newWebConn(ws)
	if s := d.greet(c, l, p); s != nil {
		s.serve()
	}
	c.Close()
	<-c.done
}

// webConn is a WebSocket as a connection. A read of a WebSocket cannot be interrupted without ending it: so what comes is read by a
// goroutine, and taken from a pipe.
type webConn struct {
	net.Conn // the pipe: to read
	ws       *websocket.Conn
	out      net.Conn // to write
	cancel   func()   // ends it at once
	done     chan struct{}
}

func (d *Door) newWebConn(ws *websocket.Conn) *webConn {
	ctx, cancel := context.WithCancel(d.ctx)
	near, far := net.Pipe()
	c := &webConn{Conn: near, ws: ws, out: websocket.NetConn(ctx, ws, websocket.MessageBinary), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		_, _ = io.Copy(far, c.out)
		far.Close()
		_, _ = io.Copy(io.Discard, c.out) // as long as somebody reads, cancel ends it
	}()
	return c
}

// Write writes a message of the WebSocket. What is in it is a stream of packets (6.0).
func (c *webConn) Write(p []byte) (int, error) { return c.out.Write(p) }

// SetWriteDeadline bounds writes. One that is late ends the connection.
func (c *webConn) SetWriteDeadline(t time.Time) error { return c.out.SetWriteDeadline(t) }

// SetDeadline bounds reads and writes.
func (c *webConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Close says farewell, if the client takes it at once.
func (c *webConn) Close() error {
	c.Conn.Close()
	defer c.cancel()
	defer time.AfterFunc(closePatience, c.cancel).Stop()
	return c.ws.Close(websocket.StatusNormalClosure, "")
}

func remotePort(r *http.Request) uint16 {
	ap, _ := netip.ParseAddrPort(r.RemoteAddr)
	return ap.Port()
}

func localAddr(r *http.Request) netip.AddrPort {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return addrPort(a)
	}
	return netip.AddrPort{}
}
