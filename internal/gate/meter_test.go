package gate

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/testkit"
)

// unhurried is a gate that records uses only when the test says so.
func unhurried(c *Config) { c.FlushEvery = time.Hour }

func limited(perSecond, burst int, perMonth int64) func(*credential.Credential) {
	return func(c *credential.Credential) {
		c.Limits = credential.Limits{PerSecond: perSecond, Burst: burst, PerMonth: perMonth}
	}
}

// patch changes the limits of a credential.
func (h *house) patch(c *credential.Credential, perSecond, burst int, perMonth int64) {
	h.Helper()
	limited(perSecond, burst, perMonth)(c)
	h.change("credential", c.ID, credential.UpdateCredential{Credential: *c})
	c.Version++
}

// through counts how many of n requests get through.
func (h *house) through(token string, n int) (passed int) {
	for range n {
		if _, out := h.authenticate(token, here); out.Reason == credential.OK {
			passed++
		}
	}
	return passed
}

func (h *house) flushMeters() {
	h.Helper()
	if err := h.gate.flushMeters(context.Background()); err != nil {
		h.Fatal(err)
	}
}

// stored is what the store has been told of this month.
func (h *house) stored(id string) int64 {
	h.Helper()
	n, err := h.store.Store.Used(context.Background(), id, h.hands.now())
	if err != nil {
		h.Fatal(err)
	}
	return n
}

// neighbour is another node on the same store and clocks.
func (h *house) neighbour() *house {
	h.Helper()
	return h.neighbourOn(h.store)
}

func (h *house) neighbourOn(s *faulty) *house {
	h.Helper()
	n := *h
	n.store = s
	c := Config{Store: s, Signer: h.gate.signer, Issuer: h.gate.issuer, Clock: h.hands.clock(), FlushEvery: time.Hour}
	var err error
	if n.gate, err = New(c); err != nil {
		h.Fatal(err)
	}
	n.run()
	return &n
}

func TestRequestsASecond(t *testing.T) {
	h := newHouse(t, unhurried)
	token, _ := h.token(h.device("pump-1"), limited(5, 20, 0))
	if n := h.through(token, 50); n != 20 {
		t.Errorf("%d pass at once, want 20", n)
	}
	out := h.refused(token, credential.RateLimited)
	if out.RetryAfter != 200*time.Millisecond {
		t.Errorf("come again in %v, want 200ms", out.RetryAfter)
	}
	h.hands.pass(out.RetryAfter - 1)
	h.refused(token, credential.RateLimited)
	h.hands.pass(1)
	if n := h.through(token, 3); n != 1 {
		t.Errorf("%d pass after a fifth of a second, want 1", n)
	}
	h.hands.pass(2 * time.Second)
	if n := h.through(token, 50); n != 10 {
		t.Errorf("%d pass after two seconds, want 10", n)
	}
	if n := h.gate.refusals.counts()[credential.RateLimited]; n != 50-20+2+2+40 {
		t.Errorf("%d refusals are counted", n)
	}
}

// Without a burst it is as many as a second brings.
func TestBurstIsTheRate(t *testing.T) {
	h := newHouse(t, unhurried)
	token, _ := h.token(h.device("pump-1"), limited(7, 0, 0))
	if n := h.through(token, 50); n != 7 {
		t.Errorf("%d pass at once, want 7", n)
	}
}

// However many ask at the same time, the number is exact.
func TestLimitsAreExactUnderLoad(t *testing.T) {
	h := newHouse(t, unhurried)
	p := h.device("pump-1")
	rate, c := h.token(p, limited(10, 300, 0))
	month, _ := h.token(p, limited(0, 0, 300))
	var passed [2]atomic.Int64
	for range 3 {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 100 {
					for i, token := range []string{rate, month} {
						if _, out := h.authenticate(token, here); out.Reason == credential.OK {
							passed[i].Add(1)
						}
					}
				}
			})
		}
		all.Go(func() { // what goes on beside it takes nothing away and gives nothing back
			for range 5 {
				h.gate.cache.clear()
				h.flushMeters()
				h.gate.meters.sweep(h.gate.clock.Mono())
			}
		})
		all.Wait()
		h.hands.pass(time.Second)
	}
	if n := passed[0].Load(); n != 320 {
		t.Errorf("%d passed, want 300 at once and 10 in each of two seconds", n)
	}
	if n := passed[1].Load(); n != 300 {
		t.Errorf("%d passed in a month of 300", n)
	}
	h.flushMeters()
	if n := h.stored(c.ID); n != 320 {
		t.Errorf("the store was told of %d", n)
	}
}

