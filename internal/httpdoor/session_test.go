package httpdoor

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
)

// withSessions lets the door make sessions and tell of keys in queries.
func withSessions(h *house, c *Config) {
	c.Sessions = h.authority
	c.QueryKeyUsed = func(org, id, principal, route string) {
		if err := h.authority.NoteQueryKey(context.Background(), org, id, principal, route); err != nil {
			h.Error(err)
		}
	}
}

// user makes a user who may do everything on gateway routes.
func (h *house) user(name string) {
	h.Helper()
	_, err := h.authority.CreatePrincipal(context.Background(), h.local,
		authority.NewPrincipal{Kind: credential.User, Name: name, Roles: []string{credential.RoleDevice}})
	h.must(err)
}

// appKey makes an application key of a user.
func (h *house) appKey(user, name string, changes ...func(*authority.NewCredential)) authority.Issued {
	h.Helper()
	n := authority.NewCredential{Kind: credential.AppKey, Principal: user, Name: name, TTL: time.Hour}
	for _, f := range changes {
		f(&n)
	}
	is, err := h.authority.CreateCredential(context.Background(), h.local, n)
	h.must(err)
	return is
}

// cookie returns the session's cookie of an answer; "" for none.
func cookie(a answered) string {
	for _, c := range a.Cookies() {
		if isSessionCookie(c.Name) {
			return c.Name + "=" + c.Value
		}
	}
	return ""
}

// L05, W03: no session unless it is asked for, in any of four ways; it proves the key's user, dies with the key, and no upstream sees it.
func TestSessionOfAnApplicationKey(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, withSessions)
	h.user("alice")
	key := h.appKey("alice", "tool")
	text := "appKey: " + key.Secret.Reveal()
	if a := h.ask("GET", "/db/x", text); a.StatusCode != 200 || cookie(a) != "" {
		t.Fatalf("without being asked: %d, cookie %q", a.StatusCode, cookie(a))
	}
	for _, way := range [][2]string{
		{"/db/x", "x-thingworx-session: true"},
		{"/db/x?x-thingworx-session=true", "X-Nothing: 1"},
		{"/db/x?a=1&session=true", "X-Nothing: 1"},
		{"/db/x", "X-Cardea-Session: TRUE"},
	} {
		up.got()
		a := h.ask("GET", way[0], text, way[1])
		c := cookie(a)
		if a.StatusCode != 200 || !strings.HasPrefix(c, plainCookie+"=cardea_ses_") {
			t.Fatalf("%v: %d, cookie %q", way, a.StatusCode, c)
		}
		attributes := a.Header.Get("Set-Cookie")
		for _, want := range []string{"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="} {
			if !strings.Contains(attributes, want) {
				t.Errorf("the cookie %q lacks %s", attributes, want)
			}
		}
		b := h.ask("GET", "/db/y", "Cookie: theirs=1; "+c+"; more=2")
		if b.StatusCode != 200 || cookie(b) != "" {
			t.Fatalf("with the session: %d", b.StatusCode)
		}
		got := up.got()
		last := got[len(got)-1]
		if last.header.Get(hPrincipal) != "alice" || last.header.Get(hCredential) != key.Credential.ID || last.header.Get("Cookie") != "theirs=1; more=2" {
			t.Errorf("the upstream got %v", last.header)
		}
	}
	c := cookie(h.ask("GET", "/db/x", text, "x-thingworx-session: true"))
	if a := h.ask("GET", "/db/x", text, "Cookie: "+c, "x-thingworx-session: true"); a.StatusCode != 200 {
		t.Errorf("the key beside its own session: %d", a.StatusCode)
	}
	other := h.appKey("alice", "other")
	if a := h.ask("GET", "/db/x", "appKey: "+other.Secret.Reveal(), "Cookie: "+c); a.StatusCode != 400 { // H19
		t.Errorf("the session beside another key: %d", a.StatusCode)
	}
	if a := h.ask("GET", "/db/x", "Cookie: "+c, "Cookie: "+c[:len(c)-1]+"!"); a.StatusCode != 400 {
		t.Errorf("two different sessions: %d", a.StatusCode)
	}
	h.revoke(key)
	if a := h.ask("GET", "/db/x", "Cookie: "+c); a.StatusCode != 401 {
		t.Errorf("the session of a revoked key: %d", a.StatusCode)
	}
	if strings.Contains(h.log.String(), "cardea_ses_") || strings.Contains(h.log.String(), key.Secret.Reveal()) { // K03
		t.Error("the log has a token")
	}
}

