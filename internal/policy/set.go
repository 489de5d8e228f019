package policy

import (
	"slices"

	"cardea/internal/credential"
)

// Set is compiled rules. It is immutable.
type Set struct {
	rules []matcher // all, in the order of the scopes
	// The same, sorted by what they are about, so that an access meets only
	// rules of its action. Rules for http:* are in every bucket of http.
	http      map[string]bucket
	httpOther bucket // methods that no rule names
	publish   bucket
	subscribe bucket
	call      bucket
	api       bucket // any action of the API
}

type bucket struct{ deny, allow []matcher }

func (b *bucket) add(m matcher) {
	if m.deny {
		b.deny = append(b.deny, m)
		return
	}
	b.allow = append(b.allow, m)
}

// Compile compiles the rules of scopes. Rules that [Check] would refuse are an
// error. It copies what it keeps.
func Compile(scopes []credential.Scope) (*Set, error) {
	var problems credential.Problems
	for i := range scopes {
		Check("scope "+scopes[i].Name+" rules", scopes[i].Rules, &problems)
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	var rules []matcher
	for i := range scopes {
		for j := range scopes[i].Rules {
			rules = append(rules, compile(scopes[i].Name, clone(&scopes[i].Rules[j])))
		}
	}
	return newSet(rules), nil
}

// newSet makes a set of rules. It keeps them.
func newSet(rules []matcher) *Set {
	s := &Set{rules: rules, http: map[string]bucket{}}
	for i := range rules {
		rules[i].place = int32(i) + 1
	}
	s.sort()
	return s
}

// Len is the number of rules in the set, those that deny included. A nil set has none.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return len(s.rules)
}

func clone(r *credential.Rule) *credential.Rule {
	c := *r
	c.QoS, c.Networks = slices.Clone(r.QoS), slices.Clone(r.Networks)
	if r.Retain != nil {
		retain := *r.Retain
		c.Retain = &retain
	}
	return &c
}

// sort fills the buckets.
func (s *Set) sort() {
	for _, m := range s.rules {
		if m.action.proto == HTTP && m.action.verb != anything {
			s.http[m.action.verb] = bucket{}
		}
	}
	for _, m := range s.rules {
		switch m.action.proto {
		case HTTP:
			s.addHTTP(m)
		case MQTT:
			if m.action.verb != "subscribe" {
				s.publish.add(m)
			}
			if m.action.verb != "publish" {
				s.subscribe.add(m)
			}
		case GRPC:
			s.call.add(m)
		case API:
			s.api.add(m)
		}
	}
}

func (s *Set) addHTTP(m matcher) {
	for verb, b := range s.http {
		if m.action.verb == anything || m.action.verb == verb {
			b.add(m)
			s.http[verb] = b
		}
	}
	if m.action.verb == anything {
		s.httpOther.add(m)
	}
}

// Decide says whether some allow matches and no deny does, for nobody in
// particular: templates have no values. It does not allocate. A nil set allows nothing.
func (s *Set) Decide(a *Access) Decision { return s.decide(a, nil) }

func (s *Set) decide(a *Access, h *Holder) Decision {
	op := a.op()
	if s == nil || !op.judges(a.Resource) {
		return Decision{Reason: credential.NoRule}
	}
	b := s.bucket(op, a)
	if m := find(b.deny, op, a, h); m != nil {
		return Decision{Reason: credential.DeniedByRule, Rule: m.rule}
	}
	if m := find(b.allow, op, a, h); m != nil {
		return Decision{Reason: credential.OK, place: m.place, Rule: m.rule}
	}
	return Decision{Reason: credential.NoRule}
}

func (s *Set) bucket(op op, a *Access) bucket {
	switch op {
	case opHTTP:
		if b, ok := s.http[a.Verb]; ok {
			return b
		}
		return s.httpOther
	case opPublish:
		return s.publish
	case opSubscribe, opDeliver:
		return s.subscribe
	case opCall:
		return s.call
	}
	return s.api
}

// find returns the first rule that matches an access.
func find(rules []matcher, op op, a *Access, h *Holder) *matcher {
	for i := range rules {
		m := &rules[i]
		if op == opAPI && !m.action.is(op, a) {
			continue
		}
		if m.matches(op, a, h) {
			return m
		}
	}
	return nil
}

// Explain returns every rule of both sides and what became of it, the
// principal's first, in the order of their scopes, and those of the bounds after them. Of an ACL the
// first that matches decides.
func (r Rights) Explain(a *Access) []Look {
	var looks []Look
	if r.ACL != nil {
		looks = r.ACL.explain(a)
	} else {
		looks = r.Principal.explain(looks, "principal", a, r.Holder)
		looks = r.Credential.explain(looks, "credential", a, r.Holder)
	}
	for _, b := range r.bounds() {
		looks = b.set.explain(looks, b.side, a, r.Holder)
	}
	return looks
}

func (s *Set) explain(looks []Look, side string, a *Access, h *Holder) []Look {
	if s == nil {
		return looks
	}
	op := a.op()
	for i := range s.rules {
		m := &s.rules[i]
		why := m.why(op, a, h)
		looks = append(looks, Look{Side: side, Scope: m.scope, Rule: *clone(m.rule), Matches: why == "", Why: why})
	}
	return looks
}
