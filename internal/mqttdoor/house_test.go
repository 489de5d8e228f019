package mqttdoor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cardea/internal/authority"
	"cardea/internal/broker"
	"cardea/internal/ca"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/keyring"
	"cardea/internal/mqtt"
	"cardea/internal/policy"
	"cardea/internal/store"
	"cardea/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come about, on a busy machine.
const patience = 20 * time.Second

// house is a real Cardea behind a door: SQLite, keystore, CA, gate and authority, and a real broker behind the door.
type house struct {
	testing.TB
	authority *authority.Authority
	gate      *gate.Gate
	ca        *ca.CA
	broker    *broker.Broker  // nil behind an External
	mosquitto *testkit.Broker // nil behind the embedded one
	door      *Door
	addr      string // of a listener without TLS, for tokens
	log       *lines
	local     authority.Caller
}

// lines is a log that can be read.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newHouse opens a house with the embedded broker, or with what the changes put in its place.
func newHouse(t testing.TB, changes ...func(*house, *Config)) *house {
	t.Helper()
	h := &house{TB: t, log: &lines{}, local: authority.Caller{
		Org: credential.DefaultOrg, Local: true, Actor: credential.Actor{Principal: "local", Source: "socket", Door: "api"},
	}}
	h.found()
	c := Config{Gate: h.gate, Log: slog.New(slog.NewTextHandler(h.log, nil))}
	for _, f := range changes {
		f(h, &c)
	}
	if c.Upstream == nil {
		c.Upstream = h.embedded()
	}
	var err error
	h.door, err = New(c)
	h.must(err)
	h.Cleanup(h.close)
	h.addr = h.listen(&Listener{Name: "default", Tokens: true})
	return h
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// found starts all that stands behind the door.
func (h *house) found() {
	h.Helper()
	ctx, dir := context.Background(), h.TempDir()
	s, err := store.Open(ctx, store.Config{URL: "sqlite:" + filepath.Join(dir, "cardea.db"), Poll: 20 * time.Millisecond})
	h.must(err)
	h.Cleanup(func() { s.Close() })
	ks, err := keyring.Open(keyring.Config{Dir: dir}, false, "")
	h.must(err)
	ring, issuer, err := authority.Bootstrap(ctx, s, ks, time.Now, slog.New(slog.DiscardHandler))
	h.must(err)
	h.ca = issuer
	keys, err := s.Keys(ctx)
	h.must(err)
	signer, err := authority.IdentitySigner(ring, keys)
	h.must(err)
	publics, err := authority.IdentityPublics(keys)
	h.must(err)
	h.gate, err = gate.New(gate.Config{Store: s, Signer: signer, Keys: publics, Issuer: "https://cardea.test"})
	h.must(err)
	run, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); h.gate.Run(run) }()
	h.Cleanup(func() { cancel(); <-done; h.gate.Close() })
	h.must(h.gate.Await(ctx))
	h.authority, err = authority.New(authority.Config{Store: s, Gate: h.gate, Ring: ring, CA: issuer})
	h.must(err)
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
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	h.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); h.door.Serve(ctx, ln, l) }()
	h.Cleanup(func() { cancel(); <-done })
	return ln.Addr().String()
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
	c.Log = slog.New(slog.NewTextHandler(h.log, nil))
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

// who is a principal with a scope and a role of its own, all of one name, and a token.
type who struct {
	name  string
	token string
	cred  string // ID of the token's credential
}

// rule reads one, as in "allow mqtt:publish a/# qos=0,1 retain=false networks=10.0.0.0/8".
func (h *house) rule(text string) credential.Rule {
	h.Helper()
	f := strings.Fields(text)
	r := credential.Rule{Permission: credential.Permission(f[0]), Action: f[1], Resource: f[2]}
	for _, condition := range f[3:] {
		key, value, _ := strings.Cut(condition, "=")
		switch key {
		case "qos":
			h.must(json.Unmarshal([]byte("["+value+"]"), &r.QoS))
		case "retain":
			h.must(json.Unmarshal([]byte(value), &r.Retain))
		case "networks":
			r.Networks = []netip.Prefix{netip.MustParsePrefix(value)}
		}
	}
	return r
}

// may says what a principal may from now on, when it returns.
func (h *house) may(name string, rules ...string) {
	h.Helper()
	s := credential.Scope{Org: credential.DefaultOrg, Name: name}
	if was, err := h.authority.Scope(context.Background(), h.local, name); err == nil {
		s.Version = was.Version
	}
	for _, r := range rules {
		s.Rules = append(s.Rules, h.rule(r))
	}
	_, err := h.authority.PutScope(context.Background(), h.local, s)
	h.must(err)
}

// device makes a device that may what the rules say; "all" stands for everything that does not begin with $.
func (h *house) device(name string, rules ...string) *who {
	return h.principal(credential.Device, name, nil, rules...)
}

func (h *house) service(name string, rules ...string) *who {
	return h.principal(credential.Service, name, nil, rules...)
}

const all = "allow mqtt:* #"

// soaking makes some tests longer.
var soaking = os.Getenv("CARDEA_SOAK") != ""

var elsewhere = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}

