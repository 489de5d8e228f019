package main

import (
	"testing"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
	"cardea/internal/view"
)

// M06: what a publisher has said that is not believed any more is not told to newcomers, unless the server was told so; and of who
// is deleted no session stays, in which messages would wait for ever.
func TestRetainedMessagesAndSessionsOfTheGone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		left float64
	}{"forgotten": {nil, 1}, "kept": {[]string{"--mqtt-keep-retained-of-revoked"}, 2}} {
		t.Run(name, func(t *testing.T) {
			k := start(t, testkit.CardeaConfig{Args: c.args})
			gone, stays := gen(t, k, view.NewKey{ID: "gone"}), gen(t, k, view.NewKey{ID: "stays"})
			for _, key := range []view.KeyBundle{gone, stays} {
				m := testkit.ConnectMQTT(t, k.MQTT, testkit.MQTTConfig{
					ClientID: key.Principal.Name, User: key.Token.Secret.Reveal(), Props: mqtt.Properties(nil).AppendNumber(mqtt.SessionExpiry, 3600),
				})
				m.Subscribe(testkit.Filter("a/#", 1))
				m.PublishWith(mqtt.Publish{Topic: []byte("a/" + key.Principal.Name), QoS: 1, Retain: true}, "x")
				m.Disconnect()
			}
			value := func(name string) float64 { return metrics(t, k)["cardea_mqtt_broker_"+name] }
			if r, s := value("retained_messages"), value("lasting_sessions"); r != 2 || s != 2 {
				t.Fatalf("%v retained messages and %v sessions at first", r, s)
			}
			if _, stderr, code := k.CLI("key", "del", "gone"); code != 0 {
				t.Fatal(stderr)
			}
			eventually(t, "the session goes", func() bool { return value("lasting_sessions") == 1 })
			eventually(t, "the retained message", func() bool { return value("retained_messages") == c.left })
		})
	}
}
