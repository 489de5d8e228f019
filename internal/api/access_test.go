package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/testkit"
	"cardea/internal/testkit/foundation"
	"cardea/internal/view"
)

// proofOf does for the API what the HTTP door does.
func proofOf(r *http.Request) *gate.DPoP {
	if r.Header["Dpop"] == nil {
		return nil
	}
	return &gate.DPoP{Proof: r.Header.Get("DPoP"), Method: r.Method, URL: foundation.Issuer + r.URL.Path}
}

// H13, J08: an access token may by the API what its scopes allow, if it is for Cardea itself or for an API that has them.
func TestAccessTokens(t *testing.T) {
	w := newWorld(t)
	key := w.caller("svc", "api:principals:read /principals/*")
	w.tokens.API(t, "admin", "https://admin.test", "svc")
	for _, audiences := range [][]string{nil, {"https://admin.test"}} {
		m := w.tokens.Exchange(t, key, gate.Wanted{Audiences: audiences})
		w.as(m.Token, "GET", "/principals", nil).is(200)
		w.as(m.Token, "POST", "/principals", view.NewPrincipal{Kind: "service", Name: "other"}).is(403)
		var who view.WhoAmI
		w.as(m.Token, "GET", "/whoami", nil).is(200).into(&who)
		if who.Principal != "svc" || !slices.Equal(who.Scopes, []string{"svc"}) {
			t.Errorf("for %v: %+v", audiences, who)
		}
		w.tokens.Deny(t, m, who.Credential)
		w.as(m.Token, "GET", "/whoami", nil).is(401)
	}
	w.as(key, "GET", "/principals", nil).is(200) // the key itself goes on
}

// J26: who comes with an access token makes nothing for themself that outlives it.
func TestAccessTokensMakeNothingLasting(t *testing.T) {
	w := newWorld(t)
	w.staff("ada")
	var pat view.Issued
	w.as(w.login("ada", goodPassword).Token.Reveal(), "POST", "/me/tokens", view.NewOwnToken{Name: "laptop"}).is(201).into(&pat)
	m := w.tokens.Exchange(t, pat.Secret.Reveal(), gate.Wanted{})
	w.as(m.Token, "GET", "/me/tokens", nil).is(200)
	w.as(m.Token, "POST", "/me/tokens", view.NewOwnToken{Name: "more"}).is(403)
	w.as(pat.Secret.Reveal(), "POST", "/me/tokens", view.NewOwnToken{Name: "more"}).is(201)
}

// J21, J22: a token that is bound to a key is good with a proof alone, and whoever is refused for that is told what to do.
func TestBoundAccessTokens(t *testing.T) {
	w := newWorld(t)
	key := w.caller("svc", "api:principals:read /principals/*")
	holder := testkit.NewHolder(t)
	m := w.tokens.Exchange(t, key, gate.Wanted{JKT: holder.JKT})
	const path = "/principals"
	proof := func(nonce string) with {
		return with{"DPoP", holder.Proof("GET", foundation.Issuer+prefix+path, m.Token, nonce)}
	}
	dpop := with{"Authorization", "DPoP " + m.Token}
	first := w.send(w.net, "GET", path, nil, dpop, proof("")).is(401)
	if c := first.header.Values("WWW-Authenticate"); len(c) != 1 || !strings.Contains(c[0], `DPoP realm="cardea", error="use_dpop_nonce"`) {
		t.Errorf("without a nonce: %q", c)
	}
	again := proof(first.header.Get("DPoP-Nonce"))
	if r := w.send(w.net, "GET", path, nil, dpop, again).is(200); r.header.Get("DPoP-Nonce") == "" {
		t.Error("no nonce with the answer")
	}
	w.send(w.net, "GET", path, nil, dpop, again).is(401)
	w.send(w.net, "GET", path, nil, dpop).is(401)
	r := w.as(m.Token, "GET", path, nil, proof(first.header.Get("DPoP-Nonce"))).is(401)
	if c := r.header.Values("WWW-Authenticate"); len(c) != 2 || !strings.HasPrefix(c[0], "Bearer ") || !strings.HasPrefix(c[1], "DPoP ") {
		t.Errorf("as a bearer token: %q", c)
	}
}

// J17, J22, J25, W07: what the API says of access tokens that others were shown: who, what and why not; nothing of another organisation's; and that one which
// is bound to a key is not good without it.
func TestVerifyAccessTokens(t *testing.T) {
	w := newWorld(t)
	w.device("pump")
	id, secret := w.tokens.Client(t, "pump", credential.ClientConfig{})
	m := w.tokens.Token(t, id, secret, gate.Wanted{})
	ask := func(token string) (v view.Explanation) {
		t.Helper()
		q := view.Verify{Token: view.Secret(token), Action: "http:GET", Resource: "/x"}
		var plain view.Verdict
		w.do("POST", "/verify", q).is(200).into(&plain)
		w.do("POST", "/explain", q).is(200).into(&v)
		if plain.Reason != v.Reason || plain.Allowed != v.Allowed {
			t.Errorf("verify says %+v, explain %+v", plain, v.Verdict)
		}
		return v
	}
	if v := ask(m.Token); !v.Allowed || v.Principal != "pump" || v.Credential != id || len(v.Rules) == 0 || !v.ExpiresAt.Equal(m.ExpiresAt) {
		t.Errorf("%+v", v)
	}
	bound := w.tokens.Token(t, id, secret, gate.Wanted{JKT: testkit.NewHolder(t).JKT})
	if v := ask(bound.Token); v.Allowed || v.Reason != "proof_missing" || v.Principal != "pump" {
		t.Errorf("bound: %+v", v)
	}
	if v := ask(testkit.Spoil(m.Token)); v.Allowed || v.Principal != "" {
		t.Errorf("spoilt: %+v", v)
	}
	w.tokens.Deny(t, m, id)
	if v := ask(m.Token); v.Allowed || v.Reason != "token_denied" {
		t.Errorf("revoked: %+v", v)
	}
	_, err := w.auth.Revoke(t.Context(), w.tokens.Local, id, "test")
	w.must(err)
	if v := ask(bound.Token); v.Reason != "parent_ended" {
		t.Errorf("of a client that was revoked: %+v", v)
	}
	w.othersToken("theirtokenid", time.Time{})
	key, now := w.tokens.Key(t), time.Now()
	theirs := func(ends time.Time) string {
		return testkit.SignJWT(t, key, map[string]any{"typ": "at+jwt", "kid": testkit.Thumbprint(t, key)}, map[string]any{
			"iss": foundation.Issuer, "sub": "theirs", "aud": foundation.Issuer, "exp": ends.Unix(), "iat": now.Unix(), "jti": "theirjtijtij", "org": "other", "crd": "theirtokenid.1", "scope": "x",
		})
	}
	for _, token := range []string{theirs(now.Add(time.Hour)), theirs(now.Add(-time.Hour))} {
		if v := ask(token); v.Reason != "unknown_credential" || v.Principal != "" {
			t.Errorf("another organisation's: %+v", v)
		}
	}
}