func TestRequestsAMonth(t *testing.T) {
	h := newHouse(t, unhurried)
	token, c := h.token(h.device("pump-1"), limited(0, 0, 10))
	if n := h.through(token, 15); n != 10 {
		t.Errorf("%d pass, want 10", n)
	}
	out := h.refused(token, credential.QuotaSpent)
	next := time.Date(2030, 2, 1, 0, 0, 0, 0, time.UTC)
	if out.RetryAfter != next.Sub(h.hands.now()) {
		t.Errorf("come again in %v, want the first of February", out.RetryAfter)
	}
	h.pass(out.RetryAfter - 1)
	h.refused(token, credential.QuotaSpent)
	h.pass(1)
	h.accepted(token)
	h.flushMeters()
	if n := h.stored(c.ID); n != 1 {
		t.Errorf("%d in February, want 1", n)
	}
	// What was let pass in January is January's, also if it is recorded after.
	if n, err := h.store.Store.Used(t.Context(), c.ID, next.Add(-time.Hour)); err != nil || n != 10 {
		t.Errorf("%d in January (%v), want 10", n, err)
	}
}

// Both limits hold, and a request that one refuses is not charged to the other.
func TestBothLimits(t *testing.T) {
	h := newHouse(t, unhurried)
	token, c := h.token(h.device("pump-1"), limited(2, 2, 5))
	for range 2 {
		h.accepted(token)
		h.accepted(token)
		h.refused(token, credential.RateLimited)
		h.hands.pass(time.Second)
	}
	h.accepted(token)
	h.refused(token, credential.QuotaSpent)
	h.flushMeters()
	if n := h.stored(c.ID); n != 5 {
		t.Errorf("%d are recorded, want 5", n)
	}
}

// A change of limits is in force when it is acknowledged, and gives nothing back.
func TestChangeOfLimits(t *testing.T) {
	h := newHouse(t, unhurried)
	token, c := h.token(h.device("pump-1"))
	h.accepted(token)
	h.patch(&c, 10, 10, 100)
	if n := h.through(token, 20); n != 10 {
		t.Errorf("%d pass under new limits, want 10", n)
	}
	h.patch(&c, 1000, 1000, 100)
	h.refused(token, credential.RateLimited)
	h.hands.pass(50 * time.Millisecond)
	if n := h.through(token, 60); n != 50 {
		t.Errorf("%d pass in a twentieth of a second at the higher rate, want 50", n)
	}
	h.patch(&c, 1000, 1, 100)
	h.hands.pass(time.Second)
	if n := h.through(token, 60); n != 1 {
		t.Errorf("%d pass at once, want 1", n)
	}
	h.patch(&c, 0, 0, 61)
	h.refused(token, credential.QuotaSpent)
	h.patch(&c, 0, 0, 63)
	if n := h.through(token, 5); n != 2 {
		t.Errorf("%d pass, want the 2 that are left", n)
	}
	h.patch(&c, 0, 0, 0)
	if n := h.through(token, 100); n != 100 {
		t.Errorf("%d pass without limits", n)
	}
}

// Rotation, eviction and a reload give nothing back either: all versions share what there is.
func TestVersionsShareLimits(t *testing.T) {
	h := newHouse(t, unhurried)
	old, c := h.token(h.device("pump-1"), limited(4, 4, 0))
	h.through(old, 2)
	fresh := h.rotate(&c, time.Time{})
	h.gate.cache.clear()
	h.accepted(fresh)
	h.accepted(old)
	h.refused(fresh, credential.RateLimited)
	h.refused(old, credential.RateLimited)
}

