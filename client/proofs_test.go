package client_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cardea/client"
)

const at = "https://api.example"

// prover makes proofs of every kind for a token that is bound to its key.
type prover struct {
	i     *issuer
	v     *client.Verifier
	key   jose.JSONWebKey
	token string
}

func newProver(t testing.TB, change func(*client.DPoPConfig)) *prover {
	t.Helper()
	i := newIssuer(t, newClock())
	d := &client.DPoPConfig{Origins: []string{"https://API.example:443", "http://localhost:8080"}}
	if change != nil {
		change(d)
	}
	p := &prover{i: i, key: signingKey(t, newECKey(t), "")}
	p.v = i.verifier(t, func(c *client.VerifierConfig) { c.DPoP = d })
	p.token = i.sign(i.claims(claims{"cnf": claims{"jkt": jktOf(t, p.key.Key.(crypto.Signer))}}))
	return p
}

func jktOf(t testing.TB, key crypto.Signer) string {
	t.Helper()
	sum, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

func (p *prover) claims(other claims) claims {
	c := claims{"jti": rand.Text(), "htm": "GET", "htu": at + "/things", "iat": p.i.clock.Now().Unix(), "ath": athOf(p.token)}
	for k, v := range other {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

func (p *prover) sign(t testing.TB, c claims) string {
	t.Helper()
	return signProof(t, p.key.Key.(crypto.Signer), "dpop+jwt", c)
}

func signProof(t testing.TB, key crypto.Signer, typ string, c claims) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: algFor(t, key), Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType(jose.ContentType(typ)))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	j, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := j.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (p *prover) present(t testing.TB, proofs ...string) error {
	t.Helper()
	_, err := p.v.Verify(t.Context(), client.Presented{Token: p.token, DPoP: true, Proofs: proofs, Method: "GET", Target: "/things?all"})
	return err
}

func codeIs(t testing.TB, err error, code string) {
	t.Helper()
	if e, ok := errors.AsType[*client.TokenError](err); !ok || e.Code != code {
		t.Errorf("error is %v, want %s", err, code)
	}
}

// J21, RFC 9449 section 4.3.
func TestProofsThatAreRefused(t *testing.T) {
	p := newProver(t, nil)
	must(t, p.present(t, p.sign(t, p.claims(nil))))
	now := p.i.clock.Now()
	for name, c := range map[string]claims{
		"wrong htm":              {"htm": "POST"},
		"htm in small letters":   {"htm": "get"},
		"wrong htu":              {"htu": at + "/things/1"},
		"htu of another server":  {"htu": "https://evil.example/things"},
		"htu of another port":    {"htu": "https://api.example:444/things"},
		"htu of another scheme":  {"htu": "http://api.example/things"},
		"htu with somebody's id": {"htu": "https://a@api.example/things"},
		"htu without a host":     {"htu": "/things"},
		"htu in large letters":   {"htu": at + "/Things"},
		"wrong ath":              {"ath": athOf("x")},
		"no ath":                 {"ath": nil},
		"old iat":                {"iat": now.Add(-70 * time.Second).Unix()},
		"iat in the future":      {"iat": now.Add(11 * time.Second).Unix()},
		"iat is a text":          {"iat": "now"},
		"no iat":                 {"iat": nil},
		"no jti":                 {"jti": nil},
		"a long jti":             {"jti": strings.Repeat("x", 257)},
		"no htm":                 {"htm": nil},
		"no htu":                 {"htu": nil},
		"htu is a list":          {"htu": []string{at}},
	} {
		t.Run(name, func(t *testing.T) { codeIs(t, p.present(t, p.sign(t, p.claims(c))), "invalid_dpop_proof") })
	}
	good := p.sign(t, p.claims(nil))
	key := p.key.Key.(*ecdsa.PrivateKey)
	payload, err := json.Marshal(p.claims(nil))
	must(t, err)
	private, err := p.key.MarshalJSON()
	must(t, err)
	public, err := (&jose.JSONWebKey{Key: key.Public()}).MarshalJSON()
	must(t, err)
	for name, proofs := range map[string][]string{
		"none":              {},
		"two":               {good, p.sign(t, p.claims(nil))},
		"garbage":           {"x"},
		"typ JWT":           {signProof(t, key, "JWT", p.claims(nil))},
		"an access token":   {p.token},
		"no key":            {forge(t, key, `{"alg":"ES256","typ":"dpop+jwt"}`, string(payload))},
		"a private key":     {forge(t, key, `{"alg":"ES256","typ":"dpop+jwt","jwk":`+string(private)+`}`, string(payload))},
		"a symmetric key":   {forge(t, key, `{"alg":"ES256","typ":"dpop+jwt","jwk":{"kty":"oct","k":"c2VjcmV0"}}`, string(payload))},
		"a symmetric alg":   {forge(t, key, `{"alg":"HS256","typ":"dpop+jwt","jwk":`+string(public)+`}`, string(payload))},
		"alg none":          {b64(`{"alg":"none","typ":"dpop+jwt","jwk":`+string(public)+`}`) + "." + b64(string(payload)) + "."},
		"signed by another": {forge(t, newECKey(t), `{"alg":"ES256","typ":"dpop+jwt","jwk":`+string(public)+`}`, string(payload))},
		"a claim twice":     {forge(t, key, `{"alg":"ES256","typ":"dpop+jwt","jwk":`+string(public)+`}`, strings.Replace(string(payload), "{", `{"htm":"GET",`, 1))},
	} {
		t.Run(name, func(t *testing.T) { codeIs(t, p.present(t, proofs...), "invalid_dpop_proof") })
	}
	t.Run("wrong jkt", func(t *testing.T) {
		codeIs(t, p.present(t, signProof(t, newECKey(t), "dpop+jwt", p.claims(nil))), "invalid_token")
	})
	t.Run("replay", func(t *testing.T) {
		must(t, p.present(t, good))
		codeIs(t, p.present(t, good), "invalid_dpop_proof")
		p.i.clock.Add(69 * time.Second)
		codeIs(t, p.present(t, good), "invalid_dpop_proof") // still in its time, and remembered
	})
	t.Run("replay, when others came between", func(t *testing.T) {
		p := newProver(t, nil)
		must(t, p.present(t, p.sign(t, p.claims(nil))))
		p.i.clock.Add(50 * time.Second)
		good := p.sign(t, p.claims(nil))
		must(t, p.present(t, good))
		p.i.clock.Add(35 * time.Second)
		must(t, p.present(t, p.sign(t, p.claims(nil))))
		codeIs(t, p.present(t, good), "invalid_dpop_proof")
	})
	t.Run("J22 as Bearer", func(t *testing.T) {
		_, err := verify(t, p.v, p.token)
		codeIs(t, err, "invalid_token")
	})
	t.Run("where it is not taken", func(t *testing.T) {
		_, err := p.i.verifier(t, nil).Verify(t.Context(), client.Presented{Token: p.token, DPoP: true, Proofs: []string{good}, Method: "GET", Target: "/things"})
		codeIs(t, err, "invalid_token")
	})
	t.Run("for a token that is not bound", func(t *testing.T) {
		p.token = p.i.sign(p.i.claims(nil))
		codeIs(t, p.present(t, p.sign(t, p.claims(nil))), "invalid_token")
	})
}

// htu is compared by RFC 3986 sections 6.2.2 and 6.2.3; the host is one of those that were configured, whatever Host says.
func TestProofsForTheSameURL(t *testing.T) {
	p := newProver(t, nil)
	for htu, target := range map[string]string{
		"HTTPS://api.EXAMPLE/things":       "/things",
		"https://api.example:443/things":   "/things",
		"https://api.example/%7ebob/a%2fb": "/~bob/a%2Fb",
		"https://api.example":              "/",
		"https://api.example/things?x=1#y": "/things?y=2",
		"http://LOCALHOST:8080/things":     "/things",
		"https://api.example/thing%73":     "http://somebody.example/things",
	} {
		present := func() error {
			_, err := p.v.Verify(t.Context(), client.Presented{
				Token: p.token, DPoP: true, Proofs: []string{p.sign(t, p.claims(claims{"htu": htu}))}, Method: "GET", Target: target,
			})
			return err
		}
		if err := present(); err != nil {
			t.Errorf("%s for %s: %v", htu, target, err)
		}
	}
}

func TestProofsOfOtherKeys(t *testing.T) {
	for _, key := range []crypto.Signer{newEdKey(t), newRSAKey(t, 2048)} {
		p := newProver(t, nil)
		p.token = p.i.sign(p.i.claims(claims{"cnf": claims{"jkt": jktOf(t, key)}}))
		must(t, p.present(t, signProof(t, key, "dpop+jwt", p.claims(nil))))
	}
}

// J21, RFC 9449 section 9: without a nonce of this server, or with an old or a forged one, no proof is good.
func TestNonces(t *testing.T) {
	key := []byte("01234567890123456789012345678901")
	p := newProver(t, func(c *client.DPoPConfig) { c.Nonces, c.NonceKey = true, key })
	mint := func(key []byte) string { // by another server that shares the key
		v := p.i.verifier(t, func(c *client.VerifierConfig) {
			c.DPoP = &client.DPoPConfig{Origins: []string{at}, Nonces: true, NonceKey: key}
		})
		_, header, _ := ask(t, guarded(t, v).Client(), "GET", guarded(t, v).URL, nil)
		return header.Get("DPoP-Nonce")
	}
	nonce := mint(key)
	with := func(nonce any) error { return p.present(t, p.sign(t, p.claims(claims{"nonce": nonce}))) }
	must(t, with(nonce))
	must(t, with(nonce)) // a nonce serves until it is old
	codeIs(t, with(nil), "use_dpop_nonce")
	codeIs(t, with(mint(nil)), "use_dpop_nonce")
	codeIs(t, with("B"+nonce[1:]), "use_dpop_nonce")
	codeIs(t, with(nonce+"A"), "use_dpop_nonce")
	p.i.clock.Add(5*time.Minute - time.Second)
	p.token = p.i.sign(p.i.claims(claims{"cnf": claims{"jkt": jktOf(t, p.key.Key.(crypto.Signer))}}))
	must(t, with(nonce))
	p.i.clock.Add(time.Second)
	codeIs(t, with(nonce), "use_dpop_nonce")
}

// What is remembered of proofs has a bound; beyond it nobody is let in twice, and after a while there is room again.
func TestTheMemoryOfProofsIsBounded(t *testing.T) {
	p := newProver(t, func(c *client.DPoPConfig) { c.Replay = 3 })
	for range 3 {
		must(t, p.present(t, p.sign(t, p.claims(nil))))
	}
	err := p.present(t, p.sign(t, p.claims(nil)))
	if _, ok := errors.AsType[*client.UnavailableError](err); !ok {
		t.Errorf("error is %v", err)
	}
	p.i.clock.Add(3 * time.Minute)
	must(t, p.present(t, p.sign(t, p.claims(nil))))
}

// FuzzProof: no text proves a key but what the key has signed.
func FuzzProof(f *testing.F) {
	z := newFuzzed(f, func(c *client.VerifierConfig) { c.DPoP = &client.DPoPConfig{Origins: []string{at}, Replay: 1 << 30} })
	key := z.key.Key.(ed25519.PrivateKey)
	token := signWith(z.key, "at+jwt", z.claims(claims{"cnf": claims{"jkt": jktOf(f, key)}}), nil)
	proof := func(claims string) string {
		public, err := (&jose.JSONWebKey{Key: key.Public()}).MarshalJSON()
		if err != nil {
			f.Fatal(err)
		}
		input := b64(`{"alg":"EdDSA","typ":"dpop+jwt","jwk":`+string(public)+`}`) + "." + b64(claims)
		return input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(input)))
	}
	now := z.clock.Now().Unix()
	good := proof(fmt.Sprintf(`{"jti":"j","htm":"GET","htu":"%s/","iat":%d,"ath":%q}`, at, now, athOf(token)))
	f.Add(good, true)
	f.Add(token, true)
	f.Add(strings.Join(strings.Split(good, ".")[:2], ".")+".", true)
	f.Add(`{"jti":"j","htm":"GET","htu":"https://api.example/%7e/%2f%","iat":1e9,"ath":null}`, false)
	f.Fuzz(func(t *testing.T, text string, whole bool) {
		if !whole { // claims that the key has signed
			text = proof(text)
		}
		_, err := z.v.Verify(t.Context(), client.Presented{Token: token, DPoP: true, Proofs: []string{text}, Method: "GET", Target: "/"})
		if err == nil && whole && text != good {
			t.Fatalf("accepted: %q", text)
		}
		if _, ok := errors.AsType[*client.TokenError](err); err != nil && !ok {
			t.Fatalf("error is %v", err)
		}
	})
}
