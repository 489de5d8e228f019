package oauth

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/testkit"
)

// J16: the answer is not to be stored, says what was granted, and has no refresh token. The token is one of RFC 9068.
func TestClientCredentials(t *testing.T) {
	h := newHouse(t)
	is := h.client("billing", credential.ClientConfig{})
	r := h.ask(is, "scope", "read")
	r.is(t, 200, "")
	if r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("Pragma") != "no-cache" || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", r.Header)
	}
	if r.get("token_type") != "Bearer" || r.get("scope") != "read" || r.body["expires_in"] != 900.0 {
		t.Errorf("%s", r.text)
	}
	if _, there := r.body["refresh_token"]; there || len(r.body) != 4 {
		t.Errorf("too much: %s", r.text)
	}
	c := h.claims(r.token())
	if c["iss"] != issuer || c["aud"] != issuer || c["sub"] != "billing" || c["client_id"] != is.Credential.ID || c["scope"] != "read" || c["org"] != credential.DefaultOrg {
		t.Errorf("claims %v", c)
	}
	if got := h.ask(is); got.get("scope") != "read write" { // the same as all
		t.Errorf("without a scope: %s", got.text)
	}
	a, b := h.claims(h.tokenOf(is)), h.claims(h.tokenOf(is))
	if a["jti"] == b["jti"] {
		t.Error("two tokens with one jti")
	}
}

// J15: a client may prove itself in one way at a time, and whatever is wrong is answered by the codes of RFC 6749 §5.2.
func TestClientAuthentication(t *testing.T) {
	h := newHouse(t)
	is := h.client("billing", credential.ClientConfig{})
	id, text := is.Credential.ID, is.Secret.Reveal()
	const grant = "grant_type=client_credentials"
	inBody := "&" + body("client_id", id, "client_secret", text)
	for name, tc := range map[string]struct {
		body    string
		headers []string
		status  int
		code    string
	}{
		"basic":                     {grant, []string{asClient(is)}, 200, ""},
		"basic, client_id too":      {grant + "&client_id=" + id, []string{asClient(is)}, 200, ""},
		"basic, escaped":            {grant, []string{basicOf(id, text[:5]) + ""}, 401, "invalid_client"},
		"basic, lower case scheme":  {grant, []string{strings.Replace(asClient(is), "Basic", "basic", 1)}, 200, ""},
		"post":                      {grant + inBody, nil, 200, ""},
		"two ways":                  {grant + inBody, []string{asClient(is)}, 400, "invalid_request"},
		"two names":                 {grant + "&client_id=AAAAAAAAAAAA", []string{asClient(is)}, 400, "invalid_request"},
		"two headers":               {grant, []string{asClient(is), asClient(is)}, 400, "invalid_request"},
		"nobody":                    {grant, nil, 401, "invalid_client"},
		"only a name":               {grant + "&client_id=" + id, nil, 401, "invalid_client"},
		"only a secret":             {grant + "&client_secret=" + text, nil, 401, "invalid_client"},
		"wrong secret":              {grant, []string{basicOf(id, testkit.Spoil(text))}, 401, "invalid_client"},
		"unknown client":            {grant, []string{basicOf("AAAAAAAAAAAA", text)}, 401, "invalid_client"},
		"no client id":              {grant, []string{basicOf("x", text)}, 401, "invalid_client"},
		"no base64":                 {grant, []string{"Authorization: Basic !!!"}, 401, "invalid_client"},
		"another scheme":            {grant, []string{"Authorization: Bearer " + text}, 401, "invalid_client"},
		"assertion without type":    {grant + "&client_assertion=x.y.z", nil, 400, "invalid_request"},
		"assertion of another type": {grant + "&client_assertion=x.y.z&client_assertion_type=saml", nil, 400, "invalid_request"},
		"assertion and secret":      {grant + inBody + "&" + body("client_assertion", "x.y.z", "client_assertion_type", assertionType), nil, 400, "invalid_request"},
		"no assertion":              {grant + "&" + body("client_assertion", "x.y.z", "client_assertion_type", assertionType), nil, 401, "invalid_client"},
	} {
		r := h.post(tokenPath, tc.body, tc.headers...)
		r.is(t, tc.status, tc.code)
		if (r.Header.Get("WWW-Authenticate") != "") != (tc.status == 401) {
			t.Errorf("%s: WWW-Authenticate %q", name, r.Header.Get("WWW-Authenticate"))
		}
		if r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: may be stored", name)
		}
		if strings.Contains(r.text, text) || strings.Contains(r.text, id) {
			t.Errorf("%s: repeats what was sent: %s", name, r.text)
		}
		if t.Failed() {
			t.Fatalf("%s: %d %s", name, r.StatusCode, r.text)
		}
	}
	if strings.Contains(h.log.String(), text) { // K03
		t.Error("the secret is in the log")
	}
}

