package policy

import (
	"net/netip"

	"cardea/internal/credential"
)

// Proto is the protocol of an access.
type Proto uint8

// The protocols that rules speak about.
const (
	HTTP Proto = iota + 1
	MQTT
	GRPC
	API
)

// Access is what is attempted. It is passed by pointer and never kept.
type Access struct {
	Proto Proto
	// Verb is the HTTP method; "publish", "subscribe" or "deliver" (one topic
	// that comes to a subscriber, judged by the subscribe rules); "call"; or
	// "NOUN:VERB" of the API.
	Verb string
	// Resource is a canonical path (see [CanonicalPath]), a topic name, a topic
	// filter (subscribe only; of a shared subscription without its "$share/group/",
	// see [Unshare]: with it nothing is allowed), "/package.Service/Method", or
	// "/NOUN/NAME" of the API.
	Resource string
	QoS      byte       // of the message, or the one that is asked for with subscribe
	Retain   bool       // publish only
	ClientID string     // MQTT only, for ${client_id}; "" if there is none
	Source   netip.Addr // invalid if unknown: then no rule with networks allows, and each that denies does
}

// Decision is the answer to "may it".
type Decision struct {
	Reason credential.Reason // OK, NoRule, DeniedByRule or OutsideResources
	place  int32             // of Rule in its set if it allows, counted from 1; 0 for none
	Rule   *credential.Rule  // the rule that decided, a part of the set or ACL: do not write to it; nil for NoRule and OutsideResources
}

// Allowed reports whether the access may go on.
func (d Decision) Allowed() bool { return d.Reason == credential.OK }

// Index is the place of the rule that allowed, the first of several, in the set that
// [Rights.Narrower] returns. It is -1 if nothing is allowed, or an ACL has allowed it.
func (d Decision) Index() int { return int(d.place) - 1 }

// Look is one rule that was looked at, for explain.
type Look struct {
	Side    string // "principal", "credential" or "acl"; of the bounds "resources", "project" or "organisation"
	Scope   string // the scope that the rule is of, or its place in the ACL, "acl[2]", or in the bound, "resources[2]"; "" for the API beside a bound
	Rule    credential.Rule
	Matches bool
	// Why says what did not match: "action", "template" (a variable has no usable value), "resource", "networks",
	// "qos", "retain"; in an ACL also "username", "client_id", "zone", "listener". "" if all did.
	Why string
}

// Rights are what an identity may: what the principal's set allows and, if the
// credential names scopes, what the credential's set allows as well. Of that
// only what lies within the bounds remains.
type Rights struct {
	Principal  *Set
	Credential *Set // nil: all of the principal's
	// Holder is whom the templates of both speak of. If it is nil they have no
	// values: allows with them match nothing, denies all that they could.
	Holder *Holder
	// ACL is what somebody else has said that the identity may. If there is one,
	// it alone decides over MQTT, and nothing else is allowed. Of the bounds only
	// Boundary counts beside it.
	ACL *ACL
	// The bounds, made by [CompileResources]: what the credential, its project and
	// its organisation are held to. Nil is no bound, unlike nil above.
	Selected, Project, Boundary *Set
}

// Decide asks both sides, and the bounds about what they allow. It does not allocate,
// but for subscriptions and very long values where rules or bounds have templates.
func (r Rights) Decide(a *Access) Decision {
	d := r.decide(a)
	if d.Allowed() && (r.Selected != nil || r.Project != nil || r.Boundary != nil) && !r.inBounds(a) {
		return Decision{Reason: credential.OutsideResources}
	}
	return d
}

// decide is Decide without bounds.
func (r *Rights) decide(a *Access) Decision {
	if r.ACL != nil {
		return r.ACL.decide(a)
	}
	d := r.Principal.decide(a, r.Holder)
	if r.Credential == nil || !d.Allowed() {
		return d
	}
	return r.Credential.decide(a, r.Holder)
}

// Narrower returns the set that [Decision.Index] is a place in: the credential's
// or, if it names no scopes, the principal's. It is nil if an ACL decides.
func (r Rights) Narrower() *Set {
	switch {
	case r.ACL != nil:
		return nil
	case r.Credential != nil:
		return r.Credential
	}
	return r.Principal
}

// Scope returns the name of the scope that the rule at an [Decision.Index] is of; "" for -1.
// The rights must be those that decided.
func (r Rights) Scope(index int) string {
	s := r.Narrower()
	if index < 0 || index >= s.Len() {
		return ""
	}
	return s.rules[index].scope
}
