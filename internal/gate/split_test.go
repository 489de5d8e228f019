package gate

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// service makes a service with an API key, whose uses are counted by address and route.
func (h *house) service(name string, roles ...string) (string, credential.Credential) {
	h.Helper()
	id, err := secret.NewID(11)
	if err != nil {
		h.Fatal(err)
	}
	p := credential.Principal{ID: "P" + id, Org: h.org, Kind: credential.Service, Name: name, Roles: roles, CreatedAt: h.hands.now(), Version: 1}
	h.change("principal", p.ID, credential.CreatePrincipal{Principal: p})
	c := h.newCredential(p, func(c *credential.Credential) { c.Kind = credential.APIKey })
	text, hash, err := secret.New("api", c.ID)
	if err != nil {
		h.Fatal(err)
	}
	c.Proofs = []credential.Proof{{N: 1, Hash: hash[:], CreatedAt: h.hands.now()}}
	h.change("credential", c.ID, credential.CreateCredential{Credential: c})
	return text.Reveal(), c
}

// used is one use from an address for a route.
func (h *house) used(token string, src netip.Addr, route string) {
	h.Helper()
	ev := &Evidence{Token: token, Source: src, Door: "http", Route: route}
	if _, out := h.gate.Authenticate(h.Context(), ev); out.Reason != credential.OK {
		h.Error(out.Reason)
	}
}

// slices returns what is recorded of a credential: "2030-01-02 address 192.0.2.7" and how often.
func (h *house) slices(id string) map[string]int64 {
	h.Helper()
	all, err := h.store.UsageBy(h.Context(), id, time.Time{})
	if err != nil {
		h.Fatal(err)
	}
	found := map[string]int64{}
	for _, s := range all {
		found[s.Day.Format(time.DateOnly)+" "+s.By+" "+s.Value] += s.Count
	}
	return found
}

func (h *house) flushed() {
	h.Helper()
	if err := h.gate.flushAll(h.Context()); err != nil {
		h.Fatal(err)
	}
}

func wantSlices(t *testing.T, got, want map[string]int64) {
	t.Helper()
	for _, k := range slices.Sorted(mapKeys(got, want)) {
		if got[k] != want[k] {
			t.Errorf("%s: %d, want %d", k, got[k], want[k])
		}
	}
}

func mapKeys(ms ...map[string]int64) func(func(string) bool) {
	all := map[string]bool{}
	for _, m := range ms {
		for k := range m {
			all[k] = true
		}
	}
	return func(yield func(string) bool) {
		for k := range all {
			if !yield(k) {
				return
			}
		}
	}
}

// Uses are counted by day, address and route; the day is that of the use, not of the flush.
func TestSplitByDay(t *testing.T) {
	h := newHouse(t, quiet)
	token, c := h.service("billing")
	device, d := h.token(h.device("pump-1"))
	h.used(token, here, "/db/")
	h.used(token, here, "/db/")
	h.used(token, elsewhere, "api")
	h.used(token, netip.MustParseAddr("2001:db8::1"), "")
	h.used(device, here, "/db/")
	h.pass(24 * time.Hour)
	h.used(token, here, "/db/")
	h.pass(24 * time.Hour)
	h.used(token, netip.Addr{}, "mqtt")
	h.flushed()
	wantSlices(t, h.slices(c.ID), map[string]int64{
		"2030-01-02 address 192.0.2.7": 2, "2030-01-02 address 198.51.100.9": 1, "2030-01-02 address 2001:db8::1": 1,
		"2030-01-02 route /db/": 2, "2030-01-02 route api": 1, "2030-01-02 route ": 1,
		"2030-01-03 address 192.0.2.7": 1, "2030-01-03 route /db/": 1,
		"2030-01-04 address ": 1, "2030-01-04 route mqtt": 1,
	})
	if got := h.slices(d.ID); len(got) != 0 {
		t.Errorf("of a device's token there is %v", got)
	}
	h.flushed()
	h.used(token, here, "/db/")
	h.flushed()
	if n := h.slices(c.ID)["2030-01-04 address 192.0.2.7"]; n != 1 {
		t.Errorf("after a flush %d uses, want 1", n)
	}
}

