package outbound

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cardea/internal/credential"
)

var full = &credential.Login{
	Username: "an na/ü", Password: "p&w=", ClientID: "c-1", Zone: "default", Listener: "tcp:default",
	Peer:  netip.MustParseAddrPort("[::ffff:10.1.2.3]:4711"),
	Attrs: map[string]string{"group": "g1"},
	Cert:  &credential.LoginCert{Subject: "CN=anna,O=x", CommonName: "anna", DER: []byte{0xFF, 0xFE, 0xFD}},
}

// rendered is a backend's request for a login, as a server reads it, and its body; or why there is none.
func rendered(t testing.TB, b credential.Backend, l *credential.Login) (r *http.Request, body, why string) {
	t.Helper()
	var p credential.Problems
	c := New(Config{})
	c.Check(credential.ByHTTP, &b, &p)
	if len(p) > 0 {
		t.Fatalf("the backend is refused: %v", p)
	}
	return reread(t, &c.compile(credential.ByHTTP, &b, &p).request, l)
}

func reread(t testing.TB, from *request, l *credential.Login) (r *http.Request, body, why string) {
	t.Helper()
	wire, _, why := from.render(nil, nil, l)
	if why != "" {
		return nil, "", why
	}
	in := bufio.NewReader(bytes.NewReader(wire))
	r, err := http.ReadRequest(in)
	if err != nil {
		t.Fatalf("%v in %q", err, wire)
	}
	all, err := io.ReadAll(r.Body)
	if err != nil || in.Buffered() > 0 {
		t.Fatalf("%v, or more than one request: %q", err, wire)
	}
	return r, string(all), ""
}

