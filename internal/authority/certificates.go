package authority

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"cardea/internal/ca"
	"cardea/internal/credential"
	"cardea/internal/secret"
)

// backdate is how far before now a certificate begins, for devices whose clock is behind (D10).
const backdate = 5 * time.Minute

// publicKey is what a certificate is for: that of a request, or nil for a key pair that Cardea makes.
type publicKey struct{ of crypto.PublicKey }

// readCSR reads a request for a certificate; an empty one means that Cardea shall make the key pair.
func readCSR(p *credential.Problems, field string, csr []byte) *publicKey {
	if len(csr) == 0 {
		return &publicKey{}
	}
	pub, err := ca.ParseCSR(csr)
	if err != nil {
		addFields(p, field, err)
		return nil
	}
	return &publicKey{pub}
}

// addFields takes over what another package found wrong, under this request's name of the field.
func addFields(p *credential.Problems, field string, err error) {
	e, ok := errors.AsType[*credential.Error](err)
	if !ok {
		p.Add(field, "cannot be read")
		return
	}
	if len(e.Fields) == 0 {
		p.Add(field, "%s", e.Public())
	}
	for _, f := range e.Fields {
		p.Add(field, "%s", f.Message)
	}
}

// leafWish is what a certificate shall say.
type leafWish struct {
	principal  string // name
	credential string // ID
	notBefore  time.Time
	until      time.Time
}

// leaf is a signed certificate that no credential holds yet.
type leaf struct {
	der     []byte
	chain   []byte // PEM
	serial  string
	ends    time.Time // its NotAfter, in whole seconds
	key     secret.Text
	warning string
}

// sign makes a certificate. Its serial number is stored and durable before
// anything is signed, so that whatever happens after, it is known (X06). Until a credential
// holds it the certificate is valid nowhere; the caller settles the serial in the same
// change in which the credential takes it, and [Authority.Sweep] settles those that were abandoned.
func (a *Authority) sign(ctx context.Context, ch *change, key *publicKey, w leafWish) (leaf, error) {
	pub, private, err := key.orNew()
	if err != nil {
		return leaf{}, err
	}
	from := w.notBefore
	if !from.After(ch.at) {
		from = ch.at.Add(-backdate)
	}
	l := ca.Leaf{Principal: w.principal, Credential: w.credential, PublicKey: pub, NotBefore: from, NotAfter: w.until}
	if l.Serial, err = ca.NewSerial(); err != nil {
		return leaf{}, err
	}
	serial := ca.SerialText(l.Serial)
	linted, err := a.ca.Prepare(l)
	if err != nil {
		return leaf{}, err
	}
	reserve := credential.ReserveSerial{Serial: credential.Serial{Serial: serial, For: w.principal, ReservedAt: ch.at}}
	if _, err := a.store.Commit(ctx, credential.Change{Ops: []credential.Op{reserve}}); err != nil {
		return leaf{}, err
	}
	der, err := a.ca.Issue(linted)
	if err != nil {
		return leaf{}, err
	}
	out := leaf{der: der, chain: a.ca.Chain(der), serial: serial, ends: linted.NotAfter(), key: private}
	if linted.Clipped() {
		out.warning = fmt.Sprintf("it ends at %s, earlier than asked for, because the certificate that signs it ends then", out.ends.Format(time.RFC3339))
	}
	return out, nil
}

// orNew returns the public key of the request, or that of a new key pair with its private key in PEM.
func (k *publicKey) orNew() (crypto.PublicKey, secret.Text, error) {
	if k.of != nil {
		return k.of, secret.Text{}, nil
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, secret.Text{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, secret.Text{}, err
	}
	defer clear(der)
	return private.Public(), secret.NewText(string(encodePEM("PRIVATE KEY", der))), nil
}

// proof is version n of the credential that the certificate is of.
func (l *leaf) proof(n int, now time.Time) credential.Proof {
	sum := sha256.Sum256(l.der)
	return credential.Proof{N: n, Hash: sum[:], Serial: l.serial, CreatedAt: now}
}

// into puts what is shown once into an answer.
func (l *leaf) into(is *Issued) {
	is.Certificate, is.PrivateKey = l.chain, l.key
	if l.warning != "" {
		is.Warnings = append(is.Warnings, l.warning)
	}
}

func encodePEM(typ string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
}
