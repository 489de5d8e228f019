package mqttdoor

import (
	"context"
	"net"

	"cardea/internal/mqtt"
)

// Broker is what the door needs of a broker in the same process, which package broker is.
type Broker interface {
	// Serve serves one client connection and returns when it is over.
	Serve(c net.Conn) error
	// Publish publishes a message that comes from no connection. It is durable on return if its QoS is above 0.
	Publish(clientID string, p *mqtt.Publish, payload []byte) error
	// Subscriptions returns those of a session, live or not.
	Subscriptions(clientID string) []mqtt.Filter
	// Unsubscribe ends subscriptions of a session and returns how many there were.
	Unsubscribe(clientID string, filters []string) int
	// Forget ends a session with all that it holds.
	Forget(clientID string)
}

// Embedded is the [Upstream] in the same process: it is handed the filtered
// connection itself, with no second connection, no pipe and no more goroutines.
type Embedded struct{ broker Broker }

// NewEmbedded returns an Embedded in front of a broker.
func NewEmbedded(b Broker) *Embedded { return &Embedded{b} }

// Admit implements [Upstream]. The client id says all there is to say.
func (*Embedded) Admit(*mqtt.Connect, *Session) error { return nil }

// Run implements [Upstream].
func (e *Embedded) Run(_ context.Context, s *Session) error { return e.broker.Serve(s) }

// Unsubscribe implements [Upstream].
func (e *Embedded) Unsubscribe(s *Session, filters []string) { e.broker.Unsubscribe(s.key, filters) }

// Subscriptions implements [Upstream].
func (e *Embedded) Subscriptions(s *Session) []mqtt.Filter { return e.broker.Subscriptions(s.key) }

// Forget implements [Upstream].
func (e *Embedded) Forget(_ context.Context, s *Session) error {
	e.broker.Forget(s.key)
	return nil
}

// Publish implements [Upstream].
func (e *Embedded) Publish(_ context.Context, s *Session, m *Message) error {
	p := mqtt.Publish{QoS: m.QoS, Retain: m.Retain, Topic: []byte(m.Topic), Props: m.Props}
	return e.broker.Publish(s.key, &p, m.Payload)
}