// Nothing is lost or counted twice: not among many users and flushes, not when there is no place for a value, not
// over midnight, not when entries are replaced, not when the store fails. There are never more values than are kept.
func TestSplitAddsUp(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.FlushEvery = time.Millisecond })
	h.hands.wall.Store(time.Date(2030, 1, 2, 23, 59, 59, 0, time.UTC).UnixNano())
	token, c := h.service("billing")
	const workers, each = 8, 1500
	routes := []string{"/db/", "/files/", "api", ""}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				h.used(token, netip.AddrFrom4([4]byte{10, 0, byte(i % 3), byte(i % 60)}), routes[i%len(routes)])
				switch {
				case w == 0 && i == each/2:
					h.hands.step(2 * time.Second)
				case w == 1 && i%500 == 0:
					h.gate.drop(keyOf(c.ID), 0)
				case w == 2 && i%300 == 0:
					fail := i%600 == 0
					h.store.set(func(f *faulty) {
						f.record = nil
						if fail {
							f.record = func() error { return down }
						}
					})
				}
			}
		})
	}
	wg.Wait()
	h.store.set(func(f *faulty) { f.record = nil })
	if err := h.gate.Close(); err != nil {
		t.Fatal(err)
	}
	sums, values := map[string]int64{}, map[string]int{}
	for k, n := range h.slices(c.ID) {
		var day, by, value string
		fmt.Sscan(k, &day, &by, &value)
		sums[by] += n
		if by == byRoute {
			sums["of "+value] += n
		}
		values[day+by]++
	}
	for _, by := range []string{byAddress, byRoute} {
		if sums[by] != workers*each {
			t.Errorf("by %s: %d uses, want %d", by, sums[by], workers*each)
		}
	}
	for _, r := range routes {
		if n := sums["of "+r]; n != workers*each/4 {
			t.Errorf("of the route %q: %d uses, want %d", r, n, workers*each/4)
		}
	}
	for k, n := range values {
		if n > splitValues+1 {
			t.Errorf("%s has %d values", k, n)
		}
	}
	if len(values) != 4 {
		t.Errorf("days and things: %v", values)
	}
}

// A split that was taken out of an entry takes no more, not even where it has room: whoever still has it at hand must count elsewhere.
func TestRetiredSplitTakesNoMore(t *testing.T) {
	s := &split{}
	s.addAddress(1, 2)
	s.addRoute("api")
	taken := int64(0)
	s.take(true, func(_, _ string, n int64) { taken += n })
	if taken != 2 {
		t.Errorf("%d were taken, want 2", taken)
	}
	if s.addAddress(1, 2) || s.addAddress(3, 4) || s.addRoute("api") || s.addRoute("mqtt") || s.addRoute("") {
		t.Error("it has taken a use that nobody will find")
	}
	h := newHouse(t, quiet)
	token, c := h.service("billing")
	of := func() *split {
		k := keyOf(c.ID)
		return h.gate.cache.find(k, h.gate.cache.hash(k)).cold.Load().split.Load()
	}
	h.used(token, here, "api")
	yesterday := of()
	h.pass(24 * time.Hour)
	h.used(token, here, "api")
	h.flushed()
	full := of()
	if yesterday.addRoute("api") {
		t.Error("the split of yesterday takes a use")
	}
	for i := range splitAddrs {
		h.used(token, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), "api")
	}
	h.flushed()
	if full == yesterday || of() == full {
		t.Fatal("nothing was taken out")
	}
	if full.addRoute("api") {
		t.Error("what was taken out takes a use")
	}
	if rooms := of(); !rooms.addRoute("api") {
		t.Error("what is there takes none")
	}
}

