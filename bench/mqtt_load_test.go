//go:build bench

package bench

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/mqtt"
)

// mqttTarget is a server to be loaded. Where clients are told apart by tokens,
// each connection takes the next one and the name that belongs to it.
type mqttTarget struct {
	name   string
	addr   string
	pids   []int    // whose CPU counts
	tokens []string // none: anonymous
	ids    []string // client ids that belong to the tokens
	// lasting gives subscribers sessions that outlive their connections, so that what waits for them has to be on disk.
	lasting bool
}

// lasts returns the same server for subscribers whose sessions last.
func (m *mqttTarget) lasts() *mqttTarget {
	l := *m
	l.lasting = true
	return &l
}

// mqttConn is one client connection.
type mqttConn struct {
	net.Conn
	buf      []byte
	from, to int
}

// dial connects as the n-th client, of which nothing is kept.
func (m *mqttTarget) dial(n int) (*mqttConn, error) { return m.dialWith(n, nil) }

func (m *mqttTarget) dialWith(n int, props mqtt.Properties) (*mqttConn, error) {
	c := mqtt.Connect{Version: mqtt.V5, CleanStart: true, KeepAlive: 0, Props: props, ClientID: fmt.Appendf(nil, "bench-%d", n)}
	if len(m.tokens) > 0 {
		i := n % len(m.tokens)
		c.ClientID = fmt.Appendf(nil, "%s:%d", m.ids[i], n)
		c.HasUser, c.User = true, []byte(m.tokens[i])
	}
	conn, err := net.Dial("tcp", m.addr)
	if err != nil {
		return nil, err
	}
	k := &mqttConn{Conn: conn, buf: make([]byte, 64<<10)}
	if _, err := k.Write(mqtt.AppendConnect(nil, &c)); err != nil {
		return nil, err
	}
	h, p, err := k.next()
	if err != nil {
		conn.Close()
		return nil, err
	}
	ack, err := mqtt.ReadConnack(mqtt.V5, h, p)
	if err != nil || ack.Code != mqtt.Success {
		conn.Close()
		return nil, fmt.Errorf("%s: CONNACK 0x%02X %w", m.name, byte(ack.Code), err)
	}
	return k, nil
}

// next returns the next packet, valid until the next call.
func (k *mqttConn) next() (mqtt.Head, []byte, error) {
	for {
		h, ok, err := mqtt.ReadHead(k.buf[k.from:k.to])
		if err != nil {
			return h, nil, err
		}
		if ok && k.to-k.from >= h.Total() {
			p := k.buf[k.from : k.from+h.Total()]
			k.from += h.Total()
			return h, p, nil
		}
		if k.from > 0 {
			k.to = copy(k.buf, k.buf[k.from:k.to])
			k.from = 0
		}
		n, err := k.Read(k.buf[k.to:])
		if n == 0 && err != nil {
			return h, nil, err
		}
		k.to += n
	}
}

// subscribe subscribes and waits for the answer.
func (k *mqttConn) subscribe(filter string, qos byte) error {
	f := []mqtt.Filter{{Filter: []byte(filter), Options: mqtt.Options(qos)}}
	if _, err := k.Write(mqtt.AppendSubscribe(nil, mqtt.V5, 1, nil, f)); err != nil {
		return err
	}
	h, p, err := k.next()
	if err != nil {
		return err
	}
	s, err := mqtt.ReadSuback(mqtt.V5, h, p)
	if err == nil && mqtt.Code(s.Codes[0]).Failed() {
		err = fmt.Errorf("SUBACK 0x%02X", s.Codes[0])
	}
	return err
}

// connects opens and closes connections for a time and returns how many a second.
func (m *mqttTarget) connects(t *testing.T, workers int, d time.Duration) float64 {
	t.Helper()
	var n atomic.Int64
	end := time.Now().Add(d)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := w; time.Now().Before(end); i += workers {
				k, err := m.dial(i)
				if err != nil {
					t.Error(err)
					return
				}
				k.leave()
				n.Add(1)
			}
		})
	}
	start := time.Now()
	all.Wait()
	return float64(n.Load()) / time.Since(start).Seconds()
}

