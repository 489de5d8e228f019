package gate

import (
	"context"
	"sync"
	"time"

	"cardea/internal/credential"
)

// maxMeters bounds how many credentials with limits are counted at the same time. One more is refused as
// what cannot be known, until another has been idle.
const maxMeters = 1 << 18

// meters are those of the credentials with limits. They outlive the entries of these, so that no change of a credential gives it
// back what it has used.
type meters struct {
	parts [shardCount]metersPart

	flushing sync.Mutex
	failed   bool // the last flush has; of who flushes
}

type metersPart struct {
	mu       sync.Mutex
	all      map[key]*meter
	dirty    []*meter             // what the next flush is to look at
	late     []credential.Metered // of months that are over
	readings int                  // under way
}

// reading is one question to the store that many may wait for.
type reading struct {
	done   chan struct{}
	failed bool
}

func (s *meters) init() {
	for i := range s.parts {
		s.parts[i].all = map[key]*meter{}
	}
}

func (s *meters) part(h uint64) *metersPart { return &s.parts[h>>(64-shardBits)] }

// of returns the meter of a credential, as of now; nil if there is no room for one. The part must be locked.
func (p *metersPart) of(w *metering, mono time.Duration, now int64) *meter {
	m := p.all[w.key]
	if m == nil {
		if len(p.all) >= maxMeters/shardCount && !p.makeRoom(mono) {
			return nil
		}
		m = &meter{}
		p.all[w.key] = m
	}
	m.adopt(w, mono)
	if late := m.turn(now); late.Count > 0 {
		p.late = append(p.late, late)
	}
	return m
}

// touch puts m into the list of those that the next flush looks at.
func (p *metersPart) touch(m *meter) {
	if !m.dirty {
		m.dirty = true
		p.dirty = append(p.dirty, m)
	}
}

// makeRoom takes out what is idle. It reports whether that was anything.
func (p *metersPart) makeRoom(mono time.Duration) bool {
	n := len(p.all)
	for k, m := range p.all {
		if m.isIdle(mono) {
			delete(p.all, k)
		}
	}
	return len(p.all) < n
}

// sweep takes out what is idle. One whose month is nearly spent stays, so that this is not reported over and over; one that is
// not full yet stays, and begins with the whole rate as a new one would.
func (s *meters) sweep(mono time.Duration) {
	for i := range s.parts {
		p := &s.parts[i]
		p.mu.Lock()
		for k, m := range p.all {
			switch {
			case m.isIdle(mono) && m.told == plenty:
				delete(p.all, k)
			case m.sent+m.pending == 0 && mono-m.last > presence:
				m.bucket.share(1, mono)
			}
		}
		p.mu.Unlock()
	}
}

// count returns how many there are.
func (s *meters) count() (n int64) {
	for i := range s.parts {
		p := &s.parts[i]
		p.mu.Lock()
		n += int64(len(p.all))
		p.mu.Unlock()
	}
	return n
}

// spend charges one request of a credential with limits, or says why it may not be. If again is set it took time to find out what
// the credential has used, and nothing was charged: the caller must look anew whether the credential is still accepted, and ask once more.
func (g *Gate) spend(ctx context.Context, w *metering, ev *Evidence) (out Outcome, again bool) {
	p := g.meters.part(g.cache.hash(w.key))
	p.mu.Lock()
	mono, now := g.clock.read() // under the lock: requests pass in the order of their times
	m := p.of(w, mono, now)
	switch {
	case m == nil:
	case m.isBlind(mono):
		r := g.read(p, m)
		p.mu.Unlock()
		if r.wait(ctx) {
			return Outcome{}, true
		}
		return g.refuse(w.key, credential.Unavailable, comeAgain, ev), false
	default:
		out = m.take(mono, now)
		if out.Reason == credential.OK || m.nearness() > m.told {
			p.touch(m)
		}
	}
	p.mu.Unlock()
	switch {
	case m == nil:
		return g.refuse(w.key, credential.Unavailable, comeAgain, ev), false
	case out.Reason != credential.OK:
		g.refusals.add(w.key, out.Reason, ev.Door, ev.Source, now)
	}
	return out, false
}

