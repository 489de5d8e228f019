// Package conformance holds what any MQTT server must do, as tests: the
// behaviours that Eclipse's suites for 3.1.1 and 5.0 look at, in words of our
// own. A case waits for what must come and not for a time, so all of them
// take seconds.
//
//	conformance.Run(t, conformance.Target{Addr: server.MQTT})
//
// The server must refuse subscriptions to test/nosubscribe and tell clients of
// 5.0 to keep alive every 60 s. What a certain server cannot do its caller
// lists in Skip; the cases know no servers.
package conformance

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// Target is a server that is tested.
type Target struct {
	Addr string
	// Prepare gives a client what the server demands of it: a user name, TLS. nil for nothing.
	Prepare func(testkit.MQTTConfig) testkit.MQTTConfig
	// Skip names the cases that the server is known to fail, with the reason: "5.0/server topic alias".
	Skip map[string]string
}

// testCase is one behaviour.
type testCase struct {
	name string
	run  func(*world)
}

// Run runs all cases, each as a subtest named like "3.1.1/basic", side by side.
func Run(t *testing.T, target Target) {
	t.Helper()
	left := map[string]bool{}
	for name := range target.Skip {
		left[name] = true
	}
	run := rand.Text()[:6]
	for _, v := range []struct {
		mqtt  mqtt.Version
		name  string
		cases []testCase
	}{{mqtt.V311, "3.1.1", cases311}, {mqtt.V5, "5.0", cases5}} {
		for i, c := range v.cases {
			name := v.name + "/" + c.name
			delete(left, name)
			t.Run(name, func(t *testing.T) {
				if why, skip := target.Skip[name]; skip {
					t.Skip("known: " + why)
				}
				t.Parallel()
				c.run(&world{T: t, target: target, v: v.mqtt, name: fmt.Sprintf("%s-%d-%d", run, v.mqtt, i)})
			})
		}
	}
	for name := range left {
		t.Errorf("there is no case %q to skip", name)
	}
}

// world is where one case happens: its clients and topics have names that no other case and no other run has.
type world struct {
	*testing.T
	target Target
	v      mqtt.Version
	name   string
}

// root begins all topics.
const root = "conformance"

// topic is one of the case's own.
func (w *world) topic(levels string) string { return root + "/" + w.name + "/" + levels }

// client connects, which must succeed. who is a or b; the same one is the same client for the server.
func (w *world) client(who string, c testkit.MQTTConfig) *testkit.MQTT {
	w.Helper()
	return testkit.ConnectMQTT(w, w.target.Addr, w.config(who, c))
}

// config completes what a client connects with.
func (w *world) config(who string, c testkit.MQTTConfig) testkit.MQTTConfig {
	c.Version = w.v
	if who != "" {
		c.ClientID = strings.ReplaceAll(w.name, "-", "") + who
	}
	if w.target.Prepare != nil {
		c = w.target.Prepare(c)
	}
	return c
}

// lasting is a client whose session outlives the connection.
func (w *world) lasting() testkit.MQTTConfig {
	c := testkit.MQTTConfig{Resume: true}
	if w.v == mqtt.V5 {
		c.Props = expiry(99_999)
	}
	return c
}

// subscribe makes subscriptions that must all be granted with the QoS that is asked for.
func (w *world) subscribe(m *testkit.MQTT, filters ...mqtt.Filter) {
	w.Helper()
	w.subscribeWith(m, nil, filters...)
}

func (w *world) subscribeWith(m *testkit.MQTT, props mqtt.Properties, filters ...mqtt.Filter) {
	w.Helper()
	codes := m.SubscribeWith(props, filters...)
	for i, f := range filters {
		if i >= len(codes) || codes[i] != f.Options.QoS() {
			w.Fatalf("SUBACK says % X to %q", codes, f.Filter)
		}
	}
}

// publish publishes what must be accepted.
func (w *world) publish(m *testkit.MQTT, topic, payload string, qos byte) {
	w.Helper()
	w.publishWith(m, mqtt.Publish{Topic: []byte(topic), QoS: qos}, payload)
}

func (w *world) publishWith(m *testkit.MQTT, p mqtt.Publish, payload string) {
	w.Helper()
	if code := m.PublishWith(p, payload); code.Failed() {
		w.Fatalf("PUBLISH of QoS %d to %q is refused: 0x%02X", p.QoS, p.Topic, byte(code))
	}
}

// retain leaves a message of each QoS behind, which is gone when the case is over.
func (w *world) retain(m *testkit.MQTT, props mqtt.Properties) {
	w.Helper()
	for qos := range byte(3) {
		topic := w.topic(fmt.Sprintf("retained/%d", qos))
		w.publishWith(m, mqtt.Publish{Topic: []byte(topic), QoS: qos, Retain: true, Props: props}, fmt.Sprint("qos ", qos))
	}
	w.Cleanup(func() { w.forget(w.client("cleaner", testkit.MQTTConfig{})) })
}

// forget removes what retain left.
func (w *world) forget(m *testkit.MQTT) {
	w.Helper()
	for qos := range byte(3) {
		w.publishWith(m, mqtt.Publish{Topic: []byte(w.topic(fmt.Sprintf("retained/%d", qos))), QoS: qos, Retain: true}, "")
	}
	m.Ping()
}

// nothingMore makes sure that no message has come to m but those that were taken: one that is published behind them is next.
func (w *world) nothingMore(m *testkit.MQTT, by *testkit.MQTT, topic string) {
	w.Helper()
	for qos := range byte(3) {
		w.publish(by, topic, "end", qos)
		if more := m.MessagesBefore("end"); len(more) > 0 {
			w.Fatalf("a message that nobody waits for: %q on %q", more[0].Payload, more[0].Publish.Topic)
		}
	}
}

// qualities makes sure that messages came once with each QoS.
func (w *world) qualities(messages []testkit.Packet) {
	w.Helper()
	var seen [3]int
	for _, p := range messages {
		seen[p.Publish.QoS]++
	}
	if seen != [3]int{1, 1, 1} {
		w.Fatalf("messages of QoS 0, 1 and 2: %v", seen)
	}
}

func expiry(seconds uint32) mqtt.Properties {
	return mqtt.Properties(nil).AppendNumber(mqtt.SessionExpiry, seconds)
}
