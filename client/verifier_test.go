package client_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cardea/client"
)

func verify(t testing.TB, v *client.Verifier, token string) (*client.Claims, error) {
	t.Helper()
	return v.Verify(t.Context(), client.Presented{Token: token})
}

// invalidIs wants a refusal that tells callers nothing but that the token is invalid, and the log why.
func invalidIs(t testing.TB, err error, words string) {
	t.Helper()
	e, ok := errors.AsType[*client.TokenError](err)
	if !ok || e.Code != "invalid_token" || !strings.Contains(e.Reason, words) {
		t.Errorf("error is %v, want an invalid_token that says %q", err, words)
	}
}

func TestAGoodToken(t *testing.T) {
	for name, key := range map[string]crypto.Signer{"ES256": newECKey(t), "EdDSA": newEdKey(t), "RS256": newRSAKey(t, 2048)} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, newClock())
			i.rotate(signingKey(t, key, "second"))
			now := i.clock.Now()
			token := i.sign(i.claims(claims{
				"jti": "J1", "aud": []string{"https://other.example", resource}, "nbf": now.Unix(),
				"act": claims{"sub": "hub", "client_id": "c2", "act": claims{"sub": "bot"}}, "crd": "Cl1ent000001.3",
			}))
			got, err := verify(t, i.verifier(t, nil), token)
			must(t, err)
			want := &client.Claims{
				Issuer: i.URL, Subject: "pump-1", Audience: []string{"https://other.example", resource}, ID: "J1", ClientID: "Cl1ent000001",
				Scopes: []string{"things:read", "things:write"}, IssuedAt: now, ExpiresAt: now.Add(5 * time.Minute), Org: "default", Kind: "service",
				Actor: &client.Actor{Subject: "hub", ClientID: "c2", Actor: &client.Actor{Subject: "bot"}},
			}
			if diff := cmp.Diff(want, got, cmp.FilterPath(unexported, cmp.Ignore())); diff != "" {
				t.Error(diff)
			}
			var more struct{ Crd string }
			if must(t, got.Decode(&more)); more.Crd != "Cl1ent000001.3" {
				t.Errorf("crd is %q", more.Crd)
			}
			if !got.HasScope("things:read", "things:write") || got.HasScope("things") || got.HasScope("things:read", "x") || got.Bound() {
				t.Error("scopes or binding are others")
			}
		})
	}
}

func unexported(p cmp.Path) bool {
	f, ok := p.Last().(cmp.StructField)
	return ok && f.Name()[0] >= 'a'
}

