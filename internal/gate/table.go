package gate

import (
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"unsafe"
)

// cache is the table of entries: shards of open addressing with linear
// probing. Readers take no lock; writers take the shard's. It evicts by the
// clock algorithm: the hand passes over what was used since it last came by.
type cache struct {
	seed   key
	shards [shardCount]shard
	owners owners
}

const (
	shardBits  = 6
	shardCount = 1 << shardBits
	startSlots = 16 // of a shard; a power of two
	slotSize   = 16
)

// shard is a part of the table, chosen by the top bits of a key's hash.
type shard struct {
	slots atomic.Pointer[slots]
	dirty atomic.Pointer[entry] // list of entries with uses; see ledger.go

	mu      sync.Mutex
	live    int
	graves  int // slots whose entry was taken out
	bytes   int64
	budget  int64
	hand    int
	evicted int64
	pending pending
	_       [64]byte // the next shard's readers must not feel this one's writers
}

// slots is the array of a shard; its length is a power of two.
type slots struct {
	s    []slot
	mask uint64
}

// slot holds an entry and its tag. A reader may see the tag of one entry with
// the pointer to another: the pointer decides. What it may miss in this way,
// it finds under the lock.
type slot struct {
	tag atomic.Uint64 // 0: never used; grave: used once; else from tagOf
	e   atomic.Pointer[entry]
}

const grave = 1

func (c *cache) init(budget int64) {
	c.seed = key{rand.Uint64(), rand.Uint32()}
	for i := range c.shards {
		s := &c.shards[i]
		s.budget = budget / shardCount
		s.bytes = startSlots * slotSize
		s.slots.Store(newSlots(startSlots))
		s.pending.init()
	}
	c.owners.init()
}

func newSlots(n int) *slots { return &slots{make([]slot, n), uint64(n - 1)} }

// hash mixes a key with the process's seed. Only ids that exist get into the
// table, so nobody can choose those that collide.
func (c *cache) hash(k key) uint64 {
	hi, lo := bits.Mul64(k.hi^c.seed.hi^0x9E3779B97F4A7C15, uint64(k.lo^c.seed.lo)|0xD1B54A32<<32)
	return hi ^ lo
}

func (c *cache) shard(h uint64) *shard { return &c.shards[h>>(64-shardBits)] }

func tagOf(h uint64) uint64 { return h | 2 }

// place is where the probe for a tag begins.
func (t *slots) place(tag uint64) uint64 { return tag >> 8 & t.mask }

// find returns the entry of k, or nil. It takes no lock.
func (c *cache) find(k key, h uint64) *entry {
	t, tag := c.shard(h).slots.Load(), tagOf(h)
	for i, n := t.place(tag), len(t.s); n > 0; i, n = (i+1)&t.mask, n-1 {
		s := &t.s[i]
		switch s.tag.Load() {
		case tag:
			if e := s.e.Load(); e != nil && e.key == k {
				return e
			}
		case 0:
			return nil
		}
	}
	return nil
}

// fetchSlot starts to bring the slot where [cache.find] will begin from memory.
// With many entries a hit takes as long as it waits for memory, and while it
// parses and hashes it need not wait.
func (c *cache) fetchSlot(h uint64) {
	t := c.shard(h).slots.Load()
	prefetch(unsafe.Pointer(&t.s[t.place(tagOf(h))]))
}

// fetchEntry starts to bring what a hit reads of the entry that find will
// return, most likely, as the tag alone is looked at.
func (c *cache) fetchEntry(h uint64) {
	t, tag := c.shard(h).slots.Load(), tagOf(h)
	for i, n := t.place(tag), len(t.s); n > 0; i, n = (i+1)&t.mask, n-1 {
		s := &t.s[i]
		switch s.tag.Load() {
		case tag:
			e := unsafe.Pointer(s.e.Load())
			for at := 0; e != nil && at < hotLines*lineSize; at += lineSize {
				prefetch(unsafe.Add(e, at))
			}
			return
		case 0:
			return
		}
	}
}

// put inserts e or replaces the entry of its key, and evicts what is over the
// budget. The shard must be locked.
func (c *cache) put(s *shard, h uint64, e *entry) {
	c.take(s, h, e.key)
	if 4*(s.live+s.graves+1) > 3*len(s.slots.Load().s) {
		s.rebuild()
	}
	t, tag := s.slots.Load(), tagOf(h)
	i := t.place(tag)
	for t.s[i].tag.Load() > grave {
		i = (i + 1) & t.mask
	}
	if t.s[i].tag.Load() == grave {
		s.graves--
	}
	t.s[i].e.Store(e)
	t.s[i].tag.Store(tag)
	s.live++
	s.bytes += int64(e.size)
	c.owners.add(e)
	c.evict(s, e)
}

