// Package jwt signs and checks JSON Web Tokens (RFC 7519) in their compact form, and proofs of
// possession (RFC 9449).
//
// It signs by ES256, EdDSA with Ed25519 and RS256, and checks these, ES384 and PS256: see [Algs]. Which one it is follows
// from the key. A token that names another algorithm is refused before anything is computed, so that neither "none" nor
// a public key used as an HMAC secret leads anywhere (J01, J02). Every token says by its typ what it is for
// (RFC 8725 section 3.11), and whoever checks one says which typ is expected:
//
//	s, err := jwt.NewSigner(key)
//	token, err := s.Sign("at+jwt", claims)
//	…
//	keys, err := jwt.ParseSet(body)
//	claims, err := jwt.Verify(token, keys, jwt.Want{Types: []string{"at+jwt"}, Audiences: mine}, now)
//
// Of a token's header only alg, kid, typ and crit are read. A key that a token brings along,
// or an address of one, is not looked at (J04). A proof of possession is the one thing that
// brings its key: see [ReadProof].
package jwt

import (
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// Signer signs with one key. It is safe for concurrent use if its key is.
type Signer struct {
	key  crypto.Signer
	alg  *algorithm
	kid  string
	head string // of the header, up to the value of typ
	size int    // octets of a signature
}

// NewSigner returns a Signer whose algorithm follows from the key: ES256 for P-256, EdDSA for Ed25519, RS256 for RSA. The kid is the key's
// RFC 7638 thumbprint.
func NewSigner(key crypto.Signer) (*Signer, error) {
	alg, err := signingAlg(key.Public())
	if err != nil {
		return nil, err
	}
	kid, err := Thumbprint(key.Public())
	if err != nil {
		return nil, err
	}
	size := 2 * half // of Ed25519, too
	if k, ok := key.Public().(*rsa.PublicKey); ok {
		size = k.Size()
	}
	// None of the values of a header needs escaping.
	return &Signer{key, alg, kid, `{"alg":"` + alg.name + `","kid":"` + kid + `","typ":"`, size}, nil
}

// KeyID returns the kid of the tokens.
func (s *Signer) KeyID() string { return s.kid }

// Alg returns the algorithm, by its name of RFC 7518 or 8037.
func (s *Signer) Alg() string { return s.alg.name }

// Sign returns the compact form of a JWT of a typ with claims.
// The typ is a media type without "application/", as in RFC 9068; claims must become a JSON object.
func (s *Signer) Sign(typ string, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("jwt: claims: %w", err)
	}
	return s.SignPayload(typ, payload)
}

// SignPayload is [Signer.Sign] for claims that are JSON already. That they are a JSON object, with each member once, is the caller's to see to.
func (s *Signer) SignPayload(typ string, payload []byte) (string, error) {
	if !plainTyp(typ) {
		return "", fmt.Errorf("jwt: typ %q is not a media type", typ)
	}
	if len(payload) < 2 || payload[0] != '{' || payload[len(payload)-1] != '}' {
		return "", errors.New("jwt: claims are not a JSON object")
	}
	var text [192]byte // holds every header: the kid has 43 letters and the typ 64 at most
	header := append(append(append(text[:0], s.head...), typ...), `"}`...)
	enc := base64.RawURLEncoding
	token := make([]byte, 0, enc.EncodedLen(len(header))+enc.EncodedLen(len(payload))+enc.EncodedLen(s.size)+2)
	token = enc.AppendEncode(token, header)
	token = append(token, '.')
	token = enc.AppendEncode(token, payload)
	sig, err := s.alg.sign(s.key, token)
	if err != nil {
		return "", err
	}
	token = append(token, '.')
	return string(enc.AppendEncode(token, sig)), nil
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
