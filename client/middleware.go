package client

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Middleware lets requests through that bear an access token which the verifier accepts, in Authorization and nowhere else (K04). The handler finds its
// claims by [TokenFrom]. Others are answered as RFC 6750 section 3 has it: 401 without a good token, 403 without the scopes,
// 400 for a request that is not clear, 503 when it cannot be known.
func Middleware(v *Verifier, options ...GuardOption) func(http.Handler) http.Handler {
	g := newGuard(v, options)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, err := presented(r)
			var c *Claims
			if err == nil {
				c, err = g.admit(r.Context(), p, "")
			}
			if v.proofs != nil && v.proofs.c.Nonces && (p.DPoP || err != nil) {
				w.Header().Set("DPoP-Nonce", v.proofs.nonce())
			}
			if err != nil {
				g.onRefuse(r.Context(), err)
				g.answer(w, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(withClaims(r.Context(), c)))
		})
	}
}

// VerifyRequest is Verify for what came with a request.
func (v *Verifier) VerifyRequest(r *http.Request) (*Claims, error) {
	p, err := presented(r)
	if err != nil {
		return nil, err
	}
	return v.Verify(r.Context(), p)
}

// presented takes the token of a request. A certificate is that of this connection: what a field says about one is not believed (J20).
func presented(r *http.Request) (Presented, error) {
	if _, there := r.URL.Query()["access_token"]; there { // RFC 6750 section 5.3: it is in logs by now
		return Presented{}, &TokenError{Code: invalidRequest, Reason: "a token in the query"}
	}
	fields := r.Header.Values("Authorization")
	if len(fields) > 1 {
		return Presented{}, &TokenError{Code: invalidRequest, Reason: "more than one Authorization field"}
	}
	if len(fields) == 0 {
		return Presented{}, &TokenError{Reason: "there is no token"}
	}
	token, dpop, known := schemeOf(fields[0])
	if !known {
		return Presented{}, &TokenError{Reason: "there is no token, but another kind of credentials"}
	}
	p := Presented{Token: token, DPoP: dpop, Proofs: r.Header.Values("DPoP"), Method: r.Method, Target: r.RequestURI}
	if p.Target == "" { // a request that came by no server
		p.Target = r.URL.RequestURI()
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		p.Peer = r.TLS.PeerCertificates[0]
	}
	return p, nil
}

// answer tells the same for whatever is wrong with a token.
func (g *guard) answer(w http.ResponseWriter, err error) {
	e, ok := errors.AsType[*TokenError](err)
	if !ok {
		w.Header().Set("Retry-After", "1")
		reply(w, http.StatusServiceUnavailable, "temporarily unavailable")
		return
	}
	for _, c := range g.challenges(e) {
		w.Header().Add("WWW-Authenticate", c)
	}
	switch e.Code {
	case invalidRequest:
		reply(w, http.StatusBadRequest, "invalid request")
	case insufficientScope:
		reply(w, http.StatusForbidden, "insufficient scope")
	case "":
		reply(w, http.StatusUnauthorized, "no token")
	default:
		reply(w, http.StatusUnauthorized, strings.ReplaceAll(e.Code, "_", " "))
	}
}

// challenges says which schemes there are, and in that which was used what is wrong (RFC 9449 section 7.2).
func (g *guard) challenges(e *TokenError) []string {
	wrong := ""
	if e.Code != "" {
		wrong = fmt.Sprintf(", error=%q", e.Code)
	}
	if len(e.Scopes) > 0 {
		wrong += fmt.Sprintf(", scope=%q", spaced(e.Scopes))
	}
	bearer, dpop := fmt.Sprintf("Bearer realm=%q", g.realm), ""
	if g.v.proofs != nil {
		dpop = fmt.Sprintf("DPoP realm=%q, algs=%q", g.realm, g.algs())
	}
	switch {
	case e.proof && dpop != "":
		return []string{dpop + wrong, bearer}
	case dpop != "":
		return []string{bearer + wrong, dpop}
	}
	return []string{bearer + wrong}
}

func (g *guard) algs() string {
	names := make([]string, len(g.v.algs))
	for i, a := range g.v.algs {
		names[i] = string(a)
	}
	return spaced(names)
}

func reply(w http.ResponseWriter, status int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"success":false,"reason":"`+reason+`"}`+"\n")
}
