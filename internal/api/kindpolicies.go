package api

import (
	"context"
	"net/http"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/view"
)

// KindIn names a kind of credentials in the path.
type KindIn struct {
	Kind string `path:"kind" doc:"device_token, certificate, scram, api_key, pat, app_key, oauth_client or password"`
}

type putKindPolicyIn struct {
	KindIn
	MatchIn
	BodyIn[view.PutKindPolicy]
}

type patchKindPolicyIn struct {
	KindIn
	MatchIn
	BodyIn[view.PatchKindPolicy]
}

type resetKindPolicyIn struct {
	KindIn
	MatchIn
}

type (
	kindPolicyOut   = reply[view.KindPolicy]
	kindPoliciesOut = reply[view.Page[view.KindPolicy]]
)

// ofPolicy is the version that If-Match demands. The default, which nobody has set, has the ETag "0".
func (m MatchIn) ofPolicy() (int64, error) {
	switch {
	case !m.conditional():
		return authority.AnyVersion, nil
	case m.IfMatch == `"0"`:
		return 0, nil
	}
	return m.version()
}

func (s *server) kindPolicies() {
	auth := s.api.Authority
	const right = "policies:update on /policies/KIND"
	handle(s, op{
		id: "listPolicies", method: http.MethodGet, path: "/policies", summary: "What the organisation demands of each kind of credentials",
		right: "policies:read on /policies/*",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*kindPoliciesOut, error) {
		list, err := auth.KindPolicies(ctx, c.Caller)
		return answer(view.NewPage(list, "", view.FromKindPolicy)), err
	})
	handle(s, op{
		id: "getPolicy", method: http.MethodGet, path: "/policies/{kind}", summary: "What the organisation demands of a kind of credentials",
		right: "policies:read on /policies/KIND",
	}, func(ctx context.Context, c *caller, in *KindIn) (*kindPolicyOut, error) {
		return kindPolicy(auth.KindPolicy(ctx, c.Caller, credential.Kind(in.Kind)))
	})
	handle(s, op{
		id: "putPolicy", method: http.MethodPut, path: "/policies/{kind}", summary: "Say all that is demanded of a kind; credentials that exist are not touched",
		right: right, example: `{"default_lifetime":"30d","max_lifetime":"90d","require_expiry":true,"notices":["7d","1d"]}`,
	}, func(ctx context.Context, c *caller, in *putKindPolicyIn) (*kindPolicyOut, error) {
		return s.setKindPolicy(ctx, c, in.Kind, in.MatchIn, in.Body.Patch())
	})
	handle(s, op{
		id: "patchPolicy", method: http.MethodPatch, path: "/policies/{kind}", summary: "Change what is demanded of a kind; credentials that exist are not touched",
		right: right, example: `{"max_lifetime":"90d","approval":true}`,
	}, func(ctx context.Context, c *caller, in *patchKindPolicyIn) (*kindPolicyOut, error) {
		return s.setKindPolicy(ctx, c, in.Kind, in.MatchIn, in.Body)
	})
	handle(s, op{
		id: "resetPolicy", method: http.MethodDelete, path: "/policies/{kind}", summary: "Go back to the default for a kind",
		right: right, status: http.StatusNoContent,
	}, func(ctx context.Context, c *caller, in *resetKindPolicyIn) (*empty, error) {
		version, err := in.ofPolicy()
		if err != nil {
			return nil, err
		}
		return nil, auth.ResetKindPolicy(ctx, c.Caller, credential.Kind(in.Kind), version)
	})
}

func (s *server) setKindPolicy(ctx context.Context, c *caller, kind string, m MatchIn, patch view.PatchKindPolicy) (*kindPolicyOut, error) {
	version, err := m.ofPolicy()
	if err != nil {
		return nil, err
	}
	var p credential.Problems
	change := patch.Change(&p)
	if err := p.Err(); err != nil {
		return nil, err
	}
	return kindPolicy(s.api.Authority.SetKindPolicy(ctx, c.Caller, credential.Kind(kind), version, change))
}

func kindPolicy(p credential.KindPolicy, err error) (*kindPolicyOut, error) {
	return tagged(view.FromKindPolicy(p), p.Version), err
}
