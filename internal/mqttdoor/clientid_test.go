package mqttdoor

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// M08: who takes the client id of somebody else's session is refused before that is touched: it lives on, and what is kept for it stays.
func TestUsedClientID(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		suffix := fmt.Sprint(v)
		id := "meter-" + suffix
		victim, thief := h.service("victim"+suffix, all), h.service("thief"+suffix, all)
		pub := h.connect(h.service("pub"+suffix, all), v)
		c := h.connect(victim, v, called(id), staying)
		c.Subscribe(testkit.Filter("to/"+id, 1))
		for _, theirs := range versions {
			for _, how := range []func(*testkit.MQTTConfig){func(*testkit.MQTTConfig) {}, staying} {
				if code := h.knock(h.addr, thief.config(theirs, called(id), how)); code != mqtt.NotAuthorized {
					t.Errorf("a thief of version %s is answered 0x%02X", versionName(theirs), byte(code))
				}
			}
		}
		pub.Publish("to/"+id, "first", 1)
		if p := c.Message(); p.Payload != "first" {
			t.Errorf("%q", p.Payload)
		}

		// While the victim is away the id is free for others, but not what is kept for the victim.
		c.Drop()
		h.gone(victim.name)
		pub.Publish("to/"+id, "second", 1)
		for _, how := range []func(*testkit.MQTTConfig){staying, func(*testkit.MQTTConfig) {}} {
			other := h.connect(thief, v, called(id), how)
			if other.Connack.SessionPresent {
				t.Error("a stranger resumes the session")
			}
			other.Subscribe(testkit.Filter("own/"+suffix, 1))
			pub.Publish("own/"+suffix, "own", 1)
			if got := other.MessagesBefore("own"); len(got) > 0 {
				t.Errorf("a stranger reads %q", got[0].Payload)
			}
			if code := h.knock(h.addr, victim.config(v, called(id))); code != mqtt.NotAuthorized {
				t.Errorf("while the stranger has it, its owner is answered 0x%02X", byte(code))
			}
			other.Disconnect()
			h.gone(thief.name)
		}
		c = h.connect(victim, v, called(id), staying)
		if !c.Connack.SessionPresent {
			t.Error("the session is gone")
		}
		if p := c.Message(); p.Payload != "second" {
			t.Errorf("%q", p.Payload)
		}
		c.Ping()
		// The same principal takes its own session over, by another credential too.
		again := h.connect(h.another(victim.name), v, called(id), staying)
		if !again.Connack.SessionPresent {
			t.Error("the session is gone")
		}
		if code, said := c.Closed(); v == mqtt.V5 && (!said || code != mqtt.SessionTakenOver) {
			t.Errorf("taken over: 0x%02X %v", byte(code), said)
		}
	})
}

// M08: a device has its own name or that with a suffix; nobody else has it, and it has no other.
func TestDeviceClientID(t *testing.T) {
	h := newHouse(t)
	pump, cam, svc := h.device("pump", all), h.device("cam", all), h.service("svc", all)
	for _, v := range versions {
		for _, tc := range []struct {
			who *who
			id  string
			ok  bool
		}{
			{pump, "pump", true},
			{pump, "pump:2", true},
			{pump, "pump:a:b", true},
			{pump, "pump:", true},
			{pump, "pump2", false},
			{pump, "pump-2", false},
			{pump, "Pump", false},
			{pump, "cam", false},
			{pump, "cam:pump", false},
			{pump, ":pump", false},
			{svc, "svc", true},
			{svc, "anything else", true},
			{svc, "pump", false},
			{svc, "pump:1", false},
			{svc, "cam:x", false},
			{svc, "pump2", true},
			{cam, "svc", false},
		} {
			want := mqtt.Success
			if !tc.ok {
				want = mqtt.NotAuthorized
			}
			if code := h.knock(h.addr, tc.who.config(v, called(tc.id))); code != want {
				t.Errorf("%s as %q: 0x%02X", tc.who.name, tc.id, byte(code))
			}
			h.gone(tc.who.name)
		}
	}
}

