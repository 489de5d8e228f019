package mqttdoor

import (
	"net/netip"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/intake"
	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// Anonymous access is for a listener that names the credential that clients are then, and for clients that show nothing at all.
func TestAnonymous(t *testing.T) {
	h := newHouse(t)
	guest := h.service("guest", "allow mqtt:subscribe public/#")
	addr := h.listen(&Listener{Name: "open", Tokens: true, Anonymous: guest.cred})
	shut := h.listen(&Listener{Name: "shut"})
	for _, v := range versions {
		c := testkit.ConnectMQTT(t, addr, testkit.MQTTConfig{Version: v, ClientID: "anybody"})
		if codes := c.Subscribe(testkit.Filter("public/#", 0), testkit.Filter("#", 0)); codes[0] != 0 || codes[1] != failed(v) {
			t.Errorf("SUBACK %x", codes)
		}
		for name, change := range map[string]func(*testkit.MQTTConfig){
			"a wrong token":   func(c *testkit.MQTTConfig) { c.User = "cardea_x" },
			"a user name":     func(c *testkit.MQTTConfig) { c.User = "anybody" },
			"a used id":       func(c *testkit.MQTTConfig) { c.ClientID = "x"; c.User, c.Password = "x", "wrong" },
			"a device's name": func(c *testkit.MQTTConfig) { c.ClientID = h.device("pump-"+versionName(v), all).name },
		} {
			conf := testkit.MQTTConfig{Version: v, ClientID: "other"}
			change(&conf)
			if code := h.knock(addr, conf); code != mqtt.NotAuthorized {
				t.Errorf("%s: 0x%02X", name, byte(code))
			}
		}
		// An empty user name is a user name, and where tokens do not count one is still shown.
		alone := h.listen(&Listener{Name: "alone", Anonymous: guest.cred})
		for where, user := range map[string]string{addr: "", alone: "anybody"} {
			m := testkit.DialMQTT(t, where, testkit.MQTTConfig{Version: v})
			m.Send(mqtt.AppendConnect(nil, &mqtt.Connect{Version: v, CleanStart: true, ClientID: []byte("other"), HasUser: true, User: []byte(user)}))
			if code := m.Expect(mqtt.CONNACK).Connack.Code; code != mqtt.NotAuthorized {
				t.Errorf("user name %q: 0x%02X", user, byte(code))
			}
			m.Drop()
		}
		for _, where := range []string{h.addr, shut} {
			if code := h.knock(where, testkit.MQTTConfig{Version: v, ClientID: "anybody"}); code != mqtt.NotAuthorized {
				t.Errorf("elsewhere: 0x%02X", byte(code))
			}
		}
		// A listener without proofs lets nobody in.
		if code := h.knock(shut, guest.config(v)); code != mqtt.NotAuthorized {
			t.Errorf("where nothing counts: 0x%02X", byte(code))
		}
		c.Disconnect()
		h.gone("guest")
	}
	c := testkit.ConnectMQTT(t, addr, testkit.MQTTConfig{ClientID: "anybody"})
	h.revoke(guest)
	c.Closed()
	if code := h.knock(addr, testkit.MQTTConfig{ClientID: "anybody"}); code != mqtt.NotAuthorized {
		t.Errorf("revoked: 0x%02X", byte(code))
	}
}

// The rules of a listener bind everybody there, beside their own: publish, subscribe, delivery and will; templates speak of the client.
func TestListenerRules(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		w := h.device("pump", all)
		pub := h.connect(h.service("pub", all), mqtt.V5)
		addr := h.listen(&Listener{
			Name: "narrow", Tokens: true, RefusedFilter: mqtt.Unspecified,
			Rules: h.set("allow mqtt:* dev/${principal}/#", "allow mqtt:subscribe all/+", "deny mqtt:subscribe all/secret qos=2", "deny mqtt:publish dev/+/no"),
		})
		c := testkit.ConnectMQTT(t, addr, w.config(mqtt.V5))
		if codes := c.Subscribe(testkit.Filter("dev/pump/#", 0), testkit.Filter("dev/cam/#", 0), testkit.Filter("#", 0), testkit.Filter("all/+", 1)); codes[0] != 0 || codes[1] != 0x80 || codes[2] != 0x80 || codes[3] != 1 {
			t.Errorf("SUBACK %x", codes)
		}
		for topic, ok := range map[string]bool{"dev/pump/a": true, "dev/cam/a": false, "dev/pump/no": false, "all/x": false} {
			if code := c.Publish(topic, topic, 1); code.Failed() == ok {
				t.Errorf("publish to %s: 0x%02X", topic, byte(code))
			}
		}
		if p := c.Message(); p.Payload != "dev/pump/a" {
			t.Errorf("%q", p.Payload)
		}
		pub.Publish("all/x", "delivered", 1)
		if p := c.Message(); p.Payload != "delivered" {
			t.Errorf("%q", p.Payload)
		}
		if code := h.knock(addr, w.config(mqtt.V5, leaving("state", 0))); code != mqtt.NotAuthorized {
			t.Errorf("will: 0x%02X", byte(code))
		}
		// They hold where they are, and nowhere else.
		if codes := h.connect(w, mqtt.V5, called("pump:2")).Subscribe(testkit.Filter("#", 0)); codes[0] != 0 {
			t.Errorf("elsewhere: %x", codes)
		}
	})
}

