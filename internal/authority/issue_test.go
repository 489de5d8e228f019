package authority

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"cardea/internal/credential"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// pat asks for a personal access token of alice.
func (h *house) pat(n NewCredential) (Issued, error) {
	h.t.Helper()
	n.Kind, n.Principal = credential.PAT, "alice"
	return h.CreateCredential(h.t.Context(), h.local, n)
}

// L01: what goes beyond a policy is refused with the policy and what it allows, and is never changed; what asks for nothing gets the
// policy's default and is told so.
func TestLifetimesByPolicy(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.User, "alice")
	h.demand(credential.PAT, func(p *credential.KindPolicy) { p.DefaultLifetime, p.MaxLifetime = 12*time.Hour, 30*day })
	now := h.clock.now()
	const allows = "is beyond what the policy for pat of default allows: at most 30d, until 2026-12-22T12:00:00Z"
	for name, tc := range map[string]struct {
		n           NewCredential
		field, says string
	}{
		"ttl":              {NewCredential{TTL: 30*day + time.Microsecond}, "ttl", allows},
		"end":              {NewCredential{ExpiresAt: now.Add(31 * day)}, "expires_at", allows},
		"far away":         {NewCredential{ExpiresAt: now.Add(200 * 365 * day)}, "expires_at", allows},
		"longest ttl":      {NewCredential{TTL: 1<<63 - 1}, "ttl", allows},
		"never":            {NewCredential{Never: true}, "ttl", "is never, but the policy for pat of default demands an end: at most 30d"},
		"never and an end": {NewCredential{Never: true, TTL: day}, "ttl", "give one of them"},
		"past":             {NewCredential{ExpiresAt: now.Add(-time.Hour)}, "expires_at", "is not in the future"},
		"now":              {NewCredential{ExpiresAt: now}, "expires_at", "is not in the future"},
	} {
		before := h.head()
		_, err := h.pat(tc.n)
		fails(t, err, credential.Invalid, tc.says)
		if got := fields(err); got != tc.field || h.head() != before {
			t.Errorf("%s: fields %q, want %q", name, got, tc.field)
		}
	}
	is, err := h.pat(NewCredential{TTL: 30 * day})
	h.must(err)
	if !is.Credential.ExpiresAt.Equal(now.Add(30*day)) || len(is.Warnings) != 0 {
		t.Errorf("%s, %q", is.Credential.ExpiresAt, is.Warnings)
	}
	is, err = h.pat(NewCredential{})
	h.must(err)
	want := "no lifetime was given: it ends after 12h, the default of the policy for pat of default, at 2026-11-23T00:00:00Z"
	if !is.Credential.ExpiresAt.Equal(now.Add(12*time.Hour)) || !cmp.Equal(is.Warnings, []string{want}) {
		t.Errorf("%s, %q", is.Credential.ExpiresAt, is.Warnings)
	}
	h.demand(credential.PAT, func(p *credential.KindPolicy) { p.DefaultLifetime = 0 })
	_, err = h.pat(NewCredential{})
	fails(t, err, credential.Invalid, "expires_at is missing, and so is ttl", "demands an end and has no default", "at most 30d")
	h.demand(credential.PAT, func(p *credential.KindPolicy) { p.RequireExpiry = false })
	for _, n := range []NewCredential{{}, {Never: true}, {Never: true, NotBefore: now.Add(day)}} {
		is, err = h.pat(n)
		h.must(err)
		if !is.Credential.ExpiresAt.IsZero() || (len(is.Warnings) == 1) == n.Never {
			t.Errorf("%s, %q", is.Credential.ExpiresAt, is.Warnings)
		}
	}
	if r := h.knock(is.Secret.Reveal()); r != credential.NotYetValid {
		t.Errorf("without an end, before its begin: %s", r)
	}
	h.clock.add(4000 * day)
	if r := h.knock(is.Secret.Reveal()); r != credential.OK {
		t.Errorf("without an end, years later: %s", r)
	}
	_, err = h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.Certificate, Principal: "alice", Never: true})
	fails(t, err, credential.Invalid, "ttl", "certificate")
}

