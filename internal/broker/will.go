package broker

import (
	"cardea/internal/mqtt"
)

// will is what is published when a client goes away without a goodbye (3.1.2.5).
type will struct {
	publisher *session
	pub       mqtt.Publish
	version   mqtt.Version
	payload   []byte
	delay     uint32 // seconds
	due       int64  // ns since 1970, when the client has gone
}

// newWill returns the will of a CONNECT; nil if it has none.
func newWill(c *mqtt.Connect) *will {
	if !c.HasWill {
		return nil
	}
	m := &c.Will
	w := &will{version: c.Version, payload: append([]byte(nil), m.Payload...)}
	w.delay, _ = m.Props.Number(mqtt.WillDelay)
	w.pub = mqtt.Publish{
		QoS: m.QoS, Retain: m.Retain, Topic: append([]byte(nil), m.Topic...),
		Props: m.Props.AppendWithout(nil, mqtt.WillDelay),
	}
	return w
}

// settle does what a session has left to do. No lock is held.
func (b *Broker) settle(left leftover) {
	if left.will == nil {
		return
	}
	w := b.work()
	defer w.flush()
	will := left.will
	w.publish(&inbound{from: will.publisher, publisher: will.publisher.id, version: will.version, pub: will.pub, payload: will.payload})
}
