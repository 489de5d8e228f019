package broker

// What a session, a subscription and an entry are counted with in the log, in bytes, besides the texts in them.
const (
	sessionCost = 64
	entryCost   = frameSize + 12
	subCost     = frameSize + 12
)

// publish appends a message with those who get it, and with the session and packet identifier by which it came if those are kept.
func (st *store) publish(m *message, from *session, packetID uint16, targets []byte, retained bool) uint64 {
	if st == nil {
		return 0
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.appendMessage(m, from, packetID, targets, retained)
}

// appendMessage is publish. st.mu is held.
func (st *store) appendMessage(m *message, from *session, packetID uint16, targets []byte, retained bool) uint64 {
	if m.number == 0 {
		st.lastMessage++
		m.number = st.lastMessage
	}
	before := st.lsn
	lsn := st.appendLocked(func(b []byte) []byte {
		return append(appendMessage(b, m, m.number, retained, from, packetID), targets...)
	})
	m.segment = st.number
	if lsn != never && m.size == 0 {
		m.size = int64(lsn - before)
		st.live.Add(m.size)
	}
	m.lsn.CompareAndSwap(0, lsn) // that it is written again does not make it less certain
	return lsn
}

// drop notes that nobody has the message any more.
func (st *store) drop(m *message) {
	if st == nil || m.lsn.Load() == 0 {
		return
	}
	st.live.Add(-m.size)
}

// refer appends that a session gets a message that is there already. s.mu is held.
func (st *store) refer(s *session, e *entry) {
	st.append(func(b []byte) []byte {
		b = appendNumber(appendNumber(append(b, recRefer), e.msg.number), s.number)
		return appendEntry(b, e)
	})
}

// done appends that a session does not need an entry any more. s.mu is held.
func (st *store) done(s *session, e *entry) {
	st.live.Add(-entryCost)
	st.append(func(b []byte) []byte {
		return appendNumber(appendNumber(append(b, recDone), s.number), e.seq)
	})
}

// receipt appends that a subscriber has a message. s.mu is held.
func (st *store) receipt(s *session, e *entry) uint64 {
	return st.append(func(b []byte) []byte {
		return appendNumber(appendNumber(append(b, recReceipt), s.number), e.seq)
	})
}

// release appends that a packet identifier of a publisher is free. s.mu is held.
func (st *store) release(s *session, id uint16) uint64 {
	return st.append(func(b []byte) []byte {
		return appendNumber(appendNumber(append(b, recRelease), s.number), uint64(id))
	})
}

// begin appends a session with all that it has. s.mu is held.
func (st *store) begin(s *session) uint64 {
	st.live.Add(s.cost())
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.appendLocked(func(b []byte) []byte { return st.appendSession(b, s) })
}

// cost is what a session is counted with, but for its entries.
func (s *session) cost() int64 {
	return int64(sessionCost + len(s.id) + subCost*len(s.subs) + s.subBytes)
}

// end appends the end of a session. s.mu is held, and its subscriptions and entries are there still.
func (st *store) end(s *session) uint64 {
	n := s.cost()
	for i := s.queue.head; i < len(s.queue.list); i++ {
		if e := &s.queue.list[i]; e.msg != nil && e.kept {
			n += entryCost
		}
	}
	st.live.Add(-n)
	return st.append(func(b []byte) []byte { return appendNumber(append(b, recEnd), s.number) })
}

// life appends the expiry of a session and whether its client is there. s.mu is held.
func (st *store) life(s *session) uint64 {
	return st.append(func(b []byte) []byte {
		return appendLife(appendNumber(append(b, recLife), s.number), s)
	})
}

// subscribe appends a subscription. s.mu is held.
func (st *store) subscribe(s *session, sub *subscription, fresh bool) uint64 {
	if fresh {
		st.live.Add(int64(subCost + len(sub.filter)))
	}
	return st.append(func(b []byte) []byte {
		return appendSubscription(appendNumber(append(b, recSubscribe), s.number), sub)
	})
}

// unsubscribe appends the end of a subscription. s.mu is held.
func (st *store) unsubscribe(s *session, filter string) uint64 {
	st.live.Add(-int64(subCost + len(filter)))
	return st.append(func(b []byte) []byte {
		return appendBytes(appendNumber(append(b, recUnsubscribe), s.number), filter)
	})
}

// unretain appends that a topic has no retained message. The lock of the retained messages is held.
func (st *store) unretain(topic []byte) uint64 {
	if st == nil {
		return 0
	}
	return st.append(func(b []byte) []byte { return appendBytes(append(b, recUnretain), topic) })
}