// Uses and flushes at the same time, many times over: after each time, everything that was counted is found by the flush.
func TestSplitLeavesNothingBehind(t *testing.T) {
	h := newHouse(t, quiet)
	token, c := h.service("billing")
	h.used(token, here, "api")
	h.flushed()
	k := keyOf(c.ID)
	e := h.gate.cache.find(k, h.gate.cache.hash(k))
	ev := &Evidence{Source: here, Route: "api"}
	l := &h.gate.ledger
	const workers, each = 3, 2
	for range 5000 {
		done := make(chan struct{})
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for range each {
					h.gate.count(e, h.gate.clock.nano(), ev)
				}
			})
		}
		go func() { wg.Wait(); close(done) }()
		for over := false; !over; {
			select {
			case <-done:
				over = true
			default:
			}
			h.gate.collect()
		}
		h.gate.collect()
		used, split := int64(0), int64(0)
		for _, u := range l.used {
			used += u.Count
		}
		for of, values := range l.slices {
			if of.by == byRoute {
				split += values["api"]
			}
		}
		if used != workers*each || split != used {
			t.Fatalf("%d uses, %d by route, want %d", used, split, workers*each)
		}
		clear(l.used)
		clear(l.slices)
	}
}

// Between two flushes the first values are told apart, and after each there is room for others.
func TestSplitMakesRoom(t *testing.T) {
	h := newHouse(t, quiet)
	token, c := h.service("billing")
	for i := range 2 * splitAddrs {
		h.used(token, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), "api")
	}
	h.flushed()
	if got := h.slices(c.ID); got["2030-01-02 address "] != splitAddrs || got["2030-01-02 address 10.0.0.1"] != 1 || got["2030-01-02 route api"] != 2*splitAddrs {
		t.Errorf("%v", got)
	}
	for range 3 {
		h.used(token, elsewhere, "api")
	}
	h.flushed()
	if n := h.slices(c.ID)["2030-01-02 address 198.51.100.9"]; n != 3 {
		t.Errorf("of an address that is new after a flush: %d uses, want 3", n)
	}
}

// A route is kept as a copy: what it is a part of is not kept in memory, and may change.
func TestSplitKeepsCopies(t *testing.T) {
	h := newHouse(t, quiet)
	token, c := h.service("billing")
	text := []byte("/db/")
	h.used(token, here, string(text))
	copy(text, "xxxx")
	h.flushed()
	if n := h.slices(c.ID)["2030-01-02 route /db/"]; n != 1 {
		t.Errorf("%v", h.slices(c.ID))
	}
}

func TestSplitDoesNotAllocate(t *testing.T) {
	h := newHouse(t, quiet)
	token, _ := h.service("billing")
	ev := &Evidence{Token: token, Source: here, Door: "http", Route: "/db/"}
	use := func() { h.gate.Authenticate(t.Context(), ev) }
	use()
	if n := testing.AllocsPerRun(200, use); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What an entry with a split takes is charged to the cache's budget, once.
func TestSplitIsCharged(t *testing.T) {
	h := newHouse(t, quiet)
	token, _ := h.service("billing")
	device, _ := h.token(h.device("pump-1"))
	before := h.gate.Stats().Bytes
	h.used(device, here, "/db/")
	plain := h.gate.Stats().Bytes - before
	for range 3 {
		h.used(token, here, "/db/")
		h.flushed()
	}
	more := h.gate.Stats().Bytes - before - 2*plain
	if more < perSplit || more > 2*perSplit {
		t.Errorf("%d bytes more than an entry without, want a little more than %d", more, perSplit)
	}
}

// BenchmarkSplit is a use of an API key, beside that of a device's token.
func BenchmarkSplit(b *testing.B) {
	h := newHouse(b, func(c *Config) { c.Clock = nil })
	key, _ := h.service("billing")
	device, _ := h.token(h.device("pump-1"))
	for name, token := range map[string]string{"key": key, "device": device} {
		b.Run(name, func(b *testing.B) {
			ev := &Evidence{Token: token, Source: here, Door: "http", Route: "/db/"}
			b.ReportAllocs()
			for b.Loop() {
				h.gate.Authenticate(b.Context(), ev)
			}
		})
	}
}
