package api

import (
	"context"
	"net/http"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/view"
)

type newAPIIn struct {
	OnceIn
	BodyIn[view.NewAPI]
}

type patchAPIIn struct {
	NameIn
	MatchIn
	BodyIn[view.PatchAPI]
}

type (
	apiOut  = reply[view.API]
	apisOut = reply[view.Page[view.API]]
)

func (s *server) apis() {
	auth := s.api.Authority
	shown := func(a credential.API, err error) (*apiOut, error) { return tagged(view.FromAPI(a), a.Version), err }
	handle(s, op{
		id: "createAPI", method: http.MethodPost, path: "/apis", summary: "Make an API known: a resource server that access tokens can be for",
		right: "apis:create on /apis/NAME", status: http.StatusCreated,
		example: `{"name":"billing","audience":"https://billing.example.com","scopes":["billing:read"]}`,
	}, func(ctx context.Context, c *caller, in *newAPIIn) (*apiOut, error) {
		var p credential.Problems
		b := &in.Body
		n := authority.NewAPI{
			Name: b.Name, Audience: b.Audience, Description: b.Description, Scopes: b.Scopes, TokenLife: view.ParseTTL("token_life", b.TokenLife, &p), Alg: b.Alg,
			Introspectors: b.Introspectors,
		}
		if err := p.Err(); err != nil {
			return nil, err
		}
		out, err := shown(again(in.Key,
			func() (credential.API, error) { return auth.CreateAPI(ctx, c.Caller, n) },
			func() (credential.API, error) { return auth.API(ctx, c.Caller, n.Name) },
			func(a credential.API) bool { v := view.FromAPI(a); return b.Is(&v) }))
		return out.at("apis", b.Name), err
	})
	handle(s, op{
		id: "listAPIs", method: http.MethodGet, path: "/apis", summary: "List the APIs", right: "apis:read on /apis/*",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*apisOut, error) {
		list, err := auth.APIs(ctx, c.Caller)
		return answer(view.NewPage(list, "", view.FromAPI)), err
	})
	handle(s, op{
		id: "getAPI", method: http.MethodGet, path: "/apis/{name}", summary: "Show an API", right: "apis:read on /apis/NAME",
	}, func(ctx context.Context, c *caller, in *NameIn) (*apiOut, error) {
		return shown(auth.API(ctx, c.Caller, in.Name))
	})
	handle(s, op{
		id: "patchAPI", method: http.MethodPatch, path: "/apis/{name}", summary: "Change an API; tokens are judged by what it is now",
		right: "apis:update on /apis/NAME", example: `{"scopes":["billing:read"],"token_life":"5m"}`,
	}, func(ctx context.Context, c *caller, in *patchAPIIn) (*apiOut, error) {
		version, err := in.version()
		if err != nil {
			return nil, err
		}
		patch, err := apiPatch(&in.Body)
		if err != nil {
			return nil, err
		}
		patch.Version = version
		return shown(auth.UpdateAPI(ctx, c.Caller, in.Name, patch))
	})
	handle(s, op{
		id: "deleteAPI", method: http.MethodDelete, path: "/apis/{name}", summary: "Remove an API that no client names: its tokens are for nobody then",
		right: "apis:delete on /apis/NAME", status: http.StatusNoContent,
	}, func(ctx context.Context, c *caller, in *NameIn) (*empty, error) {
		return nil, auth.DeleteAPI(ctx, c.Caller, in.Name)
	})
}

func apiPatch(b *view.PatchAPI) (authority.APIPatch, error) {
	var p credential.Problems
	out := authority.APIPatch{Audience: b.Audience, Description: b.Description, Scopes: b.Scopes, Alg: b.Alg, Introspectors: b.Introspectors}
	if b.TokenLife != nil {
		life := view.ParseTTL("token_life", *b.TokenLife, &p)
		out.TokenLife = &life
	}
	return out, p.Err()
}
