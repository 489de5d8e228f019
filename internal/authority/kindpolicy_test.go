package authority

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"

	"github.com/google/go-cmp/cmp"
)

// demand changes the policy of a kind as the local administrator.
func (h *house) demand(k credential.Kind, change func(*credential.KindPolicy)) credential.KindPolicy {
	h.t.Helper()
	p, err := h.SetKindPolicy(h.t.Context(), h.local, k, AnyVersion, change)
	h.must(err)
	return p
}

// Every kind has a policy from the start; setting one leaves an event with what changed, and going back leaves one too.
func TestPoliciesOfKinds(t *testing.T) {
	h := newHouse(t)
	list, err := h.KindPolicies(t.Context(), h.local)
	h.must(err)
	if len(list) != len(credential.Kinds())+1 {
		t.Errorf("%d policies", len(list))
	}
	for _, p := range list {
		if diff := cmp.Diff(credential.DefaultKindPolicy(credential.DefaultOrg, p.Kind), p); diff != "" {
			t.Errorf("%s\n%s", p.Kind, diff)
		}
	}
	before := h.head()
	set := h.demand(credential.PAT, func(p *credential.KindPolicy) {
		p.MaxLifetime, p.DefaultLifetime, p.Approval, p.MaxNumber = 30*day, 7*day, true, 5
		p.Notices = []time.Duration{day, 7 * day}
		p.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	})
	if set.Version != 1 || set.Notices[0] != 7*day {
		t.Errorf("%+v", set)
	}
	got, err := h.KindPolicy(t.Context(), h.local, credential.PAT)
	h.must(err)
	if diff := cmp.Diff(set, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	again := h.demand(credential.PAT, func(p *credential.KindPolicy) { p.MaxNumber = 5 })
	if again.Version != 1 {
		t.Errorf("a change of nothing made version %d", again.Version)
	}
	h.must(h.ResetKindPolicy(t.Context(), h.local, credential.PAT, 1))
	h.must(h.ResetKindPolicy(t.Context(), h.local, credential.PAT, AnyVersion)) // nothing is left to do
	events := h.events(before)
	if types(events) != "policy.update policy.reset" || events[0].Subject != (credential.Subject{Kind: "policy", ID: "pat"}) {
		t.Fatalf("%s, %+v", types(events), events[0].Subject)
	}
	for field, want := range map[string]string{
		"max_lifetime.old": "366d", "max_lifetime.new": "30d", "approval.new": "yes", "max_number.new": "5", "networks.new": "10.0.0.0/8", "notices.new": "7d 1d",
	} {
		if events[0].Detail[field] != want {
			t.Errorf("%s is %q, want %q", field, events[0].Detail[field], want)
		}
	}
	if events[1].Detail["max_lifetime.new"] != "366d" {
		t.Errorf("the way back says %v", events[1].Detail)
	}
	got, err = h.KindPolicy(t.Context(), h.local, credential.PAT)
	h.must(err)
	if got.Version != 0 || got.MaxLifetime != 366*day {
		t.Errorf("%+v", got)
	}
}

// Somebody else's change is not overwritten by who has read an older one, the default included.
func TestPolicyThatWasChangedMeanwhile(t *testing.T) {
	h := newHouse(t)
	longer := func(p *credential.KindPolicy) { p.MaxLifetime += day }
	set := func(version int64) error {
		_, err := h.SetKindPolicy(t.Context(), h.local, credential.PAT, version, longer)
		return err
	}
	fails(t, set(1), credential.Conflict, "changed meanwhile")
	h.must(set(0))
	fails(t, set(0), credential.Conflict, "changed meanwhile")
	h.must(set(1))
	fails(t, h.ResetKindPolicy(t.Context(), h.local, credential.PAT, 1), credential.Conflict)
	for version, act := range map[string]int64{"unset": 0, "any": AnyVersion} {
		h.must(h.ResetKindPolicy(t.Context(), h.local, credential.PAT, AnyVersion))
		h.overtake(func() { h.demand(credential.PAT, func(p *credential.KindPolicy) { p.MaxNumber = 7 }) })
		err := set(act)
		h.fault.set(nil, nil)
		p, rerr := h.KindPolicy(t.Context(), h.local, credential.PAT)
		h.must(rerr)
		if act == 0 {
			fails(t, err, credential.Conflict)
		} else if err != nil || p.MaxLifetime != 367*day {
			t.Errorf("%s: %v, %+v", version, err, p)
		}
		if p.MaxNumber != 7 {
			t.Errorf("%s: the other's change is lost: %+v", version, p)
		}
	}
}

// Every wrong field is named at once, by its name in the API.
func TestBadPoliciesNameEveryField(t *testing.T) {
	h := newHouse(t)
	before := h.head()
	_, err := h.SetKindPolicy(t.Context(), h.local, credential.PAT, AnyVersion, func(p *credential.KindPolicy) {
		*p = credential.KindPolicy{
			DefaultLifetime: 4000 * day, MaxLifetime: -1, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}, NamePattern: "a)(b", MaxNumber: -1,
			RotationAge: time.Minute, UnusedAfter: 36500 * day, UnusedAction: "revoke", Notices: []time.Duration{day, 0, day, -1},
			LeakAction: "warn", PurgeAfter: time.Hour + time.Millisecond, MaxSessions: 1, SessionLife: day, SessionIdle: day,
		}
	})
	fails(t, err, credential.Invalid, "write 10.0.0.0/8", "RE2")
	want := "default_lifetime max_lifetime networks[0] name_pattern max_number rotation_age unused_after unused_action " +
		"notices[1] notices[3] notices[2] leak_action purge_after max_sessions session_life session_idle"
	if got := fields(err); got != want {
		t.Errorf("fields\n%s, want\n%s", got, want)
	}
	for name, tc := range map[string]struct {
		kind   credential.Kind
		change func(*credential.KindPolicy)
		fields string
	}{
		"default beyond maximum":       {credential.PAT, func(p *credential.KindPolicy) { p.MaxLifetime = 30 * day }, "default_lifetime"},
		"a certificate without an end": {credential.Certificate, func(p *credential.KindPolicy) { p.RequireExpiry, p.DefaultLifetime = false, 0 }, "default_lifetime require_expiry"},
		"a pattern of lines":           {credential.PAT, func(p *credential.KindPolicy) { p.NamePattern = "a\nb" }, "name_pattern"},
		"a pattern that is too long":   {credential.PAT, func(p *credential.KindPolicy) { p.NamePattern = strings.Repeat("a", 257) }, "name_pattern"},
		"a token as pattern":           {credential.PAT, func(p *credential.KindPolicy) { p.NamePattern = "cardea_pat_" + strings.Repeat("a", 50) }, "name_pattern"}, // A07
		"a pattern that RE2 has not":   {credential.PAT, func(p *credential.KindPolicy) { p.NamePattern = `(a)\1` }, "name_pattern"},
		"a pattern that is too large":  {credential.PAT, func(p *credential.KindPolicy) { p.NamePattern = "((a{100}){100}){100}" }, "name_pattern"}, // H17
		"half a second":                {credential.PAT, func(p *credential.KindPolicy) { p.MaxLifetime += time.Second / 2 }, "max_lifetime"},
		"sessions for ever":            {credential.AppKey, func(p *credential.KindPolicy) { p.SessionLife = 91 * day }, "session_life"},
		"idle longer than life":        {credential.AppKey, func(p *credential.KindPolicy) { p.SessionIdle = 2 * day }, "session_idle"},
		"too many notices":             {credential.PAT, func(p *credential.KindPolicy) { p.Notices = make([]time.Duration, 17) }, "notices"},
		"what is not for passwords": {credential.Password, func(p *credential.KindPolicy) {
			p.RequireNetworks, p.Networks, p.NamePattern, p.Approval, p.MaxNumber = true, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, "a", true, 1
		}, "require_networks networks name_pattern approval max_number"},
	} {
		_, err := h.SetKindPolicy(t.Context(), h.local, tc.kind, AnyVersion, tc.change)
		fails(t, err, credential.Invalid)
		if got := fields(err); got != tc.fields {
			t.Errorf("%s: fields %q, want %q", name, got, tc.fields)
		}
	}
	if h.head() != before {
		t.Error("something was stored")
	}
	p := h.demand(credential.AppKey, func(p *credential.KindPolicy) { *p = credential.KindPolicy{} })
	if p.UnusedAction != credential.ActionWarn || p.LeakAction != credential.ActionRevoke || p.MaxSessions != 100 || p.SessionLife != day || p.SessionIdle != 0 {
		t.Errorf("what cannot be nothing is %+v", p)
	}
}

