package broker

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cardea/internal/mqtt"
)

// clock is a clock that is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// pass lets time go by and the broker do what is due.
func (c *clock) pass(b *Broker, d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
	b.look()
}

func TestTakeover(t *testing.T) {
	both(t, func(t *testing.T, v mqtt.Version) {
		b, addr := start(t, Config{})
		pub := connect(t, addr, v, "pub")
		first := connect(t, addr, v, "c", lasting)
		first.subscribe("t")
		second, there := present(t, addr, v, "c", lasting)
		if !there {
			t.Error("the session was not there")
		}
		first.expectEnd(mqtt.SessionTakenOver)
		pub.publish("t", "x", 1)
		second.expectMessages("t=x q1")
		third, there := present(t, addr, v, "c")
		if there {
			t.Error("a clean start found a session")
		}
		second.expectEnd(mqtt.SessionTakenOver)
		pub.publish("t", "y", 1)
		third.expectNothing()
		eventually(t, "two connections to be left", func() bool { return b.Stats().Connections == 2 })
	})
}

// TestTakeoverOfOneThatDoesNotRead: the old connection is blocked in a write, and is closed all the same.
func TestTakeoverOfOneThatDoesNotRead(t *testing.T) {
	b, addr := start(t, Config{})
	stuck := connect(t, addr, mqtt.V5, "c", lasting)
	stuck.subscribe("t")
	pub := connect(t, addr, mqtt.V5, "pub")
	big := make([]byte, 512<<10)
	for range 40 {
		pub.publish("t", string(big), 0)
	}
	pub.publish("done", "", 1)
	if b.Stats().Dropped == 0 {
		t.Fatal("the connection is not full")
	}
	c, there := present(t, addr, mqtt.V5, "c", lasting)
	if !there {
		t.Error("the session was not there")
	}
	pub.publish("t", "x", 0)
	c.expectMessages("t=x q0")
	eventually(t, "the old connection to end", func() bool { return b.Stats().Connections == 2 })
}

func TestSessionsEnd(t *testing.T) {
	clock := newClock()
	b, addr := start(t, Config{Clock: clock.time, Limits: Limits{SessionExpiry: 1000}})
	there := func(v mqtt.Version, expiry uint32) bool {
		t.Helper()
		opts := []option{resume}
		if v == mqtt.V5 {
			opts = append(opts, number(mqtt.SessionExpiry, expiry))
		}
		c, there := present(t, addr, v, "c", opts...)
		c.vanish(b, "c")
		return there
	}
	if there(mqtt.V5, 0) || there(mqtt.V5, 10) {
		t.Error("a session outlived its connection")
	}
	clock.pass(b, 9*time.Second)
	if !there(mqtt.V5, 10) {
		t.Error("a session ended early")
	}
	clock.pass(b, 11*time.Second)
	if n := b.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	if there(mqtt.V5, forever) {
		t.Error("a session ended late")
	}
	clock.pass(b, 999*time.Second)
	if !there(mqtt.V311, 0) {
		t.Error("the limit came early")
	}
	clock.pass(b, 1001*time.Second)
	if there(mqtt.V311, 0) {
		t.Error("a session of 3.1.1 does not end")
	}
	c := connect(t, addr, mqtt.V5, "c", lasting)
	c.send(mqtt.AppendDisconnect(nil, mqtt.V5, 0, mqtt.Properties(nil).AppendNumber(mqtt.SessionExpiry, 0)))
	eventually(t, "the session to end with its DISCONNECT", func() bool { return b.Stats().Sessions == 0 })
}

func TestSessionExpiryIsAnnounced(t *testing.T) {
	_, addr := start(t, Config{Limits: Limits{SessionExpiry: 1000, Sessions: 1}})
	for _, one := range []struct {
		id   string
		want uint32
	}{{"a", 1000}, {"b", 0}} {
		id, want := one.id, one.want
		if id == "b" {
			connect(t, addr, mqtt.V311, "c", lasting).bye() // takes the only place there is
		}
		c := dial(t, addr, mqtt.V5)
		a := c.hello(id, number(mqtt.SessionExpiry, forever))
		if n, ok := a.Props.Number(mqtt.SessionExpiry); !ok || n != want {
			t.Errorf("%s: %d %v, not %d", id, n, ok, want)
		}
		c.send(mqtt.AppendDisconnect(nil, mqtt.V5, 0, mqtt.Properties(nil).AppendNumber(mqtt.SessionExpiry, 0)))
		c.next(patience)
	}
}

