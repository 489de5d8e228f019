package store_test

import (
	"fmt"
	"sync"
	"testing"

	"cardea/internal/credential"
	"cardea/internal/store"
)

func scope(name string) credential.Scope {
	return credential.Scope{Org: "default", Name: name, Rules: []credential.Rule{{Permission: credential.Allow, Action: "*", Resource: "*"}}}
}

func role(name string, scopes ...string) credential.Role {
	return credential.Role{Org: "default", Name: name, Scopes: scopes}
}

// named is the nth device with roles, and its token with scopes.
func named(n int, roles, scopes []string) (credential.Principal, credential.Credential) {
	p := device(n)
	p.Roles = roles
	c := token(n, p)
	c.Scopes = scopes
	return p, c
}

// J26: nothing can be given a scope or a role that does not exist: whoever made one of that name later would decide what it allows.
func TestNamesMustExist(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		elsewhere := scope("elsewhere")
		elsewhere.Org = "other"
		p, c := named(1, nil, nil)
		commit(t, s, tenant("other"), credential.PutScope{Scope: scope("there")}, credential.PutScope{Scope: elsewhere}, credential.PutRole{Role: role("holder", "there")},
			credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: c})
		for _, bad := range []string{"missing", "elsewhere"} {
			refused(t, s, credential.Conflict, credential.PutRole{Role: role("new", "there", bad)})
			held := role("holder", bad)
			held.Version = 1
			refused(t, s, credential.Conflict, credential.PutRole{Role: held})

			q, d := named(2, []string{bad}, nil)
			refused(t, s, credential.Conflict, credential.CreatePrincipal{Principal: q})
			q.Roles, d.Scopes = nil, []string{"there", bad}
			refused(t, s, credential.Conflict, credential.CreatePrincipal{Principal: q}, credential.CreateCredential{Credential: d})

			p.Version, p.Roles = 1, []string{"holder", bad}
			refused(t, s, credential.Conflict, credential.UpdatePrincipal{Principal: p})
			c.Version, c.Scopes = 1, []string{bad}
			refused(t, s, credential.Conflict, credential.UpdateCredential{Credential: c})
		}
		p.Roles, c.Scopes = []string{"holder"}, []string{"there", "there"}
		commit(t, s, credential.UpdatePrincipal{Principal: p}, credential.UpdateCredential{Credential: c})

		// What the same change makes before counts, what it removes before does not.
		q, d := named(3, []string{"r"}, []string{"s"})
		commit(t, s, credential.PutScope{Scope: scope("s")}, credential.PutRole{Role: role("r", "s")}, credential.CreatePrincipal{Principal: q}, credential.CreateCredential{Credential: d})
		commit(t, s, credential.PutScope{Scope: scope("short")})
		refused(t, s, credential.Conflict, credential.PutRole{Role: role("one", "short")}, credential.DeleteRole{Org: "default", Name: "one", Version: 1},
			credential.DeleteScope{Org: "default", Name: "short", Version: 1}, credential.PutRole{Role: role("two", "short")})
	})
}

// A change of a group that is undone leaves nothing that a later one of the group goes by.
func TestNamesOfAnUndoneChangeDoNotCount(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		release := s.Hold(t.Context())
		var group sync.WaitGroup
		start := func(ops ...credential.Op) {
			n := s.Waiting()
			group.Go(func() {
				if _, err := s.Commit(t.Context(), change(ops...)); err == nil || credential.KindOf(err) != credential.Conflict {
					t.Errorf("got %v", err)
				}
			})
			for s.Waiting() == n {
			}
		}
		start(credential.PutScope{Scope: scope("s")}, credential.PutRole{Role: role("r", "s")}, credential.EndCredential{ID: "unknown", State: credential.StateRevoked, At: day})
		start(credential.PutRole{Role: role("r", "s")})
		release()
		group.Wait()
	})
}

