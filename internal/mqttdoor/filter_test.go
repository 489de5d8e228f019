package mqttdoor

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// stream is a valid piece of a session, of packets of both sides.
func stream(v mqtt.Version, rng *rand.Rand) (packets [][]byte) {
	pick := func(all ...string) string { return all[rng.IntN(len(all))] }
	topic := func() []byte {
		return []byte(pick("a/b", "a/secret/x", "a", "q", "b/x", "b/secret", "c", "a/b/c", "$SYS/x", "a/\u00e9", "#"))
	}
	filter := func() mqtt.Filter {
		return testkit.Filter(pick("a/+", "a/#", "b/#", "b/x", "#", "+/+", "$share/g/a/+", "$share/g/#", "$share//a", "b/secret", "a+", "$SYS/#"), mqtt.Options(rng.IntN(3)))
	}
	for range 1 + rng.IntN(10) {
		id := uint16(1 + rng.IntN(20))
		var p []byte
		switch rng.IntN(9) {
		case 0, 1, 2, 3:
			m := mqtt.Publish{Topic: topic(), QoS: byte(rng.IntN(3)), Retain: rng.IntN(4) == 0}
			if m.QoS > 0 {
				m.ID = id
			}
			if v == mqtt.V5 && rng.IntN(2) == 0 {
				m.Props = m.Props.AppendNumber(mqtt.TopicAlias, uint32(1+rng.IntN(4)))
				if rng.IntN(2) == 0 {
					m.Topic = nil
				}
			}
			if v == mqtt.V5 && rng.IntN(3) == 0 {
				m.Props = m.Props.AppendUser("name", "value")
			}
			p = mqtt.AppendPublish(nil, v, &m, make([]byte, rng.IntN(1<<rng.IntN(12))))
		case 4:
			filters := []mqtt.Filter{filter(), filter(), filter()}
			p = mqtt.AppendSubscribe(nil, v, id, nil, filters[:1+rng.IntN(3)])
		case 5:
			p = mqtt.AppendUnsubscribe(nil, v, id, nil, []string{"a/+"})
		case 6:
			p = mqtt.AppendAck(nil, v, []mqtt.Type{mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP}[rng.IntN(4)], id, mqtt.Code(rng.IntN(2)*0x10))
		case 7:
			p = mqtt.AppendSuback(nil, v, mqtt.SUBACK, id, nil, []byte{1})
		case 8:
			p = mqtt.AppendPing(nil, []mqtt.Type{mqtt.PINGREQ, mqtt.PINGRESP}[rng.IntN(2)])
		}
		packets = append(packets, p)
	}
	return packets
}

// mutate makes of valid packets some that are less so.
func mutate(packets [][]byte, rng *rand.Rand) (say []byte) {
	for _, p := range packets {
		p = bytes.Clone(p)
		switch rng.IntN(12) {
		case 0:
			p[rng.IntN(len(p))] = byte(rng.Uint32())
		case 1:
			p[rng.IntN(len(p))] ^= 1 << rng.IntN(8)
		case 2:
			p = p[:rng.IntN(len(p))]
		case 3:
			at := rng.IntN(len(p))
			p = append(p[:at:at], append([]byte{byte(rng.Uint32())}, p[at:]...)...)
		case 4:
			p = append(p, p...)
		case 5: // other first bytes: types and flags
			p[0] = byte(rng.Uint32())
		}
		say = append(say, p...)
	}
	return say
}

// The filter under a storm of sessions that are nearly right: nothing passes that the rules do not allow, nothing depends on how the bytes
// come in pieces, nothing panics, and nothing is left behind.
func TestFilterAgainstNaiveModel(t *testing.T) {
	frames := 100_000
	if soaking {
		frames = 10_000_000
	}
	b := newBench(t, rulesOfAllKinds...)
	seed := uint64(time.Now().UnixNano())
	if os.Getenv("CARDEA_SEED") != "" {
		fmt.Sscan(os.Getenv("CARDEA_SEED"), &seed)
	}
	t.Logf("CARDEA_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	before := 0
	for n, limit := 0, frames/10; n < frames; {
		v := versions[rng.IntN(2)]
		packets := stream(v, rng)
		b.try(t, v, mutate(packets, rng), rng)
		if n += len(packets); n > limit && before == 0 {
			before = heap()
		}
	}
	if more := heap() - before; more > 4<<20 {
		t.Errorf("%d bytes more than before", more)
	}
}

// Each split of a session at one place lets the same through.
func TestFilterAtEveryBoundary(t *testing.T) {
	b := newBench(t, rulesOfAllKinds...)
	for _, v := range versions {
		rng := rand.New(rand.NewPCG(7, uint64(v)))
		for range 20 {
			say := bytes.Join(stream(v, rng), nil)
			if len(say) > 2000 {
				continue
			}
			in, told, _ := b.inward(v, say, whole)
			out, back, _ := b.outward(v, say, whole)
			for at := 1; at < len(say); at++ {
				once := func(left int) int {
					if left == len(say) {
						return at
					}
					return left
				}
				in2, told2, _ := b.inward(v, say, once)
				out2, back2, _ := b.outward(v, say, once)
				if !bytes.Equal(in, in2) || !bytes.Equal(told, told2) || !bytes.Equal(out, out2) || !bytes.Equal(back, back2) {
					t.Fatalf("%s: split at %d something else passes of % x", versionName(v), at, say)
				}
			}
		}
	}
}

// FuzzFilter is the same, by the fuzzer's own mutations.
func FuzzFilter(f *testing.F) {
	b := newBench(f, rulesOfAllKinds...)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		for _, v := range versions {
			f.Add(v == mqtt.V5, bytes.Join(stream(v, rng), nil), rng.Uint64())
		}
	}
	f.Fuzz(func(t *testing.T, five bool, say []byte, seed uint64) {
		v := mqtt.V311
		if five {
			v = mqtt.V5
		}
		b.try(t, v, say, rand.New(rand.NewPCG(seed, 3)))
	})
}
