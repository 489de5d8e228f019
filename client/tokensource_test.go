package client_test

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"cardea/client"
)

func tokenOf(t testing.TB, s oauth2.TokenSource) string {
	t.Helper()
	token, err := s.Token()
	if err != nil {
		t.Fatal(err)
	}
	return token.AccessToken
}

func TestAClientProvesItselfBySecret(t *testing.T) {
	const id, secret = "Cl1ent000001", "a:b%c+d é&=" // J15: reserved letters arrive as they are
	t.Run("basic", func(t *testing.T) {
		i := newIssuer(t, newClock())
		tokenOf(t, i.source(t, func(c *client.TokenConfig) { c.ClientID, c.Auth = id, client.SecretBasic(secret) }))
		a := i.last(t, "/token")
		user, pass, _ := (&http.Request{Header: a.Header}).BasicAuth()
		user2, pass2 := unescape(t, user), unescape(t, pass)
		if user2 != id || pass2 != secret || a.Form.Has("client_id") || a.Form.Has("client_secret") {
			t.Errorf("user %q, password %q, form %v", user2, pass2, a.Form)
		}
	})
	t.Run("post", func(t *testing.T) {
		i := newIssuer(t, newClock())
		tokenOf(t, i.source(t, func(c *client.TokenConfig) { c.ClientID, c.Auth = id, client.SecretPost(secret) }))
		a := i.last(t, "/token")
		if a.Form.Get("client_id") != id || a.Form.Get("client_secret") != secret || a.Header.Get("Authorization") != "" {
			t.Errorf("form %v, header %v", a.Form, a.Header) // J15: never both
		}
	})
}

func unescape(t testing.TB, s string) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/?x="+s, nil)
	return r.URL.Query().Get("x")
}

// RFC 7523 section 3, J19: iss and sub are the client, aud is the issuer, exp is near, and no jti comes twice.
func TestAClientProvesItselfByKey(t *testing.T) {
	for name, key := range map[string]crypto.Signer{"ES256": newECKey(t), "EdDSA": newEdKey(t), "RS256": newRSAKey(t, 2048)} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, newClock())
			s := i.source(t, func(c *client.TokenConfig) { c.Auth = client.PrivateKeyJWT(key, "") })
			seen := map[string]bool{}
			for range 2 {
				tokenOf(t, s)
				i.clock.Add(time.Hour)
				form := i.last(t, "/token").Form
				j, err := jose.ParseSignedCompact(form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.SignatureAlgorithm(name)})
				must(t, err)
				payload, err := j.Verify(key.Public())
				must(t, err)
				var got struct {
					Iss, Sub, Aud, Jti string
					Iat, Exp           int64
				}
				must(t, json.Unmarshal(payload, &got))
				if got.Iss != "Cl1ent000001" || got.Sub != got.Iss || got.Aud != i.URL || got.Exp-got.Iat != 60 || got.Jti == "" || seen[got.Jti] {
					t.Errorf("claims are %+v", got)
				}
				seen[got.Jti] = true
				sum, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
				must(t, err)
				if kid := j.Signatures[0].Header.KeyID; kid != base64.RawURLEncoding.EncodeToString(sum) {
					t.Errorf("kid is %q", kid)
				}
				if form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || form.Get("client_id") != got.Iss {
					t.Errorf("form is %v", form)
				}
			}
		})
	}
}

// RFC 8705 section 2, and section 5: endpoints for certificates may be others.
func TestAClientProvesItselfByCertificate(t *testing.T) {
	i := newIssuer(t, newClock())
	i.Close()
	i.Server = httptest.NewUnstartedServer(i)
	i.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	i.StartTLS()
	defer i.Close()
	cert := selfSigned(t, "pump-1")
	h := i.Client()
	h.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{cert}
	tokenOf(t, i.source(t, func(c *client.TokenConfig) { c.Auth, c.HTTP = client.TLSClientAuth(), h }))
	a := i.last(t, "/mtls/token")
	if len(a.TLS.PeerCertificates) != 1 || !a.TLS.PeerCertificates[0].Equal(cert.Leaf) || a.Form.Get("client_id") != "Cl1ent000001" {
		t.Errorf("form %v over %v", a.Form, a.TLS.PeerCertificates)
	}
}