func TestWill(t *testing.T) {
	both(t, func(t *testing.T, v mqtt.Version) {
		b, addr := start(t, Config{})
		sub := connect(t, addr, v, "sub")
		sub.subscribe("will/#")
		will := withWill(mqtt.Will{QoS: 1, Retain: true, Topic: []byte("will/c"), Payload: []byte("gone")})
		connect(t, addr, v, "c", will).bye()
		sub.expectNothing()
		connect(t, addr, v, "c", will).vanish(b, "c")
		sub.expectMessages("will/c=gone q1")
		c := connect(t, addr, v, "c", will)
		c.send([]byte{0}) // a violation
		sub.expectMessages("will/c=gone q1")
		first := connect(t, addr, v, "c", will)
		connect(t, addr, v, "c").bye()
		first.expectEnd(mqtt.SessionTakenOver)
		sub.expectMessages("will/c=gone q1")
		if v == mqtt.V5 {
			c = connect(t, addr, v, "c", will)
			c.send(mqtt.AppendDisconnect(nil, v, mqtt.DisconnectWithWill, nil))
			sub.expectMessages("will/c=gone q1")
		}
		connect(t, addr, v, "c", will)
		b.Forget("c") // M05: who is sent away for good leaves no will
		other := connect(t, addr, v, "other")
		other.subscribe("will/c")
		other.expectMessages("will/c=gone q1 retained")
		sub.expectNothing()
	})
}

func TestWillDelay(t *testing.T) {
	clock := newClock()
	b, addr := start(t, Config{Clock: clock.time})
	sub := connect(t, addr, mqtt.V5, "sub")
	sub.subscribe("w")
	hello := func(delay, expiry uint32) *client {
		return connect(t, addr, mqtt.V5, "c", resume, number(mqtt.SessionExpiry, expiry), withWill(mqtt.Will{
			QoS: 1, Topic: []byte("w"), Payload: fmt.Append(nil, delay), Props: mqtt.Properties(nil).AppendNumber(mqtt.WillDelay, delay),
		}))
	}
	hello(10, 100).vanish(b, "c")
	clock.pass(b, 9*time.Second)
	sub.expectNothing()
	clock.pass(b, 2*time.Second)
	if g := sub.receive(); g.payload != "10" || len(g.Props) != 0 {
		t.Errorf("%q % x", g, g.Props)
	}
	hello(20, 100).vanish(b, "c")
	clock.pass(b, 10*time.Second)
	c := hello(30, 100) // is back in time
	clock.pass(b, 60*time.Second)
	sub.expectNothing()
	c.vanish(b, "c")
	hello(40, 5).vanish(b, "c")
	clock.pass(b, 6*time.Second) // the session ends first
	sub.expectMessages("w=40 q1")
	hello(50, 100).vanish(b, "c")
	connect(t, addr, mqtt.V5, "c").bye() // a clean start ends the session
	sub.expectMessages("w=50 q1")
	clock.pass(b, time.Hour)
	sub.expectNothing()
}

func TestMessageExpiry(t *testing.T) {
	clock := newClock()
	b, addr := start(t, Config{Clock: clock.time, Dir: t.TempDir()})
	sub := connect(t, addr, mqtt.V5, "sub", lasting)
	sub.subscribe("t")
	pub := connect(t, addr, mqtt.V5, "pub")
	send := func(seconds uint32, retain bool) {
		pub.publishAs(mqtt.Publish{
			Topic: []byte("t"), QoS: 1, Retain: retain, Props: mqtt.Properties(nil).AppendNumber(mqtt.MessageExpiry, seconds).AppendUser("a", "b"),
		}, fmt.Sprint(seconds))
	}
	send(10, false)
	if g := sub.receive(); g.payload != "10" || len(g.Props) != 5+7 {
		t.Errorf("%q % x", g, g.Props)
	}
	sub.vanish(b, "sub")
	send(10, false)
	send(100, false)
	send(20, true)
	clock.pass(b, 15*time.Second)
	sub, _ = present(t, addr, mqtt.V5, "sub", lasting)
	for _, want := range []uint32{100 - 15, 20 - 15} {
		g := sub.receive()
		if n, _ := g.Props.Number(mqtt.MessageExpiry); n != want {
			t.Errorf("%q expires in %d s, not %d", g, n, want)
		}
	}
	sub.expectNothing()
	other := connect(t, addr, mqtt.V5, "other")
	other.subscribe("t")
	if g := other.receive(); g.payload != "20" || !g.Retain {
		t.Errorf("%q came", g)
	}
	clock.pass(b, 10*time.Second)
	b.retained.sweep(b, b.now())
	s := b.Stats()
	if s.Retained != 0 || s.Expired != 1 {
		t.Errorf("%+v", s)
	}
	other.subscribe("+")
	other.expectNothing()
}

