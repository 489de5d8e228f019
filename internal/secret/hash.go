package secret

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// What new hashes cost: 19 MiB, two passes, one lane (OWASP's first choice for
// argon2id), about 40 ms.
const (
	hashMemory  = 19456 // KiB
	hashTime    = 2
	hashThreads = 1
	saltLen     = 16
	keyLen      = 32
)

// What a hash that comes from elsewhere may cost, and how short its parts may
// be. What is beyond would let an import stop the server, or let guesses match.
const (
	maxMemory  = 256 << 10 // KiB
	maxTime    = 16
	maxThreads = 16
	maxCost    = 14 // bcrypt: about a second
	maxHashLen = 256
)

// HashPassword returns the argon2id hash of a text, in PHC form, with a salt of
// its own. A password must have gone through [PreparePassword] before. It takes
// its turn with all slow hashes of the process; the error is of kind Down if
// too many wait or ctx ends before, else the random source's (K08).
func HashPassword(ctx context.Context, text string) (phc string, err error) {
	return hashPassword(ctx, rand.Reader, text)
}

func hashPassword(ctx context.Context, random io.Reader, text string) (string, error) {
	h := argonHash{hashMemory, hashTime, hashThreads, make([]byte, saltLen), nil}
	if _, err := io.ReadFull(random, h.salt); err != nil {
		return "", fmt.Errorf("secret: the random source does not answer: %w", err)
	}
	if err := hashing.do(ctx, func() { h.key = h.derive(text, keyLen) }); err != nil {
		return "", err
	}
	return h.String(), nil
}

// VerifyHash reports whether phc is the hash of a text: argon2id in PHC form,
// or bcrypt. It takes its turn as [HashPassword] does. What [CheckHash] refuses
// is an error, and is never computed.
//
// Of more than 72 bytes bcrypt sees the first 72 only. Such a text does not
// match, for what would be left of it may be public: the prefix and the id of a
// token. The work is done all the same.
func VerifyHash(ctx context.Context, phc, text string) (ok bool, err error) {
	h, err := parseHash(phc)
	if err != nil {
		return false, fmt.Errorf("secret: a stored hash %w", err)
	}
	err = hashing.do(ctx, func() { ok = h.matches(text) })
	return ok && err == nil, err
}

// CheckHash says what is wrong with a hash that is to be imported, as a message
// for its field; nil if [VerifyHash] takes it. The message does not hold the hash.
func CheckHash(phc string) error {
	_, err := parseHash(phc)
	return err
}

// NoHash returns a hash that no text matches and that costs as much as one of
// [HashPassword]: who asks for an unknown user waits as long as for another (E02).
func NoHash() string { return noPassword }

// noPassword has the key that is all zeros. To find a text that has it is to
// find a preimage.
var noPassword = argonHash{hashMemory, hashTime, hashThreads, make([]byte, saltLen), make([]byte, keyLen)}.String()

// slowHash is a hash of a text that takes long to compute.
type slowHash interface{ matches(text string) bool }

func parseHash(phc string) (slowHash, error) {
	switch {
	case len(phc) > maxHashLen:
		return nil, fmt.Errorf("is longer than %d bytes", maxHashLen)
	case strings.HasPrefix(phc, "$argon2id$"):
		return parseArgon(phc)
	case strings.HasPrefix(phc, "$2a$"), strings.HasPrefix(phc, "$2b$"), strings.HasPrefix(phc, "$2y$"):
		return parseBcrypt(phc)
	}
	return nil, errors.New("is neither argon2id in PHC form ($argon2id$v=19$m=…,t=…,p=…$salt$hash) nor bcrypt ($2a$, $2b$ or $2y$)")
}

// argonHash is argon2id (RFC 9106), version 1.3.
type argonHash struct {
	memory, time, threads uint32 // memory in KiB
	salt, key             []byte
}

// phc64 is the base64 of the PHC form: the standard digits without padding.
var phc64 = base64.RawStdEncoding.Strict()