func (h *house) principal(kind credential.PrincipalKind, name string, attrs map[string]string, rules ...string) *who {
	h.Helper()
	ctx := context.Background()
	h.may(name, rules...)
	_, err := h.authority.PutRole(ctx, h.local, credential.Role{Org: credential.DefaultOrg, Name: name, Scopes: []string{name}})
	h.must(err)
	_, err = h.authority.CreatePrincipal(ctx, h.local, authority.NewPrincipal{Kind: kind, Name: name, Roles: []string{name}, Attrs: attrs})
	h.must(err)
	return h.another(name)
}

// another makes a further token of a principal.
func (h *house) another(name string, changes ...func(*authority.NewCredential)) *who {
	h.Helper()
	p, err := h.authority.Principal(context.Background(), h.local, name)
	h.must(err)
	n := authority.NewCredential{Kind: credential.DeviceToken, Principal: name, TTL: time.Hour}
	if p.Kind == credential.Service {
		n.Kind = credential.APIKey
	}
	for _, f := range changes {
		f(&n)
	}
	is, err := h.authority.CreateCredential(context.Background(), h.local, n)
	h.must(err)
	return &who{name: name, token: is.Secret.Reveal(), cred: is.Credential.ID}
}

// certificate makes a certificate of a principal.
func (h *house) certificate(name string, ttl time.Duration) (*who, tls.Certificate) {
	h.Helper()
	is, err := h.authority.CreateCredential(context.Background(), h.local, authority.NewCredential{Kind: credential.Certificate, Principal: name, TTL: ttl})
	h.must(err)
	pair, err := tls.X509KeyPair(is.Certificate, []byte(is.PrivateKey.Reveal()))
	h.must(err)
	return &who{name: name, cred: is.Credential.ID}, pair
}

func (h *house) revoke(w *who) {
	h.Helper()
	_, err := h.authority.Revoke(context.Background(), h.local, w.cred, "test")
	h.must(err)
}

// config is how somebody connects: with the token as the user name and its own name as the client id.
func (w *who) config(v mqtt.Version, changes ...func(*testkit.MQTTConfig)) testkit.MQTTConfig {
	c := testkit.MQTTConfig{Version: v, ClientID: w.name, User: w.token}
	for _, f := range changes {
		f(&c)
	}
	return c
}

// called gives the client another id.
func called(id string) func(*testkit.MQTTConfig) {
	return func(c *testkit.MQTTConfig) { c.ClientID = id }
}

// staying asks for a session that outlives the connection.
func staying(c *testkit.MQTTConfig) {
	c.Resume = true
	if c.Version == mqtt.V5 {
		c.Props = c.Props.AppendNumber(mqtt.SessionExpiry, 3600)
	}
}

func byHand(c *testkit.MQTTConfig) { c.Manual = true }

// connect connects, which must succeed.
func (h *house) connect(w *who, v mqtt.Version, changes ...func(*testkit.MQTTConfig)) *testkit.MQTT {
	h.Helper()
	return testkit.ConnectMQTT(h, h.addr, w.config(v, changes...))
}

// knock connects and returns the code of the answer, of 3.1.1 the one that its return code stands for.
func (h *house) knock(addr string, c testkit.MQTTConfig) mqtt.Code {
	h.Helper()
	m := testkit.DialMQTT(h, addr, c)
	defer m.Drop()
	return m.Connect(c)
}

// failed is the code of a SUBACK for a filter that is not allowed.
func failed(v mqtt.Version) byte {
	if v == mqtt.V5 {
		return byte(mqtt.NotAuthorized)
	}
	return 0x80
}

// witness is somebody who sees everything that is published, behind the door where no rule counts.
func (h *house) witness(v mqtt.Version) *testkit.MQTT {
	h.Helper()
	m := testkit.ConnectMQTT(h, h.behind(), testkit.MQTTConfig{Version: v, ClientID: "witness"})
	if codes := m.Subscribe(testkit.Filter("#", 2)); codes[0] != 2 {
		h.Fatalf("the witness may not subscribe: %x", codes)
	}
	return m
}

// behind is where the broker is reached without the door.
func (h *house) behind() string {
	h.Helper()
	if h.mosquitto != nil {
		return h.mosquitto.Addr
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	h.must(err)
	b := h.broker
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go b.Serve(c)
		}
	}()
	h.Cleanup(func() { ln.Close(); <-done }) // the connections end with their clients, or the broker
	return ln.Addr().String()
}

// nothing fails the test if a witness has seen any message before it sees one that is published now, behind the door.
func (h *house) nothing(witness *testkit.MQTT) {
	h.Helper()
	h.only(witness)
}

// only fails the test if a witness has seen other messages, in order, than those with the payloads.
func (h *house) only(witness *testkit.MQTT, payloads ...string) {
	h.Helper()
	witness.SendPublish(mqtt.Publish{Topic: []byte("witness/mark")}, "mark")
	var got []string
	for _, p := range witness.MessagesBefore("mark") {
		got = append(got, p.Payload)
	}
	if !slices.Equal(got, payloads) {
		h.Errorf("published: %q, want %q", got, payloads)
	}
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
