package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"cardea/internal/testkit"
	"cardea/internal/view"
)

// billing is a service with an OAuth client on a server of its own process.
type billing struct {
	testing.TB
	*testkit.Cardea
	issuer string
}

// newBilling makes the service, which may read and write under /db/, and the API "orders".
func newBilling(t *testing.T, c testkit.CardeaConfig, scheme string) *billing {
	t.Helper()
	b := &billing{TB: t, Cardea: start(t, c)}
	b.issuer = scheme + b.HTTP
	b.post("/scopes", map[string]any{"name": "orders:read", "rules": []map[string]any{{"permission": "allow", "action": "http:GET", "resource": "/db/**"}}}, nil)
	b.post("/roles", map[string]any{"name": "clerk", "scopes": []string{"orders:read"}}, nil)
	b.post("/principals", view.NewPrincipal{Kind: "service", Name: "billing", Roles: []string{"clerk"}}, nil)
	b.post("/apis", view.NewAPI{Name: "orders", Audience: "https://orders.example", Scopes: []string{"orders:read"}}, nil)
	return b
}

func (b *billing) post(path string, in, out any) {
	b.Helper()
	if status, err := ask(b.Socket(), http.MethodPost, "/api/v1"+path, in, out); status != http.StatusCreated {
		b.Fatalf("POST %s: status %d, %v", path, status, err)
	}
}

// client makes an OAuth client, and returns its ID and secret, if it has one.
func (b *billing) client(c view.Client) (id, secret string) {
	b.Helper()
	var is view.Issued
	b.post("/credentials", view.NewCredential{Kind: "oauth_client", Principal: "billing", TTL: "1d", Client: &c}, &is)
	return is.ID, is.Secret.Reveal()
}

// keyed is a key, as clients register it and as they hold it.
type keyed struct {
	key          *ecdsa.PrivateKey
	public       json.RawMessage // JWK set
	private      json.RawMessage // JWK
	cert, keyPEM string          // of its own certificate
	certified    json.RawMessage // JWK set with that
}

func newKeyed(t *testing.T) keyed {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	id, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	must(err)
	kid := base64.RawURLEncoding.EncodeToString(id)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "billing"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(err)
	leaf, err := x509.ParseCertificate(der)
	must(err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	k := keyed{key: key}
	k.cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	k.keyPEM = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	k.public, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: kid, Use: "sig", Algorithm: "ES256"}}})
	must(err)
	k.certified, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: kid, Certificates: []*x509.Certificate{leaf}}}})
	must(err)
	k.private, err = json.Marshal(jose.JSONWebKey{Key: key, KeyID: kid})
	must(err)
	return k
}

// verified reads a token as others do: by the published keys, which have nothing private (J14).
func (b *billing) verified(c *http.Client, token string) map[string]any {
	b.Helper()
	resp, err := c.Get(b.issuer + "/.well-known/jwks.json")
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil {
		b.Fatal(err)
	}
	for _, k := range set.Keys {
		if !k.IsPublic() {
			b.Error("a private key is published")
		}
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		b.Fatal(err)
	}
	if typ := signed.Signatures[0].Header.ExtraHeaders["typ"]; typ != "at+jwt" {
		b.Errorf("typ %v", typ)
	}
	payload, err := signed.Verify(set)
	if err != nil {
		b.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		b.Fatal(err)
	}
	return claims
}

// jsOAuth runs testdata/oauth.mjs and returns what it said, by event.
func jsOAuth(t *testing.T, options map[string]any) map[string]map[string]any {
	t.Helper()
	modules, err := filepath.Abs("../../bin/js")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "node_modules", "openid-client")); err != nil {
		t.Fatal("openid-client is not installed: run the tests by `make test`, which installs what they need")
	}
	raw, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "testdata/oauth.mjs", modules, string(raw))
	out, err := cmd.Output()
	said := map[string]map[string]any{}
	for in := json.NewDecoder(strings.NewReader(string(out))); ; {
		var one map[string]any
		if e := in.Decode(&one); errors.Is(e, io.EOF) {
			break
		} else if e != nil {
			t.Fatalf("%v in %s", e, out)
		}
		event, _ := one["event"].(string)
		said[event] = one
	}
	if err != nil {
		text := ""
		if e := (&exec.ExitError{}); errors.As(err, &e) {
			text = string(e.Stderr)
		}
		t.Fatalf("%v\n%s%s", err, out, text)
	}
	return said
}

