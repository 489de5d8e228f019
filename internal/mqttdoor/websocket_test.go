package mqttdoor

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"cardea/internal/mqtt"
)

// serveWebSocket serves a listener at /mqtt and returns its address; started sees the server before it starts.
func (h *house) serveWebSocket(l *Listener, started func(*httptest.Server)) string {
	h.Helper()
	h.chain(l)
	mux := http.NewServeMux()
	mux.Handle("/mqtt", h.door.WebSocket(l, func(r *http.Request) netip.Addr {
		ap, _ := netip.ParseAddrPort(r.RemoteAddr)
		return ap.Addr()
	}, func(r *http.Request) (verified, presented *x509.Certificate) {
		if r.TLS != nil {
			verified = verifiedLeaf(r.TLS)
		}
		return verified, nil
	}))
	s := httptest.NewUnstartedServer(mux)
	if started != nil {
		started(s)
	}
	if s.TLS == nil {
		s.Start()
	}
	h.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// dialWebSocket opens a WebSocket as MQTT clients do.
func (h *house) dialWebSocket(addr string) net.Conn {
	h.Helper()
	ws, _, err := websocket.Dial(context.Background(), "ws://"+addr+"/mqtt", &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	h.must(err)
	h.Cleanup(func() { ws.CloseNow() })
	return websocket.NetConn(context.Background(), ws, websocket.MessageBinary)
}

// M19: pages of other origins may not connect, nor clients that do not name the subprotocol; programs and own pages may.
func TestWebSocketOrigins(t *testing.T) {
	h := newHouse(t)
	addr := h.serveWebSocket(&Listener{Name: "web", Tokens: true, Origins: []string{"https://app.example.com"}}, nil)
	for _, tc := range []struct {
		origin    []string
		protocols []string
		status    int
	}{
		{nil, []string{"mqtt"}, 101},
		{[]string{"http://" + addr}, []string{"mqtt"}, 101},
		{[]string{"https://app.example.com"}, []string{"x", "mqtt"}, 101},
		{[]string{"https://" + addr}, []string{"mqtt"}, 403},
		{[]string{"http://evil.example.com"}, []string{"mqtt"}, 403},
		{[]string{"http://" + addr + ".evil.example.com"}, []string{"mqtt"}, 403},
		{[]string{"http://evil." + addr}, []string{"mqtt"}, 403},
		{[]string{"https://app.example.com.evil.example.com"}, []string{"mqtt"}, 403},
		{[]string{"http://app.example.com"}, []string{"mqtt"}, 403},
		{[]string{"https://app.example.com:8443"}, []string{"mqtt"}, 403},
		{[]string{"null"}, []string{"mqtt"}, 403},
		{[]string{""}, []string{"mqtt"}, 403},
		{[]string{"http://" + addr, "http://evil.example.com"}, []string{"mqtt"}, 403},
		{nil, nil, 400},
		{nil, []string{"mqttv3.1"}, 400},
		{nil, []string{"MQTT"}, 400},
	} {
		header := http.Header{}
		if tc.origin != nil {
			header["Origin"] = tc.origin
		}
		ws, answer, err := websocket.Dial(t.Context(), "ws://"+addr+"/mqtt", &websocket.DialOptions{HTTPHeader: header, Subprotocols: tc.protocols})
		if answer == nil {
			t.Fatal(err)
		}
		if answer.StatusCode != tc.status {
			t.Errorf("origin %q, protocols %q: status %d, want %d", tc.origin, tc.protocols, answer.StatusCode, tc.status)
		}
		if ws != nil {
			if ws.Subprotocol() != "mqtt" {
				t.Errorf("the subprotocol is %q", ws.Subprotocol())
			}
			ws.CloseNow()
		}
	}
	answer, err := http.Get("http://" + addr + "/mqtt")
	h.must(err)
	answer.Body.Close()
	if answer.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("a plain request: %d", answer.StatusCode)
	}
}

// M19: over WebSocket the same counts as over TCP: token, rules, cut. Packets and messages of the WebSocket have nothing to do with each other (6.0).
func TestWebSocketSession(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		w := h.device("pump", "allow mqtt:* a/#")
		addr := h.serveWebSocket(&Listener{Name: "web", Tokens: true}, nil)
		c := h.dialWebSocket(addr)
		say := func(p []byte) { // a byte at a time
			for i := range p {
				c.Write(p[i : i+1])
			}
		}
		say(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, CleanStart: true, ClientID: []byte("pump"), HasUser: true, User: []byte(w.token)}))
		r := &packets{t: t, c: c}
		if p := r.next(mqtt.CONNACK); p[3] != 0 {
			t.Fatalf("CONNACK % x", p)
		}
		c.Write(mqtt.AppendSubscribe(nil, mqtt.V5, 1, nil, []mqtt.Filter{{Filter: []byte("a/#")}, {Filter: []byte("b")}}))
		if p := r.next(mqtt.SUBACK); string(p[len(p)-2:]) != "\x00\x87" {
			t.Errorf("SUBACK % x", p)
		}
		both := mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{Topic: []byte("b"), QoS: 1, ID: 2}, []byte("refused"))
		both = mqtt.AppendPublish(both, mqtt.V5, &mqtt.Publish{Topic: []byte("a/b")}, []byte(strings.Repeat("x", 100_000)))
		c.Write(both)
		if p := r.next(mqtt.PUBACK); p[4] != byte(mqtt.NotAuthorized) {
			t.Errorf("PUBACK % x", p)
		}
		if p := r.next(mqtt.PUBLISH); len(p) < 100_000 {
			t.Errorf("%d bytes", len(p))
		}
		h.revoke(w)
		if p := r.next(mqtt.DISCONNECT); p[2] != byte(mqtt.NotAuthorized) {
			t.Errorf("DISCONNECT % x", p)
		}
		h.closed(c)
		// Text is not MQTT.
		ws, _, err := websocket.Dial(t.Context(), "ws://"+addr+"/mqtt", &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
		h.must(err)
		defer ws.CloseNow()
		h.must(ws.Write(t.Context(), websocket.MessageText, []byte("hello")))
		if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusUnsupportedData {
			t.Errorf("text: %v", err)
		}
	})
}