// What is refused is not charged, whatever for, and neither is what only asks.
func TestWhatIsNotCharged(t *testing.T) {
	h := newHouse(t, unhurried)
	p := h.device("pump-1")
	token, c := h.token(p, limited(2, 2, 2), func(c *credential.Credential) { c.Networks = prefixes("192.0.2.0/24") })
	leaf, _ := h.certificate(p, limited(0, 0, 1))
	id, out := h.gate.Authenticate(t.Context(), &Evidence{Token: token, Source: here, Door: "http", Unmetered: true}) // a connection
	if out.Reason != credential.OK || out.Allowance != nil {
		t.Fatal(out)
	}
	h.refused(wrongSecret(t, "dev", c.ID), credential.WrongSecret)
	if _, out := h.authenticate(token, elsewhere); out.Reason != credential.NetworkRefused {
		t.Fatal(out.Reason)
	}
	for range 5 {
		if v := h.gate.Verify(t.Context(), h.org, &Evidence{Token: token, Source: here}, nil, false); !v.Allowed {
			t.Fatal(v.Reason)
		}
		if _, out := h.gate.Standing(t.Context(), h.org, c.ID, here); out.Reason != credential.OK {
			t.Fatal(out.Reason)
		}
		if d := h.gate.Authorize(id, post); d.Reason != credential.NoRule {
			t.Fatal(d.Reason)
		}
	}
	for range 2 { // a certificate beside a token only binds it
		if _, out := h.present(leaf, token); out.Reason != credential.OK || out.Allowance == nil {
			t.Fatal(out.Reason)
		}
	}
	if _, out := h.present(leaf, token); out.Reason != credential.QuotaSpent || out.Allowance == nil {
		t.Fatal(out.Reason)
	}
	if _, out := h.present(leaf, ""); out.Reason != credential.OK {
		t.Fatal(out.Reason)
	}
	if _, out := h.present(leaf, ""); out.Reason != credential.QuotaSpent {
		t.Fatal(out.Reason)
	}
	if _, out := h.gate.Assume(t.Context(), c.ID, &Evidence{Source: here, Door: "mqtt"}); out.Reason != credential.QuotaSpent {
		t.Fatal(out.Reason)
	}
}

// A credential that nobody has proved, and messages of a session, are charged as requests are.
func TestAssumeAndSpend(t *testing.T) {
	h := newHouse(t, unhurried)
	token, c := h.token(h.device("pump-1"), limited(3, 3, 0))
	ev := &Evidence{Source: here, Door: "mqtt"}
	id, out := h.gate.Assume(t.Context(), c.ID, ev)
	if out.Reason != credential.OK || out.Allowance == nil || out.Allowance.Now != 2 {
		t.Fatalf("%+v", out)
	}
	for range 2 {
		if out := h.gate.Spend(id, ev); out.Reason != credential.OK {
			t.Fatal(out.Reason)
		}
	}
	if out := h.gate.Spend(id, ev); out.Reason != credential.RateLimited || out.RetryAfter == 0 {
		t.Fatalf("%+v", out)
	}
	h.refused(token, credential.RateLimited)

	free, other := h.token(h.device("pump-2"))
	id = h.accepted(free)
	if n := testing.AllocsPerRun(100, func() { out = h.gate.Spend(id, ev) }); n != 0 || out != (Outcome{}) {
		t.Errorf("a message without limits: %+v, %v allocations", out, n)
	}
	// Limits that are set while the session lives hold for it.
	h.patch(&other, 1, 1, 0)
	h.accepted(free)
	if out := h.gate.Spend(id, ev); out.Reason != credential.RateLimited {
		t.Errorf("%+v, by an identity from before there were limits", out)
	}
	if n := h.gate.Stats().Meters; n != 2 {
		t.Errorf("%d meters", n)
	}
}

// Before a node has asked what the others have let pass it lets nothing pass. Many ask once.
func TestMonthIsReadFirst(t *testing.T) {
	h := newHouse(t, unhurried)
	token, c := h.token(h.device("pump-1"), limited(0, 0, 10))
	h.through(token, 7)
	h.flushMeters()

	second := h.neighbour()
	h.store.set(func(f *faulty) { f.used = func() error { return down } })
	out := second.refused(token, credential.Unavailable)
	if out.RetryAfter != comeAgain || out.Reason.Class() != credential.CannotKnow {
		t.Errorf("%+v", out)
	}
	if second.gate.Prompt(second.standing(c.ID)) {
		t.Error("what has to ask the store is said to be at hand")
	}
	asked := h.store.readings.Load()
	release, reached := make(chan struct{}), make(chan struct{}, 64)
	h.store.set(func(f *faulty) {
		f.used = func() error {
			reached <- struct{}{}
			<-release
			return nil
		}
	})
	var passed atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { passed.Add(int64(second.through(token, 1))) })
	}
	<-reached
	close(release)
	all.Wait()
	if n := passed.Load(); n != 3 {
		t.Errorf("%d pass at the second node, want the 3 that are left", n)
	}
	if n := h.store.readings.Load() - asked; n != 1 {
		t.Errorf("the store was asked %d times", n)
	}
	if !second.gate.Prompt(second.standing(c.ID)) {
		t.Error("what is known is not said to be at hand")
	}
}

