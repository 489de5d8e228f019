package broker

import (
	"strings"

	"cardea/internal/mqtt"
)

// subscribe handles a SUBSCRIBE (3.8). SUBACK is sent when the subscriptions are on disk, if the session is kept there.
func (c *conn) subscribe(w *work, h mqtt.Head, packet []byte) error {
	p, err := mqtt.ReadSubscribe(c.v, h, packet)
	if err != nil {
		return err
	}
	id, _ := p.Props.Number(mqtt.SubscriptionIdentifier)
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != c {
		return errTakenOver
	}
	var lsn uint64
	var codes []byte
	for f, rest, ok := p.Filters.Next(); ok; f, rest, ok = rest.Next() {
		code := s.admit(f)
		if code == mqtt.Success {
			lsn = max(lsn, s.subscribe(f, id))
			code = mqtt.Code(f.Options.QoS())
		} else if c.v < mqtt.V5 {
			code = mqtt.Unspecified // 3.9.3 there
		}
		codes = append(codes, byte(code))
	}
	c.answer(w, ack{lsn: lsn, body: mqtt.AppendSuback(nil, c.v, mqtt.SUBACK, p.ID, nil, codes)})
	s.pump(w)
	return nil
}

// admit says why the session may not have a subscription; Success if it may. s.mu is held.
func (s *session) admit(f mqtt.Filter) mqtt.Code {
	l := &s.b.limits
	_, known := s.subs[string(f.Filter)]
	switch {
	case !mqtt.ValidFilter(f.Filter):
		return mqtt.TopicFilterInvalid
	case levels(f.Filter) > l.Levels:
		return mqtt.TopicFilterInvalid
	case !known && (len(s.subs) >= l.Filters || s.subBytes+len(f.Filter) > l.FilterBytes):
		return mqtt.QuotaExceeded
	case s.kept.Load() && s.b.store.failing():
		return mqtt.QuotaExceeded
	}
	return mqtt.Success
}

// subscribe makes or replaces a subscription and lets the retained messages wait that are wanted. s.mu is held.
func (s *session) subscribe(f mqtt.Filter, id uint32) (lsn uint64) {
	old := s.subs[string(f.Filter)]
	sub := &subscription{session: s, opts: f.Options, id: id}
	if old != nil {
		sub.filter = old.filter
	} else {
		sub.filter = string(f.Filter)
		s.subBytes += len(sub.filter)
	}
	s.put(sub, old)
	if s.kept.Load() {
		lsn = s.b.store.subscribe(s, sub, old == nil)
	}
	if h := f.Options.RetainHandling(); strings.HasPrefix(sub.filter, "$share/") || h == 2 || h == 1 && old != nil {
		return lsn
	}
	s.offerRetained(sub)
	return lsn
}

// put puts a subscription into the session and the index.
func (s *session) put(sub, old *subscription) {
	if s.subs == nil {
		s.subs = map[string]*subscription{}
	}
	s.subs[sub.filter] = sub
	if old == nil {
		s.b.stats.subscriptions.Add(1)
	}
	s.b.index.add(sub, old)
}

// retainedRoom is how many times more messages may wait in a session that has subscribed to retained ones.
const retainedRoom = 10

// offerRetained lets the retained messages wait that a new subscription matches (3.3.1.3).
func (s *session) offerRetained(sub *subscription) {
	subIDs := sub.target().subIDs
	for _, m := range s.b.retained.match(sub.filter, s.b.now()) {
		if s.queue.waiting+s.queue.zeros >= retainedRoom*s.b.limits.Queue {
			s.refuse()
			continue
		}
		e := s.enqueue(m, min(m.qos, sub.opts.QoS()), true, subIDs)
		if e.kept {
			s.b.store.refer(s, e)
		}
	}
}

// unsubscribe handles an UNSUBSCRIBE (3.10).
func (c *conn) unsubscribe(w *work, h mqtt.Head, packet []byte) error {
	p, err := mqtt.ReadUnsubscribe(c.v, h, packet)
	if err != nil {
		return err
	}
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != c {
		return errTakenOver
	}
	lsn := s.settled()
	var codes []byte
	for f, rest, ok := p.Filters.Next(); ok; f, rest, ok = rest.Next() {
		code := mqtt.Success
		if sub := s.subs[string(f.Filter)]; sub == nil {
			code = mqtt.NoSubscriptionExisted
		} else {
			lsn = max(lsn, s.unsubscribe(sub))
		}
		codes = append(codes, byte(code))
	}
	c.answer(w, ack{lsn: lsn, body: mqtt.AppendSuback(nil, c.v, mqtt.UNSUBACK, p.ID, nil, codes)})
	return nil
}

// unsubscribe takes a subscription out of the session and the index. s.mu is held.
func (s *session) unsubscribe(sub *subscription) (lsn uint64) {
	delete(s.subs, sub.filter)
	s.b.stats.subscriptions.Add(-1)
	s.subBytes -= len(sub.filter)
	s.b.index.remove(sub)
	if s.kept.Load() {
		lsn = s.b.store.unsubscribe(s, sub.filter)
	}
	return lsn
}

// Subscriptions returns the subscriptions of a session, whether its client is connected or not.
func (b *Broker) Subscriptions(clientID string) []mqtt.Filter {
	s := b.session(clientID)
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]mqtt.Filter, 0, len(s.subs))
	for _, sub := range s.subs {
		list = append(list, mqtt.Filter{Filter: []byte(sub.filter), Options: sub.opts})
	}
	return list
}

// Unsubscribe takes subscriptions from a session, as if its client had asked for it, and says how many there were. What they have
// brought into its queue already stays there. When it returns that is on disk, unless the disk fails. After Close it does nothing.
func (b *Broker) Unsubscribe(clientID string, filters []string) int {
	if !b.enter() {
		return 0
	}
	defer b.serving.Done()
	s := b.session(clientID)
	if s == nil {
		return 0
	}
	n, lsn := s.unsubscribeAll(filters)
	b.store.wait(lsn)
	return n
}

func (s *session) unsubscribeAll(filters []string) (n int, lsn uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range filters {
		if sub := s.subs[f]; sub != nil {
			lsn = max(lsn, s.unsubscribe(sub))
			n++
		}
	}
	return n, lsn
}
