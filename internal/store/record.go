package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"cardea/internal/credential"
)

// How long and how many refusals are kept.
const (
	refusalRetention = 30 * 24 * time.Hour
	refusalRows      = 100_000
	pruneRows        = 2_000 // rows of a table that one call of Prune removes
)

const (
	usageSQL = `INSERT INTO usage (credential, proof, uses, first_at, last_at, source) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (credential, proof) DO UPDATE SET uses = usage.uses + excluded.uses,
		first_at = CASE WHEN excluded.first_at < usage.first_at THEN excluded.first_at ELSE usage.first_at END,
		source = CASE WHEN excluded.last_at >= usage.last_at THEN excluded.source ELSE usage.source END,
		last_at = CASE WHEN excluded.last_at > usage.last_at THEN excluded.last_at ELSE usage.last_at END`
	refusalSQL = `INSERT INTO refusals (hour, credential, reason, door, source, times, first_at, last_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (hour, credential, reason, door, source) DO UPDATE SET times = refusals.times + excluded.times,
		first_at = CASE WHEN excluded.first_at < refusals.first_at THEN excluded.first_at ELSE refusals.first_at END,
		last_at = CASE WHEN excluded.last_at > refusals.last_at THEN excluded.last_at ELSE refusals.last_at END`
)

// Record implements [credential.Writer]. Rows are written in the order of their
// keys, so that two nodes cannot wait for each other.
func (s *Store) Record(ctx context.Context, r credential.Records) error {
	weight := len(r.Used) + len(r.Refused) + len(r.Slices) + len(r.Exercised) + len(r.Sighted)
	if weight == 0 {
		return nil
	}
	used, refused := slices.Clone(r.Used), slices.Clone(r.Refused)
	r.Slices, r.Exercised, r.Sighted = slices.Clone(r.Slices), slices.Clone(r.Exercised), slices.Clone(r.Sighted)
	slices.SortFunc(r.Slices, func(a, b credential.UsageSlice) int {
		return cmp.Or(cmp.Compare(a.Credential, b.Credential), a.Day.Compare(b.Day), cmp.Compare(a.By, b.By), cmp.Compare(a.Value, b.Value))
	})
	slices.SortFunc(r.Exercised, func(a, b credential.Exercise) int {
		return cmp.Or(cmp.Compare(a.Credential, b.Credential), cmp.Compare(a.Scope, b.Scope))
	})
	slices.SortFunc(r.Sighted, func(a, b credential.Sighting) int {
		return cmp.Or(cmp.Compare(a.Credential, b.Credential), cmp.Compare(a.By, b.By), cmp.Compare(a.Value, b.Value))
	})
	slices.SortFunc(used, func(a, b credential.Usage) int {
		return cmp.Or(cmp.Compare(a.Credential, b.Credential), cmp.Compare(a.Proof, b.Proof))
	})
	slices.SortFunc(refused, func(a, b credential.Refusals) int {
		return cmp.Or(cmp.Compare(hour(a.LastAt), hour(b.LastAt)), cmp.Compare(a.Credential, b.Credential),
			cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Door, b.Door), a.Source.Compare(b.Source))
	})
	return s.writer.do(&call{ctx: ctx, weight: weight, apply: func(t *tx) error {
		for _, u := range used {
			if _, err := t.exec(usageSQL, u.Credential, u.Proof, u.Count, micros(u.FirstAt), micros(u.LastAt), address(u.LastSource)); err != nil {
				return err
			}
		}
		for _, r := range refused {
			_, err := t.exec(refusalSQL, hour(r.LastAt), r.Credential, r.Reason.String(), r.Door, address(r.Source),
				r.Count, micros(r.FirstAt), micros(r.LastAt))
			if err != nil {
				return err
			}
		}
		return t.recordDetails(&r)
	}})
}

func hour(t time.Time) int64 { return t.Unix() / 3600 }

// reasonOf is the inverse of [credential.Reason.String].
func reasonOf(name string) credential.Reason {
	const unknown = "unknown_reason"
	r := credential.Reason(0)
	for r.String() != name && r.String() != unknown {
		r++
	}
	return r
}

// Once implements [credential.Writer].
func (s *Store) Once(ctx context.Context, key string, until time.Time) (bool, error) {
	var first bool
	err := s.writer.do(&call{ctx: ctx, weight: 1, apply: func(t *tx) error {
		if _, err := t.exec("DELETE FROM once WHERE name = $1 AND expires_at <= $2", key, micros(t.now)); err != nil {
			return err
		}
		n, err := t.exec("INSERT INTO once (name, expires_at) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", key, micros(until))
		first = n == 1
		return err
	}})
	return first && err == nil, err
}

// Exclusive implements [credential.Writer]. The context of fn ends when the lock is lost.
func (s *Store) Exclusive(ctx context.Context, name string, fn func(context.Context) error) error {
	return s.dialect.exclusive(ctx, name, fn)
}

// Prune removes what has served its time: keys of Once, answers to idempotency
// keys, refusals older than 30 days or beyond the newest 100,000, slices of use after 100 days, months of meters after 13,
// deliveries and sessions 30 days after they were over. It removes a bounded
// number of rows, so that it never holds up a commit for long, and returns how many: call it again until there are none.
func (s *Store) Prune(ctx context.Context, now time.Time) (int64, error) {
	var removed int64
	err := s.writer.do(&call{ctx: ctx, weight: pruneRows, apply: func(t *tx) error {
		removed = 0
		for query, before := range map[string]time.Time{
			"DELETE FROM once WHERE name IN (SELECT name FROM once WHERE expires_at <= $1 LIMIT $2)":                      now,
			"DELETE FROM replies WHERE name IN (SELECT name FROM replies WHERE expires_at <= $1 LIMIT $2)":                now,
			"DELETE FROM denied_tokens WHERE (id, org) IN (SELECT id, org FROM denied_tokens WHERE until <= $1 LIMIT $2)": now,
			refusalsBefore: now.Add(-refusalRetention),
		} {
			n, err := t.exec(query, micros(before), pruneRows)
			if err != nil {
				return err
			}
			removed += n
		}
		n, err := t.pruneFlood()
		removed += n
		if err != nil {
			return err
		}
		n, err = t.pruneDetails(now)
		removed += n
		return err
	}})
	return removed, err
}

const refusalsBefore = `DELETE FROM refusals WHERE (hour, credential, reason, door, source) IN
	(SELECT hour, credential, reason, door, source FROM refusals WHERE last_at <= $1 ORDER BY last_at LIMIT $2)`

// pruneFlood removes the oldest refusals beyond the newest refusalRows.
func (t *tx) pruneFlood() (int64, error) {
	var oldest int64
	err := t.query(func(row scan) error { return row(&oldest) },
		"SELECT last_at FROM refusals ORDER BY last_at DESC LIMIT 1 OFFSET $1", refusalRows)
	if err != nil || oldest == 0 {
		return 0, err
	}
	return t.exec(refusalsBefore, oldest, pruneRows)
}
