package broker

import (
	"sync"
	"sync/atomic"

	"cardea/internal/mqtt"
)

// session is what the broker remembers of a client (4.1). It is reached by the
// broker's map while it lives. Whoever changes it holds its lock while
// the change is appended to the store, so that the two never differ.
//
// Locks are taken in this order: Broker.mu, session.mu, then those of the index, the retained messages and the store.
type session struct {
	id     string
	number uint64 // its name in the store
	b      *Broker
	live   atomic.Bool // conn is not nil
	kept   atomic.Bool // the store has it; written under mu

	mu       sync.Mutex
	ended    bool  // it is not in the map any more
	conn     *conn // nil while the client is away
	expiry   uint32
	expires  int64 // ns since 1970; when it ends if the client does not come back; 0 while it is connected or never
	subs     map[string]*subscription
	subBytes int
	received map[uint16]uint64 // QoS 2 messages from the client, by packet identifier, until PUBREL: what has to be on disk for PUBREC, or pending
	queue    queue
	seq      uint64 // number of the newest entry
	sent     uint64 // number of the newest entry that was ever sent
	will     *will
	saidFull int64 // when it was last said that the queue is full; ns since 1970
	refused  uint64
	next     int64 // when it is looked at, as the agenda knows; 0 for never
	place    int   // in the agenda, from 1; the agenda's
}

// pending is in received while the message is on its way to the store, restored if it was read from there.
const (
	pending  = ^uint64(0)
	restored = 1
)

// claim returns the session of a client id, a new one if there is none or the client wants a clean start, and whether it was there
// before. What a session that ended on the way left to do is done by the caller, after the lock is released.
func (b *Broker) claim(id string, clean bool) (s *session, present bool, left leftover, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, false, left, &mqtt.Error{Code: mqtt.ServerShuttingDown, Why: "the broker is closing"}
	}
	s = b.sessions[id]
	if s != nil && (clean || s.due(b.now())) {
		left = b.end(s, mqtt.SessionTakenOver)
		s = nil
	}
	if s != nil {
		left.lsn = s.returned()
		return s, true, left, nil
	}
	b.lastSession++
	s = &session{id: id, number: b.lastSession, b: b}
	b.sessions[id] = s
	return s, false, left, nil
}

func (s *session) lasting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expiry > 0
}

// returned notes that the client of a session is back. If the session was about to expire that must be on
// disk before the client is told: a crash right after must not make it expire.
func (s *session) returned() (lsn uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	soon := s.expires != 0 && s.expires-s.b.now() < minute
	if s.expires = 0; soon && s.kept.Load() {
		lsn = s.b.store.life(s)
	}
	return lsn
}

// due reports whether the time of a session without a connection is over.
func (s *session) due(now int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn == nil && s.expires != 0 && s.expires <= now
}

// leftover is what is to be done after a session has ended or lost its connection, when no lock is held.
type leftover struct {
	will *will
	lsn  uint64 // what has to be on disk before anybody is told
}

// end takes a session out of everything. b.mu is held.
func (b *Broker) end(s *session, code mqtt.Code) (left leftover) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return left
	}
	s.ended = true
	b.lasting.Add(-lasts(s.expiry))
	delete(b.sessions, s.id)
	if c := s.conn; c != nil {
		c.end(code)
		s.leave()
	}
	left.will, s.will = s.will, nil
	b.agenda.remove(s)
	if s.kept.CompareAndSwap(true, false) {
		left.lsn = b.store.end(s)
	}
	for _, sub := range s.subs {
		b.index.remove(sub)
	}
	b.stats.subscriptions.Add(-int64(len(s.subs)))
	s.subs = nil
	for i := s.queue.head; i < len(s.queue.list); i++ {
		if m := s.queue.list[i].msg; m != nil {
			b.release(m)
		}
	}
	b.waiting.Add(-int64(s.queue.waiting))
	s.queue, s.received = queue{}, nil
	return left
}

// setExpiry sets how many seconds the session outlives its connection, and has it kept on disk if it does. s.mu is held.
func (s *session) setExpiry(expiry uint32) {
	s.b.lasting.Add(lasts(expiry) - lasts(s.expiry))
	s.expiry = expiry
	st := s.b.store
	switch kept := s.kept.Load(); {
	case st == nil:
	case kept && expiry == 0:
		st.end(s)
		s.kept.Store(false)
		for i := s.queue.head; i < len(s.queue.list); i++ {
			s.queue.list[i].kept = false
		}
	case kept:
		st.life(s)
	case expiry > 0:
		s.kept.Store(true)
		st.begin(s)
	}
}

// lasts is 1 if a session with that expiry outlives its connection.
func lasts(expiry uint32) int64 { return int64(min(expiry, 1)) }