// L02: what a policy comes to demand later touches no credential that exists, nor what is not changed of it; it counts from the next extension and
// rotation on, and is said then.
func TestPolicyThatChangesLater(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.User, "alice")
	h.demand(credential.PAT, func(p *credential.KindPolicy) { p.RequireExpiry = false })
	old, err := h.pat(NewCredential{TTL: 300 * day, Name: "laptop"})
	h.must(err)
	endless, err := h.pat(NewCredential{Never: true})
	h.must(err)
	before, err := h.Credential(t.Context(), h.local, old.Credential.ID)
	h.must(err)
	h.demand(credential.PAT, func(p *credential.KindPolicy) {
		p.DefaultLifetime, p.MaxLifetime, p.RequireExpiry, p.RequireNetworks, p.NamePattern, p.Approval, p.MaxNumber = 7*day, 30*day, true, true, "x-.*", true, 1
	})
	after, err := h.Credential(t.Context(), h.local, old.Credential.ID)
	h.must(err)
	if diff := cmp.Diff(before, after, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	for _, is := range []Issued{old, endless} {
		if r := h.knock(is.Secret.Reveal()); r != credential.OK {
			t.Errorf("a credential of before: %s", r)
		}
	}
	text := "for the demo"
	_, err = h.UpdateCredential(t.Context(), h.local, old.Credential.ID, CredentialPatch{Description: &text})
	h.must(err)
	none := []netip.Prefix{}
	_, err = h.UpdateCredential(t.Context(), h.local, old.Credential.ID, CredentialPatch{Name: &text, Networks: &none})
	fails(t, err, credential.Invalid, "does not match x-.*, as the policy for pat of default demands", "demands networks")
	if fields(err) != "name allowed_ips" {
		t.Error(fields(err))
	}
	h.clock.add(280 * day)
	now := h.clock.now()
	_, err = h.Extend(t.Context(), h.local, old.Credential.ID, now.Add(31*day))
	fails(t, err, credential.Invalid, "expires_at is beyond what the policy for pat of default allows: at most 30d")
	_, err = h.Extend(t.Context(), h.local, old.Credential.ID, now.Add(30*day))
	h.must(err)
	_, err = h.Extend(t.Context(), h.local, endless.Credential.ID, now.Add(30*day))
	fails(t, err, credential.Conflict, "has no end")
	for what, is := range map[string]Issued{"demands one by now": endless, "allows at most 30d": old} {
		turned, err := h.Rotate(t.Context(), h.local, is.Credential.ID, Rotation{Overlap: time.Hour})
		h.must(err)
		if !turned.Credential.ExpiresAt.Equal(now.Add(30*day)) || turned.Credential.State != credential.StateActive {
			t.Errorf("the new version ends %s, state %s", turned.Credential.ExpiresAt, turned.Credential.State)
		}
		if len(turned.Warnings) != 1 || !strings.Contains(turned.Warnings[0], what) {
			t.Errorf("warnings %q", turned.Warnings)
		}
	}
}

// L02 for all: whatever lifetime is asked for under whatever policy, what is made ends when it was asked to, or by the default, and never beyond the policy.
func TestLifetimeProperty(t *testing.T) {
	now := startClock().now()
	rapid.Check(t, func(t *rapid.T) {
		span := func(name string) time.Duration {
			return time.Duration(rapid.Int64Range(0, 4000*24).Draw(t, name)) * time.Hour
		}
		r := &kindRules{KindPolicy: credential.KindPolicy{Org: "o", Kind: credential.PAT, DefaultLifetime: span("default"), MaxLifetime: span("max"), RequireExpiry: rapid.Bool().Draw(t, "require")}}
		if r.MaxLifetime > 0 {
			r.DefaultLifetime = min(r.DefaultLifetime, r.MaxLifetime)
		}
		r.DefaultLifetime = min(r.DefaultLifetime, maxLifetime)
		n := NewCredential{Kind: credential.PAT}
		switch rapid.IntRange(0, 3).Draw(t, "how") {
		case 1:
			n.TTL = span("ttl")
		case 2:
			n.ExpiresAt = now.Add(span("end") - 100*day)
		case 3:
			n.Never = true
		}
		var p credential.Problems
		end, note := n.lifetime(&p, r, now)
		if len(p) > 0 {
			return
		}
		asked := n.Never || n.TTL > 0 || !n.ExpiresAt.IsZero()
		switch {
		case asked != (note == ""):
			t.Fatalf("asked %t, note %q", asked, note)
		case end.IsZero() && r.RequireExpiry:
			t.Fatal("no end, where one is demanded")
		case end.IsZero():
		case !end.After(now) || end.After(now.Add(r.longest())):
			t.Fatalf("ends %s", end)
		case n.TTL > 0 && !end.Equal(now.Add(n.TTL)), !n.ExpiresAt.IsZero() && !end.Equal(n.ExpiresAt), !asked && !end.Equal(now.Add(r.DefaultLifetime)):
			t.Fatalf("ends %s, which nobody asked for", end)
		}
	})
}

