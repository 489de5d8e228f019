package grpcdoor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"cardea/internal/authority"
	"cardea/internal/ca"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/jwt"
	"cardea/internal/keyring"
	"cardea/internal/secret"
	"cardea/internal/store"
	"cardea/internal/testkit"
	"cardea/internal/testkit/foundation"
	cardeav1 "cardea/proto/cardea/v1"
)

// world is a door on a real gate and store, behind a real listener.
type world struct {
	testing.TB
	store  *store.Store
	auth   *authority.Authority
	gate   *gate.Gate
	tokens *foundation.Tokens
	ca     *ca.CA
	door   *Door
	addr   string
	roots  *x509.CertPool
	local  authority.Caller
	logged *testkit.Log
	clock  *clock
}

// clock is the system's, and can be put forward.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t, logged: &testkit.Log{}, clock: &clock{}}
	log := slog.New(slog.NewTextHandler(w.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	dir := t.TempDir()
	var err error
	w.store, err = store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(dir, "cardea.db"), Now: w.clock.now})
	w.must(err)
	t.Cleanup(func() { w.store.Close() })
	ks, err := keyring.Open(keyring.Config{Dir: dir}, false, "")
	w.must(err)
	ring, authorityCA, err := authority.Bootstrap(t.Context(), w.store, ks, w.clock.now, log)
	w.must(err)
	w.ca = authorityCA
	c := gate.Config{Store: w.store, Signer: w.signer(ring), FlushEvery: 20 * time.Millisecond, Log: log, Clock: gate.NewClock(time.Time{}, w.clock.now, nil)}
	w.tokens = foundation.NewTokens(t, &c, w.store, ring)
	w.gate, err = gate.New(c)
	w.must(err)
	w.tokens.Gate = w.gate
	t.Cleanup(func() { w.gate.Close() })
	go w.gate.Run(context.Background())
	w.must(w.gate.Await(t.Context()))
	w.auth, err = authority.New(authority.Config{Store: w.store, Gate: w.gate, Ring: ring, CA: authorityCA, Log: log, Now: w.clock.now})
	w.must(err)
	w.tokens.Authority = w.auth
	w.local = authority.Caller{
		Org: credential.DefaultOrg, Local: true, Rights: authority.RightsOfLocal(),
		Actor: credential.Actor{Principal: "local", Source: "socket", Door: "api"},
	}
	w.roots = x509.NewCertPool()
	w.roots.AppendCertsFromPEM(w.auth.TrustAnchor())
	w.listen(log)
	return w
}

func (w *world) listen(log *slog.Logger) {
	w.Helper()
	served, err := ca.NewListener(w.ca, []string{"localhost"}, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, time.Now) // the clients' clock
	w.must(err)
	w.door, err = New(Config{Gate: w.gate, Log: log, TLS: &tls.Config{GetCertificate: served.GetCertificate, ClientCAs: w.ca.ClientPool()}})
	w.must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	w.addr = l.Addr().String()
	done := make(chan error, 1)
	go func() { done <- w.door.Serve(l) }()
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		w.door.Shutdown(ctx)
		if err := <-done; err != nil {
			w.Error(err)
		}
	})
}

