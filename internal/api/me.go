package api

import (
	"context"
	"net/http"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/view"
)

type listOwnIn struct {
	PageIn
	Kind   string `query:"kind" enum:"pat,app_key,session"`
	Status string `query:"status" enum:"active,quarantined,pending,expired,revoked"`
}

type newOwnIn struct {
	OnceIn
	BodyIn[view.NewOwnToken]
}

type rotateOwnIn struct {
	IDIn
	OnceIn
	OptionalIn[view.RotateOwn]
}

type selfOut = reply[view.Self]

// me is what people do with what is their own.
func (s *server) me() {
	s.myself()
	s.myTokens()
	s.renewing()
}

func (s *server) myself() {
	auth := s.api.Authority
	handle(s, op{
		id: "getMe", method: http.MethodGet, path: "/me", summary: "The caller, its roles, and what its own tokens may be given",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*selfOut, error) {
		m, err := auth.Me(ctx, c.Caller)
		if err != nil {
			return nil, err
		}
		p := view.FromPrincipal(m.Principal)
		return answer(view.Self{
			WhoAmI: c.whoAmI(), PrincipalID: p.ID, Description: p.Description, Roles: p.Roles, Attributes: p.Attributes,
			Selectable: view.FromSelectable(m.Selectable), Tokens: view.FromTokenRules(m.Tokens),
		}), nil
	})
	handle(s, op{
		id: "changeMyPassword", method: http.MethodPost, path: "/me/password", summary: "Change the caller's own password; all sessions that were made with it end",
		right: "me:password on /me/password", status: http.StatusNoContent,
		example: `{"current":"nine violins under a roof","password":"purple tractor, lemon window"}`,
	}, func(ctx context.Context, c *caller, in *BodyIn[view.ChangePassword]) (*empty, error) {
		return nil, s.changePassword(ctx, c, in.Body)
	})
}

// changePassword has the present one proven as a login does, with the same limits.
func (s *server) changePassword(ctx context.Context, c *caller, in view.ChangePassword) error {
	if err := s.api.Authority.Authorize(c.Caller, "me:password", "/me/password"); err != nil {
		return err
	}
	if c.id == nil {
		return credential.Errorf(credential.Conflict, "the local administrator has no password")
	}
	ev := &gate.Evidence{Source: c.addr, Door: "api"}
	id, out := s.api.Gate.Login(ctx, c.Org, c.Actor.Principal, in.Current.Reveal(), ev)
	switch out.Reason.Class() {
	case credential.Accepted:
	case credential.InvalidToken:
		return badField(http.StatusUnprocessableEntity, "body.current", "is not the present password; whoever has none is invited by an administrator")
	default:
		return refusal(out.Reason, out.RetryAfter)
	}
	_, err := s.api.Authority.ChangePassword(ctx, c.Caller, authority.Proven{Credential: id.Credential, Proof: id.Proof}, authority.Password(in.Password.Reveal()))
	return err
}

func (s *server) myTokens() {
	auth := s.api.Authority
	handle(s, op{
		id: "listMyTokens", method: http.MethodGet, path: "/me/tokens", summary: "List the caller's own tokens, application keys and sessions",
		right: "me:read on /me/tokens", example: "kind=pat&status=active",
	}, func(ctx context.Context, c *caller, in *listOwnIn) (*credentialsOut, error) {
		list, next, err := auth.OwnTokens(ctx, c.Caller, credential.CredentialFilter{
			Kind: credential.Kind(in.Kind), Status: in.Status, Cursor: in.Cursor, Limit: in.Limit,
		})
		now := s.api.Now()
		return answer(view.NewPage(list, next, func(l credential.Listed) view.CredentialView { return view.FromListed(l, now) })), err
	})
	handle(s, op{
		id: "createMyToken", method: http.MethodPost, path: "/me/tokens", summary: "Make a personal access token of the caller's own; it is shown this once",
		right: "me:create on /me/tokens", status: http.StatusCreated,
		example: `{"name":"laptop","scopes":["telemetry:read"],"ttl":"30d"}`,
	}, func(ctx context.Context, c *caller, in *newOwnIn) (*issuedOut, error) {
		n := newCredential(in.Body.Wanted())
		n.Idempotency = in.Key
		i, err := auth.CreateOwnToken(ctx, c.Caller, n)
		out, err := s.issued(i, err)
		if err != nil {
			return nil, err
		}
		return out.at("me", "tokens", i.Credential.ID), nil
	})
	handle(s, op{
		id: "getMyToken", method: http.MethodGet, path: "/me/tokens/{id}", summary: "Show one of the caller's own with the use of each version",
		right: "me:read on /me/tokens",
	}, func(ctx context.Context, c *caller, in *IDIn) (*credentialOut, error) {
		return s.mine(auth.OwnToken(ctx, c.Caller, in.ID))
	})
	handle(s, op{
		id: "revokeMyToken", method: http.MethodPost, path: "/me/tokens/{id}/revoke", summary: "End one of the caller's own for good",
		right: "me:revoke on /me/tokens", status: http.StatusNoContent, example: `{"reason":"lost the laptop"}`,
	}, func(ctx context.Context, c *caller, in *revokeIn) (*empty, error) {
		reason := ""
		if in.Body != nil {
			reason = in.Body.Reason
		}
		_, err := auth.RevokeOwnToken(ctx, c.Caller, in.ID, reason)
		return nil, err
	})
}

func (s *server) renewing() {
	auth := s.api.Authority
	handle(s, op{
		id: "renewMyToken", method: http.MethodPost, path: "/me/tokens/{id}/renew", summary: "Give a personal access token of the caller's own a later end",
		right: "me:renew on /me/tokens", example: `{"ttl":"30d"}`,
	}, func(ctx context.Context, c *caller, in *extendIn) (*extendedOut, error) {
		until, err := s.until(in.Body)
		if err != nil {
			return nil, err
		}
		e, err := auth.RenewOwnToken(ctx, c.Caller, in.ID, until)
		if err != nil {
			return nil, err
		}
		v := view.FromCredential(e.Credential, c.Actor.Principal, credential.User, s.api.Now())
		return tagged(view.Extended{CredentialView: v, Warnings: e.Warnings}, v.Version), nil
	})
	handle(s, op{
		id: "rotateMyToken", method: http.MethodPost, path: "/me/tokens/{id}/rotate", summary: "Make a new version of a personal access token of the caller's own",
		right: "me:renew on /me/tokens", example: `{"overlap":"1h"}`,
	}, func(ctx context.Context, c *caller, in *rotateOwnIn) (*issuedOut, error) {
		var b view.Rotate
		if in.Body != nil {
			b = view.Rotate{Overlap: in.Body.Overlap, Force: in.Body.Force}
		}
		r, err := rotation(&b, in.Key)
		if err != nil {
			return nil, err
		}
		return s.issued(auth.RotateOwnToken(ctx, c.Caller, in.ID, r))
	})
}

func (s *server) mine(d authority.Detailed, err error) (*credentialOut, error) {
	return tagged(s.detailed(d), d.Version), err
}
