package policy

import (
	"net/netip"
	"slices"
	"strings"

	"cardea/internal/credential"
)

// Covers returns the rules, by index, that go beyond r: whoever has r may not
// grant them (J26). An allow is covered if, on each side of r, some one allow
// holds all of it (action, resource, qos, retain and networks) and no
// deny touches it. A deny of r that rules repeat, wholly within one of their
// denies, does not count: who gets rules gets it too. Denies of rules are
// always covered, because they only take away. Each bound of r must hold the allow as well.
//
// What a template expands to is not known here, least of all for those who
// will have the rules. So an allow with variables, and a deny of r, count with a
// wildcard for each level that has one; an allow of r with variables holds
// nothing, and neither does a deny that is given on.
//
// The answer is sound: whatever rules without the returned ones allow, r
// allows. It is not complete: an allow that only several allows of r
// hold together is returned, as is one that Check refuses. Zero Rights cover no
// allow, and neither do those with an ACL.
func (r Rights) Covers(rules []credential.Rule) []int {
	var denies []matcher
	for i := range rules {
		if rules[i].Permission == credential.Deny && isFine(&rules[i]) {
			denies = append(denies, compile("", &rules[i]))
		}
	}
	var beyond []int
	for i := range rules {
		if rules[i].Permission != credential.Deny && !r.cover(&rules[i], denies) {
			beyond = append(beyond, i)
		}
	}
	return beyond
}

// Undone returns an allow of all that a deny may keep anybody from, for
// [Rights.Covers] to judge who may take the deny away.
func Undone(deny credential.Rule) credential.Rule {
	deny.Permission = credential.Allow
	if t, _ := parseTemplate(deny.Resource); t != nil && t.first() {
		deny.Resource = anything // without a value it reaches topics that begin with $, which no wildcard does
	}
	return deny
}

// Speaks reports whether a rule has the variable ${attr.NAME} of an attribute.
func Speaks(r *credential.Rule, attr string) bool {
	return strings.Contains(r.Resource, opening+attrDot+attr+"}")
}

func isFine(r *credential.Rule) bool {
	var p credential.Problems
	checkRule("", r, &p)
	return len(p) == 0
}

func (r Rights) cover(rule *credential.Rule, denies []matcher) bool {
	if r.ACL != nil || r.Principal == nil || !isFine(rule) {
		return false
	}
	for _, m := range compile("", rule).split() {
		if !r.Principal.cover(&m, denies) || r.Credential != nil && !r.Credential.cover(&m, denies) || !r.boundsHold(&m) {
			return false
		}
	}
	return true
}

// split returns a rule for mqtt:* as its two halves, which different rules
// may cover, and any other as it is.
func (m matcher) split() []matcher {
	if m.action.proto != MQTT || m.action.verb != anything {
		return []matcher{m}
	}
	publish, subscribe := m, m
	publish.action.verb, subscribe.action.verb = "publish", "subscribe"
	return []matcher{publish, subscribe}
}

func (s *Set) cover(m *matcher, denies []matcher) bool {
	held := false
	for i := range s.rules {
		own := &s.rules[i]
		switch {
		case !own.deny:
			held = held || own.holds(m)
		case own.touches(m) && !slices.ContainsFunc(denies, func(d matcher) bool { return d.holds(own) }):
			return false
		}
	}
	return held
}

// holds reports whether m matches all that n matches; both allow, or both deny.
func (m *matcher) holds(n *matcher) bool {
	return m.action.holds(&n.action) &&
		m.holdsResource(n) &&
		n.qos&^m.qos == 0 &&
		(n.action.verb == "subscribe" || n.retain&^m.retain == 0) &&
		m.holdsNetworks(n)
}

func (a *action) holds(b *action) bool {
	return a.proto == b.proto &&
		(a.noun == anything || a.noun == b.noun) &&
		(a.verb == anything || a.verb == b.verb)
}

func (m *matcher) holdsResource(n *matcher) bool {
	switch {
	case m.shape == shapeAny || n.shape == shapeAny:
		return m.shape == shapeAny
	case m.shape == shapeTemplate || n.reachesDollar():
		return false
	case m.action.proto == MQTT:
		return Subset(n.resource, m.resource)
	}
	return PathSubset(n.resource, m.resource)
}

// reachesDollar reports whether the rule is a deny whose first level can be
// anything, topics that begin with $ included.
func (m *matcher) reachesDollar() bool {
	return m.shape == shapeTemplate && m.deny && m.template.first()
}

func (m *matcher) holdsNetworks(n *matcher) bool {
	if len(m.networks) == 0 {
		return true
	}
	for _, p := range n.networks {
		if !slices.ContainsFunc(m.networks, func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Overlaps(p) }) {
			return false
		}
	}
	return len(n.networks) > 0
}

// touches reports whether the deny m matches anything that the allow n, of one
// half of mqtt:*, matches.
func (m *matcher) touches(n *matcher) bool {
	return m.action.touches(&n.action) && m.touchesResource(n) && m.touchesNetworks(n) && m.touchesMessage(n)
}

func (a *action) touches(b *action) bool {
	either := func(x, y string) bool { return x == anything || y == anything || x == y }
	return a.proto == b.proto && either(a.noun, b.noun) && either(a.verb, b.verb)
}

func (m *matcher) touchesResource(n *matcher) bool {
	switch {
	case m.shape == shapeAny || n.shape == shapeAny:
		return true
	case m.reachesDollar():
		return overlapLevels(m.resource, n.resource)
	case m.action.proto == MQTT:
		return Overlap(m.resource, n.resource)
	}
	return PathOverlap(m.resource, n.resource)
}

// touchesNetworks need not care for unknown sources: no allow with networks is for them.
func (m *matcher) touchesNetworks(n *matcher) bool {
	if len(m.networks) == 0 || len(n.networks) == 0 {
		return true
	}
	return slices.ContainsFunc(m.networks, func(p netip.Prefix) bool { return slices.ContainsFunc(n.networks, p.Overlaps) })
}

// touchesMessage compares the conditions on messages, with the meaning that
// QoS has for subscriptions: one at QoS q brings what comes at q and below.
func (m *matcher) touchesMessage(n *matcher) bool {
	if n.action.verb != "subscribe" {
		return m.qos&n.qos != 0 && m.retain&n.retain != 0
	}
	below := n.qos | n.qos>>1 | n.qos>>2
	return m.qos&below != 0
}