// Every placeholder in every place. (reference, 1.6)
func TestRequest(t *testing.T) {
	for _, one := range []struct {
		name    string
		backend credential.Backend
		line    string
		headers map[string]string
		body    string
	}{
		{
			"defaults",
			credential.Backend{URL: "http://h:81/a"},
			"POST /a",
			map[string]string{"accept": "application/json", "cache-control": "no-cache", "connection": "keep-alive", "keep-alive": "timeout=30, max=1000", "content-type": "application/json", "content-length": "2"},
			"{}",
		},
		{"no path", credential.Backend{Method: "get", URL: "http://h:81"}, "GET /", map[string]string{"content-type": "", "content-length": ""}, ""},
		{
			"path",
			credential.Backend{Method: "get", URL: "http://h:81/${username}/${clientid}/${password}${zone}/${listener}"},
			"GET /an+na%2F%C3%BC/c-1/p%26w%3Ddefault/tcp%3Adefault", nil, "",
		},
		{
			"query",
			credential.Backend{Method: "get", URL: "http://h:81/?h=${peerhost}&p=${peerport}&cs=${cert_subject}&cn=${cert_common_name}&pem=${cert_pem}&g=${client_attrs.group}&n=${client_attrs.none}"},
			"GET /?h=10.1.2.3&p=4711&cs=CN%3Danna%2CO%3Dx&cn=anna&pem=%2F%2F79&g=g1&n=", nil, "",
		},
		{"body of a get", credential.Backend{Method: "get", URL: "http://h:81/", Body: map[string]any{"u": "${username}", "a b": "x y"}}, "GET /?a+b=x+y&u=an+na%2F%C3%BC", nil, ""},
		{"body of a get, after a query", credential.Backend{Method: "get", URL: "http://h:81/?x=1", Body: map[string]any{"u": "${clientid}"}}, "GET /?x=1&u=c-1", nil, ""},
		{
			"json", credential.Backend{URL: "http://h:81/", Body: map[string]any{
				"user": "${username}", "n": map[string]any{"pem": "${cert_pem}", `q"`: `"${peerport}\`}, "lit": "${$}{username}$${zone}",
			}}, "POST /", nil, `{"lit":"${username}$default","n":{"pem":"//79","q\"":"\"4711\\"},"user":"an na/ü"}`,
		},
		{
			"form",
			credential.Backend{URL: "http://h:81/", Headers: map[string]string{"Content-Type": formType}, Body: map[string]any{"u": "${username}", "p": "=${password}"}},
			"POST /",
			map[string]string{"content-type": formType},
			`p=%3Dp%26w%3D&u=an+na%2F%C3%BC`,
		},
		{
			"headers",
			credential.Backend{URL: "http://h:81/", Headers: map[string]string{"X-User": "u ${username}", "Accept": "*/*", "Authorization": "Bearer ${$}x"}},
			"POST /",
			map[string]string{"x-user": "u an na/ü", "accept": "*/*", "authorization": "Bearer $x"},
			"{}",
		},
		{"literal text is made fit for a URL", credential.Backend{Method: "get", URL: "http://h:81/ü{}?a=|"}, "GET /%C3%BC%7B%7D?a=%7C", nil, ""},
	} {
		t.Run(one.name, func(t *testing.T) {
			r, body, why := rendered(t, one.backend, full)
			if why != "" {
				t.Fatal(why)
			}
			if line := r.Method + " " + r.RequestURI; line != one.line || r.Host != "h:81" {
				t.Errorf("%s for %s, want %s", line, r.Host, one.line)
			}
			if body != one.body {
				t.Errorf("body %s, want %s", body, one.body)
			}
			for name, want := range one.headers {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

// What a login does not have is an empty text.
func TestUnset(t *testing.T) {
	r, body, _ := rendered(t, credential.Backend{
		URL: "http://h/?a=${peerhost}${peerport}${cert_subject}${cert_common_name}${cert_pem}", Headers: map[string]string{"x-a": "${username}"},
		Body: map[string]any{"a": "${client_attrs.x}${zone}"},
	}, &credential.Login{})
	if r.RequestURI != "/?a=" || body != `{"a":""}` || r.Header.Get("X-A") != "" {
		t.Errorf("%s %s %v", r.RequestURI, body, r.Header)
	}
}

// S16: a value that would be something else than a value is encoded, or its login is not asked about.
func TestHostileValues(t *testing.T) {
	path := credential.Backend{Method: "get", URL: "http://h/users/${username}/keys"}
	query := credential.Backend{Method: "get", URL: "http://h/?u=${username}"}
	header := credential.Backend{URL: "http://h/", Headers: map[string]string{"x-user": "${username}"}}
	body := credential.Backend{URL: "http://h/", Body: map[string]any{"u": "${username}"}}
	for _, one := range []struct {
		in      credential.Backend
		value   string
		request string // path and query; "" for refused
	}{
		{path, "a?b#c", "/users/a%3Fb%23c/keys"},
		{path, "a/b", "/users/a%2Fb/keys"},
		{path, "a\r\nX: y\x00", "/users/a%0D%0AX%3A+y%00/keys"},
		{path, "${password}", "/users/%24%7Bpassword%7D/keys"},
		{path, "%2e%2e", "/users/%252e%252e/keys"},
		{path, "...", "/users/.../keys"},
		{path, "a..", "/users/a../keys"},
		{path, ".", ""},
		{path, "..", ""},
		{path, "../admin", ""},
		{path, "/../", ""},
		{path, "x/../../admin", ""},
		{path, `..\admin`, ""},
		{path, "a/.", ""},
		{query, "a&b=c#d/../\r\n", "/?u=a%26b%3Dc%23d%2F..%2F%0D%0A"},
		{header, "a\r\nX: y", ""},
		{header, "a\nX: y", ""},
		{header, "a\x00", ""},
		{header, "a\x7f", ""},
		{header, "anna ", ""},
		{header, "\tanna", ""},
		{header, "../ü:;,", "/"},
		{body, "a\xff", ""},
		{body, "a\r\n\x00\"}{", "/"},
	} {
		r, _, why := rendered(t, one.in, &credential.Login{Username: one.value, Password: "secret"})
		switch {
		case one.request == "" && why == "":
			t.Errorf("%q is sent: %s %v", one.value, r.RequestURI, r.Header)
		case one.request != "" && (why != "" || r.RequestURI != one.request):
			t.Errorf("%q: %s %v, want %s", one.value, why, r, one.request)
		case strings.Contains(why, one.value) && len(one.value) > 1:
			t.Errorf("%q is in the reason %q", one.value, why)
		}
	}
}

// Two values make a segment that neither of them is. S16.
func TestDotsFromTwoValues(t *testing.T) {
	for _, url := range []string{"http://h/${username}${clientid}/x", "http://h/.${username}/x", "http://h/%2e${username}", "http://h/x/${clientid}."} {
		if _, _, why := rendered(t, credential.Backend{Method: "get", URL: url}, &credential.Login{Username: ".", ClientID: "."}); why == "" {
			t.Errorf("%s is sent", url)
		}
	}
}

func TestTooLong(t *testing.T) {
	b := credential.Backend{URL: "http://h/", Body: map[string]any{"u": "${username}", "p": "${password}"}}
	long := strings.Repeat("x", maxRequest/2)
	if _, _, why := rendered(t, b, &credential.Login{Username: long, Password: long}); !strings.Contains(why, "long") {
		t.Errorf("reason %q", why)
	}
}

// S16 as a property: whatever the values are, a server reads exactly them, or there is no request.
func TestValuesArriveAsTheyAre(t *testing.T) {
	plan := hostile(t)
	rapid.Check(t, func(rt *rapid.T) {
		value := rapid.OneOf(rapid.String(), rapid.StringMatching(`[./\\%2eE\r\n\x00 "{}$&=+#?a]{0,8}`)).Draw(rt, "value")
		arrives(rt, plan, value)
	})
}

// hostile is a request with a value in all places.
func hostile(t testing.TB) *request {
	t.Helper()
	b := credential.Backend{
		URL: "http://h/a/${username}/b?q=${username}&r=1", Headers: map[string]string{"x-user": "${username}"},
		Body: map[string]any{"u": "${username}", "v": map[string]any{"w": "-${username}-"}},
	}
	var p credential.Problems
	c := New(Config{})
	fillIn(credential.ByHTTP, &b)
	plan := c.compile(credential.ByHTTP, &b, &p)
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return &plan.request
}

type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

func arrives(t tester, from *request, value string) {
	t.Helper()
	wire, _, why := from.render(nil, nil, &credential.Login{Username: value})
	if why != "" {
		if utf8.ValidString(value) && isHeaderText(value) && !hasDots("/"+value) {
			t.Fatalf("%q is not sent: %s", value, why)
		}
		return
	}
	in := bufio.NewReader(bytes.NewReader(wire))
	r, err := http.ReadRequest(in)
	if err != nil {
		t.Fatalf("%v in %q", err, wire)
	}
	raw, _ := io.ReadAll(r.Body)
	if in.Buffered() > 0 {
		t.Fatalf("%q is more than one request", wire)
	}
	segments := strings.Split(r.URL.EscapedPath(), "/")
	if len(segments) != 4 || segments[3] != "b" {
		t.Fatalf("%q has the path %q", wire, r.URL.Path)
	}
	if s, err := url.QueryUnescape(segments[2]); err != nil || s != value {
		t.Fatalf("%q arrives in the path as %q", value, s)
	}
	if diff := cmp.Diff(url.Values{"q": {value}, "r": {"1"}}, r.URL.Query()); diff != "" {
		t.Fatalf("%q in the query: %s", value, diff)
	}
	if diff := cmp.Diff([]string{value}, r.Header["X-User"]); diff != "" || len(r.Header) != 7 {
		t.Fatalf("%q in the headers: %s %v", value, diff, r.Header)
	}
	var body any
	if err := json.Unmarshal(raw, &body); err != nil {
		t.Fatalf("%v in %q", err, raw)
	}
	if diff := cmp.Diff(map[string]any{"u": value, "v": map[string]any{"w": "-" + value + "-"}}, body); diff != "" {
		t.Fatalf("%q in the body: %s", value, diff)
	}
}

// FuzzTemplate: no template and no value makes a request that is not one, or more than one.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"", "a", "${username}", "${$}{x}", "${client_attrs.a}", "${", "$}", "${nobody}", "%", "%41", "../${username}", "a b", "\r\nx: y", "ü", "\xff", "a?b", "${username}${username}"} {
		f.Add(s, "..")
		f.Add(s, "x\r\ny: z")
		f.Add("${username}", s)
	}
	plan := hostile(f)
	f.Fuzz(func(t *testing.T, template, value string) {
		arrives(t, plan, value)
		for _, kind := range []string{jsonType, formType} {
			b := credential.Backend{
				URL: "http://h/x/" + template, Headers: map[string]string{"x-v": template, "content-type": kind}, Body: map[string]any{"k": template},
			}
			var p credential.Problems
			c := New(Config{})
			fillIn(credential.ByHTTP, &b)
			made := c.compile(credential.ByHTTP, &b, &p)
			if len(p) > 0 {
				continue
			}
			r, body, why := reread(t, &made.request, &credential.Login{Username: value, Attrs: map[string]string{"a": value}})
			if why != "" {
				continue
			}
			if len(r.Header["X-V"]) != 1 || len(r.Header) != 7 || hasDots(r.URL.Path) {
				t.Errorf("%q with %q: %v", template, value, r)
			}
			var members map[string]string
			if kind == jsonType && (json.Unmarshal([]byte(body), &members) != nil || len(members) != 1) {
				t.Errorf("%q with %q: body %q", template, value, body)
			}
			if form, err := url.ParseQuery(body); kind == formType && (err != nil || len(form) != 1) {
				t.Errorf("%q with %q: body %q", template, value, body)
			}
		}
	})
}
