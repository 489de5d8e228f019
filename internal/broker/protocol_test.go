package broker

import (
	"fmt"
	"strings"
	"testing"

	"cardea/internal/mqtt"
)

// both runs a test with both versions.
func both(t *testing.T, f func(t *testing.T, v mqtt.Version)) {
	t.Run("3.1.1", func(t *testing.T) { f(t, mqtt.V311) })
	t.Run("5", func(t *testing.T) { f(t, mqtt.V5) })
}

func filter(f string, o mqtt.Options) mqtt.Filter { return mqtt.Filter{Filter: []byte(f), Options: o} }

const (
	noLocal = 1 << 2
	asIs    = 1 << 3
	onlyNew = 1 << 4
	noOld   = 2 << 4
)

func TestEachQoSArrives(t *testing.T) {
	both(t, func(t *testing.T, v mqtt.Version) {
		_, addr := start(t, Config{})
		sub := connect(t, addr, v, "sub")
		sub.subscribe("a/+")
		pub := connect(t, addr, v, "pub")
		pub.publish("a/b", "zero", 0)
		pub.publish("a/b", "one", 1)
		pub.publish("a/b", "two", 2)
		pub.publish("c", "elsewhere", 0)
		sub.expectMessages("a/b=zero q0", "a/b=one q1", "a/b=two q2")
		sub.expectNothing()
		sub.bye()
		pub.bye()
	})
}

func TestVersionsMeet(t *testing.T) {
	_, addr := start(t, Config{})
	old, young := connect(t, addr, mqtt.V311, "old"), connect(t, addr, mqtt.V5, "young")
	old.subscribe("t")
	young.subscribe("t")
	young.publishAs(mqtt.Publish{Topic: []byte("t"), QoS: 1, Props: mqtt.Properties(nil).AppendUser("a", "b")}, "1")
	old.expectMessages("t=1 q1")
	g := young.receive()
	if one, _, _ := g.Props.Next(); string(one.Value) != "b" {
		t.Errorf("the user property did not arrive: %v", g.Props)
	}
	old.publish("t", "2", 0)
	old.expectMessages("t=2 q0")
	young.expectMessages("t=2 q0")
}

func TestPropertiesArrive(t *testing.T) {
	_, addr := start(t, Config{})
	c := connect(t, addr, mqtt.V5, "c")
	c.subscribe("t")
	var p mqtt.Properties
	p = p.AppendNumber(mqtt.PayloadFormat, 1).AppendText(mqtt.ContentType, "text/plain").AppendText(mqtt.ResponseTopic, "answers")
	p = p.AppendText(mqtt.CorrelationData, "\x00\x01").AppendUser("b", "1").AppendUser("a", "2").AppendUser("b", "3")
	for qos := range byte(3) {
		c.publishAs(mqtt.Publish{Topic: []byte("t"), QoS: qos, Props: p}, "x")
		if g := c.receive(); string(g.Props) != string(p) {
			t.Errorf("QoS %d: the properties are % x, not % x", qos, g.Props, p)
		}
	}
}

func TestLowerQoSOfPublisherAndSubscription(t *testing.T) {
	_, addr := start(t, Config{})
	for wanted := range byte(3) {
		c := connect(t, addr, mqtt.V5, fmt.Sprint("c", wanted))
		if code := c.subscribeAs(filter("t", mqtt.Options(wanted)), 0); byte(code) != wanted {
			t.Errorf("QoS %d was granted, not %d", code, wanted)
		}
		for qos := range byte(3) {
			c.publish("t", "x", qos)
			c.expectMessages(fmt.Sprintf("t=x q%d", min(qos, wanted)))
		}
		c.bye()
	}
}

