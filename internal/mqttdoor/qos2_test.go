package mqttdoor

import (
	"fmt"
	"strings"
	"testing"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// half publishes at QoS 2 as far as the PUBREC, and returns the packet id.
func half(t *testing.T, c *testkit.MQTT, topic, payload string) uint16 {
	t.Helper()
	id := c.SendPublish(mqtt.Publish{Topic: []byte(topic), QoS: 2}, payload)
	if code := c.Expect(mqtt.PUBREC).Ack.Code; code.Failed() {
		t.Fatalf("PUBREC 0x%02X", byte(code))
	}
	return id
}

// atPubrel reports whether the broker behind the door distributes messages at QoS 2 when they are released. The embedded
// one does when they come: then what is refused later was published while it was allowed.
func (h *house) atPubrel() bool { return h.mosquitto != nil }

// M12: a message at QoS 2 that is not allowed any more when it is released is not published: the session ends, and the
// broker forgets it with what it holds.
func TestReleaseAfterTheRightIsGone(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		w := h.device(fmt.Sprintf("pump-%d", v), all)
		witness := h.witness(v)
		c := h.connect(w, v, staying)
		id := half(t, c, "a", "refused")
		if !h.atPubrel() {
			h.only(witness, "refused") // it was allowed
		}
		h.may(w.name, "allow mqtt:publish b")
		c.Send(mqtt.AppendAck(nil, v, mqtt.PUBREL, id, mqtt.Success))
		if code, said := c.Closed(); v == mqtt.V5 && (!said || code != mqtt.NotAuthorized) {
			t.Errorf("DISCONNECT 0x%02X %v", byte(code), said)
		}
		h.gone(w.name)
		// Not when it comes back either, whatever its rights are then.
		for i, rules := range []string{"allow mqtt:publish b", all} {
			h.may(w.name, rules)
			c = h.connect(w, v, staying)
			if i == 0 && c.Connack.SessionPresent {
				t.Error("the broker still has the session")
			}
			c.Send(mqtt.AppendAck(nil, v, mqtt.PUBREL, id, mqtt.Success))
			c.Publish("b", "new", 2)
			if p := witness.Message(); p.Payload != "new" {
				t.Errorf("published: %q", p.Payload)
			}
			c.Drop()
			h.gone(w.name)
		}
		h.nothing(witness)
	})
}

// M12: the same when the right goes while the client is away, and it comes back to release.
func TestReleaseAfterReconnect(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		w := h.device(fmt.Sprintf("pump-%d", v), all)
		witness := h.witness(v)
		c := h.connect(w, v, staying)
		kept := half(t, c, "b", "kept")
		id := half(t, c, "a", "refused")
		c.Drop()
		h.gone(w.name)
		if !h.atPubrel() {
			h.only(witness, "kept", "refused") // they were allowed
		}
		h.may(w.name, "allow mqtt:publish b")
		c = h.connect(w, v, staying)
		if !c.Connack.SessionPresent {
			t.Fatal("the session is gone")
		}
		c.Send(mqtt.AppendAck(nil, v, mqtt.PUBREL, kept, mqtt.Success))
		c.Expect(mqtt.PUBCOMP)
		if h.atPubrel() {
			h.only(witness, "kept")
		}
		c.Send(mqtt.AppendAck(nil, v, mqtt.PUBREL, id, mqtt.Success))
		c.Closed()
		h.gone(w.name)
		h.nothing(witness)
	})
}

