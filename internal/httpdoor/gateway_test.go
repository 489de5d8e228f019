package httpdoor

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The contract: the upstream gets the request as it was, with who calls beside it.
func TestForwardedRequest(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump-1")
	a := h.send("POST", "/db/write/a%20b?q=1;2&x=%zz&&", "[1]", bearer(is), "Content-Type: application/json", "X-Own: 1", "Cookie: a=b", "User-Agent: mine")
	if a.StatusCode != 200 || a.text != "upstream" {
		t.Fatalf("%d %s", a.StatusCode, a.text)
	}
	got := up.got()[0]
	if got.method != "POST" || got.uri != "/db/write/a%20b?q=1;2&x=%zz&&" || got.body != "[1]" || got.host != "door.test" {
		t.Errorf("the upstream got %+v", got)
	}
	claims := identityClaims(t, got.header.Get("X-Cardea-Identity"))
	if claims["sub"] != "pump-1" || claims["credential"] != is.Credential.ID || claims["iss"] != "https://cardea.test" {
		t.Errorf("identity %v", claims)
	}
	got.header.Del("X-Cardea-Identity")
	want := http.Header{
		"Content-Type": {"application/json"}, "X-Own": {"1"}, "Cookie": {"a=b"}, "User-Agent": {"mine"}, "Content-Length": {"3"},
		"X-Cardea-Principal": {"pump-1"}, "X-Cardea-Principal-Kind": {"device"}, "X-Cardea-Credential": {is.Credential.ID},
		"X-Cardea-Scopes": {"device:default"}, "X-Cardea-Org": {"default"},
		"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"door.test"},
	}
	if d := cmp.Diff(want, got.header); d != "" {
		t.Error(d)
	}
}

func identityClaims(t testing.TB, jwt string) (claims map[string]any) {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("X-Cardea-Identity is no JWT: %q", jwt)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// H01, H02, H03, H10: what only a gateway may say is removed from a caller's request,
// however it is spelt, and no Connection header takes away what the gateway says.
func TestCallersCannotSpeakForTheGateway(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	for _, name := range []string{
		"X-Cardea-Principal", "x-cardea-principal", "X_Cardea_Principal", "x-CARDEA_principal", "X.Cardea.Principal", "X-Cardea-Anything", "X-Cardea-Identity",
		"X-Cardea-Scopes", "X-Principal", "X_Principal", "X-Scopes", "X-Forwarded-User", "X_Forwarded_User", "X-Forwarded-Email", "X-Forwarded-Groups",
		"X-Forwarded-Preferred-Username", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Remote-User", "Remote-User", "REMOTE_USER", "X-Auth-Request-User",
		"X-Auth-Request-Email", "X-HTTP-Method", "X-HTTP-Method-Override", "X_HTTP_METHOD_OVERRIDE", "X-Method-Override", "Forwarded", "X-Real-IP", "X_Real_IP",
		"True-Client-IP", "X-Client-IP", "Client_IP", "X-Cluster-Client-IP", "CF-Connecting-IP", "Client-Cert", "Client-Cert-Chain", "Proxy", "X-Forwarded",
		"X-Original-URI", "X-Original-URL", "X-Original-Method", "X-Rewrite-URL", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
		"Content_Length", "Transfer_Encoding",
	} {
		for _, connection := range []string{"", "Connection: " + name + ", X-Cardea-Principal, X-Cardea-Identity, X-Cardea-Scopes\r\n"} {
			checkStripped(h, up, name, connection+bearer(is))
		}
	}
}

func checkStripped(t *house, up *backend, name, headers string) {
	t.Helper()
	a := t.ask("GET", "/db/x", headers, name+": admin", name+": other")
	if a.StatusCode != 200 {
		t.Fatalf("%s: %d %s", name, a.StatusCode, a.text)
	}
	got := up.got()[0]
	for n, values := range got.header {
		for _, v := range values {
			if strings.Contains(v, "admin") || strings.Contains(v, "other") {
				t.Errorf("%s: the upstream got %s: %s", name, n, v)
			}
		}
	}
	want := []string{
		"X-Cardea-Credential", "X-Cardea-Identity", "X-Cardea-Org", "X-Cardea-Principal", "X-Cardea-Principal-Kind", "X-Cardea-Scopes",
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
	}
	if d := cmp.Diff(want, got.names()); d != "" {
		t.Errorf("%s: the upstream's headers: %s", name, d)
	}
	if p := got.header["X-Cardea-Principal"]; len(p) != 1 || p[0] != "pump" {
		t.Errorf("%s: principal %q", name, p)
	}
}

// A trailer is a header that comes late: none of a caller reaches the upstream.
func TestTrailersAreNotForwarded(t *testing.T) {
	trailers := make(chan http.Header, 1)
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		trailers <- r.Trailer
	})
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	c := h.dial()
	fmt.Fprintf(c, "POST /db/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s\r\nTrailer: X-Cardea-Principal\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Cardea-Principal: admin\r\n\r\n", bearer(is))
	if a := h.read(bufio.NewReader(c), "POST"); a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.text)
	}
	if got := <-trailers; len(got) > 0 {
		t.Errorf("the upstream got the trailer %v", got)
	}
}

