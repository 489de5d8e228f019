package httpdoor

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cardea/internal/authority"
	"cardea/internal/credential"
)

// A route with a chain is decided by it alone; another route is as ever, and so is one whose last authenticator is gone.
func TestChainOfRoute(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL, "/files/=" + up.URL})
	rest := newService(t, map[string]person{"ann": {password: "right"}, "bob": {password: "a:b: c"}, "cy": {password: ""}, "müller": {password: "größe"}})
	b := everyone(rest.URL)
	h.scope("reads", "allow http:GET /db/**")
	is := h.token("pump")
	h.authenticator(credential.ByToken, "/db/", nil)
	http := h.authenticator(credential.ByHTTP, "/db/", &b, gives("reads"))
	token := is.Secret.Reveal()
	for name, tc := range map[string]struct {
		path    string
		headers []string
		status  int
		who     string
		asked   int // questions to the service
	}{
		"password":                     {"/db/x", []string{basic("ann", "right")}, 200, "ann", 1},
		"in lower case, with spaces":   {"/db/x", []string{"authorization: basic   " + strings.TrimPrefix(basic("ann", "right"), "Authorization: Basic ") + " "}, 200, "ann", 1},
		"password with colons":         {"/db/x", []string{basic("bob", "a:b: c")}, 200, "bob", 1},
		"empty password":               {"/db/x", []string{basic("cy", "")}, 200, "cy", 1},
		"not ASCII":                    {"/db/x", []string{basic("müller", "größe")}, 200, "m%C3%BCller", 1},
		"wrong password":               {"/db/x", []string{basic("ann", "wrong")}, 401, "", 1},
		"unknown user":                 {"/db/x", []string{basic("eve", "right")}, 401, "", 1},
		"nothing":                      {"/db/x", nil, 401, "", 0},
		"neither name nor password":    {"/db/x", []string{basic("", "")}, 401, "", 0},
		"token":                        {"/db/x", []string{bearer(is)}, 200, "pump", 0},
		"token in X-API-Key":           {"/db/x", []string{"X-API-Key: " + token}, 200, "pump", 0},
		"token as Git sends it":        {"/db/x", []string{basic("x", token)}, 200, "pump", 0},
		"token as the user name":       {"/db/x", []string{basic(token, "")}, 200, "pump", 0},
		"K03 wrong token":              {"/db/x", []string{basic("ann", forge(t, token))}, 401, "", 0},
		"K03 a token, nearly":          {"/db/x", []string{basic("ann", token[:len(token)-1])}, 401, "", 0},
		"K03 a token in a password":    {"/db/x", []string{basic("ann", "is it "+token+"?")}, 401, "", 0},
		"K03 a token in a name":        {"/db/x", []string{basic("x"+token, "right")}, 401, "", 0},
		"H19 password and token":       {"/db/x", []string{basic("ann", "right"), "X-API-Key: " + token}, 400, "", 0},
		"H19 two passwords":            {"/db/x", []string{basic("ann", "right"), basic("ann", "right")}, 400, "", 0},
		"no colon":                     {"/db/x", []string{"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("ann"))}, 401, "", 0},
		"no base64":                    {"/db/x", []string{"Authorization: Basic ann:right"}, 401, "", 0},
		"S16 not UTF-8":                {"/db/x", []string{basic("ann\xff", "right")}, 401, "", 0},
		"S16 NUL":                      {"/db/x", []string{basic("ann\x00", "right")}, 401, "", 0},
		"S16 line":                     {"/db/x", []string{basic("ann", "right\r\nX-Evil: 1")}, 401, "", 0},
		"too long":                     {"/db/x", []string{basic("ann", strings.Repeat("x", maxLogin))}, 401, "", 0},
		"other scheme":                 {"/db/x", []string{"Authorization: Digest username=ann"}, 401, "", 0},
		"route without a chain":        {"/files/x", []string{bearer(is)}, 200, "pump", 0},
		"route without, password":      {"/files/x", []string{basic("ann", "right")}, 401, "", 0},
		"a prefix is not part of one":  {"/db", []string{basic("ann", "right")}, 401, "", 0},
		"the same path, other letters": {"/d%62/x", []string{basic("ann", "right")}, 200, "ann", 1},
	} {
		a := h.ask("GET", tc.path, tc.headers...)
		asked, got := rest.got(), up.got()
		if a.StatusCode != tc.status || len(asked) != tc.asked {
			t.Errorf("%s: %d %s after %d questions, want %d after %d", name, a.StatusCode, a.text, len(asked), tc.status, tc.asked)
		}
		checkChallenge(t, name, a, tc.path == "/db/x")
		if len(got) != len(tc.who[:min(1, len(tc.who))]) {
			t.Errorf("%s: %d requests got through", name, len(got))
			continue
		}
		if len(got) == 1 && (got[0].header.Get("X-Cardea-Principal") != tc.who || got[0].header["Authorization"] != nil) {
			t.Errorf("%s: the upstream got %v, want %s", name, got[0].header, tc.who)
		}
	}

	// The order and the switches are those of the moment.
	off := h.put(http, disabled)
	if a := h.ask("GET", "/db/x", basic("ann", "right")); a.StatusCode != 401 || len(a.Header["Www-Authenticate"]) != 1 {
		t.Errorf("disabled: %d %v", a.StatusCode, a.Header)
	}
	h.put(off, enabled)
	if a := h.ask("GET", "/db/x", basic("ann", "right")); a.StatusCode != 200 {
		t.Errorf("enabled again: %d", a.StatusCode)
	}
}

// checkChallenge: a 401 asks for a token, and where a chain takes passwords for one of these too.
func checkChallenge(t *testing.T, name string, a answered, passwords bool) {
	t.Helper()
	if a.StatusCode != 401 {
		return
	}
	want := []string{challengeBearer}
	if passwords {
		want = append(want, challengeBasic)
	}
	if d := cmp.Diff(want, a.Header["Www-Authenticate"]); d != "" {
		t.Errorf("%s: WWW-Authenticate %s", name, d)
	}
	if a.text != `{"success":false,"reason":"invalid token"}` {
		t.Errorf("%s: %s", name, a.text)
	}
}

// A chain that is wholly disabled, that has only what is not for HTTP, or whose authenticator cannot work lets nobody in (S15). One that is gone
// leaves the route as it was before.
func TestChainThatLetsNobodyIn(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	nowhere := credential.Backend{Method: "post", URL: "http://169.254.169.254/latest"} // link-local: never called
	for name, make := range map[string]func() credential.Authenticator{
		"disabled": func() credential.Authenticator { return h.authenticator(credential.ByToken, "/db/", nil, disabled) },
		"scram":    func() credential.Authenticator { return h.authenticator(credential.ByScram, "/db/", nil) },
		"broken": func() credential.Authenticator {
			return h.authenticator(credential.ByHTTP, "/db/", &nowhere)
		},
		"precondition that fails": func() credential.Authenticator {
			return h.authenticator(credential.ByToken, "/db/", nil, when("nosuch(username)"))
		},
	} {
		a := make()
		for _, header := range []string{bearer(is), basic("ann", "right"), "X-None: 1"} {
			if got := h.ask("GET", "/db/x", header); got.StatusCode != 401 {
				t.Errorf("%s: %d", name, got.StatusCode)
			}
		}
		h.remove(a)
		if got := h.ask("GET", "/db/x", bearer(is)); got.StatusCode != 200 {
			t.Errorf("%s, after: %d", name, got.StatusCode)
		}
	}
}

// S13: who has only SCRAM may not come with a user name and a password, whatever stands in the chain.
func TestScramOnlyPrincipalHasNoPassword(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL, "/files/=" + up.URL})
	rest := newService(t, nil)
	b := everyone(rest.URL)
	_, err := h.authority.CreatePrincipal(t.Context(), h.local,
		authority.NewPrincipal{Kind: credential.Service, Name: "meter", Roles: []string{credential.RoleDevice}})
	h.must(err)
	is, err := h.authority.CreateCredential(t.Context(), h.local, authority.NewCredential{Kind: credential.SCRAM, Principal: "meter", TTL: time.Hour})
	h.must(err)
	for _, typ := range []credential.AuthenticatorType{credential.ByToken, credential.ByCertificate, credential.ByScram} {
		h.authenticator(typ, "/db/", nil)
	}
	h.authenticator(credential.ByHTTP, "/db/", &b)
	for _, path := range []string{"/db/x", "/files/x"} {
		if a := h.ask("GET", path, basic("meter", is.Secret.Reveal())); a.StatusCode != 401 {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
}

// What the service is asked, and what preconditions know: the client behind trusted proxies, and the route as the listener.
func TestLoginOfRequest(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, behind("127.0.0.1/32"))
	rest := newService(t, map[string]person{"ann": {password: "right"}})
	b := everyone(rest.URL)
	h.scope("reads", "allow http:GET /db/**")
	h.authenticator(credential.ByHTTP, "/db/", &b, gives("reads"),
		when(`str_eq(concat([proto_name, listener, zone, peerhost, any_to_str(sockport)]), 'HTTPhttp:/db/default192.0.2.9`+portOf(h.addr)+`')`))
	for _, source := range []string{"192.0.2.9", "192.0.2.10"} {
		a := h.ask("GET", "/db/x", basic("ann", "right"), "X-Forwarded-For: "+source)
		if want := map[string]int{"192.0.2.9": 200, "192.0.2.10": 401}[source]; a.StatusCode != want {
			t.Errorf("from %s: %d, want %d", source, a.StatusCode, want)
		}
	}
	want := []map[string]string{{
		"username": "ann", "password": "right", "clientid": "", "peerhost": "192.0.2.9", "peerport": "0", "listener": "http:/db/", "zone": "default", "cn": "",
	}}
	if d := cmp.Diff(want, rest.got()); d != "" {
		t.Error(d)
	}
	got := up.got()[0]
	if v := got.header.Get("X-Forwarded-For"); v != "192.0.2.9, 127.0.0.1" {
		t.Errorf("X-Forwarded-For: %s", v)
	}
}

