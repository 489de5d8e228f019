package testkit

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"cardea/internal/mqtt"
)

// mqttPatience is how long a client waits for a packet that must come, on a busy machine.
const mqttPatience = 20 * time.Second

// MQTTConfig says how a client connects.
type MQTTConfig struct {
	Version   mqtt.Version // 0 is 5.0
	ClientID  string
	Resume    bool // no clean start
	KeepAlive uint16
	User      string // "" is none
	Password  string // "" is none
	Props     mqtt.Properties
	Will      *mqtt.Will
	TLS       *tls.Config
	// Manual leaves it to the test to acknowledge what comes.
	Manual bool
}

// MQTT is a client that sends and reads packets as a test wants them, right or wrong. It belongs to the goroutine of the
// test, which fails when what is waited for does not come. What it reads must be well formed.
type MQTT struct {
	Version mqtt.Version
	Connack mqtt.Connack // after Connect
	Manual  bool

	t      testing.TB
	conn   net.Conn
	in     *bufio.Reader
	id     uint16
	inbox  []Packet        // PUBLISHes that were read while something else was waited for
	others []Packet        // and other packets
	held   map[uint16]bool // QoS 2 messages that were received and are not released
}

// Packet is one that the server sent. The field of its type is filled.
type Packet struct {
	Head       mqtt.Head
	Raw        []byte
	Publish    mqtt.Publish
	Payload    string // of a PUBLISH
	Ack        mqtt.Ack
	Suback     mqtt.Suback
	Connack    mqtt.Connack
	Disconnect mqtt.Disconnect // or AUTH
}

// DialMQTT opens a connection and sends nothing. It is closed at the end of the test.
func DialMQTT(t testing.TB, addr string, c MQTTConfig) *MQTT {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, mqttPatience)
	if err != nil {
		t.Fatal(err)
	}
	if c.TLS != nil {
		conn = tls.Client(conn, c.TLS)
	}
	m := MQTTOver(t, conn, cmp.Or(c.Version, mqtt.V5))
	m.Manual = c.Manual
	return m
}

// MQTTOver speaks over a connection that is open. It is closed at the end of the test.
func MQTTOver(t testing.TB, conn net.Conn, v mqtt.Version) *MQTT {
	t.Cleanup(func() { _ = conn.Close() })
	return &MQTT{Version: v, t: t, conn: conn, in: bufio.NewReader(conn), held: map[uint16]bool{}}
}

// ConnectMQTT opens a connection and connects, which must succeed.
func ConnectMQTT(t testing.TB, addr string, c MQTTConfig) *MQTT {
	t.Helper()
	m := DialMQTT(t, addr, c)
	if code := m.Connect(c); code != mqtt.Success {
		t.Fatalf("%q is refused: 0x%02X", c.ClientID, byte(code))
	}
	return m
}

// Connect sends a CONNECT and waits for its CONNACK.
func (m *MQTT) Connect(c MQTTConfig) mqtt.Code {
	m.t.Helper()
	connect := mqtt.Connect{
		Version: m.Version, ClientID: []byte(c.ClientID), CleanStart: !c.Resume, KeepAlive: c.KeepAlive, Props: c.Props,
		HasUser: c.User != "", User: []byte(c.User), HasPassword: c.Password != "", Password: []byte(c.Password),
	}
	if c.Will != nil {
		connect.HasWill, connect.Will = true, *c.Will
	}
	m.Send(mqtt.AppendConnect(nil, &connect))
	m.Connack = m.Expect(mqtt.CONNACK).Connack
	return m.Connack.Code
}

// Send writes bytes as they are.
func (m *MQTT) Send(raw []byte) {
	m.t.Helper()
	if err := m.TrySend(raw); err != nil {
		m.t.Fatal(err)
	}
}

// TrySend is Send to a server that may have gone.
func (m *MQTT) TrySend(raw []byte) error {
	_ = m.conn.SetWriteDeadline(time.Now().Add(mqttPatience)) // a connection that cannot have one fails at the write
	_, err := m.conn.Write(raw)
	return err
}

// NextID returns a packet identifier that is not in use.
func (m *MQTT) NextID() uint16 {
	m.id++
	return max(m.id, 1)
}

// Expect waits for a packet of one of some types; all others are kept for who waits for them.
func (m *MQTT) Expect(kinds ...mqtt.Type) Packet {
	m.t.Helper()
	p, err := m.take(kinds...)
	if err != nil {
		m.t.Fatalf("waiting for %v: %v", kinds, err)
	}
	return p
}

