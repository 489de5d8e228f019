package store

import (
	"slices"

	"cardea/internal/credential"
)

// held is what a transaction has looked up and locked, so that it need not look again:
// nobody else can change it before the transaction ends. What the transaction itself
// does to it is noted. A savepoint that is rolled back gives up the locks that
// were taken behind it, so all is forgotten then.
type held struct {
	versions map[string]int64 // of living principals, by ID
	names    map[name]bool    // of scopes, roles, projects, formats and organisations that exist
}

// name is a row of a table by its organisation, "" for organisations themselves, and its name.
type name struct{ table, org, name string }

func (h *held) forget() { *h = held{map[string]int64{}, map[name]bool{}} }

// holdPrincipals looks up and locks those of the principals that are not held. Those that do not live are not held afterwards.
func (t *tx) holdPrincipals(ids []string) error {
	missing := ids[:0:0]
	for _, id := range ids {
		if _, ok := t.held.versions[id]; !ok {
			missing = append(missing, id)
		}
	}
	return t.in(missing, func(params string, ids []any) error {
		return t.query(func(row scan) error {
			var id string
			var version int64
			err := row(&id, &version)
			t.held.versions[id] = version
			return err
		}, "SELECT id, version FROM principals WHERE deleted_at = 0 AND id IN ("+params+") ORDER BY id"+t.w.s.dialect.share(), ids...)
	})
}

// nouns are what errors call a row of a table.
var nouns = map[string]string{"scopes": "scope", "roles": "role", "projects": "project", "token_formats": "format"}

// named makes sure that the scopes, roles or formats of the names exist, and go on existing until the transaction ends.
func (t *tx) named(table, org string, names []string) error {
	if err := t.holdNames(table, org, names); err != nil {
		return err
	}
	for _, n := range names {
		if !t.held.names[name{table, org, n}] {
			return credential.Errorf(credential.Conflict, "the %s %q does not exist any more", nouns[table], n)
		}
	}
	return nil
}

// holdNames looks up and locks those of the names that are not held. Those that do not exist are not held afterwards.
func (t *tx) holdNames(table, org string, names []string) error {
	missing := names[:0:0]
	for _, n := range names {
		if !t.held.names[name{table, org, n}] {
			missing = append(missing, n)
		}
	}
	return t.in(missing, func(params string, names []any) error {
		return t.query(func(row scan) error {
			n := name{table: table, org: org}
			err := row(&n.name)
			t.held.names[n] = true
			return err
		}, "SELECT name FROM "+table+" WHERE name IN ("+params+") AND org = "+t.w.s.dialect.param(len(names)+1)+" ORDER BY name"+t.w.s.dialect.keep(), append(names, org)...)
	})
}

// keepProjects locks those of the projects that somebody has defined: whoever is held to one by its name must be seen by who
// removes it. One that is not defined is a label, and there is nothing to lock.
func (t *tx) keepProjects(org string, projects ...string) error {
	if t.w.s.dialect.keep() == "" {
		return nil
	}
	return t.holdNames("projects", org, slices.DeleteFunc(projects, func(p string) bool { return p == "" }))
}

// within makes sure that an organisation exists, and goes on existing until the transaction ends: nothing may be made in one that
// is being removed, whoever was given its name later would find it. Nobody removes the one that runs the installation.
// It is asked for before any other lock, as who removes an organisation takes it first.
func (t *tx) within(org string) error {
	key := name{table: "orgs", name: org}
	if org == credential.DefaultOrg || t.held.names[key] {
		return nil
	}
	there, err := t.any("SELECT 1 FROM orgs WHERE name = $1"+t.w.s.dialect.keep(), org)
	if err == nil && !there {
		err = credential.Errorf(credential.Conflict, "the organisation %q does not exist any more", org)
	}
	t.held.names[key] = err == nil
	return err
}

// in calls ask with the distinct values, in ascending order, and parameters for them. It takes as many at
// once as one of a few fixed sizes, filled up with the last one, so that there are few different statements.
func (t *tx) in(values []string, ask func(params string, values []any) error) error {
	values = slices.Compact(slices.Sorted(slices.Values(values)))
	for len(values) > 0 {
		size := 1
		for size < len(values) && size < 64 {
			size *= 8
		}
		args := make([]any, size, size+1)
		for i := range args {
			args[i] = values[min(i, len(values)-1)]
		}
		if err := ask(joined(size, t.w.s.dialect.param), args); err != nil {
			return err
		}
		values = values[min(size, len(values)):]
	}
	return nil
}
