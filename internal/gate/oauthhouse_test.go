package gate

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"cardea/internal/credential"
	"cardea/internal/jwt"
	"cardea/internal/secret"
)

const issuer = "https://cardea.test"

// mint is a house that makes access tokens, with what the authority would do with keys.
type mint struct {
	*house
	mu   sync.Mutex
	keys credential.SigningKeys
	fail error
}

func newMint(t testing.TB, change ...func(*Config)) *mint {
	t.Helper()
	m := &mint{}
	m.keys = credential.SigningKeys{Sign: map[string]crypto.Signer{}}
	m.addKey("ES256", newECKey(t))
	m.house = newHouse(t, append([]func(*Config){func(c *Config) {
		c.TokenIssuer, c.NonceKey = issuer, []byte("the same on all nodes")
		c.SigningKeys = func(context.Context) (credential.SigningKeys, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.keys, m.fail
		}
	}}, change...)...)
	return m
}

func newECKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (m *mint) addKey(alg string, k crypto.Signer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sign := map[string]crypto.Signer{}
	for a, s := range m.keys.Sign {
		sign[a] = s
	}
	sign[alg] = k
	m.keys = credential.SigningKeys{Sign: sign, Trust: append(append([]crypto.PublicKey(nil), m.keys.Trust...), k.Public())}
}

// turnKeys tells the gate that keys have changed.
func (m *mint) turnKeys() {
	m.Helper()
	m.change("key", "k", credential.PutSetting{Name: "key", Value: rand.Text()})
}

func (m *mint) service(name string, roles ...string) credential.Principal {
	m.Helper()
	id, err := secret.NewID(11)
	if err != nil {
		m.Fatal(err)
	}
	p := credential.Principal{ID: "P" + id, Org: m.org, Kind: credential.Service, Name: name, Roles: roles, CreatedAt: m.hands.now(), Version: 1}
	m.change("principal", p.ID, credential.CreatePrincipal{Principal: p})
	return p
}

// client gives a service an OAuth client with a secret.
func (m *mint) client(p credential.Principal, config credential.ClientConfig, change ...func(*credential.Credential)) (string, credential.Credential) {
	m.Helper()
	if config.Auth == "" {
		config.Auth = credential.SecretBasic
	}
	c := m.newCredential(p, append([]func(*credential.Credential){func(c *credential.Credential) { c.Kind, c.Client = credential.OAuthClient, &config }}, change...)...)
	text, hash, err := secret.New("sec", c.ID)
	if err != nil {
		m.Fatal(err)
	}
	c.Proofs = []credential.Proof{{N: 1, Hash: hash[:], CreatedAt: m.hands.now()}}
	m.change("credential", c.ID, credential.CreateCredential{Credential: c})
	return text.Reveal(), c
}

// key gives a principal a token of a kind.
func (m *mint) key(p credential.Principal, kind credential.Kind, form string, change ...func(*credential.Credential)) (string, credential.Credential) {
	m.Helper()
	c := m.newCredential(p, append([]func(*credential.Credential){func(c *credential.Credential) { c.Kind = kind }}, change...)...)
	text, hash, err := secret.New(form, c.ID)
	if err != nil {
		m.Fatal(err)
	}
	c.Proofs = []credential.Proof{{N: 1, Hash: hash[:], CreatedAt: m.hands.now()}}
	m.change("credential", c.ID, credential.CreateCredential{Credential: c})
	return text.Reveal(), c
}

func (m *mint) api(name string, scopes ...string) {
	m.Helper()
	a := credential.API{Org: m.org, Name: name, Audience: "https://" + name + ".test", Scopes: scopes, CreatedAt: m.hands.now()}
	p, err := m.store.Store.Policy(m.Context())
	if err != nil {
		m.Fatal(err)
	}
	for _, was := range p.APIs {
		if was.Name == name {
			a.Version = was.Version
		}
	}
	m.change("api", name, credential.PutAPI{API: a})
}

// proves has a client prove itself by its secret.
func (m *mint) proves(secret, id string) *Client {
	m.Helper()
	c, out := m.gate.Client(m.Context(), &ClientEvidence{ID: id, Secret: secret, Source: here, Door: "http"})
	if out.Reason != credential.OK {
		m.Fatalf("the client is refused: %v", out.Reason)
	}
	return c
}

func (m *mint) minted(id *Identity, w Wanted) Minted {
	m.Helper()
	got, err := m.gate.Mint(id, &w)
	if err != nil {
		m.Fatal(err)
	}
	return got
}

// notMinted makes sure that a token is refused for a field.
func (m *mint) notMinted(id *Identity, w Wanted, field string) {
	m.Helper()
	_, err := m.gate.Mint(id, &w)
	e, ok := errors.AsType[*credential.Error](err)
	if !ok || len(e.Fields) != 1 || e.Fields[0].Field != field {
		m.Errorf("the error is %v, want one of %s", err, field)
	}
}

// issue is a service with a client, and an access token for it.
func (m *mint) issue() (string, Minted, credential.Credential, credential.Principal) {
	m.Helper()
	m.writer()
	p := m.service("svc", "writer")
	text, c := m.client(p, credential.ClientConfig{})
	got := m.minted(m.proves(text, c.ID).Identity, Wanted{})
	return text, got, c, p
}

// forged signs any claims with a key, by a library that nobody here wrote.
func forged(t testing.TB, key any, alg jose.SignatureAlgorithm, header map[jose.HeaderKey]any, claims any) string {
	t.Helper()
	o := &jose.SignerOptions{ExtraHeaders: header}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	o2, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := o2.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// claimsOf reads a token's claims.
func claimsOf(t testing.TB, token string) map[string]any {
	t.Helper()
	u, err := jwt.Read(token)
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(u.Claims, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// holder makes DPoP proofs.
type holder struct {
	key *ecdsa.PrivateKey
	jkt string
	n   int
}

func newHolder(t testing.TB) *holder {
	t.Helper()
	h := &holder{key: newECKey(t)}
	var err error
	if h.jkt, err = jwt.Thumbprint(h.key.Public()); err != nil {
		t.Fatal(err)
	}
	return h
}

// proof is one for a request; change alters its claims.
func (h *holder) proof(t testing.TB, m *mint, token string, change func(map[string]any)) *DPoP {
	t.Helper()
	h.n++
	c := map[string]any{"jti": fmt.Sprint("proof-", h.n), "htm": "GET", "htu": issuer + "/db/query", "iat": m.hands.now().Unix(), "nonce": m.gate.Nonce()}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		c["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	if change != nil {
		change(c)
	}
	return &DPoP{Proof: h.sign(t, c), Method: "GET", URL: issuer + "/db/query"}
}

func (h *holder) sign(t testing.TB, claims any) string {
	t.Helper()
	jwk := jose.JSONWebKey{Key: h.key.Public()}
	return forged(t, h.key, jose.ES256, map[jose.HeaderKey]any{"typ": "dpop+jwt", "jwk": jwk}, claims)
}

func edKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
