package broker

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"cardea/internal/mqtt"
)

// pair is a publisher and the subscriber of its topic. At most window messages are under way.
type pair struct {
	pub, sub net.Conn
	window   chan struct{}
}

// flood sends n messages of 256 bytes by each pair and returns when all have come.
func flood(b *testing.B, addr string, pairs, window, qos int, opts ...option) {
	var list []*pair
	for i := range pairs {
		topic := fmt.Sprintf("bench/%d/telemetry", i)
		sub := connect(b, addr, mqtt.V5, fmt.Sprintf("sub%d", i), opts...)
		if code := sub.subscribeAs(mqtt.Filter{Filter: []byte(topic), Options: mqtt.Options(qos)}, 0); code.Failed() {
			b.Fatal(code)
		}
		pub := connect(b, addr, mqtt.V5, fmt.Sprintf("pub%d", i))
		list = append(list, &pair{pub.nc, sub.nc, make(chan struct{}, window)})
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	each := (b.N + pairs - 1) / pairs
	for i, p := range list {
		wg.Go(func() { p.publish(b, fmt.Sprintf("bench/%d/telemetry", i), each, qos) })
		wg.Go(func() { p.receive(b, each, qos) })
		if qos > 0 {
			go drain(p.pub)
		}
	}
	wg.Wait()
	b.ReportMetric(float64(each*pairs)/b.Elapsed().Seconds(), "msg/s")
}

func drain(c net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

// publish writes as many messages at a time as the window has room for.
func (p *pair) publish(b *testing.B, topic string, n, qos int) {
	payload := make([]byte, 256)
	var buf []byte
	for i := 0; i < n; {
		p.window <- struct{}{}
		m := 1
		for ; i+m < n && m < 64; m++ {
			select {
			case p.window <- struct{}{}:
				continue
			default:
			}
			break
		}
		buf = buf[:0]
		for j := range m {
			pub := mqtt.Publish{Topic: []byte(topic), QoS: byte(qos), ID: uint16((i+j)%65535) + 1}
			buf = mqtt.AppendPublish(buf, mqtt.V5, &pub, payload)
		}
		if _, err := p.pub.Write(buf); err != nil {
			b.Error(err)
			return
		}
		i += m
	}
}

// receive counts messages and acknowledges them.
func (p *pair) receive(b *testing.B, n, qos int) {
	buf := make([]byte, 64<<10)
	have := 0
	var acks []byte
	p.sub.SetReadDeadline(time.Now().Add(5 * time.Minute))
	for n > 0 {
		m, err := p.sub.Read(buf[have:])
		if err != nil {
			b.Error(err)
			return
		}
		have += m
		at := 0
		acks = acks[:0]
		for {
			h, ok, err := mqtt.ReadHead(buf[at:have])
			if err != nil || !ok || at+h.Total() > have {
				break
			}
			if qos > 0 {
				pub, _, _ := mqtt.ReadPublish(mqtt.V5, mqtt.FromServer, h, buf[at:have])
				acks = mqtt.AppendAck(acks, mqtt.V5, mqtt.PUBACK, pub.ID, mqtt.Success)
			}
			at += h.Total()
			n--
			<-p.window
		}
		have = copy(buf, buf[at:have])
		if len(acks) > 0 {
			p.sub.Write(acks)
		}
	}
}

func BenchmarkPairs(b *testing.B) {
	for _, x := range []struct {
		name          string
		pairs, window int
		qos           int
		dir           bool
		opts          []option
	}{
		{"QoS0", 50, 64, 0, false, nil},
		{"QoS0Unbatched", 50, 1, 0, false, nil},
		{"QoS1", 50, 64, 1, true, nil},
		{"QoS1Durable", 50, 64, 1, true, []option{lasting}},
		{"QoS1DurableOne", 50, 1, 1, true, []option{lasting}},
	} {
		b.Run(x.name, func(b *testing.B) {
			cfg := Config{}
			if x.dir {
				cfg.Dir = b.TempDir()
			}
			_, addr := start(b, cfg)
			flood(b, addr, x.pairs, x.window, x.qos, x.opts...)
		})
	}
}
