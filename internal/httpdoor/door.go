// Package httpdoor is the HTTP door: a listener that reads who a caller is from
// a token or a client certificate, asks the gate, and forwards the request to
// an upstream or refuses it. It decides nothing itself.
//
// A connection comes through these hands:
//
//	listener → limits → TLS → guard (strict framing) → net/http → Door.ServeHTTP
//	                                                                 │ canonical path, no token in the query
//	                                      /auth ── forward-auth ─────┤
//	                         /api/, /healthz … ── Config.Reserved ───┤
//	                                    all else ── gateway ─────────┘
//
// A route that has a chain of authenticators is decided by it: see chain.go.
//
// The gateway watches every request that it forwards: when the gate cuts one,
// its connection ends abnormally, never as if the answer were complete.
//
//	door, err := httpdoor.New(httpdoor.Config{Gate: g, TokenAuth: true, Reserved: mux})
//	go door.Serve(ctx, listener)
//	…
//	door.Shutdown(ctx)
package httpdoor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"sync/atomic"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/intake"
	"cardea/internal/policy"
)

// Config is what a Door is made of.
type Config struct {
	Gate *gate.Gate
	// TokenAuth lets callers use tokens. Without it only client certificates
	// count; without TLS too, everything is refused.
	TokenAuth bool
	// TLS makes the door speak HTTPS; nil is plain HTTP. It is cloned. With ClientCAs
	// a client may present a certificate. If its chain leads there, the gate checks it at every
	// handshake, resumed ones included; any other one is presented alone; see [Door.Certificate].
	TLS *tls.Config
	// TrustedProxies are the peers whose X-Forwarded-For and Forwarded are
	// believed, and who may ask /auth.
	TrustedProxies []netip.Prefix
	// Origins are further origins than the issuer's that clients reach this door by, through trusted proxies that name them in X-Forwarded-Proto and
	// X-Forwarded-Host: proofs of possession (DPoP) may be made for them.
	Origins []string
	// Reserved answers the paths that are not the gateway's, except /auth. It
	// finds a client's certificate by [Door.Certificate], its proof by [Door.Proof] and its address by [Door.Source]. Nil: 404.
	Reserved http.Handler
	// Forms answers those of the reserved paths to which machines post forms all the time, by path, as Reserved would. Such a request is given to it
	// without net/http if it can be: see direct.go. Its Request.TLS is nil then.
	Forms map[string]http.Handler
	// Transport reaches the upstreams; nil for one that suits a gateway. It is
	// cloned; no proxy of the environment is used and nothing is decompressed.
	Transport *http.Transport
	// Sessions makes sessions of application keys whose callers ask for one; nil: there are none.
	Sessions credential.Sessions
	// QueryKeyUsed is told, at most once an hour for each credential and from a goroutine of its own, that a key came in the query of a route that allows it.
	QueryKeyUsed func(org, credential, principal, route string)
	Limits       Limits
	Log          *slog.Logger     // nil: none
	Now          func() time.Time // nil: time.Now; for deadlines of sockets
}

// Door serves HTTP. Make one with [New].
type Door struct {
	gate      *gate.Gate
	tokens    bool
	tls       *tls.Config
	cas       *x509.CertPool // of clients; nil: none is asked for
	trusted   []netip.Prefix
	reserved  http.Handler
	forms     map[string]http.Handler
	transport *http.Transport
	limits    Limits
	log       *slog.Logger
	now       func() time.Time

	proxy   *httputil.ReverseProxy
	server  *http.Server
	routes  atomic.Pointer[table]
	seats   *intake.Seats
	streams streams
	serial  atomic.Uint64 // of requests in the log
	warned  atomic.Int64  // when an upstream's failure was last logged, Unix seconds
	ending  atomic.Bool   // Shutdown was called
	answers atomic.Int64  // being given without net/http

	issuer       string   // the origin that clients know
	origins      []string // others
	sessions     credential.Sessions
	queryKeyUsed func(org, credential, principal, route string)
	notes        keyNotes
}

// New returns a Door. It does not listen yet.
func New(c Config) (*Door, error) {
	if c.Gate == nil {
		return nil, credential.Errorf(credential.Invalid, "the HTTP door needs a gate")
	}
	d := &Door{
		gate: c.Gate, tokens: c.TokenAuth, trusted: c.TrustedProxies, reserved: c.Reserved, forms: c.Forms,
		limits: c.Limits.orDefault(), log: c.Log, now: c.Now,
		sessions: c.Sessions, queryKeyUsed: c.QueryKeyUsed, issuer: originOf(c.Gate.Issuer()), origins: c.Origins,
	}
	if d.now == nil {
		d.now = time.Now
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.reserved == nil {
		d.reserved = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.refuse(w, r, noRoute) })
	}
	d.seats = intake.NewSeats(d.limits.Connections, d.limits.PerSource)
	d.transport = newTransport(c.Transport, d.limits)
	d.tls = d.tlsConfig(c.TLS)
	d.proxy = d.newProxy()
	d.server = d.newServer()
	d.server.RegisterOnShutdown(func() { d.streams.drain(credential.Draining) })
	return d, nil
}

// Handler returns the door without its listener: what stands behind net/http.
// Framing is then net/http's own, without the guard.
func (d *Door) Handler() http.Handler { return d }

// ServeHTTP takes one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := d.peerOf(r)
	escaped, query := splitTarget(r)
	if escaped == "/auth" {
		d.forwardAuth(w, r, p)
		return
	}
	a := checkForm(r, query)
	if a != nil && a != tokenInQuery {
		d.refuseForm(w, r, escaped, a)
		return
	}
	path, err := policy.CanonicalPath(escaped)
	if err != nil {
		d.refuseForm(w, r, escaped, badPath)
		return
	}
	t := target{escaped: escaped, path: path, query: query}
	if a != nil {
		var ok bool
		if t.key, t.query, ok = d.queryKey(path, query); !ok {
			d.refuseForm(w, r, escaped, a)
			return
		}
	}
	switch {
	case path == "/auth":
		d.forwardAuth(w, r, p)
	case isReserved(path):
		d.serveReserved(w, r, p)
	default:
		d.gateway(w, r, p, t)
	}
}

// refuseForm answers what was not even looked at.
func (d *Door) refuseForm(w http.ResponseWriter, r *http.Request, path string, a *answer) {
	d.refuse(w, r, a)
	d.logRequest(r, path, a.status, nil, netip.Addr{})
}

// Shutdown stops accepting, ends event streams and upgraded connections, which have no
// end of their own, and lets requests finish until ctx ends. What then remains
// is cut, and ctx's error returned.
func (d *Door) Shutdown(ctx context.Context) error {
	d.ending.Store(true)
	for d.answers.Load() > 0 && ctx.Err() == nil { // net/http takes their connections for unused ones, and closes those
		time.Sleep(time.Millisecond)
	}
	err := d.server.Shutdown(ctx) // it drains the streams as soon as nothing is accepted any more
	if err != nil {
		d.server.Close()
	}
	d.streams.drain(credential.Draining) // those that began meanwhile
	d.transport.CloseIdleConnections()
	return err
}
