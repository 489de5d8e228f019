package oauth

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/credential"
)

// J19: an assertion is signed by the client, for this server, short-lived, and good once.
func TestPrivateKeyJWT(t *testing.T) {
	h := newHouse(t)
	mine, theirs := newHolder(t), newHolder(t)
	is := h.client("billing", credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: mine.jwks(t)})
	id := is.Credential.ID
	if is.Secret.Reveal() != "" {
		t.Error("it has a secret")
	}
	ask := func(assertion string, pairs ...string) *reply {
		t.Helper()
		return h.post(tokenPath, body(append([]string{"grant_type", clientCredentials, "client_assertion_type", assertionType, "client_assertion", assertion}, pairs...)...))
	}
	ask(mine.assertion(t, id, nil)).is(t, 200, "")
	ask(mine.assertion(t, id, func(c map[string]any) { c["aud"] = []string{issuer + tokenPath} }), "client_id", id).is(t, 200, "")
	ask(mine.assertion(t, id, nil), "client_id", "AAAAAAAAAAAA").is(t, 401, "invalid_client")
	for name, change := range map[string]func(map[string]any){
		"wrong aud":    func(c map[string]any) { c["aud"] = "https://other.test" },
		"no aud":       func(c map[string]any) { delete(c, "aud") },
		"iss ≠ sub":    func(c map[string]any) { c["iss"] = "AAAAAAAAAAAA" },
		"another":      func(c map[string]any) { c["iss"], c["sub"] = "AAAAAAAAAAAA", "AAAAAAAAAAAA" },
		"no exp":       func(c map[string]any) { delete(c, "exp") },
		"long exp":     func(c map[string]any) { c["exp"] = time.Now().Add(24 * time.Hour).Unix() },
		"over":         func(c map[string]any) { c["exp"] = time.Now().Add(-5 * time.Minute).Unix() },
		"no jti":       func(c map[string]any) { delete(c, "jti") },
		"not yet good": func(c map[string]any) { c["nbf"] = time.Now().Add(5 * time.Minute).Unix() },
	} {
		if r := ask(mine.assertion(t, id, change)); r.StatusCode != 401 || r.get("error") != "invalid_client" {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.text)
		}
	}
	ask(theirs.assertion(t, id, func(c map[string]any) { c["jti"] = "mine" })).is(t, 401, "invalid_client")
	ask(mine.assertion(t, id, func(c map[string]any) { c["jti"] = "mine" })).is(t, 200, "") // a forged one has used up nothing
	ask(mine.assertion(t, id, func(c map[string]any) { c["jti"] = "mine" })).is(t, 401, "invalid_client")
	// Another client may use the same jti.
	other := h.client("billing", credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: mine.jwks(t)})
	ask(mine.assertion(t, other.Credential.ID, func(c map[string]any) { c["jti"] = "mine" })).is(t, 200, "")
	// An access token is no assertion (J09), and one way of proof is no other.
	ask(h.tokenOf(h.client("billing", credential.ClientConfig{}))).is(t, 401, "invalid_client")
	h.ask(is).is(t, 401, "invalid_client")
}

// J19: of many at once with one assertion, exactly one has used it.
func TestAssertionRace(t *testing.T) {
	h := newHouse(t)
	mine := newHolder(t)
	is := h.client("billing", credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: mine.jwks(t)})
	text := body("grant_type", clientCredentials, "client_assertion_type", assertionType, "client_assertion", mine.assertion(t, is.Credential.ID, nil))
	var good atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if h.post(tokenPath, text).StatusCode == 200 {
				good.Add(1)
			}
		})
	}
	if all.Wait(); good.Load() != 1 {
		t.Errorf("%d have used it", good.Load())
	}
}

// A refusal for want of a nonce has not used up the assertion, so that clients may send it again.
func TestAssertionOutlivesNonce(t *testing.T) {
	h := newHouse(t)
	mine := newHolder(t)
	is := h.client("billing", credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: mine.jwks(t)})
	text := body("grant_type", clientCredentials, "client_assertion_type", assertionType, "client_assertion", mine.assertion(t, is.Credential.ID, nil))
	r := h.post(tokenPath, text, mine.proof(""))
	r.is(t, 400, "use_dpop_nonce")
	h.post(tokenPath, text, mine.proof(r.Header.Get("DPoP-Nonce"))).is(t, 200, "")
}

// J25: keys that are replaced end what was made by the former ones.
func TestKeysOfClientsAreReplaced(t *testing.T) {
	h := newHouse(t)
	mine, next := newHolder(t), newHolder(t)
	is := h.client("billing", credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: mine.jwks(t)})
	ask := func(o *holder) *reply {
		return h.post(tokenPath, body("grant_type", clientCredentials, "client_assertion_type", assertionType, "client_assertion", o.assertion(t, is.Credential.ID, nil)))
	}
	token := ask(mine).token()
	watch := h.client("billing", credential.ClientConfig{})
	if !h.active(watch, token) {
		t.Fatal("not active")
	}
	h.configure(is.Credential.ID, credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: next.jwks(t)})
	if h.active(watch, token) {
		t.Error("active although its key has gone")
	}
	ask(mine).is(t, 401, "invalid_client")
	ask(next).is(t, 200, "")
}
