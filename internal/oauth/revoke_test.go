package oauth

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/testkit"
)

func (h *house) end(is authority.Issued, token string, pairs ...string) *reply {
	h.Helper()
	return h.post(revokePath, body(append([]string{"token", token}, pairs...)...), asClient(is))
}

// J18: whoever holds a token ends it; what is unknown, or over, is no error; and what is another's stays.
func TestRevocation(t *testing.T) {
	h := newHouse(t)
	h.service("stranger", "clerk")
	is, other := h.client("billing", credential.ClientConfig{}), h.client("stranger", credential.ClientConfig{})
	token, spare := h.tokenOf(is), h.tokenOf(is)
	child := h.swap(token, nil).token()
	h.post(revokePath, body("token", token)).is(t, 401, "invalid_client")
	h.end(is, "").is(t, 400, "invalid_request")
	h.end(other, token).is(t, 400, "unauthorized_client")
	if !h.active(is, token) {
		t.Fatal("ended by another client")
	}
	h.end(is, token, "token_type_hint", "access_token").is(t, 200, "")
	if h.active(is, token) || h.active(is, child) {
		t.Error("active after it was revoked, or what was exchanged for it")
	}
	if !h.active(is, spare) {
		t.Error("another one ended as well")
	}
	h.swap(token, nil).is(t, 400, "invalid_request")
	h.end(is, token).is(t, 200, "") // again
	theirs := h.tenant("acme")
	for _, text := range []string{"x", "eyJ.e30.x", testkit.Spoil(is.Secret.Reveal()), h.tokenOf(theirs), "cardea_api_AAAAAAAAAAAA"} {
		h.end(is, text).is(t, 200, "")
	}
	h.end(theirs, spare).is(t, 200, "")
	if !h.active(is, spare) {
		t.Error("ended by another tenant")
	}
	h.end(is, is.Secret.Reveal()).is(t, 400, "unsupported_token_type")
	h.ask(is).is(t, 200, "")
}

// RFC 7009 for opaque tokens: it is the credential that ends, also one that is not good yet. No right is needed, but the whole secret of one's own.
func TestRevocationOfOpaqueTokens(t *testing.T) {
	h := newHouse(t)
	h.service("stranger", "clerk")
	is, other := h.client("billing", credential.ClientConfig{}), h.client("stranger", credential.ClientConfig{})
	key := h.credential(credential.APIKey, "billing")
	token := h.swap(key.Secret.Reveal(), nil).token()
	h.end(other, key.Secret.Reveal()).is(t, 400, "unauthorized_client")
	h.end(is, testkit.Spoil(key.Secret.Reveal())).is(t, 200, "")
	if !h.active(is, key.Secret.Reveal()) {
		t.Fatal("ended by what is not its secret")
	}
	h.end(is, key.Secret.Reveal()).is(t, 200, "")
	if h.active(is, key.Secret.Reveal()) || h.active(is, token) {
		t.Error("active after it was revoked, or what was exchanged for it")
	}
	later := h.credential(credential.APIKey, "billing", func(n *authority.NewCredential) { n.NotBefore = time.Now().Add(time.Hour) })
	h.end(is, later.Secret.Reveal()).is(t, 200, "")
	got, err := h.Authority.Credential(h.Context(), h.Local, later.Credential.ID)
	h.must(err)
	if got.Credential.State != credential.StateRevoked || !strings.Contains(got.Credential.EndReason, "RFC 7009") {
		t.Errorf("state %s, %s", got.Credential.State, got.Credential.EndReason)
	}
	// A token ends itself.
	last := h.credential(credential.APIKey, "billing").Secret.Reveal()
	h.post(revokePath, body("token", last), "Authorization: Bearer "+last).is(t, 200, "")
	h.post(revokePath, body("token", last), "Authorization: Bearer "+last).is(t, 401, "invalid_token")
}

// J25: a client, a secret or a token that is revoked is refused by the next request, at every door of this node, though the token is valid by itself.
func TestRevokedIsRefusedAtOnce(t *testing.T) {
	h := newHouse(t)
	for name, end := range map[string]func(is authority.Issued, token string){
		"token":  func(is authority.Issued, token string) { h.end(is, token).is(t, 200, "") },
		"client": func(is authority.Issued, _ string) { h.revoke(is.Credential.ID) },
		"secret": func(is authority.Issued, _ string) {
			_, err := h.Authority.Rotate(h.Context(), h.Local, is.Credential.ID, authority.Rotation{})
			h.must(err)
		},
	} {
		is := h.client("billing", credential.ClientConfig{})
		token := h.tokenOf(is)
		if got := h.visit(token); got != http.StatusNotFound { // there is no such route: who is known learns that
			t.Fatalf("%s: %d", name, got)
		}
		end(is, token)
		if got := h.visit(token); got != http.StatusUnauthorized {
			t.Errorf("%s: %d after it was revoked", name, got)
		}
		h.post(introspectPath, body("token", token), "Authorization: Bearer "+token).is(t, 401, "invalid_token")
		h.swap(token, nil).is(t, 400, "invalid_request")
	}
}

// visit shows a token at the gateway.
func (h *house) visit(token string) int {
	h.Helper()
	r, err := http.NewRequestWithContext(h.Context(), http.MethodGet, h.base+"/db/x", nil)
	h.must(err)
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := h.http.Do(r)
	h.must(err)
	resp.Body.Close()
	return resp.StatusCode
}
