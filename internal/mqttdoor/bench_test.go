package mqttdoor

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/mqtt"
	"cardea/internal/policy"
)

// bench is a session without sockets: bytes go in at one side, and what comes out at the other is looked at.
type bench struct {
	*house
	id *gate.Identity
}

// rulesOfAllKinds are good for all kinds of answers.
var rulesOfAllKinds = []string{
	"allow mqtt:publish a/#", "deny mqtt:publish a/secret/#", "allow mqtt:publish q qos=0,1 retain=false",
	"allow mqtt:subscribe a/+", "allow mqtt:subscribe b/#", "deny mqtt:subscribe b/secret",
}

// newBench makes a door with a device that has these rules.
func newBench(t testing.TB, rules ...string) *bench {
	return benchIn(newHouse(t), rules...)
}

func benchIn(h *house, rules ...string) *bench {
	w := h.device("pump", rules...)
	return &bench{h, h.identity(w)}
}

// identity proves who somebody is.
func (h *house) identity(w *who) *gate.Identity {
	h.Helper()
	id, out := h.gate.Authenticate(context.Background(), &gate.Evidence{Token: w.token, Door: doorName})
	if out.Reason != credential.OK {
		h.Fatal(out)
	}
	return id
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

// fed is inward for an upstream that reads itself.
func (b *bench) fed(v mqtt.Version, say []byte, pieces func(int) int) (broker, client []byte, end ending) {
	c, up := &script{}, &script{}
	s := b.session(v, c)
	to := writer{conn: up}
	for len(say) > 0 {
		n := pieces(len(say))
		p := bytes.Clone(say[:n])
		say = say[n:]
		err := s.feed(p, &to)
		for i := range p {
			p[i] = 0xEE // the loop uses its buffer again
		}
		if err != nil {
			break
		}
	}
	s.finish(ending{how: lost})
	return up.heard, c.heard, *s.end.Load()
}

// outward is what the client gets of what a broker says, and what the broker is told.
func (b *bench) outward(v mqtt.Version, say []byte, pieces func(int) int) (client, broker []byte, end *ending) {
	c := &script{pieces: pieces}
	s := b.session(v, c)
	for id := range uint16(20) { // requests that may be answered
		s.subs.ask(id+1, &request{by: b.id, filters: []string{"a/+"}, options: []mqtt.Options{0}, codes: []byte{asked, 0x87}})
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
	for _, pieces := range []func(int) int{whole, inPieces(rng)} {
		in2, told2, end2 := b.fed(v, say, pieces)
		if !bytes.Equal(in, in2) || !bytes.Equal(told, told2) || end.how != end2.how || end.code != end2.code {
			t.Fatalf("%s: fed, something else passes\nof % x\ngot % x, and told % x, %v\nnot % x, and told % x, %v", versionName(v), say, in2, told2, end2, in, told, end)
		}
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
