package conformance

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// cases5 are the behaviours of MQTT 5.0.
var cases5 = []testCase{
	{"basic", basic},
	{"retained messages", retained},
	{"will message", willMessage},
	{"zero length client id", zeroLengthID5},
	{"offline message queueing", offlineQueueing},
	{"overlapping subscriptions", overlapping},
	{"keep alive", keepAlive},
	{"redelivery on reconnect", redelivery},
	{"subscribe failure", subscribeFailure},
	{"dollar topics", dollarTopics},
	{"unsubscribe", unsubscribe},
	{"session expiry", sessionExpiry},
	{"user properties", userProperties},
	{"payload format", payloadFormat},
	{"publication expiry", publicationExpiry},
	{"subscribe options", subscribeOptions},
	{"assigned client id", assignedID},
	{"subscription identifiers", subscriptionIdentifiers},
	{"request and response", requestResponse},
	{"client topic alias", clientTopicAlias},
	{"server topic alias", serverTopicAlias},
	{"maximum packet size", maximumPacketSize},
	{"server keep alive", serverKeepAlive},
	{"flow control of the client", clientFlow},
	{"flow control of the server", serverFlow},
	{"will delay", willDelay},
	{"shared subscriptions", sharedSubscriptions},
}

// zeroLengthID5: a client without a name gets one, whether it wants a clean start or not.
func zeroLengthID5(w *world) {
	w.client("", testkit.MQTTConfig{Resume: true}).Disconnect()
	w.client("", testkit.MQTTConfig{}).Disconnect()
}

// assignedID: the name that it got is told (MQTT-3.1.3-7), and no two are the same.
func assignedID(w *world) {
	one, _ := w.client("", testkit.MQTTConfig{}).Connack.Props.Text(mqtt.AssignedClientID)
	two, _ := w.client("", testkit.MQTTConfig{}).Connack.Props.Text(mqtt.AssignedClientID)
	if len(one) == 0 || len(two) == 0 || bytes.Equal(one, two) {
		w.Errorf("assigned are %q and %q", one, two)
	}
}

// sessionExpiry: a session ends with the connection, or when its time is over, which DISCONNECT can change.
func sessionExpiry(w *world) {
	there := func(want bool, seconds uint32, disconnect mqtt.Properties) {
		w.Helper()
		a := w.client("a", testkit.MQTTConfig{Resume: true, Props: expiry(seconds)})
		if a.Connack.SessionPresent != want {
			w.Errorf("with an expiry of %d s: session present %t", seconds, a.Connack.SessionPresent)
		}
		w.subscribe(a, testkit.Filter(w.topic("A"), 2))
		a.DisconnectWith(mqtt.Success, disconnect)
	}
	there(false, 0, nil)
	there(false, 99, nil)
	there(true, 1, nil)
	time.Sleep(3 * time.Second) // longer than the session lives
	there(false, 1, expiry(99))
	time.Sleep(3 * time.Second) // shorter than the session lives
	there(true, 99, expiry(0))
	there(false, 0, nil)
}

// each publishes with all three QoS to a subscriber and returns what came.
func each(w *world, props mqtt.Properties) []testkit.Packet {
	w.Helper()
	a := w.client("a", testkit.MQTTConfig{})
	w.subscribe(a, testkit.Filter(w.topic("A"), 2))
	for qos := range byte(3) {
		w.publishWith(a, mqtt.Publish{Topic: []byte(w.topic("A")), QoS: qos, Props: props}, "")
	}
	messages := a.Messages(3)
	w.qualities(messages)
	return messages
}

// userProperties pass unchanged and in order.
func userProperties(w *world) {
	for _, p := range each(w, mqtt.Properties(nil).AppendUser("a", "2").AppendUser("c", "3")) {
		wantUser(w, p)
	}
}

