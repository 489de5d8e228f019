package broker

import (
	"sync/atomic"
	"time"

	"cardea/internal/mqtt"
)

// message is an application message that waits for somebody, or is retained. It does not change after it was made, but for what the store notes in it.
type message struct {
	publisher string // client id of who sent it
	topic     []byte
	props     mqtt.Properties // without the message expiry and what belongs to one connection
	payload   []byte
	expires   int64 // ns since 1970; 0 is never
	qos       byte
	retain    bool // as it was published

	refs atomic.Int32 // how many sessions hold it, and one if it is retained

	// Of the store.
	lsn     atomic.Uint64 // of its record; 0 while it has none
	number  uint64
	segment uint64 // the newest in which it is
	size    int64  // of its record
}

// weight is what the message is counted with in memory, in bytes.
func (m *message) weight() int64 { return int64(len(m.topic)+len(m.props)+len(m.payload)) + 128 }

func (m *message) expired(now int64) bool { return m.expires != 0 && m.expires <= now }

// inbound is a PUBLISH on its way through the broker. Its bytes are those of a read buffer.
type inbound struct {
	from      *session // nil if it comes from outside of a connection and there is no session of that name
	publisher string
	version   mqtt.Version
	pub       mqtt.Publish // with its topic, also if an alias stood for it, and without the alias
	payload   []byte
	raw       []byte // the packet itself, if it can be passed on as it is at QoS 0
	last      *route // of the message before, which is often of the same topic
	msg       *message
}

// message returns the message that can be kept, and makes it the first time. It is held until the publishing is done.
func (in *inbound) message(b *Broker) *message {
	if in.msg != nil {
		return in.msg
	}
	p := &in.pub
	m := &message{publisher: in.publisher, qos: p.QoS, retain: p.Retain}
	props := p.Props
	if n, ok := props.Number(mqtt.MessageExpiry); ok {
		// 0 is an expiry as any other (3.3.2.3.3): what is not delivered at once is not delivered.
		m.expires = b.now() + int64(n)*int64(time.Second)
		props = props.AppendWithout(nil, mqtt.MessageExpiry)
	}
	m.set(p.Topic, props, in.payload)
	in.msg = m
	b.hold(m)
	return m
}

// set gives the message copies of what it consists of.
func (m *message) set(topic, props, payload []byte) {
	room := make([]byte, 0, len(topic)+len(props)+len(payload))
	room = append(append(append(room, topic...), props...), payload...)
	n := len(topic) + len(props)
	m.topic, m.props, m.payload = room[:len(topic):len(topic)], mqtt.Properties(room[len(topic):n:n]), room[n:]
}

// copy returns a message with the same contents, that the store does not know.
func (m *message) copy() *message {
	return &message{
		publisher: m.publisher, topic: m.topic, props: m.props, payload: m.payload, expires: m.expires, qos: m.qos, retain: m.retain,
	}
}

// diskSize is about what its record needs, in bytes.
func (m *message) diskSize() int64 {
	return int64(len(m.publisher)+len(m.topic)+len(m.props)+len(m.payload)) + frameSize + 16
}

// delivery is how a message goes to one client.
type delivery struct {
	qos    byte
	retain bool
	dup    bool
	id     uint16
	subIDs string // the subscription identifiers, as properties
	alias  uint16 // 0 is none
	known  bool   // the client knows the alias already
}

// append appends the PUBLISH to dst.
func (m *message) append(dst []byte, v mqtt.Version, d *delivery, now int64) []byte {
	p := mqtt.Publish{Dup: d.dup, Retain: d.retain, QoS: d.qos, ID: d.id, Topic: m.topic, Props: m.props}
	var room [40]byte
	more := mqtt.Properties(room[:0])
	if v == mqtt.V5 {
		if m.expires != 0 {
			left := max((m.expires-now+int64(time.Second)-1)/int64(time.Second), 0)
			more = more.AppendNumber(mqtt.MessageExpiry, uint32(left)) // 3.3.2.3.3
		}
		more = appendOwn(more, d)
		if d.known {
			p.Topic = nil
		}
	}
	dst = mqtt.AppendPublishHeadWith(dst, v, &p, more, len(m.payload))
	return append(dst, m.payload...)
}

// append appends the PUBLISH to dst, at QoS 0.
func (in *inbound) append(dst []byte, v mqtt.Version, d *delivery) []byte {
	p := mqtt.Publish{Retain: d.retain, Topic: in.pub.Topic, Props: in.pub.Props}
	var room [40]byte
	more := mqtt.Properties(room[:0])
	if v == mqtt.V5 {
		more = appendOwn(more, d)
		if d.known {
			p.Topic = nil
		}
	}
	dst = mqtt.AppendPublishHeadWith(dst, v, &p, more, len(in.payload))
	return append(dst, in.payload...)
}

// appendOwn appends the properties that belong to one subscriber.
func appendOwn(p mqtt.Properties, d *delivery) mqtt.Properties {
	if d.alias != 0 {
		p = p.AppendNumber(mqtt.TopicAlias, uint32(d.alias))
	}
	return append(p, d.subIDs...)
}
