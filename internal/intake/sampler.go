package intake

import (
	"container/list"
	"sync"
	"time"
)

// Sampler keeps the log readable while somebody floods a door: one line for
// each key and interval, which tells how many were left out. Nothing is lost
// from the count: lines and what they say was left out add up to what happened,
// but for what no line has told of yet. Make one with [NewSampler]; it may be
// called at the same time. A key is what makes two lines similar, such as
// source and reason; no secret belongs in it.
type Sampler[K comparable] struct {
	every time.Duration
	max   int
	start time.Time // of the monotonic clock

	mu   sync.Mutex
	keys map[K]*list.Element
	told list.List // of *line[K]; the one that was told longest ago in front
	rest line[K]   // all keys for which there is no room
}

// line is what is known of the lines of a key.
type line[K comparable] struct {
	key     K
	at      time.Duration // when the last one was told, on the monotonic clock
	leftOut int           // since then
}

// NewSampler lets a line of a key pass once in every. Of at most max keys, at
// least one, it knows when that was; those beyond share one line. So there are
// never more than max+1 lines in an interval, however many sources a flood has.
func NewSampler[K comparable](every time.Duration, max int) *Sampler[K] {
	s := &Sampler[K]{every: every, max: max, start: time.Now(), keys: map[K]*list.Element{}}
	s.rest.at = -every
	return s
}

// Sample counts one line. If it reports tell, the line is to be written, with
// similar as the number of those that were not written since the last of its kind.
func (s *Sampler[K]) Sample(key K) (similar int, tell bool) {
	now := time.Since(s.start)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.line(key, now)
	if now-l.at < s.every {
		l.leftOut++
		return 0, false
	}
	similar, l.leftOut, l.at = l.leftOut, 0, now
	if e, ok := s.keys[key]; ok {
		s.told.MoveToBack(e)
	}
	return similar, true
}

// line finds what is known of a key. A new one takes the place of one that may
// be told again anyway; what that has left out counts among the rest.
func (s *Sampler[K]) line(key K, now time.Duration) *line[K] {
	if e, ok := s.keys[key]; ok {
		return e.Value.(*line[K])
	}
	if len(s.keys) >= max(s.max, 1) {
		front := s.told.Front()
		oldest := front.Value.(*line[K])
		if now-oldest.at < s.every {
			return &s.rest
		}
		s.rest.leftOut += oldest.leftOut
		s.told.Remove(front)
		delete(s.keys, oldest.key)
	}
	l := &line[K]{key: key, at: now - s.every}
	s.keys[key] = s.told.PushBack(l)
	return l
}
