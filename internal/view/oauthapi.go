package view

import (
	"slices"
	"time"

	"cardea/internal/credential"
)

// API is a resource server that access tokens are for, as the API shows it.
type API struct {
	Name          string    `json:"name" example:"billing"`
	Audience      string    `json:"audience" example:"https://billing.example.com"`
	Description   string    `json:"description,omitempty"`
	Scopes        []string  `json:"scopes" nullable:"false" doc:"That its tokens may carry"`
	TokenLife     string    `json:"token_life" example:"15m"`
	Alg           string    `json:"alg" enum:"ES256,EdDSA,RS256"`
	Introspectors []string  `json:"introspectors" nullable:"false" doc:"Names of the principals that may introspect its tokens"`
	CreatedAt     time.Time `json:"created_at"`
	Version       int64     `json:"version" doc:"Counts the changes; also the ETag"`
}

// FromAPI converts.
func FromAPI(a credential.API) API {
	life := a.TokenLife
	if life == 0 {
		life = credential.DefaultTokenLife
	}
	return API{
		Name: a.Name, Audience: a.Audience, Description: a.Description, Scopes: list(a.Scopes), TokenLife: FormatDuration(life), Alg: a.Alg,
		Introspectors: list(a.Introspectors), CreatedAt: instant(a.CreatedAt), Version: a.Version,
	}
}

// NewAPI asks for an API.
type NewAPI struct {
	Name          string   `json:"name" example:"billing"`
	Audience      string   `json:"audience" example:"https://billing.example.com" doc:"aud of its tokens: an absolute URI without a fragment (RFC 8707), unique in the organisation"`
	Description   string   `json:"description,omitempty"`
	Scopes        []string `json:"scopes,omitempty" nullable:"false" example:"[\"billing:read\"]" doc:"That its tokens may carry. They give nothing: a token has those that its credential has too"`
	TokenLife     string   `json:"token_life,omitempty" example:"15m" doc:"From 10s to 1d; 15m if not said"`
	Alg           string   `json:"alg,omitempty" enum:"ES256,EdDSA,RS256" doc:"What its tokens are signed with; ES256 if not said"`
	Introspectors []string `json:"introspectors,omitempty" nullable:"false" doc:"Names or ids of the principals that may introspect its tokens"`
}

// Is reports whether an API is what was asked for.
func (n *NewAPI) Is(a *API) bool {
	alg := n.Alg
	if alg == "" {
		alg = credential.DefaultSigning
	}
	life, err := ParseDuration(n.TokenLife)
	if err != nil {
		life = credential.DefaultTokenLife
	}
	return a.Name == n.Name && a.Audience == n.Audience && a.Description == n.Description && a.Alg == alg && a.TokenLife == FormatDuration(life) &&
		slices.Equal(a.Scopes, list(n.Scopes)) && slices.Equal(a.Introspectors, list(n.Introspectors))
}

// PatchAPI changes the fields that are there.
type PatchAPI struct {
	Audience      *string   `json:"audience,omitempty"`
	Description   *string   `json:"description,omitempty"`
	Scopes        *[]string `json:"scopes,omitempty" example:"[\"billing:read\"]" doc:"Tokens lose at once what it loses"`
	TokenLife     *string   `json:"token_life,omitempty"`
	Alg           *string   `json:"alg,omitempty" enum:"ES256,EdDSA,RS256"`
	Introspectors *[]string `json:"introspectors,omitempty"`
}

// SigningKey is a key of access tokens.
type SigningKey struct {
	KID           string    `json:"kid" doc:"As headers of tokens and the JWK set name it: its RFC 7638 thumbprint"`
	Alg           string    `json:"alg" enum:"ES256,EdDSA,RS256"`
	State         string    `json:"state" enum:"next,current,retired,revoked" doc:"next is published and does not sign yet; retired signs no more, and what it has signed is believed until believed_until; nothing of a revoked one is"`
	CreatedAt     time.Time `json:"created_at"`
	ActiveAt      time.Time `json:"active_at,omitzero" doc:"From when on it signs"`
	RetiredAt     time.Time `json:"retired_at,omitzero" doc:"Since when it signs no more"`
	RevokedAt     time.Time `json:"revoked_at,omitzero"`
	BelievedUntil time.Time `json:"believed_until,omitzero" doc:"Absent: that is not known yet"`
}

// RotateSigningKeys asks for another key.
type RotateSigningKeys struct {
	Alg string `json:"alg,omitempty" enum:"ES256,EdDSA,RS256" doc:"ES256 if not said"`
	Now bool   `json:"now,omitempty" doc:"It signs at once, and not after an hour: whoever verifies tokens must fetch the key set when it meets a kid that it does not know"`
}

// RevokeSigningKey says why nothing is believed any more that a key has signed.
type RevokeSigningKey struct {
	Reason string `json:"reason,omitempty" example:"the backup was stolen"`
}

// RevokeToken asks that an access token be refused from now on: by its text or, where that is not at hand, by its jti and what it was made for.
type RevokeToken struct {
	Token      Secret    `json:"token,omitempty" example:"eyJ…" doc:"The token itself; then nothing else is needed"`
	JTI        string    `json:"jti,omitempty" example:"4fQx7TzR0kLa" doc:"Its jti, as logs and introspection have it"`
	Credential string    `json:"credential,omitempty" example:"7Gq0bXv2LmNp" doc:"With jti: id of the credential that it was made for, which is the first part of its crd and, for a client's own token, client_id"`
	ExpiresAt  time.Time `json:"expires_at,omitzero" doc:"With jti: its end; without it the longest that a token can live from now, 1d"`
	Reason     string    `json:"reason,omitempty" example:"it was in a log"`
}

// RevokedToken is an access token that is refused until its end, and so is every one that was exchanged from it.
type RevokedToken struct {
	JTI        string    `json:"jti" example:"4fQx7TzR0kLa"`
	Credential string    `json:"credential" example:"7Gq0bXv2LmNp" doc:"That it was made for"`
	ExpiresAt  time.Time `json:"expires_at" doc:"Until when that is remembered"`
}
