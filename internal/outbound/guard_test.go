package outbound

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
)

// S15: what is never called, in every form in which it could be meant.
func TestAddresses(t *testing.T) {
	g := newGuard(nil)
	for _, s := range []string{
		"0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1",
		"100.100.100.200", "168.63.129.16", "192.0.0.192",
		"::", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "ff02::1", "fd00:ec2::254", "fd20:ce::254",
		"::ffff:169.254.169.254", "::ffff:0.0.0.0", "::169.254.169.254", "::ffff:0:169.254.169.254",
		"64:ff9b::a9fe:a9fe", "64:ff9b::e000:1", "64:ff9b:1::a9fe:a9fe", "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a9fe:a9:fe00:0:1",
		"2002:a9fe:a9fe::1", "2002:0:1::", "2002:ffff:ffff::", "2001:0:1:2:3:4:5601:5601", "2001:db8::5efe:a9fe:a9fe", "2001:db8::200:5efe:a9fe:a9fe",
	} {
		if g.check(netip.MustParseAddr(s)) == "" {
			t.Errorf("%s may be called", s)
		}
	}
	for _, s := range []string{
		"127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "100.64.0.1", "8.8.8.8", "::1", "fd12::1", "2001:db8::1",
		"::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:a00:1::1",
	} {
		if why := g.check(netip.MustParseAddr(s)); why != "" {
			t.Errorf("%s may not be called: %s", s, why)
		}
	}
}

// S15: with backend_networks nothing else is called, and they open nothing that is never called.
func TestNetworks(t *testing.T) {
	g := newGuard([]netip.Prefix{netip.MustParsePrefix("10.1.2.3/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fd12::/16")})
	for s, may := range map[string]bool{
		"10.255.0.1": true, "::ffff:10.0.0.1": true, "fd12::1": true,
		"127.0.0.1": false, "::1": false, "8.8.8.8": false, "192.168.1.1": false, "169.254.1.1": false, "64:ff9b::a00:1": false,
	} {
		if why := g.check(netip.MustParseAddr(s)); (why == "") != may {
			t.Errorf("%s: %q", s, why)
		}
	}
}