func TestClaimsThatAreRefused(t *testing.T) {
	i := newIssuer(t, newClock())
	now := i.clock.Now()
	v := i.verifier(t, nil)
	for name, c := range map[string]struct {
		other claims
		words string
	}{
		"J06 no exp":               {claims{"exp": nil}, "no exp"},
		"J06 exp is a string":      {claims{"exp": fmt.Sprint(now.Add(time.Minute).Unix())}, "not of the kind"},
		"J06 exp is 1e308":         {claims{"exp": json.RawMessage("1e308")}, "not of the kind"},
		"J06 exp is 1e400":         {claims{"exp": json.RawMessage("1e400")}, "claims"},
		"J06 exp is negative":      {claims{"exp": -1}, "not of the kind"},
		"J06 exp is null":          {claims{"exp": json.RawMessage("null")}, "no exp"},
		"J06 nbf in the future":    {claims{"nbf": now.Add(11 * time.Second).Unix()}, "from the future"},
		"J06 iat in the future":    {claims{"iat": now.Add(11 * time.Second).Unix()}, "from the future"},
		"J07 exp is over":          {claims{"exp": now.Add(-10 * time.Second).Unix()}, "expired"},
		"J08 no aud":               {claims{"aud": nil}, "no aud"},
		"J08 aud is empty":         {claims{"aud": []string{}}, "no aud"},
		"J08 another aud":          {claims{"aud": "https://other.example"}, "somebody else"},
		"J08 others":               {claims{"aud": []string{"https://other.example", "x"}}, "somebody else"},
		"J08 aud begins like ours": {claims{"aud": resource + "/admin"}, "somebody else"},
		"J08 aud in large letters": {claims{"aud": strings.ToUpper(resource)}, "somebody else"},
		"J08 aud with a slash":     {claims{"aud": resource + "/"}, "somebody else"},
		"J08 aud is a number":      {claims{"aud": 1}, "not of the kind"},
		"J08 aud holds a null":     {claims{"aud": []any{resource, nil}}, "not of the kind"},
		"another iss":              {claims{"iss": "https://issuer.example"}, "issuer"},
		"iss with a slash":         {claims{"iss": i.URL + "/"}, "issuer"},
		"no iss":                   {claims{"iss": nil}, "no iss"},
		"no sub":                   {claims{"sub": nil}, "no sub"},
		"no client_id":             {claims{"client_id": nil}, "no client_id"},
		"no iat":                   {claims{"iat": nil}, "no iat"},
		"no jti":                   {claims{"jti": nil}, "no jti"},
		"scope is a list":          {claims{"scope": []string{"things:read"}}, "not of the kind"},
		"sub is a number":          {claims{"sub": 7}, "not of the kind"},
		"cnf is empty":             {claims{"cnf": claims{}}, "a way that is not known"},
		"cnf is unknown":           {claims{"cnf": claims{"kid": "x"}}, "a way that is not known"},
		"cnf has one unknown":      {claims{"cnf": claims{"jkt": athOf("x"), "jwk": claims{}}}, "a way that is not known"},
		"cnf has an empty jkt":     {claims{"cnf": claims{"jkt": ""}}, "no thumbprint"},
		"cnf has a short x5t#S256": {claims{"cnf": claims{"x5t#S256": "AAAA"}}, "no thumbprint"},
		"cnf is a list":            {claims{"cnf": []int{}}, "cnf"},
		"names in other letters":   {claims{"exp": nil, "Exp": now.Add(time.Minute).Unix()}, "no exp"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verify(t, v, i.sign(i.claims(c.other)))
			invalidIs(t, err, c.words)
		})
	}
}

// J07: inside the leeway it is accepted, a second beyond it is not; no leeway is longer than a minute.
func TestLeeway(t *testing.T) {
	for _, leeway := range []time.Duration{-1, time.Second, time.Minute} {
		t.Run(leeway.String(), func(t *testing.T) {
			i := newIssuer(t, newClock())
			v := i.verifier(t, func(c *client.VerifierConfig) { c.Leeway = leeway })
			token := i.sign(i.claims(nil))
			i.clock.Add(5*time.Minute + max(leeway, 0) - time.Second)
			_, err := verify(t, v, token)
			must(t, err)
			i.clock.Add(time.Second)
			_, err = verify(t, v, token)
			invalidIs(t, err, "expired")
			_, err = verify(t, v, i.sign(i.claims(claims{"iat": i.clock.Now().Add(max(leeway, 0)).Unix()})))
			must(t, err)
			_, err = verify(t, v, i.sign(i.claims(claims{"iat": i.clock.Now().Add(max(leeway, 0) + time.Second).Unix()})))
			invalidIs(t, err, "from the future")
		})
	}
	if _, err := client.NewVerifier(client.VerifierConfig{Issuer: "https://i.example", Audiences: []string{"x"}, Leeway: 61 * time.Second}); err == nil {
		t.Error("a leeway of 61 s is taken")
	}
}

