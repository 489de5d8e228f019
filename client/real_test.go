package client_test

import (
	"crypto"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"cardea/client"
)

// oauthServer is a real server with a service "meters" that may read bills, an API for them, and the service "bills" that stands for the API.
type oauthServer struct {
	*testing.T
	c      *client.Client
	issuer string
}

func startOAuth(t *testing.T) *oauthServer {
	t.Helper()
	k, c := start(t)
	s := &oauthServer{t, c, "http://" + k.HTTP}
	s.post("/scopes", claims{"name": "bills:read", "rules": []claims{{"permission": "allow", "action": "http:GET", "resource": "/bills/**"}}}, nil)
	s.post("/roles", claims{"name": "biller", "scopes": []string{"bills:read"}}, nil)
	s.post("/principals", claims{"kind": "service", "name": "meters", "roles": []string{"biller"}}, nil)
	s.post("/principals", claims{"kind": "service", "name": "bills", "roles": []string{"biller"}}, nil)
	s.post("/apis", claims{"name": "bills", "audience": resource, "scopes": []string{"bills:read"}, "introspectors": []string{"bills"}}, nil)
	return s
}

func (s *oauthServer) post(path string, in, out any) {
	s.Helper()
	must(s.T, s.c.Do(s.Context(), http.MethodPost, path, in, out))
}

type madeClient struct {
	ID     string
	Secret string
}

func (s *oauthServer) client(principal string, config claims) (m madeClient) {
	s.Helper()
	s.post("/credentials", claims{"kind": "oauth_client", "principal": principal, "ttl": "1d", "client": config}, &m)
	return m
}

func (s *oauthServer) source(c client.TokenConfig) *client.TokenSource {
	s.Helper()
	c.Issuer, c.Resources = s.issuer, []string{resource}
	source, err := client.NewTokenSource(c)
	must(s.T, err)
	return source
}

func (s *oauthServer) verifier(change func(*client.VerifierConfig)) *client.Verifier {
	s.Helper()
	c := client.VerifierConfig{Issuer: s.issuer, Audiences: []string{resource}}
	if change != nil {
		change(&c)
	}
	v, err := client.NewVerifier(c)
	must(s.T, err)
	return v
}

// calls sends a request with a source's token to a service behind a verifier, and returns the status.
func (s *oauthServer) calls(source *client.TokenSource, v func(origin string) *client.Verifier) int {
	s.Helper()
	h := httptest.NewUnstartedServer(nil)
	h.Start()
	defer h.Close()
	h.Config.Handler = client.Middleware(v(h.URL), client.RequireScope("bills:read"))(http.HandlerFunc(whoAmI))
	r, err := http.NewRequestWithContext(s.Context(), http.MethodPost, h.URL+"/bills?all", nil)
	must(s.T, err)
	resp, err := (&http.Client{Transport: &client.Transport{Source: source}}).Do(r)
	must(s.T, err)
	if body := bodyOf(s, resp); resp.StatusCode == 200 && body != "meters" {
		s.Errorf("the subject is %q", body)
	}
	return resp.StatusCode
}

