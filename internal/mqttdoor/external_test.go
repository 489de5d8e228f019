package mqttdoor

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cardea/internal/ca"
	"cardea/internal/intake"
	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// A broker that is down: clients are told to come again, one log line says so, and it goes on by itself when the broker is back.
func TestBrokerDown(t *testing.T) {
	broker := testkit.StartMosquitto(t, "")
	r := newRelay(t, to(broker.Addr))
	h := newHouse(t, behindRelay(r))
	w := h.device("pump", all)
	r.stop()
	for range 2 {
		for v, want := range map[mqtt.Version]string{mqtt.V311: "\x20\x02\x00\x03", mqtt.V5: "\x20\x03\x00\x88\x00"} {
			c := h.raw(h.addr)
			c.Write(mqtt.AppendConnect(nil, &mqtt.Connect{Version: v, CleanStart: true, ClientID: []byte("pump"), HasUser: true, User: []byte(w.token)}))
			if got := h.closed(c); string(got) != want {
				t.Errorf("%s: answered with % x", versionName(v), got)
			}
		}
	}
	h.logged("the broker behind the MQTT door cannot be reached", 1)
	h.gone("pump")
	r.start()
	c := h.connect(w, mqtt.V5)
	c.Ping()
	h.logged("the broker behind the MQTT door can be reached again", 1)
	// Nobody has failed of those who were turned away: it was not their fault.
	if n := h.door.Stats(); n.BrokerRefused != 0 {
		t.Errorf("%+v", n)
	}
	if x := h.door.upstream.(*External); x.Down() || x.Failures() == 0 {
		t.Errorf("down: %v, %d failures", x.Down(), x.Failures())
	}
}

// A broker that goes while sessions live ends them, and they come back when it does, with what it has kept.
func TestBrokerDies(t *testing.T) {
	broker := testkit.StartMosquitto(t, "")
	r := newRelay(t, to(broker.Addr))
	h := newHouse(t, behindRelay(r))
	w := h.device("pump", all)
	five, three := h.connect(w, mqtt.V5, staying), h.connect(w, mqtt.V311, called("pump:3"))
	five.Subscribe(testkit.Filter("a", 1))
	r.stop()
	if code, said := five.Closed(); !said || code != mqtt.ServerUnavailable {
		t.Errorf("told 0x%02X %v", byte(code), said)
	}
	three.Closed()
	h.gone("pump")
	r.start()
	testkit.ConnectMQTT(t, broker.Addr, testkit.MQTTConfig{ClientID: "x"}).Publish("a", "kept", 1)
	five = h.connect(w, mqtt.V5, staying)
	if p := five.Message(); p.Payload != "kept" {
		t.Errorf("%q", p.Payload)
	}
	h.logged("an MQTT session lost its broker", 1)
	h.logged("invalid", 0)
}

// The door shows a broker the principal's name and its own password. If that is wrong clients are told to come again, and the
// administrator once that it is the door's fault.
func TestDoorPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passwords")
	h := (*house)(nil)
	for password, ok := range map[string]bool{"door secret": true, "wrong": false, "": false} {
		h = newHouse(t, func(h *house, c *Config) {
			for _, name := range []string{"pump", "pump2"} {
				args := []string{"-b", file, name, "door secret"}
				if name == "pump" {
					args = append([]string{"-c"}, args...)
				}
				if out, err := exec.Command("mosquitto_passwd", args...).CombinedOutput(); err != nil {
					h.Fatalf("%v\n%s", err, out)
				}
			}
			h.mosquitto = testkit.StartMosquitto(h, "allow_anonymous false\npassword_file "+file)
			c.Upstream = h.external(ExternalConfig{Address: h.mosquitto.Addr, Password: password})
		})
		for _, v := range versions {
			for _, name := range []string{"pump", "pump2"} {
				if v == mqtt.V311 {
					h.device(name, all)
				}
				want := mqtt.ServerUnavailable
				if ok {
					want = mqtt.Success
				}
				if code := h.knock(h.addr, h.another(name).config(v, called(name))); code != want {
					t.Errorf("password %q, %s: 0x%02X", password, versionName(v), byte(code))
				}
			}
		}
		lines := 1
		if ok {
			lines = 0
		}
		h.logged("the broker behind the MQTT door refuses sessions", lines)
		if strings.Contains(h.log.String(), "door secret") || strings.Contains(h.log.String(), "wrong") {
			t.Error("the password is in the log")
		}
	}
}