var jsLibraries = []string{"openid-client", "oauth4webapi"}

// Clients that nobody here wrote discover the server, prove themselves in each way, get tokens, have them introspected and revoke them.
func TestOAuthClients(t *testing.T) {
	t.Parallel()
	b := newBilling(t, testkit.CardeaConfig{}, "http://")
	id, secret := b.client(view.Client{})
	mine := newKeyed(t)
	keyID, _ := b.client(view.Client{AuthMethod: "private_key_jwt", JWKS: mine.public})
	var key view.Issued
	b.post("/credentials", view.NewCredential{Kind: "api_key", Principal: "billing", Name: "ci", TTL: "1d"}, &key)

	t.Run("golang.org/x/oauth2", func(t *testing.T) {
		for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams, oauth2.AuthStyleAutoDetect} {
			c := clientcredentials.Config{ClientID: id, ClientSecret: secret, TokenURL: b.issuer + "/oauth2/token", Scopes: []string{"orders:read"}, AuthStyle: style}
			got, err := c.Token(t.Context())
			if err != nil {
				t.Fatalf("style %d: %v", style, err)
			}
			claims := b.verified(http.DefaultClient, got.AccessToken)
			if got.Type() != "Bearer" || time.Until(got.Expiry) < 10*time.Minute || claims["iss"] != b.issuer || claims["sub"] != "billing" {
				t.Errorf("%v, claims %v", got, claims)
			}
			c.Scopes = []string{"admin"}
			if e := (&oauth2.RetrieveError{}); !asRetrieve(c, &e) || e.ErrorCode != "invalid_scope" {
				t.Errorf("a scope too many: %v", e)
			}
			c.ClientSecret = testkit.Spoil(secret)
			if e := (&oauth2.RetrieveError{}); !asRetrieve(c, &e) || e.ErrorCode != "invalid_client" {
				t.Errorf("a wrong secret: %v", e)
			}
		}
	})
	t.Run("curl", func(t *testing.T) {
		out, err := exec.CommandContext(t.Context(), "curl", "-sS", "--fail-with-body", "-u", id+":"+secret, "-d", "grant_type=client_credentials", b.issuer+"/oauth2/token").Output()
		if err != nil || !strings.HasPrefix(string(out), `{"access_token":"`) {
			t.Errorf("%v: %s", err, out)
		}
	})
	for _, lib := range jsLibraries {
		for name, more := range map[string]map[string]any{
			"basic":    {"client": map[string]any{"id": id, "auth": "client_secret_basic", "secret": secret}},
			"post":     {"client": map[string]any{"id": id, "auth": "client_secret_post", "secret": secret}},
			"key":      {"client": map[string]any{"id": keyID, "auth": "private_key_jwt", "jwk": mine.private}},
			"DPoP":     {"client": map[string]any{"id": id, "auth": "client_secret_basic", "secret": secret}, "dpop": true},
			"key+DPoP": {"client": map[string]any{"id": keyID, "auth": "private_key_jwt", "jwk": mine.private}, "dpop": true},
			"resource": {"client": map[string]any{"id": id, "auth": "client_secret_basic", "secret": secret}, "resource": "https://orders.example"},
			"exchange": {"client": map[string]any{"id": id, "auth": "client_secret_basic", "secret": secret}, "subject": key.Secret.Reveal()},
		} {
			t.Run(lib+" "+name, func(t *testing.T) {
				options := map[string]any{"issuer": b.issuer, "library": lib}
				for k, v := range more {
					options[k] = v
				}
				wantOAuth(t, jsOAuth(t, options), strings.HasSuffix(name, "DPoP"))
			})
		}
	}
	if strings.Contains(b.Cardea.Log(), secret) { // K03
		t.Error("the secret is in the log")
	}
}

