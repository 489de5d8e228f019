package store_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cardea/internal/audit"
	"cardea/internal/credential"
	"cardea/internal/store"
	"cardea/internal/testkit"
)

// day is when everything in these tests happens.
var day = time.Date(2026, 11, 22, 10, 0, 0, 123456000, time.UTC)

// onBoth runs a test on both databases: what holds for one must hold for the other.
func onBoth(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, sqliteURL(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, testkit.Postgres(t)) })
}

func sqliteURL(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "cardea.db") }

// open opens a store by a clock that stands at day.
func open(t testing.TB, c store.Config) *store.Store {
	t.Helper()
	if c.Now == nil {
		c.Now = func() time.Time { return day }
	}
	s, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func device(n int) credential.Principal {
	return credential.Principal{ID: fmt.Sprintf("P%011d", n), Org: "default", Kind: credential.Device, Name: fmt.Sprintf("pump-%d", n), CreatedAt: day}
}

// tenant makes an organisation.
func tenant(name string) credential.PutOrg {
	return credential.PutOrg{Org: credential.Org{Name: name, Description: "d", Resources: []string{"http:/" + name + "/**"}, CreatedAt: day}}
}

func token(n int, of credential.Principal) credential.Credential {
	return credential.Credential{
		ID: fmt.Sprintf("%012d", n), Org: of.Org, Kind: credential.DeviceToken, Principal: of.ID, Name: "token",
		State: credential.StateActive, CreatedAt: day.Add(time.Duration(n) * time.Second), CreatedBy: "local", Proofs: []credential.Proof{proof(n, 1)},
	}
}

func proof(seed, n int) credential.Proof {
	h := sha256.Sum256(fmt.Appendf(nil, "%d %d", seed, n))
	return credential.Proof{N: n, Hash: h[:], CreatedAt: day}
}

// about is an event on something.
func about(typ, id string) credential.Event {
	return credential.Event{
		At: day, Org: "default", Type: typ, Subject: credential.Subject{Kind: "credential", ID: id, Name: "pump-1"},
		Actor: credential.Actor{Principal: "local", Source: "socket", Door: "api", Request: "r1"},
	}
}

// change makes a change with as many events as operations.
func change(ops ...credential.Op) credential.Change {
	c := credential.Change{Ops: ops}
	for range ops {
		c.Events = append(c.Events, about("test.change", "x"))
	}
	return c
}

func commit(t testing.TB, s *store.Store, ops ...credential.Op) []credential.Event {
	t.Helper()
	events, err := s.Commit(t.Context(), change(ops...))
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// refused checks that a change fails with a kind and leaves nothing behind.
func refused(t testing.TB, s *store.Store, want credential.ErrorKind, ops ...credential.Op) error {
	t.Helper()
	_, before, err := s.Since(t.Context(), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	events, err := s.Commit(t.Context(), change(ops...))
	if err == nil || credential.KindOf(err) != want {
		t.Fatalf("%T: got %v, want kind %d", ops[len(ops)-1], err, want)
	}
	if events != nil {
		t.Errorf("a refused change returned events")
	}
	if _, after, _ := s.Since(t.Context(), 0, 1); after != before {
		t.Errorf("a refused change moved the head from %d to %d", before, after)
	}
	return err
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	opts := cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty()}
	if d := cmp.Diff(want, got, opts); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// verified reads the whole log, checks its chain and returns it.
func verified(t testing.TB, s *store.Store) []credential.Event {
	t.Helper()
	var v audit.Verifier
	var all []credential.Event
	for {
		page, err := s.Events(context.WithoutCancel(t.Context()), credential.EventFilter{After: int64(len(all)), Limit: 10_000})
		noErr(t, err)
		if len(page) == 0 {
			return all
		}
		for i := range page {
			if err := v.Add(&page[i]); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, page...)
	}
}

func TestPrincipals(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		ctx := t.Context()
		p := device(1)
		p.Description, p.Roles, p.Attrs = "a \"pump\" ⛽ '); DROP TABLE principals; --", []string{"device", "x:y"}, map[string]string{"site": "north", "": "\n"} // H23
		commit(t, s, credential.PutRole{Role: role("device")}, credential.PutRole{Role: role("x:y")}, credential.CreatePrincipal{Principal: p})
		p.Version = 1
		for _, ref := range []string{p.ID, p.Name} {
			got, err := s.Principal(ctx, "default", ref)
			noErr(t, err)
			equal(t, "principal by "+ref, got, p)
		}
		for _, ref := range []string{"pump-2", "", "%", "x\x00y", "\xff"} {
			if _, err := s.Principal(ctx, "default", ref); !credential.IsNotFound(err) {
				t.Errorf("Principal(%q): %v", ref, err)
			}
		}
		if _, err := s.Principal(ctx, "other", p.ID); !credential.IsNotFound(err) {
			t.Errorf("found in another organisation: %v", err)
		}

		again := device(2)
		again.Name = p.Name
		refused(t, s, credential.Exists, credential.CreatePrincipal{Principal: again})
		refused(t, s, credential.Exists, credential.CreatePrincipal{Principal: p}) // ids are never given out again
		again.Org = "other"
		refused(t, s, credential.Conflict, credential.CreatePrincipal{Principal: again}) // there is no such organisation
		commit(t, s, tenant("other"), credential.CreatePrincipal{Principal: again})      // the name is free there

		p.Description, p.Disabled, p.Roles, p.Attrs = "", true, nil, nil
		commit(t, s, credential.UpdatePrincipal{Principal: p})
		refused(t, s, credential.Conflict, credential.UpdatePrincipal{Principal: p}) // the version has gone on
		p.Version = 2
		got, err := s.Principal(ctx, "default", p.ID)
		noErr(t, err)
		equal(t, "updated", got, p)

		refused(t, s, credential.Conflict, credential.Expect{Principal: p.ID, Version: 1})
		commit(t, s, credential.Expect{Principal: p.ID, Version: 2})
	})
}

func TestDeletingAPrincipalDeletesItsCredentials(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		ctx := t.Context()
		p := device(1)
		commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: token(1, p)}, credential.CreateCredential{Credential: token(2, p)})
		commit(t, s, credential.EndCredential{ID: token(2, p).ID, State: credential.StateRevoked, At: day, Reason: "lost"})
		ids, err := s.CredentialsOf(ctx, p.ID)
		noErr(t, err)
		equal(t, "active credentials", ids, []string{token(1, p).ID})

		later := day.Add(time.Hour)
		refused(t, s, credential.Conflict, credential.DeletePrincipal{ID: p.ID, Version: 9, At: later})
		commit(t, s, credential.DeletePrincipal{ID: p.ID, Version: 1, At: later, Reason: "scrapped", Credentials: []string{token(1, p).ID, token(2, p).ID}})
		r, err := s.Credential(ctx, token(1, p).ID)
		noErr(t, err)
		equal(t, "end", []any{r.Credential.State, r.Credential.EndedAt, r.Credential.EndReason, r.Principal.DeletedAt},
			[]any{credential.StateDeleted, later, "scrapped", later})
		r, err = s.Credential(ctx, token(2, p).ID)
		noErr(t, err)
		equal(t, "end of the one that was revoked before", []any{r.Credential.State, r.Credential.EndedAt, r.Credential.EndReason}, []any{credential.StateDeleted, day, "lost"})

		if _, err := s.Principal(ctx, "default", p.Name); !credential.IsNotFound(err) {
			t.Errorf("a deleted principal is found by its name: %v", err)
		}
		_, err = s.Principal(ctx, "default", p.ID)
		noErr(t, err) // kept for the audit log
		refused(t, s, credential.Conflict, credential.CreateCredential{Credential: token(3, p)})
		refused(t, s, credential.Conflict, credential.Expect{Principal: p.ID, Version: 2})
		refused(t, s, credential.Conflict, credential.DeletePrincipal{ID: p.ID, Version: 2, At: later})
		refused(t, s, credential.Conflict, credential.UpdatePrincipal{Principal: credential.Principal{ID: p.ID, Version: 2}})

		n := device(2)
		n.Name = p.Name
		commit(t, s, credential.CreatePrincipal{Principal: n}) // the name is free again
	})
}

