package broker

import (
	"cardea/internal/mqtt"
)

// pump lets messages of the session go out, as many as the client and the connection take. s.mu is held.
func (s *session) pump(w *work) {
	c := s.conn
	if c == nil {
		return
	}
	s.fill(c)
	if c.buffered() > 0 {
		c.wake(w)
	}
}

// wake is pump without the lock.
func (s *session) wake(w *work) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pump(w)
}

// fill puts messages that wait into the output of the connection. s.mu is held.
func (s *session) fill(c *conn) {
	q := &s.queue
	if s.conn != c || c.over || q.next == len(q.list) {
		return
	}
	now := s.b.now()
	for q.next < len(q.list) && !c.over && c.buffered() < s.b.limits.Output {
		e := &q.list[q.next]
		fate := s.fate(e)
		switch {
		case e.msg == nil:
			q.next++
		case e.qos == 0:
			q.next++
			s.send(c, e, now)
			s.drop(q.next - 1)
		case q.inflight >= c.window || !q.room(e):
			return
		case fate == onItsWay:
			c.await()
			return
		case fate == gone:
			s.drop(q.next) // its publisher has been told
		case e.state == waiting && e.msg.expired(now):
			s.b.stats.expired.Add(1)
			s.drop(q.next)
		case e.state == released:
			q.next++
			q.inflight++
			s.releaseAgain(c, e)
		default:
			q.next++
			q.inflight++
			if !s.send(c, e, now) {
				s.drop(q.next - 1)
			}
		}
	}
}

// releaseAgain sends PUBREL on a new connection. That PUBREC came may not have got to the disk before.
func (s *session) releaseAgain(c *conn, e *entry) {
	var lsn uint64
	if e.kept {
		lsn = s.b.store.receipt(s, e)
	}
	c.answer(nil, ack{lsn: lsn, typ: mqtt.PUBREL, id: e.packetID()})
}

// fate is what has become of the message of an entry in the store. What is kept is sent when it is on disk: before that a
// crash would make the publisher send again what somebody has got already.
func (s *session) fate(e *entry) int {
	if !e.kept || e.state != waiting || e.msg == nil {
		return stored
	}
	lsn := e.msg.lsn.Load()
	if lsn == 0 {
		return onItsWay // whoever publishes it is about to append it
	}
	return s.b.store.outcome(lsn)
}

// send puts an entry into the output. It is false if the client does not take packets of that size (3.1.2.11.4).
func (s *session) send(c *conn, e *entry, now int64) bool {
	d := delivery{qos: e.qos, retain: e.retain, dup: e.state == sent, subIDs: e.subIDs}
	if e.qos > 0 {
		d.id = e.packetID()
	}
	d.alias, d.known = c.alias(e.msg.topic)
	out := c.output()
	n := len(out.b)
	out.b = e.msg.append(out.b, c.v, &d, now)
	if len(out.b)-n > c.maxPacket {
		out.b = out.b[:n]
		c.forget(e.msg.topic, &d)
		s.b.stats.dropped.Add(1)
		return false
	}
	s.b.stats.messagesOut.Add(1)
	if e.state == waiting {
		e.state = sent
		s.sent = max(s.sent, e.seq)
	}
	return true
}
