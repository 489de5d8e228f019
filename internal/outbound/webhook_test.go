package outbound

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"pgregory.net/rapid"

	"cardea/internal/credential"
)

// received is a delivery as a receiver has it.
type received struct {
	header http.Header
	body   []byte
	proto  int
}

// receiver is a service with TLS that takes deliveries and answers with h, and a client that trusts it.
func receiver(t *testing.T, h http.HandlerFunc) (c *Client, url string, got chan received) {
	t.Helper()
	got = make(chan received, 10)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- received{r.Header, body, r.ProtoMajor}
		h(w, r)
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = discard
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return New(Config{Roots: roots}), s.URL + "/hook?x=y", got
}

func answers(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func notice(url string, secrets ...string) *credential.Dispatch {
	return &credential.Dispatch{URL: url, ID: "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", Secrets: secrets, Body: []byte(`{"type":"credential.expires_soon","data":{"x":"ü"}}`)}
}

// What is delivered satisfies the library of those who wrote the specification, with each secret while one is rotated.
func TestWebhookIsVerified(t *testing.T) {
	c, url, got := receiver(t, answers(204))
	older, newer := NewWebhookSecret(), NewWebhookSecret()
	d := notice(url, newer, older)
	if out := c.Webhook(t.Context(), d); !out.OK || out.Status != 204 || out.Why != "" || out.Retry {
		t.Fatalf("%+v", out)
	}
	r := <-got
	if string(r.body) != string(d.Body) || r.header.Get("Content-Type") != "application/json" || r.header.Get("webhook-id") != d.ID || r.proto != 2 {
		t.Errorf("received %v %s over HTTP/%d", r.header, r.body, r.proto)
	}
	for _, secret := range d.Secrets {
		verifier, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(r.body, r.header); err != nil {
			t.Error(err)
		}
		if verifier.Verify(append(slices.Clone(r.body), ' '), r.header) == nil {
			t.Error("another body is taken for it")
		}
	}
	if stranger, _ := standardwebhooks.NewWebhook(NewWebhookSecret()); stranger.Verify(r.body, r.header) == nil {
		t.Error("it is signed with any secret")
	}
}

// The vector that the libraries of Standard Webhooks have in common.
func TestWebhookVector(t *testing.T) {
	d := &credential.Dispatch{
		ID: "msg_p5jXN8AQM9LWM0D4loKWxJek", Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, Body: []byte(`{"test": 2432232314}`),
	}
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	if got, why := signWebhook(d, "1614265330"); got != want || why != "" {
		t.Errorf("%s %s", got, why)
	}
}

// Whatever is sent, the signature is the one that the other implementation makes.
func TestSignaturesAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), minWebhookKey, maxWebhookKey).Draw(t, "key")
		d := &credential.Dispatch{
			ID:   rapid.StringMatching(`[A-Za-z0-9_-]{1,128}`).Draw(t, "id"),
			Body: rapid.SliceOf(rapid.Byte()).Draw(t, "body"), Secrets: []string{webhookSecretPrefix + base64.StdEncoding.EncodeToString(key)},
		}
		at := rapid.Int64Range(0, 1<<40).Draw(t, "at")
		theirs, err := standardwebhooks.NewWebhookRaw(key)
		if err != nil {
			t.Fatal(err)
		}
		want, err := theirs.Sign(d.ID, time.Unix(at, 0), d.Body)
		if got, why := signWebhook(d, fmt.Sprint(at)); err != nil || got != want || why != "" {
			t.Errorf("%s %s, want %s %v", got, why, want, err)
		}
	})
}

