package broker

import "sort"

// entry is a message on its way to one session.
type entry struct {
	msg    *message // nil if it is done, and only still there because an older one is not
	seq    uint64   // its number in the session, ascending
	subIDs string
	qos    byte // 0 only for retained messages, and for what comes while those wait
	state  byte
	retain bool
	kept   bool // the store has it
}

// The states of an entry.
const (
	waiting  = iota
	sent     // on this connection or an earlier one
	released // PUBREC came: it must not be sent again, PUBREL must
)

// packetID is the packet identifier of the entry. It follows from the number, so that a message has the same one after a
// restart and the receiver recognizes what it has already.
func (e *entry) packetID() uint16 { return uint16((e.seq-1)%65535) + 1 }

// queue holds the entries of a session in the order in which they came. Those before next
// are in flight on the present connection, those behind it wait.
type queue struct {
	list []entry
	head int // index of the oldest
	next int // index of the first that waits

	inflight int   // entries of QoS 1 and 2 before next that are not done
	waiting  int   // entries of QoS 1 and 2 that are not done, in flight or not
	zeros    int   // entries of QoS 0
	mortal   int   // entries whose messages expire
	bytes    int64 // of the messages
}

func (q *queue) push(e entry) {
	if q.head > 32 && q.head > len(q.list)/2 {
		n := copy(q.list, q.list[q.head:])
		clear(q.list[n:])
		q.list, q.next, q.head = q.list[:n], q.next-q.head, 0
	}
	q.list = append(q.list, e)
	if e.qos == 0 {
		q.zeros++
	} else {
		q.waiting++
	}
	q.bytes += e.msg.weight()
	if e.msg.expires != 0 {
		q.mortal++
	}
}

// finish takes the message off the entry at index i, and lets go of what is done at the front.
func (q *queue) finish(i int) {
	e := &q.list[i]
	switch {
	case e.qos == 0:
		q.zeros--
	default:
		q.waiting--
		if i < q.next {
			q.inflight--
		}
	}
	q.bytes -= e.msg.weight()
	if e.msg.expires != 0 {
		q.mortal--
	}
	*e = entry{seq: e.seq}
	for q.head < len(q.list) && q.list[q.head].msg == nil {
		q.head++
	}
	q.next = max(q.next, q.head)
	if q.head < len(q.list) {
		return
	}
	q.head, q.next, q.list = 0, 0, q.list[:0]
	if cap(q.list) > 64 {
		q.list = nil
	}
}

// find returns the index of the entry in flight with a packet identifier, or -1.
func (q *queue) find(id uint16) int {
	if q.head == q.next {
		return -1
	}
	first := q.list[q.head].seq
	seq := first + (uint64(id)-1+65535-(first-1)%65535)%65535
	flying := q.list[q.head:q.next]
	i := int(seq - first)
	if i >= len(flying) || flying[i].seq != seq { // numbers are missing
		i = sort.Search(len(flying), func(i int) bool { return flying[i].seq >= seq })
	}
	if i == len(flying) || flying[i].seq != seq || flying[i].msg == nil {
		return -1
	}
	return q.head + i
}

// rewind makes everything wait again, in order, for a new connection. QoS 0 does not wait for one.
func (q *queue) rewind() {
	q.next, q.inflight = q.head, 0
}

// room reports whether the packet identifier of e is free: the oldest one in flight must be less than one round behind.
func (q *queue) room(e *entry) bool { return e.seq-q.list[q.head].seq < 65535 }
