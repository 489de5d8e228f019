package authority

import (
	"context"
	"fmt"
	"slices"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// NewOrg asks for an organisation.
type NewOrg struct {
	Name        string
	Description string
	Resources   []string // what all rules of it are held to; none: the topics NAME/# and the paths /NAME/**
	Owner       string   // name of its first user, who gets the role owner; "": nobody
}

// OrgPatch changes the fields that are not nil.
type OrgPatch struct {
	Description *string
	Resources   *[]string
	Disabled    *bool
	Version     int64
}

// Org is an organisation with what may surprise about the change that was made.
type Org struct {
	credential.Org
	Owner    *credential.Principal // that was made with it
	Warnings []string
}

// Orgs lists the organisations by name: all of them for callers of the one that runs the installation, their own for others.
func (a *Authority) Orgs(ctx context.Context, c Caller) ([]credential.Org, error) {
	object := "/orgs/" + c.Org
	if c.Org == credential.DefaultOrg {
		object = "/orgs/*"
	}
	if err := a.Authorize(c, "orgs:read", object); err != nil {
		return nil, err
	}
	all, err := a.store.Policy(ctx)
	if err != nil {
		return nil, err
	}
	seen := []credential.Org{}
	for _, o := range all.Orgs {
		if c.Org == credential.DefaultOrg || o.Name == c.Org {
			seen = append(seen, ownOrg(o))
		}
	}
	return seen, nil
}

// Org returns one.
func (a *Authority) Org(ctx context.Context, c Caller, name string) (credential.Org, error) {
	_, o, err := a.org(ctx, c, "read", name)
	return ownOrg(o), err
}

// ownOrg is one that shares nothing with the store.
func ownOrg(o credential.Org) credential.Org {
	o.Resources = slices.Clone(o.Resources)
	return o
}

// org finds an organisation that the caller may know of and asks for a right on it.
func (a *Authority) org(ctx context.Context, c Caller, verb, name string) (*credential.Policy, credential.Org, error) {
	hidden := notFound("organisation", name)
	all, err := a.store.Policy(ctx)
	if err != nil {
		return nil, credential.Org{}, err
	}
	o, there := all.Org(name)
	if !there || c.Org != credential.DefaultOrg && c.Org != name {
		return nil, credential.Org{}, hidden
	}
	return &all, o, a.permit(c, "orgs", verb, name, hidden)
}

// CreateOrg makes an organisation with its built-in scopes and roles, and its first owner if one is asked for. Only for callers of the
// organisation that runs the installation, who must have themself what the resources hold (J26). A name is given once:
// that of an organisation which was deleted would show its log to strangers. Errors: Invalid, Exists, NoRight.
func (a *Authority) CreateOrg(ctx context.Context, c Caller, n NewOrg) (Org, error) {
	if c.Org != credential.DefaultOrg {
		return Org{}, installationOnly("making organisations")
	}
	if err := a.Authorize(c, "orgs:create", "/orgs/"+n.Name); err != nil {
		return Org{}, err
	}
	return retry(0, func() (Org, error) { return a.createOrg(ctx, c, n) })
}

func (a *Authority) createOrg(ctx context.Context, c Caller, n NewOrg) (Org, error) {
	if err := n.check(); err != nil {
		return Org{}, err
	}
	all, err := a.store.Policy(ctx)
	if err != nil {
		return Org{}, err
	}
	if err := a.orgNameIsFree(ctx, &all, n.Name); err != nil {
		return Org{}, err
	}
	ch := a.begin(c)
	o := Org{Org: credential.Org{Name: n.Name, Description: n.Description, Resources: slices.Clone(n.Resources), CreatedAt: ch.at}}
	if len(o.Resources) == 0 {
		o.Resources = defaultResources(n.Name)
		o.Warnings = append(o.Warnings, "no resources were given: it is held to "+names(o.Resources))
	}
	if err := mayGrant(c, "the organisation", policy.Granting(o.Resources)); err != nil {
		return Org{}, err
	}
	o.Warnings = append(o.Warnings, shared(&all, &o.Org)...)
	d := details{"resources": listed(o.Resources)}
	d.put("description", o.Description)
	d.put("owner", n.Owner)
	ch.do(credential.PutOrg{Org: o.Org}, "org.create", aboutOrg(o.Name), d)
	furnish(ch, o.Name, &credential.Policy{})
	if n.Owner != "" {
		if o.Owner, err = firstOwner(ch, o.Name, n.Owner); err != nil {
			return Org{}, err
		}
	}
	if err := a.commit(ctx, ch); err != nil {
		return Org{}, err
	}
	o.Version = 1
	return o, nil
}

func (n *NewOrg) check() error {
	var p credential.Problems
	checkNewName(&p, "name", n.Name)
	checkText(&p, "description", n.Description, maxDescriptionLen)
	checkOwnResources(&p, "resources", n.Resources)
	if n.Owner != "" {
		checkNewName(&p, "owner", n.Owner)
	}
	return p.Err()
}

// checkOwnResources is for what an organisation or a project is held to: data. The API is confined by other means.
func checkOwnResources(p *credential.Problems, field string, resources []string) {
	policy.CheckResources(p, field, resources)
	for i, r := range resources {
		if isAPI(r) {
			p.Add(item(field, i), "is of the API, which is not held to resources here: give http:, mqtt: or grpc: ones")
		}
	}
	checkNoTokens(p, field, resources)
}

// orgNameIsFree returns Exists if there is, or ever was, an organisation of this name.
func (a *Authority) orgNameIsFree(ctx context.Context, all *credential.Policy, name string) error {
	if _, there := all.Org(name); there {
		return credential.Errorf(credential.Exists, "there is an organisation %s already", quote(name))
	}
	was, err := a.store.Events(ctx, credential.EventFilter{Org: name, Limit: 1})
	if err == nil && len(was) > 0 {
		return credential.Errorf(credential.Exists, "there was an organisation %s, whose audit log is kept: take another name", quote(name))
	}
	return err
}

// defaultResources are those of an organisation for which none are given: topics and paths of its own.
func defaultResources(org string) []string {
	return []string{"mqtt:" + org + "/#", "http:/" + org + "/**"}
}

// shared warns of what an organisation has in common with others that are held to resources.
func shared(all *credential.Policy, o *credential.Org) []string {
	var warnings []string
	for _, other := range all.Orgs {
		if other.Name == o.Name {
			continue
		}
		if own, theirs, touch := policy.Touching(o.Resources, other.Resources); touch {
			warnings = append(warnings, fmt.Sprintf("%s has something in common with %s of the organisation %s: both can read and write it", own, theirs, other.Name))
		}
	}
	return warnings
}

// firstOwner adds the user with the role owner to a change that makes an organisation.
func firstOwner(ch *change, org, name string) (*credential.Principal, error) {
	id, err := newPrincipalID()
	if err != nil {
		return nil, err
	}
	p := credential.Principal{
		ID: id, Org: org, Kind: credential.User, Name: name, Roles: []string{credential.RoleOwner}, CreatedAt: ch.at, Version: 1,
	}
	ch.in(org, credential.CreatePrincipal{Principal: p}, "principal.create", aboutPrincipal(&p),
		details{"kind": string(p.Kind), "roles": names(p.Roles)})
	return &p, nil
}

// UpdateOrg changes description, resources and whether it is disabled. Its own callers may narrow it; to widen or disable it is for those
// of the organisation that runs the installation. One that changes nothing leaves no event.
// Errors: Invalid, NotFound, Conflict if Version is given and old, NoRight, ReadOnly for what the organisation "default" cannot be.
func (a *Authority) UpdateOrg(ctx context.Context, c Caller, name string, patch OrgPatch) (Org, error) {
	return retry(patch.Version, func() (Org, error) {
		all, o, err := a.org(ctx, c, "update", name)
		if err != nil {
			return Org{}, err
		}
		return a.updateOrg(ctx, c, all, o, patch)
	})
}

func (a *Authority) updateOrg(ctx context.Context, c Caller, all *credential.Policy, old credential.Org, patch OrgPatch) (Org, error) {
	if err := checkVersion("organisation", patch.Version, old.Version); err != nil {
		return Org{}, err
	}
	if err := patch.check(old.Name); err != nil {
		return Org{}, err
	}
	now := patch.apply(old)
	if err := mayReshape(c, &old, &now); err != nil {
		return Org{}, err
	}
	d := details{}
	d.set("description", old.Description, now.Description)
	d.set("resources", listed(old.Resources), listed(now.Resources))
	d.set("disabled", yesNo(old.Disabled), yesNo(now.Disabled))
	if slices.Equal(old.Resources, now.Resources) && old.Description == now.Description && old.Disabled == now.Disabled {
		return Org{Org: ownOrg(old)}, nil
	}
	ch := a.begin(c)
	ch.do(credential.PutOrg{Org: now}, "org.update", aboutOrg(now.Name), d)
	if err := a.commit(ctx, ch); err != nil {
		return Org{}, err
	}
	now.Version++
	out := Org{Org: now}
	if patch.Resources != nil {
		out.Warnings = beyond(all, &now)
		if c.Org == credential.DefaultOrg { // others learn nothing of other organisations
			out.Warnings = append(out.Warnings, shared(all, &now)...)
		}
	}
	return out, nil
}

func (patch *OrgPatch) check(name string) error {
	var p credential.Problems
	if patch.Description != nil {
		checkText(&p, "description", *patch.Description, maxDescriptionLen)
	}
	if patch.Resources != nil {
		checkOwnResources(&p, "resources", *patch.Resources)
		if len(*patch.Resources) == 0 && name != credential.DefaultOrg {
			p.Add("resources", "is empty: only the organisation %s is not held to any", credential.DefaultOrg)
		}
	}
	if err := p.Err(); err != nil || name != credential.DefaultOrg {
		return err
	}
	if patch.Resources != nil && len(*patch.Resources) > 0 || patch.Disabled != nil && *patch.Disabled {
		return credential.Errorf(credential.ReadOnly, "the organisation %s runs the installation: it cannot be disabled, and is not held to resources", name)
	}
	return nil
}

func (patch *OrgPatch) apply(o credential.Org) credential.Org {
	if patch.Description != nil {
		o.Description = *patch.Description
	}
	if patch.Resources != nil {
		o.Resources = slices.Clone(*patch.Resources)
	}
	if patch.Disabled != nil {
		o.Disabled = *patch.Disabled
	}
	return o
}

// mayReshape refuses unless c may do that to an organisation.
func mayReshape(c Caller, old, now *credential.Org) error {
	if c.Org != credential.DefaultOrg && old.Disabled != now.Disabled {
		return installationOnly("disabling or enabling an organisation")
	}
	more := policy.Outside(now.Resources, old.Resources, false)
	if len(more) == 0 {
		return nil
	}
	wider := make([]string, len(more))
	for i, at := range more {
		wider[i] = now.Resources[at]
	}
	if c.Org != credential.DefaultOrg {
		return installationOnly("widening an organisation, by " + listed(wider) + ",")
	}
	return mayGrant(c, "the organisation", policy.Granting(wider))
}

// beyond warns of what an organisation has that reaches beyond its resources: it stays, and is cut down to what lies within.
func beyond(all *credential.Policy, o *credential.Org) []string {
	var warnings []string
	for _, p := range all.Projects {
		if p.Org == o.Name && len(policy.Outside(p.Resources, o.Resources, false)) > 0 {
			warnings = append(warnings, fmt.Sprintf("the project %s reaches beyond it", p.Name))
		}
	}
	for _, s := range all.Scopes {
		if s.Org == o.Name && !s.BuiltIn && len(policy.Apart(s.Rules, o.Resources)) > 0 {
			warnings = append(warnings, fmt.Sprintf("the scope %s has rules that allow nothing any more", s.Name))
		}
	}
	return warnings
}

// DeleteOrg removes an organisation of which no principal lives, with all that it has. What is past stays in the audit log.
// Only for callers of the organisation that runs the installation. Errors: NotFound, Conflict, ReadOnly, NoRight.
func (a *Authority) DeleteOrg(ctx context.Context, c Caller, name string) error {
	_, err := retry(0, func() (none, error) {
		all, o, err := a.org(ctx, c, "delete", name)
		switch {
		case err != nil:
			return none{}, err
		case c.Org != credential.DefaultOrg:
			return none{}, installationOnly("deleting organisations")
		case name == credential.DefaultOrg:
			return none{}, credential.Errorf(credential.ReadOnly, "the organisation %s runs the installation and cannot be deleted", name)
		}
		return none{}, a.deleteOrg(ctx, c, all, o)
	})
	return err
}

func (a *Authority) deleteOrg(ctx context.Context, c Caller, all *credential.Policy, o credential.Org) error {
	page, _, err := a.store.Principals(ctx, credential.PrincipalFilter{Org: o.Name, Limit: fewUsers + 1})
	if err != nil {
		return err
	}
	if len(page) > 0 {
		living := make([]string, len(page))
		for i, p := range page {
			living[i] = string(p.Kind) + " " + p.Name
		}
		return inUse("organisation", o.Name, living)
	}
	hooks, err := a.store.Webhooks(ctx, o.Name)
	if err != nil {
		return err
	}
	ch := a.begin(c)
	ch.do(credential.DeleteOrg{Name: o.Name, Version: o.Version}, "org.delete", aboutOrg(o.Name), details{"resources": listed(o.Resources)})
	goes := func(noun, id string) {
		ch.in(o.Name, nil, noun+".delete", credential.Subject{Kind: noun, ID: id}, details{"org": "deleted"})
	}
	for _, s := range all.Scopes {
		if s.Org == o.Name {
			goes("scope", s.Name)
		}
	}
	for _, r := range all.Roles {
		if r.Org == o.Name {
			goes("role", r.Name)
		}
	}
	for _, p := range all.Projects {
		if p.Org == o.Name {
			goes("project", p.Name)
		}
	}
	for _, k := range all.Kinds {
		if k.Org == o.Name {
			goes("policy", string(k.Kind))
		}
	}
	for _, f := range all.Formats {
		if f.Org == o.Name {
			goes("format", f.Name)
		}
	}
	for _, w := range hooks {
		goes("webhook", w.ID)
	}
	return a.commit(ctx, ch)
}

func aboutOrg(name string) credential.Subject { return credential.Subject{Kind: "org", ID: name} }
