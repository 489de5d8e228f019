package oauth

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What is written by hand is what encoding/json reads.
func TestStrings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "s")
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil || got != strings.ToValidUTF8(replaceEach(s), "") {
			t.Fatalf("%q: %q, %v", s, got, err)
		}
	})
}

// replaceEach puts U+FFFD in the place of every octet that is none of UTF-8.
func replaceEach(s string) string { return string([]rune(s)) }
