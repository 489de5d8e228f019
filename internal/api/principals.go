package api

import (
	"context"
	"net/http"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/view"
)

type newPrincipalIn struct {
	OnceIn
	BodyIn[view.NewPrincipal]
}

type patchPrincipalIn struct {
	RefIn
	MatchIn
	BodyIn[view.PatchPrincipal]
}

type deletePrincipalIn struct {
	RefIn
	ReasonIn
}

type listPrincipalsIn struct {
	PageIn
	Kind string `query:"kind" enum:"user,service,device"`
	Role string `query:"role" doc:"Only those that have it"`
}

type (
	principalOut  = reply[view.PrincipalView]
	principalsOut = reply[view.Page[view.PrincipalView]]
)

func (s *server) principals() {
	auth := s.api.Authority
	handle(s, op{
		id: "createPrincipal", method: http.MethodPost, path: "/principals", summary: "Make a user, a service or a device",
		right: "principals:create on /principals/NAME", status: http.StatusCreated,
		example: `{"kind":"device","name":"pump-1","roles":["device"]}`,
	}, func(ctx context.Context, c *caller, in *newPrincipalIn) (*principalOut, error) {
		b := in.Body
		p, err := auth.CreatePrincipal(ctx, c.Caller, authority.NewPrincipal{
			Kind: credential.PrincipalKind(b.Kind), Name: b.Name, Description: b.Description, Roles: b.Roles, Attrs: b.Attributes, Idempotency: in.Key,
		})
		return principal(p, err)
	})
	handle(s, op{
		id: "listPrincipals", method: http.MethodGet, path: "/principals", summary: "List principals by name",
		right: "principals:read on /principals/*", example: "kind=device&limit=50",
	}, func(ctx context.Context, c *caller, in *listPrincipalsIn) (*principalsOut, error) {
		list, next, err := auth.Principals(ctx, c.Caller, credential.PrincipalFilter{
			Kind: credential.PrincipalKind(in.Kind), Role: in.Role, Cursor: in.Cursor, Limit: in.Limit,
		})
		return answer(view.NewPage(list, next, view.FromPrincipal)), err
	})
	handle(s, op{
		id: "getPrincipal", method: http.MethodGet, path: "/principals/{ref}", summary: "Show a principal",
		right: "principals:read on /principals/NAME",
	}, func(ctx context.Context, c *caller, in *RefIn) (*principalOut, error) {
		return principal(auth.Principal(ctx, c.Caller, in.Ref))
	})
	handle(s, op{
		id: "patchPrincipal", method: http.MethodPatch, path: "/principals/{ref}", summary: "Change a principal, or disable it",
		right: "principals:update on /principals/NAME", example: `{"disabled":true}`,
	}, func(ctx context.Context, c *caller, in *patchPrincipalIn) (*principalOut, error) {
		version, err := in.version()
		if err != nil {
			return nil, err
		}
		b := in.Body
		return principal(auth.UpdatePrincipal(ctx, c.Caller, in.Ref, authority.PrincipalPatch{
			Description: b.Description, Roles: b.Roles, Attrs: b.Attributes, Disabled: b.Disabled, Version: version,
		}))
	})
	handle(s, op{
		id: "deletePrincipal", method: http.MethodDelete, path: "/principals/{ref}", summary: "Delete a principal and end all its credentials",
		right: "principals:delete on /principals/NAME", status: http.StatusNoContent, example: "reason=sold",
	}, func(ctx context.Context, c *caller, in *deletePrincipalIn) (*empty, error) {
		return nil, auth.DeletePrincipal(ctx, c.Caller, in.Ref, in.Reason)
	})
}

func principal(p credential.Principal, err error) (*principalOut, error) {
	return tagged(view.FromPrincipal(p), p.Version), err
}