func TestWhatIsAskedFor(t *testing.T) {
	i := newIssuer(t, newClock())
	tokenOf(t, i.source(t, func(c *client.TokenConfig) {
		c.Scopes, c.Resources = []string{"a", "b"}, []string{"https://one.example", "https://two.example"}
	}))
	want := map[string][]string{"grant_type": {"client_credentials"}, "scope": {"a b"}, "resource": {"https://one.example", "https://two.example"}}
	if diff := cmp.Diff(want, map[string][]string(i.last(t, "/token").Form)); diff != "" {
		t.Error(diff)
	}
}

// RFC 8693 section 2.1: a key is exchanged, with or without a client beside.
func TestExchange(t *testing.T) {
	i := newIssuer(t, newClock())
	s := i.source(t, func(c *client.TokenConfig) {
		c.ClientID, c.Auth = "", client.ClientAuth{}
		c.Subject, c.Actor, c.ActorType = client.Key("cardea_api_subject"), client.Key("actor"), "urn:ietf:params:oauth:token-type:jwt"
	})
	token, err := s.Token()
	must(t, err)
	want := map[string][]string{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"subject_token": {"cardea_api_subject"}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"actor_token": {"actor"}, "actor_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
	}
	a := i.last(t, "/token")
	if diff := cmp.Diff(want, map[string][]string(a.Form)); diff != "" || a.Header.Get("Authorization") != "" {
		t.Error(diff, a.Header)
	}
	if token.Extra("scope") != scopes {
		t.Errorf("scope is %v", token.Extra("scope"))
	}
}

// One source may be the subject of another: it is asked for a good token each time.
func TestExchangeOfATokenThatIsRenewed(t *testing.T) {
	i := newIssuer(t, newClock())
	first := i.source(t, nil)
	second := i.source(t, func(c *client.TokenConfig) { c.Subject = first })
	tokenOf(t, second)
	old := i.last(t, "/token").Form.Get("subject_token")
	i.clock.Add(time.Hour)
	tokenOf(t, second)
	if now := i.last(t, "/token").Form.Get("subject_token"); now == old || now != tokenOf(t, first) {
		t.Error("an old token was exchanged")
	}
}

// A subject that was revoked is not exchanged for ever.
func TestExchangeOfATokenThatIsRefused(t *testing.T) {
	for _, code := range []string{"invalid_request", "invalid_grant", "invalid_scope"} {
		i := newIssuer(t, newClock())
		first := i.source(t, nil)
		revoked := tokenOf(t, first)
		i.change(func() {
			i.token = func(w http.ResponseWriter, r *http.Request) {
				if r.PostForm.Get("subject_token") == revoked {
					writeJSON(w, 400, claims{"error": code})
					return
				}
				i.issue(w, r, nil)
			}
		})
		second := i.source(t, func(c *client.TokenConfig) { c.Subject = first })
		if _, err := second.Token(); err == nil {
			t.Error("a revoked token was exchanged")
		}
		i.clock.Add(time.Second)
		if _, err := second.Token(); (err == nil) != (code != "invalid_scope") {
			t.Errorf("after %s: %v", code, err)
		}
	}
}

func TestManyWaitForOneRequest(t *testing.T) {
	i := newIssuer(t, newClock())
	s := i.source(t, nil)
	var wg sync.WaitGroup
	tokens := make([]string, 50)
	for n := range tokens {
		wg.Go(func() { tokens[n] = tokenOf(t, s) })
	}
	wg.Wait()
	for _, token := range tokens {
		if token != tokens[0] {
			t.Fatal("two tokens")
		}
	}
	if n := i.count("/token"); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// Whoever holds a token that is still good never waits, not even for a server that does not answer.
func TestRenewalIsBesideThose(t *testing.T) {
	i := newIssuer(t, newClock())
	s := i.source(t, nil)
	first := tokenOf(t, s)
	i.clock.Add(269 * time.Second) // 300 s, and 30 s before that
	if tokenOf(t, s) != first || i.count("/token") != 1 {
		t.Fatal("renewed too early")
	}
	asked, answer := make(chan struct{}), make(chan struct{})
	i.change(func() {
		i.token = func(w http.ResponseWriter, r *http.Request) {
			close(asked)
			<-answer
			i.issue(w, r, nil)
		}
	})
	i.clock.Add(2 * time.Second)
	for range 3 {
		if tokenOf(t, s) != first {
			t.Fatal("another token")
		}
	}
	<-asked
	if tokenOf(t, s) != first {
		t.Fatal("another token")
	}
	i.clock.Add(time.Minute) // it has ended: whoever comes now waits
	waits := make(chan string)
	go func() { waits <- tokenOf(t, s) }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.TokenContext(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("who does not want to wait gets %v", err)
	}
	close(answer)
	if <-waits == first {
		t.Error("a token that has ended")
	}
}

// A short life is renewed in its last tenth.
func TestShortLife(t *testing.T) {
	i := newIssuer(t, newClock())
	i.token = func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, 200, map[string]any{"access_token": fmt.Sprint("t", i.count("/token")), "token_type": "bearer", "expires_in": "60"})
	}
	s := i.source(t, nil)
	tokenOf(t, s)
	i.clock.Add(53 * time.Second)
	if tokenOf(t, s) != "t1" || i.count("/token") != 1 {
		t.Error("renewed before the last tenth")
	}
	i.clock.Add(6*time.Second + 500*time.Millisecond)
	if got := tokenOf(t, s); got != "t2" {
		t.Errorf("half a second before its end the token is %s", got)
	}
}