// leave parts a session from its connection. s.mu is held.
func (s *session) leave() {
	s.conn = nil
	s.live.Store(false)
	q := &s.queue
	for i := q.head; q.zeros > 0 && i < len(q.list); i++ {
		if e := &q.list[i]; e.msg != nil && e.qos == 0 {
			s.drop(i)
			i = max(i, q.head-1)
		}
	}
	q.rewind()
}

// attach gives a session its connection and its expiry, and takes it from the one that has it. It is false if the session has ended meanwhile.
// hello is the CONNACK, which goes out before anything else.
func (s *session) attach(c *conn, expiry uint32, w *will, hello []byte, work *work) (left leftover, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return left, false
	}
	if old := s.conn; old != nil {
		old.end(mqtt.SessionTakenOver)
		s.leave()
		if s.will != nil && s.will.delay == 0 {
			left.will = s.will // 3.1.3.2.2: the connection has closed
		}
	}
	if s.will = w; w != nil {
		w.publisher = s
	}
	s.expires = 0
	s.conn, c.s = c, s
	s.live.Store(true)
	s.setExpiry(expiry)
	c.put(hello, work)
	s.pump(work)
	return left, true
}

// detach is called when a connection is over. normal says that the client has said so, and no will is to be sent.
func (b *Broker) detach(c *conn, normal bool) (left leftover) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := c.s
	s.mu.Lock()
	if s.conn != c {
		s.mu.Unlock()
		return left
	}
	s.leave()
	if normal {
		s.will = nil
	}
	if s.expiry == 0 {
		s.mu.Unlock()
		return b.end(s, 0)
	}
	defer s.mu.Unlock()
	if s.will != nil && s.will.delay == 0 {
		left.will, s.will = s.will, nil
	}
	s.away()
	return left
}

// away begins the time after which the session ends if its client does not come back, and the delay of its will. s.mu is held.
func (s *session) away() {
	now := s.b.now()
	if s.expiry != forever {
		s.expires = now + int64(s.expiry)*second
	}
	if s.will != nil {
		s.will.due = now + int64(s.will.delay)*second
	}
	s.schedule()
	if s.kept.Load() {
		s.b.store.life(s)
	}
}

// room reports whether a message of some size may wait in the session.
func (s *session) room(size int64) bool {
	l, q := &s.b.limits, &s.queue
	if q.waiting == 0 {
		return true
	}
	return q.waiting < l.Queue && q.bytes+size <= l.QueueBytes && s.b.held.Load()+size <= l.TotalBytes
}

// offer lets a message of QoS 1 or 2 wait in the session. It is false if there is no room. s.mu is held.
func (s *session) offer(m *message, qos byte, retain bool, subIDs string) bool {
	if !s.room(m.weight()) && !(s.purge() && s.room(m.weight())) {
		s.refuse()
		return false
	}
	s.enqueue(m, qos, retain, subIDs)
	return true
}

func (s *session) enqueue(m *message, qos byte, retain bool, subIDs string) *entry {
	s.seq++
	kept := s.kept.Load() && qos > 0
	s.queue.push(entry{msg: m, seq: s.seq, subIDs: subIDs, qos: qos, retain: retain, kept: kept})
	s.b.hold(m)
	if kept {
		s.b.store.live.Add(entryCost)
	}
	if qos > 0 {
		s.b.waiting.Add(1)
	}
	return &s.queue.list[len(s.queue.list)-1]
}

// drop takes an entry out of the queue, for whatever reason it is not needed any more. s.mu is held.
func (s *session) drop(i int) {
	e := &s.queue.list[i]
	m := e.msg
	if e.kept {
		s.b.store.done(s, e)
	}
	if e.qos > 0 {
		s.b.waiting.Add(-1)
	}
	s.queue.finish(i)
	s.b.release(m)
}

// purge drops what has expired while it waited. It reports whether there was something.
func (s *session) purge() bool {
	q, now, found := &s.queue, s.b.now(), false
	for i := q.next; q.mortal > 0 && i < len(q.list); i++ {
		if e := &q.list[i]; e.msg != nil && e.seq > s.sent && e.msg.expired(now) {
			s.b.stats.expired.Add(1)
			found = true
			s.drop(i)
			i = max(i, q.head-1)
		}
	}
	return found
}

// refuse counts and says that a message did not fit.
func (s *session) refuse() {
	s.b.stats.refused.Add(1)
	s.refused++
	if now := s.b.now(); now-s.saidFull >= minute {
		s.saidFull = now
		s.b.logger.Warn("a session's queue is full; newer messages are not put into it", "client", s.id, "waiting", s.queue.waiting, "bytes", s.queue.bytes,
			"refused", s.refused)
	}
}

// hold and release count what is kept in memory for sessions and as retained messages.
func (b *Broker) hold(m *message) {
	if m.refs.Add(1) == 1 {
		b.held.Add(m.weight())
	}
}

func (b *Broker) release(m *message) {
	if m.refs.Add(-1) == 0 {
		b.held.Add(-m.weight())
		b.store.drop(m)
	}
}
