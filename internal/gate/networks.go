package gate

import (
	"net/netip"
	"slices"
	"sync"
)

// networks is a list that credentials share: those of a plant come from the same
// few networks, so the list is near when a hit needs it. It is immutable.
type networks struct{ list []netip.Prefix }

// allow reports whether src is in one of them. An address that is not known is in none.
func (n *networks) allow(src netip.Addr) bool {
	src = src.Unmap().WithZone("")
	for _, p := range n.list {
		if p.Contains(src) {
			return true
		}
	}
	return false
}

// maxNetworks bounds the lists that are kept for sharing. Lists beyond it work as well, each for itself.
const maxNetworks = 4096

// networkBook finds the list that others have already.
type networkBook struct {
	mu  sync.Mutex
	all map[string]*networks
}

// share returns the networks of a list; nil for none.
func (b *networkBook) share(list []netip.Prefix) *networks {
	if len(list) == 0 {
		return nil
	}
	var name []byte
	for _, p := range list {
		name = append(p.AppendTo(name), ' ')
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n, ok := b.all[string(name)]; ok {
		return n
	}
	n := &networks{slices.Clone(list)}
	if b.all == nil || len(b.all) == maxNetworks { // start again: what is in use stays with those who use it
		b.all = map[string]*networks{}
	}
	b.all[string(name)] = n
	return n
}
