// Package ca checks requests for certificates and signs them.
package ca

import (
	"crypto"
	"crypto/x509"
	"math/big"
	"net/netip"
	"time"
)

// CA is a root and an issuing certificate, and the issuing key's signer.
type CA struct {
	Root    *x509.Certificate
	Issuing *x509.Certificate
	signer  crypto.Signer
}

// NewRoot and NewIssuing return the DER of a new root, of an issuing certificate under it.
func NewRoot(signer crypto.Signer, instance string, now time.Time) ([]byte, error) {
	panic("not yet")
}
func NewIssuing(pub crypto.PublicKey, root *x509.Certificate, rootSigner crypto.Signer, instance string, now time.Time) ([]byte, error) {
	panic("not yet")
}

// New returns a CA that signs with the issuing key.
func New(root, issuing []byte, signer crypto.Signer) (*CA, error) { panic("not yet") }

// NewSerial returns a random serial number: positive, at most 20 octets, at least 64 random bits (X04).
func NewSerial() (*big.Int, error) { panic("not yet") }

// SerialText is the form in which serial numbers are stored: lower-case hex.
func SerialText(n *big.Int) string { panic("not yet") }

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
type Linted struct{ leaf Leaf }

// Prepare checks a leaf against the profile.
func (c *CA) Prepare(l Leaf) (Linted, error) { panic("not yet") }

// Issue signs; it returns the DER form.
func (c *CA) Issue(l Linted) ([]byte, error) { panic("not yet") }

// ParseCSR reads a PKCS#10 request in PEM, checks its signature and its key, and returns the
// public key alone (X01, X02, X03). Errors are credential errors of kind Invalid on field "csr".
func ParseCSR(pem []byte) (crypto.PublicKey, error) { panic("not yet") }

// CredentialID returns the credential that a client certificate carries; false for any other certificate or an ill-formed one.
func CredentialID(cert *x509.Certificate) (string, bool) { panic("not yet") }

// Server issues a server certificate for names and addresses, for 90 days, backdated by 5 minutes.
func (c *CA) Server(pub crypto.PublicKey, names []string, addrs []netip.Addr, now time.Time) ([]byte, error) {
	panic("not yet")
}

// ClientPool returns the pool that client certificates are verified against.
func (c *CA) ClientPool() *x509.CertPool { panic("not yet") }

// Chain returns leaf and issuing certificate in PEM.
func (c *CA) Chain(leaf []byte) []byte { panic("not yet") }
