package broker

import "cardea/internal/mqtt"

// acknowledge handles PUBACK, PUBREC, PUBREL and PUBCOMP (3.4 to 3.7).
func (c *conn) acknowledge(w *work, h mqtt.Head, packet []byte) error {
	a, err := mqtt.ReadAck(c.v, h, packet)
	if err != nil {
		return err
	}
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != c {
		return errTakenOver
	}
	if h.Type == mqtt.PUBREL {
		s.release(c, w, a.ID)
		return nil
	}
	i := s.queue.find(a.ID)
	switch {
	case i < 0:
		if h.Type == mqtt.PUBREC {
			c.answer(w, ack{typ: mqtt.PUBREL, id: a.ID, code: mqtt.PacketIDNotFound})
		}
		return nil // an answer that was given before
	case h.Type == mqtt.PUBREC:
		return s.receipt(c, w, i, a.Code)
	}
	e := &s.queue.list[i]
	if h.Type == mqtt.PUBACK && e.qos != 1 || h.Type == mqtt.PUBCOMP && e.qos != 2 {
		return errWrongAck
	}
	s.drop(i)
	s.pump(w)
	return nil
}

var errWrongAck = &mqtt.Error{Code: mqtt.ProtocolError, Why: "an acknowledgement is not the one that belongs to the QoS"}

// receipt handles a PUBREC: from now on the message is not sent again, also after a restart.
func (s *session) receipt(c *conn, w *work, i int, code mqtt.Code) error {
	e := &s.queue.list[i]
	if e.qos != 2 {
		return errWrongAck
	}
	if code.Failed() {
		s.drop(i)
		s.pump(w)
		return nil
	}
	var lsn uint64
	if e.state != released {
		e.state = released
		if e.kept {
			lsn = s.b.store.receipt(s, e)
		}
	}
	c.answer(w, ack{lsn: lsn, typ: mqtt.PUBREL, id: e.packetID()})
	return nil
}

// release handles a PUBREL: the packet identifier of a QoS 2 message of the client is free again.
func (s *session) release(c *conn, w *work, id uint16) {
	lsn, ok := s.received[id]
	if !ok {
		// It may have been released on an earlier connection, and not on disk yet.
		c.answer(w, ack{lsn: s.settled(), typ: mqtt.PUBCOMP, id: id, code: mqtt.PacketIDNotFound})
		return
	}
	delete(s.received, id)
	if lsn > 0 && s.kept.Load() {
		lsn = s.b.store.release(s, id)
	}
	c.answer(w, ack{lsn: lsn, typ: mqtt.PUBCOMP, id: id})
}

// settled returns an lsn that is on disk when the disk knows of the session what memory does. s.mu is held.
func (s *session) settled() uint64 {
	if !s.kept.Load() {
		return 0
	}
	return s.b.store.newest()
}
