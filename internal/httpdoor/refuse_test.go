package httpdoor

import (
	"context"
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cardea/internal/authority"
)

const (
	refused401 = `{"success":false,"reason":"invalid token"}`
	refused403 = `{"success":false,"reason":"insufficient scope"}`
)

// H19, E02: whatever is wrong with a credential, the answer is the same to the byte.
func TestEveryCauseIsRefusedAlike(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	good := h.token("good")
	revoked, deleted, disabled := h.token("revoked"), h.token("deleted"), h.token("disabled")
	expired := h.token("expired", func(n *authority.NewCredential) { n.TTL = 100 * time.Millisecond })
	early := h.token("early", func(n *authority.NewCredential) { n.NotBefore = time.Now().Add(time.Minute) })
	elsewhere := h.token("elsewhere", func(n *authority.NewCredential) { n.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	h.revoke(revoked)
	h.must(h.authority.DeleteCredential(context.Background(), h.local, deleted.Credential.ID, "test"))
	yes := true
	_, err := h.authority.UpdatePrincipal(context.Background(), h.local, "disabled", authority.PrincipalPatch{Disabled: &yes})
	h.must(err)
	for time.Now().Before(expired.Credential.ExpiresAt) {
		time.Sleep(10 * time.Millisecond) // until the instant that was asked for
	}
	wrong := good.Secret.Reveal()
	flip := map[bool]string{true: "A", false: "B"}[wrong[30] != 'A']
	for name, header := range map[string]string{
		"revoked": bearer(revoked), "deleted": bearer(deleted), "principal disabled": bearer(disabled), "expired": bearer(expired),
		"not yet valid": bearer(early), "other network": bearer(elsewhere),
		"altered": "Authorization: Bearer " + wrong[:30] + flip + wrong[31:],
		"garbage": "Authorization: Bearer garbage", "empty": "Authorization: Bearer ", "empty key": "X-API-Key:",
		"two words": bearer(good) + " x", "other scheme": "Authorization: Digest abc", "no scheme": "Authorization: " + wrong,
		"real basic":    "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("alice:secret")),
		"broken basic":  "Authorization: Basic %%%",
		"endless basic": "Authorization: Basic " + strings.Repeat("A", 4000),
	} {
		a := h.ask("GET", "/db/x", header)
		want := `Bearer realm="cardea", error="invalid_token"`
		if a.StatusCode != 401 || a.text != refused401 || a.Header.Get("WWW-Authenticate") != want {
			t.Errorf("%s: %d %s %q", name, a.StatusCode, a.text, a.Header["Www-Authenticate"])
		}
		if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "application/json" || len(a.Header) != 5 {
			t.Errorf("%s: headers %v", name, a.Header)
		}
	}
	if a := h.ask("GET", "/db/x"); a.StatusCode != 401 || a.text != refused401 || a.Header.Get("WWW-Authenticate") != `Bearer realm="cardea", error="invalid_token"` {
		t.Errorf("nothing presented: %d %s %q", a.StatusCode, a.text, a.Header["Www-Authenticate"]) // the contract: one answer for every cause
	}
	if s := up.got(); len(s) > 0 {
		t.Errorf("the upstream got %v", s)
	}
	if a := h.ask("GET", "/db/x", bearer(good)); a.StatusCode != 200 {
		t.Errorf("the good one: %d %s", a.StatusCode, a.text)
	}
}

// H19: who is known but may not gets 403; who is not known does not learn which routes there are.
func TestForbiddenAndUnknownRoutes(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	h.scope("reads", "allow http:GET /db/**", "allow http:GET /none/**", "deny http:* /db/secret/**")
	is := h.token("reader", func(n *authority.NewCredential) { n.Scopes = []string{"reads"} })
	for _, tc := range []struct {
		method, path string
		status       int
		text         string
	}{
		{"GET", "/db/x", 200, "upstream"},
		{"POST", "/db/x", 403, refused403},
		{"GET", "/db/secret/x", 403, refused403},
		{"GET", "/other", 403, refused403},
		{"GET", "/none/x", 404, `{"success":false,"reason":"no such route"}`},
	} {
		a := h.ask(tc.method, tc.path, bearer(is))
		if a.StatusCode != tc.status || a.text != tc.text {
			t.Errorf("%s %s: %d %s, want %d", tc.method, tc.path, a.StatusCode, a.text, tc.status)
		}
		if tc.status == 403 && a.Header.Get("WWW-Authenticate") != `Bearer realm="cardea", error="insufficient_scope"` {
			t.Errorf("%s %s: %q", tc.method, tc.path, a.Header["Www-Authenticate"])
		}
		if a := h.ask(tc.method, tc.path); a.StatusCode != 401 {
			t.Errorf("%s %s without a token: %d", tc.method, tc.path, a.StatusCode)
		}
	}
}

// H13: an identity that was cached for one right does not get another.
func TestRightsAreAskedEachTime(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	h.scope("changing", "allow http:GET /db/**")
	is := h.token("d", func(n *authority.NewCredential) { n.Scopes = []string{"changing"} })
	if a := h.ask("GET", "/db/x", bearer(is)); a.StatusCode != 200 {
		t.Fatal(a.StatusCode)
	}
	s, err := h.authority.Scope(context.Background(), h.local, "changing")
	h.must(err)
	s.Rules[0].Action = "http:PUT"
	_, err = h.authority.PutScope(context.Background(), h.local, s)
	h.must(err)
	if a := h.ask("GET", "/db/x", bearer(is)); a.StatusCode != 403 {
		t.Errorf("after the right was taken away: %d", a.StatusCode)
	}
	if a := h.ask("PUT", "/db/x", bearer(is)); a.StatusCode != 200 {
		t.Errorf("after another right was given: %d", a.StatusCode)
	}
}

// Every source of the contract works, and the same token in several of them is one.
func TestCredentialSources(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	is, other := h.token("pump"), h.token("other")
	token, second := is.Secret.Reveal(), other.Secret.Reveal()
	basic := func(user, password string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	for _, headers := range [][]string{
		{"Authorization: Bearer " + token},
		{"authorization: bEARER  " + token + " "},
		{"X-API-Key: " + token},
		{"x-api-key: " + token},
		{"appKey: " + token},
		{"APPKEY: " + token},
		{"Appkey: " + token},
		{basic("anybody", token)},
		{basic("", token)},
		{basic(token, "")},
		{basic(token, "x-oauth-basic")},
		{basic(token, token)},
		{"Authorization: Bearer " + token, "X-API-Key: " + token, "appKey: " + token},
		{"X-API-Key: " + token, "X-API-Key: " + token},
	} {
		if a := h.ask("GET", "/db/x", headers...); a.StatusCode != 200 {
			t.Errorf("%d %s for %s", a.StatusCode, a.text, strings.ReplaceAll(headers[0], token, "TOKEN"))
		}
		s := up.got()
		if len(s) != 1 || s[0].header.Get("X-Cardea-Principal") != "pump" {
			t.Fatalf("the upstream got %v", s)
		}
		for _, v := range []string{"Authorization", "X-Api-Key", "Appkey"} {
			if _, there := s[0].header[v]; there { // H15
				t.Errorf("the upstream got the caller's %s", v)
			}
		}
	}
	// Two different ones, or Authorization twice: 400.
	for _, headers := range [][]string{
		{"Authorization: Bearer " + token, "X-API-Key: " + second},
		{"X-API-Key: " + token, "appKey: " + second},
		{"appKey: " + token, "appKey: " + second},
		{"Authorization: Bearer " + token, "appKey: x"},
		{"Authorization: Bearer " + token, "Authorization: Bearer " + token},
		{basic(token, second)},
		{basic("alice", "secret") + "\r\nX-API-Key: " + token},
	} {
		a := h.ask("GET", "/db/x", headers...)
		if a.StatusCode != 400 || a.text != `{"success":false,"reason":"invalid request"}` ||
			a.Header.Get("WWW-Authenticate") != `Bearer realm="cardea", error="invalid_request"` {
			t.Errorf("%d %s %q", a.StatusCode, a.text, a.Header["Www-Authenticate"])
		}
	}
	// A cookie is not a source.
	if a := h.ask("GET", "/db/x", "Cookie: session="+token); a.StatusCode != 401 {
		t.Errorf("cookie: %d", a.StatusCode)
	}
}

// K04, K05: a token in the query is refused, alone and beside a header, under any
// spelling of the name, and under any name if it looks like a token.
func TestTokensInTheQuery(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	token := is.Secret.Reveal()
	for _, q := range []string{
		"token=" + token, "access_token=x", "appKey=x", "APPKEY=x", "Token=", "token", "%74oken=x", "access%5Ftoken=x", "a=b&appkey=x", "a=b;token=x",
		"key=" + token, "key=%63ardea_" + token[7:], "a=%20&key=" + token, "q=select%20'" + token + "'", token,
	} {
		for _, headers := range [][]string{{bearer(is)}, nil} {
			a := h.ask("GET", "/db/x?"+q, headers...)
			if a.StatusCode != 400 || !strings.Contains(a.Header.Get("WWW-Authenticate"), `error="invalid_request"`) || strings.Contains(a.text, token) {
				t.Errorf("%s: %d %s", strings.ReplaceAll(q, token, "TOKEN"), a.StatusCode, a.text)
			}
		}
	}
	for _, q := range []string{"q=select%20token%20from%20cardea_logs", "tokens=1", "q=token", "my_token=1", "a=cardea_dev_", "%", "a=%zz", "&&;=", "cardea_"} {
		if a := h.ask("GET", "/db/x?"+q, bearer(is)); a.StatusCode != 200 {
			t.Errorf("%s: %d %s", q, a.StatusCode, a.text)
		}
		if s := up.got(); len(s) != 1 || s[0].uri != "/db/x?"+q {
			t.Errorf("the upstream got %v, want the query as it was sent: %s", s, q)
		}
	}
	if strings.Contains(h.log.String(), token) || strings.Contains(h.log.String(), "cardea_dev") { // K03
		t.Error("a token is in the log")
	}
}

// E01: after too many wrong secrets the answer is 429 with Retry-After, for this source only.
func TestTooManyAttempts(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, behind("127.0.0.1/32"))
	is := h.token("pump")
	// Another secret with a right sum: the token of a credential that is put under the id of the first.
	wrong := forge(t, is.Secret.Reveal())
	last := answered{}
	for range 200 {
		if last = h.ask("GET", "/db/x", "Authorization: Bearer "+wrong, "X-Forwarded-For: 198.51.100.1"); last.StatusCode == 429 {
			break
		}
	}
	if last.StatusCode != 429 || last.Header.Get("Retry-After") == "" || last.Header.Get("Retry-After") == "0" {
		t.Fatalf("%d, Retry-After %q", last.StatusCode, last.Header.Get("Retry-After"))
	}
	if a := h.ask("GET", "/db/x", bearer(is), "X-Forwarded-For: 198.51.100.2"); a.StatusCode != 200 {
		t.Errorf("its holder elsewhere: %d %s", a.StatusCode, a.text)
	}
}

// H14: when the gate cannot know, the answer is 503 and nothing is let through.
func TestCannotKnow(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	h.must(h.gate.Close())
	a := h.ask("GET", "/db/x", bearer(is))
	if a.StatusCode != 503 || a.Header.Get("Retry-After") == "" || a.Header.Get("Www-Authenticate") != "" {
		t.Errorf("%d %s %v", a.StatusCode, a.text, a.Header)
	}
}

// Without token authentication no token counts; without TLS nothing does.
func TestTokenAuthOff(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, func(_ *house, c *Config) { c.TokenAuth = false })
	is := h.token("pump")
	if a := h.ask("GET", "/db/x", bearer(is)); a.StatusCode != 401 || a.text != refused401 {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
}