func TestARefusalIsTyped(t *testing.T) {
	i := newIssuer(t, newClock())
	i.token = func(w http.ResponseWriter, r *http.Request) {
		_, secret, _ := r.BasicAuth()
		w.Header().Set("Retry-After", "7")
		writeJSON(w, 401, map[string]any{"error": "invalid_client", "error_description": "not with \"" + unescape(t, secret) + "\"\n"})
	}
	s := i.source(t, nil)
	_, err := s.Token()
	got, ok := errors.AsType[*client.OAuthError](err)
	want := &client.OAuthError{Status: 401, Code: "invalid_client", Description: `not with "***"?`, RetryAfter: 7 * time.Second}
	if !ok || *got != *want {
		t.Fatalf("error is %#v", err)
	}
	i.clock.Add(6900 * time.Millisecond)
	for range 3 { // nobody asks again before the time
		if _, again := s.Token(); again != err {
			t.Errorf("then it is %v", again)
		}
	}
	i.clock.Add(100 * time.Millisecond)
	i.change(func() { i.token = nil })
	tokenOf(t, s)
	if n := i.count("/token"); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// The second failure is not asked about for two seconds, the third for four, and so on to a minute.
func TestFailuresAreAskedAboutLessAndLess(t *testing.T) {
	i := newIssuer(t, newClock())
	i.down = true
	s := i.source(t, nil)
	asks := func() int { return i.count("/.well-known/oauth-authorization-server") }
	for n, wait := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		if _, err := s.Token(); err == nil || asks() != n+1 {
			t.Fatalf("%d requests, error %v", asks(), err)
		}
		i.clock.Add(wait*time.Second - time.Millisecond)
		if _, err := s.Token(); err == nil || asks() != n+1 {
			t.Fatalf("asked before %d s, error %v", wait, err)
		}
		i.clock.Add(time.Millisecond)
	}
	i.change(func() { i.down = false })
	tokenOf(t, s)
}

func TestAFailedRenewalLeavesTheTokenThatIsGood(t *testing.T) {
	i := newIssuer(t, newClock())
	s := i.source(t, nil)
	first := tokenOf(t, s)
	i.change(func() { i.down = true })
	i.clock.Add(280 * time.Second)
	for n := range 200 { // the first of them makes a request, and it is left at that for a second
		if tokenOf(t, s) != first {
			t.Fatal("another token")
		}
		if n > 100 {
			time.Sleep(time.Millisecond)
		}
	}
	if n := i.count("/token"); n != 2 {
		t.Errorf("%d requests", n)
	}
	i.clock.Add(20 * time.Second)
	if _, err := s.Token(); err == nil {
		t.Error("a token that has ended is given out")
	}
}

