package authority

import (
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
)

// exercised records that scopes have let a credential do something a while ago.
func (h *house) exercised(id string, ago time.Duration, scopes ...string) {
	h.t.Helper()
	var r credential.Records
	for _, s := range scopes {
		r.Exercised = append(r.Exercised, credential.Exercise{Credential: id, Scope: s, LastAt: h.clock.now().Add(-ago)})
	}
	h.must(h.store.Record(h.t.Context(), r))
}

// shop makes the scopes and the role that these tests are about.
func (h *house) shop() {
	h.t.Helper()
	h.scope("read", allow("http:GET", "/db/**"))
	h.scope("write", allow("http:POST", "/db/**"))
	h.scope("never", credential.Rule{Permission: credential.Deny, Action: "http:*", Resource: "/db/secret/**"})
	h.role("clerk", "read", "write", "never")
	h.role("reader", "read")
}

// What is suggested is what was made use of, and never less than what denies: that would be more.
func TestSuggestions(t *testing.T) {
	h := newHouse(t)
	h.shop()
	h.principal(credential.Service, "billing", "clerk")
	h.principal(credential.Service, "viewer", "reader")
	make := func(principal string, scopes ...string) string {
		is, err := h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.APIKey, Principal: principal, TTL: 300 * day, Scopes: scopes})
		h.must(err)
		return is.Credential.ID
	}
	all, own, idle, full, narrow := make("billing"), make("billing", "read", "write"), make("billing", "read", "never"), make("billing", "read"), make("viewer")
	h.clock.add(40 * day)
	young := make("billing")
	h.exercised(all, 10*day, "read")
	h.exercised(all, 35*day, "write")
	h.exercised(own, day, "write")
	h.exercised(full, day, "read")
	want := map[string]string{
		all:    "narrow never read; idle write",
		own:    "narrow write; idle read",
		idle:   "revoke never; idle read",
		full:   "",
		narrow: "", // one scope: there is nothing between it and nothing
		young:  "",
	}
	text := func(s *Suggestion) string {
		switch {
		case s == nil:
			return ""
		case s.Revoke:
			return "revoke " + names(s.Scopes) + "; idle " + names(s.Idle)
		}
		return "narrow " + names(s.Scopes) + "; idle " + names(s.Idle)
	}
	since := h.clock.now().Add(-30 * day)
	list, _, err := h.Credentials(t.Context(), h.local, credential.CredentialFilter{Kind: credential.APIKey})
	h.must(err)
	better, err := h.Suggestions(t.Context(), h.local, list, since)
	h.must(err)
	for i, s := range better {
		if w, asked := want[list[i].ID]; asked && text(s) != w {
			t.Errorf("%s of %s: %q, want %q", list[i].ID, list[i].PrincipalName, text(s), w)
		}
	}
	for id, w := range want {
		r, err := h.Usage(t.Context(), h.local, id, 30)
		h.must(err)
		if text(r.Suggestion) != w {
			t.Errorf("%s: %q, want %q", id, text(r.Suggestion), w)
		}
	}
	// The list says of the same ones that they are over-privileged.
	over, _, err := h.Credentials(t.Context(), h.local, credential.CredentialFilter{OverPrivileged: since})
	h.must(err)
	listed := map[string]bool{}
	for _, l := range over {
		listed[l.ID] = true
	}
	for id, w := range want {
		if listed[id] != (w != "") {
			t.Errorf("%s is listed: %v, but what is suggested is %q", id, listed[id], w)
		}
	}
	inv, err := h.Inventory(t.Context(), h.local)
	h.must(err)
	if inv.OverPrivileged != int64(len(over)) {
		t.Errorf("%d are counted, %d listed", inv.OverPrivileged, len(over))
	}
}

// W07: nothing of another organisation is counted, listed or told of, and each use case asks for its right.
func TestInventoryIsOnesOwn(t *testing.T) {
	h := newHouse(t)
	h.shop()
	h.principal(credential.Service, "billing", "clerk")
	key := h.apiKey("billing").Credential.ID
	theirs := h.org("north")
	inv, err := h.Inventory(t.Context(), theirs)
	h.must(err)
	if len(inv.Kinds) != 0 || inv.Usable != 0 || len(inv.Projects) != 0 {
		t.Errorf("of another organisation: %+v", inv)
	}
	_, err = h.Usage(t.Context(), theirs, key, 30)
	fails(t, err, credential.NotFound)
	over, _, err := h.Credentials(t.Context(), theirs, credential.CredentialFilter{OverPrivileged: h.clock.now().Add(time.Hour)})
	h.must(err)
	if len(over) != 0 {
		t.Errorf("%d of another organisation are listed", len(over))
	}
	_, err = h.Inventory(t.Context(), h.caller("api:credentials:read /credentials/*"))
	fails(t, err, credential.NoRight, "inventory:read")
	_, err = h.Inventory(t.Context(), h.caller("api:inventory:read /inventory/*"))
	h.must(err)
	_, err = h.Usage(t.Context(), h.caller("api:inventory:read /inventory/*"), key, 30)
	fails(t, err, credential.NotFound)
	_, err = h.Usage(t.Context(), h.caller("api:credentials:read /credentials/billing"), key, 30)
	h.must(err)
}

// What lets a caller do something is told, by scope.
func TestAuthorizeTellsTheScope(t *testing.T) {
	h := newHouse(t)
	c := h.caller("api:inventory:read /inventory/*")
	var told []string
	c.Exercised = func(scope string) { told = append(told, scope) }
	_, err := h.Inventory(t.Context(), c)
	h.must(err)
	_, _, err = h.Credentials(t.Context(), c, credential.CredentialFilter{})
	fails(t, err, credential.NoRight)
	if strings.Join(told, " ") != "test" {
		t.Errorf("told: %v", told)
	}
}
