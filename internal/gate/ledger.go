package gate

import (
	"context"
	"runtime"
	"sync"
	"time"

	"cardea/internal/credential"
)

const (
	maxUses    = 50000 // versions with uses that are taken to the store at once; those of more wait in their entries
	recordRows = 5000  // of one Record
	recordTime = 10 * time.Second
)

// ledger takes the counts of uses and refusals to the store. What could not be
// recorded stays for the next time.
type ledger struct {
	mu      sync.Mutex // one flush at a time
	used    map[useKey]*credential.Usage
	refused map[refusalKey]*credential.Refusals
	slices  map[slicesOf]map[string]int64
	done    []credential.Exercise // taken from where they wait when there are none here
	sighted []credential.Sighting
	failed  bool
	waiting [shardCount]*entry // of each shard: a list that was not emptied
	turn    int                // the shard to begin with
	more    bool               // the last collection has left something
}

type useKey struct {
	key   key
	proof int
}

func (l *ledger) init() {
	l.used = map[useKey]*credential.Usage{}
	l.refused = map[refusalKey]*credential.Refusals{}
	l.slices = map[slicesOf]map[string]int64{}
}

// count notes one use of e.
func (g *Gate) count(e *entry, now int64, ev *Evidence) {
	g.countAt(e, g.cache.hash(e.key), now, ev)
}

// countAt is count for who knows the hash of the key.
func (g *Gate) countAt(e *entry, h uint64, now int64, ev *Evidence) {
	hi, lo := words(ev.Source)
	if e.flags&isSplit != 0 { // before the count, which is taken first: what is counted can be found
		g.split(e, now, hi, lo, ev.Route)
	}
	first, how := e.use(now, hi, lo)
	if how != stays || ev.Client != "" {
		g.saw(e, now, hi, lo, how, ev.Client)
	}
	if !first {
		return
	}
	// The first use since the last flush puts it into the list of what is to
	// be flushed. It is not in there: it was taken out before its count became 0.
	s := g.cache.shard(h)
	for {
		e.dirty = s.dirty.Load()
		if s.dirty.CompareAndSwap(e.dirty, e) {
			return
		}
	}
}

// flush records what was counted. Its error is that of the store; nothing is lost then.
func (g *Gate) flush(ctx context.Context) error {
	l := &g.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	g.newHour()
	g.collect()
	g.refusals.collect(l.refused)
	if len(l.done)+len(l.sighted) == 0 {
		l.done, l.sighted = g.exercises.take(), g.sightings.take()
	} else { // those of a flush that has failed go first
		l.more = true
	}
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	for !l.isEmpty() {
		b := l.batch()
		if err := g.store.Record(ctx, b.records); err != nil {
			if !l.failed {
				g.log.Error("uses and refusals could not be recorded; they are kept for later", "error", err)
			}
			l.failed = true
			return err
		}
		b.forget(l)
	}
	l.failed = false
	return nil
}

// flushAll is flush until nothing is left.
func (g *Gate) flushAll(ctx context.Context) error {
	for {
		if err := g.flush(ctx); err != nil || !g.ledger.more {
			return err
		}
	}
}

// collect empties the entries' counts into the ledger, as many as it takes.
// The next time goes on where this one has ended.
func (g *Gate) collect() {
	l := &g.ledger
	l.more = false
	for range shardCount {
		s := &g.cache.shards[l.turn]
		e := l.waiting[l.turn]
		if e == nil {
			e = s.dirty.Swap(nil)
		}
		for ; e != nil && len(l.used) < maxUses; e = l.waiting[l.turn] {
			l.waiting[l.turn], e.dirty = e.dirty, nil
			g.collectOne(e)
		}
		if e != nil {
			l.waiting[l.turn], l.more = e, true
			return
		}
		l.turn = (l.turn + 1) % shardCount
	}
}

// collectOne takes the count of an entry that is out of the list. From the
// moment that the count is 0 the next use puts it there again, so all else is read before.
func (g *Gate) collectOne(e *entry) {
	for !e.lock() {
		runtime.Gosched()
	}
	u := credential.Usage{Credential: e.made.Credential, Proof: e.made.Proof, FirstAt: at(e.first), LastAt: at(e.last.Load())}
	u.LastSource = addrOf(e.srcHi.Load(), e.srcLo.Load())
	e.unlock()
	u.Count = e.count.Swap(0)
	g.stats.hits.Add(u.Count)
	if e.flags&isSplit != 0 {
		g.ledger.takeSplit(e)
	}
	k := useKey{e.key, u.Proof}
	was := g.ledger.used[k]
	if was == nil {
		g.ledger.used[k] = &u
		return
	}
	was.Count += u.Count
	if u.FirstAt.Before(was.FirstAt) {
		was.FirstAt = u.FirstAt
	}
	if u.LastAt.After(was.LastAt) {
		was.LastAt, was.LastSource = u.LastAt, u.LastSource
	}
}

func at(ns int64) time.Time { return time.Unix(0, ns).UTC() }
