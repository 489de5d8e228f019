package secret

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
)

// vectors are tokens whose sums were computed by another program (zlib's crc32).
var vectors = []string{
	"cardea_dev_0123456789AzABCDEFGHIJKLMNOPQRSTUVWXYZabcdef1ktxvP",
	"cardea_sec_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz1Q3yi1",
	"cardea_api_0000000000000000000000000000000000000000020200wdUA", // a sum with leading zeros
}

func newToken(t testing.TB, kind, id string) string {
	t.Helper()
	text, _, err := New(kind, id)
	if err != nil {
		t.Fatal(err)
	}
	return text.Reveal()
}

func TestParseReadsVectors(t *testing.T) {
	for _, s := range vectors {
		tok, ok := Parse(s)
		if !ok || tok.Kind != s[7:10] || tok.ID() != s[11:23] || tok.Hash() != sha256.Sum256([]byte(s[11:55])) {
			t.Errorf("Parse(%q) = %q, %v", s, tok.Kind, ok)
		}
	}
}

func TestTokenIsReadBack(t *testing.T) {
	for _, kind := range Kinds() {
		text, hash, err := New(kind, "0123456789Az")
		if err != nil {
			t.Fatal(err)
		}
		tok, ok := Parse(text.Reveal())
		if !ok || tok.Kind != kind || tok.ID() != "0123456789Az" || !Equal(tok.Hash(), hash) {
			t.Errorf("a new token of kind %s is read as %q %q %v", kind, tok.Kind, tok.ID(), ok)
		}
	}
}

func TestEqual(t *testing.T) {
	a := sha256.Sum256([]byte("a"))
	for i := range a {
		b := a
		b[i] ^= 1
		if Equal(a, b) || !Equal(b, b) {
			t.Errorf("hashes that differ in byte %d", i)
		}
	}
}

// Every one character replaced by every other byte is refused, by the text alone.
func TestOneWrongCharacterIsRefused(t *testing.T) { // K06
	for _, s := range append(vectors, newToken(t, "pat", "aB3aB3aB3aB3")) {
		for i := range len(s) {
			b := []byte(s)
			for c := range 256 {
				if b[i] = byte(c); string(b) == s {
					continue
				}
				if _, ok := Parse(string(b)); ok {
					t.Fatalf("character %d as %#x is accepted", i, c)
				}
			}
		}
	}
}

func TestParseWantsTheExactForm(t *testing.T) {
	good := vectors[0]
	sum := func(head string) string { return string(appendNumber([]byte(head), crc32.ChecksumIEEE([]byte(head)))) }
	if sum(good[:55]) != good {
		t.Fatal("the test's own tokens are wrong")
	}
	bad := []string{
		"", " ", "cardea_", "cardea_dev_", good + "0", good + " ", good + "\n", " " + good, "\x00" + good, good + good,
		strings.ToUpper(good), strings.Replace(good, "cardea_", "Cardea_", 1), "Bearer " + good,
		sum("cardea_xyz_" + good[11:55]), sum("cardea-dev_" + good[11:55]), sum("cardea_dev-" + good[11:55]), sum("cardea_DEV_" + good[11:55]),
		sum("cardea_dev_" + good[11:54] + "-"), sum("cardea_dev_" + good[11:54] + "_"), sum("cardea_dev_" + good[11:53] + "é"),
		sum("cardea_dev_" + good[11:54]), sum("cardea_dev_" + good[11:55] + "0"),
		good[:55] + "zzzzzz", // more than 32 bits
	}
	for i := range len(good) {
		bad = append(bad, good[:i], good[:i]+good[i+1:], good[:i]+"0"+good[i:])
	}
	for _, s := range bad {
		if tok, ok := Parse(s); ok || tok != (Token{}) {
			t.Errorf("Parse(%q) is a token", s)
		}
	}
	// A sum that is right but for a multiple of 2^32 is another text of the same number.
	n := number(good[55:]) + 1<<32
	var over []byte
	for d := n; len(over) < SumLen; d /= 62 {
		over = append([]byte{digits[d%62]}, over...)
	}
	if _, ok := Parse(good[:55] + string(over)); ok {
		t.Error("a sum beyond 32 bits is accepted")
	}
}

func TestSecretsAreUniqueAndLong(t *testing.T) { // K07
	if bits := float64(SecretLen) * math.Log2(float64(len(digits))); bits < 190 {
		t.Errorf("%.1f bits", bits)
	}
	const n = 50_000
	seen, count := map[string]bool{}, [SecretLen][62]int{}
	for range n {
		secret := newToken(t, "api", "000000000000")[bodyAt+IDLen : sumAt]
		if seen[secret] {
			t.Fatal("the same secret twice")
		}
		seen[secret] = true
		for i := range secret {
			count[i][value[secret[i]]]++
		}
	}
	// Each digit at each place is as likely as every other: 8 standard deviations
	// are never passed by chance.
	mean := float64(n) / 62
	for i := range count {
		for d, c := range count[i] {
			if math.Abs(float64(c)-mean) > 8*math.Sqrt(mean) {
				t.Errorf("digit %c stands %d times at place %d, about %.0f were expected", digits[d], c, i, mean)
			}
		}
	}
}

