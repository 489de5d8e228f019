package gate

import (
	"context"
	"slices"
	"strings"
	"time"

	"cardea/internal/credential"
)

// Bounds of what asks the store.
const (
	maxLookups   = 32              // at the same time
	maxFlights   = 64              // under way or waiting, for each shard
	lookupTime   = 5 * time.Second // for one look-up
	maxTries     = 6               // of a look-up whose answer is older than a change
	negativeTime = 5 * time.Second // for which an unknown id is remembered
	maxNegative  = 8192 / shardCount
)

// pending is what a shard knows of credentials that are not in the table.
// It is under the shard's lock.
type pending struct {
	flights map[key]*flight
	unknown map[key]time.Duration // until when, on the monotonic clock
}

func (p *pending) init() {
	p.flights = map[key]*flight{}
	p.unknown = map[key]time.Duration{}
}

// flight is one look-up that many may wait for.
type flight struct {
	done   chan struct{}
	least  int64 // an answer of an older revision is worth nothing
	missed bool  // "not found" is worth nothing either: there was a change since it was asked
	again  bool  // no answer is worth anything: the change did not say its revision
	entry  *entry
	reason credential.Reason // if entry is nil
}

// load returns the entry of an id that was not found in the table, from the
// store if need be. Without one the reason is UnknownCredential or Unavailable.
func (g *Gate) load(ctx context.Context, k key, h uint64, id string) (*entry, credential.Reason) {
	s := g.cache.shard(h)
	s.mu.Lock()
	if e := g.cache.find(k, h); e != nil {
		s.mu.Unlock()
		return e, credential.OK
	}
	if s.pending.isUnknown(k, g.clock.Mono()) {
		s.mu.Unlock()
		g.stats.negative.Add(1)
		return nil, credential.UnknownCredential
	}
	f := s.pending.flights[k]
	if f == nil {
		if len(s.pending.flights) >= maxFlights || g.shut.Load()&(unstarted|closed) != 0 {
			s.mu.Unlock()
			return nil, credential.Unavailable
		}
		f = &flight{done: make(chan struct{})}
		s.pending.flights[k] = f
		g.flying.Add(1)
		go g.fly(f, k, h, strings.Clone(id)) // the id is part of a token, which must not be kept
	}
	s.mu.Unlock()
	g.stats.misses.Add(1)
	select {
	case <-f.done:
		return f.entry, f.reason
	case <-ctx.Done():
		return nil, credential.Unavailable
	}
}

// fly looks up until the answer is as new as everything that was applied.
func (g *Gate) fly(f *flight, k key, h uint64, id string) {
	defer g.flying.Done()
	f.reason = credential.Unavailable
	defer func() {
		s := g.cache.shard(h)
		s.mu.Lock()
		delete(s.pending.flights, k)
		s.mu.Unlock()
		close(f.done)
	}()
	select {
	case g.lookups <- struct{}{}:
		defer func() { <-g.lookups }()
	case <-g.ctx.Done():
		return
	}
	for try := range maxTries {
		if try > 0 && !g.pause(time.Duration(try-1)*10*time.Millisecond) {
			return
		}
		if g.try(f, k, h, id) {
			return
		}
	}
	g.log.Warn("a credential could not be read as it is now: the database answers with an older state", "credential", id)
}

