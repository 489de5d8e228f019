package authority

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cardea/internal/audit"
	"cardea/internal/credential"
)

// K03, A07: whoever puts a whole token where an ID or a name belongs does not read its secret in the error.
func TestErrorsDoNotRepeatTokens(t *testing.T) {
	h := furnished(t)
	ctx := t.Context()
	token := h.apiKey("svc").Secret.Reveal()
	hidden := token[len(token)-12:]
	nobody := h.caller()
	acts := map[string]func(ref string) error{
		"revoke":           func(ref string) error { _, err := h.Revoke(ctx, h.local, ref, ""); return err },
		"quarantine":       func(ref string) error { _, err := h.Quarantine(ctx, h.local, ref, ""); return err },
		"release":          func(ref string) error { _, err := h.Release(ctx, h.local, ref, ""); return err },
		"credential":       func(ref string) error { _, err := h.Credential(ctx, h.local, ref); return err },
		"principal":        func(ref string) error { _, err := h.Principal(ctx, h.local, ref); return err },
		"create principal": func(ref string) error { _, err := h.CreatePrincipal(ctx, nobody, NewPrincipal{Name: ref}); return err },
		"generate key":     func(ref string) error { _, err := h.GenerateKey(ctx, h.local, NewKey{ID: ref}); return err },
		"rotate key":       func(ref string) error { _, err := h.RotateKey(ctx, h.local, ref, Rotation{}); return err },
		"create": func(ref string) error {
			_, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.APIKey, Principal: ref})
			return err
		},
		"create without the right": func(ref string) error {
			_, err := h.CreateCredential(ctx, nobody, NewCredential{Kind: credential.APIKey, Principal: ref})
			return err
		},
		"delete scope": func(ref string) error { return h.DeleteScope(ctx, h.local, ref) },
		"delete role":  func(ref string) error { return h.DeleteRole(ctx, h.local, ref) },
		"delete route": func(ref string) error { return h.DeleteRoute(ctx, h.local, ref) },
		"kick":         func(ref string) error { return h.Kick(ctx, h.local, ref) },
		"redeem":       func(ref string) error { _, err := h.RedeemLink(ctx, ref, credential.Actor{}); return err },
		"attribute": func(ref string) error {
			_, err := h.UpdatePrincipal(ctx, h.local, "svc", PrincipalPatch{Attrs: &map[string]string{ref: "x"}})
			return err
		},
		"scope of a key": func(ref string) error {
			_, err := h.UpdateCredential(ctx, h.local, h.key(), CredentialPatch{Scopes: &[]string{ref}})
			return err
		},
	}
	for what, act := range acts {
		for _, ref := range []string{token, strings.Repeat("x", 70) + token} { // also where the text is cut
			err := act(ref)
			if err == nil {
				t.Fatalf("%s: no error", what)
			}
			if strings.Contains(err.Error(), token[28:34]) || strings.Contains(err.Error(), hidden) {
				t.Errorf("%s: the error repeats a token: %v", what, err)
			}
		}
	}
}

// A07: what the audit log would refuse to hold is the caller's mistake, with the field that it is in, and not an internal error.
func TestTokensInPolicyAndAttributesAreInvalid(t *testing.T) {
	h := furnished(t)
	ctx := t.Context()
	const lookalike = "cardea_dev_aaaaaaaaaaaaaaaaaaaa"
	_, err := h.CreatePrincipal(ctx, h.local, NewPrincipal{Kind: credential.Device, Name: "d", Attrs: map[string]string{lookalike: "x"}})
	fails(t, err, credential.Invalid, "attrs")
	_, err = h.PutScope(ctx, h.local, credential.Scope{Name: "x", Rules: []credential.Rule{allow("api:"+lookalike+":read", "*")}})
	fails(t, err, credential.Invalid, "rules[0].action")
}