func asRetrieve(c clientcredentials.Config, e **oauth2.RetrieveError) bool {
	_, err := c.Token(context.Background())
	return errors.As(err, e)
}

// wantOAuth looks at what a client in JavaScript has got.
func wantOAuth(t *testing.T, said map[string]map[string]any, dpop bool) {
	t.Helper()
	kind := "bearer"
	if dpop {
		kind = "dpop"
	}
	token := said["token"]
	if typ, _ := token["type"].(string); !strings.EqualFold(typ, kind) || token["scope"] != "orders:read" || token["expires"] != 900.0 {
		t.Errorf("token: %v", token)
	}
	if in := said["introspection"]; in["active"] != true || in["sub"] != "billing" || in["scope"] != "orders:read" {
		t.Errorf("introspection: %v", in)
	}
	if in := said["revoked"]; in["active"] != false || len(in) != 2 {
		t.Errorf("after its revocation: %v", in)
	}
	if claims, there := said["claims"]; there && claims["sub"] != "billing" {
		t.Errorf("claims: %v", claims)
	}
}

// Clients prove themselves by a certificate of Cardea's CA or by their own one, over a listener that serves everybody else as well (RFC 8705).
func TestOAuthClientsByTLS(t *testing.T) {
	t.Parallel()
	b := newBilling(t, testkit.CardeaConfig{Args: []string{"--http-tls"}}, "https://")
	var ca view.TrustAnchor
	if status, err := ask(b.Socket(), http.MethodGet, "/api/v1/ca", nil, &ca); status != http.StatusOK {
		t.Fatal(status, err)
	}
	var cert view.Issued
	b.post("/credentials", view.NewCredential{Kind: "certificate", Principal: "billing", TTL: "1d"}, &cert)
	block, _ := pem.Decode([]byte(cert.CertificatePEM))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	own := newKeyed(t)
	byCA, _ := b.client(view.Client{AuthMethod: "tls_client_auth", SubjectDN: leaf.Subject.String(), Bound: "tls"})
	byKey, _ := b.client(view.Client{AuthMethod: "self_signed_tls_client_auth", JWKS: own.certified, Bound: "tls"})
	for name, one := range map[string]struct{ id, cert, key string }{
		"CA":          {byCA, cert.CertificatePEM, cert.PrivateKey.Reveal()},
		"self-signed": {byKey, own.cert, own.keyPEM},
	} {
		for _, lib := range jsLibraries {
			t.Run(lib+" "+name, func(t *testing.T) {
				said := jsOAuth(t, map[string]any{
					"issuer": b.issuer, "library": lib, "client": map[string]any{"id": one.id, "auth": "tls"},
					"tls": map[string]any{"ca": ca.Root, "cert": one.cert, "key": one.key},
				})
				wantOAuth(t, said, false)
				if cnf, _ := said["introspection"]["cnf"].(map[string]any); cnf["x5t#S256"] == nil {
					t.Errorf("not bound: %v", said["introspection"])
				}
			})
		}
		t.Run("golang.org/x/oauth2 "+name, func(t *testing.T) {
			pair, err := tls.X509KeyPair([]byte(one.cert), []byte(one.key))
			if err != nil {
				t.Fatal(err)
			}
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM([]byte(ca.Root))
			c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}}}
			defer c.CloseIdleConnections()
			got, err := (&clientcredentials.Config{ClientID: one.id, TokenURL: b.issuer + "/oauth2/token", AuthStyle: oauth2.AuthStyleInParams}).
				Token(context.WithValue(t.Context(), oauth2.HTTPClient, c))
			if err != nil {
				t.Fatal(err)
			}
			if cnf, _ := b.verified(c, got.AccessToken)["cnf"].(map[string]any); cnf["x5t#S256"] == nil {
				t.Error("not bound")
			}
		})
	}
}
