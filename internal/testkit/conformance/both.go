package conformance

import (
	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// cases311 are the behaviours of MQTT 3.1.1.
var cases311 = []testCase{
	{"basic", basic},
	{"retained messages", retained},
	{"will message", willMessage},
	{"zero length client id", zeroLengthID311},
	{"offline message queueing", offlineQueueing},
	{"overlapping subscriptions", overlapping},
	{"keep alive", keepAlive},
	{"redelivery on reconnect", redelivery},
	{"subscribe failure", subscribeFailure},
	{"dollar topics", dollarTopics},
	{"unsubscribe", unsubscribe},
}

// basic: messages of each QoS come back; a second CONNECT and a foreign protocol end the connection.
func basic(w *world) {
	w.client("a", testkit.MQTTConfig{}).Disconnect()
	a := w.client("a", testkit.MQTTConfig{})
	if a.Connack.SessionPresent {
		w.Error("a clean session is said to be there already")
	}
	w.subscribe(a, testkit.Filter(w.topic("A"), 2))
	for qos := range byte(3) {
		w.publish(a, w.topic("A"), "hello", qos)
	}
	w.qualities(a.Messages(3))
	a.Disconnect()

	a = w.client("a", testkit.MQTTConfig{})
	a.Send(mqtt.AppendConnect(nil, &mqtt.Connect{Version: w.v, CleanStart: true, ClientID: []byte("a")})) // MQTT-3.1.0-2
	a.Closed()

	foreign := mqtt.AppendConnect(nil, &mqtt.Connect{Version: w.v, CleanStart: true, ClientID: []byte("a")})
	copy(foreign[4:], "HTTP")
	a = testkit.DialMQTT(w, w.target.Addr, w.config("a", testkit.MQTTConfig{}))
	a.Send(foreign) // MQTT-3.1.2-1
	if p, _, err := a.Read(); err == nil && !p.Connack.Code.Failed() {
		w.Error("a protocol with another name is accepted")
	}
	a.Closed()
}

// retained: a new subscription gets what was retained, with its properties; an empty message removes it.
func retained(w *world) {
	var props mqtt.Properties
	if w.v == mqtt.V5 {
		props = props.AppendUser("a", "2").AppendUser("c", "3")
	}
	a := w.client("a", testkit.MQTTConfig{})
	w.retain(a, props)
	w.subscribe(a, testkit.Filter(w.topic("retained/+"), 2))
	messages := a.Messages(3)
	w.qualities(messages)
	for _, p := range messages {
		if !p.Publish.Retain {
			w.Errorf("%q was retained and does not say so", p.Payload)
		}
		wantUser(w, p)
	}
	a.Disconnect()

	a = w.client("a", testkit.MQTTConfig{})
	w.forget(a)
	w.subscribe(a, testkit.Filter(w.topic("retained/+"), 2))
	w.nothingMore(a, a, w.topic("retained/end"))
}

// wantUser makes sure that the user properties of retained are there in 5.0.
func wantUser(w *world, p testkit.Packet) {
	w.Helper()
	var got []string
	for one, rest, ok := p.Publish.Props.Next(); ok; one, rest, ok = rest.Next() {
		if one.ID == mqtt.UserProperty {
			got = append(got, string(one.Text)+"="+string(one.Value))
		}
	}
	if w.v == mqtt.V5 && (len(got) != 2 || got[0] != "a=2" || got[1] != "c=3") { // MQTT-3.3.2-17, -18
		w.Errorf("the user properties of %q are %v", p.Payload, got)
	}
}

// willMessage: it is published when a client goes without a word, with its properties, and is not when it says good-bye.
func willMessage(w *world) {
	will := &mqtt.Will{Topic: []byte(w.topic("will")), Payload: []byte("gone")}
	if w.v == mqtt.V5 {
		will.Props = will.Props.AppendNumber(mqtt.WillDelay, 0).AppendUser("a", "2").AppendUser("c", "3")
	}
	b := w.client("b", testkit.MQTTConfig{})
	w.subscribe(b, testkit.Filter(w.topic("will"), 2))
	w.client("a", testkit.MQTTConfig{Will: will}).Disconnect()
	w.nothingMore(b, b, w.topic("will"))
	w.client("a", testkit.MQTTConfig{Will: will}).Drop()
	p := b.Message()
	if p.Payload != "gone" {
		w.Errorf("the will says %q", p.Payload)
	}
	wantUser(w, p)
}

// zeroLengthID311: a client without a name must not want its session kept (MQTT-3.1.3-8 of 3.1.1).
func zeroLengthID311(w *world) {
	c := w.config("", testkit.MQTTConfig{Resume: true})
	m := testkit.DialMQTT(w, w.target.Addr, c)
	if code := m.Connect(c); code != mqtt.ClientIDNotValid {
		w.Errorf("without a client id and with a session to keep: 0x%02X", byte(code))
	}
	m.Closed()
	w.client("", testkit.MQTTConfig{}).Disconnect()
}

// offlineQueueing: a session gets what was sent while its client was away; QoS 0 may be missing.
func offlineQueueing(w *world) {
	a := w.client("a", w.lasting())
	w.subscribe(a, testkit.Filter(w.topic("+"), 2))
	a.Disconnect()
	b := w.client("b", testkit.MQTTConfig{})
	for qos := range byte(3) {
		w.publish(b, w.topic("A"), "while away", qos)
	}
	a = w.client("a", w.lasting())
	if !a.Connack.SessionPresent {
		w.Error("the session is said to be new")
	}
	w.publish(b, w.topic("A"), "end", 2)
	var seen [3]int
	for _, p := range a.MessagesBefore("end") {
		seen[p.Publish.QoS]++
	}
	if seen[0] > 1 || seen[1] != 1 || seen[2] != 1 {
		w.Errorf("messages of QoS 0, 1 and 2: %v", seen)
	}
}

// overlapping: two filters of one client match: it gets one message with the higher QoS, or one for each (3.3.4).
func overlapping(w *world) {
	a := w.client("a", testkit.MQTTConfig{})
	w.subscribe(a, testkit.Filter(w.topic("A/#"), 2), testkit.Filter(w.topic("A/+"), 1))
	w.publish(a, w.topic("A/C"), "twice", 2)
	w.publish(a, w.topic("A/C"), "end", 2)
	var seen [3]int
	for _, p := range a.MessagesBefore("end") {
		seen[p.Publish.QoS]++
	}
	if seen != [3]int{0, 0, 1} && seen != [3]int{0, 1, 1} {
		w.Errorf("messages of QoS 0, 1 and 2: %v", seen)
	}
}

// keepAlive: who neither sends nor pings for one and a half times what it promised is gone, and its will says so (MQTT-3.1.2-22).
func keepAlive(w *world) {
	b := w.client("b", testkit.MQTTConfig{})
	w.subscribe(b, testkit.Filter(w.topic("will"), 2))
	a := w.client("a", testkit.MQTTConfig{KeepAlive: 1, Will: &mqtt.Will{Topic: []byte(w.topic("will")), Payload: []byte("too late")}})
	if p := b.Message(); p.Payload != "too late" {
		w.Errorf("the will says %q", p.Payload)
	}
	a.Closed()
	w.nothingMore(b, b, w.topic("will"))
}

// redelivery: what was not acknowledged comes again, marked (MQTT-4.4.0-1, MQTT-3.3.1-1).
func redelivery(w *world) {
	manual := w.lasting()
	manual.Manual = true
	b := w.client("b", manual)
	w.subscribe(b, testkit.Filter(w.topic("+"), 2))
	w.publish(b, w.topic("A"), "once", 1)
	w.publish(b, w.topic("B"), "once", 2)
	b.Messages(2)
	b.Disconnect()
	b = w.client("b", w.lasting())
	if !b.Connack.SessionPresent {
		w.Error("the session is said to be new")
	}
	for _, p := range b.Messages(2) {
		if p.Payload != "once" || !p.Publish.Dup {
			w.Errorf("%q comes again, DUP %t", p.Payload, p.Publish.Dup)
		}
	}
	w.nothingMore(b, b, w.topic("C"))
}

// subscribeFailure: a refused subscription says so and the connection stays.
func subscribeFailure(w *world) {
	a := w.client("a", testkit.MQTTConfig{})
	codes := a.Subscribe(testkit.Filter("test/nosubscribe", 2), testkit.Filter(w.topic("A"), 1))
	if len(codes) != 2 || !mqtt.Code(codes[0]).Failed() || codes[1] != 1 || w.v < mqtt.V5 && codes[0] != 0x80 {
		w.Errorf("SUBACK says % X", codes)
	}
	a.Ping()
}

// dollarTopics: a wildcard at the beginning of a filter does not match what begins with $ (MQTT-4.7.2-1). A server may refuse
// to publish there.
func dollarTopics(w *world) {
	b := w.client("b", testkit.MQTTConfig{})
	w.subscribe(b, testkit.Filter("+/"+w.name, 2))
	a := w.client("a", testkit.MQTTConfig{})
	id := a.NextID()
	a.Send(mqtt.AppendPublish(nil, w.v, &mqtt.Publish{Topic: []byte("$" + root + "/" + w.name), QoS: 1, ID: id}, []byte("hidden")))
	for { // an answer, or the end
		if p, _, err := a.Read(); err != nil || p.Head.Type == mqtt.PUBACK {
			break
		}
	}
	w.nothingMore(b, b, root+"/"+w.name)
}

// unsubscribe: only the filters that are left get messages.
func unsubscribe(w *world) {
	b := w.client("b", testkit.MQTTConfig{})
	w.subscribe(b, testkit.Filter(w.topic("A"), 2), testkit.Filter(w.topic("B"), 2), testkit.Filter(w.topic("C"), 2))
	if codes := b.Unsubscribe(w.topic("A")); w.v == mqtt.V5 && (len(codes) != 1 || codes[0] != 0) {
		w.Errorf("UNSUBACK says % X", codes)
	}
	a := w.client("a", testkit.MQTTConfig{})
	for _, topic := range []string{"A", "B", "C"} {
		w.publish(a, w.topic(topic), topic, 1)
	}
	if got := b.Message().Payload + b.Message().Payload; got != "BC" {
		w.Errorf("messages of %q", got)
	}
	w.nothingMore(b, a, w.topic("B"))
}