// pair is a publisher and a subscriber of one topic. The publisher has so many
// messages under way as the window says: each delivery lets it send another one.
type pair struct {
	pub, sub *mqttConn
	topic    string
	qos      byte
	frame    []byte // of one message; at QoS 1 the id is put in
	idAt     int
	credit   chan int
	received atomic.Int64
}

func (m *mqttTarget) newPair(n int, qos byte, payload, window int) (*pair, error) {
	p := &pair{topic: fmt.Sprintf("bench/plant/line-%03d/sensor/temperature", n), qos: qos, credit: make(chan int, 1<<16)}
	var err error
	var props mqtt.Properties
	if m.lasting {
		props = props.AppendNumber(mqtt.SessionExpiry, 3600)
	}
	if p.sub, err = m.dialWith(2*n, props); err != nil {
		return nil, err
	}
	if err := p.sub.subscribe(p.topic, qos); err != nil {
		return nil, err
	}
	if p.pub, err = m.dial(2*n + 1); err != nil {
		return nil, err
	}
	q := mqtt.Publish{QoS: qos, Topic: []byte(p.topic), ID: 1}
	p.frame = mqtt.AppendPublish(nil, mqtt.V5, &q, make([]byte, payload))
	h, _, _ := mqtt.ReadHead(p.frame)
	p.idAt = h.Size + 2 + len(p.topic)
	p.credit <- window
	return p, nil
}

func (p *pair) close() { p.pub.Close(); p.sub.Close() }

// run publishes until ctx ends.
func (p *pair) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, p.close)
	defer stop()
	var all sync.WaitGroup
	all.Go(func() { p.receive(ctx) })
	if p.qos > 0 {
		all.Go(func() { // acknowledgements need nothing done
			for {
				if _, _, err := p.pub.next(); err != nil {
					return
				}
			}
		})
	}
	p.publish(ctx)
	all.Wait()
}

func (p *pair) publish(ctx context.Context) {
	var out []byte
	id := uint16(0)
	for {
		var n int
		select {
		case n = <-p.credit:
		case <-ctx.Done():
			return
		}
		for more := true; more; {
			select {
			case k := <-p.credit:
				n += k
			default:
				more = false
			}
		}
		out = out[:0]
		for range n {
			at := len(out)
			out = append(out, p.frame...)
			if p.qos > 0 {
				if id++; id == 0 {
					id = 1
				}
				out[at+p.idAt], out[at+p.idAt+1] = byte(id>>8), byte(id)
			}
		}
		if _, err := p.pub.Write(out); err != nil {
			return
		}
	}
}

func (p *pair) receive(ctx context.Context) {
	var acks []byte
	n := 0
	for {
		h, packet, err := p.sub.next()
		if err != nil {
			return
		}
		if h.Type == mqtt.PUBLISH {
			n++
			if p.qos > 0 {
				q, _, _ := mqtt.ReadPublish(mqtt.V5, mqtt.FromServer, h, packet)
				acks = mqtt.AppendAck(acks, mqtt.V5, mqtt.PUBACK, q.ID, mqtt.Success)
			}
		}
		if p.sub.from < p.sub.to && n < 64 {
			continue // there is more at hand
		}
		if len(acks) > 0 {
			if _, err := p.sub.Write(acks); err != nil {
				return
			}
			acks = acks[:0]
		}
		p.received.Add(int64(n))
		select {
		case p.credit <- n:
		case <-ctx.Done():
			return
		}
		n = 0
	}
}

