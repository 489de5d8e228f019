package intake

import (
	"net/netip"
	"sync"
)

// Seats bound open connections, in total and for each source. Make them with
// [NewSeats]; their methods may be called at the same time.
type Seats struct {
	total     int
	perSource int

	mu    sync.Mutex
	taken int
	of    map[netip.Prefix]int // no source without a seat is in it, so it is no larger than total
}

// NewSeats returns that many seats, none of them taken, of which one source gets perSource.
func NewSeats(total, perSource int) *Seats {
	return &Seats{total: total, perSource: perSource, of: map[netip.Prefix]int{}}
}

// Take reports whether there is a seat for one more connection from addr, and
// takes it. One who is exempt, such as a proxy that speaks for many, may have
// as many as there are. Each seat that was taken is given back by one Leave.
func (s *Seats) Take(addr netip.Addr, exempt bool) bool {
	source := Source(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.total || !exempt && s.of[source] >= s.perSource {
		return false
	}
	s.taken++
	s.of[source]++
	return true
}

// Leave gives back a seat that addr has taken.
func (s *Seats) Leave(addr netip.Addr) {
	source := Source(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	if s.of[source]--; s.of[source] == 0 {
		delete(s.of, source)
	}
}

// Taken returns how many seats are taken, and by how many sources.
func (s *Seats) Taken() (seats, sources int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken, len(s.of)
}