// packets reads packets of a connection one after the other.
type packets struct {
	t     testing.TB
	c     net.Conn
	b     []byte
	later [][]byte
}

// next returns the next packet of a type; others are kept for who waits for them.
func (r *packets) next(want mqtt.Type) []byte {
	r.t.Helper()
	is := func(p []byte) bool { return mqtt.Type(p[0]>>4) == want }
	for !slices.ContainsFunc(r.later, is) {
		h, ok, err := mqtt.ReadHead(r.b)
		if err != nil {
			r.t.Fatal(err)
		}
		if ok && len(r.b) >= h.Total() {
			r.later = append(r.later, r.b[:h.Total()])
			r.b = r.b[h.Total():]
			continue
		}
		buf := make([]byte, 64<<10)
		n, err := r.c.Read(buf)
		if err != nil {
			r.t.Fatalf("waiting for %v: %v", want, err)
		}
		r.b = append(r.b, buf[:n]...)
	}
	i := slices.IndexFunc(r.later, is)
	p := r.later[i]
	r.later = slices.Delete(r.later, i, i+1)
	return p
}

// Whose seat a WebSocket takes is told by the source, and a door that stops closes it.
func TestWebSocketLimits(t *testing.T) {
	h := newHouse(t, limits(Limits{PerSource: 2}))
	addr := h.serveWebSocket(&Listener{Name: "web", Tokens: true}, nil)
	one, two := h.dialWebSocket(addr), h.dialWebSocket(addr)
	_, answer, err := websocket.Dial(t.Context(), "ws://"+addr+"/mqtt", &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err == nil || answer == nil || answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the third: %v", err)
	}
	one.Close()
	h.eventually("the seat is free", func() bool { n, _ := h.door.seats.Taken(); return n == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	h.must(h.door.Shutdown(ctx))
	h.closed(two)
}
