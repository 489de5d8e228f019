package store_test

import (
	"strings"
	"testing"

	"cardea/internal/credential"
	"cardea/internal/store"
)

// local is the nth authenticator of a type that needs no service.
func local(n int, typ credential.AuthenticatorType) credential.Authenticator {
	return credential.Authenticator{
		ID: "A" + token(n, device(0)).ID[1:], Org: "default", Type: typ, Listener: "default", Enabled: true, Rank: int64(n), CreatedAt: day,
	}
}

// remote is the nth authenticator that asks a service.
func remote(n int) credential.Authenticator {
	a := local(n, credential.ByScramREST)
	a.Precondition, a.Scopes, a.Sealed = `eq(zone, "ä")`, []string{"s"}, []byte{0, 255}
	a.AllowSuperuser, a.DenyOnFailure = true, true
	return a
}

// login is the nth credential with a user name.
func login(n int, of credential.Principal, username string) credential.Credential {
	c := token(n, of)
	c.Kind, c.Username, c.Algorithm = credential.SCRAM, username, credential.SHA256
	c.Proofs[0].Sealed = []byte{1, 0, 255, byte(n)}
	return c
}

func authenticators(t testing.TB, s *store.Store) []credential.Authenticator {
	t.Helper()
	p, err := s.Policy(t.Context())
	noErr(t, err)
	return p.Authenticators
}

func TestAuthenticators(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		a, b := remote(2), local(1, credential.ByToken)
		commit(t, s, credential.PutScope{Scope: scope("s")}, credential.PutAuthenticator{Authenticator: a}, credential.PutAuthenticator{Authenticator: b})
		a.Version, b.Version = 1, 1
		equal(t, "made, by rank", authenticators(t, s), []credential.Authenticator{b, a})
		refused(t, s, credential.Exists, credential.PutAuthenticator{Authenticator: remote(2)})

		// An update writes what may change, and only if nobody was faster.
		edit := credential.Authenticator{
			ID: a.ID, Org: a.Org, Type: credential.ByHTTP, Listener: "other", Enabled: false, Precondition: "", Rank: 0, Sealed: []byte("other"), Version: 1,
		}
		commit(t, s, credential.PutAuthenticator{Authenticator: edit})
		refused(t, s, credential.Conflict, credential.PutAuthenticator{Authenticator: edit})
		edit.Type, edit.Listener, edit.CreatedAt, edit.Version = a.Type, a.Listener, a.CreatedAt, 2
		equal(t, "changed, by rank", authenticators(t, s), []credential.Authenticator{edit, b})
		foreign := edit
		foreign.Org = "other"
		refused(t, s, credential.Conflict, credential.PutAuthenticator{Authenticator: foreign})

		refused(t, s, credential.Conflict, credential.DeleteAuthenticator{ID: a.ID, Version: 1})
		refused(t, s, credential.Conflict, credential.DeleteAuthenticator{ID: "unknown", Version: 1})
		commit(t, s, credential.DeleteAuthenticator{ID: a.ID, Version: 2})
		refused(t, s, credential.Conflict, credential.DeleteAuthenticator{ID: a.ID, Version: 2})
		equal(t, "left", authenticators(t, s), []credential.Authenticator{b})
	})
}

// A chain has each of our own ways once; of services there may be many.
func TestOneLocalAuthenticatorOfAType(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		commit(t, s, tenant("other"), credential.PutScope{Scope: scope("s")})
		for i, typ := range []credential.AuthenticatorType{credential.ByToken, credential.ByCertificate, credential.ByScram} {
			first, again, listener, org := local(10*i, typ), local(10*i+1, typ), local(10*i+2, typ), local(10*i+3, typ)
			listener.Listener, org.Org = "tls", "other"
			commit(t, s, credential.PutAuthenticator{Authenticator: first})
			if err := refused(t, s, credential.Exists, credential.PutAuthenticator{Authenticator: again}); !strings.Contains(err.Error(), "default") {
				t.Errorf("the refusal does not name the listener: %v", err)
			}
			commit(t, s, credential.PutAuthenticator{Authenticator: listener}, credential.PutAuthenticator{Authenticator: org})
			commit(t, s, credential.DeleteAuthenticator{ID: first.ID, Version: 1}, credential.PutAuthenticator{Authenticator: again})
		}
		commit(t, s, credential.PutAuthenticator{Authenticator: remote(40)}, credential.PutAuthenticator{Authenticator: remote(41)})
	})
}

