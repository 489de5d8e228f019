package client

import (
	"cmp"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
)

// Claims are what an access token says.
type Claims struct {
	Issuer    string
	Subject   string // the name of the principal
	Audience  []string
	ID        string // jti
	ClientID  string
	Scopes    []string
	IssuedAt  time.Time
	ExpiresAt time.Time // zero: introspection did not say

	Org  string // organisation
	Kind string // of the principal: "service", "device", "user"
	// Actor is who uses the token in the subject's name; nil: the subject itself (RFC 8693 section 4.1).
	Actor *Actor

	certificate string // x5t#S256 that it is bound to
	key         string // jkt that it is bound to
	notBefore   time.Time
	raw         json.RawMessage
}

// Actor is who acts for a subject.
type Actor struct {
	Subject  string `json:"sub"`
	ClientID string `json:"client_id"`
	Actor    *Actor `json:"act"` // who acted before; for information only
}

// HasScope reports whether the token has all of these scopes.
func (c *Claims) HasScope(scopes ...string) bool {
	for _, s := range scopes {
		if !slices.Contains(c.Scopes, s) {
			return false
		}
	}
	return true
}

// Bound reports whether the token is good only for who holds a key: of DPoP or of a client certificate.
func (c *Claims) Bound() bool { return c.key != "" || c.certificate != "" }

// Decode reads all claims into a struct or map, by the rules of encoding/json.
func (c *Claims) Decode(into any) error { return json.Unmarshal(c.raw, into) }

// signedJWT is a JWT that was taken apart. Nothing in it is true before signedBy.
type signedJWT struct {
	alg, kid, typ string
	header        json.RawMessage
	payload       []byte
	jws           *jose.JSONWebSignature
}

// parseJWT is strict about the form. Of a header nothing is followed: neither jku, x5u, jwk nor x5c (J04), and the kid is but a name (J03).
func parseJWT(token string, algs []jose.SignatureAlgorithm) (*signedJWT, error) {
	if len(token) > maxToken {
		return nil, refuse("it is longer than %d bytes", maxToken)
	}
	parts := strings.SplitN(token, ".", 4)
	if len(parts) != 3 { // five are encrypted (J12)
		return nil, refuse("it is not a signed JWT")
	}
	decoded := make([][]byte, len(parts))
	for i, p := range parts {
		b, err := decode(p)
		if err != nil {
			return nil, refuse("its part %d is not base64url", i+1)
		}
		decoded[i] = b
	}
	j := &signedJWT{header: decoded[0], payload: decoded[1]}
	var h struct {
		Alg  string          `json:"alg"`
		Kid  string          `json:"kid"`
		Typ  string          `json:"typ"`
		Crit json.RawMessage `json:"crit"`
		B64  json.RawMessage `json:"b64"`
	}
	if err := object(decoded[0], &h); err != nil {
		return nil, refuse("its header: %v", err)
	}
	if h.Crit != nil || h.B64 != nil {
		return nil, refuse("its header demands extensions") // J05
	}
	if !slices.Contains(algs, jose.SignatureAlgorithm(h.Alg)) {
		return nil, refuse("its algorithm is not one that is accepted") // J01
	}
	if len(h.Kid) > 256 {
		return nil, refuse("the name of its key is too long")
	}
	jws, err := jose.ParseSignedCompact(token, algs)
	if err != nil {
		return nil, refuse("it is not a signed JWT")
	}
	j.alg, j.kid, j.typ, j.jws = h.Alg, h.Kid, h.Typ, jws
	return j, nil
}

// signedBy demands that the kind of the key suits the algorithm (J02), which go-jose does as well.
func (j *signedJWT) signedBy(key crypto.PublicKey) bool {
	alg, err := algOf(key)
	if err != nil || string(alg) != j.alg {
		return false
	}
	_, err = j.jws.Verify(key)
	return err == nil
}

// decode is strict: Go's decoder skips line ends, and without Strict lets the last bits vary, so that a token would have many forms.
func decode(part string) ([]byte, error) {
	if strings.ContainsAny(part, "\r\n") {
		return nil, errors.New("not base64url")
	}
	return base64.RawURLEncoding.Strict().DecodeString(part)
}

func object(text []byte, into any) error {
	if !utf8.Valid(text) {
		return errors.New("not UTF-8")
	}
	return unmarshal(text, into)
}

