package outbound

import (
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/credential"
)

const someSet = `{"keys":[]}`

// keyServer is a service with TLS that answers with h, and a client that trusts it.
func keyServer(t *testing.T, h http.HandlerFunc) (c *Client, url string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = discard
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return New(Config{Roots: roots}), s.URL + "/jwks?secret=hidden"
}

// serves answers with a status, a type and a body.
func serves(status int, kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{kind}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestKeySetIsFetched(t *testing.T) {
	for _, kind := range []string{"application/json", "application/jwk-set+json", "application/json; charset=utf-8", "Application/JSON"} {
		c, url := keyServer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != "GET" || r.URL.RawQuery != "secret=hidden" || !strings.Contains(r.Header.Get("Accept"), "jwk-set") || r.Header.Get("Authorization") != "" {
				t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
			}
			w.Header().Set("Cache-Control", "public, max-age=600")
			serves(200, kind, someSet)(w, r)
		})
		set, keep, err := c.KeySet(t.Context(), url, false)
		if err != nil || string(set) != someSet || keep != 10*time.Minute {
			t.Errorf("%s: %s, %s, %v", kind, set, keep, err)
		}
	}
}

// An answer that is no key set gives none. The error names the URL without its query, and nothing of the answer (K04).
func TestNoKeySet(t *testing.T) {
	for name, one := range map[string]struct {
		h    http.HandlerFunc
		says string
	}{
		"404":             {serves(404, "application/json", someSet), "answered 404"},
		"500":             {serves(500, "application/json", someSet), "answered 500"},
		"204":             {serves(204, "application/json", ""), "answered 204"},
		"206":             {serves(206, "application/json", someSet), "answered 206"},
		"redirect":        {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, "redirects are not followed"},
		"HTML":            {serves(200, "text/html", "<html>private"), "Content-Type"},
		"no type":         {serves(200, "", someSet), "Content-Type"},
		"a type like it":  {serves(200, "application/jsonp", someSet), "Content-Type"},
		"large":           {serves(200, "application/json", strings.Repeat(" ", maxKeySet)+"{}"), "larger than 256 KiB"},
		"large, unpacked": {bomb, "larger than 256 KiB"},
		"large head":      {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }, ""},
		"breaks off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", jsonType)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "broke off"},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int64
			c, url := keyServer(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				one.h(w, r)
			})
			set, keep, err := c.KeySet(t.Context(), url, false)
			wantNoSet(t, set, keep, err, credential.Down, one.says)
			if where, _, _ := strings.Cut(url, "?"); !strings.Contains(err.Error(), where) || calls.Load() != 1 {
				t.Errorf("%v after %d calls of %s", err, calls.Load(), url)
			}
		})
	}
}

// bomb is small until it is unpacked.
func bomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	for range 64 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			return
		}
	}
	_ = z.Close()
}

func wantNoSet(t *testing.T, set []byte, keep time.Duration, err error, kind credential.ErrorKind, says string) {
	t.Helper()
	if set != nil || keep != 0 || err == nil || credential.KindOf(err) != kind || !strings.Contains(err.Error(), says) {
		t.Fatalf("%q, %s, %v: want an error about %q", set, keep, err, says)
	}
	if text := err.Error(); strings.Contains(text, "hidden") || strings.Contains(text, "private") || strings.Contains(text, "keys\"") {
		t.Errorf("the error tells too much: %s", text)
	}
}

// Servers that do not answer, or are not those that the URL names, are told apart in words (S14).
func TestNoKeyServer(t *testing.T) {
	c, hangs := keyServer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	set, keep, err := c.KeySet(ctx, hangs, false)
	wantNoSet(t, set, keep, err, credential.Down, "too long")
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	set, keep, err = c.KeySet(ctx, hangs, false)
	wantNoSet(t, set, keep, err, credential.Down, "given up")
	if got := c.keySetClient(true, false).Timeout; got != 5*time.Second {
		t.Errorf("the timeout is %s", got)
	}

	_, drips := keyServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", jsonType)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	set, keep, err = c.KeySet(ctx, drips, false)
	wantNoSet(t, set, keep, err, credential.Down, "")

	_, url := keyServer(t, serves(200, jsonType, someSet))
	set, keep, err = New(Config{}).KeySet(t.Context(), url, false)
	wantNoSet(t, set, keep, err, credential.Down, "does not trust")
	set, keep, err = c.KeySet(t.Context(), strings.Replace(url, "127.0.0.1", "localhost", 1), false)
	wantNoSet(t, set, keep, err, credential.Down, "another name")
	plain := httptest.NewServer(serves(200, jsonType, someSet))
	set, keep, err = c.KeySet(t.Context(), strings.Replace(plain.URL, "http", "https", 1), false)
	wantNoSet(t, set, keep, err, credential.Down, "TLS")
	if set, _, err := c.KeySet(t.Context(), plain.URL, false); err != nil || string(set) != someSet {
		t.Errorf("without TLS from loopback: %s, %v", set, err)
	}
	plain.Close()
	set, keep, err = c.KeySet(t.Context(), plain.URL, false)
	wantNoSet(t, set, keep, err, credential.Down, "refused")
}

