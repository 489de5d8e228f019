package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSchemes(t *testing.T) {
	fast := map[Scheme]bool{SHA256: true, SHA512: true, HMACSHA256: true}
	for _, s := range Schemes() {
		if !s.Valid() || s.Fast() != fast[s] || (s.Digest([]byte("key"), "token") != nil) != fast[s] {
			t.Errorf("%s: valid %v, fast %v", s, s.Valid(), s.Fast())
		}
	}
	for _, s := range []Scheme{"", "SHA256", "sha1", "md5", "plain"} {
		if s.Valid() || s.Fast() || s.Digest(nil, "token") != nil {
			t.Errorf("%q is a scheme", s)
		}
	}
}

// The digests are those of the standards: FIPS 180-4 (its example "abc"), and RFC 4231, 4.2, 4.3, 4.7.
func TestDigestVectors(t *testing.T) {
	for _, c := range []struct {
		s          Scheme
		key        []byte
		text, want string
	}{
		{SHA256, nil, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{SHA256, []byte("ignored"), "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{SHA512, nil, "abc", "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
		{HMACSHA256, bytes.Repeat([]byte{0x0b}, 20), "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
		{HMACSHA256, []byte("Jefe"), "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		{HMACSHA256, bytes.Repeat([]byte{0xaa}, 131), "Test Using Larger Than Block-Size Key - Hash Key First", "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
	} {
		if got := hex.EncodeToString(c.s.Digest(c.key, c.text)); got != c.want {
			t.Errorf("%s of %q is %s", c.s, c.text, got)
		}
	}
}

// However another system writes a digest, it is read as the same bytes.
func TestParseDigestReadsEveryForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom([]Scheme{SHA256, SHA512, HMACSHA256}).Draw(t, "scheme")
		d := s.Digest(nil, rapid.String().Draw(t, "token"))
		lower := hex.EncodeToString(d)
		for _, text := range []string{
			lower, strings.ToUpper(lower), strings.ToUpper(lower[:20]) + lower[20:],
			base64.StdEncoding.EncodeToString(d), base64.RawStdEncoding.EncodeToString(d),
			base64.URLEncoding.EncodeToString(d), base64.RawURLEncoding.EncodeToString(d),
		} {
			if got, err := ParseDigest(s, text); err != nil || !bytes.Equal(got, d) {
				t.Fatalf("%s: %q is read as %x, %v", s, text, got, err)
			}
		}
	})
}

func TestParseDigestRefuses(t *testing.T) {
	d := SHA256.Digest(nil, "abc")
	std := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb, 0xef, 0xff}, 11)[:32]) // holds + and /
	for _, c := range []struct {
		s    Scheme
		text string
	}{
		{SHA256, ""},
		{SHA256, hex.EncodeToString(d)[:63]},
		{SHA256, hex.EncodeToString(d) + "0"},
		{SHA256, hex.EncodeToString(d)[:63] + "g"},
		{SHA256, " " + hex.EncodeToString(d)},
		{SHA256, hex.EncodeToString(d) + "\n"},
		{SHA256, "sha256:" + hex.EncodeToString(d)},
		{SHA256, hex.EncodeToString(SHA512.Digest(nil, "abc"))},
		{SHA512, hex.EncodeToString(d)},
		{SHA256, base64.StdEncoding.EncodeToString(d[:31])},
		{SHA256, base64.StdEncoding.EncodeToString(append(bytes.Clone(d), 0))},
		{SHA256, base64.RawStdEncoding.EncodeToString(d) + "=="},
		{SHA256, base64.RawStdEncoding.EncodeToString(d) + "\n"},
		{SHA256, base64.RawStdEncoding.EncodeToString(d)[:42] + "1"}, // bits behind the last byte
		{SHA256, strings.Replace(std, "+", "-", 1)},                  // both alphabets
		{Bcrypt, hex.EncodeToString(d)},
		{Argon2id, hex.EncodeToString(d)},
		{"", hex.EncodeToString(d)},
	} {
		got, err := ParseDigest(c.s, c.text)
		if err == nil || got != nil {
			t.Errorf("%s: %q is read as %x", c.s, c.text, got)
		} else if len(c.text) > 20 && strings.Contains(err.Error(), c.text) {
			t.Errorf("the message holds the digest: %v", err)
		}
	}
}

