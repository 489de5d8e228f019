package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cardea/internal/credential"
	"cardea/internal/store"
	"cardea/internal/testkit"
)

// Many write at once, on PostgreSQL from two nodes; a third follows the feed. It
// sees every change exactly once and in order, and the log has no gap.
func TestTheFeedLosesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		nodes := []*store.Store{open(t, store.Config{URL: url})}
		reader := nodes[0]
		if url[:8] == "postgres" {
			nodes = append(nodes, open(t, store.Config{URL: url}))
			reader = open(t, store.Config{URL: url, Poll: time.Hour}) // woken by notifications alone, so that they are tested
		}
		const writers, each = 8, 40
		var group sync.WaitGroup
		for w := range writers {
			s := nodes[w%len(nodes)]
			group.Go(func() {
				for i := range each {
					p := device(w*1000 + i)
					ops := []credential.Op{credential.CreatePrincipal{Principal: p}}
					if i%3 == 0 {
						ops = append(ops, credential.CreateCredential{Credential: token(w*1000+i, p)})
					}
					if _, err := s.Commit(t.Context(), change(ops...)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		want := int64(writers * (each + (each+2)/3))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for last := int64(0); last < want; {
			noErr(t, reader.Wait(ctx, last))
			touched, head, err := reader.Since(ctx, last, 7)
			noErr(t, err)
			for _, touch := range touched {
				if touch.Seq != last+1 {
					t.Fatalf("after %d comes %d", last, touch.Seq)
				}
				last = touch.Seq
			}
			if head < last {
				t.Fatalf("head %d is behind %d", head, last)
			}
		}
		group.Wait()
		if got := int64(len(verified(t, reader))); got != want {
			t.Errorf("%d events, want %d", got, want)
		}
	})
}

// What is committed together succeeds or fails one by one.
func TestAGroupIsolatesItsChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p := device(0)
		commit(t, s, credential.CreatePrincipal{Principal: p})
		release := s.Hold(t.Context())
		const n = 30
		var group sync.WaitGroup
		errs := make([]error, n)
		events := make([][]credential.Event, n)
		for i := range n {
			group.Go(func() {
				q := device(i + 1)
				c := token(i+1, q)
				ops := []credential.Op{credential.CreatePrincipal{Principal: q}, credential.CreateCredential{Credential: c}}
				switch i % 3 {
				case 1: // fails at its last operation: the first ones are undone
					ops = append(ops, credential.CreatePrincipal{Principal: p})
				case 2:
					ops = append(ops, credential.EndCredential{ID: "unknown", State: credential.StateRevoked, At: day})
				}
				events[i], errs[i] = s.Commit(t.Context(), change(ops...))
			})
		}
		for s.Waiting() < n {
			time.Sleep(time.Millisecond)
		}
		release()
		group.Wait()
		for i, err := range errs {
			_, found := s.Principal(t.Context(), "default", device(i+1).ID)
			switch i % 3 {
			case 0:
				if err != nil || found != nil || len(events[i]) != 2 || events[i][1].Seq != events[i][0].Seq+1 {
					t.Errorf("%d: %v, %v, %v", i, err, found, events[i])
				}
			case 1:
				if err == nil || credential.KindOf(err) != credential.Exists || !credential.IsNotFound(found) {
					t.Errorf("%d: %v, %v", i, err, found)
				}
			case 2:
				if err == nil || credential.KindOf(err) != credential.Conflict || !credential.IsNotFound(found) {
					t.Errorf("%d: %v, %v", i, err, found)
				}
			}
		}
		if got := len(verified(t, s)); got != 1+2*n/3 {
			t.Errorf("%d events", got)
		}
	})
}

