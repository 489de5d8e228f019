package authority

import (
	"slices"
	"testing"
	"time"

	"cardea/internal/credential"
)

// noticed runs what is due by the clock and returns the events that it made, as "type principal/name".
func (h *house) noticed() []string {
	h.t.Helper()
	before := h.head()
	h.must(h.Notices(h.t.Context()))
	var out []string
	for _, e := range h.events(before) {
		out = append(out, e.Type+" "+e.Detail["name"]+e.Detail["before"])
	}
	slices.Sort(out)
	return out
}

func (h *house) expect(what string, want ...string) {
	h.t.Helper()
	if got := h.noticed(); !slices.Equal(got, want) {
		h.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// made gives the service "svc" a key.
func (h *house) made(name string, ttl time.Duration) Issued {
	h.t.Helper()
	is, err := h.CreateCredential(h.t.Context(), h.local, NewCredential{Kind: credential.APIKey, Principal: "svc", Name: name, TTL: ttl})
	h.must(err)
	return is
}

// O12: an end is told 30, 7 and 1 days before, each once, and once when it has come; what was never so far from its end is not told of.
func TestEndsAreTold(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	h.expect("the first time")
	long := h.made("long", 40*day)
	h.made("short", 5*day)
	h.expect("nothing is near")
	h.clock.add(4*day + time.Hour) // short: 1 day
	h.expect("one day before", "credential.expires_soon short1d")
	h.expect("once")
	h.clock.add(6 * day) // long: 30 days; short is over
	h.expect("30 days before, and an end", "credential.expired short", "credential.expires_soon long30d")
	_, err := h.Extend(h.t.Context(), h.local, long.Credential.ID, h.now().Add(60*day))
	h.must(err)
	h.clock.add(31 * day)
	h.expect("after an extension, again", "credential.expires_soon long30d")
	_, err = h.Revoke(h.t.Context(), h.local, long.Credential.ID, "")
	h.must(err)
	h.clock.add(25 * day)
	h.expect("what has ended has no end to come")
	h.made("missed", 20*day)
	h.clock.add(30 * day) // the server was off for all of it
	h.expect("a server that was off", "credential.expired missed", "credential.expires_soon missed1d", "credential.expires_soon missed7d")
}

// What nobody uses is told of or put into quarantine, what nobody rotates is told of, as the policy of the kind says and no more often than once in a while.
func TestUnusedAndOld(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	h.expect("the first time")
	_, err := h.SetKindPolicy(h.t.Context(), h.local, credential.APIKey, AnyVersion, func(p *credential.KindPolicy) {
		p.UnusedAfter, p.RotationAge, p.Notices = 10*day, 20*day, nil
	})
	h.must(err)
	idle, busy := h.made("idle", 300*day), h.made("busy", 300*day)
	h.clock.add(11 * day)
	h.used(busy.Credential.ID, 1, time.Hour)
	h.expect("not used for 10 days", "credential.unused idle")
	h.clock.add(2 * time.Hour)
	h.expect("once in a while")
	h.clock.add(10 * day)
	h.used(busy.Credential.ID, 1, time.Hour)
	h.expect("not rotated for 20 days", "credential.rotation_due busy", "credential.rotation_due idle", "credential.unused idle")
	_, err = h.SetKindPolicy(h.t.Context(), h.local, credential.APIKey, AnyVersion, func(p *credential.KindPolicy) {
		p.UnusedAction, p.RotationAge = credential.ActionQuarantine, 0
	})
	h.must(err)
	h.clock.add(2 * time.Hour)
	h.expect("quarantine", "credential.quarantine idle")
	rec, err := h.store.Credential(h.t.Context(), idle.Credential.ID)
	h.must(err)
	if rec.Credential.State != credential.StateQuarantined {
		t.Errorf("the unused key is %s", rec.Credential.State)
	}
}

// L06: expired ones are deleted so long after their end as the policy says, and nothing that has not expired ever is.
func TestPurge(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	h.expect("the first time")
	_, err := h.SetKindPolicy(h.t.Context(), h.local, credential.APIKey, AnyVersion, func(p *credential.KindPolicy) { p.PurgeAfter, p.Notices = 5*day, nil })
	h.must(err)
	over, good := h.made("over", day), h.made("good", 300*day)
	h.clock.add(3 * day)
	h.expect("expired, but not for long", "credential.expired over")
	h.clock.add(4 * day)
	before := h.head()
	h.must(h.Notices(h.t.Context()))
	if events := h.events(before); len(events) != 1 || events[0].Type != "credential.delete" || events[0].Subject.ID != over.Credential.ID || events[0].Reason == "" {
		t.Errorf("the events are %+v", events)
	}
	if _, err := h.Credential(h.t.Context(), h.local, good.Credential.ID); err != nil {
		t.Errorf("a good one: %v", err)
	}
	_, err = h.Credential(h.t.Context(), h.local, over.Credential.ID)
	fails(t, err, credential.NotFound)
}
