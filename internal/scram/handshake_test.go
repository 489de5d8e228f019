package scram_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cardea/internal/credential"
	"cardea/internal/scram"
	"cardea/internal/testkit"
)

// RFC 7677, 3, and the same exchange with SHA-512, computed by Python's hashlib.
func TestVectors(t *testing.T) {
	for _, v := range []struct {
		hash         scram.Hash
		proof, final string
	}{
		{scram.SHA256, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
		{
			scram.SHA512,
			"gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
			"v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==",
		},
	} {
		hs, err := scram.Begin(v.hash, false, nil, []byte("n,,n=user,r="+vectorClient))
		if err != nil {
			t.Fatal(err)
		}
		challenge, err := hs.ChallengeWith(vectorServer, pencil(t, v.hash))
		if want := "r=" + vectorClient + vectorServer + ",s=" + vectorSalt + ",i=4096"; err != nil || string(challenge) != want {
			t.Errorf("the challenge is %q, %v, want %q", challenge, err, want)
		}
		final, which, err := hs.Finish([]byte("c=biws,r=" + vectorClient + vectorServer + ",p=" + v.proof))
		if err != nil || which != 0 || string(final) != v.final || hs.Username() != "user" {
			t.Errorf("%s: %q %d %v, want %q", v.hash.Method(false), final, which, err, v.final)
		}
	}
}

func TestMethods(t *testing.T) {
	for _, name := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512-PLUS"} {
		h, plus, ok := scram.ParseMethod(name)
		if !ok || h.Method(plus) != name {
			t.Errorf("%s is read as %s, %v", name, h.Method(plus), ok)
		}
		if again, ok := scram.HashOf(h.Algorithm()); !ok || again != h {
			t.Errorf("%s has the algorithm %s", name, h.Algorithm())
		}
	}
	for _, name := range []string{"", "SCRAM-SHA-1", "scram-sha-256", "SCRAM-SHA-256-PLUS-PLUS", "SCRAM-SHA-256 "} {
		if _, _, ok := scram.ParseMethod(name); ok {
			t.Errorf("%q is a method", name)
		}
	}
	for _, name := range []string{"", "sha1", "SHA256"} {
		if _, ok := scram.HashOf(name); ok {
			t.Errorf("%q is an algorithm", name)
		}
	}
}

// S03, S04, S05, S07: what a client-final may be. %s stands for the nonce.
func TestFinish(t *testing.T) {
	const first = "n,,n=user,r=abc"
	long := strings.Repeat("x", 1<<20)
	for _, c := range []struct {
		name, unproven string
		want           scram.Code
	}{
		{"right", "c=biws,r=%s", ""},
		{"an extension", "c=biws,r=%s,x=y", ""},
		{"extensions", "c=biws,r=%s,x=y=z,Q= ", ""},
		{"a mandatory extension", "c=biws,r=%s,m=y", scram.ExtensionsNotSupported},
		{"an empty extension", "c=biws,r=%s,x=", scram.InvalidEncoding},
		{"an empty field", "c=biws,r=%s,", scram.InvalidEncoding},
		{"a second binding", "c=biws,r=%s,c=biws", scram.InvalidEncoding},
		{"a second nonce", "c=biws,r=%s,r=%[1]s", scram.InvalidEncoding},
		{"no letter", "c=biws,r=%s,1=y", scram.InvalidEncoding},
		{"another nonce", "c=biws,r=%sx", scram.OtherError},
		{"the client's nonce alone", "c=biws,r=abc", scram.OtherError},
		{"no nonce", "c=biws", scram.InvalidEncoding},
		{"an empty nonce", "c=biws,r=", scram.InvalidEncoding},
		{"a nonce before the binding", "r=%s,c=biws", scram.InvalidEncoding},
		{"no binding", "r=%s", scram.InvalidEncoding},
		{"an empty binding", "c=,r=%s", scram.InvalidEncoding},
		{"the flag y", "c=" + b64("y,,") + ",r=%s", scram.ChannelBindingsDontMatch},
		{"an authorisation identity", "c=" + b64("n,a=user,") + ",r=%s", scram.ChannelBindingsDontMatch},
		{"more than the header", "c=" + b64("n,,x") + ",r=%s", scram.ChannelBindingsDontMatch},
		{"no base64", "c=n__,r=%s", scram.ChannelBindingsDontMatch},
		{"base64 with a line", "c=bi\nws,r=%s", scram.ChannelBindingsDontMatch},
		{"bad UTF-8", "c=biws,r=%s,x=\xff", scram.InvalidEncoding},
		{"NUL", "c=biws,r=%s,x=\x00", scram.InvalidEncoding},
		{"1 MiB", "c=biws,r=%s,x=" + long, scram.OtherError},
	} {
		t.Run(c.name, func(t *testing.T) {
			hs, challenge := begun(t, false, nil, first)
			unproven := c.unproven
			if strings.Contains(unproven, "%") {
				unproven = fmt.Sprintf(unproven, nonceOf(challenge))
			}
			final := prove(t, scram.SHA256, "pencil", first[len("n,,"):], challenge, unproven)
			kept := hs.Kept()
			_, _, err := hs.Finish([]byte(final))
			wantCode(t, err, c.want)
			if hs.Kept() != nil || !bytes.Equal(kept, make([]byte, len(kept))) {
				t.Error("the keys outlive the handshake")
			}
			wantMisuse(t, hs, final) // S04
		})
	}
}

