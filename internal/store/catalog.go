package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cardea/internal/credential"
)

// Bounds of a page.
const (
	defaultPage = 100
	largestPage = 10_000
)

func page(limit int) int {
	if limit <= 0 {
		return defaultPage
	}
	return min(limit, largestPage)
}

// where collects the conditions of a filter.
type where struct {
	conds []string
	args  []any
}

// and adds a condition, in which each % stands for the next of the values.
func (w *where) and(cond string, values ...any) {
	w.conds = append(w.conds, w.with(cond, values...))
}

// with returns an expression for another part of the statement.
func (w *where) with(expr string, values ...any) string {
	for _, v := range values {
		w.args = append(w.args, v)
		expr = strings.Replace(expr, "%", "$"+strconv.Itoa(len(w.args)), 1)
	}
	return expr
}

func (w *where) String() string {
	if len(w.conds) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conds, " AND ")
}

const principalSQL = "SELECT " + principalColumns + " FROM principals WHERE org = $1 AND (id = $2 OR name = $2 AND deleted_at = 0)" +
	" ORDER BY CASE WHEN id = $2 THEN 0 ELSE 1 END LIMIT 1"

// Principal implements [credential.Catalog].
func (s *Store) Principal(ctx context.Context, org, ref string) (credential.Principal, error) {
	if plain([]any{org, ref}) != nil {
		return credential.Principal{}, s.found(sql.ErrNoRows, "principal", ref)
	}
	rows, err := s.byRef.QueryContext(ctx, org, ref)
	found, err := collect(s, scanPrincipal, rows, err)
	if err == nil && len(found) == 0 {
		return credential.Principal{}, s.found(sql.ErrNoRows, "principal", ref)
	}
	if err != nil {
		return credential.Principal{}, err
	}
	return found[0], nil
}

func scanPrincipal(row scan, p *credential.Principal) error { return row(principalDest(p)...) }

// Principals implements [credential.Catalog]. The cursor is the last name.
func (s *Store) Principals(ctx context.Context, f credential.PrincipalFilter) ([]credential.Principal, string, error) {
	w := where{}
	w.and("org = %", f.Org)
	w.and("deleted_at = 0")
	if f.Kind != "" {
		w.and("kind = %", string(f.Kind))
	}
	if f.Role != "" {
		w.and(s.dialect.has("roles", "%"), f.Role)
	}
	if f.Cursor != "" {
		w.and("name > %", f.Cursor)
	}
	limit := page(f.Limit)
	found, err := queryList(ctx, s, scanPrincipal,
		fmt.Sprintf("SELECT %s FROM principals%s ORDER BY name LIMIT %d", principalColumns, &w, limit+1), w.args...)
	if err != nil || len(found) <= limit {
		return found, "", err
	}
	return found[:limit], found[limit-1].Name, nil
}

// Credentials implements [credential.Catalog]. The cursor is the time of
// creation of the last one, in microseconds, and its id.
func (s *Store) Credentials(ctx context.Context, f credential.CredentialFilter) ([]credential.Listed, string, error) {
	w, err := s.credentialsWhere(f)
	if err != nil {
		return nil, "", err
	}
	limit := page(f.Limit)
	query := fmt.Sprintf("SELECT %s, p.name, p.kind, p.roles, coalesce((SELECT o.name FROM principals o WHERE o.id = c.owner AND c.owner <> ''), ''),"+
		" coalesce((SELECT min(u.first_at) FROM usage u WHERE u.credential = c.id), 0), coalesce((SELECT max(u.last_at) FROM usage u WHERE u.credential = c.id), 0)"+
		" FROM credentials c JOIN principals p ON p.id = c.principal%s ORDER BY c.created_at DESC, c.id DESC LIMIT %d",
		prefixed("c", credentialColumns), w, limit+1)
	found, err := queryList(ctx, s, func(row scan, l *credential.Listed) error {
		return row(append(credentialDest(&l.Credential), &l.PrincipalName, &l.PrincipalKind, list[string]{&l.Roles}, &l.OwnerName, instant{&l.FirstUsedAt}, instant{&l.LastUsedAt})...)
	}, query, w.args...)
	if err != nil || len(found) <= limit {
		return found, "", err
	}
	last := &found[limit-1]
	return found[:limit], fmt.Sprintf("%d-%s", micros(last.CreatedAt), last.ID), nil
}

