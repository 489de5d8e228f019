package mqttdoor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cardea/internal/authority"
	"cardea/internal/broker"
	"cardea/internal/ca"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/mqtt"
	"cardea/internal/policy"
	"cardea/internal/testkit"
	"cardea/internal/testkit/foundation"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come about, on a busy machine.
const patience = 20 * time.Second

// house is a real Cardea behind a door: SQLite, keystore, CA, gate and authority, and a real broker behind the door.
type house struct {
	testing.TB
	base      *foundation.Foundation
	authority *authority.Authority
	gate      *gate.Gate
	ca        *ca.CA
	broker    *broker.Broker  // nil behind an External
	mosquitto *testkit.Broker // nil behind the embedded one
	door      *Door
	addr      string // of a listener without TLS, for tokens
	log       *testkit.Log
	local     authority.Caller
}

// newHouse opens a house with the embedded broker, or with what the changes put in its place.
func newHouse(t testing.TB, changes ...func(*house, *Config)) *house {
	t.Helper()
	f := foundation.New(t)
	h := &house{TB: t, log: &testkit.Log{}, base: f, authority: f.Authority, gate: f.Gate, ca: f.CA, local: f.Local}
	c := Config{Gate: h.gate, Log: h.log.Logger()}
	for _, change := range changes {
		change(h, &c)
	}
	if c.Upstream == nil {
		c.Upstream = h.embedded()
	}
	var err error
	h.door, err = New(c)
	h.must(err)
	h.Cleanup(h.close)
	h.addr = h.listen(&Listener{Name: "default", Tokens: true, Scram: true})
	return h
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *house) embedded() Upstream {
	h.Helper()
	var err error
	h.broker, err = broker.New(broker.Config{Dir: filepath.Join(h.TempDir(), "mqtt")})
	h.must(err)
	h.Cleanup(func() { h.broker.Close() })
	return NewEmbedded(h.broker)
}

// close ends the door as a server that stops does. Nothing may be left then: no session, no claim, nothing under watch.
func (h *house) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.door.Shutdown(ctx); err != nil {
		stacks := make([]byte, 1<<20)
		h.Errorf("the door does not close: %v\n%s", err, stacks[:runtime.Stack(stacks, true)])
		return
	}
	seats, _ := h.door.seats.Taken()
	h.door.owners.mu.Lock()
	owned := len(h.door.owners.of)
	h.door.owners.mu.Unlock()
	if n, watched := h.door.Stats().Sessions, len(h.gate.Sessions(credential.SessionFilter{Door: doorName})); n+seats+owned+watched > 0 {
		h.Errorf("left behind: %d sessions, %d seats, %d client ids, %d watched", n, seats, owned, watched)
	}
}

// listen serves a listener on a free port and returns where.
func (h *house) listen(l *Listener) string {
	h.Helper()
	h.chain(l)
	return h.listenBare(l)
}

// listenBare is listen for a listener that has the chain that it has.
func (h *house) listenBare(l *Listener) string {
	h.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	h.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); h.door.Serve(ctx, ln, l) }()
	h.Cleanup(func() { cancel(); <-done })
	return ln.Addr().String()
}

// chain gives a listener the authenticators for the proofs that it takes.
func (h *house) chain(l *Listener) {
	h.Helper()
	var types []credential.AuthenticatorType
	for typ, has := range map[credential.AuthenticatorType]bool{credential.ByToken: l.Tokens, credential.ByCertificate: l.Certificates, credential.ByScram: l.Scram} {
		if has {
			types = append(types, typ)
		}
	}
	h.base.Chain(h, l.chain(), types...)
}

// limits changes the door's.
func limits(l Limits) func(*house, *Config) {
	return func(_ *house, c *Config) { c.Limits = l }
}

// behindMosquitto puts Mosquitto behind the door.
func behindMosquitto(h *house, c *Config) {
	h.mosquitto = testkit.StartMosquitto(h, "max_queued_messages 0\n")
	c.Upstream = h.external(ExternalConfig{Address: h.mosquitto.Addr})
}