// payloadFormat and content type pass unchanged.
func payloadFormat(w *world) {
	for _, p := range each(w, mqtt.Properties(nil).AppendNumber(mqtt.PayloadFormat, 1).AppendText(mqtt.ContentType, "My name")) {
		format, _ := p.Publish.Props.Number(mqtt.PayloadFormat)
		if kind, _ := p.Publish.Props.Text(mqtt.ContentType); format != 1 || string(kind) != "My name" {
			w.Errorf("payload format %d, content type %q", format, kind)
		}
	}
}

// publicationExpiry: what waited too long is not delivered; what waited less says how long it may still (MQTT-3.3.2-5, -6).
func publicationExpiry(w *world) {
	b := w.client("b", w.lasting())
	w.subscribe(b, testkit.Filter(w.topic("A"), 2))
	b.Disconnect()
	a := w.client("a", testkit.MQTTConfig{})
	for _, m := range []struct {
		payload string
		seconds uint32
	}{{"short", 1}, {"long", 60}} {
		for qos := byte(1); qos <= 2; qos++ {
			w.publishWith(a, mqtt.Publish{
				Topic: []byte(w.topic("A")), QoS: qos, Props: mqtt.Properties(nil).AppendNumber(mqtt.MessageExpiry, m.seconds),
			}, m.payload)
		}
	}
	time.Sleep(2500 * time.Millisecond) // the short ones end
	b = w.client("b", w.lasting())
	for _, p := range b.Messages(2) {
		if left, ok := p.Publish.Props.Number(mqtt.MessageExpiry); p.Payload != "long" || !ok || left >= 60 {
			w.Errorf("%q may wait for another %d s", p.Payload, left)
		}
	}
	w.nothingMore(b, a, w.topic("A"))
}

// Options of a subscription (3.8.3.1).
const (
	noLocal           mqtt.Options = 1 << 2
	retainAsPublished mqtt.Options = 1 << 3
	onlyIfNew         mqtt.Options = 1 << 4
	noRetained        mqtt.Options = 2 << 4
)

func subscribeOptions(w *world) {
	a, b := w.client("a", testkit.MQTTConfig{}), w.client("b", testkit.MQTTConfig{})
	w.subscribe(a, testkit.Filter(w.topic("A"), 2|noLocal))
	w.subscribe(b, testkit.Filter(w.topic("A"), 2|noLocal))
	w.publish(a, w.topic("A"), "not to myself", 1)
	w.nothingMore(a, b, w.topic("A"))
	if p := b.Message(); p.Payload != "not to myself" {
		w.Errorf("No Local: the other one gets %q", p.Payload)
	}

	w.subscribe(a, testkit.Filter(w.topic("retained/0"), 2|retainAsPublished))
	w.publish(a, w.topic("retained/0"), "now", 1)
	w.publishWith(a, mqtt.Publish{Topic: []byte(w.topic("retained/0")), QoS: 1, Retain: true}, "kept")
	if now, kept := a.Message(), a.Message(); now.Publish.Retain || !kept.Publish.Retain {
		w.Errorf("Retain As Published: RETAIN is %t and %t", now.Publish.Retain, kept.Publish.Retain)
	}

	w.retain(a, nil)
	a = w.client("a", testkit.MQTTConfig{})
	retained := testkit.Filter(w.topic("retained/+"), 2|onlyIfNew)
	w.subscribe(a, retained)
	w.qualities(a.Messages(3))
	w.subscribe(a, retained)
	w.nothingMore(a, a, w.topic("retained/end"))

	a = w.client("a", testkit.MQTTConfig{})
	retained.Options = 2 | noRetained
	w.subscribe(a, retained)
	w.subscribe(a, retained)
	w.nothingMore(a, a, w.topic("retained/end"))

	a = w.client("a", testkit.MQTTConfig{})
	retained.Options = 2
	for range 2 {
		w.subscribe(a, retained)
		w.qualities(a.Messages(3))
	}
}

