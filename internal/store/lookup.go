package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"cardea/internal/credential"
)

// lookupSQL reads a credential, its principal and the revision in one statement, so in one snapshot.
var lookupSQL = "SELECT h.seq, " + prefixed("c", credentialColumns) + ", " + prefixed("p", principalColumns) +
	" FROM credentials c JOIN principals p ON p.id = c.principal CROSS JOIN head h WHERE c.id = $1"

// namedSQL is lookupSQL by kind and user name of a credential that has not ended, foreignSQL by what an imported token is found by.
var (
	namedSQL   = strings.Replace(lookupSQL, "c.id = $1", "c.org = $1 AND c.kind = $2 AND c.username = $3 AND c.username <> '' AND c."+notEnded, 1)
	foreignSQL = strings.Replace(lookupSQL, "c.id = $1", "c.id = (SELECT l.credential FROM lookups l WHERE l.lookup = $1)", 1)
)

// Named implements [credential.Lookup]. With NotFound, the Revision of the record is one at which it was not there.
func (s *Store) Named(ctx context.Context, org string, k credential.Kind, username string) (credential.Record, error) {
	return s.record(ctx, s.named, username, org, string(k), username)
}

// Foreign implements [credential.Lookup]. With NotFound, the Revision is as that of Named.
func (s *Store) Foreign(ctx context.Context, lookup []byte) (credential.Record, error) {
	return s.record(ctx, s.foreign, "of an imported token", hex.EncodeToString(lookup))
}

// Credential implements [credential.Lookup]. With NotFound, the Revision of the
// record is one at which it was not there.
func (s *Store) Credential(ctx context.Context, id string) (credential.Record, error) {
	return s.record(ctx, s.lookup, id, id)
}

// record reads a credential and its principal by a prepared query; ref names it in errors.
func (s *Store) record(ctx context.Context, query *sql.Stmt, ref string, args ...any) (credential.Record, error) {
	if err := ctx.Err(); err != nil {
		return credential.Record{}, s.fault(err)
	}
	known := s.feed.seen.Load()
	ctx, cancel := s.dialect.short(ctx)
	defer cancel()
	var r credential.Record
	dest := make([]any, 0, 1+credentialWidth+11)
	dest = append(dest, &r.Revision)
	dest = append(dest, credentialDest(&r.Credential)...)
	dest = append(dest, principalDest(&r.Principal)...)
	if plain(args) != nil {
		return credential.Record{Revision: known}, s.found(sql.ErrNoRows, "credential", ref)
	}
	err := query.QueryRowContext(ctx, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return credential.Record{Revision: known}, s.found(err, "credential", ref)
	}
	if err != nil {
		return credential.Record{}, s.fault(err)
	}
	return r, nil
}

// CredentialsOf implements [credential.Lookup].
func (s *Store) CredentialsOf(ctx context.Context, principal string) ([]string, error) {
	return queryList(ctx, s, func(row scan, id *string) error { return row(id) },
		"SELECT id FROM credentials WHERE principal = $1 AND "+notEnded+" ORDER BY created_at, id", principal)
}

// policy is what Policy read last. It is not changed any more.
type policy struct {
	credential.Policy
	writes int64 // of [Store.policyWrites], before it was read
}

// policySQL reads the revision, and whether anything of the policy has changed in the policyReach events after another one,
// in one snapshot. The order makes PostgreSQL use the index, and not walk through all events from the first.
const policySQL = "SELECT h.seq, EXISTS (SELECT 1 FROM (SELECT subject_kind FROM events WHERE seq > $1 ORDER BY seq LIMIT 5000) e" +
	" WHERE subject_kind IN ('scope', 'role', 'route', 'authenticator', 'org', 'project', 'policy', 'format', 'api')) FROM head h WHERE h.one = 1"

// policyReach is after how many events looking through them is no cheaper than reading all again.
const policyReach = 5000

