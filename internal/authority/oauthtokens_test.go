package authority

import (
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// J18, R01: who has an access token may end it, its client too, and whoever may revoke what it was made for; nobody else, and nobody learns of it.
func TestRevokeToken(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.Service, "billing")
	h.principal(credential.Service, "proxy")
	is, other := h.mustClient(credential.ClientConfig{}), h.apiKey("proxy")
	jti := 0
	revoke := func(c Caller, change func(*credential.DeniedToken)) error {
		jti++
		d := credential.DeniedToken{ID: strings.Repeat(string(rune('a'+jti)), 12), Credential: is.Credential.ID, Shown: true, Until: h.clock.now().Add(time.Hour)}
		if change != nil {
			change(&d)
		}
		return h.RevokeToken(ctx, c, d, "left on a train")
	}
	as := func(principal, credential string, rules ...string) Caller {
		c := h.caller(rules...)
		c.Actor.Principal, c.Actor.Credential = principal, credential
		return c
	}
	denied := func() int {
		t.Helper()
		all, err := h.store.Denied(ctx, h.clock.now())
		h.must(err)
		return len(all)
	}
	before := h.head()
	h.must(revoke(as("billing", is.Credential.ID), nil))
	h.must(revoke(as("billing", "000000000000"), nil)) // another credential of the same principal
	h.must(revoke(as("proxy", other.Credential.ID), func(d *credential.DeniedToken) { d.Client = other.Credential.ID }))
	h.must(revoke(h.caller("api:credentials:revoke /credentials/billing"), nil))
	h.must(revoke(h.local, nil))
	fails(t, revoke(as("proxy", other.Credential.ID), nil), credential.NotFound)
	fails(t, revoke(as("billing", is.Credential.ID), func(d *credential.DeniedToken) { d.Shown = false }), credential.NotFound) // who knows an ID may know no more
	fails(t, revoke(h.caller("api:credentials:read /credentials/billing"), nil), credential.NoRight, "credentials:revoke")
	foreign := as("billing", is.Credential.ID)
	foreign.Org = "acme"
	fails(t, revoke(foreign, nil), credential.NotFound)
	for _, bad := range []func(*credential.DeniedToken){
		func(d *credential.DeniedToken) { d.ID = "" }, func(d *credential.DeniedToken) { d.ID = "aaaaaaaaaaa-" },
		func(d *credential.DeniedToken) { d.Credential = "zzzzzzzzzzzz" }, func(d *credential.DeniedToken) { d.Credential = "'" },
	} {
		fails(t, revoke(h.local, bad), credential.NotFound)
	}
	err := revoke(h.local, func(d *credential.DeniedToken) {
		d.Shown, d.Until = false, h.clock.now().Add(credential.MaxTokenLife+time.Second)
	})
	fails(t, err, credential.Invalid, "expires_at")
	if denied() != 5 {
		t.Errorf("%d tokens are denied", denied())
	}
	at := h.head()
	h.must(revoke(h.local, func(d *credential.DeniedToken) { d.Until = h.clock.now() })) // it has ended
	if h.head() != at {
		t.Error("the end of a token that has ended left an event")
	}
	e := h.events(before)[2]
	if e.Type != "token.revoke" || e.Subject != (credential.Subject{Kind: "token", ID: strings.Repeat("d", 12), Name: "billing"}) || e.Reason != "left on a train" ||
		e.Detail["credential"] != is.Credential.ID || e.Detail["client"] != other.Credential.ID || e.Actor.Principal != "proxy" {
		t.Errorf("event %+v", e)
	}
	if last := h.gate.touched[len(h.gate.touched)-1]; last.Subject.Kind != "token" {
		t.Errorf("the gate was told %+v", last)
	}
	h.clock.add(time.Hour)
	if denied() != 0 {
		t.Errorf("%d tokens are denied after their end", denied())
	}
}

// J26: who has come with an access token makes nothing that would outlive it for themself, whatever it may: no key, no more time, no session, no password,
// and sees no secret again. What is others' it may do as ever.
func TestAnAccessTokenMakesNothingLasting(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.User, "alice", credential.RoleAdmin)
	h.principal(credential.Service, "billing")
	pat, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.PAT, Principal: "alice", TTL: day})
	h.must(err)
	key, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.AppKey, Principal: "alice", Name: "app", TTL: day, AllowAdmin: true})
	h.must(err)
	c := h.callerOf(credential.ScopeAdmin)
	c.Actor.Principal, c.Actor.Credential = "alice", pat.Credential.ID
	bearer := c
	bearer.Token = strings.Repeat("a", 12)
	session := credential.SessionOf{Org: credential.DefaultOrg, Credential: key.Credential.ID, Proof: 1, Door: "http"}
	until := h.clock.now().Add(day)
	later := func() time.Time { until = until.Add(day); return until }
	lasting := map[string]func(Caller) error{
		"CreateOwnToken": func(c Caller) error { _, err := h.CreateOwnToken(ctx, c, NewCredential{TTL: time.Hour}); return err },
		"RenewOwnToken": func(c Caller) error {
			_, err := h.RenewOwnToken(ctx, c, pat.Credential.ID, later())
			return err
		},
		"RotateOwnToken": func(c Caller) error {
			_, err := h.RotateOwnToken(ctx, c, pat.Credential.ID, Rotation{Overlap: time.Hour})
			return err
		},
		"CreateCredential": func(c Caller) error {
			_, err := h.CreateCredential(ctx, c, NewCredential{Kind: credential.PAT, Principal: "alice", TTL: time.Hour})
			return err
		},
		"Rotate": func(c Caller) error {
			_, err := h.Rotate(ctx, c, pat.Credential.ID, Rotation{Overlap: time.Hour})
			return err
		},
		"Extend": func(c Caller) error {
			_, err := h.Extend(ctx, c, pat.Credential.ID, later())
			return err
		},
		"Reveal": func(c Caller) error { _, err := h.Reveal(ctx, c, key.Credential.ID); return err },
		"BeginSession": func(c Caller) error {
			of := session
			of.Token = c.Token
			_, err := h.BeginSession(ctx, of)
			return err
		},
		"ChangePassword": func(c Caller) error {
			_, err := h.ChangePassword(ctx, c, Proven{}, secret.NewText("correct horse battery"))
			if c.Token == "" && credential.KindOf(err) != credential.NoRight { // there is none to be proven
				return nil
			}
			return err
		},
	}
	before := h.head()
	for name, act := range lasting {
		err := act(bearer)
		fails(t, err, credential.NoRight, "an access token makes nothing that lasts")
		if h.head() != before {
			t.Errorf("%s left an event", name)
		}
	}
	for name, act := range lasting {
		if err := act(c); err != nil {
			t.Errorf("%s without an access token: %v", name, err)
		}
	}
	_, err = h.CreateCredential(ctx, bearer, NewCredential{Kind: credential.APIKey, Principal: "billing", TTL: day})
	h.must(err)
	_, _, err = h.OwnTokens(ctx, bearer, credential.CredentialFilter{})
	h.must(err)
	_, err = h.RevokeOwnToken(ctx, bearer, pat.Credential.ID, "")
	h.must(err)
}
