package broker

import (
	"encoding/binary"

	"cardea/internal/mqtt"
)

// The types of records. Numbers in them are varints, strings have their length
// in front. Sessions and messages are named by numbers that are never used again. A record says how things are after
// it, not what changed, as far as that can be: while the log is compacted something may be said twice.
const (
	recSynced      = iota + 1 // how much of the segment was on disk when this was written
	recMessage                // a message, who gets it, and whether it is retained
	recRefer                  // a session gets a message that is in the log already
	recDone                   // a session does not need a message any more
	recReceipt                // PUBREC of a session for a message
	recRelease                // PUBREL of a session for a packet identifier
	recSession                // a session with everything that it holds; what was said of it before does not count
	recEnd                    // the end of a session
	recLife                   // its expiry, and whether its client is connected
	recSubscribe              // a subscription
	recUnsubscribe            // the end of one
	recUnretain               // a topic has no retained message any more
)

// Flags of a message.
const (
	flagQoS      = 3
	flagRetain   = 1 << 2 // as it was published
	flagRetained = 1 << 3 // it is the retained message of its topic
	flagExpires  = 1 << 4
	flagFrom     = 1 << 5 // it has the session and packet identifier with which a QoS 2 message came
)

// Flags of a target.
const (
	targetRetain   = 1 << 2
	targetIDs      = 1 << 3
	targetReleased = 1 << 4
)

func appendNumber(dst []byte, n uint64) []byte { return binary.AppendUvarint(dst, n) }

func appendBytes[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendMessage appends the body of a recMessage without its targets, which follow.
func appendMessage(dst []byte, m *message, id uint64, retained bool, from *session, packetID uint16) []byte {
	flags := m.qos
	if m.retain {
		flags |= flagRetain
	}
	if retained {
		flags |= flagRetained
	}
	if m.expires != 0 {
		flags |= flagExpires
	}
	if from != nil {
		flags |= flagFrom
	}
	dst = append(appendNumber(append(dst, recMessage), id), flags)
	if m.expires != 0 {
		dst = appendNumber(dst, uint64(m.expires))
	}
	if from != nil {
		dst = appendNumber(appendNumber(dst, from.number), uint64(packetID))
	}
	dst = appendBytes(dst, m.publisher)
	dst = appendBytes(dst, m.topic)
	dst = appendBytes(dst, []byte(m.props))
	return appendBytes(dst, m.payload)
}

// appendTarget appends a session that gets a message, as an entry of it.
func appendTarget(dst []byte, s *session, e *entry) []byte {
	return appendEntry(appendNumber(dst, s.number), e)
}

func appendEntry(dst []byte, e *entry) []byte {
	flags := e.qos
	if e.retain {
		flags |= targetRetain
	}
	if e.subIDs != "" {
		flags |= targetIDs
	}
	if e.state == released {
		flags |= targetReleased
	}
	dst = append(appendNumber(dst, e.seq), flags)
	if e.subIDs != "" {
		dst = appendBytes(dst, e.subIDs)
	}
	return dst
}

// appendSession appends the body of a recSession. s.mu is held, and the store's lock, so that what has been appended is known.
func (st *store) appendSession(dst []byte, s *session) []byte {
	dst = appendBytes(appendNumber(append(dst, recSession), s.number), s.id)
	dst = appendLife(dst, s)
	dst = appendNumber(dst, s.seq)
	dst = appendNumber(dst, uint64(len(s.subs)))
	for _, sub := range s.subs {
		dst = appendSubscription(dst, sub)
	}
	n := 0
	for _, lsn := range s.received {
		if st.has(lsn) {
			n++
		}
	}
	dst = appendNumber(dst, uint64(n))
	for id, lsn := range s.received {
		if st.has(lsn) {
			dst = appendNumber(dst, uint64(id))
		}
	}
	for i := s.queue.head; i < len(s.queue.list); i++ {
		if e := &s.queue.list[i]; e.msg != nil && e.kept && st.has(e.msg.lsn.Load()) {
			dst = appendEntry(appendNumber(dst, e.msg.number), e)
		}
	}
	return dst
}

// appendLife appends what a recLife says.
func appendLife(dst []byte, s *session) []byte {
	dst = appendNumber(dst, uint64(s.expiry))
	dst = appendNumber(dst, uint64(s.expires))
	live := byte(0)
	if s.conn != nil {
		live = 1
	}
	return appendNumber(append(dst, live), s.sent)
}

func appendSubscription(dst []byte, sub *subscription) []byte {
	dst = append(appendBytes(dst, sub.filter), byte(sub.opts))
	return appendNumber(dst, uint64(sub.id))
}

// fields takes fields off the front of a record. After an error it returns zero values.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) number() uint64 {
	n, size := binary.Uvarint(f.b)
	if size <= 0 {
		f.bad, f.b = true, nil
		return 0
	}
	f.b = f.b[size:]
	return n
}

func (f *fields) byte() byte {
	if len(f.b) == 0 {
		f.bad = true
		return 0
	}
	c := f.b[0]
	f.b = f.b[1:]
	return c
}

func (f *fields) bytes() []byte {
	n := f.number()
	if n > uint64(len(f.b)) {
		f.bad, f.b = true, nil
		return nil
	}
	s := f.b[:n:n]
	f.b = f.b[n:]
	return s
}

func (f *fields) more() bool { return !f.bad && len(f.b) > 0 }

// message reads a recMessage without its targets. Its bytes are its own.
func (f *fields) message() (m *message, flags byte, session uint64, packetID uint16) {
	m = &message{number: f.number()}
	flags = f.byte()
	m.qos, m.retain = flags&flagQoS, flags&flagRetain != 0
	if flags&flagExpires != 0 {
		m.expires = int64(f.number())
	}
	if flags&flagFrom != 0 {
		session, packetID = f.number(), uint16(f.number())
	}
	m.publisher = string(f.bytes())
	topic, props, payload := f.bytes(), f.bytes(), f.bytes()
	m.set(topic, props, payload)
	return m, flags, session, packetID
}

// entry reads what appendEntry has written.
func (f *fields) entry() entry {
	e := entry{seq: f.number(), kept: true}
	flags := f.byte()
	e.qos, e.retain = flags&flagQoS, flags&targetRetain != 0
	if e.qos != 1 && e.qos != 2 {
		f.bad = true
	}
	if flags&targetIDs != 0 {
		e.subIDs = string(f.bytes())
	}
	if flags&targetReleased != 0 {
		e.state = released
	}
	return e
}

func (f *fields) subscription() *subscription {
	return &subscription{filter: string(f.bytes()), opts: mqtt.Options(f.byte()), id: uint32(f.number())}
}

// readSynced reads a recSynced.
func readSynced(body []byte) (n int64, ok bool) {
	f := fields{b: body}
	if f.byte() != recSynced {
		return 0, false
	}
	n = int64(f.number())
	return n, !f.bad
}