// subscriptionIdentifiers come with what their subscriptions match; if two of one client match, both come (MQTT-3.3.4-4, -5).
func subscriptionIdentifiers(w *world) {
	identifier := func(n uint32) mqtt.Properties {
		return mqtt.Properties(nil).AppendNumber(mqtt.SubscriptionIdentifier, n)
	}
	a, b := w.client("a", testkit.MQTTConfig{}), w.client("b", testkit.MQTTConfig{})
	w.subscribeWith(a, identifier(456_789), testkit.Filter(w.topic("A"), 2))
	w.subscribeWith(b, identifier(2), testkit.Filter(w.topic("A"), 2))
	w.subscribeWith(b, identifier(3), testkit.Filter(w.topic("A/#"), 2))
	w.publish(b, w.topic("A"), "who", 1)
	w.publish(b, w.topic("A"), "end", 1)
	if got := identifiers(a.MessagesBefore("end")); !slices.Equal(got, []uint32{456_789}) {
		w.Errorf("the identifiers of one subscription are %v", got)
	}
	if got := identifiers(b.MessagesBefore("end")); !slices.Equal(got, []uint32{2, 3}) {
		w.Errorf("the identifiers of two subscriptions are %v", got)
	}
}

// identifiers of all messages, in order of size.
func identifiers(messages []testkit.Packet) (all []uint32) {
	for _, p := range messages {
		for one, rest, ok := p.Publish.Props.Next(); ok; one, rest, ok = rest.Next() {
			if one.ID == mqtt.SubscriptionIdentifier {
				all = append(all, one.Number)
			}
		}
	}
	slices.Sort(all)
	return all
}

// requestResponse: response topic and correlation data pass unchanged, there and back.
func requestResponse(w *world) {
	a, b := w.client("a", testkit.MQTTConfig{}), w.client("b", testkit.MQTTConfig{})
	w.subscribe(a, testkit.Filter(w.topic("A"), 2|noLocal))
	w.subscribe(b, testkit.Filter(w.topic("A"), 2|noLocal))
	props := mqtt.Properties(nil).AppendText(mqtt.ResponseTopic, w.topic("A")).AppendText(mqtt.CorrelationData, "334")
	w.publishWith(a, mqtt.Publish{Topic: []byte(w.topic("A")), QoS: 1, Props: props}, "request")
	request := b.Message()
	to, _ := request.Publish.Props.Text(mqtt.ResponseTopic)
	data, _ := request.Publish.Props.Text(mqtt.CorrelationData)
	if string(to) != w.topic("A") || string(data) != "334" {
		w.Fatalf("the request wants its answer on %q with %q", to, data)
	}
	w.publishWith(b, mqtt.Publish{Topic: to, QoS: 1, Props: mqtt.Properties(nil).AppendText(mqtt.CorrelationData, string(data))}, "response")
	response := a.Message()
	if data, _ := response.Publish.Props.Text(mqtt.CorrelationData); response.Payload != "response" || string(data) != "334" {
		w.Errorf("the answer is %q with %q", response.Payload, data)
	}
}

func alias(n uint32) mqtt.Properties { return mqtt.Properties(nil).AppendNumber(mqtt.TopicAlias, n) }

// clientTopicAlias: an alias stands for its topic as long as the connection lasts, and 0 is none.
func clientTopicAlias(w *world) {
	a := w.client("a", testkit.MQTTConfig{})
	a.SendPublish(mqtt.Publish{Topic: []byte(w.topic("A")), QoS: 1, Props: alias(0)}, "")
	wantDisconnect(w, a)

	a = w.client("a", w.lasting())
	if most, _ := a.Connack.Props.Number(mqtt.TopicAliasMaximum); most == 0 {
		return // the server wants none
	}
	w.subscribe(a, testkit.Filter(w.topic("A"), 2))
	w.publishWith(a, mqtt.Publish{Topic: []byte(w.topic("A")), QoS: 1, Props: alias(1)}, "with both")
	w.publishWith(a, mqtt.Publish{QoS: 1, Props: alias(1)}, "alias alone")
	for _, want := range []string{"with both", "alias alone"} {
		if p := a.Message(); p.Payload != want || string(p.Publish.Topic) != w.topic("A") {
			w.Errorf("%q on %q", p.Payload, p.Publish.Topic)
		}
	}
	a.Disconnect()

	a = w.client("a", w.lasting())
	w.publish(a, w.topic("A"), "without", 1)
	a.Message()
	a.SendPublish(mqtt.Publish{QoS: 1, Props: alias(1)}, "of the last connection")
	wantDisconnect(w, a)
}

