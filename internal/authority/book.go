package authority

import (
	"context"
	"slices"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// book is the scopes and roles of one organisation, as of one moment.
type book struct {
	scopes map[string]credential.Scope
	roles  map[string]credential.Role
}

func (a *Authority) book(ctx context.Context, org string) (*book, error) {
	all, err := a.store.Policy(ctx)
	if err != nil {
		return nil, err
	}
	b := &book{scopes: map[string]credential.Scope{}, roles: map[string]credential.Role{}}
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
	return b, nil
}

func (b *book) hasScope(name string) bool { _, ok := b.scopes[name]; return ok }
func (b *book) hasRole(name string) bool  { _, ok := b.roles[name]; return ok }

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
