package broker

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// M17: a consumer that never reads holds up nobody, and what it makes the broker keep has an end.
func TestConsumerThatNeverReads(t *testing.T) {
	b, addr := start(t, Config{Limits: Limits{Queue: 100, Output: 32 << 10}})
	stuck := connect(t, addr, mqtt.V5, "stuck")
	stuck.subscribe("t/#")
	good := connect(t, addr, mqtt.V5, "good")
	good.subscribe("t/#")
	pub := connect(t, addr, mqtt.V5, "pub")
	payload := strings.Repeat("x", 100<<10)
	for i := range 300 {
		pub.publish("t/1", payload, byte(i%3))
		if g := good.receive(); len(g.payload) != len(payload) {
			t.Fatalf("message %d is not whole", i)
		}
	}
	s := b.Stats()
	if s.Dropped == 0 || s.Refused == 0 || s.Waiting > 101 {
		t.Errorf("%d dropped, %d refused, %d wait", s.Dropped, s.Refused, s.Waiting)
	}
	stuckAt := b.session("stuck")
	stuckAt.mu.Lock()
	defer stuckAt.mu.Unlock()
	if n := stuckAt.conn.buffered(); n > 200<<10 {
		t.Errorf("%d bytes wait to be written", n)
	}
}

func TestQueuesAreBounded(t *testing.T) {
	for name, limits := range map[string]Limits{
		"messages": {Queue: 10},
		"bytes":    {QueueBytes: 10 * (100 + 1 + 128)},
		"total":    {TotalBytes: 10 * (100 + 1 + 128)},
	} {
		t.Run(name, func(t *testing.T) {
			var out testkit.Log
			b, addr := start(t, Config{Limits: limits, Log: out.Logger()})
			sub := connect(t, addr, mqtt.V5, "sub", lasting)
			sub.subscribe("t")
			sub.vanish(b, "sub")
			pub := connect(t, addr, mqtt.V5, "pub")
			for i := range 15 {
				pub.publish("t", fmt.Sprintf("%-100d", i), 1)
			}
			s := b.Stats()
			if s.Waiting < 9 || s.Waiting > 10 || s.Refused < 5 {
				t.Errorf("%d wait, %d were refused", s.Waiting, s.Refused)
			}
			if n := out.Count("queue is full"); n != 1 {
				t.Errorf("it was said %d times", n)
			}
			sub, _ = present(t, addr, mqtt.V5, "sub", lasting)
			for i := range int(s.Waiting) {
				if g := sub.receive(); strings.TrimSpace(g.payload) != fmt.Sprint(i) {
					t.Errorf("%q came, not %d", g, i)
				}
			}
			sub.expectNothing()
			if s := b.Stats(); s.Waiting != 0 || s.Held != 0 {
				t.Errorf("%+v", s)
			}
			pub.publish("t", "again", 1)
			sub.expectMessages("t=again q1")
		})
	}
}

// TestExpiredMakesRoom: what has expired in a full queue gives way.
func TestExpiredMakesRoom(t *testing.T) {
	clock := newClock()
	b, addr := start(t, Config{Limits: Limits{Queue: 2}, Clock: clock.time})
	sub := connect(t, addr, mqtt.V5, "sub", lasting)
	sub.subscribe("t")
	sub.vanish(b, "sub")
	pub := connect(t, addr, mqtt.V5, "pub")
	for range 2 {
		pub.publishAs(mqtt.Publish{Topic: []byte("t"), QoS: 1, Props: mqtt.Properties(nil).AppendNumber(mqtt.MessageExpiry, 5)}, "old")
	}
	clock.pass(b, 10*time.Second)
	pub.publish("t", "new", 1)
	sub, _ = present(t, addr, mqtt.V5, "sub", lasting)
	sub.expectMessages("t=new q1")
	sub.expectNothing()
}

func TestRetainedAreBounded(t *testing.T) {
	b, addr := start(t, Config{Limits: Limits{Retained: 2, RetainedBytes: 1000}})
	c := connect(t, addr, mqtt.V5, "c")
	retain := func(topic string, size int) mqtt.Code {
		return c.publishAs(mqtt.Publish{Topic: []byte(topic), QoS: 1, Retain: true}, strings.Repeat("x", size))
	}
	for _, x := range []struct {
		topic string
		size  int
		code  mqtt.Code
	}{
		{"a", 10, 0},
		{"b", 10, 0},
		{"c", 10, mqtt.QuotaExceeded},
		{"a", 20, 0},
		{"a", 2000, mqtt.QuotaExceeded},
		{"b", 0, 0},
		{"c", 10, 0},
		{"nothing", 0, 0},
	} {
		if code := retain(x.topic, x.size); code != x.code {
			t.Errorf("%s, %d bytes: 0x%02X, not 0x%02X", x.topic, x.size, byte(code), byte(x.code))
		}
	}
	if n := b.Stats().Retained; n != 2 {
		t.Errorf("%d are retained", n)
	}
	old := connect(t, addr, mqtt.V311, "old")
	p := mqtt.Publish{Topic: []byte("d"), QoS: 1, ID: 1, Retain: true}
	old.send(mqtt.AppendPublish(nil, mqtt.V311, &p, []byte("x")))
	old.expectEnd(0) // M25: 3.1.1 has no other way to say no
}

