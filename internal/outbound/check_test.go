package outbound

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cardea/internal/credential"
)

// Reference, 1.12.
func TestDefaults(t *testing.T) {
	var p credential.Problems
	c := New(Config{})
	got := credential.Backend{URL: "http://example.com/"}
	c.Check(credential.ByScramREST, &got, &p)
	want := credential.Backend{
		Method: "post", URL: "http://example.com/", Algorithm: "sha256", IterationCount: 4096, PoolSize: 8, Pipelining: 100,
		ConnectTimeout: 15 * time.Second, RequestTimeout: 5 * time.Second, MaxInactive: 10 * time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" || len(p) > 0 {
		t.Errorf("%s %v", diff, p)
	}
	got = credential.Backend{URL: "http://example.com/"}
	c.Check(credential.ByHTTP, &got, &p)
	want.Algorithm, want.IterationCount = "", 0
	if diff := cmp.Diff(want, got); diff != "" || len(p) > 0 {
		t.Errorf("http: %s %v", diff, p)
	}
}

func TestCheck(t *testing.T) {
	cert, key := identity(t, "a.example")
	_, otherKey := identity(t, "b.example")
	const scram, http = credential.ByScramREST, credential.ByHTTP
	deep := map[string]any{}
	for range maxDepth {
		deep = map[string]any{"x": deep}
	}
	for i, one := range []struct {
		kind   credential.AuthenticatorType
		change func(*credential.Backend)
		field  string // "" for none
		word   string
	}{
		{scram, func(b *credential.Backend) {}, "", ""},
		{credential.ByScram, func(b *credential.Backend) {}, "type", "scram_rest"},
		{scram, func(b *credential.Backend) { b.Method = "put" }, "method", "get or post"},
		{scram, func(b *credential.Backend) { b.Method = "GET" }, "method", "get or post"},
		{scram, func(b *credential.Backend) { b.Algorithm = "sha512" }, "", ""},
		{scram, func(b *credential.Backend) { b.Algorithm = "sha1" }, "algorithm", "sha256"},
		{http, func(b *credential.Backend) { b.Algorithm = "sha256" }, "algorithm", "scram_rest only"},
		{http, func(b *credential.Backend) { b.IterationCount = 4096 }, "iteration_count", "scram_rest only"},
		{scram, func(b *credential.Backend) { b.IterationCount = 4095 }, "iteration_count", "4096"}, // S08
		{scram, func(b *credential.Backend) { b.IterationCount = -1 }, "iteration_count", "4096"},
		{scram, func(b *credential.Backend) { b.IterationCount = 10_000_001 }, "iteration_count", "10000000"}, // S08
		{scram, func(b *credential.Backend) { b.PoolSize = -1 }, "pool_size", "1024"},
		{scram, func(b *credential.Backend) { b.PoolSize = 1025 }, "pool_size", "1024"},
		{scram, func(b *credential.Backend) { b.Pipelining = -1 }, "enable_pipelining", "10000"},
		{scram, func(b *credential.Backend) { b.Pipelining = 10_001 }, "enable_pipelining", "10000"},
		{scram, func(b *credential.Backend) { b.ConnectTimeout = -1 }, "connect_timeout", "1ms to 5m"},
		{scram, func(b *credential.Backend) { b.RequestTimeout = time.Hour }, "request_timeout", "1ms to 5m"},
		{scram, func(b *credential.Backend) { b.RequestTimeout = time.Microsecond }, "request_timeout", "1ms to 5m"},
		{scram, func(b *credential.Backend) { b.MaxInactive = 2 * time.Hour }, "max_inactive", "1ms to 60m"},
		{scram, func(b *credential.Backend) { b.URL = "https://a.example" }, "ssl.enable", "https"},
		{scram, func(b *credential.Backend) { b.SSL.Enable = true }, "ssl.enable", "http"},
		{scram, https(credential.BackendTLS{CA: cert, Cert: cert, Key: key, ServerName: "b.example", Verify: true}), "", ""},
		{scram, https(credential.BackendTLS{ServerName: "10.0.0.1"}), "", ""},
		{scram, https(credential.BackendTLS{ServerName: "a b"}), "ssl.server_name", "certificate"},
		{scram, https(credential.BackendTLS{CA: "x"}), "ssl.cacert", "PEM"},
		{scram, https(credential.BackendTLS{CA: key}), "ssl.cacert", "PEM"},
		{scram, https(credential.BackendTLS{CA: cert + toPEM("CERTIFICATE", []byte{1})}), "ssl.cacert", "cannot be read"},
		{scram, https(credential.BackendTLS{Cert: cert}), "ssl.key", "needed"},
		{scram, https(credential.BackendTLS{Key: key}), "ssl.cert", "needed"},
		{scram, https(credential.BackendTLS{Cert: "x", Key: key}), "ssl.cert", "PEM"},
		{scram, https(credential.BackendTLS{Cert: cert, Key: "x"}), "ssl.key", "PEM"},
		{scram, https(credential.BackendTLS{Cert: cert, Key: otherKey}), "ssl.key", "that of the certificate"},
		{scram, header("X-Key", "v ${username}"), "", ""},
		{scram, header("Content-Type", "application/json"), "", ""},
		{scram, header("content-type", "application/x-www-form-urlencoded"), "", ""},
		{scram, header("Content-Type", "application/json; charset=utf-8"), "headers.Content-Type", "without parameters"},
		{scram, header("content-type", "text/plain"), "headers.content-type", "application/json"},
		{scram, header("content-type", "${zone}"), "headers.content-type", "application/json"},
		{scram, func(b *credential.Backend) { header("content-type", jsonType)(b); b.Method = "get" }, "headers.content-type", "post"},
		{scram, header("x-key", "${nobody}"), "headers.x-key", "placeholder"},
		{scram, header("x-key", "a\r\nb: c"), "headers.x-key", "control"}, // S16
		{scram, header("x-key", "a\x00"), "headers.x-key", "control"},
		{scram, header("x-key", " a"), "headers.x-key", "blanks"},
		{scram, header("x key", "a"), "headers", "letters"},
		{scram, header("x-${username}", "a"), "headers", "letters"},
		{scram, header("x\r\ny", "a"), "headers", "letters"},
		{scram, header("", "a"), "headers", "letters"},
		{scram, header("Host", "a"), "headers.Host", "URL"},
		{scram, header("Content-Length", "1"), "headers.Content-Length", "body"},
		{scram, header("transfer-encoding", "chunked"), "headers.transfer-encoding", "body"},
		{scram, header("Connection", "close"), "headers.Connection", "connection"},
		{scram, header("keep-alive", "1"), "headers.keep-alive", "connection"},
		{scram, header("upgrade", "h2c"), "headers.upgrade", "connection"},
		{scram, header("te", "trailers"), "headers.te", "connection"},
		{scram, header("accept-encoding", "gzip"), "headers.accept-encoding", "as they are"},
		{scram, func(b *credential.Backend) { b.Headers = map[string]string{"X-A": "1", "x-a": "2"} }, "headers.x-a", "twice"},
		{scram, body("u", "${username}"), "", ""},
		{scram, body("u", map[string]any{"v": "x"}), "", ""},
		{scram, body("u", 1.0), "body.u", "text"},
		{scram, body("u", nil), "body.u", "text"},
		{scram, body("u", []any{"x"}), "body.u", "text"},
		{scram, body("u", map[string]any{"v": true}), "body.u.v", "text"},
		{scram, body("u", "${nobody}"), "body.u", "placeholder"},
		{scram, body("u", map[string]any{"v": "${nobody}"}), "body.u.v", "placeholder"},
		{scram, body("u", "\xff"), "body.u", "UTF-8"},
		{scram, body("${username}", "x"), "body", "names"},
		{scram, body("\xff", "x"), "body", "UTF-8"},
		{scram, body("x", deep), "body" + strings.Repeat(".x", maxDepth), "8 maps"},
		{scram, func(b *credential.Backend) { body("u", map[string]any{})(b); b.Method = "get" }, "body.u", "get"},
		{scram, func(b *credential.Backend) {
			body("u", map[string]any{})(b)
			header("content-type", formType)(b)
		}, "body.u", formType},
	} {
		b := credential.Backend{URL: "http://a.example/"}
		one.change(&b)
		got := check(New(Config{}), one.kind, b)
		if one.field == "" {
			if len(got) > 0 {
				t.Errorf("case %d: %v", i, got)
			}
			continue
		}
		if len(got) != 1 || !strings.Contains(got[one.field], one.word) {
			t.Errorf("case %d: %v, want %s with something about %q", i, got, one.field, one.word)
		}
		if s, err := New(Config{}).Open(one.kind, &b); err == nil {
			s.Close()
			t.Errorf("case %d: it is opened", i)
		}
	}
}

