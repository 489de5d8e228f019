package client_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cardea/client"
)

const (
	resource = "https://things.example"
	scopes   = "things:read things:write"
)

// clock is what a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// issuer is an authorization server of a few lines, on a real listener. Everything that it is asked is kept.
type issuer struct {
	*httptest.Server
	clock *clock

	mu      sync.Mutex
	keys    []jose.JSONWebKey // private ones; the last signs
	asked   map[string][]*asked
	token   http.HandlerFunc // instead of what it does
	inspect http.HandlerFunc
	meta    map[string]any // members to set otherwise
	set     any            // instead of its JWK set
	down    bool
}

type asked struct {
	Form   url.Values
	Header http.Header
	TLS    *tls.ConnectionState
}

func newIssuer(t testing.TB, c *clock) *issuer {
	t.Helper()
	i := startIssuer(c, newECKey(t))
	t.Cleanup(i.Close)
	return i
}

func startIssuer(c *clock, key *ecdsa.PrivateKey) *issuer {
	i := &issuer{clock: c, asked: map[string][]*asked{}}
	i.keys = []jose.JSONWebKey{{Key: key, KeyID: "first", Algorithm: "ES256", Use: "sig"}}
	i.Server = httptest.NewServer(i)
	return i
}

func newECKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newRSAKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newEdKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func algFor(t testing.TB, key crypto.Signer) jose.SignatureAlgorithm {
	t.Helper()
	switch key.(type) {
	case *ecdsa.PrivateKey:
		return jose.ES256
	case ed25519.PrivateKey:
		return jose.EdDSA
	case *rsa.PrivateKey:
		return jose.RS256
	}
	t.Fatalf("no algorithm for %T", key)
	return ""
}

func signingKey(t testing.TB, key crypto.Signer, kid string) jose.JSONWebKey {
	t.Helper()
	return jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: string(algFor(t, key)), Use: "sig"}
}

// rotate adds a key, which signs from now on.
func (i *issuer) rotate(k jose.JSONWebKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, k)
}

func (i *issuer) change(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

// count says how often a path was asked.
func (i *issuer) count(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.asked[path])
}

func (i *issuer) last(t testing.TB, path string) *asked {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	all := i.asked[path]
	if len(all) == 0 {
		t.Fatalf("%s was never asked", path)
	}
	return all[len(all)-1]
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	i.mu.Lock()
	i.asked[r.URL.Path] = append(i.asked[r.URL.Path], &asked{r.PostForm, r.Header, r.TLS})
	token, inspect, down := i.token, i.inspect, i.down
	i.mu.Unlock()
	switch {
	case down:
		http.Error(w, "away", http.StatusBadGateway)
	case r.URL.Path == "/.well-known/oauth-authorization-server":
		writeJSON(w, http.StatusOK, i.metadata())
	case r.URL.Path == "/jwks":
		writeJSON(w, http.StatusOK, i.jwks())
	case r.URL.Path == "/introspect" && inspect != nil:
		inspect(w, r)
	case (r.URL.Path == "/token" || r.URL.Path == "/mtls/token") && token != nil:
		token(w, r)
	case r.URL.Path == "/token" || r.URL.Path == "/mtls/token":
		i.issue(w, r, nil)
	default:
		http.NotFound(w, r)
	}
}

func (i *issuer) metadata() map[string]any {
	m := map[string]any{
		"issuer": i.URL, "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/jwks", "introspection_endpoint": i.URL + "/introspect",
		"mtls_endpoint_aliases": map[string]string{"token_endpoint": i.URL + "/mtls/token"},
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for k, v := range i.meta {
		m[k] = v
	}
	return m
}

func (i *issuer) jwks() any {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.set != nil {
		return i.set
	}
	var set jose.JSONWebKeySet
	for _, k := range i.keys {
		set.Keys = append(set.Keys, k.Public())
	}
	return set
}

// issue gives a token with other claims, if any, to whoever asks.
func (i *issuer) issue(w http.ResponseWriter, r *http.Request, other claims) {
	body := map[string]any{"access_token": i.sign(i.claims(other)), "token_type": "Bearer", "expires_in": 300, "scope": scopes}
	if r.PostForm.Get("grant_type") != "client_credentials" {
		body["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
	}
	if r.Header.Get("DPoP") != "" {
		body["token_type"] = "DPoP"
	}
	writeJSON(w, http.StatusOK, body)
}

type claims map[string]any

// claims are those of a good token for the resource; a nil in other takes one away.
func (i *issuer) claims(other claims) claims {
	now := i.clock.Now()
	c := claims{
		"iss": i.URL, "sub": "pump-1", "aud": resource, "client_id": "Cl1ent000001", "jti": rand.Text(), "scope": scopes,
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "org": "default", "kind": "service",
	}
	for k, v := range other {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

func (i *issuer) sign(c any) string {
	i.mu.Lock()
	k := i.keys[len(i.keys)-1]
	i.mu.Unlock()
	return signWith(k, "at+jwt", c, nil)
}

// signWith makes a JWT with a header of any kind.
func signWith(k jose.JSONWebKey, typ string, payload any, header map[string]any) string {
	o := (&jose.SignerOptions{}).WithType(jose.ContentType(typ))
	for name, v := range header {
		o.WithHeader(jose.HeaderKey(name), v)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.Algorithm), Key: k}, o)
	if err != nil {
		panic(err)
	}
	text, ok := payload.([]byte)
	if !ok {
		if text, err = json.Marshal(payload); err != nil {
			panic(err)
		}
	}
	signed, err := s.Sign(text)
	if err != nil {
		panic(err)
	}
	out, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return out
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// selfSigned returns a certificate for localhost.
func selfSigned(t testing.TB, name string) tls.Certificate {
	t.Helper()
	cert, err := certify(name, newECKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func certify(name string, key *ecdsa.PrivateKey) (tls.Certificate, error) {
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// source is one that gets its tokens from the issuer by a secret, if nothing else is said.
func (i *issuer) source(t testing.TB, change func(*client.TokenConfig)) *client.TokenSource {
	t.Helper()
	c := client.TokenConfig{Issuer: i.URL, ClientID: "Cl1ent000001", Auth: client.SecretBasic("a secret"), Now: i.clock.Now}
	if change != nil {
		change(&c)
	}
	s, err := client.NewTokenSource(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// verifier accepts the issuer's tokens for the resource.
func (i *issuer) verifier(t testing.TB, change func(*client.VerifierConfig)) *client.Verifier {
	t.Helper()
	c := client.VerifierConfig{Issuer: i.URL, Audiences: []string{resource}, Now: i.clock.Now, Leeway: 10 * time.Second}
	if change != nil {
		change(&c)
	}
	v, err := client.NewVerifier(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
