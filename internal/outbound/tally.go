package outbound

import (
	"math/bits"
	"sync"
	"time"

	"cardea/internal/credential"
)

// The circuit opens after this many failures in a row, and stays open for this long before one question is a probe.
const (
	circuitFailures = 5
	circuitTime     = 10 * time.Second
)

// tally keeps how a source fares, and its circuit: while that is open the service is left alone, and logins do not wait for
// what will fail.
type tally struct {
	mu        sync.Mutex
	questions int64
	failures  int64
	inRow     int // failures since the last answer
	open      bool
	until     time.Time // while open: when a probe is allowed
	probing   bool      // one is under way
	lastError string
	lastAt    time.Time
	latency   histogram
}

// enter asks whether a question may be put. It must be followed by one leave, or forget, if it may.
func (t *tally) enter(now time.Time) (probe, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.open {
		return false, true
	}
	if t.probing || now.Before(t.until) {
		return false, false
	}
	t.probing = true
	return true, true
}

// leave counts what came of a question; why is "" if it was answered. turned reports that the circuit has opened or closed.
func (t *tally) leave(probe bool, why string, took time.Duration, now time.Time) (turned bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.questions++
	t.latency.add(took)
	t.probing = t.probing && !probe
	was := t.open
	if why == "" {
		t.inRow, t.open, t.lastError = 0, false, ""
		return was
	}
	t.failures++
	t.inRow++
	t.lastError, t.lastAt = why, now
	if probe || !t.open && t.inRow >= circuitFailures {
		t.open, t.until = true, now.Add(circuitTime)
	}
	return !was && t.open
}

// forget is for a question that nobody waited for: it says nothing about the service.
func (t *tally) forget(probe bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.probing = t.probing && !probe
}

func (t *tally) status() credential.SourceStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	return credential.SourceStatus{
		Questions: t.questions,
		Failures:  t.failures,
		Latency:   t.latency.sum(),
		Open:      t.open,
		LastError: t.lastError,
		LastAt:    t.lastAt,
	}
}

// histogram counts durations in buckets of microseconds: four for each doubling, so that a quantile is at most a quarter too large.
type histogram struct {
	count   int64
	max     time.Duration
	buckets [4 * 32]int64 // the last one is for an hour and more
}

func (h *histogram) add(d time.Duration) {
	h.count++
	h.max = max(h.max, d)
	h.buckets[bucketOf(d)]++
}

func bucketOf(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 0)) + 4 // so that each has two bits below its highest
	doubling := bits.Len64(us) - 3
	return min(4*doubling+int(us>>doubling&3), 4*32-1)
}

// bound is the first duration beyond a bucket.
func bound(bucket int) time.Duration {
	doubling, quarter := bucket/4, bucket%4
	return time.Duration((uint64(quarter)+5)<<doubling-4) * time.Microsecond
}

func (h *histogram) sum() credential.Latency {
	return credential.Latency{Count: h.count, P50: h.quantile(50), P99: h.quantile(99), Max: h.max}
}

// quantile returns what percent of the durations do not exceed.
func (h *histogram) quantile(percent int64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank, seen := (h.count*percent+99)/100, int64(0)
	for i, n := range h.buckets {
		if seen += n; seen >= rank {
			return min(bound(i), h.max)
		}
	}
	return h.max
}
