package store_test

import (
	"testing"

	"cardea/internal/credential"
	"cardea/internal/store"
)

// The name of an application key is one of its kind's own, is found by, and follows a change, unless it is taken.
func TestNamesOfApplicationKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p := device(1)
		key := func(n int, name string) credential.Credential {
			c := token(n, p)
			c.Kind, c.Name, c.Username = credential.AppKey, name, name
			return c
		}
		one, two, user := key(1, "one"), key(2, "two"), login(3, p, "one")
		commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: one}, credential.CreateCredential{Credential: two},
			credential.CreateCredential{Credential: user})
		refused(t, s, credential.Exists, credential.CreateCredential{Credential: key(4, "one")})
		two.Version, two.Username = 1, "one"
		refused(t, s, credential.Exists, credential.UpdateCredential{Credential: two})
		two.Username = "three"
		commit(t, s, credential.UpdateCredential{Credential: two})
		for name, id := range map[string]string{"one": one.ID, "three": two.ID} {
			r, err := s.Named(t.Context(), "default", credential.AppKey, name)
			noErr(t, err)
			equal(t, name, r.Credential.ID, id)
		}
		if _, err := s.Named(t.Context(), "default", credential.AppKey, "two"); !credential.IsNotFound(err) {
			t.Errorf("by its old name: %v", err)
		}
	})
}

// Who ends a credential that they have judged ends it as they saw it, or not at all.
func TestEndingAtAVersion(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p := device(1)
		a, b := token(1, p), token(2, p)
		commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: a}, credential.CreateCredential{Credential: b})
		end := func(c credential.Credential, version int64) credential.Op {
			return credential.EndCredential{ID: c.ID, Version: version, State: credential.StateDeleted, At: day}
		}
		refused(t, s, credential.Conflict, end(a, 2))
		commit(t, s, credential.SetProofs{ID: a.ID, Version: 1, Proofs: a.Proofs, ExpiresAt: day})
		refused(t, s, credential.Conflict, end(a, 1))
		commit(t, s, end(a, 2))
		commit(t, s, credential.EndCredential{ID: b.ID, State: credential.StateRevoked, At: day})
		refused(t, s, credential.Conflict, end(b, 1)) // it was judged before it was revoked
		commit(t, s, end(b, 0))
	})
}
