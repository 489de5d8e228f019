package client_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cardea/client"
)

// guarded is a real server behind the middleware, which answers with the subject.
func guarded(t testing.TB, v *client.Verifier, options ...client.GuardOption) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(client.Middleware(v, options...)(http.HandlerFunc(whoAmI)))
	t.Cleanup(s.Close)
	return s
}

func whoAmI(w http.ResponseWriter, r *http.Request) {
	c, ok := client.TokenFrom(r.Context())
	if !ok {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, c.Subject)
}

func ask(t testing.TB, h *http.Client, method, url string, header http.Header) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	resp, err := h.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, bodyOf(t, resp)
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// RFC 6750 section 3. What is wrong with a token is told to the log and not to the caller.
func TestMiddleware(t *testing.T) {
	i := newIssuer(t, newClock())
	var reasons []string
	log := client.OnRefused(func(_ context.Context, err error) { reasons = append(reasons, err.Error()) })
	s := guarded(t, i.verifier(t, nil), client.Realm(`th"ings`), client.RequireScope("things:read", "things:write"), log)
	good := i.sign(i.claims(nil))
	for name, c := range map[string]struct {
		query  string
		header http.Header
		status int
		wants  string // WWW-Authenticate
		body   string
	}{
		"good":                     {"", bearer(good), 200, "", "pump-1"},
		"good, in other letters":   {"", http.Header{"Authorization": {"bEARER  " + good}}, 200, "", "pump-1"},
		"nothing":                  {"", nil, 401, `Bearer realm="th_ings"`, `{"success":false,"reason":"no token"}` + "\n"},
		"Basic":                    {"", http.Header{"Authorization": {"Basic " + good}}, 401, `Bearer realm="th_ings"`, `{"success":false,"reason":"no token"}` + "\n"},
		"K04 in the query":         {"?access_token=" + good, nil, 400, `Bearer realm="th_ings", error="invalid_request"`, `{"success":false,"reason":"invalid request"}` + "\n"},
		"K04 in the query as well": {"?access_token=", bearer(good), 400, `Bearer realm="th_ings", error="invalid_request"`, `{"success":false,"reason":"invalid request"}` + "\n"},
		"twice":                    {"", http.Header{"Authorization": {"Bearer " + good, "Bearer " + good}}, 400, `Bearer realm="th_ings", error="invalid_request"`, `{"success":false,"reason":"invalid request"}` + "\n"},
		"expired":                  {"", bearer(i.sign(i.claims(claims{"exp": 1}))), 401, `Bearer realm="th_ings", error="invalid_token"`, `{"success":false,"reason":"invalid token"}` + "\n"},
		"garbage":                  {"", bearer("x y"), 401, `Bearer realm="th_ings", error="invalid_token"`, `{"success":false,"reason":"invalid token"}` + "\n"},
		"J22 as DPoP":              {"", http.Header{"Authorization": {"DPoP " + good}}, 401, `Bearer realm="th_ings", error="invalid_token"`, `{"success":false,"reason":"invalid token"}` + "\n"},
		"too narrow":               {"", bearer(i.sign(i.claims(claims{"scope": "things:read"}))), 403, `Bearer realm="th_ings", error="insufficient_scope", scope="things:read things:write"`, `{"success":false,"reason":"insufficient scope"}` + "\n"},
		"no scope at all":          {"", bearer(i.sign(i.claims(claims{"scope": nil}))), 403, `Bearer realm="th_ings", error="insufficient_scope", scope="things:read things:write"`, `{"success":false,"reason":"insufficient scope"}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			status, header, body := ask(t, s.Client(), "GET", s.URL+"/"+c.query, c.header)
			if status != c.status || header.Get("WWW-Authenticate") != c.wants || body != c.body {
				t.Errorf("%d, %q, %q", status, header.Get("WWW-Authenticate"), body)
			}
		})
	}
	if len(reasons) != 10 || strings.Contains(strings.Join(reasons, " "), good) {
		t.Errorf("the log has %d lines: %q", len(reasons), reasons)
	}
	i.change(func() { i.down = true })
	other := guarded(t, i.verifier(t, nil))
	if status, header, _ := ask(t, s.Client(), "GET", other.URL, bearer(good)); status != 503 || header.Get("Retry-After") == "" {
		t.Errorf("%d when it cannot be known", status)
	}
}

// J20: a token that is bound to a certificate is good over a connection with that certificate alone.
func TestTokensThatAreBoundToACertificate(t *testing.T) {
	i := newIssuer(t, newClock())
	s := httptest.NewUnstartedServer(client.Middleware(i.verifier(t, nil))(http.HandlerFunc(whoAmI)))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	defer s.Close()
	mine, other := selfSigned(t, "mine"), selfSigned(t, "other")
	with := func(certs ...tls.Certificate) *http.Client {
		tr := s.Client().Transport.(*http.Transport).Clone()
		tr.TLSClientConfig.Certificates = certs
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	sum := sha256.Sum256(mine.Leaf.Raw)
	thumb := base64.RawURLEncoding.EncodeToString(sum[:])
	token := i.sign(i.claims(claims{"cnf": claims{"x5t#S256": thumb}}))
	forged := bearer(token)
	for _, name := range []string{"X-Client-Cert", "X-Forwarded-Client-Cert", "Ssl-Client-Cert", "Client-Cert"} {
		forged.Set(name, base64.StdEncoding.EncodeToString(mine.Leaf.Raw))
	}
	for name, c := range map[string]struct {
		h      *http.Client
		header http.Header
		status int
	}{
		"its certificate":            {with(mine), bearer(token), 200},
		"another":                    {with(other), bearer(token), 401},
		"none":                       {with(), bearer(token), 401},
		"a forged field":             {with(), forged, 401},
		"a forged field on another":  {with(other), forged, 401},
		"unbound over a certificate": {with(other), bearer(i.sign(i.claims(nil))), 200},
		"bound to a DPoP key, too":   {with(mine), bearer(i.sign(i.claims(claims{"cnf": claims{"x5t#S256": thumb, "jkt": thumb}}))), 401},
	} {
		if status, _, _ := ask(t, c.h, "GET", s.URL, c.header); status != c.status {
			t.Errorf("%s: %d, want %d", name, status, c.status)
		}
	}
	// Without TLS there is no certificate.
	if status, _, _ := ask(t, http.DefaultClient, "GET", guarded(t, i.verifier(t, nil)).URL, forged); status != 401 {
		t.Errorf("%d in the clear", status)
	}
}

// The whole way by DPoP, with nonces on both sides, and tokens that are of no use to anybody else (J21, J22).
func TestDPoPFromEndToEnd(t *testing.T) {
	i := newIssuer(t, newClock())
	i.token = func(w http.ResponseWriter, r *http.Request) {
		i.issue(w, r, claims{"cnf": claims{"jkt": proofOf(t, r.Header).Key}})
	}
	s := httptest.NewUnstartedServer(nil)
	s.Start()
	defer s.Close()
	v := i.verifier(t, func(c *client.VerifierConfig) { c.DPoP = &client.DPoPConfig{Origins: []string{s.URL}, Nonces: true} })
	served := 0
	s.Config.Handler = client.Middleware(v)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { served++; whoAmI(w, r) }))
	source := i.source(t, func(c *client.TokenConfig) { c.DPoP = true })
	h := &http.Client{Transport: &client.Transport{Source: source}}
	for n := range 12 {
		status, _, body := ask(t, h, "POST", s.URL+"/things/1?n=1", http.Header{})
		if status != 200 || body != "pump-1" {
			t.Fatalf("request %d: %d %s", n, status, body)
		}
		i.clock.Add(20 * time.Second) // a new nonce comes with each answer
	}
	if i.count("/token") != 1 || served != 12 {
		t.Errorf("%d tokens, %d served", i.count("/token"), served)
	}
	status, header, _ := ask(t, http.DefaultClient, "GET", s.URL, bearer(tokenOf(t, source)))
	if status != 401 || len(header.Values("WWW-Authenticate")) != 2 || !strings.Contains(header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("as Bearer: %d %v", status, header)
	}
}
