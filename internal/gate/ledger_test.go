package gate

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"cardea/internal/credential"
)

// quiet makes the gate flush only when the test says so.
func quiet(c *Config) { c.FlushEvery = time.Hour }

func (h *house) usage(id string) []credential.Usage {
	h.Helper()
	u, err := h.store.Usage(h.Context(), id)
	if err != nil {
		h.Fatal(err)
	}
	return u
}

// R06: how often each version was used, first, last and from where.
func TestUsage(t *testing.T) {
	h := newHouse(t, quiet)
	old, c := h.token(h.device("pump-1"))
	first := h.hands.now()
	h.accepted(old)
	h.pass(5 * time.Second)
	h.authenticate(old, elsewhere)
	last := h.hands.now()
	fresh := h.rotate(&c, h.hands.now().Add(time.Hour)) // the first version's entry is replaced, its uses are not lost
	h.accepted(fresh)
	h.authenticate(old, elsewhere)
	h.refused(wrongSecret(t, "dev", c.ID), credential.WrongSecret)
	if err := h.gate.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	byProof := map[int]credential.Usage{}
	for _, u := range h.usage(c.ID) {
		byProof[u.Proof] = u
	}
	if u := byProof[1]; u.Count != 3 || !u.FirstAt.Equal(first) || !u.LastAt.Equal(last) || u.LastSource != elsewhere {
		t.Errorf("version 1: %+v", u)
	}
	if u := byProof[2]; u.Count != 1 || u.LastSource != here {
		t.Errorf("version 2: %+v", u)
	}
	if n := h.gate.Stats().Hits; n != 4 {
		t.Errorf("%d hits, want 4", n)
	}
}

// What could not be recorded is kept, counted once, and recorded with the next.
func TestUsageSurvivesFailure(t *testing.T) {
	h := newHouse(t, quiet)
	token, c := h.token(h.device("pump-1"))
	h.store.set(func(f *faulty) { f.record = func() error { return down } })
	for range 3 {
		h.accepted(token)
		if err := h.gate.flush(t.Context()); err == nil {
			t.Fatal("the flush did not fail")
		}
	}
	h.gate.cache.clear()
	h.store.set(func(f *faulty) { f.record = nil })
	h.accepted(token)
	for range 2 {
		if err := h.gate.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if u := h.usage(c.ID); len(u) != 1 || u[0].Count != 4 {
		t.Errorf("%+v", u)
	}
}

// Close records the last uses. Nothing is lost or counted twice among many users and flushes.
func TestUsageAddsUp(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.FlushEvery = time.Millisecond })
	token, c := h.token(h.device("pump-1"))
	const workers, each = 4, 2000
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range each {
				src := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
				if _, out := h.authenticate(token, src); out.Reason != credential.OK {
					t.Error(out.Reason)
				}
			}
		})
	}
	wg.Wait()
	if err := h.gate.Close(); err != nil {
		t.Fatal(err)
	}
	if u := h.usage(c.ID); len(u) != 1 || u[0].Count != workers*each {
		t.Errorf("%+v", u)
	}
}

// More than a flush takes waits for the next, in order.
func TestFlushIsBounded(t *testing.T) {
	h := newHouse(t, quiet, func(c *Config) { c.CacheBytes = 1 << 30 })
	r := h.gate.book.rights(h.org, nil, nil, nil, "")
	const n = maxUses + 1000
	for i := range n {
		e := bare(r, i, 1)
		h.gate.count(e, h.gate.clock.nano(), &Evidence{Source: here})
	}
	total := 0
	for i, want := range []int{maxUses, n - maxUses, 0} {
		h.gate.collect()
		if got := len(h.gate.ledger.used); got != want || h.gate.ledger.more != (i == 0) {
			t.Errorf("collection %d: %d, want %d; more is %v", i, got, want, h.gate.ledger.more)
		}
		total += len(h.gate.ledger.used)
		clear(h.gate.ledger.used)
	}
	if total != n {
		t.Errorf("%d in all, want %d", total, n)
	}
}

// Refusals are counted by cause, and a flood of causes stays bounded.
func TestRefusals(t *testing.T) {
	h := newHouse(t, quiet)
	h.writer()
	token, c := h.token(h.device("pump-1", "writer"))
	wrong := wrongSecret(t, "dev", c.ID)
	for range 3 {
		h.refused(wrong, credential.WrongSecret)
	}
	h.refused("x", credential.MalformedToken)
	get := *post
	get.Verb = "GET"
	h.gate.Authorize(h.accepted(token), &get)
	if err := h.gate.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	rows, err := h.store.RefusalsOf(t.Context(), time.Time{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		got[fmt.Sprint(r.Credential, " ", r.Reason, " ", r.Door, " ", r.Source)] += r.Count
	}
	for what, n := range map[string]int64{
		c.ID + " wrong_secret http 192.0.2.7": 3,
		" malformed_token http 192.0.2.7":     1,
		c.ID + " no_rule http 192.0.2.7":      1,
	} {
		if got[what] != n {
			t.Errorf("%s: %d, want %d; all are %v", what, got[what], n, got)
		}
	}

	for i := range 50_000 {
		h.authenticate("x", netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	h.store.set(func(f *faulty) { f.record = func() error { return down } })
	for range 3 {
		if err := h.gate.flush(t.Context()); err == nil {
			t.Fatal("the flush did not fail")
		}
	}
	var sum int64
	for _, r := range h.gate.ledger.refused {
		sum += r.Count
	}
	if n := len(h.gate.ledger.refused); sum != 50_000 || n > maxRefusals+int(credential.Draining) {
		t.Errorf("%d rows with %d refusals", n, sum)
	}
	if n := h.gate.Stats().Refusals[credential.MalformedToken]; n != 50_001 {
		t.Errorf("%d in Stats", n)
	}
	h.store.set(func(f *faulty) { f.record = nil })
}

// The budgets of allocations: a hit, a decision and a refusal by the sum take none.
func TestAllocations(t *testing.T) {
	h := newHouse(t, quiet)
	h.writer()
	token, c := h.token(h.device("pump-1", "writer"))
	id := h.accepted(token)
	wrong, malformed := wrongSecret(t, "dev", c.ID), token[:60]+"!"
	var cut cutter
	l := cut.live("request")
	for name, f := range map[string]struct {
		most float64
		do   func()
	}{
		"hit":       {0, func() { h.authenticate(token, here) }},
		"authorize": {0, func() { h.gate.Authorize(id, post) }},
		"malformed": {0, func() { h.authenticate(malformed, here) }},
		"wrong":     {0, func() { h.authenticate(wrong, elsewhere) }},
		"watch":     {2, func() { w, _ := h.gate.Watch(t.Context(), id, l); w.Close() }},
	} {
		f.do()
		if n := testing.AllocsPerRun(200, f.do); n > f.most {
			t.Errorf("%s: %v allocations, want at most %v", name, n, f.most)
		}
	}
}
