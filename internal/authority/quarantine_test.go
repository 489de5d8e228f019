package authority

import (
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
)

// Quarantine answers after the gate decides by it, says since when and why, and leaves one event; a second one changes nothing.
func TestQuarantineAndRelease(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.scope(credential.ScopeQuarantine, allow("http:GET", "/firmware/**"))
	h.principal(credential.Service, "svc", credential.RoleAdmin)
	is := h.apiKey("svc")
	id, token := is.Credential.ID, is.Secret.Reveal()
	before := h.head()
	q, err := h.Quarantine(ctx, h.local, id, "noise")
	h.must(err)
	c := q.Credential
	if c.State != credential.StateQuarantined || !c.EndedAt.Equal(h.clock.now()) || c.EndReason != "noise" || c.Version != 2 || len(q.Warnings) > 0 {
		t.Errorf("answer %+v", q)
	}
	if got := h.scopesOf(token); got != credential.ScopeQuarantine {
		t.Errorf("the gate gives it %q", got)
	}
	e := h.events(before)
	if types(e) != "credential.quarantine" || e[0].Reason != "noise" || e[0].Subject.Name != "svc" || e[0].Detail["state.old"] != "active" || e[0].Detail["state.new"] != "quarantined" {
		t.Errorf("events %+v", e)
	}
	again, err := h.Quarantine(ctx, h.local, id, "other words")
	h.must(err)
	if again.Credential.EndReason != "noise" || h.head() != before+1 {
		t.Error("the second time changed something")
	}

	back, err := h.Release(ctx, h.local, id, "new firmware")
	h.must(err)
	if back.State != credential.StateActive || !back.EndedAt.IsZero() || back.EndReason != "" || back.Version != 3 {
		t.Errorf("answer %+v", back)
	}
	if got := h.scopesOf(token); got != credential.ScopeAdmin {
		t.Errorf("the gate gives it %q", got)
	}
	if e := h.events(before + 1); types(e) != "credential.release" || e[0].Reason != "new firmware" || e[0].Detail["state.new"] != "active" {
		t.Errorf("events %+v", e)
	}
	_, err = h.Release(ctx, h.local, id, "")
	h.must(err)
	if h.head() != before+2 {
		t.Error("the second release changed something")
	}
	_, err = h.Quarantine(ctx, h.local, id, strings.Repeat("x", 257))
	fails(t, err, credential.Invalid, "reason")
	_, err = h.Release(ctx, h.local, id, strings.Repeat("x", 257))
	fails(t, err, credential.Invalid, "reason")
}

// scopesOf is what the gate says a token has.
func (h *house) scopesOf(token string) string {
	h.t.Helper()
	v := h.gate.Verify(h.t.Context(), credential.DefaultOrg, &gate.Evidence{Token: token}, nil, false)
	if !v.Allowed {
		h.t.Fatalf("refused: %s", v.Reason)
	}
	return strings.Join(v.Identity.Scopes, " ")
}

// R10: from quarantine it goes on to every end, and from no end to quarantine or out of it.
func TestQuarantineAndTheEnd(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.Service, "svc")
	for what, end := range map[string]func(id string) error{
		"revoke": func(id string) error {
			c, err := h.Revoke(ctx, h.local, id, "stolen")
			if c.State != credential.StateRevoked || c.EndReason != "stolen" {
				t.Errorf("answer %+v", c)
			}
			return err
		},
		"delete": func(id string) error { return h.DeleteCredential(ctx, h.local, id, "stolen") },
	} {
		is := h.apiKey("svc")
		id := is.Credential.ID
		_, err := h.Quarantine(ctx, h.local, id, "noise")
		h.must(err)
		h.must(end(id))
		if r := h.knock(is.Secret.Reveal()); r != credential.Revoked {
			t.Errorf("%s: the gate says %s", what, r)
		}
		if rec, err := h.store.Credential(ctx, id); err != nil || rec.Credential.EndReason != "stolen" {
			t.Errorf("%s: %+v, %v", what, rec.Credential, err)
		}
		kind := credential.Conflict
		if what == "delete" {
			kind = credential.NotFound
		}
		_, err = h.Quarantine(ctx, h.local, id, "")
		fails(t, err, kind)
		_, err = h.Release(ctx, h.local, id, "")
		fails(t, err, kind)
	}
}

// In quarantine a credential is kept like any other: it is changed, rotated, retired and extended, and stays there.
func TestWhatGoesOnInQuarantine(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.scope("s", allow("http:GET", "/x"))
	h.principal(credential.Service, "svc")
	is, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.APIKey, Principal: "svc", Scopes: []string{"s"}, TTL: 30 * day})
	h.must(err)
	id, name := is.Credential.ID, "caught"
	_, err = h.Quarantine(ctx, h.local, id, "noise")
	h.must(err)
	fails(t, h.DeleteScope(ctx, h.local, "s"), credential.Conflict, "credential "+id)
	_, err = h.UpdateCredential(ctx, h.local, id, CredentialPatch{Name: &name})
	h.must(err)
	next, err := h.Rotate(ctx, h.local, id, Rotation{Overlap: time.Hour})
	h.must(err)
	_, err = h.Retire(ctx, h.local, id, 1, true)
	h.must(err)
	c, err := h.Extend(ctx, h.local, id, h.clock.now().Add(60*day))
	h.must(err)
	if c.State != credential.StateQuarantined || h.scopesOf(next.Secret.Reveal()) != credential.ScopeQuarantine {
		t.Errorf("it is %s", c.State)
	}
	h.must(h.DeletePrincipal(ctx, h.local, "svc", ""))
	if r := h.knock(next.Secret.Reveal()); r != credential.Revoked {
		t.Errorf("its principal is deleted, and the gate says %s", r)
	}
}

