package client

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const maxNonces = 256 // servers whose last nonce is remembered

// prover makes DPoP proofs (RFC 9449 section 4.2) with a key that exists in this process alone and is never written anywhere.
type prover struct {
	key *ecdsa.PrivateKey
	now func() time.Time

	mu     sync.Mutex
	nonces map[string]string // by origin: each server has its own
}

func newProver(now func() time.Time) (*prover, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return &prover{key: key, now: now, nonces: map[string]string{}}, nil
}

// proof is for one request. token is "" at the token endpoint.
func (p *prover) proof(method string, u *url.URL, token string) (string, error) {
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": withoutQuery(u), "iat": p.now().Unix()}
	if token != "" {
		claims["ath"] = hashOf(token)
	}
	p.mu.Lock()
	if n := p.nonces[originOf(u)]; n != "" {
		claims["nonce"] = n
	}
	p.mu.Unlock()
	o := (&jose.SignerOptions{EmbedJWK: true}).WithType(proofTyp)
	text, err := sign(jose.SigningKey{Algorithm: jose.ES256, Key: p.key}, o, claims)
	if err != nil {
		return "", fmt.Errorf("client: the DPoP proof could not be signed: %w", err)
	}
	return text, nil
}

// learn remembers the nonce that a server wants next, and reports whether there was one.
func (p *prover) learn(u *url.URL, nonce string) bool {
	if nonce == "" || len(nonce) > 256 || strings.ContainsFunc(nonce, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	origin := originOf(u)
	if _, ok := p.nonces[origin]; !ok && len(p.nonces) >= maxNonces {
		clear(p.nonces) // each server gives another one when it misses it
	}
	p.nonces[origin] = nonce
	return true
}

func originOf(u *url.URL) string { return strings.ToLower(u.Scheme + "://" + u.Host) }

func withoutQuery(u *url.URL) string {
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return u.Scheme + "://" + u.Host + path
}

// hashOf is ath of RFC 9449 section 4.2.
func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
