package authority

import (
	"context"
	"slices"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// book is what one organisation demands and allows, as of one moment: its scopes and roles, its bounds, its
// projects and the policies of its kinds. It is of one act, and not safe for concurrent use.
type book struct {
	scopes   map[string]credential.Scope
	roles    map[string]credential.Role
	org      credential.Org
	projects map[string]credential.Project
	policies map[credential.Kind]*kindRules // those that were asked for
	all      *credential.Policy
	issuer   string                   // of Cardea's own access tokens; "" if there are none
	keySets  credential.KeySets       // nil: no keys are fetched
	may      map[string]policy.Rights // by roles; see [book.rightsOf]
}

func (a *Authority) book(ctx context.Context, org string) (*book, error) {
	all, err := a.store.Policy(ctx)
	if err != nil {
		return nil, err
	}
	b := &book{
		scopes: map[string]credential.Scope{}, roles: map[string]credential.Role{}, projects: map[string]credential.Project{},
		policies: map[credential.Kind]*kindRules{}, all: &all, may: map[string]policy.Rights{},
		issuer: a.issuer, keySets: a.keySets,
	}
	if b.org, _ = all.Org(org); b.org.Name == "" {
		b.org.Name = org
	}
	for _, s := range all.Scopes {
		if s.Org == org {
			b.scopes[s.Name] = s
		}
	}
	for _, r := range all.Roles {
		if r.Org == org {
			b.roles[r.Name] = r
		}
	}
	for _, p := range all.Projects {
		if p.Org == org {
			b.projects[p.Name] = p
		}
	}
	return b, nil
}

func (b *book) hasScope(name string) bool { _, ok := b.scopes[name]; return ok }
func (b *book) hasRole(name string) bool  { _, ok := b.roles[name]; return ok }

// checkReach refuses new rules that lie wholly outside of what the organisation is held to: they could never allow anything.
func (b *book) checkReach(p *credential.Problems, field string, rules, old []credential.Rule) {
	had := ruleSet(old)
	for _, i := range policy.Apart(rules, b.org.Resources) {
		if !had[ruleKey(rules[i])] {
			p.Add(item(field, i), "can never allow anything: the organisation %s is held to %s", b.org.Name, listed(b.org.Resources))
		}
	}
}

// ofScopes returns the rules of scopes.
func (b *book) ofScopes(scopes []string) []credential.Rule {
	var rules []credential.Rule
	for _, name := range scopes {
		rules = append(rules, b.scopes[name].Rules...)
	}
	return rules
}

// ofRoles returns the rules of all scopes of roles.
func (b *book) ofRoles(roles []string) []credential.Rule {
	var rules []credential.Rule
	for _, name := range roles {
		rules = append(rules, b.ofScopes(b.roles[name].Scopes)...)
	}
	return rules
}

// rightsOf is what a principal with these roles may.
func (b *book) rightsOf(roles []string) (policy.Rights, error) {
	key := strings.Join(roles, " ")
	if r, known := b.may[key]; known {
		return r, nil
	}
	var scopes []credential.Scope
	for _, role := range roles {
		for _, name := range b.roles[role].Scopes {
			scopes = append(scopes, b.scopes[name])
		}
	}
	set, err := policy.Compile(scopes)
	if err != nil {
		return policy.Rights{}, &credential.Error{Kind: credential.Internal, Err: err}
	}
	b.may[key] = policy.Rights{Principal: set}
	return b.may[key], nil
}

// speaksOf reports whether some rule has a variable for an attribute that is not the same in both.
// Who has such a rule has other rights with another value.
func (b *book) speaksOf(old, now map[string]string) bool {
	for _, attrs := range []map[string]string{old, now} {
		for name := range attrs {
			if old[name] != now[name] && b.hasVariable(name) {
				return true
			}
		}
	}
	return false
}

func (b *book) hasVariable(attr string) bool {
	for _, s := range b.scopes {
		if slices.ContainsFunc(s.Rules, func(r credential.Rule) bool { return policy.Speaks(&r, attr) }) {
			return true
		}
	}
	return false
}

// mayIssue refuses unless c may itself all that a credential of a principal
// with these roles may that names these scopes. It may what both sides
// allow, so it is enough to have one of them.
func (b *book) mayIssue(c Caller, roles, scopes []string) error {
	if c.free { // it is for themself, who may the same by what they came with
		return nil
	}
	err := mayGrant(c, "the credential", granted(nil, b.ofRoles(roles)))
	if err == nil || len(scopes) == 0 {
		return err
	}
	return mayGrant(c, "the credential", granted(nil, b.ofScopes(scopes)))
}

// mayRescope refuses unless c may itself what a credential gains by other scopes.
func (b *book) mayRescope(c Caller, roles, old, now []string) error {
	switch {
	case len(old) == 0: // it had all of the principal's
		return nil
	case len(now) == 0:
		return mayGrant(c, "the credential", granted(nil, b.ofRoles(roles)))
	}
	err := mayGrant(c, "the credential", granted(b.ofScopes(old), b.ofScopes(now)))
	if err == nil {
		return nil
	}
	if mayGrant(c, "the credential", granted(nil, b.ofRoles(roles))) == nil {
		return nil
	}
	return err
}
