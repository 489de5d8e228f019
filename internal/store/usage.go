package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"cardea/internal/credential"
)

// How much is kept of what credentials were used for.
const (
	sliceValues    = 32 // of a credential on one day by one thing; the rest is counted together
	sliceRetention = 100 * 24 * time.Hour
	sightingValues = 16 // of a credential by one thing
	meterRetention = 13 // months
	nodePresence   = 10 * time.Second
)

func days(t time.Time) int64 { return t.Unix() / 86400 }

// months counts them from January 1970, UTC.
func months(t time.Time) int64 {
	t = t.UTC()
	return int64(t.Year()-1970)*12 + int64(t.Month()) - 1
}

const (
	sliceSQL = `INSERT INTO usage_slices (credential, day, by_what, value, uses) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (credential, day, by_what, value) DO UPDATE SET uses = usage_slices.uses + excluded.uses`
	exercisedSQL = `INSERT INTO exercised (credential, scope, last_at) VALUES ($1, $2, $3)
		ON CONFLICT (credential, scope) DO UPDATE SET last_at = CASE WHEN excluded.last_at > exercised.last_at THEN excluded.last_at ELSE exercised.last_at END`
	sightingSQL = `INSERT INTO sightings (credential, by_what, value, first_at, last_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (credential, by_what, value) DO UPDATE SET last_at = CASE WHEN excluded.last_at > sightings.last_at THEN excluded.last_at ELSE sightings.last_at END`
	meterSQL = `INSERT INTO meters (credential, node, month, used, at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (credential, node, month) DO UPDATE SET used = meters.used + excluded.used, at = excluded.at`
)

// recordDetails writes what [credential.Records] has beside uses and refusals.
func (t *tx) recordDetails(r *credential.Records) error {
	for i := range r.Slices {
		if err := t.recordSlice(&r.Slices[i]); err != nil {
			return err
		}
	}
	for _, e := range r.Exercised {
		if _, err := t.exec(exercisedSQL, e.Credential, e.Scope, micros(e.LastAt)); err != nil {
			return err
		}
	}
	for i := range r.Sighted {
		if err := t.recordSighting(&r.Sighted[i]); err != nil {
			return err
		}
	}
	return nil
}

// recordSlice counts under "" what would be one value too many.
func (t *tx) recordSlice(u *credential.UsageSlice) error {
	value := u.Value
	if value != "" {
		there, err := t.any("SELECT 1 FROM usage_slices WHERE credential = $1 AND day = $2 AND by_what = $3 AND value = $4", u.Credential, days(u.Day), u.By, value)
		if err != nil {
			return err
		}
		if !there {
			var n int64
			if err := t.row("SELECT count(*) FROM usage_slices WHERE credential = $1 AND day = $2 AND by_what = $3 AND value <> ''", u.Credential, days(u.Day), u.By)(&n); err != nil {
				return err
			}
			if n >= sliceValues {
				value = ""
			}
		}
	}
	_, err := t.exec(sliceSQL, u.Credential, days(u.Day), u.By, value, u.Count)
	return err
}

// recordSighting forgets the one that was seen longest ago when there are too many.
func (t *tx) recordSighting(s *credential.Sighting) error {
	if _, err := t.exec(sightingSQL, s.Credential, s.By, s.Value, micros(s.FirstAt), micros(s.LastAt)); err != nil {
		return err
	}
	_, err := t.exec(`DELETE FROM sightings WHERE credential = $1 AND by_what = $2 AND value IN (
		SELECT value FROM sightings WHERE credential = $1 AND by_what = $2 ORDER BY last_at DESC, value LIMIT 1000 OFFSET $3)`, s.Credential, s.By, sightingValues)
	return err
}

// UsageBy implements [credential.Catalog], by day, thing and count.
func (s *Store) UsageBy(ctx context.Context, id string, since time.Time) ([]credential.UsageSlice, error) {
	return queryList(ctx, s, func(row scan, u *credential.UsageSlice) error {
		var day int64
		err := row(&day, &u.By, &u.Value, &u.Count)
		u.Credential, u.Day = id, time.Unix(day*86400, 0).UTC()
		return err
	}, "SELECT day, by_what, value, uses FROM usage_slices WHERE credential = $1 AND day >= $2 ORDER BY day DESC, by_what, uses DESC, value", id, days(since))
}

// Exercised implements [credential.Catalog].
func (s *Store) Exercised(ctx context.Context, id string) ([]credential.Exercise, error) {
	return queryList(ctx, s, func(row scan, e *credential.Exercise) error {
		e.Credential = id
		return row(&e.Scope, instant{&e.LastAt})
	}, "SELECT scope, last_at FROM exercised WHERE credential = $1 ORDER BY scope", id)
}