// A device's key in quarantine is rotated in both its parts, and its certificate's end is still spoken of.
func TestKeyInQuarantine(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	b, err := h.GenerateKey(ctx, h.local, NewKey{ID: "pump-1"})
	h.must(err)
	for _, is := range []Issued{b.Token, b.Certificate} {
		_, err := h.Quarantine(ctx, h.local, is.Credential.ID, "")
		h.must(err)
	}
	e, err := h.ExtendCredential(ctx, h.local, b.Token.Credential.ID, h.clock.now().Add(2000*day))
	h.must(err)
	if len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], "the certificate "+b.Certificate.Credential.ID) {
		t.Errorf("warnings %q", e.Warnings)
	}
	r, err := h.RotateKey(ctx, h.local, "pump-1", Rotation{Overlap: time.Hour})
	h.must(err)
	if r.Token.Credential.ID != b.Token.Credential.ID || r.Certificate.Credential.State != credential.StateQuarantined {
		t.Errorf("rotated %+v", r)
	}
}

// What an administrator may not expect is said: that there is no scope, and what its principal can go on with.
func TestWarningsOfQuarantine(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.Service, "svc")
	one := h.apiKey("svc")
	q, err := h.Quarantine(ctx, h.local, one.Credential.ID, "")
	h.must(err)
	if len(q.Warnings) != 1 || !strings.Contains(q.Warnings[0], "no scope quarantine") {
		t.Errorf("warnings %q", q.Warnings)
	}
	h.scope(credential.ScopeQuarantine, allow("http:GET", "/firmware/**"))
	two := h.apiKey("svc")
	q, err = h.Quarantine(ctx, h.local, one.Credential.ID, "")
	h.must(err)
	if len(q.Warnings) != 1 || !strings.Contains(q.Warnings[0], "svc has other credentials") || !strings.HasSuffix(q.Warnings[0], ": "+two.Credential.ID+" (api_key)") {
		t.Errorf("warnings %q", q.Warnings)
	}
	for range fewUsers + 1 {
		h.apiKey("svc")
	}
	q, err = h.Quarantine(ctx, h.local, two.Credential.ID, "")
	h.must(err)
	if len(q.Warnings) != 1 || strings.Contains(q.Warnings[0], one.Credential.ID) || strings.Contains(q.Warnings[0], two.Credential.ID) || !strings.HasSuffix(q.Warnings[0], " and others") {
		t.Errorf("warnings %q", q.Warnings)
	}
}

// J26: what is given back is what was looked at, also if the principal gets a role, or the credential scopes, meanwhile.
func TestReleaseIsOvertaken(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.scope("read", allow("http:GET", "/db/**"))
	h.scope("write", allow("http:POST", "/db/**"))
	h.role("reader", "read")
	h.role("writer", "write")
	c := h.caller("api:credentials:* *", "http:GET /db/**")
	for what, grow := range map[string]func(id string) error{
		"a role": func(string) error {
			_, err := h.UpdatePrincipal(ctx, h.local, "role", PrincipalPatch{Roles: &[]string{"writer"}})
			return err
		},
		"scopes": func(id string) error {
			_, err := h.UpdateCredential(ctx, h.local, id, CredentialPatch{Scopes: &[]string{"write"}})
			return err
		},
	} {
		name, roles, scopes := "role", []string{"reader"}, []string(nil)
		if what == "scopes" {
			name, roles, scopes = "scopes", []string{"writer"}, []string{"read"}
		}
		h.principal(credential.Service, name, roles...)
		is, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.APIKey, Principal: name, Scopes: scopes, TTL: day})
		h.must(err)
		_, err = h.Quarantine(ctx, c, is.Credential.ID, "")
		h.must(err)
		h.overtake(func() { h.must(grow(is.Credential.ID)) })
		_, err = h.Release(ctx, c, is.Credential.ID, "")
		h.fault.set(nil, nil)
		fails(t, err, credential.NoRight, "nobody grants what they do not have")
	}
}

// W08: with the first user a bootstrap token ends, in quarantine or not.
func TestBootstrapTokenInQuarantineEnds(t *testing.T) {
	h := newHouse(t)
	token, _, err := h.AdminToken(t.Context(), h.local)
	h.must(err)
	_, err = h.Quarantine(t.Context(), h.local, h.token(), "")
	h.must(err)
	h.principal(credential.User, "ada")
	if r := h.knock(token.Reveal()); r != credential.Revoked {
		t.Errorf("the gate says %s", r)
	}
}
