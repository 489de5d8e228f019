package httpdoor

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/policy"
)

// target is a request's path twice: as it came, and as it is judged.
type target struct {
	escaped, path string
	query         string // what goes on to the upstream
	key           string // that was in the query, where the route allows it; "" for none
}

// splitTarget returns path and query exactly as the client sent them.
func splitTarget(r *http.Request) (escaped, query string) {
	uri := r.RequestURI
	if uri == "" { // not from a server
		uri = r.URL.RequestURI()
	}
	escaped, query, _ = strings.Cut(uri, "?")
	return escaped, query
}

// checkForm refuses what no handler of the door should see. HTTP/2 has no guard
// in front, so it says again what the guard says of HTTP/1.
func checkForm(r *http.Request, query string) *answer {
	switch {
	case !isMethod(r.Method):
		return badMethod
	case r.RequestURI != "" && r.RequestURI[0] != '/', r.ProtoMajor == 2 && !isTarget(r.RequestURI):
		return badTarget
	case len(r.Header) > maxHeaderLines, r.ProtoMajor == 2 && fieldLines(r.Header) > maxHeaderLines:
		return tooManyFields
	case showsToken(query):
		return tokenInQuery
	}
	return nil
}

// isMethod takes upper-case methods only: "delete" would be no DELETE to a rule,
// but may well be one to an upstream. TRACE and CONNECT are nobody's here (H06, H10).
func isMethod(m string) bool {
	for i := range len(m) {
		if c := m[i]; (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return m != "" && m != http.MethodTrace && m != http.MethodConnect
}

// isTarget reports whether s has nothing that a request line must not have.
func isTarget(s string) bool {
	for i := range len(s) {
		if classes[s[i]]&targetByte == 0 {
			return false
		}
	}
	return true
}

// fieldLines is how many lines a header is.
func fieldLines(h http.Header) (n int) {
	for _, values := range h {
		n += len(values)
	}
	return n
}

// reserved are the paths that are not the gateway's; one that ends with "/" is a prefix.
var reserved = []string{"/api/", "/oauth2/", "/.well-known/", "/backend/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/mqtt"}

func isReserved(path string) bool {
	for _, p := range reserved {
		if dir, isDir := strings.CutSuffix(p, "/"); isDir && strings.HasPrefix(path, p) || path == dir {
			return true
		}
	}
	return false
}

// serveReserved gives the request to whoever was wired, with a body that must make progress.
func (d *Door) serveReserved(w http.ResponseWriter, r *http.Request, p *peer) {
	if r.Body != nil && r.Body != http.NoBody {
		b := d.pace(w, r, 0)
		defer b.finish()
		r = r.WithContext(r.Context())
		r.Body = b
	}
	if g := p.guard; g != nil && r.Header["Upgrade"] != nil {
		w = &rawOnHijack{w, g}
	}
	d.reserved.ServeHTTP(w, r)
}

// gateway authenticates, authorises and forwards. Who is not known learns
// nothing of routes: 401 comes before 404.
func (d *Door) gateway(w http.ResponseWriter, r *http.Request, p *peer, t target) {
	source, err := d.source(r.Header, p)
	if err != nil {
		d.refuse(w, r, badForwarded)
		return
	}
	f := &flight{door: d, w: w, peer: p, target: t, query: t.query, source: source, chain: d.gate.PathChain(t.path)}
	f.access = policy.Access{Proto: policy.HTTP, Verb: r.Method, Resource: t.path, Source: source}
	up := d.upstreamOf(t.path) // who is not known is refused in the same way, whatever it is
	ev := gate.Evidence{Certificate: p.leaf, Presented: p.presented, Source: source, Door: doorName, Route: up.name()}
	id, out := d.identify(r, p, f.chain, &asked{method: r.Method, host: r.Host, path: t.escaped, key: t.key}, &ev)
	setRateLimit(w.Header(), &out)
	d.giveNonce(w.Header(), &ev)
	if out.Reason == credential.OK {
		out.Reason = d.gate.Authorize(id, &f.access).Reason
	}
	f.id, f.left = id, out.Allowance
	if t.key != "" && id != nil {
		d.noteQueryKey(id, up.prefix, source) // whatever the rules say: it stood in the URL
	}
	if out.Reason != credential.OK {
		a := d.refuseFor(w, r, d.answersAt(r, byClass[:], f.chain, &ev, out.Reason), out)
		d.logRequest(r, t.path, a.status, id, source)
		return
	}
	if up == nil {
		d.refuse(w, r, noRoute)
		d.logRequest(r, t.path, noRoute.status, id, source)
		return
	}
	f.upstream = up
	if d.beginSession(w, r, f) {
		d.logRequest(r, t.path, http.StatusSeeOther, id, source)
		return
	}
	d.forward(w, r, f, &ev)
}

// forward passes the request on, under watch.
func (d *Door) forward(w http.ResponseWriter, r *http.Request, f *flight, ev *gate.Evidence) {
	if max := d.limits.MaxBody; r.ContentLength > max {
		d.refuse(w, r, bodyTooLarge)
		return
	}
	if reason := d.introduce(&f.intro, f.id); reason != credential.OK {
		d.refuseFor(w, r, d.answersAt(r, byClass[:], f.chain, ev, reason), gate.Outcome{Reason: reason})
		return
	}
	kind := "request"
	if isWebSocket(r) {
		kind = "upgrade"
		w = &upgrader{ResponseWriter: w, flight: f}
	} else if r.Header["Upgrade"] != nil {
		delete(r.Header, "Upgrade") // h2c would be a tunnel behind the gate
	}
	f.Context, f.cancel = context.WithCancel(r.Context())
	if reason := f.begin(kind); reason != credential.OK {
		f.cancel()
		d.refuseFor(w, r, d.answersAt(r, byClass[:], f.chain, ev, reason), gate.Outcome{Reason: reason})
		return
	}
	defer f.end()
	out := r.WithContext(f)
	if r.Body != nil && r.Body != http.NoBody {
		f.body = d.pace(w, r, d.limits.MaxBody)
		out.Body = f.body
	}
	d.proxy.ServeHTTP(w, out)
	if f.wasCut() {
		panic(http.ErrAbortHandler) // never as if the answer were complete
	}
	d.logRequest(r, f.target.path, f.status, f.id, f.source)
}

// isWebSocket reports whether r may become a WebSocket. No other protocol is switched to.
func isWebSocket(r *http.Request) bool {
	up := r.Header["Upgrade"]
	return len(up) == 1 && strings.EqualFold(up[0], "websocket") &&
		r.Method == http.MethodGet && r.ContentLength == 0 && r.ProtoMajor == 1 && r.ProtoMinor == 1
}

// newProxy makes the one reverse proxy; where a request goes is in its flight.
func (d *Door) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        d.rewrite,
		Transport:      d.transport,
		ModifyResponse: d.answered,
		ErrorHandler:   d.upstreamFailed,
		BufferPool:     new(buffers),
		ErrorLog:       d.serverLog(),
	}
}