// RFC 6749 §2.3.1: both parts of Basic are form-urlencoded, so any octet may be written as an escape.
func TestBasicIsUnescaped(t *testing.T) {
	h := newHouse(t)
	is := h.client("billing", credential.ClientConfig{})
	escaped := ""
	for _, c := range []byte(is.Secret.Reveal()) {
		escaped += "%" + strings.ToUpper(string("0123456789abcdef"[c>>4])+string("0123456789abcdef"[c&15]))
	}
	r := h.post(tokenPath, "grant_type=client_credentials", "Authorization: Basic "+encode(is.Credential.ID+":"+escaped))
	r.is(t, 200, "")
	r = h.post(tokenPath, "grant_type=client_credentials", "Authorization: Basic "+encode(is.Credential.ID+":%zz"))
	r.is(t, 401, "invalid_client")
}

// What is wrong with a request is told before anybody is looked for, and a parameter that is there twice is refused (RFC 6749 §3.2).
func TestTokenRequests(t *testing.T) {
	h := newHouse(t)
	is := h.client("billing", credential.ClientConfig{Audiences: nil})
	const grant = "grant_type=client_credentials"
	for body, want := range map[string]struct {
		status int
		code   string
	}{
		"":                                 {400, "invalid_request"},
		"grant_type=":                      {400, "invalid_request"},
		"grant_type=password":              {400, "unsupported_grant_type"},
		"grant_type=refresh_token":         {400, "unsupported_grant_type"},
		grant + "&" + grant:                {400, "invalid_request"},
		grant + "&scope=read&scope=write":  {400, "invalid_request"},
		grant + "&x=1&x=2":                 {400, "invalid_request"},
		grant + "&x=1&y=2":                 {200, ""},
		grant + "&scope=":                  {200, ""},
		grant + "&scope=%zz":               {400, "invalid_request"},
		grant + "&scope=%ff":               {400, "invalid_request"},
		grant + "&scope=read%00":           {400, "invalid_request"},
		grant + "&scope=read+write":        {200, ""},
		grant + "&scope=read++write":       {400, "invalid_scope"},
		grant + "&scope=%22":               {400, "invalid_scope"},
		grant + "&scope=nothing":           {400, "invalid_scope"},
		grant + "&scope=read+admin":        {400, "invalid_scope"},
		grant + "&resource=https://x.test": {400, "invalid_target"},
		grant + "&resource=https://x.test&resource=" + issuer: {400, "invalid_target"},
		grant + "&resource=" + issuer:                         {200, ""},
		grant + "&audience=" + issuer:                         {200, ""},
		"&&" + grant + "&&":                                   {200, ""},
		grant + strings.Repeat("&a=", 70):                     {400, "invalid_request"},
		grant + "&x=" + strings.Repeat("a", 1<<16):            {413, "invalid_request"},
	} {
		r := h.post(tokenPath, body, asClient(is))
		if r.StatusCode != want.status || r.get("error") != want.code {
			t.Errorf("%.60s: %d %s", body, r.StatusCode, r.text)
		}
	}
	for name, headers := range map[string][]string{
		"JSON":          {"Content-Type: application/json"},
		"two types":     {"Content-Type: application/x-www-form-urlencoded", "Content-Type: text/plain"},
		"compressed":    {"Content-Encoding: gzip"},
		"no media type": {"Content-Type: ;"},
	} {
		if r := h.post(tokenPath, grant, append(headers, asClient(is))...); r.StatusCode != 400 || r.get("error") != "invalid_request" {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.text)
		}
	}
	h.post(tokenPath, grant, "Content-Type: application/x-www-form-urlencoded; charset=utf-8", asClient(is)).is(t, 200, "")
	h.post(tokenPath+"?x=1", grant, asClient(is)).is(t, 400, "invalid_request") // nothing in the query, secrets least of all
	h.post("/oauth2/authorize", grant, asClient(is)).is(t, 404, "not_found")
}

