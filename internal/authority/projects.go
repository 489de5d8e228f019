package authority

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"cardea/internal/audit"
	"cardea/internal/credential"
	"cardea/internal/policy"
)

// Project is one with what may surprise about the change that was made.
type Project struct {
	credential.Project
	Warnings []string
}

// Projects lists the defined projects of the organisation by name.
func (a *Authority) Projects(ctx context.Context, c Caller) ([]credential.Project, error) {
	if err := a.Authorize(c, "projects:read", "/projects/*"); err != nil {
		return nil, err
	}
	all, err := a.store.Policy(ctx)
	if err != nil {
		return nil, err
	}
	own := []credential.Project{}
	for _, p := range all.Projects {
		if p.Org == c.Org {
			own = append(own, ownProject(p))
		}
	}
	slices.SortFunc(own, func(x, y credential.Project) int { return cmp.Compare(x.Name, y.Name) })
	return own, nil
}

// Project returns one.
func (a *Authority) Project(ctx context.Context, c Caller, name string) (credential.Project, error) {
	p, err := a.project(ctx, c, "read", name)
	return ownProject(p), err
}

// ownProject is one that shares nothing with the store.
func ownProject(p credential.Project) credential.Project {
	p.Resources = slices.Clone(p.Resources)
	return p
}

// project finds one and asks for a right on it.
func (a *Authority) project(ctx context.Context, c Caller, verb, name string) (credential.Project, error) {
	hidden := notFound("project", name)
	all, err := a.store.Policy(ctx)
	if err != nil {
		return credential.Project{}, err
	}
	at := slices.IndexFunc(all.Projects, func(p credential.Project) bool { return p.Org == c.Org && p.Name == name })
	if at < 0 {
		return credential.Project{}, hidden
	}
	if err := a.permit(c, "projects", verb, name, hidden); err != nil {
		return credential.Project{}, err
	}
	return all.Projects[at], nil
}

// PutProject creates (Version 0; Exists if it is there) or updates (Version as read). Its credentials are held to its resources from
// now on; what they gain by other resources the caller must have itself (J26). Errors: Invalid, Exists, NotFound, Conflict, NoRight.
func (a *Authority) PutProject(ctx context.Context, c Caller, p credential.Project) (Project, error) {
	p.Org = c.Org
	return retry(p.Version, func() (Project, error) {
		if p.Version == 0 {
			return a.createProject(ctx, c, p)
		}
		return a.updateProject(ctx, c, p)
	})
}

func (a *Authority) createProject(ctx context.Context, c Caller, p credential.Project) (Project, error) {
	if err := a.Authorize(c, "projects:create", "/projects/"+p.Name); err != nil {
		return Project{}, err
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return Project{}, err
	}
	if err := checkProject(&p, b); err != nil {
		return Project{}, err
	}
	ch := a.begin(c)
	p.CreatedAt = ch.at
	d := details{}
	d.put("description", p.Description)
	d.put("resources", listed(p.Resources))
	ch.do(credential.PutProject{Project: p}, "project.create", aboutProject(p.Name), d)
	return a.putProject(ctx, ch, p, true)
}

func (a *Authority) updateProject(ctx context.Context, c Caller, p credential.Project) (Project, error) {
	old, err := a.project(ctx, c, "update", p.Name)
	if err != nil {
		return Project{}, err
	}
	if err := checkVersion("project", p.Version, old.Version); err != nil {
		return Project{}, err
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return Project{}, err
	}
	if err := checkProject(&p, b); err != nil {
		return Project{}, err
	}
	if err := mayGrant(c, "the project", projectGain(old.Resources, p.Resources)); err != nil {
		return Project{}, err
	}
	p.CreatedAt = old.CreatedAt
	if old.Description == p.Description && slices.Equal(old.Resources, p.Resources) {
		return Project{Project: ownProject(old)}, nil
	}
	ch := a.begin(c)
	d := details{}
	d.set("description", old.Description, p.Description)
	d.set("resources", listed(old.Resources), listed(p.Resources))
	ch.do(credential.PutProject{Project: p}, "project.update", aboutProject(p.Name), d)
	return a.putProject(ctx, ch, p, !slices.Equal(old.Resources, p.Resources))
}