func TestSubscriptionsOfOneClientMeet(t *testing.T) {
	_, addr := start(t, Config{})
	c := connect(t, addr, mqtt.V5, "c")
	c.subscribeAs(filter("a/#", 0), 7)
	c.subscribeAs(filter("a/+", 2), 300)
	c.subscribeAs(filter("a/b", 1|asIs), 0)
	c.subscribeAs(filter("b", 1|noLocal), 9)
	c.publishAs(mqtt.Publish{Topic: []byte("a/b"), QoS: 2, Retain: true}, "x")
	g := c.receive()
	if g.String() != "a/b=x q2 retained" {
		t.Errorf("%q came", g)
	}
	ids := map[uint32]bool{}
	for one, rest, ok := g.Props.Next(); ok; one, rest, ok = rest.Next() {
		ids[one.Number] = true
	}
	if len(ids) != 2 || !ids[7] || !ids[300] {
		t.Errorf("subscription identifiers %v", ids)
	}
	c.publish("a/b", "zero", 0)
	if g := c.receive(); len(g.Props) != 2+3 {
		t.Errorf("properties at QoS 0: % x", g.Props)
	}
	c.publish("b", "own", 1)
	c.expectNothing()
}

func TestNoLocalIsOfOneSubscription(t *testing.T) {
	_, addr := start(t, Config{})
	c, other := connect(t, addr, mqtt.V5, "c"), connect(t, addr, mqtt.V5, "other")
	c.subscribeAs(filter("t", 2|noLocal), 1)
	c.publish("t", "own", 1)
	other.publish("t", "other's", 1)
	c.expectMessages("t=other's q1")
	c.subscribeAs(filter("+", 1), 2) // wants them
	c.publish("t", "own", 2)
	if g := c.receive(); g.String() != "t=own q1" || string(g.Props) != string(mqtt.Properties(nil).AppendNumber(mqtt.SubscriptionIdentifier, 2)) {
		t.Errorf("%q % x", g, g.Props)
	}
	c.subscribeAs(filter("#", 2|noLocal), 3)
	other.publish("t", "to all", 2)
	if g := c.receive(); g.String() != "t=to all q2" || len(g.Props) != 6 {
		t.Errorf("%q % x", g, g.Props)
	}
	c.expectNothing()
}

func TestRetained(t *testing.T) {
	both(t, func(t *testing.T, v mqtt.Version) {
		b, addr := start(t, Config{})
		pub := connect(t, addr, v, "pub")
		retain := func(topic, payload string, qos byte) {
			t.Helper()
			if code := pub.publishAs(mqtt.Publish{Topic: []byte(topic), QoS: qos, Retain: true}, payload); code.Failed() {
				t.Fatal(code)
			}
		}
		retain("a/b", "old", 1)
		retain("a/b", "new", 2)
		retain("a", "parent", 0)
		retain("a/c/d", "deep", 1)
		retain("$s/a", "hidden", 1)
		retain("gone", "x", 1)
		retain("gone", "", 0)
		pub.publish("a/x", "not retained", 1)

		for f, want := range map[string][]string{
			"a/b":   {"a/b=new q2 retained"},
			"a/+":   {"a/b=new q2 retained"},
			"+":     {"a=parent q0 retained"},
			"+/+/d": {"a/c/d=deep q1 retained"},
			"a/#":   {"a/b=new q2 retained", "a/c/d=deep q1 retained", "a=parent q0 retained"},
			"#":     {"a/b=new q2 retained", "a/c/d=deep q1 retained", "a=parent q0 retained"},
			"$s/#":  {"$s/a=hidden q1 retained"},
			"gone":  nil,
			"+/a":   nil,
		} {
			c := connect(t, addr, v, "sub")
			c.subscribe(f)
			got := map[string]bool{}
			for range want {
				got[c.receive().String()] = true
			}
			for _, w := range want {
				if !got[w] {
					t.Errorf("%s: %q did not come, but %v", f, w, got)
				}
			}
			c.expectNothing()
			c.bye()
		}
		live := connect(t, addr, v, "live")
		live.subscribe("live")
		retain("live", "now", 1)
		live.expectMessages("live=now q1") // who is there already gets it as any other

		// M06: those whose publisher may not have them there any more can be removed.
		b.Retained(func(topic, publisher string) bool {
			if publisher != "pub" {
				t.Errorf("%s was set by %q", topic, publisher)
			}
			return topic != "a/b"
		})
		c := connect(t, addr, v, "last")
		c.subscribe("a/b")
		c.expectNothing()
		if n := b.Stats().Retained; n != 4 {
			t.Errorf("%d messages are retained", n)
		}
	})
}

