package broker

import (
	"bytes"

	"cardea/internal/mqtt"
)

var (
	errReceiveMaximum = &mqtt.Error{Code: mqtt.ReceiveMaximumExceeded, Why: "more messages at once than the receive maximum"}
	errAlias          = &mqtt.Error{Code: mqtt.TopicAliasInvalid, Why: "a topic alias is larger than the maximum"}
	errAliasUnknown   = &mqtt.Error{Code: mqtt.ProtocolError, Why: "a topic alias that was not set stands for a topic"}
	errPending        = &mqtt.Error{Code: mqtt.ServerBusy, Why: "the same message is being taken on another connection"}
	errRefused        = &mqtt.Error{Code: mqtt.QuotaExceeded, Why: "a message could not be taken"}
)

// publish handles a PUBLISH of the client (3.3).
func (c *conn) publish(w *work, h mqtt.Head, packet []byte) error {
	p, _, err := mqtt.ReadPublish(c.v, mqtt.FromClient, h, packet)
	if err != nil {
		return err
	}
	in := inbound{from: c.s, publisher: c.s.id, version: c.v, pub: p, payload: packet[p.Size:], last: c.last}
	if p.Alias != 0 {
		if err := c.unalias(w, &in.pub); err != nil {
			return err
		}
	} else if p.QoS == 0 {
		in.raw = packet
	}
	w.messagesIn++
	if p.QoS == 0 {
		w.publish(&in)
		c.last = in.last
		return nil
	}
	twice, err := c.receive(w, &in)
	if twice || err != nil {
		return err
	}
	lsn, code := w.publish(&in)
	c.last = in.last
	return c.published(w, &in, lsn, code)
}

// unalias puts the topic for which an alias stands (3.3.2.3.4), and takes the alias away.
func (c *conn) unalias(w *work, p *mqtt.Publish) error {
	if int(p.Alias) > c.b.limits.Aliases {
		return errAlias
	}
	if len(p.Topic) == 0 {
		topic, ok := c.aliases[p.Alias]
		if !ok {
			return errAliasUnknown
		}
		p.Topic = topic
	} else {
		if c.aliases == nil {
			c.aliases = map[uint16][]byte{}
		}
		c.aliases[p.Alias] = bytes.Clone(p.Topic)
	}
	w.props = []byte(p.Props.AppendWithout(mqtt.Properties(w.props[:0]), mqtt.TopicAlias))
	p.Alias, p.Props = 0, mqtt.Properties(w.props)
	return nil
}

// receive notes that a message of QoS 1 or 2 has come. One of QoS 2 that has come before is answered again and not sent again (4.3.3).
func (c *conn) receive(w *work, in *inbound) (twice bool, err error) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != c {
		return false, errTakenOver
	}
	id := in.pub.ID
	if in.pub.QoS == 2 {
		lsn, ok := s.received[id]
		switch {
		case !ok:
		case lsn == pending:
			return false, errPending
		case lsn == restored && !in.pub.Dup:
			// Before the restart the client was told that the disk had failed to take the message, and it is on the disk all the
			// same. The client does not send that one again: then DUP would be set (MQTT-3.3.1-1).
		default:
			c.answer(w, ack{lsn: lsn, typ: mqtt.PUBREC, id: id})
			return true, nil
		}
	}
	if c.v == mqtt.V5 && c.pending >= c.b.limits.Receive {
		return false, errReceiveMaximum // 3.3.4
	}
	c.pending++
	if in.pub.QoS == 2 {
		if s.received == nil {
			s.received = map[uint16]uint64{}
		}
		s.received[id] = pending
	}
	return false, nil
}

// published answers a message of QoS 1 or 2.
func (c *conn) published(w *work, in *inbound, lsn uint64, code mqtt.Code) error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	a := ack{lsn: lsn, typ: mqtt.PUBACK, id: in.pub.ID, code: code}
	switch {
	case s.ended:
		return errTakenOver
	case in.pub.QoS == 1:
	case code.Failed():
		a.typ = mqtt.PUBREC
		delete(s.received, in.pub.ID)
	default:
		a.typ = mqtt.PUBREC
		s.received[in.pub.ID] = lsn
	}
	if s.conn != c {
		return errTakenOver
	}
	if code.Failed() && c.v != mqtt.V5 {
		return errRefused // 3.1.1 cannot say no: 3.3.5 there
	}
	c.answer(w, a)
	s.pump(w) // what the client gets itself comes behind
	return nil
}

// Publish publishes a message that comes from outside of a connection, such as a will that the door has held, in the name of a
// client. Of p its topic, QoS, Retain and Props count. When it returns nil and the QoS is not 0, the message is on disk for those sessions that are kept there.
// If it cannot be taken the error is an [*mqtt.Error], ErrClosed, or what the disk said.
func (b *Broker) Publish(clientID string, p *mqtt.Publish, payload []byte) error {
	if !b.enter() {
		return ErrClosed
	}
	defer b.serving.Done()
	in := inbound{publisher: clientID, version: mqtt.V5, pub: *p, payload: payload}
	in.pub.Props = p.Props.AppendWithout(nil, mqtt.TopicAlias, mqtt.WillDelay)
	in.pub.Alias, in.pub.ID, in.pub.Dup = 0, 0, false
	in.from = b.session(clientID)
	lsn, code := b.publishOnce(&in)
	if code.Failed() {
		return &mqtt.Error{Code: code, Why: "the message was not taken"}
	}
	if p.QoS == 0 {
		return nil
	}
	return b.store.wait(lsn)
}

func (b *Broker) publishOnce(in *inbound) (lsn uint64, code mqtt.Code) {
	w := b.work()
	defer w.flush()
	return w.publish(in)
}

