package authority

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"cardea/internal/audit"
	"cardea/internal/credential"
)

// acts is every use case that changes something, with the events that it leaves.
func acts() []struct {
	events string
	act    func(h *house) error
} {
	text := "x"
	until := func(h *house) time.Time { return h.clock.now().Add(700 * day) }
	return []struct {
		events string
		act    func(h *house) error
	}{
		{"principal.create", func(h *house) error {
			_, err := h.CreatePrincipal(h.t.Context(), h.local, NewPrincipal{Kind: credential.Device, Name: "new"})
			return err
		}},
		{"principal.update", func(h *house) error {
			_, err := h.UpdatePrincipal(h.t.Context(), h.local, "svc", PrincipalPatch{Description: &text})
			return err
		}},
		{"credential.create", func(h *house) error {
			_, err := h.CreateCredential(h.t.Context(), h.local, NewCredential{Kind: credential.APIKey, Principal: "svc"})
			return err
		}},
		{"credential.create", func(h *house) error {
			_, err := h.CreateCredential(h.t.Context(), h.local, NewCredential{Kind: credential.Certificate, Principal: "svc"})
			return err
		}},
		{"credential.create", func(h *house) error {
			_, err := h.CreateCredential(h.t.Context(), h.local, NewCredential{Kind: credential.SCRAM, Principal: "svc"})
			return err
		}},
		{"credential.rotate", func(h *house) error {
			_, err := h.Rotate(h.t.Context(), h.local, h.key(), Rotation{Overlap: day})
			return err
		}},
		{"credential.update", func(h *house) error {
			_, err := h.UpdateCredential(h.t.Context(), h.local, h.key(), CredentialPatch{Name: &text})
			return err
		}},
		{"credential.rotate", func(h *house) error {
			_, err := h.Rotate(h.t.Context(), h.local, h.key(), Rotation{Overlap: day})
			return err
		}},
		{"credential.retire", func(h *house) error {
			_, err := h.Retire(h.t.Context(), h.local, h.key(), 1, true)
			return err
		}},
		{"credential.create", func(h *house) error {
			_, err := h.CreateCredentials(h.t.Context(), h.local, []NewCredential{{Kind: credential.APIKey, Principal: "svc", TTL: day}})
			return err
		}},
		{"credential.extend", func(h *house) error {
			_, err := h.Extend(h.t.Context(), h.local, h.token(), until(h))
			return err
		}},
		{"credential.quarantine", func(h *house) error {
			_, err := h.Quarantine(h.t.Context(), h.local, h.token(), "why")
			return err
		}},
		{"credential.release", func(h *house) error {
			_, err := h.Release(h.t.Context(), h.local, h.token(), "why")
			return err
		}},
		{"credential.revoke", func(h *house) error {
			_, err := h.Revoke(h.t.Context(), h.local, h.token(), "why")
			return err
		}},
		{"credential.delete", func(h *house) error { return h.DeleteCredential(h.t.Context(), h.local, h.key(), "why") }},
		{"scope.create", func(h *house) error {
			_, err := h.PutScope(h.t.Context(), h.local, credential.Scope{Name: "s2", Rules: []credential.Rule{allow("http:GET", "/y")}})
			return err
		}},
		{"scope.update", func(h *house) error {
			_, err := h.PutScope(h.t.Context(), h.local, credential.Scope{Name: "s", Version: 1, Rules: []credential.Rule{allow("http:GET", "/y")}})
			return err
		}},
		{"role.create", func(h *house) error {
			_, err := h.PutRole(h.t.Context(), h.local, credential.Role{Name: "r2", Scopes: []string{"s"}})
			return err
		}},
		{"role.update", func(h *house) error {
			_, err := h.PutRole(h.t.Context(), h.local, credential.Role{Name: "r2", Version: 1, Scopes: []string{}})
			return err
		}},
		{"role.delete", func(h *house) error { return h.DeleteRole(h.t.Context(), h.local, "r2") }},
		{"scope.delete", func(h *house) error { return h.DeleteScope(h.t.Context(), h.local, "s") }},
		{"route.create", func(h *house) error {
			_, err := h.PutRoute(h.t.Context(), h.local, credential.Route{Prefix: "/app/", Upstream: "http://127.0.0.1:1"})
			return err
		}},
		{"route.update", func(h *house) error {
			_, err := h.PutRoute(h.t.Context(), h.local, credential.Route{Prefix: "/app/", Upstream: "http://127.0.0.1:2", Version: 1})
			return err
		}},
		{"route.delete", func(h *house) error { return h.DeleteRoute(h.t.Context(), h.local, "/app/") }},
		{"principal.create credential.create credential.create", func(h *house) error {
			_, err := h.GenerateKey(h.t.Context(), h.local, NewKey{ID: "pump-1"})
			return err
		}},
		{"credential.rotate credential.rotate", func(h *house) error {
			_, err := h.RotateKey(h.t.Context(), h.local, "pump-1", Rotation{Overlap: day})
			return err
		}},
		{"principal.delete credential.delete credential.delete", func(h *house) error { return h.DeletePrincipal(h.t.Context(), h.local, "pump-1", "why") }},
		{"principal.create credential.create", func(h *house) error {
			_, _, err := h.AdminToken(h.t.Context(), h.local)
			return err
		}},
		{"principal.create credential.revoke", func(h *house) error {
			_, err := h.CreatePrincipal(h.t.Context(), h.local, NewPrincipal{Kind: credential.User, Name: "ada"})
			return err
		}},
		{"system.link", func(h *house) error { _, _, err := h.AdminLink(h.t.Context(), h.local); return err }},
		{"system.backup", func(h *house) error { return h.Backup(h.t.Context(), h.local, new(bytes.Buffer)) }},
		{"system.clock", func(h *house) error {
			h.clock.add(time.Second)
			return h.AcceptClock(h.t.Context(), h.local)
		}},
	}
}

