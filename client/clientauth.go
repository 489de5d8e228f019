package client

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"
)

const (
	assertionLife = time.Minute
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// ClientAuth is how a client proves itself to the token endpoint and to introspection. The zero value is not at all.
type ClientAuth struct {
	secret Secret
	basic  bool
	key    crypto.Signer
	keyID  string
	tls    bool
}

// SecretBasic sends a client's secret by HTTP Basic: client_secret_basic of RFC 6749 section 2.3.1.
func SecretBasic(secret string) ClientAuth { return ClientAuth{secret: Secret(secret), basic: true} }

// SecretPost sends a client's secret in the body: client_secret_post, for what stands in between and takes Basic away.
func SecretPost(secret string) ClientAuth { return ClientAuth{secret: Secret(secret)} }

// PrivateKeyJWT signs an assertion for each request: private_key_jwt of RFC 7523 section 2.2. The key is on P-256 (ES256), of Ed25519 (EdDSA) or
// an RSA key (RS256), and need not leave where it is kept. keyID is its kid in the client's JWK set; "" is its RFC 7638 thumbprint.
func PrivateKeyJWT(key crypto.Signer, keyID string) ClientAuth {
	return ClientAuth{key: key, keyID: keyID}
}

// TLSClientAuth leaves it to the certificate that the http.Client has: tls_client_auth and self_signed_tls_client_auth of RFC 8705 section 2.
func TLSClientAuth() ClientAuth { return ClientAuth{tls: true} }

// Format keeps the secret out of every kind of print, also that of a struct which holds it.
func (a ClientAuth) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, "client auth ***") }

func (a ClientAuth) none() bool { return a.secret == "" && a.key == nil && !a.tls }

// check says what is wrong with it, so that it is known before the first request.
func (a ClientAuth) check(clientID string) error {
	if a.none() {
		return nil
	}
	if clientID == "" {
		return errors.New("client: a client that proves itself needs a ClientID")
	}
	if a.key == nil {
		return nil
	}
	_, err := algOf(a.key.Public())
	return err
}

// apply puts the proof on a request that has not been sent. audience is whom an assertion is for.
func (a ClientAuth) apply(header http.Header, form url.Values, clientID, audience string, now time.Time) error {
	switch {
	case a.key != nil:
		text, err := a.assertion(clientID, audience, now)
		if err != nil {
			return err
		}
		form.Set("client_id", clientID)
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", text)
	case a.basic:
		// RFC 6749 section 2.3.1 has both encoded as a form first (J15).
		pair := url.QueryEscape(clientID) + ":" + url.QueryEscape(a.secret.Reveal())
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	case a.secret != "":
		form.Set("client_id", clientID)
		form.Set("client_secret", a.secret.Reveal())
	case clientID != "":
		form.Set("client_id", clientID)
	}
	return nil
}

// assertion: RFC 7523 section 3. It is good once and for a minute.
func (a ClientAuth) assertion(clientID, audience string, now time.Time) (string, error) {
	claims := map[string]any{
		"iss": clientID, "sub": clientID, "aud": audience, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	}
	alg, err := algOf(a.key.Public())
	if err != nil {
		return "", err
	}
	kid := a.keyID
	if kid == "" {
		if kid, err = thumbprint(a.key.Public()); err != nil {
			return "", err
		}
	}
	key := jose.SigningKey{Algorithm: alg, Key: cryptosigner.Opaque(a.key)}
	text, err := sign(key, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", kid), claims)
	if err != nil {
		return "", fmt.Errorf("client: the assertion could not be signed: %w", err)
	}
	return text, nil
}

func sign(key jose.SigningKey, o *jose.SignerOptions, claims any) (string, error) {
	s, err := jose.NewSigner(key, o)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed, err := s.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// algOf returns the one algorithm that is used with a key.
func algOf(pub crypto.PublicKey) (jose.SignatureAlgorithm, error) {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return jose.ES256, nil
		}
	case ed25519.PublicKey:
		return jose.EdDSA, nil
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n >= 2048 && n <= 8192 {
			return jose.RS256, nil
		}
	}
	return "", fmt.Errorf("client: %T is not a key on P-256, of Ed25519, or of RSA with 2048 bits or more", pub)
}

// thumbprint: RFC 7638, by SHA-256.
func thumbprint(pub crypto.PublicKey) (string, error) {
	k := jose.JSONWebKey{Key: pub}
	sum, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("client: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}