// proxied is a connection with a PROXY header in front.
func (h *house) proxied(addr, source string) *testkit.MQTT {
	h.Helper()
	c := testkit.DialMQTT(h, addr, testkit.MQTTConfig{})
	c.Send(intake.AppendProxy(nil, netip.MustParseAddrPort(source), netip.MustParseAddrPort("192.0.2.1:8883")))
	return c
}

// A listener behind a proxy believes the addresses that allowed peers tell, for networks of credentials and of rules, and takes nobody else.
func TestProxyHeader(t *testing.T) {
	h := newHouse(t, limits(Limits{Failures: 5, FailureTime: time.Hour, PerSource: 2}))
	h.device("pump", all)
	far := h.another("pump", func(n *authority.NewCredential) { n.Networks = elsewhere })
	ruled := h.device("ruled", "allow mqtt:subscribe a networks=198.51.100.0/24")
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	addr := h.listen(&Listener{Name: "proxy", Tokens: true, Proxies: loopback})

	// A peer that is no proxy gets nothing, header or not.
	foreign := h.listen(&Listener{Name: "foreign", Tokens: true, Proxies: elsewhere})
	raw := h.raw(foreign)
	raw.Write(intake.AppendProxy(nil, netip.MustParseAddrPort("198.51.100.7:1"), netip.MustParseAddrPort("192.0.2.1:1")))
	if got := h.closed(raw); len(got) > 0 {
		t.Errorf("answered with % x", got)
	}
	raw = h.raw(foreign)
	raw.Write(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, ClientID: []byte("ruled"), HasUser: true, User: []byte(ruled.token)}))
	if got := h.closed(raw); len(got) > 0 {
		t.Errorf("answered with % x", got)
	}

	c := h.proxied(addr, "198.51.100.7:1234")
	if code := c.Connect(far.config(mqtt.V5)); code != mqtt.Success {
		t.Errorf("from its network: 0x%02X", byte(code))
	}
	if list := h.gate.Sessions(credential.SessionFilter{Principal: "pump"}); len(list) != 1 || list[0].Source.String() != "198.51.100.7" {
		t.Errorf("%+v", list)
	}
	if code := h.proxied(addr, "203.0.113.9:1234").Connect(far.config(mqtt.V5)); code != mqtt.NotAuthorized {
		t.Errorf("from elsewhere: 0x%02X", byte(code))
	}
	for source, want := range map[string]byte{"198.51.100.8:1": 0, "203.0.113.8:1": byte(mqtt.NotAuthorized)} {
		c := h.proxied(addr, source)
		c.Connect(ruled.config(mqtt.V5, called("ruled:"+source[:3])))
		if codes := c.Subscribe(testkit.Filter("a", 0)); codes[0] != want {
			t.Errorf("from %s: SUBACK %x", source, codes)
		}
	}
	// As many as it likes: the limit is for sources that connect themselves.
	for range 5 {
		h.proxied(addr, "198.51.100.7:1").Drop()
	}
	for name, first := range map[string]string{
		"none":      string(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5})),
		"version 1": "PROXY TCP4 198.51.100.7 192.0.2.1 1 2\r\n",
		"garbage":   "\r\n\r\n\x00\r\nQUIT\n\xff\xff\xff\xff",
	} {
		c := h.raw(addr)
		c.Write([]byte(first))
		if got := h.closed(c); len(got) > 0 {
			t.Errorf("%s: answered with % x", name, got)
		}
	}
	// Failures count for whom the proxy speaks, not for the proxy.
	for range 6 {
		c := h.proxied(addr, "203.0.113.66:1")
		_ = c.TrySend(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, ClientID: []byte("x")}))
		c.Closed()
	}
	c = h.proxied(addr, "203.0.113.66:1")
	_ = c.TrySend(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, ClientID: []byte("x")}))
	if p, _, err := c.Read(); err == nil {
		t.Errorf("who failed too often is answered with %v", p.Head.Type)
	}
	if code := h.proxied(addr, "198.51.100.9:1").Connect(far.config(mqtt.V5, called("pump:9"))); code != mqtt.Success {
		t.Errorf("another one: 0x%02X", byte(code))
	}
}

// A source that fails too often waits; one that has too many connections gets no further one. Others notice nothing.
func TestLimitsPerSource(t *testing.T) {
	h := newHouse(t, limits(Limits{Failures: 3, FailureTime: 300 * time.Millisecond, PerSource: 4}))
	w := h.device("pump", all)
	c := h.connect(w, mqtt.V5)
	for range 3 {
		h.knock(h.addr, testkit.MQTTConfig{ClientID: "x"})
	}
	raw := h.raw(h.addr)
	if got := h.closed(raw); len(got) > 0 {
		t.Errorf("answered with % x", got)
	}
	c.Ping()
	h.eventually("it may try again", func() bool {
		m := testkit.DialMQTT(t, h.addr, testkit.MQTTConfig{})
		defer m.Drop()
		_ = m.TrySend(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, ClientID: []byte("pump:2"), HasUser: true, User: []byte(w.token)}))
		p, _, err := m.Read()
		return err == nil && p.Connack.Code == mqtt.Success
	})
	h.eventually("one is left", func() bool { n, _ := h.door.seats.Taken(); return n == 1 })
	for range 3 {
		h.raw(h.addr)
	}
	h.eventually("four sit", func() bool { n, _ := h.door.seats.Taken(); return n == 4 })
	if got := h.closed(h.raw(h.addr)); len(got) > 0 {
		t.Errorf("answered with % x", got)
	}
	c.Ping()
	if n := h.door.Stats().TurnedAway; n < 2 {
		t.Errorf("%d were turned away", n)
	}
}