// The whole range of the source is spread over the whole range of digits.
func TestDigitsAreUniform(t *testing.T) {
	for d := range 62 {
		// The least and the greatest 64 bit number that give digit d: ceil(d·2^64/62), and one below the next.
		for _, c := range []struct {
			number uint64
			want   byte
		}{{quotient(d), digits[d]}, {quotient(d+1) - 1, digits[d]}} {
			var b [8]byte
			for i := range b {
				b[i] = byte(c.number >> (8 * i))
			}
			got, err := maker{bytes.NewReader(b[:])}.digits(1)
			if err != nil || got[0] != c.want {
				t.Errorf("%x gives %q, %v; want %q", c.number, got, err, c.want)
			}
		}
	}
}

// quotient returns ceil(d·2^64/62) modulo 2^64.
func quotient(d int) uint64 {
	q, r := math.MaxUint64/uint64(62), math.MaxUint64%uint64(62)+1 // 2^64 = q·62 + r
	return q*uint64(d) + (r*uint64(d)+61)/62
}

func TestNewID(t *testing.T) {
	for _, n := range []int{0, 1, 11, IDLen} {
		if id, err := NewID(n); err != nil || len(id) != n || !allDigits(id) {
			t.Errorf("NewID(%d) = %q, %v", n, id, err)
		}
	}
	a, _ := NewID(IDLen)
	if b, _ := NewID(IDLen); a == b {
		t.Error("the same id twice")
	}
	if _, err := NewID(-1); err == nil {
		t.Error("an id of -1 characters")
	}
}

// Without random bytes there is no token: neither after an error, nor after too few.
func TestRandomSourceFails(t *testing.T) { // K08
	broken := errors.New("no entropy")
	for _, c := range []struct {
		about string
		r     io.Reader
		want  error
	}{
		{"an error", iotest.ErrReader(broken), broken},
		{"an error in the middle", io.MultiReader(io.LimitReader(rand.Reader, 8*SecretLen-1), iotest.ErrReader(broken)), broken},
		{"an early end", io.LimitReader(rand.Reader, 8*SecretLen-1), io.ErrUnexpectedEOF},
		{"nothing", strings.NewReader(""), io.EOF},
	} {
		text, hash, err := maker{c.r}.token("dev", "0123456789Az")
		if !errors.Is(err, c.want) || !text.IsZero() || hash != [32]byte{} {
			t.Errorf("%s: %v, and a token: %v", c.about, err, !text.IsZero())
		}
	}
	if text, _, err := (maker{iotest.OneByteReader(rand.Reader)}).token("dev", "0123456789Az"); err != nil || len(text.Reveal()) != tokenLen {
		t.Errorf("a slow source: %v", err)
	}
}

func TestNewWantsAKindAndAnID(t *testing.T) {
	for _, c := range [][2]string{{"", "0123456789Az"}, {"xyz", "0123456789Az"}, {"dev", ""}, {"dev", "0123456789A"}, {"dev", "0123456789A-"}, {"dev", "0123456789Azz"}} {
		if text, _, err := New(c[0], c[1]); err == nil || !text.IsZero() {
			t.Errorf("New(%q, %q) makes a token", c[0], c[1])
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	good, bad := vectors[0], vectors[0][:60]+"x"
	var hash [32]byte
	for what, f := range map[string]func(){
		"Parse":        func() { _, _ = Parse(good) },
		"Parse of bad": func() { _, _ = Parse(bad) },
		"Hash and ID": func() {
			tok, _ := Parse(good)
			if hash = tok.Hash(); tok.ID() != "0123456789Az" || !Equal(hash, tok.Hash()) {
				t.Fatal("wrong token")
			}
		},
		"Looks":             func() { _ = Looks("GET /db/query?q=select") },
		"Redact of nothing": func() { _ = Redact("GET /db/query?q=select") },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", what, n)
		}
	}
}

// FuzzParse: what is accepted is exactly what New would have made.
func FuzzParse(f *testing.F) {
	for _, s := range vectors {
		f.Add(s)
		f.Add(s[1:])
		f.Add("Bearer " + s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tok, ok := Parse(s)
		if ok != (len(s) == tokenLen && isHead(s) && allDigits(s[bodyAt:]) && string(appendNumber([]byte(s[:sumAt]), crc32.ChecksumIEEE([]byte(s[:sumAt])))) == s) {
			t.Fatalf("Parse(%q) = %v", s, ok)
		}
		if ok && (tok.ID() != s[11:23] || tok.Hash() != sha256.Sum256([]byte(s[11:55])) || !Looks(s)) {
			t.Fatalf("Parse(%q) reads %q", s, tok.ID())
		}
		if r := Redact(s); Looks(r) || (r != s) != Looks(s) || Redact(r) != r {
			t.Fatalf("Redact(%q) = %q", s, r)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = Parse(vectors[0])
	}
}

func BenchmarkHash(b *testing.B) {
	b.ReportAllocs()
	tok, _ := Parse(vectors[0])
	for b.Loop() {
		_ = tok.Hash()
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = New("dev", "0123456789Az")
	}
}

func BenchmarkLooks(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = Looks("/db/query?q=select+*+from+example+where+name%3D'temperature'&timeformat=ns")
	}
}

// The id can be read before the token is checked, and is the one that Parse gives.
func TestPeek(t *testing.T) {
	text, _, err := New("dev", "7Kq2mW0aXc9L")
	if err != nil {
		t.Fatal(err)
	}
	token := text.Reveal()
	if id := Peek(token); id != "7Kq2mW0aXc9L" {
		t.Errorf("Peek gives %q", id)
	}
	for _, bad := range []string{"", token[:len(token)-1], token + "0"} {
		if id := Peek(bad); id != "" {
			t.Errorf("Peek gives %q of %d bytes", id, len(bad))
		}
	}
}
