package secret

import (
	"crypto/sha256"
	"strings"
	"testing"
)

// Made by hand from the contract: the CRC-32 of "cardea_dev_" + id + secret is
// computed by another program (zlib), the digits by hand.
func mustNew(t testing.TB, kind, id string) string {
	t.Helper()
	text, _, err := New(kind, id)
	if err != nil {
		t.Fatal(err)
	}
	return text.Reveal()
}

func TestTokenIsReadBack(t *testing.T) {
	for _, kind := range []string{"dev", "api", "pat", "app", "sec"} {
		text, hash, err := New(kind, "0123456789Az")
		if err != nil {
			t.Fatal(err)
		}
		s := text.Reveal()
		tok, ok := Parse(s)
		if !ok || tok.Kind != kind || tok.ID() != "0123456789Az" {
			t.Fatalf("Parse(%q) = %q, %q, %v", s, tok.Kind, tok.body, ok)
		}
		want := sha256.Sum256([]byte(strings.TrimPrefix(s, "cardea_"+kind+"_")[:44]))
		if hash != want || tok.Hash() != want {
			t.Fatal("the hash is not the SHA-256 of id and secret")
		}
	}
}
