package oauth

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"cardea/internal/authority"
	"cardea/internal/ca"
	"cardea/internal/credential"
	"cardea/internal/httpdoor"
	"cardea/internal/jwt"
	"cardea/internal/testkit"
	"cardea/internal/testkit/foundation"
)

const issuer = foundation.Issuer

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a real Cardea whose HTTP door has the endpoints.
type house struct {
	testing.TB
	*foundation.Foundation
	log    *testkit.Log
	server *Server
	door   *httpdoor.Door
	base   string // URL of the door
	http   *http.Client
}

// newHouse opens a house; with TLS its door speaks HTTPS and asks for certificates.
func newHouse(t testing.TB, changes ...func(*house, *httpdoor.Config)) *house {
	t.Helper()
	h := &house{TB: t, Foundation: foundation.New(t), log: &testkit.Log{}, base: "http://", http: &http.Client{Transport: &http.Transport{}}}
	log := slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.server = New(Config{
		Gate: h.Gate, Authority: h.Authority, Log: log, Certificate: func(r *http.Request) (*x509.Certificate, *x509.Certificate) { return h.door.Certificate(r) },
		ClientAddr: func(r *http.Request) netip.Addr { a, _ := h.door.Source(r); return a },
	})
	c := httpdoor.Config{Gate: h.Gate, TokenAuth: true, Reserved: h.server, Forms: h.server.Forms(), Log: log}
	for _, f := range changes {
		f(h, &c)
	}
	var err error
	h.door, err = httpdoor.New(c)
	h.must(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	h.must(err)
	h.base += ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); h.door.Serve(ctx, ln) }()
	t.Cleanup(func() { h.http.CloseIdleConnections(); cancel(); <-done })
	h.scope("read", "allow http:GET /db/**")
	h.scope("write", "allow http:POST /db/**")
	_, err = h.Authority.PutRole(ctx, h.Local, credential.Role{Org: credential.DefaultOrg, Name: "clerk", Scopes: []string{"read", "write"}})
	h.must(err)
	h.service("billing", "clerk")
	return h
}

func withTLS(h *house, c *httpdoor.Config) {
	l, err := ca.NewListener(h.CA, []string{"localhost"}, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, time.Now)
	h.must(err)
	c.TLS = &tls.Config{GetCertificate: l.GetCertificate, ClientCAs: h.CA.ClientPool()}
	h.base = "https://"
	h.http = h.over()
}

// over returns a client with certificates, or without.
func (h *house) over(certs ...tls.Certificate) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(h.Authority.TrustAnchor())
	t := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}}
	h.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *house) scope(name string, rules ...string) {
	h.Helper()
	s := credential.Scope{Org: credential.DefaultOrg, Name: name}
	for _, r := range rules {
		f := strings.Fields(r)
		s.Rules = append(s.Rules, credential.Rule{Permission: credential.Permission(f[0]), Action: f[1], Resource: f[2]})
	}
	_, err := h.Authority.PutScope(h.Context(), h.Local, s)
	h.must(err)
}

func (h *house) service(name string, roles ...string) {
	h.Helper()
	h.principal(credential.Service, name, roles...)
}

func (h *house) principal(kind credential.PrincipalKind, name string, roles ...string) {
	h.Helper()
	_, err := h.Authority.CreatePrincipal(h.Context(), h.Local, authority.NewPrincipal{Kind: kind, Name: name, Roles: roles})
	h.must(err)
}

// client gives a service an OAuth client.
func (h *house) client(service string, config credential.ClientConfig, changes ...func(*authority.NewCredential)) authority.Issued {
	h.Helper()
	return h.credential(credential.OAuthClient, service, append([]func(*authority.NewCredential){
		func(n *authority.NewCredential) { n.Client = &config },
	}, changes...)...)
}

func (h *house) credential(kind credential.Kind, principal string, changes ...func(*authority.NewCredential)) authority.Issued {
	h.Helper()
	n := authority.NewCredential{Kind: kind, Principal: principal, TTL: 24 * time.Hour}
	for _, f := range changes {
		f(&n)
	}
	is, err := h.Authority.CreateCredential(h.Context(), h.Local, n)
	h.must(err)
	return is
}

func (h *house) api(name string, scopes []string, changes ...func(*authority.NewAPI)) string {
	h.Helper()
	n := authority.NewAPI{Name: name, Audience: "https://" + name + ".test", Scopes: scopes}
	for _, f := range changes {
		f(&n)
	}
	_, err := h.Authority.CreateAPI(h.Context(), h.Local, n)
	h.must(err)
	return n.Audience
}

func (h *house) revoke(id string) {
	h.Helper()
	_, err := h.Authority.Revoke(h.Context(), h.Local, id, "test")
	h.must(err)
}

// reply is an answer of an endpoint.
type reply struct {
	*http.Response
	text string
	body map[string]any
}

func (r *reply) get(name string) string { s, _ := r.body[name].(string); return s }
func (r *reply) token() string          { return r.get("access_token") }

// is makes sure of a status and an error code, "" for none.
func (r *reply) is(t testing.TB, status int, code string) {
	t.Helper()
	if r.StatusCode != status || r.get("error") != code {
		t.Errorf("answer %d %s, want %d %q", r.StatusCode, r.text, status, code)
	}
}

