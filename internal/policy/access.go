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
	Reason credential.Reason // OK, NoRule or DeniedByRule
	Rule   *credential.Rule  // the rule that decided, a part of the set or ACL: do not write to it; nil for NoRule
}

// Allowed reports whether the access may go on.
func (d Decision) Allowed() bool { return d.Reason == credential.OK }

// Look is one rule that was looked at, for explain.
type Look struct {
	Side    string // "principal", "credential" or "acl"
	Scope   string // the scope that the rule is of, or its place in the ACL: "acl[2]"
	Rule    credential.Rule
	Matches bool
	// Why says what did not match: "action", "template" (a variable has no usable value), "resource", "networks",
	// "qos", "retain"; in an ACL also "username", "client_id", "zone", "listener". "" if all did.
	Why string
}

// Rights are what an identity may: what the principal's set allows and, if the
// credential names scopes, what the credential's set allows as well.
type Rights struct {
	Principal  *Set
	Credential *Set // nil: all of the principal's
	// Holder is whom the templates of both speak of. If it is nil they have no
	// values: allows with them match nothing, denies all that they could.
	Holder *Holder
	// ACL is what somebody else has said that the identity may. If there is one,
	// it alone decides over MQTT, and nothing else is allowed.
	ACL *ACL
}

// Decide asks both sides. It does not allocate, but for subscriptions and very long
// values where rules have templates.
func (r Rights) Decide(a *Access) Decision {
	if r.ACL != nil {
		return r.ACL.decide(a)
	}
	d := r.Principal.decide(a, r.Holder)
	if r.Credential == nil || !d.Allowed() {
		return d
	}
	return r.Credential.decide(a, r.Holder)
}
