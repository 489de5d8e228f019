package gate

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// cutter notes how a session was cut.
type cutter struct {
	n       atomic.Int32
	why     atomic.Uint32
	changed atomic.Pointer[Identity]
	told    atomic.Int32
}

func (c *cutter) live(kind string) Live {
	return Live{
		Door: "http", Kind: kind, Source: here, About: "GET /db/events",
		Cut: func(why credential.Reason) {
			c.why.Store(uint32(why))
			c.n.Add(1)
		},
		Changed: func(id *Identity) {
			c.changed.Store(id)
			c.told.Add(1)
		},
	}
}

func (c *cutter) is(t *testing.T, want credential.Reason) {
	t.Helper()
	if n, why := c.n.Load(), credential.Reason(c.why.Load()); n != 1 || why != want {
		t.Errorf("cut %d times, reason %v; want once, %v", n, why, want)
	}
}

func (h *house) watch(id *Identity, l Live) *Watched {
	h.Helper()
	w, why := h.gate.Watch(context.Background(), id, l)
	if why != credential.OK {
		h.Fatalf("refused: %v", why)
	}
	return w
}

// Apply returns when the sessions of the credential were cut, and leaves others alone.
func TestRevocationCuts(t *testing.T) {
	h := newHouse(t)
	p := h.device("pump-1")
	token, c := h.token(p)
	other, _ := h.token(p)
	var one, two, third cutter
	h.watch(h.accepted(token), one.live("connection"))
	h.watch(h.accepted(token), two.live("stream"))
	h.watch(h.accepted(other), third.live("stream"))
	h.revoke(c)
	one.is(t, credential.Revoked)
	two.is(t, credential.Revoked)
	if third.n.Load() != 0 {
		t.Error("the session of another credential was cut")
	}
	if n := len(h.gate.Sessions(credential.SessionFilter{})); n != 1 {
		t.Errorf("%d sessions are listed, want 1", n)
	}
	// R10: the end is final, also if the same touch comes again.
	if err := h.gate.Apply(t.Context(), []credential.Touch{{Seq: 1, Subject: credential.Subject{Kind: "credential", ID: c.ID}}}); err != nil {
		t.Fatal(err)
	}
	one.is(t, credential.Revoked)
	h.refused(token, credential.Revoked)
}

// A disabled or deleted principal's sessions end with it, those of evicted entries too.
func TestEndOfPrincipalCuts(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.CacheBytes = 1 })
	p := h.device("pump-1")
	var cutters [20]cutter
	for i := range cutters {
		token, _ := h.token(p)
		h.watch(h.accepted(token), cutters[i].live("connection"))
	}
	disabled := p
	disabled.Disabled = true
	h.change("principal", p.ID, credential.UpdatePrincipal{Principal: disabled})
	for i := range cutters {
		cutters[i].is(t, credential.PrincipalDisabled)
	}
}

// What was evicted from the cache is not forgotten: a revocation finds the session.
func TestRevocationCutsAfterEviction(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.CacheBytes = 1 })
	token, c := h.token(h.device("pump-1"))
	id := h.accepted(token)
	var cut cutter
	h.watch(id, cut.live("connection"))
	h.gate.cache.clear()
	if !id.entry.dead() {
		t.Fatal("the entry was not evicted")
	}
	h.revoke(c)
	cut.is(t, credential.Revoked)
}

// R11: an idle session is cut by the clock, at its deadline and not before.
func TestDeadlineCuts(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Clock = nil })
	p := h.device("pump-1")
	ends := time.Now().Add(150 * time.Millisecond)
	token, _ := h.token(p, func(c *credential.Credential) { c.ExpiresAt = ends })
	later, _ := h.token(p, func(c *credential.Credential) { c.ExpiresAt = ends.Add(time.Hour) })
	at := make(chan time.Time, 1)
	l := Live{Source: here, Kind: "connection", Cut: func(credential.Reason) { at <- time.Now() }}
	h.watch(h.accepted(token), l)
	var other cutter
	h.watch(h.accepted(later), other.live("connection"))
	if when := <-at; when.Before(ends) {
		t.Errorf("cut %v before the end", ends.Sub(when))
	} else {
		t.Logf("cut %v after the end", when.Sub(ends))
	}
	h.refused(token, credential.Expired)
	if other.n.Load() != 0 {
		t.Error("the other session was cut too")
	}
}

