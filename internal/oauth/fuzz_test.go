package oauth

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"cardea/internal/credential"
)

// Whatever is sent to the endpoints, they neither panic nor fail, and nobody gets a token who does not show a secret.
func FuzzTokenRequest(f *testing.F) {
	h := newHouse(f)
	is := h.client("billing", credential.ClientConfig{})
	key := h.credential(credential.APIKey, "billing")
	secrets := []string{is.Secret.Reveal(), key.Secret.Reveal()}
	h.server.ClientAddr = func(*http.Request) netip.Addr { return netip.Addr{} }
	good := body("grant_type", clientCredentials, "client_id", is.Credential.ID, "client_secret", "")
	for _, seed := range []string{
		good, "grant_type=client_credentials&grant_type=x", "a=%zz&b", body("grant_type", tokenExchange, "subject_token", "eyJ.e30.x", "subject_token_type", typeJWT),
		body("grant_type", clientCredentials, "client_assertion", "eyJhbGciOiJFUzI1NiJ9.e30.x", "client_assertion_type", assertionType), "token=x", strings.Repeat("&", 100),
	} {
		f.Add(tokenPath, seed, "Basic "+encode(is.Credential.ID+":x"), "")
		f.Add(introspectPath, seed, "Bearer x", "x")
		f.Add(revokePath, seed, "", "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRwb3Arand0In0.e30.x")
	}
	f.Fuzz(func(t *testing.T, path, text, auth, proof string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(text))
		r.URL = &url.URL{Path: path}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for name, value := range map[string]string{"Authorization": auth, "Dpop": proof} {
			if value != "" {
				r.Header[name] = []string{value}
			}
		}
		w := httptest.NewRecorder()
		h.server.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		for _, s := range secrets {
			if strings.Contains(text+auth, s) {
				return
			}
		}
		if strings.Contains(w.Body.String(), "access_token\":") || strings.Contains(w.Body.String(), `"active":true`) {
			t.Errorf("given to nobody: %s", w.Body)
		}
	})
}
