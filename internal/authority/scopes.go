package authority

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cardea/internal/audit"
	"cardea/internal/credential"
	"cardea/internal/policy"
)

// Scopes lists all scopes by name.
func (a *Authority) Scopes(ctx context.Context, c Caller) ([]credential.Scope, error) {
	if err := a.Authorize(c, "scopes:read", "/scopes/*"); err != nil {
		return nil, err
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return nil, err
	}
	all := slices.SortedFunc(maps.Values(b.scopes), func(x, y credential.Scope) int { return cmp.Compare(x.Name, y.Name) })
	for i := range all {
		all[i] = all[i].Clone() // the store shares what it answers
	}
	return all, nil
}

// Scope returns one.
func (a *Authority) Scope(ctx context.Context, c Caller, name string) (credential.Scope, error) {
	_, s, err := a.scope(ctx, c, "read", name)
	return s.Clone(), err
}

// scope finds one and asks for a right on it.
func (a *Authority) scope(ctx context.Context, c Caller, verb, name string) (*book, credential.Scope, error) {
	hidden := notFound("scope", name)
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return nil, credential.Scope{}, err
	}
	s, there := b.scopes[name]
	if !there {
		return nil, credential.Scope{}, hidden
	}
	if err := a.permit(c, "scopes", verb, name, hidden); err != nil {
		return nil, credential.Scope{}, err
	}
	return b, s, nil
}

// PutScope creates (Version 0; Exists if it is there) or updates (Version as read). The caller must have
// itself what the scope newly allows (J26). Errors: Invalid, Exists, NotFound, Conflict, ReadOnly, NoRight.
func (a *Authority) PutScope(ctx context.Context, c Caller, s credential.Scope) (credential.Scope, error) {
	s.Org, s.BuiltIn = c.Org, false
	return retry(s.Version, func() (credential.Scope, error) {
		if s.Version == 0 {
			return a.createScope(ctx, c, s)
		}
		return a.updateScope(ctx, c, s)
	})
}

func (a *Authority) createScope(ctx context.Context, c Caller, s credential.Scope) (credential.Scope, error) {
	if err := a.Authorize(c, "scopes:create", "/scopes/"+s.Name); err != nil {
		return s, err
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return s, err
	}
	if err := checkScope(&s, nil, b); err != nil {
		return s, err
	}
	if b.hasScope(s.Name) {
		return s, credential.Errorf(credential.Exists, "there is a scope %s already", quote(s.Name))
	}
	d := details{"rules": rulesText(s.Rules)}
	d.put("description", s.Description)
	return a.putScope(ctx, c, s, "scope.create", granted(nil, s.Rules), d)
}

func (a *Authority) updateScope(ctx context.Context, c Caller, s credential.Scope) (credential.Scope, error) {
	b, old, err := a.scope(ctx, c, "update", s.Name)
	if err != nil {
		return s, err
	}
	if old.BuiltIn {
		return s, builtIn("scope", s.Name)
	}
	if err := checkVersion("scope", s.Version, old.Version); err != nil {
		return s, err
	}
	if err := checkScope(&s, old.Rules, b); err != nil {
		return s, err
	}
	d := details{}
	d.set("description", old.Description, s.Description)
	d.set("rules", rulesText(old.Rules), rulesText(s.Rules))
	if len(d) == 0 {
		return old, nil
	}
	return a.putScope(ctx, c, s, "scope.update", granted(old.Rules, s.Rules), d)
}

func (a *Authority) putScope(ctx context.Context, c Caller, s credential.Scope, typ string, gain []credential.Rule, d details) (credential.Scope, error) {
	if err := mayGrant(c, "the scope", gain); err != nil {
		return s, err
	}
	ch := a.begin(c)
	ch.do(credential.PutScope{Scope: s}, typ, aboutScope(s.Name), d)
	if err := a.commit(ctx, ch); err != nil {
		return s, err
	}
	s.Version++
	return s, nil
}