// take is Expect that tells what went wrong.
func (m *MQTT) take(kinds ...mqtt.Type) (Packet, error) {
	for _, queue := range []*[]Packet{&m.inbox, &m.others} {
		if i := slices.IndexFunc(*queue, func(p Packet) bool { return slices.Contains(kinds, p.Head.Type) }); i >= 0 {
			p := (*queue)[i]
			*queue = slices.Delete(*queue, i, i+1)
			return p, nil
		}
	}
	for {
		p, again, err := m.Read()
		switch {
		case err != nil:
			return Packet{}, err
		case again:
		case slices.Contains(kinds, p.Head.Type):
			return p, nil
		case p.Head.Type == mqtt.PUBLISH:
			m.inbox = append(m.inbox, p)
		case p.Head.Type == mqtt.DISCONNECT:
			return Packet{}, fmt.Errorf("the server disconnects: 0x%02X", byte(p.Disconnect.Code))
		default:
			m.others = append(m.others, p)
		}
	}
}

// Read reads the next packet and, unless the test does it, acknowledges it. again says that it is no news: a QoS 2 message
// that was here before, or its release.
func (m *MQTT) Read() (p Packet, again bool, err error) {
	if p, err = m.read(); err != nil || m.Manual {
		return p, false, err
	}
	id := p.Publish.ID
	switch {
	case p.Head.Type == mqtt.PUBREL:
		delete(m.held, p.Ack.ID)
		return p, true, m.TrySend(mqtt.AppendAck(nil, m.Version, mqtt.PUBCOMP, p.Ack.ID, mqtt.Success))
	case p.Publish.QoS == 1:
		err = m.TrySend(mqtt.AppendAck(nil, m.Version, mqtt.PUBACK, id, mqtt.Success))
	case p.Publish.QoS == 2:
		again, m.held[id] = m.held[id], true
		err = m.TrySend(mqtt.AppendAck(nil, m.Version, mqtt.PUBREC, id, mqtt.Success))
	}
	return p, again, err
}

func (m *MQTT) read() (p Packet, err error) {
	_ = m.conn.SetReadDeadline(time.Now().Add(mqttPatience)) // a connection that cannot have one fails at the read
	ok := false
	for n := 2; !ok; n++ {
		head, err := m.in.Peek(n)
		if err != nil {
			return p, err
		}
		if p.Head, ok, err = mqtt.ReadHead(head); err != nil {
			return p, err
		}
	}
	p.Raw = make([]byte, p.Head.Total())
	if _, err := io.ReadFull(m.in, p.Raw); err != nil {
		return p, err
	}
	return p, p.parse(m.Version)
}

func (p *Packet) parse(v mqtt.Version) (err error) {
	switch p.Head.Type {
	case mqtt.CONNACK:
		p.Connack, err = mqtt.ReadConnack(v, p.Head, p.Raw)
	case mqtt.PUBLISH:
		p.Publish, _, err = mqtt.ReadPublish(v, mqtt.FromServer, p.Head, p.Raw)
		p.Payload = string(p.Raw[p.Publish.Size:])
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP:
		p.Ack, err = mqtt.ReadAck(v, p.Head, p.Raw)
	case mqtt.SUBACK, mqtt.UNSUBACK:
		p.Suback, err = mqtt.ReadSuback(v, p.Head, p.Raw)
	case mqtt.DISCONNECT:
		p.Disconnect, err = mqtt.ReadDisconnect(v, p.Head, p.Raw)
	case mqtt.AUTH:
		p.Disconnect, err = mqtt.ReadAuth(v, p.Head, p.Raw)
	case mqtt.PINGRESP:
	default:
		err = fmt.Errorf("a server sends no %v", p.Head.Type)
	}
	return err
}

// Message waits for a PUBLISH.
func (m *MQTT) Message() Packet {
	m.t.Helper()
	return m.Expect(mqtt.PUBLISH)
}

// Messages waits for n of them.
func (m *MQTT) Messages(n int) []Packet {
	m.t.Helper()
	all := make([]Packet, n)
	for i := range all {
		all[i] = m.Message()
	}
	return all
}

// MessagesBefore returns all messages that come before one with a payload.
func (m *MQTT) MessagesBefore(payload string) (all []Packet) {
	m.t.Helper()
	for {
		p := m.Message()
		if p.Payload == payload {
			return all
		}
		all = append(all, p)
	}
}

// Filter is a topic filter for [MQTT.Subscribe].
func Filter(filter string, o mqtt.Options) mqtt.Filter {
	return mqtt.Filter{Filter: []byte(filter), Options: o}
}

