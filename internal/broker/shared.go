package broker

import "sync"

// group is a shared subscription (4.8.2): one of its members gets each message.
type group struct {
	mu      sync.Mutex
	members []*subscription
	next    int
}

// pick chooses who gets the next message: in turn among those that are connected, and among all of them if none is.
// It is nil if there is no member, or none that may keep it.
func (g *group) pick(qos byte) *subscription {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := len(g.members)
	if n == 0 {
		return nil
	}
	g.next = (g.next + 1) % n
	for i := range n {
		at := (g.next + i) % n
		if g.members[at].session.live.Load() {
			g.next = at
			return g.members[at]
		}
	}
	if qos == 0 {
		return nil
	}
	return g.members[g.next]
}
