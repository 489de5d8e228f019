package mqttdoor

import (
	"testing"

	"cardea/internal/mqtt"
)

// rulesOfFive is a device with five rules of which the last allows, and a template is on the way.
var rulesOfFive = []string{
	"allow mqtt:publish other/#", "deny mqtt:* dev/+/secret", "allow mqtt:* own/${principal}/#", "allow mqtt:subscribe dev/#", "allow mqtt:publish dev/+/telemetry/#",
}

// measured is a session that nobody serves, with packets that are judged again and again.
func measured(t testing.TB) (s *Session, packets map[string][]byte) {
	s = newBench(t, rulesOfFive...).session(mqtt.V5, &script{})
	payload := make([]byte, 256)
	publish := func(topic string, qos byte, alias uint32) []byte {
		p := mqtt.Publish{Topic: []byte(topic), QoS: qos}
		if qos > 0 {
			p.ID = 7
		}
		if alias > 0 {
			p.Props = p.Props.AppendNumber(mqtt.TopicAlias, alias)
		}
		return mqtt.AppendPublish(nil, mqtt.V5, &p, payload)
	}
	packets = map[string][]byte{
		"a topic":          publish("dev/pump/telemetry/a", 0, 0),
		"QoS 1":            publish("dev/pump/telemetry/a", 1, 0),
		"an alias set":     publish("dev/pump/telemetry/a", 0, 3),
		"an alias used":    publish("", 0, 3),
		"an own topic":     publish("own/pump/a", 0, 0),
		"what is refused":  publish("dev/pump/secret", 0, 0),
		"what nobody says": publish("nowhere", 0, 0),
	}
	return s, packets
}

// Checking a message costs no memory, in either direction.
func TestJudgingAllocatesNothing(t *testing.T) {
	s, packets := measured(t)
	s.in.aliases.most.Store(8)
	s.out.aliases.most.Store(8)
	for _, order := range []string{"an alias set", "a topic", "QoS 1", "an alias used", "an own topic", "what is refused", "what nobody says"} {
		p := packets[order]
		h, _, _ := mqtt.ReadHead(p)
		for name, j := range map[string]judge{"in": &s.in, "out": &s.out} {
			if n := testing.AllocsPerRun(100, func() { _, _ = j.judge(h, p) }); n > 0 && !(name == "out" && order == "QoS 1") {
				t.Errorf("%s, %s: %.0f allocations", order, name, n)
			}
		}
	}
}

// A message through the whole of Next: scan, alias, five rules. Target: 300 ns.
func BenchmarkPublish(b *testing.B) {
	s, packets := measured(b)
	for _, name := range []string{"a topic", "an alias used"} {
		b.Run(name, func(b *testing.B) {
			p := packets[name]
			f := flow{judge: &s.in, max: 1 << 20}
			s.in.aliases.most.Store(8)
			set := packets["an alias set"]
			if _, _, err := f.next(set); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if run, used, err := f.next(p); err != nil || used != len(p) || len(run) != len(p) {
					b.Fatal(len(run), used, err)
				}
			}
		})
	}
}

// A message that comes to the client, through the whole of Write.
func BenchmarkDeliver(b *testing.B) {
	s, packets := measured(b)
	p := packets["a topic"]
	f := flow{judge: &s.out, max: 1 << 20}
	b.ReportAllocs()
	for b.Loop() {
		if run, _, err := f.next(p); err != nil || len(run) != len(p) {
			b.Fatal(len(run), err)
		}
	}
}