// Two nodes: while one removes a scope and a role, the other gives them to somebody. One of the two is refused, and nobody is left with a name that does not exist.
func TestRemovalAgainstUse(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		a := open(t, store.Config{URL: url})
		b := a
		if url[:8] == "postgres" {
			b = open(t, store.Config{URL: url})
		}
		for i := range 40 {
			s, r := fmt.Sprint("s", i), fmt.Sprint("r", i)
			p, c := named(i, []string{r}, []string{s})
			owner := device(1000 + i)
			c.Principal = owner.ID
			commit(t, a, credential.PutScope{Scope: scope(s)}, credential.PutRole{Role: role(r)}, credential.CreatePrincipal{Principal: owner})
			var group sync.WaitGroup
			var err [4]error
			for j, do := range []func() error{
				func() error {
					_, err := a.Commit(t.Context(), change(credential.DeleteScope{Org: "default", Name: s, Version: 1}))
					return err
				},
				func() error {
					_, err := b.Commit(t.Context(), change(credential.CreateCredential{Credential: c}))
					return err
				},
				func() error {
					_, err := a.Commit(t.Context(), change(credential.DeleteRole{Org: "default", Name: r, Version: 1}))
					return err
				},
				func() error {
					_, err := b.Commit(t.Context(), change(credential.CreatePrincipal{Principal: p}))
					return err
				},
			} {
				group.Go(func() { err[j] = do() })
			}
			group.Wait()
			if err[0] == nil == (err[1] == nil) || err[2] == nil == (err[3] == nil) {
				t.Fatalf("removal and use of %s and %s: %v", s, r, err)
			}
		}
	})
}

// L04: a principal cannot be deleted with a credential that its author does not know of: it would end without an event.
func TestDeletionOfAPrincipalNamesItsCredentials(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p := device(1)
		one, two, three := token(1, p), token(2, p), token(3, p)
		commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: one}, credential.CreateCredential{Credential: two}, credential.CreateCredential{Credential: three})
		commit(t, s, credential.EndCredential{ID: two.ID, State: credential.StateRevoked, At: day})
		commit(t, s, credential.EndCredential{ID: three.ID, State: credential.StateDeleted, At: day})
		for _, known := range [][]string{nil, {one.ID}, {two.ID, three.ID}} {
			refused(t, s, credential.Conflict, credential.DeletePrincipal{ID: p.ID, Version: 1, At: day, Credentials: known})
			if left, err := s.CredentialsOf(t.Context(), p.ID); err != nil || len(left) != 1 {
				t.Fatalf("after a refused deletion: %v, %v", left, err)
			}
		}
		commit(t, s, credential.DeletePrincipal{ID: p.ID, Version: 1, At: day, Credentials: []string{two.ID, one.ID, "unknown"}})
	})
}

// What was read of scopes and roles is never older than the revision that the answer says, whichever node has changed them.
func TestPolicyOfAnotherNode(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		a := open(t, store.Config{URL: url})
		b := a
		if url[:8] == "postgres" {
			b = open(t, store.Config{URL: url})
		}
		put := func(s *store.Store, version int64) int64 {
			one := scope("s")
			one.Version = version
			e := about("scope.change", "s")
			e.Subject = credential.Subject{Kind: "scope", ID: "s"}
			done, err := s.Commit(t.Context(), credential.Change{Ops: []credential.Op{credential.PutScope{Scope: one}}, Events: []credential.Event{e}})
			noErr(t, err)
			return done[0].Seq
		}
		for i := range int64(10) {
			revision := put(b, i)
			commit(t, b, credential.PutSetting{Name: "x", Value: "y"}) // something else, which moves the revision
			for range 2 {
				p, err := a.Policy(t.Context())
				noErr(t, err)
				if p.Revision != revision+1 || len(p.Scopes) != 1 || p.Scopes[0].Version != i+1 {
					t.Fatalf("after revision %d: %+v", revision, p)
				}
				p.Scopes[0].Version = -1 // the list is the caller's own
			}
		}
	})
}
