package authority

import (
	"encoding/json"
	"net/netip"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// Authorize refuses with NoRight unless c may do verb on the object, as in "credentials:create", "/credentials/pump-1".
func (a *Authority) Authorize(c Caller, verb, object string) error {
	if c.Local {
		return nil
	}
	ask := policy.Access{Proto: policy.API, Verb: verb, Resource: object, Source: sourceOf(c.Actor)}
	if c.Rights.Decide(&ask).Allowed() {
		return nil
	}
	return credential.Errorf(credential.NoRight, "the right %s on %s is missing", verb, printable(object))
}

// permit is [Authority.Authorize] for a thing that exists: who may not even read it gets hidden, the
// same error as if it did not exist.
func (a *Authority) permit(c Caller, noun, verb, name string, hidden error) error {
	object := "/" + noun + "/" + name
	err := a.Authorize(c, noun+":"+verb, object)
	if err == nil {
		return nil
	}
	if verb != "read" && a.Authorize(c, noun+":read", object) == nil {
		return err
	}
	return hidden
}

// onlyLocal refuses everybody but the local administrator.
func onlyLocal(c Caller, what string) error {
	if c.Local {
		return nil
	}
	return credential.Errorf(credential.NoRight, "%s is for the local administrator only: use the command line on the server", what)
}

// RightsOfLocal is what the local administrator may: everything.
func RightsOfLocal() policy.Rights {
	set, err := policy.Compile([]credential.Scope{adminScope()})
	if err != nil {
		// The rules are constants of this package; a test compiles them.
		panic("authority: the built-in scope admin:all does not compile: " + err.Error())
	}
	return policy.Rights{Principal: set}
}

// sourceOf reads the address of an actor; invalid for the socket.
func sourceOf(actor credential.Actor) netip.Addr {
	if ap, err := netip.ParseAddrPort(actor.Source); err == nil {
		return ap.Addr().Unmap()
	}
	addr, err := netip.ParseAddr(actor.Source)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap()
}

// mayGrant refuses with NoRight unless c may all that the rules allow. what
// names the thing that would give it away.
func mayGrant(c Caller, what string, rules []credential.Rule) error {
	if c.Local || len(rules) == 0 {
		return nil
	}
	over := c.Rights.Covers(rules)
	if len(over) == 0 {
		return nil
	}
	r := rules[over[0]]
	return credential.Errorf(credential.NoRight,
		"%s would allow %s on %s, which the caller may not itself: nobody grants what they do not have", what, r.Action, r.Resource)
}

// granted returns rules that hold all that becomes allowed when old rules are replaced by others: what allows and was not
// there, and, turned into an allow, what denied and is gone. The denies that stay or come are
// among them too: who is given the one gets the other.
func granted(old, now []credential.Rule) []credential.Rule {
	var more []credential.Rule
	had, has := ruleSet(old), ruleSet(now)
	for _, r := range now {
		if r.Permission == credential.Deny || !had[ruleKey(r)] {
			more = append(more, r)
		}
	}
	for _, r := range old {
		if r.Permission == credential.Deny && !has[ruleKey(r)] {
			more = append(more, policy.Undone(r))
		}
	}
	return more
}

func ruleSet(rules []credential.Rule) map[string]bool {
	set := make(map[string]bool, len(rules))
	for _, r := range rules {
		set[ruleKey(r)] = true
	}
	return set
}

// ruleKey is the same for rules that say the same in the same words.
func ruleKey(r credential.Rule) string {
	b, err := json.Marshal(r)
	if err != nil { // only for a prefix that is not valid, which no check lets through
		return strings.Join([]string{string(r.Permission), r.Action, r.Resource, err.Error()}, "\x00")
	}
	return string(b)
}
