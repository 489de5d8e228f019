package httpdoor

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cardea/internal/authority"
	"cardea/internal/ca"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/testkit"
	"cardea/internal/testkit/foundation"
)

func TestMain(m *testing.M) {
	if playRole() {
		return
	}
	goleak.VerifyTestMain(m)
}

// house is a real Cardea behind a door: SQLite, keystore, CA, gate and authority.
type house struct {
	testing.TB
	base      *foundation.Foundation
	authority *authority.Authority
	gate      *gate.Gate
	ca        *ca.CA
	door      *Door
	addr      string // of the door
	log       *testkit.Log
	local     authority.Caller
}

// newHouse opens a house whose door forwards routes, "PREFIX=URL". changes are made to the door's configuration.
func newHouse(t testing.TB, routes []string, changes ...func(*house, *Config)) *house {
	t.Helper()
	h := founded(t, static(routes)...)
	c := Config{Gate: h.gate, TokenAuth: true, Log: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, f := range changes {
		f(h, &c)
	}
	var err error
	h.door, err = New(c)
	h.must(err)
	h.open()
	return h
}

func static(routes []string) (all []credential.Route) {
	for _, r := range routes {
		prefix, up, _ := strings.Cut(r, "=")
		all = append(all, credential.Route{Prefix: prefix, Upstream: up, Source: "flag"})
	}
	return all
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// founded is a house without a door.
func founded(t testing.TB, routes ...credential.Route) *house {
	t.Helper()
	f := foundation.New(t, routes...)
	return &house{TB: t, base: f, log: &testkit.Log{}, authority: f.Authority, gate: f.Gate, ca: f.CA, local: f.Local}
}

// open lets the door serve on a free port.
func (h *house) open() {
	h.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	h.must(err)
	h.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); h.door.Serve(ctx, ln) }()
	h.Cleanup(func() { cancel(); <-done; h.door.transport.CloseIdleConnections() })
}

// withTLS lets the door speak HTTPS with the internal CA.
func withTLS(h *house, c *Config) {
	l, err := ca.NewListener(h.ca, []string{"localhost"}, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, time.Now)
	h.must(err)
	c.TLS = &tls.Config{GetCertificate: l.GetCertificate, ClientCAs: h.ca.ClientPool()}
}

// behind makes networks trusted proxies.
func behind(networks ...string) func(*house, *Config) {
	return func(_ *house, c *Config) {
		for _, n := range networks {
			c.TrustedProxies = append(c.TrustedProxies, netip.MustParsePrefix(n))
		}
	}
}

// scope makes a scope from rules, "allow http:GET /db/**".
func (h *house) scope(name string, rules ...string) string {
	h.Helper()
	s := credential.Scope{Org: credential.DefaultOrg, Name: name}
	for _, r := range rules {
		f := strings.Fields(r)
		s.Rules = append(s.Rules, credential.Rule{Permission: credential.Permission(f[0]), Action: f[1], Resource: f[2]})
	}
	_, err := h.authority.PutScope(context.Background(), h.local, s)
	h.must(err)
	return name
}

// token makes a device that may do everything on gateway routes, and a token for it.
func (h *house) token(name string, changes ...func(*authority.NewCredential)) authority.Issued {
	h.Helper()
	_, err := h.authority.CreatePrincipal(context.Background(), h.local,
		authority.NewPrincipal{Kind: credential.Device, Name: name, Roles: []string{credential.RoleDevice}})
	h.must(err)
	n := authority.NewCredential{Kind: credential.DeviceToken, Principal: name, TTL: time.Hour}
	for _, f := range changes {
		f(&n)
	}
	is, err := h.authority.CreateCredential(context.Background(), h.local, n)
	h.must(err)
	return is
}

// certificate makes a device with a certificate.
func (h *house) certificate(name string, ttl time.Duration) (authority.Issued, tls.Certificate) {
	h.Helper()
	is := h.token(name, func(n *authority.NewCredential) { n.Kind, n.TTL = credential.Certificate, ttl })
	pair, err := tls.X509KeyPair(is.Certificate, []byte(is.PrivateKey.Reveal()))
	h.must(err)
	return is, pair
}

func (h *house) revoke(is authority.Issued) {
	h.Helper()
	_, err := h.authority.Revoke(context.Background(), h.local, is.Credential.ID, "test")
	h.must(err)
}

// roots are what a client must trust.
func (h *house) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(h.authority.TrustAnchor()) {
		h.Fatal("no trust anchor")
	}
	return pool
}

// answered is an answer, read to its end.
type answered struct {
	*http.Response
	text string
}

// ask makes a request; headers are "Name: value". An own connection is used, and closed.
func (h *house) ask(method, target string, headers ...string) answered {
	h.Helper()
	return h.send(method, target, "", headers...)
}

func (h *house) send(method, target, body string, headers ...string) answered {
	h.Helper()
	c, err := net.Dial("tcp", h.addr)
	h.must(err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: door.test\r\nConnection: close\r\n", method, target)
	if body != "" {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	for _, line := range headers {
		head += line + "\r\n"
	}
	io.WriteString(c, head+"\r\n"+body)
	return h.read(bufio.NewReader(c), method)
}

func (h *house) read(r *bufio.Reader, method string) answered {
	h.Helper()
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	h.must(err)
	text, err := io.ReadAll(resp.Body)
	h.must(err)
	return answered{resp, string(text)}
}

func bearer(is authority.Issued) string { return "Authorization: Bearer " + is.Secret.Reveal() }

// upstream is a service behind the door that tells what it was sent.
type backend struct {
	*httptest.Server
	mu   sync.Mutex
	seen []seen
}

// seen is a request as an upstream has got it.
type seen struct {
	method, uri, host, body string
	header                  http.Header
}

func newUpstream(t testing.TB, handler http.HandlerFunc) *backend {
	u := &backend{}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := ""
		if handler == nil {
			b, _ := io.ReadAll(r.Body)
			body = string(b)
		}
		u.mu.Lock()
		u.seen = append(u.seen, seen{r.Method, r.RequestURI, r.Host, body, r.Header.Clone()})
		u.mu.Unlock()
		if handler != nil {
			handler(w, r)
			return
		}
		io.WriteString(w, "upstream")
	}))
	t.Cleanup(u.Close)
	return u
}

// got returns what the upstream was sent since the last call.
func (u *backend) got() []seen {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.seen
	u.seen = nil
	return s
}

// names returns the header names that an upstream got, sorted.
func (s seen) names() []string {
	var all []string
	for n := range s.header {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

// scoped is token with a credential that names scopes.
func (h *house) scoped(name string, scopes ...string) authority.Issued {
	h.Helper()
	return h.token(name, func(n *authority.NewCredential) { n.Scopes = scopes })
}

// in is token with a credential that may come from a network only.
func (h *house) in(name, network string) authority.Issued {
	h.Helper()
	return h.token(name, func(n *authority.NewCredential) { n.Networks = []netip.Prefix{netip.MustParsePrefix(network)} })
}

// empty waits until no connection is left. What a flood has left in the buffers of a socket is read to its end
// first, which takes a while under the race detector.
func (h *house) empty() {
	h.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		n, _ := h.door.seats.Taken()
		if n == 0 {
			return
		}
		if time.Now().After(end) {
			h.Fatalf("%d connections are left", n)
		}
	}
}