// What a broker takes the session for: the principal, with its organisation in front unless that is the default one.
func TestIdentify(t *testing.T) {
	x, err := NewExternal(ExternalConfig{Address: "127.0.0.1:1883", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	for org, want := range map[string]string{"default": "pump", "acme": "acme/pump"} {
		c := mqtt.Connect{Version: mqtt.V5}
		x.identify(&c, "pump", org)
		if !c.HasUser || string(c.User) != want || !c.HasPassword || string(c.Password) != "secret" {
			t.Errorf("%s: %+v", org, c)
		}
	}
	for _, addr := range []string{"", "127.0.0.1", "mqtt://x:1", "::1"} {
		if _, err := NewExternal(ExternalConfig{Address: addr}); err == nil {
			t.Errorf("the address %q is taken", addr)
		}
	}
}

// A client of 5.0 in front of a broker of 3.1.1 alone is told so, whether the door knows or finds out; one of 3.1.1 is served.
func TestBrokerOfOneVersion(t *testing.T) {
	known := newHouse(t, func(h *house, c *Config) {
		h.mosquitto = testkit.StartMosquitto(h, "")
		c.Upstream = h.external(ExternalConfig{Address: h.mosquitto.Addr, Version: mqtt.V311})
	})
	old := newRelay(t, func(c net.Conn) { // answers everything as 3.1.1 answers what it does not speak
		c.Read(make([]byte, 1000))
		c.Write([]byte("\x20\x02\x00\x01"))
		io.Copy(io.Discard, c)
	})
	found := newHouse(t, behindRelay(old))
	for _, h := range []*house{known, found} {
		w := h.device("pump", all)
		if code := h.knock(h.addr, w.config(mqtt.V5)); code != mqtt.UnsupportedVersion {
			t.Errorf("5.0 is told 0x%02X", byte(code))
		}
	}
	known.connect(known.another("pump"), mqtt.V311).Ping()
}

// TLS to the broker: the door believes it by its authority, and shows a certificate. Without one, or believing another one, it does not get in.
func TestBrokerWithTLS(t *testing.T) {
	var shown tls.Certificate
	var roots *x509.CertPool
	var addr string
	conf := func(certs ...tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: certs}
	}
	h := newHouse(t, func(h *house, c *Config) {
		dir := h.TempDir()
		l, err := ca.NewListener(h.ca, []string{"localhost"}, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, time.Now)
		h.must(err)
		own, err := l.GetCertificate(&tls.ClientHelloInfo{})
		h.must(err)
		var chain []byte
		for _, der := range own.Certificate {
			chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		}
		key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
		h.must(err)
		for name, b := range map[string][]byte{
			"ca": h.authority.TrustAnchor(), "cert": chain, "key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		} {
			h.must(os.WriteFile(filepath.Join(dir, name), b, 0o600))
		}
		h.mosquitto = testkit.StartMosquitto(h, strings.NewReplacer("DIR", dir).Replace("cafile DIR/ca\ncertfile DIR/cert\nkeyfile DIR/key\nrequire_certificate true"))
		addr = h.mosquitto.Addr
		h.service("door", all)
		_, shown = h.certificate("door", time.Hour)
		roots = h.trusting().RootCAs
		c.Upstream = h.external(ExternalConfig{Address: addr, TLS: conf(shown)})
	})
	w := h.device("pump", all)
	for _, v := range versions {
		c := h.connect(w, v)
		c.Subscribe(testkit.Filter("a", 1))
		c.Publish("a", "x", 1)
		c.Message()
		c.Disconnect()
	}
	for name, c := range map[string]*tls.Config{
		"no certificate": conf(), "another authority": {RootCAs: x509.NewCertPool(), ServerName: "localhost", Certificates: []tls.Certificate{shown}},
		"another name": {RootCAs: roots, ServerName: "broker.example.com", Certificates: []tls.Certificate{shown}},
	} {
		h := newHouse(t, func(h *house, cc *Config) { cc.Upstream = h.external(ExternalConfig{Address: addr, TLS: c}) })
		w := h.device("pump", all)
		for range 2 {
			if code := h.knock(h.addr, w.config(mqtt.V5)); code != mqtt.ServerUnavailable {
				t.Errorf("%s: 0x%02X", name, byte(code))
			}
		}
		if n := strings.Count(h.log.String(), "\n"); n != 1 {
			t.Errorf("%s: %d lines of log\n%s", name, n, h.log)
		}
	}
}

// With proxy_protocol the broker is told the client's address, for sessions and for what the door does on a client's behalf.
func TestProxyHeaderToTheBroker(t *testing.T) {
	broker := testkit.StartMosquitto(t, "")
	seen := make(chan [2]netip.AddrPort, 10)
	r := newRelay(t, func(c net.Conn) {
		src, dst, err := intake.ReadProxy(c)
		if err != nil {
			t.Error(err)
			return
		}
		seen <- [2]netip.AddrPort{src, dst}
		to(broker.Addr)(c)
	})
	h := newHouse(t, behindRelay(r, func(c *ExternalConfig) { c.Proxy = true }))
	w := h.device("pump", all)
	c := h.connect(w, mqtt.V5, leaving("a", 0))
	if got := <-seen; got[0].String() != c.LocalAddr().String() || got[1].String() != h.addr {
		t.Errorf("the broker is told %v, want %v and %v", got, c.LocalAddr(), h.addr)
	}
	c.Drop()
	if got := <-seen; got[0].String() != c.LocalAddr().String() {
		t.Errorf("of the will the broker is told %v", got)
	}
	// What a proxy in front has said goes on.
	addr := h.listen(&Listener{Name: "proxy", Tokens: true, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	h.proxied(addr, "[2001:db8::7]:99").Connect(w.config(mqtt.V5))
	if got := <-seen; got[0].String() != "[2001:db8::7]:99" {
		t.Errorf("behind a proxy the broker is told %v", got)
	}
}

// A broker that sends what it must not ends the session; nothing of it reaches the client, and it costs no memory.
func TestBrokerThatSendsGarbage(t *testing.T) {
	connack := "\x20\x03\x00\x00\x00"
	w := (*who)(nil)
	var say []byte
	r := newRelay(t, func(c net.Conn) {
		c.Read(make([]byte, 1000))
		c.Write(say)
		io.Copy(io.Discard, c)
	})
	h := newHouse(t, behindRelay(r, func(c *ExternalConfig) { c.Dial = time.Second }))
	w = h.device("pump", all)
	long := append([]byte(connack+"\x30\xff\xff\xff\x7f\x00\x01a\xff\xff\xff\x7e"), make([]byte, 4<<20)...)
	for name, tc := range map[string]struct {
		say       []byte
		connected bool
	}{
		"nothing but noise":         {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), false},
		"PUBLISH before CONNACK":    {mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{Topic: []byte("a")}, nil), false},
		"a CONNACK with a failure":  {[]byte("\x20\x03\x00\x99\x00"), false},
		"a CONNACK of half a line":  {[]byte("\x20\x03\x00"), false},
		"two CONNACKs":              {[]byte(connack + connack), true},
		"a CONNECT":                 {append([]byte(connack), mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5})...), true},
		"a SUBSCRIBE":               {append([]byte(connack), mqtt.AppendSubscribe(nil, mqtt.V5, 1, nil, []mqtt.Filter{testkit.Filter("a", 0)})...), true},
		"a SUBACK of nothing":       {append([]byte(connack), mqtt.AppendSuback(nil, mqtt.V5, mqtt.SUBACK, 1, nil, []byte{0})...), true},
		"AUTH":                      {[]byte(connack + "\xf0\x00"), true},
		"a wildcard":                {append([]byte(connack), "\x30\x04\x00\x01#\x00"...), true},
		"an alias that is not ours": {append([]byte(connack), mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{Props: mqtt.Properties(nil).AppendNumber(mqtt.TopicAlias, 3)}, nil)...), true},
		"type 0":                    {[]byte(connack + "\x00\x00"), true},
		"a length without end":      {[]byte(connack + "\x30\xff\xff\xff\xff"), true},
		"properties without end":    {long, true},
	} {
		say = tc.say
		before := heap()
		c := testkit.DialMQTT(t, h.addr, testkit.MQTTConfig{})
		code := c.Connect(w.config(mqtt.V5))
		switch {
		case tc.connected && code != mqtt.Success || !tc.connected && code != mqtt.ServerUnavailable:
			t.Errorf("%s: CONNACK 0x%02X", name, byte(code))
		case tc.connected:
			if code, said := c.Closed(); !said || code != mqtt.ServerUnavailable {
				t.Errorf("%s: told 0x%02X %v", name, byte(code), said)
			}
			if got := c.Inbox(); len(got) > 0 {
				t.Errorf("%s: delivered %q", name, got[0].Raw)
			}
		}
		c.Drop()
		h.gone("pump")
		if more := heap() - before; more > 4<<20 {
			t.Errorf("%s: %d bytes more than before", name, more)
		}
	}
}