func TestAnswersThatAreNotBelieved(t *testing.T) {
	good := func(other claims) claims {
		c := claims{"access_token": "abc", "token_type": "Bearer", "expires_in": 60}
		for k, v := range other {
			c[k] = v
		}
		return c
	}
	for name, body := range map[string]any{
		"nothing":                             claims{},
		"no object":                           []int{1},
		"no token":                            good(claims{"access_token": ""}),
		"a token that breaks out of a header": good(claims{"access_token": "a\r\nX: y"}),
		"a token that is too long":            good(claims{"access_token": strings.Repeat("a", 8193)}),
		"another type":                        good(claims{"token_type": "mac"}),
		"bound to a key that it has not":      good(claims{"token_type": "DPoP"}),
		"a life of nothing":                   good(claims{"expires_in": 0}),
		"a negative life":                     good(claims{"expires_in": -1}),
		"a life of letters":                   good(claims{"expires_in": "soon"}),
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, newClock())
			i.token = func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, body) }
			if token, err := i.source(t, nil).Token(); err == nil {
				t.Errorf("token is %v", token)
			}
		})
	}
	t.Run("an exchange for something else", func(t *testing.T) { // RFC 8693 section 2.2.1
		i := newIssuer(t, newClock())
		i.token = func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, 200, good(claims{"issued_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}))
		}
		if token, err := i.source(t, func(c *client.TokenConfig) { c.Subject = client.Key("x") }).Token(); err == nil {
			t.Errorf("token is %v", token)
		}
	})
	t.Run("a redirect", func(t *testing.T) { // the secret would go elsewhere
		i, other := newIssuer(t, newClock()), newIssuer(t, newClock())
		i.token = func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/token", http.StatusTemporaryRedirect)
		}
		if _, err := i.source(t, nil).Token(); err == nil || other.count("/token") != 0 {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("an unbound token where a bound one was asked for", func(t *testing.T) { // RFC 9449 section 5
		i := newIssuer(t, newClock())
		i.token = func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, good(nil)) }
		if token, err := i.source(t, func(c *client.TokenConfig) { c.DPoP = true }).Token(); err == nil {
			t.Errorf("token is %v", token)
		}
	})
}

// J10: metadata that speak for another issuer, by a letter, are not believed.
func TestMetadataOfAnotherIssuer(t *testing.T) {
	for name, change := range map[string]claims{
		"a slash":            {"issuer": "/"},
		"another":            {"issuer": "https://issuer.example"},
		"in the clear":       {"token_endpoint": "http://token.example/token"},
		"no URL":             {"token_endpoint": "token"},
		"ours, theirs not":   {"introspection_endpoint": "http://inspect.example/"},
		"no token endpoint":  {"token_endpoint": ""},
		"with somebody's id": {"token_endpoint": "https://user:word@token.example/"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, newClock())
			if change["issuer"] == "/" {
				change["issuer"] = i.URL + "/"
			}
			i.meta = change
			if _, err := i.source(t, nil).Token(); err == nil || i.count("/token") != 0 {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// RFC 8414 section 3.1: the well-known part is in front of a path.
func TestMetadataOfAnIssuerWithAPath(t *testing.T) {
	i := newIssuer(t, newClock())
	var asked string
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path
		writeJSON(w, 200, map[string]string{"issuer": "http://" + r.Host + "/tenant", "token_endpoint": i.URL + "/token"})
	}))
	defer h.Close()
	tokenOf(t, i.source(t, func(c *client.TokenConfig) { c.Issuer = h.URL + "/tenant" }))
	if asked != "/.well-known/oauth-authorization-server/tenant" {
		t.Error(asked)
	}
}

// Everything that is wrong is named at once, and before anything is sent.
func TestConfigurationsThatAreRefused(t *testing.T) {
	_, err := client.NewTokenSource(client.TokenConfig{Issuer: "http://issuer.example", TokenURL: "ftp://x", Actor: client.Key("x")})
	for _, words := range []string{"http://issuer.example would send tokens in the clear", "the token URL must be", "an Auth is needed", "an Actor needs a Subject"} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("error %v does not say %q", err, words)
		}
	}
	if _, err := client.NewTokenSource(client.TokenConfig{Issuer: "https://issuer.example", Auth: client.PrivateKeyJWT(newRSAKey(t, 1024), "")}); err == nil {
		t.Error("a weak key and no ClientID are taken")
	}
}

// K02: neither a secret nor a token is in any kind of print.
func TestSourcesPrintNoSecrets(t *testing.T) {
	i := newIssuer(t, newClock())
	c := client.TokenConfig{Issuer: i.URL, ClientID: "Cl1ent000001", Auth: client.SecretBasic("hush-hush"), Subject: client.Key("hush-hush")}
	s, err := client.NewTokenSource(c)
	must(t, err)
	token := tokenOf(t, s)
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c)} {
		if strings.Contains(text, "hush") || strings.Contains(text, token) {
			t.Error(text)
		}
	}
}