// meter charges the request with which somebody has proved to be e, if it is one and e has limits. As for the rest, it is [Gate.spend].
func (g *Gate) meter(ctx context.Context, e *entry, ev *Evidence) (out Outcome, again bool) {
	if e.flags&isMetered == 0 || ev.Unmetered {
		return Outcome{}, false
	}
	return g.spend(ctx, e.metering(), ev)
}

// read has the store asked what a credential has used; nil if too much is asked already. The part must be locked.
func (g *Gate) read(p *metersPart, m *meter) *reading {
	if m.reading != nil {
		return m.reading
	}
	if p.readings >= maxFlights || g.shut.Load()&(unstarted|closed) != 0 {
		return nil
	}
	m.reading = &reading{done: make(chan struct{})}
	p.readings++
	g.flying.Add(1)
	go g.fetch(p, m, m.reading, m.metering.id, m.begins)
	return m.reading
}

// wait reports whether the store has answered.
func (r *reading) wait(ctx context.Context) bool {
	if r == nil {
		return false
	}
	select {
	case <-r.done:
		return !r.failed
	case <-ctx.Done():
		return false
	}
}

func (g *Gate) fetch(p *metersPart, m *meter, r *reading, id string, month int64) {
	defer g.flying.Done()
	asked := g.clock.Mono()
	stored, err := g.usedIn(id, at(month))
	p.mu.Lock()
	defer p.mu.Unlock()
	m.reading = nil
	p.readings--
	r.failed = err != nil
	if err == nil && m.begins == month {
		m.learn(stored, asked)
	}
	close(r.done)
}

// usedIn asks the store. It waits its turn among the look-ups.
func (g *Gate) usedIn(id string, month time.Time) (int64, error) {
	select {
	case g.lookups <- struct{}{}:
		defer func() { <-g.lookups }()
	case <-g.ctx.Done():
		return 0, g.ctx.Err()
	}
	ctx, cancel := context.WithTimeout(g.ctx, lookupTime)
	defer cancel()
	stored, err := g.store.Used(ctx, id, month)
	if g.ctx.Err() == nil {
		g.heard(err)
	}
	return stored, err
}

// Spend charges one more request of somebody who was authenticated before: a message, say. Identities whose credential has
// no limits cost nothing. ev says where it comes from. If this has to ask the store it takes time: see [Gate.Prompt].
func (g *Gate) Spend(id *Identity, ev *Evidence) Outcome {
	if id.entry.flags&isMetered == 0 && !id.entry.dead() {
		return Outcome{}
	}
	return g.spendAs(id, ev)
}

func (g *Gate) spendAs(id *Identity, ev *Evidence) Outcome {
	w := g.meteringNow(id)
	if w == nil {
		return Outcome{}
	}
	for range maxRounds {
		if out, again := g.spend(g.ctx, w, ev); !again {
			return out
		}
	}
	return g.refuse(w.key, credential.Unavailable, comeAgain, ev)
}

// meteringNow returns the limits of an identity as the table has them; nil for none.
func (g *Gate) meteringNow(id *Identity) *metering {
	e := id.entry
	if e.dead() {
		if fresh := g.cache.find(e.key, g.cache.hash(e.key)); fresh != nil {
			e = fresh
		}
	}
	return e.metering()
}

// metering returns the limits of e; nil for none.
func (e *entry) metering() *metering {
	if e.flags&isMetered == 0 {
		return nil
	}
	return e.cold.Load().metering
}

// isPrompt reports whether a request of w can be charged without the store.
func (g *Gate) isPrompt(w *metering) bool {
	mono, now := g.clock.read()
	p := g.meters.part(g.cache.hash(w.key))
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.of(w, mono, now)
	return m == nil || !m.isBlind(mono)
}
