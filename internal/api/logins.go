package api

import (
	"cmp"
	"context"
	"net/http"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/view"
)

type (
	loggedInOut  = reply[view.LoggedIn]
	activatedOut = reply[view.Activated]
)

// logins are the ways in: the only operations that need no credential, and the one that ends a session.
func (s *server) logins() {
	auth := s.api.Authority
	handle(s, op{
		id: "login", method: http.MethodPost, path: "/login", summary: "Begin a session with a user's name and password",
		public: true, example: `{"name":"alice","password":"nine violins under a roof"}`,
	}, func(ctx context.Context, c *caller, in *BodyIn[view.Login]) (*loggedInOut, error) {
		return s.login(ctx, c, in.Body)
	})
	handle(s, op{
		id: "activate", method: http.MethodPost, path: "/activate", summary: "Set a password with the code of an invitation, once",
		public: true, example: `{"code":"P3kT9qLmZ0aBq8…","password":"nine violins under a roof"}`,
	}, func(ctx context.Context, c *caller, in *BodyIn[view.Activate]) (*activatedOut, error) {
		return s.activate(ctx, c, in.Body)
	})
	handle(s, op{
		id: "logout", method: http.MethodPost, path: "/logout", summary: "End the session that this request comes with", status: http.StatusNoContent,
	}, func(ctx context.Context, c *caller, _ *struct{}) (*empty, error) {
		if c.id == nil || c.id.Session() == "" {
			return nil, credential.Errorf(credential.Conflict, "the request came with no session: what it came with is revoked, not logged out")
		}
		return nil, auth.Logout(ctx, c.Caller, c.id.Session())
	})
}

// login answers the same to whoever does not get in, whatever the cause (E02); the gate counts them (E01).
func (s *server) login(ctx context.Context, c *caller, in view.Login) (*loggedInOut, error) {
	if in.Org != "" && c.Org != "" && in.Org != c.Org {
		return nil, badField(http.StatusBadRequest, "body.org", "is not the organisation that "+headerOrg+" names")
	}
	org := cmp.Or(in.Org, c.Org, credential.DefaultOrg)
	ev := &gate.Evidence{Source: c.addr, Door: "api"}
	id, out := s.api.Gate.Login(ctx, org, in.Name, in.Password.Reveal(), ev)
	if out.Reason != credential.OK {
		return nil, notIn(out, "wrong name or password")
	}
	b, err := s.api.Authority.BeginSession(ctx, credential.SessionOf{
		Org: id.Org, Credential: id.Credential, Proof: id.Proof, Source: c.addr, Door: "api",
	})
	if err != nil {
		return nil, err
	}
	return answer(view.LoggedIn{Token: view.Secret(b.Token), ExpiresAt: utc(b.ExpiresAt), Principal: id.Principal, Org: id.Org}), nil
}

// notIn is refusal for who shows something else than a token.
func notIn(out gate.Outcome, detail string) *problem {
	p := refusal(out.Reason, out.RetryAfter)
	if p.Status == http.StatusUnauthorized {
		p.Detail = detail
		p.with("WWW-Authenticate", `Bearer realm="cardea"`)
	}
	return p
}

// activate lets a source try a few codes: they cannot be guessed, but it need not cost us anything (E04).
func (s *server) activate(ctx context.Context, c *caller, in view.Activate) (*activatedOut, error) {
	now := s.api.Now()
	if wait := s.api.codes.wait(c.addr, now); wait > 0 {
		return nil, refusal(credential.TooManyAttempts, wait)
	}
	p, err := s.api.Authority.Activate(ctx, cmp.Or(in.Org, c.Org), in.Code.Reveal(), authority.Password(in.Password.Reveal()), c.Actor)
	if credential.IsNotFound(err) {
		s.api.codes.wrong(c.addr, now)
		return nil, newProblem(http.StatusUnauthorized, "the code is wrong, has been used or has expired: ask for a new invitation").
			with("WWW-Authenticate", `Bearer realm="cardea"`)
	}
	return answer(view.Activated{Principal: p.Name, Org: p.Org}), err
}
