package mqttdoor

import "sync/atomic"

// counters are what the door has seen since it began.
type counters struct {
	accepted, refused, malformed, late, turnedAway, handshakes, violated, brokerRefused, wills atomic.Uint64

	// of sessions that are over
	messagesIn, messagesOut, bytesIn, bytesOut, denied atomic.Uint64
}

func (c *counters) add(s *Session) {
	c.messagesIn.Add(s.messagesIn.Load())
	c.messagesOut.Add(s.messagesOut.Load())
	c.bytesIn.Add(s.bytesIn.Load())
	c.bytesOut.Add(s.bytesOut.Load())
	c.denied.Add(s.refused.Load())
}

// Stats are what the door has seen since it began; Sessions is a gauge.
type Stats struct {
	Sessions      int
	Connects      uint64 // accepted
	Refused       uint64 // CONNECTs
	Malformed     uint64 // connections that did not begin with a good CONNECT
	Late          uint64 // connections without a CONNECT in time
	TurnedAway    uint64 // connections for which there was no seat, or of a source that failed too often
	Handshakes    uint64 // of TLS that failed
	Violations    uint64 // sessions that broke the protocol
	BrokerRefused uint64 // sessions that the broker refused
	Wills         uint64 // published
	MessagesIn    uint64
	MessagesOut   uint64
	BytesIn       uint64
	BytesOut      uint64
	Denied        uint64 // publishes, filters and deliveries that the rules did not allow
}

// Stats adds up.
func (d *Door) Stats() Stats {
	c := &d.count
	st := Stats{
		Connects: c.accepted.Load(), Refused: c.refused.Load(), Malformed: c.malformed.Load(), Late: c.late.Load(), TurnedAway: c.turnedAway.Load(),
		Handshakes: c.handshakes.Load(), Violations: c.violated.Load(), BrokerRefused: c.brokerRefused.Load(), Wills: c.wills.Load(),
		MessagesIn: c.messagesIn.Load(), MessagesOut: c.messagesOut.Load(), BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
		Denied: c.denied.Load(),
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	st.Sessions = len(d.sessions)
	for s := range d.sessions {
		st.MessagesIn += s.messagesIn.Load()
		st.MessagesOut += s.messagesOut.Load()
		st.BytesIn += s.bytesIn.Load()
		st.BytesOut += s.bytesOut.Load()
		st.Denied += s.refused.Load()
	}
	return st
}