// messages runs pairs in a closed loop and returns deliveries a second, and the server's CPU for each in microseconds.
func (m *mqttTarget) messages(t *testing.T, pairs, window int, qos byte, d time.Duration) (rate, cpu float64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	list := make([]*pair, pairs)
	for i := range list {
		p, err := m.newPair(i, qos, 256, window)
		if err != nil {
			t.Fatal(err)
		}
		list[i] = p
	}
	for _, p := range list {
		all.Go(func() { p.run(ctx) })
	}
	sum := func() (n int64) {
		for _, p := range list {
			n += p.received.Load()
		}
		return n
	}
	time.Sleep(d / 4)
	before, cpuBefore, start := sum(), cpuOf(t, m.pids), time.Now()
	time.Sleep(d)
	n, used, took := sum()-before, cpuOf(t, m.pids)-cpuBefore, time.Since(start)
	cancel()
	all.Wait()
	if n == 0 {
		t.Fatalf("%s: nothing was delivered", m.name)
	}
	return float64(n) / took.Seconds(), float64(used.Microseconds()) / float64(n)
}

// paced publishes at a fixed rate over all pairs, each message in a write of its own, and returns the CPU of each
// process for a delivery in microseconds, and the rate that was reached.
func (m *mqttTarget) paced(t *testing.T, pairs, perSecond int, d time.Duration) (cpu []float64, rate float64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	list := make([]*pair, pairs)
	for i := range list {
		p, err := m.newPair(i, 0, 256, 0)
		if err != nil {
			t.Fatal(err)
		}
		list[i] = p
		<-p.credit
		all.Go(func() {
			for {
				h, _, err := p.sub.next()
				if err != nil {
					return
				}
				if h.Type == mqtt.PUBLISH {
					p.received.Add(1)
				}
			}
		})
	}
	all.Go(func() { pace(ctx, list, perSecond) })
	sum := func() (n int64) {
		for _, p := range list {
			n += p.received.Load()
		}
		return n
	}
	time.Sleep(d / 4)
	before, start := sum(), time.Now()
	was := make([]time.Duration, len(m.pids))
	for i, pid := range m.pids {
		was[i] = cpuOf(t, []int{pid})
	}
	time.Sleep(d)
	n, took := sum()-before, time.Since(start)
	for i, pid := range m.pids {
		cpu = append(cpu, float64((cpuOf(t, []int{pid})-was[i]).Microseconds())/float64(max(1, n)))
	}
	cancel()
	for _, p := range list {
		p.close()
	}
	all.Wait()
	return cpu, float64(n) / took.Seconds()
}

// pace writes one message after the other, over the pairs in turn, in ticks of a millisecond.
func pace(ctx context.Context, list []*pair, perSecond int) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	start, sent := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for due := int(time.Since(start).Seconds() * float64(perSecond)); sent < due; sent++ {
			p := list[sent%len(list)]
			if _, err := p.pub.Write(p.frame); err != nil {
				return
			}
		}
	}
}

// settled is how long connections are idle before memory is looked at: Go collects at least once in two minutes what
// connecting has left, and then gives it back to the system.
const settled = 150 * time.Second

// idle opens connections and returns the resident memory that each costs a process, in KiB.
func (m *mqttTarget) idle(t *testing.T, connections int) float64 {
	t.Helper()
	before := residentMiB(t, m.pids[0])
	conns := make([]*mqttConn, connections)
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := w; i < connections; i += 8 {
				k, err := m.dial(i)
				if err != nil {
					t.Error(err)
					return
				}
				k.buf = nil
				conns[i] = k
			}
		})
	}
	all.Wait()
	time.Sleep(settled)
	after := residentMiB(t, m.pids[0])
	for _, k := range conns {
		if k != nil {
			k.Close()
		}
	}
	return (after - before) * 1024 / float64(connections)
}

// percentile of a series.
func percentile(s []float64, p float64) float64 {
	c := slices.Clone(s)
	slices.Sort(c)
	return c[min(len(c)-1, int(p*float64(len(c))))]
}