func TestRetainHandling(t *testing.T) {
	_, addr := start(t, Config{})
	pub := connect(t, addr, mqtt.V5, "pub")
	pub.publishAs(mqtt.Publish{Topic: []byte("t"), QoS: 1, Retain: true}, "x")
	c := connect(t, addr, mqtt.V5, "c")
	c.subscribeAs(filter("t", 1|noOld), 0)
	c.expectNothing()
	c.subscribeAs(filter("t", 1|onlyNew), 0)
	c.expectNothing() // the subscription was there
	c.subscribeAs(filter("t", 1), 0)
	c.expectMessages("t=x q1 retained")
	c.subscribeAs(filter("+", 1|onlyNew|asIs), 0)
	c.expectMessages("t=x q1 retained")
	c.subscribeAs(filter("$share/g/t", 1), 0)
	c.expectNothing()
}

func TestOrderOfRetainedAndLiveMessages(t *testing.T) {
	_, addr := start(t, Config{})
	c := connect(t, addr, mqtt.V5, "c", number(mqtt.ReceiveMaximum, 1))
	c.publishAs(mqtt.Publish{Topic: []byte("b"), QoS: 1, Retain: true}, "holds up the queue")
	c.publishAs(mqtt.Publish{Topic: []byte("a"), QoS: 0, Retain: true}, "old")
	c.subscribe("b")
	first := c.message()
	c.publish("b", "in the window's way", 1)
	c.subscribe("a")
	c.publish("a", "new", 0)
	c.ack(mqtt.PUBACK, first.ID)
	c.expectMessages("b=in the window's way q1", "a=old q0 retained", "a=new q0")
}

func TestUnsubscribe(t *testing.T) {
	both(t, func(t *testing.T, v mqtt.Version) {
		b, addr := start(t, Config{})
		c := connect(t, addr, v, "c")
		c.subscribe("a", "b/+", "$share/g/c")
		c.send(mqtt.AppendUnsubscribe(nil, v, 9, nil, []string{"a", "none", "$share/g/c"}))
		h, packet := c.expect(mqtt.UNSUBACK)
		a, err := mqtt.ReadSuback(v, h, packet)
		want := "\x00\x11\x00"
		if v == mqtt.V311 {
			want = ""
		}
		if err != nil || a.ID != 9 || string(a.Codes) != want {
			t.Errorf("UNSUBACK %+v %v", a, err)
		}
		c.publish("a", "x", 1)
		c.publish("c", "x", 1)
		c.publish("b/1", "y", 1)
		c.expectMessages("b/1=y q1")
		if list := b.Subscriptions("c"); len(list) != 1 || string(list[0].Filter) != "b/+" || list[0].Options != 2 {
			t.Errorf("%v is left", list)
		}
		if n := b.Unsubscribe("c", []string{"b/+", "a"}); n != 1 {
			t.Errorf("%d were taken away", n)
		}
		c.publish("b/1", "z", 1)
		c.expectNothing()
		if n := b.Stats().Subscriptions; n != 0 {
			t.Errorf("%d are counted", n)
		}
	})
}

