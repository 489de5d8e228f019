package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cardea/internal/jwt"
	"cardea/internal/testkit"
	"cardea/internal/view"
)

// foreignIssuer signs tokens as somebody else's server.
type foreignIssuer struct {
	t    testing.TB
	sign *jwt.Signer
	set  json.RawMessage
}

func newForeignIssuer(t testing.TB) *foreignIssuer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := jwt.NewSigner(k)
	if err != nil {
		t.Fatal(err)
	}
	set, err := jwt.Set(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &foreignIssuer{t, s, set}
}

// token makes one with the usual claims, but for those that are given; nil is none.
func (f *foreignIssuer) token(typ string, change map[string]any) string {
	f.t.Helper()
	claims := map[string]any{
		"iss": "https://idp.test", "sub": "meters", "aud": "https://cardea.test", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"team": map[string]any{"id": "7"}, "scope": "billing:read",
	}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	text, err := f.sign.Sign(typ, claims)
	if err != nil {
		f.t.Fatal(err)
	}
	return text
}

func (f *foreignIssuer) body() map[string]any {
	return map[string]any{
		"type": "jwt", "listener": "default",
		"issuer": map[string]any{
			"issuer": "https://idp.test", "jwks": f.set, "audiences": []string{"https://cardea.test"}, "required": map[string]string{"team.id": "7"}, "scope_claim": "scope",
		},
	}
}

// An authenticator for another issuer's tokens: what was said is shown, what was shown can be written, and a dry run says why (J03, J07, J08).
func TestJWTAuthenticator(t *testing.T) {
	w := newWorld(t)
	w.billing()
	f := newForeignIssuer(t)
	v := w.authenticator(f.body())
	want := &view.TrustedIssuer{
		Issuer: "https://idp.test", Audiences: []string{"https://cardea.test"}, Principal: "sub", Required: map[string]string{"team.id": "7"}, ScopeClaim: "scope",
		JWKS: v.Issuer.JWKS,
	}
	if diff := cmp.Diff(want, v.Issuer); diff != "" || v.Scopes == nil || v.Backend != nil {
		t.Errorf("%s, %+v", diff, v)
	}
	r := w.do("GET", "/authenticators/"+v.ID, nil).is(200)
	r = w.do("PUT", "/authenticators/"+v.ID, string(r.body)).is(200).into(&v)
	if diff := cmp.Diff(want, v.Issuer); diff != "" || v.Version != 1 {
		t.Errorf("written as it was shown: %s\n%s", diff, r.body)
	}
	try := func(id, token string) view.TrialResult {
		w.Helper()
		var out view.TrialResult
		r := w.do("POST", "/authenticators/"+id+"/test", view.Trial{Token: view.Secret(token)}).is(200).into(&out)
		if len(token) > 20 && strings.Contains(string(r.body), token) {
			t.Errorf("it is shown: %s", r.body)
		}
		return out
	}
	good := f.token("at+jwt", nil)
	if got := try(v.ID, good); got.Result != "accept" || got.Principal != "meters" || got.ExpireAt.IsZero() {
		t.Errorf("%+v", got)
	}
	for what, c := range map[string]struct{ token, result, why string }{
		"none":             {"", "ignore", "no token"},
		"no JWT":           {"cardea_dev_x", "ignore", "no JWT"},
		"another issuer's": {f.token("at+jwt", map[string]any{"iss": "https://other.test"}), "ignore", "another issuer than https://idp.test"},
		"spoilt":           {testkit.Spoil(good[:len(good)-2] + "AA"), "reject", "signature"},
		"another type":     {f.token("JWT", nil), "reject", "typ"},
		"another audience": {f.token("at+jwt", map[string]any{"aud": "https://else.test"}), "reject", "somebody else"},
		"ended":            {f.token("at+jwt", map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), "reject", "exp"},
		"no claim":         {f.token("at+jwt", map[string]any{"team": nil}), "reject", "no claim team.id"},
		"another claim":    {f.token("at+jwt", map[string]any{"team": map[string]any{"id": "8"}}), "reject", "team.id is another"},
		"no name":          {f.token("at+jwt", map[string]any{"sub": nil}), "reject", "no claim sub"},
		"an empty name":    {f.token("at+jwt", map[string]any{"sub": ""}), "reject", "sub: the user name is empty"},
		"a stranger":       {f.token("at+jwt", map[string]any{"sub": "stranger"}), "reject", "no principal of the name"},
		"bound":            {f.token("at+jwt", map[string]any{"cnf": map[string]any{"jkt": "x"}}), "reject", "bound to a key"},
		"bad scopes":       {f.token("at+jwt", map[string]any{"scope": []any{1}}), "reject", "scopes"},
	} {
		if got := try(v.ID, c.token); got.Result != c.result || !strings.Contains(got.Why, c.why) {
			t.Errorf("%s: %s, %q", what, got.Result, got.Why)
		}
	}
	own := w.authenticator(`{"type":"jwt","listener":"default"}`)
	if own.Issuer != nil || own.Scopes != nil {
		t.Errorf("%+v", own)
	}
	client := w.client(`{}`)
	if got := try(own.ID, w.accessToken(client).Token); got.Result != "accept" || got.Credential != client.ID {
		t.Errorf("%+v", got)
	}
	if got := try(own.ID, good); got.Result != "ignore" || !strings.Contains(got.Why, "not of this server") {
		t.Errorf("%+v", got)
	}
}

// Every fault is told at once; nobody trusts an issuer with more than they have (J26).
func TestJWTAuthenticatorFaults(t *testing.T) {
	w := newWorld(t)
	f := newForeignIssuer(t)
	got := w.do("POST", "/authenticators", `{"type":"jwt","precondition":"iif(","issuer":{"issuer":"","jwks_uri":"ftp://x","audiences":[],"principal":"a..b","algorithms":["none"],"attrs":{"x":"y"}}}`).wrong(422)
	slices.Sort(got)
	want := []string{
		"body.issuer.algorithms[0]", "body.issuer.attrs", "body.issuer.audiences", "body.issuer.issuer", "body.issuer.jwks_uri", "body.issuer.principal", "body.precondition",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := w.do("POST", "/authenticators", `{"type":"token","listener":"spare","issuer":{"issuer":"https://x","audiences":[]}}`).wrong(422); !slices.Equal(got, []string{"body.issuer"}) {
		t.Errorf("%v", got)
	}
	narrow := w.caller("narrow", "api:authenticators:create /authenticators/*")
	w.as(narrow, "POST", "/authenticators", f.body()).problem(403)
	w.as(narrow, "POST", "/authenticators", `{"type":"jwt","listener":"default"}`).is(201)
}
