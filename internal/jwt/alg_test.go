package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

var (
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	edKey  = sync.OnceValue(func() ed25519.PrivateKey {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return must(k, err)
	})
	p384Key = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
)

func must[T any](x T, err error) T {
	if err != nil {
		panic(err)
	}
	return x
}

// signingKeys are one for each algorithm that is signed by, in the order of SigningAlgs.
func signingKeys(t testing.TB) []crypto.Signer {
	return []crypto.Signer{newKey(t), edKey(), rsaKey()}
}

// keyOf is a key that suits an algorithm.
func keyOf(t testing.TB, alg string) crypto.Signer {
	t.Helper()
	switch alg {
	case "ES256":
		return newKey(t)
	case "ES384":
		return p384Key()
	case "EdDSA":
		return edKey()
	case "RS256", "PS256":
		return rsaKey()
	}
	t.Fatalf("no key for %s", alg)
	return nil
}

// byJose signs with the other implementation.
func byJose(t testing.TB, alg string, key any, typ string, text string) string {
	t.Helper()
	options := &jose.SignerOptions{}
	if typ != "" {
		options.WithType(jose.ContentType(typ))
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// What go-jose signs is accepted, by every algorithm, and refused as that of another key or for another text.
func TestWhatAnotherImplementationSignsIsAccepted(t *testing.T) {
	for _, alg := range Algs() {
		t.Run(alg, func(t *testing.T) {
			key := keyOf(t, alg)
			set := must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: alg, Use: "sig"}}}))
			keys, err := ParseSet(set)
			if err != nil || keys.Len() != 1 {
				t.Fatalf("%d keys of %s, %v", keys.Len(), set, err)
			}
			for range 50 { // so that short numbers occur in signatures
				token := byJose(t, alg, jose.JSONWebKey{Key: key, KeyID: "k"}, typ, payload(t, good()))
				if got, err := Verify(token, keys, Want{Types: only}, noon); err != nil || string(got) != payload(t, good()) {
					t.Fatalf("%s, %v", got, err)
				}
				parts := strings.Split(token, ".")
				_, err := Verify(parts[0]+"."+b64(`{"exp":99999999999}`)+"."+parts[2], keys, Want{Types: only}, noon)
				refusedAs(t, err, ErrSignature, "wrong signature")
				// Without its kid it is by one of the keys, and none of another party's.
				token = byJose(t, alg, key, typ, payload(t, good()))
				if _, err := Verify(token, keys, Want{Types: only}, noon); err != nil {
					t.Fatal(err)
				}
				_, err = Verify(token, keysOf(t, newKey(t).Public()), Want{Types: only}, noon)
				refusedAs(t, err, ErrKey, "unknown")
				if alg == "RS256" || alg == "PS256" {
					break // whose signatures all have one length, and take their time
				}
			}
		})
	}
}

// And the other way round.
func TestAnotherImplementationAcceptsToo(t *testing.T) {
	for _, key := range signingKeys(t) {
		s := newSigner(t, key)
		set, err := Set(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		var jwks jose.JSONWebKeySet
		if err := json.Unmarshal(set, &jwks); err != nil {
			t.Fatal(err)
		}
		for n := range 300 { // so that numbers of 31 octets occur in signatures
			token := sign(t, s, typ, good())
			parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(s.Alg())})
			if err != nil {
				t.Fatal(err)
			}
			header := parsed.Signatures[0].Header
			if header.KeyID != s.KeyID() || header.Algorithm != s.Alg() || header.ExtraHeaders["typ"] != typ {
				t.Fatalf("header is %+v", header)
			}
			jwk := jwks.Key(header.KeyID)[0]
			got, err := parsed.Verify(jwk)
			if err != nil || string(got) != payload(t, good()) {
				t.Fatalf("payload %s, %v", got, err)
			}
			if jwk.Algorithm != s.Alg() || jwk.Use != "sig" || !jwk.IsPublic() || !jwk.Valid() {
				t.Fatalf("key is %+v", jwk)
			}
			if s.Alg() == "RS256" && n > 5 {
				break
			}
		}
	}
}

