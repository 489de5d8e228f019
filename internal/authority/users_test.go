package authority

import (
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/secret"
)

const (
	goodPassword  = "nine violins under a Danish roof"
	otherPassword = "purple tractor lemon window"
)

// enter logs in as a user does.
func (h *house) enter(name, password string) (*gate.Identity, credential.Reason) {
	h.t.Helper()
	ev := &gate.Evidence{Source: netip.MustParseAddr("198.51.100.4"), Door: "api"}
	id, out := h.gate.Login(h.t.Context(), credential.DefaultOrg, name, password, ev)
	return id, out.Reason
}

// session logs in and begins a session.
func (h *house) session(name, password string) credential.Began {
	h.t.Helper()
	id, why := h.enter(name, password)
	if why != credential.OK {
		h.t.Fatalf("%s cannot log in: %s", name, why)
	}
	b, err := h.BeginSession(h.t.Context(), credential.SessionOf{Org: id.Org, Credential: id.Credential, Proof: id.Proof, Door: "api"})
	h.must(err)
	return b
}

// bearer is the caller that a token stands for.
func (h *house) bearer(token string) Caller {
	h.t.Helper()
	id, out := h.gate.Authenticate(h.t.Context(), &gate.Evidence{Token: token, Source: netip.MustParseAddr("198.51.100.4"), Door: "api"})
	if out.Reason != credential.OK {
		h.t.Fatalf("the token is refused: %s", out.Reason)
	}
	return Caller{
		Org: id.Org, Rights: h.gate.Rights(id),
		Actor: credential.Actor{Principal: id.Principal, Credential: id.Credential, Source: "198.51.100.4", Door: "api"},
	}
}

// user makes a user with a password.
func (h *house) user(name string, roles ...string) credential.Principal {
	h.t.Helper()
	p := h.principal(credential.User, name, roles...)
	_, err := h.SetPassword(h.t.Context(), h.local, name, secret.NewText(goodPassword))
	h.must(err)
	return p
}

// sessionsOf are the living sessions of a principal, as lists show them.
func (h *house) sessionsOf(name string) []credential.Listed {
	h.t.Helper()
	list, _, err := h.Credentials(h.t.Context(), h.local, credential.CredentialFilter{Principal: name, Kind: credential.SessionKey})
	h.must(err)
	return list
}

// policy sets what the organisation demands of a kind.
func (h *house) policy(k credential.Kind, change func(*credential.KindPolicy)) {
	h.t.Helper()
	p := credential.DefaultKindPolicy(credential.DefaultOrg, k)
	change(&p)
	_, err := h.store.Commit(h.t.Context(), credential.Change{
		Ops:    []credential.Op{credential.PutKindPolicy{KindPolicy: p}},
		Events: []credential.Event{{At: h.clock.now(), Org: p.Org, Type: "policy.update", Subject: credential.Subject{Kind: "policy", ID: string(k)}}},
	})
	h.must(err)
}

// R05, W03: a new password ends the old one, and all that was made with it, at once.
func TestPasswordIsReplaced(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.user("ada")
	first, second := h.session("ada", goodPassword), h.session("ada", goodPassword)
	_, cut := h.connect(first.Token)
	before := h.head()
	cred, err := h.SetPassword(ctx, h.local, "ada", secret.NewText(otherPassword))
	h.must(err)
	if got := types(h.events(before)); got != "credential.rotate session.end session.end" {
		t.Errorf("events %s", got)
	}
	if len(cred.Proofs) != 1 || cred.Proofs[0].N != 2 {
		t.Errorf("what is kept of the old one: %+v", cred.Proofs)
	}
	for _, b := range []credential.Began{first, second} {
		if r := h.knock(b.Token); r.Class() != credential.InvalidToken {
			t.Errorf("the gate says %s", r)
		}
	}
	if len(cut) != 1 || len(h.sessionsOf("ada")) != 0 {
		t.Error("a session lives")
	}
	if _, why := h.enter("ada", goodPassword); why != credential.WrongSecret {
		t.Errorf("the old password: %s", why)
	}
	if _, why := h.enter("ada", otherPassword); why != credential.OK {
		t.Errorf("the new password: %s", why)
	}
	again := h.session("ada", otherPassword)
	h.must(h.RemovePassword(ctx, h.local, "ada", "left"))
	h.must(h.RemovePassword(ctx, h.local, "ada", "left"))
	if _, why := h.enter("ada", otherPassword); why == credential.OK {
		t.Error("a password that was removed is good")
	}
	if r := h.knock(again.Token); r == credential.OK || len(h.sessionsOf("ada")) != 0 {
		t.Errorf("its session: %s", r)
	}
	h.must(func() error { _, err := h.SetPassword(ctx, h.local, "ada", secret.NewText(goodPassword)); return err }())
	if _, why := h.enter("ada", goodPassword); why != credential.OK {
		t.Errorf("a password after one that was removed: %s", why)
	}
}

