package api

import (
	"net/http"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/gate"
)

// evidence reads the token, with the proof that may belong to it, or the API key, and the client certificate of the connection. Cookies count for nothing.
func (s *server) evidence(r *http.Request) (gate.Evidence, credential.Reason) {
	ev := gate.Evidence{Source: s.api.ClientAddr(r), Door: "api", Route: s.routeOf(r.URL.Path)}
	ev.Certificate, ev.Presented = s.api.Certificate(r)
	auth, key := r.Header.Values("Authorization"), r.Header.Values("X-API-Key")
	if len(auth) > 1 || len(key) > 1 {
		return ev, credential.AmbiguousEvidence
	}
	if len(auth) == 1 {
		scheme, token, _ := strings.Cut(auth[0], " ")
		bound := strings.EqualFold(scheme, "dpop")
		if !bound && !strings.EqualFold(scheme, "bearer") || token == "" {
			return ev, credential.MalformedToken
		}
		if ev.Token = token; bound {
			ev.DPoP = s.proof(r)
		}
	}
	if len(key) == 1 {
		if ev.Token != "" && ev.Token != key[0] {
			return ev, credential.AmbiguousEvidence
		}
		ev.Token = key[0]
	}
	return ev, credential.OK
}

// proof returns the proof that a request must have; one that is refused if it has none.
func (s *server) proof(r *http.Request) *gate.DPoP {
	if s.api.Proof != nil {
		if p := s.api.Proof(r); p != nil {
			return p
		}
	}
	return &gate.DPoP{}
}

// refusalTo is refusal for whoever has shown ev: what is wrong with a proof, or that there must be one, is said (RFC 9449 §7.1).
func refusalTo(ev *gate.Evidence, out gate.Outcome) *problem {
	p := refusal(out.Reason, out.RetryAfter)
	switch {
	case out.Reason.Class() != credential.InvalidToken:
	case ev.DPoP != nil:
		p = p.with("WWW-Authenticate", gate.ProofChallenge(out.Reason))
	case out.Reason == credential.ProofMissing:
		p.headers.Add("WWW-Authenticate", gate.ProofChallenge(out.Reason))
	}
	return p
}
