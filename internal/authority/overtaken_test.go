package authority

import (
	"testing"

	"cardea/internal/credential"
)

// overtake makes somebody else act between what the next act has read and its commit, once.
func (h *house) overtake(act func()) {
	done := false
	h.fault.set(func(credential.Change) error {
		if !done {
			done = true
			act()
		}
		return nil
	}, nil)
}

// J26: a scope or a role that is removed between check and commit is not given to anybody. The act is tried again, and says which name is gone.
func TestNameThatGoesMeanwhile(t *testing.T) {
	h := newHouse(t)
	h.scope("s", allow("http:GET", "/a"))
	h.scope("stays", allow("http:GET", "/a"))
	h.role("r", "stays")
	p := h.principal(credential.Service, "svc")
	key := h.apiKey("svc").Credential
	names := []string{"stays", "s"}
	for what, act := range map[string]func() error{
		"scopes[1]": func() error {
			_, err := h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.APIKey, Principal: p.Name, Scopes: names, TTL: day})
			return err
		},
		"credentials[0].scopes[1]": func() error {
			_, err := h.CreateCredentials(t.Context(), h.local, []NewCredential{{Kind: credential.APIKey, Principal: p.Name, Scopes: names, TTL: day}})
			return err
		},
		"scopes[1] of a changed credential": func() error {
			_, err := h.UpdateCredential(t.Context(), h.local, key.ID, CredentialPatch{Scopes: &names})
			return err
		},
		"scopes[1] of a role": func() error {
			_, err := h.PutRole(t.Context(), h.local, credential.Role{Name: "new", Scopes: names})
			return err
		},
		"scopes[1] of a key": func() error {
			_, err := h.GenerateKey(t.Context(), h.local, NewKey{ID: "d", Scopes: names})
			return err
		},
	} {
		h.overtake(func() { h.must(h.DeleteScope(t.Context(), h.local, "s")) })
		err := act()
		h.fault.set(nil, nil)
		fails(t, err, credential.Invalid, "scopes[1] does not exist: s")
		if t.Failed() {
			t.Fatal(what)
		}
		h.scope("s", allow("http:GET", "/a"))
	}
	roles := []string{"r"}
	for _, act := range []func() error{
		func() error {
			_, err := h.CreatePrincipal(t.Context(), h.local, NewPrincipal{Kind: credential.Service, Name: "new", Roles: roles})
			return err
		},
		func() error {
			_, err := h.UpdatePrincipal(t.Context(), h.local, p.ID, PrincipalPatch{Roles: &roles})
			return err
		},
	} {
		h.overtake(func() { h.must(h.DeleteRole(t.Context(), h.local, "r")) })
		err := act()
		h.fault.set(nil, nil)
		fails(t, err, credential.Invalid, "roles[0] does not exist: r")
		h.role("r", "stays")
	}
}

// L04: a credential that is made while its principal is being deleted ends with an event of its own.
func TestCredentialMadeWhileItsPrincipalIsDeleted(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	h.apiKey("svc")
	var late Issued
	before := h.head()
	h.overtake(func() { late = h.apiKey("svc") })
	h.must(h.DeletePrincipal(t.Context(), h.local, "svc", ""))
	events := h.events(before)
	if got := types(events); got != "credential.create principal.delete credential.delete credential.delete" {
		t.Fatal(got)
	}
	if events[2].Subject.ID != late.Credential.ID && events[3].Subject.ID != late.Credential.ID {
		t.Error("no event says that the late credential has ended")
	}
}
