package main

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
	"cardea/internal/view"
)

// metrics reads all values of /metrics that have no label.
func metrics(t *testing.T, k *testkit.Cardea) map[string]float64 {
	t.Helper()
	resp, err := http.Get(k.URL("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			all[name] = n
		}
	}
	return all
}

// Every number of the MQTT door and of its broker is there, and those move that should; nothing names a client.
func TestMQTTMetrics(t *testing.T) {
	t.Parallel()
	k := start(t, testkit.CardeaConfig{})
	token := gen(t, k, view.NewKey{ID: "pump-1"}).Token.Secret.Reveal()
	before := metrics(t, k)
	for _, n := range doorNumbers {
		if v, ok := before["cardea_mqtt_"+n.name]; !ok || v != 0 {
			t.Errorf("%s is %v, %v before anything happens", n.name, v, ok)
		}
	}
	for _, n := range brokerNumbers {
		if _, ok := before["cardea_mqtt_"+n.name]; !ok {
			t.Errorf("%s is missing", n.name)
		}
	}
	lasting := mqtt.Properties(nil).AppendNumber(mqtt.SessionExpiry, 3600)
	m := testkit.ConnectMQTT(t, k.MQTT, testkit.MQTTConfig{ClientID: "pump-1", User: token, Props: lasting})
	m.Subscribe(testkit.Filter("t/#", 1))
	m.PublishWith(mqtt.Publish{Topic: []byte("t/1"), QoS: 1, Retain: true}, "1")
	m.Message()
	m.Publish("$SYS/x", "", 1) // refused
	testkit.DialMQTT(t, k.MQTT, testkit.MQTTConfig{}).Connect(testkit.MQTTConfig{ClientID: "x", User: "wrong"})
	testkit.DialMQTT(t, k.MQTT, testkit.MQTTConfig{}).Send([]byte{0, 0, 0})
	want := map[string]float64{
		"sessions": 1, "connects_total": 1, "refused_connects_total": 1, "malformed_connects_total": 1, "received_messages_total": 2,
		"delivered_messages_total": 1, "denied_total": 1, "broker_sessions": 1, "broker_lasting_sessions": 1, "broker_subscriptions": 1,
		"broker_retained_messages": 1, "broker_failing": 0, "broker_connections": 1,
	}
	for name, value := range want {
		eventually(t, name, func() bool { return metrics(t, k)["cardea_mqtt_"+name] == value })
	}
	after := metrics(t, k)
	for _, name := range []string{"received_bytes_total", "sent_bytes_total", "broker_disk_bytes", "broker_held_bytes"} {
		if after["cardea_mqtt_"+name] <= before["cardea_mqtt_"+name] {
			t.Errorf("%s was %v and is %v", name, before["cardea_mqtt_"+name], after["cardea_mqtt_"+name])
		}
	}
	for name := range after {
		if strings.Contains(name, "pump") {
			t.Errorf("%s is about one client", name)
		}
	}
}

// Of a broker of somebody else's it is told whether it can be reached; without the door there is nothing to tell.
func TestUpstreamMetrics(t *testing.T) {
	t.Parallel()
	k := start(t, testkit.CardeaConfig{Args: []string{"--mqtt-upstream", "tcp://127.0.0.1:1"}})
	token := gen(t, k, view.NewKey{ID: "pump-1"}).Token.Secret.Reveal()
	if all := metrics(t, k); all["cardea_mqtt_upstream_down"] != 0 || all["cardea_mqtt_upstream_failures_total"] != 0 {
		t.Errorf("before anybody came: %v", all)
	}
	testkit.DialMQTT(t, k.MQTT, testkit.MQTTConfig{}).Connect(testkit.MQTTConfig{ClientID: "pump-1", User: token})
	if all := metrics(t, k); all["cardea_mqtt_upstream_down"] != 1 || all["cardea_mqtt_upstream_failures_total"] == 0 {
		t.Errorf("after it could not be reached: down %v, failures %v", all["cardea_mqtt_upstream_down"], all["cardea_mqtt_upstream_failures_total"])
	}
	without := start(t, testkit.CardeaConfig{Args: []string{"--mqtt-listen", "off"}})
	for name := range metrics(t, without) {
		if strings.HasPrefix(name, "cardea_mqtt_") {
			t.Errorf("%s without the door", name)
		}
	}
}
