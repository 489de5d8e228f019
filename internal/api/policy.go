package api

import (
	"context"
	"net/http"
	"reflect"

	"cardea/internal/credential"
	"cardea/internal/view"
)

type newScopeIn struct {
	OnceIn
	BodyIn[view.NewScope]
}

type putScopeIn struct {
	NameIn
	MatchIn
	BodyIn[view.PutScope]
}

type newRoleIn struct {
	OnceIn
	BodyIn[view.NewRole]
}

type putRoleIn struct {
	NameIn
	MatchIn
	BodyIn[view.PutRole]
}

type newRouteIn struct {
	OnceIn
	BodyIn[view.NewRoute]
}

type putRouteIn struct {
	MatchIn
	BodyIn[view.NewRoute]
}

type prefixIn struct {
	Prefix string `query:"prefix" required:"true" example:"/db/"`
}

type (
	scopeOut  = reply[view.Scope]
	scopesOut = reply[view.Page[view.Scope]]
	roleOut   = reply[view.Role]
	rolesOut  = reply[view.Page[view.Role]]
	routeOut  = reply[view.Route]
	routesOut = reply[view.Page[view.Route]]
)

// current returns the version that a PUT replaces: what If-Match says, or what there is now, or 0 to create.
func (m MatchIn) current(read func() (int64, error)) (int64, error) {
	if m.conditional() {
		return m.version()
	}
	v, err := read()
	switch {
	case !credential.IsNotFound(err):
		return v, err
	case m.IfMatch == "*":
		return 0, newProblem(http.StatusPreconditionFailed, "If-Match: * asks for one that is there, and there is none")
	}
	return 0, nil
}

// again answers a POST that is sent a second time with the same
// Idempotency-Key: what is there already is the answer, if it is what was asked for.
func again[T any](key string, put func() (T, error), read func() (T, error), same func(T) bool) (T, error) {
	made, err := put()
	if err == nil || key == "" || credential.KindOf(err) != credential.Exists {
		return made, err
	}
	if there, rerr := read(); rerr == nil && same(there) {
		return there, nil
	}
	return made, err
}

func (s *server) scopes() {
	auth := s.api.Authority
	const right = " on /scopes/NAME; the caller must have what the rules allow"
	const example = `{"description":"write telemetry","rules":[{"permission":"allow","action":"mqtt:publish","resource":"db/append/#"}]}`
	handle(s, op{
		id: "createScope", method: http.MethodPost, path: "/scopes", summary: "Make a scope, a named set of rules", right: "scopes:create" + right,
		status: http.StatusCreated, example: `{"name":"telemetry:write",` + example[1:],
	}, func(ctx context.Context, c *caller, in *newScopeIn) (*scopeOut, error) {
		sc, err := scopeOf(in.Body.Name, in.Body.PutScope)
		if err != nil {
			return nil, err
		}
		return scope(again(in.Key,
			func() (credential.Scope, error) { return auth.PutScope(ctx, c.Caller, sc) },
			func() (credential.Scope, error) { return auth.Scope(ctx, c.Caller, sc.Name) },
			func(t credential.Scope) bool {
				return t.Description == sc.Description && reflect.DeepEqual(view.FromScope(t).Rules, view.FromScope(sc).Rules)
			}))
	})
	handle(s, op{
		id: "listScopes", method: http.MethodGet, path: "/scopes", summary: "List all scopes", right: "scopes:read on /scopes/*",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*scopesOut, error) {
		list, err := auth.Scopes(ctx, c.Caller)
		return answer(view.NewPage(list, "", view.FromScope)), err
	})
	handle(s, op{
		id: "getScope", method: http.MethodGet, path: "/scopes/{name}", summary: "Show a scope", right: "scopes:read on /scopes/NAME",
	}, func(ctx context.Context, c *caller, in *NameIn) (*scopeOut, error) {
		return scope(auth.Scope(ctx, c.Caller, in.Name))
	})
	handle(s, op{
		id: "putScope", method: http.MethodPut, path: "/scopes/{name}", summary: "Make or replace a scope", right: "scopes:create or scopes:update" + right, example: example,
	}, func(ctx context.Context, c *caller, in *putScopeIn) (*scopeOut, error) {
		sc, err := scopeOf(in.Name, in.Body)
		if err != nil {
			return nil, err
		}
		sc.Version, err = in.current(func() (int64, error) { t, err := auth.Scope(ctx, c.Caller, in.Name); return t.Version, err })
		if err != nil {
			return nil, err
		}
		return scope(auth.PutScope(ctx, c.Caller, sc))
	})
	handle(s, op{
		id: "deleteScope", method: http.MethodDelete, path: "/scopes/{name}", summary: "Remove a scope that nothing names",
		right: "scopes:delete on /scopes/NAME", status: http.StatusNoContent,
	}, func(ctx context.Context, c *caller, in *NameIn) (*empty, error) {
		return nil, auth.DeleteScope(ctx, c.Caller, in.Name)
	})
}

func scopeOf(name string, b view.PutScope) (credential.Scope, error) {
	var p credential.Problems
	sc := credential.Scope{Name: name, Description: b.Description, Rules: view.Rules("rules", b.Rules, &p)}
	return sc, p.Err()
}

func scope(sc credential.Scope, err error) (*scopeOut, error) {
	return tagged(view.FromScope(sc), sc.Version), err
}