// S03: proofs of any length and form but the right one.
func TestProofs(t *testing.T) {
	right := func(final string) string { return final[strings.Index(final, ",p=")+len(",p="):] }
	for name, edit := range map[string]func(proof string) string{
		"empty":          func(string) string { return "" },
		"a byte":         func(string) string { return b64("x") },
		"31 bytes":       func(string) string { return b64(strings.Repeat("x", 31)) },
		"33 bytes":       func(string) string { return b64(strings.Repeat("x", 33)) },
		"64 bytes":       func(string) string { return b64(strings.Repeat("x", 64)) },
		"no padding":     func(p string) string { return strings.TrimRight(p, "=") },
		"more padding":   func(p string) string { return p + "====" },
		"a line":         func(p string) string { return p[:40] + "\r\n\r\n" },
		"a line after":   func(p string) string { return p + "\n" },
		"something else": func(p string) string { return p + ",x=y" },
		"a second":       func(p string) string { return p + ",p=" + p },
		"unused bits":    func(p string) string { return p[:42] + string(rune(p[42]+1)) + p[43:] },
	} {
		hs, challenge := begun(t, false, nil, "n,,n=user,r=abc")
		unproven := "c=biws,r=" + nonceOf(challenge)
		final := prove(t, scram.SHA256, "pencil", "n=user,r=abc", challenge, unproven)
		t.Run(name, func(t *testing.T) {
			_, _, err := hs.Finish([]byte(unproven + ",p=" + edit(right(final))))
			wantCode(t, err, scram.InvalidEncoding)
		})
	}
	hs, challenge := begun(t, false, nil, "n,,n=user,r=abc")
	_, _, err := hs.Finish([]byte(prove(t, scram.SHA256, "pencil2", "n=user,r=abc", challenge, "c=biws,r="+nonceOf(challenge))))
	wantCode(t, err, scram.InvalidProof)
}

// S04: what was heard of one login is worth nothing in another.
func TestReplay(t *testing.T) {
	const first = "n,,n=user,r=abc"
	hs, challenge := begun(t, false, nil, first)
	final := prove(t, scram.SHA256, "pencil", first[len("n,,"):], challenge, "c=biws,r="+nonceOf(challenge))
	if _, _, err := hs.Finish([]byte(final)); err != nil {
		t.Fatal(err)
	}
	again, _ := begun(t, false, nil, first)
	_, _, err := again.Finish([]byte(final))
	wantCode(t, err, scram.OtherError)
	// The proof alone, under the new nonce.
	other, second := begun(t, false, nil, first)
	_, _, err = other.Finish([]byte(strings.ReplaceAll(final, nonceOf(challenge), nonceOf(second))))
	wantCode(t, err, scram.InvalidProof)
}

// S04: server nonces are long enough and never the same.
func TestNoncesDoNotRepeat(t *testing.T) {
	seen := map[[24]byte]bool{}
	for i := range 1_000_000 {
		n := scram.NewNonce() // 24 digits of base64 are 144 bits
		if len(n) != 24 || seen[[24]byte(n)] {
			t.Fatalf("the nonce %q is too short or comes again", n)
		}
		seen[[24]byte(n)] = true
		if i < 10_000 && bytes.ContainsFunc(n, func(r rune) bool { return r <= ' ' || r >= 0x7F || r == ',' }) {
			t.Fatalf("the nonce %q is not printable", n)
		}
	}
}

