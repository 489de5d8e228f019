package jwt

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"cardea/internal/credential"
)

const (
	maxToken  = 8 << 10 // octets; longer ones are not parsed (J11)
	maxLeeway = time.Minute
)

// What is wrong with a token, for [errors.Is]. All are of kind Invalid.
var (
	ErrForm      = errors.New("not a JWT that is read here")
	ErrKey       = errors.New("none of the keys is known to be the signer's") // perhaps a newer set has it
	ErrSignature = errors.New("wrong signature")
	ErrClaims    = errors.New("wrong claims") // or a wrong typ
)

// refusal is an error of one of these classes, whose own text says which rule was broken. It holds nothing of the token.
type refusal struct {
	said  *credential.Error
	class error
}

func (r refusal) Error() string   { return r.said.Error() }
func (r refusal) Unwrap() []error { return []error{r.said, r.class} }

func refuse(class error, format string, args ...any) error {
	return refusal{credential.Errorf(credential.Invalid, "JWT refused: "+format, args...), class}
}

// Want says what a token must be to be accepted.
type Want struct {
	// Types are the values that typ may have; "" is a token without one. At least one is needed (J09). Compared without regard to case
	// and to "application/" before it (RFC 7515 section 4.1.9).
	Types       []string
	Issuer      string        // "" accepts any
	Audiences   []string      // one of these must be among the token's aud; none accepts only a token that has no aud (J08)
	AnyAudience bool          // aud is not looked at, and the caller does it
	Algs        []string      // that are accepted; none: all of [Algs]
	Leeway      time.Duration // for clocks that differ; at most a minute (J07)
}

// Unverified is a token of the right form whose signature nobody has looked at: it serves to find the keys of whom it claims
// to be from.
type Unverified struct {
	Alg     string
	KeyID   string // "" if it has none
	Typ     string // as it stands there; "" if it has none
	Issuer  string // "" if it is not there or no text, as the next
	Subject string
	Claims  json.RawMessage

	token  compact
	claims members
}

// Read reads a token as strictly as [Verify], and checks neither signature nor claims. Error: ErrForm.
func Read(token string) (Unverified, error) {
	t, err := parse(token)
	if err != nil {
		return Unverified{}, err
	}
	text, claims, err := t.readClaims()
	if err != nil {
		return Unverified{}, err
	}
	return Unverified{
		Alg: t.alg.name, KeyID: t.kid, Typ: t.typ, Issuer: claims.text("iss"), Subject: claims.text("sub"), Claims: text,
		token: t, claims: claims,
	}, nil
}

// Verify is [Verify] of the token that was read.
func (u *Unverified) Verify(keys Keys, want Want, now time.Time) error {
	if err := u.token.verify(keys, want); err != nil {
		return err
	}
	return u.claims.check(want, now)
}

// Verify checks a token's form, algorithm, key, signature, typ and times, and returns its claims.
// exp is required; nbf and iat, if there, must not be in the future (J06). The error is of kind Invalid, and of one of the classes
// of this package; its text is for logs, and a door says only that the token is invalid.
//
// In the claims each name occurs once, and none of the well-known ones in another case, which encoding/json would take for it.
func Verify(token string, keys Keys, want Want, now time.Time) (json.RawMessage, error) {
	t, err := parse(token)
	if err != nil {
		return nil, err
	}
	if err := t.verify(keys, want); err != nil {
		return nil, err
	}
	text, claims, err := t.readClaims()
	if err != nil {
		return nil, err
	}
	if err := claims.check(want, now); err != nil {
		return nil, err
	}
	return text, nil
}

// compact is a token taken apart, whose header is of the right form.
type compact struct {
	input  string // what is signed
	body   string
	sig    string
	header members
	alg    *algorithm
	kid    string
	typ    string
}

// parse refuses what no token here is. Error: ErrForm.
func parse(token string) (t compact, err error) {
	if len(token) > maxToken {
		return t, refuse(ErrForm, "longer than %d bytes", maxToken)
	}
	head, rest, _ := strings.Cut(token, ".")
	body, sig, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(sig, ".") { // five are a JWE (J12)
		return t, refuse(ErrForm, "not three parts")
	}
	t = compact{input: token[:len(head)+1+len(body)], body: body, sig: sig}
	text, err := decode(head)
	if err != nil {
		return t, refuse(ErrForm, "header: %v", err)
	}
	if t.header, err = object(text); err != nil {
		return t, refuse(ErrForm, "header: %v", err)
	}
	return t, t.readHeader()
}

