// Package jwt signs and checks JSON Web Tokens.
package jwt

import "crypto"

// Signer signs with one ES256 key.
type Signer struct{}

// NewSigner returns a Signer whose kid is the key's RFC 7638 thumbprint.
func NewSigner(key crypto.Signer) (*Signer, error) { panic("not yet") }

// Sign returns the compact form of a JWT of a typ with claims.
func (s *Signer) Sign(typ string, claims any) (string, error) { panic("not yet") }

// Set returns the JWK set of public keys (J14: no private members).
func Set(keys ...crypto.PublicKey) ([]byte, error) { panic("not yet") }
