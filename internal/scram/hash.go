package scram

import (
	"crypto/sha256"
	"crypto/sha512"
	"hash"

	"cardea/internal/credential"
)

// Hash is the hash that a method of SCRAM is built on. Its zero value is none, and must not be used.
type Hash uint8

// The hashes.
const (
	SHA256 Hash = iota + 1
	SHA512
)

// Names of methods. The second half is for a client that binds the login to its TLS connection.
const (
	method256 = "SCRAM-SHA-256"
	method512 = "SCRAM-SHA-512"
	plus256   = method256 + "-PLUS"
	plus512   = method512 + "-PLUS"
)

// HashOf returns the hash of an algorithm as credentials and authenticators name it.
func HashOf(algorithm string) (Hash, bool) {
	switch algorithm {
	case credential.SHA256:
		return SHA256, true
	case credential.SHA512:
		return SHA512, true
	}
	return 0, false
}

// ParseMethod reads the name of a method, as it is registered: upper case. Of one that is not SCRAM's, or is on
// another hash, ok is false.
func ParseMethod(name string) (h Hash, plus, ok bool) {
	switch name {
	case method256:
		return SHA256, false, true
	case method512:
		return SHA512, false, true
	case plus256:
		return SHA256, true, true
	case plus512:
		return SHA512, true, true
	}
	return 0, false, false
}

// Algorithm is the opposite of [HashOf].
func (h Hash) Algorithm() string {
	if h == SHA512 {
		return credential.SHA512
	}
	return credential.SHA256
}

// Method is the opposite of [ParseMethod].
func (h Hash) Method(plus bool) string {
	switch {
	case h == SHA512 && plus:
		return plus512
	case h == SHA512:
		return method512
	case plus:
		return plus256
	}
	return method256
}

// Size is the length of a proof and of a key, in bytes.
func (h Hash) Size() int {
	if h == SHA512 {
		return sha512.Size
	}
	return sha256.Size
}

func (h Hash) new() hash.Hash {
	if h == SHA512 {
		return sha512.New()
	}
	return sha256.New()
}