func (h *house) standing(id string) *Identity {
	h.Helper()
	is, out := h.gate.Standing(context.Background(), h.org, id, here)
	if out.Reason != credential.OK {
		h.Fatal(out.Reason)
	}
	return is
}

// R01: whoever waits for the store to say what was used is looked at again after: a revocation that was acknowledged meanwhile holds. It
// is the same for a session, whose limits are those of its key.
func TestRevocationWhileMonthIsRead(t *testing.T) {
	for _, kind := range []string{"token", "session", "key of a session"} {
		t.Run(kind, func(t *testing.T) {
			h := newHouse(t, unhurried)
			p := h.user("alice")
			token, key := h.made(p, credential.AppKey, "app", limited(0, 0, 10))
			revoked, want := key, credential.Revoked
			if kind != "token" {
				var session credential.Credential
				token, session = h.session(key, p)
				if want = credential.ParentEnded; kind == "session" {
					revoked, want = session, credential.Revoked
				}
			}
			release, reached := make(chan struct{}), make(chan struct{})
			h.store.set(func(f *faulty) {
				f.used = func() error {
					close(reached)
					<-release
					return nil
				}
			})
			got := make(chan Outcome)
			go func() {
				_, out := h.authenticate(token, here)
				got <- out
			}()
			<-reached
			h.revoke(revoked)
			close(release)
			if out := <-got; out.Reason != want {
				t.Errorf("%+v, want %v", out, want)
			}
		})
	}
}

// The sessions of a key share its limits, messages of theirs included.
func TestSessionsShareLimits(t *testing.T) {
	h := newHouse(t, unhurried)
	p := h.user("alice")
	key, c := h.made(p, credential.AppKey, "app", limited(0, 0, 4))
	one, _ := h.session(c, p)
	two, _ := h.session(c, p)
	id := h.accepted(one)
	h.accepted(two)
	if out := h.gate.Spend(id, &Evidence{Source: here, Door: "mqtt"}); out.Reason != credential.OK || out.Allowance.Left != 1 {
		t.Errorf("%+v", out)
	}
	h.accepted(key)
	for _, token := range []string{one, two, key} {
		h.refused(token, credential.QuotaSpent)
	}
}

// A node that has not served a credential for a while asks again: others may have.
func TestMonthIsReadAgain(t *testing.T) {
	h := newHouse(t, unhurried)
	token, c := h.token(h.device("pump-1"), limited(0, 0, 10))
	second := h.neighbour()
	h.through(token, 2)
	second.through(token, 2)
	h.flushMeters()
	second.flushMeters()
	h.pass(presence)
	h.through(token, 4) // it was told of 2 by its own flush, and takes that for what is until presence is over
	h.flushMeters()
	if n := h.stored(c.ID); n != 8 {
		t.Fatalf("%d", n)
	}
	second.pass(presence + 1)
	if n := second.through(token, 10); n != 2 {
		t.Errorf("%d pass at the second node, want 2", n)
	}
	second.flushMeters()
	h.pass(presence + 1)
	h.refused(token, credential.QuotaSpent)
}

// Two nodes that both serve a credential let pass half of its rate each, once they know of each other: after a flush of each.
func TestNodesShareTheRate(t *testing.T) {
	t.Run("one store", func(t *testing.T) {
		h := newHouse(t, unhurried)
		nodesShareTheRate(t, h, h.neighbour())
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		url := testkit.Postgres(t)
		h := newHouseOn(t, url, unhurried)
		nodesShareTheRate(t, h, h.neighbourOn(openStore(t, url)))
	})
}

func nodesShareTheRate(t *testing.T, h, second *house) {
	token, _ := h.token(h.device("pump-1"), limited(10, 10, 0))
	one, two := h.through(token, 50), second.through(token, 50)
	if one != 10 || two != 10 {
		t.Errorf("%d and %d pass before the nodes know of each other, want 10 and 10", one, two)
	}
	h.flushMeters()
	second.flushMeters()
	h.pass(time.Second)
	one, two = h.through(token, 50), second.through(token, 50)
	if one != 10 || two != 5 { // the first one has flushed before the second
		t.Errorf("%d and %d pass after one flush, want 10 and 5", one, two)
	}
	h.flushMeters()
	second.flushMeters()
	for range 5 {
		h.pass(time.Second)
		if one, two = h.through(token, 50), second.through(token, 50); one+two != 10 {
			t.Errorf("%d and %d pass in a second, want 10", one, two)
		}
		h.flushMeters()
		second.flushMeters()
	}
	// A node that has been idle goes on alone, and begins with the whole rate.
	h.pass(presence + time.Second)
	h.gate.meters.sweep(h.gate.clock.Mono())
	second.gate.meters.sweep(second.gate.clock.Mono())
	if n := h.through(token, 50); n != 10 {
		t.Errorf("%d pass at the only node, want 10", n)
	}
}

