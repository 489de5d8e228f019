package mqttdoor

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// M18, X07: a session ends with what it rests on, and a client of 5.0 is told why. Others go on.
func TestCut(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		name := fmt.Sprintf("pump-%d", v)
		h.device(name, all)
		bystander := h.connect(h.device("bystander-"+name, all), v)
		ctx := context.Background()
		for what, tc := range map[string]struct {
			cut  func(*who)
			code mqtt.Code
		}{
			"revoked":  {h.revoke, mqtt.NotAuthorized},
			"deleted":  {func(w *who) { h.must(h.authority.DeleteCredential(ctx, h.local, w.cred, "test")) }, mqtt.NotAuthorized},
			"disabled": {func(w *who) { h.disable(w.name, true) }, mqtt.NotAuthorized},
			"kicked":   {func(w *who) { h.kick(w.name) }, mqtt.AdministrativeAction},
			"network": {func(w *who) {
				_, err := h.authority.UpdateCredential(ctx, h.local, w.cred, authority.CredentialPatch{Networks: &elsewhere})
				h.must(err)
			}, mqtt.NotAuthorized},
			"rotated": {func(w *who) {
				_, err := h.authority.Rotate(ctx, h.local, w.cred, authority.Rotation{Force: true})
				h.must(err)
			}, mqtt.NotAuthorized},
		} {
			w := h.another(name)
			c := h.connect(w, v)
			c.Ping()
			tc.cut(w)
			code, said := c.Closed()
			if said != (v == mqtt.V5) || said && code != tc.code {
				t.Errorf("%s: told 0x%02X %v, want 0x%02X", what, byte(code), said, byte(tc.code))
			}
			if code := h.knock(h.addr, w.config(v)); what == "kicked" != (code == mqtt.Success) {
				t.Errorf("%s: it comes back and is answered 0x%02X", what, byte(code))
			}
			h.disable(name, false)
			h.gone(name)
		}
		bystander.Ping()
	})
}

// M18: a token that expires while its session lives ends it.
func TestExpiryCuts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		name := fmt.Sprintf("pump-%d", v)
		h.device(name, all)
		w := h.another(name, func(n *authority.NewCredential) { n.TTL = 1500 * time.Millisecond })
		c := h.connect(w, v)
		if code, said := c.Closed(); v == mqtt.V5 && (!said || code != mqtt.NotAuthorized) {
			t.Errorf("told 0x%02X %v", byte(code), said)
		}
		if code := h.knock(h.addr, w.config(v)); code != mqtt.NotAuthorized {
			t.Errorf("it comes back and is answered 0x%02X", byte(code))
		}
	})
}

// M18: a server that stops says so, to clients that read and without waiting for those that do not.
func TestShutdown(t *testing.T) {
	slowly := limits(Limits{Connect: time.Hour})
	eachBroker(t, func(t *testing.T, h *house) {
		five, three := h.connect(h.device("five", all), mqtt.V5), h.connect(h.device("three", all), mqtt.V311)
		h.connect(h.device("deaf", all), mqtt.V5).Subscribe(testkit.Filter("flood", 0))
		h.flood("flood")
		silent := h.raw(h.addr) // who has not said who it is
		h.eventually("all sit", func() bool { n, _ := h.door.seats.Taken(); return n == 4 })
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		h.must(h.door.Shutdown(ctx))
		h.closed(silent)
		if code, said := five.Closed(); !said || code != mqtt.ServerShuttingDown {
			t.Errorf("told 0x%02X %v", byte(code), said)
		}
		three.Closed()
		c := h.raw(h.addr)
		c.Write(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5}))
		h.closed(c)
	}, slowly)
}

// watched is a listener whose connections tell what is written to them.
type watched struct {
	net.Listener
	wrote func(p []byte)
}

func (w *watched) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &watchedConn{c.(*net.TCPConn), w.wrote}, nil
}

type watchedConn struct {
	*net.TCPConn
	wrote func(p []byte)
}

func (c *watchedConn) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	if n > 0 {
		c.wrote(p[:n])
	}
	return n, err
}

