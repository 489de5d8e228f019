package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// Scheme is how another system hashed the tokens that are imported from it.
type Scheme string

// The schemes. A token of a fast one is found by its hash; one of a slow one by
// a public part of the token, see [IDPart], and then compared by [VerifyHash].
const (
	SHA256     Scheme = "sha256"
	SHA512     Scheme = "sha512"
	HMACSHA256 Scheme = "hmac-sha256" // with a key of the other system
	Bcrypt     Scheme = "bcrypt"
	Argon2id   Scheme = "argon2id"
)

// Schemes lists all of them, the fast ones first.
func Schemes() []Scheme { return []Scheme{SHA256, SHA512, HMACSHA256, Bcrypt, Argon2id} }

// Valid reports whether s is a scheme.
func (s Scheme) Valid() bool { return s.Fast() || s == Bcrypt || s == Argon2id }

// Fast reports whether s takes microseconds. It protects only tokens that
// nobody can guess: at least [MinBits], see [Bits].
func (s Scheme) Fast() bool { return s.digestLen() > 0 }

// digestLen is the number of bytes of a fast scheme's digest; 0 for the others.
func (s Scheme) digestLen() int {
	switch s {
	case SHA256, HMACSHA256:
		return sha256.Size
	case SHA512:
		return sha512.Size
	}
	return 0
}

// Digest returns what a fast scheme makes of a token; nil if s is not fast. Only
// hmac-sha256 looks at the key.
func (s Scheme) Digest(key []byte, token string) []byte {
	switch s {
	case SHA256:
		d := sha256.Sum256([]byte(token))
		return d[:]
	case SHA512:
		d := sha512.Sum512([]byte(token))
		return d[:]
	case HMACSHA256:
		m := hmac.New(sha256.New, key)
		_, _ = m.Write([]byte(token)) // a hash does not fail
		return m.Sum(nil)
	}
	return nil
}

// ParseDigest reads a digest of a fast scheme as other systems write it: hex of
// any case, or base64 with the digits of either alphabet, padded or not. It has exactly
// the scheme's length, and nothing around it. The error is a message for its
// field and does not hold the text.
func ParseDigest(s Scheme, text string) ([]byte, error) {
	n := s.digestLen()
	if n == 0 {
		return nil, fmt.Errorf("is no digest of a fast scheme: %s, %s or %s", SHA256, SHA512, HMACSHA256)
	}
	if len(text) == hex.EncodedLen(n) {
		if d, err := hex.DecodeString(text); err == nil {
			return d, nil
		}
	}
	if d, ok := decode64(text); ok && len(d) == n {
		return d, nil
	}
	return nil, fmt.Errorf("is no digest of %s: %d characters of hex, or %d of base64 without padding", s, hex.EncodedLen(n), base64.RawStdEncoding.EncodedLen(n))
}

// decode64 reads base64 of either alphabet, but not of both, and with all of the padding or none.
func decode64(text string) ([]byte, bool) {
	if strings.ContainsAny(text, "\r\n") { // the decoder would pass over them
		return nil, false
	}
	form := base64.RawStdEncoding
	switch padded, url := strings.HasSuffix(text, "="), strings.ContainsAny(text, "-_"); {
	case padded && url:
		form = base64.URLEncoding
	case padded:
		form = base64.StdEncoding
	case url:
		form = base64.RawURLEncoding
	}
	d, err := form.Strict().DecodeString(text)
	return d, err == nil
}

// ForeignHash returns what is stored of a digest: what an imported token is
// found by, and what it is compared with by [Equal]. The digest itself is not kept,
// since it may stand in other systems' files.
func ForeignHash(s Scheme, digest []byte) [32]byte {
	return labelled("cardea foreign token", string(s), digest)
}

// IDHash returns what a token with a slow hash is found by: the hash of its
// public part, see [IDPart], among the tokens of one format.
func IDHash(format, id string) [32]byte { return labelled("cardea foreign id", format, []byte(id)) }

// labelled is the SHA-256 of parts that cannot run into each other: each has its length before it.
func labelled(label, name string, data []byte) [32]byte {
	var b []byte
	for _, part := range [...]string{label, name, string(data)} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	return sha256.Sum256(b)
}

// maxID bounds the public part of a foreign token in bytes.
const maxID = 128

// IDPart returns the public part of a foreign token, by which it is looked up.
// It follows the prefix, and is idLen bytes long or ends before the separator;
// with both it must do both. Something must be left of the token behind it: the
// secret. Without idLen and separator no token has an id.
func IDPart(token, prefix string, idLen int, separator string) (id string, ok bool) {
	text, ok := strings.CutPrefix(token, prefix)
	if !ok || idLen < 0 || idLen == 0 && separator == "" {
		return "", false
	}
	var secret string
	switch {
	case separator == "" && idLen < len(text):
		id, secret = text[:idLen], text[idLen:]
	case separator != "":
		if id, secret, ok = strings.Cut(text, separator); !ok || idLen > 0 && len(id) != idLen {
			return "", false
		}
	}
	if id == "" || len(id) > maxID || secret == "" {
		return "", false
	}
	return id, true
}