// Subscribe subscribes and returns the codes, as the SUBACK has them.
func (m *MQTT) Subscribe(filters ...mqtt.Filter) []byte {
	m.t.Helper()
	return m.SubscribeWith(nil, filters...)
}

// SubscribeWith is Subscribe with properties.
func (m *MQTT) SubscribeWith(props mqtt.Properties, filters ...mqtt.Filter) []byte {
	m.t.Helper()
	m.Send(mqtt.AppendSubscribe(nil, m.Version, m.NextID(), props, filters))
	return m.Expect(mqtt.SUBACK).Suback.Codes
}

// Unsubscribe unsubscribes and returns the codes, of which 3.1.1 has none.
func (m *MQTT) Unsubscribe(filters ...string) []byte {
	m.t.Helper()
	m.Send(mqtt.AppendUnsubscribe(nil, m.Version, m.NextID(), nil, filters))
	return m.Expect(mqtt.UNSUBACK).Suback.Codes
}

// Publish publishes and waits until the exchange of its QoS is complete. It returns the code of PUBACK or PUBREC.
func (m *MQTT) Publish(topic, payload string, qos byte) mqtt.Code {
	m.t.Helper()
	return m.PublishWith(mqtt.Publish{Topic: []byte(topic), QoS: qos}, payload)
}

// PublishWith is Publish with all that a PUBLISH can have; it gets its identifier here.
func (m *MQTT) PublishWith(p mqtt.Publish, payload string) mqtt.Code {
	m.t.Helper()
	id := m.SendPublish(p, payload)
	switch p.QoS {
	case 0:
		return mqtt.Success
	case 1:
		return m.Expect(mqtt.PUBACK).Ack.Code
	}
	if code := m.Expect(mqtt.PUBREC).Ack.Code; code.Failed() {
		return code
	}
	m.Send(mqtt.AppendAck(nil, m.Version, mqtt.PUBREL, id, mqtt.Success))
	return m.Expect(mqtt.PUBCOMP).Ack.Code
}

// SendPublish sends a PUBLISH, waits for nothing, and returns its identifier.
func (m *MQTT) SendPublish(p mqtt.Publish, payload string) uint16 {
	m.t.Helper()
	if p.QoS > 0 {
		p.ID = m.NextID()
	}
	m.Send(mqtt.AppendPublish(nil, m.Version, &p, []byte(payload)))
	return p.ID
}

// Ack acknowledges, for a client that does it by hand.
func (m *MQTT) Ack(kind mqtt.Type, id uint16) {
	m.t.Helper()
	m.Send(mqtt.AppendAck(nil, m.Version, kind, id, mqtt.Success))
}

// Ping waits until the server has answered all that was sent before.
func (m *MQTT) Ping() {
	m.t.Helper()
	m.Send(mqtt.AppendPing(nil, mqtt.PINGREQ))
	m.Expect(mqtt.PINGRESP)
}

// Disconnect says good-bye and waits until the server has closed.
func (m *MQTT) Disconnect() {
	m.t.Helper()
	m.DisconnectWith(mqtt.Success, nil)
}

// DisconnectWith is Disconnect with a code and properties.
func (m *MQTT) DisconnectWith(code mqtt.Code, props mqtt.Properties) {
	m.t.Helper()
	m.Send(mqtt.AppendDisconnect(nil, m.Version, code, props))
	m.Closed()
}

// Closed reads until the server closes, which it must, and returns the code of its DISCONNECT if it sent one.
func (m *MQTT) Closed() (code mqtt.Code, said bool) {
	m.t.Helper()
	for {
		p, again, err := m.Read()
		if late, is := errors.AsType[net.Error](err); is && late.Timeout() {
			m.t.Fatal("the server does not close the connection")
		}
		switch {
		case err != nil:
			_ = m.conn.Close() // it is over either way
			return code, said
		case again:
		case said:
			m.t.Errorf("%v after DISCONNECT", p.Head.Type)
		case p.Head.Type == mqtt.DISCONNECT:
			code, said = p.Disconnect.Code, true
		case p.Head.Type == mqtt.PUBLISH:
			m.inbox = append(m.inbox, p)
		}
	}
}

// Inbox returns the messages that have been read while something else was waited for.
func (m *MQTT) Inbox() []Packet { return m.inbox }

// Drop closes the connection without a word, as a network does.
func (m *MQTT) Drop() { _ = m.conn.Close() }

// LocalAddr is where the connection comes from.
func (m *MQTT) LocalAddr() net.Addr { return m.conn.LocalAddr() }
