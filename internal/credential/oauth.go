package credential

import (
	"crypto"
	"encoding/json"
	"time"
)

// How an OAuth client proves itself at the token endpoint, by the names of RFC 7591 §2 and RFC 8705 §2.
const (
	SecretBasic    = "client_secret_basic"
	SecretPost     = "client_secret_post"
	PrivateKeyJWT  = "private_key_jwt"
	TLSClient      = "tls_client_auth"
	TLSSelfSigned  = "self_signed_tls_client_auth"
	BoundToDPoP    = "dpop" // tokens are for whoever holds the key of a DPoP proof (RFC 9449)
	BoundToTLS     = "tls"  // tokens are for whoever holds the key of a client certificate (RFC 8705 §3)
	DefaultSigning = "ES256"
)

// ClientAuthMethods lists how a client may prove itself.
func ClientAuthMethods() []string {
	return []string{SecretBasic, SecretPost, PrivateKeyJWT, TLSClient, TLSSelfSigned}
}

// SigningAlgs lists what access tokens can be signed with.
func SigningAlgs() []string { return []string{DefaultSigning, "EdDSA", "RS256"} }

// Lives of access tokens.
const (
	DefaultTokenLife = 15 * time.Minute
	MaxTokenLife     = 24 * time.Hour // nothing that must be remembered of a token is remembered for longer
	MinTokenLife     = 10 * time.Second
)

// ClientConfig is what an oauth_client has beside what all credentials have. Its scopes, networks and limits are those of the credential;
// its client_id is the credential's ID.
type ClientConfig struct {
	Auth string `json:"auth"` // one of [ClientAuthMethods]. A client with a secret may send it in either way
	// JWKS is a JWK set of public keys, or JWKSURI the https URL of one: for private_key_jwt and, by x5c, for
	// self_signed_tls_client_auth.
	JWKS    json.RawMessage `json:"jwks,omitempty"`
	JWKSURI string          `json:"jwks_uri,omitempty"`
	// One of these is in the certificate of a client with tls_client_auth (RFC 8705 §2.1.2), whose chain leads to Cardea's CA.
	SubjectDN string `json:"tls_client_auth_subject_dn,omitempty"` // as RFC 4514 writes it
	SANDNS    string `json:"tls_client_auth_san_dns,omitempty"`
	SANURI    string `json:"tls_client_auth_san_uri,omitempty"`
	SANIP     string `json:"tls_client_auth_san_ip,omitempty"`
	SANEmail  string `json:"tls_client_auth_san_email,omitempty"`

	Audiences []string      `json:"audiences,omitempty"`  // that its tokens may be for; none: every [API] of the organisation, and Cardea itself
	TokenLife time.Duration `json:"token_life,omitempty"` // 0: the API's, which is never exceeded
	Bound     string        `json:"bound,omitempty"`      // "", [BoundToDPoP] or [BoundToTLS]: what all its tokens must be bound to
	MayAct    string        `json:"may_act,omitempty"`    // name of the principal that may act with its tokens (RFC 8693 §4.4); "" for nobody
}

// HasSecret reports whether clients prove themselves by a secret.
func (c *ClientConfig) HasSecret() bool { return c.Auth == SecretBasic || c.Auth == SecretPost }

// API is a resource server: an audience, the scopes that tokens for it may carry, and who may introspect those.
type API struct {
	Org           string
	Name          string // by [CheckName]
	Audience      string // absolute URI without a fragment (RFC 8707 §2); unique in the organisation
	Description   string
	Scopes        []string      // names of scopes
	TokenLife     time.Duration // 0: [DefaultTokenLife]
	Alg           string        // one of [SigningAlgs]
	Introspectors []string      // names of principals that may introspect tokens for it
	CreatedAt     time.Time
	Version       int64
}

// TrustedIssuer is whose JWTs an authenticator of type [ByJWT] takes. Without Issuer they are Cardea's own access tokens, and the rest is empty.
type TrustedIssuer struct {
	Issuer     string            `json:"issuer"` // exactly iss
	JWKS       json.RawMessage   `json:"jwks,omitempty"`
	JWKSURI    string            `json:"jwks_uri,omitempty"`
	Audiences  []string          `json:"audiences"`             // one of them must be in aud
	Types      []string          `json:"types,omitempty"`       // that typ may be, "" for none; empty: "at+jwt" alone
	Algorithms []string          `json:"algorithms,omitempty"`  // empty: all that package jwt checks
	Principal  string            `json:"principal"`             // path of the claim that names who it is: "sub", "client.name"
	Guests     bool              `json:"guests,omitempty"`      // whoever the issuer names is let in, with the scopes of the authenticator; false: it must be a principal of that name, whose roles hold
	ScopeClaim string            `json:"scope_claim,omitempty"` // path of the claim that names scopes, text or list, which narrow; "" for none
	Attrs      map[string]string `json:"attrs,omitempty"`       // guests: attribute to path of a claim
	Required   map[string]string `json:"required,omitempty"`    // path of a claim to the value that it must have
}

// DeniedToken is an access token that was revoked before its end.
type DeniedToken struct {
	ID         string // jti: 12 base62 characters
	Org        string
	Credential string // ID of the one that it was made for
	Client     string // client_id that it names, who may revoke it as well; it is not kept
	Shown      bool   // whoever denies it has shown the token itself, and not its ID alone; not kept
	At         time.Time
	Until      time.Time // its end, after which nothing need be remembered
}

// SigningKeys are the keys of access tokens as of now.
type SigningKeys struct {
	Sign  map[string]crypto.Signer // by alg, as [SigningAlgs] names it: the one that signs
	Trust []crypto.PublicKey       // whose tokens are believed: those that sign, those that will, and those that did while a token of theirs may live
	Next  time.Time                // when the clock alone changes this; zero: never
}