// Each node lets something pass, however low the rate is: one request in as many seconds as there are nodes.
func TestLowRateIsShared(t *testing.T) {
	h := newHouse(t, unhurried)
	token, _ := h.token(h.device("pump-1"), limited(1, 1, 0))
	second := h.neighbour()
	for range 2 {
		h.pass(2 * time.Second)
		h.through(token, 1)
		second.through(token, 1)
		h.flushMeters()
		second.flushMeters()
	}
	passed := 0
	for range 20 {
		h.pass(time.Second)
		passed += h.through(token, 5) + second.through(token, 5)
		h.flushMeters()
		second.flushMeters()
	}
	if passed != 20 {
		t.Errorf("%d pass in 20 seconds", passed)
	}
}

// A month is overshot by what other nodes let pass within one flush, and by no more.
func TestMonthOnTwoNodes(t *testing.T) {
	url := testkit.Postgres(t)
	h := newHouseOn(t, url, unhurried)
	token, c := h.token(h.device("pump-1"), limited(0, 0, 100))
	second := h.neighbourOn(openStore(t, url))
	for range 10 {
		h.through(token, 7)
		second.through(token, 7)
		h.flushMeters()
		second.flushMeters()
	}
	n := h.stored(c.ID)
	if n < 100 || n > 107 {
		t.Errorf("%d passed in a month of 100, where nodes let pass 7 between two flushes", n)
	}
	h.refused(token, credential.QuotaSpent)
	second.refused(token, credential.QuotaSpent)
}

// What was counted outlives a clean stop in full. Of a process that is killed, what it has counted since its last flush is lost.
func TestCountsSurvive(t *testing.T) {
	h := newHouse(t, unhurried)
	token, c := h.token(h.device("pump-1"), limited(0, 0, 10))
	h.through(token, 3)
	if err := h.gate.Close(); err != nil {
		t.Fatal(err)
	}
	if n := h.stored(c.ID); n != 3 {
		t.Errorf("%d after a clean stop, want 3", n)
	}
	killed := h.neighbour()
	killed.through(token, 2)
	killed.flushMeters()
	killed.through(token, 1) // nobody hears of it
	if n := h.neighbour().through(token, 10); n != 5 {
		t.Errorf("%d pass after the kill, want 5: 3 and 2 of 10 were recorded", n)
	}
}

// While the store does not take counts nothing is lost, and who is known goes on.
func TestStoreTakesNoCounts(t *testing.T) {
	h := newHouse(t, unhurried)
	token, c := h.token(h.device("pump-1"), limited(0, 0, 10))
	h.through(token, 3)
	h.store.set(func(f *faulty) {
		f.meter = func() error { return down }
		f.used = func() error { return down }
	})
	for range 3 {
		if err := h.gate.flushMeters(t.Context()); !errors.Is(err, down) {
			t.Fatal(err)
		}
		h.pass(presence)
		h.accepted(token)
	}
	h.store.set(func(f *faulty) { f.meter, f.used = nil, nil })
	h.flushMeters()
	if n := h.stored(c.ID); n != 6 {
		t.Errorf("%d are recorded, want 6", n)
	}
	if n := h.through(token, 10); n != 4 {
		t.Errorf("%d pass, want 4", n)
	}
}

