package mqttdoor

import (
	"fmt"
	"testing"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// monthly bounds what a credential may do in a month.
func monthly(n int64) func(*authority.NewCredential) {
	return func(c *authority.NewCredential) { c.Limits.PerMonth = n }
}

// A CONNECT, each message and each SUBSCRIBE are requests. What is over the limit is answered as a refused message
// or filter is, and the session lives on where MQTT has an answer; what is delivered costs nothing.
func TestRequestsOfASession(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		name := fmt.Sprintf("pump-%d", v)
		h.device(name, all)
		w := h.another(name, monthly(6))
		witness := h.witness(v)
		c := h.connect(w, v) // 1
		if codes := c.Subscribe(testkit.Filter("to/"+name, 0)); codes[0] != 0 {
			t.Fatalf("SUBACK %x", codes)
		}
		for qos := range byte(3) { // 3, 4, 5
			if code := c.Publish("from", fmt.Sprint(qos), qos); code.Failed() {
				t.Fatalf("QoS %d: 0x%02X", qos, byte(code))
			}
		}
		p := mqtt.Publish{Topic: []byte("from"), QoS: 2, ID: c.SendPublish(mqtt.Publish{Topic: []byte("from"), QoS: 2}, "last")} // 6
		c.Expect(mqtt.PUBREC)
		p.Dup = true
		c.Send(mqtt.AppendPublish(nil, v, &p, []byte("last"))) // it has been charged
		if code := c.Expect(mqtt.PUBREC).Ack.Code; code.Failed() {
			t.Errorf("sent again: 0x%02X", byte(code))
		}
		c.Send(mqtt.AppendAck(nil, v, mqtt.PUBREL, p.ID, mqtt.Success))
		c.Expect(mqtt.PUBCOMP)
		h.only(witness, "0", "1", "2", "last")

		refused := h.door.Stats().Denied
		c.Publish("from", "dropped", 0)
		want := byte(mqtt.QuotaExceeded)
		if v < mqtt.V5 {
			want = 0x80
		}
		if codes := c.Subscribe(testkit.Filter("a", 0), testkit.Filter("b", 1)); len(codes) != 2 || codes[0] != want || codes[1] != want {
			t.Errorf("SUBACK %x, want twice %x", codes, want)
		}
		if n := h.door.Stats().Denied - refused; n != 3 {
			t.Errorf("%d refusals are counted, want 3", n)
		}
		witness.Publish("to/"+name, "delivered", 1)
		if got := c.Message(); got.Payload != "delivered" {
			t.Errorf("delivered: %q", got.Payload)
		}
		if v == mqtt.V5 {
			for qos := byte(1); qos < 3; qos++ {
				if code := c.Publish("from", "refused", qos); code != mqtt.QuotaExceeded {
					t.Errorf("QoS %d: 0x%02X, want 0x97", qos, byte(code))
				}
			}
			c.Ping()
			c.Disconnect()
		} else {
			c.SendPublish(mqtt.Publish{Topic: []byte("from"), QoS: 1}, "refused") // it cannot be told
			c.Closed()
		}
		// The 3.1.1 client is told that it may come again: 3, not 5.
		late := map[mqtt.Version]mqtt.Code{mqtt.V311: mqtt.ServerUnavailable, mqtt.V5: mqtt.QuotaExceeded}[v]
		if code := h.knock(h.addr, w.config(v)); code != late {
			t.Errorf("CONNACK 0x%02X, want 0x%02X", byte(code), byte(late))
		}
		h.only(witness, "delivered")
	})
}

// Limits are in force for a session that lives as soon as they are acknowledged.
func TestLimitsOfALiveSession(t *testing.T) {
	h := newHouse(t)
	w := h.device("pump", all)
	c := h.connect(w, mqtt.V5)
	c.Publish("a", "before", 1)
	h.limit(w.cred, credential.Limits{PerMonth: 2})
	for i, want := range []mqtt.Code{mqtt.Success, mqtt.Success, mqtt.QuotaExceeded} {
		if code := c.Publish("a", "after", 1); code.Failed() != want.Failed() || want.Failed() && code != want {
			t.Errorf("message %d: 0x%02X, want 0x%02X", i, byte(code), byte(want))
		}
	}
	h.limit(w.cred, credential.Limits{})
	if code := c.Publish("a", "without", 1); code.Failed() {
		t.Errorf("without limits: 0x%02X", byte(code))
	}
}

// limit gives a credential limits, as a change of it by the API does.
func (h *house) limit(id string, l credential.Limits) {
	h.Helper()
	rec, err := h.base.Store.Credential(h.Context(), id)
	h.must(err)
	rec.Credential.Limits = l
	done, err := h.base.Store.Commit(h.Context(), credential.Change{
		Ops:    []credential.Op{credential.UpdateCredential{Credential: rec.Credential}},
		Events: []credential.Event{{At: rec.Credential.CreatedAt, Org: rec.Credential.Org, Type: "credential.update", Subject: credential.Subject{Kind: "credential", ID: id}}},
	})
	h.must(err)
	h.must(h.gate.Apply(h.Context(), []credential.Touch{{Seq: done[0].Seq, Org: done[0].Org, Subject: done[0].Subject}}))
}

// SCRAM is charged when it has come to its end, and not when the proof is wrong. A session that proves itself again over the limit ends.
func TestRequestsByScram(t *testing.T) {
	h := newHouse(t)
	h.device("pump", all)
	l := h.scram("pump", monthly(2))
	wrong := *l
	wrong.password += "x"
	c, s := dial(t, h.addr), wrong.client(t, sha256, nil)
	c.Send(helloAs(wrong.name, sha256, s.First()))
	prove(t, c, s, sha256)
	if code := c.Expect(mqtt.CONNACK).Connack.Code; code != mqtt.NotAuthorized {
		t.Errorf("a wrong password: 0x%02X", byte(code))
	}
	live := h.enter(h.addr, l, sha256)
	h.enter(h.addr, l, sha256, func(c *mqtt.Connect) { c.ClientID = []byte("pump:2") })
	c, s = dial(t, h.addr), l.client(t, sha256, nil)
	c.Send(helloAs("pump:3", sha256, s.First()))
	prove(t, c, s, sha256)
	if code := c.Expect(mqtt.CONNACK).Connack.Code; code != mqtt.QuotaExceeded {
		t.Errorf("a third time: 0x%02X, want 0x97", byte(code))
	}
	if code := again(t, live, l, sha256); code != mqtt.QuotaExceeded {
		t.Errorf("proved again: 0x%02X, want 0x97", byte(code))
	}
}
