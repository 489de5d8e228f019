package gate

import (
	"context"
	"errors"
	"time"

	"cardea/internal/credential"
)

// Quota is how far a credential has come with the requests of a month: four fifths, or all.
type Quota struct {
	Org, Credential string
	Month           time.Time // its first instant, UTC
	Used, Limit     int64     // as far as this node knows
}

// Spent reports whether nothing is left.
func (q *Quota) Spent() bool { return q.Used >= q.Limit }

// tally is what a flush has found.
type tally struct {
	rows []credential.Metered // at most one of a credential
	late []credential.Metered // of months that are over
	near []nearing
}

// nearing is a meter that has come nearer the end of a month's requests than was told.
type nearing struct {
	part   *metersPart
	meter  *meter
	before int // of plenty, scarce and spent
	quota  Quota
}

// collect takes what was counted since the last time.
func (s *meters) collect() (t tally) {
	for i := range s.parts {
		p := &s.parts[i]
		p.mu.Lock()
		for _, m := range p.dirty {
			m.dirty = false
			if m.pending > 0 {
				t.rows = append(t.rows, credential.Metered{Credential: m.metering.id, Month: at(m.begins), Count: m.pending})
				m.sent, m.pending = m.sent+m.pending, 0
			}
			if n := m.nearness(); n > m.told {
				q := Quota{Org: m.metering.org, Credential: m.metering.id, Month: at(m.begins), Used: m.used(), Limit: m.limits().PerMonth}
				t.near = append(t.near, nearing{p, m, m.told, q})
				m.told = n
			}
		}
		t.late = append(t.late, p.late...)
		p.dirty, p.late = nil, nil
		p.mu.Unlock()
	}
	return t
}

// flushMeters takes what was counted against limits to the store, and learns how all nodes stand. Its error is
// that of the store; nothing is lost then.
func (g *Gate) flushMeters(ctx context.Context) error {
	s := &g.meters
	s.flushing.Lock()
	defer s.flushing.Unlock()
	t := s.collect()
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	err := errors.Join(g.report(ctx, t.rows, true), g.report(ctx, t.late, false))
	if err != nil && !s.failed {
		g.log.Error("uses of credentials with limits could not be recorded; they are kept for later", "error", err)
	}
	s.failed = err != nil
	if g.near != nil {
		g.tellNear(ctx, t.near)
	}
	return err
}

// report takes rows to the store. Those that it does not take go back to where they came from.
func (g *Gate) report(ctx context.Context, rows []credential.Metered, current bool) error {
	for len(rows) > 0 {
		n := min(len(rows), recordRows)
		asked := g.clock.Mono()
		shares, err := g.store.Meter(ctx, g.node, rows[:n])
		if err != nil {
			g.putBack(rows)
			return err
		}
		if current {
			g.settle(rows[:n], shares, asked)
		}
		rows = rows[n:]
	}
	return nil
}

// meterOf returns the meter of a credential by its ID, and its part, which is locked; nil if there is none any more.
func (g *Gate) meterOf(id string) (*metersPart, *meter) {
	k := keyOf(id)
	p := g.meters.part(g.cache.hash(k))
	p.mu.Lock()
	return p, p.all[k]
}

// settle notes that rows have come to the store, and what it has said of them.
func (g *Gate) settle(rows []credential.Metered, shares []credential.Share, asked time.Duration) {
	by := make(map[string]*credential.Share, len(shares))
	for i := range shares {
		by[shares[i].Credential] = &shares[i]
	}
	mono := g.clock.Mono()
	for i := range rows {
		share := by[rows[i].Credential]
		p, m := g.meterOf(rows[i].Credential)
		if m != nil && share != nil {
			m.bucket.share(share.Nodes, mono)
			if m.begins == rows[i].Month.UnixNano() {
				m.learn(share.Used, asked)
				m.sent -= rows[i].Count
			}
		}
		p.mu.Unlock()
	}
}

// putBack keeps rows for the next time.
func (g *Gate) putBack(rows []credential.Metered) {
	for i := range rows {
		p, m := g.meterOf(rows[i].Credential)
		if m != nil && m.begins == rows[i].Month.UnixNano() {
			m.sent -= rows[i].Count
			m.pending += rows[i].Count
			p.touch(m)
		} else {
			p.late = append(p.late, rows[i])
		}
		p.mu.Unlock()
	}
}

// tellNear reports who has come near the end of a month's requests. What could not be reported is tried again at the next flush.
func (g *Gate) tellNear(ctx context.Context, list []nearing) {
	for _, n := range list {
		err := g.near(ctx, n.quota)
		if err == nil {
			continue
		}
		g.log.Warn("it could not be noted that the requests of a month are nearly spent", "credential", n.quota.Credential, "error", err)
		n.part.mu.Lock()
		if n.meter.begins == n.quota.Month.UnixNano() {
			n.meter.told = n.before
			n.part.touch(n.meter)
		}
		n.part.mu.Unlock()
	}
}
