package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// identityVerifier is how an upstream makes sure that a request came through
// Cardea: it checks the signed identity header against the server's JWK set,
// as /.well-known/jwks.json gives it (H04).
type identityVerifier struct {
	jwks func() []byte
	now  func() time.Time
}

func newIdentityVerifier() *identityVerifier { return &identityVerifier{now: time.Now} }

func (v *identityVerifier) verify(_ context.Context, assertion string) error {
	if assertion == "" {
		return errors.New("the header X-Cardea-Identity is missing")
	}
	if len(assertion) > 8<<10 {
		return errors.New("the header X-Cardea-Identity is too long")
	}
	token, err := jwt.ParseSigned(assertion, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return errors.New("the header X-Cardea-Identity is not a signed identity")
	}
	if len(token.Headers) != 1 || token.Headers[0].ExtraHeaders[jose.HeaderType] != "cardea-identity+jwt" {
		return errors.New("the header X-Cardea-Identity is a token of another type")
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(v.jwks(), &set); err != nil {
		return errors.New("the keys of the server cannot be read")
	}
	keys := set.Key(token.Headers[0].KeyID)
	if len(keys) != 1 {
		return errors.New("the identity is signed with an unknown key")
	}
	var claims jwt.Claims
	if err := token.Claims(keys[0].Key, &claims); err != nil {
		return errors.New("the identity is not signed by this server")
	}
	if claims.Expiry == nil || claims.Subject == "" {
		return errors.New("the identity is not complete")
	}
	if err := claims.ValidateWithLeeway(jwt.Expected{Time: v.now()}, time.Minute); err != nil {
		return errors.New("the identity has expired")
	}
	return nil
}