// S15: keys come from where nobody on the way can alter them, and never from what a cloud or, for a tenant, this machine has inside (W07).
func TestCheckKeySetURL(t *testing.T) {
	local := New(Config{})
	named := New(Config{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8")}})
	for _, one := range []struct {
		client *Client
		abroad bool
		url    string
		says   string // "" if it is allowed
	}{
		{local, false, "https://issuer.example/jwks?a=b", ""},
		{local, false, "https://10.0.0.1/", ""},
		{local, false, "https://127.0.0.1:1/", ""},
		{local, false, "http://127.0.0.1/", ""},
		{local, false, "http://localhost:80/", ""},
		{local, false, "http://[::1]/", ""},
		{local, false, "", "needed"},
		{local, false, "file:///etc/passwd", "http://"},
		{local, false, "http://issuer.example/", "https://"},
		{local, false, "http://10.0.0.1/", "https://"},
		{local, false, "http://localhost.example/", "https://"},
		{local, false, "https://169.254.169.254/", "link-local"},
		{local, false, "https://u:p@issuer.example/", "user"},
		{local, false, "https://issuer.example/#x", "fragment"},
		{local, false, "https://${clientid}/", "placeholder"},
		{local, false, "https://issuer.example/" + strings.Repeat("x", 2048), "longer"},
		{local, true, "https://issuer.example/", ""},
		{local, true, "https://10.0.0.1/", "internet"},
		{local, true, "https://localhost/", "internet"},
		{local, true, "https://[::ffff:127.0.0.1]/", "internet"},
		{local, true, "http://127.0.0.1/", "internet"},
		{local, true, "http://issuer.example/", "https://"},
		{named, false, "https://10.0.0.1/", ""},
		{named, false, "https://inside.example/", ""},
		{named, false, "http://127.0.0.1/", ""},
		{named, false, "http://10.0.0.1/", "https://"},
		{named, false, "http://inside.example/", "https://"},
		{named, false, "https://192.168.1.1/", "backend_networks"},
		{named, true, "https://10.0.0.1/", ""},
		{named, true, "https://8.8.8.8/", "backend_networks"},
	} {
		var p credential.Problems
		one.client.CheckKeySetURL(one.url, one.abroad, &p, "issuer.jwks_uri")
		if one.says == "" {
			if len(p) != 0 {
				t.Errorf("%.50s: %v", one.url, p)
			}
			continue
		}
		if len(p) != 1 || p[0].Field != "issuer.jwks_uri" || !strings.Contains(p[0].Message, one.says) {
			t.Errorf("%.50s: %v, want something about %q", one.url, p, one.says)
		}
		if _, _, err := one.client.KeySet(t.Context(), one.url, one.abroad); credential.KindOf(err) != credential.Invalid {
			t.Errorf("%.50s is called: %v", one.url, err)
		}
	}
}

// S15: what a name has become is looked at when it is dialed.
func TestKeySetDialIsGuarded(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was called") }))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	named := New(Config{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for _, scheme := range []string{"http", "https"} {
		set, keep, err := named.KeySet(t.Context(), scheme+"://localhost:"+port+"/", false)
		wantNoSet(t, set, keep, err, credential.Down, "backend_networks")
	}
	for _, one := range []struct {
		secure, abroad bool
		addr           string
	}{
		{false, false, "192.0.2.1:80"},         // a name for loopback that is another machine's
		{true, false, "100.100.100.200:443"},   // a cloud's own
		{true, true, "127.0.0.1:443"},          // this machine, for a tenant
		{true, true, "10.1.2.3:443"},           // a private network, for a tenant
		{true, true, "[::ffff:10.1.2.3]:443"},  // the same
		{true, true, "[64:ff9b::a00:5]:443"},   // the same behind NAT64
		{true, false, "169.254.169.254:443"},   // link-local
		{false, false, "[64:ff9b::7f00:1]:80"}, // loopback in another form is not loopback
	} {
		_, err := New(Config{}).keySetClient(one.secure, one.abroad).Transport.(*http.Transport).DialContext(t.Context(), "tcp", one.addr)
		if _, ok := errors.AsType[errGuarded](err); !ok {
			t.Errorf("%s: %v", one.addr, err)
		}
	}
	// A network that the operator has named is still one where keys could be altered on the way.
	named = New(Config{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	_, err := named.keySetClient(false, false).Transport.(*http.Transport).DialContext(t.Context(), "tcp", "192.0.2.1:80")
	if guarded, ok := errors.AsType[errGuarded](err); !ok || !strings.Contains(guarded.why, "not https") {
		t.Error(err)
	}
}

func TestKeySetIsKept(t *testing.T) {
	for _, one := range []struct {
		control []string
		age     string
		want    time.Duration
	}{
		{nil, "", 5 * time.Minute},
		{[]string{"public"}, "", 5 * time.Minute},
		{[]string{"max-age=900"}, "", 15 * time.Minute},
		{[]string{`PUBLIC , Max-Age="900"`}, "", 15 * time.Minute},
		{[]string{"public", "max-age=900"}, "", 15 * time.Minute},
		{[]string{"max-age=900, max-age=600"}, "", 10 * time.Minute},
		{[]string{"s-maxage=900"}, "", 5 * time.Minute}, // for caches that many share
		{[]string{"max-age=900"}, "300", 10 * time.Minute},
		{[]string{"max-age=900"}, "2000", time.Minute},
		{[]string{"max-age=0"}, "", time.Minute},
		{[]string{"max-age=-5"}, "", time.Minute},
		{[]string{"max-age=soon"}, "", time.Minute},
		{[]string{"no-store"}, "", time.Minute},
		{[]string{"max-age=900, no-cache"}, "", time.Minute},
		{[]string{"max-age=86400"}, "", 24 * time.Hour},
		{[]string{"max-age=31536000"}, "", 24 * time.Hour},
		{[]string{"max-age=99999999999999999999999"}, "", 24 * time.Hour},
		{nil, "300", 5 * time.Minute},
	} {
		h := http.Header{"Cache-Control": one.control}
		if one.age != "" {
			h.Set("Age", one.age)
		}
		if got := keepFor(h); got != one.want {
			t.Errorf("%v, age %q: %s, want %s", one.control, one.age, got, one.want)
		}
	}
}
