package gate

import (
	"fmt"
	"sync"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"cardea/internal/credential"
)

// bare returns an entry as the table sees it.
func bare(r *rights, n, revision int) *entry {
	id := fmt.Sprintf("%012d", n)
	rec := credential.Record{
		Credential: credential.Credential{ID: id, State: credential.StateActive, Kind: credential.APIKey, Proofs: []credential.Proof{{N: revision, Hash: make([]byte, 32)}}},
		Principal:  credential.Principal{ID: fmt.Sprintf("P%011d", n%7), Name: "x"},
		Revision:   int64(revision),
	}
	return newEntry(&rec, r, "default", nil)
}

func someRights() *rights {
	r := &rights{}
	r.cur.Store(&compiled{})
	return r
}

// The table is a map: what was put last is found, what was taken is not, and is dead.
func TestTableIsAMap(t *testing.T) {
	r := someRights()
	rapid.Check(t, func(t *rapid.T) {
		var c cache
		c.init(1 << 30)
		model := map[int]*entry{}
		gone := []*entry{}
		revision := 0
		steps := rapid.IntRange(1, 300).Draw(t, "steps")
		for range steps {
			n := rapid.IntRange(0, 60).Draw(t, "n")
			e := bare(r, n, revision)
			h := uint64(n % 3) // so that they collide
			s := c.shard(h)
			s.mu.Lock()
			if rapid.IntRange(0, 2).Draw(t, "take") == 0 {
				c.take(s, h, e.key)
			} else {
				revision++
				c.put(s, h, e)
			}
			s.mu.Unlock()
			if old := model[n]; old != nil {
				gone = append(gone, old)
			}
			if delete(model, n); e.owned(&c) {
				model[n] = e
			}
		}
		owned := map[string]int{}
		for n := range 61 {
			want := model[n]
			if got := c.find(bare(r, n, 0).key, uint64(n%3)); got != want {
				t.Fatalf("%d: found %v, want %v", n, got, want)
			}
			if want != nil {
				owned[want.made.PrincipalID]++
				if want.dead() {
					t.Fatalf("%d is in the table and dead", n)
				}
			}
		}
		for _, e := range gone {
			if !e.dead() {
				t.Fatal("an entry that is no longer in the table is not dead")
			}
		}
		for i := range 7 {
			p := fmt.Sprintf("P%011d", i)
			if n := len(c.owners.keys(p)); n != owned[p] {
				t.Fatalf("%s owns %d entries, want %d", p, n, owned[p])
			}
		}
	})
}

// owned reports whether e was put into the table.
func (e *entry) owned(c *cache) bool {
	p := c.owners.part(e.made.PrincipalID)
	for o := p.first[e.made.PrincipalID]; o != nil; o = o.next {
		if o == e {
			return true
		}
	}
	return false
}

// Readers find everything while writers make the table grow.
func TestTableGrowsUnderReaders(t *testing.T) {
	r := someRights()
	var c cache
	c.init(1 << 30)
	put := func(e *entry) {
		h := c.hash(e.key)
		s := c.shard(h)
		s.mu.Lock()
		c.put(s, h, e)
		s.mu.Unlock()
	}
	const fixed, all = 1000, 20000
	for n := range fixed {
		put(bare(r, n, 1))
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				for n := range fixed {
					k := bare(r, n, 0).key
					if c.find(k, c.hash(k)) == nil {
						t.Errorf("%d is not found", n)
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for n := fixed; n < all; n++ {
		put(bare(r, n, 1))
	}
	close(stop)
	wg.Wait()
}

// The budget holds, whatever is put in, and what is used stays rather than what is not.
func TestBudget(t *testing.T) {
	r := someRights()
	var c cache
	const budget = 4 << 20
	c.init(budget)
	hot := make([]*entry, 0, 100)
	for n := range 100_000 {
		e := bare(r, n, 1)
		if len(hot) < cap(hot) {
			hot = append(hot, e)
		}
		for _, e := range hot {
			e.marks.Or(markUsed)
		}
		h := c.hash(e.key)
		s := c.shard(h)
		s.mu.Lock()
		c.put(s, h, e)
		s.mu.Unlock()
	}
	var bytes, live, evicted int64
	for i := range c.shards {
		s := &c.shards[i]
		if s.bytes > s.budget {
			t.Errorf("shard %d has %d bytes, more than %d", i, s.bytes, s.budget)
		}
		bytes, live, evicted = bytes+s.bytes, live+int64(s.live), evicted+s.evicted
	}
	if bytes > budget || live+evicted != 100_000 {
		t.Errorf("%d bytes, %d entries, %d evicted", bytes, live, evicted)
	}
	for i, e := range hot {
		if e.dead() {
			t.Errorf("%d was evicted though it was used all the time", i)
		}
	}
}

// The identities that are made anew after a change of rights count for the budget.
func TestFreshIdentitiesAreCounted(t *testing.T) {
	h := newHouse(t)
	h.writer()
	token, c := h.token(h.device("pump-1", "writer"))
	empty := h.gate.Stats().Bytes
	h.accepted(token)
	first := h.gate.Stats().Bytes
	for range 3 {
		h.scope("db:write", allow("http:GET", "/db/**"))
		h.accepted(token)
		h.scope("db:write", allow("http:POST", "/db/**"))
		h.accepted(token)
	}
	if more := h.gate.Stats().Bytes - first; more != int64(unsafe.Sizeof(Identity{})) {
		t.Errorf("%d bytes more, want those of one identity", more)
	}
	h.revoke(c)
	if n := h.gate.Stats().Bytes; n != empty {
		t.Errorf("%d bytes are left", n-empty)
	}
}

// Ids that do not exist are remembered, but not many.
func TestUnknownAreBounded(t *testing.T) {
	h := newHouse(t)
	for i := range 3 * maxNegative * shardCount {
		k := key{uint64(i), 1}
		s := h.gate.cache.shard(h.gate.cache.hash(k))
		s.mu.Lock()
		s.pending.remember(k, 0)
		s.mu.Unlock()
	}
	n := 0
	for i := range h.gate.cache.shards {
		n += len(h.gate.cache.shards[i].pending.unknown)
	}
	if n > maxNegative*shardCount {
		t.Errorf("%d, want at most %d", n, maxNegative*shardCount)
	}
	unknown := wrongSecret(t, "dev", "000000000000")
	for range 10 {
		h.refused(unknown, credential.UnknownCredential)
	}
	if n := h.store.lookups.Load(); n != 1 {
		t.Errorf("%d look-ups, want 1", n)
	}
	h.pass(negativeTime)
	h.refused(unknown, credential.UnknownCredential)
	if n := h.store.lookups.Load(); n != 2 {
		t.Errorf("%d look-ups after the time was over, want 2", n)
	}
}

// Many who ask for the same credential make one look-up.
func TestSingleFlight(t *testing.T) {
	h := newHouse(t)
	token, c := h.token(h.device("pump-1"))
	reached, release := h.hold(c.ID)
	const n = 50
	done := make(chan credential.Reason, n)
	for range n {
		go func() {
			_, out := h.authenticate(token, here)
			done <- out.Reason
		}()
	}
	<-reached
	h.eventually("all wait", func() bool { return h.gate.Stats().Misses == n })
	release()
	for range n {
		if why := <-done; why != credential.OK {
			t.Error(why)
		}
	}
	if m := h.store.lookups.Load(); m != 1 {
		t.Errorf("%d look-ups, want 1", m)
	}
}