// checkScope checks a scope that has, or had, these rules before.
func checkScope(s *credential.Scope, old []credential.Rule, b *book) error {
	var p credential.Problems
	checkPolicyName(&p, s.Name)
	checkText(&p, "description", s.Description, maxDescriptionLen)
	switch {
	case len(s.Rules) == 0:
		p.Add("rules", "is empty: a scope needs at least one rule")
	case len(s.Rules) > maxRules:
		p.Add("rules", "has more than %d entries", maxRules)
	default:
		policy.Check("rules", s.Rules, &p)
		b.checkReach(&p, "rules", s.Rules, old)
		for i, r := range s.Rules {
			for _, part := range [...][2]string{{"action", r.Action}, {"resource", r.Resource}} {
				if audit.LooksSecret(part[1]) {
					p.Add(item("rules", i)+"."+part[0], "contains a token: no secret belongs here")
				}
			}
		}
		if n := len(rulesText(s.Rules)); n > maxRulesText {
			p.Add("rules", "have %d bytes together: at most %d are possible; make several scopes of them", n, maxRulesText)
		}
	}
	return p.Err()
}

// checkPolicyName is for the name of a new scope or role.
func checkPolicyName(p *credential.Problems, name string) {
	if why := credential.CheckPolicyName(name); why != "" {
		p.Add("name", "%s", why)
	} else if audit.LooksSecret(name) {
		p.Add("name", "looks like a token")
	}
}

// DeleteScope removes a scope. Conflict while a role or a credential names it; the text names some.
func (a *Authority) DeleteScope(ctx context.Context, c Caller, name string) error {
	_, err := retry(0, func() (none, error) {
		b, s, err := a.scope(ctx, c, "delete", name)
		if err != nil {
			return none{}, err
		}
		if s.BuiltIn {
			return none{}, builtIn("scope", name)
		}
		users, err := a.usersOfScope(ctx, c, b, name)
		if err != nil {
			return none{}, err
		}
		if len(users) > 0 {
			return none{}, inUse("scope", name, users)
		}
		ch := a.begin(c)
		op := credential.DeleteScope{Org: c.Org, Name: name, Version: s.Version}
		ch.do(op, "scope.delete", aboutScope(name), details{"rules": rulesText(s.Rules)})
		return none{}, a.commit(ctx, ch)
	})
	return err
}

// fewUsers is how many users of a thing an error names.
const fewUsers = 3

func (a *Authority) usersOfScope(ctx context.Context, c Caller, b *book, name string) ([]string, error) {
	var users []string
	for _, role := range slices.Sorted(maps.Keys(b.roles)) {
		if slices.Contains(b.roles[role].Scopes, name) {
			users = append(users, "role "+role)
		}
	}
	for _, x := range b.apis() {
		if slices.Contains(x.Scopes, name) {
			users = append(users, "API "+x.Name)
		}
	}
	all, err := a.chains(ctx, c.Org)
	if err != nil {
		return nil, err
	}
	for _, x := range all {
		if slices.Contains(x.Scopes, name) {
			users = append(users, fmt.Sprintf("authenticator %s of %s", x.ID, x.Listener))
		}
	}
	for _, status := range []string{"active", "quarantined", "expired"} {
		f := credential.CredentialFilter{Org: c.Org, Scope: name, Status: status, Now: a.now(), Limit: fewUsers + 1}
		page, _, err := a.store.Credentials(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, l := range page {
			users = append(users, fmt.Sprintf("credential %s of %s", l.ID, l.PrincipalName))
		}
	}
	return users, nil
}

func inUse(what, name string, users []string) error {
	more := ""
	if len(users) > fewUsers {
		users, more = users[:fewUsers], " and others"
	}
	return credential.Errorf(credential.Conflict, "the %s %s is in use by %s%s: take it from them first", what, name, strings.Join(users, ", "), more)
}

func builtIn(what, name string) error {
	return credential.Errorf(credential.ReadOnly, "the %s %s is built in and cannot be changed", what, name)
}

func aboutScope(name string) credential.Subject { return credential.Subject{Kind: "scope", ID: name} }

func rulesText(rules []credential.Rule) string {
	b, err := json.Marshal(rules)
	if err != nil {
		return fmt.Sprint(len(rules), " rules")
	}
	return string(b)
}