// wantDisconnect makes sure that the server says why it closes.
func wantDisconnect(w *world, m *testkit.MQTT, codes ...mqtt.Code) {
	w.Helper()
	code, said := m.Closed()
	if !said || !code.Failed() || len(codes) > 0 && !slices.Contains(codes, code) {
		w.Errorf("DISCONNECT %t, 0x%02X", said, byte(code))
	}
}

// serverTopicAlias: to a client that wants one the topic is sent once, to others it is always there.
func serverTopicAlias(w *world) {
	for most := range uint32(2) {
		c := testkit.MQTTConfig{}
		if most > 0 {
			c.Props = mqtt.Properties(nil).AppendNumber(mqtt.TopicAliasMaximum, most)
		}
		a := w.client("a", c)
		w.subscribe(a, testkit.Filter(w.topic("A"), 2))
		for qos := range byte(3) {
			w.publish(a, w.topic("A"), "", qos)
		}
		for i, p := range a.Messages(3) {
			topic := w.topic("A")
			if most > 0 && i > 0 {
				topic = ""
			}
			if p.Publish.Alias != uint16(most) || string(p.Publish.Topic) != topic {
				w.Errorf("of at most %d aliases, message %d has %d, its topic is %q", most, i, p.Publish.Alias, p.Publish.Topic)
			}
		}
		a.Disconnect()
	}
}

// maximumPacketSize: neither side gets a packet that is larger than it said (MQTT-3.1.2-24, -25).
func maximumPacketSize(w *world) {
	a := w.client("a", testkit.MQTTConfig{})
	if most, ok := a.Connack.Props.Number(mqtt.MaximumPacketSize); ok && most < 1<<24 {
		_ = a.TrySend(mqtt.AppendPublish(nil, w.v, &mqtt.Publish{Topic: []byte(w.topic("A"))}, make([]byte, most))) // it may close before the end
		wantDisconnect(w, a, mqtt.PacketTooLarge)
	}
	a = w.client("a", testkit.MQTTConfig{Props: mqtt.Properties(nil).AppendNumber(mqtt.MaximumPacketSize, 128)})
	w.subscribe(a, testkit.Filter(w.topic("A"), 2))
	w.publish(a, w.topic("A"), strings.Repeat(".", 32), 0)
	w.publish(a, w.topic("A"), strings.Repeat(".", 128), 1)
	if p := a.Message(); len(p.Payload) != 32 {
		w.Errorf("a message of %d bytes", len(p.Payload))
	}
	w.nothingMore(a, a, w.topic("A"))
}

// serverKeepAlive: who promises a sign of life every 120 s is told 60 (3.2.2.3.14).
func serverKeepAlive(w *world) {
	a := w.client("a", testkit.MQTTConfig{KeepAlive: 120})
	if seconds, ok := a.Connack.Props.Number(mqtt.ServerKeepAlive); !ok || seconds != 60 {
		w.Errorf("the server's keep alive is %d s, %t", seconds, ok)
	}
}

