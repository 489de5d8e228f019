package broker

import (
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/mqtt"
)

// sink is a connection on which nothing comes, and that counts what is written.
type sink struct {
	pipe
	bytes atomic.Int64
	quit  chan struct{}
}

func (s *sink) Read([]byte) (int, error) {
	<-s.quit
	return 0, net.ErrClosed
}

func (s *sink) Write(b []byte) (int, error) {
	s.bytes.Add(int64(len(b)))
	return len(b), nil
}

// attached returns a connection of a session with a subscription, without a goroutine that reads.
func attached(tb testing.TB, b *Broker, id, filter string, qos byte) (*conn, *sink) {
	tb.Helper()
	nc := &sink{quit: make(chan struct{})}
	c := &conn{b: b, nc: nc, v: mqtt.V5, window: b.limits.Inflight, maxPacket: mqtt.MaxLength}
	s, _, _, err := b.claim(id, true)
	if err != nil {
		tb.Fatal(err)
	}
	if !c.attach(s, 0, nil, nil) {
		tb.Fatal("not attached")
	}
	if filter != "" {
		s.mu.Lock()
		s.subscribe(mqtt.Filter{Filter: []byte(filter), Options: mqtt.Options(qos)}, 0)
		s.mu.Unlock()
	}
	return c, nc
}

// handleAll has a connection handle packets as if they had been read at once.
func handleAll(tb testing.TB, c *conn, packets []byte) {
	c.in.buf, c.in.from, c.in.to = packets, 0, len(packets)
	if _, err := c.batch(); err != nil {
		tb.Fatal(err)
	}
}

func newTestBroker(tb testing.TB, cfg Config) *Broker {
	tb.Helper()
	b, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { b.Close() })
	return b
}

// batchOf returns n messages of 256 bytes, as they come.
func batchOf(n int, topic string, qos byte) (packets []byte) {
	for i := range n {
		p := mqtt.Publish{Topic: []byte(topic), QoS: qos, ID: uint16(i) + 1}
		packets = mqtt.AppendPublish(packets, mqtt.V5, &p, make([]byte, 256))
	}
	return packets
}

// TestAllocations: a message of QoS 0 is delivered without allocating; one of QoS 1 needs the message and its bytes.
func TestAllocations(t *testing.T) {
	if racing {
		t.Skip("the race detector allocates")
	}
	for _, x := range []struct {
		qos, subscribers, max int
	}{
		{0, 1, 0}, {0, 20, 0}, {1, 1, 2}, {1, 20, 2},
	} {
		t.Run(fmt.Sprintf("QoS %d to %d", x.qos, x.subscribers), func(t *testing.T) {
			b := newTestBroker(t, Config{})
			var subs []*conn
			for i := range x.subscribers {
				c, _ := attached(t, b, fmt.Sprint("sub", i), "t/+", byte(x.qos))
				subs = append(subs, c)
			}
			pub, _ := attached(t, b, "pub", "", 0)
			const n = 64
			packets := batchOf(n, "t/1", byte(x.qos))
			var acks []byte
			got := testing.AllocsPerRun(50, func() {
				handleAll(t, pub, packets)
				for _, c := range subs {
					waitIdle(c)
					if x.qos > 0 {
						acks = acks[:0]
						c.s.mu.Lock()
						q := &c.s.queue
						for i := q.head; i < q.next; i++ {
							acks = mqtt.AppendAck(acks, mqtt.V5, mqtt.PUBACK, q.list[i].packetID(), 0)
						}
						c.s.mu.Unlock()
						handleAll(t, c, acks)
					}
				}
			}) / n
			// Goroutines and buffers, a few for each batch and subscriber, are not what is counted here.
			if got > float64(x.max)+0.15*float64(x.subscribers) {
				t.Errorf("%.2f allocations a message, not %d", got, x.max)
			}
		})
	}
}

// waitIdle waits until everything has been written.
func waitIdle(c *conn) {
	for {
		c.s.mu.Lock()
		idle := !c.writing
		c.s.mu.Unlock()
		if idle {
			return
		}
		runtime.Gosched()
	}
}

func BenchmarkRoute(b *testing.B) {
	x := newIndex()
	for i := range 10_000 {
		s := &session{}
		x.add(&subscription{session: s, filter: fmt.Sprintf("dev/%d/#", i)}, nil)
		x.add(&subscription{session: s, filter: fmt.Sprintf("cmd/%d", i)}, nil)
	}
	topic := []byte("dev/77/telemetry")
	b.Run("cached", func(b *testing.B) {
		for b.Loop() {
			x.route(topic)
		}
	})
	b.Run("built", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x.build(topic)
		}
	})
}

// BenchmarkDeliver is what the broker alone needs for a message that comes in a batch of 64 and goes to some subscribers.
func BenchmarkDeliver(b *testing.B) {
	for _, qos := range []byte{0, 1} {
		for _, n := range []int{1, 10, 1000} {
			b.Run(fmt.Sprintf("QoS%d/%d", qos, n), func(b *testing.B) {
				br := newTestBroker(b, Config{})
				for i := range n {
					attached(b, br, fmt.Sprint("sub", i), "t/+", 0)
				}
				pub, _ := attached(b, br, "pub", "", 0)
				packets := batchOf(64, "t/1", qos)
				b.ReportAllocs()
				for b.Loop() {
					handleAll(b, pub, packets)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*64*n), "ns/delivery")
			})
		}
	}
}

// TestMemoryOfAnIdleConnection: goroutine, buffers, session and one subscription of a client that has nothing to say.
func TestMemoryOfAnIdleConnection(t *testing.T) {
	if racing {
		t.Skip("the race detector allocates")
	}
	const n, budget = 2000, 6 << 10
	b, addr := start(t, Config{})
	memory := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	var list []net.Conn
	before := memory()
	for i := range n {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprint("device-", i)
		p := mqtt.Connect{Version: mqtt.V5, CleanStart: true, ClientID: []byte(id)}
		hello := mqtt.AppendConnect(nil, &p)
		hello = mqtt.AppendSubscribe(hello, mqtt.V5, 1, nil, []mqtt.Filter{{Filter: []byte("cmd/" + id), Options: 1}})
		if _, err := nc.Write(hello); err != nil {
			t.Fatal(err)
		}
		list = append(list, nc)
	}
	eventually(t, "all to be connected", func() bool { return b.Stats().Subscriptions == n })
	time.Sleep(50 * time.Millisecond) // for the goroutines that have written to end
	each := (memory() - before) / n
	t.Logf("%d bytes a connection, the client's end included", each)
	if each > budget+2<<10 { // the client's net.Conn is about 600 bytes, and the race detector or a busy machine add some
		t.Errorf("%d bytes a connection", each)
	}
	for _, nc := range list {
		nc.Close()
	}
}
