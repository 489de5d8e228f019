package oauth

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/testkit"
)

// Every kind of token is exchanged for a short-lived one that is no wider, ends no later and dies with it (J23).
func TestExchange(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.User, "ada", "clerk")
	h.principal(credential.Device, "pump-1", "clerk")
	for name, is := range map[string]authority.Issued{
		"api key":      h.credential(credential.APIKey, "billing"),
		"personal":     h.credential(credential.PAT, "ada"),
		"application":  h.credential(credential.AppKey, "ada", func(n *authority.NewCredential) { n.Name = "app" }),
		"device token": h.credential(credential.DeviceToken, "pump-1"),
	} {
		r := h.swap(is.Secret.Reveal(), nil)
		r.is(t, 200, "")
		c := h.claims(r.token())
		if r.get("issued_token_type") != typeAccess || r.get("token_type") != "Bearer" || r.get("scope") != "read write" || c["sub"] != is.PrincipalName || c["client_id"] != is.Credential.ID {
			t.Errorf("%s: %s, %v", name, r.text, c)
		}
		again := h.swap(r.token(), nil, "requested_token_type", typeJWT, "scope", "read")
		again.is(t, 200, "")
		if again.get("issued_token_type") != typeJWT || again.get("scope") != "read" {
			t.Errorf("%s again: %s", name, again.text)
		}
		h.swap(again.token(), nil, "scope", "write").is(t, 400, "invalid_scope") // it was narrowed before
		h.revoke(is.Credential.ID)
		h.swap(is.Secret.Reveal(), nil).is(t, 400, "invalid_request")
		h.swap(again.token(), nil).is(t, 400, "invalid_request")
	}
}

// J23: what is no subject, or may not be one.
func TestExchangeRefuses(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.User, "ada", "clerk")
	key := h.credential(credential.APIKey, "billing", func(n *authority.NewCredential) { n.Scopes = []string{"read"}; n.TTL = time.Minute })
	client := h.client("billing", credential.ClientConfig{})
	text := key.Secret.Reveal()
	for name, tc := range map[string]struct {
		pairs []string
		code  string
	}{
		"nothing":               {nil, "invalid_request"},
		"empty subject":         {[]string{"subject_token", "", "subject_token_type", typeAccess}, "invalid_request"},
		"no type":               {[]string{"subject_token", text}, "invalid_request"},
		"unknown type":          {[]string{"subject_token", text, "subject_token_type", "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"},
		"a key as JWT":          {[]string{"subject_token", text, "subject_token_type", typeJWT}, "invalid_request"},
		"a key as certificate":  {[]string{"subject_token", text, "subject_token_type", typeCertificate}, "invalid_request"},
		"garbage":               {[]string{"subject_token", "x", "subject_token_type", typeAccess}, "invalid_request"},
		"spoilt":                {[]string{"subject_token", testkit.Spoil(text), "subject_token_type", typeAccess}, "invalid_request"},
		"client secret":         {[]string{"subject_token", client.Secret.Reveal(), "subject_token_type", typeAccess}, "invalid_request"},
		"refresh token, please": {[]string{"subject_token", text, "subject_token_type", typeAccess, "requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"},
		"wider":                 {[]string{"subject_token", text, "subject_token_type", typeAccess, "scope", "read write"}, "invalid_scope"},
		"unlisted audience":     {[]string{"subject_token", text, "subject_token_type", typeAccess, "audience", "https://x.test"}, "invalid_target"},
		"unlisted resource":     {[]string{"subject_token", text, "subject_token_type", typeAccess, "resource", "https://x.test"}, "invalid_target"},
		"actor without type":    {[]string{"subject_token", text, "subject_token_type", typeAccess, "actor_token", text}, "invalid_request"},
		"type without actor":    {[]string{"subject_token", text, "subject_token_type", typeAccess, "actor_token_type", typeAccess}, "invalid_request"},
		"bad actor":             {[]string{"subject_token", text, "subject_token_type", typeAccess, "actor_token", "x", "actor_token_type", typeAccess}, "invalid_request"},
	} {
		r := h.post(tokenPath, body(append([]string{"grant_type", tokenExchange}, tc.pairs...)...))
		if r.StatusCode != 400 || r.get("error") != tc.code {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.text)
		}
	}
	r := h.swap(text, nil)
	if left, _ := r.body["expires_in"].(float64); left > 60 { // no later than its subject
		t.Errorf("%s", r.text)
	}
	h.swap(text, []string{basicOf(client.Credential.ID, text)}).is(t, 401, "invalid_client") // who shows a client must be it
}

// J23: who acts for another must have been named for it, and what they get dies with either.
func TestActors(t *testing.T) {
	h := newHouse(t)
	h.service("gateway", "clerk")
	h.service("stranger", "clerk")
	front := h.client("billing", credential.ClientConfig{MayAct: "gateway"})
	subject := h.tokenOf(front)
	actor, stranger := h.client("gateway", credential.ClientConfig{}), h.client("stranger", credential.ClientConfig{})
	h.swap(subject, []string{asClient(stranger)}).is(t, 400, "invalid_request")
	h.swap(h.credential(credential.APIKey, "billing").Secret.Reveal(), []string{asClient(actor)}).is(t, 400, "invalid_request") // a key names nobody

	r := h.swap(subject, []string{asClient(actor)})
	r.is(t, 200, "")
	c := h.claims(r.token())
	act, _ := c["act"].(map[string]any)
	if c["sub"] != "billing" || c["client_id"] != actor.Credential.ID || act["sub"] != "gateway" || c["may_act"] != nil {
		t.Errorf("claims %v", c)
	}
	other := h.tokenOf(actor)
	byToken := h.swap(subject, nil, "actor_token", other, "actor_token_type", typeJWT)
	byToken.is(t, 200, "")
	h.swap(subject, nil, "actor_token", h.tokenOf(stranger), "actor_token_type", typeAccess).is(t, 400, "invalid_request")
	for _, token := range []string{r.token(), byToken.token()} {
		if !h.active(front, token) {
			t.Error("not active before")
		}
	}
	h.revoke(actor.Credential.ID)
	for _, token := range []string{r.token(), byToken.token()} {
		if h.active(front, token) {
			t.Error("it outlives who acts")
		}
	}
}

