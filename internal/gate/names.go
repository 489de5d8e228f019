package gate

import (
	"context"
	"strings"
	"sync"
	"time"

	"cardea/internal/credential"
)

// maxNames bounds how many user names are remembered, of each sort.
const maxNames = 65536

// names remembers which credential a user name belongs to, of each kind that has user names. It is a hint
// and decides nothing: the entry of the credential says itself what it is called, and whether it has ended.
// It also remembers who bears a name, if it is no device.
type names struct {
	mu      sync.Mutex
	known   map[userName]key
	unknown map[userName]time.Duration // until when, on the monotonic clock
	borne   map[userName]bearing       // likewise
	changes uint64                     // of credentials and principals; what was looked up before one is not kept after it
}

type userName struct {
	org  string
	kind credential.Kind // "" for the name of a principal
	name string
}

// bearing is what sort of principal bears a name, "" for none.
type bearing struct {
	kind  credential.PrincipalKind
	until time.Duration // on the monotonic clock
}

func (n *names) init() {
	n.known, n.unknown, n.borne = map[userName]key{}, map[userName]time.Duration{}, map[userName]bearing{}
}

// find returns what is remembered: a key, or that there is none. changes is for put.
func (n *names) find(u userName, now time.Duration) (k key, none bool, changes uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if k, ok := n.known[u]; ok {
		return k, false, n.changes
	}
	return key{}, holds(n.unknown, u, now), n.changes
}

// holds reports whether something is remembered whose time is not over.
func holds(m map[userName]time.Duration, u userName, now time.Duration) bool {
	until, ok := m[u]
	if ok && now >= until {
		delete(m, u)
		ok = false
	}
	return ok
}

// bearer returns what is remembered of who bears a name. changes is for setBearer.
func (n *names) bearer(u userName, now time.Duration) (kind credential.PrincipalKind, known bool, changes uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b, ok := n.borne[u]
	return b.kind, ok && now < b.until, n.changes
}

// setBearer remembers who bears a name, unless a principal has changed since it was looked up.
func (n *names) setBearer(u userName, kind credential.PrincipalKind, now time.Duration, changes uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.changes != changes {
		return
	}
	makeRoom(n.borne)
	n.borne[userName{org: strings.Clone(u.org), name: strings.Clone(u.name)}] = bearing{kind, now + negativeTime}
}

// put remembers what was looked up, unless a credential has changed since. The zero key is that there is none.
func (n *names) put(u userName, k key, now time.Duration, changes uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.changes != changes {
		return
	}
	u.name = strings.Clone(u.name) // a part of a packet
	if k == (key{}) {
		makeRoom(n.unknown)
		n.unknown[u] = now + negativeTime
		return
	}
	makeRoom(n.known)
	n.known[u] = k
}

// makeRoom takes any one out of a map that is full.
func makeRoom[V any](m map[userName]V) {
	for u := range m {
		if len(m) < maxNames {
			return
		}
		delete(m, u)
	}
}

func (n *names) drop(u userName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.known, u)
}

// changed is told that some credential or principal has changed: a name that there was not may be there now.
func (n *names) changed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changes++
	clear(n.unknown)
	clear(n.borne)
}

// named returns the entry of the credential of a kind with a user name: its newest
// version, in the table a moment ago. Without one the reason is UnknownUser or Unavailable.
func (g *Gate) named(ctx context.Context, org string, kind credential.Kind, name string) (*entry, credential.Reason) {
	u := userName{org, kind, name}
	for range maxRounds {
		k, none, changes := g.names.find(u, g.clock.Mono())
		if none {
			return nil, credential.UnknownUser
		}
		if k == (key{}) {
			var why credential.Reason
			if k, why = g.lookName(ctx, u, changes); why != credential.OK {
				return nil, why
			}
		}
		h := g.cache.hash(k)
		e := g.cache.find(k, h)
		if e == nil {
			var why credential.Reason
			if e, why = g.load(ctx, k, h, k.String()); why == credential.Unavailable {
				return nil, why
			}
		}
		if e != nil && e.flags&isEnded == 0 && e.isCalled(u) {
			return e, credential.OK
		}
		g.names.drop(u) // it was somebody's who is no more
	}
	return nil, credential.Unavailable
}

// lookName asks the store.
func (g *Gate) lookName(ctx context.Context, u userName, changes uint64) (key, credential.Reason) {
	select {
	case g.lookups <- struct{}{}:
		defer func() { <-g.lookups }()
	case <-ctx.Done():
		return key{}, credential.Unavailable
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	var rec credential.Record
	var err error
	if u.kind == foreignKind {
		rec, err = g.store.Foreign(ctx, []byte(u.name))
	} else {
		rec, err = g.store.Named(ctx, u.org, u.kind, u.name)
	}
	if credential.IsNotFound(err) {
		g.names.put(u, key{}, g.clock.Mono(), changes)
		return key{}, credential.UnknownUser
	}
	if ctx.Err() == nil { // else it is the caller who has gone
		g.heard(err)
	}
	if err != nil {
		return key{}, credential.Unavailable
	}
	k := keyOf(rec.Credential.ID)
	g.names.put(u, k, 0, changes)
	return k, credential.OK
}