// The deadline that a session is cut at moves with that of its credential.
func TestDeadlineMoves(t *testing.T) {
	h := newHouse(t)
	p := h.device("pump-1")
	extended, c := h.token(p, func(c *credential.Credential) { c.ExpiresAt = h.hands.now().Add(time.Minute) })
	shortened, s := h.token(p)
	var long, short cutter
	h.watch(h.accepted(extended), long.live("connection"))
	h.watch(h.accepted(shortened), short.live("connection"))
	set := func(c credential.Credential, at time.Time) {
		h.change("credential", c.ID, credential.SetProofs{ID: c.ID, Version: 1, Proofs: c.Proofs, ExpiresAt: at})
	}
	set(c, h.hands.now().Add(2*time.Hour))
	set(s, h.hands.now().Add(time.Hour))
	if id := long.changed.Load(); id == nil || !id.Deadline.Equal(h.hands.now().Add(2*time.Hour)) {
		t.Error("the session was not told of its new deadline")
	}
	h.pass(time.Hour)
	h.eventually("the shortened one is cut", func() bool { return short.n.Load() == 1 })
	short.is(t, credential.Expired)
	if long.n.Load() != 0 {
		t.Error("the extended one was cut")
	}
	h.pass(time.Hour)
	h.eventually("the extended one is cut", func() bool { return long.n.Load() == 1 })
}

// A session that says what it does is cut when that is no longer allowed; one that does not is told.
func TestChangeOfRights(t *testing.T) {
	h := newHouse(t)
	h.writer()
	h.scope("other", allow("http:GET", "/x"))
	h.role("other", "other")
	token, _ := h.token(h.device("pump-1", "writer"))
	stranger, _ := h.token(h.device("pump-2", "other"))
	var does, open, keeps, unconcerned cutter
	l := does.live("stream")
	l.Access = post
	h.watch(h.accepted(token), l)
	h.watch(h.accepted(token), open.live("connection"))
	get := *post
	get.Verb = "GET"
	h.scope("db:write", allow("http:POST", "/db/**"), allow("http:GET", "/db/**"))
	l = keeps.live("stream")
	l.Access = &get
	h.watch(h.accepted(token), l)
	h.watch(h.accepted(stranger), unconcerned.live("connection"))
	if does.n.Load() != 0 || does.told.Load() != 1 {
		t.Error("the first change, which takes nothing away, cut")
	}

	h.scope("db:write", allow("http:GET", "/db/**"))
	does.is(t, credential.NoRule)
	for name, c := range map[string]*cutter{"without access": &open, "with access that it has": &keeps} {
		id := c.changed.Load()
		if c.n.Load() != 0 || id == nil || h.gate.Authorize(id, post).Allowed() {
			t.Errorf("the session %s: cut %d times, told %v", name, c.n.Load(), id)
		}
	}
	if unconcerned.told.Load() != 0 {
		t.Error("a session that it does not concern was told")
	}
}