// RFC 9449 sections 5 and 8: a proof for the token endpoint, and another one when it wants a nonce.
func TestDPoPAtTheTokenEndpoint(t *testing.T) {
	i := newIssuer(t, newClock())
	i.token = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("DPoP-Nonce", "n-1")
		if proofOf(t, r.Header).Nonce == "" {
			writeJSON(w, 400, map[string]string{"error": "use_dpop_nonce"})
			return
		}
		i.issue(w, r, nil)
	}
	s := i.source(t, func(c *client.TokenConfig) { c.DPoP, c.Auth = true, client.PrivateKeyJWT(newECKey(t), "k") })
	token, err := s.Token()
	must(t, err)
	if token.TokenType != "DPoP" || i.count("/token") != 2 {
		t.Errorf("type %s after %d requests", token.TokenType, i.count("/token"))
	}
	first, second := i.asked["/token"][0], i.asked["/token"][1]
	p1, p2 := proofOf(t, first.Header), proofOf(t, second.Header)
	if p2.Nonce != "n-1" || p1.Jti == p2.Jti || p1.Key != p2.Key || p2.Htm != "POST" || p2.Htu != i.URL+"/token" || p2.Ath != "" || p2.Iat != i.clock.Now().Unix() {
		t.Errorf("proofs %+v, %+v", p1, p2)
	}
	if first.Form.Get("client_assertion") == second.Form.Get("client_assertion") { // J19: an assertion is good once
		t.Error("the assertion was sent twice")
	}
	i.clock.Add(time.Hour)
	tokenOf(t, s)
	if n := i.count("/token"); n != 3 {
		t.Errorf("the nonce was not remembered: %d requests", n)
	}
}

type sentProof struct{ Jti, Htm, Htu, Ath, Nonce, Key string }

type proofAt struct {
	sentProof
	Iat int64
}

// proofOf checks a proof with go-jose alone and returns what it says.
func proofOf(t testing.TB, h http.Header) proofAt {
	j, err := jose.ParseSignedCompact(h.Get("DPoP"), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Errorf("proof %q: %v", h.Get("DPoP"), err)
		return proofAt{}
	}
	head := j.Signatures[0].Header
	payload, err := j.Verify(head.JSONWebKey.Key)
	if err != nil || head.ExtraHeaders["typ"] != "dpop+jwt" || !head.JSONWebKey.IsPublic() {
		t.Errorf("proof %v, %v", head, err)
	}
	var p proofAt
	if err := json.Unmarshal(payload, &p); err != nil {
		t.Error(err)
	}
	sum, err := head.JSONWebKey.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Error(err)
	}
	p.Key = base64.RawURLEncoding.EncodeToString(sum)
	return p
}

func athOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// golang.org/x/oauth2's own client takes the source, and its clientcredentials gets the same from the same server.
func TestInteropWithOAuth2(t *testing.T) {
	i := newIssuer(t, newClock())
	i.clock.now = time.Now() // its code has no other clock
	api := httptest.NewServer(client.Middleware(i.verifier(t, nil))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := client.TokenFrom(r.Context())
		fmt.Fprint(w, c.Subject)
	})))
	defer api.Close()
	theirs := clientcredentials.Config{ClientID: "Cl1ent000001", ClientSecret: "a secret", TokenURL: i.URL + "/token", Scopes: []string{"things:read"}}
	for name, h := range map[string]*http.Client{
		"NewClient":         oauth2.NewClient(t.Context(), i.source(t, nil)),
		"ReuseTokenSource":  oauth2.NewClient(t.Context(), oauth2.ReuseTokenSource(nil, i.source(t, nil))),
		"clientcredentials": theirs.Client(t.Context()),
	} {
		for range 2 {
			resp, err := h.Get(api.URL)
			must(t, err)
			if body := bodyOf(t, resp); resp.StatusCode != 200 || body != "pump-1" {
				t.Errorf("%s: %d %s", name, resp.StatusCode, body)
			}
		}
	}
	if n := i.count("/token"); n != 3 {
		t.Errorf("%d tokens for three clients", n)
	}
}
