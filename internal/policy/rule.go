package policy

import (
	"net/netip"
	"strings"

	"cardea/internal/credential"
)

// op is what an access does, in the groups that rules are sorted by.
type op uint8

const (
	opNone op = iota // nothing that a rule can speak about
	opHTTP
	opPublish
	opSubscribe
	opDeliver
	opCall
	opAPI
)

func (a *Access) op() op {
	switch a.Proto {
	case HTTP:
		return opHTTP
	case MQTT:
		switch a.Verb {
		case "publish":
			return opPublish
		case "subscribe":
			return opSubscribe
		case "deliver":
			return opDeliver
		}
	case GRPC:
		if a.Verb == "call" {
			return opCall
		}
	case API:
		if strings.IndexByte(a.Verb, ':') > 0 {
			return opAPI
		}
	}
	return opNone
}

// judges reports whether a resource is one that any rule can be about.
func (o op) judges(resource string) bool {
	return resource != "" && o != opNone && (o != opSubscribe || isSubscription(resource))
}

// action is a rule's action in parts. Noun is the API's; a verb or noun "*" is any.
type action struct {
	proto      Proto
	noun, verb string
}

// parseAction reads an action that is well formed.
func parseAction(s string) action {
	proto, verb, _ := strings.Cut(s, ":")
	switch proto {
	case "http":
		return action{proto: HTTP, verb: verb}
	case "mqtt":
		return action{proto: MQTT, verb: verb}
	case "grpc":
		return action{proto: GRPC, verb: verb}
	}
	noun, verb, _ := strings.Cut(verb, ":")
	return action{API, noun, verb}
}

// is reports whether a speaks of what an access does.
func (a *action) is(op op, x *Access) bool {
	if a.proto != x.Proto {
		return false
	}
	switch op {
	case opHTTP, opPublish, opSubscribe, opCall:
		return a.verb == anything || a.verb == x.Verb
	case opDeliver:
		return a.verb == anything || a.verb == "subscribe"
	case opAPI:
		noun, verb, _ := strings.Cut(x.Verb, ":")
		return (a.noun == anything || a.noun == noun) && (a.verb == anything || a.verb == verb)
	}
	return false
}

// shape is how a resource is matched, the cheapest way that serves.
type shape uint8

const (
	shapeAny      shape = iota // everything
	shapeExact                 // no wildcards
	shapeUnder                 // a prefix, then everything
	shapeWalk                  // step by step
	shapeTemplate              // by what its variables are for who asks
	shapeSame                  // a filter with wildcards that is meant as it is written
)

// matcher is one compiled rule.
type matcher struct {
	rule     *credential.Rule // the set's own copy
	scope    string
	action   action
	deny     bool
	shape    shape
	qos      byte      // bit n for QoS n
	retain   byte      // bit 0 for not retained, bit 1 for retained
	place    int32     // in its set, counted from 1
	resource string    // as in the rule; the widest that it can be if it is a template
	prefix   string    // with shapeUnder, ends with "/"; with shapeTemplate, what is as written
	template *template // with shapeTemplate
	networks []netip.Prefix
}

// compile compiles a rule that [Check] accepts. It keeps r.
func compile(scope string, r *credential.Rule) matcher {
	m := compileConditions(scope, r)
	if r.Resource == anything {
		m.shape = shapeAny
		return m
	}
	m.template, _ = parseTemplate(r.Resource)
	m.findShape()
	return m
}

// findShape sets how a resource is matched that is not "*", from resource and template.
func (m *matcher) findShape() {
	wild, rest := "*", "**"
	if m.action.proto == MQTT {
		wild, rest = "+#", "#"
	}
	prefix := strings.TrimSuffix(m.resource, rest)
	switch {
	case m.template != nil:
		m.shape, m.resource = shapeTemplate, m.template.widest(m.action.proto)
		m.prefix = m.template.levels[0].before
		if i := strings.IndexAny(m.prefix, wild); i >= 0 {
			m.prefix = m.prefix[:i]
		}
	case !strings.ContainsAny(m.resource, wild):
		m.shape = shapeExact
	case prefix != "" && !strings.ContainsAny(prefix, wild):
		m.shape, m.prefix = shapeUnder, prefix
	default:
		m.shape = shapeWalk
	}
}