// S15: a URL that cannot be called is refused when it is saved.
func TestURLs(t *testing.T) {
	c := New(Config{})
	for url, word := range map[string]string{
		"":                               "needed",
		"example.com/x":                  "http://",
		"//example.com/x":                "http://",
		"file:///etc/passwd":             "http://",
		"ftp://example.com":              "http://",
		"gopher://example.com":           "http://",
		"unix:///run/x":                  "http://",
		"http://":                        "host",
		"http:///x":                      "host",
		"http://0":                       "number",
		"http://0/":                      "number",
		"http://2130706433/":             "number",
		"http://0x7f000001/":             "number",
		"http://0x7F.1/":                 "number",
		"http://127.1/":                  "number",
		"http://0177.0.0.1/":             "number",
		"http://0251.0376.0251.0376/":    "number",
		"http://127.0.0.1./":             "number",
		"http://2852039166/latest":       "number",
		"http://169.254.169.254/latest":  "link-local",
		"http://0.0.0.0:80/":             "unspecified",
		"http://224.0.0.1/":              "multicast",
		"http://255.255.255.255/":        "broadcast",
		"http://[::]/":                   "unspecified",
		"http://[fe80::1]/":              "link-local",
		"http://[fe80::1%25eth0]/":       "IPv6",
		"http://[::ffff:a9fe:a9fe]/":     "link-local",
		"http://[64:ff9b::a9fe:a9fe]/":   "link-local",
		"http://[127.0.0.1]/":            "IPv6",
		"http://[::1/":                   "IPv6",
		"http://[::1]x/":                 "IPv6",
		"http://user@example.com/":       "header",
		"http://user:pw@example.com/":    "header",
		"http://a@b@example.com/":        "header",
		"http://example.com/#f":          "fragment",
		"http://example.com#f":           "fragment",
		"http://example.com:0/":          "port",
		"http://example.com:/":           "port",
		"http://example.com:65536/":      "port",
		"http://example.com:+80/":        "port",
		"http://example.com:80:80/":      "host",
		"http://ex ample.com/":           "host",
		"http://ex\r\nample.com/":        "host",
		"http://exa%6dple.com/":          "host",
		"http://bücher.example/":         "xn--",
		"http://a..b/":                   "host",
		"http://-a.example/":             "host",
		"http://${clientid}/":            "placeholder",
		"http://${clientid}.example/":    "placeholder",
		"http://example.com:${peerport}": "placeholder",
		"${clientid}://example.com/":     "http://",
		"http://example.com\\@x/":        "header",
		"http://example.com/a b":         "blanks",
		"http://example.com/a\r\nX: y":   "blanks",
		"http://example.com/%":           "hexadecimal",
		"http://example.com/%${zone}":    "hexadecimal",
		"http://example.com/?a=%zz":      "hexadecimal",
		"http://example.com/a/../b":      "..",
		"http://example.com/a/%2e%2E/b":  "..",
		"http://example.com/..%2fb":      "..",
		"http://example.com/${nobody}":   "placeholder",
		"http://example.com/?q=${qos}":   "placeholder",
		"http://example.com/${username":  "without a }",
	} {
		if why := check(c, credential.ByHTTP, credential.Backend{URL: url})["url"]; !strings.Contains(why, word) {
			t.Errorf("%q: %q, want something about %q", url, why, word)
		}
	}
	for _, url := range []string{
		"http://example.com", "HTTP://EXAMPLE.com:8080/a?b=c", "http://localhost/", "http://127.0.0.1:1/", "http://[::1]:8080/x", "http://10.0.0.1",
		"http://my_host.internal./", "http://xn--bcher-kva.example/", "http://a1.b2-3/${username}?x=${clientid}&y=${client_attrs.a-b_c}", "http://example.com?x=1",
		"http://example.com/${$}{x}/ü", "http://0x7f.example/", "http://example.com/a..b/...",
	} {
		if p := check(c, credential.ByHTTP, credential.Backend{URL: url}); len(p) > 0 {
			t.Errorf("%q: %v", url, p)
		}
	}
	limited := New(Config{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if why := check(limited, credential.ByHTTP, credential.Backend{URL: "http://127.0.0.1/"})["url"]; !strings.Contains(why, "backend_networks") {
		t.Errorf("loopback with other networks: %q", why)
	}
}

// S15: a name is looked at when it has become an address, so that it cannot become another one after the check.
func TestDialIsGuarded(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was called") }))
	defer s.Close()
	url := strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	c := New(Config{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if p := check(c, credential.ByHTTP, credential.Backend{URL: url}); len(p) > 0 {
		t.Fatalf("a name cannot be refused when it is saved: %v", p)
	}
	a := ask(t, openOf(t, c, credential.ByHTTP, credential.Backend{URL: url}), someone)
	wantVerdict(t, a, credential.Failed)
	if !strings.Contains(a.Why, "backend_networks") {
		t.Errorf("reason %q", a.Why)
	}
	if _, err := c.HTTP(nil, time.Minute).Get(url); err == nil || !strings.Contains(err.Error(), "backend_networks") {
		t.Errorf("the client of net/http: %v", err)
	}
	for _, addr := range []string{"169.254.169.254:80", "0.0.0.0:80", "[fe80::1]:80", "[::ffff:169.254.169.254]:80"} {
		_, err := New(Config{}).dial(t.Context(), addr, nil)
		if err == nil || !strings.Contains(reason(err), "is not called") {
			t.Errorf("dialing %s: %v", addr, err)
		}
	}
}

// S15: an answer that sends elsewhere is one that failed, and nobody goes there.
func TestNoRedirects(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer inside.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		s := httptest.NewServer(http.RedirectHandler(inside.URL, code))
		wantVerdict(t, ask(t, open(t, credential.ByHTTP, credential.Backend{URL: s.URL}), someone), credential.Failed)
		answer, err := New(Config{}).HTTP(nil, time.Minute).Get(s.URL)
		if err != nil || answer.StatusCode != code {
			t.Errorf("%d through the client of net/http: %v %v", code, answer, err)
		}
		_ = answer.Body.Close()
		s.Close()
	}
}

// The environment's proxy is for what a person runs, not for a server that has a guard.
func TestNoProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer s.Close()
	url := strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	wantVerdict(t, ask(t, open(t, credential.ByHTTP, credential.Backend{URL: url}), someone), credential.Known)
	client := New(Config{}).HTTP(nil, time.Minute)
	if client.Transport.(*http.Transport).Proxy != nil {
		t.Error("the client of net/http has a proxy")
	}
}
