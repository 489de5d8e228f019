package authority

import (
	"net/netip"
	"testing"
	"time"

	"cardea/internal/credential"
)

// staff is a house with users who may see to their own tokens.
func staff(t *testing.T) *house {
	t.Helper()
	h := newHouse(t)
	h.scope("orders", allow("http:GET", "/db/orders/**"), allow("mqtt:subscribe", "orders/#"))
	h.scope("narrow", allow("http:GET", "/db/orders/open"))
	h.scope("mine", allow("http:*", "/home/${principal}/**"))
	h.scope("secrets", allow("http:GET", "/db/secrets/**"))
	h.role("staff", "orders", "mine")
	h.user("ada", "member", "staff")
	h.user("bob", "member", "staff")
	return h
}

// own makes a personal access token as its user does.
func (h *house) own(c Caller, scopes ...string) (Issued, error) {
	h.t.Helper()
	return h.CreateOwnToken(h.t.Context(), c, NewCredential{Name: "laptop", Scopes: scopes, TTL: 10 * day})
}

// A user makes, sees, renews, rotates and revokes their own tokens without any right on credentials, and nobody else's.
func TestOwnTokens(t *testing.T) {
	h := staff(t)
	ctx := t.Context()
	ada, bob := h.bearer(h.session("ada", goodPassword).Token), h.bearer(h.session("bob", goodPassword).Token)
	before := h.head()
	is, err := h.own(ada, "orders")
	h.must(err)
	c := is.Credential
	if c.Kind != credential.PAT || is.PrincipalName != "ada" || c.CreatedBy != "ada" || h.knock(is.Secret.Reveal()) != credential.OK {
		t.Errorf("%+v", c)
	}
	if got := types(h.events(before)); got != "credential.create" {
		t.Errorf("events %s", got)
	}
	all, err := h.own(ada) // no scopes: all that she may, templates included
	h.must(err)
	key := h.appKey("ada")
	list, _, err := h.OwnTokens(ctx, ada, credential.CredentialFilter{})
	h.must(err)
	kinds := map[credential.Kind]int{}
	for _, l := range list {
		kinds[l.Kind]++
	}
	if len(list) != 4 || kinds[credential.PAT] != 2 || kinds[credential.AppKey] != 1 || kinds[credential.SessionKey] != 1 {
		t.Errorf("the list has %v", kinds)
	}
	if list, _, err := h.OwnTokens(ctx, ada, credential.CredentialFilter{Kind: credential.Password}); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	if list, _, err := h.OwnTokens(ctx, ada, credential.CredentialFilter{Principal: "bob"}); err != nil || len(list) != 4 {
		t.Errorf("another's principal in the filter: %v, %v", list, err)
	}
	d, err := h.OwnToken(ctx, ada, c.ID)
	h.must(err)
	if d.ID != c.ID || d.Principal.Name != "ada" {
		t.Errorf("%+v", d)
	}
	until := h.clock.now().Add(200 * day)
	e, err := h.RenewOwnToken(ctx, ada, c.ID, until)
	h.must(err)
	if !e.Credential.ExpiresAt.Equal(until) {
		t.Errorf("renewed until %s", e.Credential.ExpiresAt)
	}
	r, err := h.RotateOwnToken(ctx, ada, c.ID, Rotation{Overlap: time.Hour})
	h.must(err)
	if h.knock(r.Secret.Reveal()) != credential.OK {
		t.Error("the rotated token is refused")
	}
	h.user("boss", "admin")
	boss := h.bearer(h.session("boss", goodPassword).Token)
	for what, act := range map[string]func(Caller, string) error{
		"show":  func(c Caller, id string) error { return second(h.OwnToken(ctx, c, id)) },
		"renew": func(c Caller, id string) error { return second(h.RenewOwnToken(ctx, c, id, until.Add(day))) },
		"rotate": func(c Caller, id string) error {
			return second(h.RotateOwnToken(ctx, c, id, Rotation{Overlap: time.Hour}))
		},
		"revoke": func(c Caller, id string) error { return second(h.RevokeOwnToken(ctx, c, id, "")) },
	} {
		if err := act(boss, c.ID); !credential.IsNotFound(err) { // whatever they may elsewhere
			t.Errorf("%s of another's by an administrator: %v", what, err)
		}
		admin := h.callerOf(credential.ScopeAdmin)
		if err := act(bob, c.ID); !credential.IsNotFound(err) {
			t.Errorf("%s of another's: %v", what, err)
		}
		if err := act(admin, c.ID); credential.KindOf(err) != credential.Conflict { // there is no user "someone"
			t.Errorf("%s by nobody: %v", what, err)
		}
		if err := act(h.local, c.ID); credential.KindOf(err) != credential.Conflict {
			t.Errorf("%s by the local administrator: %v", what, err)
		}
		if err := act(h.caller("http:GET /x"), c.ID); credential.KindOf(err) != credential.NoRight {
			t.Errorf("%s without the right: %v", what, err)
		}
		for _, id := range []string{"", "nothing", "000000000000"} {
			if err := act(ada, id); !credential.IsNotFound(err) {
				t.Errorf("%s of %q: %v", what, id, err)
			}
		}
	}
	fails(t, second(h.RenewOwnToken(ctx, ada, key.ID, until)), credential.Conflict, "no personal access token")
	fails(t, second(h.RotateOwnToken(ctx, ada, key.ID, Rotation{})), credential.Conflict, "no personal access token")
	for _, id := range []string{c.ID, key.ID, all.Credential.ID} {
		_, err := h.RevokeOwnToken(ctx, ada, id, "lost")
		h.must(err)
	}
	if h.knock(all.Secret.Reveal()) != credential.Revoked {
		t.Error("a revoked token is good")
	}
}

