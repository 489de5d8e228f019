package intake

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// One line for each key and interval, which tells how many were left out.
func TestSampler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSampler[string](time.Minute, 10)
		check := func(key string, similar int, tell bool) {
			t.Helper()
			if n, ok := s.Sample(key); n != similar || ok != tell {
				t.Errorf("%s: %d, %v; want %d, %v", key, n, ok, similar, tell)
			}
		}
		check("a", 0, true)
		check("a", 0, false)
		check("b", 0, true)
		time.Sleep(time.Minute - 1)
		check("a", 0, false)
		time.Sleep(time.Nanosecond)
		check("a", 2, true)
		check("a", 0, false)
		check("b", 0, true)
		time.Sleep(time.Hour)
		check("a", 1, true)
	})
}

// Room is made by the key that was told longest ago; those without room share a line.
func TestSamplerMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSampler[string](time.Minute, 2)
		for _, step := range []struct {
			wait    time.Duration
			key     string
			similar int
			tell    bool
		}{
			{0, "a", 0, true},
			{30 * time.Second, "b", 0, true},
			{0, "b", 0, false},
			{30 * time.Second, "a", 0, true},
			{35 * time.Second, "c", 0, true}, // in the place of b
			{0, "d", 1, true},                // without room, and with what b left out
			{0, "e", 0, false},
			{0, "b", 0, false},
			{time.Hour, "f", 0, true},
			{0, "g", 0, true},
			{0, "h", 2, true},
		} {
			time.Sleep(step.wait)
			if similar, tell := s.Sample(step.key); similar != step.similar || tell != step.tell {
				t.Errorf("%s: %d, %v; want %d, %v", step.key, similar, tell, step.similar, step.tell)
			}
		}
	})
}

// M23: however many keys there are, memory and lines are bounded, a key that has room has no two lines
// in an interval, and all is counted.
func TestSamplerIsBounded(t *testing.T) {
	const every, most = time.Minute, 20
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, seed))
			n := most // keys
			if seed%2 == 0 {
				n = 200
			}
			s := NewSampler[int](every, most)
			told := map[int]time.Time{}
			var lines []time.Time
			happened, counted := 0, 0
			for range 3000 {
				happened++
				key := r.IntN(1 + r.IntN(n))
				if similar, tell := s.Sample(key); tell {
					now := time.Now()
					if last, ok := told[key]; ok && n <= most && now.Sub(last) < every {
						t.Fatalf("seed %d: key %d has two lines within %v", seed, key, now.Sub(last))
					}
					told[key], lines, counted = now, append(lines, now), counted+1+similar
				}
				if len(s.keys) > most || s.told.Len() != len(s.keys) {
					t.Fatalf("%d keys, %d in order", len(s.keys), s.told.Len())
				}
				time.Sleep(time.Duration(r.IntN(int(2 * time.Second))))
			}
			for i := most + 1; i < len(lines); i++ {
				if d := lines[i].Sub(lines[i-most-1]); d < every {
					t.Fatalf("seed %d: %d lines within %v", seed, most+2, d)
				}
			}
			for e := s.told.Front(); e != nil; e = e.Next() {
				counted += e.Value.(*line[int]).leftOut
			}
			if counted += s.rest.leftOut; counted != happened {
				t.Errorf("seed %d: %d were counted of %d", seed, counted, happened)
			}
		})
	}
}

func TestSamplerDoesNotAllocate(t *testing.T) {
	s := NewSampler[int](time.Hour, 1)
	s.Sample(1)
	allocations(t, "a line that is left out", 0, func() { s.Sample(1) })
	allocations(t, "one of the rest", 0, func() { s.Sample(2) })
}