// projectGain is what the credentials of a project may gain by other resources.
func projectGain(old, now []string) []credential.Rule {
	if len(now) == 0 && len(old) > 0 { // it is a label again, and bounds nothing
		return []credential.Rule{allow("http:*", "*"), allow("mqtt:*", "*"), allow("grpc:call", "*")}
	}
	var more []string
	for _, i := range policy.Outside(now, old, false) {
		more = append(more, now[i])
	}
	return policy.Granting(more)
}

func (a *Authority) putProject(ctx context.Context, ch *change, p credential.Project, bounds bool) (Project, error) {
	if err := a.commit(ctx, ch); err != nil {
		return Project{}, err
	}
	p.Version++
	out := Project{Project: p}
	if !bounds || len(p.Resources) == 0 {
		return out, nil
	}
	n, more, err := a.countOfProject(ctx, p.Org, p.Name)
	switch {
	case err != nil: // the change is made, and is not worse for it
		a.log.Warn("the credentials of a project could not be counted", "project", p.Name, "error", err)
	case n > 0:
		what := fmt.Sprintf("%s%d credentials that bear the name of this project are", more, n)
		if n == 1 {
			what = "1 credential that bears the name of this project is"
		}
		out.Warnings = append(out.Warnings, what+" held to its resources now")
	}
	return out, nil
}

// countOfProject counts the credentials of a project that have not ended, as far as a few pages go.
func (a *Authority) countOfProject(ctx context.Context, org, name string) (n int, more string, err error) {
	const pages = 20
	f := credential.CredentialFilter{Org: org, Project: name, Limit: maxLimit, Now: a.now()}
	for range pages {
		page, next, err := a.store.Credentials(ctx, f)
		if err != nil {
			return 0, "", err
		}
		for _, l := range page {
			if !l.State.Ended() {
				n++
			}
		}
		if f.Cursor = next; next == "" {
			return n, "", nil
		}
	}
	return n, "more than ", nil
}

// checkProject holds names to what credentials can bear, and resources to those of the organisation.
func checkProject(pr *credential.Project, b *book) error {
	var p credential.Problems
	checkTag(&p, "name", pr.Name)
	checkText(&p, "description", pr.Description, maxDescriptionLen)
	checkOwnResources(&p, "resources", pr.Resources)
	if len(p) == 0 {
		for _, i := range policy.Outside(pr.Resources, b.org.Resources, false) {
			p.Add(item("resources", i), "is not within what the organisation %s is held to: %s", b.org.Name, listed(b.org.Resources))
		}
	}
	return p.Err()
}

func isAPI(resource string) bool { return strings.HasPrefix(resource, "api:") }

func checkNoTokens(p *credential.Problems, field string, texts []string) {
	for i, t := range texts {
		if audit.LooksSecret(t) {
			p.Add(item(field, i), "contains a token: no secret belongs here")
		}
	}
}

// DeleteProject removes a project. Conflict while a credential that has not ended names it, which without it could do more; the text names some.
func (a *Authority) DeleteProject(ctx context.Context, c Caller, name string) error {
	_, err := retry(0, func() (none, error) {
		p, err := a.project(ctx, c, "delete", name)
		if err != nil {
			return none{}, err
		}
		var users []string
		for _, status := range []string{"active", "quarantined", "pending", "expired"} {
			page, _, err := a.store.Credentials(ctx, credential.CredentialFilter{
				Org: c.Org, Project: name, Status: status, Now: a.now(), Limit: fewUsers + 1,
			})
			if err != nil {
				return none{}, err
			}
			for _, l := range page {
				users = append(users, fmt.Sprintf("credential %s of %s", l.ID, l.PrincipalName))
			}
		}
		if len(users) > 0 {
			return none{}, inUse("project", name, users)
		}
		ch := a.begin(c)
		d := details{}
		d.put("resources", listed(p.Resources))
		ch.do(credential.DeleteProject{Org: c.Org, Name: name, Version: p.Version}, "project.delete", aboutProject(name), d)
		return none{}, a.commit(ctx, ch)
	})
	return err
}

func aboutProject(name string) credential.Subject {
	return credential.Subject{Kind: "project", ID: name}
}
