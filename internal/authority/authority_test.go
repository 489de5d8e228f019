package authority

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cardea/internal/ca"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/keyring"
	"cardea/internal/outbound"
	"cardea/internal/policy"
	"cardea/internal/store"
)

// house is a whole authority on a real SQLite store in a temporary folder,
// with a keystore, a CA and a clock that the test moves.
type house struct {
	*Authority
	t     testing.TB
	dir   string
	store *store.Store
	fault *faulty // between the authority and the store
	ks    *keyring.Keystore
	ring  *keyring.Ring
	ca    *ca.CA
	gate  *recorder
	local Caller
	clock *testClock
}

type testClock struct {
	mu sync.Mutex
	t  time.Time
}

func startClock() *testClock {
	return &testClock{t: time.Date(2026, 11, 22, 12, 0, 0, 123456000, time.UTC)}
}

func (c *testClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *testClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := empty(t)
	h.open()
	return h
}

// open makes an authority on what is stored, as a start of the process does.
func (h *house) open() {
	h.t.Helper()
	var err error
	h.ring, h.ca, err = Bootstrap(h.t.Context(), h.fault, h.ks, h.clock.now, nil)
	h.must(err)
	h.gate = h.startGate()
	h.Authority, err = New(Config{Store: h.fault, Gate: h.gate, Ring: h.ring, CA: h.ca, Now: h.clock.now, Sources: outbound.New(outbound.Config{}), Issuer: testIssuer, KeySets: outbound.New(outbound.Config{}), Notifier: notices{outbound.New(outbound.Config{})}})
	h.must(err)
	h.local = Caller{
		Org: credential.DefaultOrg, Local: true, Rights: RightsOfLocal(),
		Actor: credential.Actor{Principal: "local", Source: "socket", Door: "api", Request: "r-1"},
	}
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// caller is somebody who may what the rules say: "api:credentials:create /credentials/*".
func (h *house) caller(rules ...string) Caller {
	h.t.Helper()
	var parsed []credential.Rule
	for _, r := range rules {
		action, resource, _ := strings.Cut(r, " ")
		parsed = append(parsed, allow(action, resource))
	}
	set, err := policy.Compile([]credential.Scope{{Name: "test", Rules: parsed}})
	h.must(err)
	return Caller{
		Org: credential.DefaultOrg, Rights: policy.Rights{Principal: set},
		Actor: credential.Actor{Principal: "someone", Credential: "000000000000", Source: "192.0.2.7", Door: "api", Request: "r-2"},
	}
}

func (h *house) principal(kind credential.PrincipalKind, name string, roles ...string) credential.Principal {
	h.t.Helper()
	p, err := h.CreatePrincipal(h.t.Context(), h.local, NewPrincipal{Kind: kind, Name: name, Roles: roles})
	h.must(err)
	return p
}

func (h *house) scope(name string, rules ...credential.Rule) credential.Scope {
	h.t.Helper()
	s, err := h.PutScope(h.t.Context(), h.local, credential.Scope{Name: name, Rules: rules})
	h.must(err)
	return s
}

func (h *house) role(name string, scopes ...string) {
	h.t.Helper()
	_, err := h.PutRole(h.t.Context(), h.local, credential.Role{Name: name, Scopes: scopes})
	h.must(err)
}

func (h *house) apiKey(principal string) Issued {
	h.t.Helper()
	is, err := h.CreateCredential(h.t.Context(), h.local, NewCredential{Kind: credential.APIKey, Principal: principal, TTL: 30 * day})
	h.must(err)
	return is
}

// used records that a version of a credential was used a while ago.
func (h *house) used(id string, version int, ago time.Duration) {
	h.t.Helper()
	at := h.clock.now().Add(-ago)
	u := credential.Usage{Credential: id, Proof: version, Count: 1, FirstAt: at, LastAt: at, LastSource: sourceOf(credential.Actor{Source: "198.51.100.4"})}
	h.must(h.store.Record(h.t.Context(), credential.Records{Used: []credential.Usage{u}}))
}

// head is the number of events so far.
func (h *house) head() int64 {
	h.t.Helper()
	_, head, err := h.store.Since(h.t.Context(), 0, 1)
	h.must(err)
	return head
}

// events are the types of the events after a revision.
func (h *house) events(after int64) []credential.Event {
	h.t.Helper()
	all, err := h.store.Events(h.t.Context(), credential.EventFilter{After: after, Limit: 5000})
	h.must(err)
	return all
}

func types(events []credential.Event) string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = e.Type
	}
	return strings.Join(out, " ")
}