// Known answers. RFC 7515 appendix A.2 and A.3, RFC 7520 section 4.1 and RFC 8037 appendix A.4.
func TestTheExamplesOfTheRFCs(t *testing.T) {
	const joe = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
	for name, one := range map[string]struct{ jwk, token string }{
		"RFC 7515 A.2": {
			`{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}`,
			"eyJhbGciOiJSUzI1NiJ9." + joe + "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
		},
		"RFC 7515 A.3": {
			`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`,
			"eyJhbGciOiJFUzI1NiJ9." + joe + "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
		},
		"RFC 7520 4.1": {
			`{"kty":"RSA","kid":"bilbo.baggins@hobbiton.example","use":"sig","n":"n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw","e":"AQAB"}`,
			"eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4.MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg",
		},
		"RFC 8037 A.4": {
			`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
			"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
		},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := ParseClientSet([]byte(`{"keys":[` + one.jwk + `]}`))
			if err != nil {
				t.Fatal(err)
			}
			c, err := parse(one.token)
			if err != nil {
				t.Fatal(err)
			}
			want := Want{Types: []string{""}}
			if err := c.verify(keys, want); err != nil {
				t.Error(err)
			}
			c.input += "x"
			if c.verify(keys, want) == nil {
				t.Error("the signature of another text is accepted")
			}
			if strings.Contains(one.token, joe) {
				if _, err := Verify(one.token, keys, Want{Types: []string{""}, Issuer: "joe"}, time.Unix(1300819370, 0)); err != nil {
					t.Error(err)
				}
				_, err := Verify(one.token, keys, Want{Types: only}, time.Unix(1300819370, 0))
				refusedAs(t, err, ErrClaims, "typ") // it has none, so it is none of ours
			}
		})
	}
}

// RFC 7638 section 3.1 and RFC 8037 appendix A.3; and go-jose's answers.
func TestThumbprints(t *testing.T) {
	for jwk, want := range map[string]string{
		`{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
		`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
	} {
		keys, err := ParseClientSet([]byte(`{"keys":[` + jwk + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		for k := range keys.All() {
			if got, err := Thumbprint(k.Public); got != want || err != nil {
				t.Errorf("%s, %v, want %s", got, err, want)
			}
		}
	}
	for _, alg := range Algs() {
		pub := keyOf(t, alg).Public()
		theirs := must((&jose.JSONWebKey{Key: pub}).Thumbprint(crypto.SHA256))
		if got, err := Thumbprint(pub); got != base64.RawURLEncoding.EncodeToString(theirs) || err != nil {
			t.Errorf("%s: %s, %v", alg, got, err)
		}
	}
	p521 := must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	for _, bad := range []crypto.PublicKey{nil, newKey(t), p521.Public(), ed25519.PublicKey("short"), []byte("secret")} {
		if got, err := Thumbprint(bad); err == nil {
			t.Errorf("%T has the thumbprint %s", bad, got)
		}
	}
}

// An algorithm is for its kind of key alone (J02): the table says which goes with which.
func TestAlgorithmsSuitKeys(t *testing.T) {
	n := must(rand.Prime(rand.Reader, 2047)) // no modulus, but of a size
	for name, one := range map[string]struct {
		pub  crypto.PublicKey
		algs []string
	}{
		"P-256":    {newKey(t).Public(), []string{"ES256"}},
		"P-384":    {p384Key().Public(), []string{"ES384"}},
		"Ed25519":  {edKey().Public(), []string{"EdDSA"}},
		"RSA":      {rsaKey().Public(), []string{"RS256", "PS256"}},
		"RSA 2047": {&rsa.PublicKey{N: n, E: 65537}, nil},
		"private":  {newKey(t), nil},
		"secret":   {[]byte("secret"), nil},
		"none":     {nil, nil},
	} {
		if diff := cmp.Diff(one.algs, fitting(one.pub)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Signatures of another length or form than the algorithm's are refused, and not by a panic.
func TestSignaturesHaveOneForm(t *testing.T) {
	input := []byte("x")
	for _, alg := range Algs() {
		key := keyOf(t, alg)
		token := byJose(t, alg, key, "", "{}")
		c, err := parse(token)
		if err != nil {
			t.Fatal(err)
		}
		sig := must(decode(c.sig))
		for name, bad := range map[string][]byte{
			"none": nil, "short": sig[1:], "cut": sig[:len(sig)-1], "long": append(slices.Clone(sig), 0), "zero before": append([]byte{0}, sig...),
			"all zero": make([]byte, len(sig)), "all ones": []byte(strings.Repeat("\xff", len(sig))), "one byte": {1},
		} {
			if c.alg.holds(key.Public(), []byte(c.input), bad) || c.alg.holds(key.Public(), input, bad) {
				t.Errorf("%s: a signature that is %s holds", alg, name)
			}
		}
		if alg == "ES256" || alg == "ES384" { // a number that begins with a zero, which ASN.1 has not
			for n := 0; sig[0] != 0 && n < 10000; n++ {
				if c, err = parse(byJose(t, alg, key, "", "{}")); err != nil {
					t.Fatal(err)
				}
				sig = must(decode(c.sig))
			}
		}
		if !c.alg.holds(key.Public(), []byte(c.input), sig) || c.alg.holds(key.Public(), input, sig) {
			t.Errorf("%s does not tell", alg)
		}
	}
}

// RFC 7518 section 3.5: the salt of PS256 has 32 octets.
func TestPS256HasOneSalt(t *testing.T) {
	digest := sha256.Sum256([]byte("x"))
	for salt, holds := range map[int]bool{32: true, 0: false, 20: false, 64: false} {
		sig := must(rsa.SignPSS(rand.Reader, rsaKey(), crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt}))
		if salt == 0 {
			sig = must(rsa.SignPSS(rand.Reader, rsaKey(), crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}))
		}
		if holdsPSS(rsaKey().Public(), []byte("x"), sig) != holds {
			t.Errorf("with a salt of %d octets: %v", salt, !holds)
		}
	}
}

// Points of Ed25519 that many signatures hold for without a secret are no keys: for each, one is made here. (RFC 8032 section 5.1.7 lets them pass.)
func TestSmallPointsAreNoKeys(t *testing.T) {
	y8 := smallY.FillBytes(make([]byte, 32))
	slices.Reverse(y8)
	minusY8 := make([]byte, 32)
	fieldPrime.FillBytes(minusY8)
	carry := 0
	slices.Reverse(minusY8)
	for i := range minusY8 {
		carry += int(minusY8[i]) - int(y8[i])
		minusY8[i], carry = byte(carry), carry>>8
	}
	minusOne := slices.Repeat([]byte{0xff}, 32)
	minusOne[0], minusOne[31] = 0xec, 0x7f
	identity := append([]byte{1}, make([]byte, 31)...)
	for i, y := range [][]byte{make([]byte, 32), identity, minusOne, y8, minusY8} {
		for _, sign := range []byte{0, 0x80} {
			point := slices.Clone(y)
			point[31] |= sign
			forged := false
			for n := 0; n < 200 && !forged; n++ { // [k]A is the identity for one k in the order of A
				forged = ed25519.Verify(point, fmt.Append(nil, n), append(slices.Clone(identity), make([]byte, 32)...))
			}
			if unusual := sign != 0 && (i == 1 || i == 2); !forged && !unusual { // -0 is no form of 0 to some
				t.Errorf("point %d, sign %x, is not of small order", i, sign)
			}
			if soundPoint(point) {
				t.Errorf("point %d, sign %x, is taken", i, sign)
			}
		}
	}
	// Forms that are no numbers below the prime, and numbers that are no points.
	twoFormed := slices.Repeat([]byte{0xff}, 32)
	twoFormed[0], twoFormed[31] = 0xf0, 0x7f // 3, and the prime
	noPoint := append([]byte{2}, make([]byte, 31)...)
	for _, bad := range [][]byte{twoFormed, noPoint} {
		if soundPoint(bad) {
			t.Errorf("%x is taken", bad)
		}
	}
	for range 200 {
		pub, _, _ := ed25519.GenerateKey(rand.Reader)
		if !soundPoint(pub) {
			t.Fatalf("%x is not taken", pub)
		}
	}
}

// Half of all numbers are points: [crypto/ed25519] knows which, since for the others no signature is looked at at all.
func TestPointsAreOnTheCurve(t *testing.T) {
	points := 0
	for n := range byte(200) {
		y := append([]byte{n + 3}, make([]byte, 31)...)
		if soundPoint(y) {
			points++
		}
	}
	if points < 60 || points > 140 {
		t.Errorf("%d of 200 are points", points)
	}
}

// The token endpoint signs once for each token: beside the signature a token may cost the buffer, the text, and the two forms of the signature.
func TestATokenCostsLittleBesideItsSignature(t *testing.T) {
	key := newKey(t)
	s := newSigner(t, key)
	bare := testing.AllocsPerRun(100, func() { _ = must(key.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)) })
	whole := testing.AllocsPerRun(100, func() { _ = must(s.SignPayload("at+jwt", example)) })
	if whole > bare+4 {
		t.Errorf("%v allocations, and %v for the signature alone", whole, bare)
	}
}
