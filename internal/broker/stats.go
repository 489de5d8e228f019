package broker

import (
	"fmt"
	"sync/atomic"
)

// Stats are counts since New, and what there is at the moment.
type Stats struct {
	PacketsIn, BytesIn, BytesOut uint64
	MessagesIn, MessagesOut      uint64
	Dropped                      uint64 // deliveries of QoS 0 that a client could not take, and packets larger than it takes
	Refused                      uint64 // messages of QoS 1 and 2 that did not fit into a queue, or could not be taken at all
	Expired                      uint64
	Violations                   uint64 // connections that ended with an error of the protocol, or were sent away
	Panics                       uint64

	Connections, Sessions, Lasting int // Lasting: sessions that outlive their connections
	Subscriptions                  int
	Retained                       int
	Waiting                        int64 // messages that wait in sessions
	Held                           int64 // bytes of messages that wait or are retained
	DiskBytes                      int64
	Failing                        bool // what should be on disk cannot be written
}

type counters struct {
	packetsIn, bytesIn, bytesOut, messagesIn, messagesOut atomic.Uint64
	dropped, refused, expired, violations, panics         atomic.Uint64
	connections, subscriptions                            atomic.Int64
}

// Stats returns the counts. It is cheap.
func (b *Broker) Stats() Stats {
	c := &b.stats
	s := Stats{
		PacketsIn: c.packetsIn.Load(), BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
		MessagesIn: c.messagesIn.Load(), MessagesOut: c.messagesOut.Load(),
		Dropped: c.dropped.Load(), Refused: c.refused.Load(), Expired: c.expired.Load(),
		Violations: c.violations.Load(), Panics: c.panics.Load(),
		Connections: int(c.connections.Load()), Subscriptions: int(c.subscriptions.Load()),
		Waiting: b.waiting.Load(), Held: b.held.Load(),
		DiskBytes: b.store.size(), Failing: b.store.failing(),
	}
	b.mu.Lock()
	s.Sessions, s.Lasting = len(b.sessions), int(b.lasting.Load())
	b.mu.Unlock()
	b.retained.mu.RLock()
	s.Retained = b.retained.n
	b.retained.mu.RUnlock()
	return s
}

func typeName(v any) string { return fmt.Sprintf("%T", v) }