func TestCredentials(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		ctx := t.Context()
		p := device(1)
		c := token(1, p)
		c.Description, c.Project, c.Scopes, c.Tags = "d", "water", []string{"telemetry:write"}, []string{`a","b`, "\\"}
		c.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
		c.NotBefore, c.ExpiresAt = day.Add(-time.Hour), day.Add(time.Hour)
		c.Proofs[0].Serial, c.Proofs[0].ExpiresAt = "0a1b", day.Add(time.Minute)
		commit(t, s, credential.PutScope{Scope: scope("telemetry:write")})
		events := commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: c})
		c.Version, p.Version = 1, 1
		r, err := s.Credential(ctx, c.ID)
		noErr(t, err)
		equal(t, "record", r, credential.Record{Credential: c, Principal: p, Revision: events[1].Seq})

		refused(t, s, credential.Exists, credential.CreateCredential{Credential: c}) // R10
		orphan := token(2, device(9))
		refused(t, s, credential.Conflict, credential.CreateCredential{Credential: orphan})
		if r, err := s.Credential(ctx, orphan.ID); !credential.IsNotFound(err) || r.Revision != 3 {
			t.Errorf("unknown credential: %+v, %v", r, err)
		}

		c.Name, c.Description, c.Project, c.Scopes, c.Networks, c.Tags = "n", "", "", nil, nil, []string{"t"}
		edit := c
		edit.Proofs, edit.State, edit.Principal, edit.ExpiresAt = nil, credential.StateRevoked, "P9", time.Time{} // K10, K11: of these, nothing is written
		commit(t, s, credential.UpdateCredential{Credential: edit})
		refused(t, s, credential.Conflict, credential.UpdateCredential{Credential: edit})
		c.Version = 2
		r, err = s.Credential(ctx, c.ID)
		noErr(t, err)
		equal(t, "updated", r.Credential, c)

		c.Proofs, c.ExpiresAt = []credential.Proof{proof(1, 2), proof(1, 1)}, time.Time{}
		commit(t, s, credential.SetProofs{ID: c.ID, Version: 2, Proofs: c.Proofs})
		refused(t, s, credential.Conflict, credential.SetProofs{ID: c.ID, Version: 2, Proofs: c.Proofs})
		c.Version = 3
		r, err = s.Credential(ctx, c.ID)
		noErr(t, err)
		equal(t, "rotated", r.Credential, c)
	})
}

