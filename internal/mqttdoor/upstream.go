package mqttdoor

import (
	"context"

	"cardea/internal/mqtt"
)

// Upstream is the broker behind the door. It sees what the door lets through,
// and nobody else may reach it: it believes the client id and the user name of every CONNECT. If it is an io.Closer it is
// closed when the door has been shut down.
type Upstream interface {
	// Admit makes the CONNECT of a session the broker's own: user name, password. It fails with the reason code
	// for the client if the broker cannot serve such a session. What c points to may be replaced, not changed.
	Admit(c *mqtt.Connect, s *Session) error

	// Run serves a session until either side is at its end, and returns why: nil if the client ended it. It takes
	// what the client sends from s.Next or s.Read, the CONNECT first, and gives what the broker sends to s.Write,
	// which waits for a client that is slow.
	// When s.Next fails the session is over, whatever else is under way. Run closes nothing of the client's.
	Run(ctx context.Context, s *Session) error

	// Unsubscribe ends subscriptions of a session that lives. It returns at once.
	Unsubscribe(s *Session, filters []string)

	// Subscriptions returns those that a session has brought with it, as far as the broker tells.
	Subscriptions(s *Session) []mqtt.Filter

	// Forget ends what the broker keeps of a session that is over.
	Forget(ctx context.Context, s *Session) error

	// Publish publishes the will of a session that is over. The broker has it when nil is returned.
	Publish(ctx context.Context, s *Session, m *Message) error
}

// Message is an application message: a will.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
	Props   mqtt.Properties // of a PUBLISH
	Version mqtt.Version    // of the session that it is of
}
