package gate

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/credential"
)

// hold makes the next look-up of an id stop after it has read and before it answers.
func (h *house) hold(id string) (reached <-chan struct{}, release func()) {
	in, out := make(chan struct{}), make(chan struct{})
	var once sync.Once
	h.store.set(func(f *faulty) {
		f.after = func(asked string, rec credential.Record, err error) (credential.Record, error) {
			if asked == id {
				once.Do(func() {
					close(in)
					<-out
				})
			}
			return rec, err
		}
	})
	return in, func() { close(out) }
}

// Invariant 4: a look-up that has read before a change and answers after it loses.
func TestFillLosesAgainstChange(t *testing.T) {
	for name, change := range map[string]func(h *house, p credential.Principal, c credential.Credential){
		"credential": func(h *house, _ credential.Principal, c credential.Credential) { h.revoke(c) },
		"principal": func(h *house, p credential.Principal, c credential.Credential) {
			h.change("principal", p.ID, credential.DeletePrincipal{ID: p.ID, Version: 1, At: h.hands.now(), Credentials: []string{c.ID}})
		},
		"without revision": func(h *house, _ credential.Principal, c credential.Credential) {
			touched := h.commit("credential", c.ID, h.end(c))
			touched[0].Seq = 0
			if err := h.gate.Apply(h.Context(), touched); err != nil {
				h.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			p := h.device("pump-1")
			token, c := h.token(p)
			reached, release := h.hold(c.ID)
			done := make(chan credential.Reason)
			go func() {
				_, out := h.authenticate(token, here)
				done <- out.Reason
			}()
			<-reached
			change(h, p, c)
			release()
			if why := <-done; why != credential.Revoked {
				t.Errorf("the look-up that was under way: %v", why)
			}
			h.refused(token, credential.Revoked)
		})
	}
}

// "Not found" that was read before the credential was made is not believed after.
func TestUnknownLosesAgainstCreation(t *testing.T) {
	h := newHouse(t)
	p := h.device("pump-1")
	c := h.newCredential(p)
	h.refused(wrongSecret(t, "dev", c.ID), credential.UnknownCredential) // now it is remembered
	token, _ := h.token(p, func(n *credential.Credential) { n.ID = c.ID })
	h.accepted(token)

	c = h.newCredential(p)
	reached, release := h.hold(c.ID)
	done := make(chan credential.Reason)
	go func() {
		_, out := h.authenticate(wrongSecret(t, "dev", c.ID), here)
		done <- out.Reason
	}()
	<-reached
	h.token(p, func(n *credential.Credential) { n.ID = c.ID })
	release()
	if why := <-done; why != credential.WrongSecret {
		t.Errorf("the look-up that was under way: %v", why)
	}
}

// N01: an answer that is older than what was applied never gets into the cache.
func TestOldSnapshotIsNotBelieved(t *testing.T) {
	h := newHouse(t)
	token, c := h.token(h.device("pump-1"))
	old, err := h.store.Store.Credential(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	h.revoke(c)
	h.store.set(func(f *faulty) {
		f.after = func(string, credential.Record, error) (credential.Record, error) { return old, nil }
	})
	h.refused(token, credential.Unavailable)
	h.store.set(func(f *faulty) { f.after = nil })
	h.refused(token, credential.Revoked)
}

// R10, R11 and invariant 4 in a storm: many authenticate, look-ups are slow at random,
// the cache is small, one revokes. After the revocation has answered not one is accepted.
func TestNoAcceptanceAfterRevocation(t *testing.T) {
	for seed := range uint64(3) {
		h := newHouse(t, func(c *Config) { c.CacheBytes = 1 << 10 }) // a few entries at most
		h.store.set(func(f *faulty) {
			f.after = func(_ string, rec credential.Record, err error) (credential.Record, error) {
				if rand.IntN(4) == 0 {
					time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
				}
				return rec, err
			}
		})
		rng := rand.New(rand.NewPCG(seed, 1))
		p := h.device("pump-1")
		const n = 12
		tokens, creds := make([]string, n), make([]credential.Credential, n)
		revoked := make([]atomic.Bool, n)
		for i := range n {
			tokens[i], creds[i] = h.token(p)
		}
		ctx, stop := context.WithCancel(t.Context())
		var accepted atomic.Int64
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := worker; ctx.Err() == nil; i++ {
					was := revoked[i%n].Load()
					id, out := h.authenticate(tokens[i%n], here)
					if out.Reason == credential.OK {
						accepted.Add(1)
						if was {
							t.Errorf("credential %d was accepted after its revocation had answered", i%n)
						}
					}
					if id == nil {
						continue
					}
					var w *Watched
					cut := make(chan struct{})
					w, why := h.gate.Watch(ctx, id, Live{Kind: "stream", Source: here, Cut: func(credential.Reason) { close(cut) }})
					if why == credential.OK && i%3 == 0 {
						w.Close()
					}
				}
			})
		}
		for _, i := range rng.Perm(n) {
			h.eventually("some are accepted", func() bool { return accepted.Swap(0) > 0 || i == 0 })
			h.revoke(creds[i])
			revoked[i].Store(true)
			if live := h.gate.Sessions(credential.SessionFilter{Credential: creds[i].ID}); len(live) > 0 {
				t.Errorf("credential %d has %d sessions after its revocation", i, len(live))
			}
		}
		stop()
		wg.Wait()
		if n := len(h.gate.sessions.all()); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	}
}

