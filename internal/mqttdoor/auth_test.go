package mqttdoor

import (
	"context"
	"testing"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// asking is a method of two steps: the client says hello, is asked for a token, and shows it. It is not one that anybody should use.
type asking struct{ gate *gate.Gate }

type question struct {
	gate  *gate.Gate
	ev    gate.Evidence
	asked bool
}

func (a *asking) Begin(_ *Listener, ev gate.Evidence) Exchange {
	return &question{gate: a.gate, ev: ev}
}

func (q *question) Step(ctx context.Context, data []byte) ([]byte, *gate.Identity, credential.Reason) {
	if !q.asked {
		q.asked = true
		if string(data) != "hello" {
			return nil, nil, credential.MalformedToken
		}
		return []byte("token?"), nil, credential.OK
	}
	q.ev.Token = string(data)
	id, out := q.gate.Authenticate(ctx, &q.ev)
	return []byte("welcome"), id, out.Reason
}

const askingName = "ASK"

func auth(code mqtt.Code, method, data string) []byte {
	var p mqtt.Properties
	if method != "" {
		p = p.AppendText(mqtt.AuthenticationMethod, method)
	}
	if data != "" {
		p = p.AppendText(mqtt.AuthenticationData, data)
	}
	return mqtt.AppendAuth(nil, code, p)
}

func helloAs(id, method, data string) []byte {
	p := mqtt.Properties(nil).AppendText(mqtt.AuthenticationMethod, method)
	if data != "" {
		p = p.AppendText(mqtt.AuthenticationData, data)
	}
	return mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, CleanStart: true, ClientID: []byte(id), Props: p})
}

func text(p mqtt.Properties, id mqtt.PropertyID) string {
	t, _ := p.Text(id)
	return string(t)
}

// S10, S12: enhanced authentication by a method of several steps, in front of both brokers: CONNACK repeats the method and has the
// server's last word, what was sent behind the exchange is served, traffic goes on while a client proves itself again, and only as who it was.
func TestEnhancedAuthentication(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		addr := h.listen(&Listener{Name: "asking", Methods: map[string]Method{askingName: &asking{h.gate}}})
		w := h.device("pump", "allow mqtt:* a/#")
		other := h.device("valve", "allow mqtt:* a/#")
		begin := func() *testkit.MQTT {
			c := testkit.DialMQTT(t, addr, testkit.MQTTConfig{Version: mqtt.V5})
			c.Send(helloAs("pump", askingName, "hello"))
			p := c.Expect(mqtt.AUTH)
			if p.Disconnect.Code != mqtt.ContinueAuthentication || text(p.Disconnect.Props, mqtt.AuthenticationMethod) != askingName ||
				text(p.Disconnect.Props, mqtt.AuthenticationData) != "token?" {
				t.Fatalf("AUTH %+v", p.Disconnect)
			}
			return c
		}
		c := begin()
		c.Send(append(auth(mqtt.ContinueAuthentication, askingName, w.token), mqtt.AppendPing(nil, mqtt.PINGREQ)...))
		p := c.Expect(mqtt.CONNACK).Connack
		if p.Code != mqtt.Success || text(p.Props, mqtt.AuthenticationMethod) != askingName || text(p.Props, mqtt.AuthenticationData) != "welcome" {
			t.Fatalf("CONNACK %+v", p)
		}
		c.Expect(mqtt.PINGRESP)
		c.Subscribe(testkit.Filter("a/#", 1))

		c.Send(auth(mqtt.ReAuthenticate, askingName, "hello"))
		c.Expect(mqtt.AUTH)
		c.Publish("a/b", "while it proves itself", 1)
		c.Message()
		c.Send(auth(mqtt.ContinueAuthentication, askingName, w.token))
		if p := c.Expect(mqtt.AUTH).Disconnect; p.Code != mqtt.Success || text(p.Props, mqtt.AuthenticationData) != "welcome" {
			t.Fatalf("AUTH %+v", p)
		}
		c.Publish("a/b", "after", 1)
		c.Message()

		c.Send(auth(mqtt.ReAuthenticate, askingName, "hello"))
		c.Expect(mqtt.AUTH)
		c.Send(auth(mqtt.ContinueAuthentication, askingName, other.token))
		if code, said := c.Closed(); !said || code != mqtt.NotAuthorized {
			t.Errorf("as somebody else: 0x%02X", byte(code))
		}
		h.gone("pump")

		// The new proof is watched as the old one was.
		c = begin()
		c.Send(auth(mqtt.ContinueAuthentication, askingName, w.token))
		c.Expect(mqtt.CONNACK)
		c.Send(auth(mqtt.ReAuthenticate, askingName, "hello"))
		c.Expect(mqtt.AUTH)
		c.Send(auth(mqtt.ContinueAuthentication, askingName, w.token))
		c.Expect(mqtt.AUTH)
		if n := h.sessions("pump"); n != 1 {
			t.Errorf("%d sessions", n)
		}
		h.revoke(w)
		if code, said := c.Closed(); !said || code != mqtt.NotAuthorized {
			t.Errorf("revoked: 0x%02X", byte(code))
		}
	})
}

