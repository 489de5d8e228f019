package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"cardea/internal/credential"
)

// jwkOf is the public key as a JWK, with other members in the place of its own or beside them; nil takes one away.
func jwkOf(t testing.TB, pub crypto.PublicKey, with map[string]any) string {
	t.Helper()
	k := map[string]any{}
	if err := json.Unmarshal(must(json.Marshal(must(bare(pub)))), &k); err != nil {
		t.Fatal(err)
	}
	maps.Copy(k, with)
	maps.DeleteFunc(k, func(_ string, v any) bool { return v == nil })
	return string(must(json.Marshal(k)))
}

func setOf(keys ...string) []byte { return []byte(`{"keys":[` + strings.Join(keys, ",") + `]}`) }

// certOf is a certificate of a key, in base64.
func certOf(t testing.TB, key crypto.Signer) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

type one = map[string]any

// faultyKeys are JWKs that are no public key to check signatures with, and the member that is at fault.
func faultyKeys(t testing.TB) map[string]struct{ jwk, member string } {
	ec, ed := newKey(t).Public(), edKey().Public()
	enc := base64.RawURLEncoding.EncodeToString
	p521 := must(json.Marshal(jose.JSONWebKey{Key: must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)).Public()}))
	bits := func(n int) string { // an odd number of that size; nobody looks at its factors
		x := new(big.Int).Lsh(big.NewInt(1), uint(n-1))
		return enc(x.SetBit(x, 0, 1).Bytes())
	}
	point := must(ec.(*ecdsa.PublicKey).Bytes())
	return map[string]struct{ jwk, member string }{
		"private EC":       {jwkOf(t, ec, one{"d": "AAAA"}), "d"},
		"private Ed25519":  {jwkOf(t, ed, one{"d": "AAAA"}), "d"},
		"private RSA":      {jwkOf(t, rsaKey().Public(), one{"p": "AAAA"}), "p"},
		"empty d":          {jwkOf(t, ec, one{"d": ""}), "d"},
		"secret":           {`{"kty":"oct","k":"AAAA"}`, "k"},
		"kty":              {jwkOf(t, ec, one{"kty": "ec"}), "kty"},
		"no kty":           {jwkOf(t, ec, one{"kty": nil}), "kty"},
		"kty of another":   {jwkOf(t, ec, one{"kty": "OKP"}), "crv"},
		"P-521":            {string(p521), "crv"},
		"X25519":           {jwkOf(t, ed, one{"crv": "X25519"}), "crv"},
		"crv of another":   {jwkOf(t, ec, one{"crv": "P-384"}), "x"},
		"off the curve":    {jwkOf(t, ec, one{"y": enc(point[1:33])}), "x"},
		"short x":          {jwkOf(t, ec, one{"x": enc(point[1:32])}), "x"},
		"long y":           {jwkOf(t, ec, one{"y": enc(append([]byte{0}, point[33:]...))}), "y"},
		"padding":          {jwkOf(t, ec, one{"x": base64.URLEncoding.EncodeToString(point[1:33])}), "x"},
		"x is a number":    {jwkOf(t, ec, one{"x": 7}), "x"},
		"no y":             {jwkOf(t, ec, one{"y": nil}), "y"},
		"small point":      {jwkOf(t, ed, one{"x": enc(make([]byte, 32))}), "x"},
		"short Ed25519":    {jwkOf(t, ed, one{"x": enc(make([]byte, 31))}), "x"},
		"RSA 1024":         {`{"kty":"RSA","e":"AQAB","n":"` + bits(1024) + `"}`, "n"},
		"RSA 2047":         {`{"kty":"RSA","e":"AQAB","n":"` + bits(2047) + `"}`, "n"},
		"RSA 4097":         {`{"kty":"RSA","e":"AQAB","n":"` + bits(4097) + `"}`, "n"},
		"even modulus":     {`{"kty":"RSA","e":"AQAB","n":"` + enc(append([]byte{0x80}, make([]byte, 255)...)) + `"}`, "n"},
		"zero modulus":     {`{"kty":"RSA","e":"AQAB","n":"` + enc(make([]byte, 256)) + `"}`, "n"},
		"no modulus":       {`{"kty":"RSA","e":"AQAB"}`, "n"},
		"e is 1":           {jwkOf(t, rsaKey().Public(), one{"e": "AQ"}), "e"},
		"e is even":        {jwkOf(t, rsaKey().Public(), one{"e": "AQAC"}), "e"},
		"e is large":       {jwkOf(t, rsaKey().Public(), one{"e": "AQAAAAAB"}), "e"},
		"no e":             {jwkOf(t, rsaKey().Public(), one{"e": nil}), "e"},
		"for encryption":   {jwkOf(t, ec, one{"use": "enc"}), "use"},
		"use is a list":    {jwkOf(t, ec, one{"use": []string{"sig"}}), "use"},
		"key_ops":          {jwkOf(t, ec, one{"key_ops": []string{"sign"}}), "key_ops"},
		"key_ops, a text":  {jwkOf(t, ec, one{"key_ops": "verify"}), "key_ops"},
		"alg of another":   {jwkOf(t, ec, one{"alg": "RS256"}), "alg"}, // J02
		"alg of another 2": {jwkOf(t, ec, one{"alg": "ES384"}), "alg"},
		"alg none":         {jwkOf(t, ec, one{"alg": "none"}), "alg"},
		"alg HS256":        {jwkOf(t, ec, one{"alg": "HS256"}), "alg"},
		"alg is a list":    {jwkOf(t, ec, one{"alg": []string{"ES256"}}), "alg"},
		"empty kid":        {jwkOf(t, ec, one{"kid": ""}), "kid"},
		"kid is a number":  {jwkOf(t, ec, one{"kid": 7}), "kid"},
		"kid of 10 KB":     {jwkOf(t, ec, one{"kid": strings.Repeat("x", 10<<10)}), "kid"}, // J03
	}
}