// J24: what is bound to a key stays bound to it, and is exchanged only by whoever holds the key.
func TestExchangeOfBoundTokens(t *testing.T) {
	h := newHouse(t)
	is := h.client("billing", credential.ClientConfig{Bound: credential.BoundToDPoP})
	mine, theirs := newHolder(t), newHolder(t)
	nonce := h.Gate.Nonce()
	r := h.post(tokenPath, "grant_type=client_credentials", asClient(is), mine.proof(nonce))
	r.is(t, 200, "")
	bound := r.token()
	h.swap(bound, nil).is(t, 400, "invalid_request")
	h.swap(bound, []string{theirs.proof(nonce)}).is(t, 400, "invalid_request")
	r = h.swap(bound, []string{mine.proof(nonce)})
	r.is(t, 200, "")
	cnf, _ := h.claims(r.token())["cnf"].(map[string]any)
	if r.get("token_type") != "DPoP" || cnf["jkt"] != mine.JKT {
		t.Errorf("%s, cnf %v", r.text, cnf)
	}
}

// A certificate is exchanged over the connection that has shown it alone, and the token is for its key (J20, J24).
func TestExchangeOfCertificates(t *testing.T) {
	h := newHouse(t, withTLS)
	h.principal(credential.Device, "pump-1", "clerk")
	is := h.credential(credential.Certificate, "pump-1")
	pair, err := tls.X509KeyPair(is.Certificate, []byte(is.PrivateKey.Reveal()))
	h.must(err)
	subject := base64.RawURLEncoding.EncodeToString(pair.Certificate[0])
	text := body("grant_type", tokenExchange, "subject_token", subject, "subject_token_type", typeCertificate)
	h.post(tokenPath, text).is(t, 400, "invalid_request")
	r := h.postBy(h.over(pair), tokenPath, text)
	r.is(t, 200, "")
	c := h.claims(r.token())
	cnf, _ := c["cnf"].(map[string]any)
	if c["sub"] != "pump-1" || cnf["x5t#S256"] == nil || r.get("token_type") != "Bearer" {
		t.Errorf("%v", c)
	}
	h.swap(r.token(), nil).is(t, 400, "invalid_request")
	again := h.postBy(h.over(pair), tokenPath, body("grant_type", tokenExchange, "subject_token", r.token(), "subject_token_type", typeJWT))
	again.is(t, 200, "")
	if got, _ := h.claims(again.token())["cnf"].(map[string]any); got["x5t#S256"] != cnf["x5t#S256"] {
		t.Errorf("cnf %v, was %v", got, cnf)
	}
	other := h.credential(credential.Certificate, "pump-1")
	second, err := tls.X509KeyPair(other.Certificate, []byte(other.PrivateKey.Reveal()))
	h.must(err)
	h.postBy(h.over(second), tokenPath, text).is(t, 400, "invalid_request") // the certificate of another connection is public
	mine := newHolder(t)
	r = h.postBy(h.over(pair), tokenPath, text, mine.proof(h.Gate.Nonce()))
	r.is(t, 200, "")
	if got, _ := h.claims(r.token())["cnf"].(map[string]any); got["jkt"] != mine.JKT || got["x5t#S256"] != nil {
		t.Errorf("cnf %v", got)
	}
}

// Tokens of one organisation are nothing to the clients of another (W07).
func TestExchangeStaysInItsOrganisation(t *testing.T) {
	h := newHouse(t)
	theirs := h.tenant("acme")
	key := h.credential(credential.APIKey, "billing").Secret.Reveal()
	h.swap(key, []string{asClient(theirs)}).is(t, 400, "invalid_request")
	h.swap(key, []string{asClient(theirs)}, "actor_token", key, "actor_token_type", typeAccess).is(t, 400, "invalid_request")
}

// The actors of a chain are kept, the last one first (RFC 8693 §4.1).
func TestActorsOfActors(t *testing.T) {
	h := newHouse(t)
	h.service("b", "clerk")
	first := h.client("billing", credential.ClientConfig{MayAct: "b"})
	b := h.client("b", credential.ClientConfig{MayAct: "billing"})
	r := h.swap(h.tokenOf(first), []string{asClient(b)})
	r.is(t, 200, "")
	var act struct {
		Sub string `json:"sub"`
	}
	raw, err := json.Marshal(h.claims(r.token())["act"])
	h.must(err)
	h.must(json.Unmarshal(raw, &act))
	if act.Sub != "b" {
		t.Errorf("act %s", raw)
	}
	h.swap(r.token(), []string{asClient(b)}).is(t, 400, "invalid_request") // nobody may act with what somebody acts with already
}
