package gate

import (
	"math"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"
)

// How many values of a day are told apart between two flushes, and by the ledger. What is beyond is counted together.
const (
	splitAddrs  = 16
	splitRoutes = 16
	splitValues = 32
)

// split counts the uses of an API key, a personal token or an application key on one day, by where they came from and what they
// asked for. It takes no lock and loses no use. A value keeps its place; when there is no place left, the flush puts an empty one
// in place of it, and it takes no more.
type split struct {
	day    int64  // since 1970, UTC
	older  *split // of the day before, until the flush; of the flush alone
	addrs  [splitAddrs]addrCount
	routes [splitRoutes]routeCount
	// What has found no place.
	restAddrs, restRoutes atomic.Int64
}

type addrCount struct {
	state  atomic.Uint32 // free, claimed, named
	hi, lo uint64        // once it is named
	n      atomic.Int64
}

type routeCount struct {
	name atomic.Pointer[string]
	n    atomic.Int64
}

const (
	placeFree = iota
	placeClaimed
	placeNamed
)

// retired is about the count of a place that takes no more: whoever adds to it sees that it is negative, and comes again.
const retired = math.MinInt64 / 2

const (
	oneDay    = 24 * time.Hour
	perSplit  = int64(unsafe.Sizeof(split{}))
	byAddress = "address"
	byRoute   = "route"
)

// split counts one use of e.
func (g *Gate) split(e *entry, now int64, hi, lo uint64, route string) {
	x, today := e.lukewarm(), now/int64(oneDay)
	for !g.splitOf(e, x, today).addAddress(hi, lo) {
	}
	for !g.splitOf(e, x, today).addRoute(route) {
	}
}

// splitOf returns the split of today, or of a later day if somebody else's clock was read after ours.
func (g *Gate) splitOf(e *entry, x *cold, today int64) *split {
	for {
		t := x.split.Load()
		if t != nil && t.day >= today {
			return t
		}
		if x.split.CompareAndSwap(t, &split{day: today, older: t}) && t == nil {
			g.charge(e, perSplit+int64(unsafe.Sizeof(*x)))
		}
	}
}

// addAddress reports whether the use is counted: false is that the split takes no more.
func (t *split) addAddress(hi, lo uint64) bool {
	for i := range t.addrs {
		p := &t.addrs[i]
		switch p.state.Load() {
		case placeNamed:
			if p.hi == hi && p.lo == lo {
				return p.n.Add(1) > 0
			}
		case placeFree:
			if p.state.CompareAndSwap(placeFree, placeClaimed) {
				p.hi, p.lo = hi, lo
				p.state.Store(placeNamed)
				return p.n.Add(1) > 0
			}
		} // one that somebody is naming may be of the same address: then it has two places
	}
	return t.restAddrs.Add(1) > 0
}

// addRoute is addAddress for a route; "" is the rest.
func (t *split) addRoute(route string) bool {
	if route == "" {
		return t.restRoutes.Add(1) > 0
	}
	var fresh *string
	for i := range t.routes {
		p := &t.routes[i]
		name := p.name.Load()
		if name == nil {
			if fresh == nil {
				text := strings.Clone(route) // it may be a part of something larger
				fresh = &text
			}
			if p.name.CompareAndSwap(nil, fresh) {
				return p.n.Add(1) > 0
			}
			name = p.name.Load()
		}
		if *name == route {
			return p.n.Add(1) > 0
		}
	}
	return t.restRoutes.Add(1) > 0
}

// isFull reports whether some use has found no place. That of no route needs none.
func (t *split) isFull() bool {
	return t.restAddrs.Load() > 0 || t.restRoutes.Load() > 0 && t.routes[splitRoutes-1].name.Load() != nil
}

// take empties the counts into each. With retire the split takes no more.
func (t *split) take(retire bool, each func(by, value string, n int64)) {
	left := int64(0)
	if retire {
		left = retired
	}
	for i := range t.addrs {
		p := &t.addrs[i]
		n := p.n.Swap(left) // of those without a name too, which somebody may be about to name
		if n <= 0 {
			continue
		}
		value := ""
		if a := addrOf(p.hi, p.lo); a.IsValid() {
			value = a.String()
		}
		each(byAddress, value, n)
	}
	for i := range t.routes {
		p := &t.routes[i]
		if n := p.n.Swap(left); n > 0 {
			each(byRoute, *p.name.Load(), n)
		}
	}
	if n := t.restAddrs.Swap(left); n > 0 {
		each(byAddress, "", n)
	}
	if n := t.restRoutes.Swap(left); n > 0 {
		each(byRoute, "", n)
	}
}

// slicesOf are a credential's uses of one day by one thing.
type slicesOf struct {
	key key
	day int64
	by  string
}

// takeSplit empties the splits of an entry, after its count was taken: whoever counts in a split counts in the entry after
// it, so that the entry is in the list again if something is left.
func (l *ledger) takeSplit(e *entry) {
	x := e.cold.Load()
	if x == nil {
		return
	}
	t := x.split.Load()
	if t == nil {
		return
	}
	retire := t.isFull() && x.split.CompareAndSwap(t, &split{day: t.day})
	for o := t; o != nil; o = o.older {
		o.take(retire || o != t, func(by, value string, n int64) { l.slice(slicesOf{e.key, o.day, by}, value, n) })
	}
	t.older = nil
}

// slice adds to what is to be recorded. Of a day there are no more values than the store keeps.
func (l *ledger) slice(of slicesOf, value string, n int64) {
	values := l.slices[of]
	if values == nil {
		values = map[string]int64{}
		l.slices[of] = values
	}
	if _, known := values[value]; !known && len(values) >= splitValues {
		value = ""
	}
	values[value] += n
}
