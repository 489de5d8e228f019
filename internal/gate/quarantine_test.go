package gate

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// quarantine puts a credential into quarantine, or takes it out.
func (h *house) quarantine(c *credential.Credential, on bool) {
	h.Helper()
	h.change("credential", c.ID, credential.SetQuarantine{ID: c.ID, Version: c.Version, On: on, At: h.hands.now()})
	c.Version++
}

var repair = &policy.Access{Proto: policy.HTTP, Verb: "GET", Resource: "/firmware/a", Source: here}

// may fails the test if the decisions about post and repair are others.
func (h *house) may(id *Identity, writes, repairs credential.Reason) {
	h.Helper()
	if a, b := h.gate.Authorize(id, post).Reason, h.gate.Authorize(id, repair).Reason; a != writes || b != repairs {
		h.Errorf("the reasons are %v and %v, want %v and %v", a, b, writes, repairs)
	}
}

// O09: in quarantine a credential is accepted, and may what the scope of that name allows, whatever
// its own and its principal's are. Without such a scope that is nothing; a change of it holds at once.
func TestQuarantineSwapsRights(t *testing.T) {
	h := newHouse(t)
	h.writer()
	h.scope("narrow", allow("http:POST", "/db/write/a"))
	p := h.device("pump-1", "writer")
	all, c1 := h.token(p)
	some, c2 := h.token(p, func(c *credential.Credential) { c.Scopes = []string{"narrow"} })
	free, _ := h.token(p)
	before := h.accepted(all)
	h.quarantine(&c1, true)
	h.quarantine(&c2, true)
	for name, token := range map[string]string{"with all of the principal's": all, "with scopes of its own": some} {
		id := h.accepted(token)
		if !slices.Equal(id.Scopes, []string{"quarantine"}) {
			t.Errorf("%s: scopes %v", name, id.Scopes)
		}
		h.may(id, credential.NoRule, credential.NoRule)
	}
	h.may(before, credential.NoRule, credential.NoRule)

	h.scope("quarantine", allow("http:GET", "/firmware/**"))
	for _, id := range []*Identity{before, h.accepted(all), h.accepted(some)} {
		h.may(id, credential.NoRule, credential.OK)
	}
	if r := h.gate.Rights(before); r.Principal == nil || r.Credential != nil || r.Decide(post).Allowed() {
		t.Errorf("the authority is told of %+v", r)
	}
	h.may(h.accepted(free), credential.OK, credential.NoRule)
	v := h.gate.Verify(t.Context(), h.org, &Evidence{Token: some, Source: here}, post, true)
	if v.Allowed || v.Reason != credential.NoRule || len(v.Looks) != 1 || v.Looks[0].Scope != "quarantine" {
		t.Errorf("explained: %+v", v)
	}

	h.scope("quarantine", allow("http:HEAD", "/firmware/**"))
	h.may(before, credential.NoRule, credential.NoRule)
	h.quarantine(&c1, false)
	h.quarantine(&c2, false)
	if id := h.accepted(all); !slices.Equal(id.Scopes, []string{"db:write"}) {
		t.Errorf("released: scopes %v", id.Scopes)
	}
	h.may(before, credential.OK, credential.NoRule)
	h.may(h.accepted(some), credential.OK, credential.NoRule)
}

// Quarantine is asked last: it excuses from nothing else, and what has ended stays refused (R10).
func TestQuarantineExcusesFromNothing(t *testing.T) {
	h := newHouse(t)
	p := h.device("pump-1")
	token, c := h.token(p, func(c *credential.Credential) {
		c.ExpiresAt, c.Networks = h.hands.now().Add(24*time.Hour), []netip.Prefix{netip.PrefixFrom(here, here.BitLen())}
	})
	h.quarantine(&c, true)
	h.accepted(token)
	if _, out := h.authenticate(token, elsewhere); out.Reason != credential.NetworkRefused {
		t.Errorf("from elsewhere: %v", out.Reason)
	}
	h.refused(wrongSecret(t, "dev", c.ID), credential.WrongSecret)
	disabled := p
	disabled.Disabled = true
	h.change("principal", p.ID, credential.UpdatePrincipal{Principal: disabled})
	h.refused(token, credential.PrincipalDisabled)
	h.revoke(c)
	h.refused(token, credential.Revoked)
	h.pass(24 * time.Hour)
	h.refused(token, credential.Expired)
}

