package view

import (
	"encoding/json"

	"cardea/internal/credential"
)

// TrustedIssuer is whose JWTs an authenticator takes.
type TrustedIssuer struct {
	Issuer     string            `json:"issuer" example:"https://idp.example.com" doc:"Exactly as iss of its tokens"`
	JWKS       json.RawMessage   `json:"jwks,omitempty" doc:"JWK set of its public keys (RFC 7517)"`
	JWKSURI    string            `json:"jwks_uri,omitempty" example:"https://idp.example.com/jwks.json" doc:"https URL of such a set, instead of jwks"`
	Audiences  []string          `json:"audiences" nullable:"false" example:"[\"https://cardea.example.com\"]" doc:"One of them must be in aud"`
	Types      []string          `json:"types,omitempty" nullable:"false" example:"[\"at+jwt\"]" doc:"That typ may be, an empty text for none; at+jwt alone if not said"`
	Algorithms []string          `json:"algorithms,omitempty" nullable:"false" doc:"That its tokens may be signed with: some of ES256, ES384, EdDSA, RS256, PS256; all of them if not said"`
	Principal  string            `json:"principal,omitempty" example:"sub" doc:"Path of the claim that names who it is, with dots between the parts; sub if not said"`
	Guests     bool              `json:"guests,omitempty" doc:"Whoever it names is let in, with the scopes of the authenticator; otherwise only a principal of that name, with its roles"`
	ScopeClaim string            `json:"scope_claim,omitempty" example:"scope" doc:"Path of the claim that names scopes, which narrow; without it nothing does"`
	Attrs      map[string]string `json:"attrs,omitempty" doc:"Guests: names of attributes, with the paths of the claims that they come from"`
	Required   map[string]string `json:"required,omitempty" doc:"Paths of claims, with the values that they must have"`
}

// From converts; nil is none.
func (i *TrustedIssuer) From() *credential.TrustedIssuer {
	if i == nil {
		return nil
	}
	t := credential.TrustedIssuer(*i)
	return &t
}

func fromTrustedIssuer(i *credential.TrustedIssuer) *TrustedIssuer {
	if i == nil {
		return nil
	}
	v := TrustedIssuer(*i)
	v.Audiences = list(v.Audiences)
	return &v
}