func TestFormsThatAreRefused(t *testing.T) {
	i := newIssuer(t, newClock())
	v := i.verifier(t, nil)
	key := i.keys[0]
	good := i.sign(i.claims(nil))
	parts := strings.Split(good, ".")
	payload, err := json.Marshal(i.claims(nil))
	must(t, err)
	es := func(header string) string { return forge(t, key.Key.(*ecdsa.PrivateKey), header, string(payload)) }
	pub := key.Public()
	pubJSON, err := pub.MarshalJSON()
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(pub.Key)
	must(t, err)
	hs := func(secret []byte) string {
		input := b64(`{"alg":"HS256","kid":"first","typ":"at+jwt"}`) + "." + b64(string(payload))
		m := hmac.New(sha256.New, secret)
		m.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
	}
	twice := strings.Replace(string(payload), "{", `{"exp":1,`, 1)
	deep := strings.Replace(string(payload), "{", `{"x":{"y":[{"z":1,"z":2}]},`, 1)
	outbound := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a URL of the header was asked") }))
	defer outbound.Close()
	rs := signingKey(t, newRSAKey(t, 2048), "first")

	for name, token := range map[string]string{
		"J01 alg none":                      b64(`{"alg":"none","kid":"first","typ":"at+jwt"}`) + "." + parts[1] + ".",
		"J01 alg None":                      b64(`{"alg":"None","kid":"first","typ":"at+jwt"}`) + "." + parts[1] + "." + parts[2],
		"J01 alg nOnE":                      b64(`{"alg":"nOnE","kid":"first","typ":"at+jwt"}`) + "." + parts[1] + "." + parts[2],
		"J01 no alg":                        es(`{"kid":"first","typ":"at+jwt"}`),
		"J01 no signature":                  parts[0] + "." + parts[1] + ".",
		"J02 the public key as a secret":    hs(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"J02 the JWK as a secret":           hs(pubJSON),
		"J02 RS256 with the name of an EC":  signWith(rs, "at+jwt", payload, nil),
		"J02 ES384 on P-256":                es(`{"alg":"ES384","kid":"first","typ":"at+jwt"}`),
		"J03 a path as kid":                 es(`{"alg":"ES256","kid":"../../../dev/null","typ":"at+jwt"}`),
		"J03 a URL as kid":                  es(`{"alg":"ES256","kid":"` + outbound.URL + `","typ":"at+jwt"}`),
		"J03 a long kid":                    es(`{"alg":"ES256","kid":"` + strings.Repeat("k", 3000) + `","typ":"at+jwt"}`),
		"J03 no kid":                        es(`{"alg":"ES256","typ":"at+jwt"}`),
		"J03 kid is a list":                 es(`{"alg":"ES256","kid":["first"],"typ":"at+jwt"}`),
		"J04 jku, x5u":                      es(`{"alg":"ES256","kid":"x","typ":"at+jwt","jku":"` + outbound.URL + `","x5u":"` + outbound.URL + `"}`),
		"J04 a key of its own":              foreign(t, payload),
		"J05 crit":                          es(`{"alg":"ES256","kid":"first","typ":"at+jwt","crit":["exp"],"exp":1}`),
		"J05 crit is null":                  es(`{"alg":"ES256","kid":"first","typ":"at+jwt","crit":null}`),
		"J05 b64":                           es(`{"alg":"ES256","kid":"first","typ":"at+jwt","b64":true}`),
		"J05 a member of the header twice":  es(`{"alg":"ES256","alg":"ES256","kid":"first","typ":"at+jwt"}`),
		"J05 a claim twice":                 forge(t, key.Key.(*ecdsa.PrivateKey), `{"alg":"ES256","kid":"first","typ":"at+jwt"}`, twice),
		"J05 a claim twice, deep":           forge(t, key.Key.(*ecdsa.PrivateKey), `{"alg":"ES256","kid":"first","typ":"at+jwt"}`, deep),
		"J09 no typ":                        es(`{"alg":"ES256","kid":"first"}`),
		"J09 an ID token":                   signWith(key, "JWT", payload, nil),
		"J09 a DPoP proof":                  signWith(key, "dpop+jwt", payload, nil),
		"J09 a logout token":                signWith(key, "logout+jwt", payload, nil),
		"J11 a million dots":                strings.Repeat(".", 1_000_000),
		"J11 ten megabytes":                 strings.Repeat("a", 10<<20),
		"J12 encrypted":                     b64(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483647,"p2s":"x","zip":"DEF"}`) + ".a.a.a.a",
		"nothing":                           "",
		"one part":                          "abc",
		"a line end":                        good + "\n",
		"a line end inside":                 parts[0] + "\n." + parts[1] + "." + parts[2],
		"padding":                           good + "=",
		"the payload of another":            parts[0] + "." + strings.Split(i.sign(i.claims(claims{"sub": "root"})), ".")[1] + "." + parts[2],
		"a payload that is a list":          forge(t, key.Key.(*ecdsa.PrivateKey), `{"alg":"ES256","kid":"first","typ":"at+jwt"}`, "[]"),
		"a payload that is not UTF-8":       forge(t, key.Key.(*ecdsa.PrivateKey), `{"alg":"ES256","kid":"first","typ":"at+jwt"}`, strings.Replace(string(payload), "pump", "\xff\xfe", 1)),
		"a payload that goes on":            forge(t, key.Key.(*ecdsa.PrivateKey), `{"alg":"ES256","kid":"first","typ":"at+jwt"}`, string(payload)+"{}"),
		"a signature that goes on":          good + "AAAA",
		"another form of the last letter":   parts[0] + "." + parts[1] + "." + otherBits(parts[2]),
		"a signature of another key":        signWith(signingKey(t, newECKey(t), "first"), "at+jwt", payload, nil),
		"an algorithm that is not accepted": signWith(jose.JSONWebKey{Key: rs.Key, Algorithm: "PS256", KeyID: "first"}, "at+jwt", payload, nil),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verify(t, v, token)
			invalidIs(t, err, "")
		})
	}
	_, err = verify(t, v, es(`{"alg":"ES256","typ":"at+jwt"}`))
	invalidIs(t, err, "names no key")
	_, err = verify(t, v, good)
	must(t, err)
	for _, typ := range []string{"application/at+jwt", "AT+JWT"} { // RFC 7515 section 4.1.9
		_, err = verify(t, v, signWith(key, typ, payload, nil))
		must(t, err)
	}
	if got := i.count("/jwks"); got > 2 {
		t.Errorf("the keys were fetched %d times", got) // J03: not for each name
	}
}

// forge signs any header and payload with ES256.
func forge(t testing.TB, key *ecdsa.PrivateKey, header, payload string) string {
	t.Helper()
	input := b64(header) + "." + b64(payload)
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// foreign is a token that brings its own key along.
func foreign(t testing.TB, payload []byte) string {
	t.Helper()
	key := newECKey(t)
	pub, err := (&jose.JSONWebKey{Key: key.Public(), KeyID: "first"}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return forge(t, key, `{"alg":"ES256","kid":"first","typ":"at+jwt","jwk":`+string(pub)+`}`, string(payload))
}

// otherBits returns base64url text that a careless decoder takes for the same bytes.
func otherBits(s string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	n := strings.IndexByte(letters, s[len(s)-1])
	return s[:len(s)-1] + string(letters[n^1])
}

// J11: what is too long is not even copied.
func TestLongTokensCostNothing(t *testing.T) {
	i := newIssuer(t, newClock())
	v := i.verifier(t, nil)
	for _, token := range []string{strings.Repeat(".", 10<<20), strings.Repeat("a.", 5<<20)} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := verify(t, v, token)
		runtime.ReadMemStats(&after)
		if invalidIs(t, err, "longer"); after.TotalAlloc-before.TotalAlloc > 1<<20 {
			t.Errorf("%d bytes were allocated", after.TotalAlloc-before.TotalAlloc)
		}
	}
}

// J13: a key that signs at once is found, and the former one is still good.
func TestRotation(t *testing.T) {
	i := newIssuer(t, newClock())
	v := i.verifier(t, nil)
	old := i.sign(i.claims(nil))
	_, err := verify(t, v, old)
	must(t, err)
	for n := range 3 {
		i.clock.Add(11 * time.Second)
		i.rotate(signingKey(t, newECKey(t), fmt.Sprint("next-", n)))
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for _, token := range []string{i.sign(i.claims(nil)), old} {
					if _, err := v.Verify(t.Context(), client.Presented{Token: token}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
	if got := i.count("/jwks"); got != 4 {
		t.Errorf("the keys were fetched %d times for 4 sets", got)
	}
}

// J03: names of keys that nobody has make the server be asked at most once in ten seconds.
func TestUnknownKeysAreNotAskedAboutForEver(t *testing.T) {
	i := newIssuer(t, newClock())
	v := i.verifier(t, nil)
	for n := range 50 {
		k := signingKey(t, i.keys[0].Key.(crypto.Signer), fmt.Sprint("x", n))
		_, err := verify(t, v, signWith(k, "at+jwt", i.claims(nil), nil))
		invalidIs(t, err, "its key is not among")
		i.clock.Add(time.Second)
	}
	if got := i.count("/jwks"); got != 5 {
		t.Errorf("the keys were fetched %d times in 50 s", got)
	}
	// A token that is for somebody else does not make it ask at all.
	i.clock.Add(time.Minute)
	_, err := verify(t, v, signWith(signingKey(t, newECKey(t), "y"), "at+jwt", i.claims(claims{"aud": "x"}), nil))
	if invalidIs(t, err, "somebody else"); i.count("/jwks") != 5 {
		t.Error("the keys were fetched")
	}
}

// A key that was withdrawn is believed for minutes, not for ever; without the server keys are good for an hour.
func TestKeysGrowOld(t *testing.T) {
	i := newIssuer(t, newClock())
	v := i.verifier(t, nil)
	good := func() error {
		_, err := verify(t, v, i.sign(i.claims(nil)))
		return err
	}
	must(t, good())
	i.change(func() { i.down = true })
	for range 11 {
		i.clock.Add(5 * time.Minute)
		must(t, good())
	}
	i.clock.Add(6 * time.Minute)
	if _, ok := errors.AsType[*client.UnavailableError](good()); !ok {
		t.Fatalf("after an hour: %v", good())
	}
	i.change(func() { i.down = false })
	i.clock.Add(11 * time.Second)
	must(t, good())

	withdrawn := i.sign(i.claims(claims{"exp": i.clock.Now().Add(time.Hour).Unix()}))
	i.change(func() { i.keys = []jose.JSONWebKey{signingKey(t, newECKey(t), "new")} })
	i.clock.Add(6 * time.Minute)
	_, err := verify(t, v, withdrawn) // makes it fetch, beside
	must(t, err)
	for range 2000 {
		if _, err = verify(t, v, withdrawn); err != nil {
			break
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
	invalidIs(t, err, "its key is not among")
}

// What is in a JWK set and is no public key for signatures that are checked here is left out.
func TestKeysThatAreNotUsed(t *testing.T) {
	i := newIssuer(t, newClock())
	ec := i.keys[0]
	token := i.sign(i.claims(nil))
	pub := ec.Public()
	enc, other, unnamed := pub, pub, pub
	enc.Use, other.Algorithm, unnamed.KeyID = "enc", "ES384", ""
	short := signingKey(t, newRSAKey(t, 1024), "first")
	weak := short.Public()
	for name, keys := range map[string][]any{
		"none":           {},
		"for encryption": {enc},
		"another alg":    {other},
		"without a name": {unnamed},
		"private":        {ec},
		"secret":         {claims{"kty": "oct", "k": "c2VjcmV0", "kid": "first"}},
		"weak":           {weak},
		"unknown":        {claims{"kty": "new", "kid": "first"}, 1, "x", nil},
	} {
		t.Run(name, func(t *testing.T) {
			i.change(func() { i.set = claims{"keys": keys} })
			_, err := verify(t, i.verifier(t, nil), token)
			if _, ok := errors.AsType[*client.UnavailableError](err); !ok {
				t.Errorf("error is %v", err)
			}
			i.change(func() { i.set = claims{"keys": append(keys, pub)} })
			_, err = verify(t, i.verifier(t, nil), token)
			must(t, err)
		})
	}
}

func TestSetsThatAreNotBelieved(t *testing.T) {
	for name, change := range map[string]func(i *issuer){
		"another issuer's metadata": func(i *issuer) { i.meta = claims{"issuer": "https://issuer.example"} }, // J10
		"no jwks_uri":               func(i *issuer) { i.meta = claims{"jwks_uri": ""} },
		"keys in the clear":         func(i *issuer) { i.meta = claims{"jwks_uri": "http://keys.example/"} },
		"no set":                    func(i *issuer) { i.set = claims{"key": 1} },
		"a list":                    func(i *issuer) { i.set = []int{} },
		"down":                      func(i *issuer) { i.down = true },
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, newClock())
			change(i)
			_, err := verify(t, i.verifier(t, nil), i.sign(i.claims(nil)))
			if _, ok := errors.AsType[*client.UnavailableError](err); !ok {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestAJWKSURLThatIsGiven(t *testing.T) {
	i := newIssuer(t, newClock())
	v := i.verifier(t, func(c *client.VerifierConfig) { c.JWKSURL, c.Algorithms = i.URL+"/jwks", []string{"ES256"} })
	_, err := verify(t, v, i.sign(i.claims(nil)))
	if must(t, err); i.count("/.well-known/oauth-authorization-server") != 0 {
		t.Error("the metadata were asked for")
	}
	i.rotate(signingKey(t, newEdKey(t), "ed"))
	_, err = verify(t, v, i.sign(i.claims(nil)))
	invalidIs(t, err, "algorithm")
}

func TestVerifiersThatAreRefused(t *testing.T) {
	_, err := client.NewVerifier(client.VerifierConfig{
		Issuer: "https://i.example/?x", JWKSURL: "http://keys.example", Algorithms: []string{"HS256"}, Leeway: time.Hour, Stale: time.Second,
		Introspection: client.IntrospectAlways, DPoP: &client.DPoPConfig{NonceKey: []byte("short")},
	})
	for _, words := range []string{
		"must have no query", "Audiences", "the JWKS URL", `"HS256" is none of`, "a leeway of 1h0m0s", "Stale", "an Auth", "the Origins", "the NonceKey",
	} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("error %v does not say %q", err, words)
		}
	}
}

// Whatever one letter of a good token becomes, it is good no more.
func TestEveryLetterCounts(t *testing.T) {
	i := newIssuer(t, newClock())
	v := i.verifier(t, nil)
	token := i.sign(i.claims(nil))
	rapid.Check(t, func(r *rapid.T) {
		at := rapid.IntRange(0, len(token)-1).Draw(r, "at")
		with := rapid.Byte().Draw(r, "with")
		if token[at] == with {
			return
		}
		if c, err := verify(t, v, token[:at]+string(rune(with))+token[at+1:]); err == nil {
			r.Fatalf("accepted as %v", c)
		}
	})
}

// fuzzed is a verifier of tokens by a key and an issuer that are the same in each process, since fuzzing has several and hands inputs from one to another.
type fuzzed struct {
	v     *client.Verifier
	key   jose.JSONWebKey
	clock *clock
}

func newFuzzed(f *testing.F, change func(*client.VerifierConfig)) *fuzzed {
	f.Helper()
	key := signingKey(f, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), "first")
	i := newIssuer(f, newClock())
	i.rotate(key)
	v := i.verifier(f, func(c *client.VerifierConfig) {
		c.Issuer, c.JWKSURL = "https://issuer.example", i.URL+"/jwks"
		if change != nil {
			change(c)
		}
	})
	return &fuzzed{v, key, i.clock}
}

func (z *fuzzed) claims(other claims) claims {
	now := z.clock.Now().Unix()
	c := claims{
		"iss": "https://issuer.example", "sub": "pump-1", "aud": resource, "client_id": "c", "jti": "j", "scope": scopes, "iat": now, "exp": now + 300,
	}
	for k, v := range other {
		c[k] = v
	}
	return c
}

// FuzzVerifier: no text is accepted but what the issuer has signed, whatever it is.
func FuzzVerifier(f *testing.F) {
	z := newFuzzed(f, nil)
	good := signWith(z.key, "at+jwt", z.claims(nil), nil)
	parts := strings.Split(good, ".")
	for _, seed := range []string{
		good, "", "..", good + ".", parts[0] + "." + parts[1] + ".", b64(`{"alg":"none"}`) + "." + parts[1] + ".",
		b64(`{"alg":"EdDSA","kid":"first","typ":"at+jwt","crit":[]}`) + "." + parts[1] + "." + parts[2], "a.b.c.d.e", "cardea_api_0123456789AB",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		c, err := z.v.Verify(t.Context(), client.Presented{Token: token})
		if (err == nil) != (token == good) {
			t.Fatalf("%v, %v: %q", c, err, token)
		}
		if _, ok := errors.AsType[*client.TokenError](err); err != nil && !ok {
			t.Fatalf("error is %v", err)
		}
	})
}

// FuzzClaims: signed payloads of any kind are either whole or refused.
func FuzzClaims(f *testing.F) {
	z := newFuzzed(f, nil)
	for _, other := range []claims{nil, {"cnf": claims{"jkt": athOf("x")}}, {"act": claims{"sub": "a", "act": nil}}, {"aud": []string{"x", resource}}} {
		text, err := json.Marshal(z.claims(other))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add(`{"exp":1,"exp":2}`)
	f.Fuzz(func(t *testing.T, payload string) {
		c, err := z.v.Verify(t.Context(), client.Presented{Token: signWith(z.key, "at+jwt", []byte(payload), nil)})
		if err != nil {
			return
		}
		if c.Issuer != "https://issuer.example" || c.Subject == "" || c.ClientID == "" || c.ID == "" || !slices.Contains(c.Audience, resource) ||
			!c.ExpiresAt.After(z.clock.Now().Add(-10*time.Second)) || c.Bound() {
			t.Fatalf("accepted as %+v", c)
		}
	})
}