func portOf(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// A client of its own has a port, and over HTTPS a certificate, which a chain may take or leave. All of it over both versions.
func TestChainOverTLS(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL, "/both/=" + up.URL, "/certs/=" + up.URL, "/files/=" + up.URL}, withTLS)
	rest := newService(t, map[string]person{"ann": {password: "right"}})
	b := everyone(rest.URL)
	h.scope("reads", "allow http:GET /**")
	_, cert := h.certificate("cam", time.Hour)
	token := h.token("pump")
	h.authenticator(credential.ByHTTP, "/db/", &b, gives("reads"))
	h.authenticator(credential.ByToken, "/both/", nil)
	h.authenticator(credential.ByHTTP, "/both/", &b, gives("reads"), when("is_empty(cert_common_name)"))
	h.authenticator(credential.ByCertificate, "/both/", nil)
	h.authenticator(credential.ByCertificate, "/certs/", nil)
	for _, protocol := range []string{"http/1.1", "h2"} {
		with, without := h.client(&cert, protocol), h.client(nil, protocol)
		for name, tc := range map[string]struct {
			client *http.Client
			path   string
			header string
			who    string
		}{
			"password":                                {without, "/db/x", basic("ann", "right"), "ann"},
			"password beside a certificate":           {with, "/db/x", basic("ann", "right"), "ann"},
			"certificate that the chain has not":      {with, "/db/x", "X-None: 1", ""},
			"token that the chain has not":            {without, "/db/x", bearer(token), ""},
			"certificate":                             {with, "/both/x", "X-None: 1", "cam"},
			"certificate, the password is not for it": {with, "/both/x", basic("ann", "right"), "cam"},
			"token": {without, "/both/x", bearer(token), "pump"},
			"somebody else's token beside certificate": {with, "/both/x", bearer(token), ""},
			"what is no token beside a certificate":    {with, "/both/x", "Authorization: Digest x", ""},
			"the same, where no token counts":          {with, "/certs/x", "Authorization: Digest x", "cam"},
			"a token, where none counts":               {with, "/certs/x", bearer(token), "cam"},
			"no certificate":                           {without, "/certs/x", bearer(token), ""},
			"no chain":                                 {with, "/files/x", "X-None: 1", "cam"},
		} {
			rest.got()
			a, err := h.get(tc.client, tc.path, tc.header)
			h.must(err)
			got := up.got()
			switch {
			case tc.who == "":
				if a.StatusCode != 401 || len(got) > 0 {
					t.Errorf("%s %s: %d", protocol, name, a.StatusCode)
				}
			case a.StatusCode != 200 || len(got) != 1 || got[0].header.Get("X-Cardea-Principal") != tc.who:
				t.Errorf("%s %s: %d, the upstream got %v, want %s", protocol, name, a.StatusCode, got, tc.who)
			}
			if asked := rest.got(); tc.path == "/db/x" && len(asked) == 1 {
				q, cn := asked[0], map[bool]string{tc.client == with: "cam"}[true]
				if q["listener"] != "https:/db/" || q["peerhost"] != "127.0.0.1" || q["peerport"] == "0" || q["cn"] != cn {
					t.Errorf("%s %s: the service was asked %v", protocol, name, q)
				}
			}
		}
	}
}