// take removes the entry of k, if there is one. The shard must be locked.
func (c *cache) take(s *shard, h uint64, k key) *entry {
	t, tag := s.slots.Load(), tagOf(h)
	for i := t.place(tag); t.s[i].tag.Load() != 0; i = (i + 1) & t.mask {
		if e := t.s[i].e.Load(); t.s[i].tag.Load() == tag && e.key == k {
			c.bury(s, &t.s[i])
			return e
		}
	}
	return nil
}

// bury empties a slot. Its entry is dead from here on.
func (c *cache) bury(s *shard, at *slot) {
	e := at.e.Load()
	at.tag.Store(grave)
	at.e.Store(nil)
	s.live--
	s.graves++
	s.bytes -= int64(e.size)
	for v := e; v != nil; v = v.older {
		v.marks.Or(markDead)
	}
	c.owners.remove(e)
}

// rebuild copies the shard's slots into new ones without graves, twice as many
// if they are more than half full. Readers of the old ones see what was true a
// moment ago, and the dead mark on what has changed since.
func (s *shard) rebuild() {
	old := s.slots.Load()
	n := len(old.s)
	if 2*(s.live+1) > n {
		n *= 2
	}
	t := newSlots(n)
	for i := range old.s {
		e := old.s[i].e.Load()
		if e == nil {
			continue
		}
		tag := old.s[i].tag.Load()
		j := t.place(tag)
		for t.s[j].tag.Load() != 0 {
			j = (j + 1) & t.mask
		}
		t.s[j].e.Store(e)
		t.s[j].tag.Store(tag)
	}
	s.bytes += int64(n-len(old.s)) * slotSize
	s.graves, s.hand = 0, 0
	s.slots.Store(t)
}

// evict takes out what was not used lately until the shard is within its
// budget, but never keep.
func (c *cache) evict(s *shard, keep *entry) {
	t := s.slots.Load()
	for s.bytes > s.budget && s.live > 1 {
		at := &t.s[s.hand&int(t.mask)]
		s.hand++
		e := at.e.Load()
		if e == nil || e == keep || e.marks.And(^uint32(markUsed))&markUsed != 0 {
			continue
		}
		c.bury(s, at)
		s.evicted++
	}
}

// charge counts n bytes more for an entry, if that is still in the table.
func (g *Gate) charge(e *entry, n int64) {
	h := g.cache.hash(e.key)
	s := g.cache.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	head := g.cache.find(e.key, h)
	if head == nil || e.dead() {
		return
	}
	head.size += int32(n)
	s.bytes += n
	g.cache.evict(s, head)
}

// clear takes everything out.
func (c *cache) clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		t := s.slots.Load()
		for j := range t.s {
			if t.s[j].e.Load() != nil {
				c.bury(s, &t.s[j])
			}
		}
		s.mu.Unlock()
	}
}

// owners finds the entries of a principal. Its locks are taken inside a shard's.
type owners struct {
	parts [shardCount]ownersPart
}

type ownersPart struct {
	mu    sync.Mutex
	first map[string]*entry // by principal ID: head of a list through next and prev
}

func (o *owners) init() {
	for i := range o.parts {
		o.parts[i].first = map[string]*entry{}
	}
}

func (o *owners) part(principal string) *ownersPart {
	var h uint32
	for i := range len(principal) {
		h = h*31 + uint32(principal[i])
	}
	return &o.parts[h%shardCount]
}

func (o *owners) add(e *entry) {
	id := e.made.PrincipalID
	p := o.part(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	// The key stays that of the first entry, whose text it keeps in memory.
	if e.next = p.first[id]; e.next != nil {
		e.next.prev = e
	}
	p.first[id] = e
}

func (o *owners) remove(e *entry) {
	id := e.made.PrincipalID
	p := o.part(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.next != nil {
		e.next.prev = e.prev
	}
	switch {
	case e.prev != nil:
		e.prev.next = e.next
	case e.next != nil:
		p.first[id] = e.next
	default:
		delete(p.first, id)
	}
	e.next, e.prev = nil, nil
}

// keys returns the credentials of a principal that are in the table.
func (o *owners) keys(principal string) []key {
	p := o.part(principal)
	p.mu.Lock()
	defer p.mu.Unlock()
	var ks []key
	for e := p.first[principal]; e != nil; e = e.next {
		ks = append(ks, e.key)
	}
	return ks
}