func TestRefusedSubscriptions(t *testing.T) {
	_, addr := start(t, Config{Limits: Limits{Filters: 2, FilterBytes: 100, Levels: 5}})
	c := connect(t, addr, mqtt.V5, "c")
	for _, x := range []struct {
		filter string
		code   mqtt.Code
	}{
		{"a/#/b", mqtt.TopicFilterInvalid},
		{"a+", mqtt.TopicFilterInvalid},
		{"", mqtt.TopicFilterInvalid},
		{"$share//a", mqtt.TopicFilterInvalid},
		{"1/2/3/4/5/6", mqtt.TopicFilterInvalid}, // M16
		{strings.Repeat("x", 101), mqtt.QuotaExceeded},
		{"a", 2},
		{"b", 2},
		{"c", mqtt.QuotaExceeded}, // M16
		{"a", 2},
	} {
		if code := c.subscribeAs(filter(x.filter, 2), 0); code != x.code {
			t.Errorf("%q: 0x%02X, not 0x%02X", x.filter, byte(code), byte(x.code))
		}
	}
	if code := c.publishAs(mqtt.Publish{Topic: []byte("1/2/3/4/5/6"), QoS: 1}, ""); code != mqtt.TopicNameInvalid {
		t.Errorf("a topic of six levels: 0x%02X", byte(code))
	}
	old := connect(t, addr, mqtt.V311, "old")
	if code := old.subscribeAs(filter("a/#/b", 2), 0); code != 0x80 {
		t.Errorf("3.1.1: 0x%02X", byte(code))
	}
}

func TestQoS2ComesOnce(t *testing.T) {
	both(t, func(t *testing.T, v mqtt.Version) {
		_, addr := start(t, Config{})
		sub := connect(t, addr, v, "sub")
		sub.subscribe("t")
		pub := connect(t, addr, v, "pub", lasting)
		m := mqtt.Publish{Topic: []byte("t"), QoS: 2, ID: 5}
		pub.send(mqtt.AppendPublish(nil, v, &m, []byte("x")))
		pub.expectAck(mqtt.PUBREC, 5)
		m.Dup = true
		pub.send(mqtt.AppendPublish(nil, v, &m, []byte("x")))
		pub.expectAck(mqtt.PUBREC, 5)
		pub.nc.Close()
		pub = connect(t, addr, v, "pub", lasting)
		pub.send(mqtt.AppendPublish(nil, v, &m, []byte("x")))
		pub.expectAck(mqtt.PUBREC, 5)
		pub.ack(mqtt.PUBREL, 5)
		if code := pub.expectAck(mqtt.PUBCOMP, 5); code != mqtt.Success {
			t.Errorf("PUBCOMP 0x%02X", byte(code))
		}
		sub.expectMessages("t=x q2")
		sub.expectNothing()
		// The identifier is free: the next one is another message.
		pub.send(mqtt.AppendPublish(nil, v, &m, []byte("y")))
		pub.expectAck(mqtt.PUBREC, 5)
		sub.expectMessages("t=y q2")
		pub.ack(mqtt.PUBREL, 6)
		want := mqtt.PacketIDNotFound
		if v == mqtt.V311 {
			want = mqtt.Success
		}
		if code := pub.expectAck(mqtt.PUBCOMP, 6); code != want {
			t.Errorf("PUBCOMP of what is not open: 0x%02X", byte(code))
		}
	})
}

// TestResume: what was not acknowledged comes again in order, marked, and what was received is only released.
func TestResume(t *testing.T) {
	both(t, func(t *testing.T, v mqtt.Version) {
		b, addr := start(t, Config{})
		sub := connect(t, addr, v, "sub", lasting)
		sub.subscribe("t")
		pub := connect(t, addr, v, "pub")
		for i := range byte(5) {
			pub.publish("t", fmt.Sprint(i), 1+i%2)
		}
		var ids []uint16
		for range 5 {
			ids = append(ids, sub.message().ID)
		}
		sub.ack(mqtt.PUBREC, ids[1])
		sub.expectAck(mqtt.PUBREL, ids[1])
		sub.ack(mqtt.PUBACK, ids[2])
		sub.expectNothing()
		sub.vanish(b, "sub")
		pub.publish("t", "lost", 0)
		pub.publish("t", "5", 1)

		sub, there := present(t, addr, v, "sub", lasting)
		if !there {
			t.Fatal("no session")
		}
		first := sub.message()
		if first.String() != "t=0 q1 dup" || first.ID != ids[0] {
			t.Fatalf("%q %d came first", first, first.ID)
		}
		sub.expectAck(mqtt.PUBREL, ids[1])
		sub.ack(mqtt.PUBCOMP, ids[1])
		if g := sub.message(); g.String() != "t=3 q2 dup" || g.ID != ids[3] {
			t.Fatalf("%q %d came", g, g.ID)
		}
		if g := sub.message(); g.String() != "t=4 q1 dup" || g.ID != ids[4] {
			t.Fatalf("%q %d came", g, g.ID)
		}
		sub.expectMessages("t=5 q1")
		sub.expectNothing()
	})
}

