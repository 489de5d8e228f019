package gate

import (
	"sync/atomic"
	"time"

	"cardea/internal/credential"
)

// Stats is what the gate has counted since it was made, and what it holds.
type Stats struct {
	Hits         int64 // accepted; as of the last flush of usage
	Misses       int64 // callers that waited for a look-up
	NegativeHits int64 // unknown ids that were remembered
	Fills        int64 // look-ups made
	Failures     int64 // look-ups that the store did not answer
	Evictions    int64
	Entries      int64
	Bytes        int64 // of the cache
	Refusals     map[credential.Reason]int64
	Sessions     int
	Cuts         int64 // sessions that were cut
	Buckets      int64 // of the limiter: sources that got something wrong lately
	Meters       int64 // credentials with limits that were used lately
	Applied      int64 // revision up to which the feed was applied
	Lag          int64 // revisions that are not applied yet, when the feed was last seen
	LastSeen     time.Time
	ClockAlarms  int64
	ClockBehind  time.Duration
}

// counters are what only the slow paths count.
type counters struct {
	hits, misses, negative, fills, failures, cuts atomic.Int64
}

// Stats returns the counters as of now.
func (g *Gate) Stats() Stats {
	st := Stats{
		Hits: g.stats.hits.Load(), Misses: g.stats.misses.Load(), NegativeHits: g.stats.negative.Load(),
		Fills: g.stats.fills.Load(), Failures: g.stats.failures.Load(), Cuts: g.stats.cuts.Load(),
		Refusals: g.refusals.counts(), Sessions: g.sessions.count(), Buckets: g.limits.n.Load() + g.guesses.n.Load(),
		Meters: g.meters.count(), Applied: g.applied.Load(), ClockAlarms: g.clock.Alarms(), ClockBehind: g.clock.Behind(),
	}
	st.Lag = max(0, g.head.Load()-st.Applied)
	if g.shut.Load()&unstarted == 0 {
		st.LastSeen = at(g.clock.nano() - int64(g.clock.Mono()) + g.lastSeen.Load())
	}
	for i := range g.cache.shards {
		s := &g.cache.shards[i]
		s.mu.Lock()
		st.Entries += int64(s.live)
		st.Bytes += s.bytes
		st.Evictions += s.evicted
		s.mu.Unlock()
	}
	return st
}
