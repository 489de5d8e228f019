package httpdoor

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/gate"
)

// The fields of DPoP (RFC 9449), in canonical form.
const (
	hProof = "Dpop"
	hNonce = "Dpop-Nonce"
)

// asked is what a client has asked for, which may be another request than the one that asks for it: that of a proxy's client.
type asked struct {
	method string
	host   string // that a browser has asked
	path   string // as it was sent, escaped
	key    string // that was in the query, where the route allows it; "" for none
}

// Proof returns the proof of possession that came with a request; nil for none. More than one are none that could be good (RFC 9449 §4.3).
func (d *Door) Proof(r *http.Request) *gate.DPoP {
	if r.Header[hProof] == nil {
		return nil
	}
	path, _ := splitTarget(r)
	return d.proof(r.Header, d.peerOf(r), &asked{method: r.Method, path: path})
}

// proof reads the proof for what was asked. If there is none, or there are several, it is one that is refused.
func (d *Door) proof(h http.Header, p *peer, what *asked) *gate.DPoP {
	x := &gate.DPoP{Method: what.method, URL: d.origin(h, p) + what.path}
	if v := h[hProof]; len(v) == 1 {
		x.Proof = v[0]
	}
	return x
}

// origin is how clients have called us: by the issuer's name, unless a trusted proxy names another one of ours. What a client itself says in Host
// counts for nothing, nor what a proxy passes on that is not one of ours: whoever was shown a proof for their own server could show it here, and name that
// server.
func (d *Door) origin(h http.Header, p *peer) string {
	if len(d.origins) == 0 || !d.trustedPeer(p) {
		return d.issuer
	}
	scheme, host, _ := strings.Cut(d.issuer, "://")
	if v := h["X-Forwarded-Proto"]; len(v) == 1 {
		scheme = v[0]
	}
	if v := h["X-Forwarded-Host"]; len(v) == 1 {
		host = v[0]
	}
	if named := scheme + "://" + host; slices.Contains(d.origins, named) {
		return named
	}
	return d.issuer
}

// originOf returns the origin of an issuer (RFC 6454 §6.1).
func originOf(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// giveNonce tells a client that has shown a proof with what nonce the next one is to be made: before its own one is too old.
func (d *Door) giveNonce(h http.Header, ev *gate.Evidence) {
	if ev.DPoP != nil {
		h[hNonce] = []string{d.gate.Nonce()}
	}
}

// What is said to whoever has shown a proof: one challenge, by which clients know what to do. For all that is wrong with the token it is the same.
var (
	invalidBound = proofAnswer("invalid token", credential.BadSignature)
	invalidProof = proofAnswer("the DPoP proof is not good for this request", credential.BadProof)
	nonceNeeded  = proofAnswer("a DPoP proof with the nonce of DPoP-Nonce is needed", credential.NonceNeeded)
	// showProof is for whoever shows a token that is bound to a key as if it were bound to none (J22).
	showProof = func() *answer {
		a := newAnswer(401, invalidToken.reason, "invalid_token")
		a.challenge = append(a.challenge, gate.ProofChallenge(credential.ProofMissing))
		return a
	}()
)

func proofAnswer(reason string, why credential.Reason) *answer {
	a := newAnswer(401, reason, "")
	a.challenge = []string{gate.ProofChallenge(why)}
	return a
}

// invalidWith is what is said to whoever has shown a proof, and is refused.
func invalidWith(why credential.Reason) *answer {
	switch why {
	case credential.NonceNeeded:
		return nonceNeeded
	case credential.BadProof, credential.Replayed:
		return invalidProof
	}
	return invalidBound
}
