package broker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cardea/internal/mqtt"
)

// checked fails where rapid can see it.
type checked struct {
	testing.TB
	rt *rapid.T
}

func (c checked) Helper()                      { c.rt.Helper() }
func (c checked) Fatal(args ...any)            { c.rt.Helper(); c.rt.Fatal(args...) }
func (c checked) Fatalf(f string, args ...any) { c.rt.Helper(); c.rt.Fatalf(f, args...) }
func (c checked) Error(args ...any)            { c.rt.Helper(); c.rt.Error(args...) }
func (c checked) Errorf(f string, args ...any) { c.rt.Helper(); c.rt.Errorf(f, args...) }

// world is a broker on a disk that may fail and lose power, and clients that keep their own side of the protocol through
// all of it, as clients with a disk of their own do.
type world struct {
	t    testing.TB
	disk *memory
	b    *Broker
	ln   net.Listener
	pubs []*publisher
	subs []*subscriber
	n    int // messages so far
}

type publisher struct {
	id   string
	c    *client
	last uint16
	out  []*outgoing // not finished, in order
}

// outgoing is a message that a publisher has sent.
type outgoing struct {
	id       uint16
	qos      byte
	topic    string
	payload  string
	released bool // PUBREC came
	accepted bool // PUBACK or PUBREC came
	refused  bool
}

type subscriber struct {
	id       string
	filter   string
	qos      byte
	c        *client
	received map[uint16]bool // QoS 2, until PUBREL
	got      map[string]int
	qosOf    map[string]byte
}

// hasty makes a store compact early and try again soon.
func hasty(st *store) { st.garbage, st.retryFailed = 64<<10, 5*time.Millisecond }

func newWorld(t testing.TB) *world {
	w := &world{t: t, disk: newMemory()}
	w.pubs = []*publisher{{id: "p0"}, {id: "p1"}}
	w.subs = []*subscriber{
		{id: "s0", filter: "t/#", qos: 2},
		{id: "s1", filter: "t/1", qos: 1},
		{id: "s2", filter: "+/0", qos: 2},
	}
	w.open()
	for _, s := range w.subs {
		s.received, s.got, s.qosOf = map[uint16]bool{}, map[string]int{}, map[string]byte{}
		w.connectSub(s)
		if code := s.c.subscribeAs(mqtt.Filter{Filter: []byte(s.filter), Options: mqtt.Options(s.qos)}, 0); code.Failed() {
			t.Fatal(code)
		}
	}
	return w
}

func (w *world) open() {
	b, err := newBroker(Config{Limits: Limits{Inflight: 4}}, w.disk, hasty)
	if err != nil {
		w.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.b, w.ln = b, ln
	go serve(b, ln)
}

// down ends the broker. What it writes on the way is not on the disk that is used next, if that is another one.
func (w *world) down() {
	w.ln.Close()
	for _, p := range w.pubs {
		p.c = w.hangUp(p.c)
	}
	for _, s := range w.subs {
		s.c = w.hangUp(s.c)
	}
	w.b.Close()
}

func (w *world) hangUp(c *client) *client {
	if c != nil {
		c.nc.Close()
	}
	return nil
}

// restart replaces the disk by what is left of it, and the broker by a new one.
func (w *world) restart(left *memory) {
	w.down()
	w.disk = left
	w.open()
}

func (w *world) connectSub(s *subscriber) {
	if s.c != nil {
		return
	}
	c, there := present(w.t, w.ln.Addr().String(), mqtt.V5, s.id, lasting)
	if !there {
		clear(s.received)
	}
	s.c = c
}

// connectPub connects a publisher, which sends again what was not finished.
func (w *world) connectPub(p *publisher) {
	if p.c != nil {
		return
	}
	c, _ := present(w.t, w.ln.Addr().String(), mqtt.V5, p.id, lasting)
	p.c = c
	for _, m := range p.out {
		p.send(m, true)
	}
	w.finish(p)
}

func (p *publisher) send(m *outgoing, again bool) {
	if m.released {
		p.c.nc.Write(mqtt.AppendAck(nil, mqtt.V5, mqtt.PUBREL, m.id, mqtt.Success))
		return
	}
	pub := mqtt.Publish{Topic: []byte(m.topic), QoS: m.qos, ID: m.id, Dup: again}
	p.c.nc.Write(mqtt.AppendPublish(nil, mqtt.V5, &pub, []byte(m.payload)))
}

// publish sends messages and does not wait.
func (w *world) publish(p *publisher, topic string, qos byte, n int) {
	for range n {
		w.n++
		p.last = p.free()
		m := &outgoing{id: p.last, qos: qos, topic: topic, payload: strconv.Itoa(w.n)}
		p.out = append(p.out, m)
		w.record(m)
		p.send(m, false)
	}
}

// free returns a packet identifier that is not in use. There are few, so that all are used again.
func (p *publisher) free() uint16 {
	for id := p.last%12 + 1; ; id = id%12 + 1 {
		if !slices.ContainsFunc(p.out, func(m *outgoing) bool { return m.id == id }) {
			return id
		}
	}
}

// record notes at which QoS each subscriber gets a message.
func (w *world) record(m *outgoing) {
	for _, s := range w.subs {
		if s.filter == "t/#" || s.filter == m.topic || s.filter == "+/0" && m.topic == "t/0" {
			s.qosOf[m.payload] = min(s.qos, m.qos)
		}
	}
}

// finish reads answers until nothing is open, or the broker has closed the connection.
func (w *world) finish(p *publisher) {
	for len(p.out) > 0 && p.c != nil {
		h, packet, err := p.c.next(patience)
		if err != nil || h.Type == mqtt.DISCONNECT {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				w.t.Fatal("no answer to a message")
			}
			p.c = w.hangUp(p.c)
			return
		}
		a, err := mqtt.ReadAck(mqtt.V5, h, packet)
		if err != nil {
			w.t.Fatal(err)
		}
		w.answered(p, h.Type, a)
	}
}

