package mqttdoor

import (
	"slices"
	"testing"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// aliased is a PUBLISH with an alias, and with a topic unless that is "".
func aliased(topic string, alias uint32, qos byte) mqtt.Publish {
	return mqtt.Publish{Topic: []byte(topic), QoS: qos, Props: mqtt.Properties(nil).AppendNumber(mqtt.TopicAlias, alias)}
}

// M11: a message with an alias alone is judged by the topic that it stands for, by the rules of the moment.
func TestAliasIsJudged(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		w := h.device("pump", "allow mqtt:publish a")
		witness := h.witness(mqtt.V5)
		c := h.connect(w, mqtt.V5)
		send := func(p mqtt.Publish, payload string, want mqtt.Code) {
			t.Helper()
			if code := c.PublishWith(p, payload); code != want && !(want == mqtt.Success && code == mqtt.NoMatchingSubscribers) {
				t.Errorf("%s: 0x%02X, want 0x%02X", payload, byte(code), byte(want))
			}
		}
		send(aliased("a", 1, 1), "set", mqtt.Success)
		send(aliased("", 1, 1), "used", mqtt.Success)
		send(aliased("b", 2, 1), "set, denied", mqtt.NotAuthorized)
		send(aliased("", 2, 1), "used, denied", mqtt.NotAuthorized)

		h.may("pump", "allow mqtt:publish b")
		send(aliased("", 1, 1), "used, revoked", mqtt.NotAuthorized)
		// The broker has never heard of the second alias. It learns it now, with the message that may pass.
		send(aliased("", 2, 1), "used, allowed", mqtt.Success)
		send(aliased("", 2, 1), "used again", mqtt.Success)
		// An alias that is set anew with a topic that is refused stands for that one, at the broker still for the one before.
		send(aliased("b", 3, 1), "b by 3", mqtt.Success)
		send(aliased("c", 3, 1), "c by 3, denied", mqtt.NotAuthorized)
		send(aliased("", 3, 1), "3, denied", mqtt.NotAuthorized)
		h.may("pump", "allow mqtt:publish c")
		send(aliased("", 3, 1), "c by 3", mqtt.Success)
		send(aliased("", 3, 1), "c by 3 again", mqtt.Success)

		var got []string
		for range 7 {
			p := witness.Message()
			got = append(got, string(p.Publish.Topic)+" "+p.Payload)
		}
		if want := []string{"a set", "a used", "b used, allowed", "b used again", "b b by 3", "c c by 3", "c c by 3 again"}; !slices.Equal(got, want) {
			t.Errorf("published: %q, want %q", got, want)
		}
		h.nothing(witness)
	})
}

// Aliases that were not granted, or stand for nothing, end the session (3.3.2.3.4).
func TestAliasOutOfOrder(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		w := h.device("pump", all)
		witness := h.witness(mqtt.V5)
		most, _ := h.connect(w, mqtt.V5).Connack.Props.Number(mqtt.TopicAliasMaximum)
		for name, tc := range map[string]struct {
			p    mqtt.Publish
			code mqtt.Code
		}{
			"zero":         {aliased("a", 0, 0), mqtt.TopicAliasInvalid},
			"too high":     {aliased("a", most+1, 0), mqtt.TopicAliasInvalid},
			"never set":    {aliased("", most, 0), mqtt.TopicAliasInvalid},
			"no topic":     {mqtt.Publish{}, mqtt.ProtocolError},
			"wildcard":     {mqtt.Publish{Topic: []byte("a/+")}, mqtt.TopicNameInvalid},
			"and an alias": {aliased("a/#", 1, 0), mqtt.TopicNameInvalid},
		} {
			c := h.connect(w, mqtt.V5)
			c.SendPublish(tc.p, "x")
			if code, said := c.Closed(); !said || code != tc.code {
				t.Errorf("%s: 0x%02X %v, want 0x%02X", name, byte(code), said, byte(tc.code))
			}
		}
		// An alias ends with its connection.
		c := h.connect(w, mqtt.V5, staying)
		c.PublishWith(aliased("a", 1, 1), "set")
		c.Drop()
		c = h.connect(w, mqtt.V5, staying)
		c.SendPublish(aliased("", 1, 0), "x")
		if code, _ := c.Closed(); code != mqtt.TopicAliasInvalid {
			t.Errorf("of the connection before: 0x%02X", byte(code))
		}
		h.only(witness, "set")
	})
}

// M11 in the other direction: an alias that the broker has set with a delivery that the client did not get is spelled out
// with the next one. Mosquitto sets none towards clients.
func TestAliasOfDeliveries(t *testing.T) {
	h := newHouse(t)
	w := h.device("reader", "allow mqtt:subscribe a/+")
	pub := h.connect(h.service("pub", all), mqtt.V5)
	c := h.connect(w, mqtt.V5, staying)
	c.Subscribe(testkit.Filter("a/+", 1))
	c.Drop()
	h.gone("reader")
	for _, topic := range []string{"a/1", "a/2"} {
		pub.Publish(topic, "queued", 1)
	}
	h.may("reader", "allow mqtt:subscribe a/1")
	c = h.connect(w, mqtt.V5, staying, func(c *testkit.MQTTConfig) { c.Props = c.Props.AppendNumber(mqtt.TopicAliasMaximum, 4) })
	topics := map[uint32]string{}
	expect := func(topic, payload string) (spelled bool) {
		t.Helper()
		p := c.Message()
		got := string(p.Publish.Topic)
		n, ok := p.Publish.Props.Number(mqtt.TopicAlias)
		if !ok {
			t.Errorf("%s: no alias", payload)
		}
		if got != "" {
			topics[n] = got
		}
		if topics[n] != topic || p.Payload != payload {
			t.Errorf("%q on %q, want %q on %q", p.Payload, topics[n], payload, topic)
		}
		return got != ""
	}
	expect("a/1", "queued")
	h.eventually("the subscription has ended", func() bool { return len(h.subscriptions(h.key("reader"))) == 0 })
	h.may("reader", "allow mqtt:subscribe a/+")
	c.Subscribe(testkit.Filter("a/+", 1))
	for i, payload := range []string{"allowed", "again"} {
		for _, topic := range []string{"a/2", "a/1"} {
			pub.Publish(topic, payload, 1)
			if spelled := expect(topic, payload); spelled != (topic == "a/2" && i == 0) {
				t.Errorf("%s on %s: spelled out: %v", payload, topic, spelled)
			}
		}
	}
}