// K10: no path leads to a credential without a proof, not even by SQL.
func TestACredentialHasAProof(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p := device(1)
		commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: token(1, p)})
		for _, proofs := range [][]credential.Proof{nil, {}, {{N: 1}}, {{N: 1, Hash: []byte("short")}}, {{Hash: make([]byte, 32)}}} {
			bad := token(2, p)
			bad.Proofs = proofs
			refused(t, s, credential.Internal, credential.CreateCredential{Credential: bad})
			refused(t, s, credential.Internal, credential.SetProofs{ID: token(1, p).ID, Version: 1, Proofs: proofs})
		}
		for _, text := range []string{"", "[]"} {
			_, err := rawExec(s, "UPDATE credentials SET proofs = '"+text+"'")
			if err == nil {
				t.Errorf("proofs = %q was written", text)
			}
		}
	})
}

// R10: revoked and deleted are final.
func TestAnEndIsFinal(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p := device(1)
		c := token(1, p)
		commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: c})
		end := func(state credential.State) credential.EndCredential {
			return credential.EndCredential{ID: c.ID, State: state, At: day, Reason: string(state)}
		}
		refused(t, s, credential.Internal, end(credential.StateActive))
		commit(t, s, end(credential.StateRevoked))
		c.Version = 2
		for _, op := range []credential.Op{
			end(credential.StateRevoked),
			credential.UpdateCredential{Credential: c},
			credential.CreateCredential{Credential: c},
			credential.SetProofs{ID: c.ID, Version: 2, Proofs: c.Proofs},
		} {
			want := credential.Conflict
			if _, ok := op.(credential.CreateCredential); ok {
				want = credential.Exists
			}
			refused(t, s, want, op)
		}
		commit(t, s, end(credential.StateDeleted))
		refused(t, s, credential.Conflict, end(credential.StateDeleted))
		refused(t, s, credential.Conflict, end(credential.StateRevoked))
		refused(t, s, credential.Conflict, credential.EndCredential{ID: "unknown", State: credential.StateRevoked, At: day})
		r, err := s.Credential(t.Context(), c.ID)
		noErr(t, err)
		equal(t, "state and reason", []any{r.Credential.State, r.Credential.EndReason}, []any{credential.StateDeleted, "revoked"})
	})
}

