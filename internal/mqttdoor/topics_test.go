package mqttdoor

import (
	"fmt"
	"testing"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// M01: who may read only its own subtree gets it by no filter, shared or not; and nothing that others publish, whatever the topic.
func TestWildcardsBeyondOwnSubtree(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		name := fmt.Sprintf("cam-%d", v)
		cam := h.device(name, "allow mqtt:subscribe dev/${principal}/#")
		sub := h.connect(cam, v)
		filters := []string{
			"#", "+/#", "/#", "+", "+/+", "dev/#", "dev/+/#", "dev/+", "dev/" + name + "x/#", "+/" + name + "/#", "$share/g/#", "$share/g/+/x",
			"$share/g/dev/#", "$share/g/$share/g/dev/" + name + "/#", "$share/" + name + "/+/" + name + "/#", "DEV/" + name + "/#", "/dev/" + name + "/#", "dev//" + name + "/#",
		}
		for _, f := range filters {
			if codes := sub.Subscribe(testkit.Filter(f, 1)); len(codes) != 1 || codes[0] != failed(v) {
				t.Errorf("%s: SUBACK %x", f, codes)
			}
		}
		// All in one packet with two that are allowed: each gets its own answer, in order.
		mixed := []mqtt.Filter{testkit.Filter("dev/"+name+"/a", 0)}
		for _, f := range filters {
			mixed = append(mixed, testkit.Filter(f, 1))
		}
		codes := sub.Subscribe(append(mixed, testkit.Filter("$share/g/dev/"+name+"/#", 2))...)
		if len(codes) != len(filters)+2 || codes[0] != 0 || codes[len(codes)-1] != 2 {
			t.Fatalf("SUBACK %x", codes)
		}
		for i, f := range filters {
			if codes[i+1] != failed(v) {
				t.Errorf("%s among others: SUBACK %x", f, codes[i+1])
			}
		}
		pub := h.connect(h.service("pub-"+name, "allow mqtt:publish #"), v)
		for _, topic := range []string{"x", "/x", "a/x", "dev/x", "dev/" + name + "x/y", "dev", "x/" + name + "/y", "dev/x/" + name} {
			pub.Publish(topic, "stranger", 1)
		}
		sub.Unsubscribe("dev/" + name + "/a")
		pub.Publish("dev/"+name+"/b", "own", 1)
		if leaked := sub.MessagesBefore("own"); len(leaked) > 0 {
			t.Errorf("leaked: %s", leaked[0].Publish.Topic)
		}
	})
}

// M03: topics of the broker's own are nobody's whose rules do not name them, wherever the client comes from; # and + do not.
func TestBrokersOwnTopics(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		name := fmt.Sprintf("all-%d", v)
		c := h.connect(h.device(name, all), v)
		for _, f := range []string{"$SYS/#", "$SYS", "$sys", "$sys/#", "$share/x/$SYS/#", "$CONTROL/#", "$CONTROL/dynamic-security/v1/response", "$share/x/$CONTROL/#", "$queue/a", "$delayed/1/a", "$exclusive/a"} {
			if codes := c.Subscribe(testkit.Filter(f, 0)); codes[0] != failed(v) {
				t.Errorf("%s: SUBACK %x", f, codes)
			}
		}
		if v == mqtt.V5 {
			for _, topic := range []string{"$CONTROL/dynamic-security/v1", "$SYS/broker/uptime", "$delayed/1/a"} {
				if code := c.Publish(topic, "{}", 1); code != mqtt.NotAuthorized {
					t.Errorf("publish to %s: 0x%02X", topic, byte(code))
				}
			}
		}
		if codes := c.Subscribe(testkit.Filter("#", 0)); codes[0] != 0 {
			t.Errorf("#: SUBACK %x", codes)
		}
		admin := h.connect(h.service("ops-"+name, "allow mqtt:subscribe $SYS/#"), v)
		if codes := admin.Subscribe(testkit.Filter("$SYS/#", 0)); codes[0] != 0 {
			t.Errorf("whose rules name it: SUBACK %x", codes)
		}
	})
}

