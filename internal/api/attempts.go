package api

import (
	"net/netip"
	"sync"
	"time"
)

const (
	attemptsAtOnce = 30
	attemptEach    = 2 * time.Second // one more for each of these
	maxSources     = 1 << 14
)

// attempts counts by source what was wrong. The zero value is ready.
type attempts struct {
	mu   sync.Mutex
	full map[netip.Prefix]time.Time // when a source may get everything wrong again
}

// wait returns how long a source must wait before it may try again; 0 if it need not.
func (a *attempts) wait(from netip.Addr, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	full, known := a.full[sourceOf(from)]
	if !known {
		return 0
	}
	return max(0, full.Sub(now)-(attemptsAtOnce-1)*attemptEach)
}

// wrong counts one attempt.
func (a *attempts) wrong(from netip.Addr, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := sourceOf(from)
	full, known := a.full[k]
	if !known && len(a.full) >= maxSources {
		a.forget(now)
	}
	if full.Before(now) {
		full = now
	}
	if a.full == nil {
		a.full = map[netip.Prefix]time.Time{}
	}
	a.full[k] = full.Add(attemptEach)
}

// forget drops those that may try everything again, or else any of them, so that the map does not grow.
func (a *attempts) forget(now time.Time) {
	for k, full := range a.full {
		if !full.After(now) {
			delete(a.full, k)
		}
	}
	for k := range a.full {
		if len(a.full) < maxSources {
			return
		}
		delete(a.full, k)
	}
}

// sourceOf is an IPv4 address or an IPv6 network of 64 bits; the zero prefix for the socket.
func sourceOf(from netip.Addr) netip.Prefix {
	from = from.Unmap()
	bits := 64
	if from.Is4() {
		bits = 32
	}
	p, err := from.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
