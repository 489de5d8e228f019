package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cardea/internal/audit"
	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/jwt"
	"cardea/internal/keyring"
	"cardea/internal/outbound"
	"cardea/internal/secret"
	"cardea/internal/store"
	"cardea/internal/testkit"
	"cardea/internal/testkit/foundation"
	"cardea/internal/view"
)

// world is a whole control plane on a real SQLite store, behind real listeners.
type world struct {
	testing.TB
	store  *store.Store
	auth   *authority.Authority
	gate   *gate.Gate
	tokens *foundation.Tokens
	api    *API
	net    *httptest.Server // with bearer credentials, and what is public
	socket *httptest.Server // the local administrator
	admin  string           // a token that may everything
	logged *testkit.Log
	ready  error
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t, logged: &testkit.Log{}}
	log := slog.New(slog.NewTextHandler(w.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	dir := t.TempDir()
	var err error
	w.store, err = store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(dir, "cardea.db")})
	w.must(err)
	t.Cleanup(func() { w.store.Close() })
	ks, err := keyring.Open(keyring.Config{Dir: dir}, false, "")
	w.must(err)
	ring, ca, err := authority.Bootstrap(t.Context(), w.store, ks, nil, log)
	w.must(err)
	sources := outbound.New(outbound.Config{Log: log})
	c := gate.Config{Store: w.store, Signer: w.signer(ring), FlushEvery: 20 * time.Millisecond, Log: log, Open: ring.Open, Sources: sources, KeySets: sources}
	w.tokens = foundation.NewTokens(t, &c, w.store, ring)
	w.gate, err = gate.New(c)
	w.must(err)
	w.tokens.Gate = w.gate
	t.Cleanup(func() { w.gate.Close() })
	go w.gate.Run(context.Background())
	w.must(w.gate.Await(t.Context()))
	w.auth, err = authority.New(authority.Config{Store: w.store, Gate: w.gate, Ring: ring, CA: ca, Log: log, Sources: sources, Notifier: callerOut{sources}, Issuer: testIssuer, KeySets: sources, Listeners: func() []string { return []string{"default"} }})
	w.must(err)
	w.tokens.Authority = w.auth
	w.api, err = New(Config{Authority: w.auth, Gate: w.gate, EventLine: audit.Line, Log: log, Version: "0.0.1-test", Ready: func() error { return w.ready }, Proof: proofOf})
	w.must(err)
	w.net = w.serve(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/") {
			w.api.Handler().ServeHTTP(out, r)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/backend/") {
			w.api.Backend().ServeHTTP(out, r)
			return
		}
		w.api.Public().ServeHTTP(out, r)
	}))
	w.socket = w.serve(w.api.LocalHandler())
	var made view.OneTime
	w.local("POST", "/system/admin-token", nil).is(201).into(&made)
	w.admin = made.Secret.Reveal()
	return w
}

// testIssuer is the iss of access tokens.
const testIssuer = "https://cardea.test"