// Policy implements [credential.Lookup]. Every change of the authority asks for it, and it rarely changes: it is
// read again only if the log says that it has. The rules in it are shared: nobody may change them.
func (s *Store) Policy(ctx context.Context) (credential.Policy, error) {
	writes := s.policyWrites.Load()
	if was := s.policy.Load(); was != nil && was.writes == writes && writes%2 == 0 && s.feed.seen.Load()-was.Revision < policyReach {
		now := &policy{was.Policy, writes}
		var changed bool
		if err := s.policyNews.QueryRowContext(ctx, was.Revision).Scan(&now.Revision, &changed); err != nil {
			return credential.Policy{}, s.fault(err)
		}
		known := now.Revision >= was.Revision && now.Revision-was.Revision <= policyReach
		if known && !changed && s.policyWrites.Load() == writes {
			s.policy.CompareAndSwap(was, now)
			return now.shared(), nil
		}
	}
	p, err := s.readPolicy(ctx)
	if err != nil {
		return credential.Policy{}, err
	}
	if writes%2 == 0 {
		s.policy.Store(&policy{p, writes})
	}
	return (&policy{p, writes}).shared(), nil
}

// shared returns the policy with lists of the caller's own.
func (p *policy) shared() credential.Policy {
	own := p.Policy
	own.Scopes, own.Roles, own.Routes = slices.Clone(p.Scopes), slices.Clone(p.Roles), slices.Clone(p.Routes)
	own.Authenticators = slices.Clone(p.Authenticators)
	own.Orgs, own.Projects = slices.Clone(p.Orgs), slices.Clone(p.Projects)
	own.Kinds, own.Formats = slices.Clone(p.Kinds), slices.Clone(p.Formats)
	own.APIs = slices.Clone(p.APIs)
	return own
}

func (s *Store) readPolicy(ctx context.Context) (credential.Policy, error) {
	var p credential.Policy
	err := s.snapshot(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, "SELECT seq FROM head WHERE one = 1").Scan(&p.Revision); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, "SELECT org, name, description, rules, built_in, version FROM scopes ORDER BY org, name")
		if err != nil {
			return err
		}
		err = scanAll(rows, func(row scan) error {
			var c credential.Scope
			err := row(&c.Org, &c.Name, &c.Description, list[credential.Rule]{&c.Rules}, &c.BuiltIn, &c.Version)
			p.Scopes = append(p.Scopes, c)
			return err
		})
		if err != nil {
			return err
		}
		if rows, err = tx.QueryContext(ctx, "SELECT org, name, description, scopes, built_in, version FROM roles ORDER BY org, name"); err != nil {
			return err
		}
		err = scanAll(rows, func(row scan) error {
			var r credential.Role
			err := row(&r.Org, &r.Name, &r.Description, list[string]{&r.Scopes}, &r.BuiltIn, &r.Version)
			p.Roles = append(p.Roles, r)
			return err
		})
		if err != nil {
			return err
		}
		if rows, err = tx.QueryContext(ctx, "SELECT prefix, upstream, created_at, version, query_key FROM routes ORDER BY prefix"); err != nil {
			return err
		}
		err = scanAll(rows, func(row scan) error {
			r := credential.Route{Source: "api"}
			err := row(&r.Prefix, &r.Upstream, instant{&r.CreatedAt}, &r.Version, &r.QueryKey)
			p.Routes = append(p.Routes, r)
			return err
		})
		if err != nil {
			return err
		}
		if rows, err = tx.QueryContext(ctx, "SELECT "+authenticatorColumns+" FROM authenticators ORDER BY org, listener, rank, id"); err != nil {
			return err
		}
		err = scanAll(rows, func(row scan) error {
			var a credential.Authenticator
			err := scanAuthenticator(row, &a)
			p.Authenticators = append(p.Authenticators, a)
			return err
		})
		if err != nil {
			return err
		}
		return readOrgs(ctx, tx, &p)
	})
	if err != nil {
		return credential.Policy{}, err
	}
	return p, nil
}

// snapshot runs fn in a transaction that reads one state of the database.
func (s *Store) snapshot(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.read.BeginTx(ctx, s.dialect.snapshot())
	if err != nil {
		return s.fault(err)
	}
	defer tx.Rollback() //nolint:errcheck // it has only read
	return s.fault(fn(tx))
}

// queryList reads rows into a list.
func queryList[T any](ctx context.Context, s *Store, each func(scan, *T) error, query string, args ...any) ([]T, error) {
	if err := plain(args); err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, query, args...)
	return collect(s, each, rows, err)
}

// collect reads the rows that a query has returned.
func collect[T any](s *Store, each func(scan, *T) error, rows *sql.Rows, err error) ([]T, error) {
	if err != nil {
		return nil, s.fault(err)
	}
	var out []T
	err = scanAll(rows, func(row scan) error {
		var v T
		err := each(row, &v)
		out = append(out, v)
		return err
	})
	if err != nil {
		return nil, s.fault(err)
	}
	return out, nil
}