// M18: when a revocation has returned nothing is delivered any more: no message that is published then, and none that was on its way. It is
// tried many times, under load.
func TestNothingIsDeliveredAfterRevocation(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		name := fmt.Sprintf("reader-%d", v)
		h.device(name, all)
		var revoked atomic.Bool
		var late atomic.Int64
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		h.must(err)
		l := &Listener{Name: "watched", Tokens: true}
		h.chain(l)
		served := make(chan struct{})
		go func() {
			defer close(served)
			h.door.Serve(context.Background(), &watched{ln, func(p []byte) {
				if revoked.Load() && mqtt.Type(p[0]>>4) == mqtt.PUBLISH {
					late.Add(1)
				}
			}}, l)
		}()
		h.Cleanup(func() { ln.Close(); <-served })

		pub := testkit.ConnectMQTT(t, h.behind(), testkit.MQTTConfig{ClientID: "load"})
		var next atomic.Int64
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
				}
				n := next.Add(1)
				frame := mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{Topic: []byte("load")}, []byte(strconv.FormatInt(n, 10)))
				if pub.TrySend(frame) != nil {
					return
				}
			}
		}()
		rounds := 15
		if soaking {
			rounds = 500
		}
		for round := range rounds {
			addr := ln.Addr().String()
			if round%2 == 1 {
				addr = h.addr // where nobody watches, a loop may carry it
			}
			w := h.another(name)
			c := testkit.ConnectMQTT(t, addr, w.config(v))
			c.Subscribe(testkit.Filter("load", 0))
			c.Messages(100)
			h.revoke(w)
			revoked.Store(true)
			after := next.Load() + 1
			c.Closed()
			h.gone(name)
			revoked.Store(false)
			for _, p := range c.Inbox() {
				if n, _ := strconv.ParseInt(p.Payload, 10, 64); n > after {
					t.Fatalf("message %d was published after number %d, when the revocation had returned, and delivered", n, after)
				}
			}
		}
		close(stop)
		<-stopped
		if n := late.Load(); n > 0 {
			t.Errorf("%d times something was written to the client after the revocation had returned", n)
		}
	})
}

// M18: a client that does not read is cut as fast as others, whatever it speaks.
func TestCutOfWhoDoesNotRead(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		h.device("deaf", all)
		secure := h.listen(&Listener{Name: "tls", Tokens: true, TLS: h.tls(false)})
		web := h.serveWebSocket(&Listener{Name: "web", Tokens: true}, nil)
		for name, dial := range map[string]func(*who) func(){
			"TCP": func(w *who) func() {
				c := h.connect(w, mqtt.V5)
				c.Subscribe(testkit.Filter("flood", 0))
				return func() { c.Closed() }
			},
			"TLS": func(w *who) func() {
				c := testkit.ConnectMQTT(h, secure, w.config(mqtt.V5, func(c *testkit.MQTTConfig) { c.TLS = h.trusting() }))
				c.Subscribe(testkit.Filter("flood", 0))
				return func() { c.Closed() }
			},
			"WebSocket": func(w *who) func() {
				c := h.dialWebSocket(web)
				c.Write(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, ClientID: []byte("deaf"), HasUser: true, User: []byte(w.token)}))
				c.Read(make([]byte, 100))
				c.Write(mqtt.AppendSubscribe(nil, mqtt.V5, 1, nil, []mqtt.Filter{testkit.Filter("flood", 0)}))
				c.Read(make([]byte, 100))
				return func() { h.closed(c) }
			},
		} {
			w := h.another("deaf")
			closed := dial(w)
			h.flood("flood")
			start := time.Now()
			h.revoke(w)
			h.gone("deaf")
			h.eventually("the seats are free", func() bool { n, _ := h.door.seats.Taken(); return n == 0 })
			if d := time.Since(start); d > 3*time.Second { // the farewell of TLS and of WebSocket alone would take 5 s
				t.Errorf("%s: it took %v", name, d)
			}
			closed()
		}
	})
}

// X07, X08: a certificate that is revoked ends its session, and gets into no other: by no new handshake, nor by one that resumes.
func TestRevokedCertificate(t *testing.T) {
	h := newHouse(t)
	h.device("cam", all)
	addr := h.listen(&Listener{Name: "tls", Certificates: true, TLS: h.tls(true)})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		w, cert := h.certificate("cam", time.Hour)
		conf := h.trusting(cert)
		conf.MinVersion, conf.MaxVersion = version, version
		conf.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		plain := conf.Clone()
		plain.ClientSessionCache = nil
		config := func(c *tls.Config) testkit.MQTTConfig {
			return testkit.MQTTConfig{ClientID: "cam", TLS: c}
		}
		for range 2 { // the second resumes
			c := testkit.ConnectMQTT(t, addr, config(conf))
			c.Disconnect()
		}
		if !h.resumes(addr, conf) {
			t.Fatal("sessions are not resumed, so that nothing is proved")
		}
		c := testkit.ConnectMQTT(t, addr, config(conf))
		h.revoke(w)
		if code, said := c.Closed(); !said || code != mqtt.NotAuthorized {
			t.Errorf("told 0x%02X %v", byte(code), said)
		}
		for name, conf := range map[string]*tls.Config{"resumed": conf, "anew": plain} {
			c := testkit.DialMQTT(t, addr, config(conf))
			_ = c.TrySend(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, ClientID: []byte("cam")}))
			if p, _, err := c.Read(); err == nil {
				t.Errorf("%s: answered with %v", name, p.Head.Type)
			}
		}
	}
}

// resumes reports whether a TLS session is resumed.
func (h *house) resumes(addr string, conf *tls.Config) bool {
	h.Helper()
	c := tls.Client(h.raw(addr), conf)
	h.must(c.Handshake())
	defer c.Close()
	return c.ConnectionState().DidResume
}

