package mqttdoor

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"cardea/internal/mqtt"
)

// planned is a packet with what becomes of it.
type planned struct {
	packet  []byte
	head    int // how much of it must be there to tell
	verdict verdict
	with    []byte // in the place of the first size bytes, if it is swapped
	size    int
	err     error // instead of a verdict
	ends    bool  // nothing more is looked at behind it
}

// plan is a judge that knows what comes.
type plan struct {
	t      testing.TB
	flow   flow
	list   []planned
	judged int
}

var errPlanned = errors.New("as planned")

func (p *plan) judge(h mqtt.Head, b []byte) (verdict, error) {
	if p.judged == len(p.list) {
		p.t.Fatal("a packet is judged that is not there, or one twice")
	}
	one := &p.list[p.judged]
	if h.Total() != len(one.packet) || !bytes.HasPrefix(one.packet, b[:min(len(b), h.Total())]) {
		p.t.Fatalf("packet %d is judged by other bytes", p.judged)
	}
	if h.Type != mqtt.PUBLISH && len(b) < h.Total() {
		p.t.Fatalf("%v is judged before it is all there", h.Type)
	}
	if len(b) < one.head {
		return more, nil
	}
	p.judged++
	if one.err != nil {
		return drop, one.err
	}
	if one.ends {
		p.flow.failed = errPlanned
	}
	if one.verdict == swap {
		return p.flow.swapFor(one.size, one.with), nil
	}
	return one.verdict, nil
}

// outcome is what has to come out of it, and where packets begin in that.
func (p *plan) outcome() (out []byte, starts map[int]bool, err error) {
	starts = map[int]bool{}
	for _, one := range p.list {
		starts[len(out)] = true
		if one.err != nil {
			return out, starts, one.err
		}
		switch one.verdict {
		case pass:
			out = append(out, one.packet...)
		case swap:
			out = append(append(out, one.with...), one.packet[one.size:]...)
		}
		if one.ends {
			starts[len(out)] = true
			return out, starts, errPlanned
		}
	}
	starts[len(out)] = true
	return out, starts, nil
}

// makePlan draws packets and what becomes of them.
func makePlan(t testing.TB, rng *rand.Rand) *plan {
	p := &plan{t: t}
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	for range 1 + rng.IntN(12) {
		typ, flags := mqtt.PUBLISH, byte(rng.IntN(3)<<1)
		length := []int{rng.IntN(4), rng.IntN(200), rng.IntN(40_000)}[rng.IntN(3)]
		if rng.IntN(2) == 0 {
			typ, flags, length = mqtt.Type(1+rng.IntN(15)), 0, min(length, 5000)
			switch typ {
			case mqtt.PUBREL, mqtt.SUBSCRIBE, mqtt.UNSUBSCRIBE:
				flags = 2
			case mqtt.PINGREQ, mqtt.PINGRESP:
				length = 0
			}
		}
		one := planned{packet: append(mqtt.AppendHead(nil, typ, flags, length), noise(length)...)}
		one.head = len(one.packet)
		if typ == mqtt.PUBLISH {
			one.head = len(one.packet) - rng.IntN(length+1)
		}
		one.verdict = []verdict{pass, pass, drop, swap}[rng.IntN(4)]
		if one.verdict == swap {
			one.size, one.with = 1+rng.IntN(one.head), noise(1+rng.IntN(300))
		}
		switch rng.IntN(40) {
		case 0:
			one.err = errPlanned
		case 1:
			one.ends = one.verdict == pass
		}
		p.list = append(p.list, one)
	}
	p.flow = flow{judge: p, max: 1 << 20}
	return p
}

// What comes out of a flow is what passes, one behind the other, with what is swapped in its place, however the bytes come in pieces; and it
// knows whether it is inside of a packet.
func FuzzFlow(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		p := makePlan(t, rng)
		want, starts, wantErr := p.outcome()
		var in []byte
		for _, one := range p.list {
			in = append(in, one.packet...)
		}
		whole := rng.IntN(4) == 0
		var pending, got []byte
		var err error
		for err == nil {
			run, used, e := p.flow.next(pending)
			got, pending, err = append(got, run...), pending[used:], e
			if len(run) > 0 && p.flow.mid() == starts[len(got)] {
				t.Fatalf("after %d bytes: inside of a packet %v", len(got), p.flow.mid())
			}
			if used > 0 || len(run) > 0 {
				continue
			}
			if len(in) == 0 {
				break
			}
			n := len(in)
			if !whole {
				n = min(n, 1+rng.IntN(1<<rng.IntN(14)))
			}
			pending = append(bytes.Clone(pending), in[:n]...) // what was given out is not valid any more
			in = in[n:]
		}
		if err == nil {
			_, _, err = p.flow.next(nil)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes came out, want %d; the first difference is at %d", len(got), len(want), firstDifference(got, want))
		}
		if !errors.Is(err, wantErr) {
			t.Errorf("the error is %v, want %v", err, wantErr)
		}
	})
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