// compileConditions compiles all of a rule but its resource. It keeps r.
func compileConditions(scope string, r *credential.Rule) matcher {
	m := matcher{
		rule: r, scope: scope, action: parseAction(r.Action), deny: r.Permission == credential.Deny,
		qos: 1<<0 | 1<<1 | 1<<2, retain: 1<<0 | 1<<1, resource: r.Resource, networks: r.Networks,
	}
	if len(r.QoS) > 0 {
		m.qos = 0
		for _, q := range r.QoS {
			m.qos |= 1 << q
		}
	}
	if r.Retain != nil {
		m.retain = retainBit(*r.Retain)
	}
	return m
}

func retainBit(retain bool) byte {
	if retain {
		return 1 << 1
	}
	return 1 << 0
}

// matches reports whether the rule matches an access of its action, by h.
func (m *matcher) matches(op op, a *Access, h *Holder) bool {
	return m.onResource(op, a, h) && m.fromNetwork(a.Source) && m.withQoS(op, a.QoS) && m.withRetain(op, a.Retain)
}

// onResource reports whether the rule is about a resource. For subscribe an
// allow must hold all that the filter may bring, a deny any of it.
func (m *matcher) onResource(op op, a *Access, h *Holder) bool {
	resource := a.Resource
	switch {
	case m.shape == shapeAny:
		return true
	case m.shape == shapeTemplate:
		return m.onTemplate(op, a, h)
	case m.shape == shapeSame:
		return m.isSame(op, resource)
	case op == opSubscribe && m.deny:
		return Overlap(resource, m.resource)
	case op == opSubscribe:
		return Subset(resource, m.resource)
	case m.shape == shapeExact:
		return resource == m.resource
	case op == opPublish || op == opDeliver:
		if m.shape == shapeUnder {
			return strings.HasPrefix(resource, m.prefix) || resource == m.prefix[:len(m.prefix)-1]
		}
		return matchFilter(m.resource, resource)
	case m.shape == shapeUnder:
		return strings.HasPrefix(resource, m.prefix)
	}
	return matchPattern(m.resource, resource)
}

// isSame is onResource with shapeSame: the rule is about the subscription to just
// this filter, and an allow therefore about what that brings. No message has such a name.
func (m *matcher) isSame(op op, resource string) bool {
	if op == opDeliver {
		return !m.deny && matchFilter(m.resource, resource)
	}
	return op == opSubscribe && resource == m.resource
}

// fromNetwork reports whether the rule is about a source. Of an unknown one
// only denies are.
func (m *matcher) fromNetwork(source netip.Addr) bool {
	if len(m.networks) == 0 {
		return true
	}
	if !source.IsValid() {
		return m.deny
	}
	source = source.Unmap().WithZone("") // a prefix contains no address with a zone
	for _, p := range m.networks {
		if p.Contains(source) {
			return true
		}
	}
	return false
}

// withQoS reports whether the rule is about a QoS. A subscription at QoS q
// brings deliveries at q and below. So a deny counts against it if it is about
// any of these; and a delivery is allowed by a rule that allows a subscription at
// its QoS or above.
func (m *matcher) withQoS(op op, qos byte) bool {
	switch {
	case op == opSubscribe && m.deny:
		return m.qos&(2<<qos-1) != 0
	case op == opDeliver && !m.deny:
		return m.qos>>qos != 0
	case op == opPublish || op == opSubscribe || op == opDeliver:
		return m.qos&(1<<qos) != 0
	}
	return true
}

// withRetain reports whether the rule is about a message that is, or is not, to
// be retained. It is a condition of publishing only.
func (m *matcher) withRetain(op op, retain bool) bool {
	return op != opPublish || m.retain&retainBit(retain) != 0
}

// why names the first part of the rule that an access does not match; "" if it matches.
func (m *matcher) why(op op, a *Access, h *Holder) string {
	switch {
	case !m.action.is(op, a):
		return "action"
	case m.lacksValue(a, h):
		return "template"
	case !op.judges(a.Resource), !m.onResource(op, a, h):
		return "resource"
	case !m.fromNetwork(a.Source):
		return "networks"
	case !m.withQoS(op, a.QoS):
		return "qos"
	case !m.withRetain(op, a.Retain):
		return "retain"
	}
	return ""
}