// M10: the rules of two principals may be the same compiled ones; what their templates expand to is each one's own.
func TestTemplatesAreOfThePrincipal(t *testing.T) {
	h := newHouse(t)
	h.scope("own", allow("http:POST", "/db/${principal}"), allow("mqtt:publish", "dev/${principal}/${client_id}"))
	h.role("own", "own")
	one, _ := h.token(h.device("pump-1", "own"))
	two, _ := h.token(h.device("pump-2", "own"))
	a, b := h.accepted(one), h.accepted(two)
	if a.compiled != b.compiled {
		t.Fatal("the two do not share their rights")
	}
	for _, c := range []struct {
		id   *Identity
		a    policy.Access
		want bool
	}{
		{a, policy.Access{Proto: policy.HTTP, Verb: "POST", Resource: "/db/pump-1"}, true},
		{a, policy.Access{Proto: policy.HTTP, Verb: "POST", Resource: "/db/pump-2"}, false},
		{b, policy.Access{Proto: policy.HTTP, Verb: "POST", Resource: "/db/pump-2"}, true},
		{a, policy.Access{Proto: policy.MQTT, Verb: "publish", Resource: "dev/pump-1/c", ClientID: "c"}, true},
		{a, policy.Access{Proto: policy.MQTT, Verb: "publish", Resource: "dev/pump-1/c", ClientID: "d"}, false},
		{a, policy.Access{Proto: policy.MQTT, Verb: "publish", Resource: "dev/pump-2/c", ClientID: "c"}, false},
	} {
		if got := h.gate.Authorize(c.id, &c.a).Allowed(); got != c.want {
			t.Errorf("%s, %+v: %v", c.id.Principal, c.a, got)
		}
		v := h.gate.Verify(t.Context(), h.org, &Evidence{Token: map[*Identity]string{a: one, b: two}[c.id]}, &c.a, true)
		if v.Allowed != c.want || len(v.Looks) != 2 || (v.Looks[0].Matches || v.Looks[1].Matches) != c.want {
			t.Errorf("Verify for %s, %+v: %+v", c.id.Principal, c.a, v)
		}
		if got := h.gate.Rights(c.id).Decide(&c.a).Allowed(); got != c.want {
			t.Errorf("Rights of %s, %+v: %v", c.id.Principal, c.a, got)
		}
	}
	own := &policy.Access{Proto: policy.HTTP, Verb: "POST", Resource: "/db/pump-1", Source: here}
	if n := testing.AllocsPerRun(100, func() {
		if !h.gate.Authorize(a, own).Allowed() {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// M10: with its attributes a principal's rights change, though its rules do not. Who knows it by
// the old ones is judged by the new ones, and its sessions are told, or cut.
func TestChangeOfAttributes(t *testing.T) {
	h := newHouse(t)
	h.scope("site", allow("http:POST", "/plant/${attr.site}/*"))
	h.role("sited", "site")
	p := h.device("pump-1", "sited")
	attrs := func(site string) {
		p.Attrs = map[string]string{"site": site}
		h.change("principal", p.ID, credential.UpdatePrincipal{Principal: p})
		p.Version++
	}
	at := func(site string) *policy.Access {
		return &policy.Access{Proto: policy.HTTP, Verb: "POST", Resource: "/plant/" + site + "/x", Source: here}
	}
	attrs("north")
	token, _ := h.token(p)
	id := h.accepted(token)
	var does, open, other cutter
	l := does.live("stream")
	l.Access = at("north")
	h.watch(id, l)
	h.watch(id, open.live("connection"))
	attrs("north") // the same again takes nothing away
	if does.n.Load() != 0 || !h.gate.Authorize(id, at("north")).Allowed() {
		t.Fatal("not allowed before the change")
	}

	told := open.told.Load()
	attrs("south")
	does.is(t, credential.NoRule)
	now := open.changed.Load()
	if open.n.Load() != 0 || open.told.Load() != told+1 || now == nil || now.Attrs["site"] != "south" || now.compiled != id.compiled {
		t.Fatalf("the open session: cut %d times, told %d, %+v", open.n.Load(), open.told.Load()-told, now)
	}
	for _, id := range []*Identity{id, now, h.accepted(token)} {
		if h.gate.Authorize(id, at("north")).Allowed() || !h.gate.Authorize(id, at("south")).Allowed() || !h.gate.Rights(id).Decide(at("south")).Allowed() {
			t.Errorf("with %v the old attribute still counts", id.Attrs)
		}
	}
	l = other.live("stream")
	l.Access = at("north")
	if _, why := h.gate.Watch(t.Context(), id, l); why != credential.NoRule {
		t.Errorf("a session that begins with what was known before: %v", why)
	}
	attrs("+")
	if h.gate.Authorize(now, at("+")).Allowed() || h.gate.Authorize(now, at("south")).Allowed() {
		t.Error("a wildcard as an attribute allows something")
	}
}

// A change of rights between Authorize and Watch is seen by Watch.
func TestChangeOfRightsBeforeWatch(t *testing.T) {
	h := newHouse(t)
	h.writer()
	token, _ := h.token(h.device("pump-1", "writer"))
	id := h.accepted(token)
	if !h.gate.Authorize(id, post).Allowed() {
		t.Fatal("not allowed")
	}
	h.scope("db:write", allow("http:GET", "/db/**"))
	var c cutter
	l := c.live("stream")
	l.Access = post
	if _, why := h.gate.Watch(t.Context(), id, l); why != credential.NoRule {
		t.Errorf("the reason is %v", why)
	}
}

// If it cannot be read whether a session may go on, it may not.
func TestSessionsFailClosed(t *testing.T) {
	h := newHouse(t)
	h.writer()
	p := h.device("pump-1", "writer")
	token, c := h.token(p)
	other, _ := h.token(p)
	var one, two cutter
	h.watch(h.accepted(token), one.live("stream"))
	h.watch(h.accepted(other), two.live("stream"))

	h.store.set(func(f *faulty) {
		f.since = func() error { return down } // so that the follower does not come first
		f.after = func(string, credential.Record, error) (credential.Record, error) { return credential.Record{}, down }
	})
	h.eventually("the follower waits", h.gate.feedDown.Load)
	c.Description = "patched"
	if err := h.gate.Apply(t.Context(), h.commit("credential", c.ID, credential.UpdateCredential{Credential: c})); credential.KindOf(err) != credential.Down {
		t.Errorf("Apply: %v", err)
	}
	one.is(t, credential.Unavailable)
	if two.n.Load() != 0 {
		t.Error("a session that was not touched was cut")
	}

	h.store.set(func(f *faulty) { f.policy = func() error { return down } })
	p2, err := h.store.Store.Policy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.gate.Apply(t.Context(), h.commit("scope", "db:write", credential.PutScope{Scope: p2.Scopes[0]})); credential.KindOf(err) != credential.Down {
		t.Errorf("Apply: %v", err)
	}
	two.is(t, credential.Unavailable)
	if h.gate.Ready() {
		t.Error("the gate is ready without knowing the policy")
	}
	h.refused(other, credential.Unavailable)
	h.store.set(func(f *faulty) { f.policy, f.after, f.since = nil, nil, nil })
	h.eventually("the policy is read", h.gate.Ready)
	h.accepted(other)
}

// Sessions are listed and kicked within their organisation; a short request is not listed.
func TestSessionsAndKick(t *testing.T) {
	h := newHouse(t)
	token, c := h.token(h.device("pump-1"))
	id := h.accepted(token)
	var conn, req cutter
	w := h.watch(id, conn.live("connection"))
	r := h.watch(id, req.live("request"))
	list := h.gate.Sessions(credential.SessionFilter{Org: "default", Principal: "pump-1", Credential: c.ID, Door: "http"})
	if len(list) != 1 || list[0].Kind != "connection" || list[0].About != "GET /db/events" || list[0].Source != here || list[0].ID != w.name() {
		t.Fatalf("%+v", list)
	}
	h.pass(briefly)
	if n := len(h.gate.Sessions(credential.SessionFilter{})); n != 2 {
		t.Errorf("%d sessions after a second, want 2", n)
	}
	for _, f := range []credential.SessionFilter{{Org: "x"}, {Principal: "x"}, {Credential: "x"}, {Door: "x"}} {
		if n := len(h.gate.Sessions(f)); n != 0 {
			t.Errorf("%+v lists %d", f, n)
		}
	}
	for _, k := range [][2]string{{"other", list[0].ID}, {"default", "x-1"}, {"default", list[0].ID + "0"}, {"default", ""}} {
		if h.gate.Kick(k[0], k[1]) {
			t.Errorf("Kick(%q) found one", k)
		}
	}
	if !h.gate.Kick("default", list[0].ID) || h.gate.Kick("default", list[0].ID) {
		t.Error("Kick must find it once")
	}
	conn.is(t, credential.Kicked)
	h.accepted(token) // a kick takes nothing away
	w.Close()
	r.Close()
	r.Close()
	if n := h.gate.sessions.count(); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// D17: draining cuts all and lets nothing begin.
func TestCutAll(t *testing.T) {
	h := newHouse(t)
	token, _ := h.token(h.device("pump-1"))
	id := h.accepted(token)
	var cs [50]cutter
	for i := range cs {
		l := cs[i].live("connection")
		if i == 10 { // M22: one that panics does not save the others
			cut := l.Cut
			l.Cut = func(why credential.Reason) { cut(why); panic("bad door") }
		}
		h.watch(id, l)
	}
	h.gate.CutAll(credential.Draining)
	for i := range cs {
		cs[i].is(t, credential.Draining)
	}
	if _, why := h.gate.Watch(t.Context(), id, cs[0].live("connection")); why != credential.Draining {
		t.Errorf("Watch while draining: %v", why)
	}
}

// Whoever comes first cuts, and nobody after: not twice, and never after Close has returned.
func TestCutAtMostOnce(t *testing.T) {
	h := newHouse(t)
	p := h.device("pump-1")
	for range 50 {
		token, c := h.token(p)
		id := h.accepted(token)
		var n atomic.Int32
		var closed atomic.Bool
		w := h.watch(id, Live{Source: here, Cut: func(credential.Reason) {
			if closed.Load() {
				t.Error("cut after Close had returned")
			}
			n.Add(1)
		}})
		name := w.name()
		touched := h.commit("credential", c.ID, h.end(c))
		var wg sync.WaitGroup
		wg.Go(func() { h.gate.Kick("default", name) })
		wg.Go(func() { h.gate.CutAll(credential.Kicked) })
		wg.Go(func() {
			if err := h.gate.Apply(t.Context(), touched); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { w.Close() })
		wg.Wait()
		w.Close()
		closed.Store(true)
		if n.Load() > 1 {
			t.Fatalf("cut %d times", n.Load())
		}
	}
}

// The deadlines of 100,000 sessions are kept without a timer for each.
func TestManySessions(t *testing.T) {
	h := newHouse(t)
	p := h.device("pump-1")
	var n atomic.Int64
	l := Live{Source: here, Kind: "connection", Cut: func(credential.Reason) { n.Add(1) }}
	const creds, each = 50, 2000
	for i := range creds {
		token, _ := h.token(p, func(c *credential.Credential) { c.ExpiresAt = h.hands.now().Add(time.Duration(i+1) * time.Minute) })
		id := h.accepted(token)
		for range each {
			h.watch(id, l)
		}
	}
	for i := range creds {
		h.hands.pass(time.Minute)
		h.eventually(fmt.Sprintf("%d are cut", (i+1)*each), func() bool { return n.Load() == int64((i+1)*each) })
		if i == 2 {
			h.hands.pass(time.Duration(creds-4) * time.Minute)
			h.eventually("all but the last are cut", func() bool { return n.Load() == (creds-1)*each })
			h.hands.pass(time.Minute)
			h.eventually("all are cut", func() bool { return n.Load() == creds*each })
			return
		}
	}
}