func TestShared(t *testing.T) {
	both(t, func(t *testing.T, v mqtt.Version) {
		b, addr := start(t, Config{})
		var members []*client
		for i := range 3 {
			c := connect(t, addr, v, fmt.Sprint("m", i), lasting)
			c.subscribe("$share/g/a/+", "$share/g/b")
			members = append(members, c)
		}
		outside := connect(t, addr, v, "outside")
		outside.subscribe("a/x", "$share/h/a/x")
		pub := connect(t, addr, v, "pub")
		for i := range 9 {
			pub.publish("a/x", fmt.Sprint(i), byte(i%3))
		}
		seen := map[string]bool{}
		for i, c := range members {
			for range 3 {
				seen[c.receive().payload] = true
			}
			c.expectNothing()
			if i > 0 {
				c.vanish(b, fmt.Sprint("m", i))
			}
		}
		if len(seen) != 9 {
			t.Errorf("%d of 9 messages came", len(seen))
		}
		for range 18 {
			outside.receive()
		}
		outside.expectNothing()
		// Those who are away get nothing while somebody is there, and each message waits for one of them otherwise.
		for i := range 4 {
			pub.publish("b", fmt.Sprint(i), 1)
		}
		members[0].expectMessages("b=0 q1", "b=1 q1", "b=2 q1", "b=3 q1")
		members[0].vanish(b, "m0")
		pub.publish("b", "nobody", 0)
		for i := range 6 {
			pub.publish("b", fmt.Sprint(i), 2)
		}
		clear(seen)
		for i := range members {
			c := connect(t, addr, v, fmt.Sprint("m", i), lasting)
			for range 2 {
				seen[c.receive().payload] = true
			}
			c.expectNothing()
		}
		if len(seen) != 6 {
			t.Errorf("%d of 6 messages came", len(seen))
		}
	})
}

func TestForget(t *testing.T) {
	dir := t.TempDir()
	b, addr := start(t, Config{Dir: dir})
	pub := connect(t, addr, mqtt.V5, "pub")
	c := connect(t, addr, mqtt.V5, "c", lasting)
	c.subscribe("t")
	b.Forget("c")
	c.expectEnd(mqtt.AdministrativeAction)
	pub.publish("t", "x", 1)
	c = connect(t, addr, mqtt.V5, "c", lasting)
	c.subscribe("t")
	c.bye()
	b.Forget("c")
	b.Forget("nobody")
	if c, there := present(t, addr, mqtt.V5, "c", lasting); there {
		t.Error("the session is still there")
	} else {
		c.expectNothing()
	}
}

// TestFromOutside: a will that the door has held is published in the name of its client.
func TestFromOutside(t *testing.T) {
	dir := t.TempDir()
	b, addr := start(t, Config{Dir: dir})
	sub := connect(t, addr, mqtt.V5, "sub", lasting)
	sub.subscribe("w")
	sub.vanish(b, "sub")
	c := connect(t, addr, mqtt.V5, "c")
	c.subscribeAs(filter("w", 2|noLocal), 0)
	p := mqtt.Publish{Topic: []byte("w"), QoS: 2, Retain: true, Props: mqtt.Properties(nil).AppendNumber(mqtt.WillDelay, 3).AppendUser("a", "b")}
	if err := b.Publish("c", &p, []byte("x")); err != nil {
		t.Fatal(err)
	}
	c.expectNothing()
	b.Retained(func(topic, publisher string) bool {
		if topic != "w" || publisher != "c" {
			t.Errorf("%s of %s", topic, publisher)
		}
		return true
	})
	killed, addr := start(t, Config{Dir: image(t, dir)})
	if n := killed.Stats().Retained; n != 1 {
		t.Errorf("%d messages are retained", n)
	}
	sub, _ = present(t, addr, mqtt.V5, "sub", lasting)
	if g := sub.receive(); g.String() != "w=x q2" || len(g.Props) != 7 {
		t.Errorf("%q % x", g, g.Props)
	}
}