func TestReceiveMaximumOfTheClient(t *testing.T) {
	_, addr := start(t, Config{})
	c := connect(t, addr, mqtt.V5, "c", number(mqtt.ReceiveMaximum, 2))
	c.subscribe("t")
	for i := range byte(4) {
		c.publish("t", fmt.Sprint(i), 2-i%2)
	}
	a, b := c.message(), c.message()
	c.expectNothing()
	c.publish("t", "zero", 0)
	c.expectMessages("t=zero q0") // which does not count
	c.ack(mqtt.PUBREC, a.ID)
	c.expectAck(mqtt.PUBREL, a.ID)
	c.expectNothing() // PUBCOMP ends it, not PUBREC
	c.ack(mqtt.PUBCOMP, a.ID)
	third := c.message()
	c.expectNothing()
	c.ack(mqtt.PUBACK, b.ID)
	fourth := c.message()
	if third.payload != "2" || fourth.payload != "3" {
		t.Errorf("%q and %q came", third, fourth)
	}
	// A PUBREC that says no ends the message.
	c.send(mqtt.AppendAck(nil, mqtt.V5, mqtt.PUBREC, third.ID, mqtt.QuotaExceeded))
	c.ack(mqtt.PUBREC, third.ID)
	if code := c.expectAck(mqtt.PUBREL, third.ID); code != mqtt.PacketIDNotFound {
		t.Errorf("PUBREL 0x%02X", byte(code))
	}
}

func TestReceiveMaximumOfTheBroker(t *testing.T) {
	_, addr := start(t, Config{Limits: Limits{Receive: 3}})
	c := dial(t, addr, mqtt.V5)
	if n, _ := c.hello("c").Props.Number(mqtt.ReceiveMaximum); n != 3 {
		t.Errorf("Receive Maximum is %d", n)
	}
	for id := range uint16(3) {
		p := mqtt.Publish{Topic: []byte("t"), QoS: 2, ID: id + 1}
		c.send(mqtt.AppendPublish(nil, mqtt.V5, &p, nil))
		c.expectAck(mqtt.PUBREC, id+1)
	}
	c.ack(mqtt.PUBREL, 2)
	c.expectAck(mqtt.PUBCOMP, 2)
	for _, id := range []uint16{2, 4} {
		p := mqtt.Publish{Topic: []byte("t"), QoS: 2, ID: id}
		c.send(mqtt.AppendPublish(nil, mqtt.V5, &p, nil))
	}
	c.expectAck(mqtt.PUBREC, 2)
	c.expectEnd(mqtt.ReceiveMaximumExceeded)
}

func TestMaximumPacketSize(t *testing.T) {
	_, addr := start(t, Config{Limits: Limits{Packet: 200}})
	c := connect(t, addr, mqtt.V5, "c", number(mqtt.MaximumPacketSize, 40))
	c.subscribe("t")
	for qos := range byte(3) {
		c.publish("t", strings.Repeat("x", 60), qos)
	}
	c.publish("t", "small", 1)
	c.expectMessages("t=small q1")
	c.expectNothing()
	p := mqtt.Publish{Topic: []byte("t")}
	c.send(mqtt.AppendPublish(nil, mqtt.V5, &p, make([]byte, 300)))
	c.expectEnd(mqtt.PacketTooLarge)
}

