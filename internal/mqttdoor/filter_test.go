package mqttdoor

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"cardea/internal/gate"
	"cardea/internal/mqtt"
	"cardea/internal/policy"
	"cardea/internal/testkit"
)

// bench is a session without sockets: bytes go in at one side, and what comes out at the other is looked at.
type bench struct {
	*house
	id *gate.Identity
}

// newBench makes a door with a device whose rules are good for all kinds of answers.
func newBench(t testing.TB) *bench {
	h := newHouse(t)
	w := h.device("pump", "allow mqtt:publish a/#", "deny mqtt:publish a/secret/#", "allow mqtt:publish q qos=0,1 retain=false",
		"allow mqtt:subscribe a/+", "allow mqtt:subscribe b/#", "deny mqtt:subscribe b/secret")
	id, out := h.gate.Authenticate(t.Context(), &gate.Evidence{Token: w.token, Door: doorName})
	if out.Reason != 0 {
		t.Fatal(out)
	}
	return &bench{h, id}
}

// script is a connection whose peer says what it has to say in pieces, and hears all that it is told.
type script struct {
	net.Conn
	say    []byte
	pieces func(int) int // length of the next one, of what is left
	mu     sync.Mutex
	heard  []byte
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.say) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, s.say[:s.pieces(len(s.say))])
	s.say = s.say[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = append(s.heard, p...)
	return len(p), nil
}

func (s *script) SetReadDeadline(t time.Time) error  { return nil }
func (s *script) SetWriteDeadline(t time.Time) error { return nil }
func (s *script) Close() error                       { return nil }

func inPieces(rng *rand.Rand) func(int) int {
	return func(left int) int { return min(left, 1+rng.IntN(1<<rng.IntN(12))) }
}

func whole(left int) int { return left }

// session makes one whose CONNECT was accepted.
func (b *bench) session(v mqtt.Version, c *script) *Session {
	s := &Session{door: b.door, listener: &Listener{Name: "bench"}, conn: c, version: v, clientID: "pump", org: "default", key: "default/x/pump"}
	s.w.conn = c
	s.in.init(s)
	s.out.init(s)
	s.id.Store(b.id)
	s.in.unreleased = &unreleased{}
	s.in.access, s.out.access = s.access("publish"), s.access("deliver")
	s.in.aliases.most.Store(8)
	s.out.aliases.most.Store(8)
	s.out.connected = true
	return s
}

// inward is what the broker gets of what a client says, what the client is told, and how it ends.
func (b *bench) inward(v mqtt.Version, say []byte, pieces func(int) int) (broker, client []byte, end ending) {
	c := &script{say: bytes.Clone(say), pieces: pieces}
	s := b.session(v, c)
	defer s.in.buf.giveBack()
	for {
		run, err := s.Next()
		if err != nil {
			break
		}
		broker = append(broker, run...)
	}
	return broker, c.heard, *s.end.Load()
}

// outward is what the client gets of what a broker says, and what the broker is told.
func (b *bench) outward(v mqtt.Version, say []byte, pieces func(int) int) (client, broker []byte, end *ending) {
	c := &script{pieces: pieces}
	s := b.session(v, c)
	for id := range uint16(20) { // requests that may be answered
		s.subs.ask(id+1, &request{filters: []string{"a/+"}, options: []mqtt.Options{0}, codes: []byte{asked, 0x87}})
	}
	for len(say) > 0 {
		n := pieces(len(say))
		p := bytes.Clone(say[:n])
		_, err := s.Write(p)
		for i := range p {
			p[i] = 0xEE // the broker uses its buffer again
		}
		if err != nil {
			break
		}
		say = say[n:]
	}
	return c.heard, s.takeInjected(), s.end.Load()
}

// may asks the rules, without any of the door's code.
func (b *bench) may(v mqtt.Version, verb, topic string, qos byte, retain bool) bool {
	a := policy.Access{Proto: policy.MQTT, Verb: verb, Resource: topic, QoS: qos, Retain: retain, ClientID: "pump"}
	return b.gate.Authorize(b.id, &a).Allowed()
}

// each calls f with each whole packet of a stream; false if it is not one packet behind the other, but for the last, which may be cut.
func eachPacket(stream []byte, f func(h mqtt.Head, p []byte) error) error {
	for len(stream) > 0 {
		h, ok, err := mqtt.ReadHead(stream)
		if err != nil {
			return err
		}
		if !ok {
			return nil
		}
		p := stream[:min(h.Total(), len(stream))]
		if len(p) < h.Total() && h.Type != mqtt.PUBLISH {
			return fmt.Errorf("%v passes in part", h.Type)
		}
		if err := f(h, p); err != nil {
			return err
		}
		stream = stream[len(p):]
	}
	return nil
}

// receiver is what a peer makes of PUBLISH packets.
type receiver map[uint16]string

func (r receiver) topic(p *mqtt.Publish) (string, error) {
	if p.Alias == 0 {
		return string(p.Topic), nil
	}
	if len(p.Topic) > 0 {
		r[p.Alias] = string(p.Topic)
	}
	if r[p.Alias] == "" {
		return "", fmt.Errorf("alias %d was never set", p.Alias)
	}
	return r[p.Alias], nil
}

