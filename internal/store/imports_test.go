package store_test

import (
	"encoding/hex"
	"fmt"
	"sync"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/store"
)

// An imported token leads to its credential, whatever has become of that, and a token that is found by nothing to none.
func TestForeign(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p, f := device(1), legacy("vendor")
		c := imported(1, p, f)
		commit(t, s, credential.PutTokenFormat{TokenFormat: f}, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: token(2, p)})
		if r, err := s.Foreign(t.Context(), lookup(1)); !credential.IsNotFound(err) || r.Revision != 3 || r.Credential.ID != "" {
			t.Errorf("before it was made: %+v, %v", r, err)
		}
		events := commit(t, s, credential.CreateCredential{Credential: c})
		c.Version, p.Version = 1, 1
		r, err := s.Foreign(t.Context(), lookup(1))
		noErr(t, err)
		equal(t, "record", r, credential.Record{Credential: c, Principal: p, Revision: events[0].Seq})
		for i, state := range []credential.State{credential.StateRevoked, credential.StateDeleted} {
			events = commit(t, s, credential.EndCredential{ID: c.ID, State: state, At: day, Reason: "leaked"})
			c.State, c.Version, c.EndedAt, c.EndReason = state, int64(i)+2, day, "leaked"
			r, err = s.Foreign(t.Context(), lookup(1))
			noErr(t, err)
			equal(t, "ended", r, credential.Record{Credential: c, Principal: p, Revision: events[0].Seq})
		}
		for _, none := range [][]byte{nil, {}, {0}, lookup(2), []byte(hex.EncodeToString(lookup(1)))} {
			if r, err := s.Foreign(t.Context(), none); !credential.IsNotFound(err) || r.Revision != events[0].Seq {
				t.Errorf("%x: %+v, %v", none, r, err)
			}
		}
		found, err := s.Found(t.Context(), [][]byte{lookup(9), lookup(1), lookup(1)})
		noErr(t, err)
		equal(t, "found", found, map[string]string{hex.EncodeToString(lookup(1)): c.ID})
	})
}

// One token is one credential: the same a second time changes nothing, wherever it stands in a change.
func TestATokenIsImportedOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p, f := device(1), legacy("vendor")
		commit(t, s, credential.PutTokenFormat{TokenFormat: f}, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: imported(1, p, f)})
		again := imported(2, p, f)
		again.Proofs[0].Lookup = lookup(1)
		twice := imported(3, p, f)
		twice.Proofs = append(twice.Proofs, twice.Proofs[0])
		makes := func(c credential.Credential) credential.Op { return credential.CreateCredential{Credential: c} }
		check := func() {
			t.Helper()
			refused(t, s, credential.Exists, makes(again))
			refused(t, s, credential.Exists, makes(imported(4, p, f)), makes(again), makes(imported(5, p, f)))
			refused(t, s, credential.Exists, makes(twice))
			for _, n := range []int{2, 3, 4, 5} {
				if _, err := s.Credential(t.Context(), token(n, p).ID); !credential.IsNotFound(err) {
					t.Errorf("credential %d of a refused change: %v", n, err)
				}
			}
			found, err := s.Found(t.Context(), [][]byte{lookup(1), lookup(2), lookup(3), lookup(4), lookup(5)})
			noErr(t, err)
			equal(t, "found", found, map[string]string{hex.EncodeToString(lookup(1)): token(1, p).ID})
		}
		check()
		commit(t, s, credential.EndCredential{ID: token(1, p).ID, State: credential.StateDeleted, At: day}) // R10: not even then
		check()
		commit(t, s, makes(imported(4, p, f)), makes(token(6, p)), makes(imported(5, p, f)))
	})
}

// Found takes any number, also more than a statement can have parameters.
func TestFound(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p, f := device(1), legacy("vendor")
		ops := []credential.Op{credential.PutTokenFormat{TokenFormat: f}, credential.CreatePrincipal{Principal: p}}
		want := map[string]string{}
		var ask [][]byte
		for i := range 600 {
			ask = append(ask, lookup(i))
			if i%2 == 0 {
				c := imported(i, p, f)
				ops = append(ops, credential.CreateCredential{Credential: c})
				want[hex.EncodeToString(lookup(i))] = c.ID
			}
		}
		commit(t, s, ops...)
		for _, n := range []int{0, 1, 255, 256, 257, 600} {
			got, err := s.Found(t.Context(), ask[:n])
			noErr(t, err)
			if len(got) != (n+1)/2 {
				t.Errorf("%d of %d", len(got), n)
			}
			for k, id := range got {
				if want[k] != id {
					t.Fatalf("%s is %q", k, id)
				}
			}
		}
	})
}