// M20: the versions get the same decisions, and 3.1 is told that it is not spoken here.
func TestVersions(t *testing.T) {
	h := newHouse(t)
	w := h.device("pump", "allow mqtt:publish a/#", "deny mqtt:publish a/secret", "allow mqtt:subscribe a/+")
	for _, v := range versions {
		c := h.connect(w, v)
		for f, ok := range map[string]bool{"a/+": true, "a/b": true, "a/#": false, "b": false} {
			if codes := c.Subscribe(testkit.Filter(f, 1)); (codes[0] == 1) != ok || !ok && codes[0] != failed(v) {
				t.Errorf("%s: subscribe to %s: %x", versionName(v), f, codes)
			}
		}
		c.Unsubscribe("a/+")
		c.Publish("a/secret", "dropped", 0)
		c.Publish("a/b", "allowed", 0)
		if p := c.Message(); p.Payload != "allowed" {
			t.Errorf("%s: %q", versionName(v), p.Payload)
		}
		c.Disconnect()
	}
	c := h.raw(h.addr)
	c.Write([]byte("\x10\x13\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x05pump1"))
	if got := h.closed(c); string(got) != "\x20\x02\x00\x01" {
		t.Errorf("3.1 is answered with % x", got)
	}
	for version, want := range map[string]string{"\x03": "\x20\x02\x00\x01", "\x06": "\x20\x03\x00\x84\x00", "\x84": "\x20\x02\x00\x01"} {
		c := h.raw(h.addr)
		c.Write([]byte("\x10\x11\x00\x04MQTT" + version + "\x02\x00\x3c\x00\x05pump1"))
		if got := h.closed(c); string(got) != want {
			t.Errorf("version %x is answered with % x", version, got)
		}
	}
}

// M25: a publish that is not allowed is never dropped in silence above QoS 0: 5.0 is told, 3.1.1 is cut.
func TestRefusedPublish(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		w := h.device(fmt.Sprintf("pump-%d", v), "allow mqtt:publish ok/#")
		witness := h.witness(v)
		for qos := range byte(3) {
			c := h.connect(w, v)
			switch {
			case qos == 0:
				c.Publish("no", "refused", 0)
			case v == mqtt.V5:
				if code := c.Publish("no", "refused", qos); code != mqtt.NotAuthorized {
					t.Errorf("QoS %d: 0x%02X", qos, byte(code))
				}
			default:
				c.SendPublish(mqtt.Publish{Topic: []byte("no"), QoS: qos}, "refused")
				c.Closed()
				h.only(witness)
				continue
			}
			if code := c.Publish("ok/a", "allowed", qos); code != mqtt.Success && code != mqtt.NoMatchingSubscribers {
				t.Errorf("QoS %d goes on with 0x%02X", qos, byte(code))
			}
			c.Ping()
			if p := witness.Message(); p.Payload != "allowed" {
				t.Errorf("published: %s", p.Payload)
			}
			c.Disconnect()
		}
		h.nothing(witness)
	})
	// Of QoS and retain flag the rules may speak too.
	h := newHouse(t)
	c := h.connect(h.device("pump", "allow mqtt:publish a qos=0,1 retain=false"), mqtt.V5)
	for _, tc := range []struct {
		p    mqtt.Publish
		want mqtt.Code
	}{
		{mqtt.Publish{QoS: 1}, mqtt.NoMatchingSubscribers},
		{mqtt.Publish{QoS: 2}, mqtt.NotAuthorized},
		{mqtt.Publish{QoS: 1, Retain: true}, mqtt.NotAuthorized},
	} {
		tc.p.Topic = []byte("a")
		if code := c.PublishWith(tc.p, "x"); code != tc.want && !(tc.want == mqtt.NoMatchingSubscribers && code == mqtt.Success) {
			t.Errorf("%+v: 0x%02X", tc.p, byte(code))
		}
	}
}

// A client need not wait for its CONNACK: what it sends with the CONNECT is judged like everything else.
func TestAllInOneBreath(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		witness := h.witness(v)
		w := h.device(fmt.Sprintf("pump-%d", v), "allow mqtt:publish ok/#", "allow mqtt:subscribe ok/#")
		b := mqtt.AppendConnect(nil, &mqtt.Connect{Version: v, CleanStart: true, ClientID: []byte(w.name), HasUser: true, User: []byte(w.token)})
		connect := len(b)
		b = mqtt.AppendSubscribe(b, v, 1, nil, []mqtt.Filter{testkit.Filter("ok/#", 0), testkit.Filter("#", 0)})
		b = mqtt.AppendPublish(b, v, &mqtt.Publish{Topic: []byte("no")}, []byte("refused"))
		b = mqtt.AppendPublish(b, v, &mqtt.Publish{Topic: []byte("ok/a")}, []byte("allowed"))
		for _, cut := range []int{len(b), len(b) - 3, connect + 3, connect} {
			c := testkit.DialMQTT(t, h.addr, testkit.MQTTConfig{Version: v})
			c.Send(b[:cut])
			c.Expect(mqtt.CONNACK)
			c.Send(b[cut:])
			if codes := c.Expect(mqtt.SUBACK).Suback.Codes; codes[0] != 0 || codes[1] != failed(v) {
				t.Errorf("SUBACK %x", codes)
			}
			if p := c.Message(); p.Payload != "allowed" {
				t.Errorf("delivered: %q", p.Payload)
			}
			c.Disconnect()
			h.gone(w.name)
			h.only(witness, "allowed")
		}
	})
}