// The ways of a client against the real server, from its proof to the service that it calls.
func TestCardeaIssuesAndTheClientVerifies(t *testing.T) {
	t.Parallel()
	s := startOAuth(t)
	secret := s.client("meters", claims{})
	key := newECKey(t)
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: jktOf(t, crypto.Signer(key)), Algorithm: "ES256", Use: "sig"}}})
	must(t, err)
	signs := s.client("meters", claims{"auth_method": "private_key_jwt", "jwks": json.RawMessage(set)})
	bound := s.client("meters", claims{"bound": "dpop"})
	var api madeClient
	s.post("/credentials", claims{"kind": "api_key", "principal": "meters", "ttl": "1d"}, &api)

	local := func(string) *client.Verifier { return s.verifier(nil) }
	dpop := func(origin string) *client.Verifier {
		return s.verifier(func(c *client.VerifierConfig) { c.DPoP = &client.DPoPConfig{Origins: []string{origin}, Nonces: true} })
	}
	for name, x := range map[string]struct {
		c client.TokenConfig
		v func(string) *client.Verifier
	}{
		"client_secret_basic": {client.TokenConfig{ClientID: secret.ID, Auth: client.SecretBasic(secret.Secret)}, local},
		"client_secret_post":  {client.TokenConfig{ClientID: secret.ID, Auth: client.SecretPost(secret.Secret)}, local},
		"private_key_jwt":     {client.TokenConfig{ClientID: signs.ID, Auth: client.PrivateKeyJWT(key, "")}, local},
		"DPoP":                {client.TokenConfig{ClientID: bound.ID, Auth: client.SecretBasic(bound.Secret), DPoP: true}, dpop},
		"DPoP and an assertion": {
			client.TokenConfig{ClientID: signs.ID, Auth: client.PrivateKeyJWT(key, ""), DPoP: true, Scopes: []string{"bills:read"}}, dpop,
		},
		"exchange of a key":         {client.TokenConfig{Subject: client.Key(api.Secret)}, local},
		"exchange of a key, bound":  {client.TokenConfig{Subject: client.Key(api.Secret), DPoP: true}, dpop},
		"exchange beside a client":  {client.TokenConfig{ClientID: secret.ID, Auth: client.SecretBasic(secret.Secret), Subject: client.Key(api.Secret)}, local},
		"exchange of what was made": {client.TokenConfig{Subject: s.source(client.TokenConfig{ClientID: secret.ID, Auth: client.SecretBasic(secret.Secret)})}, local},
	} {
		t.Run(name, func(t *testing.T) {
			if status := (&oauthServer{t, s.c, s.issuer}).calls(s.source(x.c), x.v); status != 200 {
				t.Errorf("status %d", status)
			}
		})
	}

	_, err = s.source(client.TokenConfig{ClientID: secret.ID, Auth: client.SecretBasic(signs.ID)}).Token()
	if e, ok := errors.AsType[*client.OAuthError](err); !ok || e.Status != 401 || e.Code != "invalid_client" {
		t.Errorf("a wrong secret: %v", err)
	}
	theirs := clientcredentials.Config{ClientID: secret.ID, ClientSecret: secret.Secret, TokenURL: s.issuer + "/oauth2/token"}
	token, err := theirs.Token(t.Context())
	must(t, err)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.issuer+"/api/v1/whoami", nil)
	must(t, err)
	resp, err := oauth2.NewClient(t.Context(), oauth2.StaticTokenSource(token)).Do(r)
	must(t, err)
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 {
		t.Errorf("Cardea itself answers its token with %d %s", resp.StatusCode, body)
	}
	resp.Body.Close()
}

// J27: a service that asks refuses a token whose client was revoked; one that looks at the signature alone does not, until the token ends.
func TestCardeaIsAskedAboutTokens(t *testing.T) {
	t.Parallel()
	s := startOAuth(t)
	made, stands := s.client("meters", claims{}), s.client("bills", claims{})
	var api madeClient
	s.post("/credentials", claims{"kind": "api_key", "principal": "meters", "ttl": "1d"}, &api)
	asks := s.verifier(func(c *client.VerifierConfig) {
		c.Introspection, c.ClientID, c.Auth, c.CacheTTL = client.IntrospectAlways, stands.ID, client.SecretBasic(stands.Secret), -1
	})
	trusts := s.verifier(nil)
	token := tokenOf(t, s.source(client.TokenConfig{ClientID: made.ID, Auth: client.SecretBasic(made.Secret)}))
	for name, v := range map[string]*client.Verifier{"asks": asks, "trusts": trusts} {
		c, err := verify(t, v, token)
		must(t, err)
		if c.Subject != "meters" || c.ClientID != made.ID || !c.HasScope("bills:read") || c.Org != "default" || c.Kind != "service" || time.Until(c.ExpiresAt) > 15*time.Minute {
			t.Errorf("%s: %+v", name, c)
		}
	}
	_, err := s.c.Credentials.Revoke(t.Context(), made.ID, "test")
	must(t, err)
	_, err = verify(t, asks, token)
	invalidIs(t, err, "not active")
	_, err = verify(t, trusts, token)
	must(t, err)
	_, err = verify(t, asks, api.Secret[:len(api.Secret)-1])
	invalidIs(t, err, "not active")
}
