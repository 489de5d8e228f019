package gate

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"cardea/internal/credential"
)

const (
	feedBatch = 1000
	feedTime  = 5 * time.Second // for one question to the feed
	feedPause = 250 * time.Millisecond
)

// Bits of Gate.shut: why the gate does not decide.
const (
	unstarted = 1 << iota // the head of the feed is not known yet
	stale                 // the feed was not seen within the bound
	lawless               // the policy could not be read
	closed                // Close was called
)

func (g *Gate) close(why uint32) { g.shut.Or(why) }

func (g *Gate) open(why uint32) { g.shut.And(^why) }

// blind reports whether the gate cannot know at this moment, monotonic. It is
// exact where the bit stale may be late by a tenth of a second.
func (g *Gate) blind(mono time.Duration) bool {
	return g.shut.Load() != 0 || int64(mono) > g.seenUntil.Load()
}

// follow applies the change feed until ctx ends.
func (g *Gate) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := g.begin(ctx)
		if err == nil {
			break
		}
		g.feedFailed(err)
		sleep(ctx, feedPause)
	}
	for ctx.Err() == nil {
		more, err := g.advance(ctx)
		switch {
		case err != nil:
			g.feedFailed(err)
			sleep(ctx, feedPause)
		case !more:
			_ = g.store.Wait(ctx, g.applied.Load()) // its only error is that ctx has ended
		}
	}
}

// begin takes the head of the feed, before anything is looked up, and the policy.
func (g *Gate) begin(ctx context.Context) error {
	asked := g.moment()
	ask, cancel := context.WithTimeout(ctx, feedTime)
	defer cancel()
	_, head, err := g.store.Since(ask, math.MaxInt64, 1)
	if err != nil {
		return err
	}
	if err := g.reload(ctx, head); err != nil {
		return err
	}
	if err := g.readDenied(ask); err != nil {
		return err
	}
	g.applied.Store(head)
	g.head.Store(head)
	raise(&g.floor, head)
	g.seen(asked)
	g.open(unstarted)
	return nil
}

// advance applies what is new. It reports whether there is more.
func (g *Gate) advance(ctx context.Context) (more bool, err error) {
	asked := g.moment()
	ask, cancel := context.WithTimeout(ctx, feedTime)
	defer cancel()
	applied := g.applied.Load()
	touched, head, err := g.store.Since(ask, applied, feedBatch)
	if err != nil {
		return false, err
	}
	if head < applied {
		return false, credential.Errorf(credential.Down,
			"the database is at revision %d, after revision %d was seen: it was replaced by an older one; restart the server if that was meant", head, applied)
	}
	g.head.Store(head)
	if len(touched) > 0 && touched[0].Seq != applied+1 {
		g.log.Warn("the change feed has a gap; everything is forgotten", "after", applied, "next", touched[0].Seq)
		g.outdateAll(touched[0].Seq)
		g.cache.clear()
		g.signing.stale.Store(true)
		if err := errors.Join(g.readDenied(ask), g.reload(ctx, 0)); err != nil {
			return false, err // what was revoked in the gap is not known: the gap is looked at again
		}
		err = g.reassessAll(ctx)
	}
	// If Apply fails it has cut and forgotten too much, which is no reason to do it again.
	err = errors.Join(err, g.Apply(ctx, touched))
	if err != nil {
		g.log.Error("a change could not be followed in full; what it may concern was cut", "error", err)
	}
	if len(touched) > 0 {
		g.applied.Store(touched[len(touched)-1].Seq)
	}
	if g.shut.Load()&lawless != 0 {
		if err := g.reload(ctx, 0); err != nil {
			return false, err
		}
		if err := g.reassessRights(ctx); err != nil {
			g.log.Error("sessions could not be looked at again after the policy was read; they were cut", "error", err)
		}
	}
	if len(touched) == feedBatch {
		return true, nil
	}
	g.seen(asked)
	return false, nil
}

// moment is a time on the monotonic clock, and the clock's steps until then.
type moment struct {
	mono    time.Duration
	stepped int64
}

func (g *Gate) moment() moment {
	stepped := g.clock.stepped.Load() // before: a step between the two counts as one after
	return moment{g.clock.Mono(), stepped}
}

// seen notes that the feed was seen to its end by who asked at a moment.
func (g *Gate) seen(asked moment) {
	g.lastSeen.Store(int64(asked.mono))
	g.stepsSeen.Store(asked.stepped)
	g.seenUntil.Store(int64(asked.mono + g.staleness))
	if g.shut.Load()&stale != 0 {
		g.log.Info("the database is seen again")
	}
	g.open(stale)
	if g.feedDown.Swap(false) {
		g.log.Info("the change feed is followed again", "revision", g.applied.Load())
	}
}

// feedFailed notes that the feed does not answer. If the wall clock has made a
// step since it last did, the machine may have slept: that time counts as well.
func (g *Gate) feedFailed(err error) {
	if g.ctx.Err() != nil {
		return
	}
	if !g.feedDown.Swap(true) {
		g.log.Error("the change feed does not answer; callers are refused when that lasts", "staleness", g.staleness, "error", err)
	}
	if slept := g.clock.stepped.Load() - g.stepsSeen.Load(); slept > 0 {
		g.seenUntil.Store(g.lastSeen.Load() + int64(g.staleness) - slept)
	}
}

// watchStaleness sets the bit that Authorize and Watch look at.
func (g *Gate) watchStaleness() {
	if int64(g.clock.Mono()) <= g.seenUntil.Load() || g.shut.Load()&(stale|unstarted) != 0 {
		return
	}
	g.close(stale)
	if int64(g.clock.Mono()) <= g.seenUntil.Load() { // it was seen just now
		g.open(stale)
		return
	}
	g.log.Error("the database was not seen for too long: everything is refused", "staleness", g.staleness)
}

// raise sets v to n if that is more.
func raise(v *atomic.Int64, n int64) {
	for old := v.Load(); n > old; old = v.Load() {
		if v.CompareAndSwap(old, n) {
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