// The end of a month between the count and the flush, with a store that fails first: each month has its own.
func TestMonthEndsWhileStoreIsDown(t *testing.T) {
	h := newHouse(t, unhurried)
	token, c := h.token(h.device("pump-1"), limited(0, 0, 10))
	january := h.hands.now()
	h.through(token, 3)
	h.store.set(func(f *faulty) { f.meter = func() error { return down } })
	if err := h.gate.flushMeters(t.Context()); err == nil {
		t.Fatal("no error")
	}
	h.through(token, 1)
	h.pass(31 * 24 * time.Hour)
	h.through(token, 2)
	if err := h.gate.flushMeters(t.Context()); err == nil {
		t.Fatal("no error")
	}
	h.through(token, 3)
	h.store.set(func(f *faulty) { f.meter = nil })
	h.flushMeters()
	if n, err := h.store.Store.Used(t.Context(), c.ID, january); err != nil || n != 4 {
		t.Errorf("%d in January (%v), want 4", n, err)
	}
	if n := h.stored(c.ID); n != 5 {
		t.Errorf("%d in February, want 5", n)
	}
	if n := h.through(token, 10); n != 5 {
		t.Errorf("%d more pass in February, want 5", n)
	}
}

// Who comes near the end is told of once at four fifths and once at the end, by each node; if that fails, again.
func TestNear(t *testing.T) {
	var told []Quota
	fail := false
	h := newHouse(t, unhurried, func(c *Config) {
		c.Near = func(_ context.Context, q Quota) error {
			if fail {
				return down
			}
			told = append(told, q)
			return nil
		}
	})
	token, c := h.token(h.device("pump-1"), limited(0, 0, 10))
	expect := func(what string, want ...int64) {
		t.Helper()
		h.flushMeters()
		var used []int64
		for _, q := range told {
			if q.Org != h.org || q.Credential != c.ID || q.Limit != 10 || q.Spent() != (q.Used == 10) || !q.Month.Equal(time.Date(2030, q.Month.Month(), 1, 0, 0, 0, 0, time.UTC)) {
				t.Errorf("%+v", q)
			}
			used = append(used, q.Used)
		}
		if !slices.Equal(used, want) {
			t.Errorf("%s: told at %v, want %v", what, used, want)
		}
	}
	h.through(token, 7)
	expect("seven of ten")
	fail = true
	h.through(token, 1)
	expect("the report fails")
	fail = false
	expect("it is tried again", 8)
	expect("once", 8)
	h.through(token, 1)
	expect("nine of ten", 8)
	h.through(token, 5)
	expect("the end", 8, 10)
	h.pass(presence + 1)
	h.gate.meters.sweep(h.gate.clock.Mono())
	h.through(token, 5)
	expect("also after it was idle", 8, 10)
	h.pass(30 * 24 * time.Hour)
	h.through(token, 9)
	expect("another month", 8, 10, 9)
}

// A credential that was past the end when it was told of its limits is reported too, though nothing more passes.
func TestNearAfterChange(t *testing.T) {
	var told atomic.Int64
	h := newHouse(t, unhurried, func(c *Config) {
		c.Near = func(_ context.Context, q Quota) error { told.Add(q.Used); return nil }
	})
	token, c := h.token(h.device("pump-1"), limited(0, 0, 100))
	h.through(token, 9)
	h.flushMeters()
	h.patch(&c, 0, 0, 5)
	h.refused(token, credential.QuotaSpent)
	h.flushMeters()
	if n := told.Load(); n != 9 {
		t.Errorf("told of %d", n)
	}
}

// The table is bounded: who is idle makes room, and if nobody is, one more is refused rather than let pass uncounted.
func TestMetersAreBounded(t *testing.T) {
	h := newHouse(t, unhurried)
	token, c := h.token(h.device("pump-1"), limited(1, 1, 0))
	p := h.gate.meters.part(h.gate.cache.hash(keyOf(c.ID)))
	w := &metering{limits: credential.Limits{PerSecond: 1, Burst: 1}}
	mono, now := h.gate.clock.read()
	fill := func() {
		for i := uint64(0); len(p.all) < maxMeters/shardCount; i++ {
			other := *w
			other.key = key{i, 1}
			m := p.of(&other, mono, now)
			m.take(mono, now)
			m.pending = 0 // as if it was flushed
		}
	}
	fill()
	if out := h.refused(token, credential.Unavailable); out.RetryAfter == 0 {
		t.Error("it is not told to come again")
	}
	h.pass(presence + 1)
	h.accepted(token)
	if n := h.gate.Stats().Meters; n != 1 {
		t.Errorf("%d meters, want those gone that were idle", n)
	}
	h.refused(token, credential.RateLimited)
	h.gate.meters.sweep(h.gate.clock.Mono())
	h.refused(token, credential.RateLimited) // it is not idle
	h.flushMeters()
	h.pass(presence + 1)
	h.gate.meters.sweep(h.gate.clock.Mono())
	if n := h.gate.Stats().Meters; n != 0 {
		t.Errorf("%d meters after a sweep", n)
	}
}