func TestKeepAlive(t *testing.T) {
	_, addr := start(t, Config{Limits: Limits{KeepAlive: 60}})
	c := dial(t, addr, mqtt.V5)
	a := c.hello("c", func(p *mqtt.Connect) { p.KeepAlive = 120 })
	if n, _ := a.Props.Number(mqtt.ServerKeepAlive); n != 60 {
		t.Errorf("Server Keep Alive is %d", n) // M15
	}
	c = connect(t, addr, mqtt.V5, "d", func(p *mqtt.Connect) { p.KeepAlive = 1 })
	c.expectEnd(mqtt.KeepAliveTimeout)
}

// TestAgendaForgetsTheEnded: sessions that end before their time are not remembered until then.
func TestAgendaForgetsTheEnded(t *testing.T) {
	b, addr := start(t, Config{})
	connect(t, addr, mqtt.V5, "other", number(mqtt.SessionExpiry, 100)).bye()
	for i := range uint32(10) {
		connect(t, addr, mqtt.V5, "c", number(mqtt.SessionExpiry, 1_000_000-i)).bye()
	}
	b.agenda.mu.Lock()
	defer b.agenda.mu.Unlock()
	if n := len(b.agenda.items); n != 2 {
		t.Errorf("%d sessions are on the agenda, not 2", n)
	}
}

// TestTakeoverWhilePublishing: a connection that is at a retained message of QoS 2 when its session is taken from it, and the one that has
// taken it and subscribes to retained ones, do not wait for each other forever.
func TestTakeoverWhilePublishing(t *testing.T) {
	b, addr := start(t, Config{Dir: t.TempDir()})
	connect(t, addr, mqtt.V5, "c", lasting)
	s := b.session("c")
	over := make(chan struct{})
	go func() {
		defer close(over)
		var both sync.WaitGroup
		both.Go(func() {
			for id := range uint16(5000) {
				s.mu.Lock()
				if s.received == nil {
					s.received = map[uint16]uint64{}
				}
				s.received[id+1] = pending
				s.mu.Unlock()
				b.publishOnce(&inbound{from: s, publisher: "c", version: mqtt.V5, pub: mqtt.Publish{Topic: []byte("r"), QoS: 2, Retain: true, ID: id + 1}, payload: []byte("x")})
			}
		})
		both.Go(func() {
			for range 5000 {
				s.mu.Lock()
				s.subscribe(mqtt.Filter{Filter: []byte("other"), Options: 2}, 0)
				s.mu.Unlock()
			}
		})
		both.Wait()
	}()
	select {
	case <-over:
	case <-time.After(patience):
		panic("they wait for each other")
	}
}

// TestAfterClose: what comes after Close has nothing to wait for.
func TestAfterClose(t *testing.T) {
	b, addr := start(t, Config{Dir: t.TempDir()})
	c := connect(t, addr, mqtt.V5, "c", lasting)
	c.subscribe("t")
	c.publishAs(mqtt.Publish{Topic: []byte("r"), QoS: 1, Retain: true}, "x")
	c.bye()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		b.Unsubscribe("c", []string{"t"})
		b.Retained(func(string, string) bool { return false })
		b.Forget("c")
	}()
	select {
	case <-over:
	case <-time.After(patience):
		t.Fatal("it waits for a store that is closed")
	}
}

// TestCloseLeavesNothing: nothing runs when Close has returned, and clients have been told.
func TestCloseLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	b, err := New(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	addr := listen(t, b)
	c := connect(t, addr, mqtt.V5, "c", lasting)
	c.subscribe("t")
	c.publish("t", "x", 2)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	c.receiveUntilEnd(mqtt.ServerShuttingDown)
	if err := b.Publish("c", &mqtt.Publish{Topic: []byte("t")}, nil); err != ErrClosed {
		t.Errorf("Publish after Close: %v", err)
	}
	if _, _, err := dial(t, addr, mqtt.V5).next(patience); err == nil {
		t.Error("a connection was served after Close")
	}
	goleak.VerifyNone(t, before, goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"), goleak.IgnoreAnyFunction("cardea/internal/broker.serve"))
	if err := b.Close(); err != nil {
		t.Error("the second Close:", err)
	}
}
