// Package jwt signs and checks JSON Web Tokens (RFC 7519) in their compact form.
//
// It does ES256 and nothing else (RFC 7518 section 3.4): a token that names another algorithm
// is refused before anything is computed, so that neither "none" nor a public key used as
// an HMAC secret leads anywhere. Every token says by its typ what it is for
// (RFC 8725 section 3.11), and whoever checks one says which typ it expects:
//
//	s, err := jwt.NewSigner(key)
//	token, err := s.Sign("identity+jwt", claims)
//	…
//	keys, err := jwt.ParseSet(body)
//	claims, err := jwt.Verify(token, keys, jwt.Want{Typ: "identity+jwt"}, now)
//
// Of the header only alg, kid, typ and crit are read. A key that a token brings along,
// or an address of one, is not looked at (J04).
package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const (
	alg     = "ES256"
	halfSig = 32 // octets of each of the two numbers of a signature
)

// Signer signs with one ES256 key. It is safe for concurrent use if its key is.
type Signer struct {
	key crypto.Signer
	kid string
}

// NewSigner returns a Signer whose kid is the key's RFC 7638 thumbprint.
func NewSigner(key crypto.Signer) (*Signer, error) {
	jwk, err := publicJWK(key.Public())
	if err != nil {
		return nil, err
	}
	return &Signer{key, jwk.KeyID}, nil
}

// KeyID returns the kid of the tokens.
func (s *Signer) KeyID() string { return s.kid }

// Sign returns the compact form of a JWT of a typ with claims.
// The typ is a media type without "application/", as in RFC 9068; claims must become a JSON object.
func (s *Signer) Sign(typ string, claims any) (string, error) {
	if !plainTyp(typ) {
		return "", fmt.Errorf("jwt: typ %q is not a media type", typ)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("jwt: claims: %w", err)
	}
	if payload[0] != '{' {
		return "", errors.New("jwt: claims are not a JSON object")
	}
	// None of the three values needs escaping.
	header := `{"alg":"` + alg + `","kid":"` + s.kid + `","typ":"` + typ + `"}`
	enc := base64.RawURLEncoding
	token := make([]byte, 0, enc.EncodedLen(len(header))+enc.EncodedLen(len(payload))+enc.EncodedLen(2*halfSig)+2)
	token = enc.AppendEncode(token, []byte(header))
	token = append(token, '.')
	token = enc.AppendEncode(token, payload)
	sig, err := s.sign(token)
	if err != nil {
		return "", err
	}
	token = append(token, '.')
	return string(enc.AppendEncode(token, sig)), nil
}

// sign returns r and s, each in 32 octets, which is what RFC 7518 section 3.4 wants in the place of ASN.1.
func (s *Signer) sign(input []byte) ([]byte, error) {
	digest := sha256.Sum256(input)
	der, err := s.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("jwt: %w", err)
	}
	var a, b []byte
	outer := cryptobyte.String(der)
	var inner cryptobyte.String
	if !outer.ReadASN1(&inner, asn1.SEQUENCE) || !outer.Empty() ||
		!inner.ReadASN1Integer(&a) || !inner.ReadASN1Integer(&b) || !inner.Empty() ||
		len(a) > halfSig || len(b) > halfSig {
		return nil, errors.New("jwt: the signer returned no ECDSA signature on P-256")
	}
	sig := make([]byte, 2*halfSig)
	copy(sig[halfSig-len(a):], a)
	copy(sig[2*halfSig-len(b):], b)
	return sig, nil
}

// plainTyp allows the letters of RFC 6838 section 4.2 that need no escaping anywhere.
func plainTyp(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// Set returns the JWK set of public keys (J14: no private members).
// It refuses anything but P-256 public keys, private keys included.
func Set(keys ...crypto.PublicKey) ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: make([]jose.JSONWebKey, len(keys))}
	for i, k := range keys {
		jwk, err := publicJWK(k)
		if err != nil {
			return nil, err
		}
		set.Keys[i] = jwk
	}
	return json.Marshal(set)
}

// publicJWK returns a key with its kid, alg and use.
func publicJWK(pub crypto.PublicKey) (jose.JSONWebKey, error) {
	k, ok := pub.(*ecdsa.PublicKey)
	if !ok || k.Curve != elliptic.P256() {
		return jose.JSONWebKey{}, fmt.Errorf("jwt: %T is not a P-256 public key", pub)
	}
	jwk := jose.JSONWebKey{Key: k, Algorithm: alg, Use: "sig"}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return jose.JSONWebKey{}, fmt.Errorf("jwt: %w", err)
	}
	jwk.KeyID = base64.RawURLEncoding.EncodeToString(sum)
	return jwk, nil
}
