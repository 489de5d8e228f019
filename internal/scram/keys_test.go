package scram_test

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"cardea/internal/credential"
	"cardea/internal/scram"
)

// S09: the examples of RFC 4013, 3, and what its text leaves to be shown.
func TestPrepare(t *testing.T) {
	for _, c := range []struct {
		name, in, query, stored string // "" for refused
	}{
		{"1: soft hyphen is nothing", "I\u00adX", "IX", "IX"},
		{"2: no transformation", "user", "user", "user"},
		{"3: case is kept", "USER", "USER", "USER"},
		{"4: NFKC", "\u00aa", "a", "a"},
		{"5: NFKC", "\u2168", "IX", "IX"},
		{"6: prohibited", "\u0007", "", ""},
		{"7: both directions", "\u06271", "", ""},
		{"right to left", "\u0627\u0628", "\u0627\u0628", "\u0627\u0628"},
		{"right to left around digits", "\u06271\u0628", "\u06271\u0628", "\u06271\u0628"},
		{"composed", "e\u0301", "\u00e9", "\u00e9"},
		{"no-break space", "a\u00a0b", "a b", "a b"},
		{"zero width space", "a\u200bb", "a b", "a b"},
		{"blanks stay", " a  b ", " a  b ", " a  b "},
		{"unassigned in Unicode 3.2", "\u0221", "\u0221", ""},
		{"unassigned after what is mapped", "\u00ad\u0221", "\u0221", ""},
		{"a noncharacter", "a\ufffe", "", ""},
		{"a control character of Unicode", "a\u2028", "", ""},
		{"a description of an ideograph", "a\u2ff0", "", ""},
		{"a change of direction", "a\u202e", "", ""},
		{"a tag", "a\U000e0001", "", ""},
		{"private use", "a\ue000", "", ""},
		{"replacement character", "a\ufffd", "", ""},
		{"DEL", "a\x7f", "", ""},
		{"not UTF-8", "a\xff", "", ""},
		{"empty", "", "", ""},
		{"the longest", strings.Repeat("é", 512), strings.Repeat("é", 512), strings.Repeat("é", 512)},
		{"too long", strings.Repeat("é", 513), "", ""},
		{"too long in ASCII", strings.Repeat("e", 1025), "", ""},
		{"too long before it is mapped", strings.Repeat("\u00ad", 512) + "e", "", ""},
		{"too long when it is normalised", strings.Repeat("\ufdfa", 32), "", ""}, // 33 bytes of each
		{"nothing is left", "\u00ad\ufeff", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, form := range []struct {
				prepare func(string) (string, error)
				want    string
			}{{scram.Prepare, c.query}, {scram.PrepareStored, c.stored}} {
				got, err := form.prepare(c.in)
				if got != form.want || (err == nil) != (form.want != "") {
					t.Errorf("%+q becomes %+q, %v, want %+q", c.in, got, err, form.want)
				}
				if err != nil && strings.ContainsAny(err.Error(), "\u0007\u0221\u0627") {
					t.Errorf("the error holds the text: %s", err)
				}
			}
		})
	}
}

// What is wrong is said as it is, though the library would refuse it too, as a replacement character.
func TestPrepareNamesBadUTF8(t *testing.T) {
	if _, err := scram.Prepare("a\xff"); err == nil || err.Error() != "is not UTF-8" {
		t.Error(err)
	}
}

// Keys of the password "pencil" with the salt of RFC 7677, computed by Python's hashlib.
func TestDerive(t *testing.T) {
	for h, want := range map[scram.Hash][2]string{
		scram.SHA256: {
			"586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6",
			"c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5",
		},
		scram.SHA512: {
			"e8002e6f7d3ae446119b216933644dc2a2be7869eb918b8459b5e7d7d2ec12606aceef106825cd735170a675fd3611f684affad1dce3f43a0ee43bd590e1dbbe",
			"8d91db6230b5687874fe129bc7206e1858c3ae08e02934f57ac03b6b05a229c459d28ff46f5c9611e6c179256490215ec1ff759cb0df285db89af0f99e613aac",
		},
	} {
		k := pencil(t, h)
		if got := [2]string{hex.EncodeToString(k.StoredKey), hex.EncodeToString(k.ServerKey)}; got != want {
			t.Errorf("%s: %s", h.Algorithm(), got)
		}
		if !scram.Check(h, &k, "pencil") || !scram.Check(h, &k, "pen\u00adcil") {
			t.Errorf("%s: the password does not fit its own keys", h.Algorithm())
		}
		if scram.Check(h, &k, "Pencil") || scram.Check(h, &k, "") || scram.Check(h, &k, "pencil\u0007") {
			t.Errorf("%s: another password fits", h.Algorithm())
		}
		for name, key := range map[string][]byte{"stored": k.StoredKey, "server": k.ServerKey} {
			key[0] ^= 1
			if scram.Check(h, &k, "pencil") {
				t.Errorf("%s: the %s key is not looked at", h.Algorithm(), name)
			}
			key[0] ^= 1
		}
	}
}