// Networks that are demanded must be given, and lie within those of the policy.
func TestNetworksByPolicy(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.User, "alice")
	nets := func(texts ...string) (out []netip.Prefix) {
		for _, s := range texts {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	h.demand(credential.PAT, func(p *credential.KindPolicy) { p.RequireNetworks = true })
	_, err := h.pat(NewCredential{})
	fails(t, err, credential.Invalid, "allowed_ips is empty, which is anywhere: the policy for pat of default demands networks")
	_, err = h.pat(NewCredential{Networks: nets("0.0.0.0/0")})
	h.must(err)
	h.demand(credential.PAT, func(p *credential.KindPolicy) {
		p.RequireNetworks, p.Networks = false, nets("10.0.0.0/8", "2001:db8::/32")
	})
	_, err = h.pat(NewCredential{})
	fails(t, err, credential.Invalid, "allows only 10.0.0.0/8 2001:db8::/32")
	_, err = h.pat(NewCredential{Networks: nets("10.1.0.0/16", "0.0.0.0/0", "192.0.2.1/32", "2001:db8:1::/48", "2001:d00::/24")})
	fails(t, err, credential.Invalid, "is outside of what the policy for pat of default allows")
	if got := fields(err); got != "allowed_ips[1] allowed_ips[2] allowed_ips[4]" {
		t.Error(got)
	}
	is, err := h.pat(NewCredential{Networks: nets("10.1.0.0/16")})
	h.must(err)
	wide := nets("10.0.0.0/7")
	_, err = h.UpdateCredential(t.Context(), h.local, is.Credential.ID, CredentialPatch{Networks: &wide})
	fails(t, err, credential.Invalid, "allowed_ips[0]")
}

// A policy holds a whole batch and the keys of devices as well, and names the entry.
func TestPolicyHoldsBatchesAndKeys(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.Device, "pump-1")
	h.demand(credential.DeviceToken, func(p *credential.KindPolicy) {
		p.DefaultLifetime, p.MaxLifetime, p.NamePattern = 10*day, 20*day, "press-.*"
	})
	before := h.head()
	n := NewCredential{Kind: credential.DeviceToken, Principal: "pump-1", Name: "press-1"}
	bad := n
	bad.Name, bad.TTL = "x", 21*day
	_, err := h.CreateCredentials(ctx, h.local, []NewCredential{n, bad})
	fails(t, err, credential.Invalid)
	if fields(err) != "credentials[1].name credentials[1].ttl" || h.head() != before {
		t.Errorf("%s", fields(err))
	}
	_, err = h.GenerateKey(ctx, h.local, NewKey{ID: "pump-2", Valid: 21 * day})
	fails(t, err, credential.Invalid, "valid is beyond what the policy for device_token of default allows: at most 20d", "id does not match press-.*")
	b, err := h.GenerateKey(ctx, h.local, NewKey{ID: "press-2"})
	h.must(err)
	if got := b.Token.Credential.ExpiresAt; !got.Equal(b.Certificate.Credential.ExpiresAt) || got.After(h.clock.now().Add(10*day)) {
		t.Errorf("the key ends %s", got)
	}
	h.demand(credential.DeviceToken, func(p *credential.KindPolicy) { p.MaxLifetime, p.DefaultLifetime = 5*day, 5*day })
	turned, err := h.RotateKey(ctx, h.local, "press-2", Rotation{Overlap: time.Hour})
	h.must(err)
	if end := turned.Certificate.Credential.ExpiresAt; end.After(h.clock.now().Add(5*day)) || !end.Equal(turned.Token.Credential.ExpiresAt) || len(turned.Warnings) == 0 {
		t.Errorf("the rotated key ends %s, warnings %q", end, turned.Warnings)
	}
	h.demand(credential.Certificate, func(p *credential.KindPolicy) { p.RequireNetworks = true })
	_, err = h.GenerateKey(ctx, h.local, NewKey{ID: "press-3"})
	fails(t, err, credential.Invalid, "id would get credentials that may come from anywhere", "the policy for certificate")
}

