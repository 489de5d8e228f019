package broker

import (
	"bytes"
	"strings"
	"sync"
)

// retained are the retained messages (3.3.1.3), in a tree of topic levels.
type retained struct {
	mu    sync.RWMutex
	root  shelf
	n     int
	bytes int64
	ends  int // how many of them expire
}

type shelf struct {
	children map[string]*shelf
	msg      *message
}

// room reports whether a retained message may be put there: it replaces or removes one, or the limits allow it.
func (r *retained) room(b *Broker, in *inbound) bool {
	if len(in.payload) == 0 {
		return true
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	size := int64(len(in.pub.Topic) + len(in.pub.Props) + len(in.payload) + 128)
	if old := r.root.find(in.pub.Topic); old != nil && old.msg != nil {
		return r.bytes+size-old.msg.weight() <= b.limits.RetainedBytes
	}
	return r.n < b.limits.Retained && r.bytes+size <= b.limits.RetainedBytes
}

// set puts a message in the place of the one that its topic had, or removes that if the payload is empty. The message is appended to
// the store together with those who get it, while nobody else can change the topic. from is as for [work.append].
func (r *retained) set(w *work, in *inbound, from *session) (lsn uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(in.payload) == 0 {
		if r.remove(w.b, in.pub.Topic) {
			lsn = w.b.store.unretain(in.pub.Topic)
		}
		if len(w.kept) > 0 {
			lsn = w.append(in, from, false)
		}
		return lsn
	}
	m := in.message(w.b)
	r.put(w.b, m)
	return w.append(in, from, true)
}

// put puts a message in its place. r.mu is held.
func (r *retained) put(b *Broker, m *message) {
	b.hold(m)
	at := r.root.make(m.topic)
	if old := at.msg; old != nil {
		r.forget(b, old)
	}
	at.msg = m
	r.n++
	r.bytes += m.weight()
	if m.expires != 0 {
		r.ends++
	}
}

// forget lets go of a message that is not in the tree any more.
func (r *retained) forget(b *Broker, m *message) {
	r.n--
	r.bytes -= m.weight()
	if m.expires != 0 {
		r.ends--
	}
	b.release(m)
}

// remove reports whether there was one. r.mu is held.
func (r *retained) remove(b *Broker, topic []byte) bool {
	m, _ := r.root.remove(topic)
	if m == nil {
		return false
	}
	r.forget(b, m)
	return true
}

// match returns the messages whose topics match a filter, and have not expired.
func (r *retained) match(filter string, now int64) (list []*message) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	r.root.match(filter, true, func(m *message) {
		if !m.expired(now) {
			list = append(list, m)
		}
	})
	return list
}

// sweep removes what has expired.
func (r *retained) sweep(b *Broker, now int64) {
	r.mu.RLock()
	ends := r.ends
	r.mu.RUnlock()
	if ends > 0 {
		r.filter(b, func(m *message) bool { return !m.expired(now) })
	}
}

// filter removes the messages that are not to be kept. keep is called without the lock.
func (r *retained) filter(b *Broker, keep func(*message) bool) (lsn uint64) {
	for _, m := range r.all() {
		if !keep(m) {
			lsn = max(lsn, r.removeThis(b, m))
		}
	}
	return lsn
}

// all returns the retained messages.
func (r *retained) all() (list []*message) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list = make([]*message, 0, r.n)
	r.root.walk(func(m *message) { list = append(list, m) })
	return list
}

// removeThis removes a message unless another one has taken its place.
func (r *retained) removeThis(b *Broker, m *message) (lsn uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at := r.root.find(m.topic); at == nil || at.msg != m {
		return 0
	}
	r.remove(b, m.topic)
	return b.store.unretain(m.topic)
}

// Retained calls keep with the topic of each retained message and the client id of who set it, and removes those of which it is false. When it
// returns that is on disk, unless the disk fails. After Close it does nothing.
func (b *Broker) Retained(keep func(topic, publisher string) bool) {
	if !b.enter() {
		return
	}
	defer b.serving.Done()
	b.store.wait(b.retained.filter(b, func(m *message) bool { return keep(string(m.topic), m.publisher) }))
}

func (s *shelf) find(topic []byte) *shelf {
	for more := true; more && s != nil; {
		var level []byte
		level, topic, more = bytes.Cut(topic, slash)
		s = s.children[string(level)]
	}
	return s
}

var slash = []byte("/")

func (s *shelf) make(topic []byte) *shelf {
	for more := true; more; {
		var level []byte
		level, topic, more = bytes.Cut(topic, slash)
		next := s.children[string(level)]
		if next == nil {
			next = &shelf{}
			if s.children == nil {
				s.children = map[string]*shelf{}
			}
			s.children[string(level)] = next
		}
		s = next
	}
	return s
}

// remove returns the message that was there, and whether nothing is left at and below s.
func (s *shelf) remove(topic []byte) (m *message, empty bool) {
	level, rest, more := bytes.Cut(topic, slash)
	next := s.children[string(level)]
	if next == nil {
		return nil, false
	}
	if more {
		m, empty = next.remove(rest)
	} else {
		m, next.msg = next.msg, nil
		empty = len(next.children) == 0
	}
	if empty {
		delete(s.children, string(level))
	}
	return m, s.msg == nil && len(s.children) == 0
}

func (s *shelf) walk(found func(*message)) {
	if s.msg != nil {
		found(s.msg)
	}
	for _, next := range s.children {
		next.walk(found)
	}
}

// match walks the topics that match a filter. first says that s is the root: wildcards do not match topics that begin with $ there (4.7.2).
func (s *shelf) match(filter string, first bool, found func(*message)) {
	level, rest, more := strings.Cut(filter, "/")
	switch level {
	case "#":
		if s.msg != nil {
			found(s.msg) // the parent level (4.7.1.2)
		}
		for name, next := range s.children {
			if !first || !strings.HasPrefix(name, "$") {
				next.walk(found)
			}
		}
	case "+":
		for name, next := range s.children {
			if !first || !strings.HasPrefix(name, "$") {
				next.matchBelow(rest, more, found)
			}
		}
	default:
		if next := s.children[level]; next != nil {
			next.matchBelow(rest, more, found)
		}
	}
}

func (s *shelf) matchBelow(rest string, more bool, found func(*message)) {
	if more {
		s.match(rest, false, found)
		return
	}
	if s.msg != nil {
		found(s.msg)
	}
}

// levels counts the levels of a topic or filter.
func levels[T string | []byte](topic T) int {
	n := 1
	for i := range len(topic) {
		if topic[i] == '/' {
			n++
		}
	}
	return n
}