// try looks up once; false means that the answer was too old.
func (g *Gate) try(f *flight, k key, h uint64, id string) bool {
	s := g.cache.shard(h)
	s.mu.Lock()
	f.least = max(f.least, g.floor.Load())
	f.missed, f.again = false, false
	s.mu.Unlock()

	ctx, cancel := context.WithTimeout(g.ctx, lookupTime)
	rec, err := g.store.Credential(ctx, id)
	cancel()
	if credential.IsNotFound(err) {
		return g.fillUnknown(s, f, k)
	}
	g.stats.fills.Add(1)
	if g.heard(err); err != nil {
		return true
	}
	e, err := g.compile(&rec)
	if err != nil {
		g.log.Error("a credential could not be compiled", "credential", id, "error", err)
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec.Revision < f.least || f.again {
		return false
	}
	g.cache.put(s, h, e)
	f.entry, f.reason = e, credential.OK
	return true
}

func (g *Gate) fillUnknown(s *shard, f *flight, k key) bool {
	g.stats.fills.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.missed {
		return false
	}
	s.pending.remember(k, g.clock.Mono())
	f.reason = credential.UnknownCredential
	return true
}

// heard notes whether the store answered a look-up, and logs when that changes.
func (g *Gate) heard(err error) {
	if err == nil {
		if g.failing.Load() && g.failing.CompareAndSwap(true, false) {
			g.log.Info("credentials can be read again")
		}
		return
	}
	g.stats.failures.Add(1)
	if g.failing.CompareAndSwap(false, true) {
		g.log.Error("a credential could not be read; callers that are not in the cache are told to come again", "error", err)
	}
}

// compile makes the entry of a record. If the record is newer than the policy
// and names what that does not know, the policy is read again first.
func (g *Gate) compile(rec *credential.Record) (*entry, error) {
	c := &rec.Credential
	if len(c.Proofs) == 0 {
		return nil, credential.Errorf(credential.Internal, "the credential has no version")
	}
	if keyOf(c.ID) == (key{}) {
		return nil, credential.Errorf(credential.Internal, "the credential's id does not have 12 characters")
	}
	if g.book.lacks(rec) {
		ctx, cancel := context.WithTimeout(g.ctx, lookupTime)
		err := g.reload(ctx, rec.Revision)
		cancel()
		if err != nil {
			return nil, err
		}
	}
	r := g.book.rightsOf(rec)
	e := newEntry(rec, r, r.org, g.networks.share(c.Networks))
	switch c.Kind {
	case credential.SCRAM:
		g.unseal(e, c)
	case credential.Password:
		g.unsealPassword(e, c)
	case credential.OAuthClient:
		g.unsealClient(e, c)
	default:
		if slices.ContainsFunc(c.Proofs, func(p credential.Proof) bool { return p.Scheme != "" }) {
			g.unsealForeign(e, c)
		}
	}
	return e, nil
}

// pause waits, unless the gate is closed meanwhile.
func (g *Gate) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-g.ctx.Done():
		return false
	}
}

// drop forgets what is known of a credential, unless it was read at the
// revision seq or later. It reports whether there was an entry.
func (g *Gate) drop(k key, seq int64) bool {
	h := g.cache.hash(k)
	s := g.cache.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending.unknown, k)
	s.pending.flights[k].outdate(seq)
	e := g.cache.find(k, h)
	if e == nil || seq > 0 && e.revision >= seq {
		return false
	}
	g.cache.take(s, h, k)
	return true
}

// outdateAll makes every look-up that is under way worthless if it was of a
// revision before seq: whose principals they find is not known yet.
func (g *Gate) outdateAll(seq int64) {
	for i := range g.cache.shards {
		s := &g.cache.shards[i]
		s.mu.Lock()
		for _, f := range s.pending.flights {
			f.outdate(seq)
		}
		s.mu.Unlock()
	}
}

func (f *flight) outdate(seq int64) {
	if f != nil {
		f.least = max(f.least, seq)
		f.missed = true
		f.again = f.again || seq <= 0
	}
}

func (p *pending) isUnknown(k key, now time.Duration) bool {
	until, ok := p.unknown[k]
	if ok && now >= until {
		delete(p.unknown, k)
		return false
	}
	return ok
}

// remember notes an id that does not exist. If there are too many, the expired
// ones go, or any one.
func (p *pending) remember(k key, now time.Duration) {
	if len(p.unknown) >= maxNegative {
		for other, until := range p.unknown {
			if now >= until {
				delete(p.unknown, other)
			}
		}
	}
	for other := range p.unknown {
		if len(p.unknown) < maxNegative {
			break
		}
		delete(p.unknown, other)
	}
	p.unknown[k] = now + negativeTime
}
