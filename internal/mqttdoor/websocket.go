package mqttdoor

import (
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
// listener. source tells the client's address, behind trusted proxies. A page of another
// origin is refused, and so is a client that does not name the subprotocol (M19).
func (d *Door) WebSocket(l *Listener, source func(*http.Request) netip.Addr) http.Handler {
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
		d.serveWebSocket(w, r, l, addr)
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

func (d *Door) serveWebSocket(w http.ResponseWriter, r *http.Request, l *Listener, addr netip.Addr) {
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
	p := peer{source: netip.AddrPortFrom(addr, remotePort(r)), local: localAddr(r)}
	if r.TLS != nil {
		p.leaf = verifiedLeaf(r.TLS)
	}
	near, far := net.Pipe() // a read of a WebSocket cannot be interrupted without ending it
	c := websocket.NetConn(d.ctx, ws, websocket.MessageBinary)
	done := make(chan struct{}, 2)
	carry := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		done <- struct{}{}
	}
	go carry(far, c)
	go carry(c, far)
	d.running.Go(func() { // when either way ends, both do
		<-done
		far.Close()
		hurry := time.AfterFunc(closePatience, func() { c.Close() }) // ends the read, and with it the connection
		_ = ws.Close(websocket.StatusNormalClosure, "")
		hurry.Stop()
		c.Close()
		<-done
	})
	d.serve(near, l, p)
	near.Close()
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