// L07: the header appKey in any case, with any Accept; the error is JSON without a stack.
func TestApplicationKeyHeader(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, withSessions)
	h.user("alice")
	key := h.appKey("alice", "tool").Secret.Reveal()
	for _, name := range []string{"appKey", "AppKey", "appkey", "APPKEY", "X-API-Key"} {
		for _, accept := range []string{"application/json", "text/html", "*/*"} {
			if a := h.ask("GET", "/db/x", name+": "+key, "Accept: "+accept); a.StatusCode != 200 {
				t.Errorf("%s with %s: %d", name, accept, a.StatusCode)
			}
			a := h.ask("GET", "/db/x", name+": nonsense", "Accept: "+accept)
			if a.StatusCode != 401 || a.text != `{"success":false,"reason":"invalid token"}` {
				t.Errorf("%s with %s: %d %s", name, accept, a.StatusCode, a.text)
			}
		}
	}
}

// A page that another site has made the browser ask for may read what it could not see, and change nothing (W01).
func TestSessionsOfOtherSitesPages(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, withSessions)
	h.user("alice")
	c := "Cookie: " + cookie(h.ask("GET", "/db/x", "appKey: "+h.appKey("alice", "tool").Secret.Reveal(), "x-thingworx-session: true"))
	for _, x := range []struct {
		method, header string
		want           int
	}{
		{"POST", "Sec-Fetch-Site: same-origin", 200},
		{"POST", "Sec-Fetch-Site: none", 200},
		{"POST", "Sec-Fetch-Site: cross-site", 400},
		{"POST", "Sec-Fetch-Site: same-site", 400},
		{"DELETE", "Origin: https://evil.test", 400},
		{"DELETE", "Origin: null", 400},
		{"DELETE", "Origin: http://door.test", 200},
		{"GET", "Sec-Fetch-Site: cross-site", 200},
		{"POST", "X-Nothing: 1", 200}, // no browser
	} {
		if a := h.ask(x.method, "/db/x", c, x.header); a.StatusCode != x.want {
			t.Errorf("%s with %s: %d, want %d", x.method, x.header, a.StatusCode, x.want)
		}
	}
	a := h.ask("GET", "/db/ws", c, "Origin: https://evil.test", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
	if a.StatusCode != 400 {
		t.Errorf("a WebSocket of another site's page: %d", a.StatusCode)
	}
}

// The session of a key with a home begins there, if it was a page that was asked for.
func TestSessionBeginsAtHome(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, withSessions)
	h.user("alice")
	key := h.appKey("alice", "tool", func(n *authority.NewCredential) { n.Home = "/db/home?tab=1" })
	text := "appKey: " + key.Secret.Reveal()
	a := h.ask("GET", "/db/x?session=true", text, "Accept: text/html,application/xhtml+xml")
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/db/home?tab=1" || cookie(a) == "" || len(up.got()) != 0 {
		t.Errorf("a page: %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	for _, x := range [][]string{
		{"GET", "/db/x?session=true", "Accept: application/json"},
		{"POST", "/db/x?session=true", "Accept: text/html"},
		{"GET", "/db/x", "Accept: text/html"},
	} {
		if a := h.ask(x[0], x[1], text, x[2]); a.StatusCode != 200 {
			t.Errorf("%v: %d", x, a.StatusCode)
		}
	}
}