func (h *house) external(c ExternalConfig) *External {
	h.Helper()
	c.Log = h.log.Logger()
	x, err := NewExternal(c)
	h.must(err)
	return x
}

// eachBroker runs a test with the embedded broker and with Mosquitto behind the door.
func eachBroker(t *testing.T, test func(t *testing.T, h *house), changes ...func(*house, *Config)) {
	t.Run("embedded", func(t *testing.T) { test(t, newHouse(t, changes...)) })
	t.Run("mosquitto", func(t *testing.T) { test(t, newHouse(t, append(slices.Clone(changes), behindMosquitto)...)) })
}

// each runs a test for both versions with both brokers.
func each(t *testing.T, test func(t *testing.T, h *house, v mqtt.Version), changes ...func(*house, *Config)) {
	eachBroker(t, func(t *testing.T, h *house) {
		for _, v := range versions {
			t.Run(versionName(v), func(t *testing.T) {
				outer := h.TB
				h.TB = t
				defer func() { h.TB = outer }()
				test(t, h, v)
			})
		}
	}, changes...)
}

var versions = []mqtt.Version{mqtt.V311, mqtt.V5}

func versionName(v mqtt.Version) string {
	return map[mqtt.Version]string{mqtt.V311: "3.1.1", mqtt.V5: "5.0"}[v]
}

// eventually waits for what another goroutine will bring about.
func (h *house) eventually(what string, ok func() bool) {
	h.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			h.Fatalf("it did not come about: %s", what)
		}
	}
}

// sessions is how many the gate watches for the door.
func (h *house) sessions(name string) int {
	return len(h.gate.Sessions(credential.SessionFilter{Door: doorName, Principal: name}))
}

// gone waits until no session of a principal is left.
func (h *house) gone(name string) {
	h.Helper()
	h.eventually("the sessions of "+name+" end", func() bool {
		h.door.mu.Lock()
		defer h.door.mu.Unlock()
		for s := range h.door.sessions {
			if s.id.Load().Principal == name {
				return false
			}
		}
		return true
	})
}

// logged fails the test if there are not n log lines with a text.
func (h *house) logged(text string, n int) {
	h.Helper()
	if got := strings.Count(h.log.String(), text); got != n {
		h.Errorf("%d log lines have %q, want %d:\n%s", got, text, n, h.log)
	}
}

// tls is a configuration with the internal CA.
func (h *house) tls(demand bool) *tls.Config {
	h.Helper()
	l, err := ca.NewListener(h.ca, []string{"localhost"}, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, time.Now)
	h.must(err)
	return h.door.TLS(&tls.Config{GetCertificate: l.GetCertificate, ClientCAs: h.ca.ClientPool()}, demand)
}

// trusting is what a client needs to believe the door, with certificates to show.
func (h *house) trusting(certs ...tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(h.authority.TrustAnchor()) {
		h.Fatal("no trust anchor")
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost", Certificates: certs}
}

// set compiles rules of a listener.
func (h *house) set(rules ...string) *policy.Set {
	h.Helper()
	s := credential.Scope{Name: "listener"}
	for _, r := range rules {
		s.Rules = append(s.Rules, h.rule(r))
	}
	set, err := policy.Compile([]credential.Scope{s})
	h.must(err)
	return set
}

// raw is a connection that only the test speaks on.
func (h *house) raw(addr string) net.Conn {
	h.Helper()
	c, err := net.Dial("tcp", addr)
	h.must(err)
	h.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// closed fails the test if the peer does not close the connection; what came before that is returned.
func (h *house) closed(c net.Conn) []byte {
	h.Helper()
	b, err := io.ReadAll(c)
	if late, ok := err.(net.Error); ok && late.Timeout() {
		h.Errorf("the connection is not closed")
	}
	return b
}