func TestDeriveRefuses(t *testing.T) {
	for _, c := range []struct {
		password   string
		salt       []byte
		iterations int
		want       []string
	}{
		{"\u0007SECRET", []byte("salt"), 4096, []string{"password"}},
		{"", []byte("salt"), 4096, []string{"password"}},
		{"SECRET\u0221", []byte("salt"), 4096, []string{"password"}}, // a stored string
		{"SECRET", nil, 4096, []string{"salt"}},
		{"SECRET", make([]byte, 1025), 4096, []string{"salt"}},
		{"SECRET", []byte("salt"), 4095, []string{"iterations"}}, // S08
		{"SECRET", []byte("salt"), 10_000_001, []string{"iterations"}},
		{"SECRET\xff", nil, 0, []string{"password", "salt", "iterations"}},
	} {
		_, err := scram.Derive(scram.SHA256, c.password, c.salt, c.iterations)
		if got := fieldsOf(err); !slices.Equal(got, c.want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%v: %v, want %v", c, err, c.want)
		}
	}
}

// S08: keys that come from elsewhere are as they must be.
func TestCheckKeys(t *testing.T) {
	for _, h := range []scram.Hash{scram.SHA256, scram.SHA512} {
		good := pencil(t, h)
		for _, c := range []struct {
			edit func(*credential.ScramKeys)
			want []string
		}{
			{func(*credential.ScramKeys) {}, nil},
			{func(k *credential.ScramKeys) { k.Salt = []byte{0} }, nil},
			{func(k *credential.ScramKeys) { k.Salt = make([]byte, 1024) }, nil},
			{func(k *credential.ScramKeys) { k.Iterations = 10_000_000 }, nil},
			{func(k *credential.ScramKeys) { k.Salt = []byte{} }, []string{"salt"}},
			{func(k *credential.ScramKeys) { k.Salt = make([]byte, 1025) }, []string{"salt"}},
			{func(k *credential.ScramKeys) { k.Iterations = 4095 }, []string{"iterations"}},
			{func(k *credential.ScramKeys) { k.Iterations = 10_000_001 }, []string{"iterations"}},
			{func(k *credential.ScramKeys) { k.Iterations = -1 }, []string{"iterations"}},
			{func(k *credential.ScramKeys) { k.StoredKey = k.StoredKey[1:] }, []string{"stored_key"}},
			{func(k *credential.ScramKeys) { k.ServerKey = append(k.ServerKey, 0) }, []string{"server_key"}},
			{func(k *credential.ScramKeys) { *k = credential.ScramKeys{} }, []string{"salt", "iterations", "stored_key", "server_key"}},
		} {
			k := good
			c.edit(&k)
			var p credential.Problems
			scram.CheckKeys(h, &k, &p)
			if got := fieldsOf(p.Err()); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", h.Algorithm(), got, c.want)
			}
		}
	}
}

func fieldsOf(err error) []string {
	e, ok := errors.AsType[*credential.Error](err)
	if !ok {
		return nil
	}
	var names []string
	for _, f := range e.Fields {
		names = append(names, f.Field)
	}
	return names
}

// S01, S02: fake keys follow from the key of the house, the hash and the name, and from nothing else.
func TestFake(t *testing.T) {
	house := []byte("a key of the house")
	var salts []string
	for _, h := range []scram.Hash{scram.SHA256, scram.SHA512} {
		for _, name := range []string{"a", "b", "ab", "é"} {
			k, again := scram.Fake(house, h, name, 4096), scram.Fake(house, h, name, 4096)
			if string(k.Salt) != string(again.Salt) || string(k.StoredKey) != string(again.StoredKey) || string(k.ServerKey) != string(again.ServerKey) {
				t.Errorf("%s %q: it changes", h.Algorithm(), name)
			}
			var p credential.Problems
			if scram.CheckKeys(h, &k, &p); p.Err() != nil || len(k.Salt) != scram.SaltLen {
				t.Errorf("%s %q: %v, and a salt of %d bytes", h.Algorithm(), name, p.Err(), len(k.Salt))
			}
			if string(k.StoredKey) == string(k.ServerKey) || string(k.StoredKey[:scram.SaltLen]) == string(k.Salt) || string(k.ServerKey[:scram.SaltLen]) == string(k.Salt) {
				t.Errorf("%s %q: the salt, which goes out, tells a key", h.Algorithm(), name)
			}
			salts = append(salts, string(k.Salt))
		}
	}
	salts = append(salts, string(scram.Fake([]byte("another"), scram.SHA256, "a", 4096).Salt))
	slices.Sort(salts)
	if len(slices.Compact(salts)) != 9 {
		t.Error("two users have the same salt")
	}
}