// S14: a service that fails is never a yes. The next authenticator is asked, or nobody, as the authenticator says.
func TestServiceThatFails(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/ignore/=" + up.URL, "/deny/=" + up.URL})
	second := newService(t, map[string]person{"ann": {password: "right"}})
	next := everyone(second.URL)
	h.scope("reads", "allow http:GET /**")
	for name, handler := range map[string]http.HandlerFunc{
		"500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"429": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) },
		"302": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, second.URL, http.StatusTemporaryRedirect)
		},
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, `{"result":"allow"`) },
		"no result": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Write([]byte(`{"result":"allow"}`))
		},
		"wrong type": func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, `{"result":true}`) },
		"10 MB": func(w http.ResponseWriter, _ *http.Request) {
			answerJSON(w, `{"result":"allow","x":"`+strings.Repeat("x", 10<<20)+`"}`)
		},
		"hangs": func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // only then is it seen that the caller has gone
			<-r.Context().Done()
		},
		"drips": func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				w.Write([]byte(" "))
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		},
	} {
		bad := newUpstream(t, handler)
		b := everyone(bad.URL)
		b.RequestTimeout = 200 * time.Millisecond
		chain := []credential.Authenticator{
			h.authenticator(credential.ByHTTP, "/ignore/", &b), h.authenticator(credential.ByHTTP, "/ignore/", &next, gives("reads")),
			h.authenticator(credential.ByHTTP, "/deny/", &b, denies), h.authenticator(credential.ByHTTP, "/deny/", &next, gives("reads")),
		}
		for path, want := range map[string]int{"/ignore/x": 200, "/deny/x": 401} {
			if a := h.ask("GET", path, basic("ann", "right")); a.StatusCode != want || len(bad.got()) == 0 {
				t.Errorf("%s %s: %d %s, want %d", name, path, a.StatusCode, a.text, want)
			}
			checkChallenge(t, name, h.ask("GET", path, basic("zoe", "x")), true)
		}
		for _, a := range chain {
			h.remove(a)
		}
	}
	// At the end of the chain there is nobody to ask.
	bad := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	b := everyone(bad.URL)
	h.authenticator(credential.ByHTTP, "/ignore/", &b)
	if a := h.ask("GET", "/ignore/x", basic("ann", "right")); a.StatusCode != 401 {
		t.Errorf("at the end of the chain: %d %s", a.StatusCode, a.text)
	}
}