// J26: an authenticator gives its scopes to whoever it lets in, so they must exist, in its organisation, as long as it names them.
func TestScopesOfAuthenticators(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		elsewhere := scope("elsewhere")
		elsewhere.Org = "other"
		commit(t, s, tenant("other"), credential.PutScope{Scope: scope("s")}, credential.PutScope{Scope: elsewhere})
		a := remote(1)
		for _, bad := range []string{"missing", "elsewhere"} {
			a.Scopes = []string{"s", bad}
			refused(t, s, credential.Conflict, credential.PutAuthenticator{Authenticator: a})
		}
		a.Scopes = []string{"s"}
		commit(t, s, credential.PutAuthenticator{Authenticator: a})
		remove := credential.DeleteScope{Org: "default", Name: "s", Version: 1}
		if err := refused(t, s, credential.Conflict, remove); !strings.Contains(err.Error(), "authenticator") {
			t.Errorf("got %v", err)
		}
		a.Version, a.Scopes = 1, []string{"missing"}
		refused(t, s, credential.Conflict, credential.PutAuthenticator{Authenticator: a})
		a.Scopes = nil
		commit(t, s, credential.PutAuthenticator{Authenticator: a}, remove)
	})
}

// What was read of the chains is not kept when an event tells of a change, whichever node has made it.
func TestPolicyNoticesAuthenticators(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		a := open(t, store.Config{URL: url})
		b := a
		if strings.HasPrefix(url, "postgres") {
			b = open(t, store.Config{URL: url})
		}
		act := func(op credential.Op) int64 {
			t.Helper()
			e := about("authenticator.change", "x")
			e.Subject = credential.Subject{Kind: "authenticator", ID: "x"}
			done, err := b.Commit(t.Context(), credential.Change{Ops: []credential.Op{op}, Events: []credential.Event{e}})
			noErr(t, err)
			return done[0].Seq
		}
		one := local(1, credential.ByToken)
		for i := range int64(5) {
			one.Version, one.Enabled = i, i%2 == 0
			revision := act(credential.PutAuthenticator{Authenticator: one})
			for range 2 {
				p, err := a.Policy(t.Context())
				noErr(t, err)
				if p.Revision != revision || len(p.Authenticators) != 1 || p.Authenticators[0].Version != i+1 || p.Authenticators[0].Enabled != one.Enabled {
					t.Fatalf("after revision %d: %+v", revision, p.Authenticators)
				}
				p.Authenticators[0].Version = -1 // the list is the caller's own
			}
		}
		act(credential.DeleteAuthenticator{ID: one.ID, Version: 5})
		if left := authenticators(t, a); len(left) != 0 {
			t.Errorf("after the removal: %+v", left)
		}
	})
}