func (h *house) dial() net.Conn {
	h.Helper()
	c, err := net.Dial("tcp", h.addr)
	h.must(err)
	h.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// H05: a path that can be read in two ways is refused; any other reaches the
// upstream byte for byte, and is judged as the upstream will read it.
func TestPaths(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL, "/db/raw/=" + up.URL})
	is := h.token("pump")
	for _, path := range []string{
		"/db/../admin", "/db/%2e%2e/admin", "/db/%2E%2E/admin", "/db/.%2e/admin", "/db/..%2fadmin", "/db/..%2Fadmin", "/db/%252e%252e/admin", "/db/%252fadmin",
		"/db//admin", "//db/admin", "/db/./x", "/db/..;/admin", "/db/;x/admin", "/db/x%3by", "/db/..\\admin", "/db/..%5cadmin", "/db/x%00", "/db/%0d%0aX:y", "/db/%zz", "/db/%c0%ae%c0%ae/admin", "/db/%",
	} {
		if a := h.ask("GET", path, bearer(is)); a.StatusCode != 400 {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.text)
		}
	}
	if s := up.got(); len(s) > 0 {
		t.Fatalf("the upstream got %v", s)
	}
	for _, path := range []string{"/db/x", "/db/", "/%64b/x", "/db/a%20b", "/db/%41", "/db/a\"b", "/db/a|b", "/db/{x}", "/db/a[1]", "/db/caf%c3%a9", "/db/x?", "/db/x?y=%2e%2e/..&z=\"", "/db/raw/~!$&'()*+,=:@"} {
		if a := h.ask("GET", path, bearer(is)); a.StatusCode != 200 {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.text)
		}
		if s := up.got(); len(s) != 1 || s[0].uri != path {
			t.Errorf("the upstream got %v, want %s", s, path)
		}
	}
}

// H05: rules are asked of the decoded path, so no spelling gets around a deny.
func TestRulesSeeTheDecodedPath(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	h.scope("most", "allow http:* /db/**", "deny http:* /db/admin/**")
	is := h.scoped("pump", "most")
	for _, path := range []string{"/db/admin/x", "/db/%61dmin/x", "/%64b/adm%69n/x"} {
		if a := h.ask("GET", path, bearer(is)); a.StatusCode != 403 {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
	if s := up.got(); len(s) > 0 {
		t.Errorf("the upstream got %v", s)
	}
}

// H06, H10: methods that are nobody's here.
func TestMethods(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	for _, line := range []string{"TRACE /db/x", "CONNECT door.test:80", "CONNECT /db/x", "get /db/x", "Delete /db/x"} {
		method, target, _ := strings.Cut(line, " ")
		if a := h.ask(method, target, bearer(is)); a.StatusCode != 405 {
			t.Errorf("%s: %d %s", line, a.StatusCode, a.text)
		}
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH"} {
		a := h.ask(method, "/db/x?method=post&_method=delete", bearer(is))
		if s := up.got(); a.StatusCode != 200 || len(s) != 1 || s[0].method != method {
			t.Errorf("%s: %d, the upstream got %v", method, a.StatusCode, s)
		}
	}
}

// The longest prefix wins, and a change of routes counts at once.
func TestRoutes(t *testing.T) {
	one, two, three := newUpstream(t, nil), newUpstream(t, nil), newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + one.URL})
	is := h.token("pump")
	put := func(prefix, url string) {
		t.Helper()
		_, err := h.authority.PutRoute(t.Context(), h.local, static([]string{prefix + "=" + url})[0])
		h.must(err)
	}
	put("/files/", two.URL)
	for path, up := range map[string]*backend{"/db/x": one, "/files/x": two} {
		if a := h.ask("GET", path, bearer(is)); a.StatusCode != 200 || len(up.got()) != 1 {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.text)
		}
	}
	for _, path := range []string{"/d", "/db", "/dbx/y", "/"} {
		if a := h.ask("GET", path, bearer(is)); a.StatusCode != 404 {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.text)
		}
	}
	put("/logs/", three.URL)
	h.must(h.authority.DeleteRoute(t.Context(), h.local, "/files/"))
	if a := h.ask("GET", "/logs/x", bearer(is)); a.StatusCode != 200 || len(three.got()) != 1 {
		t.Errorf("a new route: %d %s", a.StatusCode, a.text)
	}
	if a := h.ask("GET", "/files/x", bearer(is)); a.StatusCode != 404 {
		t.Errorf("a deleted route: %d %s", a.StatusCode, a.text)
	}
}

