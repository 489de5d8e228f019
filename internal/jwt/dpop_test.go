package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// proof is a DPoP proof in the making.
type proof struct {
	key    crypto.Signer
	header map[string]any
	claims claims
}

func newProof(t testing.TB, key crypto.Signer) proof {
	alg := newSigner(t, key).Alg()
	return proof{
		key,
		map[string]any{"typ": "dpop+jwt", "alg": alg, "jwk": json.RawMessage(jwkOf(t, key.Public(), nil))},
		claims{"jti": "-BwC3ESc6acc2lTc", "htm": "POST", "htu": "https://server.example.com/token", "iat": noon.Unix()},
	}
}

// with sets members of header or claims; nil takes one away.
func with(m, other map[string]any) {
	maps.Copy(m, other)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
}

func (p proof) text(t testing.TB) string {
	t.Helper()
	return forge(t, newSigner(t, p.key), string(must(json.Marshal(p.header))), string(must(json.Marshal(p.claims))))
}

// RFC 9449 sections 4.1 (and 6.1 for the thumbprint).
func TestTheProofOfTheRFC(t *testing.T) {
	const text = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19." +
		"eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ." +
		"2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
	got, err := ReadProof(text)
	if err != nil {
		t.Fatal(err)
	}
	want := Proof{
		JKT: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", ID: "-BwC3ESc6acc2lTc", Method: "POST", URL: "https://server.example.com/token",
		IssuedAt: time.Unix(1562262616, 0),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAProofByEachAlgorithm(t *testing.T) {
	for _, alg := range Algs() {
		key := keyOf(t, alg)
		jwk := json.RawMessage(jwkOf(t, key.Public(), one{"alg": alg, "kid": "x", "use": "sig"}))
		header := must(json.Marshal(map[string]any{"typ": "dpop+jwt", "alg": alg, "jwk": jwk}))
		input := b64(string(header)) + "." + b64(`{"jti":"x","htm":"GET","htu":"https://a/","iat":1,"nonce":"n","ath":"h"}`)
		sig := strings.Split(byJose(t, alg, key, "", "{}"), ".")[2] // of another text
		if _, err := ReadProof(input + "." + sig); err == nil {
			t.Errorf("%s: another signature is taken", alg)
		}
		if alg == "ES384" || alg == "PS256" {
			continue // which are not signed by here
		}
		raw, err := newSigner(t, key).alg.sign(key, []byte(input))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadProof(input + "." + strings.TrimSuffix(b64(string(raw)), "="))
		if err != nil || got.JKT != must(Thumbprint(key.Public())) || got.Nonce != "n" || got.TokenHash != "h" || got.Method != "GET" {
			t.Errorf("%s: %+v, %v", alg, got, err)
		}
	}
}

func TestWhatIsNoProof(t *testing.T) { // J21, J09, J02
	ec, other := newKey(t), newKey(t)
	private := func(k *ecdsa.PrivateKey) json.RawMessage {
		return json.RawMessage(jwkOf(t, k.Public(), one{"d": b64("a private number of 32 octets 123")}))
	}
	for name, test := range map[string]struct {
		header, claims map[string]any
		class          error
		says           string
	}{
		"as it should be":        {},
		"typ in capitals":        {header: one{"typ": "DPoP+JWT"}},
		"more claims":            {claims: one{"exp": 1, "nonce": "n", "ath": "h", "x": 1}},
		"kid":                    {header: one{"kid": "x"}},
		"typ JWT":                {header: one{"typ": "JWT"}, class: ErrClaims, says: "typ"},
		"typ at+jwt":             {header: one{"typ": "at+jwt"}, class: ErrClaims, says: "typ"},
		"no typ":                 {header: one{"typ": nil}, class: ErrClaims, says: "typ"},
		"alg none":               {header: one{"alg": "none"}, class: ErrForm, says: "algorithm"},
		"alg HS256":              {header: one{"alg": "HS256"}, class: ErrForm, says: "algorithm"},
		"alg of another key":     {header: one{"alg": "RS256"}, class: ErrSignature, says: "suit"},
		"crit":                   {header: one{"crit": []string{"x"}}, class: ErrForm, says: "crit"},
		"no jwk":                 {header: one{"jwk": nil}, class: ErrForm, says: "jwk"},
		"jwk is a text":          {header: one{"jwk": "x"}, class: ErrForm, says: "jwk"},
		"jwk of another":         {header: one{"jwk": json.RawMessage(jwkOf(t, other.Public(), nil))}, class: ErrSignature, says: "signature"},
		"private jwk":            {header: one{"jwk": private(ec)}, class: ErrForm, says: "jwk: d must not be there"},
		"secret jwk":             {header: one{"jwk": one{"kty": "oct", "k": "AAAA"}}, class: ErrForm, says: "jwk"},
		"jwk for another alg":    {header: one{"jwk": json.RawMessage(jwkOf(t, ec.Public(), one{"alg": "ES384"}))}, class: ErrForm, says: "jwk: alg"},
		"weak jwk":               {header: one{"jwk": json.RawMessage(faultyKeys(t)["RSA 1024"].jwk)}, class: ErrForm, says: "jwk: n"},
		"jwk with a twin":        {header: one{"jwk": json.RawMessage(strings.Replace(jwkOf(t, ec.Public(), nil), "{", `{"kty":"EC",`, 1))}, class: ErrForm, says: "twice"},
		"no jti":                 {claims: one{"jti": nil}, class: ErrClaims, says: "no jti"},
		"empty jti":              {claims: one{"jti": ""}, class: ErrClaims, says: "no jti"},
		"jti is a number":        {claims: one{"jti": 7}, class: ErrClaims, says: "jti is not a string"},
		"jti of 128":             {claims: one{"jti": strings.Repeat("ü", 128)}},
		"jti of 129":             {claims: one{"jti": strings.Repeat("x", 129)}, class: ErrClaims, says: "jti is longer"},
		"no htm":                 {claims: one{"htm": nil}, class: ErrClaims, says: "no htm"},
		"no htu":                 {claims: one{"htu": nil}, class: ErrClaims, says: "no htu"},
		"htu of 5 KB":            {claims: one{"htu": "https://a/" + strings.Repeat("x", 4096)}, class: ErrClaims, says: "htu is longer"},
		"no iat":                 {claims: one{"iat": nil}, class: ErrClaims, says: "no iat"},
		"iat is a text":          {claims: one{"iat": "now"}, class: ErrClaims, says: "iat is not a number"},
		"iat is 1e308":           {claims: one{"iat": json.RawMessage("1e308")}, class: ErrClaims, says: "iat is not a number"},
		"nonce is a number":      {claims: one{"nonce": 7}, class: ErrClaims, says: "nonce is not a string"},
		"empty nonce":            {claims: one{"nonce": ""}, class: ErrClaims, says: "no nonce"},
		"ath is null":            {claims: one{"ath": json.RawMessage("null")}, class: ErrClaims, says: "ath is not a string"},
		"htu in another case":    {claims: one{"HTU": "https://evil.example/"}, class: ErrForm, says: "another case"},
		"10 KB":                  {claims: one{"x": strings.Repeat("x", 10<<10)}, class: ErrForm, says: "longer"},
		"claims are of a sender": {claims: one{"htm": "GET"}}, // what the request is, is not known here
	} {
		t.Run(name, func(t *testing.T) {
			p := newProof(t, ec)
			with(p.header, test.header)
			with(p.claims, test.claims)
			got, err := ReadProof(p.text(t))
			if test.class != nil {
				refusedAs(t, err, test.class, test.says)
				if got != (Proof{}) {
					t.Errorf("refused, and %+v", got)
				}
				return
			}
			if err != nil || got.ID != p.claims["jti"] || got.Method != p.claims["htm"] || !got.IssuedAt.Equal(noon) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	// A key that says it is for PS256 does not make a proof by RS256.
	p := newProof(t, rsaKey())
	p.header["jwk"] = json.RawMessage(jwkOf(t, rsaKey().Public(), one{"alg": "PS256"}))
	_, err := ReadProof(p.text(t))
	refusedAs(t, err, ErrSignature, "suit")
	text := newProof(t, ec).text(t)
	for _, bad := range []string{"", "x", text + ".", text[:len(text)-4], " " + text, text + "\n", strings.Repeat("x.", 10<<20)} {
		if _, err := ReadProof(bad); err == nil {
			t.Errorf("%.20q is taken", bad)
		}
	}
}

func TestSameURL(t *testing.T) { // J21: htu
	const a = "https://server.example.com/a/b"
	for url, same := range map[string]bool{
		a:                                          true,
		"HTTPS://Server.EXAMPLE.com/a/b":           true,
		"https://server.example.com:443/a/b":       true,
		"https://server.example.com:/a/b":          true,
		a + "?x=y":                                 true,
		a + "#f":                                   true,
		"https://server.example.com/a/%62":         true,
		"https://server.example.com/a/./b":         true,
		"https://server.example.com/x/../a/b":      true,
		"https://server.example.com/../a/b":        true,
		"https://server.example.com/x/%2e%2E/a/b":  true,
		"https://server.example.com/A/b":           false,
		a + "/":                                    false,
		"https://server.example.com//a/b":          false,
		"https://server.example.com/a%2Fb":         false,
		"https://server.example.com:8443/a/b":      false,
		"http://server.example.com/a/b":            false,
		"http://server.example.com:443/a/b":        false,
		"https://server.example.com./a/b":          false,
		"https://server.example.org/a/b":           false,
		"https://server.example.com@evil/a/b":      false,
		"https://u:p@server.example.com/a/b":       false,
		"https://server.example.com\\@evil/a/b":    false,
		"https://server.example.com/a/b\n":         false,
		"https://server.example.com/a/%zz":         false,
		"//server.example.com/a/b":                 false,
		"/a/b":                                     false,
		"":                                         false,
		"https:server.example.com/a/b":             false,
		"ftp://server.example.com/a/b":             false,
		"https:///a/b":                             false,
		"https://server.example.com:x/a/b":         false,
		"https://server.example.com/a/b/../b/../c": false,
	} {
		if SameURL(a, url) != same || SameURL(url, a) != same {
			t.Errorf("%q: %v, want %v", url, !same, same)
		}
	}
	for _, pair := range [][2]string{
		{"https://a", "https://a/"},
		{"https://a?x", "https://a/"},
		{"http://a:80", "http://a/"},
		{"https://a/%c3%bc", "https://a/%C3%BC"},
		{"https://a/%C3%BC", "https://a/ü"},
		{"https://[::1]:443/x", "https://[::1]/x"},
		{"https://a/%7Ex", "https://a/~x"},
		{"https://a/b/..", "https://a/"},
		{"https://a/b/.", "https://a/b/"},
		{"https://a/b/", "https://a/b/c/.."},
	} {
		if !SameURL(pair[0], pair[1]) {
			t.Errorf("%q differ", pair)
		}
	}
	for _, bad := range []string{"", "x", "https://", "mailto:a@b"} {
		if SameURL(bad, bad) {
			t.Errorf("%q is a URL", bad)
		}
	}
}

// A proof and a token are checked with few allocations, whatever is sent: see J11.
func TestALongProofIsNotParsed(t *testing.T) {
	huge := newProof(t, newKey(t)).text(t) + strings.Repeat(".", 10<<20)
	if n := testing.AllocsPerRun(10, func() { _, _ = ReadProof(huge) }); n > 10 {
		t.Errorf("%v allocations", n)
	}
	if _, err := ReadProof(huge); err == nil || len(fmt.Sprint(err)) > 100 {
		t.Errorf("%.200v", err)
	}
}
