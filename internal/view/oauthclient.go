package view

import (
	"encoding/json"
	"slices"

	"cardea/internal/credential"
)

// Client is how an OAuth client proves itself at the token endpoint, and what its tokens are. It holds public keys and no secret.
type Client struct {
	AuthMethod string          `json:"auth_method,omitempty" enum:"client_secret_basic,client_secret_post,private_key_jwt,tls_client_auth,self_signed_tls_client_auth" doc:"By the names of RFC 7591 and RFC 8705; without it client_secret_basic. A client with a secret may send it in either way"`
	JWKS       json.RawMessage `json:"jwks,omitempty" doc:"JWK set of its public keys (RFC 7517): for private_key_jwt and, with x5c in each, for self_signed_tls_client_auth"`
	JWKSURI    string          `json:"jwks_uri,omitempty" example:"https://meters.example.com/jwks.json" doc:"https URL of such a set, instead of jwks"`
	SubjectDN  string          `json:"tls_client_auth_subject_dn,omitempty" example:"CN=meters,O=Example" doc:"tls_client_auth: the subject that its certificate must have, as RFC 4514 writes it; exactly one of tls_client_auth_…"`
	SANDNS     string          `json:"tls_client_auth_san_dns,omitempty"`
	SANURI     string          `json:"tls_client_auth_san_uri,omitempty"`
	SANIP      string          `json:"tls_client_auth_san_ip,omitempty"`
	SANEmail   string          `json:"tls_client_auth_san_email,omitempty"`

	Audiences []string `json:"audiences,omitempty" nullable:"false" doc:"That its tokens may be for; none: those of all APIs of the organisation, and Cardea itself"`
	TokenLife string   `json:"token_life,omitempty" example:"15m" doc:"From 10s to 1d; without it that of the API"`
	Bound     string   `json:"bound,omitempty" enum:"dpop,tls" doc:"All its tokens are bound to a key: one that a DPoP proof shows (RFC 9449), or that of its TLS certificate (RFC 8705)"`
	MayAct    string   `json:"may_act,omitempty" doc:"Name or id of the principal that may act with its tokens (RFC 8693); none: nobody"`
}

// From converts; nil is none. What cannot be read is added to p.
func (c *Client) From(p *credential.Problems) *credential.ClientConfig {
	if c == nil {
		return nil
	}
	return &credential.ClientConfig{
		Auth: c.AuthMethod, JWKS: c.JWKS, JWKSURI: c.JWKSURI,
		SubjectDN: c.SubjectDN, SANDNS: c.SANDNS, SANURI: c.SANURI, SANIP: c.SANIP, SANEmail: c.SANEmail,
		Audiences: slices.Clone(c.Audiences), TokenLife: ParseTTL("client.token_life", c.TokenLife, p), Bound: c.Bound, MayAct: c.MayAct,
	}
}

func fromClient(c *credential.ClientConfig) *Client {
	if c == nil {
		return nil
	}
	return &Client{
		AuthMethod: c.Auth, JWKS: c.JWKS, JWKSURI: c.JWKSURI,
		SubjectDN: c.SubjectDN, SANDNS: c.SANDNS, SANURI: c.SANURI, SANIP: c.SANIP, SANEmail: c.SANEmail,
		Audiences: c.Audiences, TokenLife: span(c.TokenLife), Bound: c.Bound, MayAct: c.MayAct,
	}
}
