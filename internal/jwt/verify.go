package jwt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"cardea/internal/credential"
)

const (
	maxToken  = 8 << 10   // octets; longer ones are not parsed (J11)
	maxSet    = 256 << 10 // octets of a JWK set
	maxLeeway = time.Minute
)

// Keys are public keys by their kid.
type Keys map[string]*ecdsa.PublicKey

// NewKeys returns Keys by their RFC 7638 thumbprints, as [NewSigner] names them.
func NewKeys(keys ...crypto.PublicKey) (Keys, error) {
	out := Keys{}
	for _, k := range keys {
		jwk, err := publicJWK(k)
		if err != nil {
			return nil, err
		}
		out[jwk.KeyID] = jwk.Key.(*ecdsa.PublicKey)
	}
	return out, nil
}

// ParseSet reads a JWK set (RFC 7517) and keeps its P-256 signing keys. Keys of other kinds, and those without a kid,
// are left out, as section 5 has it. Error: Invalid.
func ParseSet(text []byte) (Keys, error) {
	if len(text) > maxSet {
		return nil, credential.Errorf(credential.Invalid, "the JWK set is longer than %d bytes", maxSet)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil || set.Keys == nil {
		return nil, credential.Errorf(credential.Invalid, "not a JWK set: a JSON object with the member \"keys\" is expected")
	}
	out := Keys{}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) != nil || k.KeyID == "" ||
			k.Algorithm != "" && k.Algorithm != alg || k.Use != "" && k.Use != "sig" {
			continue
		}
		if _, err := publicJWK(k.Key); err == nil {
			out[k.KeyID] = k.Key.(*ecdsa.PublicKey)
		}
	}
	return out, nil
}

// Want says what a token must be to be accepted.
type Want struct {
	Typ      string        // required, compared exactly (J09)
	Issuer   string        // "" accepts any
	Audience string        // one of the token's aud; "" accepts only a token that names none (J08)
	Leeway   time.Duration // for clocks that differ; at most a minute (J07)
}

// Verify checks a token's form, algorithm, key, signature, typ and times, and returns its claims.
// exp is required; nbf and iat, if there, must not be in the future (J06). The error is of kind Invalid; its
// text is for logs, and a door says only that the token is invalid.
func Verify(token string, keys Keys, want Want, now time.Time) (json.RawMessage, error) {
	claims, err := verify(token, keys, want, now)
	if err != nil {
		return nil, credential.Errorf(credential.Invalid, "JWT refused: %v", err)
	}
	return claims, nil
}

func verify(token string, keys Keys, want Want, now time.Time) (json.RawMessage, error) {
	if want.Typ == "" || want.Leeway < 0 || want.Leeway > maxLeeway {
		return nil, errors.New("whoever checks must name a typ, and a leeway of at most a minute")
	}
	if len(token) > maxToken {
		return nil, fmt.Errorf("longer than %d bytes", maxToken)
	}
	head, rest, _ := strings.Cut(token, ".")
	body, sig, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(sig, ".") {
		return nil, errors.New("not three parts")
	}
	header, err := object(head)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	key, err := header.key(keys, want.Typ)
	if err != nil {
		return nil, err
	}
	if !signed(key, token[:len(head)+1+len(body)], sig) {
		return nil, errors.New("wrong signature")
	}
	claims, err := object(body)
	if err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	if err := claims.check(want, now); err != nil {
		return nil, err
	}
	return decode(body)
}

// members is a JSON object, of which no member is there twice and every name has the exact letters that were sent.
type members map[string]json.RawMessage

// object reads the base64url form of a JSON object. Parsers differ in which of two members of one name they take, so it takes none (J05).
func object(part string) (members, error) {
	text, err := decode(part)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(text) {
		return nil, errors.New("not UTF-8")
	}
	if !json.Valid(text) {
		return nil, errors.New("not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	m := members{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		if _, twice := m[name.(string)]; twice {
			return nil, errors.New("a member is there twice")
		}
		m[name.(string)] = value
	}
	return m, nil
}

// decode is strict: Go's decoder skips line ends, and without Strict lets the last bits vary, so that a token would have many forms.
func decode(part string) ([]byte, error) {
	if strings.ContainsAny(part, "\r\n") {
		return nil, errors.New("not base64url")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, errors.New("not base64url")
	}
	return b, nil
}

// key checks the header and returns the key that it names.
func (m members) key(keys Keys, typ string) (*ecdsa.PublicKey, error) {
	if m.text("alg") != alg {
		return nil, errors.New("the algorithm is not " + alg)
	}
	if m.text("typ") != typ {
		return nil, errors.New("the typ is another")
	}
	if _, ok := m["crit"]; ok {
		return nil, errors.New("it demands extensions by crit")
	}
	key, ok := keys[m.text("kid")]
	if !ok {
		return nil, errors.New("the key is unknown")
	}
	return key, nil
}

func signed(key *ecdsa.PublicKey, input, sig string) bool {
	b, err := decode(sig)
	if err != nil || len(b) != 2*halfSig {
		return false
	}
	digest := sha256.Sum256([]byte(input))
	return ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(b[:halfSig]), new(big.Int).SetBytes(b[halfSig:]))
}

func (m members) check(want Want, now time.Time) error {
	exp, ok, err := m.time("exp")
	if err != nil {
		return err
	}
	if !ok {
		return errors.New("it has no exp")
	}
	if !now.Before(exp.Add(want.Leeway)) {
		return errors.New("it has expired")
	}
	for _, name := range []string{"nbf", "iat"} {
		t, ok, err := m.time(name)
		if err != nil {
			return err
		}
		if ok && now.Add(want.Leeway).Before(t) {
			return errors.New("its " + name + " is in the future")
		}
	}
	if want.Issuer != "" && m.text("iss") != want.Issuer {
		return errors.New("the issuer is another")
	}
	return m.checkAudience(want.Audience)
}

// checkAudience: RFC 7519 section 4.1.3.
func (m members) checkAudience(want string) error {
	raw, ok := m["aud"]
	if !ok && want == "" {
		return nil
	}
	var one string
	var list []string
	if ok && json.Unmarshal(raw, &one) == nil {
		list = []string{one}
	} else if ok && json.Unmarshal(raw, &list) != nil {
		return errors.New("its aud is neither a string nor a list of them")
	}
	for _, a := range list {
		if a == want && want != "" {
			return nil
		}
	}
	return errors.New("it is meant for somebody else")
}

// text returns a string member, "" if it is not there or no string.
func (m members) text(name string) string {
	var s *string
	if json.Unmarshal(m[name], &s) != nil || s == nil {
		return ""
	}
	return *s
}

// time returns a NumericDate, RFC 7519 section 2: seconds since 1970, up to the year 9999.
func (m members) time(name string) (time.Time, bool, error) {
	raw, ok := m[name]
	if !ok {
		return time.Time{}, false, nil
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f < 0 || f > 253402300799 {
		return time.Time{}, true, errors.New("its " + name + " is not a number of seconds since 1970")
	}
	whole := int64(f)
	return time.Unix(whole, int64((f-float64(whole))*1e9)), true, nil
}
