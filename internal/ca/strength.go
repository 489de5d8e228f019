package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"math/big"
)

const (
	minRSA = 2048
	// maxRSA bounds what a handshake costs the server.
	maxRSA = 8192
	// fermatRounds finds primes that differ in their lower half only; 100 rounds as Boulder does.
	fermatRounds = 100
	// smallPrimes is the bound below which factors of a modulus are looked for, as Boulder does.
	smallPrimes = 752
)

// weakness says what is wrong with a public key, "" if it may be certified (X03).
func weakness(pub crypto.PublicKey) string {
	switch k := pub.(type) {
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return "is not an Ed25519 key"
		}
		return ""
	case *ecdsa.PublicKey:
		// ECDH knows P-256, P-384 and P-521, and refuses a point that is not on its curve.
		if _, err := k.ECDH(); err != nil {
			return "must be on the curve P-256, P-384 or P-521"
		}
		return ""
	case *rsa.PublicKey:
		return weakRSA(k)
	}
	return "must be an ECDSA, Ed25519 or RSA key"
}

func weakRSA(k *rsa.PublicKey) string {
	bits := k.N.BitLen()
	switch {
	case bits < minRSA:
		return fmt.Sprintf("is an RSA key of %d bits; at least %d are needed", bits, minRSA)
	case bits > maxRSA:
		return fmt.Sprintf("is an RSA key of %d bits; at most %d are taken", bits, maxRSA)
	case k.E < 65537 || k.E%2 == 0:
		return "is an RSA key whose exponent is even or below 65537"
	case hasSmallFactor(k.N):
		return "is an RSA key whose modulus has a small factor: make a new key pair"
	case fermat(k.N):
		return "is an RSA key whose primes are too close to each other: make a new key pair with another program"
	}
	return ""
}

func hasSmallFactor(n *big.Int) bool {
	if n.Bit(0) == 0 {
		return true
	}
	d, rest := new(big.Int), new(big.Int)
	for p := int64(3); p < smallPrimes; p += 2 {
		if rest.Mod(n, d.SetInt64(p)).Sign() == 0 {
			return true
		}
	}
	return false
}

// fermat reports whether Fermat's factorisation finds the odd n = (a-b)(a+b) within a few rounds from a = ⌈√n⌉.
func fermat(n *big.Int) bool {
	one := big.NewInt(1)
	a := new(big.Int).Sqrt(n)
	b2, b := new(big.Int), new(big.Int)
	if b2.Mul(a, a).Cmp(n) == 0 {
		return true
	}
	for range fermatRounds {
		a.Add(a, one)
		b2.Mul(a, a).Sub(b2, n)
		if b.Sqrt(b2); b.Mul(b, b).Cmp(b2) == 0 {
			return true
		}
	}
	return false
}
