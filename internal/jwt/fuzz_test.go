package jwt

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"cardea/internal/credential"
)

func FuzzVerify(f *testing.F) {
	key := newKey(f)
	s, keys := newSigner(f, key), keysOf(f, key.Public())
	token := sign(f, s, typ, good())
	f.Add(token)
	f.Add(strings.Replace(token, ".", "..", 1))
	f.Add(b64(`{"alg":"none"}`) + "." + b64(`{}`) + ".")
	f.Add(forge(f, s, fmt.Sprintf(`{"alg":"ES256","kid":%q,"typ":%q}`, s.KeyID(), typ), `{"exp":1e308,"aud":[[]]}`))
	f.Fuzz(func(t *testing.T, other string) {
		got, err := Verify(other, keys, Want{Types: only}, noon)
		if err == nil && other != token {
			t.Errorf("accepted %q: %s", other, got)
		}
		if err != nil && (got != nil || credential.KindOf(err) != credential.Invalid) {
			t.Errorf("%s, %v", got, err)
		}
	})
}

// FuzzRead gives the parsers behind a signature what an attacker who has none cannot send. What is read as an object is what encoding/json reads.
func FuzzRead(f *testing.F) {
	f.Add(`{"alg":"ES256","kid":"x"}`, `{"iss":"a","sub":"b","aud":["c"],"exp":1,"x":[{"y":null}, -1e5, "\"\\\u0000"]}`)
	f.Add(`{"alg":"EdDSA"}`, ` { "a" : [ ] , "b" : { } , "\u0061b":"}" } `)
	f.Add(`{"alg":"RS256","alg":"RS256"}`, `{"a":{"b":1,"b":2}}`)
	f.Fuzz(func(t *testing.T, header, text string) {
		u, err := Read(b64(header) + "." + b64(text) + ".AA")
		if err != nil {
			if credential.KindOf(err) != credential.Invalid {
				t.Error(err)
			}
			return
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) != len(u.claims) {
			t.Fatalf("%q: %d members, and %d: %v", text, len(u.claims), len(all), err)
		}
		for name, raw := range all {
			if string(raw) != string(u.claims[name]) {
				t.Errorf("%q: %s is %q, and %q", text, name, u.claims[name], raw)
			}
			var one string
			if json.Unmarshal(raw, &one) == nil && raw[0] == '"' && one != u.claims.text(name) {
				t.Errorf("%s is %q, and %q", name, u.claims.text(name), one)
			}
		}
		var std struct{ Sub, Iss any }
		if json.Unmarshal([]byte(text), &std) == nil {
			if s, ok := std.Sub.(string); ok && s != u.Subject {
				t.Errorf("%q: sub is %q, and %q to encoding/json", text, u.Subject, s)
			}
		}
		_ = u.claims.check(Want{Types: only, Audiences: []string{"x"}, Issuer: "y"}, noon)
	})
}

func FuzzProof(f *testing.F) {
	key := newKey(f)
	p := newProof(f, key)
	f.Add(string(must(json.Marshal(p.header))), string(must(json.Marshal(p.claims))))
	f.Add(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"AA"}}`, `{}`)
	jkt := must(Thumbprint(key.Public()))
	f.Fuzz(func(t *testing.T, header, text string) {
		got, err := ReadProof(forge(t, newSigner(t, key), header, text))
		if err != nil && (got != Proof{} || credential.KindOf(err) != credential.Invalid) {
			t.Errorf("%+v, %v", got, err)
		}
		if err == nil && (got.JKT != jkt || got.ID == "" || got.Method == "" || got.URL == "" || got.IssuedAt.IsZero()) {
			t.Errorf("%+v", got)
		}
		_ = SameURL(got.URL, text)
		_ = SameURL(header, text)
	})
}

func FuzzParseSet(f *testing.F) {
	for _, k := range goodKeys(f) {
		f.Add(setOf(k, k))
	}
	for _, k := range faultyKeys(f) {
		f.Add(setOf(k.jwk))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParseSet(text)
		if err != nil && credential.KindOf(err) != credential.Invalid {
			t.Error(err)
		}
		for k := range keys.All() {
			if fitting(k.Public) == nil {
				t.Errorf("a key that is no use: %+v", k)
			}
			if _, err := Thumbprint(k.Public); err != nil {
				t.Error(err)
			}
		}
		strict, err := ParseClientSet(text)
		if err == nil && strict.Len() != keys.Len() {
			t.Errorf("%d keys, and %d for others", strict.Len(), keys.Len())
		}
	})
}

// FuzzSameURL: what is the same is the same both ways, as itself, and has the same host.
func FuzzSameURL(f *testing.F) {
	f.Add("https://a/b%41", "HTTPS://A:443/b/../bA?x")
	f.Add("http://[::1]/", "http://[::1]:80")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, ok := normalURL(a)
		if ok != SameURL(a, a) || SameURL(a, b) != SameURL(b, a) {
			t.Errorf("%q %q", a, b)
		}
		if again, fine := normalURL(x); ok && (!fine || again != x) {
			t.Errorf("%q becomes %q, and that %q", a, x, again)
		}
	})
}