// Rights on policies are by kind; what may not be read does not exist, and neither do policies of other kinds.
func TestRightsOnPolicies(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	change := func(p *credential.KindPolicy) { p.MaxNumber++ }
	reader, writer := h.caller("api:policies:read /policies/pat"), h.caller("api:policies:update /policies/pat")
	_, err := h.KindPolicies(ctx, reader)
	fails(t, err, credential.NoRight)
	_, err = h.KindPolicy(ctx, reader, credential.PAT)
	h.must(err)
	_, err = h.KindPolicy(ctx, reader, credential.APIKey)
	fails(t, err, credential.NotFound)
	_, err = h.SetKindPolicy(ctx, reader, credential.PAT, AnyVersion, change)
	fails(t, err, credential.NoRight, "policies:update")
	fails(t, h.ResetKindPolicy(ctx, reader, credential.PAT, AnyVersion), credential.NoRight)
	_, err = h.SetKindPolicy(ctx, writer, credential.PAT, AnyVersion, change)
	h.must(err)
	_, err = h.SetKindPolicy(ctx, writer, credential.APIKey, AnyVersion, change)
	fails(t, err, credential.NotFound)
	for _, k := range []credential.Kind{credential.SessionKey, "x", ""} {
		_, err = h.KindPolicy(ctx, h.local, k)
		fails(t, err, credential.NotFound)
	}
	other := h.local
	other.Org = "other"
	p, err := h.KindPolicy(ctx, other, credential.PAT)
	h.must(err)
	if p.Version != 0 || p.Org != "other" {
		t.Errorf("another organisation has %+v", p) // W07
	}
}

