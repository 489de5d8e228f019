package outbound

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/credential"
)

// secured is a service at name whose certificate signs itself, and that takes clients of clientCert only, if there is one.
func secured(t *testing.T, name, clientCert string, config *tls.Config, h http.Handler) (url, cert string) {
	t.Helper()
	cert, key := identity(t, name)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = discard
	s.TLS = config
	s.TLS.Certificates = []tls.Certificate{pair}
	if clientCert != "" {
		s.TLS.ClientAuth, s.TLS.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		s.TLS.ClientCAs.AppendCertsFromPEM([]byte(clientCert))
	}
	s.EnableHTTP2 = len(config.NextProtos) == 0
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, cert
}

func http1() *tls.Config { return &tls.Config{NextProtos: []string{"http/1.1"}} }

// Who is trusted, and what is shown.
func TestTLS(t *testing.T) {
	clientCert, clientKey := identity(t, "cardea")
	otherCert, otherKey := identity(t, "other")
	var names atomic.Value
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		names.Store(r.TLS.ServerName)
		w.WriteHeader(http.StatusNoContent)
	})
	for _, proto := range []string{"h1", "h2"} {
		config := func() *tls.Config {
			if proto == "h1" {
				return http1()
			}
			return &tls.Config{}
		}
		url, ca := secured(t, "service.example", clientCert, config(), h)
		for name, one := range map[string]struct {
			ssl credential.BackendTLS
			why string // "" for success
		}{
			"all is right":          {credential.BackendTLS{Verify: true, CA: ca, Cert: clientCert, Key: clientKey, ServerName: "service.example"}, ""},
			"not verified":          {credential.BackendTLS{Cert: clientCert, Key: clientKey}, ""},
			"the system's roots":    {credential.BackendTLS{Verify: true, Cert: clientCert, Key: clientKey, ServerName: "service.example"}, "unknown authority"},
			"another authority":     {credential.BackendTLS{Verify: true, CA: otherCert, Cert: clientCert, Key: clientKey, ServerName: "service.example"}, "unknown authority"},
			"another name":          {credential.BackendTLS{Verify: true, CA: ca, Cert: clientCert, Key: clientKey, ServerName: "x.example"}, "another name"},
			"the URL's host":        {credential.BackendTLS{Verify: true, CA: ca, Cert: clientCert, Key: clientKey}, "another name"},
			"no client certificate": {credential.BackendTLS{CA: ca}, "certificate required"},
			"another client":        {credential.BackendTLS{CA: ca, Cert: otherCert, Key: otherKey}, "tls: "},
		} {
			t.Run(proto+": "+name, func(t *testing.T) {
				one.ssl.Enable = true
				s := open(t, credential.ByHTTP, credential.Backend{URL: url, SSL: one.ssl})
				a := ask(t, s, someone)
				if one.why == "" {
					wantVerdict(t, a, credential.Known)
					if one.ssl.ServerName != "" && names.Load() != one.ssl.ServerName {
						t.Errorf("SNI is %s", names.Load())
					}
					return
				}
				wantVerdict(t, a, credential.Failed)
				if !strings.Contains(a.Why, one.why) && (proto == "h1" || one.ssl.Verify) { // net/http keeps an alert to itself
					t.Errorf("reason %q, want something about %q", a.Why, one.why)
				}
			})
		}
	}
}