// A device that is made later has its name by right: a service that went by it is sent away.
func TestDeviceTakesItsName(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		svc := h.service("svc", all)
		was := h.connect(svc, mqtt.V5, called("newcomer:1"))
		bystander := h.connect(svc, mqtt.V5, called("bystander"))
		pump := h.device("newcomer", all)
		c := h.connect(pump, mqtt.V5, called("newcomer:1"))
		if code, said := was.Closed(); !said || code != mqtt.AdministrativeAction {
			t.Errorf("the service is told 0x%02X %v", byte(code), said)
		}
		bystander.Ping()
		c.Ping()
		if code := h.knock(h.addr, svc.config(mqtt.V5, called("newcomer:1"))); code != mqtt.NotAuthorized {
			t.Errorf("the service comes back: 0x%02X", byte(code))
		}
		c.Ping()
	})
}

// M09: a CONNECT that fails, for whatever reason, does nothing to the session whose client id it names.
func TestFailingConnectWithAVictimsID(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		suffix := fmt.Sprint(v)
		victim := h.device("victim"+suffix, "allow mqtt:* a/#")
		revoked := h.another(victim.name)
		h.revoke(revoked)
		c := h.connect(victim, v, staying)
		c.Subscribe(testkit.Filter("a/#", 1))
		for name, change := range map[string]func(*testkit.MQTTConfig){
			"no token":        func(c *testkit.MQTTConfig) { c.User = "" },
			"wrong token":     func(c *testkit.MQTTConfig) { c.User = testkit.Spoil(victim.token) },
			"revoked":         func(c *testkit.MQTTConfig) { c.User = revoked.token },
			"will not its":    leaving("b", 0),
			"another name":    func(c *testkit.MQTTConfig) { c.User, c.Password = "somebody", victim.token },
			"token twice":     func(c *testkit.MQTTConfig) { c.Password = victim.token },
			"unknown method":  func(c *testkit.MQTTConfig) { c.Props = c.Props.AppendText(mqtt.AuthenticationMethod, "X") },
			"of another":      func(c *testkit.MQTTConfig) { c.User = h.service("of-another"+suffix, all).token },
			"of other device": func(c *testkit.MQTTConfig) { c.User = h.device("other-device"+suffix, all).token },
		} {
			if v < mqtt.V5 && name == "unknown method" {
				continue
			}
			if code := h.knock(h.addr, victim.config(v, change)); !code.Failed() {
				t.Errorf("%s: accepted", name)
			}
		}
		h.eventually("only the victim is left", func() bool { return h.door.Stats().Sessions == 1 })
		c.Publish("a/b", "lives", 1)
		if p := c.Message(); p.Payload != "lives" {
			t.Errorf("%q", p.Payload)
		}
	})
}