// A06, D15: a scope can only be as large as an export of the audit log and a backup can hold what was before and after it.
func TestScopesHaveASize(t *testing.T) {
	h := newHouse(t)
	rules := make([]credential.Rule, maxRules)
	for i := range rules {
		rules[i] = allow("mqtt:publish", strings.Repeat("<", 4000))
	}
	_, err := h.PutScope(t.Context(), h.local, credential.Scope{Name: "big", Rules: rules})
	fails(t, err, credential.Invalid, "rules")
	for i := range rules {
		rules[i].Resource = strings.Repeat("<", 20)
	}
	s, err := h.PutScope(t.Context(), h.local, credential.Scope{Name: "big", Rules: rules})
	h.must(err)
	for i := range s.Rules {
		s.Rules[i].Resource = strings.Repeat(">", 20)
	}
	_, err = h.PutScope(t.Context(), h.local, s)
	h.must(err)
	line, err := audit.Line(&h.events(h.head() - 1)[0])
	h.must(err)
	if len(line) > 1<<19 {
		t.Errorf("an event has %d bytes as a line", len(line))
	}
}

// A06: events that are missing at the end are found too.
func TestVerifyLogFindsACutEnd(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "a")
	h.principal(credential.Service, "b")
	head := h.head()
	h.sql("DELETE FROM events WHERE seq >= ?", head-1)
	state, err := h.VerifyLog(t.Context(), h.local)
	h.must(err)
	if state.OK || state.Seq != head-1 || state.Events != head-2 || !strings.Contains(state.Wrong, "missing") {
		t.Errorf("the log is %+v", state)
	}
}

// D09: that the clock is right is said once, to any node; the others believe it.
func TestAcceptedClockHoldsOnAllNodes(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	h.clock.add(365 * day)
	h.apiKey("svc")
	other, err := New(Config{Store: h.store, Gate: h.gate, Ring: h.ring, CA: h.ca, Now: h.clock.now})
	h.must(err)
	wish := NewCredential{Kind: credential.APIKey, Principal: "svc"}
	_, err = other.CreateCredential(t.Context(), h.local, wish)
	h.must(err)
	h.clock.add(-365 * day)
	_, err = other.CreateCredential(t.Context(), h.local, wish)
	fails(t, err, credential.Down, "clock")
	h.must(h.AcceptClock(t.Context(), h.local))
	_, err = other.CreateCredential(t.Context(), h.local, wish)
	h.must(err)
}

// W08: nobody makes the bootstrap token last: not by another credential of its principal, by rotation or by a later end.
func TestBootstrapTokenCannotOutliveItself(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	token, until, err := h.AdminToken(ctx, h.local)
	h.must(err)
	id := token.Reveal()[11:23]
	before := h.head()
	for _, c := range []Caller{h.local, h.callerOf(credential.ScopeAdmin)} {
		_, err = h.CreateCredential(ctx, c, NewCredential{Kind: credential.APIKey, Principal: NameBootstrap})
		fails(t, err, credential.NoRight, "cardea admin token")
		_, err = h.CreateCredential(ctx, c, NewCredential{Kind: credential.Certificate, Principal: NameBootstrap})
		fails(t, err, credential.NoRight, "cardea admin token")
		_, err = h.CreateCredentials(ctx, c, []NewCredential{{Kind: credential.APIKey, Principal: NameBootstrap}})
		fails(t, err, credential.NoRight, "cardea admin token")
		_, err = h.Rotate(ctx, c, id, Rotation{Overlap: time.Hour})
		fails(t, err, credential.NoRight, "cardea admin token")
		_, err = h.Extend(ctx, c, id, until.Add(day))
		fails(t, err, credential.NoRight, "cardea admin token")
	}
	if h.head() != before {
		t.Errorf("events %s", types(h.events(before)))
	}
}