// M12: a packet id that is in use does not lend its message's right to another one.
func TestPacketIDUsedAgain(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		w := h.device(fmt.Sprintf("pump-%d", v), all)
		witness := h.witness(v)
		pub := func(c *testkit.MQTT, id uint16, topic, payload string, dup bool) {
			c.Send(mqtt.AppendPublish(nil, v, &mqtt.Publish{ID: id, QoS: 2, Topic: []byte(topic), Dup: dup}, []byte(payload)))
		}
		// The same message again is the same message.
		c := h.connect(w, v)
		id := half(t, c, "a", "once")
		pub(c, id, "a", "once", true)
		c.Expect(mqtt.PUBREC)
		c.Send(mqtt.AppendAck(nil, v, mqtt.PUBREL, id, mqtt.Success))
		c.Expect(mqtt.PUBCOMP)
		h.only(witness, "once")
		c.Drop()
		h.gone(w.name)
		// Sent again when the right is gone: the broker has it, and must not publish it.
		c = h.connect(w, v, staying)
		id = half(t, c, "a", "refused")
		if !h.atPubrel() {
			h.only(witness, "refused")
		}
		h.may(w.name, "allow mqtt:publish b")
		pub(c, id, "a", "refused", true)
		c.Closed()
		h.gone(w.name)
		h.nothing(witness)
		// A message at QoS 1 with the id, and its PUBACK, do not make the door forget the one at QoS 2.
		h.may(w.name, all)
		c = h.connect(w, v, staying)
		id = half(t, c, "a", "refused")
		if !h.atPubrel() {
			h.only(witness, "refused")
		}
		h.may(w.name, "allow mqtt:publish b")
		c.Send(mqtt.AppendPublish(nil, v, &mqtt.Publish{ID: id, QoS: 1, Topic: []byte("b")}, []byte("cover")))
		c.Expect(mqtt.PUBACK)
		c.Send(mqtt.AppendAck(nil, v, mqtt.PUBREL, id, mqtt.Success))
		c.Closed()
		h.gone(w.name)
		h.only(witness, "cover")
		// Another message with the id of one that may not be published any more: which of the two the broker takes is not known.
		h.may(w.name, all)
		c = h.connect(w, v, staying)
		id = half(t, c, "a", "refused")
		if !h.atPubrel() {
			h.only(witness, "refused")
		}
		h.may(w.name, "allow mqtt:publish b")
		pub(c, id, "b", "second", false)
		c.Expect(mqtt.PUBREC)
		c.Send(mqtt.AppendAck(nil, v, mqtt.PUBREL, id, mqtt.Success))
		c.Closed()
		h.gone(w.name)
		h.nothing(witness)
	})
}

// A client cannot make the door remember more than so much of what it does not release, whatever ids and topics it takes.
func TestUnreleasedAreBounded(t *testing.T) {
	for name, topic := range map[string]func(int) (uint16, string){
		"long topics": func(i int) (uint16, string) { return uint16(i), strings.Repeat("x", 60_000) },
		"one id":      func(i int) (uint16, string) { return 1, fmt.Sprint(i) },
	} {
		var u unreleased
		var err error
		n := 0
		for ; n < 100_000 && err == nil; n++ {
			id, topic := topic(n)
			err = u.hold(id, topic, false)
		}
		if err == nil || u.size > maxHeld {
			t.Errorf("%s: %d messages in %d bytes, %v", name, n, u.size, err)
		}
		for id := range uint16(1000) {
			u.take(id)
		}
		if u.size != 0 {
			t.Errorf("%s: %d bytes are left when all are released", name, u.size)
		}
	}
}

// What is not released when a connection ends is remembered for so many sessions, the newest.
func TestShelfIsBounded(t *testing.T) {
	var f shelf
	for i := range 10 * maxShelf {
		key := fmt.Sprint(i)
		u := f.use(key)
		h := u.hold(1, "a", false)
		if h != nil {
			t.Fatal(h)
		}
		f.leave(key, u, i%2 == 0)
	}
	if len(f.of) > maxShelf || len(f.left) > maxShelf || len(f.live) > 0 {
		t.Errorf("%d places for %d keys, %d in use", len(f.of), len(f.left), len(f.live))
	}
	newest := fmt.Sprint(10*maxShelf - 2)
	if u := f.use(newest); !u.has(1) || u != f.use(newest) {
		t.Error("the newest is forgotten, or two connections of one session do not share it")
	}
	for range 10 * maxShelf { // one that comes and goes takes one place
		f.leave("x", f.use("x"), true)
		u := f.use("y")
		u.hold(1, "a", false)
		f.leave("y", u, true)
	}
	if len(f.left) > maxShelf || f.of["x"] != nil || f.of["y"] == nil {
		t.Errorf("%d keys", len(f.left))
	}
}