// checkInward looks at what the broker gets as a broker would that believes nobody.
func (b *bench) checkInward(v mqtt.Version, stream []byte) error {
	aliases, over := receiver{}, false
	return eachPacket(stream, func(h mqtt.Head, packet []byte) error {
		if over {
			return fmt.Errorf("%v behind DISCONNECT", h.Type)
		}
		switch h.Type {
		case mqtt.PUBLISH:
			p, ok, err := mqtt.ReadPublish(v, mqtt.FromClient, h, packet)
			if err != nil || !ok {
				return fmt.Errorf("a PUBLISH that is none: %v", err)
			}
			topic, err := aliases.topic(&p)
			if err != nil {
				return err
			}
			if !b.may(v, "publish", topic, p.QoS, p.Retain) {
				return fmt.Errorf("a message to %q at QoS %d, retain %v", topic, p.QoS, p.Retain)
			}
		case mqtt.SUBSCRIBE:
			p, err := mqtt.ReadSubscribe(v, h, packet)
			if err != nil {
				return err
			}
			for one, rest, ok := p.Filters.Next(); ok; one, rest, ok = rest.Next() {
				inner, ok := policy.Unshare(string(one.Filter))
				if !ok || !b.may(v, "subscribe", inner, one.Options.QoS(), false) {
					return fmt.Errorf("a subscription to %q at QoS %d", one.Filter, one.Options.QoS())
				}
			}
		case mqtt.UNSUBSCRIBE:
			_, err := mqtt.ReadUnsubscribe(v, h, packet)
			return err
		case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP:
			_, err := mqtt.ReadAck(v, h, packet)
			return err
		case mqtt.DISCONNECT:
			over = true
			_, err := mqtt.ReadDisconnect(v, h, packet)
			return err
		case mqtt.PINGREQ:
		default:
			return fmt.Errorf("a %v", h.Type)
		}
		return nil
	})
}

// checkOutward looks at what the client gets.
func (b *bench) checkOutward(v mqtt.Version, stream []byte) error {
	aliases := receiver{}
	return eachPacket(stream, func(h mqtt.Head, packet []byte) error {
		switch h.Type {
		case mqtt.PUBLISH:
			p, ok, err := mqtt.ReadPublish(v, mqtt.FromServer, h, packet)
			if err != nil || !ok {
				return fmt.Errorf("a PUBLISH that is none: %v", err)
			}
			topic, err := aliases.topic(&p)
			if err != nil {
				return err
			}
			if !b.may(v, "deliver", topic, p.QoS, false) {
				return fmt.Errorf("a message from %q at QoS %d", topic, p.QoS)
			}
		case mqtt.SUBACK:
			a, err := mqtt.ReadSuback(v, h, packet)
			if err != nil {
				return err
			}
			if len(a.Codes) != 2 || a.Codes[1] != 0x87 {
				return fmt.Errorf("a SUBACK with % x", a.Codes)
			}
		case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP, mqtt.UNSUBACK, mqtt.PINGRESP, mqtt.DISCONNECT:
		default:
			return fmt.Errorf("a %v", h.Type)
		}
		return nil
	})
}

// try lets bytes through both ways, whole and in pieces, and fails the test if something passes that must not, or if it depends on the pieces.
func (b *bench) try(t testing.TB, v mqtt.Version, say []byte, rng *rand.Rand) {
	t.Helper()
	in, told, end := b.inward(v, say, whole)
	if err := b.checkInward(v, in); err != nil {
		t.Fatalf("%s: the broker gets %v\nof % x\ngot % x", versionName(v), err, say, in)
	}
	if end.err == nil && end.how == violated && end.code == mqtt.Unspecified {
		t.Fatalf("%s: a panic, by % x", versionName(v), say)
	}
	in2, told2, end2 := b.inward(v, say, inPieces(rng))
	if !bytes.Equal(in, in2) || !bytes.Equal(told, told2) || end.how != end2.how || end.code != end2.code {
		t.Fatalf("%s: in pieces something else passes\nof % x\ngot % x, and told % x, %v\nnot % x, and told % x, %v", versionName(v), say, in2, told2, end2, in, told, end)
	}
	out, back, ended := b.outward(v, say, whole)
	if err := b.checkOutward(v, out); err != nil {
		t.Fatalf("%s: the client gets %v\nof % x\ngot % x", versionName(v), err, say, out)
	}
	if ended != nil && ended.err == nil && ended.code == mqtt.Unspecified && ended.how == violated {
		t.Fatalf("%s: a panic, by % x", versionName(v), say)
	}
	if err := b.checkInward(v, back); err != nil {
		t.Fatalf("%s: the broker is told %v, of % x", versionName(v), err, say)
	}
	out2, back2, _ := b.outward(v, say, inPieces(rng))
	if !bytes.Equal(out, out2) || !bytes.Equal(back, back2) {
		t.Fatalf("%s: in pieces something else is delivered\nof % x\ngot % x\nnot % x", versionName(v), say, out2, out)
	}
}

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
	b := newBench(t)
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
		if n += 4 * len(packets); n > limit && before == 0 { // each goes through four times
			before = heap()
		}
	}
	if more := heap() - before; more > 4<<20 {
		t.Errorf("%d bytes more than before", more)
	}
}

// Each split of a session at one place lets the same through.
func TestFilterAtEveryBoundary(t *testing.T) {
	b := newBench(t)
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
	b := newBench(f)
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