// fails reports a kind and words that an error must have.
func fails(t testing.TB, err error, kind credential.ErrorKind, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want kind %d with %q", kind, words)
	}
	e, ok := errors.AsType[*credential.Error](err)
	if !ok || e.Kind != kind {
		t.Fatalf("error %v, want kind %d", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(e.Public(), w) {
			t.Errorf("error %q does not say %q", e.Public(), w)
		}
	}
}

// fields are the names of the fields that an error complains of, in order.
func fields(err error) string {
	e, ok := errors.AsType[*credential.Error](err)
	if !ok {
		return ""
	}
	out := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		out[i] = f.Field
	}
	return strings.Join(out, " ")
}

// faulty is the real store, whose commits fail when the test says so.
type faulty struct {
	*store.Store
	mu     sync.Mutex
	refuse func(credential.Change) error // asked before a commit
	after  func(credential.Change) error // asked after one that was made
	enter  chan struct{}                 // closed when somebody asks for a lock
}

// entering returns a channel that is closed when the next one asks for a lock.
func (f *faulty) entering() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.enter = make(chan struct{})
	return f.enter
}

func (f *faulty) Exclusive(ctx context.Context, name string, fn func(context.Context) error) error {
	f.mu.Lock()
	if f.enter != nil {
		close(f.enter)
		f.enter = nil
	}
	f.mu.Unlock()
	return f.Store.Exclusive(ctx, name, fn)
}

func (f *faulty) Commit(ctx context.Context, c credential.Change) ([]credential.Event, error) {
	f.mu.Lock()
	refuse, after := f.refuse, f.after
	f.mu.Unlock()
	if refuse != nil {
		if err := refuse(c); err != nil {
			return nil, err
		}
	}
	done, err := f.Store.Commit(ctx, c)
	if err == nil && after != nil {
		err = after(c)
	}
	return done, err
}

func (f *faulty) set(refuse, after func(credential.Change) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse, f.after = refuse, after
}

// down is what a database says that has gone.
func down() error { return credential.Errorf(credential.Down, "the database does not answer") }

// recorder is the real gate, and notes what it is told.
type recorder struct {
	*gate.Gate
	mu      sync.Mutex
	touched []credential.Touch
	fault   error // returned after the gate has done its work
}

func (r *recorder) Apply(ctx context.Context, t []credential.Touch) error {
	err := r.Gate.Apply(ctx, t)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.touched = append(r.touched, t...)
	return errors.Join(err, r.fault)
}

// startGate runs a gate on the store until the test ends.
func (h *house) startGate() *recorder {
	h.t.Helper()
	keys, err := h.store.Keys(h.t.Context())
	h.must(err)
	signer, err := IdentitySigner(h.ring, keys)
	h.must(err)
	publics, err := IdentityPublics(keys)
	h.must(err)
	nonces, err := NonceKey(h.ring, keys)
	h.must(err)
	g, err := gate.New(gate.Config{
		Store: h.store, Signer: signer, Keys: publics, Issuer: "test", CacheBytes: 1 << 20,
		TokenIssuer: testIssuer, NonceKey: nonces, SigningKeys: func(ctx context.Context) (credential.SigningKeys, error) {
			keys, err := h.store.Keys(ctx)
			if err != nil {
				return credential.SigningKeys{}, err
			}
			return OAuthKeys(h.ring, keys, h.clock.now())
		},
		Clock: gate.NewClock(time.Time{}, h.clock.now, nil), Open: h.ring.Open,
	})
	h.must(err)
	done := make(chan error, 1)
	go func() { done <- g.Run(context.Background()) }()
	h.t.Cleanup(func() {
		g.Close()
		<-done
	})
	for !g.Ready() {
		time.Sleep(time.Millisecond)
	}
	return &recorder{Gate: g}
}