// goodKeys are JWKs that are taken.
func goodKeys(t testing.TB) map[string]string {
	key := newKey(t)
	return map[string]string{
		"bare":           jwkOf(t, key.Public(), nil),
		"kid, alg, use":  jwkOf(t, key.Public(), one{"kid": "k", "alg": "ES256", "use": "sig", "key_ops": []string{"verify"}, "ext": true}),
		"Ed25519":        jwkOf(t, edKey().Public(), one{"alg": "EdDSA"}),
		"P-384":          jwkOf(t, p384Key().Public(), one{"alg": "ES384"}),
		"RSA":            jwkOf(t, rsaKey().Public(), nil),
		"PS256":          jwkOf(t, rsaKey().Public(), one{"alg": "PS256"}),
		"e is 3":         jwkOf(t, rsaKey().Public(), one{"e": "Aw"}),
		"a certificate":  jwkOf(t, key.Public(), one{"x5c": []string{certOf(t, key)}, "x5t#S256": "x"}),
		"a chain of two": jwkOf(t, key.Public(), one{"x5c": []string{certOf(t, key), certOf(t, newKey(t))}}),
	}
}

func TestASetOfOthersIsReadWithoutWhatIsNotForUs(t *testing.T) {
	var all []string
	for _, k := range faultyKeys(t) {
		all = append(all, k.jwk)
	}
	all = append(all, `7`, `null`, `"x"`, `[]`, `{}`)
	nothing := len(all)
	for _, k := range goodKeys(t) {
		all = append(all, k)
	}
	keys, err := ParseSet(setOf(all...))
	if err != nil {
		t.Fatal(err)
	}
	if want := len(all) - nothing; keys.Len() != want {
		t.Errorf("%d keys, want %d", keys.Len(), want)
		for name, k := range faultyKeys(t) {
			if one, err := ParseSet(setOf(k.jwk)); err != nil || one.Len() != 0 {
				t.Errorf("%s: %d keys, %v", name, one.Len(), err)
			}
		}
	}
	for _, bad := range []string{
		"", "[]", "{}", "null", `{"keys":null}`, `{"keys":{}}`, "<html>", `{"keys":[],"keys":[]}`, `{"keys":[{"kty":"EC","kty":"RSA"}]}`, "{\"keys\":[\"\xff\"]}",
		strings.Repeat(" ", maxSet) + `{"keys":[]}`, string(setOf(slices.Repeat([]string{"1"}, maxKeys+1)...)), strings.Repeat(`{"keys":[`, 20000),
	} {
		_, err := ParseSet([]byte(bad))
		refused(t, err, "JWK set")
		if len(err.Error()) > 200 {
			t.Errorf("the error repeats what was sent: %d bytes", len(err.Error()))
		}
	}
	if keys, err := ParseSet(setOf(slices.Repeat([]string{"1"}, maxKeys)...)); err != nil || keys.Len() != 0 {
		t.Errorf("a hundred keys: %v", err)
	}
}

