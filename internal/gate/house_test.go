package gate

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cardea/internal/credential"
	"cardea/internal/jwt"
	"cardea/internal/policy"
	"cardea/internal/secret"
	"cardea/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	here      = netip.MustParseAddr("192.0.2.7")
	elsewhere = netip.MustParseAddr("198.51.100.9")
)

// faulty is the real store with faults in front of it. A hook that is nil does nothing.
type faulty struct {
	*store.Store
	lookups    atomic.Int64
	principals atomic.Int64 // look-ups of them
	readings   atomic.Int64 // of what was used

	mu        sync.Mutex
	after     func(id string, rec credential.Record, err error) (credential.Record, error) // of each Credential
	principal func() error                                                                 // after each Principal
	since     func() error
	lose      int64 // the touch of this revision is left out
	policy    func() error
	record    func() error
	recorded  func(credential.Records) // after each Record
	used      func() error             // after each Used
	meter     func() error
}

func (f *faulty) set(change func(f *faulty)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *faulty) hook(which func(f *faulty) func() error) error {
	f.mu.Lock()
	hook := which(f)
	f.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook()
}

func (f *faulty) Credential(ctx context.Context, id string) (credential.Record, error) {
	f.lookups.Add(1)
	rec, err := f.Store.Credential(ctx, id)
	f.mu.Lock()
	after := f.after
	f.mu.Unlock()
	if after != nil {
		return after(id, rec, err)
	}
	return rec, err
}

func (f *faulty) Principal(ctx context.Context, org, ref string) (credential.Principal, error) {
	f.principals.Add(1)
	p, err := f.Store.Principal(ctx, org, ref)
	if e := f.hook(func(f *faulty) func() error { return f.principal }); e != nil {
		return credential.Principal{}, e
	}
	return p, err
}

func (f *faulty) Policy(ctx context.Context) (credential.Policy, error) {
	if err := f.hook(func(f *faulty) func() error { return f.policy }); err != nil {
		return credential.Policy{}, err
	}
	return f.Store.Policy(ctx)
}

func (f *faulty) Since(ctx context.Context, after int64, limit int) ([]credential.Touch, int64, error) {
	if err := f.hook(func(f *faulty) func() error { return f.since }); err != nil {
		return nil, 0, err
	}
	touched, head, err := f.Store.Since(ctx, after, limit)
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(touched, func(t credential.Touch) bool { return t.Seq == f.lose }), head, err
}

func (f *faulty) Record(ctx context.Context, r credential.Records) error {
	if err := f.hook(func(f *faulty) func() error { return f.record }); err != nil {
		return err
	}
	err := f.Store.Record(ctx, r)
	f.mu.Lock()
	recorded := f.recorded
	f.mu.Unlock()
	if err == nil && recorded != nil {
		recorded(r)
	}
	return err
}

func (f *faulty) Used(ctx context.Context, id string, month time.Time) (int64, error) {
	f.readings.Add(1)
	n, err := f.Store.Used(ctx, id, month)
	if e := f.hook(func(f *faulty) func() error { return f.used }); e != nil {
		return 0, e
	}
	return n, err
}

func (f *faulty) Meter(ctx context.Context, node string, counted []credential.Metered) ([]credential.Share, error) {
	if err := f.hook(func(f *faulty) func() error { return f.meter }); err != nil {
		return nil, err
	}
	return f.Store.Meter(ctx, node, counted)
}

var down = credential.Errorf(credential.Down, "the database does not answer")

// hands are the clocks that a test holds.
type hands struct{ wall, mono atomic.Int64 }

func (h *hands) step(d time.Duration) { h.wall.Add(int64(d)) }

// pass lets time go by, on both clocks.
func (h *hands) pass(d time.Duration) {
	h.mono.Add(int64(d))
	h.wall.Add(int64(d))
}

func (h *hands) now() time.Time { return time.Unix(0, h.wall.Load()).UTC() }

