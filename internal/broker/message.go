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

	refs atomic.Int32  // how many sessions hold it, and one if it is retained
	lsn  atomic.Uint64 // behind its record in the store; 0 while it has none
	rec  record
}

// size is what the message is counted with, in bytes.
func (m *message) size() int64 { return int64(len(m.topic)+len(m.props)+len(m.payload)) + 128 }

func (m *message) expired(now int64) bool { return m.expires != 0 && m.expires <= now }

// inbound is a PUBLISH on its way through the broker. Its bytes are those of a read buffer.
type inbound struct {
	from      *session // nil if it comes from outside of a connection and there is no session of that name
	publisher string
	version   mqtt.Version
	pub       mqtt.Publish // with its topic, also if an alias stood for it, and without the alias
	payload   []byte
	raw       []byte // the packet itself, if it can be passed on as it is at QoS 0
	msg       *message
}

// message returns the message that can be kept, and makes it the first time.
func (in *inbound) message(now func() time.Time) *message {
	if in.msg != nil {
		return in.msg
	}
	p := &in.pub
	room := make([]byte, 0, len(p.Topic)+len(p.Props)+len(in.payload))
	room = append(room, p.Topic...)
	m := &message{publisher: in.publisher, topic: room[:len(p.Topic):len(p.Topic)], qos: p.QoS, retain: p.Retain}
	if len(p.Props) > 0 {
		at := len(room)
		room = []byte(p.Props.AppendWithout(mqtt.Properties(room), mqtt.MessageExpiry))
		m.props = mqtt.Properties(room[at:len(room):len(room)])
		if n, ok := p.Props.Number(mqtt.MessageExpiry); ok {
			// 0 is an expiry as any other (3.3.2.3.3): what is not delivered at once is not delivered.
			m.expires = now().UnixNano() + int64(n)*int64(time.Second)
		}
	}
	at := len(room)
	room = append(room, in.payload...)
	m.payload = room[at:len(room):len(room)]
	in.msg = m
	return m
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