// TestManySubscribersOfATopic: one of many leaves as fast as one of few.
func TestManySubscribersOfATopic(t *testing.T) {
	x := newIndex()
	var subs []*subscription
	const n = 200_000
	for range n {
		s := &subscription{session: &session{}, filter: "t"}
		x.add(s, nil)
		subs = append(subs, s)
	}
	if r := x.route([]byte("t")); len(r.targets) != n {
		t.Fatalf("%d get it", len(r.targets))
	}
	for _, s := range subs {
		x.remove(s)
	}
	if len(x.exact) != 0 || len(x.route([]byte("t")).targets) != 0 {
		t.Error("something is left")
	}
}

// faulty is a connection that panics.
type faulty struct {
	pipe
	inRead, inWrite bool
}

func (f *faulty) Read(b []byte) (int, error) {
	if f.inRead && len(f.in) == 0 {
		panic("a secret of the client")
	}
	return f.pipe.Read(b)
}

func (f *faulty) Write(b []byte) (int, error) {
	if f.inWrite {
		panic("a secret of the client")
	}
	return f.pipe.Write(b)
}

// TestPanic: a panic ends its connection, is said once and without what it was about, and nothing stays locked (M22).
func TestPanic(t *testing.T) {
	var out testkit.Log
	b, addr := start(t, Config{Log: out.Logger()})
	other := connect(t, addr, mqtt.V5, "other")
	other.subscribe("#")
	for range 3 {
		for _, f := range []*faulty{{inRead: true}, {inWrite: true}} {
			f.in = mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, CleanStart: true, ClientID: []byte("c")})
			f.in = mqtt.AppendSubscribe(f.in, mqtt.V5, 1, nil, []mqtt.Filter{filter("#", 1)})
			if f.inRead {
				f.in = mqtt.AppendPublish(f.in, mqtt.V5, &mqtt.Publish{Topic: []byte("t"), QoS: 1, ID: 1}, []byte("x"))
			}
			b.Serve(f)
			if !f.closed {
				t.Error("the connection is open still")
			}
			if f.inRead {
				other.expectMessages("t=x q1")
			}
		}
	}
	s := b.Stats()
	if s.Panics < 6 || s.Connections != 1 || s.Sessions != 1 {
		t.Errorf("%+v", s)
	}
	if out.Count("panicked") != 1 || out.Count("secret") != 0 {
		t.Errorf("the log: %s", out.String())
	}
}

// stuck is a connection whose client sends and does not read.
type stuck struct {
	pipe
	gate chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	<-s.gate
	return s.pipe.Write(b)
}

// TestClientThatDoesNotReadItsAnswers: it may send as long as its answers have room, then it is not read any more. Nothing is lost when it reads them.
func TestClientThatDoesNotReadItsAnswers(t *testing.T) {
	b := newTestBroker(t, Config{Limits: Limits{Output: 4 << 10}})
	c := &stuck{gate: make(chan struct{})}
	c.in = mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V311, CleanStart: true, ClientID: []byte("c")})
	hello := len(mqtt.AppendConnack(nil, mqtt.V311, &mqtt.Connack{}))
	const n = 60_000
	for i := range n {
		c.in = mqtt.AppendPublish(c.in, mqtt.V311, &mqtt.Publish{Topic: []byte("t"), QoS: 1, ID: uint16(i) + 1}, nil)
	}
	read := sync.OnceFunc(func() { close(c.gate) })
	defer read()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Serve(c)
	}()
	eventually(t, "the reader to wait", func() bool {
		s := b.session("c")
		if s == nil {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.conn != nil && s.conn.room != nil
	})
	if got := b.Stats().MessagesIn; got > n/2 {
		t.Errorf("%d messages were taken from a client that does not read", got)
	}
	read()
	<-done
	if got := len(c.out) - hello; got != 4*n {
		t.Errorf("%d bytes of answers", got)
	}
}
