package intake

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// E01: who fails too often waits, others do not, and nobody waits for ever.
func TestFailuresBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFailures(3, time.Minute, 100)
		bad, near, other := addr("2001:db8::1"), addr("2001:db8::2"), addr("192.0.2.1")
		for range 3 {
			if f.Blocked(bad) {
				t.Fatal("blocked before the bucket was empty")
			}
			f.Note(bad)
		}
		if !f.Blocked(bad) || !f.Blocked(near) || f.Blocked(other) {
			t.Error("after three failures the /64 is blocked and nobody else")
		}
		for range 1000 {
			f.Note(bad) // of connections that had begun before
		}
		time.Sleep(time.Minute - 1)
		if !f.Blocked(bad) {
			t.Error("let in before a token was back")
		}
		time.Sleep(time.Nanosecond)
		if f.Blocked(bad) {
			t.Error("still blocked with a token back")
		}
		f.Note(bad)
		if !f.Blocked(bad) {
			t.Error("the one token buys two failures")
		}
		time.Sleep(3 * time.Minute)
		if f.Blocked(bad) || f.n.Load() != 0 {
			t.Errorf("%d sources are remembered when all is full again", f.n.Load())
		}
	})
}

// tokens is a bucket, counted in quarters, as one would write it down.
type tokens struct{ quarters, burst int }

func (b *tokens) tick()         { b.quarters = min(b.quarters+1, 4*b.burst) }
func (b *tokens) fail()         { b.quarters = max(b.quarters-4, 0) }
func (b *tokens) blocked() bool { return b.quarters < 4 }

// Whoever fails whenever, the answer is that of a bucket of tokens for each source.
func TestFailuresAreBuckets(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, seed))
			burst, n := 1+r.IntN(5), 1+r.IntN(30)
			f := NewFailures(burst, 4*time.Second, 30)
			model := make([]tokens, n)
			for i := range model {
				model[i] = tokens{4 * burst, burst}
			}
			for range 400 {
				for range r.IntN(4) {
					i := r.IntN(n)
					f.Note(nth(i))
					model[i].fail()
				}
				i := r.IntN(n)
				if got, want := f.Blocked(nth(i)), model[i].blocked(); got != want {
					t.Fatalf("seed %d: source %d is blocked: %v, want %v", seed, i, got, want)
				}
				for range r.IntN(3) {
					time.Sleep(time.Second)
					for i := range model {
						model[i].tick()
					}
				}
			}
			f.check(t)
		})
	}
}

// check looks whether the heap and its index agree.
func (f *Failures) check(t *testing.T) {
	t.Helper()
	b := &f.buckets
	if len(b.at) != len(b.list) || len(b.list) > f.sources || int(f.n.Load()) != len(b.list) {
		t.Fatalf("%d in the index, %d in the heap, %d counted, of at most %d", len(b.at), len(b.list), f.n.Load(), f.sources)
	}
	for i, one := range b.list {
		if b.at[one.source] != i || b.list[(i-1)/2].full > one.full {
			t.Fatalf("the heap is broken at %d", i)
		}
	}
}

// M23: memory is bounded, and a flood of sources frees nobody who is blocked.
func TestFailuresAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFailures(3, time.Minute, 100)
		blocked := []netip.Addr{addr("192.0.2.1"), addr("2001:db8:ffff::1")}
		for _, a := range blocked {
			for range 3 {
				f.Note(a)
			}
		}
		for i := range 5000 {
			f.Note(nth(i))
			f.Note(nth(i % 50)) // some come back; they are emptier than the next one
		}
		f.check(t)
		for _, a := range blocked {
			if !f.Blocked(a) {
				t.Errorf("%s was let go to make room", a)
			}
		}
		time.Sleep(time.Hour)
		for range 30 {
			f.Blocked(blocked[0])
		}
		if n := f.n.Load(); n != 0 {
			t.Errorf("%d are remembered after an hour", n)
		}
		f.check(t)
	})
}

// What was long ago does not count, even if many others are still to be forgotten.
func TestFailuresOfLongAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFailures(3, time.Minute, 1000)
		for i := range 500 {
			f.Note(nth(i))
		}
		time.Sleep(time.Second)
		last := addr("192.0.2.1")
		f.Note(last)
		time.Sleep(time.Hour)
		for i := range 3 {
			if f.Blocked(last) {
				t.Errorf("blocked after %d failures", i)
			}
			f.Note(last)
		}
		if !f.Blocked(last) {
			t.Error("not blocked after three failures")
		}
	})
}

// Who makes room is the one who has failed the least.
func TestTheFullestIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFailures(3, time.Minute, 10)
		for i := range 10 {
			f.Note(nth(i))
			if i != 4 {
				f.Note(nth(i))
			}
		}
		f.Note(addr("192.0.2.1"))
		for i := range 10 {
			if i == 4 {
				continue
			}
			if f.Note(nth(i)); !f.Blocked(nth(i)) {
				t.Errorf("source %d was forgotten instead", i)
			}
		}
		if _, known := f.buckets.at[Source(nth(4))]; known {
			t.Error("the fullest is remembered")
		}
	})
}

// When everybody is blocked there is still room for who comes next: his failures count.
func TestFailuresOfANewSourceCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFailures(2, time.Minute, 10)
		for i := range 10 {
			f.Note(nth(i))
			f.Note(nth(i))
		}
		last := addr("192.0.2.1")
		f.Note(last)
		f.Note(last)
		if !f.Blocked(last) {
			t.Error("a source that came late is never blocked")
		}
	})
}

func TestFailuresOff(t *testing.T) {
	f := NewFailures(0, time.Second, 10)
	for range 100 {
		f.Note(nth(1))
	}
	if f.n.Load() != 0 || f.Blocked(nth(1)) {
		t.Error("a burst of 0 blocks")
	}
}

func TestFailuresAtTheSameTime(t *testing.T) {
	f := NewFailures(5, time.Hour, 64)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				f.Note(nth(i * (g + 1) % 100))
				f.Blocked(nth(i % 100))
			}
		})
	}
	wg.Wait()
	f.check(t)
}

func TestFailuresDoNotAllocate(t *testing.T) {
	f := NewFailures(1, time.Hour, 10)
	a := addr("2001:db8::1")
	allocations(t, "asking when nobody failed", 0, func() { f.Blocked(a) })
	f.Note(a)
	allocations(t, "asking when somebody failed", 0, func() { f.Blocked(a) })
	for i := range 10 {
		f.Note(nth(i))
	}
	i := 0
	allocations(t, "counting one and forgetting another", 0, func() { f.Note(nth(i)); i++ })
}

func BenchmarkBlockedWhenNobodyFailed(b *testing.B) {
	f, a := NewFailures(10, time.Minute, 1000), addr("192.0.2.1")
	for b.Loop() {
		f.Blocked(a)
	}
}