// What an answer means.
func TestWebhookAnswers(t *testing.T) {
	for status, want := range map[int]credential.Delivered{
		200: {OK: true}, 201: {OK: true}, 202: {OK: true}, 204: {OK: true}, 299: {OK: true},
		301: {Retry: true}, 302: {Retry: true}, 303: {Retry: true}, 307: {Retry: true}, 308: {Retry: true},
		400: {Retry: true}, 401: {Retry: true}, 404: {Retry: true}, 429: {Retry: true, RetryAfter: 120 * time.Second},
		410: {Gone: true},
		500: {Retry: true}, 502: {Retry: true}, 503: {Retry: true, RetryAfter: 120 * time.Second}, 504: {Retry: true},
	} {
		c, url, got := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
			if want.RetryAfter != 0 || want.OK || want.Gone {
				w.Header().Set("Retry-After", "120")
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			if status != 204 && status != 304 {
				_, _ = io.WriteString(w, "the body is not shown")
			}
		})
		want.Status = status
		out := c.Webhook(t.Context(), notice(url, NewWebhookSecret()))
		if (out.Why == "") != want.OK || strings.Contains(out.Why, "body") || !want.OK && !strings.Contains(out.Why, fmt.Sprint(status)) {
			t.Errorf("%d: %q", status, out.Why)
		}
		out.Why = ""
		if out != want {
			t.Errorf("%d: %+v, want %+v", status, out, want)
		}
		if len(got) != 1 { // a redirect was followed, or something was sent twice
			t.Errorf("%d: %d requests", status, len(got))
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"7":                             7 * time.Second,
		"86400":                         24 * time.Hour,
		"86401":                         24 * time.Hour,
		"99999999999999999999999":       24 * time.Hour,
		"18446744073709551615":          24 * time.Hour,
		"-5":                            0,
		"1.5":                           0,
		"soon":                          0,
		"Wed, 25 Nov 2026 12:01:30 GMT": 90 * time.Second,
		"Wed, 25 Nov 2026 11:00:00 GMT": 0,
		"Fri, 25 Nov 2126 12:00:00 GMT": 24 * time.Hour,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// Receivers that do not answer as they should are told of in words, and tried again (S14).
func TestWebhookFails(t *testing.T) {
	c, hangs, _ := receiver(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	wantWhy(t, c.Webhook(ctx, notice(hangs, NewWebhookSecret())), "too long")
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	wantWhy(t, c.Webhook(ctx, notice(hangs, NewWebhookSecret())), "given up")

	_, url, _ := receiver(t, answers(200))
	wantWhy(t, New(Config{}).Webhook(t.Context(), notice(url, NewWebhookSecret())), "does not trust")
	plain := httptest.NewServer(answers(200))
	wantWhy(t, c.Webhook(t.Context(), notice(strings.Replace(plain.URL, "http", "https", 1), NewWebhookSecret())), "TLS")
	plain.Close()
	wantWhy(t, c.Webhook(t.Context(), notice(plain.URL, NewWebhookSecret())), "refused")
	large := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }))
	defer large.Close()
	wantWhy(t, c.Webhook(t.Context(), notice(large.URL, NewWebhookSecret())), "")
	if got := c.webhookClient("https", false).Timeout; got != 15*time.Second {
		t.Errorf("the timeout is %s", got)
	}
}

func wantWhy(t *testing.T, out credential.Delivered, word string) {
	t.Helper()
	if out.OK || !out.Retry || out.Gone || out.Status != 0 || out.Why == "" || !strings.Contains(out.Why, word) {
		t.Errorf("%+v, want something about %q", out, word)
	}
}

// A receiver that talks without end has got its notice, and is not listened to.
func TestWebhookAnswerWithoutEnd(t *testing.T) {
	cut := make(chan bool, 1)
	c, url, _ := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		for n := 0; n < 64<<20; n += 1 << 10 {
			if _, err := w.Write(make([]byte, 1<<10)); err != nil {
				cut <- true
				return
			}
		}
		cut <- false
	})
	if out := c.Webhook(t.Context(), notice(url, NewWebhookSecret())); !out.OK {
		t.Errorf("%+v", out)
	}
	if !<-cut {
		t.Error("64 MiB were read")
	}
}