// publish gives a message to everybody who is to have it. lsn is what has to be on disk before it may be acknowledged.
func (w *work) publish(in *inbound) (lsn uint64, code mqtt.Code) {
	for i := range w.frames {
		w.frames[i].made = false
	}
	b := w.b
	if bytes.Count(in.pub.Topic, []byte("/")) >= b.limits.Levels {
		b.stats.refused.Add(1)
		return 0, mqtt.TopicNameInvalid
	}
	r := b.index.routeAs(in.last, in.pub.Topic)
	in.last = r
	if in.pub.QoS > 0 && b.store.failing() && (in.pub.Retain || r.kept()) || in.pub.Retain && !b.retained.room(b, in) {
		b.stats.refused.Add(1)
		return 0, mqtt.QuotaExceeded
	}
	w.kept, w.targets = w.kept[:0], w.targets[:0]
	for i := range r.targets {
		w.deliver(in, &r.targets[i], away)
	}
	for _, g := range r.groups {
		w.share(in, g)
	}
	lsn = w.keep(in)
	if in.msg != nil {
		b.release(in.msg)
	}
	return lsn, mqtt.Success
}

// kept reports whether a message of the route may need the store.
func (r *route) kept() bool {
	for i := range r.targets {
		if t := &r.targets[i]; t.qos > 0 && t.session.kept.Load() {
			return true
		}
	}
	return len(r.groups) > 0
}

// keep has a message stored that somebody needs, and lets those sessions send it that could not before.
func (w *work) keep(in *inbound) (lsn uint64) {
	if in.pub.Retain || len(w.kept) > 0 {
		lsn = w.enter(in)
	}
	for _, s := range w.kept {
		s.wake(w)
	}
	return lsn
}

// enter puts a message into the store. If it is of QoS 2 and its publisher is kept, so is the packet identifier: for that the
// publisher is locked, before the retained messages are.
func (w *work) enter(in *inbound) (lsn uint64) {
	from := in.from
	if from == nil || in.pub.QoS < 2 || in.pub.ID == 0 {
		return w.enterFrom(in, nil)
	}
	from.mu.Lock()
	defer from.mu.Unlock()
	if !from.kept.Load() {
		return w.enterFrom(in, nil)
	}
	return w.enterFrom(in, from)
}

func (w *work) enterFrom(in *inbound, from *session) (lsn uint64) {
	if in.pub.Retain {
		return w.b.retained.set(w, in, from)
	}
	return w.append(in, from, false)
}

// append appends a message to the store, with those who are to have it, and with its packet identifier if from, which is locked, is not nil.
func (w *work) append(in *inbound, from *session, retained bool) (lsn uint64) {
	lsn = w.b.store.publish(in.msg, from, in.pub.ID, w.targets, retained)
	if from != nil {
		from.received[in.pub.ID] = lsn
	}
	return lsn
}

// deliver gives a message to one session. It is false if the session does not take it.
func (w *work) deliver(in *inbound, t *target, want readiness) bool {
	if t.noLocal && t.session == in.from {
		if t.own == nil {
			return false
		}
		t = t.own
	}
	s, qos, retain := t.session, min(t.qos, in.pub.QoS), in.pub.Retain && t.asIs
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || want == spare && !s.idle() {
		return false
	}
	if qos == 0 {
		return w.deliverNow(in, t, retain)
	}
	if !s.offer(in.message(w.b), qos, retain, t.subIDs) {
		return false
	}
	e := &s.queue.list[len(s.queue.list)-1]
	if e.kept {
		w.kept = append(w.kept, s)
		w.targets = appendTarget(w.targets, s, e)
		return true
	}
	if s != in.from || in.pub.ID == 0 { // a client's own messages come behind their acknowledgement
		s.pump(w)
	}
	return true
}

// idle reports whether the session's client takes what comes. s.mu is held.
func (s *session) idle() bool {
	c := s.conn
	return c != nil && s.queue.waiting < c.window && c.buffered() < s.b.limits.Output/2
}

// deliverNow writes a message at QoS 0 to the session's connection. It is false if there is none that can take it. s.mu is held.
func (w *work) deliverNow(in *inbound, t *target, retain bool) bool {
	s := t.session
	c := s.conn
	if c == nil || c.over {
		return false
	}
	if s.queue.zeros > 0 { // retained messages wait; this one must not overtake them
		if s.queue.zeros >= w.b.limits.Queue {
			w.dropped++
			return false
		}
		s.enqueue(in.message(w.b), 0, retain, t.subIDs)
		return true
	}
	d := delivery{retain: retain, subIDs: t.subIDs}
	d.alias, d.known = c.alias(in.pub.Topic)
	f := w.frame(in, c.v, &d)
	if n := c.buffered(); len(f) > c.maxPacket || n > 0 && n+len(f) > w.b.limits.Output {
		w.dropped++
		c.forget(in.pub.Topic, &d)
		return false
	}
	w.messagesOut++
	c.put(f, w)
	return true
}

// alias returns the alias that stands for a topic towards the client, 0 if there is none, and whether the client knows it.
func (c *conn) alias(topic []byte) (alias uint16, known bool) {
	if c.aliasMax == 0 {
		return 0, false
	}
	if a, ok := c.aliased[string(topic)]; ok {
		return a, true
	}
	if len(c.aliased) >= c.aliasMax {
		return 0, false
	}
	if c.aliased == nil {
		c.aliased = map[string]uint16{}
	}
	a := uint16(len(c.aliased) + 1)
	c.aliased[string(topic)] = a
	return a, false
}

// forget takes back an alias that was for a delivery that is not made.
func (c *conn) forget(topic []byte, d *delivery) {
	if d.alias != 0 && !d.known {
		delete(c.aliased, string(topic))
	}
}