func (h argonHash) String() string {
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", h.memory, h.time, h.threads, phc64.EncodeToString(h.salt), phc64.EncodeToString(h.key))
}

func (h argonHash) derive(text string, n int) []byte {
	return argon2.IDKey([]byte(text), h.salt, h.time, h.memory, uint8(h.threads), uint32(n))
}

func (h argonHash) matches(text string) bool {
	return subtle.ConstantTimeCompare(h.key, h.derive(text, len(h.key))) == 1
}

func parseArgon(phc string) (slowHash, error) {
	parts := strings.Split(phc, "$") // "", argon2id, v, parameters, salt, key
	if len(parts) != 6 || parts[2] != "v=19" {
		return nil, errors.New("is not argon2id of version 19 in PHC form: $argon2id$v=19$m=…,t=…,p=…$salt$hash")
	}
	var h argonHash
	params := strings.Split(parts[3], ",")
	if len(params) != 3 || !parameter(params[0], "m=", &h.memory) || !parameter(params[1], "t=", &h.time) || !parameter(params[2], "p=", &h.threads) {
		return nil, errors.New("has other parameters than m, t and p, each a number, in this order")
	}
	switch {
	case h.threads < 1 || h.threads > maxThreads:
		return nil, fmt.Errorf("has p out of bounds: 1 to %d", maxThreads)
	case h.time < 1 || h.time > maxTime:
		return nil, fmt.Errorf("has t out of bounds: 1 to %d", maxTime)
	case h.memory < 8*h.threads || h.memory > maxMemory:
		return nil, fmt.Errorf("has m out of bounds: 8 times p to %d KiB", maxMemory)
	}
	var ok bool
	if h.salt, ok = between(parts[4], 8, 64); !ok {
		return nil, errors.New("has a salt that is not 8 to 64 bytes in base64 without padding")
	}
	if h.key, ok = between(parts[5], 16, 64); !ok {
		return nil, errors.New("has a hash that is not 16 to 64 bytes in base64 without padding")
	}
	return h, nil
}

// parameter reads "m=19456" as it is written: no sign, no zero before it.
func parameter(s, name string, into *uint32) bool {
	digits, ok := strings.CutPrefix(s, name)
	n, err := strconv.ParseUint(digits, 10, 32)
	*into = uint32(n)
	return ok && err == nil && strconv.FormatUint(n, 10) == digits
}

// between decodes base64 of at least low and at most high bytes.
func between(s string, low, high int) ([]byte, bool) {
	if strings.ContainsAny(s, "\r\n") { // the decoder would pass over them
		return nil, false
	}
	b, err := phc64.DecodeString(s)
	return b, err == nil && len(b) >= low && len(b) <= high
}

// bcryptHash is bcrypt in its text form; its variants differ in what they are called alone.
type bcryptHash string

const (
	bcryptLen    = 60 // $2b$, cost, $, 22 digits of salt and 31 of the hash
	bcryptDigits = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	bcryptMax    = 72 // bytes of a text that bcrypt sees
)

func (h bcryptHash) matches(text string) bool {
	seen := text[:min(len(text), bcryptMax)]
	ok := bcrypt.CompareHashAndPassword([]byte(h), []byte(seen)) == nil
	return ok && len(text) <= bcryptMax
}

func parseBcrypt(phc string) (slowHash, error) {
	if len(phc) != bcryptLen || phc[6] != '$' || strings.Trim(phc[7:], bcryptDigits) != "" {
		return nil, errors.New("is not bcrypt: $2b$, two digits of cost, $ and 53 characters")
	}
	cost, err := strconv.ParseUint(phc[4:6], 10, 8)
	if err != nil || cost < uint64(bcrypt.MinCost) || cost > maxCost {
		return nil, fmt.Errorf("has a cost of bcrypt out of bounds: %02d to %d", bcrypt.MinCost, maxCost)
	}
	return bcryptHash(phc), nil
}
