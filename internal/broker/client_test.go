package broker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"cardea/internal/mqtt"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// start starts a broker on a port of its own, and stops both when the test ends.
func start(t testing.TB, cfg Config) (*Broker, string) {
	t.Helper()
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	addr := listen(t, b)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, addr
}

// listen lets a broker serve a port until the test ends.
func listen(t testing.TB, b *Broker) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go serve(b, ln)
	return ln.Addr().String()
}

// client is a client that does what it is told, and nothing by itself.
type client struct {
	t    testing.TB
	nc   net.Conn
	v    mqtt.Version
	buf  []byte
	hold []byte // of the packet that was read last
	id   uint16
	// Messages that came while something else was waited for.
	early [][]byte
}

// dial connects without a CONNECT.
func dial(t testing.TB, addr string, v mqtt.Version) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &client{t: t, nc: nc, v: v}
}

// option changes a CONNECT.
type option func(*mqtt.Connect)

func resume(c *mqtt.Connect) { c.CleanStart = false }

func number(id mqtt.PropertyID, n uint32) option {
	return func(c *mqtt.Connect) { c.Props = c.Props.AppendNumber(id, n) }
}

// lasting makes a session that outlives its connection, and takes the one that is there.
func lasting(c *mqtt.Connect) {
	c.CleanStart = false
	if c.Version == mqtt.V5 {
		c.Props = c.Props.AppendNumber(mqtt.SessionExpiry, 3600)
	}
}

func withWill(w mqtt.Will) option {
	return func(c *mqtt.Connect) { c.HasWill, c.Will = true, w }
}

// connect connects with a clean start, unless the options say otherwise, and expects to be accepted.
func connect(t testing.TB, addr string, v mqtt.Version, id string, opts ...option) *client {
	t.Helper()
	c := dial(t, addr, v)
	if a := c.hello(id, opts...); a.Code != mqtt.Success {
		t.Fatalf("CONNACK 0x%02X", byte(a.Code))
	}
	return c
}

// present is connect, and says whether there was a session.
func present(t testing.TB, addr string, v mqtt.Version, id string, opts ...option) (*client, bool) {
	t.Helper()
	c := dial(t, addr, v)
	a := c.hello(id, opts...)
	if a.Code != mqtt.Success {
		t.Fatalf("CONNACK 0x%02X", byte(a.Code))
	}
	return c, a.SessionPresent
}