// rewrite runs after the hop-by-hop headers are gone, so that no Connection
// header of the caller can take away what is set here (H02).
func (d *Door) rewrite(pr *httputil.ProxyRequest) {
	f := pr.In.Context().(*flight)
	out := pr.Out
	out.URL.Scheme, out.URL.Host = f.upstream.scheme, f.upstream.host
	out.URL.RawQuery = f.query // ReverseProxy drops what it cannot parse
	if out.URL.EscapedPath() != f.target.escaped {
		out.URL.Opaque = f.target.escaped // exactly the bytes that were judged (H05)
	}
	out.Trailer = nil
	strip(out.Header)
	f.intro.set(out.Header)
	d.forwarded(out.Header, pr.In, f.peer, f.source)
}

// answered sees the upstream's answer before it is passed on.
func (d *Door) answered(resp *http.Response) error {
	f := flightOf(resp.Request.Context())
	f.status = resp.StatusCode
	keepCookies(resp.Header)
	if f.w.Header()[hNonce] != nil { // an upstream never sees a proof: what it says of nonces is about others
		delete(resp.Header, hNonce)
	}
	f.moveRateLimit(resp.Header)
	if mediaType, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); strings.EqualFold(strings.TrimSpace(mediaType), "text/event-stream") {
		return f.becomeStream()
	}
	return nil
}

// upstreamFailed says what became of a request that has no answer, without a
// word about the inside.
func (d *Door) upstreamFailed(w http.ResponseWriter, out *http.Request, err error) {
	f := flightOf(out.Context())
	a := f.failure(err)
	if a == nil {
		panic(http.ErrAbortHandler) // cut, or the caller has gone
	}
	f.status = a.status
	if a == upstreamDown || a == upstreamSlow {
		d.warnUpstream(f, err)
	}
	d.refuse(w, out, a)
}

// failure is nil if nobody waits for an answer.
func (f *flight) failure(err error) *answer {
	var timeout net.Error
	switch {
	case f.wasCut():
		return nil
	case f.body != nil && f.body.fault() != nil:
		return f.bodyFailure()
	case f.Context.Err() != nil:
		return nil
	case errors.As(err, &timeout) && timeout.Timeout():
		return upstreamSlow
	}
	return upstreamDown
}

func (f *flight) bodyFailure() *answer {
	var timeout net.Error
	switch err := f.body.fault(); {
	case errors.Is(err, errTooLarge):
		return bodyTooLarge
	case errors.Is(err, errTooSlow), errors.As(err, &timeout) && timeout.Timeout():
		return bodyTooSlow
	case f.peer.guard == nil || f.peer.guard.violated():
		return badBody
	}
	return nil // the caller has gone
}

// table is the compiled routes of one answer of gate.Routes.
type table struct {
	routes []credential.Route
	ups    []upstream
}

type upstream struct {
	prefix, scheme, host string
	queryKey             bool
}

// name is what uses are counted by; "" for nowhere.
func (u *upstream) name() string {
	if u == nil {
		return ""
	}
	return u.prefix
}

// upstreamOf returns where a canonical path goes: the longest prefix wins. Nil for nowhere.
func (d *Door) upstreamOf(path string) *upstream {
	routes := d.gate.Routes()
	t := d.routes.Load()
	if t == nil || !sameRoutes(t.routes, routes) {
		t = d.compile(routes)
		d.routes.Store(t)
	}
	for i := range t.ups {
		if strings.HasPrefix(path, t.ups[i].prefix) {
			return &t.ups[i]
		}
	}
	return nil
}

// sameRoutes compares snapshots, not contents: the gate makes a new one for a change.
func sameRoutes(a, b []credential.Route) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

func (d *Door) compile(routes []credential.Route) *table {
	t := &table{routes: routes}
	for _, r := range routes {
		u, err := url.Parse(r.Upstream)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			d.log.Error("a route's upstream is not a URL; it is left out", "prefix", r.Prefix)
			continue
		}
		t.ups = append(t.ups, upstream{prefix: r.Prefix, scheme: u.Scheme, host: u.Host, queryKey: r.QueryKey})
	}
	return t
}
