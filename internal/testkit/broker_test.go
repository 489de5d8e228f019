package testkit_test

import (
	"os"
	"testing"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

func TestMosquitto(t *testing.T) {
	b := testkit.StartMosquitto(t, "")
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		exchange(t, b, testkit.MQTTConfig{Version: v, ClientID: "one"}, 2)
	}
}

func TestRabbitMQ(t *testing.T) {
	if os.Getenv("CARDEA_SOAK") == "" {
		t.Skip("starts too slowly for every run: make soak")
	}
	b := testkit.StartRabbitMQ(t)
	// It answers a message of QoS 2 with a PUBACK.
	exchange(t, b, testkit.MQTTConfig{Version: mqtt.V311, ClientID: "one", User: "guest", Password: "guest"}, 1)
}

// exchange sends a message of each QoS to itself, up to the highest that the broker knows.
func exchange(t *testing.T, b *testkit.Broker, c testkit.MQTTConfig, highest byte) {
	t.Helper()
	m := testkit.ConnectMQTT(t, b.Addr, c)
	if codes := m.Subscribe(testkit.Filter("a/#", 2)); len(codes) != 1 || mqtt.Code(codes[0]).Failed() {
		t.Fatalf("SUBACK % X", codes)
	}
	for qos := range highest + 1 {
		if code := m.Publish("a/b", "hello", qos); code != mqtt.Success {
			t.Errorf("QoS %d: 0x%02X", qos, byte(code))
		}
		if p := m.Message(); p.Payload != "hello" || string(p.Publish.Topic) != "a/b" || p.Publish.QoS > qos {
			t.Errorf("QoS %d: %q on %q, QoS %d", qos, p.Payload, p.Publish.Topic, p.Publish.QoS)
		}
	}
	m.Ping()
	m.Disconnect()
}
