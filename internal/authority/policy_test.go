package authority

import (
	"fmt"
	"strings"
	"testing"

	"cardea/internal/credential"
)

// A scope or a role in use is not deleted; the refusal names some of its users.
func TestWhatIsInUseIsNotDeleted(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.scope("s", allow("http:GET", "/x"))
	h.role("r", "s")
	for i := range 5 {
		h.principal(credential.Service, fmt.Sprintf("svc-%d", i), "r")
	}
	fails(t, h.DeleteScope(ctx, h.local, "s"), credential.Conflict, "role r")
	fails(t, h.DeleteRole(ctx, h.local, "r"), credential.Conflict, "service svc-0", "service svc-2", "and others")
	is, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.APIKey, Principal: "svc-0", Scopes: []string{"s"}, TTL: day})
	h.must(err)
	_, err = h.UpdatePrincipal(ctx, h.local, "svc-0", PrincipalPatch{Roles: &[]string{}})
	h.must(err)
	for i := 1; i < 5; i++ {
		h.must(h.DeletePrincipal(ctx, h.local, fmt.Sprintf("svc-%d", i), ""))
	}
	h.must(h.DeleteRole(ctx, h.local, "r"))
	fails(t, h.DeleteScope(ctx, h.local, "s"), credential.Conflict, "credential "+is.Credential.ID+" of svc-0")
	h.clock.add(2 * day) // expired is not ended: it can be rotated
	fails(t, h.DeleteScope(ctx, h.local, "s"), credential.Conflict, is.Credential.ID)
	_, err = h.Revoke(ctx, h.local, is.Credential.ID, "")
	h.must(err)
	h.must(h.DeleteScope(ctx, h.local, "s"))
	fails(t, h.DeleteScope(ctx, h.local, "s"), credential.NotFound)
}

func TestBadScopesAndRolesNameEveryField(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	before := h.head()
	_, err := h.PutScope(ctx, h.local, credential.Scope{
		Name: "Bad Name", Description: "a\x00b",
		Rules: []credential.Rule{allow("http:GET", "/x"), allow("smtp:send", "x"), {Permission: "perhaps", Action: "http:GET", Resource: "no-slash"}},
	})
	fails(t, err, credential.Invalid)
	for _, f := range []string{"name", "description", "rules[1].action", "rules[2].permission", "rules[2].resource"} {
		if !strings.Contains(" "+fields(err)+" ", " "+f+" ") {
			t.Errorf("fields %q lack %s", fields(err), f)
		}
	}
	for what, s := range map[string]credential.Scope{
		"no rules": {Name: "s"}, "too many rules": {Name: "s", Rules: make([]credential.Rule, 257)},
	} {
		_, err := h.PutScope(ctx, h.local, s)
		fails(t, err, credential.Invalid)
		if fields(err) != "rules" {
			t.Errorf("%s: fields %q", what, fields(err))
		}
	}
	_, err = h.PutRole(ctx, h.local, credential.Role{Name: "a/b", Scopes: []string{"nope", "nope"}})
	fails(t, err, credential.Invalid)
	if got := fields(err); got != "name scopes[0] scopes[1] scopes[1]" {
		t.Errorf("fields %q", got)
	}
	if h.head() != before {
		t.Error("something was stored")
	}
}

func TestBadPrincipalsNameEveryField(t *testing.T) {
	h := newHouse(t)
	before := h.head()
	_, err := h.CreatePrincipal(t.Context(), h.local, NewPrincipal{
		Kind: "robot", Name: "a/../b", Description: strings.Repeat("x", 1025), Roles: []string{"nope"}, Attrs: map[string]string{"a": "b\nc"},
	})
	fails(t, err, credential.Invalid)
	if got := fields(err); got != "kind name description roles[0] attrs.a" {
		t.Errorf("fields %q", got)
	}
	if h.head() != before {
		t.Error("something was stored")
	}
	h.principal(credential.Service, "svc")
	_, err = h.CreatePrincipal(t.Context(), h.local, NewPrincipal{Kind: credential.Device, Name: "svc"})
	fails(t, err, credential.Exists, "svc")
	_, err = h.UpdatePrincipal(t.Context(), h.local, "svc", PrincipalPatch{Roles: &[]string{"nope"}, Version: 1})
	fails(t, err, credential.Invalid)
	_, err = h.UpdatePrincipal(t.Context(), h.local, "svc", PrincipalPatch{Version: 7})
	fails(t, err, credential.Conflict)
	for _, ref := range []string{"", "nobody", "' OR 1=1 --", strings.Repeat("x", 100000)} { // H23
		_, err = h.Principal(t.Context(), h.local, ref)
		fails(t, err, credential.NotFound)
		if len(err.Error()) > 200 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
}

// Creating what is there is Exists, changing what was changed is a Conflict, a change of rules takes effect at once.
func TestPolicyVersions(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	s := h.scope("s", allow("http:GET", "/x"))
	if s.Version != 1 {
		t.Errorf("version %d", s.Version)
	}
	_, err := h.PutScope(ctx, h.local, credential.Scope{Name: "s", Rules: s.Rules})
	fails(t, err, credential.Exists, "scope")
	s.Description = "d"
	n, err := h.PutScope(ctx, h.local, s)
	h.must(err)
	if got, err := h.Scope(ctx, h.local, "s"); err != nil || got.Version != n.Version || n.Version != 2 {
		t.Errorf("answered version %d, stored %d, %v", n.Version, got.Version, err)
	}
	s.Description = "e"
	_, err = h.PutScope(ctx, h.local, s)
	fails(t, err, credential.Conflict, "version 2")
	_, err = h.PutScope(ctx, h.local, credential.Scope{Name: "none", Version: 3, Rules: s.Rules})
	fails(t, err, credential.NotFound)
	h.role("r", "s")
	_, err = h.PutRole(ctx, h.local, credential.Role{Name: "r"})
	fails(t, err, credential.Exists)
	_, err = h.PutRole(ctx, h.local, credential.Role{Name: "r", Version: 4})
	fails(t, err, credential.Conflict)
}