func (w *world) answered(p *publisher, t mqtt.Type, a mqtt.Ack) {
	for i, m := range p.out {
		if m.id != a.ID {
			continue
		}
		switch {
		case t == mqtt.PUBREC && !a.Code.Failed():
			m.accepted, m.released = true, true
			p.send(m, false)
			return
		case t == mqtt.PUBCOMP, t == mqtt.PUBACK && !a.Code.Failed():
			m.accepted = true
		default:
			m.refused = true
		}
		if m.refused {
			for _, s := range w.subs {
				delete(s.qosOf, m.payload)
			}
		}
		p.out = append(p.out[:i:i], p.out[i+1:]...)
		return
	}
	w.t.Fatalf("%v for %d, which is not open", t, a.ID)
}

// take lets a subscriber handle what has been sent until now.
func (w *world) take(s *subscriber) {
	if s.c == nil {
		return
	}
	s.c.nc.Write(mqtt.AppendPing(nil, mqtt.PINGREQ))
	for {
		h, packet, err := s.c.next(patience)
		if err != nil || h.Type == mqtt.DISCONNECT {
			s.c = w.hangUp(s.c)
			return
		}
		switch h.Type {
		case mqtt.PINGRESP:
			return
		case mqtt.PUBLISH:
			s.message(h, packet)
		case mqtt.PUBREL:
			a, _ := mqtt.ReadAck(mqtt.V5, h, packet)
			delete(s.received, a.ID)
			s.c.nc.Write(mqtt.AppendAck(nil, mqtt.V5, mqtt.PUBCOMP, a.ID, mqtt.Success))
		}
	}
}

// takeAll goes on until the subscriber knows of nothing that is open.
func (w *world) takeAll(s *subscriber) {
	w.take(s)
	for s.c != nil && len(s.received) > 0 {
		w.take(s)
	}
}

func (s *subscriber) message(h mqtt.Head, packet []byte) {
	p, _, err := mqtt.ReadPublish(mqtt.V5, mqtt.FromServer, h, packet)
	if err != nil {
		s.c.t.Fatal(err)
	}
	payload := string(packet[p.Size:])
	switch {
	case p.QoS < 2:
		s.got[payload]++
		s.c.nc.Write(mqtt.AppendAck(nil, mqtt.V5, mqtt.PUBACK, p.ID, mqtt.Success))
		return
	case !s.received[p.ID]:
		s.received[p.ID] = true
		s.got[payload]++
	}
	s.c.nc.Write(mqtt.AppendAck(nil, mqtt.V5, mqtt.PUBREC, p.ID, mqtt.Success))
}

// settle repairs the disk, lets everybody finish, and compares what came with what had to come.
func (w *world) settle() {
	w.disk.setBroken(false)
	eventually(w.t, "the store to recover", func() bool { return !w.b.store.failing() })
	for _, p := range w.pubs {
		for tries := 0; len(p.out) > 0 || tries == 0; tries++ {
			w.connectPub(p)
			w.finish(p)
			if tries > 100 {
				w.t.Fatal("a publisher does not get done")
			}
		}
	}
	for _, s := range w.subs {
		end := time.Now().Add(patience)
		for missing := s.missing(); missing != ""; missing = s.missing() {
			w.connectSub(s)
			w.take(s)
			if time.Now().After(end) {
				w.t.Fatalf("%s has not got message %s, which was acknowledged", s.id, missing)
			}
		}
		w.connectSub(s)
		w.take(s)
		for payload, n := range s.got {
			if s.qosOf[payload] == 2 && n != 1 {
				w.t.Fatalf("%s has got message %s of QoS 2 %d times", s.id, payload, n)
			}
		}
	}
}

// missing returns a message that was accepted and has not come.
func (s *subscriber) missing() string {
	for payload := range s.qosOf {
		if s.got[payload] == 0 {
			return payload
		}
	}
	return ""
}

