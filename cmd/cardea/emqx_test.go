package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"cardea/internal/testkit"
	"cardea/internal/view"
)

// An EMQX cluster asks over the HTTP listener with a credential of its own, and is told when one of those that
// it has let in ends.
func TestEMQXCluster(t *testing.T) {
	t.Parallel()
	var kicked atomic.Pointer[string]
	emqx := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, secret, _ := r.BasicAuth()
		switch {
		case key != "cardea" || secret != "api-secret-to-hide":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/api/v5/clients":
			_, _ = io.WriteString(w, `{"data":[{"clientid":"pump-1","username":"pump-1"},{"clientid":"pump-2","username":"pump-2"}],"meta":{"hasnext":false}}`)
		case r.URL.Path == "/api/v5/clients/kickout/bulk":
			body, _ := io.ReadAll(r.Body)
			text := string(body)
			kicked.Store(&text)
			w.WriteHeader(http.StatusNoContent)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(emqx.Close)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("api-secret-to-hide\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := start(t, testkit.CardeaConfig{Args: []string{"--emqx-api", emqx.URL, "--emqx-api-key", "cardea", "--emqx-api-secret-file", secret}})
	made := gen(t, k, view.NewKey{ID: "pump-1"})
	cli := func(args ...string) string {
		t.Helper()
		out, text, code := k.CLI(args...)
		if code != 0 {
			t.Fatalf("%v: code %d, %s", args, code, text)
		}
		return out
	}
	cli("role", "create", "emqx", "--scope", "backend:emqx")
	cli("principal", "create", "emqx", "--role", "emqx")
	var is view.Issued
	if err := json.Unmarshal([]byte(cli("cred", "create", "emqx", "--kind", "api_key", "--json")), &is); err != nil {
		t.Fatal(err)
	}
	question := `{"username":"pump-1","clientid":"pump-1","peerhost":"10.1.2.3","password":"` + made.Token.Secret.Reveal() + `"}`
	if got := askEMQX(t, k, is.Secret.Reveal(), question); got.Result != "allow" || got.Attrs["cardea_credential"] != made.Token.ID {
		t.Errorf("%+v", got)
	}
	cli("cred", "revoke", made.Token.ID)
	eventually(t, "the session is ended", func() bool { return kicked.Load() != nil && *kicked.Load() == `["pump-1"]` })
	if got := askEMQX(t, k, is.Secret.Reveal(), question); got.Result != "deny" {
		t.Errorf("revoked: %+v", got)
	}
	resp, err := http.Get(k.URL("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); !strings.Contains(string(text), "cardea_emqx_kicked_total 1") || !strings.Contains(string(text), "cardea_emqx_change_seconds_count 1") {
		t.Error("it was not counted")
	}
	leaks(t, k, "api-secret-to-hide", is.Secret.Reveal())
}

func askEMQX(t *testing.T, k *testkit.Cardea, token, question string) (v view.EMQXVerdict) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, k.URL("/backend/emqx/authn"), strings.NewReader(question))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-API-Key", token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", resp.StatusCode, err)
	}
	return v
}