// A pattern must match the whole name, whatever it is made of.
func TestNamePattern(t *testing.T) {
	for _, tc := range []struct {
		pattern, name string
		ok            bool
	}{
		{"ci-[a-z]+", "ci-export", true},
		{"ci-[a-z]+", "my ci-export", false},
		{"ci-[a-z]+", "ci-export2", false},
		{"a|b", "b", true},
		{"a|b", "bx", false},
		{"a|b", "xa", false},
		{"(?i)A", "a", true},
		{"^a$", "a", true},
		{"a", "a\n", false},
		{".*", "", true},
		{".+", "", false},
	} {
		re, err := compileName(tc.pattern)
		if err != nil {
			t.Fatal(err)
		}
		r := kindRules{KindPolicy: credential.KindPolicy{NamePattern: tc.pattern}, pattern: re}
		var p credential.Problems
		if r.checkName(&p, tc.name); (len(p) == 0) != tc.ok {
			t.Errorf("%q on %q: %v", tc.pattern, tc.name, p)
		}
	}
	if nothing.MatchString("") || nothing.MatchString("a\n") {
		t.Error("what matches nothing matches something")
	}
}

// FuzzNamePattern: what is taken as a pattern compiles as the whole of a name too, and never matches more than a whole one.
func FuzzNamePattern(f *testing.F) {
	f.Add("ci-[a-z]+", "ci-a")
	f.Add("a)(b", "ab")
	f.Add("(?i)a|b", "B")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		var p credential.Problems
		if checkPattern(&p, "name_pattern", pattern); len(p) > 0 || pattern == "" {
			return
		}
		re, err := compileName(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if loc := re.FindStringIndex(name); loc != nil && (loc[0] != 0 || loc[1] != len(name)) {
			t.Errorf("%q matches %v of %q", pattern, loc, name)
		}
	})
}

// A policy that another version has stored and that cannot be read lets no name pass.
func TestPatternThatCannotBeRead(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	p := credential.DefaultKindPolicy(credential.DefaultOrg, credential.APIKey)
	p.NamePattern = "("
	_, err := h.store.Commit(t.Context(), credential.Change{Ops: []credential.Op{credential.PutKindPolicy{KindPolicy: p}}, Events: []credential.Event{{At: h.clock.now(), Org: p.Org, Type: "policy.update", Subject: aboutPolicy(p.Kind)}}})
	h.must(err)
	_, err = h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.APIKey, Principal: "svc", Name: "a"})
	fails(t, err, credential.Invalid, "does not match")
}
