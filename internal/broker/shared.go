package broker

import "sync"

// group is a shared subscription (4.8.2): one of its members gets each message.
type group struct {
	mu      sync.Mutex
	members []*subscription
	next    int // whose turn it is
}

// turn returns how many members there are and whose turn it is.
func (g *group) turn() (first, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.members) == 0 {
		return 0, 0
	}
	return g.next % len(g.members), len(g.members)
}

// member returns one; nil if there are fewer by now.
func (g *group) member(i int) *subscription {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i >= len(g.members) {
		return nil
	}
	return g.members[i]
}

// took notes that a member has taken its turn.
func (g *group) took(i int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next = i + 1
}

// share gives a message to one member of a group, in turn: to one that is connected and has nothing waiting that its client does not take, else to one
// that is connected, else to one that is not.
func (w *work) share(in *inbound, g *group) {
	first, n := g.turn()
	for _, want := range []readiness{spare, connected, away} {
		for i := range n {
			at := (first + i) % n
			sub := g.member(at)
			if sub == nil || sub.session.live.Load() != (want != away) {
				continue
			}
			if t := sub.target(); w.deliver(in, &t, want) {
				g.took(at)
				return
			}
		}
	}
}

// readiness is what a session must be to get a message.
type readiness int

const (
	away      readiness = iota // any: what is not connected may keep it
	connected                  // has a connection
	spare                      // and its client takes at once what comes
)