// W08: a token that is made while the first user is made is either of the time before, and dead, or of the time after.
func TestAdminTokenBesideTheFirstUser(t *testing.T) {
	h := newHouse(t)
	_, _, err := h.AdminToken(t.Context(), h.local)
	h.must(err)
	made := make(chan string, 1)
	h.fault.set(func(c credential.Change) error {
		p, ok := c.Ops[0].(credential.CreatePrincipal)
		if !ok || p.Kind != credential.User {
			return nil
		}
		h.fault.set(nil, nil)
		wait := h.fault.entering()
		go func() {
			token, _, err := h.AdminToken(context.WithoutCancel(t.Context()), h.local)
			if err != nil {
				t.Error(err)
			}
			made <- token.Reveal()
		}()
		select {
		case token := <-made: // it was faster than the user
			made <- token
		case <-wait: // it waits
		}
		return nil
	}, nil)
	h.principal(credential.User, "ada")
	token := <-made
	events := types(h.events(0))
	after := strings.LastIndex(events, "credential.create") > strings.LastIndex(events, "credential.revoke")
	if r := h.knock(token); after != (r == credential.OK) || !after && r != credential.Revoked {
		t.Errorf("the gate says %s after %s", r, events)
	}
	if !after {
		return
	}
	if i := strings.LastIndex(events, "principal.create"); i > strings.LastIndex(events, "credential.create") {
		t.Errorf("a token that was made before the first user lives: %s", events)
	}
}

// J26: more time and more networks for a credential are a grant of what it allows.
func TestMoreTimeAndNetworksAreGrants(t *testing.T) {
	h := furnished(t)
	ctx := t.Context()
	h.principal(credential.Service, "root-1", credential.RoleAdmin)
	net := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	is, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.APIKey, Principal: "root-1", TTL: day, Networks: net("10.0.0.0/8")})
	h.must(err)
	id := is.Credential.ID
	helper, admin := h.caller("api:credentials:* /credentials/*"), h.callerOf(credential.ScopeAdmin)
	_, err = h.Extend(ctx, helper, id, h.clock.now().Add(9*day))
	fails(t, err, credential.NoRight, "nobody grants what they do not have")
	for _, wider := range [][]netip.Prefix{{}, net("0.0.0.0/0"), net("192.0.2.0/24"), append(net("10.0.0.0/8"), net("192.0.2.0/24")...)} {
		_, err = h.UpdateCredential(ctx, helper, id, CredentialPatch{Networks: &wider})
		fails(t, err, credential.NoRight, "nobody grants what they do not have")
	}
	narrower := net("10.1.0.0/16")
	_, err = h.UpdateCredential(ctx, helper, id, CredentialPatch{Networks: &narrower})
	h.must(err)
	all := []netip.Prefix{}
	_, err = h.UpdateCredential(ctx, admin, id, CredentialPatch{Networks: &all})
	h.must(err)
	_, err = h.UpdateCredential(ctx, helper, id, CredentialPatch{Networks: &narrower})
	h.must(err)
	_, err = h.Extend(ctx, admin, id, h.clock.now().Add(9*day))
	h.must(err)
}

// Who moves an end is told what does not move with it.
func TestExtendTellsWhatStaysBehind(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	b, err := h.GenerateKey(ctx, h.local, NewKey{ID: "pump-1", Valid: 30 * day})
	h.must(err)
	_, err = h.Rotate(ctx, h.local, b.Token.Credential.ID, Rotation{Overlap: day})
	h.must(err)
	until := h.clock.now().Add(90 * day)
	e, err := h.ExtendCredential(ctx, h.local, b.Token.Credential.ID, until)
	h.must(err)
	if !e.Credential.ExpiresAt.Equal(until) || len(e.Warnings) != 2 || !strings.Contains(e.Warnings[0], "version 1") ||
		!strings.Contains(e.Warnings[1], "certificate "+b.Certificate.Credential.ID) {
		t.Errorf("%+v", e)
	}
	h.principal(credential.Service, "svc")
	e, err = h.ExtendCredential(ctx, h.local, h.apiKey("svc").Credential.ID, until)
	h.must(err)
	if len(e.Warnings) > 0 {
		t.Errorf("warnings %q", e.Warnings)
	}
	// A refusal is the same with and without a place for warnings.
	_, err = h.ExtendCredential(ctx, h.caller(), b.Token.Credential.ID, until.Add(day))
	fails(t, err, credential.NotFound)
}