// O09: what lives is looked at again when quarantine is set or lifted, before Apply returns: a session whose access is
// not in the scope is cut, others are told, and strangers are left alone.
func TestQuarantineOfLiveSessions(t *testing.T) {
	h := newHouse(t)
	h.writer()
	h.scope("quarantine", allow("http:GET", "/firmware/**"))
	h.scope("db:write", allow("http:POST", "/db/**"), allow("http:GET", "/firmware/**"))
	p := h.device("pump-1", "writer")
	token, c := h.token(p)
	other, _ := h.token(p)
	var writes, repairs, open, stranger cutter
	l := writes.live("stream")
	l.Access = post
	h.watch(h.accepted(token), l)
	l = repairs.live("stream")
	l.Access = repair
	h.watch(h.accepted(token), l)
	h.watch(h.accepted(token), open.live("connection"))
	h.watch(h.accepted(other), stranger.live("connection"))

	h.quarantine(&c, true)
	writes.is(t, credential.NoRule)
	for name, s := range map[string]*cutter{"of an access in the scope": &repairs, "without access": &open} {
		id := s.changed.Load()
		if s.n.Load() != 0 || s.told.Load() != 1 || !slices.Equal(id.Scopes, []string{"quarantine"}) {
			t.Errorf("the session %s: cut %d times, told %d times, of %+v", name, s.n.Load(), s.told.Load(), id)
			continue
		}
		h.may(id, credential.NoRule, credential.OK)
	}

	h.quarantine(&c, false)
	if open.told.Load() != 2 || open.n.Load() != 0 {
		t.Errorf("released: told %d times, cut %d times", open.told.Load(), open.n.Load())
	}
	h.may(open.changed.Load(), credential.OK, credential.OK)

	h.quarantine(&c, true)
	h.scope("quarantine", allow("http:HEAD", "/firmware/**"))
	repairs.is(t, credential.NoRule)
	if open.told.Load() != 4 {
		t.Errorf("the session without access was told %d times", open.told.Load())
	}
	if stranger.n.Load() != 0 || stranger.told.Load() != 0 {
		t.Error("a session of another credential noticed")
	}
}

// Of a token and a certificate together the one in quarantine decides, in whichever order they got there.
func TestQuarantineOfTokenOrCertificate(t *testing.T) {
	h := newHouse(t)
	h.writer()
	h.scope("quarantine", allow("http:GET", "/firmware/**"))
	p := h.device("pump-1", "writer")
	leaf, cert := h.certificate(p)
	token, c := h.token(p)
	both := func() *Identity {
		t.Helper()
		id, out := h.present(leaf, token)
		if out.Reason != credential.OK {
			t.Fatal(out.Reason)
		}
		return id
	}
	old := both()
	var s cutter
	l := s.live("stream")
	l.Access = post
	h.watch(old, l)
	for name, set := range map[string]*credential.Credential{"certificate": &cert, "token": &c} {
		h.quarantine(set, true)
		for _, id := range []*Identity{old, both()} {
			h.may(id, credential.NoRule, credential.OK)
		}
		if id := both(); !slices.Equal(id.Scopes, []string{"quarantine"}) || h.gate.Rights(id).Decide(post).Allowed() {
			t.Errorf("the %s is in quarantine; scopes %v", name, id.Scopes)
		}
		v := h.gate.Verify(t.Context(), h.org, &Evidence{Certificate: leaf, Token: token, Source: here}, post, false)
		if v.Allowed || v.Reason != credential.NoRule {
			t.Errorf("the %s is in quarantine; verified: %+v", name, v)
		}
		h.quarantine(set, false)
		for _, id := range []*Identity{old, both()} {
			h.may(id, credential.OK, credential.NoRule)
		}
	}
	s.is(t, credential.NoRule)

	h.quarantine(&cert, true)
	var told cutter
	h.watch(both(), told.live("connection"))
	h.scope("quarantine", allow("http:HEAD", "/firmware/**"))
	if told.told.Load() != 1 || told.n.Load() != 0 {
		t.Errorf("told of the scope's change %d times, cut %d times", told.told.Load(), told.n.Load())
	}
	h.may(told.changed.Load(), credential.NoRule, credential.NoRule)
	h.may(h.accepted(token), credential.OK, credential.NoRule) // alone it is free
}

// Quarantine takes nothing from the hot path.
func TestQuarantineAllocates(t *testing.T) {
	h := newHouse(t, quiet)
	h.scope("quarantine", allow("http:GET", "/firmware/**"))
	token, c := h.token(h.device("pump-1"))
	h.quarantine(&c, true)
	id := h.accepted(token)
	if n := testing.AllocsPerRun(200, func() {
		h.authenticate(token, here)
		h.gate.Authorize(id, repair)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