// clientFlow: no more messages are under way to a client than it said (MQTT-3.3.4-9).
func clientFlow(w *world) {
	a := w.client("a", testkit.MQTTConfig{Manual: true, Props: mqtt.Properties(nil).AppendNumber(mqtt.ReceiveMaximum, 2)})
	w.subscribe(a, testkit.Filter(w.topic("A"), 2), testkit.Filter(w.topic("B"), 0))
	for _, payload := range []string{"1", "2", "3"} {
		w.publish(a, w.topic("A"), payload, 1)
	}
	w.publish(a, w.topic("B"), "not counted", 0)
	one, two := a.Message(), a.Message()
	if p := a.Message(); one.Payload != "1" || two.Payload != "2" || p.Payload != "not counted" {
		w.Fatalf("messages %q, %q and %q", one.Payload, two.Payload, p.Payload)
	}
	a.Ack(mqtt.PUBACK, one.Publish.ID)
	if p := a.Message(); p.Payload != "3" {
		w.Errorf("after one was acknowledged: %q", p.Payload)
	}
}

// serverFlow: who has more QoS 2 messages under way than the server said is disconnected (3.3.4, 4.13).
func serverFlow(w *world) {
	a := w.client("a", testkit.MQTTConfig{Manual: true})
	most, ok := a.Connack.Props.Number(mqtt.ReceiveMaximum)
	if !ok || most == 65_535 {
		w.Fatal("the server has no Receive Maximum")
	}
	var all []byte
	for range most + 1 {
		all = mqtt.AppendPublish(all, w.v, &mqtt.Publish{Topic: []byte(w.topic("A")), QoS: 2, ID: a.NextID()}, nil)
	}
	a.Send(all)
	for { // it goes on as if nothing were wrong, until it reads that something is
		p, _, err := a.Read()
		switch {
		case err != nil:
			w.Fatalf("the server closes without a word: %v", err)
		case p.Head.Type == mqtt.DISCONNECT:
			if p.Disconnect.Code != mqtt.ReceiveMaximumExceeded {
				w.Errorf("DISCONNECT 0x%02X", byte(p.Disconnect.Code))
			}
			a.Closed()
			return
		case p.Head.Type == mqtt.PUBREC:
			a.Ack(mqtt.PUBREL, p.Ack.ID)
		}
	}
}

// willDelay: a will waits for its delay or the end of the session, whichever is first (MQTT-3.1.3-9).
func willDelay(w *world) {
	for _, c := range []struct{ delay, expiry, least uint32 }{
		{delay: 1, expiry: 60, least: 1},
		{delay: 60, expiry: 0, least: 0},
		{delay: 60, expiry: 1, least: 1},
	} {
		b := w.client("b", testkit.MQTTConfig{})
		w.subscribe(b, testkit.Filter(w.topic("will"), 2))
		a := w.client("a", testkit.MQTTConfig{Props: expiry(c.expiry), Will: &mqtt.Will{
			Topic: []byte(w.topic("will")), Payload: []byte("gone"), Props: mqtt.Properties(nil).AppendNumber(mqtt.WillDelay, c.delay),
		}})
		began := time.Now()
		a.Drop()
		p := b.Message()
		// Servers count in whole seconds: one that has begun is over early.
		if waited := time.Since(began); p.Payload != "gone" || waited < time.Duration(c.least)*time.Second/2 {
			w.Errorf("a will with a delay of %d s, in a session of %d s, came after %s", c.delay, c.expiry, waited)
		}
		b.Disconnect()
	}
}

// sharedSubscriptions: each message goes to one of those who share, and to all who do not (4.8.2).
func sharedSubscriptions(w *world) {
	a, b := w.client("a", testkit.MQTTConfig{}), w.client("b", testkit.MQTTConfig{})
	for _, m := range []*testkit.MQTT{a, b} {
		w.subscribe(m, testkit.Filter("$share/sharename/"+w.topic("shared"), 2), testkit.Filter(w.topic("A"), 2))
	}
	const count = 10
	for range count {
		w.publish(b, w.topic("shared"), "one of us", 0)
	}
	w.publish(b, w.topic("A"), "end", 0)
	if got := len(a.MessagesBefore("end")) + len(b.MessagesBefore("end")); got != count {
		w.Errorf("%d messages came %d times", count, got)
	}
}