// W03: an upstream can neither set nor end a session.
func TestUpstreamsSetNoSessions(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		for _, c := range []string{"cardea-session=cardea_ses_x", "__Host-cardea-session=x; Secure; Path=/", "cardea=1", "theirs=1"} {
			w.Header().Add("Set-Cookie", c)
		}
	})
	h := newHouse(t, []string{"/db/=" + up.URL}, withSessions)
	h.user("alice")
	a := h.ask("GET", "/db/x", "appKey: "+h.appKey("alice", "tool").Secret.Reveal(), "x-thingworx-session: true")
	lines := a.Header["Set-Cookie"]
	if len(lines) != 2 || !strings.HasPrefix(strings.Join(lines, "\n"), "cardea-session=cardea_ses_") && !strings.HasPrefix(lines[1], "cardea-session=cardea_ses_") ||
		!strings.Contains(strings.Join(lines, "\n"), "theirs=1") {
		t.Errorf("the browser is told %q", lines)
	}
}

// Over TLS the cookie is one that only this host over TLS can set.
func TestSessionCookieOverTLS(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, withSessions, behind("127.0.0.0/8"))
	h.user("alice")
	a := h.ask("GET", "/db/x", "appKey: "+h.appKey("alice", "tool").Secret.Reveal(), "x-thingworx-session: true", "X-Forwarded-Proto: https")
	if line := a.Header.Get("Set-Cookie"); !strings.HasPrefix(line, secureCookie+"=") || !strings.Contains(line, "Secure") {
		t.Errorf("behind a proxy with TLS: %q", line)
	}
}

// Other kinds have no sessions, whatever they ask for; a key that has too many is served without.
func TestWhoHasNoSessions(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, withSessions)
	if a := h.ask("GET", "/db/x?session=true", bearer(h.token("pump-1"))); a.StatusCode != 200 || cookie(a) != "" {
		t.Errorf("a device: %d, cookie %q", a.StatusCode, cookie(a))
	}
	h.user("alice")
	key := h.appKey("alice", "tool")
	_, err := h.authority.SetKindPolicy(context.Background(), h.local, credential.AppKey, 0, func(p *credential.KindPolicy) { p.MaxSessions = 2 })
	h.must(err)
	text := "appKey: " + key.Secret.Reveal()
	for i := range 3 {
		a := h.ask("GET", "/db/x?session=true", text)
		if a.StatusCode != 200 || (cookie(a) != "") != (i < 2) {
			t.Errorf("session %d: %d, cookie %q", i+1, a.StatusCode, cookie(a))
		}
	}
}

// K04, K05, CS264349: a key in the query is refused, but on a route that allows it; each use warns, the audit log says so, and nothing behind sees the key.
func TestKeyInTheQuery(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, nil, withSessions)
	for _, r := range []credential.Route{{Prefix: "/old/", Upstream: up.URL, QueryKey: true}, {Prefix: "/new/", Upstream: up.URL}} {
		_, err := h.authority.PutRoute(context.Background(), h.local, r)
		h.must(err)
	}
	h.user("alice")
	key := h.appKey("alice", "tool").Secret.Reveal()
	for target, want := range map[string]int{
		"/new/x?appKey=" + key:                    400,
		"/old/x?appKey=" + key:                    200,
		"/old/x?APPKEY=" + key + "&b=2":           200,
		"/old/x?a=1&appkey=" + key + "&b=%20":     200,
		"/old/x?appKey=" + key + "&appKey=" + key: 400,
		"/old/x?appKey=" + key + "&token=x":       400,
		"/old/x?x=" + key:                         400,
		"/old/x?appKey=":                          400,
		"/old/x?appKey=nonsense":                  401,
		"/old/x?app%4Bey=" + key:                  400,
		"/api/v1/principals?appKey=" + key:        400,
		"/other/x?appKey=" + key:                  400,
		"/old/x;appKey=" + key:                    400,
		"/old/../new/x?appKey=" + key:             400,
	} {
		if a := h.ask("GET", target); a.StatusCode != want {
			t.Errorf("%s: %d, want %d", strings.ReplaceAll(target, key, "KEY"), a.StatusCode, want)
		}
	}
	for _, s := range up.got() {
		if strings.Contains(s.uri, "cardea_") || strings.Contains(strings.ToLower(s.uri), "appkey") {
			t.Errorf("the upstream got %s", s.uri)
		}
	}
	if a := h.ask("GET", "/old/x?appKey="+key, "appKey: "+key); a.StatusCode != 400 {
		t.Errorf("in two places: %d", a.StatusCode)
	}
	if log := h.log.String(); strings.Contains(log, key) || strings.Count(log, "came in the query string") != 3 {
		t.Errorf("the log: %s", strings.ReplaceAll(log, key, "KEY"))
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		events, err := h.authority.Events(context.Background(), h.local, credential.EventFilter{Type: "key.query_used"})
		h.must(err)
		if len(events) == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d events of keys in queries", len(events))
		}
	}
}

