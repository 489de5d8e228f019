package gate

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// The identity says whose the token is, and what it is for.
func TestIdentity(t *testing.T) {
	h := newHouse(t)
	h.writer()
	ends := h.hands.now().Add(time.Hour)
	token, c := h.token(h.device("pump-1", "writer"), func(c *credential.Credential) { c.ExpiresAt = ends })

	id := h.accepted(token)
	want := &Identity{
		Org: "default", Holder: policy.Holder{Principal: "pump-1"}, PrincipalID: c.Principal, PrincipalKind: credential.Device,
		Credential: c.ID, Kind: credential.DeviceToken, Proof: 1, Scopes: []string{"db:write"}, Deadline: ends,
	}
	if d := cmp.Diff(want, id, cmpopts.IgnoreUnexported(Identity{}), cmpopts.EquateEmpty()); d != "" {
		t.Fatal(d)
	}
	if again := h.accepted(token); again != id {
		t.Error("a second hit made another identity")
	}
	if n := h.store.lookups.Load(); n != 1 {
		t.Errorf("%d look-ups, want 1", n)
	}
	if d := h.gate.Authorize(id, post); !d.Allowed() {
		t.Error(d.Reason)
	}
	other := *post
	other.Resource = "/admin"
	if d := h.gate.Authorize(id, &other); d.Reason != credential.NoRule {
		t.Error(d.Reason)
	}
}

// Every reason for which a token is refused.
func TestReasons(t *testing.T) {
	h := newHouse(t)
	p := h.device("pump-1")
	token, c := h.token(p)

	h.refused("", credential.NoCredential)
	h.refused("cardea_dev_garbage", credential.MalformedToken)
	h.refused(strings.Replace(token, "_dev_", "_api_", 1), credential.MalformedToken) // K06: the sum covers the kind
	h.refused(wrongSecret(t, "dev", c.ID), credential.WrongSecret)
	h.refused(wrongSecret(t, "dev", "000000000000"), credential.UnknownCredential)

	later, _ := h.token(p, func(c *credential.Credential) { c.NotBefore = h.hands.now().Add(time.Minute) })
	h.refused(later, credential.NotYetValid)
	short, _ := h.token(p, func(c *credential.Credential) { c.ExpiresAt = h.hands.now().Add(time.Minute) })
	h.accepted(short)
	h.pass(time.Minute - 1)
	h.refused(later, credential.NotYetValid)
	h.accepted(short)
	h.pass(1) // boundaries are exact, to the nanosecond
	h.accepted(later)
	h.refused(short, credential.Expired)

	h.accepted(token)
	h.revoke(c)
	h.refused(token, credential.Revoked)

	bound, _ := h.token(p, func(c *credential.Credential) { c.Networks = prefixes("198.51.100.0/24", "2001:db8::/32") })
	h.refused(bound, credential.NetworkRefused)
	for _, src := range []string{"198.51.100.9", "::ffff:198.51.100.9", "2001:db8::1"} {
		if _, out := h.authenticate(bound, addr(src)); out.Reason != credential.OK {
			t.Errorf("from %s: %v", src, out.Reason)
		}
	}
	if _, out := h.authenticate(bound, noAddr); out.Reason != credential.NetworkRefused {
		t.Errorf("from nowhere: %v", out.Reason)
	}

	disabled := p
	disabled.Disabled = true
	h.change("principal", p.ID, credential.UpdatePrincipal{Principal: disabled})
	h.refused(later, credential.PrincipalDisabled)
	h.refused(short, credential.Expired) // the order of the reasons is that of their numbers
}

// A right secret under another kind's prefix is not the token that was issued.
func TestKindOfTokenCounts(t *testing.T) {
	h := newHouse(t)
	token, _ := h.token(h.device("pump-1"), func(c *credential.Credential) { c.Kind = credential.DeviceToken })
	forged := resum(strings.Replace(token, "_dev_", "_pat_", 1))
	h.refused(forged, credential.WrongSecret)
	h.accepted(token)
}

// R05, L04: the credentials of a principal that is deleted or disabled are refused, cached ones at once.
func TestEndOfPrincipal(t *testing.T) {
	h := newHouse(t)
	p := h.device("pump-1")
	first, one := h.token(p)
	second, two := h.token(p)
	h.accepted(first)
	h.accepted(second)
	h.change("principal", p.ID, credential.DeletePrincipal{ID: p.ID, Version: 1, At: h.hands.now(), Credentials: []string{one.ID, two.ID}})
	h.refused(first, credential.Revoked)
	h.refused(second, credential.Revoked)
}

// R06: both versions work until the old one's end, which is exact.
func TestRotation(t *testing.T) {
	h := newHouse(t)
	old, c := h.token(h.device("pump-1"))
	h.accepted(old)
	fresh := h.rotate(&c, h.hands.now().Add(time.Hour))
	if id := h.accepted(old); id.Proof != 1 || !id.Deadline.Equal(h.hands.now().Add(time.Hour)) {
		t.Errorf("old: version %d, until %v", id.Proof, id.Deadline)
	}
	if id := h.accepted(fresh); id.Proof != 2 || !id.Deadline.IsZero() {
		t.Errorf("fresh: version %d, until %v", id.Proof, id.Deadline)
	}
	h.pass(time.Hour)
	h.refused(old, credential.Expired)
	h.accepted(fresh)
}

