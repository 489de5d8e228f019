package gate

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
)

// E01: too many wrong secrets block the source for that credential and nobody else, and not for ever.
func TestWrongSecretsAreLimited(t *testing.T) {
	h := newHouse(t)
	p := h.device("pump-1")
	token, c := h.token(p)
	other, _ := h.token(p)
	wrong := wrongSecret(t, "dev", c.ID)
	for range attempts {
		h.refused(wrong, credential.WrongSecret)
	}
	out := h.refused(wrong, credential.TooManyAttempts)
	if out.RetryAfter <= 0 || out.RetryAfter > attemptTime {
		t.Errorf("RetryAfter is %v", out.RetryAfter)
	}
	h.refused(token, credential.TooManyAttempts) // the right secret tells nothing either
	h.accepted(other)
	if _, out := h.authenticate(token, elsewhere); out.Reason != credential.OK {
		t.Errorf("the rightful holder elsewhere: %v", out.Reason)
	}
	for range 100 {
		h.refused(wrong, credential.TooManyAttempts) // which does not make it longer
	}
	h.hands.pass(out.RetryAfter - 1)
	h.refused(token, credential.TooManyAttempts)
	h.hands.pass(1)
	h.accepted(token)
}

// E02: for an id that does not exist the answers are the same.
func TestUnknownIsLimitedAlike(t *testing.T) {
	h := newHouse(t)
	unknown := wrongSecret(t, "dev", "000000000000")
	for range attempts {
		h.refused(unknown, credential.UnknownCredential)
	}
	h.refused(unknown, credential.TooManyAttempts)
	if n := h.store.lookups.Load(); n != 1 {
		t.Errorf("%d look-ups of an unknown id, want 1", n)
	}
	if credential.UnknownCredential.Class() != credential.WrongSecret.Class() || credential.Expired.Class() != credential.Revoked.Class() {
		t.Error("the classes differ")
	}
}

// E03: variants of a source, or of an id, open no second account.
func TestVariantsCountAsOne(t *testing.T) {
	h := newHouse(t)
	token, c := h.token(h.device("pump-1"))
	wrong := wrongSecret(t, "dev", c.ID)
	for name, variants := range map[string][]string{
		"mapped":  {"192.0.2.7", "::ffff:192.0.2.7"},
		"network": {"2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:2:ffff::"},
	} {
		for i := range attempts {
			if _, out := h.authenticate(wrong, addr(variants[i%len(variants)])); out.Reason != credential.WrongSecret {
				t.Fatalf("%s: attempt %d: %v", name, i, out.Reason)
			}
		}
		for _, v := range variants {
			if _, out := h.authenticate(token, addr(v)); out.Reason != credential.TooManyAttempts {
				t.Errorf("%s: from %s: %v", name, v, out.Reason)
			}
		}
	}
	if _, out := h.authenticate(token, addr("2001:db8:1:3::1")); out.Reason != credential.OK {
		t.Errorf("from the next network: %v", out.Reason)
	}
	n := h.store.lookups.Load()
	for _, v := range []string{strings.ToUpper(token), strings.ToLower(token), token + " ", " " + token, token + "\u200b", token[:60]} {
		if v != token {
			h.refused(v, credential.MalformedToken)
		}
	}
	if h.store.lookups.Load() != n {
		t.Error("a malformed token was looked up") // K06
	}
}

// Only what is wrong counts: a right secret always gets its reason.
func TestRightSecretsAreNotLimited(t *testing.T) {
	h := newHouse(t)
	token, c := h.token(h.device("pump-1"))
	h.revoke(c)
	for range 3 * attempts {
		h.refused(token, credential.Revoked)
	}
	if n := h.gate.limits.n.Load(); n != 0 {
		t.Errorf("%d accounts", n)
	}
}

// The limiter is bounded, what is blocked goes last, and what is full goes by itself.
func TestLimiterIsBounded(t *testing.T) {
	var c cache
	c.init(1 << 20)
	l := new(limiter)
	l.init(c.hash, attempts)
	blocked := keyOf("blockedblock")
	h := c.hash(blocked)
	for range attempts {
		l.wrong(blocked, h, here, 0)
	}
	k := keyOf("attackattack")
	for i := range 2 * maxBuckets {
		k.hi = uint64(i)
		l.wrong(k, c.hash(k), here, time.Duration(i))
	}
	if n := l.n.Load(); n > maxBuckets {
		t.Errorf("%d buckets, want at most %d", n, maxBuckets)
	}
	if l.wait(blocked, h, here, 0) == 0 {
		t.Error("who is blocked was let go to make room")
	}
	l.sweep(time.Hour)
	sum := 0
	for i := range l.cells {
		sum += int(l.cells[i].Load())
	}
	if n := l.n.Load(); n != 0 || sum != 0 {
		t.Errorf("%d buckets and %d in cells after an hour", n, sum)
	}
}

