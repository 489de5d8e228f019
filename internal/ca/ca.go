// Package ca checks requests for certificates and signs them.
//
// A root certificate, which signs nothing but issuing certificates, and one issuing
// certificate, which signs the leaves: client certificates that carry a credential's
// id, and server certificates for Cardea's own listeners. No leaf is both (X15).
//
// What a client certificate says is decided here and by the caller, never by the
// request: of a certificate request nothing but the public key is taken, and a
// request that asks for more is refused (X01). A leaf is linted first and signed
// after, and only what was linted can be signed:
//
//	linted, err := c.Prepare(ca.Leaf{Serial: n, Principal: "pump-1", Credential: id, …})
//	der, err := c.Issue(linted)
//
// Keys come as crypto.Signer; no private key but that of a [Listener] is ever seen here.
package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"cardea/internal/credential"
)

const (
	rootYears    = 10
	issuingYears = 5
	// caBackdate lets a leaf, which callers backdate by 5 minutes, lie within its issuer's validity from the first moment on.
	caBackdate = time.Hour
	maxCN      = 64 // ub-common-name, RFC 5280 appendix A.1
)

// CA is a root and an issuing certificate, and the issuing key's signer.
type CA struct {
	Root    *x509.Certificate
	Issuing *x509.Certificate
	signer  crypto.Signer
}

// NewRoot and NewIssuing return the DER of a new root, of an issuing certificate under it.
// The instance becomes part of the names, so that certificates of two installations can be told apart.
func NewRoot(signer crypto.Signer, instance string, now time.Time) ([]byte, error) {
	t, err := authorityTemplate("Cardea Root CA "+instance, signer.Public(), now, rootYears)
	if err != nil {
		return nil, err
	}
	t.MaxPathLen = 1
	t.AuthorityKeyId = t.SubjectKeyId
	return x509.CreateCertificate(rand.Reader, t, t, signer.Public(), signer)
}

// NewIssuing ends with its root at the latest.
func NewIssuing(pub crypto.PublicKey, root *x509.Certificate, rootSigner crypto.Signer, instance string, now time.Time) ([]byte, error) {
	t, err := authorityTemplate("Cardea Issuing CA "+instance, pub, now, issuingYears)
	if err != nil {
		return nil, err
	}
	t.MaxPathLenZero = true
	if t.NotAfter.After(root.NotAfter) {
		t.NotAfter = root.NotAfter
	}
	if t.NotBefore.Before(root.NotBefore) {
		t.NotBefore = root.NotBefore
	}
	if !t.NotBefore.Before(t.NotAfter) {
		return nil, credential.Errorf(credential.Conflict, "the root certificate ended on %s: make a new one first", root.NotAfter.Format(time.DateOnly))
	}
	return x509.CreateCertificate(rand.Reader, t, root, pub, rootSigner)
}

func authorityTemplate(cn string, pub crypto.PublicKey, now time.Time, years int) (*x509.Certificate, error) {
	if why := checkCN(cn); why != "" {
		return nil, &credential.Error{Kind: credential.Invalid, Fields: []credential.FieldError{{Field: "instance", Message: why}}}
	}
	if why := weakness(pub); why != "" {
		return nil, &credential.Error{Kind: credential.Invalid, Fields: []credential.FieldError{{Field: "public_key", Message: why}}}
	}
	id, err := keyID(pub)
	if err != nil {
		return nil, err
	}
	serial, err := NewSerial()
	if err != nil {
		return nil, err
	}
	now = now.UTC().Truncate(time.Second)
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: cn},
		SubjectKeyId:          id,
		NotBefore:             now.Add(-caBackdate),
		NotAfter:              now.AddDate(years, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, nil
}

func checkCN(cn string) string {
	if len(cn) > maxCN {
		return fmt.Sprintf("is too long: with it the common name %q has more than %d bytes", cn, maxCN)
	}
	for i := range len(cn) {
		if cn[i] < ' ' || cn[i] > '~' {
			return "may contain only printable ASCII characters"
		}
	}
	return ""
}

// keyID is method 1 of RFC 7093, section 2: the leftmost 160 bits of the SHA-256 of the public key's bits.
func keyID(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(info.Key.Bytes)
	return sum[:20], nil
}

// New returns a CA that signs with the issuing key. It refuses certificates that do not belong
// together, or to the key; that they may have ended is not its business.
func New(root, issuing []byte, signer crypto.Signer) (*CA, error) {
	c := &CA{signer: signer}
	var err error
	if c.Root, err = x509.ParseCertificate(root); err != nil {
		return nil, broken("the root certificate cannot be read", err)
	}
	if c.Issuing, err = x509.ParseCertificate(issuing); err != nil {
		return nil, broken("the issuing certificate cannot be read", err)
	}
	if err := c.Root.CheckSignatureFrom(c.Root); err != nil {
		return nil, broken("the root certificate is not signed by itself", err)
	}
	if err := c.Issuing.CheckSignatureFrom(c.Root); err != nil {
		return nil, broken("the issuing certificate is not signed by the root", err)
	}
	if !c.Issuing.IsCA || !samePublic(c.Issuing.PublicKey, signer.Public()) {
		return nil, broken("the issuing certificate does not belong to the issuing key", nil)
	}
	return c, nil
}

func broken(what string, err error) error {
	return &credential.Error{Kind: credential.Down, Message: what + ": restore the database from a backup", Err: err}
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// NewSerial returns a random serial number: positive, at most 20 octets, at least 64 random bits (X04).
// It has 16 octets and 126 random bits; the highest is clear, which makes it positive, and the next set, which
// makes all of the same length.
func NewSerial() (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b), nil
}

// SerialText is the form in which serial numbers are stored: lower-case hex.
func SerialText(n *big.Int) string { return n.Text(16) }

// ClientPool returns the pool that client certificates are verified against. The issuing certificate is in it too,
// so that a client that sends its leaf alone is understood.
func (c *CA) ClientPool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c.Root)
	p.AddCert(c.Issuing)
	return p
}

// Chain returns leaf and issuing certificate in PEM.
func (c *CA) Chain(leaf []byte) []byte {
	out := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf})
	return append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Issuing.Raw})...)
}