// knock asks the gate about a token.
func (h *house) knock(token string) credential.Reason {
	h.t.Helper()
	_, out := h.gate.Authenticate(h.t.Context(), &gate.Evidence{Token: token, Source: sourceOf(credential.Actor{Source: "198.51.100.4"}), Door: "http"})
	return out.Reason
}

// connect opens a live session and returns its ID and what says why it was cut.
func (h *house) connect(token string) (string, <-chan credential.Reason) {
	h.t.Helper()
	ctx := h.t.Context()
	id, out := h.gate.Authenticate(ctx, &gate.Evidence{Token: token, Source: sourceOf(credential.Actor{Source: "198.51.100.4"}), Door: "http"})
	if out.Reason != credential.OK {
		h.t.Fatalf("the token is refused: %s", out.Reason)
	}
	cut := make(chan credential.Reason, 1)
	w, reason := h.gate.Watch(ctx, id, gate.Live{Door: "http", Kind: "stream", About: "GET /db/events", Cut: func(r credential.Reason) { cut <- r }})
	if reason != credential.OK {
		h.t.Fatalf("the session is refused: %s", reason)
	}
	h.t.Cleanup(w.Close)
	for _, s := range h.gate.Sessions(credential.SessionFilter{Org: credential.DefaultOrg, Credential: id.Credential}) {
		return s.ID, cut
	}
	h.t.Fatal("the session is not in the list")
	return "", nil
}

// furnished is a house with what the use cases of the tests work on.
func furnished(t testing.TB) *house {
	t.Helper()
	n := newHouse(t)
	n.principal(credential.Service, "svc")
	n.scope("s", allow("http:GET", "/x"))
	n.role("r")
	_, err := n.PutRoute(t.Context(), n.local, credential.Route{Prefix: "/db/", Upstream: "http://127.0.0.1:8086"})
	n.must(err)
	return n
}

// key is the ID of the newest credential.
func (h *house) key() string {
	h.t.Helper()
	all, _, err := h.Credentials(h.t.Context(), h.local, credential.CredentialFilter{})
	h.must(err)
	return all[0].ID
}

// without takes an action away from a caller by a deny.
func (h *house) without(c Caller, action string) Caller {
	h.t.Helper()
	set, err := policy.Compile([]credential.Scope{{Name: "test", Rules: []credential.Rule{
		allow("api:*:*", "*"), {Permission: credential.Deny, Action: action, Resource: "*"},
	}}})
	h.must(err)
	c.Rights = policy.Rights{Principal: set}
	return c
}

// callerOf is somebody who may what a scope allows.
func (h *house) callerOf(scope string) Caller {
	h.t.Helper()
	s, err := h.Scope(h.t.Context(), h.local, scope)
	h.must(err)
	set, err := policy.Compile([]credential.Scope{s})
	h.must(err)
	c := h.caller()
	c.Rights = policy.Rights{Principal: set}
	return c
}

// token is the ID of the newest API key.
func (h *house) token() string {
	h.t.Helper()
	all, _, err := h.Credentials(h.t.Context(), h.local, credential.CredentialFilter{Kind: credential.APIKey})
	h.must(err)
	return all[0].ID
}

// dump is all that is stored, but for the serial numbers that were reserved.
func (h *house) dump() string {
	h.t.Helper()
	var b bytes.Buffer
	h.must(h.store.Dump(h.t.Context(), &b))
	var out []string
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, `{"table"`) && !strings.HasPrefix(line, `{"table":"serials"`) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// sql changes the database behind the store's back.
func (h *house) sql(statement string, args ...any) {
	h.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(h.dir, "cardea.db"))
	h.must(err)
	defer db.Close()
	_, err = db.ExecContext(h.t.Context(), statement, args...)
	h.must(err)
}

func sprint(v ...any) string { return fmt.Sprintf("%v %+v %#v", v, v, v) }
