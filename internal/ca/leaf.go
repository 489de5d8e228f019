package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/url"
	"slices"
	"time"

	"cardea/internal/credential"
)

// Leaf asks for a client certificate. What it says is the server's, never the request's (X01).
type Leaf struct {
	Serial     *big.Int
	Principal  string // common name
	Credential string // ID; carried as URI urn:cardea:credential:ID
	PublicKey  crypto.PublicKey
	NotBefore  time.Time
	NotAfter   time.Time // clipped to the issuing certificate's end; the result says so (X05)
}

// Linted is a leaf that was checked; only Prepare makes one and only Issue takes it.
type Linted struct {
	leaf    Leaf
	keyID   []byte
	clipped bool
	by      *CA
}

// NotAfter returns the end that the certificate will have, to the second.
func (l Linted) NotAfter() time.Time { return l.leaf.NotAfter }

// Clipped reports whether that is earlier than asked for, because the issuing certificate ends then.
func (l Linted) Clipped() bool { return l.clipped }

// Prepare checks a leaf against the profile. Errors are of kind Invalid and list everything that is wrong; Conflict if
// the issuing certificate leaves no time at all.
func (c *CA) Prepare(l Leaf) (Linted, error) {
	var p credential.Problems
	if why := credential.CheckName(l.Principal); why != "" {
		p.Add("principal", "%s", why)
	}
	if !validID(l.Credential) {
		p.Add("credential", "must be 12 letters and digits")
	}
	if why := checkSerial(l.Serial); why != "" {
		p.Add("serial", "%s", why)
	}
	if why := weakness(l.PublicKey); why != "" {
		p.Add("public_key", "%s", why)
	} else if samePublic(l.PublicKey, c.Issuing.PublicKey) || samePublic(l.PublicKey, c.Root.PublicKey) {
		p.Add("public_key", "is the certificate authority's own")
	}
	l.NotBefore, l.NotAfter = seconds(l.NotBefore), seconds(l.NotAfter)
	if !l.NotBefore.Before(l.NotAfter) {
		p.Add("expires_at", "must be after the certificate's begin")
	}
	if l.NotBefore.Before(c.Issuing.NotBefore) {
		p.Add("not_before", "is before the issuing certificate's begin, %s: is the clock right?", c.Issuing.NotBefore.Format(time.RFC3339))
	}
	if err := p.Err(); err != nil {
		return Linted{}, err
	}
	clipped := l.NotAfter.After(c.Issuing.NotAfter)
	if clipped {
		l.NotAfter = c.Issuing.NotAfter
	}
	if !l.NotBefore.Before(l.NotAfter) {
		return Linted{}, credential.Errorf(credential.Conflict, "the issuing certificate ended on %s: make a new one first", c.Issuing.NotAfter.Format(time.DateOnly))
	}
	id, err := keyID(l.PublicKey)
	if err != nil {
		return Linted{}, err
	}
	l.Serial = new(big.Int).Set(l.Serial)
	return Linted{leaf: l, keyID: id, clipped: clipped, by: c}, nil
}

// seconds is what a certificate keeps of a time.
func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// checkSerial wants what NewSerial gives: RFC 5280 section 4.1.2.2 and CA/Browser Forum BR 7.1.
func checkSerial(n *big.Int) string {
	switch {
	case n == nil:
		return "is missing"
	case n.Sign() <= 0:
		return "must be positive"
	case n.BitLen() < 64:
		return "has fewer than 64 bits"
	case n.BitLen() > 159:
		return "is longer than 20 octets"
	}
	return ""
}

// Issue signs; it returns the DER form.
func (c *CA) Issue(l Linted) ([]byte, error) {
	if l.by != c {
		return nil, credential.Errorf(credential.Internal, "the leaf was not prepared by this certificate authority")
	}
	t := &x509.Certificate{
		SerialNumber: l.leaf.Serial,
		Subject:      pkix.Name{CommonName: l.leaf.Principal},
		URIs:         []*url.URL{{Scheme: "urn", Opaque: "cardea:credential:" + l.leaf.Credential}},
		SubjectKeyId: l.keyID,
		NotBefore:    l.leaf.NotBefore,
		NotAfter:     l.leaf.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		// Written out as CA:FALSE, so that nobody has to know the default.
		BasicConstraintsValid: true,
	}
	return x509.CreateCertificate(rand.Reader, t, c.Issuing, l.leaf.PublicKey, c.signer)
}

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// sanPrefix is the DER of a subjectAltName that holds exactly one name, a URI of 34 octets, up to the credential's id.
// DER has one encoding for a value, so comparing octets is the strictest parser there is: no second
// name, no fragment, no escape, no other case.
const sanPrefix = "\x30\x24\x86\x22urn:cardea:credential:"

// CredentialID returns the credential that a client certificate carries; false for any other certificate or an ill-formed one.
// Whether the certificate is genuine, and in time, is what TLS must have verified before.
func CredentialID(cert *x509.Certificate) (string, bool) {
	if cert.IsCA || !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) || len(cert.UnknownExtKeyUsage) > 0 {
		return "", false
	}
	// X16: the name goes to logs, headers and rules elsewhere.
	if len(cert.Subject.Names) != 1 || credential.CheckName(cert.Subject.CommonName) != "" {
		return "", false
	}
	for _, e := range cert.Extensions {
		if !e.Id.Equal(oidSubjectAltName) {
			continue
		}
		if len(e.Value) != len(sanPrefix)+12 || string(e.Value[:len(sanPrefix)]) != sanPrefix {
			return "", false
		}
		id := string(e.Value[len(sanPrefix):])
		return id, validID(id)
	}
	return "", false
}

func validID(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < '0' || c > '9' && c < 'A' || c > 'Z' && c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}