// hello sends CONNECT and returns the answer.
func (c *client) hello(id string, opts ...option) mqtt.Connack {
	c.t.Helper()
	p := mqtt.Connect{Version: c.v, CleanStart: true, ClientID: []byte(id)}
	for _, o := range opts {
		o(&p)
	}
	c.send(mqtt.AppendConnect(nil, &p))
	h, packet := c.expect(mqtt.CONNACK)
	a, err := mqtt.ReadConnack(c.v, h, packet)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

func (c *client) send(b []byte) {
	c.t.Helper()
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// next reads a packet; an error means that the connection is over, or nothing came before the deadline.
func (c *client) next(wait time.Duration) (mqtt.Head, []byte, error) {
	c.nc.SetReadDeadline(time.Now().Add(wait))
	c.buf = c.buf[len(c.hold):]
	c.hold = nil
	for {
		h, ok, err := mqtt.ReadHead(c.buf)
		if err != nil {
			return h, nil, err
		}
		if ok && len(c.buf) >= h.Total() {
			c.hold = c.buf[:h.Total()]
			return h, c.hold, nil
		}
		room := make([]byte, 64<<10)
		n, err := c.nc.Read(room)
		if err != nil {
			return h, nil, err
		}
		c.buf = append(bytes.Clone(c.buf), room[:n]...)
	}
}

// expect reads a packet of a type. Messages may come before it.
func (c *client) expect(t mqtt.Type) (mqtt.Head, []byte) {
	c.t.Helper()
	if t == mqtt.PUBLISH && len(c.early) > 0 {
		packet := c.early[0]
		c.early = c.early[1:]
		h, _, _ := mqtt.ReadHead(packet)
		return h, packet
	}
	h, packet, err := c.next(patience)
	for err == nil && h.Type == mqtt.PUBLISH && t != mqtt.PUBLISH {
		c.early = append(c.early, packet)
		h, packet, err = c.next(patience)
	}
	if err != nil {
		c.t.Fatalf("waiting for %v: %v", t, err)
	}
	if h.Type != t {
		c.t.Fatalf("%v % x came, not %v", h.Type, packet[:min(len(packet), 40)], t)
	}
	return h, packet
}

// expectEnd expects that the broker ends the connection, with a code if the version has one.
func (c *client) expectEnd(code mqtt.Code) {
	c.t.Helper()
	if c.v == mqtt.V5 {
		h, packet := c.expect(mqtt.DISCONNECT)
		d, err := mqtt.ReadDisconnect(c.v, h, packet)
		if err != nil || d.Code != code {
			c.t.Fatalf("DISCONNECT 0x%02X %v, not 0x%02X", byte(d.Code), err, byte(code))
		}
	}
	c.nc.(*net.TCPConn).CloseWrite()
	if h, _, err := c.next(patience); err == nil {
		c.t.Fatalf("%v came, not the end", h.Type)
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatal("the connection was not closed")
	}
}

func (c *client) subscribe(filters ...string) {
	c.t.Helper()
	for _, f := range filters {
		if code := c.subscribeAs(mqtt.Filter{Filter: []byte(f), Options: 2}, 0); code.Failed() {
			c.t.Fatalf("SUBACK 0x%02X", byte(code))
		}
	}
}

// subscribeAs subscribes and skips what else comes before the SUBACK... nothing may.
func (c *client) subscribeAs(f mqtt.Filter, id uint32) mqtt.Code {
	c.t.Helper()
	c.id++
	var props mqtt.Properties
	if id != 0 {
		props = props.AppendNumber(mqtt.SubscriptionIdentifier, id)
	}
	c.send(mqtt.AppendSubscribe(nil, c.v, c.id, props, []mqtt.Filter{f}))
	h, packet := c.expect(mqtt.SUBACK)
	a, err := mqtt.ReadSuback(c.v, h, packet)
	if err != nil || a.ID != c.id || len(a.Codes) != 1 {
		c.t.Fatalf("SUBACK %+v %v", a, err)
	}
	return mqtt.Code(a.Codes[0])
}

// publish sends a message and waits for what acknowledges it.
func (c *client) publish(topic, payload string, qos byte) {
	c.t.Helper()
	if code := c.publishAs(mqtt.Publish{Topic: []byte(topic), QoS: qos}, payload); code.Failed() {
		c.t.Fatalf("the message was refused: 0x%02X", byte(code))
	}
}

func (c *client) publishAs(p mqtt.Publish, payload string) mqtt.Code {
	c.t.Helper()
	if p.QoS > 0 {
		c.id++
		p.ID = c.id
	}
	c.send(mqtt.AppendPublish(nil, c.v, &p, []byte(payload)))
	switch p.QoS {
	case 1:
		return c.expectAck(mqtt.PUBACK, p.ID)
	case 2:
		if code := c.expectAck(mqtt.PUBREC, p.ID); code.Failed() {
			return code
		}
		c.ack(mqtt.PUBREL, p.ID)
		return c.expectAck(mqtt.PUBCOMP, p.ID)
	}
	return mqtt.Success
}

func (c *client) ack(t mqtt.Type, id uint16) {
	c.t.Helper()
	c.send(mqtt.AppendAck(nil, c.v, t, id, mqtt.Success))
}

func (c *client) expectAck(t mqtt.Type, id uint16) mqtt.Code {
	c.t.Helper()
	h, packet := c.expect(t)
	a, err := mqtt.ReadAck(c.v, h, packet)
	if err != nil || a.ID != id {
		c.t.Fatalf("%v %+v %v, not %d", t, a, err, id)
	}
	return a.Code
}

// got is a message that came.
type got struct {
	mqtt.Publish
	topic, payload string
}

func (g got) String() string {
	s := fmt.Sprintf("%s=%s q%d", g.topic, g.payload, g.QoS)
	if g.Retain {
		s += " retained"
	}
	if g.Dup {
		s += " dup"
	}
	return s
}

// message reads a PUBLISH and does not acknowledge it.
func (c *client) message() got {
	c.t.Helper()
	h, packet := c.expect(mqtt.PUBLISH)
	p, _, err := mqtt.ReadPublish(c.v, mqtt.FromServer, h, packet)
	if err != nil {
		c.t.Fatal(err)
	}
	return got{p, string(p.Topic), string(packet[p.Size:])}
}

// receive reads a message and goes through what its QoS wants.
func (c *client) receive() got {
	c.t.Helper()
	g := c.message()
	switch g.QoS {
	case 1:
		c.ack(mqtt.PUBACK, g.ID)
	case 2:
		c.ack(mqtt.PUBREC, g.ID)
		c.expectAck(mqtt.PUBREL, g.ID)
		c.ack(mqtt.PUBCOMP, g.ID)
	}
	return g
}

// expectMessages receives messages that look as they should.
func (c *client) expectMessages(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if g := c.receive(); g.String() != w {
			c.t.Fatalf("%.100q came, not %q", g, w)
		}
	}
}

// expectNothing makes sure that nothing has been sent that was to be sent before now: a ping comes back first. Only repetitions of some payloads may come.
func (c *client) expectNothing(but ...string) {
	c.t.Helper()
	c.send(mqtt.AppendPing(nil, mqtt.PINGREQ))
	c.expect(mqtt.PINGRESP)
	for len(c.early) > 0 {
		if g := c.message(); !g.Dup || !slices.Contains(but, g.payload) {
			c.t.Fatalf("%.100q came", g)
		}
	}
}

// bye says goodbye and waits for the broker to close.
func (c *client) bye() {
	c.t.Helper()
	c.send(mqtt.AppendDisconnect(nil, c.v, mqtt.Success, nil))
	if h, _, err := c.next(patience); !errors.Is(err, io.EOF) {
		c.t.Fatalf("%v %v came after DISCONNECT, not the end", h.Type, err)
	}
}

// vanish closes the connection without a goodbye, and waits until the broker has noticed.
func (c *client) vanish(b *Broker, id string) {
	c.t.Helper()
	c.nc.Close()
	s := b.session(id)
	eventually(c.t, "the broker to notice that a client is gone", func() bool { return s == nil || !s.live.Load() })
}

// eventually waits for something to become true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// receiveUntilEnd skips messages until the broker ends the connection.
func (c *client) receiveUntilEnd(code mqtt.Code) {
	c.t.Helper()
	_, packet := c.expect(mqtt.DISCONNECT)
	c.hold = packet
	if packet[2] != byte(code) {
		c.t.Fatalf("DISCONNECT 0x%02X, not 0x%02X", packet[2], byte(code))
	}
	if h, _, err := c.next(patience); !errors.Is(err, io.EOF) {
		c.t.Fatalf("%v %v came, not the end", h.Type, err)
	}
}
