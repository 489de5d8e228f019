package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/gate"
)

// caller is who asks, as the handlers get it.
type caller struct {
	authority.Caller
	id     *gate.Identity // nil: the local administrator, or anybody where no credential is needed
	source string
	addr   netip.Addr // source; invalid for the socket
}

type callerKey struct{}

// ServeHTTP does for every request what comes before the request itself is looked at.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := &response{ResponseWriter: w}
	defer s.recovered(out, r)
	h := out.Header()
	request := requestID(r.Header.Get("X-Request-Id"))
	h.Set("X-Request-Id", request)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if p := checkForm(r); p != nil {
		p.write(out)
		return
	}
	c, p := s.admit(h, r, request)
	if p == nil {
		p = s.route(r)
	}
	if p != nil {
		p.write(out)
		return
	}
	s.mux.ServeHTTP(out, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
}

// checkForm refuses what could be read in two ways, or should not have been sent at all.
func checkForm(r *http.Request) *problem {
	if p := r.URL.Path; p != path.Clean(p) {
		return newProblem(http.StatusNotFound, "there is no such path")
	}
	if r.Header.Get("Content-Encoding") != "" {
		return newProblem(http.StatusUnsupportedMediaType, "send the body without Content-Encoding")
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return newProblem(http.StatusBadRequest, "the query string is not well formed")
	}
	for name, values := range query {
		switch {
		case isSecretName(name): // K04
			return newProblem(http.StatusBadRequest, "a credential in the query string: send it as Authorization: Bearer").
				with("WWW-Authenticate", `Bearer realm="cardea", error="invalid_request"`)
		case len(values) > 1: // H21
			return badField(http.StatusBadRequest, "query."+shorten(name), "is there more than once")
		}
	}
	return nil
}

// isSecretName reports whether a query parameter is one that clients send secrets in.
func isSecretName(name string) bool {
	switch strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name)) {
	case "token", "accesstoken", "appkey", "apikey", "xapikey", "authorization", "password", "secret", "key":
		return true
	}
	return false
}

// admit is the one place where a request is let in or refused. What limits leave the caller goes into the header of the answer.
func (s *server) admit(h http.Header, r *http.Request, request string) (*caller, *problem) {
	org, p := namedOrg(r)
	if p != nil {
		return nil, p
	}
	if s.open[r.Method+" "+r.URL.Path] {
		return s.visitor(r, org, request), nil
	}
	if s.isLocal {
		c, err := s.api.Authority.LocalCaller(r.Context(), org, credential.Actor{Principal: "local", Source: "socket", Door: "api", Request: request})
		if err != nil {
			return nil, problemOf(err, "header", false)
		}
		return &caller{Caller: c, source: "socket"}, nil
	}
	ev, reason := s.evidence(r)
	if reason != credential.OK {
		return nil, refusal(reason, 0)
	}
	id, out := s.api.Gate.Authenticate(r.Context(), &ev)
	if ev.DPoP != nil {
		h.Set("DPoP-Nonce", s.api.Gate.Nonce()) // for the next one
	}
	if a := out.Allowance; a != nil {
		h.Set("RateLimit-Policy", a.Policy())
		h.Set("RateLimit", a.Remaining(out.Reason))
	}
	if out.Reason != credential.OK {
		return nil, refusalTo(&ev, out)
	}
	if org != "" && org != id.Org {
		return nil, badField(http.StatusBadRequest, "header."+headerOrg, "is not the organisation of the credential: a credential acts in its own")
	}
	source := ""
	if ev.Source.IsValid() {
		source = ev.Source.String()
	}
	return &caller{id: id, source: source, addr: ev.Source, Caller: authority.Caller{
		Org: id.Org, Rights: s.api.Gate.Rights(id), Token: id.AccessToken(), Exercised: func(scope string) { s.api.Gate.Exercised(id, scope) },
		Actor: credential.Actor{Principal: id.Principal, Credential: id.Credential, Source: source, Door: "api", Request: request},
	}}, nil
}

// visitor is anybody, for what needs no credential. They may nothing; org is the one that they name, or "".
func (s *server) visitor(r *http.Request, org, request string) *caller {
	c := &caller{source: "socket", Caller: authority.Caller{Org: org, Actor: credential.Actor{Door: "api", Request: request}}}
	if !s.isLocal {
		c.addr, c.source = s.api.ClientAddr(r), ""
	}
	if c.addr.IsValid() {
		c.source = c.addr.String()
	}
	c.Actor.Source = c.source
	return c
}

// routeOf is what uses of the API are counted by: the first part of a path that it has, as in /api/v1/credentials.
func (s *server) routeOf(path string) string {
	for _, base := range []string{prefix, "/backend"} {
		if rest, ok := strings.CutPrefix(path, base+"/"); ok {
			noun, _, _ := strings.Cut(rest, "/")
			if s.nouns[noun] {
				return path[:len(base)+1+len(noun)]
			}
			return base
		}
	}
	return ""
}

// headerOrg names the organisation to act in.
const headerOrg = "X-Cardea-Org"

// namedOrg reads it; "" if none is named.
func namedOrg(r *http.Request) (string, *problem) {
	switch named := r.Header.Values(headerOrg); {
	case len(named) == 0:
		return "", nil
	case len(named) > 1: // H21
		return "", badField(http.StatusBadRequest, "header."+headerOrg, "is there more than once")
	case named[0] == "":
		return "", badField(http.StatusBadRequest, "header."+headerOrg, "is empty")
	default:
		return named[0], nil
	}
}

// route refuses paths and methods that the API does not have, as problems.
func (s *server) route(r *http.Request) *problem {
	handler, pattern := s.mux.Handler(r)
	if pattern != "" {
		return nil
	}
	probe := &discard{header: http.Header{}}
	handler.ServeHTTP(probe, r)
	if allow := probe.header.Get("Allow"); allow != "" {
		return newProblem(http.StatusMethodNotAllowed, "allowed here: "+allow).with("Allow", allow)
	}
	return newProblem(http.StatusNotFound, "there is no such path")
}

// discard takes the standard library's own answer, of which only the header is of use.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// response knows whether anything was written.
type response struct {
	http.ResponseWriter
	wrote bool
}

func (r *response) WriteHeader(status int) {
	r.wrote = true
	r.ResponseWriter.WriteHeader(status)
}

func (r *response) Write(b []byte) (int, error) {
	r.wrote = true
	return r.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// recovered turns a panic into an answer without its text. If the answer had begun, the connection is cut, so that
// nobody takes half of it for the whole.
func (s *server) recovered(w *response, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	text := fmt.Sprintf("%T", p) // what it says may be anything, a secret included
	if e, ok := p.(runtime.Error); ok {
		text = e.Error()
	}
	s.api.Log.Error("panic in the API", "method", r.Method, "path", r.URL.Path, "panic", text,
		"request", w.Header().Get("X-Request-Id"), "stack", string(debug.Stack()))
	if w.wrote {
		panic(http.ErrAbortHandler)
	}
	newProblem(http.StatusInternalServerError, "internal error").write(w)
}

// requestID keeps a caller's id if it is short and plain and has nothing of a token, and makes one otherwise: ids
// are sent back, logged and kept in the audit log (K03).
func requestID(asked string) string {
	plain := func(c rune) bool {
		return c < 128 && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._:-", c))
	}
	if asked != "" && len(asked) <= 64 && !strings.Contains(asked, "cardea_") && !slices.ContainsFunc([]rune(asked), func(c rune) bool { return !plain(c) }) {
		return asked
	}
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