// Sightings implements [credential.Catalog], the newest first.
func (s *Store) Sightings(ctx context.Context, id string) ([]credential.Sighting, error) {
	return queryList(ctx, s, func(row scan, g *credential.Sighting) error {
		g.Credential = id
		return row(&g.By, &g.Value, instant{&g.FirstAt}, instant{&g.LastAt})
	}, "SELECT by_what, value, first_at, last_at FROM sightings WHERE credential = $1 ORDER BY last_at DESC, by_what, value", id)
}

// Meter implements [credential.Writer].
func (s *Store) Meter(ctx context.Context, node string, counted []credential.Metered) ([]credential.Share, error) {
	counted = slices.Clone(counted)
	slices.SortFunc(counted, func(a, b credential.Metered) int { return cmp.Compare(a.Credential, b.Credential) })
	var shares []credential.Share
	err := s.writer.do(&call{ctx: ctx, weight: len(counted), apply: func(t *tx) error {
		shares = shares[:0]
		for _, m := range counted {
			if _, err := t.exec(meterSQL, m.Credential, node, months(m.Month), m.Count, micros(t.now)); err != nil {
				return err
			}
			share := credential.Share{Credential: m.Credential}
			err := t.row("SELECT cast(coalesce(sum(used), 0) AS BIGINT), count(CASE WHEN at >= $3 THEN 1 END) FROM meters WHERE credential = $1 AND month = $2",
				m.Credential, months(m.Month), micros(t.now.Add(-nodePresence)))(&share.Used, &share.Nodes)
			if err != nil {
				return err
			}
			shares = append(shares, share)
		}
		return nil
	}})
	return shares, err
}

// Used implements [credential.Lookup].
func (s *Store) Used(ctx context.Context, id string, month time.Time) (int64, error) {
	var used int64
	if err := plain([]any{id}); err != nil {
		return 0, err
	}
	err := s.read.QueryRowContext(ctx, "SELECT cast(coalesce(sum(used), 0) AS BIGINT) FROM meters WHERE credential = $1 AND month = $2", id, months(month)).Scan(&used)
	return used, s.fault(err)
}

// pruneDetails removes what has served its time, a bounded number of rows of each table.
func (t *tx) pruneDetails(now time.Time) (int64, error) {
	var removed int64
	for _, p := range []struct {
		query string
		value int64
	}{
		{"DELETE FROM usage_slices WHERE (credential, day, by_what, value) IN (SELECT credential, day, by_what, value FROM usage_slices WHERE day < $1 LIMIT $2)", days(now.Add(-sliceRetention))},
		{"DELETE FROM meters WHERE (credential, node, month) IN (SELECT credential, node, month FROM meters WHERE month < $1 LIMIT $2)", months(now) - meterRetention},
		{"DELETE FROM deliveries WHERE (webhook, seq) IN (SELECT webhook, seq FROM deliveries WHERE done_at <> 0 AND done_at < $1 LIMIT $2)", micros(now.Add(-deliveryRetention))},
	} {
		n, err := t.exec(p.query, p.value, pruneRows)
		if err != nil {
			return removed, err
		}
		removed += n
	}
	n, err := t.forgetSessions(now)
	return removed + n, err
}

// forgetSessions removes sessions long after they would have ended by themselves, with what was counted of them. Every other
// credential stays for ever once it has ended. That the ID of one that was removed is free again harms nobody: it is as random as
// the IDs of those that never were, its token is bound to a secret whose hash is gone, and it had expired, so that
// a backup in which it lives, or a revocation journal that names it, changes nothing.
func (t *tx) forgetSessions(now time.Time) (int64, error) {
	var gone []string
	err := t.query(func(row scan) error {
		var id string
		err := row(&id)
		gone = append(gone, id)
		return err
	}, `DELETE FROM credentials WHERE id IN
		(SELECT id FROM credentials WHERE parent <> '' AND kind = 'session' AND expires_at <> 0 AND expires_at < $1 LIMIT $2) RETURNING id`,
		micros(now.Add(-sessionRetention)), pruneSessions)
	if err != nil {
		return 0, err
	}
	for _, table := range []string{"usage", "usage_slices", "exercised", "sightings", "meters"} {
		err := t.in(gone, func(params string, ids []any) error {
			_, err := t.exec("DELETE FROM "+table+" WHERE credential IN ("+params+")", ids...)
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return int64(len(gone)), nil
}

const (
	deliveryRetention = 30 * 24 * time.Hour
	sessionRetention  = 30 * 24 * time.Hour // after it would have ended
	pruneSessions     = 500                 // that one call of Prune removes: each is in many indexes, and counted in many tables
)
