package intake

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
)

// Connections are bounded in total and per source, and a seat that is left can be taken again.
func TestSeats(t *testing.T) {
	s := NewSeats(4, 2)
	v4, v6, near := addr("192.0.2.1"), addr("2001:db8::1"), addr("2001:db8::ffff")
	first, second := s.Take(v4, false), s.Take(v4, false)
	if !first || !second || s.Take(v4, false) {
		t.Error("one address has two seats")
	}
	if !s.Take(v6, false) || !s.Take(near, false) || s.Take(addr("2001:db8:1::1"), false) {
		t.Error("four seats in total, and a /64 is one source")
	}
	s.Leave(v4)
	s.Leave(near)
	s.Leave(v6)
	if !s.Take(v4, false) || !s.Take(v4, true) || !s.Take(v4, true) || s.Take(v4, true) {
		t.Error("a proxy has as many as there are, and no more")
	}
	for _, a := range []netip.Addr{v4, v4, v4, v4} {
		s.Leave(a)
	}
	if seats, sources := s.Taken(); seats != 0 || sources != 0 {
		t.Errorf("left behind: %d seats of %d sources", seats, sources)
	}
}

// Whatever comes and goes, the limits hold, and nothing is left in the end.
func TestSeatsHold(t *testing.T) {
	const total, perSource = 50, 3
	s := NewSeats(total, perSource)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(g)))
			mine := addr("192.0.2.0")
			for range g {
				mine = mine.Next()
			}
			held := 0
			for range 3000 {
				if r.IntN(2) == 0 && s.Take(mine, false) {
					held++
				} else if held > 0 {
					s.Leave(mine)
					held--
				}
				if seats, sources := s.Taken(); held > perSource || seats > total || sources > 8 {
					t.Errorf("%d of one source, %d in total, %d sources", held, seats, sources)
					return
				}
			}
			for range held {
				s.Leave(mine)
			}
		})
	}
	wg.Wait()
	if seats, sources := s.Taken(); seats != 0 || sources != 0 {
		t.Errorf("left behind: %d seats of %d sources", seats, sources)
	}
}

func TestSeatsDoNotAllocate(t *testing.T) {
	s, a := NewSeats(10, 10), addr("2001:db8::1")
	allocations(t, "a seat", 0, func() { s.Take(a, false); s.Leave(a) })
}
