package jwt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
)

const (
	maxKeyID = 256 // octets of a kid
	maxChain = 10  // certificates of an x5c
)

// jwk is a public key as a JWK (RFC 7517) has it. Its members are in the order of the alphabet: those that are required
// are what RFC 7638 hashes.
type jwk struct {
	Alg string `json:"alg,omitempty"`
	Crv string `json:"crv,omitempty"`
	E   string `json:"e,omitempty"`
	Kid string `json:"kid,omitempty"`
	Kty string `json:"kty"`
	N   string `json:"n,omitempty"`
	Use string `json:"use,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
}

// bare returns the required members of a key (RFC 7638 section 3.2, RFC 8037 section 2).
func bare(pub crypto.PublicKey) (jwk, error) {
	enc := base64.RawURLEncoding.EncodeToString
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() {
			break
		}
		point, err := k.Bytes() // 4, then the two coordinates
		if err != nil {
			return jwk{}, fmt.Errorf("jwt: %w", err)
		}
		n := len(point) / 2
		return jwk{Kty: "EC", Crv: k.Curve.Params().Name, X: enc(point[1 : 1+n]), Y: enc(point[1+n:])}, nil
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return jwk{Kty: "OKP", Crv: "Ed25519", X: enc(k)}, nil
		}
	case *rsa.PublicKey:
		return jwk{Kty: "RSA", N: enc(k.N.Bytes()), E: enc(big.NewInt(int64(k.E)).Bytes())}, nil
	}
	return jwk{}, fmt.Errorf("jwt: %T is not a public key of P-256, P-384, Ed25519 or RSA", pub)
}

// Thumbprint returns the RFC 7638 thumbprint of a public key by SHA-256, in base64url.
func Thumbprint(pub crypto.PublicKey) (string, error) {
	k, err := bare(pub)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(k)
	if err != nil {
		return "", fmt.Errorf("jwt: %w", err)
	}
	return hashed(text), nil
}

// CertThumbprint returns the x5t#S256 of a certificate (RFC 8705 section 3.1).
func CertThumbprint(cert *x509.Certificate) string { return hashed(cert.Raw) }

func hashed(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Set returns the JWK set of the public keys of signers, each with kid, alg and use (J14: no private members).
// It refuses what [NewSigner] would not sign with, private keys included.
func Set(keys ...crypto.PublicKey) ([]byte, error) {
	set := struct {
		Keys []jwk `json:"keys"`
	}{make([]jwk, len(keys))}
	for i, pub := range keys {
		alg, err := signingAlg(pub)
		if err != nil {
			return nil, err
		}
		k, err := bare(pub)
		if err != nil {
			return nil, err
		}
		if k.Kid, err = Thumbprint(pub); err != nil {
			return nil, err
		}
		k.Alg, k.Use = alg.name, "sig"
		set.Keys[i] = k
	}
	return json.Marshal(set)
}

// noter is told what is wrong with a member of a JWK.
type noter func(member, why string)

// readKey reads a JWK as far as it is a public key that signatures are checked with. All that is wrong is noted, and then
// the key is no use; but for x5c, without which it is one.
func readKey(m members, note noter) Key {
	k := Key{ID: m.text("kid"), Alg: m.text("alg")}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, ok := m[name]; ok {
			note(name, "must not be there: it is part of a private or symmetric key, which is nobody else's to know. Replace the key, and send its public part alone")
		}
	}
	if raw, ok := m["kid"]; ok && (raw[0] != '"' || k.ID == "" || len(k.ID) > maxKeyID) {
		note("kid", fmt.Sprintf("must be a text of 1 to %d bytes", maxKeyID))
	}
	if _, ok := m["use"]; ok && m.text("use") != "sig" {
		note("use", `must be "sig", or left out`)
	}
	if _, ok := m["key_ops"]; ok && !slices.Contains(m.texts("key_ops"), "verify") {
		note("key_ops", `must have "verify" in it, or be left out`)
	}
	k.Public = readPublic(m, note)
	if _, ok := m["alg"]; ok && k.Public != nil {
		if a := algOf(k.Alg); a == nil || !a.fits(k.Public) {
			note("alg", fmt.Sprintf("must be one of %v that suits the key, or left out", fitting(k.Public)))
		}
	}
	if _, ok := m["x5c"]; ok && k.Public != nil {
		k.Certs = readChain(m, k.Public, note)
	}
	return k
}

// fitting lists the algorithms that a key can be used with.
func fitting(pub crypto.PublicKey) []string {
	var names []string
	for _, a := range algorithms {
		if a.fits(pub) {
			names = append(names, a.name)
		}
	}
	return names
}

// readPublic returns nil if something was noted.
func readPublic(m members, note noter) crypto.PublicKey {
	switch kty, crv := m.text("kty"), m.text("crv"); {
	case kty == "RSA":
		return readRSA(m, note)
	case kty == "EC" && crv == "P-256":
		return readEC(m, elliptic.P256(), note)
	case kty == "EC" && crv == "P-384":
		return readEC(m, elliptic.P384(), note)
	case kty == "EC":
		note("crv", "must be P-256 or P-384")
	case kty == "OKP" && crv == "Ed25519":
		return readEd25519(m, note)
	case kty == "OKP":
		note("crv", "must be Ed25519")
	default:
		note("kty", "must be EC, OKP or RSA")
	}
	return nil
}

// number returns a member that is octets in base64url.
func number(m members, name string) []byte {
	b, err := decode(m.text(name))
	if err != nil {
		return nil
	}
	return b
}

func readEC(m members, curve elliptic.Curve, note noter) crypto.PublicKey {
	size := (curve.Params().BitSize + 7) / 8
	x, y := number(m, "x"), number(m, "y")
	if len(x) != size {
		note("x", fmt.Sprintf("must be %d bytes in base64url", size))
	}
	if len(y) != size {
		note("y", fmt.Sprintf("must be %d bytes in base64url", size))
	}
	if len(x) != size || len(y) != size {
		return nil
	}
	k, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	if err != nil {
		note("x", "must be, with y, a point on the curve")
		return nil
	}
	return k
}

func readRSA(m members, note noter) crypto.PublicKey {
	n, e := new(big.Int).SetBytes(number(m, "n")), new(big.Int).SetBytes(number(m, "e"))
	switch bits := n.BitLen(); {
	case bits == 0 || n.Bit(0) == 0:
		note("n", "must be a modulus in base64url")
	case bits < minRSA || bits > maxRSA:
		note("n", fmt.Sprintf("must have %d to %d bits, and has %d", minRSA, maxRSA, bits))
	case e.BitLen() < 2 || e.BitLen() > 31 || e.Bit(0) == 0:
		note("e", "must be an odd number from 3 to 2147483647 in base64url")
	default:
		return &rsa.PublicKey{N: n, E: int(e.Int64())}
	}
	return nil
}

func readEd25519(m members, note noter) crypto.PublicKey {
	x := number(m, "x")
	if len(x) != ed25519.PublicKeySize {
		note("x", fmt.Sprintf("must be %d bytes in base64url", ed25519.PublicKeySize))
		return nil
	}
	if !soundPoint(x) {
		note("x", "must be a point on the curve, and not one of those that every signature can be made for")
		return nil
	}
	return ed25519.PublicKey(x)
}

// readChain reads x5c: certificates in base64, the first of which is the key's (RFC 7517 section 4.7).
func readChain(m members, pub crypto.PublicKey, note noter) []*x509.Certificate {
	list := m.texts("x5c")
	if len(list) == 0 || len(list) > maxChain {
		note("x5c", fmt.Sprintf("must be a list of 1 to %d certificates", maxChain))
		return nil
	}
	certs := make([]*x509.Certificate, len(list))
	for i, text := range list {
		der, err := base64.StdEncoding.DecodeString(text)
		if err == nil {
			certs[i], err = x509.ParseCertificate(der)
		}
		if err != nil {
			note(fmt.Sprintf("x5c[%d]", i), "must be a certificate: its DER in base64, not in base64url")
			return nil
		}
	}
	if k, ok := certs[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !k.Equal(pub) {
		note("x5c[0]", "must be a certificate of this very key")
		return nil
	}
	return certs
}

var (
	fieldPrime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19)) // RFC 8032 section 5.1
	// smallY is the y of the points of order 8: the order of the others is 1, 2 or 4, and their y is 1, -1 or 0.
	smallY, _ = new(big.Int).SetString("5fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826", 16)
)

// soundPoint reports whether 32 octets are the one form of a point of Ed25519, and not of small order: for those a signature that
// holds for many messages can be made without any secret (RFC 8032 section 5.1.3 for the form and the equation of the curve).
func soundPoint(octets []byte) bool {
	b := bytes.Clone(octets)
	b[31] &= 0x7f // the sign of x
	slices.Reverse(b)
	y := new(big.Int).SetBytes(b)
	if y.Cmp(fieldPrime) >= 0 {
		return false
	}
	one := big.NewInt(1)
	negative := new(big.Int).Sub(fieldPrime, y)
	for _, small := range []*big.Int{new(big.Int), one, smallY} {
		if y.Cmp(small) == 0 || negative.Cmp(small) == 0 {
			return false
		}
	}
	// x² = (y²-1)/(dy²+1), with d = -121665/121666, has a root just when (y²-1)·(1-121665/121666·y²) does, and that when this does:
	square := new(big.Int).Mul(y, y)
	u := new(big.Int).Sub(square, one)
	v := new(big.Int).Sub(big.NewInt(121666), new(big.Int).Mul(square, big.NewInt(121665)))
	u.Mul(u, v).Mul(u, big.NewInt(121666))
	return big.Jacobi(u.Mod(u, fieldPrime), fieldPrime) == 1
}
