package authority

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// Authorize refuses with NoRight unless c may do verb on the object, as in "credentials:create", "/credentials/pump-1".
func (a *Authority) Authorize(c Caller, verb, object string) error {
	if c.Org != credential.DefaultOrg && ofInstallation(verb) {
		return installationOnly(verb)
	}
	if err := passing(c, verb, object); err != nil {
		return err
	}
	if c.Local || c.own && object == "/credentials/"+c.Actor.Principal && strings.HasPrefix(verb, "credentials:") {
		return nil
	}
	ask := policy.Access{Proto: policy.API, Verb: verb, Resource: object, Source: sourceOf(c.Actor)}
	if d := c.Rights.Decide(&ask); d.Allowed() {
		if c.Exercised != nil {
			c.Exercised(c.Rights.Scope(d.Index()))
		}
		return nil
	}
	return credential.Errorf(credential.NoRight, "the right %s on %s is missing", verb, printable(object))
}

// ofInstallation reports whether a right is not about what an organisation has, but about what it runs on: the keys of access tokens, routes, chains of
// authenticators, the clusters that ask, the whole of the audit log. Those belong to the organisation that is there from the start (W07).
func ofInstallation(verb string) bool {
	noun, _, _ := strings.Cut(verb, ":")
	return noun == "signingkeys" || noun == "routes" || noun == "authenticators" || noun == "backend" || verb == "events:verify"
}

// installationOnly is the refusal of what belongs to the installation. It holds for the local administrator who acts in an
// organisation too.
func installationOnly(what string) error {
	return credential.Errorf(credential.NoRight,
		"%s is of the installation, which is run by the organisation %s: no other has it", what, credential.DefaultOrg)
}

// onlyInstallation refuses everybody but the local administrator in the organisation that runs the installation.
func onlyInstallation(c Caller, what string) error {
	if err := onlyLocal(c, what); err != nil || c.Org == credential.DefaultOrg {
		return err
	}
	return installationOnly(what)
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

// LocalCaller is the local administrator, who acts in any organisation; "" is the one that runs the installation. NotFound, Down.
func (a *Authority) LocalCaller(ctx context.Context, org string, actor credential.Actor) (Caller, error) {
	c := Caller{Org: credential.DefaultOrg, Rights: RightsOfLocal(), Local: true, Actor: actor}
	if org == "" || org == c.Org {
		return c, nil // which is there, and needs no database to be
	}
	all, err := a.store.Policy(ctx)
	if err != nil {
		return Caller{}, err
	}
	if _, there := all.Org(org); !there {
		return Caller{}, notFound("organisation", org)
	}
	c.Org = org
	return c, nil
}

// RightsOfLocal is what the local administrator may: everything.
func RightsOfLocal() policy.Rights {
	set, err := policy.Compile([]credential.Scope{adminScope(credential.DefaultOrg)})
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
	rights := c.Rights
	rights.Boundary = nil // what is granted stays in the organisation, and is held to the same
	over := rights.Covers(rules)
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