func answerJSON(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.Write([]byte(text))
}

// S17: what somebody may whom a service vouches for is what the authenticator gives; an ACL is about MQTT alone; a
// superuser is one only where the authenticator says so.
func TestRightsOfGuests(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL, "/trusting/=" + up.URL, "/bare/=" + up.URL})
	all := []any{map[string]any{"permission": "allow", "action": "all", "topic": "#"}}
	rest := newService(t, map[string]person{
		"ann":   {"p", nil},
		"super": {"p", map[string]any{"is_superuser": true}},
		"acl":   {"p", map[string]any{"acl": all}},
		"both":  {"p", map[string]any{"acl": all, "is_superuser": true}},
	})
	b := everyone(rest.URL)
	h.scope("reads", "allow http:GET /db/**", "allow http:GET /trusting/**")
	h.authenticator(credential.ByHTTP, "/db/", &b, gives("reads"))
	h.authenticator(credential.ByHTTP, "/trusting/", &b, gives("reads"), trusts)
	h.authenticator(credential.ByHTTP, "/bare/", &b)
	for _, tc := range []struct {
		who, method, path string
		want              int
	}{
		{"ann", "GET", "/db/x", 200},
		{"ann", "POST", "/db/x", 403},
		{"ann", "GET", "/bare/x", 403},
		{"super", "GET", "/db/x", 200},
		{"super", "POST", "/db/x", 403},
		{"super", "POST", "/trusting/x", 200},
		{"acl", "GET", "/db/x", 403},
		{"both", "GET", "/db/x", 403},
		{"both", "POST", "/trusting/x", 200},
	} {
		if a := h.ask(tc.method, tc.path, basic(tc.who, "p")); a.StatusCode != tc.want {
			t.Errorf("%s %s %s: %d %s, want %d", tc.who, tc.method, tc.path, a.StatusCode, a.text, tc.want)
		}
	}
}