func FuzzSourceOf(f *testing.F) {
	f.Add("192.0.2.1", "192.0.2.2")
	f.Add("2001:db8::1", "2001:db8::1%eth0")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, err1 := netip.ParseAddr(a)
		y, err2 := netip.ParseAddr(b)
		if err1 != nil || err2 != nil {
			return
		}
		bits := func(a netip.Addr) int {
			if a.Unmap().Is4() {
				return 32
			}
			return 64
		}
		px, err1 := x.Unmap().WithZone("").Prefix(bits(x))
		py, err2 := y.Unmap().WithZone("").Prefix(bits(y))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if same := sourceOf(x) == sourceOf(y); same != (px == py) && px.Addr().Is4() == py.Addr().Is4() {
			t.Errorf("%s and %s: same source %v", a, b, same)
		}
	})
}

// D07, H14: while the store is down, what is in the cache is decided until the staleness
// bound and then refused; what is not is refused, and neither is remembered.
func TestStoreIsDown(t *testing.T) {
	h := newHouse(t)
	p := h.device("pump-1")
	cached, _ := h.token(p)
	cold, c := h.token(p)
	short, _ := h.token(p, func(c *credential.Credential) { c.ExpiresAt = h.hands.now().Add(10 * time.Second) })
	id := h.accepted(cached)
	h.accepted(short)
	var cut cutter
	h.watch(id, cut.live("connection"))
	h.store.set(func(f *faulty) {
		f.since = func() error { return down }
		f.after = func(string, credential.Record, error) (credential.Record, error) { return credential.Record{}, down }
	})
	out := h.refused(cold, credential.Unavailable)
	if out.RetryAfter <= 0 || out.Reason.Class() != credential.CannotKnow {
		t.Errorf("%+v", out)
	}
	seen := time.Duration(h.gate.lastSeen.Load())
	h.hands.pass(10 * time.Second)
	h.refused(short, credential.Expired) // D08
	h.accepted(cached)
	h.hands.pass(seen + h.gate.staleness - h.gate.clock.Mono()) // to the bound
	h.accepted(cached)
	h.hands.pass(1)
	h.refused(cached, credential.Unavailable) // N02
	if h.gate.Ready() {
		t.Error("it is ready")
	}
	h.eventually("Authorize refuses", func() bool { return h.gate.Authorize(id, post).Reason == credential.Unavailable })
	if _, why := h.gate.Watch(t.Context(), id, cut.live("stream")); why != credential.Unavailable {
		t.Errorf("Watch: %v", why)
	}
	if why := h.gate.Verify(t.Context(), credential.DefaultOrg, &Evidence{Token: cached}, nil, false).Reason; why != credential.Unavailable {
		t.Errorf("Verify: %v", why)
	}
	if cut.n.Load() != 0 {
		t.Error("a live session was cut")
	}
	h.store.set(func(f *faulty) { f.since, f.after = nil, nil })
	h.eventually("it is ready again", h.gate.Ready)
	h.accepted(cached)
	if _, out := h.authenticate(cold, here); out.Reason != credential.OK { // not remembered
		t.Errorf("%s: %v", c.ID, out.Reason)
	}
}

// The database's return does not bring a herd: look-ups at the same time are bounded, waiters give up with their context.
func TestLookupsAreBounded(t *testing.T) {
	h := newHouse(t)
	p := h.device("pump-1")
	out := make(chan struct{})
	h.store.set(func(f *faulty) {
		f.after = func(_ string, rec credential.Record, err error) (credential.Record, error) {
			<-out
			return rec, err
		}
	})
	const n = 3 * maxLookups
	done := make(chan credential.Reason, n)
	for range n {
		token, _ := h.token(p)
		go func() {
			_, out := h.authenticate(token, here)
			done <- out.Reason
		}()
	}
	h.eventually("the look-ups begin", func() bool { return h.store.lookups.Load() == maxLookups })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	token, _ := h.token(p)
	if _, out := h.gate.Authenticate(ctx, &Evidence{Token: token, Source: here}); out.Reason != credential.Unavailable {
		t.Errorf("with an ended context: %v", out.Reason)
	}
	if m := h.store.lookups.Load(); m != maxLookups {
		t.Errorf("%d look-ups at the same time, want %d", m, maxLookups)
	}
	close(out)
	for range n {
		if why := <-done; why != credential.OK {
			t.Error(why)
		}
	}
}
