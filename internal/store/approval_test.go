package store_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/store"
	"cardea/internal/testkit"
)

// What waits for approval is approved or revoked once, by who has seen it as it is, and cannot be come back to (R10).
func TestApprove(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		journal := filepath.Join(t.TempDir(), "revoked")
		s := open(t, store.Config{URL: url, Journal: journal})
		p := device(1)
		c, refusedOne := token(1, p), token(2, p)
		c.State, refusedOne.State = credential.StatePending, credential.StatePending
		commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: c}, credential.CreateCredential{Credential: refusedOne})
		approve := func(v int64) credential.Op { return credential.Approve{ID: c.ID, Version: v} }
		equal(t, "made", stored(t, s, c.ID).State, credential.StatePending)
		if ids, err := s.CredentialsOf(t.Context(), p.ID); err != nil || len(ids) != 2 { // it has not ended
			t.Errorf("credentials %v, %v", ids, err)
		}
		refused(t, s, credential.Conflict, approve(2))
		refused(t, s, credential.Conflict, credential.Approve{ID: "unknown", Version: 1})
		refused(t, s, credential.Conflict, credential.SetQuarantine{ID: c.ID, Version: 1, On: true, At: day}) // it would be accepted then
		refused(t, s, credential.Conflict, credential.SetQuarantine{ID: c.ID, Version: 1})
		c.Version, c.Name = 1, "n"
		commit(t, s, credential.UpdateCredential{Credential: c})
		refused(t, s, credential.Conflict, approve(1)) // it is not what was looked at
		commit(t, s, approve(2))
		c.Version, c.State = 3, credential.StateActive
		equal(t, "approved", stored(t, s, c.ID), c)
		refused(t, s, credential.Conflict, approve(3))
		for i, state := range []credential.State{credential.StateRevoked, credential.StateDeleted} {
			commit(t, s, credential.EndCredential{ID: refusedOne.ID, State: state, At: day, Reason: "no"})
			refused(t, s, credential.Conflict, credential.Approve{ID: refusedOne.ID, Version: int64(i) + 2})
		}
		known, err := store.ReadJournal(journal)
		noErr(t, err)
		equal(t, "journal", known, map[string]time.Time{refusedOne.ID: day}) // K17: a restored backup does not make it wait again
	})
}

// A user name that waits for approval is somebody's already.
func TestPendingHoldsItsName(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p := device(1)
		c := login(1, p, "pump-1")
		c.State = credential.StatePending
		commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: c})
		refused(t, s, credential.Exists, credential.CreateCredential{Credential: login(2, p, "pump-1")})
		r, err := s.Named(t.Context(), "default", credential.SCRAM, "pump-1")
		noErr(t, err)
		equal(t, "state", r.Credential.State, credential.StatePending)
		commit(t, s, credential.EndCredential{ID: c.ID, State: credential.StateRevoked, At: day}, credential.CreateCredential{Credential: login(2, p, "pump-1")})
	})
}

// The names of kinds do not get in each other's way, and one does not lead to the other: what proves a password proves no SCRAM.
func TestNamedByKind(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p, q := device(1), device(2)
		scram, password := login(1, p, "name"), login(2, q, "name")
		password.Kind = credential.Password
		commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreatePrincipal{Principal: q}, credential.CreateCredential{Credential: scram})
		if r, err := s.Named(t.Context(), "default", credential.Password, "name"); !credential.IsNotFound(err) || r.Revision != 3 {
			t.Errorf("before it was made: %+v, %v", r, err)
		}
		commit(t, s, credential.CreateCredential{Credential: password})
		for kind, want := range map[credential.Kind]string{credential.SCRAM: scram.ID, credential.Password: password.ID} {
			r, err := s.Named(t.Context(), "default", kind, "name")
			noErr(t, err)
			equal(t, string(kind), []any{r.Credential.ID, r.Credential.Kind}, []any{want, kind})
		}
		if _, err := s.Named(t.Context(), "default", credential.DeviceToken, "name"); !credential.IsNotFound(err) {
			t.Errorf("a kind without names: %v", err)
		}
	})
}

