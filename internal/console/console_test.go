package console_test

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/console"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/keyring"
	"cardea/internal/store"
)

// house is a console on a real authority, with a clock that can be turned.
type house struct {
	authority *authority.Authority
	server    *httptest.Server
	ahead     atomic.Int64 // of the console's clock, ns
}

func newHouse(t *testing.T) *house {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	s, err := store.Open(ctx, store.Config{URL: "sqlite:" + filepath.Join(dir, "cardea.db")})
	check(t, err)
	ks, err := keyring.Open(keyring.Config{Dir: dir}, false, "")
	check(t, err)
	ring, ca, err := authority.Bootstrap(ctx, s, ks, nil, nil)
	check(t, err)
	keys, err := s.Keys(ctx)
	check(t, err)
	signer, err := authority.IdentitySigner(ring, keys)
	check(t, err)
	g, err := gate.New(gate.Config{Store: s, Signer: signer})
	check(t, err)
	run, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = g.Run(run) }()
	check(t, g.Await(ctx))
	h := &house{}
	h.authority, err = authority.New(authority.Config{Store: s, Gate: g, Ring: ring, CA: ca})
	check(t, err)
	k := console.New(console.Config{Authority: h.authority, Secure: true, Now: func() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }})
	h.server = httptest.NewTLSServer(k)
	t.Cleanup(func() {
		h.server.Close()
		stop()
		<-done
		check(t, g.Close())
		check(t, s.Close())
	})
	return h
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var local = authority.Caller{
	Org: credential.DefaultOrg, Local: true, Rights: authority.RightsOfLocal(),
	Actor: credential.Actor{Principal: "local", Source: "socket", Door: "system"},
}

func (h *house) code(t *testing.T) string {
	t.Helper()
	code, _, err := h.authority.AdminLink(t.Context(), local)
	check(t, err)
	return code.Reveal()
}

// browser keeps cookies and does not follow redirects.
func (h *house) browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	check(t, err)
	return &http.Client{
		Transport: h.server.Client().Transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (h *house) get(t *testing.T, c *http.Client, path string) (*http.Response, string) {
	t.Helper()
	resp, err := c.Get(h.server.URL + path)
	check(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	check(t, err)
	return resp, string(body)
}

func (h *house) post(t *testing.T, c *http.Client, path string, form url.Values, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.server.URL+path, strings.NewReader(form.Encode()))
	check(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.Do(r)
	check(t, err)
	resp.Body.Close()
	return resp
}

// A link shows a button; looking at it changes nothing (W01). The button works once, for whoever is first (N04).
func TestLinkWorksOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	code := h.code(t)
	mine, theirs := h.browser(t), h.browser(t)
	for range 3 {
		if resp, body := h.get(t, theirs, "/login?code="+code); resp.StatusCode != 200 || !strings.Contains(body, "<button>Log in") || len(resp.Cookies()) != 0 {
			t.Fatalf("the page of the link: %d, cookies %v", resp.StatusCode, resp.Cookies())
		}
	}
	resp := h.post(t, mine, "/login", url.Values{"code": {code}})
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/keys" {
		t.Fatalf("the button: %d", resp.StatusCode)
	}
	// W03
	c := resp.Cookies()[0]
	if c.Name != "__Host-cardea" || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || len(c.Value) < 43 {
		t.Errorf("the cookie: %v", c)
	}
	for what, again := range map[string]string{"again": code, "another": strings.Repeat("x", len(code)), "none": "", "odd": "<b>"} {
		if resp := h.post(t, theirs, "/login", url.Values{"code": {again}}); resp.StatusCode != http.StatusNotFound || len(resp.Cookies()) != 0 {
			t.Errorf("%s: %d", what, resp.StatusCode)
		}
	}
	if resp, _ := h.get(t, mine, "/keys"); resp.StatusCode != 200 {
		t.Errorf("mine: %d", resp.StatusCode)
	}
	if resp, _ := h.get(t, theirs, "/keys"); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("theirs: %d", resp.StatusCode)
	}
}

// A form of another site does nothing (W01).
func TestForeignForm(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	code, b := h.code(t), h.browser(t)
	for _, headers := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "null"}} {
		if resp := h.post(t, b, "/login", url.Values{"code": {code}}, headers...); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%v: %d", headers, resp.StatusCode)
		}
	}
	if resp := h.post(t, b, "/login", url.Values{"code": {code}}, "Origin", h.server.URL); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("our own form: %d; the code must not have been used up", resp.StatusCode)
	}
}

func (h *house) login(t *testing.T) *http.Client {
	t.Helper()
	b := h.browser(t)
	if resp := h.post(t, b, "/login", url.Values{"code": {h.code(t)}}); resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("login: %d", resp.StatusCode)
	}
	return b
}

// A session ends by logging out, on the server too, after 30 idle minutes, and after 8 hours in any case (W03).
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	in := func(b *http.Client) bool { resp, _ := h.get(t, b, "/keys"); return resp.StatusCode == 200 }
	address, err := url.Parse(h.server.URL)
	check(t, err)

	b := h.login(t)
	kept := b.Jar.Cookies(address)
	h.post(t, b, "/logout", nil)
	if b.Jar.SetCookies(address, kept); in(b) {
		t.Error("the cookie works after logging out")
	}
	b = h.login(t)
	h.ahead.Add(int64(29 * time.Minute))
	if !in(b) {
		t.Error("ended too early")
	}
	h.ahead.Add(int64(30 * time.Minute))
	if in(b) {
		t.Error("30 idle minutes did not end it")
	}
	b = h.login(t)
	for i := range 24 {
		h.ahead.Add(int64(20 * time.Minute))
		if want := i < 23; in(b) != want { // the last one is at the end of the eighth hour
			t.Errorf("after %d times 20 minutes: in is %t", i+1, !want)
		}
	}
}

// The table shows what there is, and texts are text (W02); every page has the strict headers (W04).
func TestKeysPage(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	bundle, err := h.authority.GenerateKey(t.Context(), local, authority.NewKey{ID: "pump-1"})
	check(t, err)
	_, err = h.authority.CreatePrincipal(t.Context(), local, authority.NewPrincipal{Kind: credential.Service, Name: "svc"})
	check(t, err)
	_, err = h.authority.CreateCredential(t.Context(), local, authority.NewCredential{Kind: credential.APIKey, Principal: "svc", Name: `<img src=x onerror=alert(1)>`})
	check(t, err)
	_, err = h.authority.Quarantine(t.Context(), local, bundle.Token.Credential.ID, "noise")
	check(t, err)
	b := h.login(t)
	_, body := h.get(t, b, "/keys")
	for _, want := range []string{"pump-1", "device_token", "certificate", "active", `class="quarantined">quarantined<`, "never", "&lt;img src=x"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if strings.Contains(body, "<img") || strings.Contains(body, bundle.Token.Secret.Reveal()) {
		t.Error("the page holds what it must not")
	}
	for _, path := range []string{"/", "/login", "/keys", "/style.css", "/nothing"} {
		resp, _ := h.get(t, b, path)
		csp := resp.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", path, resp.Header)
		}
	}
}
