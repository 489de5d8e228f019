package httpdoor

import (
	"cmp"
	"net/http"
	"net/netip"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/policy"
)

// forwardAuth answers a proxy that asks before it forwards: nginx auth_request,
// Traefik ForwardAuth, Caddy forward_auth, HAProxy. It says 200 with the identity headers, 401 or
// 403. Only trusted proxies may ask, and they must say what is attempted in exactly
// one way: a header that the proxy does not set itself is one that its client may have forged (H20).
//
// A client certificate is the proxy's own and proves nothing about its client. If the path is that of a
// route of the gateway that has a chain, the chain is asked.
func (d *Door) forwardAuth(w http.ResponseWriter, r *http.Request, p *peer) {
	if !d.trustedPeer(p) {
		d.answerAuth(w, r, proxiesOnly)
		return
	}
	access := policy.Access{Proto: policy.HTTP}
	what := asked{host: originalHost(r)}
	if a := original(r.Header, &access, &what); a != nil {
		d.answerAuth(w, r, a)
		return
	}
	source, err := d.source(r.Header, p)
	if err != nil {
		d.answerAuth(w, r, badOrigAddr)
		return
	}
	access.Source = source
	ev := gate.Evidence{Source: source, Door: doorName, Route: cmp.Or(d.upstreamOf(access.Resource).name(), "/auth")}
	chain := d.gate.PathChain(access.Resource)
	id, out := d.identify(r, p, chain, &what, &ev)
	setRateLimit(w.Header(), &out)
	d.giveNonce(w.Header(), &ev)
	if out.Reason == credential.OK {
		out.Reason = d.gate.Authorize(id, &access).Reason
	}
	if out.Reason != credential.OK {
		a := d.refuseFor(w, r, d.answersAt(r, authByClass[:], chain, &ev, out.Reason), out)
		d.logRequest(r, access.Resource, a.status, id, source)
		return
	}
	intro := new(introduction)
	if reason := d.introduce(intro, id); reason != credential.OK {
		d.refuseFor(w, r, d.answersAt(r, authByClass[:], chain, &ev, reason), gate.Outcome{Reason: reason})
		return
	}
	intro.set(w.Header())
	w.WriteHeader(http.StatusOK)
	d.logRequest(r, access.Resource, http.StatusOK, id, source)
}

func (d *Door) answerAuth(w http.ResponseWriter, r *http.Request, a *answer) {
	d.refuse(w, r, a)
	d.logRequest(r, "/auth", a.status, nil, netip.Addr{})
}

// originalHost is the host that a proxy's client has asked, as far as the proxy says.
func originalHost(r *http.Request) string {
	if v := r.Header["X-Forwarded-Host"]; len(v) == 1 {
		return v[0]
	}
	return r.Host
}

// authenticate reads the evidence and asks who it is.
func (d *Door) authenticate(r *http.Request, p *peer, what *asked, ev *gate.Evidence) (*gate.Identity, gate.Outcome) {
	switch d.allEvidence(r, p, what, ev) {
	case credential.AmbiguousEvidence:
		return nil, gate.Outcome{Reason: credential.AmbiguousEvidence}
	case credential.MalformedToken:
		ev.Token = notToken // so that it is refused and counted where all are
	}
	id, out := d.gate.Authenticate(r.Context(), ev)
	if out.Reason == credential.OK && r.Header["Cookie"] != nil && !d.agrees(r, id, ev) {
		return nil, gate.Outcome{Reason: credential.AmbiguousEvidence}
	}
	return id, out
}

// allEvidence is evidence with a proof of possession, with a key from the query, and with the cookie of a session if there is nothing else.
func (d *Door) allEvidence(r *http.Request, p *peer, what *asked, ev *gate.Evidence) credential.Reason {
	reason := d.evidence(r.Header, ev)
	if ev.DPoP != nil {
		ev.DPoP = d.proof(r.Header, p, what)
	}
	if !d.tokens || reason == credential.AmbiguousEvidence {
		return reason
	}
	if what.key != "" {
		if ev.Token != "" || reason != credential.OK { // K05: in two places at once
			return credential.AmbiguousEvidence
		}
		ev.Token = what.key
		return credential.OK
	}
	if ev.Token != "" || reason != credential.OK || r.Header["Cookie"] == nil {
		return reason
	}
	ev.Token, reason = fromCookie(r, what.method, what.host)
	return reason
}

// notToken stands for what cannot be read as any text.
const notToken = "?"

// original reads from a proxy's headers what its client attempts.
func original(h http.Header, access *policy.Access, what *asked) *answer {
	method, uri := h["X-Original-Method"], h["X-Original-Uri"]
	other, otherURI := h["X-Forwarded-Method"], h["X-Forwarded-Uri"]
	if len(method)+len(uri) == 0 {
		method, uri, other, otherURI = other, otherURI, method, uri
	}
	if len(method) != 1 || len(uri) != 1 || len(other)+len(otherURI) > 0 || !isMethod(method[0]) {
		return badOriginal
	}
	escaped, query, _ := strings.Cut(uri[0], "?")
	if showsToken(query) {
		return queryToken
	}
	path, err := policy.CanonicalPath(escaped)
	if err != nil {
		return badOrigPath
	}
	access.Verb, access.Resource = method[0], path
	what.method, what.path = method[0], escaped
	return nil
}