// While a password is changed, the old and the new one are good; both directions of a client's trust hold.
func TestRotation(t *testing.T) {
	keys := func(password string) credential.ScramKeys {
		k, err := scram.Derive(scram.SHA256, password, salt(t), 4096)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	versions := []credential.ScramKeys{keys("new"), keys("old"), keys("old"), keys("older")}
	for password, want := range map[string]int{"new": 0, "old": 1, "older": 3, "oldest": -1} {
		c, err := testkit.NewScramClient("SCRAM-SHA-256", "user", password, nil)
		if err != nil {
			t.Fatal(err)
		}
		hs, err := scram.Begin(scram.SHA256, false, nil, c.First())
		if err != nil {
			t.Fatal(err)
		}
		challenge, err := hs.Challenge(versions)
		if err != nil {
			t.Fatal(err)
		}
		final, err := c.Final(challenge)
		if err != nil {
			t.Fatal(err)
		}
		v, which, err := hs.Finish(final)
		if want < 0 {
			wantCode(t, err, scram.InvalidProof)
			continue
		}
		if err != nil || which != want || !c.Verify(v) {
			t.Errorf("%s: version %d, %v, want %d", password, which, err, want)
		}
	}
}

// A challenge is made once, with keys that fit each other and the hash (S08).
func TestChallengeNeedsGoodKeys(t *testing.T) {
	good := pencil(t, scram.SHA256)
	with := func(edit func(*credential.ScramKeys)) credential.ScramKeys {
		k := good
		edit(&k)
		return k
	}
	for name, keys := range map[string][]credential.ScramKeys{
		"none":             nil,
		"of another hash":  {pencil(t, scram.SHA512)},
		"another salt":     {good, with(func(k *credential.ScramKeys) { k.Salt = []byte("another") })},
		"other iterations": {good, with(func(k *credential.ScramKeys) { k.Iterations++ })},
		"too cheap":        {with(func(k *credential.ScramKeys) { k.Iterations = 4095 })},
		"too dear":         {with(func(k *credential.ScramKeys) { k.Iterations = 1e9 })},
		"no salt":          {with(func(k *credential.ScramKeys) { k.Salt = nil })},
		"no server key":    {with(func(k *credential.ScramKeys) { k.ServerKey = nil })},
	} {
		hs, err := scram.Begin(scram.SHA256, false, nil, []byte("n,,n=user,r=abc"))
		if err != nil {
			t.Fatal(err)
		}
		if challenge, err := hs.Challenge(keys); err == nil {
			t.Errorf("%s: %q", name, challenge)
		}
		wantMisuse(t, hs, "")
	}
	hs, _ := begun(t, false, nil, "n,,n=user,r=abc")
	if _, err := hs.Challenge([]credential.ScramKeys{good}); err == nil {
		t.Error("there is a second challenge")
	}
}

// S01, S02: an unknown user is answered as a known one, always the same, and refused at the end.
func TestUnknownUser(t *testing.T) {
	const first = "n,,n=nobody,r=abc"
	challenge := func(key string) (*scram.Handshake, string) {
		hs, err := scram.Begin(scram.SHA256, false, nil, []byte(first))
		if err != nil {
			t.Fatal(err)
		}
		c, err := hs.ChallengeUnknown([]byte(key), 4096)
		if err != nil {
			t.Fatal(err)
		}
		return hs, string(c)
	}
	rest := func(c string) string { return c[strings.Index(c, ","):] }
	hs, a := challenge("a key of the house")
	_, b := challenge("a key of the house")
	_, other := challenge("a key of another house")
	_, known := begun(t, false, nil, "n,,n=user,r=abc")
	if rest(a) != rest(b) || rest(a) == rest(other) || a == b {
		t.Errorf("challenges %q and %q, and of another house %q", a, b, other)
	}
	if len(a) != len(known) {
		t.Errorf("%q does not look like %q", a, known)
	}
	final := prove(t, scram.SHA256, "pencil", first[len("n,,"):], a, "c=biws,r="+nonceOf(a))
	_, _, err := hs.Finish([]byte(final))
	wantCode(t, err, scram.InvalidProof)

	// Even if somebody knew what fits.
	hs, a = challenge("a key of the house")
	hs.Rekey(pencil(t, scram.SHA256))
	_, _, err = hs.Finish([]byte(prove(t, scram.SHA256, "pencil", first[len("n,,"):], a, "c=biws,r="+nonceOf(a))))
	wantCode(t, err, scram.InvalidProof)
}

// K04: no print of a handshake shows its keys.
func TestHandshakeIsNotPrinted(t *testing.T) {
	hs, _ := begun(t, false, nil, "n,,n=user,r=abc")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, s := range []string{fmt.Sprintf(verb, hs), fmt.Sprintf(verb, *hs)} {
			if s != "SCRAM handshake ***" {
				t.Errorf("%s prints %q", verb, s)
			}
		}
	}
}

// Neither message needs to outlive the call that reads it.
func TestMessagesAreNotKept(t *testing.T) {
	first := []byte("n,,n=user,r=abc")
	hs, err := scram.Begin(scram.SHA256, false, nil, first)
	if err != nil {
		t.Fatal(err)
	}
	clear(first)
	keys := pencil(t, scram.SHA256)
	keys.StoredKey = slices.Clone(keys.StoredKey)
	challenge, err := hs.Challenge([]credential.ScramKeys{keys})
	if err != nil {
		t.Fatal(err)
	}
	clear(keys.StoredKey)
	final := prove(t, scram.SHA256, "pencil", "n=user,r=abc", string(challenge), "c=biws,r="+nonceOf(string(challenge)))
	if _, _, err := hs.Finish([]byte(final)); err != nil {
		t.Error(err)
	}
}