func TestTopicAliases(t *testing.T) {
	_, addr := start(t, Config{})
	c := dial(t, addr, mqtt.V5)
	a := c.hello("c", number(mqtt.TopicAliasMaximum, 1))
	if n, _ := a.Props.Number(mqtt.TopicAliasMaximum); n != 64 {
		t.Errorf("Topic Alias Maximum is %d", n)
	}
	c.subscribe("#")
	alias := func(n uint32) mqtt.Properties { return mqtt.Properties(nil).AppendNumber(mqtt.TopicAlias, n) }
	user := mqtt.Properties(nil).AppendUser("k", "v")
	c.publishAs(mqtt.Publish{Topic: []byte("t"), Props: append(alias(64), user...)}, "set")
	c.publishAs(mqtt.Publish{QoS: 1, Props: append(alias(64), user...)}, "used")
	c.publishAs(mqtt.Publish{Topic: []byte("u"), QoS: 2, Props: alias(64)}, "set anew")
	c.publishAs(mqtt.Publish{Props: alias(64)}, "used")
	for _, want := range []struct{ topic, text string }{
		{"t", "set"}, {"", "used"}, {"u", "set anew"}, {"u", "used"},
	} {
		g := c.receive()
		n, has := g.Props.Number(mqtt.TopicAlias)
		if g.topic != want.topic || g.payload != want.text {
			t.Errorf("%q came, not %v", g, want)
		}
		if g.topic == "u" == has || has && n != 1 {
			t.Errorf("%q has the alias %d", g, n)
		}
	}
	c.send(mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{Props: alias(3)}, nil))
	c.expectEnd(mqtt.ProtocolError)
	c = connect(t, addr, mqtt.V5, "c")
	c.send(mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{Topic: []byte("t"), Props: alias(65)}, nil))
	c.expectEnd(mqtt.TopicAliasInvalid)
}

func TestDollarTopics(t *testing.T) {
	_, addr := start(t, Config{})
	c := connect(t, addr, mqtt.V5, "c")
	c.subscribe("#", "+/a", "$s/+")
	c.publish("$s/a", "1", 1)
	c.expectMessages("$s/a=1 q1")
	c.expectNothing()
}