// Somebody else's certificates are no reason to do without the key.
func TestCertificatesOfOthersMayBeUnreadable(t *testing.T) {
	key := newKey(t)
	for name, x5c := range map[string]any{"nonsense": []string{"AAAA"}, "of another key": []string{certOf(t, newKey(t))}, "a text": "x", "none": []string{}} {
		keys, err := ParseSet(setOf(jwkOf(t, key.Public(), one{"x5c": x5c})))
		if err != nil || keys.Len() != 1 || keys.all[0].Certs != nil {
			t.Errorf("%s: %+v, %v", name, keys, err)
		}
		_, err = ParseClientSet(setOf(jwkOf(t, key.Public(), one{"x5c": x5c})))
		refused(t, err, "jwks.keys[0].x5c")
	}
	keys, err := ParseClientSet(setOf(goodKeys(t)["a chain of two"]))
	if err != nil || len(keys.all[0].Certs) != 2 {
		t.Fatalf("%+v, %v", keys, err)
	}
	if leaf := keys.all[0].Certs[0].PublicKey.(*ecdsa.PublicKey); !leaf.Equal(keys.all[0].Public) {
		t.Error("the first certificate is not the key's")
	}
}

// A set that is registered is good as a whole, or all that is wrong with it is told at once (J14: what is private is named, and not repeated).
func TestARegisteredSetIsGoodAsAWhole(t *testing.T) {
	for name, k := range goodKeys(t) {
		if keys, err := ParseClientSet(setOf(k)); err != nil || keys.Len() != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, k := range faultyKeys(t) {
		_, err := ParseClientSet(setOf(goodKeys(t)["bare"], k.jwk))
		e, ok := errors.AsType[*credential.Error](err)
		if !ok || len(e.Fields) == 0 || !slices.ContainsFunc(e.Fields, func(f credential.FieldError) bool { return f.Field == "jwks.keys[1]."+k.member }) {
			t.Errorf("%s: %v, want something about %s", name, err, k.member)
		} else if strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%s: the error repeats the key: %v", name, err)
		}
	}
	key := jwkOf(t, newKey(t).Public(), one{"kid": "k"})
	for says, text := range map[string]string{
		"jwks must have a key":                                string(setOf()),
		"jwks must be a JWK set: not JSON":                    "{",
		"jwks must be a JWK set: a JSON object":               `{"jwks":[]}`,
		"jwks must be a JWK set: more than 100":               string(setOf(slices.Repeat([]string{key}, 101)...)),
		"jwks must be a JWK set: longer":                      strings.Repeat(" ", maxSet+1),
		"jwks must be a JWK set: a member is there twice":     `{"keys":[{"kty":"EC","\u006bty":"EC"}]}`,
		"jwks.keys[0] must be a JWK":                          string(setOf("7")),
		"jwks.keys[1].kid must not be that of another":        string(setOf(key, key)),
		"jwks must give its keys a kid each: no more than 4":  string(setOf(slices.Repeat([]string{goodKeys(t)["bare"]}, 5)...)),
		"jwks.keys[0].d must not be there":                    string(setOf(jwkOf(t, newKey(t).Public(), one{"d": "x", "kty": "x"}))),
		"jwks.keys[0].kty must be EC, OKP or RSA":             string(setOf(jwkOf(t, newKey(t).Public(), one{"d": "x", "kty": "x"}))),
		"jwks.keys[0].n must have 2048 to 4096 bits, and has": faultyKeys(t)["RSA 1024"].jwk,
	} {
		if strings.HasPrefix(text, `{"kty"`) {
			text = string(setOf(text))
		}
		_, err := ParseClientSet([]byte(text))
		refused(t, err, says)
	}
}