// TLS 1.1 is not spoken, whatever the service wants; and what speaks no TLS is told apart.
func TestTLSVersion(t *testing.T) {
	url, _ := secured(t, "a", "", &tls.Config{NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, answerWith(204, "", ""))
	wantVerdict(t, ask(t, open(t, credential.ByHTTP, credential.Backend{URL: url, SSL: credential.BackendTLS{Enable: true}}), someone), credential.Failed)
	plain := httptest.NewServer(answerWith(204, "", ""))
	defer plain.Close()
	a := ask(t, open(t, credential.ByHTTP, credential.Backend{URL: strings.Replace(plain.URL, "http", "https", 1), SSL: credential.BackendTLS{Enable: true}}), someone)
	if wantVerdict(t, a, credential.Failed); !strings.Contains(a.Why, "does not speak TLS") {
		t.Errorf("reason %q", a.Why)
	}
}

// HTTP/2: streams, of which as many may be under way on a connection as enable_pipelining says.
func TestStreams(t *testing.T) {
	var now, most, connections atomic.Int64
	addrs := sync.Map{}
	url, _ := secured(t, "a", "", &tls.Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, known := addrs.LoadOrStore(r.RemoteAddr, true); !known {
			connections.Add(1)
		}
		for n, m := now.Add(1), most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		defer now.Add(-1)
		if r.Proto != "HTTP/2.0" || r.Header.Get("Connection") != "" {
			t.Errorf("%s %v", r.Proto, r.Header)
		}
		body, _ := io.ReadAll(r.Body)
		time.Sleep(time.Millisecond)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"result":"allow","client_attrs":{"for":%q}}`, strings.TrimSuffix(strings.TrimPrefix(string(body), `{"u":"`), `"}`))
	}))
	b := credential.Backend{
		URL: url + "/a%2Fb?c=${username}", PoolSize: 2, Pipelining: 10, RequestTimeout: 30 * time.Second,
		SSL: credential.BackendTLS{Enable: true}, Body: map[string]any{"u": "${username}"},
	}
	s := open(t, credential.ByHTTP, b)
	for range 3 {
		askAll(t, s, 100)
	}
	if most.Load() > 20 || most.Load() < 5 || connections.Load() > 2 {
		t.Errorf("%d at once on %d connections", most.Load(), connections.Load())
	}
	b.MaxInactive = 20 * time.Millisecond
	s = open(t, credential.ByHTTP, b)
	askFor(t, s, "once")
	until(t, "idle connections are closed", func() bool {
		s.pool.mu.Lock()
		defer s.pool.mu.Unlock()
		return len(s.pool.lines) == 0
	})
	askFor(t, s, "again")
}

// S14 over HTTP/2.
func TestBrokenStreams(t *testing.T) {
	for name, one := range map[string]struct {
		h   http.HandlerFunc
		why string
	}{
		"10 MB": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", jsonType)
			for range 10 << 10 {
				if _, err := w.Write(make([]byte, 1024)); err != nil {
					return
				}
			}
		}, "64 KiB"},
		"large head": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("x", strings.Repeat("x", 100<<10)) }, "the connection broke"},
		"hangs":      {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, errTimeout.Error()},
		"drips": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", jsonType)
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, "{")
				w.(http.Flusher).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		}, errTimeout.Error()},
		"breaks off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", jsonType)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "broke off"},
		"5xx":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, "503"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }, "302"},
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := secured(t, "a", "", &tls.Config{}, one.h)
			timeout := 20 * time.Second
			if one.why == errTimeout.Error() {
				timeout = 300 * time.Millisecond
			}
			s := open(t, credential.ByScramREST, credential.Backend{URL: url, RequestTimeout: timeout, SSL: credential.BackendTLS{Enable: true}})
			a := ask(t, s, someone)
			wantVerdict(t, a, credential.Failed)
			if !strings.Contains(a.Why, one.why) {
				t.Errorf("reason %q, want something about %q", a.Why, one.why)
			}
		})
	}
}

// A service over HTTP/2 that goes away is connected to again.
func TestGoAway(t *testing.T) {
	var n atomic.Int64
	url, _ := secured(t, "a", "", &tls.Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%20 == 0 {
			w.Header().Set("Connection", "close") // a GOAWAY
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	s := open(t, credential.ByHTTP, credential.Backend{URL: url, PoolSize: 2, SSL: credential.BackendTLS{Enable: true}, RequestTimeout: 30 * time.Second})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 25 {
				wantVerdict(t, ask(t, s, someone), credential.Known)
			}
		})
	}
	all.Wait()
}

// A connection of HTTP/2 that was closed while it was idle does not take another's place.
func TestClosedStreams(t *testing.T) {
	server := httptest.NewUnstartedServer(answerWith(204, "", ""))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	s := open(t, credential.ByHTTP, credential.Backend{
		URL: server.URL, PoolSize: 1, MaxInactive: time.Hour, RequestTimeout: 20 * time.Second, SSL: credential.BackendTLS{Enable: true},
	})
	for range 3 {
		wantVerdict(t, ask(t, s, someone), credential.Known)
		server.CloseClientConnections()
	}
}

// The client for others speaks TLS as it is told to.
func TestClientForOthers(t *testing.T) {
	url, cert := secured(t, "127.0.0.1", "", &tls.Config{}, answerWith(200, "text/plain", "hello"))
	client := New(Config{}).HTTP(&tls.Config{InsecureSkipVerify: true}, 20*time.Second)
	defer client.CloseIdleConnections()
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if string(body) != "hello" || answer.ProtoMajor != 2 {
		t.Errorf("%s %s", answer.Proto, body)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(cert))
	if _, err := New(Config{}).HTTP(&tls.Config{RootCAs: roots, ServerName: "x"}, 20*time.Second).Get(url); err == nil {
		t.Error("a certificate for another name is taken")
	}
}
