package client

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	defaultLeeway = 10 * time.Second
	maxLeeway     = time.Minute
)

// Introspection says when a [Verifier] asks the server about a token (RFC 7662).
type Introspection int

const (
	// LocalOnly asks never: a token that was revoked is accepted to its end, which is why access tokens live for minutes.
	LocalOnly Introspection = iota
	// IntrospectAlways asks about every token that is good by itself, and about those that are not JWTs: a revocation holds as soon as the remembered answer is old.
	IntrospectAlways
	// IntrospectOpaque asks about tokens that are not JWTs alone.
	IntrospectOpaque
)

// VerifierConfig says which access tokens are accepted.
type VerifierConfig struct {
	// Issuer is exactly what iss must be, and where the metadata are found unless the URLs are given.
	Issuer  string
	JWKSURL string

	// Audiences are the names of this server: one of them must be in aud, word for word.
	Audiences []string
	// Org is the organisation whose tokens are taken; "": "default". All organisations of a server have the same keys, and each may call a scope what it likes.
	Org string
	// Algorithms that a signature may be of; none: ES256, EdDSA and RS256, which is all that is known here.
	Algorithms []string
	// Leeway is for clocks that differ; 0: 10 s, negative: none, at most a minute.
	Leeway time.Duration
	// Stale is how long keys are good for when the server cannot be reached; 0: an hour.
	Stale time.Duration

	Introspection    Introspection
	IntrospectionURL string
	ClientID         string // who asks
	Auth             ClientAuth
	CacheTTL         time.Duration // how long an answer is remembered; 0: 5 s, negative: not at all
	CacheEntries     int           // 0: 10,000

	DPoP *DPoPConfig // nil: tokens that are bound to a DPoP key are refused

	HTTP      *http.Client // nil: one with a timeout of 10 s
	PlainHTTP bool         // let http:// reach other machines: whoever is in between can give keys of their own
	Now       func() time.Time
}

// Verifier checks access tokens (RFC 9068) of one issuer. It is safe for concurrent use, and has goroutines only while it asks the server.
type Verifier struct {
	c            VerifierConfig
	algs         []jose.SignatureAlgorithm
	keys         *keySet
	introspector *introspector // nil if it never asks
	proofs       *proofs       // nil without DPoP
}

// Presented is a token with what came along with it.
type Presented struct {
	Token string
	DPoP  bool // it came by the scheme DPoP and not by Bearer

	Peer *x509.Certificate // the client's, of this very connection; nil if there is none

	Proofs []string // fields named DPoP
	Method string   // of the request that it came with
	Target string   // of that request, as it was sent: "/things/1?all"
}

// TokenError is why a token is not accepted. Code is for whoever sent it and the same for unknown, wrong, expired and revoked ones; Reason is for
// logs. It holds no part of the token.
type TokenError struct {
	Code   string   // "invalid_request", "invalid_token", "insufficient_scope", "invalid_dpop_proof", "use_dpop_nonce"; "" if there was no token
	Reason string   // what exactly
	Scopes []string // that it would need, with insufficient_scope

	proof bool // the scheme was DPoP
}

// Error says both.
func (e *TokenError) Error() string {
	if e.Code == "" {
		return "client: " + e.Reason
	}
	return "client: " + e.Code + ": " + e.Reason
}

// UnavailableError means that it cannot be known now whether a token is good: keys are too old, or introspection does not answer. Nobody is let in.
type UnavailableError struct{ Err error }

// Error says why.
func (e *UnavailableError) Error() string {
	return "client: tokens cannot be checked: " + e.Err.Error()
}

// Unwrap returns why.
func (e *UnavailableError) Unwrap() error { return e.Err }

func refuse(format string, args ...any) error {
	return &TokenError{Code: invalidToken, Reason: fmt.Sprintf(format, args...)}
}

