package scram_test

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"

	"cardea/internal/scram"
)

// firstGrammar is RFC 5802, 7, without what is never accepted; names are looked at elsewhere.
var firstGrammar = regexp.MustCompile(`^(?:[ny]|p=[^,]+),(?:a=[^,\x00]+)?,n=[^,\x00]+,r=([!-+\--~]+)(?:,[A-Za-z]=[^,\x00]+)*$`)

// S03: no client-first does harm, and what is accepted is what the grammar says.
func FuzzClientFirst(f *testing.F) {
	for _, s := range []string{
		"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "y,a=user,n=user,r=abc", "p=tls-exporter,,n=user,r=abc", "n,,n=a=2Cb=3D,r=abc,x=y",
		"", ",,", "n,,m=x,n=user,r=abc", "n,,n=\u2168,r=abc", "n,,n=user,r=", "n,,n=\xff,r=abc",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, msg []byte, plus bool) {
		var on *scram.Channel
		if plus {
			on = channel
		}
		hs, err := scram.Begin(scram.SHA256, plus, on, msg)
		if err != nil {
			if _, ok := errors.AsType[*scram.Error](err); !ok || hs != nil {
				t.Fatalf("%q: %v", msg, err)
			}
			return
		}
		m := firstGrammar.FindSubmatch(msg)
		if m == nil || plus != bytes.HasPrefix(msg, []byte("p=tls-exporter,")) {
			t.Fatalf("%q is accepted", msg)
		}
		if again, err := scram.Prepare(hs.Username()); err != nil || again != hs.Username() {
			t.Fatalf("%q has the user %q, which is not prepared: %q, %v", msg, hs.Username(), again, err)
		}
		challenge, err := hs.ChallengeUnknown([]byte("key"), 4096)
		if err != nil || !strings.HasPrefix(string(challenge), "r="+string(m[1])) {
			t.Fatalf("%q is answered with %q, %v", msg, challenge, err)
		}
	})
}

// S03: no client-final does harm, and none is accepted but the one that is right.
func FuzzClientFinal(f *testing.F) {
	const first, nonce = "n=user,r=abc", "abcserver"
	challenge := "r=" + nonce + ",s=" + vectorSalt + ",i=4096"
	right := prove(f, scram.SHA256, "pencil", first, challenge, "c=biws,r="+nonce)
	keys := pencil(f, scram.SHA256)
	for _, s := range []string{
		right, right + ",x=y", strings.Replace(right, ",p=", ",x=y,p=", 1), right[:len(right)-1], "c=biws,r=abcserver,p=", "c=biws,r=abc,p=AAAA",
		"c=eSws,r=abcserver,p=AAAA", "", ",,,", "p=", "c=biws,r=abcserver,m=x,p=AAAA", "c=biws,r=abcserver,p=\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		hs, err := scram.Begin(scram.SHA256, false, nil, []byte("n,,"+first))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := hs.ChallengeWith("server", keys); err != nil {
			t.Fatal(err)
		}
		v, _, err := hs.Finish(msg)
		if (err == nil) != (string(msg) == right) || (err == nil) != (v != nil) {
			t.Fatalf("%q: %q, %v", msg, v, err)
		}
		if _, ok := errors.AsType[*scram.Error](err); err != nil && !ok {
			t.Fatalf("%q: %v", msg, err)
		}
	})
}