// FuzzParseDigest: what is read has the scheme's length, and is read back from hex.
func FuzzParseDigest(f *testing.F) {
	for _, s := range []string{"", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "----", "===="} {
		for _, scheme := range Schemes() {
			f.Add(string(scheme), s)
		}
	}
	f.Fuzz(func(t *testing.T, scheme, text string) {
		s := Scheme(scheme)
		d, err := ParseDigest(s, text)
		if err != nil {
			return
		}
		again, err := ParseDigest(s, hex.EncodeToString(d))
		if !s.Fast() || len(d) != s.digestLen() || err != nil || !bytes.Equal(d, again) || strings.ContainsAny(text, " \r\n\t") {
			t.Errorf("%s: %q is read as %x", s, text, d)
		}
	})
}

// What is found by is another for another scheme, digest, format and id, and never the digest itself.
func TestForeignHashesAreApart(t *testing.T) {
	d := SHA256.Digest(nil, "abc")
	seen := map[[32]byte]string{[32]byte(d): "the digest itself"}
	for about, h := range map[string][32]byte{
		"sha256":                     ForeignHash(SHA256, d),
		"hmac":                       ForeignHash(HMACSHA256, d),
		"another digest":             ForeignHash(SHA256, d[:31]),
		"an id":                      IDHash("sha256", string(d)),
		"a format":                   IDHash("ab", "c"),
		"the same letters otherwise": IDHash("a", "bc"),
	} {
		if other, ok := seen[h]; ok {
			t.Errorf("%s and %s have one hash", about, other)
		}
		seen[h] = about
	}
	// What is stored must stay what it is: computed by Python's hashlib.
	if got := ForeignHash(SHA256, d); hex.EncodeToString(got[:]) != "ff66d130aa1fca83dda09b1f6edccf6743323d6fa0b6bd40be85cdab4b52783c" {
		t.Errorf("ForeignHash gives %x", got)
	}
	if got := IDHash("acme", "k1"); hex.EncodeToString(got[:]) != "77b8a34839c936ee9a1778c73868138618fa7dfdd1920748cc44a204cb20947f" {
		t.Errorf("IDHash gives %x", got)
	}
}

func TestIDPart(t *testing.T) {
	for _, c := range []struct {
		token, prefix string
		idLen         int
		separator     string
		want          string
	}{
		{"acme_k1abcdef", "acme_", 2, "", "k1"},
		{"acme_k1.abcdef", "acme_", 0, ".", "k1"},
		{"acme_k1.ab.cd", "acme_", 0, ".", "k1"},
		{"acme_k1.abcdef", "acme_", 2, ".", "k1"},
		{"k1::abcdef", "", 0, "::", "k1"},
		{strings.Repeat("k", 128) + ".s", "", 0, ".", strings.Repeat("k", 128)},

		{"acme_k1.abcdef", "acme_", 3, ".", ""},
		{"acme_k1.abcdef", "acme_", 1, ".", ""},
		{"Acme_k1.abcdef", "acme_", 0, ".", ""},
		{"acme_k1", "acme_", 2, "", ""}, // no secret
		{"acme_k", "acme_", 2, "", ""},
		{"acme_k1.", "acme_", 0, ".", ""},
		{"acme_.secret", "acme_", 0, ".", ""}, // no id
		{"acme_secret", "acme_", 0, ".", ""},
		{"acme_secret", "acme_", 0, "", ""},
		{"acme_secret", "acme_", -1, "", ""},
		{"k1.secret", "", -1, ".", ""},
		{"", "", 1, "", ""},
		{strings.Repeat("k", 129) + ".s", "", 0, ".", ""},
	} {
		if id, ok := IDPart(c.token, c.prefix, c.idLen, c.separator); id != c.want || ok != (c.want != "") {
			t.Errorf("IDPart(%q, %q, %d, %q) = %q, %v", c.token, c.prefix, c.idLen, c.separator, id, ok)
		}
	}
}

// FuzzIDPart: an id stands behind the prefix, and there is a secret behind it.
func FuzzIDPart(f *testing.F) {
	f.Add("acme_k1.abcdef", "acme_", 2, ".")
	f.Add("k1abcdef", "", 2, "")
	f.Fuzz(func(t *testing.T, token, prefix string, idLen int, separator string) {
		id, ok := IDPart(token, prefix, idLen, separator)
		if !ok && id != "" || ok && (id == "" || !strings.HasPrefix(token, prefix+id+separator) || len(token) <= len(prefix+id+separator) || idLen != 0 && len(id) != idLen) {
			t.Errorf("IDPart(%q, %q, %d, %q) = %q, %v", token, prefix, idLen, separator, id, ok)
		}
	})
}