func TestViolations(t *testing.T) {
	publish := func(p mqtt.Publish) []byte { return mqtt.AppendPublish(nil, mqtt.V5, &p, nil) }
	hello := mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, CleanStart: true, ClientID: []byte("c")})
	for name, x := range map[string]struct {
		packet []byte
		code   mqtt.Code
	}{
		"a second CONNECT":          {hello, mqtt.ProtocolError},
		"CONNACK":                   {mqtt.AppendConnack(nil, mqtt.V5, &mqtt.Connack{}), mqtt.ProtocolError},
		"SUBACK":                    {mqtt.AppendSuback(nil, mqtt.V5, mqtt.SUBACK, 1, nil, []byte{0}), mqtt.ProtocolError},
		"PINGRESP":                  {mqtt.AppendPing(nil, mqtt.PINGRESP), mqtt.ProtocolError},
		"AUTH":                      {mqtt.AppendAuth(nil, mqtt.ReAuthenticate, nil), mqtt.ProtocolError},
		"a wildcard in a topic":     {publish(mqtt.Publish{Topic: []byte("a/#")}), mqtt.TopicNameInvalid},
		"no topic":                  {publish(mqtt.Publish{}), mqtt.ProtocolError},
		"no packet identifier":      {publish(mqtt.Publish{Topic: []byte("a"), QoS: 1}), mqtt.ProtocolError},
		"QoS 3":                     {[]byte{0x36, 4, 0, 1, 'a', 0}, mqtt.MalformedPacket},
		"not UTF-8":                 {publish(mqtt.Publish{Topic: []byte("\xff")}), mqtt.MalformedPacket},
		"a subscription identifier": {publish(mqtt.Publish{Topic: []byte("a"), Props: mqtt.Properties(nil).AppendNumber(mqtt.SubscriptionIdentifier, 1)}), mqtt.MalformedPacket},
		"SUBSCRIBE for nothing":     {mqtt.AppendSubscribe(nil, mqtt.V5, 1, nil, nil), mqtt.ProtocolError},
		"SUBSCRIBE cut short":       {[]byte{0x82, 6, 0, 1, 0, 0, 9, 'a'}, mqtt.MalformedPacket}, // mochi died of one
		"flags":                     {[]byte{0x80, 0}, mqtt.MalformedPacket},
		"a length without end":      {[]byte{0x30, 0xff, 0xff, 0xff, 0xff, 1}, mqtt.MalformedPacket},
		"PUBACK at QoS 2":           {mqtt.AppendAck(nil, mqtt.V5, mqtt.PUBACK, 1, 0), mqtt.ProtocolError},
		"an expiry from nowhere":    {mqtt.AppendDisconnect(nil, mqtt.V5, 0, mqtt.Properties(nil).AppendNumber(mqtt.SessionExpiry, 9)), mqtt.ProtocolError},
	} {
		t.Run(name, func(t *testing.T) {
			_, addr := start(t, Config{})
			other := connect(t, addr, mqtt.V5, "other")
			c := connect(t, addr, mqtt.V5, "c")
			c.subscribe("q2")
			other.publish("q2", "", 2)
			c.message() // packet identifier 1
			c.send(x.packet)
			c.expectEnd(x.code)
			other.publish("t", "still there", 1)
		})
	}
}

func TestFirstPacket(t *testing.T) {
	auth := mqtt.Properties(nil).AppendText(mqtt.AuthenticationMethod, "SCRAM-SHA-256")
	for name, x := range map[string]struct {
		packet []byte
		answer string // as it is on the wire; "" is none
	}{
		"not CONNECT":       {mqtt.AppendPing(nil, mqtt.PINGREQ), ""},
		"an HTTP request":   {[]byte("GET / HTTP/1.1\r\n\r\n"), ""},
		"too large":         {[]byte{0x10, 0xff, 0xff, 0xff, 0x7f}, ""}, // M14
		"3.1":               {[]byte("\x10\x11\x00\x06MQIsdp\x03\x02\x00\x00\x00\x03abc"), "\x20\x02\x00\x01"},
		"a later version":   {[]byte("\x10\x10\x00\x04MQTT\x06\x02\x00\x00\x00\x00\x03abc"), "\x20\x03\x00\x84\x00"},
		"authentication":    {mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, CleanStart: true, Props: auth}), "\x20\x03\x00\x8c\x00"},
		"no id, to be kept": {mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V311}), "\x20\x02\x00\x02"},
		"malformed":         {[]byte("\x10\x0d\x00\x04MQTT\x05\x03\x00\x00\x00\x00\x00"), "\x20\x03\x00\x81\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			b, addr := start(t, Config{})
			c := dial(t, addr, mqtt.V5)
			c.send(x.packet)
			var got []byte
			for {
				_, packet, err := c.next(patience)
				if err != nil {
					break
				}
				got = append(got, packet...)
			}
			if string(got) != x.answer {
				t.Errorf("% x, not % x", got, x.answer)
			}
			if n := b.Stats().Sessions; n != 0 {
				t.Errorf("there are %d sessions", n)
			}
		})
	}
}

func TestClientIDs(t *testing.T) {
	b, addr := start(t, Config{})
	c := dial(t, addr, mqtt.V5)
	a := c.hello("")
	id, ok := a.Props.Text(mqtt.AssignedClientID)
	if !ok || len(id) < 20 || b.session(string(id)) == nil {
		t.Errorf("the assigned client identifier is %q", id)
	}
	connect(t, addr, mqtt.V311, "").bye()
}
