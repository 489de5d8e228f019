package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/jwt"
	"cardea/internal/testkit"
	"cardea/internal/view"
)

// newKeySet is a JWK set of one new public key.
func newKeySet(t testing.TB) json.RawMessage {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := jwt.Set(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// billing makes a service that may read /billing, and an API for that.
func (w *world) billing() {
	w.Helper()
	w.do("POST", "/scopes", `{"name":"billing:read","rules":[{"permission":"allow","action":"http:GET","resource":"/billing/**"}]}`).is(201)
	w.do("POST", "/roles", `{"name":"biller","scopes":["billing:read"]}`).is(201)
	w.do("POST", "/principals", `{"kind":"service","name":"meters","roles":["biller"]}`).is(201)
	w.do("POST", "/apis", `{"name":"billing","audience":"https://billing.test","scopes":["billing:read"]}`).is(201)
}

// client makes an OAuth client of the service "meters".
func (w *world) client(config string) view.Issued {
	w.Helper()
	var i view.Issued
	w.do("POST", "/credentials", `{"kind":"oauth_client","principal":"meters","ttl":"30d","client":`+config+`}`).is(201).into(&i)
	return i
}

// accessToken gets a token for a client with a secret, as the token endpoint does.
func (w *world) accessToken(i view.Issued) gate.Minted {
	w.Helper()
	c, out := w.gate.Client(w.Context(), &gate.ClientEvidence{ID: i.ID, Secret: i.Secret.Reveal(), Door: "http"})
	if out.Reason != credential.OK {
		w.Fatal(out.Reason)
	}
	m, err := w.gate.Mint(c.Identity, &gate.Wanted{Client: c})
	w.must(err)
	return m
}

// The life of an OAuth client: what was said is what is shown, its secret once; whatever changes its proof ends its tokens (J26, R06).
func TestOAuthClientLife(t *testing.T) {
	w := newWorld(t)
	w.billing()
	made := w.client(`{"audiences":["https://billing.test"],"token_life":"5m","bound":"dpop","may_act":"meters"}`)
	if !strings.HasPrefix(made.Secret.Reveal(), "cardea_sec_") || made.ClientID != made.ID || made.Client.AuthMethod != "client_secret_basic" {
		t.Errorf("made %+v", made)
	}
	var shown view.CredentialView
	r := w.do("GET", "/credentials/"+made.ID, nil).is(200).into(&shown)
	want := &view.Client{AuthMethod: "client_secret_basic", Audiences: []string{"https://billing.test"}, TokenLife: "5m", Bound: "dpop", MayAct: "meters"}
	if diff := cmp.Diff(want, shown.Client); diff != "" || shown.ClientID != made.ID || strings.Contains(string(r.body), "cardea_sec_") { // K02
		t.Errorf("%s\n%s", diff, r.body)
	}
	set := newKeySet(t)
	shown = view.CredentialView{}
	w.do("PATCH", "/credentials/"+made.ID, fmt.Sprintf(`{"client":{"auth_method":"private_key_jwt","jwks":%s}}`, set)).is(200).into(&shown)
	if shown.Client.AuthMethod != "private_key_jwt" || shown.Client.Bound != "" || len(shown.Versions) != 2 {
		t.Errorf("after PATCH %+v, %d versions", shown.Client, len(shown.Versions))
	}
	var keys, given struct{ Keys []map[string]any }
	w.must(json.Unmarshal(shown.Client.JWKS, &keys))
	w.must(json.Unmarshal(set, &given))
	if diff := cmp.Diff(given, keys); diff != "" {
		t.Error(diff)
	}
	w.do("POST", "/credentials/"+made.ID+"/rotate", nil).problem(409)
	var page view.Page[view.CredentialView]
	w.do("GET", "/credentials?kind=oauth_client", nil).is(200).into(&page)
	if len(page.Items) != 1 || page.Items[0].Client == nil {
		t.Errorf("list %+v", page.Items)
	}
	var preview view.Preview
	w.do("POST", "/credentials/preview", `{"kind":"oauth_client","principal":"meters","ttl":"1d","client":{"token_life":"1m"}}`).is(200).into(&preview)
	if preview.Client == nil || preview.Client.TokenLife != "1m" {
		t.Errorf("preview %+v", preview)
	}
}

// Every fault of a client is told at once, by the name that the field has in the request, and nothing that was sent comes back (K02).
func TestOAuthClientFaults(t *testing.T) {
	w := newWorld(t)
	w.billing()
	const secret = "not-to-be-seen"
	private := `{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"` + secret + `"}]}`
	for what, c := range map[string]struct {
		body string
		want []string
	}{
		"no client":     {`{"kind":"oauth_client","principal":"meters"}`, []string{"body.client"}},
		"of no client":  {`{"kind":"api_key","principal":"meters","client":{}}`, []string{"body.client"}},
		"private key":   {`{"kind":"oauth_client","principal":"meters","client":{"auth_method":"private_key_jwt","jwks":` + private + `}}`, []string{"body.client.jwks.keys[0].d"}},
		"not a set":     {`{"kind":"oauth_client","principal":"meters","client":{"auth_method":"private_key_jwt","jwks":"` + secret + `"}}`, []string{"body.client.jwks"}},
		"null":          {`{"kind":"oauth_client","principal":"meters","client":{"auth_method":"private_key_jwt","jwks":null}}`, []string{"body.client.jwks"}},
		"two sets":      {`{"kind":"oauth_client","principal":"meters","client":{"auth_method":"private_key_jwt","jwks":{"keys":[]},"jwks_uri":"https://k.test/"}}`, []string{"body.client.jwks_uri"}},
		"two subjects":  {`{"kind":"oauth_client","principal":"meters","client":{"auth_method":"tls_client_auth","tls_client_auth_subject_dn":"CN=x","tls_client_auth_san_dns":"x"}}`, []string{"body.client.tls_client_auth_san_dns"}},
		"other's field": {`{"kind":"oauth_client","principal":"meters","client":{"tls_client_auth_subject_dn":"CN=x"}}`, []string{"body.client.tls_client_auth_subject_dn"}},
		"many": {
			`{"kind":"oauth_client","principal":"meters","ttl":"soon","client":{"audiences":["https://x.test"],"token_life":"2d","may_act":"nobody"}}`,
			[]string{"body.client.audiences[0]", "body.client.may_act", "body.client.token_life", "body.ttl"},
		},
		"unread":    {`{"kind":"oauth_client","principal":"meters","client":{"token_life":"soon"}}`, []string{"body.client.token_life"}},
		"no method": {`{"kind":"oauth_client","principal":"meters","client":{"auth_method":"none"}}`, []string{"body.client.auth_method"}},
	} {
		r := w.do("POST", "/credentials", c.body)
		got := r.wrong(422)
		slices.Sort(got)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s\n%s", what, diff, r.body)
		}
		if strings.Contains(string(r.body), secret) {
			t.Errorf("%s: shown: %s", what, r.body)
		}
	}
	made := w.client(`{}`)
	if got := w.do("PATCH", "/credentials/"+made.ID, `{"client":{"token_life":"soon"}}`).wrong(422); !slices.Equal(got, []string{"body.client.token_life"}) {
		t.Errorf("PATCH: %v", got)
	}
}

// The life of an API, and what stands in its way.
func TestAPILife(t *testing.T) {
	w := newWorld(t)
	w.billing()
	var a view.API
	r := w.do("GET", "/apis/billing", nil).is(200).into(&a)
	if a.Alg != "ES256" || a.TokenLife != "15m" || a.Version != 1 || r.header.Get("ETag") != `"1"` || !slices.Equal(a.Scopes, []string{"billing:read"}) || a.Introspectors == nil {
		t.Errorf("%+v", a)
	}
	r = w.do("PATCH", "/apis/billing", `{"token_life":"1m","alg":"EdDSA","introspectors":["meters"],"scopes":[]}`, with{"If-Match", `"1"`}).is(200).into(&a)
	if a.TokenLife != "1m" || a.Alg != "EdDSA" || len(a.Scopes) > 0 || !slices.Equal(a.Introspectors, []string{"meters"}) || r.header.Get("ETag") != `"2"` {
		t.Errorf("%s", r.body)
	}
	w.do("PATCH", "/apis/billing", `{"token_life":"1m"}`, with{"If-Match", `"1"`}).problem(412)
	w.do("POST", "/apis", `{"name":"billing","audience":"https://other.test"}`).problem(409)
	w.do("POST", "/apis", `{"name":"other","audience":"https://billing.test"}`).problem(409)
	got := w.do("POST", "/apis", `{"name":"","audience":"billing","scopes":["none"],"token_life":"1s","introspectors":["nobody"]}`).wrong(422)
	slices.Sort(got)
	want := []string{"body.audience", "body.introspectors[0]", "body.name", "body.scopes[0]", "body.token_life"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := w.do("PATCH", "/apis/billing", `{"token_life":"soon"}`).wrong(422); !slices.Equal(got, []string{"body.token_life"}) {
		t.Errorf("PATCH: %v", got)
	}
	const again = `{"name":"twice","audience":"https://twice.test","token_life":"15m"}`
	r = w.do("POST", "/apis", again, with{"Idempotency-Key", "k"}).is(201)
	if r.header.Get("Location") != "/api/v1/apis/twice" {
		t.Errorf("headers %v", r.header)
	}
	w.do("POST", "/apis", again, with{"Idempotency-Key", "k"}).is(201)
	w.do("POST", "/apis", `{"name":"twice","audience":"https://twice.test","token_life":"1m"}`, with{"Idempotency-Key", "k"}).problem(409)
	made := w.client(`{"audiences":["https://billing.test"]}`)
	w.do("DELETE", "/apis/billing", nil).problem(409)
	w.do("POST", "/credentials/"+made.ID+"/revoke", nil).is(200)
	w.do("DELETE", "/apis/billing", nil).is(204)
	w.do("GET", "/apis/billing", nil).problem(404)
}

// J13, J14: keys of tokens are published ahead, signed with by turns, and revoked at once; nothing private is shown.
func TestSigningKeyLife(t *testing.T) {
	w := newWorld(t)
	list := func() []string {
		var page view.Page[view.SigningKey]
		r := w.do("GET", "/signing-keys", nil).is(200).into(&page)
		if strings.Contains(string(r.body), "PRIVATE") || strings.Contains(string(r.body), `"d"`) {
			t.Errorf("%s", r.body)
		}
		var states []string
		for _, k := range page.Items {
			states = append(states, k.State)
		}
		return states
	}
	if got := list(); !slices.Equal(got, []string{"current"}) {
		t.Errorf("%v", got)
	}
	var next, now view.SigningKey
	w.do("POST", "/signing-keys", nil).is(201).into(&next)
	if next.State != "next" || next.Alg != "ES256" || !next.ActiveAt.After(time.Now()) {
		t.Errorf("%+v", next)
	}
	w.do("POST", "/signing-keys", `{"alg":"ES256"}`).problem(409)
	w.do("POST", "/signing-keys", `{"now":true}`).is(201).into(&now)
	if now.KID != next.KID || now.State != "current" {
		t.Errorf("%+v", now)
	}
	if got := list(); !slices.Equal(got, []string{"current", "retired"}) {
		t.Errorf("%v", got)
	}
	w.do("POST", "/signing-keys/"+now.KID+"/revoke", `{"reason":"lost"}`).is(200).into(&now)
	if now.State != "revoked" || now.RevokedAt.IsZero() {
		t.Errorf("%+v", now)
	}
	if got := list(); !slices.Contains(got, "current") || len(got) != 3 {
		t.Errorf("%v", got)
	}
	w.do("POST", "/signing-keys/none/revoke", nil).problem(404)
	if got := w.do("POST", "/signing-keys", `{"alg":"HS256"}`).wrong(422); !slices.Equal(got, []string{"body.alg"}) { // J02
		t.Errorf("%v", got)
	}
}

// J18: an access token is revoked by its text or by its jti, by those who may revoke what it was made for, and by whoever has it.
func TestRevokeAccessToken(t *testing.T) {
	w := newWorld(t)
	w.billing()
	client := w.client(`{}`)
	good := func(m gate.Minted) bool {
		w.Helper()
		var v view.Verdict
		w.do("POST", "/verify", view.Verify{Token: view.Secret(m.Token)}).is(200).into(&v)
		return v.Allowed
	}
	byText, byID, own := w.accessToken(client), w.accessToken(client), w.accessToken(client)
	for _, m := range []gate.Minted{byText, byID, own} {
		if !good(m) {
			t.Fatal("the token is not good")
		}
	}
	var done view.RevokedToken
	r := w.do("POST", "/tokens/revoke", view.RevokeToken{Token: view.Secret(byText.Token), Reason: "in a log"}).is(200).into(&done)
	if done.JTI != byText.ID || done.Credential != client.ID || !done.ExpiresAt.Equal(byText.ExpiresAt) || strings.Contains(string(r.body), byText.Token) {
		t.Errorf("%s", r.body)
	}
	w.do("POST", "/tokens/revoke", view.RevokeToken{JTI: byID.ID, Credential: client.ID}).is(200)
	w.as(own.Token, "POST", "/tokens/revoke", view.RevokeToken{Token: view.Secret(own.Token)}).is(200)
	for _, m := range []gate.Minted{byText, byID, own} {
		if good(m) {
			t.Error("a token goes on")
		}
	}
	w.as(own.Token, "GET", "/whoami", nil).problem(401)
	w.do("POST", "/tokens/revoke", view.RevokeToken{Token: view.Secret(byText.Token)}).is(200) // once more
	spoilt := testkit.Spoil(byText.Token)
	if r := w.do("POST", "/tokens/revoke", view.RevokeToken{Token: view.Secret(spoilt)}); strings.Contains(string(r.is(404).body), spoilt) {
		t.Errorf("%s", r.body)
	}
	w.do("POST", "/tokens/revoke", view.RevokeToken{Token: client.Secret}).problem(404) // which is another kind of thing
	for body, want := range map[string]string{
		`{}`:                              "body.token",
		`{"jti":"4fQx7TzR0kLa"}`:          "body.credential",
		`{"token":"x","jti":"4fQx7TzR0"}`: "body.token",
		`{"jti":"` + byID.ID + `","credential":"` + client.ID + `","expires_at":"2100-01-01T00:00:00Z"}`: "body.expires_at",
	} {
		if got := w.do("POST", "/tokens/revoke", body).wrong(422); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %v", body, got)
		}
	}
}

// J26: whoever has an access token makes nothing with it that lasts longer.
func TestAccessTokenMakesNothingLasting(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/principals", `{"kind":"service","name":"boss","roles":["admin"]}`).is(201)
	var made view.Issued
	w.do("POST", "/credentials", `{"kind":"oauth_client","principal":"boss","ttl":"30d","client":{}}`).is(201).into(&made)
	token := w.accessToken(made).Token
	w.as(token, "GET", "/whoami", nil).is(200)
	w.as(token, "POST", "/credentials", `{"kind":"api_key","principal":"boss"}`).problem(403)
	w.as(token, "POST", "/credentials/"+made.ID+"/rotate", nil).problem(403)
	w.as(token, "POST", "/credentials/"+made.ID+"/extend", `{"ttl":"60d"}`).problem(403)
}
