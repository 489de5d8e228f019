package mqtt

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// What looks at eight characters at once says what looking at one after the other says.
func TestTextAtOnceAndOneByOne(t *testing.T) {
	check := func(s []byte) {
		valid := utf8.Valid(s) && bytes.IndexByte(s, 0) < 0
		if got := ValidText(s); got != valid {
			t.Fatalf("ValidText(%q) = %v", s, got)
		}
		if got := checkTopic(s) == nil; got != (valid && !bytes.ContainsAny(s, "+#")) {
			t.Fatalf("checkTopic(%q): accepted %v", s, got)
		}
	}
	// Every byte at every place among others that are plain, those at the edges of what is plain included.
	for _, other := range []byte{'a', '/', 1, 0x7F, '*', '"', '$', ','} {
		for n := range 26 {
			s := bytes.Repeat([]byte{other}, n)
			check(s)
			for at := range s {
				for c := range 256 {
					s[at] = byte(c)
					check(s)
				}
				s[at] = other
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		check(rapid.SliceOfN(rapid.SampledFrom([]byte("az/+#\x00\x01\x7f\xc3\xa9\xe4\xb8\x96\xff")), 0, 40).Draw(t, "text"))
	})
}