// M10: names and client ids that could be more than one level of a topic, or more than text, are refused when they are made and when they connect.
func TestHostileNames(t *testing.T) {
	h := newHouse(t)
	svc := h.service("svc", "allow mqtt:* own/${client_id}/#", "allow mqtt:* by/${principal}/#", "allow mqtt:* at/${attr.site}/#")
	hostile := []string{
		"+", "#", "a/b", "a/+", "../x", "a..b", "%2f", "<script>", "a\rb", "a\nb", "a\tb", "a\x7fb", "$SYS", "$share", "a\"b", "a\\b", "a`b", "\u0085", "\ufffd",
		strings.Repeat("x", 257), strings.Repeat("x", 60_000),
	}
	for _, v := range versions {
		for _, id := range hostile {
			if code := h.knock(h.addr, svc.config(v, called(id))); code != mqtt.NotAuthorized {
				t.Errorf("client id %.20q: 0x%02X", id, byte(code))
			}
			c := testkit.MQTTConfig{Version: v, ClientID: "x", User: id, Password: svc.token}
			if code := h.knock(h.addr, c); code != mqtt.NotAuthorized {
				t.Errorf("user name %.20q: 0x%02X", id, byte(code))
			}
		}
		// NUL and what is not UTF-8 are no strings of MQTT at all: 1.5.4.
		for _, id := range []string{"a\x00b", "\xff\xfe", "\xed\xa0\x80"} {
			c := h.raw(h.addr)
			c.Write(mqtt.AppendConnect(nil, &mqtt.Connect{Version: v, CleanStart: true, ClientID: []byte(id), HasUser: true, User: []byte(svc.token)}))
			if got := h.closed(c); v == mqtt.V5 && string(got) != "\x20\x03\x00\x81\x00" || v < mqtt.V5 && len(got) > 0 {
				t.Errorf("client id %q is answered with % x", id, got)
			}
		}
		// 64 KB is more than a CONNECT may have.
		c := h.raw(h.addr)
		c.Write(mqtt.AppendConnect(nil, &mqtt.Connect{Version: v, CleanStart: true, ClientID: []byte(strings.Repeat("x", 65_535)), HasUser: true, User: []byte(svc.token)}))
		h.closed(c)
	}
	for _, name := range hostile {
		_, err := h.authority.CreatePrincipal(context.Background(), h.local, authority.NewPrincipal{Kind: credential.Device, Name: name})
		if err == nil {
			t.Errorf("a device is called %.20q", name)
		}
		_, err = h.authority.UpdatePrincipal(context.Background(), h.local, "svc", authority.PrincipalPatch{Attrs: &map[string]string{"site": name}})
		if err != nil {
			continue
		}
		// What may be an attribute is still no wildcard and no further level of a topic.
		c := h.connect(svc, mqtt.V5, called("x"))
		for _, f := range []string{"at/#", "at/+/x", "at/a/b/x", "at/" + strings.ReplaceAll(name, "\x00", "") + "/x"} {
			if len(f) < 200 && strings.ContainsAny(name, "+#/\r\n\t") && mqtt.ValidFilter([]byte(f)) {
				if codes := c.Subscribe(testkit.Filter(f, 0)); codes[0] < 0x80 {
					t.Errorf("with site %q it may subscribe to %q", name, f)
				}
			}
		}
		c.Disconnect()
	}
	// What a client is called does go into topics, as one level.
	c := h.connect(svc, mqtt.V5, called("x y:z"))
	if codes := c.Subscribe(testkit.Filter("own/x y:z/#", 0), testkit.Filter("by/svc/#", 0), testkit.Filter("own/x/#", 0)); codes[0] != 0 || codes[1] != 0 || codes[2] < 0x80 {
		t.Errorf("SUBACK %x", codes)
	}
}

// A client that brings no id gets one, which it is told; 3.1.1 only for a session that does not last (3.1.3.1 there).
func TestAssignedClientID(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		pump, svc := h.device("pump", "allow mqtt:* by/${client_id}/#"), h.service("svc", "allow mqtt:* by/${client_id}/#")
		seen := map[string]bool{}
		for _, w := range []*who{pump, pump, svc} {
			c := h.connect(w, mqtt.V5, called(""))
			id, _ := c.Connack.Props.Text(mqtt.AssignedClientID)
			if !strings.HasPrefix(string(id), w.name+":") || seen[string(id)] {
				t.Errorf("assigned: %q", id)
			}
			seen[string(id)] = true
			if codes := c.Subscribe(testkit.Filter("by/"+string(id)+"/#", 0)); codes[0] != 0 {
				t.Errorf("SUBACK %x", codes)
			}
			h.connect(w, mqtt.V311, called("")).Ping()
			if code := h.knock(h.addr, w.config(mqtt.V311, called(""), staying)); code != mqtt.ClientIDNotValid {
				t.Errorf("3.1.1 that wants to stay without an id: 0x%02X", byte(code))
			}
		}
		c := h.connect(pump, mqtt.V5)
		if id, ok := c.Connack.Props.Text(mqtt.AssignedClientID); ok {
			t.Errorf("assigned to who has one: %q", id)
		}
	})
}