func (s *server) roles() {
	auth := s.api.Authority
	const right = " on /roles/NAME; the caller must have what the scopes allow"
	handle(s, op{
		id: "createRole", method: http.MethodPost, path: "/roles", summary: "Make a role, a named set of scopes", right: "roles:create" + right,
		status: http.StatusCreated, example: `{"name":"writer","scopes":["telemetry:write"]}`,
	}, func(ctx context.Context, c *caller, in *newRoleIn) (*roleOut, error) {
		r := roleOf(in.Body.Name, in.Body.PutRole)
		return role(again(in.Key,
			func() (credential.Role, error) { return auth.PutRole(ctx, c.Caller, r) },
			func() (credential.Role, error) { return auth.Role(ctx, c.Caller, r.Name) },
			func(t credential.Role) bool {
				return t.Description == r.Description && reflect.DeepEqual(view.FromRole(t).Scopes, view.FromRole(r).Scopes)
			}))
	})
	handle(s, op{
		id: "listRoles", method: http.MethodGet, path: "/roles", summary: "List all roles", right: "roles:read on /roles/*",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*rolesOut, error) {
		list, err := auth.Roles(ctx, c.Caller)
		return answer(view.NewPage(list, "", view.FromRole)), err
	})
	handle(s, op{
		id: "getRole", method: http.MethodGet, path: "/roles/{name}", summary: "Show a role", right: "roles:read on /roles/NAME",
	}, func(ctx context.Context, c *caller, in *NameIn) (*roleOut, error) {
		return role(auth.Role(ctx, c.Caller, in.Name))
	})
	handle(s, op{
		id: "putRole", method: http.MethodPut, path: "/roles/{name}", summary: "Make or replace a role", right: "roles:create or roles:update" + right,
		example: `{"scopes":["telemetry:write"]}`,
	}, func(ctx context.Context, c *caller, in *putRoleIn) (*roleOut, error) {
		r := roleOf(in.Name, in.Body)
		var err error
		r.Version, err = in.current(func() (int64, error) { t, err := auth.Role(ctx, c.Caller, in.Name); return t.Version, err })
		if err != nil {
			return nil, err
		}
		return role(auth.PutRole(ctx, c.Caller, r))
	})
	handle(s, op{
		id: "deleteRole", method: http.MethodDelete, path: "/roles/{name}", summary: "Remove a role that no principal has",
		right: "roles:delete on /roles/NAME", status: http.StatusNoContent,
	}, func(ctx context.Context, c *caller, in *NameIn) (*empty, error) {
		return nil, auth.DeleteRole(ctx, c.Caller, in.Name)
	})
}

func roleOf(name string, b view.PutRole) credential.Role {
	return credential.Role{Name: name, Description: b.Description, Scopes: b.Scopes}
}

func role(r credential.Role, err error) (*roleOut, error) {
	return tagged(view.FromRole(r), r.Version), err
}

// A route's name is a path, so it stands in the body or in the query, never in the path.
func (s *server) routes() {
	auth := s.api.Authority
	const example = `{"prefix":"/db/","upstream":"http://127.0.0.1:8086"}`
	handle(s, op{
		id: "createRoute", method: http.MethodPost, path: "/routes", summary: "Send what comes to a path prefix to an upstream",
		right: "routes:create on /routes/PREFIX", status: http.StatusCreated, example: example,
	}, func(ctx context.Context, c *caller, in *newRouteIn) (*routeOut, error) {
		r := credential.Route{Prefix: in.Body.Prefix, Upstream: in.Body.Upstream, QueryKey: in.Body.QueryKey}
		return route(again(in.Key,
			func() (credential.Route, error) { return auth.PutRoute(ctx, c.Caller, r) },
			func() (credential.Route, error) { return s.storedRoute(ctx, c, r.Prefix) },
			func(t credential.Route) bool { return t.Upstream == r.Upstream && t.QueryKey == r.QueryKey }))
	})
	handle(s, op{
		id: "listRoutes", method: http.MethodGet, path: "/routes", summary: "List all routes, those of flags and file too", right: "routes:read on /routes/*",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*routesOut, error) {
		list, err := auth.Routes(ctx, c.Caller)
		return answer(view.NewPage(list, "", view.FromRoute)), err
	})
	handle(s, op{
		id: "putRoute", method: http.MethodPut, path: "/routes", summary: "Make a route, or give it another upstream",
		right: "routes:create or routes:update on /routes/PREFIX", example: example,
	}, func(ctx context.Context, c *caller, in *putRouteIn) (*routeOut, error) {
		r := credential.Route{Prefix: in.Body.Prefix, Upstream: in.Body.Upstream, QueryKey: in.Body.QueryKey}
		var err error
		r.Version, err = in.current(func() (int64, error) { t, err := s.storedRoute(ctx, c, r.Prefix); return t.Version, err })
		if err != nil {
			return nil, err
		}
		return route(auth.PutRoute(ctx, c.Caller, r))
	})
	handle(s, op{
		id: "deleteRoute", method: http.MethodDelete, path: "/routes", summary: "Remove a route",
		right: "routes:delete on /routes/PREFIX", status: http.StatusNoContent, example: "prefix=/db/",
	}, func(ctx context.Context, c *caller, in *prefixIn) (*empty, error) {
		return nil, auth.DeleteRoute(ctx, c.Caller, in.Prefix)
	})
}

// storedRoute finds a route of the API by its prefix.
func (s *server) storedRoute(ctx context.Context, c *caller, prefix string) (credential.Route, error) {
	list, err := s.api.Authority.Routes(ctx, c.Caller)
	if err != nil {
		return credential.Route{}, err
	}
	for _, r := range list {
		if r.Prefix == prefix && r.Source == "api" {
			return r, nil
		}
	}
	return credential.Route{}, credential.Errorf(credential.NotFound, "there is no such route")
}

func route(r credential.Route, err error) (*routeOut, error) {
	return tagged(view.FromRoute(r), r.Version), err
}