// What the upstream is told of somebody whom a service vouches for: the name, escaped where a header could be read in two
// ways (S16); the signed identity has it as it is. The password goes no further (H15).
func TestIntroductionOfGuests(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	names := map[string]string{
		"ann": "ann", "Ann.B-c_d@e~1": "Ann.B-c_d@e~1", "müller": "m%C3%BCller", "m%C3%BCller": "m%25C3%25BCller", " ann ": "%20ann%20", "a,b": "a%2Cb",
		"${username}": "%24%7Busername%7D", ".. ?": "..%20%3F", `a"b\c;d`: "a%22b%5Cc%3Bd", "日本": "%E6%97%A5%E6%9C%AC",
	}
	people := map[string]person{}
	for name := range names {
		people[name] = person{password: "p"}
	}
	b := everyone(newService(t, people).URL)
	h.scope("reads", "allow http:GET /db/**")
	h.scope("more", "allow http:POST /db/**")
	a := h.authenticator(credential.ByHTTP, "/db/", &b, gives("reads", "more"))
	for name, want := range names {
		if a := h.ask("GET", "/db/x", basic(name, "p"), "X-Cardea-Principal: admin"); a.StatusCode != 200 {
			t.Errorf("%q: %d %s", name, a.StatusCode, a.text)
			continue
		}
		got := up.got()[0].header
		claims := identityClaims(t, got.Get("X-Cardea-Identity"))
		got.Del("X-Cardea-Identity")
		if d := cmp.Diff(http.Header{
			"X-Cardea-Principal": {want}, "X-Cardea-Principal-Kind": {"service"}, "X-Cardea-Credential": {a.ID},
			"X-Cardea-Scopes": {"more reads"}, "X-Cardea-Org": {"default"},
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"door.test"},
		}, got); d != "" {
			t.Errorf("%q: %s", name, d)
		}
		if claims["sub"] != name || claims["kind"] != "service" || claims["credential"] != a.ID || claims["scopes"] != "more reads" {
			t.Errorf("%q: claims %v", name, claims)
		}
	}
}