// X09: a certificate that expires during a session ends it.
func TestCertificateExpiresDuringSession(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.device("cam", all)
	addr := h.listen(&Listener{Name: "tls", Certificates: true, TLS: h.tls(true)})
	_, cert := h.certificate("cam", 2*time.Second)
	config := testkit.MQTTConfig{ClientID: "cam", TLS: h.trusting(cert)}
	c := testkit.ConnectMQTT(t, addr, config)
	if code, said := c.Closed(); !said || code != mqtt.NotAuthorized {
		t.Errorf("told 0x%02X %v", byte(code), said)
	}
	h.eventually("it is refused", func() bool {
		c := testkit.DialMQTT(t, addr, config)
		defer c.Drop()
		_ = c.TrySend(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, ClientID: []byte("cam")}))
		_, _, err := c.Read()
		return err != nil
	})
}

// Sessions are listed with who, whence and how much; the numbers of those that are over go into the door's.
func TestSessionsAreListed(t *testing.T) {
	h := newHouse(t)
	w := h.device("pump", "allow mqtt:* a/#")
	c := h.connect(w, mqtt.V5, called("pump:1"))
	c.Subscribe(testkit.Filter("a/#", 0), testkit.Filter("b", 0))
	c.Publish("a/b", "x", 1)
	c.Publish("b", "x", 1)
	c.Message()
	list := h.gate.Sessions(credential.SessionFilter{Door: "mqtt"})
	if len(list) != 1 {
		t.Fatalf("%+v", list)
	}
	s := list[0]
	if s.Principal != "pump" || s.Credential != w.cred || s.About != "MQTT 5.0, client pump:1" || s.Kind != "connection" || s.Source.String() != "127.0.0.1" {
		t.Errorf("%+v", s)
	}
	if n := s.Traffic; n == nil || n.MessagesIn != 2 || n.MessagesOut != 1 || n.Refused != 2 || n.BytesIn == 0 || n.BytesOut == 0 || time.Since(n.LastActive) > time.Hour {
		t.Errorf("%+v", n)
	}
	c.Disconnect()
	h.gone("pump")
	if n := h.door.Stats(); n.Connects != 1 || n.MessagesIn != 2 || n.MessagesOut != 1 || n.Denied != 2 || n.Sessions != 0 {
		t.Errorf("%+v", n)
	}
}

// stuck is a broker that takes no client's farewell, for as long as it is not interrupted.
type stuck struct{ Upstream }

func (stuck) Run(_ context.Context, s *Session) error {
	interrupted := make(chan struct{}, 100)
	s.OnEnd(func() { interrupted <- struct{}{} })
	for !s.over() {
		if _, err := s.Next(); err != nil {
			return err
		}
	}
	<-interrupted
	return nil
}

// M18: a client's farewell that a broker does not take keeps its session from nothing: it can be cut, and a server can stop.
func TestCutAfterFarewell(t *testing.T) {
	h := newHouse(t, func(h *house, c *Config) { c.Upstream = stuck{h.embedded()} })
	w, other := h.device("pump", all), h.device("other", all)
	for _, one := range []*who{w, other} {
		c := h.raw(h.addr)
		c.Write(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V311, CleanStart: true, ClientID: []byte(one.name), HasUser: true, User: []byte(one.token)}))
		h.eventually("it is there", func() bool { return h.sessions(one.name) == 1 })
		c.Write(mqtt.AppendDisconnect(nil, mqtt.V311, mqtt.Success, nil))
		h.eventually("it has said farewell", func() bool {
			h.door.mu.Lock()
			defer h.door.mu.Unlock()
			for s := range h.door.sessions {
				if s.clientID == one.name {
					return s.over()
				}
			}
			return false
		})
	}
	h.revoke(w)
	h.gone("pump")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	h.must(h.door.Shutdown(ctx))
}

// A credential that changes between its proof and the watch: the session is whom the watch has found, and not somebody who
// must be looked up again with every packet.
func TestChangedBeforeTheWatch(t *testing.T) {
	h := newHouse(t)
	w := h.device("pump", all)
	ctx := context.Background()
	id, out := h.gate.Authenticate(ctx, &gate.Evidence{Token: w.token, Door: doorName})
	if out.Reason != credential.OK {
		t.Fatal(out)
	}
	_, err := h.authority.UpdatePrincipal(ctx, h.local, "pump", authority.PrincipalPatch{Attrs: &map[string]string{"site": "b"}})
	h.must(err)
	s := &Session{door: h.door}
	if why := s.begin(ctx, id); why != credential.OK {
		t.Fatal(why)
	}
	defer s.watch.Close()
	if now := s.id.Load(); now.Attrs["site"] != "b" || !h.gate.Prompt(now) {
		t.Errorf("the session is %+v", now.Holder)
	}
}