// S01: a user name leads to the one credential that it logs in with, and to none that has ended.
func TestNamed(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p := device(1)
		foreign := device(2)
		foreign.Org = "other"
		c := login(1, p, `a=2C,ü"'`)
		commit(t, s, tenant("other"), credential.CreatePrincipal{Principal: p}, credential.CreatePrincipal{Principal: foreign},
			credential.CreateCredential{Credential: c}, credential.CreateCredential{Credential: token(2, p)}, credential.CreateCredential{Credential: token(3, p)})
		c.Version, p.Version = 1, 1
		found := func(state credential.State, version int64) {
			t.Helper()
			r, err := s.Named(t.Context(), "default", credential.SCRAM, c.Username)
			noErr(t, err)
			c.State, c.Version = state, version
			if state == credential.StateQuarantined {
				c.EndedAt, c.EndReason = day, "odd"
			} else {
				c.EndedAt, c.EndReason = credential.Credential{}.EndedAt, ""
			}
			_, head, err := s.Since(t.Context(), 0, 1)
			noErr(t, err)
			equal(t, "named", r, credential.Record{Credential: c, Principal: p, Revision: head})
		}
		missing := func(org, username string) {
			t.Helper()
			_, head, err := s.Since(t.Context(), 0, 1)
			noErr(t, err)
			if r, err := s.Named(t.Context(), org, credential.SCRAM, username); !credential.IsNotFound(err) || r.Revision < 1 || r.Revision > head || r.Credential.ID != "" {
				t.Errorf("%q: %+v, %v", username, r, err)
			}
		}
		found(credential.StateActive, 1)
		for _, name := range []string{"", "a", "A=2C,ü\"'", c.Username + " ", c.Username + "\x00", "\xff", c.ID, "%"} { // H23
			missing("default", name)
		}
		missing("other", c.Username)
		commit(t, s, credential.SetQuarantine{ID: c.ID, Version: 1, On: true, At: day, Reason: "odd"})
		found(credential.StateQuarantined, 2)
		commit(t, s, credential.SetQuarantine{ID: c.ID, Version: 2})
		found(credential.StateActive, 3)
		commit(t, s, credential.EndCredential{ID: c.ID, State: credential.StateRevoked, At: day})
		missing("default", c.Username)
		commit(t, s, credential.EndCredential{ID: c.ID, State: credential.StateDeleted, At: day})
		missing("default", c.Username)
	})
}

// A user name is somebody's alone in the organisation, until the credential ends.
func TestUserNamesAreUnique(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p, q, foreign := device(1), device(2), device(3)
		foreign.Org = "other"
		commit(t, s, tenant("other"), credential.CreatePrincipal{Principal: p}, credential.CreatePrincipal{Principal: q}, credential.CreatePrincipal{Principal: foreign},
			credential.CreateCredential{Credential: login(1, p, "name")})
		make := func(n int, of credential.Principal, name string) credential.Op {
			return credential.CreateCredential{Credential: login(n, of, name)}
		}
		refused(t, s, credential.Exists, make(2, q, "name"))
		refused(t, s, credential.Exists, make(2, q, "new"), make(3, q, "new")) // within one change too
		commit(t, s, make(4, foreign, "name"), make(5, q, "Name"))
		commit(t, s, credential.SetQuarantine{ID: login(1, p, "").ID, Version: 1, On: true, At: day})
		refused(t, s, credential.Exists, make(2, q, "name"))
		commit(t, s, credential.EndCredential{ID: login(1, p, "").ID, State: credential.StateRevoked, At: day}, make(2, q, "name"))
		commit(t, s, credential.DeletePrincipal{ID: q.ID, Version: 1, At: day, Credentials: []string{login(2, q, "").ID, login(5, q, "").ID}}, make(6, p, "name"))
		r, err := s.Named(t.Context(), "default", credential.SCRAM, "name")
		noErr(t, err)
		equal(t, "whose it is now", r.Credential.ID, login(6, p, "").ID)
	})
}

// K10, K11: neither the user name nor the algorithm nor the sealed keys are written by an update.
func TestUpdatesLeaveTheLoginAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p := device(1)
		c := login(1, p, "name")
		commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: c})
		edit := c
		edit.Version, edit.Name, edit.Username, edit.Algorithm, edit.Proofs = 1, "n", "root", credential.SHA512, nil
		commit(t, s, credential.UpdateCredential{Credential: edit})
		c.Version, c.Name = 2, "n"
		equal(t, "updated", stored(t, s, c.ID), c)
		next := proof(1, 2)
		next.Sealed = []byte("sealed")
		c.Proofs = []credential.Proof{next, c.Proofs[0]}
		commit(t, s, credential.SetProofs{ID: c.ID, Version: 2, Proofs: c.Proofs})
		c.Version = 3
		equal(t, "rotated", stored(t, s, c.ID), c)
	})
}