// Reserved paths are never the gateway's, and a token in their query is refused as well.
func TestReservedPaths(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/=" + up.URL}, func(_ *house, c *Config) {
		c.Reserved = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "reserved %s", body)
		})
	})
	is := h.token("pump")
	for _, path := range []string{"/api/v1/x", "/api/", "/api", "/%61pi/x", "/oauth2/token", "/.well-known/jwks.json", "/backend/x", "/healthz", "/readyz", "/metrics", "/openapi.json", "/mqtt"} {
		if a := h.send("POST", path, "body", bearer(is)); a.StatusCode != 200 || a.text != "reserved body" {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.text)
		}
	}
	if s := up.got(); len(s) > 0 {
		t.Errorf("the upstream got %v", s)
	}
	if a := h.ask("GET", "/api/v1/x?access_token=x"); a.StatusCode != 400 {
		t.Errorf("a token in the query of the API: %d", a.StatusCode)
	}
	if a := h.ask("GET", "/apis", bearer(is)); a.text != "upstream" {
		t.Errorf("/apis: %d %s", a.StatusCode, a.text)
	}
}

// H15: a redirect goes to the caller, and is not followed. H17: nothing is decompressed.
func TestAnswersComeThroughAsTheyAre(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(bytes.Repeat([]byte{0}, 1<<20))
	z.Close()
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/db/redirect":
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		case "/db/zipped":
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(zipped.Bytes())
		case "/db/early":
			w.Header().Set("Link", "</x>")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("WWW-Authenticate", `Basic realm="own"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	if a := h.ask("GET", "/db/redirect", bearer(is)); a.StatusCode != 302 || a.Header.Get("Location") != "http://192.0.2.1/" {
		t.Errorf("redirect: %d %v", a.StatusCode, a.Header)
	}
	if a := h.ask("GET", "/db/zipped", bearer(is)); a.Header.Get("Content-Encoding") != "gzip" || a.text != zipped.String() {
		t.Errorf("zipped: %v, %d bytes", a.Header, len(a.text))
	}
	if a := h.ask("GET", "/db/early", bearer(is)); a.StatusCode != 103 {
		t.Errorf("early hints: %d", a.StatusCode)
	}
	if got := up.got(); got[1].header.Get("Accept-Encoding") != "" {
		t.Errorf("the gateway asked for %q by itself", got[1].header.Get("Accept-Encoding"))
	}
}

// An upstream that fails gives 502 or 504, and nothing of its address or of the cause.
func TestUpstreamFailures(t *testing.T) {
	up := newUpstream(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow/x" {
			<-r.Context().Done() // the door hangs up
			return
		}
		panic(http.ErrAbortHandler)
	})
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := nobody.Addr().String()
	nobody.Close()
	h := newHouse(t, []string{"/slow/=" + up.URL, "/broken/=" + up.URL, "/down/=http://" + closed}, func(_ *house, c *Config) {
		c.Limits.UpstreamHeader = 200 * time.Millisecond
	})
	is := h.token("pump")
	for path, want := range map[string]string{
		"/slow/x":   `504 {"success":false,"reason":"upstream timeout"}`,
		"/broken/x": `502 {"success":false,"reason":"upstream unavailable"}`,
		"/down/x":   `502 {"success":false,"reason":"upstream unavailable"}`,
	} {
		if a := h.ask("GET", path, bearer(is)); fmt.Sprintf("%d %s", a.StatusCode, a.text) != want {
			t.Errorf("%s: %d %s, want %s", path, a.StatusCode, a.text, want)
		}
	}
}

// The access log is at debug: who, what and what became of it; no token, no query, no header (K03).
func TestAccessLog(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	h.ask("GET", "/db/x?secret=hidden", bearer(is))
	h.ask("GET", "/db/"+is.Secret.Reveal(), bearer(is))
	log := h.log.String()
	for _, want := range []string{"method=GET", "path=/db/x ", "status=200", "principal=pump", "credential=" + is.Credential.ID, "source=127.0.0.1", "request=1", "path=***"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in %s", want, log)
		}
	}
	for _, not := range []string{"hidden", is.Secret.Reveal(), is.Secret.Reveal()[20:40]} {
		if strings.Contains(log, not) {
			t.Error("the log holds a secret or a query")
		}
	}
}