// NewVerifier checks a configuration. It asks the server for nothing yet. The error names all that is wrong.
func NewVerifier(c VerifierConfig) (*Verifier, error) {
	wrong := []error{checkIssuer(c.Issuer, c.PlainHTTP)}
	if len(c.Audiences) == 0 || slices.Contains(c.Audiences, "") {
		wrong = append(wrong, errors.New("client: Audiences must name what tokens for this server are for"))
	}
	for _, o := range []struct{ what, address string }{{"the JWKS URL", c.JWKSURL}, {"the introspection URL", c.IntrospectionURL}} {
		if o.address != "" {
			wrong = append(wrong, checkURL(o.what, o.address, c.PlainHTTP))
		}
	}
	algs, err := algorithms(c.Algorithms)
	wrong = append(wrong, err)
	if c.Leeway > maxLeeway {
		wrong = append(wrong, fmt.Errorf("client: a leeway of %v is more than %v", c.Leeway, maxLeeway))
	}
	if c.Stale != 0 && c.Stale < time.Minute {
		wrong = append(wrong, errors.New("client: keys must be good for at least a minute: Stale is shorter"))
	}
	if c.Introspection != LocalOnly {
		if c.Auth.none() {
			wrong = append(wrong, errors.New("client: who asks for introspection needs an Auth"))
		}
		wrong = append(wrong, c.Auth.check(c.ClientID))
	}
	if c.DPoP != nil {
		wrong = append(wrong, c.DPoP.check(c.PlainHTTP))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return newVerifier(c, algs)
}

func newVerifier(c VerifierConfig, algs []jose.SignatureAlgorithm) (*Verifier, error) {
	switch {
	case c.Leeway == 0:
		c.Leeway = defaultLeeway
	case c.Leeway < 0:
		c.Leeway = 0
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	h := ownClient(c.HTTP)
	d := &discovery{issuer: c.Issuer, http: h, plain: c.PlainHTTP, now: c.Now}
	v := &Verifier{c: c, algs: algs, keys: newKeySet(c, h, d)}
	if c.Introspection != LocalOnly {
		v.introspector = newIntrospector(c, h, d)
	}
	if c.DPoP == nil {
		return v, nil
	}
	p, err := newProofs(*c.DPoP, algs, c.Leeway, c.Now)
	if err != nil {
		return nil, err
	}
	v.proofs = p
	return v, nil
}

func algorithms(names []string) ([]jose.SignatureAlgorithm, error) {
	known := []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256}
	if len(names) == 0 {
		return known, nil
	}
	var out []jose.SignatureAlgorithm
	for _, n := range names {
		if !slices.Contains(known, jose.SignatureAlgorithm(n)) {
			return nil, fmt.Errorf("client: the algorithm %q is none of ES256, EdDSA, RS256", n)
		}
		out = append(out, jose.SignatureAlgorithm(n))
	}
	return out, nil
}

// Verify checks a token and that whoever presents it is who it is bound to. The error is a [*TokenError], an [*UnavailableError] or
// that of the context.
func (v *Verifier) Verify(ctx context.Context, p Presented) (*Claims, error) {
	c, err := v.check(ctx, p.Token)
	if err != nil {
		return nil, err
	}
	if err := v.bound(c, p); err != nil {
		return nil, err
	}
	return c, nil
}

func (v *Verifier) check(ctx context.Context, token string) (*Claims, error) {
	if !isToken(token) {
		return nil, refuse("it is empty, longer than %d bytes, or has letters that no token has", maxToken)
	}
	if v.introspector != nil && !strings.Contains(token, ".") {
		return v.introspector.ask(ctx, token)
	}
	c, err := v.local(ctx, token)
	if err != nil || v.c.Introspection != IntrospectAlways {
		return c, err
	}
	return v.introspector.narrow(ctx, token, c)
}

// local checks a JWT. What can be seen without the key is looked at first, so that a token which was never meant for this server makes nobody fetch keys.
func (v *Verifier) local(ctx context.Context, token string) (*Claims, error) {
	j, err := parseJWT(token, v.algs)
	if err != nil {
		return nil, err
	}
	if typ := strings.TrimPrefix(strings.ToLower(j.typ), "application/"); typ != "at+jwt" { // RFC 9068 section 4 (J09)
		return nil, refuse("its typ is not at+jwt")
	}
	if j.kid == "" {
		return nil, refuse("it names no key")
	}
	c, err := parseClaims(j.payload)
	if err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	if err := v.keys.rules.check(c); err != nil {
		return nil, err
	}
	keys, err := v.keys.find(ctx, j.kid, j.alg)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if j.signedBy(k) {
			return c, nil
		}
	}
	return nil, refuse("its signature is wrong")
}

// bound checks that the caller has the key that the token is bound to, and every such key if there are several.
func (v *Verifier) bound(c *Claims, p Presented) error {
	if c.certificate != "" && (p.Peer == nil || certThumbprint(p.Peer) != c.certificate) {
		return refuse("it is bound to another client certificate than that of the connection") // RFC 8705 section 3 (J20)
	}
	switch {
	case c.key == "" && !p.DPoP:
		return nil
	case c.key == "":
		return proofError(invalidToken, "it is bound to no key, and came with the scheme DPoP")
	case v.proofs == nil:
		return refuse("it is bound to a DPoP key, which this server does not take")
	case !p.DPoP:
		return refuse("it is bound to a DPoP key, and came with the scheme Bearer") // RFC 9449 section 7.1 (J22)
	}
	return v.proofs.check(p, c.key)
}
