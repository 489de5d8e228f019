package gate

import (
	"context"
	"encoding/json"

	"cardea/internal/credential"
	"cardea/internal/jwt"
)

func (g *Gate) tryToken(ctx context.Context, org string, l *credential.Login, token string, t *Trial) {
	if token == "" {
		t.Why = "no token was given"
		return
	}
	v := g.Verify(ctx, org, &Evidence{Token: token, Source: l.Peer.Addr()}, nil, false)
	switch {
	case v.Allowed:
		t.accept(v.Identity)
		t.Credential = v.Identity.Credential
	case v.Reason == credential.MalformedToken:
		t.Why = "what was given as the token is none"
	default:
		t.Result, t.Why = "reject", v.Reason.String()
	}
}

// tryJWT judges a JWT as the chain does, but for the key that it may be bound to: who asks does not have that.
func (g *Gate) tryJWT(ctx context.Context, m *member, l *credential.Login, token string, t *Trial) {
	switch {
	case token == "":
		t.Why = "no token was given"
	case !looksLikeJWT(token):
		t.Why = "what was given as the token is no JWT"
	case m.Issuer != nil:
		g.tryForeign(ctx, m, l, token, t)
	case !g.isOwn(token):
		t.Why = "the token is not of this server"
	default:
		g.tryToken(ctx, m.Org, l, token, t)
	}
}

func (g *Gate) tryForeign(ctx context.Context, m *member, l *credential.Login, token string, t *Trial) {
	u, err := jwt.Read(token)
	if err != nil {
		t.Why = err.Error()
		return
	}
	if u.Issuer != m.Issuer.Issuer {
		t.Why = "the token is of another issuer than " + m.Issuer.Issuer
		return
	}
	t.Result = "reject"
	if err := g.checkForeign(ctx, m, &u); err != nil {
		t.Why = err.Error()
		return
	}
	var claims map[string]any
	if json.Unmarshal(u.Claims, &claims) != nil {
		t.Why = credential.WrongClaims.String()
		return
	}
	if _, t.Why = holderOf(m.Issuer, claims); t.Why != "" {
		return
	}
	id, why := g.federate(ctx, m, &u, &Entrance{Evidence: Evidence{Token: token, Source: l.Peer.Addr()}})
	if why != credential.OK {
		t.Why = whyForeign(why)
		return
	}
	t.accept(id)
}

// whyForeign is why the holder of a good token is refused, in words.
func whyForeign(why credential.Reason) string {
	switch why {
	case credential.UnknownCredential:
		return "there is no principal of the name that the token has"
	case credential.SourceDenied:
		return "the name that the token has is that of a principal, which is no guest"
	case credential.WrongClaims:
		return "the scopes that it names are no list, or its name has one of / + # and so could be no guest's"
	case credential.ProofMissing:
		return "it is bound to a key, which whoever uses it must show: that cannot be tried here, all else is good so far"
	}
	return why.String()
}
