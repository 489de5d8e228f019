package gate

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/credential"
)

// D09: what was done by a clock that has just stepped forward is judged by that clock, not by the one before its next turn.
func TestApplySeesAForwardStep(t *testing.T) {
	var step atomic.Int64
	clock := NewClock(time.Time{}, nil, nil)
	clock.wall = func() time.Time { return time.Now().Add(time.Duration(step.Load())) } // read as the system's clock is: now and then
	g := &Gate{clock: clock}                                                            // one that does not run: nothing else looks at the clock
	step.Store(int64(time.Hour))
	if err := g.Apply(t.Context(), []credential.Touch{{Seq: 1, Subject: credential.Subject{Kind: "key", ID: "k"}}}); err != nil {
		t.Fatal(err)
	}
	if now := clock.Now(); now.Before(time.Now().Add(59 * time.Minute)) {
		t.Errorf("the gate's clock still says %s", now)
	}
}

// Refusals are counted while others are collected; none is lost. (-race sees that the map is not shared.)
func TestRefusalsWhileCollecting(t *testing.T) {
	var r refusals
	r.init(func(key) uint64 { return 0 })
	const n = 2000
	var group sync.WaitGroup
	group.Go(func() {
		for i := range n {
			r.add(key{uint64(i), 0}, credential.NoRule, "http", here, int64(i))
		}
	})
	var sum int64
	collect := func() {
		all := map[refusalKey]*credential.Refusals{}
		r.collect(all)
		for _, row := range all {
			sum += row.Count
		}
	}
	for range n {
		collect()
	}
	group.Wait()
	collect()
	if sum != n {
		t.Errorf("%d refusals, want %d", sum, n)
	}
}
