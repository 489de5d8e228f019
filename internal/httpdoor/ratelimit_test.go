package httpdoor

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
)

func limited(l credential.Limits) func(*authority.NewCredential) {
	return func(n *authority.NewCredential) { n.Limits = l }
}

const (
	refusedFast  = `{"success":false,"reason":"more requests a second than this credential may: see Retry-After"}`
	refusedMonth = `{"success":false,"reason":"more requests this month than this credential may: see Retry-After"}`
)

var (
	oneMonth   = regexp.MustCompile(`^"month";q=3;w=2(419200|505600|592000|678400)$`)
	monthLeft  = regexp.MustCompile(`^"month";r=([0-9]+);t=([0-9]+)$`)
	secondLeft = regexp.MustCompile(`^"second";r=([0-9]+);t=[01]$`)
)

// speaks is an upstream that has limits of its own, and says something before its answer.
func speaks(t testing.TB) string {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("RateLimit", `"upstream";r=1`)
		w.Header().Set("RateLimit-Policy", `"upstream";q=2`)
	}))
	t.Cleanup(up.Close)
	return up.URL
}

// Accepted and refused requests say what is left; Retry-After and the field agree. What an upstream says of its own
// limits reaches callers who have none here.
func TestRateLimitFields(t *testing.T) {
	h := newHouse(t, []string{"/db/=" + speaks(t), "/nowhere/=http://127.0.0.1:1"})
	month := bearer(h.token("month", limited(credential.Limits{PerMonth: 3})))
	for i, path := range []string{"/db/x", "/nowhere/x", "/none"} {
		a := h.final("GET", path, month)
		want := []int{200, 502, 404}[i]
		left := monthLeft.FindStringSubmatch(strings.Join(a.Header["Ratelimit"], "|"))
		if a.StatusCode != want || left == nil || left[1] != fmt.Sprint(2-i) || !oneMonth.MatchString(strings.Join(a.Header["Ratelimit-Policy"], "|")) {
			t.Errorf("%s: %d %v", path, a.StatusCode, a.Header)
		}
	}
	a := h.ask("GET", "/db/x", month)
	left := monthLeft.FindStringSubmatch(strings.Join(a.Header["Ratelimit"], "|"))
	if a.StatusCode != 429 || a.text != refusedMonth || left == nil || left[1] != "0" || left[2] != a.Header.Get("Retry-After") || len(a.Header["Ratelimit-Policy"]) != 1 {
		t.Errorf("%d %s %v", a.StatusCode, a.text, a.Header)
	}
	free := h.final("GET", "/db/x", bearer(h.token("free")))
	if free.Header.Get("RateLimit") != `"upstream";r=1` || free.Header.Get("RateLimit-Policy") != `"upstream";q=2` {
		t.Errorf("without limits: %v", free.Header)
	}
	if a := h.ask("GET", "/none", bearer(h.token("also-free"))); a.Header["Ratelimit"] != nil || a.Header["Ratelimit-Policy"] != nil {
		t.Errorf("without limits: %v", a.Header)
	}
}

// final is ask, without what comes before the answer.
func (h *house) final(method, target string, headers ...string) answered {
	h.Helper()
	r, err := http.NewRequest(method, "http://"+h.addr+target, nil)
	h.must(err)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	h.must(err)
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	return answered{Response: resp}
}

// Over the rate: 429, come again in a second, and nothing of the month, which is far away.
func TestOverTheRate(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	token := bearer(h.token("pump", limited(credential.Limits{PerSecond: 1, Burst: 2, PerMonth: 1000})))
	var a answered
	for range 100 { // faster than one a second
		if a = h.ask("GET", "/db/x", token); a.StatusCode == 429 {
			break
		}
	}
	left := secondLeft.FindStringSubmatch(a.Header.Get("RateLimit"))
	if a.StatusCode != 429 || a.Header.Get("Retry-After") != "1" || left == nil || left[1] != "0" ||
		!strings.HasPrefix(a.Header.Get("RateLimit-Policy"), `"second";q=1;w=1;cardea-burst=2, "month";q=1000;w=`) {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
}

// /auth tells it too, on the spot and by way of net/http, so that a proxy can pass it on. Its 429 is a 403 there, as nginx knows no other.
func TestForwardAuthTellsLimits(t *testing.T) {
	h, through := counted(t, behind("127.0.0.1/32"))
	token := bearer(h.token("pump", limited(credential.Limits{PerMonth: 2})))
	question := []string{token, "X-Original-Method: GET", "X-Original-URI: /db/x"}
	for i, want := range []int{200, 200, 403, 403} {
		var more []string
		if i%2 == 1 {
			more = []string{"Connection: keep-alive"}
		}
		a := h.keepAlive().ask(authHead(append(question, more...)...))
		left := monthLeft.FindStringSubmatch(strings.Join(a.Header["Ratelimit"], "|"))
		if a.StatusCode != want || left == nil || left[1] != fmt.Sprint(max(0, 1-i)) || a.Header["Ratelimit-Policy"] == nil {
			t.Errorf("%d %v", a.StatusCode, a.Header)
		}
		if want == 403 && a.Header.Get("Retry-After") != left[2] {
			t.Errorf("Retry-After %q, but %v", a.Header.Get("Retry-After"), left)
		}
	}
	if n := through.Load(); n != 2 {
		t.Errorf("net/http was asked %d times, want twice", n)
	}
}

// A connection with a client certificate is no request: only what is asked on it is.
func TestConnectionIsNoRequest(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, withTLS)
	_, err := h.authority.CreatePrincipal(context.Background(), h.local,
		authority.NewPrincipal{Kind: credential.Device, Name: "pump", Roles: []string{credential.RoleDevice}})
	h.must(err)
	is, err := h.authority.CreateCredential(context.Background(), h.local,
		authority.NewCredential{Kind: credential.Certificate, Principal: "pump", TTL: time.Hour, Limits: credential.Limits{PerMonth: 2}})
	h.must(err)
	pair, err := tls.X509KeyPair(is.Certificate, []byte(is.PrivateKey.Reveal()))
	h.must(err)
	for i, want := range []int{200, 200, 429} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots(), Certificates: []tls.Certificate{pair}, ServerName: "localhost"}}}
		resp, err := client.Get("https://" + h.addr + "/db/x")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		client.CloseIdleConnections()
		if resp.StatusCode != want {
			t.Errorf("request %d, on its own connection: %d, want %d", i, resp.StatusCode, want)
		}
	}
}
