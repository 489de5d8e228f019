package oauth

import (
	"crypto/x509"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
)

// Names of grants and kinds of tokens.
const (
	clientCredentials = "client_credentials"
	tokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange"

	typeAccess      = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	typeCertificate = "urn:cardea:token-type:certificate" // the certificate of the connection, as base64url of its DER
)

// token is the token endpoint.
func (x *exchange) token() *refusal {
	grant := x.form.get("grant_type")
	switch grant {
	case "":
		return noGrant
	case clientCredentials, tokenExchange:
	default:
		return badGrant
	}
	// The proof comes first: whoever must ask again for a nonce has not used up an assertion then.
	proof, bad := x.proof()
	if bad != nil {
		return bad
	}
	w := gate.Wanted{Audiences: x.targets()}
	if proof != nil {
		var why credential.Reason
		if w.JKT, why = x.Gate.Possession(x.r.Context(), proof, ""); why != credential.OK {
			return x.dpopRefusal(why)
		}
	}
	if w.Scopes, bad = scopes(x.form.get("scope")); bad != nil {
		return bad
	}
	if w.Client, bad = x.client(); bad != nil {
		return bad
	}
	if leaf := x.leaf(); leaf != nil && w.Client != nil && w.Client.Config.Bound == credential.BoundToTLS {
		w.X5T = gate.Thumbprint(leaf)
	}
	var id *gate.Identity
	if grant == tokenExchange {
		id, bad = x.subject(&w)
	} else if w.Client == nil {
		bad = badClient
	} else {
		id = w.Client.Identity
	}
	if bad != nil {
		return bad
	}
	m, err := x.Gate.Mint(id, &w)
	if err != nil {
		return x.refuseToken(err, &w)
	}
	if proof != nil {
		if why := x.Gate.FirstPossession(x.r.Context(), proof); why != credential.OK {
			return x.dpopRefusal(why)
		}
		x.w.Header()["Dpop-Nonce"] = []string{x.Gate.Nonce()}
	}
	x.grant(&m, grant)
	return nil
}

// grant answers with a token. There is never a refresh token (RFC 6749 §4.4.3), and the scope is always told (J16).
func (x *exchange) grant(m *gate.Minted, grant string) {
	b := append(x.out[:0], `{"access_token":"`...)
	b = append(b, m.Token...)
	b = append(append(b, `","token_type":"`...), m.Type...)
	b = strconv.AppendInt(append(b, `","expires_in":`...), int64(m.Life/time.Second), 10)
	b = appendScope(b, m.Scopes)
	if grant == tokenExchange {
		b = append(b, `,"issued_token_type":"`...)
		if x.form.get("requested_token_type") == typeJWT {
			b = append(b, typeJWT...)
		} else {
			b = append(b, typeAccess...)
		}
		b = append(b, '"')
	}
	x.out = append(b, '}')
	x.answer()
}

// targets returns whom the token is to be for: resources (RFC 8707) and audiences (RFC 8693 §2.1), which are the same here.
func (x *exchange) targets() []string {
	return append(x.form.all("resource"), x.form.all("audience")...)
}

// scopes splits a scope (RFC 6749 §3.3); nil for none.
func scopes(text string) ([]string, *refusal) {
	if text == "" {
		return nil, nil
	}
	list := strings.Split(text, " ")
	for _, s := range list {
		if s == "" || strings.ContainsFunc(s, notInScope) {
			return nil, badScope
		}
	}
	return list, nil
}

func notInScope(c rune) bool { return c < 0x21 || c > 0x7e || c == '"' || c == '\\' }

func (x *exchange) leaf() *x509.Certificate {
	if x.verified != nil {
		return x.verified
	}
	return x.presented
}

// subject returns for whom a token is exchanged (RFC 8693 §2.1), and notes who acts.
func (x *exchange) subject(w *gate.Wanted) (*gate.Identity, *refusal) {
	f := &x.form
	text, kind := f.get("subject_token"), f.get("subject_token_type")
	if text == "" || kind == "" {
		return nil, noSubject
	}
	switch f.get("requested_token_type") {
	case "", typeAccess, typeJWT:
	default:
		return nil, badRequested
	}
	ev, bad := x.shown(text, kind, w)
	if bad != nil {
		return nil, bad
	}
	id, out := x.Gate.Authenticate(x.r.Context(), ev)
	x.allowance(&out)
	if out.Reason != credential.OK {
		return nil, forSubject.of(out)
	}
	actor, actorType := f.get("actor_token"), f.get("actor_token_type")
	if actor == "" && actorType == "" {
		return id, nil
	}
	if actor == "" || !isTokenType(actor, actorType) {
		return nil, badActorType
	}
	if w.Actor, out = x.Gate.Authenticate(x.r.Context(), x.evidence(actor, w)); out.Reason != credential.OK {
		return nil, forActor.of(out)
	}
	return id, nil
}

// shown makes evidence of a subject token.
func (x *exchange) shown(text, kind string, w *gate.Wanted) (*gate.Evidence, *refusal) {
	if kind != typeCertificate {
		if !isTokenType(text, kind) {
			return nil, badType8693
		}
		return x.evidence(text, w), nil
	}
	der, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || x.verified == nil || string(der) != string(x.verified.Raw) {
		return nil, badSubject
	}
	if w.JKT == "" { // whoever could not use the certificate without its key cannot use the token either (J24)
		w.X5T = gate.Thumbprint(x.verified)
	}
	ev := x.evidence("", w)
	ev.Certificate = x.verified
	return ev, nil
}

// evidence is that of a token in the form. A certificate of the connection is whose the token may be bound to, but not beside it: it may be the client's.
func (x *exchange) evidence(token string, w *gate.Wanted) *gate.Evidence {
	return &gate.Evidence{Token: token, HeldLeaf: x.leaf(), Held: w.JKT, Source: x.source, Door: doorName, Route: tokenPath}
}

// isTokenType reports whether a text may be a token of a type. JWTs are access tokens, too.
func isTokenType(text, kind string) bool {
	return kind == typeAccess || kind == typeJWT && strings.Count(text, ".") == 2
}
