package api

import (
	"context"
	"net/http"
	"slices"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/view"
)

type newOrgIn struct {
	OnceIn
	BodyIn[view.NewOrg]
}

type patchOrgIn struct {
	NameIn
	MatchIn
	BodyIn[view.PatchOrg]
}

type putProjectIn struct {
	NameIn
	MatchIn
	BodyIn[view.PutProject]
}

type (
	orgOut      = reply[view.Org]
	orgsOut     = reply[view.Page[view.Org]]
	projectOut  = reply[view.Project]
	projectsOut = reply[view.Page[view.Project]]
)

func (s *server) orgs() {
	auth := s.api.Authority
	const own = "; callers of other organisations than default see their own alone"
	handle(s, op{
		id: "createOrg", method: http.MethodPost, path: "/orgs", summary: "Make an organisation, and its first user if that is said",
		right: "orgs:create on /orgs/NAME, for callers of the organisation default, who must have what the resources hold", status: http.StatusCreated,
		example: `{"name":"acme","resources":["mqtt:acme/#","http:/acme/**"],"owner":"alice"}`,
	}, func(ctx context.Context, c *caller, in *newOrgIn) (*orgOut, error) {
		b := in.Body
		out, err := org(again(in.Key,
			func() (authority.Org, error) {
				return auth.CreateOrg(ctx, c.Caller, authority.NewOrg{Name: b.Name, Description: b.Description, Resources: b.Resources, Owner: b.Owner})
			},
			func() (authority.Org, error) {
				o, err := auth.Org(ctx, c.Caller, b.Name)
				return authority.Org{Org: o}, err
			},
			func(o authority.Org) bool {
				return o.Version == 1 && o.Description == b.Description && (len(b.Resources) == 0 || slices.Equal(o.Resources, b.Resources))
			}))
		return out.at("orgs", b.Name), err
	})
	handle(s, op{
		id: "listOrgs", method: http.MethodGet, path: "/orgs", summary: "List the organisations", right: "orgs:read on /orgs/*" + own,
	}, func(ctx context.Context, c *caller, _ *struct{}) (*orgsOut, error) {
		list, err := auth.Orgs(ctx, c.Caller)
		return answer(view.NewPage(list, "", view.FromOrg)), err
	})
	handle(s, op{
		id: "getOrg", method: http.MethodGet, path: "/orgs/{name}", summary: "Show an organisation", right: "orgs:read on /orgs/NAME" + own,
	}, func(ctx context.Context, c *caller, in *NameIn) (*orgOut, error) {
		o, err := auth.Org(ctx, c.Caller, in.Name)
		return org(authority.Org{Org: o}, err)
	})
	handle(s, op{
		id: "patchOrg", method: http.MethodPatch, path: "/orgs/{name}", summary: "Change an organisation, or disable it",
		right: "orgs:update on /orgs/NAME; only callers of the organisation default may widen, disable and enable", example: `{"disabled":true}`,
	}, func(ctx context.Context, c *caller, in *patchOrgIn) (*orgOut, error) {
		version, err := in.version()
		if err != nil {
			return nil, err
		}
		b := in.Body
		return org(auth.UpdateOrg(ctx, c.Caller, in.Name, authority.OrgPatch{
			Description: b.Description, Resources: b.Resources, Disabled: b.Disabled, Version: version,
		}))
	})
	handle(s, op{
		id: "deleteOrg", method: http.MethodDelete, path: "/orgs/{name}", summary: "Remove an organisation without principals",
		right: "orgs:delete on /orgs/NAME, for callers of the organisation default", status: http.StatusNoContent,
	}, func(ctx context.Context, c *caller, in *NameIn) (*empty, error) {
		return nil, auth.DeleteOrg(ctx, c.Caller, in.Name)
	})
}

func org(o authority.Org, err error) (*orgOut, error) {
	v := view.FromOrg(o.Org)
	v.Warnings = o.Warnings
	if o.Owner != nil {
		p := view.FromPrincipal(*o.Owner)
		v.Owner = &p
	}
	return tagged(v, o.Version), err
}

func (s *server) projects() {
	auth := s.api.Authority
	handle(s, op{
		id: "listProjects", method: http.MethodGet, path: "/projects", summary: "List the projects that are defined", right: "projects:read on /projects/*",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*projectsOut, error) {
		list, err := auth.Projects(ctx, c.Caller)
		return answer(view.NewPage(list, "", view.FromProject)), err
	})
	handle(s, op{
		id: "getProject", method: http.MethodGet, path: "/projects/{name}", summary: "Show a project", right: "projects:read on /projects/NAME",
	}, func(ctx context.Context, c *caller, in *NameIn) (*projectOut, error) {
		p, err := auth.Project(ctx, c.Caller, in.Name)
		return project(authority.Project{Project: p}, err)
	})
	handle(s, op{
		id: "putProject", method: http.MethodPut, path: "/projects/{name}", summary: "Make or replace a project: all credentials that name it are held to its resources",
		right:   "projects:create or projects:update on /projects/NAME; the caller must have what its credentials gain",
		example: `{"description":"hall 3","resources":["mqtt:acme/hall-3/#"]}`,
	}, func(ctx context.Context, c *caller, in *putProjectIn) (*projectOut, error) {
		p := credential.Project{Name: in.Name, Description: in.Body.Description, Resources: in.Body.Resources}
		var err error
		p.Version, err = in.current(func() (int64, error) { t, err := auth.Project(ctx, c.Caller, in.Name); return t.Version, err })
		if err != nil {
			return nil, err
		}
		return project(auth.PutProject(ctx, c.Caller, p))
	})
	handle(s, op{
		id: "deleteProject", method: http.MethodDelete, path: "/projects/{name}", summary: "Remove a project that no credential names",
		right: "projects:delete on /projects/NAME", status: http.StatusNoContent,
	}, func(ctx context.Context, c *caller, in *NameIn) (*empty, error) {
		return nil, auth.DeleteProject(ctx, c.Caller, in.Name)
	})
}

func project(p authority.Project, err error) (*projectOut, error) {
	v := view.FromProject(p.Project)
	v.Warnings = p.Warnings
	return tagged(v, p.Version), err
}