// A session is not held up by a broker that accepts connections and says nothing: revoked, it ends at once (M18).
func TestBrokerThatSaysNothing(t *testing.T) {
	r := newRelay(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	for name, c := range map[string]*tls.Config{"CONNACK": nil, "TLS": {InsecureSkipVerify: true}} {
		h := newHouse(t, behindRelay(r, func(x *ExternalConfig) { x.TLS, x.Dial = c, time.Hour }))
		w := h.device("pump", all)
		m := testkit.DialMQTT(t, h.addr, testkit.MQTTConfig{})
		m.Send(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, ClientID: []byte("pump"), HasUser: true, User: []byte(w.token)}))
		h.eventually("the session is there", func() bool { return h.door.Stats().Sessions == 1 })
		h.revoke(w)
		if p := m.Expect(mqtt.CONNACK); p.Connack.Code != mqtt.NotAuthorized {
			t.Errorf("%s: 0x%02X", name, byte(p.Connack.Code))
		}
		m.Closed()
		h.gone("pump")
	}
}

// The broker's server keep alive is the one that counts, at the door too.
func TestKeepAliveOfTheBroker(t *testing.T) {
	h := newHouse(t, func(h *house, c *Config) {
		h.mosquitto = testkit.StartMosquitto(h, "max_keepalive 30")
		c.Upstream = h.external(ExternalConfig{Address: h.mosquitto.Addr})
	})
	w := h.device("pump", all)
	for asked, want := range map[uint16]uint32{10: 10, 50: 30, 0: 30, 1000: 30} {
		c := h.connect(w, mqtt.V5, func(c *testkit.MQTTConfig) { c.KeepAlive = asked })
		if n, ok := c.Connack.Props.Number(mqtt.ServerKeepAlive); ok && n != want || !ok && uint32(asked) != want {
			t.Errorf("%d: told %d %v", asked, n, ok)
		}
		h.door.mu.Lock()
		for s := range h.door.sessions {
			if s.keepAlive.Load() != want {
				t.Errorf("%d: the door counts on %d", asked, s.keepAlive.Load())
			}
		}
		h.door.mu.Unlock()
		c.Disconnect()
		h.gone("pump")
	}
}