// TestNothingIsLost lets clients do what they like while the broker is killed, the machine loses its power and the disk fails. What was
// acknowledged arrives in the end, and what is of QoS 2 arrives once.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(checked{t, rt})
		defer w.down()
		choose := func(n int) int { return rapid.IntRange(0, n).Draw(rt, "part") }
		pub := func() *publisher { return w.pubs[rapid.IntRange(0, len(w.pubs)-1).Draw(rt, "publisher")] }
		sub := func() *subscriber { return w.subs[rapid.IntRange(0, len(w.subs)-1).Draw(rt, "subscriber")] }
		send := func() *publisher {
			p := pub()
			w.connectPub(p)
			if p.c != nil && len(p.out) < 6 {
				topic := fmt.Sprintf("t/%d", rapid.IntRange(0, 1).Draw(rt, "topic"))
				w.publish(p, topic, byte(rapid.IntRange(1, 2).Draw(rt, "qos")), rapid.IntRange(1, 6).Draw(rt, "n"))
			}
			return p
		}
		rt.Repeat(map[string]func(*rapid.T){
			"publish":           func(*rapid.T) { w.finish(send()) },
			"publish, no wait":  func(*rapid.T) { send() },
			"take":              func(*rapid.T) { w.take(sub()) },
			"take all":          func(*rapid.T) { w.takeAll(sub()) },
			"take all and kill": func(*rapid.T) { w.takeAll(sub()); w.restart(w.disk.kill()) },
			"come":              func(*rapid.T) { w.connectSub(sub()) },
			"go":                func(*rapid.T) { s := sub(); s.c = w.hangUp(s.c) },
			"publisher goes":    func(*rapid.T) { p := pub(); p.c = w.hangUp(p.c) },
			"compact":           func(*rapid.T) { poke(w.b.store.compact) },
			"the disk breaks":   func(*rapid.T) { w.disk.setBroken(true) },
			"the disk fills up": func(*rapid.T) { w.disk.limit(rapid.IntRange(0, 500).Draw(rt, "bytes")) },
			"it is repaired":    func(*rapid.T) { w.disk.setBroken(false) },
			"kill":              func(*rapid.T) { w.restart(w.disk.kill()) },
			"power loss":        func(*rapid.T) { w.restart(w.disk.crash(choose)) },
			"restart":           func(*rapid.T) { w.disk.setBroken(false); d := w.disk; w.restart(d) },
		})
		w.settle()
	})
}

// TestNothingIsLostUnderLoad: many publish to many at the same time, while the log is compacted again and again.
func TestNothingIsLostUnderLoad(t *testing.T) {
	const pairs, each = 8, 1500
	b, addr := startOn(t, newMemory(), Config{}, hasty)
	var wg sync.WaitGroup
	for i := range pairs {
		topic := fmt.Sprint("t/", i)
		sub := connect(t, addr, mqtt.V5, fmt.Sprint("sub", i), lasting)
		sub.subscribe(topic)
		pub := connect(t, addr, mqtt.V5, fmt.Sprint("pub", i), lasting)
		wg.Go(func() {
			var acks int
			for n := range each {
				p := mqtt.Publish{Topic: []byte(topic), QoS: 1 + byte(n%5/4), ID: uint16(n) + 1}
				pub.nc.Write(mqtt.AppendPublish(nil, mqtt.V5, &p, fmt.Append(nil, n)))
				for acks = acks + 1; acks > 100 || n == each-1 && acks > 0; acks-- {
					h, packet, err := pub.next(patience)
					if err != nil {
						t.Error("the publisher:", err)
						return
					}
					if a, _ := mqtt.ReadAck(mqtt.V5, h, packet); h.Type == mqtt.PUBREC {
						pub.nc.Write(mqtt.AppendAck(nil, mqtt.V5, mqtt.PUBREL, a.ID, mqtt.Success))
						acks++
					}
				}
			}
		})
		wg.Go(func() {
			for n := 0; n < each; {
				h, packet, err := sub.next(patience)
				if err != nil {
					t.Errorf("subscriber %d waits for message %d: %v", i, n, err)
					return
				}
				if h.Type == mqtt.PUBREL {
					a, _ := mqtt.ReadAck(mqtt.V5, h, packet)
					sub.nc.Write(mqtt.AppendAck(nil, mqtt.V5, mqtt.PUBCOMP, a.ID, mqtt.Success))
					continue
				}
				p, _, _ := mqtt.ReadPublish(mqtt.V5, mqtt.FromServer, h, packet)
				if got := string(packet[p.Size:]); got != fmt.Sprint(n) {
					t.Errorf("subscriber %d got %s, not %d", i, got, n)
					return
				}
				n++
				sub.nc.Write(mqtt.AppendAck(nil, mqtt.V5, mqtt.PUBACK+mqtt.Type(p.QoS-1), p.ID, mqtt.Success))
			}
		})
	}
	wg.Wait()
	if b.store.number < 3 {
		t.Errorf("the log was not compacted: segment %d", b.store.number)
	}
}
