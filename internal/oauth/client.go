package oauth

import (
	"encoding/base64"
	"net/http"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/gate"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// client authenticates the client of a request (RFC 6749 §2.3, RFC 7523, RFC 8705). It is nil if the request shows none.
func (x *exchange) client() (*gate.Client, *refusal) {
	ce := gate.ClientEvidence{
		ID: x.form.get("client_id"), Secret: x.form.get("client_secret"), Assertion: x.form.get("client_assertion"),
		Source: x.source, Door: doorName, Route: x.r.URL.Path,
	}
	auth, ok := single(x.r.Header, "Authorization")
	if !ok {
		return nil, repeated
	}
	if (ce.Assertion == "") != (x.form.get("client_assertion_type") == "") || ce.Assertion != "" && x.form.get("client_assertion_type") != assertionType {
		return nil, badAssert
	}
	if ce.Assertion != "" && ce.Secret != "" || auth != "" && (ce.Assertion != "" || ce.Secret != "") { // J15
		return nil, twoWays
	}
	if auth != "" {
		id, password, ok := basic(auth)
		if !ok {
			return nil, badClient
		}
		if ce.ID != "" && ce.ID != id {
			return nil, twoNames
		}
		ce.ID, ce.Secret = id, password
	}
	if ce.ID == "" && ce.Assertion == "" {
		if ce.Secret != "" {
			return nil, badClient
		}
		return nil, nil
	}
	if ce.Assertion != "" {
		ce.Audiences = x.audiences
	}
	ce.Certificate, ce.Presented = x.verified, x.presented
	c, out := x.Gate.Client(x.r.Context(), &ce)
	x.allowance(&out)
	if out.Reason != credential.OK {
		return nil, forClient.of(out)
	}
	return c, nil
}

// basic reads the two parts of an Authorization header, which are form-urlencoded each (RFC 6749 §2.3.1). Neither is empty.
func basic(auth string) (id, password string, ok bool) {
	scheme, encoded, _ := strings.Cut(auth, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	plain, err := base64.StdEncoding.DecodeString(strings.Trim(encoded, " "))
	if err != nil {
		return "", "", false
	}
	id, password, _ = strings.Cut(string(plain), ":")
	if id, ok = unescape(id); !ok {
		return "", "", false
	}
	password, ok = unescape(password)
	return id, password, ok && id != "" && password != ""
}

// caller returns who asks: an OAuth client or, by a token in Authorization or X-API-Key, anybody who has one.
func (x *exchange) caller() (*gate.Identity, *refusal) {
	h := x.r.Header
	auth, one := single(h, "Authorization")
	key, two := single(h, "X-Api-Key")
	if !one || !two {
		return nil, repeated
	}
	scheme, token, _ := strings.Cut(auth, " ")
	switch isToken := strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "DPoP"); {
	case isToken && key != "" && key != token, key != "" && auth != "" && !isToken:
		return nil, twoWays
	case !isToken && key == "":
		c, bad := x.client()
		if bad != nil {
			return nil, bad
		}
		if c == nil {
			return nil, noCaller
		}
		return c.Identity, nil
	case !isToken:
		token = key
	}
	if x.form.get("client_secret") != "" || x.form.get("client_assertion") != "" {
		return nil, twoWays
	}
	ev := gate.Evidence{Token: token, Certificate: x.verified, Presented: x.presented, Source: x.source, Door: doorName, Route: x.r.URL.Path}
	if strings.EqualFold(scheme, "DPoP") {
		var bad *refusal
		if ev.DPoP, bad = x.proof(); bad != nil {
			return nil, bad
		}
		if ev.DPoP == nil {
			return nil, badCaller
		}
	}
	id, out := x.Gate.Authenticate(x.r.Context(), &ev)
	x.allowance(&out)
	switch why := out.Reason; {
	case why == credential.OK:
		return id, nil
	case ev.DPoP != nil && (why == credential.NonceNeeded || why == credential.BadProof || why == credential.Replayed):
		return nil, x.dpopChallenge(why)
	}
	return nil, forCaller.of(out)
}

// dpopChallenge is dpopRefusal for a token in Authorization (RFC 9449 §7.1, §9).
func (x *exchange) dpopChallenge(why credential.Reason) *refusal {
	r := x.dpopRefusal(why)
	r.status, r.challenge = http.StatusUnauthorized, []string{gate.ProofChallenge(why)}
	return r
}

// proof reads the DPoP header; nil for none.
func (x *exchange) proof() (*gate.DPoP, *refusal) {
	text, ok := single(x.r.Header, "Dpop")
	switch {
	case !ok:
		return nil, x.dpopRefusal(credential.BadProof)
	case text == "":
		return nil, nil
	}
	return &gate.DPoP{Proof: text, Method: x.r.Method, URL: x.issuer + x.r.URL.Path, Later: x.r.URL.Path == tokenPath}, nil
}

// allowance tells what its limits leave a credential.
func (x *exchange) allowance(out *gate.Outcome) {
	if a := out.Allowance; a != nil {
		h := x.w.Header()
		h.Set("RateLimit-Policy", a.Policy())
		h.Set("RateLimit", a.Remaining(out.Reason))
	}
}
