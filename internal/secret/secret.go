// Package secret makes and reads Cardea's tokens, and holds secrets in a type
// that does not print them.
//
// A token is 61 bytes of ASCII:
//
//	cardea_dev_ 7Kq2mW0aXc9L tzUVqTd8…32 in all… 2bQ9fA
//	  kind        id (12)          secret         sum (6)
//
// without the spaces. Id, secret and sum are base62; the digits are 0-9, then
// A-Z, then a-z, so '0' is zero and 'z' is sixty-one. The sum is the CRC-32
// (IEEE) of the 55 bytes before it as six digits, the most significant first.
// It finds every mistake of one character, and all but one in four thousand
// million of the others, before anything is looked up (K06). It is no
// protection against an attacker, who can compute it.
//
// The id is public: it names the credential in lists and logs. The secret is
// 32 digits from the system's random source, 190 bits (K07). What is stored
// of a token is the SHA-256 of the 44 bytes of id and secret: a slow hash
// would protect nothing, because 190 random bits cannot be guessed.
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"hash/crc32"
	"unsafe"
)

// Lengths of the parts of a token, in bytes.
const (
	IDLen     = 12
	SecretLen = 32
	SumLen    = 6
)

const (
	prefix   = "cardea_"
	kindLen  = 3
	bodyLen  = IDLen + SecretLen
	bodyAt   = len(prefix) + kindLen + 1
	sumAt    = bodyAt + bodyLen
	tokenLen = sumAt + SumLen
)

// Token is a parsed token; it refers to the text it was parsed from. It prints
// without its secret.
type Token struct {
	Kind string // one of [Kinds]
	// body is the first byte of id and secret. It is a pointer to one byte, so
	// that fmt shows an address even where it may not call methods, as in
	// another package's unexported field; a string or an array it would print.
	body *byte
}

// Parse reads a token and checks its sum, without allocating and without any
// look-up. Only the exact form is a token: nothing before, between or after.
func Parse(s string) (Token, bool) {
	if len(s) != tokenLen || !isHead(s) || !allDigits(s[bodyAt:]) {
		return Token{}, false
	}
	text := unsafe.Slice(unsafe.StringData(s), tokenLen) // read only: crc32 would make []byte(s) escape
	if number(s[sumAt:]) != uint64(crc32.ChecksumIEEE(text[:sumAt])) {
		return Token{}, false
	}
	return Token{Kind: s[len(prefix) : bodyAt-1], body: &text[bodyAt]}, true
}

// Peek returns the id that s has if it is a token, which only [Parse] can say;
// "" if it has not the length of one.
func Peek(s string) string {
	if len(s) != tokenLen {
		return ""
	}
	return s[bodyAt : bodyAt+IDLen]
}

// ID returns the credential's id, 12 base62 characters.
func (t Token) ID() string { return unsafe.String(t.body, IDLen) }

// Hash returns what is stored of the token: the SHA-256 of id and secret.
func (t Token) Hash() [32]byte { return sha256.Sum256(unsafe.Slice(t.body, bodyLen)) }

// Equal compares two hashes in constant time.
func Equal(a, b [32]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

// isHead reports whether s begins with "cardea_", a kind and "_".
func isHead(s string) bool {
	return len(s) >= bodyAt && s[:len(prefix)] == prefix && s[bodyAt-1] == '_' && isKind(s[len(prefix):bodyAt-1])
}

// Kinds lists the kinds of tokens: of a device, an API key, a personal access
// token, an application key, a session, and an OAuth client's secret.
func Kinds() []string { return []string{"dev", "api", "pat", "app", "ses", "sec"} }

func isKind(k string) bool {
	switch k {
	case "dev", "api", "pat", "app", "ses", "sec":
		return true
	}
	return false
}