// R07: the version that matters is the newest that is good, not one that was retired.
func TestRetireAsksForTheNewestGoodVersion(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.Service, "svc")
	id := h.apiKey("svc").Credential.ID
	for range 2 {
		_, err := h.Rotate(ctx, h.local, id, Rotation{Overlap: 10 * day})
		h.must(err)
	}
	_, err := h.Retire(ctx, h.local, id, 3, false)
	h.must(err)
	h.used(id, 2, time.Hour)
	_, err = h.Retire(ctx, h.local, id, 1, false)
	h.must(err)
}

// An organisation without the role device gives it to nobody: a role of that name that is made later would bring the key to life.
func TestKeyNeedsTheRoleDevice(t *testing.T) {
	h := newHouse(t)
	c := h.local
	c.Org = "other"
	_, err := h.GenerateKey(t.Context(), c, NewKey{ID: "d1"})
	fails(t, err, credential.Conflict, "device", "other")
}

// What is answered is what is stored: times are in microseconds, and one that is none is refused.
func TestLifetimesAreInMicroseconds(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	wish := NewCredential{Kind: credential.APIKey, Principal: "svc", TTL: time.Hour + 1}
	is, err := h.CreateCredential(t.Context(), h.local, wish)
	h.must(err)
	got, err := h.Credential(t.Context(), h.local, is.Credential.ID)
	h.must(err)
	if !got.ExpiresAt.Equal(is.Credential.ExpiresAt) {
		t.Errorf("answered %s, stored %s", is.Credential.ExpiresAt, got.ExpiresAt)
	}
	r, err := h.Rotate(t.Context(), h.local, is.Credential.ID, Rotation{Overlap: time.Minute + 1})
	h.must(err)
	if got, err = h.Credential(t.Context(), h.local, is.Credential.ID); err != nil || !got.Versions[1].Ends.Equal(r.PreviousEnds) {
		t.Errorf("answered %s, stored %s, %v", r.PreviousEnds, got.Versions[1].Ends, err)
	}
	wish.TTL = 1
	_, err = h.CreateCredential(t.Context(), h.local, wish)
	fails(t, err, credential.Invalid, "ttl")
}

// A05: a request id that looks like a token does not keep the act from being done and recorded.
func TestRequestIDThatLooksLikeAToken(t *testing.T) {
	h := newHouse(t)
	c := h.local
	c.Actor.Request = "cardea_dev_aaaaaaaaaaaaaaaaaaaaaaaa"
	before := h.head()
	_, err := h.CreatePrincipal(t.Context(), c, NewPrincipal{Kind: credential.Service, Name: "svc"})
	h.must(err)
	if e := h.events(before)[0]; e.Actor.Request != "cardea_dev_***" {
		t.Errorf("the request is %q", e.Actor.Request)
	}
}

// A route from a flag that overlaps with one that is stored already is found at the start.
func TestStaticRoutesBesideStoredOnes(t *testing.T) {
	h := furnished(t) // with /db/
	start := func(prefix string) error {
		static := []credential.Route{{Prefix: prefix, Upstream: "http://127.0.0.1:2", Source: "flag"}}
		a, err := New(Config{Store: h.store, Gate: h.gate, Ring: h.ring, CA: h.ca, Now: h.clock.now, Routes: static})
		h.must(err)
		return a.CheckRoutes(t.Context())
	}
	h.must(start("/app/"))
	fails(t, start("/db/x/"), credential.Invalid, "/db/x/", "stored route /db/")
	fails(t, start("/db/"), credential.Invalid, "stored route /db/")
}
