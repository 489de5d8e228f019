package gate

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"cardea/internal/credential"
	"cardea/internal/jwt"
	"cardea/internal/scram"
	"cardea/internal/variform"
)

// chains are the authenticators of all listeners as of now.
type chains struct {
	mu  sync.Mutex
	now atomic.Pointer[chainList]
	id  map[string]*member

	letting sync.WaitGroup // sources that are being closed; Add is under mu
}

// chainList is all chains. It never changes.
type chainList struct {
	by    map[string][]*member // by listener, in the order in which they are asked
	paths []string             // the listeners that are prefixes of paths, the longest first
}

// member is an authenticator, ready to be asked. But for its figures it never changes.
type member struct {
	credential.Authenticator
	expr   *variform.Expr    // nil: it is always asked
	source credential.Source // of types that ask a REST service
	broken string            // why it can let nobody in; "" if it is well. Without a source, whoever comes is a failure of its service
	hash   scram.Hash        // scram_rest
	rounds int               // scram_rest: iterations
	grants *rights           // what those may who come without an ACL
	keys   jwt.Keys          // jwt: those that the configuration has
	stats  *memberStats
}

func (c *chains) init() {
	c.now.Store(&chainList{})
	c.id = map[string]*member{}
}

// of returns the chain of a listener.
func (c *chains) of(listener string) []*member { return c.now.Load().by[listener] }

// PathChain returns the listener whose chain decides about a canonical path of HTTP: the prefix of the path's route, if
// that has a chain. "" is that there is none, and token and certificate are looked at as everywhere. A chain keeps its paths when its route
// has gone, unless another route has them. Without any chain of a route it costs a load.
func (g *Gate) PathChain(path string) string {
	for _, prefix := range g.chains.now.Load().paths {
		if !strings.HasPrefix(path, prefix) {
			continue
		}
		for _, r := range g.Routes() {
			if len(r.Prefix) > len(prefix) && strings.HasPrefix(path, r.Prefix) {
				return ""
			}
		}
		return prefix
	}
	return ""
}

// HasChain reports whether there are authenticators for a listener, enabled or not.
func (g *Gate) HasChain(listener string) bool { return len(g.chains.of(listener)) > 0 }

// TakesPasswords reports whether the chain of a listener has an enabled authenticator that looks at user names and passwords.
func (g *Gate) TakesPasswords(listener string) bool {
	return slices.ContainsFunc(g.chains.of(listener), func(m *member) bool {
		return m.Enabled && (m.Type == credential.ByHTTP || m.Type == credential.ByPassword)
	})
}

// find returns an authenticator by its ID; nil if there is none.
func (c *chains) find(org, id string) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.id[id]
	if m == nil || m.Org != org {
		return nil
	}
	return m
}

// turn makes the authenticators of a policy those that are asked. What has not changed stays as it is, its connections included.
func (g *Gate) turn(all []credential.Authenticator) {
	c := &g.chains
	c.mu.Lock()
	defer c.mu.Unlock()
	by, id := map[string][]*member{}, map[string]*member{}
	for i := range all {
		m := g.enlist(c.id[all[i].ID], &all[i])
		by[m.Listener] = append(by[m.Listener], m)
		id[m.ID] = m
	}
	was := c.id
	c.now.Store(&chainList{by: by, paths: pathsOf(by)})
	c.id = id
	for _, m := range was {
		if now := id[m.ID]; m.source != nil && (now == nil || now.source != m.source) {
			c.letting.Go(m.source.Close) // it waits for what runs, and a change must not
		}
	}
}

// pathsOf returns the listeners of chains that are prefixes of paths, the longest first.
func pathsOf(by map[string][]*member) []string {
	var paths []string
	for listener := range by {
		if strings.HasPrefix(listener, "/") {
			paths = append(paths, listener)
		}
	}
	slices.SortFunc(paths, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return paths
}

// enlist makes the member of an authenticator; old is what it was until now, nil for nothing.
func (g *Gate) enlist(old *member, a *credential.Authenticator) *member {
	if old != nil && old.Version == a.Version {
		return old
	}
	m := &member{Authenticator: *a, stats: &memberStats{}}
	if old != nil {
		m.stats = old.stats
		m.stats.forgive() // what was wrong may be mended
	}
	m.Scopes, m.Sealed = slices.Clone(a.Scopes), slices.Clone(a.Sealed)
	if a.Precondition != "" {
		var err error
		if m.expr, err = variform.Compile(a.Precondition); err != nil {
			m.broken = "its precondition does not compile: " + err.Error()
		}
	}
	if a.Type == credential.ByJWT && a.Issuer != nil && len(a.Issuer.JWKS) > 0 {
		var err error
		if m.keys, err = jwt.ParseSet(a.Issuer.JWKS); err != nil {
			m.broken = "its keys cannot be read"
		}
	}
	if !a.Type.Remote() {
		return m
	}
	m.grants = g.book.granted(a.Org, a.Scopes)
	if old != nil && old.broken == "" && slices.Equal(old.Sealed, a.Sealed) {
		m.source, m.hash, m.rounds = old.source, old.hash, old.rounds
		return m
	}
	if err := g.connect(m); err != nil {
		m.broken = err.Error()
		g.log.Error("an authenticator cannot work: it lets nobody in", "authenticator", a.ID, "error", err)
	}
	return m
}

// connect opens the source of a member.
func (g *Gate) connect(m *member) error {
	if g.sources == nil {
		return credential.Errorf(credential.Internal, "this Cardea asks no REST services")
	}
	plain, err := g.unwrap(m.SealedAs(), m.Sealed)
	if err != nil {
		return err
	}
	defer clear(plain)
	var b credential.Backend
	if err := json.Unmarshal(plain, &b); err != nil {
		return credential.Errorf(credential.Internal, "what was sealed is no backend")
	}
	if m.Type == credential.ByScramREST {
		var ok bool
		if m.hash, ok = scram.HashOf(b.Algorithm); !ok {
			return credential.Errorf(credential.Internal, "its algorithm is not known: %q", b.Algorithm)
		}
		m.rounds = b.IterationCount
	}
	m.source, err = g.sources.Open(m.Type, &b)
	return err
}

// closeChains lets go of all connections. No chain is turned any more: its caller has ended what does.
func (g *Gate) closeChains() {
	g.turn(nil)
	g.chains.mu.Lock()
	defer g.chains.mu.Unlock()
	g.chains.letting.Wait()
}

// serves reports whether a member takes part in handshakes with a hash.
func (m *member) serves(h scram.Hash) bool {
	return m.Enabled && (m.Type == credential.ByScram || m.Type == credential.ByScramREST && m.hash == h)
}