// J08: what a token is for is among the APIs, and its scopes are theirs. A client with one audience gets tokens for that.
func TestTargets(t *testing.T) {
	h := newHouse(t)
	orders := h.api("orders", []string{"read"}, func(n *authority.NewAPI) { n.TokenLife = time.Minute })
	stock := h.api("stock", []string{"write"})
	is := h.client("billing", credential.ClientConfig{})
	r := h.ask(is, "resource", orders)
	r.is(t, 200, "")
	if c := h.claims(r.token()); c["aud"] != orders || r.get("scope") != "read" || r.body["expires_in"] != 60.0 {
		t.Errorf("%v %s", c["aud"], r.text)
	}
	h.ask(is, "resource", orders, "scope", "write").is(t, 400, "invalid_scope")
	both := h.ask(is, "resource", orders, "resource", stock)
	if aud, _ := h.claims(both.token())["aud"].([]any); !slices.Equal(aud, []any{orders, stock}) || both.get("scope") != "read write" {
		t.Errorf("two audiences: %v %s", aud, both.text)
	}
	one := h.client("billing", credential.ClientConfig{Audiences: []string{stock}, TokenLife: 2 * time.Minute})
	r = h.ask(one)
	if c := h.claims(r.token()); c["aud"] != stock || r.body["expires_in"] != 120.0 {
		t.Errorf("%v %s", c["aud"], r.text)
	}
	h.ask(one, "resource", orders).is(t, 400, "invalid_target")
	h.ask(one, "resource", issuer).is(t, 400, "invalid_target")
	none := h.client("billing", credential.ClientConfig{Audiences: []string{orders}}, func(n *authority.NewCredential) { n.Scopes = []string{"write"} })
	h.ask(none).is(t, 400, "invalid_scope")
}

// A token ends with its client, and is never longer-lived.
func TestTokenEndsWithItsClient(t *testing.T) {
	h := newHouse(t)
	is := h.client("billing", credential.ClientConfig{}, func(n *authority.NewCredential) { n.TTL = 5 * time.Minute })
	r := h.ask(is)
	if left, _ := r.body["expires_in"].(float64); left > 300 || left < 200 {
		t.Errorf("%s", r.text)
	}
}

