package oauth

import (
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/testkit"
)

// J17: nobody is told anything without being known, and of what is not good all are told the same.
func TestIntrospection(t *testing.T) {
	h := newHouse(t)
	is := h.client("billing", credential.ClientConfig{})
	token := h.tokenOf(is, "scope", "read")
	r := h.post(introspectPath, body("token", token))
	r.is(t, 401, "invalid_client")
	if r.Header.Get("WWW-Authenticate") == "" {
		t.Error("no challenge")
	}
	h.post(introspectPath, body("token", token), "Authorization: Bearer x").is(t, 401, "invalid_token")
	h.post(introspectPath, "", asClient(is)).is(t, 400, "invalid_request")
	r = h.post(introspectPath, body("token", token, "token_type_hint", "refresh_token"), asClient(is))
	r.is(t, 200, "")
	said := h.claims(token)
	for name, want := range map[string]any{
		"active": true, "scope": "read", "client_id": is.Credential.ID, "username": "billing", "token_type": "Bearer", "sub": "billing",
		"aud": issuer, "iss": issuer, "exp": said["exp"], "iat": said["iat"], "jti": said["jti"], "org": "default", "kind": "service",
	} {
		if r.body[name] != want {
			t.Errorf("%s is %v, want %v", name, r.body[name], want)
		}
	}
	if r.Header.Get("Cache-Control") != "no-store" {
		t.Error("may be stored")
	}
	theirs := h.tenant("acme")
	gone := h.credential(credential.APIKey, "billing")
	h.revoke(gone.Credential.ID)
	for name, text := range map[string]string{
		"garbage": "x", "a JWT that is none": "eyJhbGciOiJFUzI1NiJ9.e30.AAAA", "spoilt": testkit.Spoil(gone.Secret.Reveal()), "revoked": gone.Secret.Reveal(),
		"another tenant's": h.tokenOf(theirs), "a client's secret": is.Secret.Reveal(), "unknown": "cardea_api_AAAAAAAAAAAA",
	} {
		if h.active(is, text) {
			t.Errorf("%s is active", name)
		}
	}
	if h.active(theirs, token) {
		t.Error("another tenant may know")
	}
}

// Who may know of a token of the same organisation: its own principal, whose client it was made for, who stands for the API, and whoever may verify.
func TestWhoMayIntrospect(t *testing.T) {
	h := newHouse(t)
	h.service("shop", "clerk")
	h.service("auditor", credential.RoleAdmin)
	h.service("stranger", "clerk")
	orders := h.api("orders", []string{"read"}, func(n *authority.NewAPI) { n.Introspectors = []string{"shop"} })
	is := h.client("billing", credential.ClientConfig{MayAct: "stranger"})
	shop, auditor, stranger := h.client("shop", credential.ClientConfig{}), h.client("auditor", credential.ClientConfig{}), h.client("stranger", credential.ClientConfig{})
	key := h.credential(credential.APIKey, "billing")
	forOrders, forUs, opaque := h.tokenOf(is, "resource", orders), h.tokenOf(is), key.Secret.Reveal()
	made := h.swap(forUs, []string{asClient(stranger)}).token()
	for _, tc := range []struct {
		who   authority.Issued
		token string
		may   bool
	}{
		{is, forOrders, true},
		{is, opaque, true},
		{shop, forOrders, true},
		{shop, forUs, false},
		{shop, opaque, false},
		{auditor, forUs, true},
		{auditor, opaque, true},
		{stranger, forUs, false},
		{stranger, forOrders, false},
		{stranger, opaque, false},
		{stranger, made, true},
	} {
		if got := h.active(tc.who, tc.token); got != tc.may {
			t.Errorf("%s: %v, want %v", tc.who.PrincipalName, got, tc.may)
		}
	}
	// Any credential will do to ask with.
	for _, header := range []string{"Authorization: Bearer " + opaque, "X-API-Key: " + opaque, "Authorization: Bearer " + forUs} {
		r := h.post(introspectPath, body("token", opaque), header)
		if r.is(t, 200, ""); r.body["active"] != true || r.get("sub") != "billing" || r.get("client_id") != key.Credential.ID {
			t.Errorf("%s", r.text)
		}
	}
	h.post(introspectPath, body("token", opaque), "X-API-Key: "+opaque, asClient(is)).is(t, 400, "invalid_request")
	h.post(introspectPath, body("token", opaque, "client_secret", is.Secret.Reveal()), "X-API-Key: "+opaque).is(t, 400, "invalid_request")
}

// J25: at once when the client is revoked, its principal disabled or its secret replaced, and when a scope is taken away, the token says so.
func TestIntrospectionIsOfNow(t *testing.T) {
	h := newHouse(t)
	h.service("auditor", credential.RoleAdmin)
	auditor := h.client("auditor", credential.ClientConfig{})
	is := h.client("billing", credential.ClientConfig{})
	token := h.tokenOf(is)
	_, err := h.Authority.PutRole(h.Context(), h.Local, credential.Role{Org: credential.DefaultOrg, Name: "clerk", Scopes: []string{"read"}, Version: 1})
	h.must(err)
	if r := h.post(introspectPath, body("token", token), asClient(auditor)); r.get("scope") != "read" {
		t.Errorf("%s", r.text)
	}
	fresh, err := h.Authority.Rotate(h.Context(), h.Local, is.Credential.ID, authority.Rotation{Overlap: time.Hour})
	h.must(err)
	if !h.active(auditor, token) { // both secrets are good
		t.Error("it has ended with a rotation that overlaps")
	}
	h.ask(is).is(t, 200, "")
	is.Secret = fresh.Secret
	after := h.tokenOf(is)
	yes := true
	_, err = h.Authority.UpdatePrincipal(h.Context(), h.Local, "billing", authority.PrincipalPatch{Disabled: &yes})
	h.must(err)
	for _, text := range []string{token, after} {
		if h.active(auditor, text) {
			t.Error("active although its principal is disabled")
		}
	}
	h.ask(is).is(t, 401, "invalid_client")
}

// What a token is bound to, who acts with it and who may are told (RFC 7800, RFC 8693 §7.3).
func TestIntrospectionOfBoundTokens(t *testing.T) {
	h := newHouse(t)
	h.service("gateway", "clerk")
	is, actor := h.client("billing", credential.ClientConfig{MayAct: "gateway"}), h.client("gateway", credential.ClientConfig{})
	mine := newHolder(t)
	r := h.post(tokenPath, "grant_type=client_credentials", asClient(is), mine.proof(h.Gate.Nonce()))
	in := h.post(introspectPath, body("token", r.token()), asClient(is))
	cnf, _ := in.body["cnf"].(map[string]any)
	may, _ := in.body["may_act"].(map[string]any)
	if in.get("token_type") != "DPoP" || cnf["jkt"] != mine.JKT || may["sub"] != "gateway" {
		t.Errorf("%s", in.text)
	}
	swapped := h.swap(r.token(), []string{asClient(actor), mine.proof(h.Gate.Nonce())})
	in = h.post(introspectPath, body("token", swapped.token()), asClient(is))
	if act, _ := in.body["act"].(map[string]any); act["sub"] != "gateway" || in.body["may_act"] != nil {
		t.Errorf("%s", in.text)
	}
}