// The progress of an import goes from where its author thinks it is, or not at all: of two importers at once one wins each step.
func TestImports(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		i := run(1)
		if _, err := s.Import(t.Context(), "default", i.ID); !credential.IsNotFound(err) {
			t.Errorf("before it was made: %v", err)
		}
		refused(t, s, credential.Conflict, credential.PutImport{Import: i, Before: 5})
		noEvent := func(op credential.PutImport) error { // a step in which nothing was new changes only this
			_, err := s.Commit(t.Context(), credential.Change{Ops: []credential.Op{op}})
			return err
		}
		noErr(t, noEvent(credential.PutImport{Import: i}))
		next := i
		next.Name, next.Digest, next.By, next.StartedAt = "x", "x", "x", day.Add(time.Hour) // of these, nothing is written
		next.Done, next.Created, next.Unchanged, next.Failed, next.UpdatedAt, next.FinishedAt = 10, 7, 2, 1, day.Add(2*time.Hour), day.Add(3*time.Hour)
		foreign := next
		foreign.Org = "other"
		refused(t, s, credential.Conflict, credential.PutImport{Import: foreign})
		noErr(t, noEvent(credential.PutImport{Import: next}))
		for _, before := range []int64{0, 9, 11} {
			refused(t, s, credential.Conflict, credential.PutImport{Import: next, Before: before})
		}
		want := next
		want.Name, want.Digest, want.By, want.StartedAt = i.Name, i.Digest, i.By, i.StartedAt
		for _, ref := range []string{i.ID, i.Digest} {
			got, err := s.Import(t.Context(), "default", ref)
			noErr(t, err)
			equal(t, "by "+ref, got, want)
			if _, err := s.Import(t.Context(), "other", ref); !credential.IsNotFound(err) {
				t.Errorf("in another organisation: %v", err)
			}
		}
		again := run(2)
		again.Digest = i.Digest
		commit(t, s, credential.PutImport{Import: again}, credential.PutImport{Import: run(3)})
		got, err := s.Import(t.Context(), "default", i.Digest)
		noErr(t, err)
		equal(t, "the newest of a file", got.ID, again.ID)
		list, err := s.Imports(t.Context(), "default", 2)
		noErr(t, err)
		equal(t, "list", list, []credential.Import{run(3), again})
	})
}

func TestTwoImporters(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		nodes := []*store.Store{open(t, store.Config{URL: url})}
		if url[:8] == "postgres" {
			nodes = append(nodes, open(t, store.Config{URL: url}))
		}
		s := nodes[0]
		p, f := device(1), legacy("vendor")
		commit(t, s, credential.PutTokenFormat{TokenFormat: f}, credential.CreatePrincipal{Principal: p}, credential.PutImport{Import: run(1)})
		const steps, importers = 10, 4
		var group sync.WaitGroup
		var won [importers]int
		for w := range importers {
			group.Go(func() {
				for n := 0; n < steps; {
					step := run(1)
					step.Done, step.Created = int64(n)+1, int64(n)+1
					c := imported(w*1000+n, p, f) // each gives it an id of its own
					c.Proofs[0].Lookup = lookup(n)
					_, err := nodes[w%len(nodes)].Commit(t.Context(), change(credential.PutImport{Import: step, Before: int64(n)}, credential.CreateCredential{Credential: c}))
					switch {
					case err == nil:
						won[w]++
					case credential.KindOf(err) != credential.Conflict:
						t.Error(err)
						return
					}
					at, err := s.Import(t.Context(), "default", run(1).ID)
					if err != nil {
						t.Error(err)
						return
					}
					n = int(at.Done)
				}
			})
		}
		group.Wait()
		sum := 0
		for _, n := range won {
			sum += n
		}
		ids, err := s.CredentialsOf(t.Context(), p.ID)
		noErr(t, err)
		equal(t, "steps, credentials", []int{sum, len(ids)}, []int{steps, steps})
	})
}

func TestAvatars(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		put := func(png string) { t.Helper(); commit(t, s, credential.PutAvatar{Credential: "c", PNG: []byte(png)}) }
		for _, want := range []string{"", "\x89PNG\x00\xff", "other", ""} {
			put(want)
			got, err := s.Avatar(t.Context(), "c")
			if want == "" {
				if !credential.IsNotFound(err) || got != nil {
					t.Errorf("without one: %v, %v", got, err)
				}
				continue
			}
			noErr(t, err)
			equal(t, "avatar", string(got), want)
		}
		if _, err := s.Avatar(t.Context(), "x\x00"); !credential.IsNotFound(err) {
			t.Errorf("of no id: %v", err)
		}
	})
}

// Many rows at once are as whole as one: imports in batches.
func TestImportOfABatch(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p, f := device(1), legacy("vendor")
		commit(t, s, credential.PutTokenFormat{TokenFormat: f}, credential.CreatePrincipal{Principal: p})
		commit(t, s, importBatch(0, 300, p, f)...)
		for _, n := range []int{0, 63, 64, 255, 299} {
			r, err := s.Foreign(t.Context(), lookup(n))
			noErr(t, err)
			equal(t, fmt.Sprint("row ", n), r.Credential.ID, scattered(n, p).ID)
		}
		refused(t, s, credential.Exists, importBatch(299, 300, p, f)...)
		verified(t, s)
	})
}

// importBatch is a step of an import: credentials from the nth on, and how far it is.
func importBatch(n, size int, p credential.Principal, f credential.TokenFormat) []credential.Op {
	ops := make([]credential.Op, size)
	for i := range ops {
		c := imported(n+i, p, f)
		c.ID = scattered(n+i, p).ID
		ops[i] = credential.CreateCredential{Credential: c}
	}
	return ops
}