func TestPolicy(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		yes := true
		scope := credential.Scope{Org: "default", Name: "telemetry:write", Description: "d", Rules: []credential.Rule{
			{Permission: credential.Allow, Action: "mqtt:publish", Resource: "db/#", QoS: []int{0, 1}, Retain: &yes, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		}}
		role := credential.Role{Org: "default", Name: "writer", Scopes: []string{scope.Name}, BuiltIn: true}
		route := credential.Route{Prefix: "/db/", Upstream: "http://127.0.0.1:8086", CreatedAt: day}
		events := commit(t, s, credential.PutScope{Scope: scope}, credential.PutRole{Role: role}, credential.PutRoute{Route: route})
		scope.Version, role.Version, route.Version, route.Source = 1, 1, 1, "api"
		got, err := s.Policy(t.Context())
		noErr(t, err)
		equal(t, "policy", got, credential.Policy{Scopes: []credential.Scope{scope}, Roles: []credential.Role{role}, Routes: []credential.Route{route}, Revision: events[2].Seq})

		again := scope
		again.Version = 0
		refused(t, s, credential.Exists, credential.PutScope{Scope: again})
		refused(t, s, credential.Exists, credential.PutRole{Role: credential.Role{Org: "default", Name: "writer"}})
		refused(t, s, credential.Exists, credential.PutRoute{Route: credential.Route{Prefix: "/db/"}})

		p := device(1)
		p.Roles = []string{role.Name}
		c := token(1, p)
		c.Scopes = []string{scope.Name}
		commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: c})
		refused(t, s, credential.Conflict, credential.DeleteScope{Org: "default", Name: scope.Name, Version: 1}) // the role names it
		refused(t, s, credential.Conflict, credential.DeleteRole{Org: "default", Name: role.Name, Version: 1})   // the principal has it

		role.Scopes = nil
		scope.Rules = nil
		route.Upstream = "https://db.example"
		commit(t, s, credential.PutRole{Role: role}, credential.PutScope{Scope: scope}, credential.PutRoute{Route: route})
		refused(t, s, credential.Conflict, credential.PutRole{Role: role})
		refused(t, s, credential.Conflict, credential.PutScope{Scope: scope})
		refused(t, s, credential.Conflict, credential.PutRoute{Route: route})
		refused(t, s, credential.Conflict, credential.DeleteRoute{Prefix: "/db/", Version: 1})
		refused(t, s, credential.Conflict, credential.DeleteScope{Org: "default", Name: scope.Name, Version: 2}) // the credential names it

		commit(t, s, credential.EndCredential{ID: c.ID, State: credential.StateRevoked, At: day})
		commit(t, s, credential.DeleteScope{Org: "default", Name: scope.Name, Version: 2})
		commit(t, s, credential.DeletePrincipal{ID: p.ID, Version: 1, At: day, Credentials: []string{c.ID}})
		commit(t, s, credential.DeleteRole{Org: "default", Name: role.Name, Version: 2}, credential.DeleteRoute{Prefix: "/db/", Version: 2})
		got, err = s.Policy(t.Context())
		noErr(t, err)
		got.Revision = 0
		equal(t, "policy at the end", got, credential.Policy{})
	})
}

