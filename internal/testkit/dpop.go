package testkit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Holder has a key that access tokens may be bound to, and makes proofs of it (RFC 9449), by a library that nobody here wrote.
type Holder struct {
	testing.TB
	Key *ecdsa.PrivateKey
	JKT string // thumbprint of the key
}

// NewHolder makes a Holder.
func NewHolder(t testing.TB) *Holder {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &Holder{TB: t, Key: k, JKT: Thumbprint(t, k)}
}

// Thumbprint is what a key is called by (RFC 7638).
func Thumbprint(t testing.TB, k crypto.Signer) string {
	t.Helper()
	sum, err := (&jose.JSONWebKey{Key: k.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// Proof makes one for a request, and for the token that goes with it; "" for none. The changes are made to its claims.
func (h *Holder) Proof(method, url, token, nonce string, changes ...func(map[string]any)) string {
	h.Helper()
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": url, "iat": time.Now().Unix()}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	for _, f := range changes {
		f(claims)
	}
	return SignJWT(h, h.Key, map[string]any{"typ": "dpop+jwt", "jwk": jose.JSONWebKey{Key: h.Key.Public()}}, claims)
}

// SignJWT signs any claims by ES256, with a header of anybody's choice.
func SignJWT(t testing.TB, key crypto.Signer, header, claims map[string]any) string {
	t.Helper()
	o := &jose.SignerOptions{}
	for name, value := range header {
		o = o.WithHeader(jose.HeaderKey(name), value)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: opaque{key}}, o)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// opaque is a key of which nothing is known but that it signs.
type opaque struct{ crypto.Signer }

// Public implements [jose.OpaqueSigner]. It has no id: what is in the header is the caller's to say.
func (o opaque) Public() *jose.JSONWebKey { return &jose.JSONWebKey{Key: o.Signer.Public()} }

// Algs implements [jose.OpaqueSigner].
func (opaque) Algs() []jose.SignatureAlgorithm { return []jose.SignatureAlgorithm{jose.ES256} }

// SignPayload implements [jose.OpaqueSigner].
func (o opaque) SignPayload(payload []byte, _ jose.SignatureAlgorithm) ([]byte, error) {
	sum := sha256.Sum256(payload)
	der, err := o.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		return nil, err
	}
	raw := make([]byte, 64)
	sig.R.FillBytes(raw[:32])
	sig.S.FillBytes(raw[32:])
	return raw, nil
}