func (w *world) serve(h http.Handler) *httptest.Server {
	s := httptest.NewServer(h)
	w.Cleanup(s.Close)
	return s
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

// result is an answer, read to its end.
type result struct {
	w      *world
	asked  string
	status int
	header http.Header
	body   []byte
}

// is wants a status.
func (r *result) is(status int) *result {
	r.w.Helper()
	if r.status != status {
		r.w.Fatalf("%s: status %d, want %d: %s", r.asked, r.status, status, r.body)
	}
	return r
}

func (r *result) into(v any) *result {
	r.w.Helper()
	r.w.must(json.Unmarshal(r.body, v))
	return r
}

// problem wants a problem document of a status.
func (r *result) problem(status int) view.Problem {
	r.w.Helper()
	r.is(status)
	if ct := r.header.Get("Content-Type"); ct != "application/problem+json" {
		r.w.Errorf("%s: Content-Type %q", r.asked, ct)
	}
	var p view.Problem
	r.into(&p)
	if p.Status != status || p.Title != http.StatusText(status) {
		r.w.Errorf("%s: status %d says %d %q", r.asked, status, p.Status, p.Title)
	}
	return p
}

// wrong returns the locations that a problem names.
func (r *result) wrong(status int) []string {
	r.w.Helper()
	var out []string
	for _, e := range r.problem(status).Errors {
		out = append(out, e.Location)
	}
	return out
}

// with is a header of a request.
type with struct{ name, value string }

// do asks as the administrator; by an API path, or by a whole one.
func (w *world) do(method, path string, body any, headers ...with) *result {
	w.Helper()
	return w.as(w.admin, method, path, body, headers...)
}

func (w *world) as(token, method, path string, body any, headers ...with) *result {
	w.Helper()
	if token != "" {
		headers = append([]with{{"Authorization", "Bearer " + token}}, headers...)
	}
	return w.send(w.net, method, path, body, headers...)
}

func (w *world) local(method, path string, body any, headers ...with) *result {
	w.Helper()
	return w.send(w.socket, method, path, body, headers...)
}

func (w *world) send(s *httptest.Server, method, path string, body any, headers ...with) *result {
	w.Helper()
	r, err := w.try(s, method, path, body, headers...)
	w.must(err)
	return r
}

func (w *world) try(s *httptest.Server, method, path string, body any, headers ...with) (*result, error) {
	if !strings.HasPrefix(path, "//") {
		path = prefix + path
	} else {
		path = path[1:]
	}
	var text io.Reader = http.NoBody
	switch b := body.(type) {
	case nil:
	case string:
		text = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		text = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(method, s.URL+path, text)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		if h.value == "" {
			req.Header.Del(h.name)
			continue
		}
		req.Header.Add(h.name, h.value)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return &result{w, method + " " + path, resp.StatusCode, resp.Header, raw}, err
}

// caller makes a service with a scope of rules "api:principals:read /principals/*", and a token of it.
func (w *world) caller(name string, rules ...string) string {
	w.Helper()
	var parsed []view.Rule
	for _, r := range rules {
		action, resource, _ := strings.Cut(r, " ")
		parsed = append(parsed, view.Rule{Permission: "allow", Action: action, Resource: resource})
	}
	roles := []string{}
	if len(rules) > 0 {
		w.do("POST", "/scopes", view.NewScope{Name: name, PutScope: view.PutScope{Rules: parsed}}).is(201)
		w.do("POST", "/roles", view.NewRole{Name: name, PutRole: view.PutRole{Scopes: []string{name}}}).is(201)
		roles = append(roles, name)
	}
	w.do("POST", "/principals", view.NewPrincipal{Kind: "service", Name: name, Roles: roles}).is(201)
	return w.token(view.NewCredential{Kind: "api_key", Principal: name}).Secret.Reveal()
}

func (w *world) device(name string) {
	w.Helper()
	w.do("POST", "/principals", view.NewPrincipal{Kind: "device", Name: name, Roles: []string{"device"}}).is(201)
}

func (w *world) token(n view.NewCredential) view.Issued {
	w.Helper()
	var i view.Issued
	w.do("POST", "/credentials", n).is(201).into(&i)
	return i
}

// othersToken puts a token of another organisation's device into the store; the zero end is never.
func (w *world) othersToken(id string, ends time.Time) string {
	w.Helper()
	p, err := w.store.Principal(w.Context(), "other", "P00000other0")
	if err != nil {
		p = w.othersPrincipal()
	}
	text, hash, err := secret.New("dev", id)
	w.must(err)
	c := credential.Credential{
		ID: id, Org: "other", Kind: credential.DeviceToken, Principal: p.ID, Name: id, State: credential.StateActive, CreatedAt: p.CreatedAt, ExpiresAt: ends, Version: 1,
		Proofs: []credential.Proof{{N: 1, Hash: hash[:], CreatedAt: p.CreatedAt}},
	}
	_, err = w.store.Commit(w.Context(), credential.Change{
		Ops:    []credential.Op{credential.CreateCredential{Credential: c}},
		Events: []credential.Event{{At: p.CreatedAt, Org: "other", Type: "credential.create", Subject: credential.Subject{Kind: "credential", ID: id, Name: p.Name}}},
	})
	w.must(err)
	return text.Reveal()
}

// othersPrincipal puts another organisation with a device into the store.
func (w *world) othersPrincipal() credential.Principal {
	w.Helper()
	p := credential.Principal{
		ID: "P00000other0", Org: "other", Kind: credential.Device, Name: "theirs", CreatedAt: time.Now().UTC().Truncate(time.Microsecond), Version: 1,
	}
	_, err := w.store.Commit(w.Context(), credential.Change{
		Ops: []credential.Op{
			credential.PutOrg{Org: credential.Org{Name: "other", Resources: []string{"mqtt:other/#"}, CreatedAt: p.CreatedAt}},
			credential.CreatePrincipal{Principal: p},
		},
		Events: []credential.Event{
			{At: p.CreatedAt, Org: "other", Type: "org.create", Subject: credential.Subject{Kind: "org", ID: "other"}},
			{At: p.CreatedAt, Org: "other", Type: "principal.create", Subject: credential.Subject{Kind: "principal", ID: p.ID, Name: p.Name}},
		},
	})
	w.must(err)
	return p
}

var errTest = errors.New("the reason is 4711")