// L01: a preview says what would be made, with the same warnings and the same problems, and makes nothing.
func TestPreview(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.User, "alice")
	h.principal(credential.User, "bob", credential.RoleAdmin)
	h.demand(credential.PAT, func(p *credential.KindPolicy) { p.Approval, p.MaxNumber = true, 1 })
	before := h.head()
	n := NewCredential{Kind: credential.PAT, Principal: "alice", Owner: "bob", Name: "laptop"}
	maker := h.caller("api:credentials:create /credentials/*")
	p, err := h.PreviewCredential(t.Context(), maker, n)
	h.must(err)
	if p.Credential.ID != "" || p.Credential.State != credential.StatePending || p.OwnerName != "bob" || p.Policy.Kind != credential.PAT || len(p.Warnings) != 2 {
		t.Errorf("%+v", p)
	}
	if h.head() != before {
		t.Error("a preview has changed something")
	}
	is, err := h.CreateCredential(t.Context(), maker, n)
	h.must(err)
	if diff := cmp.Diff(p.Warnings, is.Warnings); diff != "" || !p.Credential.ExpiresAt.Equal(is.Credential.ExpiresAt) {
		t.Errorf("%s, %s, %s", p.Credential.ExpiresAt, is.Credential.ExpiresAt, diff)
	}
	_, err = h.PreviewCredential(t.Context(), maker, n)
	fails(t, err, credential.Conflict, "allows at most 1")
	n.Owner, n.TTL, n.Tags = "nobody", -1, []string{"Bad"}
	_, err = h.PreviewCredential(t.Context(), maker, n)
	if _, made := h.CreateCredential(t.Context(), maker, n); fields(err) != "tags[0] owner ttl" || fields(made) != fields(err) {
		t.Errorf("preview %v, creation %v", err, made)
	}
	_, err = h.PreviewCredential(t.Context(), h.caller("api:credentials:read /credentials/*"), n)
	fails(t, err, credential.NoRight)
}

// Of twenty that come at once for three places three get one, over all nodes, and the others learn which policy stood in the way.
func TestMaximumNumber(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.User, "alice")
	h.principal(credential.User, "bob")
	h.demand(credential.PAT, func(p *credential.KindPolicy) { p.MaxNumber = 3 })
	made := make(chan Issued, 20)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			is, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.PAT, Principal: "alice", TTL: day})
			if err == nil {
				made <- is
				return
			}
			fails(t, err, credential.Conflict, "alice has 3: the policy for pat of default allows at most 3 at the same time")
		})
	}
	wg.Wait()
	close(made)
	if len(made) != 3 {
		t.Fatalf("%d were made", len(made))
	}
	_, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.PAT, Principal: "bob"}) // each has their own
	h.must(err)
	_, err = h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.AppKey, Principal: "alice", Name: "other", TTL: day}) // each kind has its own
	h.must(err)
	first := <-made
	_, err = h.Quarantine(ctx, h.local, first.Credential.ID, "") // still there
	h.must(err)
	one := NewCredential{Kind: credential.PAT, Principal: "alice", TTL: day}
	_, err = h.CreateCredential(ctx, h.local, one)
	fails(t, err, credential.Conflict)
	_, err = h.Revoke(ctx, h.local, first.Credential.ID, "")
	h.must(err)
	before := h.head()
	_, err = h.CreateCredentials(ctx, h.local, []NewCredential{one, one})
	fails(t, err, credential.Conflict, "alice has 2")
	if h.head() != before {
		t.Error("half of a batch was made")
	}
	_, err = h.CreateCredentials(ctx, h.local, []NewCredential{one})
	h.must(err)
	// What has expired makes room, and a rotation that brings it back takes room.
	h.clock.add(2 * day)
	for range 3 {
		_, err = h.CreateCredential(ctx, h.local, one)
		h.must(err)
	}
	second := <-made
	_, err = h.Rotate(ctx, h.local, second.Credential.ID, Rotation{})
	fails(t, err, credential.Conflict, "alice has 3")
	h.demand(credential.PAT, func(p *credential.KindPolicy) { p.MaxNumber = 4 })
	_, err = h.Rotate(ctx, h.local, second.Credential.ID, Rotation{})
	h.must(err)
}