// A name in a header is read back in one way only, has nothing that a header or a list could break at, and a
// principal's is itself.
func TestCarriedNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Draw(t, "name")
		got := carried(name)
		back, err := url.PathUnescape(got)
		if err != nil || back != name || !visible(got) || strings.ContainsAny(got, ` ,;"/\:`) {
			t.Errorf("%q is carried as %q", name, got)
		}
		if principal := rapid.StringMatching(`[a-z0-9][a-z0-9._@-]{0,63}`).Draw(t, "principal"); carried(principal) != principal {
			t.Errorf("%q is carried as %q", principal, carried(principal))
		}
	})
}

// With --http-enable-token-auth=false tokens count nowhere, whatever a chain has; its passwords do.
func TestChainWithoutTokenAuth(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, func(_ *house, c *Config) { c.TokenAuth = false })
	rest := newService(t, map[string]person{"ann": {password: "right"}})
	b := everyone(rest.URL)
	h.scope("reads", "allow http:GET /db/**")
	is := h.token("pump")
	h.authenticator(credential.ByToken, "/db/", nil)
	h.authenticator(credential.ByHTTP, "/db/", &b, gives("reads"))
	for header, want := range map[string]int{
		bearer(is): 401, basic("x", is.Secret.Reveal()): 401, basic("ann", "right"): 200,
		basic("ann", "right") + "\r\n" + basic("ann", "right"): 400,
	} {
		if a := h.ask("GET", "/db/x", header); a.StatusCode != want {
			t.Errorf("%s: %d, want %d", header, a.StatusCode, want)
		}
	}
	if slices.ContainsFunc(rest.got(), func(q map[string]string) bool { return strings.Contains(q["password"]+q["username"], tokenPrefix) }) {
		t.Error("K03: the service was shown a token")
	}
}

// K03: the access log has the principal, and no log has a password, right or wrong, as it is or as it came.
func TestPasswordsAreNotLogged(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, behind("127.0.0.1/32"))
	rest := newService(t, map[string]person{"ann": {password: "sesame-opens"}, "ben": {password: "sesame-bad", says: map[string]any{"acl": 7}}})
	b := everyone(rest.URL)
	h.scope("reads", "allow http:GET /db/**")
	a := h.authenticator(credential.ByHTTP, "/db/", &b, gives("reads"))
	secrets := []string{"sesame"}
	for user, password := range map[string]string{"ann": "sesame-opens", "ben": "sesame-bad", "eve": "sesame-no"} {
		header := basic(user, password)
		h.ask("GET", "/db/x", header)
		h.ask("GET", "/auth", header, "X-Original-Method: GET", "X-Original-URI: /db/x")
		secrets = append(secrets, strings.TrimPrefix(header, "Authorization: Basic "))
	}
	rest.Close()
	h.ask("GET", "/db/x", basic("ann", "sesame-opens"))
	if n := h.log.Count("status=200 principal=ann credential=" + a.ID); n != 2 {
		t.Errorf("%d lines of ann, want 2: %s", n, h.log)
	}
	for _, s := range secrets {
		if h.log.Count(s) > 0 {
			t.Errorf("the log has %q: %s", s, h.log)
		}
	}
}

// FuzzLogin: what is read is exactly what was written, and never a part of a token of ours or a control character.
func FuzzLogin(f *testing.F) {
	f.Add("Basic dXNlcjpwYXNz")
	f.Add("basic  dXNlcjpwOmFzcw== ")
	f.Add("Basic Og==")
	f.Add("Basic dXNlcjpwYXNz\tx")
	f.Add("Basic /zphYg==")
	f.Fuzz(func(t *testing.T, header string) {
		user, password, ok := fromLogin(header)
		if !ok {
			return
		}
		text := []byte(user + ":" + password)
		_, encoded, _ := strings.Cut(header, " ")
		if want, err := base64.StdEncoding.DecodeString(strings.Trim(encoded, " ")); err != nil || !bytes.Equal(text, want) {
			t.Errorf("%q is read as %q", header, text)
		}
		if strings.Contains(user, ":") || bytes.ContainsAny(text, "\x00\r\n\x7f") || tokenIn(string(text)) || !utf8.Valid(text) {
			t.Errorf("%q has %q", header, text)
		}
	})
}
