package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cardea/internal/credential"
)

// usable is the condition that a credential can be used, or can be as soon as somebody approves it or its time comes. The value is now.
const usable = "c." + notEnded + " AND (c.expires_at = 0 OR c.expires_at > %)"

// overPrivileged is the condition that a credential c of the principal p has a scope too many. Its values are the scopes that are needed in any case, a list, and
// since when the others are not, and both once more.
func (s *Store) overPrivileged() string {
	each := s.dialect.each
	idle := func(scope string) string {
		return scope + " NOT IN (SELECT needed.value FROM " + each("%", "needed") + ") AND NOT EXISTS" +
			" (SELECT 1 FROM exercised e WHERE e.credential = c.id AND e.scope = " + scope + " AND e.last_at >= %)"
	}
	ofRoles := "FROM " + each("p.roles", "r") + " JOIN roles o ON o.org = p.org AND o.name = r.value CROSS JOIN " + each("o.scopes", "a")
	return "(c.scopes <> '[]' AND EXISTS (SELECT 1 FROM " + each("c.scopes", "a") + " WHERE " + idle("a.value") + ")" +
		" OR c.scopes = '[]' AND EXISTS (SELECT 1 " + ofRoles + " WHERE " + idle("a.value") + ")" +
		" AND (SELECT count(DISTINCT a.value) " + ofRoles + ") > 1)"
}

// ExercisedOf implements [credential.Catalog].
func (s *Store) ExercisedOf(ctx context.Context, ids []string, since time.Time) ([]credential.Exercise, error) {
	return queryList(ctx, s, func(row scan, e *credential.Exercise) error {
		return row(&e.Credential, &e.Scope, instant{&e.LastAt})
	}, "SELECT e.credential, e.scope, e.last_at FROM exercised e WHERE e.credential IN (SELECT i.value FROM "+s.dialect.each("$1", "i")+
		") AND e.last_at >= $2 ORDER BY e.credential, e.scope", encode(ids), micros(since))
}

// FirstUses implements [credential.Catalog]. Passwords and sessions have none.
func (s *Store) FirstUses(ctx context.Context, after credential.FirstUse, limit int) ([]credential.FirstUse, error) {
	return queryList(ctx, s, func(row scan, f *credential.FirstUse) error {
		return row(&f.Credential, &f.Proof, &f.Count, instant{&f.FirstAt}, instant{&f.LastAt}, addr{&f.LastSource}, &f.Org, &f.Kind, &f.Principal)
	}, fmt.Sprintf(`SELECT u.credential, u.proof, u.uses, u.first_at, u.last_at, u.source, c.org, c.kind, p.name
		FROM usage u JOIN credentials c ON c.id = u.credential JOIN principals p ON p.id = c.principal
		WHERE (u.first_at, u.credential) > ($1, $2) AND c.kind NOT IN ('password', 'session')
		AND NOT EXISTS (SELECT 1 FROM usage v WHERE v.credential = u.credential AND (v.first_at, v.proof) < (u.first_at, u.proof))
		ORDER BY u.first_at, u.credential LIMIT %d`, page(limit)), micros(after.FirstAt), after.Credential)
}

// sharingTime is how far apart the uses of two places may be to count as one after the other.
const sharingTime = 24 * time.Hour

// Sharings implements [credential.Catalog].
func (s *Store) Sharings(ctx context.Context, after credential.Sharing, limit int) ([]credential.Sharing, error) {
	return queryList(ctx, s, func(row scan, h *credential.Sharing) error {
		return row(&h.Credential, &h.By, &h.Value, instant{&h.FirstAt}, instant{&h.LastAt}, &h.Other, instant{&h.OtherLastAt}, &h.Org, &h.Kind, &h.Principal)
	}, fmt.Sprintf(`SELECT s.credential, s.by_what, s.value, s.first_at, s.last_at, o.value, o.last_at, c.org, c.kind, p.name
		FROM sightings s JOIN sightings o ON o.credential = s.credential AND o.by_what = s.by_what AND o.value <> s.value
		JOIN credentials c ON c.id = s.credential JOIN principals p ON p.id = c.principal
		WHERE (s.first_at, s.credential, s.by_what, s.value, o.value) > ($1, $2, $3, $4, $5) AND o.first_at <= s.first_at AND o.last_at >= s.first_at - $6
		ORDER BY s.first_at, s.credential, s.by_what, s.value, o.value LIMIT %d`, page(limit)),
		micros(after.FirstAt), after.Credential, after.By, after.Value, after.Other, sharingTime.Microseconds())
}