// A caller that goes away before its change is taken up leaves nothing behind; one that goes away later still learns what became of it.
func TestCancelledCommits(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		release := s.Hold(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		dropped := make(chan error, 1)
		go func() {
			_, err := s.Commit(ctx, change(credential.CreatePrincipal{Principal: device(1)}))
			dropped <- err
		}()
		for s.Waiting() < 1 {
			time.Sleep(time.Millisecond)
		}
		cancel()
		release()
		if err := <-dropped; credential.KindOf(err) != credential.Down || !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled while it waited: %v", err)
		}
		if _, err := s.Principal(t.Context(), "default", device(1).ID); !credential.IsNotFound(err) {
			t.Errorf("a cancelled change was made: %v", err)
		}
		if _, err := s.Commit(ctx, change(credential.CreatePrincipal{Principal: device(1)})); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled before: %v", err)
		}

		taken, cancel := context.WithCancel(t.Context())
		err := s.CommitThen(taken, change(credential.CreatePrincipal{Principal: device(2)}), cancel)
		noErr(t, err)
		_, err = s.Principal(t.Context(), "default", device(2).ID)
		noErr(t, err)
	})
}

// Compare-and-swap: of many who change the same version, one does.
func TestOneOfManyWins(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p := device(1)
		commit(t, s, credential.CreatePrincipal{Principal: p})
		p.Version = 1
		var won, lost, first atomic.Int64
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				switch _, err := s.Commit(t.Context(), change(credential.UpdatePrincipal{Principal: p})); {
				case err == nil:
					won.Add(1)
				case credential.KindOf(err) == credential.Conflict:
					lost.Add(1)
				}
				if ok, err := s.Once(t.Context(), "code", day.Add(time.Hour)); err == nil && ok { // N04
					first.Add(1)
				}
			})
		}
		group.Wait()
		if won.Load() != 1 || lost.Load() != 15 || first.Load() != 1 {
			t.Errorf("%d won, %d lost, %d first", won.Load(), lost.Load(), first.Load())
		}
	})
}

// N04: over two nodes as well, and a deletion and a creation on two nodes never both pass.
func TestNodesExcludeEachOther(t *testing.T) {
	url := testkit.Postgres(t)
	a, b := open(t, store.Config{URL: url}), open(t, store.Config{URL: url})
	ctx := t.Context()
	for i := range 20 {
		var first atomic.Int64
		var group sync.WaitGroup
		for _, s := range []*store.Store{a, b} {
			group.Go(func() {
				ok, err := s.Once(ctx, fmt.Sprint("code", i), day.Add(time.Hour))
				if err != nil {
					t.Error(err)
				}
				if ok {
					first.Add(1)
				}
			})
		}
		p := device(i)
		commit(t, a, credential.CreatePrincipal{Principal: p})
		group.Go(func() {
			op := credential.DeletePrincipal{ID: p.ID, Version: 1, At: day}
			_, err := a.Commit(ctx, change(op))
			if err != nil && credential.KindOf(err) == credential.Conflict { // the token was faster
				op.Credentials = []string{token(i, p).ID}
				_, err = a.Commit(ctx, change(op))
			}
			if err != nil {
				t.Error(err)
			}
		})
		group.Go(func() {
			_, err := b.Commit(ctx, change(credential.CreateCredential{Credential: token(i, p)}))
			if err != nil && credential.KindOf(err) != credential.Conflict {
				t.Error(err)
			}
		})
		group.Wait()
		if first.Load() != 1 {
			t.Errorf("code %d was first for %d", i, first.Load())
		}
		if left, err := a.CredentialsOf(ctx, p.ID); err != nil || len(left) > 0 {
			t.Fatalf("a deleted principal has active credentials: %v, %v", left, err)
		}
	}
	verified(t, a)
}