// K01, K03: no password and no code is anywhere in what is stored, in no form; nor in what is printed.
func TestNoPasswordIsStored(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.user("ada")
	h.principal(credential.User, "bob")
	inv, err := h.Invite(ctx, h.local, "bob")
	h.must(err)
	b := h.session("ada", goodPassword)
	_, err = h.SetPassword(ctx, h.local, "ada", secret.NewText(otherPassword))
	h.must(err)
	all := h.dump() + sprint(h.events(0), inv, h.sessionsOf("ada"))
	for what, s := range map[string]string{
		"password": goodPassword, "password after it": otherPassword, "code": inv.Code.Reveal(),
		"secret part of the code": inv.Code.Reveal()[inviteIDLen:], "session": b.Token, "hash": "$argon2id$",
	} {
		for form, text := range map[string]string{
			"raw": s, "hex": hex.EncodeToString([]byte(s)), "base64": base64.StdEncoding.EncodeToString([]byte(s)), "url": strings.ReplaceAll(s, " ", "%20"),
		} {
			if strings.Contains(all, text) {
				t.Errorf("%s as %s is stored or printed", what, form)
			}
		}
	}
}

// J26: who sets a password, or invites, can be that user. So nobody does it to somebody who may more, and nobody to themself.
func TestWhoSetsAPassword(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.scope("read", allow("http:GET", "/db/**"))
	h.role("reader", "read")
	h.user("ada", "admin")
	h.principal(credential.User, "rea", "reader")
	h.principal(credential.User, "off")
	h.principal(credential.Service, "svc")
	_, err := h.UpdatePrincipal(ctx, h.local, "off", PrincipalPatch{Disabled: new(true)})
	h.must(err)
	desk := h.caller("api:users:* /users/*", "http:GET /db/**")
	self := h.callerOf(credential.ScopeAdmin)
	self.Actor.Principal = "ada"
	for _, x := range []struct {
		why, user string
		caller    Caller
		kind      credential.ErrorKind
	}{
		{"has what the user may", "rea", desk, 0},
		{"has less than the user", "ada", desk, credential.NoRight},
		{"their own", "ada", self, credential.Conflict},
		{"an administrator, of somebody else", "rea", self, 0},
		{"no right, but may read", "rea", h.caller("api:principals:read /principals/*"), credential.NoRight},
		{"no right at all", "rea", h.caller("http:GET /db/**"), credential.NotFound},
		{"a service", "svc", h.local, credential.NotFound},
		{"nobody", "nobody", h.local, credential.NotFound},
		{"no name", "No Name", h.local, credential.NotFound},
		{"disabled", "off", h.local, credential.Conflict},
		{"another organisation", "rea", func() Caller { c := h.local; c.Org = "other"; return c }(), credential.NotFound}, // W07
	} {
		_, set := h.SetPassword(ctx, x.caller, x.user, secret.NewText(goodPassword))
		_, invited := h.Invite(ctx, x.caller, x.user)
		for what, err := range map[string]error{"set": set, "invite": invited} {
			if x.kind == 0 && err != nil || x.kind != 0 && credential.KindOf(err) != x.kind {
				t.Errorf("%s, %s: %v", x.why, what, err)
			}
		}
	}
}