func (h *hands) clock() *Clock {
	return NewClock(time.Time{}, h.now, func() time.Duration { return time.Duration(h.mono.Load()) })
}

// house is a gate on a real SQLite store, with what the authority would do written out.
type house struct {
	testing.TB
	store *faulty
	gate  *Gate
	hands *hands
	key   *ecdsa.PrivateKey
	org   string
}

func newHouse(t testing.TB, change ...func(*Config)) *house {
	t.Helper()
	return newHouseOn(t, "sqlite:"+filepath.Join(t.TempDir(), "db"), change...)
}

func openStore(t testing.TB, url string) *faulty {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: url, Poll: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &faulty{Store: s}
}

// newHouseOn is newHouse on a database that a test has chosen.
func newHouseOn(t testing.TB, url string, change ...func(*Config)) *house {
	t.Helper()
	var err error
	h := &house{TB: t, store: openStore(t, url), hands: &hands{}, org: credential.DefaultOrg}
	h.hands.wall.Store(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())
	if h.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	signer, err := jwt.NewSigner(h.key)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Store: h.store, Signer: signer, Keys: []crypto.PublicKey{h.key.Public()}, Issuer: "https://cardea.test", Clock: h.hands.clock()}
	for _, f := range change {
		f(&c)
	}
	if h.gate, err = New(c); err != nil {
		t.Fatal(err)
	}
	h.run()
	return h
}

func (h *house) run() {
	h.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := h.gate.Run(ctx); err != nil {
			h.Error(err)
		}
	}()
	h.Cleanup(func() {
		cancel()
		<-done
		h.gate.Close()
	})
	wait, stop := context.WithTimeout(h.Context(), 10*time.Second)
	defer stop()
	if err := h.gate.Await(wait); err != nil {
		h.Fatal(err)
	}
}

// commit makes a change and returns its touches, without telling the gate.
func (h *house) commit(kind, id string, ops ...credential.Op) []credential.Touch {
	h.Helper()
	events, err := h.store.Commit(context.Background(), credential.Change{Ops: ops, Events: []credential.Event{{
		At: h.hands.now(), Org: h.org, Type: kind + ".change", Subject: credential.Subject{Kind: kind, ID: id}, Actor: credential.Actor{Principal: "local"},
	}}})
	if err != nil {
		h.Fatal(err)
	}
	var touched []credential.Touch
	for _, e := range events {
		touched = append(touched, credential.Touch{Seq: e.Seq, Org: e.Org, Subject: e.Subject})
	}
	return touched
}

// change makes a change and applies it, as the authority does.
func (h *house) change(kind, id string, ops ...credential.Op) {
	h.Helper()
	if err := h.gate.Apply(context.Background(), h.commit(kind, id, ops...)); err != nil {
		h.Fatal(err)
	}
}