// parseClaims reads what RFC 9068 section 2.2, RFC 7662 section 2.2 and RFC 8693 section 4 name.
func parseClaims(text []byte) (*Claims, error) {
	var w struct {
		Issuer    string           `json:"iss"`
		Subject   string           `json:"sub"`
		Audience  audience         `json:"aud"`
		ID        string           `json:"jti"`
		ClientID  string           `json:"client_id"`
		Scope     string           `json:"scope"`
		IssuedAt  *instantClaim    `json:"iat"`
		NotBefore *instantClaim    `json:"nbf"`
		ExpiresAt *instantClaim    `json:"exp"`
		Org       string           `json:"org"`
		Kind      string           `json:"kind"`
		Actor     *Actor           `json:"act"`
		Bound     *json.RawMessage `json:"cnf"`
	}
	if err := object(text, &w); err != nil {
		return nil, refuse("its claims: %v", err)
	}
	c := &Claims{
		Issuer: w.Issuer, Subject: w.Subject, Audience: w.Audience, ID: w.ID, ClientID: w.ClientID, Scopes: strings.Fields(w.Scope),
		IssuedAt: w.IssuedAt.time(), notBefore: w.NotBefore.time(), ExpiresAt: w.ExpiresAt.time(),
		Org: w.Org, Kind: w.Kind, Actor: w.Actor, raw: text,
	}
	if w.Bound == nil {
		return c, nil
	}
	return c, c.bind(*w.Bound)
}

// bind: a token that is bound to what is not understood here is bound to nobody who could be let in.
func (c *Claims) bind(text json.RawMessage) error {
	var names map[string]json.RawMessage
	var cnf struct {
		Key         string `json:"jkt"`
		Certificate string `json:"x5t#S256"`
	}
	if json.Unmarshal(text, &names) != nil || json.Unmarshal(text, &cnf) != nil {
		return refuse("its cnf is not an object of texts")
	}
	known := 0
	for name, value := range map[string]string{"jkt": cnf.Key, "x5t#S256": cnf.Certificate} {
		if _, there := names[name]; !there {
			continue
		}
		known++
		if sum, err := decode(value); err != nil || len(sum) != sha256.Size {
			return refuse("its cnf has a %s that is no thumbprint", name)
		}
	}
	if known == 0 || known != len(names) {
		return refuse("it is bound to a key in a way that is not known here")
	}
	c.key, c.certificate = cnf.Key, cnf.Certificate
	return nil
}

// complete: what RFC 9068 section 2.2 requires.
func (c *Claims) complete() error {
	for name, missing := range map[string]bool{
		"iss": c.Issuer == "", "exp": c.ExpiresAt.IsZero(), "aud": len(c.Audience) == 0, "sub": c.Subject == "",
		"client_id": c.ClientID == "", "iat": c.IssuedAt.IsZero(), "jti": c.ID == "",
	} {
		if missing {
			return refuse("it has no %s", name)
		}
	}
	return nil
}

// rules are what claims must be.
type rules struct {
	issuer    string
	audiences []string
	org       string
	leeway    time.Duration
	now       func() time.Time
}

// check leaves out what claims do not say; complete is for that.
func (r rules) check(c *Claims) error {
	now := r.now()
	switch {
	case c.Issuer != "" && c.Issuer != r.issuer:
		return refuse("its issuer is another")
	case c.Audience != nil && !slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(r.audiences, a) }):
		return refuse("it is meant for somebody else") // J08
	case c.Org != "" && c.Org != cmp.Or(r.org, "default"):
		return refuse("it is of another organisation") // W07
	case !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt.Add(r.leeway)):
		return refuse("it has expired") // J07
	case now.Add(r.leeway).Before(c.IssuedAt), now.Add(r.leeway).Before(c.notBefore):
		return refuse("it is from the future") // J06
	}
	return nil
}

// audience is one string or a list of them.
type audience []string

// UnmarshalJSON takes both.
func (a *audience) UnmarshalJSON(text []byte) error {
	var one *string
	if json.Unmarshal(text, &one) == nil && one != nil {
		*a = audience{*one}
		return nil
	}
	var list []*string
	if err := json.Unmarshal(text, &list); err != nil || slices.Contains(list, nil) {
		return errors.New("neither a string nor a list of them")
	}
	*a = audience{}
	for _, s := range list {
		*a = append(*a, *s)
	}
	return nil
}

// instantClaim is a NumericDate (RFC 7519 section 2): seconds since 1970, up to the year 9999.
type instantClaim time.Time

// UnmarshalJSON takes a number alone.
func (i *instantClaim) UnmarshalJSON(text []byte) error {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || f < 1 || f > 253402300799 {
		return errors.New("not a number of seconds since 1970")
	}
	whole := int64(f)
	*i = instantClaim(time.Unix(whole, int64((f-float64(whole))*1e9)))
	return nil
}

func (i *instantClaim) time() time.Time {
	if i == nil {
		return time.Time{}
	}
	return time.Time(*i)
}

// certThumbprint is x5t#S256 of RFC 8705 section 3.1.
func certThumbprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