func (s *Store) credentialsWhere(f credential.CredentialFilter) (*where, error) {
	w := &where{}
	if f.Principal == "" && f.Owner == "" && f.Parent == "" {
		w.and("c.org = %", f.Org)
	} else { // as an expression, so that SQLite does not walk through the whole organisation in the order of the list
		w.and("c.org || '' = %", f.Org)
	}
	w.and("c.state <> 'deleted'")
	for _, eq := range [...]struct{ column, value string }{{"kind", string(f.Kind)}, {"principal", f.Principal}, {"project", f.Project}, {"owner", f.Owner}, {"parent", f.Parent}} {
		if eq.value != "" {
			w.and("c."+eq.column+" = %", eq.value)
		}
	}
	if f.Owner != "" {
		w.and("c.owner <> ''") // the indexes are of those that have one
	}
	if f.Parent != "" {
		w.and("c.parent <> ''")
	}
	if f.Scope != "" {
		w.and(s.dialect.has("c.scopes", "%"), f.Scope)
	}
	if f.Tag != "" {
		w.and(s.dialect.has("c.tags", "%"), f.Tag)
	}
	switch f.Status {
	case "":
	case "active", "quarantined":
		w.and("c.state = % AND (c.expires_at = 0 OR c.expires_at > %)", f.Status, micros(f.Now))
	case "pending": // in so many words, for the index
		w.and("c.state = 'pending' AND (c.expires_at = 0 OR c.expires_at > %)", micros(f.Now))
	case "expired":
		w.and("c."+notEnded+" AND c.expires_at <> 0 AND c.expires_at <= %", micros(f.Now))
	case "revoked":
		w.and("c.state = 'revoked'")
	default:
		return nil, badField("status", `must be "active", "quarantined", "pending", "expired" or "revoked"`)
	}
	if !f.ExpiresFrom.IsZero() {
		w.and("c.expires_at >= %", micros(f.ExpiresFrom))
	}
	if !f.ExpiresBefore.IsZero() {
		w.and("c.expires_at <> 0 AND c.expires_at < %", micros(f.ExpiresBefore))
	}
	if !f.UnusedSince.IsZero() {
		w.and("NOT EXISTS (SELECT 1 FROM usage u WHERE u.credential = c.id AND u.last_at >= %)", micros(f.UnusedSince))
	}
	if !f.CreatedBefore.IsZero() {
		w.and("c.created_at < %", micros(f.CreatedBefore))
	}
	if !f.OverPrivileged.IsZero() {
		w.and(usable, micros(f.Now))
		w.and("c.created_at < %", micros(f.OverPrivileged))
		needed, since := encode(f.Needed), micros(f.OverPrivileged)
		w.and(s.overPrivileged(), needed, since, needed, since)
	}
	if f.NeverUsed {
		w.and("NOT EXISTS (SELECT 1 FROM usage u WHERE u.credential = c.id)")
	}
	switch {
	case len(f.Kinds) > 0:
		marks := make([]string, len(f.Kinds))
		values := make([]any, len(f.Kinds))
		for i, k := range f.Kinds {
			marks[i], values[i] = "%", string(k)
		}
		w.and("c.kind IN ("+strings.Join(marks, ", ")+")", values...)
	case f.Kind == "" && f.Parent == "" && !f.Everything:
		w.and("c.kind NOT IN ('password', 'session')")
	}
	if f.Cursor != "" {
		at, id, ok := strings.Cut(f.Cursor, "-")
		n, err := strconv.ParseInt(at, 10, 64)
		if err != nil || !ok {
			return nil, badField("cursor", "is not one that a list has returned")
		}
		w.and("(c.created_at, c.id) < (%, %)", n, id)
	}
	return w, nil
}

