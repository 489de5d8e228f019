// Package api is the control plane over HTTP: JSON under /api/v1, described by
// OpenAPI 3.1 at /openapi.json. It parses, calls one method of the authority
// or the gate, and answers; it decides nothing itself.
//
//	a, err := api.New(api.Config{Authority: auth, Gate: g, EventLine: audit.Line, Log: log})
//	mux.Handle("/api/", a.Handler())       // bearer credentials, for the network
//	mux.Handle("/backend/", a.Backend())   // the same, for clusters of EMQX
//	unixServer.Handler = a.LocalHandler()  // the administrator's socket
//
// What is wrong with a request is said as a problem document (RFC 9457) that
// names all of it at once and never repeats what was sent: it could be a secret.
package api

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/gate"
)

// Config is what an API is made of.
type Config struct {
	Authority *authority.Authority
	Gate      *gate.Gate
	Log       *slog.Logger
	// EventLine writes an event as a line of an export, with its line feed. There is one such format, whoever exports.
	EventLine func(*credential.Event) ([]byte, error)
	// ClientAddr returns where a request came from, behind trusted proxies. Nil: the peer.
	ClientAddr func(*http.Request) netip.Addr
	// Certificate returns the client's certificate: one whose chain leads to Cardea's CA, or one that was presented alone. Nil: what TLS has verified.
	Certificate func(*http.Request) (verified, presented *x509.Certificate)
	// Proof returns the proof of possession (RFC 9449) that came with a request; nil for none. Without it no token that is bound to a key is accepted.
	Proof func(*http.Request) *gate.DPoP
	// Ready says whether every door accepts; nil if that is all the gate knows. Its text is not shown to the public.
	Ready func() error
	// Version is shown to the local administrator and in the OpenAPI document's info only.
	Version string
	// Collectors are what the other parts count; /metrics shows them.
	Collectors []prometheus.Collector
	Now        func() time.Time // nil: time.Now
}

// API serves the control plane.
type API struct {
	Config
	remote, local, backend *server
	public                 http.Handler
	codes                  attempts // wrong ones of invitations
	reports                attempts // of leaks, right or not
	leaking                chan struct{}
	working                sync.WaitGroup
}

// New returns an API.
func New(c Config) (*API, error) {
	if c.Authority == nil || c.Gate == nil || c.EventLine == nil {
		return nil, errors.New("api: authority, gate and the format of exports are needed")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.ClientAddr == nil {
		c.ClientAddr = peerAddr
	}
	if c.Certificate == nil {
		c.Certificate = verifiedLeaf
	}
	a := &API{Config: c, leaking: make(chan struct{}, maxLeaking)}
	a.remote = newServer(a, false)
	a.local = newServer(a, true)
	a.backend = newBackend(a)
	var err error
	a.public, err = a.newPublic()
	return a, err
}

// Handler serves /api/ to callers with a credential.
func (a *API) Handler() http.Handler { return a.remote }

// LocalHandler serves /api/ to the local administrator, who needs no
// credential, with what only they may do; and what is public.
func (a *API) LocalHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/", a.local)
	mux.Handle("/", a.public)
	return mux
}

// Public serves what needs no credential: /healthz, /readyz, /metrics,
// /openapi.json and /.well-known/jwks.json.
func (a *API) Public() http.Handler { return a.public }

func peerAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

func verifiedLeaf(r *http.Request) (verified, presented *x509.Certificate) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil, nil
	}
	return r.TLS.VerifiedChains[0][0], nil
}
