package gate

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/credential"
)

// deaf is a store whose Wait is woken by nothing but its poll interval.
type deaf struct {
	*faulty
	waits atomic.Int64
}

func (d *deaf) Wait(ctx context.Context, _ int64) error {
	d.waits.Add(1)
	t := time.NewTimer(5 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// R02: changes that another node makes, and of which nothing tells, are found by polling.
func TestPollingFindsChanges(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Store = &deaf{faulty: c.Store.(*faulty)} })
	h.writer()
	p := h.device("pump-1", "writer")
	token, c := h.token(p)
	var cut cutter
	id := h.accepted(token)
	h.watch(id, cut.live("stream"))

	policy, err := h.store.Store.Policy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := policy.Scopes[0]
	s.Rules = []credential.Rule{allow("http:GET", "/db/**")}
	h.commit("scope", s.Name, credential.PutScope{Scope: s})
	h.eventually("the scope is compiled", func() bool { return !h.gate.Authorize(id, post).Allowed() })

	h.commit("route", "/db/", credential.PutRoute{Route: credential.Route{Prefix: "/db/", Upstream: "http://127.0.0.1:1"}})
	h.eventually("the route is there", func() bool { return len(h.gate.Routes()) == 1 })

	h.commit("credential", c.ID, h.end(c))
	h.eventually("it is refused", func() bool { _, out := h.authenticate(token, here); return out.Reason == credential.Revoked })
	h.eventually("its session is cut", func() bool { return cut.n.Load() == 1 })
	h.eventually("the revision is applied", func() bool { st := h.gate.Stats(); return st.Lag == 0 && st.Applied == h.gate.head.Load() })
}

// What this node has applied already costs nothing when the feed brings it again.
func TestFeedRepeatsNothing(t *testing.T) {
	h := newHouse(t)
	token, c := h.token(h.device("pump-1"))
	h.accepted(token)
	c.Description = "patched"
	h.change("credential", c.ID, credential.UpdateCredential{Credential: c})
	h.accepted(token)
	n := h.store.lookups.Load()
	h.eventually("the feed is at its end", func() bool { return h.gate.applied.Load() == h.gate.floor.Load() })
	h.accepted(token)
	if m := h.store.lookups.Load(); m != n {
		t.Errorf("%d look-ups more", m-n)
	}
}

// D12: a database that has lost revisions is not believed.
func TestFeedGoesBack(t *testing.T) {
	h := newHouse(t)
	token, _ := h.token(h.device("pump-1"))
	h.accepted(token)
	h.eventually("the feed is at its end", func() bool { return h.gate.applied.Load() == h.gate.floor.Load() })
	h.gate.applied.Store(1 << 40) // as if it had been seen
	h.hands.pass(h.gate.staleness + time.Second)
	h.eventually("it is noticed", h.gate.feedDown.Load)
	h.refused(token, credential.Unavailable)
}

// R02: a touch that is lost is noticed by the gap it leaves; then everything is forgotten and every session looked at.
func TestGapInFeed(t *testing.T) {
	h := newHouse(t)
	p := h.device("pump-1")
	token, c := h.token(p)
	other, o := h.token(p)
	var cut, kept cutter
	h.watch(h.accepted(token), cut.live("stream"))
	h.watch(h.accepted(other), kept.live("stream"))
	h.eventually("the feed is at its end", func() bool { return h.gate.applied.Load() == h.gate.floor.Load() })
	end := h.gate.applied.Load()
	h.store.set(func(f *faulty) { f.since = func() error { return down } })
	h.eventually("the follower waits", h.gate.feedDown.Load)
	h.commit("credential", c.ID, h.end(c))
	o.Description = "patched"
	h.commit("credential", o.ID, credential.UpdateCredential{Credential: o})
	h.store.set(func(f *faulty) {
		f.since, f.lose = nil, end+1
	})
	h.eventually("the gap is passed", func() bool { return h.gate.applied.Load() == end+2 })
	h.refused(token, credential.Revoked)
	h.accepted(other)
	cut.is(t, credential.Revoked)
	if kept.n.Load() != 0 {
		t.Error("a session that may go on was cut")
	}
}

// Before the head of the feed is known nothing is decided.
func TestNothingBeforeTheHead(t *testing.T) {
	h := newHouse(t)
	token, _ := h.token(h.device("pump-1"))
	signer := h.gate.signer
	g, err := New(Config{Store: h.store, Signer: signer, Clock: h.hands.clock()})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if _, out := g.Authenticate(t.Context(), &Evidence{Token: token}); out.Reason != credential.Unavailable || g.Ready() {
		t.Errorf("before Run: %v", out.Reason)
	}
}

// After Close everything is refused, and Run does not begin.
func TestClosed(t *testing.T) {
	h := newHouse(t)
	token, _ := h.token(h.device("pump-1"))
	h.accepted(token)
	if err := h.gate.Close(); err != nil {
		t.Fatal(err)
	}
	h.refused(token, credential.Unavailable)
	if err := h.gate.Run(t.Context()); err == nil {
		t.Error("Run began")
	}
}