// A credential is given to somebody else of its organisation who lives, by who has seen it as it is.
func TestSetPrincipal(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p, q, gone, theirs := device(1), device(2), device(3), device(4)
		theirs.Org = "acme"
		c := token(1, p)
		c.Scopes = []string{"s"}
		commit(t, s, tenant("acme"), credential.PutScope{Scope: scope("s")}, credential.CreatePrincipal{Principal: p}, credential.CreatePrincipal{Principal: q},
			credential.CreatePrincipal{Principal: gone}, credential.CreatePrincipal{Principal: theirs}, credential.CreateCredential{Credential: c},
			credential.DeletePrincipal{ID: gone.ID, Version: 1, At: day})
		set := func(v int64, to string) credential.Op {
			return credential.SetPrincipal{ID: c.ID, Version: v, Principal: to}
		}
		refused(t, s, credential.Conflict, set(2, q.ID))
		refused(t, s, credential.Conflict, set(1, gone.ID))
		refused(t, s, credential.Conflict, set(1, "unknown"))
		refused(t, s, credential.Conflict, set(1, theirs.ID)) // W07
		refused(t, s, credential.Conflict, credential.SetPrincipal{ID: "unknown", Version: 1, Principal: q.ID})
		commit(t, s, set(1, q.ID))
		c.Version, c.State, c.Principal = 2, credential.StateActive, q.ID
		equal(t, "given", stored(t, s, c.ID), c)
		refused(t, s, credential.Conflict, set(1, p.ID))

		// Who deletes one of the two knows whose it is.
		if err := refused(t, s, credential.Conflict, credential.DeletePrincipal{ID: p.ID, Version: 1, At: day, Credentials: []string{c.ID}}); !strings.Contains(err.Error(), c.ID) {
			t.Errorf("the refusal does not name the credential: %v", err)
		}
		refused(t, s, credential.Conflict, credential.DeletePrincipal{ID: q.ID, Version: 1, At: day})
		commit(t, s, credential.DeletePrincipal{ID: p.ID, Version: 1, At: day})
		equal(t, "after its former principal has gone", stored(t, s, c.ID).State, credential.StateActive)
		commit(t, s, credential.EndCredential{ID: c.ID, State: credential.StateRevoked, At: day})
		refused(t, s, credential.Conflict, set(3, q.ID))
		commit(t, s, credential.DeletePrincipal{ID: q.ID, Version: 1, At: day, Credentials: []string{c.ID}})
	})
}

// Two nodes: while one gives a credential to a principal, the other deletes that, or the one who had it. No credential lives
// of somebody who does not, and none lives of which the log says that it was deleted.
func TestSetPrincipalAgainstDeletion(t *testing.T) {
	url := testkit.Postgres(t)
	a, b := open(t, store.Config{URL: url}), open(t, store.Config{URL: url})
	n := 0
	for name, deleted := range map[string]int{"who gets it": 1, "who had it": 0} {
		for _, first := range []string{"deletion", "gift"} {
			t.Run(name+", "+first+" first", func(t *testing.T) {
				n += 2
				two := [2]credential.Principal{device(n), device(n + 1)}
				c := token(n, two[0])
				commit(t, a, credential.CreatePrincipal{Principal: two[0]}, credential.CreatePrincipal{Principal: two[1]}, credential.CreateCredential{Credential: c})
				gift := credential.SetPrincipal{ID: c.ID, Version: 1, Principal: two[1].ID}
				deletion := credential.DeletePrincipal{ID: two[deleted].ID, Version: 1, At: day}
				if deleted == 0 {
					deletion.Credentials = []string{c.ID}
				}
				var given, gone error
				if first == "gift" {
					given, gone = race(t, a, b, gift, deletion)
				} else {
					gone, given = race(t, a, b, deletion, gift)
				}
				if (given == nil) == (gone == nil) {
					t.Fatalf("given: %v, deleted: %v", given, gone)
				}
				for _, err := range []error{given, gone} {
					if err != nil && credential.KindOf(err) != credential.Conflict {
						t.Fatal(err)
					}
				}
				r, err := a.Credential(context.WithoutCancel(t.Context()), c.ID)
				noErr(t, err)
				if r.Credential.State == credential.StateActive != r.Principal.DeletedAt.IsZero() {
					t.Errorf("the credential is %s, its principal was deleted at %v", r.Credential.State, r.Principal.DeletedAt)
				}
			})
		}
	}
}