// H13: what one call was allowed says nothing about the next.
func TestDecisionIsNotKept(t *testing.T) {
	h := newHouse(t)
	h.writer()
	h.scope("db:read", allow("http:GET", "/db/**"))
	token, _ := h.token(h.device("pump-1", "writer"))
	id := h.accepted(token)
	if d := h.gate.Authorize(id, post); !d.Allowed() {
		t.Fatal(d.Reason)
	}
	get := &policy.Access{Proto: policy.HTTP, Verb: "GET", Resource: post.Resource, Source: here}
	if d := h.gate.Authorize(id, get); d.Reason != credential.NoRule {
		t.Fatalf("GET: %v", d.Reason)
	}
	h.scope("db:write", allow("http:GET", "/db/**")) // the same identity, other rights
	if d := h.gate.Authorize(id, get); !d.Allowed() {
		t.Errorf("GET after the change: %v", d.Reason)
	}
	if d := h.gate.Authorize(id, post); d.Reason != credential.NoRule {
		t.Errorf("POST after the change: %v", d.Reason)
	}
	if again := h.accepted(token); again.compiled == id.compiled {
		t.Error("the identity has the old rights")
	}
}

// A credential's scopes narrow what its principal may.
func TestScopesOfCredential(t *testing.T) {
	h := newHouse(t)
	h.scope("db:all", allow("http:*", "/db/**"))
	h.scope("db:read", allow("http:GET", "/db/**"))
	h.role("all", "db:all")
	token, _ := h.token(h.device("pump-1", "all"), func(c *credential.Credential) { c.Scopes = []string{"db:read"} })
	id := h.accepted(token)
	if d := cmp.Diff([]string{"db:read"}, id.Scopes); d != "" {
		t.Error(d)
	}
	if d := h.gate.Authorize(id, post); d.Reason != credential.NoRule {
		t.Error(d.Reason)
	}
	if r := h.gate.Rights(id); r.Principal == nil || r.Credential == nil || r.Decide(post).Allowed() {
		t.Error("Rights are not those of the credential")
	}
}

// An identity that was authenticated before a revocation does not pass after it (invariant 4).
func TestAuthorizeAfterRevocation(t *testing.T) {
	h := newHouse(t)
	h.writer()
	token, c := h.token(h.device("pump-1", "writer"))
	id := h.accepted(token)
	h.revoke(c)
	if d := h.gate.Authorize(id, post); d.Reason != credential.Revoked {
		t.Errorf("Authorize: %v", d.Reason)
	}
	if r := h.gate.Rights(id); r != (policy.Rights{}) {
		t.Error("it still has rights")
	}
	if w, why := h.gate.Watch(t.Context(), id, Live{Cut: func(credential.Reason) { t.Error("it was cut") }, Source: here}); why != credential.Revoked || w != nil {
		t.Errorf("Watch: %v", why)
	}
}

// Verify tells whose a token is, also if it is not accepted, and leaves no trace.
func TestVerify(t *testing.T) {
	h := newHouse(t)
	h.writer()
	p := h.device("pump-1", "writer")
	token, c := h.token(p)
	v := h.gate.Verify(t.Context(), credential.DefaultOrg, &Evidence{Token: token, Source: here}, post, true)
	if !v.Allowed || v.Identity.Principal != "pump-1" || len(v.Looks) != 1 || !v.Looks[0].Matches {
		t.Errorf("%+v", v)
	}
	h.revoke(c)
	v = h.gate.Verify(t.Context(), credential.DefaultOrg, &Evidence{Token: token, Source: here}, post, false)
	if v.Allowed || v.Reason != credential.Revoked || v.Identity == nil || v.Identity.Principal != "pump-1" || v.Looks != nil {
		t.Errorf("revoked: %+v", v)
	}
	for range 2 * attempts {
		v = h.gate.Verify(t.Context(), credential.DefaultOrg, &Evidence{Token: wrongSecret(t, "dev", c.ID), Source: here}, nil, false)
	}
	if v.Reason != credential.WrongSecret || v.Identity != nil {
		t.Errorf("wrong: %+v", v)
	}
	for name, shown := range map[string]string{"right": token, "wrong": wrongSecret(t, "dev", c.ID)} { // W07
		if v := h.gate.Verify(t.Context(), "elsewhere", &Evidence{Token: shown, Source: here}, nil, true); v.Reason != credential.UnknownCredential || v.Identity != nil || v.Looks != nil {
			t.Errorf("to another organisation a %s secret is %s %+v", name, v.Reason, v.Identity)
		}
	}
	if v = h.gate.Verify(t.Context(), credential.DefaultOrg, &Evidence{Token: wrongSecret(t, "dev", "000000000000")}, nil, false); v.Reason != credential.UnknownCredential || v.Identity != nil {
		t.Errorf("unknown: %+v", v)
	}
	if err := h.gate.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if u, err := h.store.Usage(t.Context(), c.ID); err != nil || len(u) != 0 {
		t.Errorf("usage %v, %v", u, err)
	}
	if n := h.gate.Stats().Refusals; len(n) != 0 {
		t.Errorf("refusals %v", n)
	}
}