func badField(field, why string) error {
	return &credential.Error{Kind: credential.Invalid, Fields: []credential.FieldError{{Field: field, Message: why}}}
}

// Usage implements [credential.Catalog], the newest version first.
func (s *Store) Usage(ctx context.Context, id string) ([]credential.Usage, error) {
	return queryList(ctx, s, func(row scan, u *credential.Usage) error {
		return row(&u.Credential, &u.Proof, &u.Count, instant{&u.FirstAt}, instant{&u.LastAt}, addr{&u.LastSource})
	}, "SELECT credential, proof, uses, first_at, last_at, source FROM usage WHERE credential = $1 ORDER BY proof DESC", id)
}

// Events implements [credential.Catalog].
func (s *Store) Events(ctx context.Context, f credential.EventFilter) ([]credential.Event, error) {
	w := where{}
	w.and("seq > %", f.After)
	if f.Before > 0 {
		w.and("seq < %", f.Before)
	}
	if f.Org != "" {
		w.and("org = %", f.Org)
	}
	switch noun, isNoun := strings.CutSuffix(f.Type, "."); {
	case f.Type == "":
	case isNoun: // '/' follows '.'
		w.and("type >= % AND type < %", f.Type, noun+"/")
	default:
		w.and("type = %", f.Type)
	}
	if f.Subject != "" {
		w.and("(subject_id = % OR subject_name = % AND subject_name <> '')", f.Subject, f.Subject)
	}
	if f.Actor != "" {
		w.and("actor_principal = %", f.Actor)
	}
	if !f.From.IsZero() {
		w.and("at >= %", micros(f.From))
	}
	if !f.To.IsZero() {
		w.and("at < %", micros(f.To))
	}
	order := "ASC"
	if f.Newest {
		order = "DESC"
	}
	return queryList(ctx, s, scanEvent,
		fmt.Sprintf("SELECT %s FROM events%s ORDER BY seq %s LIMIT %d", eventColumns, &w, order, page(f.Limit)), w.args...)
}

func scanEvent(row scan, e *credential.Event) error {
	return row(&e.Seq, &e.ID, instant{&e.At}, &e.Org, &e.Type, &e.Subject.Kind, &e.Subject.ID, &e.Subject.Name,
		&e.Actor.Principal, &e.Actor.Credential, &e.Actor.Source, &e.Actor.Door, &e.Actor.Request,
		&e.Reason, dict{&e.Detail}, &e.Prev, &e.Hash)
}

// RefusalsOf implements [credential.Catalog]: those seen since a time, the newest first.
func (s *Store) RefusalsOf(ctx context.Context, since time.Time, limit int) ([]credential.Refusals, error) {
	return queryList(ctx, s, func(row scan, r *credential.Refusals) error {
		var reason string
		err := row(&r.Credential, &reason, &r.Door, addr{&r.Source}, &r.Count, instant{&r.FirstAt}, instant{&r.LastAt})
		r.Reason = reasonOf(reason)
		return err
	}, fmt.Sprintf(`SELECT credential, reason, door, source, times, first_at, last_at FROM refusals
		WHERE last_at >= $1 ORDER BY last_at DESC, credential, reason, door, source LIMIT %d`, page(limit)), micros(since))
}

// Reply implements [credential.Catalog].
func (s *Store) Reply(ctx context.Context, key string) (credential.Remember, error) {
	found, err := queryList(ctx, s, func(row scan, r *credential.Remember) error {
		return row(&r.Key, &r.Request, &r.Sealed, instant{&r.Until})
	}, "SELECT name, request, sealed, expires_at FROM replies WHERE name = $1 AND expires_at > $2", key, micros(s.now()))
	if err != nil {
		return credential.Remember{}, err
	}
	if len(found) == 0 {
		return credential.Remember{}, credential.Errorf(credential.NotFound, "nothing is remembered for this idempotency key")
	}
	return found[0], nil
}
