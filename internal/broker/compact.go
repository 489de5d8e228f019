package broker

import (
	"errors"
	"time"
)

// Compaction writes everything that is needed into a new segment, while
// that takes what happens meanwhile too, and removes the older ones. A
// session is written as a whole under its lock: what is appended before is in it, and what is appended behind changes it.
// A crash on the way leaves the older segments, and in the new one nothing that contradicts them.
//
// It is also how the store recovers from a disk that has failed.

// After how long it is tried again.
const (
	retryFailed = time.Second // when nothing is taken until then
	retryFull   = time.Minute // otherwise
)

// compactions compacts when there is a reason, until the store is closed.
func (st *store) compactions() {
	for {
		select {
		case <-st.compact:
		case <-st.broke:
		case <-st.quit:
			return
		}
		for err := st.compactOnce(); err != nil; err = st.compactOnce() {
			st.sayFailing(err)
			if !st.patience() {
				return
			}
		}
	}
}

// patience waits before what has failed is tried again. It is false if the store is closed.
func (st *store) patience() bool {
	full := time.After(st.retryFull)
	failed := time.After(st.retryFailed)
	for {
		select {
		case <-failed:
			if st.failing() {
				return true
			}
		case <-st.broke:
			failed = time.After(st.retryFailed)
		case <-full:
			return true
		case <-st.quit:
			return false
		}
	}
}

// sayFailing says what the disk says, once a minute.
func (st *store) sayFailing(err error) {
	if st.b.quietSince(&st.saidFail) {
		st.b.logger.Error("the broker's log cannot be written", "error", err, "refusing", st.failing())
	}
}

var errQuit = errors.New("broker: closing")

func (st *store) compactOnce() error {
	if err := st.cut(); err != nil {
		return err
	}
	err := st.rewrite()
	if err != nil {
		if errors.Is(err, errQuit) {
			return nil
		}
		return err
	}
	st.recovered()
	return st.removeOld()
}

// cut begins a new segment. What has been appended before is on disk in an older one, or lost.
func (st *store) cut() error {
	next, err := createSegment(st.disk, st.segment.number+1, st.mark)
	if err != nil {
		return err
	}
	st.written.Lock()
	defer st.written.Unlock()
	if !st.failing() {
		st.commitLocked() // if it fails the new segment is where the store recovers
	}
	old := st.segment
	if err := old.close(); err != nil && !st.failing() {
		st.b.logger.Warn("a segment of the broker's log could not be closed", "error", err)
	}
	st.old = append(st.old, old.number)
	st.segment = next
	st.sizes.Add(next.size)
	st.mu.Lock()
	st.number = next.number
	st.recovering = st.failed
	st.mu.Unlock()
	return nil
}

// rewrite appends all that is needed to the present segment, and returns when it is on disk.
func (st *store) rewrite() error {
	for _, m := range st.b.retained.all() {
		st.b.retained.rewrite(st.b, m)
		if err := st.pause(); err != nil {
			return err
		}
	}
	for _, s := range st.b.keptSessions() {
		for _, m := range s.messages() {
			st.rewriteMessage(m)
			if err := st.pause(); err != nil {
				return err
			}
		}
		s.rewrite()
		if err := st.pause(); err != nil {
			return err
		}
	}
	return st.flush()
}

// pause writes what has been appended when that is much.
func (st *store) pause() error {
	select {
	case <-st.quit:
		return errQuit
	default:
	}
	st.mu.Lock()
	n := len(st.buf)
	st.mu.Unlock()
	if n < largeBuf {
		return nil
	}
	return st.flush()
}

func (st *store) flush() error {
	st.commit()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.failed && !st.recovering {
		return errLost
	}
	return nil
}

// rewrite appends a retained message again, if it still is one. If it was lost before, those who have it in their queues do not get it: who
// published it was told so.
func (r *retained) rewrite(b *Broker, m *message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.root.find(m.topic)
	if at == nil || at.msg != m {
		return
	}
	if lsn := m.lsn.Load(); lsn != 0 && b.store.outcome(lsn) == gone {
		m = m.copy()
		r.put(b, m)
	}
	b.store.publish(m, nil, 0, nil, true)
}

// keptSessions returns the sessions that are on disk.
func (b *Broker) keptSessions() (list []*session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.sessions {
		if s.kept.Load() {
			list = append(list, s)
		}
	}
	return list
}

// messages returns those that wait in the session and are in the log.
func (s *session) messages() (list []*message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := s.queue.head; i < len(s.queue.list); i++ {
		if e := &s.queue.list[i]; e.msg != nil && e.kept {
			list = append(list, e.msg)
		}
	}
	return list
}

// rewriteMessage appends a message again if it is in an older segment only, and somebody has it.
func (st *store) rewriteMessage(m *message) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stale(m) && m.refs.Load() > 0 {
		st.appendMessage(m, nil, 0, nil, false)
	}
}

// stale reports whether a message has to be written again to be in the present segment. st.mu is held.
func (st *store) stale(m *message) bool { return st.has(m.lsn.Load()) && m.segment < st.number }

// rewrite appends the session with all that it has.
func (s *session) rewrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || !s.kept.Load() {
		return
	}
	st := s.b.store
	st.mu.Lock()
	defer st.mu.Unlock()
	for i := s.queue.head; i < len(s.queue.list); i++ {
		if e := &s.queue.list[i]; e.msg != nil && e.kept && st.stale(e.msg) {
			st.appendMessage(e.msg, nil, 0, nil, false)
		}
	}
	st.appendLocked(func(b []byte) []byte { return st.appendSession(b, s) })
}

// recovered ends the time in which nothing was taken.
func (st *store) recovered() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.failed {
		return
	}
	st.failed, st.recovering = false, false
	st.refusing.Store(false)
	st.b.logger.Info("the broker's log can be written again")
}

// removeOld removes the segments before the present one.
func (st *store) removeOld() error {
	for len(st.old) > 0 {
		if err := st.disk.remove(segmentName(st.old[0])); err != nil {
			return err
		}
		st.old = st.old[1:]
	}
	st.written.Lock()
	defer st.written.Unlock()
	st.sizes.Store(st.segment.size)
	return st.disk.sync()
}