// L07: whoever has tried many wrong secrets waits, and is told for how long.
func TestSlowDown(t *testing.T) {
	h := newHouse(t)
	is := h.client("billing", credential.ClientConfig{})
	wrong := h.client("billing", credential.ClientConfig{}).Secret.Reveal()
	var r *reply
	for range 60 {
		if r = h.post(tokenPath, "grant_type=client_credentials", basicOf(is.Credential.ID, wrong)); r.StatusCode != 401 {
			break
		}
	}
	r.is(t, 429, "temporarily_unavailable")
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// The limits of a client are told, as at the API.
func TestLimitsOfClients(t *testing.T) {
	h := newHouse(t)
	is := h.client("billing", credential.ClientConfig{}, func(n *authority.NewCredential) { n.Limits = credential.Limits{PerMonth: 2} })
	if r := h.ask(is); r.Header.Get("RateLimit-Policy") == "" {
		t.Errorf("headers %v", r.Header)
	}
	h.ask(is).is(t, 200, "")
	r := h.ask(is)
	r.is(t, 429, "temporarily_unavailable")
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// Only POST, and what cannot be is told.
func TestMethods(t *testing.T) {
	h := newHouse(t)
	for _, path := range []string{tokenPath, introspectPath, revokePath} {
		r := h.get(path)
		r.is(t, 405, "invalid_request")
		if r.Header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow %q", path, r.Header.Get("Allow"))
		}
	}
}

// J23: a scope that a credential names and its principal has lost is in no new token; and one that the credential's resources cut down is in none for
// others, who would not heed them.
func TestScopesThatWereLost(t *testing.T) {
	h := newHouse(t)
	orders := h.api("orders", []string{"read", "write"})
	both := func(n *authority.NewCredential) { n.Scopes = []string{"read", "write"} }
	is := h.client("billing", credential.ClientConfig{}, both)
	held := h.client("billing", credential.ClientConfig{}, both, func(n *authority.NewCredential) { n.Resources = []string{"http:/db/a/**"} })
	if got := h.ask(held); got.get("scope") != "read write" { // our doors heed them
		t.Errorf("%s", got.text)
	}
	h.ask(held, "resource", orders).is(t, 400, "invalid_scope")
	if got := h.ask(is, "resource", orders); got.get("scope") != "read write" {
		t.Errorf("%s", got.text)
	}
	_, err := h.Authority.PutRole(h.Context(), h.Local, credential.Role{Org: credential.DefaultOrg, Name: "clerk", Scopes: []string{"read"}, Version: 1})
	h.must(err)
	if got := h.ask(is, "resource", orders); got.get("scope") != "read" {
		t.Errorf("%s", got.text)
	}
	h.ask(is, "scope", "write").is(t, 400, "invalid_scope")
}

// Tokens are not stored, and a refusal writes nothing: the log of events stays as it is, whatever is asked for.
func TestNothingIsWritten(t *testing.T) {
	h := newHouse(t)
	is := h.client("billing", credential.ClientConfig{})
	count := func() int {
		t.Helper()
		events, err := h.Store.Events(t.Context(), credential.EventFilter{Limit: 1000})
		h.must(err)
		return len(events)
	}
	before := count()
	for range 50 {
		h.active(is, h.tokenOf(is))
		h.ask(is, "scope", "admin").is(t, 400, "invalid_scope")
		h.swap("x", nil).is(t, 400, "invalid_request")
	}
	h.post(tokenPath, "grant_type=client_credentials", basicOf(is.Credential.ID, "x")).is(t, 401, "invalid_client")
	if after := count(); after != before {
		t.Errorf("%d events, %d before", after, before)
	}
}

// J13: the keys that sign are rotated while tokens are asked for and looked at, and nobody notices; one that is revoked ends what it has signed.
func TestSigningKeysTurn(t *testing.T) {
	h := newHouse(t)
	is := h.client("billing", credential.ClientConfig{})
	old := h.tokenOf(is)
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r := h.ask(is)
				if r.StatusCode != 200 {
					t.Errorf("%d %s", r.StatusCode, r.text)
					return
				}
				if got := h.post(introspectPath, body("token", r.token()), asClient(is)); got.body["active"] != true {
					t.Errorf("not active: %s", got.text)
					return
				}
			}
		})
	}
	for range 5 {
		_, err := h.Authority.RotateSigningKeys(t.Context(), h.Local, "ES256", true)
		h.must(err)
	}
	close(stop)
	all.Wait()
	if !h.active(is, old) {
		t.Error("a token does not outlive the rotation of its key")
	}
	keys, err := h.Authority.SigningKeys(t.Context(), h.Local)
	h.must(err)
	for _, k := range keys {
		if k.State == authority.KeyCurrent {
			continue
		}
		_, err := h.Authority.RevokeSigningKey(t.Context(), h.Local, k.ID, "test")
		h.must(err)
	}
	if h.active(is, old) {
		t.Error("a token outlives the revocation of its key")
	}
	h.ask(is).is(t, 200, "")
}

// Secrets in the query are refused before anybody looks at them (RFC 6749 §2.3.1).
func TestSecretsInTheQuery(t *testing.T) {
	h := newHouse(t)
	is := h.client("billing", credential.ClientConfig{})
	for _, query := range []string{"client_id=" + is.Credential.ID + "&client_secret=" + is.Secret.Reveal(), "client_secret=x", "grant_type=client_credentials"} {
		if r := h.post(tokenPath+"?"+query, "grant_type=client_credentials", asClient(is)); r.StatusCode != 400 || strings.Contains(r.text, is.Secret.Reveal()) {
			t.Errorf("%d %s", r.StatusCode, r.text)
		}
	}
	if strings.Contains(h.log.String(), is.Secret.Reveal()) {
		t.Error("it is in the log")
	}
}