// A token without a kid may be by any of four keys, and one with a kid by the keys of that name.
func TestWhichKeysAreTried(t *testing.T) {
	var signers []*Signer
	var named, nameless []string
	for i := range 6 {
		key := newKey(t)
		signers = append(signers, newSigner(t, key))
		named = append(named, jwkOf(t, key.Public(), one{"kid": fmt.Sprint("k", i)}))
		nameless = append(nameless, jwkOf(t, key.Public(), nil))
	}
	header := func(kid string) string {
		if kid == "" {
			return `{"alg":"ES256"}`
		}
		return fmt.Sprintf(`{"alg":"ES256","kid":%q}`, kid)
	}
	others := []string{jwkOf(t, edKey().Public(), nil), jwkOf(t, rsaKey().Public(), nil), jwkOf(t, p384Key().Public(), one{"kid": "k0"})}
	for _, test := range []struct {
		name   string
		set    []string
		signer int
		kid    string
		class  error
	}{
		{"named", named, 5, "k5", nil},
		{"named as another", named, 5, "k4", ErrSignature},
		{"named as nobody", named, 5, "x", ErrKey},
		{"not named, among the first four", named, 3, "", nil},
		{"not named, beyond them", named, 4, "", ErrKey},
		{"no key has a name", nameless, 3, "x", nil},
		{"nor has the token", nameless, 3, "", nil},
		{"beyond the first four", nameless, 4, "x", ErrKey},
		{"a key of another kind has the name, too", append(slices.Clone(others), named...), 0, "k0", nil},
		{"only a key of another kind has it", others, 0, "k0", ErrSignature}, // J02
		{"some have none", append(slices.Clone(others), nameless[1], named[0]), 1, "x", nil},
		{"keys of other kinds do not count", append(slices.Clone(others), nameless[:4]...), 3, "", nil},
		{"a key that is for another algorithm", []string{jwkOf(t, rsaKey().Public(), one{"alg": "PS256"})}, 0, "", ErrKey},
		{"no keys", nil, 0, "", ErrKey},
	} {
		t.Run(test.name, func(t *testing.T) {
			keys, err := ParseSet(setOf(test.set...))
			if err != nil {
				t.Fatal(err)
			}
			_, err = Verify(forge(t, signers[test.signer], header(test.kid), `{"exp":99999999999}`), keys, Want{Types: []string{""}}, noon)
			if test.class == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refusedAs(t, err, test.class, "JWT refused")
		})
	}
	// An RSA key that says it is for PS256 does not take RS256.
	keys, err := ParseSet(setOf(jwkOf(t, rsaKey().Public(), one{"kid": "r", "alg": "PS256"})))
	if err != nil {
		t.Fatal(err)
	}
	key := jose.JSONWebKey{Key: rsaKey(), KeyID: "r"}
	if _, err := Verify(byJose(t, "PS256", key, "", `{"exp":99999999999}`), keys, Want{Types: []string{""}}, noon); err != nil {
		t.Error(err)
	}
	_, err = Verify(byJose(t, "RS256", key, "", `{"exp":99999999999}`), keys, Want{Types: []string{""}}, noon)
	refusedAs(t, err, ErrSignature, "does not suit")
}

func TestKeysOfSigners(t *testing.T) {
	var pubs []crypto.PublicKey
	for _, k := range signingKeys(t) {
		pubs = append(pubs, k.Public())
	}
	keys := keysOf(t, pubs...)
	var algs []string
	for k := range keys.All() {
		algs = append(algs, k.Alg)
		if want := must(Thumbprint(k.Public)); k.ID != want {
			t.Errorf("kid is %s, want %s", k.ID, want)
		}
	}
	if diff := cmp.Diff(credential.SigningAlgs(), algs); diff != "" {
		t.Error(diff)
	}
	if _, err := NewKeys(p384Key().Public()); err == nil {
		t.Error("a key that does not sign is taken")
	}
	// What Set prints is what is read (J13: a verifier that follows the set).
	read, err := ParseClientSet(must(Set(pubs...)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keys.all, read.all); diff != "" {
		t.Error(diff)
	}
}