// A user's password is taken where the route's chain has an authenticator for it, and nowhere else (E01).
func TestPasswordsOfUsers(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL, "/open/=" + up.URL}, withSessions)
	h.base.Chain(t, "/db/", credential.ByToken, credential.ByPassword)
	h.user("alice")
	_, err := h.authority.SetPassword(context.Background(), h.local, "alice", authority.Password("trilobite marzipan quay 71"))
	h.must(err)
	if a := h.ask("GET", "/db/x", basic("alice", "trilobite marzipan quay 71")); a.StatusCode != 200 {
		t.Errorf("the right password: %d %s", a.StatusCode, a.text)
	}
	if got := up.got(); len(got) != 1 || got[0].header.Get(hPrincipal) != "alice" || got[0].header.Get("Authorization") != "" {
		t.Errorf("the upstream got %+v", got)
	}
	a := h.ask("GET", "/db/x", basic("alice", "trilobite marzipan quay 72"))
	b := h.ask("GET", "/db/x", basic("nobody", "trilobite marzipan quay 72"))
	if a.StatusCode != 401 || b.StatusCode != 401 || a.text != b.text || len(a.Header["Www-Authenticate"]) != 2 { // E02
		t.Errorf("a wrong one: %d %s, an unknown user: %d %s", a.StatusCode, a.text, b.StatusCode, b.text)
	}
	if a := h.ask("GET", "/open/x", basic("alice", "trilobite marzipan quay 71")); a.StatusCode != 401 {
		t.Errorf("a route without passwords: %d", a.StatusCode)
	}
}

// Git shows a token only when it is asked for a password; nobody else is asked where none is taken.
func TestGitIsAskedForAPassword(t *testing.T) {
	h := newHouse(t, []string{"/db/=http://127.0.0.1:1"})
	for agent, want := range map[string]int{"git/2.47.3": 2, "git-lfs/3.6.1 (GitHub; linux amd64)": 2, "Mozilla/5.0 git/2": 1, "curl/8": 1} {
		a := h.ask("GET", "/db/x", "User-Agent: "+agent)
		if a.StatusCode != 401 || len(a.Header["Www-Authenticate"]) != want || a.text != `{"success":false,"reason":"invalid token"}` {
			t.Errorf("%s: %d %q %s", agent, a.StatusCode, a.Header["Www-Authenticate"], a.text)
		}
	}
}

// W07: a token of ours stays one, whatever user name stands beside it and whatever formats organisations have made.
func TestBasicBesideImportedFormats(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	_, err := h.authority.PutFormat(context.Background(), h.local, authority.NewFormat{Name: "odd", Scheme: "sha256", Prefix: "git", Bits: 128})
	h.must(err)
	token := h.token("pump-1").Secret.Reveal()
	for _, login := range [][2]string{{"git", token}, {token, "git"}, {"github", token}} {
		if a := h.ask("GET", "/db/x", basic(login[0], login[1])); a.StatusCode != 200 {
			t.Errorf("%.8s beside %.8s: %d %s", login[0], login[1], a.StatusCode, a.text)
		}
	}
	h.base.Chain(t, "/db/", credential.ByToken, credential.ByPassword)
	h.user("gitta")
	_, err = h.authority.SetPassword(context.Background(), h.local, "gitta", authority.Password("trilobite marzipan quay 71"))
	h.must(err)
	if a := h.ask("GET", "/db/x", basic("gitta", "trilobite marzipan quay 71")); a.StatusCode != 200 {
		t.Errorf("a user whose name begins like imported tokens: %d", a.StatusCode)
	}
}
