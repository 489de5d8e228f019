package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Sizes of RSA keys. Below is weak (RFC 7518 section 3.3); above only costs the one who checks.
const (
	minRSA = 2048 // bits
	maxRSA = 4096
)

// algorithm is how a kind of key signs and is checked.
type algorithm struct {
	name string
	fits func(crypto.PublicKey) bool
	sign func(key crypto.Signer, input []byte) ([]byte, error) // nil: only checked
	// holds reports whether sig is key's over input. The key must fit.
	holds func(key crypto.PublicKey, input, sig []byte) bool
}

// algorithms are all there are: whatever else a token names is refused (J01).
var algorithms = []algorithm{
	{"ES256", isCurve(elliptic.P256()), signECDSA, holdsECDSA(crypto.SHA256)},
	{"ES384", isCurve(elliptic.P384()), nil, holdsECDSA(crypto.SHA384)},
	{"EdDSA", isEd25519, signEd25519, holdsEd25519},
	{"RS256", isRSA, signRSA, holdsRSA},
	{"PS256", isRSA, nil, holdsPSS},
}

// Algs lists the algorithms whose signatures are checked, by their names of RFC 7518 and 8037.
func Algs() []string {
	names := make([]string, len(algorithms))
	for i, a := range algorithms {
		names[i] = a.name
	}
	return names
}

// algOf returns the algorithm of a name; nil if there is none.
func algOf(name string) *algorithm {
	for i := range algorithms {
		if algorithms[i].name == name {
			return &algorithms[i]
		}
	}
	return nil
}

// signingAlg returns what a key signs by. It is the first that fits, so that an RSA key has RS256.
func signingAlg(pub crypto.PublicKey) (*algorithm, error) {
	for i := range algorithms {
		if a := &algorithms[i]; a.sign != nil && a.fits(pub) {
			return a, nil
		}
	}
	return nil, fmt.Errorf("jwt: %T is not a public key of P-256, Ed25519, or RSA with %d to %d bits", pub, minRSA, maxRSA)
}

func isCurve(curve elliptic.Curve) func(crypto.PublicKey) bool {
	return func(pub crypto.PublicKey) bool {
		k, ok := pub.(*ecdsa.PublicKey)
		return ok && k.Curve == curve
	}
}

func isEd25519(pub crypto.PublicKey) bool {
	k, ok := pub.(ed25519.PublicKey)
	return ok && len(k) == ed25519.PublicKeySize
}

func isRSA(pub crypto.PublicKey) bool {
	k, ok := pub.(*rsa.PublicKey)
	return ok && k.N.BitLen() >= minRSA && k.N.BitLen() <= maxRSA
}

const half = 32 // octets of each of the two numbers of an ES256 signature

// signECDSA returns r and s, each in 32 octets, which is what RFC 7518 section 3.4 wants in the place of ASN.1.
func signECDSA(key crypto.Signer, input []byte) ([]byte, error) {
	digest := sha256.Sum256(input)
	der, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("jwt: %w", err)
	}
	var a, b []byte
	outer := cryptobyte.String(der)
	var inner cryptobyte.String
	if !outer.ReadASN1(&inner, asn1.SEQUENCE) || !outer.Empty() ||
		!inner.ReadASN1Integer(&a) || !inner.ReadASN1Integer(&b) || !inner.Empty() ||
		len(a) > half || len(b) > half {
		return nil, errors.New("jwt: the signer returned no ECDSA signature on P-256")
	}
	sig := make([]byte, 2*half)
	copy(sig[half-len(a):], a)
	copy(sig[2*half-len(b):], b)
	return sig, nil
}

func signEd25519(key crypto.Signer, input []byte) ([]byte, error) {
	sig, err := key.Sign(rand.Reader, input, crypto.Hash(0))
	if err != nil {
		return nil, fmt.Errorf("jwt: %w", err)
	}
	return sig, nil
}

func signRSA(key crypto.Signer, input []byte) ([]byte, error) {
	digest := sha256.Sum256(input)
	sig, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("jwt: %w", err)
	}
	return sig, nil
}

func holdsECDSA(hash crypto.Hash) func(crypto.PublicKey, []byte, []byte) bool {
	return func(pub crypto.PublicKey, input, sig []byte) bool {
		var digest []byte
		if hash == crypto.SHA256 {
			sum := sha256.Sum256(input)
			digest = sum[:]
		} else {
			sum := sha512.Sum384(input)
			digest = sum[:]
		}
		if len(sig) != 2*len(digest) { // on both curves a number has as many octets as the digest
			return false
		}
		der, err := toASN1(sig[:len(digest)], sig[len(digest):])
		return err == nil && ecdsa.VerifyASN1(pub.(*ecdsa.PublicKey), digest, der)
	}
}

// toASN1 is what the standard library takes, of two numbers in big-endian octets.
func toASN1(r, s []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addNumber(b, r)
		addNumber(b, s)
	})
	return b.Bytes()
}

func addNumber(b *cryptobyte.Builder, n []byte) {
	for len(n) > 1 && n[0] == 0 {
		n = n[1:]
	}
	b.AddASN1(asn1.INTEGER, func(b *cryptobyte.Builder) {
		if n[0] >= 0x80 {
			b.AddUint8(0)
		}
		b.AddBytes(n)
	})
}

func holdsEd25519(pub crypto.PublicKey, input, sig []byte) bool {
	return ed25519.Verify(pub.(ed25519.PublicKey), input, sig)
}

func holdsRSA(pub crypto.PublicKey, input, sig []byte) bool {
	digest := sha256.Sum256(input)
	return rsa.VerifyPKCS1v15(pub.(*rsa.PublicKey), crypto.SHA256, digest[:], sig) == nil
}

// holdsPSS: the salt has as many octets as the hash (RFC 7518 section 3.5).
func holdsPSS(pub crypto.PublicKey, input, sig []byte) bool {
	digest := sha256.Sum256(input)
	return rsa.VerifyPSS(pub.(*rsa.PublicKey), crypto.SHA256, digest[:], sig, &rsa.PSSOptions{SaltLength: sha256.Size}) == nil
}
