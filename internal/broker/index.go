package broker

import (
	"bytes"
	"strings"
	"sync"
	"sync/atomic"

	"cardea/internal/mqtt"
)

// index finds the subscriptions that match a topic. What it found is kept as a
// route for the next message of that topic, until some subscription changes.
type index struct {
	mu    sync.RWMutex
	exact map[string]*leaf // filters without wildcards
	root  node
	gen   atomic.Uint64 // counts changes; written under mu

	cacheMu sync.RWMutex
	cache   map[string]*route
	cached  int // targets of all routes there
}

// The cache is emptied when it holds more.
const (
	maxRoutes  = 1 << 14
	maxTargets = 1 << 20
)

// node is a level of the filters with wildcards.
type node struct {
	children map[string]*node
	plus     *node
	here     *leaf
	hash     *leaf // filters that have # below this level
}

// leaf holds the subscriptions with one filter. It never has a member twice.
type leaf struct {
	subs   []*subscription
	groups map[string]*group // shared subscriptions, by the name of the share
}

// subscription is one of a session. It does not change, except for at.
type subscription struct {
	session *session
	filter  string // as the client wrote it, with $share/NAME/
	opts    mqtt.Options
	id      uint32 // subscription identifier; 0 for none
	at      int    // its place in the leaf or the group
}

func newIndex() *index { return &index{exact: map[string]*leaf{}, cache: map[string]*route{}} }

// share takes the name of a shared subscription off its filter (4.8.2); it is empty if it is none.
func share(filter string) (name, rest string) {
	rest, ok := strings.CutPrefix(filter, "$share/")
	if !ok {
		return "", filter
	}
	name, rest, _ = strings.Cut(rest, "/")
	return name, rest
}

func wild(filter string) bool { return strings.ContainsAny(filter, "+#") }

// add puts a subscription in, in the place of old if the session had that filter already.
func (x *index) add(s, old *subscription) {
	name, filter := share(s.filter)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.gen.Add(1)
	l := x.leaf(filter)
	list := &l.subs
	if name != "" {
		g := l.groups[name]
		if g == nil {
			if l.groups == nil {
				l.groups = map[string]*group{}
			}
			g = &group{}
			l.groups[name] = g
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		list = &g.members
	}
	if old != nil {
		s.at = old.at
		(*list)[s.at] = s
		return
	}
	s.at = len(*list)
	*list = append(*list, s)
}

// leaf returns the leaf of a filter and makes it if there is none.
func (x *index) leaf(filter string) *leaf {
	if !wild(filter) {
		l := x.exact[filter]
		if l == nil {
			l = &leaf{}
			x.exact[filter] = l
		}
		return l
	}
	n := &x.root
	for level, rest, more := strings.Cut(filter, "/"); ; level, rest, more = strings.Cut(rest, "/") {
		if level == "#" {
			if n.hash == nil {
				n.hash = &leaf{}
			}
			return n.hash
		}
		n = n.child(level)
		if !more {
			if n.here == nil {
				n.here = &leaf{}
			}
			return n.here
		}
	}
}

func (n *node) child(level string) *node {
	if level == "+" {
		if n.plus == nil {
			n.plus = &node{}
		}
		return n.plus
	}
	c := n.children[level]
	if c == nil {
		if n.children == nil {
			n.children = map[string]*node{}
		}
		c = &node{}
		n.children[strings.Clone(level)] = c
	}
	return c
}

// remove takes a subscription out.
func (x *index) remove(s *subscription) {
	name, filter := share(s.filter)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.gen.Add(1)
	if !wild(filter) {
		l := x.exact[filter]
		if l.remove(s, name) {
			delete(x.exact, filter)
		}
		return
	}
	x.root.remove(s, name, filter)
}

// remove reports whether nothing is left at and below n.
func (n *node) remove(s *subscription, name, filter string) bool {
	level, rest, more := strings.Cut(filter, "/")
	switch {
	case level == "#":
		if n.hash.remove(s, name) {
			n.hash = nil
		}
	case level == "+":
		if n.plus.removeAt(s, name, rest, more) {
			n.plus = nil
		}
	default:
		if n.children[level].removeAt(s, name, rest, more) {
			delete(n.children, level)
		}
	}
	return n.empty()
}

func (n *node) removeAt(s *subscription, name, rest string, more bool) bool {
	if more {
		return n.remove(s, name, rest)
	}
	if n.here.remove(s, name) {
		n.here = nil
	}
	return n.empty()
}

func (n *node) empty() bool {
	return n.here == nil && n.hash == nil && n.plus == nil && len(n.children) == 0
}

// remove reports whether nothing is left in l.
func (l *leaf) remove(s *subscription, name string) bool {
	if name == "" {
		l.subs = takeOut(l.subs, s)
		return l.empty()
	}
	g := l.groups[name]
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members = takeOut(g.members, s)
	if len(g.members) == 0 {
		delete(l.groups, name)
	}
	return l.empty()
}

func (l *leaf) empty() bool { return len(l.subs) == 0 && len(l.groups) == 0 }

// takeOut puts the last one into the place of s: removing one of many costs the same as removing one of few.
func takeOut(list []*subscription, s *subscription) []*subscription {
	last := len(list) - 1
	list[s.at] = list[last]
	list[s.at].at = s.at
	list[last] = nil
	if last == 0 {
		return nil
	}
	return list[:last]
}

// match calls found with each leaf whose filter matches the topic (4.7).
func (x *index) match(topic []byte, found func(*leaf)) {
	if l := x.exact[string(topic)]; l != nil {
		found(l)
	}
	x.root.match(topic, true, len(topic) > 0 && topic[0] == '$', found)
}

// match walks down from n. more says that levels are left, dollar that wildcards do not match the first one (4.7.2).
func (n *node) match(rest []byte, more, dollar bool, found func(*leaf)) {
	if n.hash != nil && !dollar {
		found(n.hash) // also the parent level (4.7.1.2)
	}
	if !more {
		if n.here != nil {
			found(n.here)
		}
		return
	}
	level, rest, more := bytes.Cut(rest, []byte("/"))
	if n.plus != nil && !dollar {
		n.plus.match(rest, more, false, found)
	}
	if c := n.children[string(level)]; c != nil {
		c.match(rest, more, false, found)
	}
}
