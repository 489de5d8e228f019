package api

import (
	"context"
	"net/http"

	"cardea/internal/credential"
	"cardea/internal/view"
)

type revokedTokenOut = reply[view.RevokedToken]

func (s *server) accessTokens() {
	handle(s, op{
		id: "revokeAccessToken", method: http.MethodPost, path: "/tokens/revoke",
		summary: "Refuse an access token from now on, and those that were exchanged from it; whoever has it needs no right",
		right:   "credentials:revoke on /credentials/PRINCIPAL", example: `{"token":"eyJ…","reason":"it was in a log"}`,
	}, func(ctx context.Context, c *caller, in *BodyIn[view.RevokeToken]) (*revokedTokenOut, error) {
		t, err := s.deniedToken(ctx, c, &in.Body)
		if err != nil {
			return nil, err
		}
		if err := s.api.Authority.RevokeToken(ctx, c.Caller, t, in.Body.Reason); err != nil {
			return nil, err
		}
		return answer(view.RevokedToken{JTI: t.ID, Credential: t.Credential, ExpiresAt: utc(t.Until)}), nil
	})
}

// deniedToken is which token a request speaks of. One of another organisation is like one that is none.
func (s *server) deniedToken(ctx context.Context, c *caller, b *view.RevokeToken) (credential.DeniedToken, error) {
	var p credential.Problems
	switch {
	case b.Token != "" && (b.JTI != "" || b.Credential != "" || !b.ExpiresAt.IsZero()):
		p.Add("token", "says all that is needed: leave out jti, credential and expires_at")
	case b.Token == "" && b.JTI == "":
		p.Add("token", "is missing, and so is jti")
	case b.JTI != "" && b.Credential == "":
		p.Add("credential", "is missing: which credential the token with this jti was made for")
	}
	if err := p.Err(); err != nil {
		return credential.DeniedToken{}, err
	}
	if b.Token == "" {
		until := b.ExpiresAt
		if until.IsZero() {
			until = s.api.Now().Add(credential.MaxTokenLife)
		}
		return credential.DeniedToken{ID: b.JTI, Credential: b.Credential, Until: until}, nil
	}
	said, why := s.api.Gate.Claims(ctx, b.Token.Reveal())
	switch {
	case why.Class() == credential.CannotKnow:
		return credential.DeniedToken{}, refusal(why, 0)
	case why != credential.OK || said.Org != c.Org:
		return credential.DeniedToken{}, credential.Errorf(credential.NotFound, "this is no access token of this server that has not ended yet: there is nothing to revoke")
	}
	return credential.DeniedToken{ID: said.ID, Credential: said.Credential, Client: said.ClientID, Shown: true, Until: said.ExpiresAt}, nil
}
