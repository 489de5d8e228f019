package gate

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"cardea/internal/credential"
)

// Inspected is what introspection may tell of a token that is good (RFC 7662 §2.2).
type Inspected struct {
	Identity  *Identity
	Scopes    []string
	Audiences []string // of an access token
	ClientID  string
	ID        string // jti of an access token
	IssuedAt  time.Time
	ExpiresAt time.Time // zero: never
	NotBefore time.Time
	JKT, X5T  string
	Actor     json.RawMessage // act
	MayAct    string
	Type      string // "Bearer" or "DPoP"
}

// Inspect returns what a token of an organisation is, as of now; nil if it is not good, or another's (J17). It is asked from elsewhere than the
// token is used: networks are not judged, nor is whether its holder has the key that it is bound to. It counts as no use.
func (g *Gate) Inspect(ctx context.Context, org, token string) (*Inspected, credential.Reason) {
	if g.blind(g.clock.Mono()) {
		return nil, credential.Unavailable
	}
	if looksLikeJWT(token) {
		return g.inspectAccess(ctx, org, token)
	}
	if len(token) > maxForeign || token == "" {
		return nil, credential.MalformedToken
	}
	e, parent, why := g.examineToken(ctx, &Evidence{Token: token})
	if e == nil {
		return nil, why
	}
	if why == credential.NetworkRefused { // its holder is not here
		why = e.standing(g.clock.nano())
	}
	if e.made.Org != org || e.made.Kind == credential.OAuthClient {
		return nil, credential.UnknownCredential
	}
	if why != credential.OK {
		return nil, why
	}
	id := g.identity(e)
	if parent != nil {
		id = g.bind(parent, e)
	}
	return &Inspected{Identity: id, Scopes: g.live(id, true), ClientID: id.Credential, ExpiresAt: id.Deadline, Type: "Bearer"}, credential.OK
}

func (g *Gate) inspectAccess(ctx context.Context, org, token string) (*Inspected, credential.Reason) {
	gr, why := g.grantOf(ctx, token)
	if why != credential.OK {
		return nil, why
	}
	if gr.org != org {
		return nil, credential.UnknownCredential
	}
	e, x, why := g.judgeGrantFrom(ctx, gr, origin{anywhere: true}, nil)
	if why != credential.OK {
		return nil, why
	}
	id := g.bindAccess(e, x)
	in := &Inspected{
		Identity: id, Scopes: g.live(id, g.isAbroad(gr.audiences)), Audiences: slices.Clone(gr.audiences), ClientID: gr.client, ID: gr.id.String(), IssuedAt: at(gr.issued), ExpiresAt: at(gr.ends),
		JKT: gr.jkt, X5T: gr.x5t, Actor: gr.actor, MayAct: gr.mayAct, Type: "Bearer",
	}
	if gr.jkt != "" {
		in.Type = "DPoP"
	}
	return in, credential.OK
}

// Claimed is what an access token of ours says, whether it is good any more or not.
type Claimed struct {
	ID         string // jti
	Org        string
	Credential string // ID of what it was made for
	ClientID   string
	Subject    string
	ExpiresAt  time.Time
}

// Claims returns what an access token says whose signature is good; false if it is none of ours, or has ended.
func (g *Gate) Claims(ctx context.Context, token string) (Claimed, credential.Reason) {
	gr, why := g.grantOf(ctx, token)
	if why != credential.OK {
		return Claimed{}, why
	}
	return Claimed{
		ID: gr.id.String(), Org: gr.org, Credential: gr.of.key.String(), ClientID: gr.client, Subject: strings.Clone(gr.subject), ExpiresAt: at(gr.ends),
	}, credential.OK
}