// body makes a form of names and values.
func body(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(pairs[i]) + "=" + url.QueryEscape(pairs[i+1]))
	}
	return b.String()
}

// post sends a form; headers are "Name: value".
func (h *house) post(path, text string, headers ...string) *reply {
	h.Helper()
	return h.postBy(h.http, path, text, headers...)
}

func (h *house) postBy(c *http.Client, path, text string, headers ...string) *reply {
	h.Helper()
	r, err := http.NewRequestWithContext(h.Context(), http.MethodPost, h.base+path, strings.NewReader(text))
	h.must(err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	typed := false
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Content-Type" && !typed {
			r.Header.Del(name)
			typed = true
		}
		r.Header.Add(name, value)
	}
	return h.do(c, r)
}

func (h *house) do(c *http.Client, r *http.Request) *reply {
	h.Helper()
	resp, err := c.Do(r)
	h.must(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	h.must(err)
	out := &reply{Response: resp, text: string(raw)}
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&out.body); err != nil {
		h.Fatalf("%d %s is no JSON", resp.StatusCode, raw)
	}
	return out
}

// basicOf is how a client shows its secret (RFC 6749 §2.3.1).
func basicOf(id, secret string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
}

func asClient(is authority.Issued) string {
	return basicOf(is.Credential.ID, is.Secret.Reveal())
}

// ask asks for a token by client credentials.
func (h *house) ask(is authority.Issued, pairs ...string) *reply {
	h.Helper()
	return h.post(tokenPath, body(append([]string{"grant_type", "client_credentials"}, pairs...)...), asClient(is))
}

// tokenOf is an access token of a client's.
func (h *house) tokenOf(is authority.Issued, pairs ...string) string {
	h.Helper()
	r := h.ask(is, pairs...)
	r.is(h, 200, "")
	if r.token() == "" {
		h.Fatal("no token")
	}
	return r.token()
}

// swap exchanges a token; pairs are added to the form.
func (h *house) swap(subject string, headers []string, pairs ...string) *reply {
	h.Helper()
	return h.post(tokenPath, body(append([]string{"grant_type", tokenExchange, "subject_token", subject, "subject_token_type", typeAccess}, pairs...)...), headers...)
}

// claims reads the claims of a token, whose signature must be one of the published keys'.
func (h *house) claims(token string) map[string]any {
	h.Helper()
	var set jose.JSONWebKeySet
	h.must(json.Unmarshal(h.Gate.JWKS(h.Context()), &set))
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256})
	h.must(err)
	payload, err := signed.Verify(set)
	h.must(err)
	var c map[string]any
	h.must(json.Unmarshal(payload, &c))
	return c
}

// active asks about a token as a client.
func (h *house) active(is authority.Issued, token string) bool {
	h.Helper()
	r := h.post(introspectPath, body("token", token), asClient(is))
	r.is(h, 200, "")
	on, _ := r.body["active"].(bool)
	if !on && r.text != `{"active":false}` {
		h.Errorf("inactive with more: %s", r.text)
	}
	return on
}

// holder is a client with a key.
type holder struct{ *testkit.Holder }

func newHolder(t testing.TB) *holder {
	t.Helper()
	return &holder{testkit.NewHolder(t)}
}

// jwks is the set of its public key.
func (o *holder) jwks(t testing.TB) json.RawMessage {
	t.Helper()
	set, err := jwt.Set(o.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// assertion is a client's (RFC 7523); change alters its claims.
func (o *holder) assertion(t testing.TB, id string, change func(map[string]any)) string {
	t.Helper()

	c := map[string]any{"iss": id, "sub": id, "aud": issuer, "jti": "a" + rand.Text(), "exp": time.Now().Add(time.Minute).Unix()}
	if change != nil {
		change(c)
	}
	return testkit.SignJWT(t, o.Key, nil, c)
}

// proof is a DPoP header for the token endpoint; change alters its claims.
func (o *holder) proof(nonce string, change ...func(map[string]any)) string {
	o.Helper()
	return "DPoP: " + o.Proof("POST", issuer+tokenPath, "", nonce, change...)
}

func (h *house) get(path string) *reply {
	h.Helper()
	r, err := http.NewRequestWithContext(h.Context(), http.MethodGet, h.base+path, nil)
	h.must(err)
	return h.do(h.http, r)
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// tenant makes an organisation with a service "billing" that may all there, and a client of it.
func (h *house) tenant(name string) authority.Issued {
	h.Helper()
	_, err := h.Authority.CreateOrg(h.Context(), h.Local, authority.NewOrg{Name: name})
	h.must(err)
	was := h.Local
	defer func() { h.Local = was }()
	h.Local.Org = name
	h.principal(credential.Service, "billing", credential.RoleAdmin)
	return h.client("billing", credential.ClientConfig{})
}

// configure changes a client as a whole.
func (h *house) configure(id string, config credential.ClientConfig) {
	h.Helper()
	_, err := h.Authority.UpdateCredential(h.Context(), h.Local, id, authority.CredentialPatch{Client: &config})
	h.must(err)
}

// hashOf is ath (RFC 9449 §4.2).
func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
