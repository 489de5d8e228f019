package api

import (
	"context"
	"net/http"

	"cardea/internal/authority"
	"cardea/internal/view"
)

type setPasswordIn struct {
	RefIn
	BodyIn[view.SetPassword]
}

type removePasswordIn struct {
	RefIn
	ReasonIn
}

type invitedOut = reply[view.Invited]

// users is what administrators do for people. What people are is under /principals.
func (s *server) users() {
	auth := s.api.Authority
	handle(s, op{
		id: "setPassword", method: http.MethodPost, path: "/users/{ref}/password",
		summary: "Give a user a password; the one before and all its sessions end. Not for oneself",
		right:   "users:password on /users/NAME", example: `{"password":"nine violins under a roof"}`,
	}, func(ctx context.Context, c *caller, in *setPasswordIn) (*credentialOut, error) {
		cred, err := auth.SetPassword(ctx, c.Caller, in.Ref, authority.Password(in.Body.Password.Reveal()))
		return s.shown(ctx, c, cred, err)
	})
	handle(s, op{
		id: "removePassword", method: http.MethodDelete, path: "/users/{ref}/password", summary: "Take a user's password away, with all its sessions",
		right: "users:password on /users/NAME", status: http.StatusNoContent, example: "reason=left",
	}, func(ctx context.Context, c *caller, in *removePasswordIn) (*empty, error) {
		return nil, auth.RemovePassword(ctx, c.Caller, in.Ref, in.Reason)
	})
	handle(s, op{
		id: "inviteUser", method: http.MethodPost, path: "/users/{ref}/invite",
		summary: "Make the code with which a user sets their password once, within 72 hours; it ends the one before. Not for oneself",
		right:   "users:invite on /users/NAME", status: http.StatusCreated,
	}, func(ctx context.Context, c *caller, in *RefIn) (*invitedOut, error) {
		i, err := auth.Invite(ctx, c.Caller, in.Ref)
		return answer(view.Invited{Principal: i.User, Code: view.Secret(i.Code.Reveal()), ExpiresAt: utc(i.ExpiresAt)}), err
	})
}