func TestVault(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		ctx := t.Context()
		a := credential.Key{ID: "k1", Purpose: "data", Alg: "aes-256-gcm", Wrapper: "m1", Sealed: []byte{0, 1, 255}, CreatedAt: day}
		b := credential.Key{ID: "k2", Purpose: "ca-root", Alg: "ES256", Wrapper: "k1", Sealed: []byte{2}, Public: []byte{3, 0}, CreatedAt: day.Add(time.Second)}
		commit(t, s, credential.PutKey{Key: b}, credential.PutKey{Key: a})
		a.Wrapper, a.RetiredAt = "m2", day
		commit(t, s, credential.PutKey{Key: a})
		refused(t, s, credential.Internal, credential.PutKey{Key: credential.Key{ID: "k3"}})
		keys, err := s.Keys(ctx)
		noErr(t, err)
		equal(t, "keys", keys, []credential.Key{a, b})

		v, err := s.Setting(ctx, "keystore.check")
		if v != "" || err != nil {
			t.Errorf("setting before it was put: %q, %v", v, err)
		}
		for _, want := range []string{"one", "two"} {
			commit(t, s, credential.PutSetting{Name: "keystore.check", Value: want})
			v, err = s.Setting(ctx, "keystore.check")
			noErr(t, err)
			equal(t, "setting", v, want)
		}

		// X06: what was reserved and never settled is known.
		one := credential.Serial{Serial: "0a", For: "pump-1", ReservedAt: day}
		two := credential.Serial{Serial: "0b", For: "pump-2", ReservedAt: day.Add(time.Second)}
		for _, n := range []credential.Serial{two, one} {
			_, err := s.Commit(ctx, credential.Change{Ops: []credential.Op{credential.ReserveSerial{Serial: n}}}) // needs no event
			noErr(t, err)
		}
		refused(t, s, credential.Exists, credential.ReserveSerial{Serial: one}) // X04
		open, err := s.Serials(ctx, day.Add(time.Hour))
		noErr(t, err)
		equal(t, "open serials", open, []credential.Serial{one, two})
		open, err = s.Serials(ctx, day.Add(time.Second))
		noErr(t, err)
		equal(t, "open serials before", open, []credential.Serial{one})
		commit(t, s, credential.SettleSerial{Serial: "0a", Credential: "c", At: day}, credential.SettleSerial{Serial: "0b", At: day})
		refused(t, s, credential.Conflict, credential.SettleSerial{Serial: "0a", Credential: "c", At: day})
		open, err = s.Serials(ctx, day.Add(time.Hour))
		noErr(t, err)
		equal(t, "open serials at the end", open, []credential.Serial(nil))
	})
}

func TestEveryChangeHasAnEvent(t *testing.T) { // A05
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		for _, c := range []credential.Change{
			{},
			{Ops: []credential.Op{credential.CreatePrincipal{Principal: device(1)}}},
			{Ops: []credential.Op{credential.PutSetting{Name: "a", Value: "b"}, credential.PutKey{Key: credential.Key{ID: "k"}}}},
		} {
			if _, err := s.Commit(t.Context(), c); err == nil || credential.KindOf(err) != credential.Internal {
				t.Errorf("%+v: %v", c, err)
			}
		}
		noOps, err := s.Commit(t.Context(), credential.Change{Events: []credential.Event{{Type: "admin.token"}}})
		noErr(t, err)
		equal(t, "event", []any{noOps[0].Seq, noOps[0].At, len(noOps[0].Hash), len(noOps[0].ID) >= 16}, []any{int64(1), day, 32, true})

		const secret = "cardea_dev_0123456789ab0123456789abcdefghijklmnopqrstuv000000"
		for _, e := range []credential.Event{ // A07
			{Type: "x", Detail: map[string]string{"name": "was " + secret}},
			{Type: "x", Detail: map[string]string{secret: ""}},
			{Type: "x", Reason: secret},
			{Type: "x", Actor: credential.Actor{Credential: secret}},
			{Type: "x", Subject: credential.Subject{Name: "\xff"}},
			{Type: "x", Reason: "a\x00b"},
		} {
			if _, err := s.Commit(t.Context(), credential.Change{Events: []credential.Event{e}}); err == nil {
				t.Errorf("%+v was committed", e)
			}
		}
	})
}
