package authority

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"cardea/internal/credential"
)

// Roles lists all roles by name.
func (a *Authority) Roles(ctx context.Context, c Caller) ([]credential.Role, error) {
	if err := a.Authorize(c, "roles:read", "/roles/*"); err != nil {
		return nil, err
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return nil, err
	}
	all := slices.SortedFunc(maps.Values(b.roles), func(x, y credential.Role) int { return cmp.Compare(x.Name, y.Name) })
	for i := range all {
		all[i] = all[i].Clone() // the store shares what it answers
	}
	return all, nil
}

// Role returns one.
func (a *Authority) Role(ctx context.Context, c Caller, name string) (credential.Role, error) {
	_, r, err := a.role(ctx, c, "read", name)
	return r.Clone(), err
}

// role finds one and asks for a right on it.
func (a *Authority) role(ctx context.Context, c Caller, verb, name string) (*book, credential.Role, error) {
	hidden := notFound("role", name)
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return nil, credential.Role{}, err
	}
	r, there := b.roles[name]
	if !there {
		return nil, credential.Role{}, hidden
	}
	if err := a.permit(c, "roles", verb, name, hidden); err != nil {
		return nil, credential.Role{}, err
	}
	return b, r, nil
}

// PutRole creates (Version 0; Exists if it is there) or updates (Version as read). The caller must have
// itself what the role newly allows (J26). Names that begin with "only:" are for keys with scopes.
func (a *Authority) PutRole(ctx context.Context, c Caller, r credential.Role) (credential.Role, error) {
	r.Org, r.BuiltIn = c.Org, false
	return retry(r.Version, func() (credential.Role, error) {
		if r.Version == 0 {
			return a.createRole(ctx, c, r)
		}
		return a.updateRole(ctx, c, r)
	})
}

func (a *Authority) createRole(ctx context.Context, c Caller, r credential.Role) (credential.Role, error) {
	if err := a.Authorize(c, "roles:create", "/roles/"+r.Name); err != nil {
		return r, err
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return r, err
	}
	if err := checkRole(&r, b); err != nil {
		return r, err
	}
	if b.hasRole(r.Name) {
		return r, credential.Errorf(credential.Exists, "there is a role %s already", quote(r.Name))
	}
	d := details{}
	d.put("description", r.Description)
	d.put("scopes", names(r.Scopes))
	return a.putRole(ctx, c, r, "role.create", granted(nil, b.ofScopes(r.Scopes)), d)
}

func (a *Authority) updateRole(ctx context.Context, c Caller, r credential.Role) (credential.Role, error) {
	b, old, err := a.role(ctx, c, "update", r.Name)
	if err != nil {
		return r, err
	}
	switch {
	case old.BuiltIn:
		return r, builtIn("role", r.Name)
	case strings.HasPrefix(r.Name, onlyPrefix):
		return r, credential.Errorf(credential.ReadOnly, "the role %s is that of keys with exactly these scopes and cannot be changed: give the devices another role", r.Name)
	}
	if err := checkVersion("role", r.Version, old.Version); err != nil {
		return r, err
	}
	if err := checkRole(&r, b); err != nil {
		return r, err
	}
	d := details{}
	d.set("description", old.Description, r.Description)
	d.set("scopes", names(old.Scopes), names(r.Scopes))
	if len(d) == 0 {
		return old, nil
	}
	return a.putRole(ctx, c, r, "role.update", granted(b.ofScopes(old.Scopes), b.ofScopes(r.Scopes)), d)
}

func (a *Authority) putRole(ctx context.Context, c Caller, r credential.Role, typ string, gain []credential.Rule, d details) (credential.Role, error) {
	if err := mayGrant(c, "the role", gain); err != nil {
		return r, err
	}
	ch := a.begin(c)
	ch.do(credential.PutRole{Role: r}, typ, aboutRole(r.Name), d)
	if err := a.commit(ctx, ch); err != nil {
		return r, err
	}
	r.Version++
	return r, nil
}

func checkRole(r *credential.Role, b *book) error {
	var p credential.Problems
	checkPolicyName(&p, r.Name)
	if strings.HasPrefix(r.Name, onlyPrefix) {
		p.Add("name", "begins with %q, which is for keys that are made with scopes", onlyPrefix)
	}
	checkText(&p, "description", r.Description, maxDescriptionLen)
	checkPolicyNames(&p, "scopes", r.Scopes, maxScopes, b.hasScope)
	return p.Err()
}

// DeleteRole removes a role. Conflict while a principal has it; the text names some.
func (a *Authority) DeleteRole(ctx context.Context, c Caller, name string) error {
	_, err := retry(0, func() (none, error) {
		_, r, err := a.role(ctx, c, "delete", name)
		if err != nil {
			return none{}, err
		}
		if r.BuiltIn {
			return none{}, builtIn("role", name)
		}
		page, _, err := a.store.Principals(ctx, credential.PrincipalFilter{Org: c.Org, Role: name, Limit: fewUsers + 1})
		if err != nil {
			return none{}, err
		}
		if len(page) > 0 {
			var users []string
			for _, p := range page {
				users = append(users, string(p.Kind)+" "+p.Name)
			}
			return none{}, inUse("role", name, users)
		}
		ch := a.begin(c)
		op := credential.DeleteRole{Org: c.Org, Name: name, Version: r.Version}
		ch.do(op, "role.delete", aboutRole(name), details{"scopes": names(r.Scopes)})
		return none{}, a.commit(ctx, ch)
	})
	return err
}

func aboutRole(name string) credential.Subject { return credential.Subject{Kind: "role", ID: name} }