func TestExclusive(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		nodes := []*store.Store{open(t, store.Config{URL: url})}
		if url[:8] == "postgres" {
			nodes = append(nodes, open(t, store.Config{URL: url}))
		}
		var inside, runs atomic.Int64
		var group sync.WaitGroup
		for i := range 6 {
			s := nodes[i%len(nodes)]
			group.Go(func() {
				err := s.Exclusive(t.Context(), "bootstrap", func(ctx context.Context) error {
					if inside.Add(1) != 1 {
						t.Error("two are inside")
					}
					defer inside.Add(-1)
					runs.Add(1)
					_, err := s.Commit(ctx, change(credential.PutSetting{Name: "a", Value: "b"})) // writing inside is the point of it
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if runs.Load() != 6 {
			t.Errorf("%d runs", runs.Load())
		}
		want := errors.New("no")
		err := nodes[0].Exclusive(t.Context(), "x", func(context.Context) error {
			return nodes[0].Exclusive(t.Context(), "y", func(context.Context) error { // another name is free
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				defer cancel()
				if err := nodes[len(nodes)-1].Exclusive(ctx, "x", func(context.Context) error { return nil }); credential.KindOf(err) != credential.Down || err == nil {
					t.Errorf("entered what is taken: %v", err)
				}
				return want
			})
		})
		if !errors.Is(err, want) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWait(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url, Poll: time.Hour})
		woken := make(chan error, 1)
		go func() { woken <- s.Wait(t.Context(), 0) }()
		commit(t, s, credential.CreatePrincipal{Principal: device(1)})
		noErr(t, <-woken)
		noErr(t, s.Wait(t.Context(), 0)) // there is something: at once
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Wait(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait with a context that has ended: %v", err)
		}
		polls := open(t, store.Config{URL: sqliteURL(t), Poll: time.Millisecond})
		noErr(t, polls.Wait(t.Context(), 99)) // R02: whatever is told or not, it looks
	})
}

// A snapshot of the policy, and a record, are of the revision that they say, however much is written meanwhile.
func TestAnswersAreOfTheirRevision(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p := device(1)
		commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: token(1, p)},
			credential.PutScope{Scope: credential.Scope{Org: "default", Name: "s"}})
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { // each change moves all three versions, and the head, by one
			for v := int64(1); ctx.Err() == nil; v++ {
				c := token(1, p)
				p := p
				p.Version, c.Version = v, v
				_, err := s.Commit(t.Context(), credential.Change{Ops: []credential.Op{
					credential.UpdatePrincipal{Principal: p},
					credential.UpdateCredential{Credential: c},
					credential.PutScope{Scope: credential.Scope{Org: "default", Name: "s", Version: v}},
				}, Events: []credential.Event{about("x", "y")}})
				if err != nil {
					t.Error(err)
				}
			}
		})
		for range 300 {
			r, err := s.Credential(t.Context(), token(1, p).ID)
			noErr(t, err)
			if want := r.Revision - 2; r.Credential.Version != want || r.Principal.Version != want {
				t.Fatalf("versions %d and %d at revision %d", r.Credential.Version, r.Principal.Version, r.Revision)
			}
			pol, err := s.Policy(t.Context())
			noErr(t, err)
			if pol.Scopes[0].Version != pol.Revision-2 {
				t.Fatalf("scope of version %d at revision %d", pol.Scopes[0].Version, pol.Revision)
			}
		}
		cancel()
		group.Wait()
	})
}

func TestClose(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		before := goleak.IgnoreCurrent()
		s := open(t, store.Config{URL: url})
		release := s.Hold(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := s.Commit(t.Context(), change(credential.CreatePrincipal{Principal: device(1)}))
			done <- err
		}()
		for s.Waiting() < 1 {
			time.Sleep(time.Millisecond)
		}
		closed := make(chan struct{})
		go func() { s.Close(); close(closed) }()
		release()
		noErr(t, <-done) // what waits is still made
		<-closed
		noErr(t, s.Close())
		for _, err := range []error{
			func() error {
				_, err := s.Commit(t.Context(), change(credential.CreatePrincipal{Principal: device(2)}))
				return err
			}(),
			func() error { _, err := s.Credential(t.Context(), "x"); return err }(),
			func() error { _, _, err := s.Since(t.Context(), 0, 1); return err }(),
		} {
			if err == nil || credential.KindOf(err) != credential.Down {
				t.Errorf("after Close: %v", err)
			}
		}
		again := open(t, store.Config{URL: url})
		_, err := again.Principal(t.Context(), "default", device(1).ID)
		noErr(t, err)
		noErr(t, again.Close())
		goleak.VerifyNone(t, before)
	})
}