// A session that begins while its credential is revoked is refused or cut, whoever comes first.
func TestWatchAgainstRevocation(t *testing.T) {
	h := newHouse(t)
	p := h.device("pump-1")
	var refusedN, cutN int
	for round := range 200 {
		token, c := h.token(p)
		id := h.accepted(token)
		var cuts atomic.Int32
		var wg sync.WaitGroup
		var w *Watched
		var why credential.Reason
		start := make(chan struct{})
		wg.Go(func() {
			<-start
			if round%2 == 0 {
				time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
			}
			w, why = h.gate.Watch(context.Background(), id, Live{Source: here, Cut: func(credential.Reason) { cuts.Add(1) }})
		})
		touched := h.commit("credential", c.ID, h.end(c))
		close(start)
		if err := h.gate.Apply(t.Context(), touched); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		switch {
		case why == credential.OK && cuts.Load() == 1:
			cutN++
			w.Close()
		case why == credential.Revoked && cuts.Load() == 0 && w == nil:
			refusedN++
		default:
			t.Fatalf("round %d: %v, cut %d times", round, why, cuts.Load())
		}
	}
	t.Logf("%d refused, %d cut", refusedN, cutN)
	if n := h.gate.sessions.count(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// still returns a second gate on the same store that nobody runs, with a hook on its clock:
// so a test can let things happen between two steps of a call.
func (h *house) still(hook func()) *Gate {
	h.Helper()
	g, err := New(Config{Store: h.store, Signer: h.gate.signer, Clock: NewClock(time.Time{}, h.hands.now, func() time.Duration {
		hook()
		return 0
	})})
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { g.Close() })
	if err := g.begin(h.Context()); err != nil {
		h.Fatal(err)
	}
	return g
}

// A revocation that answers between the look-up and the judgement is not overtaken by it.
func TestRevocationBetweenLookupAndJudgement(t *testing.T) {
	h := newHouse(t)
	token, c := h.token(h.device("pump-1"))
	var g *Gate
	var armed atomic.Bool
	var once sync.Once
	g = h.still(func() {
		if armed.CompareAndSwap(true, false) {
			if err := g.Apply(t.Context(), h.commit("credential", c.ID, h.end(c))); err != nil {
				t.Error(err)
			}
		}
	})
	// The answer is in the cache when the hook is armed; the next reading of the clock comes before the judgement.
	h.store.set(func(f *faulty) {
		f.after = func(_ string, rec credential.Record, err error) (credential.Record, error) {
			once.Do(func() { armed.Store(true) })
			return rec, err
		}
	})
	if _, out := g.Authenticate(t.Context(), &Evidence{Token: token, Source: here}); out.Reason != credential.Revoked {
		t.Errorf("the reason is %v", out.Reason)
	}
	if armed.Load() {
		t.Error("nothing was revoked")
	}
}

// A session that is just beginning is not passed over: it is made to look again.
func TestReassessmentOfBeginningSession(t *testing.T) {
	h := newHouse(t)
	token, _ := h.token(h.device("pump-1"))
	id := h.accepted(token)
	for name, change := range map[string]func(w *Watched){
		"reassessed": func(w *Watched) {
			if err := h.gate.reassessOne(t.Context(), w); err != nil {
				t.Error(err)
			}
		},
		"cut": func(w *Watched) { w.cut(credential.Kicked) },
	} {
		w := &Watched{gate: h.gate, live: Live{Cut: func(credential.Reason) { t.Error("it was cut") }}}
		w.id.Store(id)
		change(w)
		if w.state.Load() != retry {
			t.Errorf("%s: the state is %d, want %d", name, w.state.Load(), retry)
		}
	}
}
