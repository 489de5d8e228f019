package policy

import (
	"net/netip"
	"regexp"

	"cardea/internal/credential"
)

// ACL is a list of rules of which the first that matches decides, as a REST
// service gives it for one login. It is immutable. See the package comment.
type ACL struct {
	count     int // of the rules as they came
	rules     []aclRule
	publish   []*aclRule // those that can be about publishing
	subscribe []*aclRule // those that can be about subscriptions and deliveries
}

// ACLContext is what is known of who logs in, for placeholders and conditions.
// The client id is that of each [Access].
type ACLContext struct {
	Username, Zone, Listener, CertCommonName string
	Attrs                                    map[string]string // client_attrs
	Source                                   netip.Addr        // invalid if unknown: then no allow with an ipaddr matches, and each such deny does
}

// aclRule is one topic of one rule.
type aclRule struct {
	matcher
	client *regexp.Regexp // what the client id must match; nil for any
	off    string         // the condition that does not hold for this login; "" if all do
}

// Len is the number of rules in the list.
func (l *ACL) Len() int { return l.count }

// sort fills the lists that decisions are taken from.
func (l *ACL) sort() {
	for i := range l.rules {
		r := &l.rules[i]
		if r.off != "" {
			continue
		}
		if r.action.verb != "subscribe" {
			l.publish = append(l.publish, r)
		}
		if r.action.verb != "publish" {
			l.subscribe = append(l.subscribe, r)
		}
	}
}

// decide is [Rights.Decide] by the ACL alone.
func (l *ACL) decide(a *Access) Decision {
	op, rules := a.op(), l.subscribe
	if a.Proto != MQTT || !op.judges(a.Resource) {
		return Decision{Reason: credential.NoRule}
	}
	if op == opPublish {
		rules = l.publish
	}
	for _, r := range rules {
		if !r.isFor(a.ClientID) || !r.matches(op, a, nil) {
			continue
		}
		if r.deny {
			return Decision{Reason: credential.DeniedByRule, Rule: r.rule}
		}
		return Decision{Reason: credential.OK, Rule: r.rule}
	}
	return Decision{Reason: credential.NoRule}
}

func (r *aclRule) isFor(clientID string) bool {
	return r.client == nil || r.client.MatchString(clientID)
}

// explain is [Rights.Explain] of the ACL.
func (l *ACL) explain(a *Access) []Look {
	var looks []Look
	op := a.op()
	for i := range l.rules {
		r := &l.rules[i]
		why := r.off
		if why == "" && !r.isFor(a.ClientID) {
			why = "client_id"
		}
		if why == "" {
			why = r.why(op, a, nil)
		}
		looks = append(looks, Look{Side: "acl", Scope: r.scope, Rule: *clone(r.rule), Matches: why == "", Why: why})
	}
	return looks
}