func (w *world) signer(ring *keyring.Ring) *jwt.Signer {
	keys, err := w.store.Keys(w.Context())
	w.must(err)
	for _, k := range keys {
		if k.Purpose != "identity" {
			continue
		}
		key, err := ring.Signer(k)
		w.must(err)
		s, err := jwt.NewSigner(key)
		w.must(err)
		return s
	}
	w.Fatal("no identity key")
	return nil
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// key makes a device with a token and a certificate.
func (w *world) key(id string) (authority.Bundle, tls.Certificate) {
	w.Helper()
	b, err := w.auth.GenerateKey(w.Context(), w.local, authority.NewKey{ID: id})
	w.must(err)
	return b, w.pair(b.Certificate)
}

func (w *world) pair(i authority.Issued) tls.Certificate {
	w.Helper()
	cert, err := tls.X509KeyPair(i.Certificate, []byte(i.PrivateKey.Reveal()))
	w.must(err)
	return cert
}

// service makes a service with rules, and an API key of it.
func (w *world) service(name string, rules ...credential.Rule) authority.Issued {
	w.Helper()
	n := authority.NewPrincipal{Kind: credential.Service, Name: name}
	if len(rules) > 0 {
		_, err := w.auth.PutScope(w.Context(), w.local, credential.Scope{Name: name, Rules: rules})
		w.must(err)
		_, err = w.auth.PutRole(w.Context(), w.local, credential.Role{Name: name, Scopes: []string{name}})
		w.must(err)
		n.Roles = []string{name}
	}
	_, err := w.auth.CreatePrincipal(w.Context(), w.local, n)
	w.must(err)
	i, err := w.auth.CreateCredential(w.Context(), w.local, authority.NewCredential{Kind: credential.APIKey, Principal: name})
	w.must(err)
	return i
}

func allow(action, resource string) credential.Rule {
	return credential.Rule{Permission: credential.Allow, Action: action, Resource: resource}
}

// dial connects as a real client: with a certificate or without.
func (w *world) dial(certs ...tls.Certificate) *grpc.ClientConn {
	w.Helper()
	return w.dialTLS(&tls.Config{RootCAs: w.roots, Certificates: certs})
}

func (w *world) dialTLS(c *tls.Config) *grpc.ClientConn {
	w.Helper()
	conn, err := grpc.NewClient(w.addr, grpc.WithTransportCredentials(credentials.NewTLS(c)))
	w.must(err)
	w.Cleanup(func() { conn.Close() })
	return conn
}

func (w *world) client(certs ...tls.Certificate) cardeav1.GateClient {
	return cardeav1.NewGateClient(w.dial(certs...))
}

func bearer(ctx context.Context, token string, more ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, append([]string{"authorization", "Bearer " + token}, more...)...)
}

// code wants a gRPC status.
func (w *world) code(err error, want codes.Code) *status.Status {
	w.Helper()
	st := status.Convert(err)
	if st.Code() != want {
		w.Fatalf("%s, want %s: %s", st.Code(), want, st.Message())
	}
	return st
}

// within waits for something that is under way.
func (w *world) within(what string, done func() bool) {
	w.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("%s did not happen", what)
		}
	}
}

// others puts a device of another organisation into the store, and returns its token; the zero end is never.
func (w *world) others(id string, ends time.Time) string {
	w.Helper()
	text, hash, err := secret.New("dev", id)
	w.must(err)
	now := time.Now().UTC().Truncate(time.Microsecond)
	p := credential.Principal{ID: "P" + id[1:], Org: "other", Kind: credential.Device, Name: "theirs-" + id, CreatedAt: now, Version: 1}
	c := credential.Credential{
		ID: id, Org: "other", Kind: credential.DeviceToken, Principal: p.ID, Name: id, State: credential.StateActive, CreatedAt: now, ExpiresAt: ends, Version: 1,
		Proofs: []credential.Proof{{N: 1, Hash: hash[:], CreatedAt: now}},
	}
	ops := []credential.Op{credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: c}}
	all, err := w.store.Policy(w.Context())
	w.must(err)
	if _, there := all.Org("other"); !there {
		ops = append([]credential.Op{credential.PutOrg{Org: credential.Org{Name: "other", Resources: []string{"http:/other/**"}}}}, ops...)
	}
	_, err = w.store.Commit(w.Context(), credential.Change{
		Ops:    ops,
		Events: []credential.Event{{At: now, Org: "other", Type: "credential.create", Subject: credential.Subject{Kind: "credential", ID: id, Name: p.Name}}},
	})
	w.must(err)
	return text.Reveal()
}
