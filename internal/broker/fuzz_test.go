package broker

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"cardea/internal/mqtt"
)

// pipe is a connection from which some bytes come and then the end, and into which everything may be written.
type pipe struct {
	mu     sync.Mutex
	in     []byte
	out    []byte
	closed bool
}

func (p *pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, net.ErrClosed
	}
	if len(p.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), 1+len(p.in)/3)], p.in) // in pieces
	p.in = p.in[n:]
	return n, nil
}

func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, net.ErrClosed
	}
	p.out = append(p.out, b...)
	return len(b), nil
}

func (p *pipe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

func (p *pipe) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (p *pipe) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (p *pipe) SetDeadline(time.Time) error      { return nil }
func (p *pipe) SetReadDeadline(time.Time) error  { return nil }
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

// conversation is what a client of a version may say, packet by packet.
func conversation(v mqtt.Version) []byte {
	var b []byte
	c := mqtt.Connect{Version: v, ClientID: []byte("fuzz"), HasWill: true, Will: mqtt.Will{QoS: 1, Topic: []byte("w"), Payload: []byte("x")}}
	if v == mqtt.V5 {
		c.Props = c.Props.AppendNumber(mqtt.SessionExpiry, 10).AppendNumber(mqtt.TopicAliasMaximum, 2).AppendNumber(mqtt.ReceiveMaximum, 3)
		c.Will.Props = c.Will.Props.AppendNumber(mqtt.WillDelay, 1)
	}
	b = mqtt.AppendConnect(b, &c)
	var id mqtt.Properties
	if v == mqtt.V5 {
		id = id.AppendNumber(mqtt.SubscriptionIdentifier, 5)
	}
	b = mqtt.AppendSubscribe(b, v, 1, id, []mqtt.Filter{filter("t/#", 2), filter("$share/g/+/x", 1), filter("+/y", 1)})
	for qos := range byte(3) {
		p := mqtt.Publish{Topic: []byte("t/x"), QoS: qos, ID: 7, Retain: qos == 1}
		if v == mqtt.V5 {
			p.Props = mqtt.Properties(nil).AppendNumber(mqtt.TopicAlias, 1).AppendNumber(mqtt.MessageExpiry, 2).AppendUser("a", "b")
		}
		b = mqtt.AppendPublish(b, v, &p, []byte("payload"))
	}
	b = mqtt.AppendAck(b, v, mqtt.PUBREL, 7, 0)
	for _, t := range []mqtt.Type{mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBCOMP} {
		for id := range uint16(5) {
			b = mqtt.AppendAck(b, v, t, id+1, 0)
		}
	}
	b = mqtt.AppendUnsubscribe(b, v, 2, nil, []string{"+/y", "none"})
	b = mqtt.AppendPing(b, mqtt.PINGREQ)
	return mqtt.AppendDisconnect(b, v, 0, nil)
}

// FuzzServe: whatever a client sends, the broker does not panic, does not hang, answers in whole packets, and
// serves the next one (M23).
func FuzzServe(f *testing.F) {
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		c := conversation(v)
		f.Add(c)
		f.Add(append(c[:len(c)-2:len(c)-2], c...))
	}
	f.Add([]byte("\x10\x0d\x00\x04MQTT\x05\x00\x00\x00\x00\x00\x00\x82\x06\x00\x01\x00\x00\x09a"))
	b, err := newBroker(Config{Limits: Limits{Packet: 4096, Retained: 100, Sessions: 100, Filters: 20, Queue: 20}}, newMemory())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { b.Close() })
	f.Fuzz(func(t *testing.T, in []byte) {
		p := &pipe{in: in}
		b.Serve(p)
		if n := b.Stats().Panics; n > 0 {
			t.Fatal("it panicked")
		}
		for out := p.out; len(out) > 0; {
			h, ok, err := mqtt.ReadHead(out)
			if err != nil || !ok || h.Total() > len(out) {
				t.Fatalf("the answer is not whole: % x", p.out)
			}
			out = out[h.Total():]
		}
	})
}

// FuzzScan: whatever is in a segment, it is read without a panic, and what is read can be read again.
func FuzzScan(f *testing.F) {
	d := newMemory()
	b, err := newBroker(Config{}, d)
	if err != nil {
		f.Fatal(err)
	}
	b.Serve(&pipe{in: conversation(mqtt.V5)})
	b.store.commit()
	b.store.compactOnce()
	for _, file := range d.kill().files {
		f.Add(file.data[:b.store.segment.size], -1, byte(0))
		f.Add(file.data[:b.store.segment.size], 100, byte(1))
	}
	b.Close()
	f.Fuzz(func(t *testing.T, data []byte, at int, with byte) {
		if at >= 0 && at < len(data) {
			data[at] = with
		}
		// Wrong sums would end every try at once.
		if mark, ok := readMark(data); ok {
			for at := headerSize; at+frameSize < len(data); {
				n := int(data[at+4]) | int(data[at+5])<<8
				if n == 0 || at+frameSize+n > len(data) {
					break
				}
				frameRecord(data[at:at+frameSize+n], mark)
				at += frameSize + n
			}
		}
		d := newMemory()
		d.files[segmentName(1)] = &memoryFile{disk: d, data: data, linked: true}
		still := Config{Clock: func() time.Time { return time.Unix(1, 0) }}
		b, err := newBroker(still, d)
		if err != nil {
			return // a record of another version
		}
		b.look()
		before := b.Stats()
		b.store.compactOnce()
		b.Close()
		b, err = newBroker(still, d)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if after := b.Stats(); after.Sessions != before.Sessions || after.Retained != before.Retained || after.Waiting != before.Waiting {
			t.Fatalf("%+v became %+v", before, after)
		}
	})
}