// What is no password leaves no trace, and is not repeated in what is said about it.
func TestPasswordsThatAreRefused(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.User, "ada")
	is := h.apiKeyOf(t)
	before := h.head()
	for text, says := range map[string]string{
		"": "too short", "hunter2": "too short", "aaaaaaaaaaaaaaaaaaaa": "repeats", "ada ada ada default": "", "control\x00character!!": "control",
		strings.Repeat("long ", 80): "too long", is: "contains a token", "correct horse battery staple": "common",
	} {
		_, err := h.SetPassword(t.Context(), h.local, "ada", secret.NewText(text))
		fails(t, err, credential.Invalid, says)
		if got := fields(err); got != "password" {
			t.Errorf("fields %s", got)
		}
		if text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q is repeated: %v", text, err)
		}
	}
	if h.head() != before {
		t.Error("something was written")
	}
}

func (h *house) apiKeyOf(t *testing.T) string {
	t.Helper()
	h.principal(credential.Service, "svc")
	return h.apiKey("svc").Secret.Reveal()
}

// A user changes their own password with the present one: that of a version that has been replaced is none.
func TestUsersChangeTheirPassword(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.user("ada", "member")
	h.user("bob", "member")
	me := h.bearer(h.session("ada", goodPassword).Token)
	id, _ := h.enter("ada", goodPassword)
	bobs, _ := h.enter("bob", goodPassword)
	for why, shown := range map[string]Proven{"nothing": {}, "another's": {bobs.Credential, bobs.Proof}, "another version": {id.Credential, id.Proof + 1}} {
		_, err := h.ChangePassword(ctx, me, shown, secret.NewText(otherPassword))
		if credential.KindOf(err) != credential.Conflict {
			t.Errorf("%s: %v", why, err)
		}
	}
	_, err := h.ChangePassword(ctx, me, Proven{id.Credential, id.Proof}, secret.NewText("short"))
	fails(t, err, credential.Invalid, "too short")
	_, err = h.ChangePassword(ctx, h.local, Proven{id.Credential, id.Proof}, secret.NewText(otherPassword))
	fails(t, err, credential.Conflict, "log in")
	_, err = h.ChangePassword(ctx, h.caller("http:GET /x"), Proven{id.Credential, id.Proof}, secret.NewText(otherPassword))
	fails(t, err, credential.NoRight, "me:password")
	_, err = h.ChangePassword(ctx, me, Proven{id.Credential, id.Proof}, secret.NewText(otherPassword))
	h.must(err)
	_, err = h.ChangePassword(ctx, me, Proven{id.Credential, id.Proof}, secret.NewText(otherPassword))
	fails(t, err, credential.Conflict, "changed meanwhile")
	if _, why := h.enter("ada", otherPassword); why != credential.OK {
		t.Errorf("the gate says %s", why)
	}
}

// The policy of passwords says when they end; a new one begins anew.
func TestPasswordsEndByPolicy(t *testing.T) {
	h := newHouse(t)
	h.policy(credential.Password, func(p *credential.KindPolicy) { p.MaxLifetime = 90 * day })
	h.user("ada")
	b := h.session("ada", goodPassword)
	h.clock.add(90*day - time.Hour)
	if _, why := h.enter("ada", goodPassword); why != credential.OK {
		t.Errorf("before the end: %s", why)
	}
	late := h.session("ada", goodPassword) // a session never outlives what it was made with
	if want := h.clock.now().Add(time.Hour); !late.ExpiresAt.Equal(want) {
		t.Errorf("the session ends at %s, want %s", late.ExpiresAt, want)
	}
	h.clock.add(time.Hour)
	if _, why := h.enter("ada", goodPassword); why != credential.Expired {
		t.Errorf("after the end: %s", why)
	}
	for _, s := range []credential.Began{b, late} {
		if why := h.knock(s.Token); why.Class() != credential.InvalidToken {
			t.Errorf("the session: %s", why)
		}
	}
	cred, err := h.SetPassword(t.Context(), h.local, "ada", secret.NewText(otherPassword))
	h.must(err)
	if want := h.clock.now().Add(90 * day); !cred.ExpiresAt.Equal(want) {
		t.Errorf("the new one ends at %s, want %s", cred.ExpiresAt, want)
	}
}