// J26: a token mints what its user may and, if something holds it back, no more than what it may itself.
func TestOwnTokensAreNoWider(t *testing.T) {
	h := staff(t)
	ctx := t.Context()
	ada := h.bearer(h.session("ada", goodPassword).Token)
	made := func(n NewCredential) Caller {
		t.Helper()
		n.Name, n.TTL = "x", 10*day
		is, err := h.CreateOwnToken(ctx, ada, n)
		h.must(err)
		return h.bearer(is.Secret.Reveal())
	}
	whole := made(NewCredential{})
	scoped := made(NewCredential{Scopes: []string{"member:self", "orders"}})
	blind := made(NewCredential{Scopes: []string{"orders"}})
	homely := made(NewCredential{Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	for what, x := range map[string]struct {
		by     Caller
		wish   NewCredential
		refuse credential.ErrorKind // 0: it is made
	}{
		"the session, of all":              {ada, NewCredential{}, 0},
		"a whole token, of all":            {whole, NewCredential{}, 0},
		"a scoped token, of its own":       {scoped, NewCredential{Scopes: []string{"orders"}}, 0},
		"a scoped token, of less":          {scoped, NewCredential{Scopes: []string{"narrow"}}, 0},
		"a scoped token, of all":           {scoped, NewCredential{}, credential.NoRight},
		"a scoped token, of more":          {scoped, NewCredential{Scopes: []string{"orders", "mine"}}, credential.NoRight},
		"a token without the right":        {blind, NewCredential{Scopes: []string{"orders"}}, credential.NoRight},
		"a bound token, from anywhere":     {homely, NewCredential{Scopes: []string{"narrow"}}, credential.NoRight},
		"a bound token, from its networks": {homely, NewCredential{Scopes: []string{"narrow"}, Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.4/32")}}, 0},
		"another's name in the request":    {scoped, NewCredential{Kind: credential.APIKey, Principal: "bob", Scopes: []string{"narrow"}}, 0},
	} {
		x.wish.Name, x.wish.TTL = "y", day
		is, err := h.CreateOwnToken(ctx, x.by, x.wish)
		if x.refuse == 0 && err != nil || x.refuse != 0 && credential.KindOf(err) != x.refuse {
			t.Errorf("%s: %v", what, err)
		}
		if err == nil && (is.Credential.Kind != credential.PAT || is.PrincipalName != "ada") {
			t.Errorf("%s: a %s of %s", what, is.Credential.Kind, is.PrincipalName)
		}
	}
	// What it may not mint, it may not get by renewing or rotating it either.
	wide, err := h.own(ada)
	h.must(err)
	fails(t, second(h.RotateOwnToken(ctx, scoped, wide.Credential.ID, Rotation{Overlap: time.Hour})), credential.NoRight)
	fails(t, second(h.RenewOwnToken(ctx, scoped, wide.Credential.ID, h.clock.now().Add(20*day))), credential.NoRight)
	fails(t, second(h.RotateOwnToken(ctx, homely, wide.Credential.ID, Rotation{Overlap: time.Hour})), credential.NoRight, "networks")
	// The way under /me opens no other one.
	mine := ada
	mine.own = true
	h.must(h.Authorize(mine, "credentials:rotate", "/credentials/ada"))
	for _, object := range []string{"/credentials/bob", "/credentials/*", "/credentials/ada/x", "/principals/ada"} {
		fails(t, h.Authorize(mine, "credentials:rotate", object), credential.NoRight)
	}
	fails(t, h.Authorize(mine, "principals:update", "/credentials/ada"), credential.NoRight)
	_, err = h.CreateCredential(ctx, ada, NewCredential{Kind: credential.PAT, Principal: "ada"})
	fails(t, err, credential.NoRight, "credentials:create")
	_, err = h.Revoke(ctx, ada, wide.Credential.ID, "")
	fails(t, err, credential.NotFound)
}

// What a user may select is what their roles allow: scopes they have, and those that lie within.
func TestMe(t *testing.T) {
	h := staff(t)
	me, err := h.Me(t.Context(), h.bearer(h.session("ada", goodPassword).Token))
	h.must(err)
	got := ""
	for _, s := range me.Selectable {
		got += s.Name + " "
	}
	if got != "member:self mine narrow orders " || me.Principal.Name != "ada" || me.Tokens.MaxLifetime != 366*day {
		t.Errorf("%s: %s, %+v", me.Principal.Name, got, me.Tokens)
	}
	_, err = h.Me(t.Context(), h.local)
	fails(t, err, credential.Conflict, "log in as a user")
}

// J25, L04, R05: a disabled user's tokens, sessions and connections die in the act that disables.
func TestDisabledUser(t *testing.T) {
	h := staff(t)
	b := h.session("ada", goodPassword)
	is, err := h.own(h.bearer(b.Token))
	h.must(err)
	_, ofSession := h.connect(b.Token)
	_, ofToken := h.connect(is.Secret.Reveal())
	_, err = h.UpdatePrincipal(t.Context(), h.local, "ada", PrincipalPatch{Disabled: new(true)})
	h.must(err)
	if len(ofSession) != 1 || len(ofToken) != 1 {
		t.Error("a connection lives")
	}
	for _, token := range []string{b.Token, is.Secret.Reveal()} {
		if r := h.knock(token); r.Class() != credential.InvalidToken {
			t.Errorf("the gate says %s", r)
		}
	}
	if _, why := h.enter("ada", goodPassword); why != credential.PrincipalDisabled {
		t.Errorf("a login: %s", why)
	}
}

// J26: a token that is held to a project makes none that is not, and one with limits makes none at all: several would not share them.
func TestOwnTokensStayInTheirProject(t *testing.T) {
	h := staff(t)
	ctx := t.Context()
	_, err := h.PutProject(ctx, h.local, credential.Project{Name: "lab", Resources: []string{"http:/lab/**"}})
	h.must(err)
	with := func(n NewCredential) Caller {
		n.Kind, n.Principal, n.TTL = credential.PAT, "ada", day
		is, err := h.CreateCredential(ctx, h.local, n)
		h.must(err)
		return h.bearer(is.Secret.Reveal())
	}
	bound, limited := with(NewCredential{Name: "bound", Project: "lab"}), with(NewCredential{Name: "limited", Limits: credential.Limits{PerMonth: 5}})
	free, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.PAT, Principal: "ada", Name: "free", TTL: day})
	h.must(err)
	for what, c := range map[string]Caller{"held to a project": bound, "limited": limited} {
		_, err := h.CreateOwnToken(ctx, c, NewCredential{Name: "x", TTL: day})
		fails(t, err, credential.NoRight)
		_, err = h.RotateOwnToken(ctx, c, free.Credential.ID, Rotation{})
		if credential.KindOf(err) != credential.NoRight {
			t.Errorf("%s: rotating one that is not: %v", what, err)
		}
	}
	_, err = h.CreateOwnToken(ctx, bound, NewCredential{Name: "x", TTL: day, Project: "lab"})
	h.must(err)
}