// A05 and A01: each use case leaves exactly one event for each thing that it changes, which says who, what, from where and when;
// and if the change cannot be written nothing succeeds and nothing is left.
func TestEachChangeLeavesItsEvents(t *testing.T) {
	h := furnished(t)
	for _, tc := range acts() {
		t.Run(tc.events, func(t *testing.T) {
			before, dump := h.head(), h.dump()
			h.fault.set(func(c credential.Change) error {
				if len(c.Events) == 0 {
					return nil // a serial number is reserved
				}
				return down()
			}, nil)
			fails(t, tc.act(h), credential.Down)
			h.fault.set(nil, nil)
			if h.head() != before || h.dump() != dump {
				t.Fatal("an act that failed left something")
			}
			h.must(tc.act(h))
			events := h.events(before)
			if got := types(events); got != tc.events {
				t.Fatalf("events %s, want %s", got, tc.events)
			}
			for _, e := range events {
				if e.Actor != h.local.Actor || !e.At.Equal(h.clock.now()) || e.Subject.ID == "" || e.Org != credential.DefaultOrg {
					t.Errorf("event %+v", e)
				}
			}
		})
	}
	state, err := h.VerifyLog(t.Context(), h.local)
	h.must(err)
	if !state.OK || state.Events != h.head() {
		t.Errorf("the log is %+v", state)
	}
}

// A07, K01, K02: no secret that was ever shown is in an event, in an answer that is read later, or in the database.
func TestSecretsAreNowhere(t *testing.T) {
	h := newHouse(t)
	b, err := h.GenerateKey(t.Context(), h.local, NewKey{ID: "pump-1", Idempotency: "k1"})
	h.must(err)
	r, err := h.RotateKey(t.Context(), h.local, "pump-1", Rotation{Overlap: day, Idempotency: "k2"})
	h.must(err)
	token, _, err := h.AdminToken(t.Context(), h.local)
	h.must(err)
	link, _, err := h.AdminLink(t.Context(), h.local)
	h.must(err)
	secrets := []string{b.Token.Secret.Reveal(), r.Token.Secret.Reveal(), token.Reveal(), link.Reveal()}
	for _, pem := range []string{b.Certificate.PrivateKey.Reveal(), r.Certificate.PrivateKey.Reveal()} {
		secrets = append(secrets, strings.Split(pem, "\n")[1])
	}
	var dump bytes.Buffer
	h.must(h.store.Dump(t.Context(), &dump))
	d, err := h.Credential(t.Context(), h.local, b.Token.Credential.ID)
	h.must(err)
	for _, e := range h.events(0) {
		line, err := audit.Line(&e)
		h.must(err)
		dump.Write(line)
	}
	for _, s := range secrets {
		part := s[len(s)/2:]
		if len(part) < 12 || strings.Contains(dump.String(), part) || strings.Contains(sprint(d, b, r), part) {
			t.Errorf("a secret was found")
		}
	}
}

// A06: the first altered event is found.
func TestVerifyLogFindsTampering(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "a")
	at := h.head()
	h.principal(credential.Service, "b")
	state, err := h.VerifyLog(t.Context(), h.local)
	h.must(err)
	if !state.OK || state.Events != at+1 || len(state.Head) != 32 {
		t.Errorf("the log is %+v", state)
	}
	h.sql("UPDATE events SET subject_name = 'c' WHERE seq = ?", at)
	state, err = h.VerifyLog(t.Context(), h.local)
	h.must(err)
	if state.OK || state.Seq != at || state.Events != at-1 || state.Wrong == "" {
		t.Errorf("the log is %+v", state)
	}
}

// Lists have a size and an order; the filter's organisation is the caller's.
func TestEventsAreLimited(t *testing.T) {
	h := newHouse(t)
	for i := range 60 {
		h.principal(credential.Device, "d"+strings.Repeat("x", i+1))
	}
	all, err := h.Events(t.Context(), h.local, credential.EventFilter{Newest: true})
	h.must(err)
	if len(all) != defaultLimit || all[0].Seq != h.head() {
		t.Errorf("%d events, the first is %d", len(all), all[0].Seq)
	}
	some, err := h.Events(t.Context(), h.local, credential.EventFilter{Org: credential.DefaultOrg, Type: "principal.create", Limit: 100000})
	h.must(err)
	if len(some) != 60 {
		t.Errorf("%d events", len(some))
	}
}