func (t *compact) readHeader() error {
	if t.alg = algOf(t.header.text("alg")); t.alg == nil {
		return refuse(ErrForm, "the algorithm is none of %s", strings.Join(Algs(), ", "))
	}
	for _, name := range []string{"crit", "b64"} { // RFC 7515 section 4.1.11, RFC 7797 (J05)
		if _, ok := t.header[name]; ok {
			return refuse(ErrForm, "it demands extensions by %s", name)
		}
	}
	for name, to := range map[string]*string{"kid": &t.kid, "typ": &t.typ} {
		var err error
		if *to, err = t.header.optional(name); err != nil {
			return refuse(ErrForm, "%v", err)
		}
		if _, ok := t.header[name]; ok && *to == "" {
			return refuse(ErrForm, "its %s is empty", name)
		}
	}
	return nil
}

func (t *compact) readClaims() (json.RawMessage, members, error) {
	text, err := decode(t.body)
	if err != nil {
		return nil, nil, refuse(ErrForm, "claims: %v", err)
	}
	m, err := object(text)
	if err != nil {
		return nil, nil, refuse(ErrForm, "claims: %v", err)
	}
	for name := range m {
		if isDisguised(name) {
			return nil, nil, refuse(ErrForm, "claims: a well-known one is written in another case")
		}
	}
	return text, m, nil
}

// wellKnown are the claims that decide anything.
var wellKnown = []string{
	"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "scp", "cnf", "act", "may_act",
	"azp", "org", "kind", "crd", "anc", "events", "htm", "htu", "ath", "nonce",
}

// isDisguised reports whether a name is a well-known one to encoding/json, which compares without regard to case, and not to anyone else.
func isDisguised(name string) bool {
	return slices.ContainsFunc(wellKnown, func(known string) bool { return name != known && strings.EqualFold(name, known) })
}

// verify checks all that the header says, and the signature.
func (t *compact) verify(keys Keys, want Want) error {
	if len(want.Types) == 0 || want.Leeway < 0 || want.Leeway > maxLeeway {
		return refuse(ErrClaims, "whoever checks must name a typ, and a leeway of at most a minute")
	}
	if len(want.Algs) > 0 && !slices.Contains(want.Algs, t.alg.name) {
		return refuse(ErrForm, "the algorithm is not one of those that are accepted")
	}
	if !slices.ContainsFunc(want.Types, func(typ string) bool { return sameType(typ, t.typ) }) {
		return refuse(ErrClaims, "the typ is another")
	}
	candidates, known := keys.candidates(t.kid, t.alg)
	switch {
	case len(candidates) == 0 && known:
		return refuse(ErrSignature, "the algorithm does not suit the key")
	case len(candidates) == 0:
		return refuse(ErrKey, "the key is unknown")
	}
	sig, err := decode(t.sig)
	if err != nil {
		return refuse(ErrForm, "signature: %v", err)
	}
	for _, k := range candidates {
		if t.alg.holds(k.Public, []byte(t.input), sig) {
			return nil
		}
	}
	if known {
		return refuse(ErrSignature, "wrong signature")
	}
	return refuse(ErrKey, "wrong signature, or by a key that is unknown")
}

// sameType compares two values of typ. Of letters beyond ASCII that fold to one of it there is none in a value of the same length.
func sameType(a, b string) bool {
	a, b = plainType(a), plainType(b)
	return len(a) == len(b) && strings.EqualFold(a, b)
}

// plainType takes "application/" off, which says nothing where no other slash follows.
func plainType(s string) string {
	const prefix = "application/"
	if len(s) > len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) && !strings.Contains(s[len(prefix):], "/") {
		return s[len(prefix):]
	}
	return s
}

func (m members) check(want Want, now time.Time) error {
	exp, ok, err := m.time("exp")
	if err != nil {
		return refuse(ErrClaims, "%v", err)
	}
	if !ok {
		return refuse(ErrClaims, "it has no exp")
	}
	if !now.Before(exp.Add(want.Leeway)) {
		return refuse(ErrClaims, "it has expired")
	}
	for _, name := range []string{"nbf", "iat"} {
		t, ok, err := m.time(name)
		if err != nil {
			return refuse(ErrClaims, "%v", err)
		}
		if ok && now.Add(want.Leeway).Before(t) {
			return refuse(ErrClaims, "its %s is in the future", name)
		}
	}
	if want.Issuer != "" && m.text("iss") != want.Issuer {
		return refuse(ErrClaims, "the issuer is another")
	}
	return m.checkAudience(want)
}

// checkAudience: RFC 7519 section 4.1.3.
func (m members) checkAudience(want Want) error {
	raw, ok := m["aud"]
	if want.AnyAudience || !ok && len(want.Audiences) == 0 {
		return nil
	}
	var list []string
	if ok && raw[0] == '"' {
		list = []string{m.text("aud")}
	} else if list = m.texts("aud"); ok && list == nil {
		return refuse(ErrClaims, "its aud is neither a string nor a list of them")
	}
	for _, a := range list {
		if a != "" && slices.Contains(want.Audiences, a) {
			return nil
		}
	}
	return refuse(ErrClaims, "it is meant for somebody else")
}