func TestAllowance(t *testing.T) {
	h := newHouse(t, unhurried)
	p := h.device("pump-1")
	for _, c := range []struct {
		name        string
		limits      func(*credential.Credential)
		policy      string
		first, last string
		whatFails   credential.Reason
	}{
		{
			"both", limited(10, 0, 100000), `"second";q=10;w=1, "month";q=100000;w=2678400`,
			`"second";r=9;t=1, "month";r=99999;t=2580955`, `"second";r=0;t=1`, credential.RateLimited,
		},
		{
			"burst", limited(3, 10, 0), `"second";q=3;w=1;cardea-burst=10`,
			`"second";r=9;t=1`, `"second";r=0;t=1`, credential.RateLimited,
		},
		{
			"month", limited(0, 0, 3), `"month";q=3;w=2678400`,
			`"month";r=2;t=2580955`, `"month";r=0;t=2580955`, credential.QuotaSpent,
		},
		{
			"both, the month first", limited(10, 0, 3), `"second";q=10;w=1, "month";q=3;w=2678400`,
			`"second";r=9;t=1, "month";r=2;t=2580955`, `"month";r=0;t=2580955`, credential.QuotaSpent,
		},
		{
			"more than a field can say", limited(0, 0, 1<<60), `"month";q=999999999999999;w=2678400`,
			`"month";r=999999999999999;t=2580955`, "", credential.OK,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			token, _ := h.token(p, c.limits)
			_, out := h.authenticate(token, here)
			if out.Reason != credential.OK || out.Allowance.Policy() != c.policy || out.Allowance.Remaining(out.Reason) != c.first {
				t.Errorf("%v\n%s\n%s", out.Reason, out.Allowance.Policy(), out.Allowance.Remaining(out.Reason))
			}
			if c.whatFails == credential.OK {
				return
			}
			for out.Reason == credential.OK {
				_, out = h.authenticate(token, here)
			}
			if out.Reason != c.whatFails || out.Allowance.Policy() != c.policy || out.Allowance.Remaining(out.Reason) != c.last {
				t.Errorf("%v\n%s\n%s", out.Reason, out.Allowance.Policy(), out.Allowance.Remaining(out.Reason))
			}
		})
	}
	token, _ := h.token(p)
	if _, out := h.authenticate(token, here); out != (Outcome{}) {
		t.Errorf("without limits: %+v", out)
	}
}

// Nodes that have both been idle go on with the whole rate each, also where the bucket is not full yet. It keeps what it holds.
func TestIdleNodeHasTheWholeRate(t *testing.T) {
	h := newHouse(t, unhurried)
	token, _ := h.token(h.device("pump-1"), limited(2, 1000, 0))
	second := h.neighbour()
	for range 2 {
		h.pass(time.Second)
		h.through(token, 1000)
		second.through(token, 1000)
		h.flushMeters()
		second.flushMeters()
	}
	h.pass(4 * time.Second)
	if n := h.through(token, 1000); n != 4 {
		t.Errorf("%d pass in four seconds, want half of the rate", n)
	}
	h.flushMeters()
	h.pass(presence + 2*time.Second)
	h.gate.meters.sweep(h.gate.clock.Mono())
	if n := h.through(token, 1000); n != 12 {
		t.Errorf("%d pass in the twelve seconds before it was known that the other one is idle, want 12", n)
	}
	h.pass(4 * time.Second)
	if n := h.through(token, 1000); n != 8 {
		t.Errorf("%d pass in four seconds, want 8", n)
	}
}

// What was read before something that is known already changes nothing: neither limits, nor what all nodes have used.
func TestMeterKeepsTheNewest(t *testing.T) {
	m := &meter{}
	newer := &metering{limits: credential.Limits{PerSecond: 1, Burst: 1}, revision: 2}
	m.adopt(newer, 0)
	m.adopt(&metering{limits: credential.Limits{PerSecond: 100, Burst: 100}, revision: 1}, 0)
	if m.metering != newer || m.bucket.rate != 1 {
		t.Errorf("limits of an older revision are taken: %+v", m.limits())
	}
	m.learn(10, 2)
	m.learn(5, 1)
	if m.stored != 10 || m.seen != 2 {
		t.Errorf("an older answer is taken: %d at %v", m.stored, m.seen)
	}
}
