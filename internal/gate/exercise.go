package gate

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// Which scopes a credential makes use of is noted once an hour for each of them: a write for each request would be a
// storm. An entry has a bit for each of the first scopes of its rights; beside them is the mark of the rights that
// they are the bits of. Rights that change, and each new hour, bring another mark, and the bits count for nothing.
const (
	didBits = 40 // scopes that have a bit
	didMask = 1<<(64-didBits) - 1
)

// exercisable is what rights know for this.
type exercisable struct {
	mark    atomic.Uint32
	scopes  []string // that the rules are of which may allow something
	scopeOf []uint16 // of each rule, its place in scopes
}

// learn fills it from what was compiled.
func (c *compiled) learn() {
	n := c.Narrower().Len()
	c.scopeOf = make([]uint16, n)
	for i := range n {
		name := c.Scope(i)
		at := slices.Index(c.scopes, name)
		if at < 0 {
			at = len(c.scopes)
			c.scopes = append(c.scopes, name)
		}
		c.scopeOf[i] = uint16(at) //nolint:gosec // scopes are few
	}
}

// nextMark returns a mark that no entry has bits of: it comes again only after 16 million others. The book must be locked.
func (b *book) nextMark() uint32 {
	if b.marked = (b.marked + 1) & didMask; b.marked == 0 {
		b.marked = 1 // 0 is that of an entry that has done nothing
	}
	return b.marked
}

// remark makes everything that is done from now on worth noting again.
func (b *book) remark() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.known {
		if r := w.Value(); r != nil {
			r.cur.Load().mark.Store(b.nextMark())
		}
	}
}

// hasDone reports whether it is noted, or not worth noting, that e may what the rights c have decided.
func (e *entry) hasDone(c *compiled, d policy.Decision) bool {
	i := d.Index()
	return i < 0 || e.hasUsed(c, c.scopeOf[i])
}

func (e *entry) hasUsed(c *compiled, scope uint16) bool {
	did := e.did.Load()
	return scope < didBits && uint32(did>>didBits) == c.mark.Load() && did>>scope&1 != 0
}

// exercise notes that e has done what a rule of c allows.
func (g *Gate) exercise(e *entry, c *compiled, d policy.Decision) {
	g.exerciseScope(e, c, c.scopeOf[d.Index()])
}

// Exercised notes that a scope has let an identity do something, for those who ask its [Gate.Rights] themselves.
func (g *Gate) Exercised(id *Identity, scope string) {
	if id == nil {
		return
	}
	c := id.rights().cur.Load()
	at := slices.Index(c.scopes, scope)
	if at >= 0 && !id.entry.hasUsed(c, uint16(at)) { //nolint:gosec // as above
		g.exerciseScope(id.entry, c, uint16(at)) //nolint:gosec // as above
	}
}

func (g *Gate) exerciseScope(e *entry, c *compiled, scope uint16) {
	mark := c.mark.Load()
	isGuest := e.revision < 0 // whom no store knows
	if scope >= didBits {
		if !isGuest {
			g.exercises.addRare(rareExercise{e.key, mark, scope}, c.scopes[scope], g.clock.Now())
		}
		return
	}
	if !isGuest && !g.exercises.add(e.key, c.scopes[scope], g.clock.Now()) {
		return // there is no room now: the next time
	}
	for {
		did := e.did.Load()
		now := uint64(mark)<<didBits | 1<<scope
		if uint32(did>>didBits) == mark {
			now |= did
		}
		if e.did.CompareAndSwap(did, now) {
			return
		}
	}
}

// exercises are those that wait for the flush.
type exercises struct {
	mu      sync.Mutex
	pending map[exerciseKey]time.Time
	rare    map[rareExercise]struct{} // that were noted, of scopes that have no bit
	hour    int64                     // since 1970; of the flush alone
}

type exerciseKey struct {
	key   key
	scope string
}

type rareExercise struct {
	key   key
	mark  uint32
	scope uint16
}

// maxExercises bounds each of the two maps.
const maxExercises = 50000

func (x *exercises) init(now time.Time) {
	x.hour = hourOf(now)
	x.pending, x.rare = map[exerciseKey]time.Time{}, map[rareExercise]struct{}{}
}

// add reports whether there was room.
func (x *exercises) add(k key, scope string, now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.put(exerciseKey{k, scope}, now)
}

func (x *exercises) put(k exerciseKey, now time.Time) bool {
	if _, known := x.pending[k]; !known && len(x.pending) >= maxExercises {
		return false
	}
	x.pending[k] = now
	return true
}

func (x *exercises) addRare(r rareExercise, scope string, now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, noted := x.rare[r]; noted || !x.put(exerciseKey{r.key, scope}, now) {
		return
	}
	if len(x.rare) >= maxExercises {
		clear(x.rare)
	}
	x.rare[r] = struct{}{}
}

// take returns what waits.
func (x *exercises) take() []credential.Exercise {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := make([]credential.Exercise, 0, len(x.pending))
	for k, last := range x.pending {
		all = append(all, credential.Exercise{Credential: k.key.String(), Scope: k.scope, LastAt: last})
	}
	clear(x.pending)
	return all
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// newHour begins a new hour of exercises when it is one.
func (g *Gate) newHour() {
	if hour := hourOf(g.clock.Now()); hour != g.exercises.hour {
		g.exercises.hour = hour
		g.book.remark()
	}
}
