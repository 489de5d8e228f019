package oauth

import (
	"strconv"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/gate"
)

// introspect says what a token is (RFC 7662), of whatever kind. Whoever may not know is told what is told of one that is not good (J17).
func (x *exchange) introspect() *refusal {
	by, bad := x.caller()
	if bad != nil {
		return bad
	}
	token := x.form.get("token")
	if token == "" {
		return noToken
	}
	in, why := x.Gate.Inspect(x.r.Context(), by.Org, token)
	if why.Class() == credential.CannotKnow {
		return notNow.after(time.Second)
	}
	if in == nil || !x.mayKnow(by, in) {
		x.out = append(x.out[:0], `{"active":false}`...)
	} else {
		x.out = x.described(x.out[:0], in)
	}
	x.answer()
	return nil
}

// mayKnow reports whether a caller may know of a token of its organisation: it is its own, made for it, for an API that it stands for, or it
// has the right to verify anybody's.
func (x *exchange) mayKnow(by *gate.Identity, in *gate.Inspected) bool {
	return in.Identity.PrincipalID == by.PrincipalID ||
		in.ClientID == by.Credential ||
		x.Gate.Introspects(by, in.Audiences) ||
		x.Authority.Authorize(x.authorityCaller(by), "credentials:verify", "/credentials/*") == nil
}

// described writes the members of RFC 7662 §2.2, RFC 8693 §7.3, RFC 8705 §3.2 and RFC 9449 §6.2, and two of ours.
func (x *exchange) described(b []byte, in *gate.Inspected) []byte {
	id := in.Identity
	b = append(b, `{"active":true`...)
	b = appendScope(b, in.Scopes)
	b = appendMember(b, "client_id", in.ClientID)
	b = appendMember(b, "username", id.Principal)
	b = appendMember(b, "token_type", in.Type)
	b = appendTime(b, "exp", in.ExpiresAt)
	b = appendTime(b, "iat", in.IssuedAt)
	b = appendTime(b, "nbf", in.NotBefore)
	b = appendMember(b, "sub", id.Principal)
	b = appendAudience(b, in.Audiences)
	if in.ID != "" { // an access token, which alone has an issuer
		b = appendMember(b, "iss", x.issuer)
		b = appendMember(b, "jti", in.ID)
	}
	b = appendConfirmation(b, in.JKT, in.X5T)
	if in.Actor != nil {
		b = append(appendName(b, "act"), in.Actor...)
	}
	if in.MayAct != "" {
		b = append(appendString(append(b, `,"may_act":{"sub":`...), in.MayAct), '}')
	}
	b = appendMember(b, "org", id.Org)
	b = appendMember(b, "kind", string(id.PrincipalKind))
	return append(b, '}')
}

func appendTime(b []byte, name string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return strconv.AppendInt(appendName(b, name), t.Unix(), 10)
}

func appendAudience(b []byte, list []string) []byte {
	if len(list) == 1 {
		return appendMember(b, "aud", list[0])
	}
	for i, a := range list {
		if i == 0 {
			b = append(appendName(b, "aud"), '[')
		} else {
			b = append(b, ',')
		}
		b = appendString(b, a)
	}
	if len(list) > 0 {
		b = append(b, ']')
	}
	return b
}

func appendConfirmation(b []byte, jkt, x5t string) []byte {
	if jkt == "" && x5t == "" {
		return b
	}
	b = append(appendName(b, "cnf"), '{')
	if jkt != "" {
		b = appendString(append(b, `"jkt":`...), jkt)
	}
	if x5t != "" {
		if jkt != "" {
			b = append(b, ',')
		}
		b = appendString(append(b, `"x5t#S256":`...), x5t)
	}
	return append(b, '}')
}

// authorityCaller makes of an identity whom the authority knows.
func (x *exchange) authorityCaller(id *gate.Identity) authority.Caller {
	source := ""
	if x.source.IsValid() {
		source = x.source.String()
	}
	return authority.Caller{
		Org: id.Org, Token: id.AccessToken(), Rights: x.Gate.Rights(id), Exercised: func(scope string) { x.Gate.Exercised(id, scope) },
		Actor: credential.Actor{Principal: id.Principal, Credential: id.Credential, Source: source, Door: doorName},
	}
}
