package oauth

import (
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	"cardea/internal/authority"
	"cardea/internal/gate"
)

// The paths, behind the issuer's.
const (
	tokenPath      = "/oauth2/token"
	introspectPath = "/oauth2/introspect"
	revokePath     = "/oauth2/revoke"
	jwksPath       = "/.well-known/jwks.json"
)

// MetadataPath is where the metadata are; those of an issuer with a path have it behind this (RFC 8414 §3.1).
const MetadataPath = "/.well-known/oauth-authorization-server"

// doorName is what uses and refusals are noted under.
const doorName = "oauth"

// Config is what a Server is made of.
type Config struct {
	Gate      *gate.Gate
	Authority *authority.Authority
	// ClientAddr returns the client's address, behind trusted proxies; invalid if it is not known.
	ClientAddr func(*http.Request) netip.Addr
	// Certificate returns the client certificate of the request's connection: one whose chain TLS has verified, or one whose key alone is proven.
	Certificate func(*http.Request) (verified, presented *x509.Certificate)
	Log         *slog.Logger // nil: none
}

// Server answers under /oauth2/ and the metadata under /.well-known/. It is safe for concurrent use.
type Server struct {
	Config
	issuer    string
	audiences []string // that client assertions may be for
	metadata  string   // the path at which an issuer with a path has them (RFC 8414 §3.1)
	pool      sync.Pool
}

// New returns a Server for the issuer of the gate.
func New(c Config) *Server {
	s := &Server{Config: c, issuer: c.Gate.Issuer(), metadata: MetadataPath}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	s.audiences = []string{s.issuer, s.issuer + tokenPath}
	if u, err := url.Parse(s.issuer); err == nil {
		s.metadata += strings.TrimSuffix(u.EscapedPath(), "/")
	}
	s.pool.New = func() any { return &exchange{body: make([]byte, 0, 2<<10), out: make([]byte, 0, 2<<10)} }
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case tokenPath:
		s.post(w, r, (*exchange).token)
	case introspectPath:
		s.post(w, r, (*exchange).introspect)
	case revokePath:
		s.post(w, r, (*exchange).revoke)
	case MetadataPath, s.metadata:
		s.describe(w, r)
	default:
		notFound.write(w)
	}
}

// Forms are the endpoints that machines ask all the time, by path, for a door that can answer those in a shorter way.
func (s *Server) Forms() map[string]http.Handler {
	return map[string]http.Handler{tokenPath: s, introspectPath: s}
}

// exchange is one request and its answer. It is used again: nothing keeps it.
type exchange struct {
	*Server
	w    http.ResponseWriter
	r    *http.Request
	form form
	body []byte // of the request
	out  []byte // of the answer

	verified, presented *x509.Certificate
	source              netip.Addr
}

// post has an endpoint answer a form.
func (s *Server) post(w http.ResponseWriter, r *http.Request, answer func(*exchange) *refusal) {
	if r.Method != http.MethodPost {
		w.Header()["Allow"] = allowPost
		badMethod.write(w)
		return
	}
	x := s.pool.Get().(*exchange) //nolint:forcetypeassert // New makes nothing else
	x.Server, x.w, x.r = s, w, r
	x.source = s.ClientAddr(r)
	x.verified, x.presented = s.Certificate(r)
	bad := x.readForm()
	if bad == nil {
		bad = answer(x)
	}
	if bad != nil {
		bad.write(w)
	}
	x.release()
}

// release gives x back without what it held. Secrets that were read stay in nobody's hands.
func (x *exchange) release() {
	s := x.Server
	clear(x.body[:cap(x.body)])
	clear(x.out[:cap(x.out)])
	clear(x.form.pairs[:cap(x.form.pairs)])
	if cap(x.body) > 16<<10 || cap(x.out) > 16<<10 {
		return
	}
	*x = exchange{form: form{pairs: x.form.pairs[:0]}, body: x.body[:0], out: x.out[:0]}
	s.pool.Put(x)
}

var (
	allowPost = []string{"POST"}
	allowGet  = []string{"GET, HEAD"}
	typeJSON  = []string{"application/json"}
	noStore   = []string{"no-store"}
	noCache   = []string{"no-cache"}
	noSniff   = []string{"nosniff"}
)

// header sets what all answers have (RFC 6749 §5.1).
func header(h http.Header) {
	h["Content-Type"] = typeJSON
	h["Cache-Control"] = noStore
	h["Pragma"] = noCache
	h["X-Content-Type-Options"] = noSniff
}
