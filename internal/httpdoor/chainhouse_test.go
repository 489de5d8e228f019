package httpdoor

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// service is a real REST service that judges user names and passwords. Whom it does not know it answers with 404.
type service struct {
	*httptest.Server
	mu     sync.Mutex
	people map[string]person
	asked  []map[string]string
}

// person is what a service knows of somebody: a password and, beside "result", what else it answers.
type person struct {
	password string
	says     map[string]any
}

func newService(t testing.TB, people map[string]person) *service {
	s := &service{people: people}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// ServeHTTP answers one question.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q map[string]string
	text, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(text, &q) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, q)
	p, ok := s.people[q["username"]]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	said := map[string]any{"result": "deny"}
	if q["password"] == p.password {
		said["result"] = "allow"
		maps.Copy(said, p.says)
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(said)
}

// got returns what the service was asked since the last call.
func (s *service) got() []map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

// everyone is a backend whose questions have all that templates can say.
func everyone(url string) credential.Backend {
	return credential.Backend{Method: "post", URL: url, Body: map[string]any{
		"username": "${username}", "password": "${password}", "clientid": "${clientid}", "peerhost": "${peerhost}", "peerport": "${peerport}",
		"listener": "${listener}", "zone": "${zone}", "cn": "${cert_common_name}",
	}}
}

// authenticator appends one to a chain, enabled; an http one asks b. The gate knows of it when it returns.
func (h *house) authenticator(typ credential.AuthenticatorType, listener string, b *credential.Backend, changes ...func(*credential.Authenticator)) credential.Authenticator {
	h.Helper()
	id, err := secret.NewID(secret.IDLen)
	h.must(err)
	p, err := h.base.Store.Policy(h.Context())
	h.must(err)
	a := credential.Authenticator{ID: id, Org: credential.DefaultOrg, Type: typ, Listener: listener, Enabled: true, Rank: int64(len(p.Authenticators) + 1)}
	if b != nil {
		plain, err := json.Marshal(b)
		h.must(err)
		a.Sealed, err = h.base.Ring.Seal(a.SealedAs(), plain)
		h.must(err)
	}
	return h.put(a, changes...)
}

// put makes an authenticator, or changes one that was returned before.
func (h *house) put(a credential.Authenticator, changes ...func(*credential.Authenticator)) credential.Authenticator {
	h.Helper()
	for _, f := range changes {
		f(&a)
	}
	h.base.Put(h, a)
	a.Version++
	return a
}

// remove takes an authenticator out of its chain.
func (h *house) remove(a credential.Authenticator) {
	h.Helper()
	about := credential.Subject{Kind: "authenticator", ID: a.ID}
	events, err := h.base.Store.Commit(h.Context(), credential.Change{
		Ops:    []credential.Op{credential.DeleteAuthenticator{ID: a.ID, Version: a.Version}},
		Events: []credential.Event{{At: time.Now(), Org: a.Org, Type: "authenticator.delete", Subject: about, Actor: h.local.Actor}},
	})
	h.must(err)
	h.must(h.gate.Apply(h.Context(), []credential.Touch{{Seq: events[0].Seq, Org: a.Org, Subject: about}}))
}

func disabled(a *credential.Authenticator) { a.Enabled = false }
func enabled(a *credential.Authenticator)  { a.Enabled = true }
func denies(a *credential.Authenticator)   { a.DenyOnFailure = true }
func trusts(a *credential.Authenticator)   { a.AllowSuperuser = true }

// gives lets those have scopes who come without an ACL.
func gives(scopes ...string) func(*credential.Authenticator) {
	return func(a *credential.Authenticator) { a.Scopes = scopes }
}

func when(precondition string) func(*credential.Authenticator) {
	return func(a *credential.Authenticator) { a.Precondition = precondition }
}

// basic is the header of a user name and a password, as curl -u makes it.
func basic(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

const (
	challengeBearer = `Bearer realm="cardea", error="invalid_token"`
	challengeBasic  = `Basic realm="cardea", charset="UTF-8"`
)

// knows lets the service know somebody, or something else of them.
func (s *service) knows(name string, p person) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.people == nil {
		s.people = map[string]person{}
	}
	s.people[name] = p
}