// S15: what must not be called is refused when it is saved, and again when it is called.
func TestCheckWebhook(t *testing.T) {
	local := New(Config{})
	for url, word := range map[string]string{
		"":                                       "needed",
		"ftp://example.com/":                     "http://",
		"http://example.com/":                    "https://",
		"http://10.0.0.1/":                       "https://",
		"http://127.0.0.1.example/":              "https://",
		"http://localhost.example/":              "https://",
		"https://169.254.169.254/latest":         "link-local",
		"https://[::ffff:169.254.169.254]/":      "link-local",
		"https://2130706433/":                    "number",
		"https://user@example.com/":              "user",
		"https://user:pw@example.com/":           "user",
		"https://example.com/#f":                 "fragment",
		"https://example.com/a b":                "blanks",
		"https://example.com/a\r\nx: y":          "blanks",
		"https://example.com/%zz":                "hexadecimal",
		"https://${clientid}/":                   "placeholder",
		"https://example.com:0/":                 "port",
		"https://exa%6dple.com/":                 "host",
		"https:///x":                             "host",
		"https:example.com":                      "http://",
		"https://a/" + strings.Repeat("x", 2039): "longer",
	} {
		var p credential.Problems
		local.CheckWebhook(url, false, &p)
		if len(p) != 1 || p[0].Field != "url" || !strings.Contains(p[0].Message, word) {
			t.Errorf("%.50q: %v, want something about %q", url, p, word)
		}
		if out := local.Webhook(t.Context(), notice(url, NewWebhookSecret())); out.OK || out.Retry || out.Gone || !strings.Contains(out.Why, word) {
			t.Errorf("%.50q is called: %+v", url, out)
		}
	}
	for _, url := range []string{
		"https://example.com", "HTTPS://EXAMPLE.com:8443/a/${b}?c=d", "https://10.0.0.1/", "https://[fd12::1]:1/", "https://xn--bcher-kva.example/ü",
		"http://localhost:8080/x", "http://localhost./", "http://127.0.0.1/", "http://127.9.9.9/", "http://[::1]:80/", "https://a/" + strings.Repeat("x", 2038),
	} {
		var p credential.Problems
		if local.CheckWebhook(url, false, &p); len(p) > 0 {
			t.Errorf("%.50q: %v", url, p)
		}
	}
	named := New(Config{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for url, fine := range map[string]bool{
		"http://10.1.2.3/": true, "http://inside.example/": true, "https://inside.example/": true,
		"http://127.0.0.1/": false, "https://192.168.1.1/": false, "https://8.8.8.8/": false,
	} {
		var p credential.Problems
		if named.CheckWebhook(url, false, &p); (len(p) == 0) != fine {
			t.Errorf("with networks, %q: %v", url, p)
		}
	}
}

// S15: a name is looked at when it has become an address.
func TestWebhookDialIsGuarded(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was called") }))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	c := New(Config{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for _, scheme := range []string{"http", "https"} {
		out := c.Webhook(t.Context(), notice(scheme+"://localhost:"+port+"/", NewWebhookSecret()))
		if out.OK || !strings.Contains(out.Why, "backend_networks") {
			t.Errorf("%s: %+v", scheme, out)
		}
	}
}

// Without TLS: loopback and networks that are named, whatever a name has become by then.
func TestPlainGuard(t *testing.T) {
	none, some := newGuard(nil), newGuard([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	for addr, fine := range map[string][2]bool{
		"127.0.0.1:80": {true, false}, "[::1]:80": {true, false}, "[::ffff:127.0.0.1]:80": {true, false},
		"10.0.0.1:80": {false, true}, "8.8.8.8:80": {false, false}, "[fd12::1]:80": {false, false}, "169.254.169.254:80": {false, false}, "x": {false, false},
	} {
		for i, g := range []guard{none, some} {
			err := g.plain(t.Context(), "tcp", addr, nil)
			if _, guarded := errors.AsType[errGuarded](err); (err == nil) != fine[i] || err != nil && !guarded {
				t.Errorf("%s: %v", addr, err)
			}
		}
	}
}

// The guard is in the client: a name for http that has become another machine's address is not connected to.
func TestPlainClientIsGuarded(t *testing.T) {
	for scheme, word := range map[string]string{"http": "not https", "https": "cloud"} {
		addr := map[string]string{"http": "192.0.2.1:80", "https": "100.100.100.200:443"}[scheme]
		_, err := New(Config{}).webhookClient(scheme, false).Transport.(*http.Transport).DialContext(t.Context(), "tcp", addr)
		if guarded, ok := errors.AsType[errGuarded](err); !ok || !strings.Contains(guarded.why, word) {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

// What is not in the form of a notice is not sent, and not tried again.
func TestWebhookWants(t *testing.T) {
	c, url, got := receiver(t, answers(200))
	good := NewWebhookSecret()
	for name, change := range map[string]func(*credential.Dispatch){
		"no ID":         func(d *credential.Dispatch) { d.ID = "" },
		"a full stop":   func(d *credential.Dispatch) { d.ID = "a.1" },
		"a line end":    func(d *credential.Dispatch) { d.ID = "a\r\nx: y" },
		"a long ID":     func(d *credential.Dispatch) { d.ID = strings.Repeat("a", 129) },
		"no secret":     func(d *credential.Dispatch) { d.Secrets = nil },
		"five secrets":  func(d *credential.Dispatch) { d.Secrets = []string{good, good, good, good, good} },
		"a wrong one":   func(d *credential.Dispatch) { d.Secrets = []string{good, "whsec_" + strings.Repeat("A", 28)} },
		"a wrong first": func(d *credential.Dispatch) { d.Secrets = []string{"hunter2", good} },
	} {
		d := notice(url, good)
		change(d)
		if out := c.Webhook(t.Context(), d); out.OK || out.Retry || out.Why == "" || strings.Contains(out.Why, "hunter2") {
			t.Errorf("%s: %+v", name, out)
		}
	}
	if len(got) > 0 {
		t.Error("something was sent")
	}
}

func TestWebhookSecrets(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		s := NewWebhookSecret()
		if key, why := webhookKey(s); len(key) != 32 || why != "" || seen[s] { // K07
			t.Fatalf("%d bytes, %s", len(key), why)
		}
		seen[s] = true
	}
	encoded := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for secret, fine := range map[string]bool{
		encoded(24): true, encoded(25): true, encoded(64): true, encoded(23): false, encoded(65): false, encoded(0): false, "": false,
		encoded(24)[6:]: false, "WHSEC_" + encoded(24)[6:]: false, strings.TrimRight(encoded(25), "="): false, encoded(24)[:20] + "\n" + encoded(24)[20:]: false,
		encoded(25)[:39] + "B==": false, "whsec_" + strings.Repeat("-", 32): false, " " + encoded(24): false,
	} {
		var p credential.Problems
		if CheckWebhookSecret(secret, &p); (len(p) == 0) != fine {
			t.Errorf("%q: %v", secret, p)
		}
	}
}

// K03: a delivery does not print what is secret, whoever prints it.
func TestDeliveryDoesNotPrint(t *testing.T) {
	d := notice("https://hooks.example/very-private", NewWebhookSecret())
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{string(text), fmt.Sprintf("%v %+v %#v %s %q %x", d, *d, d, d, d, *d), fmt.Sprintln([]credential.Dispatch{*d})} {
		if strings.Contains(s, "whsec_") || strings.Contains(s, "private") || strings.Contains(s, d.Secrets[0][10:20]) {
			t.Errorf("printed: %s", s)
		}
	}
}

// FuzzCheckWebhook: what is accepted is for net/http what it was for the check.
func FuzzCheckWebhook(f *testing.F) {
	for _, s := range []string{"https://example.com/a?b#c", "http://localhost:1", "https://[::1]:443/%41", "https://a@b/", `https://a\@b/`, "https://a:1:2/", "https://A.b./..//${x}"} {
		f.Add(s)
	}
	c := New(Config{})
	f.Fuzz(func(t *testing.T, s string) {
		var p credential.Problems
		if c.CheckWebhook(s, false, &p); len(p) > 0 {
			return
		}
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		to, _, _, why := c.guard.parseURL(s)
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		host := strings.ToLower(u.Hostname())
		if addr, err := netip.ParseAddr(host); err == nil {
			host = addr.String()
		}
		if why != "" || u.User != nil || u.Fragment != "" || u.Opaque != "" || host != to.host || port != to.port && strings.TrimLeft(port, "0") != to.port || (u.Scheme == "https") != to.secure {
			t.Errorf("%q is %+v, and %+v for net/url", s, to, u)
		}
		if _, why := c.webhookRequest(t.Context(), &credential.Dispatch{URL: s, ID: "x", Secrets: []string{NewWebhookSecret()}}); why != "" {
			t.Errorf("%q: %s", s, why)
		}
	})
}

// W07: what a tenant says is to be called is on the internet: neither this machine nor a private network, in no spelling, at save and when it is dialed.
func TestTenantsCallTheInternet(t *testing.T) {
	c := New(Config{})
	for url, good := range map[string]bool{
		"https://hooks.example.com/x": true, "https://93.184.216.34/": true, "https://[2606:2800:220:1::1]/": true,
		"http://127.0.0.1/": false, "https://127.0.0.1/": false, "https://localhost/": false, "https://localhost./": false, "https://[::1]/": false,
		"https://10.0.0.5/": false, "https://192.168.1.1/": false, "https://172.20.0.1/": false, "https://100.64.0.1/": false, "https://[fd00::1]/": false,
		"https://[::ffff:10.0.0.5]/": false, "https://[64:ff9b::a00:5]/": false, "http://hooks.example.com/x": false, "https://198.18.0.1/": false,
	} {
		var p credential.Problems
		c.CheckWebhook(url, true, &p)
		if (len(p) == 0) != good {
			t.Errorf("%s: %v", url, p)
		}
	}
	for addr, good := range map[string]bool{"93.184.216.34:443": true, "127.0.0.1:443": false, "10.0.0.5:443": false, "[::1]:443": false, "[fd00::1]:443": false, "[::ffff:192.168.0.1]:443": false} {
		if err := c.guard.abroad(t.Context(), "tcp", addr, nil); (err == nil) != good {
			t.Errorf("dialing %s: %v", addr, err)
		}
	}
	named := New(Config{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if err := named.guard.abroad(t.Context(), "tcp", "10.0.0.5:443", nil); err != nil {
		t.Errorf("a network that the operator has named: %v", err)
	}
}
