package jwt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cardea/internal/credential"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const typ = "identity+jwt"

var only = []string{typ}

type claims map[string]any

func good() claims {
	return claims{"sub": "pump-1", "iat": noon.Unix(), "exp": noon.Add(time.Minute).Unix()}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newSigner(t testing.TB, key crypto.Signer) *Signer {
	t.Helper()
	s, err := NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func keysOf(t testing.TB, pub ...crypto.PublicKey) Keys {
	t.Helper()
	k, err := NewKeys(pub...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(t testing.TB, s *Signer, typ string, c any) string {
	t.Helper()
	token, err := s.Sign(typ, c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// forge makes a token of any header and payload with a right ES256 signature.
func forge(t testing.TB, s *Signer, header, payload string) string {
	t.Helper()
	input := b64(header) + "." + b64(payload)
	sig, err := s.alg.sign(s.key, []byte(input))
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func payload(t testing.TB, c claims) string {
	t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func refused(t *testing.T, err error, says string) {
	t.Helper()
	e, ok := errors.AsType[*credential.Error](err)
	if !ok || e.Kind != credential.Invalid {
		t.Fatalf("error is %v, want an invalid one that says %q", err, says)
	}
	if !strings.Contains(e.Error(), says) {
		t.Errorf("error %q does not say %q", e, says)
	}
}

// refusedAs is refused, of a class, for those who have to act on it.
func refusedAs(t *testing.T, err, class error, says string) {
	t.Helper()
	refused(t, err, says)
	for _, c := range []error{ErrForm, ErrKey, ErrSignature, ErrClaims} {
		if errors.Is(err, c) != (c == class) {
			t.Errorf("%q is of the class %q: %v", err, c, errors.Is(err, c))
		}
	}
}

func TestWhatIsSignedIsAccepted(t *testing.T) {
	key := newKey(t)
	s := newSigner(t, key)
	token := sign(t, s, typ, good())
	got, err := Verify(token, keysOf(t, newKey(t).Public(), key.Public()), Want{Types: only}, noon)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(payload(t, good()), string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestTheKeyIDIsTheThumbprint(t *testing.T) {
	key := newKey(t)
	point, err := key.PublicKey.Bytes() // 4, then the two coordinates
	if err != nil {
		t.Fatal(err)
	}
	x, y := base64.RawURLEncoding.EncodeToString(point[1:33]), base64.RawURLEncoding.EncodeToString(point[33:])
	// RFC 7638 section 3: the required members in the order of the alphabet.
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, x, y))
	if want := base64.RawURLEncoding.EncodeToString(sum[:]); newSigner(t, key).KeyID() != want {
		t.Errorf("kid is %s, want %s", newSigner(t, key).KeyID(), want)
	}
}

func TestTheSetHoldsNoPrivatePart(t *testing.T) { // J14
	a, b := newKey(t), newKey(t)
	set, err := Set(a.Public(), b.Public())
	if err != nil {
		t.Fatal(err)
	}
	var parsed struct{ Keys []map[string]any }
	if err := json.Unmarshal(set, &parsed); err != nil || len(parsed.Keys) != 2 {
		t.Fatalf("set is %s, %v", set, err)
	}
	for _, k := range parsed.Keys {
		for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
			if _, ok := k[name]; ok {
				t.Errorf("a key has the member %q", name)
			}
		}
		if k["kty"] != "EC" || k["crv"] != "P-256" || k["alg"] != "ES256" || k["use"] != "sig" || k["kid"] == "" {
			t.Errorf("key is %v", k)
		}
	}
	for _, k := range []*ecdsa.PrivateKey{a, b} {
		secret, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(set, []byte(base64.RawURLEncoding.EncodeToString(secret))) || bytes.Contains(set, []byte(hex.EncodeToString(secret))) {
			t.Error("the set holds a private key")
		}
	}
	if none, err := Set(); err != nil || string(none) != `{"keys":[]}` {
		t.Errorf("the empty set is %s, %v", none, err)
	}
	for _, k := range []crypto.PublicKey{a, "x", nil} {
		if out, err := Set(a.Public(), k); err == nil {
			t.Errorf("a %T is published: %s", k, out)
		}
	}
}

func TestNoOtherKeySigns(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := rand.Prime(rand.Reader, 1024) // a key of that size is not made by the standard library any more
	weak := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: 65537}}
	for _, k := range []crypto.Signer{p384, weak} {
		if _, err := NewSigner(k); err == nil {
			t.Errorf("%T is taken", k)
		}
	}
}

func TestWhatIsNoTokenIsNotSigned(t *testing.T) {
	s := newSigner(t, newKey(t))
	for _, bad := range []string{"", `x","alg":"none`, "a b", "a/b", "ä", strings.Repeat("x", 65)} {
		if _, err := s.Sign(bad, good()); err == nil {
			t.Errorf("typ %q is taken", bad)
		}
	}
	for _, bad := range []any{nil, "x", 1, []string{"x"}, func() {}} {
		if _, err := s.Sign(typ, bad); err == nil {
			t.Errorf("claims %T are taken", bad)
		}
	}
	if _, err := newSigner(t, broken{newKey(t)}).Sign(typ, good()); err == nil {
		t.Error("a signer's nonsense is taken for a signature")
	}
}

// broken is a key whose device answers with nonsense.
type broken struct{ *ecdsa.PrivateKey }

func (broken) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return []byte{0x30, 0}, nil }

func TestAForgedAlgorithmIsRefused(t *testing.T) { // J01, J02
	key := newKey(t)
	s, keys := newSigner(t, key), keysOf(t, key.Public())
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	header := func(alg string) string { return fmt.Sprintf(`{"alg":%s,"kid":%q,"typ":%q}`, alg, s.KeyID(), typ) }
	for _, alg := range []string{`"none"`, `"None"`, `"nOnE"`, `"NONE"`, `""`, `null`, `["ES256"]`, `"es256"`, `"ES256 "`, `"ES384"`, `"RS256"`, `"HS256"`} {
		input := b64(header(alg)) + "." + b64(payload(t, good()))
		_, err := Verify(input+".", keys, Want{Types: only}, noon)
		refused(t, err, "algorithm")
		// The signature is right: the algorithm alone is what refuses it.
		_, err = Verify(forge(t, s, header(alg), payload(t, good())), keys, Want{Types: only}, noon)
		refused(t, err, "algorithm")
	}
	public := map[string][]byte{"DER": der, "PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}
	for name, secret := range public {
		input := b64(header(`"HS256"`)) + "." + b64(payload(t, good()))
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		_, err := Verify(input+"."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), keys, Want{Types: only}, noon)
		if refused(t, err, "algorithm"); t.Failed() {
			t.Fatalf("HMAC with the public key as %s", name)
		}
	}
	// Without any signature, under the right algorithm.
	_, err = Verify(b64(header(`"ES256"`))+"."+b64(payload(t, good()))+".", keys, Want{Types: only}, noon)
	refused(t, err, "signature")
}

func TestAHeaderCannotLeadElsewhere(t *testing.T) { // J03, J04, J05
	key, thief := newKey(t), newKey(t)
	s, keys := newSigner(t, key), keysOf(t, key.Public())
	stolen, err := Set(thief.Public())
	if err != nil {
		t.Fatal(err)
	}
	jwk := strings.TrimSuffix(strings.TrimPrefix(string(stolen), `{"keys":[`), `]}`)
	base := fmt.Sprintf(`"alg":"ES256","typ":%q`, typ)
	kid := fmt.Sprintf(`,"kid":%q`, s.KeyID())
	tests := []struct{ name, header, says string }{
		{"as it should be", `{` + base + kid + `}`, ""},
		{"jku, x5u, x5c are not looked at", `{` + base + kid + `,"jku":"http://127.0.0.1:1/x","x5u":"http://127.0.0.1:1/x","x5c":["x"]}`, ""},
		{"no kid", `{` + base + `}`, ""},
		{"empty kid", `{` + base + `,"kid":""}`, "kid is empty"},
		{"kid of a file", `{` + base + `,"kid":"../../dev/null"}`, "key is unknown"},
		{"kid with SQL", `{` + base + `,"kid":"' or 1=1 --"}`, "key is unknown"},
		{"kid that is no string", `{` + base + `,"kid":{}}`, "kid is not a string"},
		{"crit", `{` + base + kid + `,"crit":["b64"],"b64":true}`, "crit"},
		{"empty crit", `{` + base + kid + `,"crit":[]}`, "crit"},
		{"alg twice", `{` + base + kid + `,"alg":"ES256"}`, "twice"},
		{"kid twice", `{` + base + kid + kid + `}`, "twice"},
		{"kid twice, once escaped", `{` + base + kid + `,"\u006bid":"x"}`, "twice"},
		{"ALG", `{` + strings.Replace(base, "alg", "ALG", 1) + kid + `}`, "algorithm"},
		{"a list", `[]`, "not a JSON object"},
		{"null", `null`, "not a JSON object"},
		{"something behind", `{` + base + kid + `}{}`, "not JSON"},
		{"no UTF-8", "{" + base + kid + ",\"x\":\"\xff\"}", "not UTF-8"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Verify(forge(t, s, test.header, payload(t, good())), keys, Want{Types: only}, noon)
			if test.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refused(t, err, test.says)
		})
	}
	// J04: the key that a token brings along does not make its signature a right one.
	_, err = Verify(forge(t, newSigner(t, thief), `{`+base+kid+`,"jwk":`+jwk+`}`, payload(t, good())), keys, Want{Types: only}, noon)
	refused(t, err, "wrong signature")
}

func TestOnlyTheExpectedTypIsAccepted(t *testing.T) { // J09
	key := newKey(t)
	s, keys := newSigner(t, key), keysOf(t, key.Public())
	for _, other := range []string{"JWT", "at+jwt", "dpop+jwt", "identity", "identity+jwt-x"} {
		_, err := Verify(sign(t, s, other, good()), keys, Want{Types: only}, noon)
		refused(t, err, "typ")
	}
	_, err := Verify(forge(t, s, fmt.Sprintf(`{"alg":"ES256","kid":%q}`, s.KeyID()), payload(t, good())), keys, Want{Types: only}, noon)
	refused(t, err, "typ")
	_, err = Verify(forge(t, s, fmt.Sprintf(`{"alg":"ES256","kid":%q}`, s.KeyID()), payload(t, good())), keys, Want{}, noon)
	refused(t, err, "must name a typ")
}

func TestTimesAreCheckedToTheSecond(t *testing.T) { // J06, J07
	key := newKey(t)
	s, keys := newSigner(t, key), keysOf(t, key.Public())
	const leeway = 30 * time.Second
	at := func(d time.Duration) int64 { return noon.Add(d).Unix() }
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	tests := []struct {
		name string
		c    claims
		says string
	}{
		{"exp just within the leeway", claims{"exp": at(-leeway + time.Second)}, ""},
		{"exp just outside", claims{"exp": at(-leeway)}, "expired"},
		{"exp a fraction within", claims{"exp": float64(at(-leeway)) + 0.5}, ""},
		{"exp long ago", claims{"exp": 1}, "expired"},
		{"exp with an exponent", claims{"exp": raw("2e9")}, ""},
		{"no exp", claims{"sub": "x"}, "no exp"},
		{"exp is null", claims{"exp": nil}, "exp is not a number"},
		{"exp is a string", claims{"exp": fmt.Sprint(at(time.Hour))}, "exp is not a number"},
		{"exp is 1e308", claims{"exp": raw("1e308")}, "exp is not a number"},
		{"exp is more than any number", claims{"exp": raw("1e999")}, "exp is not a number"},
		{"exp is negative", claims{"exp": -5}, "exp is not a number"},
		{"exp is a list", claims{"exp": []int64{at(time.Hour)}}, "exp is not a number"},
		{"nbf just within the leeway", claims{"exp": at(time.Hour), "nbf": at(leeway)}, ""},
		{"nbf just outside", claims{"exp": at(time.Hour), "nbf": at(leeway + time.Second)}, "nbf is in the future"},
		{"iat just within the leeway", claims{"exp": at(time.Hour), "iat": at(leeway)}, ""},
		{"iat just outside", claims{"exp": at(time.Hour), "iat": at(leeway + time.Second)}, "iat is in the future"},
		{"iat is a string", claims{"exp": at(time.Hour), "iat": "now"}, "iat is not a number"},
		{"EXP is another claim", claims{"exp": at(-time.Hour), "EXP": at(time.Hour)}, "another case"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Verify(sign(t, s, typ, test.c), keys, Want{Types: only, Leeway: leeway}, noon)
			if test.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refused(t, err, test.says)
		})
	}
	for _, bad := range []time.Duration{-1, time.Minute + 1} {
		_, err := Verify(sign(t, s, typ, good()), keys, Want{Types: only, Leeway: bad}, noon)
		refused(t, err, "leeway")
	}
	// J05: of two members of one name, parsers differ in which they take.
	_, err := Verify(forge(t, s, fmt.Sprintf(`{"alg":"ES256","kid":%q,"typ":%q}`, s.KeyID(), typ), `{"exp":1,"exp":99999999999}`), keys, Want{Types: only}, noon)
	refused(t, err, "twice")
}

func TestOnlyTheRightAudienceAndIssuer(t *testing.T) { // J08
	key := newKey(t)
	s, keys := newSigner(t, key), keysOf(t, key.Public())
	tests := []struct {
		name string
		aud  any
		want string
		says string
	}{
		{"the one", "db", "db", ""},
		{"one of several", []string{"x", "db"}, "db", ""},
		{"none, none wanted", nil, "", ""},
		{"none", nil, "db", "somebody else"},
		{"another", "dbx", "db", "somebody else"},
		{"several others", []string{"x", "y"}, "db", "somebody else"},
		{"empty list", []string{}, "db", "somebody else"},
		{"empty text", "", "", "somebody else"},
		{"one where none is expected", "db", "", "somebody else"},
		{"a number", 7, "db", "neither a string"},
		{"a list with a number", []any{"db", 7}, "db", "neither a string"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := good()
			if test.aud != nil {
				c["aud"] = test.aud
			}
			var audiences []string
			if test.want != "" {
				audiences = []string{"other", test.want}
			}
			_, err := Verify(sign(t, s, typ, c), keys, Want{Types: only, Audiences: audiences}, noon)
			if test.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refused(t, err, test.says)
		})
	}
	c := good()
	_, err := Verify(sign(t, s, typ, c), keys, Want{Types: only, Issuer: "cardea"}, noon)
	refused(t, err, "issuer")
	c["iss"] = "cardea"
	if _, err := Verify(sign(t, s, typ, c), keys, Want{Types: only, Issuer: "cardea"}, noon); err != nil {
		t.Error(err)
	}
}

func TestATokenHasOneForm(t *testing.T) {
	key := newKey(t)
	s, keys := newSigner(t, key), keysOf(t, key.Public())
	token := sign(t, s, typ, good())
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.IntRange(0, len(token)-1).Draw(t, "at")
		c := rapid.Byte().Draw(t, "byte")
		if c == token[i] {
			return
		}
		if _, err := Verify(token[:i]+string([]byte{c})+token[i+1:], keys, Want{Types: only}, noon); err == nil {
			t.Fatalf("accepted with %q at %d", c, i)
		}
	})
	// The last letter stands for two bits only: fifteen others would mean the same to a decoder that is not strict.
	for c := range byte(128) {
		last := len(token) - 1
		if _, err := Verify(token[:last]+string(c), keys, Want{Types: only}, noon); err == nil && c != token[last] {
			t.Errorf("accepted with %q in the place of %q at the end", c, token[last])
		}
	}
	parts := strings.Split(token, ".")
	for name, other := range map[string]string{
		"empty":         "",
		"two parts":     parts[0] + "." + parts[1],
		"four parts":    token + ".",
		"five (JWE)":    token + ".a.b", // J12
		"a million":     strings.Repeat(".", 1000000),
		"line end":      token + "\n",
		"line in it":    token[:5] + "\r\n" + token[5:],
		"padding":       token + "==",
		"space":         " " + token,
		"short":         token[:len(token)-2],
		"zero sig":      parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)), // CVE-2022-21449
		"ASN.1":         parts[0] + "." + parts[1] + "." + derSignature(t, key, parts[0]+"."+parts[1]),
		"other payload": parts[0] + "." + b64(`{"sub":"admin","exp":99999999999}`) + "." + parts[2],
	} {
		if _, err := Verify(other, keys, Want{Types: only}, noon); credential.KindOf(err) != credential.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func derSignature(t *testing.T, key *ecdsa.PrivateKey, input string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(input))
	der, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(der)
}

func TestALongTokenIsRefusedBeforeItIsRead(t *testing.T) { // J11
	key := newKey(t)
	s, keys := newSigner(t, key), keysOf(t, key.Public())
	c := good()
	c["pad"] = strings.Repeat("x", maxToken)
	long := sign(t, s, typ, c)
	_, err := Verify(long, keys, Want{Types: only}, noon)
	refused(t, err, "longer than 8192 bytes")
	huge := strings.Repeat(long, 1000)
	if n := testing.AllocsPerRun(10, func() { Verify(huge, keys, Want{Types: only}, noon) }); n > 10 {
		t.Errorf("%v allocations for a token of %d bytes", n, len(huge))
	}
}
