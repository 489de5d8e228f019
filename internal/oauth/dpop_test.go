package oauth

import (
	"testing"
	"time"

	"cardea/internal/credential"
)

// J21: a proof is for this request, signed by its own key, fresh, with a nonce of ours, and good once.
func TestDPoP(t *testing.T) {
	h := newHouse(t)
	is := h.client("billing", credential.ClientConfig{})
	mine := newHolder(t)
	ask := func(headers ...string) *reply {
		t.Helper()
		return h.post(tokenPath, "grant_type=client_credentials", append(headers, asClient(is))...)
	}
	r := ask(mine.proof(""))
	r.is(t, 400, "use_dpop_nonce")
	nonce := r.Header.Get("DPoP-Nonce")
	if nonce == "" {
		t.Fatal("no nonce")
	}
	proof := mine.proof(nonce)
	r = ask(proof)
	r.is(t, 200, "")
	if r.get("token_type") != "DPoP" || r.Header.Get("DPoP-Nonce") == "" {
		t.Errorf("%s %v", r.text, r.Header)
	}
	ask(proof).is(t, 400, "invalid_dpop_proof") // again
	ask(mine.proof(nonce), mine.proof(nonce)).is(t, 400, "invalid_dpop_proof")
	for name, change := range map[string]func(map[string]any){
		"another method":  func(c map[string]any) { c["htm"] = "GET" },
		"another URL":     func(c map[string]any) { c["htu"] = issuer + "/db/query" },
		"another host":    func(c map[string]any) { c["htu"] = "https://evil.test" + tokenPath },
		"old":             func(c map[string]any) { c["iat"] = time.Now().Add(-5 * time.Minute).Unix() },
		"from the future": func(c map[string]any) { c["iat"] = time.Now().Add(5 * time.Minute).Unix() },
		"no jti":          func(c map[string]any) { delete(c, "jti") },
	} {
		if r := ask(mine.proof(nonce, change)); r.StatusCode != 400 || r.get("error") != "invalid_dpop_proof" {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.text)
		}
	}
	ask("DPoP: x").is(t, 400, "invalid_dpop_proof")
	ask(mine.proof("another")).is(t, 400, "use_dpop_nonce")
}

// A client whose tokens are bound gets none without a proof, and one that is refused has not used up its proof.
func TestBoundClients(t *testing.T) {
	h := newHouse(t)
	is := h.client("billing", credential.ClientConfig{Bound: credential.BoundToDPoP})
	h.ask(is).is(t, 400, "invalid_dpop_proof")
	h.ask(h.client("billing", credential.ClientConfig{Bound: credential.BoundToTLS})).is(t, 400, "invalid_request")
	h.swap(h.credential(credential.APIKey, "billing").Secret.Reveal(), []string{asClient(is)}).is(t, 400, "invalid_dpop_proof")
}

// A DPoP-bound token asks by the scheme of that name, with a proof for that very request (RFC 9449 §7.1).
func TestCallersWithBoundTokens(t *testing.T) {
	h := newHouse(t)
	is := h.client("billing", credential.ClientConfig{})
	mine := newHolder(t)
	bound := h.post(tokenPath, "grant_type=client_credentials", asClient(is), mine.proof(h.Gate.Nonce())).token()
	text := body("token", bound)
	at := func(c map[string]any) { c["htu"], c["ath"] = issuer+introspectPath, hashOf(bound) }
	r := h.post(introspectPath, text, "Authorization: DPoP "+bound, mine.proof("", at))
	r.is(t, 401, "use_dpop_nonce")
	r = h.post(introspectPath, text, "Authorization: DPoP "+bound, mine.proof(r.Header.Get("DPoP-Nonce"), at))
	if r.is(t, 200, ""); r.body["active"] != true {
		t.Errorf("%s", r.text)
	}
	h.post(introspectPath, text, "Authorization: Bearer "+bound).is(t, 401, "invalid_token") // J22
	h.post(introspectPath, text, "Authorization: DPoP "+bound).is(t, 401, "invalid_token")
	h.post(introspectPath, text, "Authorization: DPoP "+bound, newHolder(t).proof(h.Gate.Nonce(), at)).is(t, 401, "invalid_dpop_proof")
}
