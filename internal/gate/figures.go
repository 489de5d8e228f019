package gate

import (
	"sync"
	"sync/atomic"
	"time"

	"cardea/internal/credential"
)

// memberStats are the figures of an authenticator.
type memberStats struct {
	total, success, failed, ignored, superuser atomic.Int64
	took                                       histogram
	faulty                                     atomic.Bool // there is a last failure

	mu     sync.Mutex
	last   string
	lastAt time.Time
	logged map[string]time.Time // by cause
}

// count counts a login, and the time that the authenticator took for it.
func (s *memberStats) count(v verdict, took time.Duration) {
	s.total.Add(1)
	s.took.add(took)
	switch v {
	case accepts:
		s.success.Add(1)
		if s.faulty.Load() {
			s.forgive()
		}
	case rejects:
		s.failed.Add(1)
	default:
		s.ignored.Add(1)
	}
}

// forgive forgets the last failure, not the figures.
func (s *memberStats) forgive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.lastAt = "", time.Time{}
	s.faulty.Store(false)
}

// maxCauses bounds what is remembered of causes that were logged.
const maxCauses = 64

// fault keeps a failure for the status, until a login is accepted.
func (s *memberStats) fault(why string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.lastAt = why, now
	s.faulty.Store(true)
}

// isNews reports whether a cause is to be logged: it was not within a minute.
func (s *memberStats) isNews(why string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.logged[why]; ok && now.Sub(at) < noticeEvery {
		return false
	}
	if s.logged == nil || len(s.logged) >= maxCauses {
		s.logged = map[string]time.Time{}
	}
	s.logged[why] = now
	return true
}

// histogram counts durations in steps of a quarter of a power of two, from 1 µs to some hours.
type histogram struct {
	steps [histogramSteps]atomic.Int64
	max   atomic.Int64
}

const (
	histogramSteps = 140
	stepsPerDouble = 4
)

func (h *histogram) add(d time.Duration) {
	h.steps[stepOf(d)].Add(1)
	for {
		most := h.max.Load()
		if int64(d) <= most || h.max.CompareAndSwap(most, int64(d)) {
			return
		}
	}
}

// stepOf returns the step whose end is the first that is not below d.
func stepOf(d time.Duration) int {
	i := 0
	for i < histogramSteps-1 && endOf(i) < d {
		i++
	}
	return i
}

// endOf is the longest duration of a step.
func endOf(i int) time.Duration {
	double := time.Microsecond << (i / stepsPerDouble)
	return double + double*time.Duration(i%stepsPerDouble)/stepsPerDouble
}

func (h *histogram) latency() credential.Latency {
	var counts [histogramSteps]int64
	var l credential.Latency
	for i := range h.steps {
		counts[i] = h.steps[i].Load()
		l.Count += counts[i]
	}
	l.Max = time.Duration(h.max.Load())
	quantile := func(q float64) time.Duration {
		rest := int64(float64(l.Count) * q)
		for i, n := range counts {
			if rest -= n; rest < 0 {
				return min(endOf(i), l.Max)
			}
		}
		return l.Max
	}
	l.P50, l.P99 = quantile(0.5), quantile(0.99)
	return l
}

// status returns the figures of a member.
func (m *member) status() AuthenticatorStatus {
	s := m.stats
	st := AuthenticatorStatus{
		Total: s.total.Load(), Success: s.success.Load(), Failed: s.failed.Load(), Ignored: s.ignored.Load(),
		SuperuserIgnored: s.superuser.Load(), Latency: s.took.latency(),
	}
	s.mu.Lock()
	st.LastError, st.LastErrorAt = s.last, s.lastAt
	s.mu.Unlock()
	if m.source != nil {
		source := m.source.Status()
		st.Source = &source
		if source.LastError != "" && source.LastAt.After(st.LastErrorAt) {
			st.LastError, st.LastErrorAt = source.LastError, source.LastAt
		}
	}
	if m.broken != "" {
		st.LastError = m.broken
	}
	return st
}