const statusOf = `CASE WHEN c.state = 'revoked' THEN 'revoked' WHEN c.expires_at <> 0 AND c.expires_at <= % THEN 'expired'
	WHEN c.not_before > % THEN 'not_yet_valid' ELSE c.state END`

// Inventory implements [credential.Catalog].
func (s *Store) Inventory(ctx context.Context, q credential.InventoryQuery) (credential.Inventory, error) {
	var inv credential.Inventory
	err := s.inventoryOfKinds(ctx, q, &inv)
	if err == nil {
		err = s.inventoryOfUsable(ctx, q, &inv)
	}
	if err == nil {
		inv.Projects, inv.OtherProjects, err = s.inventoryBy(ctx, q, "c.project", inv.Usable)
	}
	if err == nil {
		inv.Owners, inv.OtherOwners, err = s.inventoryBy(ctx, q, "coalesce((SELECT o.name FROM principals o WHERE o.id = c.owner AND c.owner <> ''), '')", inv.Usable)
	}
	return inv, err
}

// inventoried selects the credentials that are counted.
func inventoried(w *where, org string) {
	w.and("c.org = %", org)
	w.and("c.state <> 'deleted' AND c.kind NOT IN ('password', 'session')")
}

func (s *Store) inventoryOfKinds(ctx context.Context, q credential.InventoryQuery, inv *credential.Inventory) (err error) {
	w := &where{}
	status := w.with(statusOf, micros(q.Now), micros(q.Now))
	inventoried(w, q.Org)
	inv.Kinds, err = queryList(ctx, s, func(row scan, k *credential.KindCount) error { return row(&k.Kind, &k.Status, &k.Count) },
		"SELECT c.kind, "+status+", count(*) FROM credentials c"+w.String()+" GROUP BY 1, 2 ORDER BY 1, 2", w.args...)
	return err
}

func (s *Store) inventoryOfUsable(ctx context.Context, q credential.InventoryQuery, inv *credential.Inventory) error {
	w := &where{}
	columns := []string{"count(*)"}
	dest := []any{&inv.Usable}
	count := func(to *int64, cond string, values ...any) {
		columns, dest = append(columns, "count(CASE WHEN "+w.with(cond, values...)+" THEN 1 END)"), append(dest, to)
	}
	for i, within := range credential.ExpiringWithin {
		count(&inv.Expiring[i], "c.expires_at <> 0 AND c.expires_at <= %", micros(q.Now.Add(within)))
	}
	needed, since := encode(q.Needed), micros(q.OverPrivileged)
	count(&inv.NeverUsed, "NOT EXISTS (SELECT 1 FROM usage u WHERE u.credential = c.id)")
	count(&inv.Unused, "c.created_at < % AND NOT EXISTS (SELECT 1 FROM usage u WHERE u.credential = c.id AND u.last_at >= %)", micros(q.UnusedSince), micros(q.UnusedSince))
	count(&inv.OverPrivileged, "c.created_at < % AND "+s.overPrivileged(), since, needed, since, needed, since)
	count(&inv.Pending, "c.state = 'pending'")
	inventoried(w, q.Org)
	w.and(usable, micros(q.Now))
	_, err := queryList(ctx, s, func(row scan, _ *struct{}) error { return row(dest...) },
		"SELECT "+strings.Join(columns, ", ")+" FROM credentials c JOIN principals p ON p.id = c.principal"+w.String(), w.args...)
	return err
}

// inventoryBy counts usable credentials by a name, and those of the names that are too many together.
func (s *Store) inventoryBy(ctx context.Context, q credential.InventoryQuery, name string, all int64) ([]credential.NameCount, int64, error) {
	w := &where{}
	inventoried(w, q.Org)
	w.and(usable, micros(q.Now))
	counts, err := queryList(ctx, s, func(row scan, n *credential.NameCount) error { return row(&n.Name, &n.Count) },
		fmt.Sprintf("SELECT %s, count(*) FROM credentials c%s GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT %d", name, w, page(q.Most)), w.args...)
	for _, n := range counts {
		all -= n.Count
	}
	return counts, max(0, all), err // there may be new ones since they were counted
}