// S10: what each packet is answered with that must not come.
func TestEnhancedAuthenticationOutOfOrder(t *testing.T) {
	h := newHouse(t)
	addr := h.listen(&Listener{Name: "asking", Tokens: true, Methods: map[string]Method{askingName: &asking{h.gate}}})
	w := h.device("pump", "allow mqtt:* a/#")
	ping := mqtt.AppendPing(nil, mqtt.PINGREQ)
	for _, one := range []struct {
		what string
		say  [][]byte
		want mqtt.Code
		with mqtt.Type
	}{
		{"an unknown method", [][]byte{helloAs("pump", "OTHER", "hello")}, mqtt.BadAuthenticationMethod, mqtt.CONNACK},
		{"no data", [][]byte{helloAs("pump", askingName, "")}, mqtt.NotAuthorized, mqtt.CONNACK},
		{"a wrong token", [][]byte{helloAs("pump", askingName, "hello"), auth(mqtt.ContinueAuthentication, askingName, "wrong")}, mqtt.NotAuthorized, mqtt.CONNACK},
		{"another method", [][]byte{helloAs("pump", askingName, "hello"), auth(mqtt.ContinueAuthentication, "OTHER", w.token)}, mqtt.BadAuthenticationMethod, mqtt.CONNACK},
		{"no method", [][]byte{helloAs("pump", askingName, "hello"), auth(mqtt.ContinueAuthentication, "", "")}, mqtt.ProtocolError, mqtt.CONNACK},
		{"another code", [][]byte{helloAs("pump", askingName, "hello"), auth(mqtt.ReAuthenticate, askingName, w.token)}, mqtt.ProtocolError, mqtt.CONNACK},
		{"a second CONNECT", [][]byte{helloAs("pump", askingName, "hello"), helloAs("pump", askingName, "hello")}, mqtt.ProtocolError, mqtt.CONNACK},
		{"a PUBLISH", [][]byte{helloAs("pump", askingName, "hello"), mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{Topic: []byte("a")}, nil)}, mqtt.ProtocolError, mqtt.DISCONNECT},
	} {
		c := testkit.DialMQTT(t, addr, testkit.MQTTConfig{Version: mqtt.V5})
		for _, p := range one.say {
			_ = c.TrySend(p)
		}
		p := c.Expect(one.with)
		if code := max(p.Connack.Code, p.Disconnect.Code); code != one.want {
			t.Errorf("%s: 0x%02X, want 0x%02X", one.what, byte(code), byte(one.want))
		}
		c.Closed()
	}
	for _, one := range []struct {
		what string
		by   []byte // CONNECT and what proves
		say  []byte
		want mqtt.Code
	}{
		{"0x18 while connected", nil, auth(mqtt.ContinueAuthentication, askingName, "x"), mqtt.ProtocolError},
		{"0x19 of another method", nil, auth(mqtt.ReAuthenticate, "OTHER", "hello"), mqtt.BadAuthenticationMethod},
		{"0x19 in the middle", nil, append(auth(mqtt.ReAuthenticate, askingName, "hello"), auth(mqtt.ReAuthenticate, askingName, "hello")...), mqtt.ProtocolError},
		{"0x19 after a token", []byte{}, auth(mqtt.ReAuthenticate, askingName, "hello"), mqtt.BadAuthenticationMethod},
	} {
		var c *testkit.MQTT
		if one.by == nil {
			c = testkit.DialMQTT(t, addr, testkit.MQTTConfig{Version: mqtt.V5})
			c.Send(helloAs("pump", askingName, "hello"))
			c.Expect(mqtt.AUTH)
			c.Send(auth(mqtt.ContinueAuthentication, askingName, w.token))
			c.Expect(mqtt.CONNACK)
		} else {
			c = testkit.ConnectMQTT(t, addr, w.config(mqtt.V5))
		}
		c.Send(append(ping, one.say...))
		if code, said := c.Closed(); !said || code != one.want {
			t.Errorf("%s: 0x%02X (told: %v), want 0x%02X", one.what, byte(code), said, byte(one.want))
		}
		h.gone("pump")
	}
}
