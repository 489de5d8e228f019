package scram_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cardea/internal/credential"
	"cardea/internal/scram"
	"cardea/internal/testkit"
)

// foreign returns a client that nobody here wrote.
func foreign(t rapid.TB, method, username, password string) *testkit.ScramClient {
	t.Helper()
	c, err := testkit.NewScramClient(method, username, password, channel.Exporter)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// login runs a client against the server, to the client's last message.
func login(t rapid.TB, c *testkit.ScramClient, method string, k credential.ScramKeys) (*scram.Handshake, []byte) {
	t.Helper()
	h, plus, _ := scram.ParseMethod(method)
	hs, err := scram.Begin(h, plus, channel, c.First())
	if err != nil {
		t.Fatal(err)
	}
	challenge, err := hs.Challenge([]credential.ScramKeys{k})
	if err != nil {
		t.Fatal(err)
	}
	final, err := c.Final(challenge)
	if err != nil {
		t.Fatal(err)
	}
	return hs, final
}

var methods = []string{"SCRAM-SHA-256", "SCRAM-SHA-512", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512-PLUS"}

func derive(t rapid.TB, method, password string) credential.ScramKeys {
	t.Helper()
	h, _, _ := scram.ParseMethod(method)
	k, err := scram.Derive(h, password, []byte("sixteen bytes of"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// xdg-go's client, which PostgreSQL and MongoDB are used with, gets in by every method, and trusts the server.
func TestForeignClient(t *testing.T) {
	for _, method := range methods {
		keys := derive(t, method, "pa\u0308ssword IX")
		for _, username := range []string{"user", "a,b=c é", "=2C", ",", "IX\u00ad", "\u0627\u0628", strings.Repeat("long", 250)} {
			c := foreign(t, method, username, "p\u00e4ssword \u2168")
			hs, final := login(t, c, method, keys)
			v, _, err := hs.Finish(final)
			if err != nil || !c.Verify(v) {
				t.Errorf("%s %q: %v, or the client does not trust %q", method, username, err, v)
			}
			if want, _ := scram.Prepare(username); hs.Username() != want {
				t.Errorf("%s: %q is read as %q", method, username, hs.Username())
			}
		}
		c := foreign(t, method, "user", "wrong")
		hs, final := login(t, c, method, keys)
		_, _, err := hs.Finish(final)
		wantCode(t, err, scram.InvalidProof)
		if c.Verify([]byte("v=" + b64(strings.Repeat("x", 32)))) {
			t.Errorf("%s: the client trusts anybody", method)
		}
	}
}

// Whatever the password and the user name are, they are let in, and known by the prepared name.
func TestAnyPasswordGetsIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		good := func(s string) bool {
			_, err := scram.PrepareStored(s)
			return err == nil && !strings.Contains(s, "\u200b") // which is nothing to this client, and a space to us and most
		}
		method := rapid.SampledFrom(methods).Draw(t, "method")
		letters := rapid.RuneFrom([]rune("aZ09 ,=+/\"'\\é\u00ad\u00a0\u2168\u00aa\u4e2d"))
		text := rapid.OneOf(rapid.StringN(1, 40, 200), rapid.StringOfN(letters, 1, 40, 200)).Filter(good)
		username, password := text.Draw(t, "username"), text.Draw(t, "password")
		c := foreign(t, method, username, password)
		hs, final := login(t, c, method, derive(t, method, password))
		v, _, err := hs.Finish(final)
		if err != nil || !c.Verify(v) {
			t.Fatalf("%s refuses %+q with %+q: %v", method, username, password, err)
		}
		if want, err := scram.Prepare(username); err != nil || hs.Username() != want {
			t.Fatalf("%+q is read as %+q", username, hs.Username())
		}
	})
}

// S03, S05: a client-final with one byte changed, added or left out is refused.
func TestAnyChangeIsRefused(t *testing.T) {
	keys, clients := map[string]credential.ScramKeys{}, map[string]*testkit.ScramClient{}
	for _, m := range methods {
		keys[m], clients[m] = derive(t, m, "pencil"), foreign(t, m, "user", "pencil")
	}
	rapid.Check(t, func(t *rapid.T) {
		method := rapid.SampledFrom(methods).Draw(t, "method")
		hs, final := login(t, clients[method], method, keys[method])
		at := rapid.IntRange(0, len(final)-1).Draw(t, "at")
		b := rapid.Byte().Filter(func(b byte) bool { return b != final[at] }).Draw(t, "byte")
		var msg []byte
		switch rapid.SampledFrom([]string{"change", "add", "leave out"}).Draw(t, "how") {
		case "change":
			msg = append(msg, final...)
			msg[at] = b
		case "add":
			msg = append(append(append(msg, final[:at]...), b), final[at:]...)
		default:
			msg = append(append(msg, final[:at]...), final[at+1:]...)
		}
		if v, _, err := hs.Finish(msg); err == nil {
			t.Fatalf("%q is answered with %q, as %q would be", msg, v, final)
		}
	})
}

// BenchmarkServer is the server's side of a login: the proof is there.
func BenchmarkServer(b *testing.B) {
	for _, method := range methods {
		b.Run(method, func(b *testing.B) {
			h, plus, _ := scram.ParseMethod(method)
			k := []credential.ScramKeys{derive(b, method, "pencil")}
			c := foreign(b, method, "user", "pencil")
			first := c.First()
			hs, err := scram.Begin(h, plus, channel, first)
			if err != nil {
				b.Fatal(err)
			}
			challenge, err := hs.ChallengeWith(vectorServer, k...)
			if err != nil {
				b.Fatal(err)
			}
			final, err := c.Final(challenge)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				hs, _ := scram.Begin(h, plus, channel, first)
				_ = scram.NewNonce() // what a real challenge takes one for
				if _, err := hs.ChallengeWith(vectorServer, k...); err != nil {
					b.Fatal(err)
				}
				if _, _, err := hs.Finish(final); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