// All that is wrong is said at once.
func TestAllProblems(t *testing.T) {
	got := check(New(Config{}), credential.ByScramREST, credential.Backend{
		Method: "x", URL: "x", Algorithm: "x", IterationCount: 1, PoolSize: -1, ConnectTimeout: -1, RequestTimeout: -1, Pipelining: -1, MaxInactive: -1,
		Headers: map[string]string{"host": "x"}, Body: map[string]any{"a": 1}, SSL: credential.BackendTLS{Enable: true, CA: "x", Cert: "x"},
	})
	for _, field := range []string{
		"method", "url", "algorithm", "iteration_count", "pool_size", "connect_timeout", "request_timeout", "enable_pipelining", "max_inactive",
		"headers.host", "body.a", "ssl.cacert", "ssl.key",
	} {
		if got[field] == "" {
			t.Errorf("nothing about %s in %v", field, got)
		}
	}
}

// Secrets of a backend are in no message.
func TestProblemsHoldNoSecret(t *testing.T) {
	const secret = "s3cr3t"
	got := check(New(Config{}), credential.ByScramREST, credential.Backend{
		URL: "http://u:" + secret + "@h/?k=" + secret + "#", Headers: map[string]string{"x": secret + "\n", "content-type": secret}, Body: map[string]any{"a": secret + "${x}"},
		SSL: credential.BackendTLS{Enable: true, Cert: secret, Key: secret},
	})
	if s := fmt.Sprint(got); strings.Contains(s, secret) {
		t.Error(s)
	}
}

func https(s credential.BackendTLS) func(*credential.Backend) {
	return func(b *credential.Backend) {
		b.URL, b.SSL, b.SSL.Enable = "https://a.example/", s, true
	}
}

func header(name, value string) func(*credential.Backend) {
	return func(b *credential.Backend) { b.Headers = map[string]string{name: value} }
}

func body(name string, value any) func(*credential.Backend) {
	return func(b *credential.Backend) { b.Body = map[string]any{name: value} }
}