// scope makes a scope, or replaces it.
func (h *house) scope(name string, rules ...credential.Rule) {
	h.Helper()
	s := credential.Scope{Org: h.org, Name: name, Rules: rules}
	p, err := h.store.Store.Policy(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	for _, was := range p.Scopes {
		if was.Org == h.org && was.Name == name {
			s.Version = was.Version
		}
	}
	h.change("scope", name, credential.PutScope{Scope: s})
}

func (h *house) role(name string, scopes ...string) {
	h.Helper()
	h.change("role", name, credential.PutRole{Role: credential.Role{Org: h.org, Name: name, Scopes: scopes}})
}

func allow(action, resource string) credential.Rule {
	return credential.Rule{Permission: credential.Allow, Action: action, Resource: resource}
}

// writer makes the role "writer", which may POST below /db/.
func (h *house) writer() {
	h.Helper()
	h.scope("db:write", allow("http:POST", "/db/**"))
	h.role("writer", "db:write")
}

var post = &policy.Access{Proto: policy.HTTP, Verb: "POST", Resource: "/db/write/a", Source: here}

func (h *house) device(name string, roles ...string) credential.Principal {
	h.Helper()
	id, err := secret.NewID(11)
	if err != nil {
		h.Fatal(err)
	}
	p := credential.Principal{ID: "P" + id, Org: h.org, Kind: credential.Device, Name: name, Roles: roles, CreatedAt: h.hands.now(), Version: 1}
	h.change("principal", p.ID, credential.CreatePrincipal{Principal: p})
	return p
}

func (h *house) newCredential(p credential.Principal, change ...func(*credential.Credential)) credential.Credential {
	h.Helper()
	id, err := secret.NewID(12)
	if err != nil {
		h.Fatal(err)
	}
	c := credential.Credential{
		ID: id, Org: h.org, Kind: credential.DeviceToken, Principal: p.ID, Name: p.Name, State: credential.StateActive,
		CreatedAt: h.hands.now(), CreatedBy: "local", Version: 1,
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

// token gives a principal a device token.
func (h *house) token(p credential.Principal, change ...func(*credential.Credential)) (string, credential.Credential) {
	h.Helper()
	c := h.newCredential(p, change...)
	text, hash, err := secret.New("dev", c.ID)
	if err != nil {
		h.Fatal(err)
	}
	c.Proofs = []credential.Proof{{N: 1, Hash: hash[:], CreatedAt: h.hands.now()}}
	h.change("credential", c.ID, credential.CreateCredential{Credential: c})
	return text.Reveal(), c
}

// rotate adds a version; the ones before end at the given time.
func (h *house) rotate(c *credential.Credential, previousEnds time.Time) string {
	h.Helper()
	text, hash, err := secret.New("dev", c.ID)
	if err != nil {
		h.Fatal(err)
	}
	old := c.Proofs
	for i := range old {
		old[i].ExpiresAt = previousEnds
	}
	c.Proofs = append([]credential.Proof{{N: old[0].N + 1, Hash: hash[:], CreatedAt: h.hands.now()}}, old...)
	h.change("credential", c.ID, credential.SetProofs{ID: c.ID, Version: c.Version, Proofs: c.Proofs, ExpiresAt: c.ExpiresAt})
	c.Version++
	return text.Reveal()
}

func (h *house) end(c credential.Credential) credential.EndCredential {
	return credential.EndCredential{ID: c.ID, State: credential.StateRevoked, At: h.hands.now(), Reason: "test"}
}

func (h *house) revoke(c credential.Credential) {
	h.Helper()
	h.change("credential", c.ID, h.end(c))
}

func (h *house) authenticate(token string, src netip.Addr) (*Identity, Outcome) {
	return h.gate.Authenticate(context.Background(), &Evidence{Token: token, Source: src, Door: "http"})
}

// accepted authenticates and fails the test if that is refused.
func (h *house) accepted(token string) *Identity {
	h.Helper()
	id, out := h.authenticate(token, here)
	if out.Reason != credential.OK || id == nil {
		h.Fatalf("refused: %v", out.Reason)
	}
	return id
}

// refused authenticates and fails the test if the reason is another.
func (h *house) refused(token string, want credential.Reason) Outcome {
	h.Helper()
	id, out := h.authenticate(token, here)
	if out.Reason != want || id != nil {
		h.Fatalf("the reason is %v, want %v", out.Reason, want)
	}
	return out
}

// wrongSecret returns a token of the same credential with another secret.
func wrongSecret(t testing.TB, kind, id string) string {
	t.Helper()
	text, _, err := secret.New(kind, id)
	if err != nil {
		t.Fatal(err)
	}
	return text.Reveal()
}

// eventually waits for what another goroutine will bring about.
func (h *house) eventually(what string, ok func() bool) {
	h.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			h.Fatalf("it did not come about: %s", what)
		}
	}
}

// pass lets time go by, and the follower see the database at the new time.
func (h *house) pass(d time.Duration) {
	h.Helper()
	h.hands.pass(d)
	h.eventually("the database is seen", h.gate.Ready)
}
