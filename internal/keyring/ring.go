package keyring

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"cardea/internal/credential"
)

const (
	purposeData = "data"
	ringVersion = 1
	// signerPrefix begins the records of signing keys, which Seal and Open do not serve: a private key
	// comes out of this package as a crypto.Signer only.
	signerPrefix = "key/"
	// secretPrefix begins the records of Cardea's own secrets, which only Secret opens.
	secretPrefix = "secret/"
)

// Ring opens and seals with the data keys of the database. It never changes, and is safe for concurrent use.
type Ring struct {
	keys    map[string][]byte
	current string // id of the key that seals; "" if there is none
}

// New opens the data keys among keys; the others are ignored. The newest that is not retired seals, all open.
func New(k *Keystore, keys []credential.Key) (*Ring, error) {
	r := &Ring{keys: map[string][]byte{}}
	var newest credential.Key
	for _, key := range keys {
		if key.Purpose != purposeData {
			continue
		}
		plain, err := k.unwrap(key)
		if err != nil {
			return nil, err
		}
		r.keys[key.ID] = plain
		if key.RetiredAt.IsZero() && (newest.ID == "" || newer(key, newest)) {
			newest = key
		}
	}
	r.current = newest.ID
	return r, nil
}

func newer(a, b credential.Key) bool {
	if a.CreatedAt.Equal(b.CreatedAt) {
		return a.ID > b.ID
	}
	return a.CreatedAt.After(b.CreatedAt)
}

// Seal encrypts for a record; record is its kind and id, "idempotency/…", and is bound as additional data (K15).
// The sealed form is a version byte, the length and the id of the data key, and what sealBytes makes.
func (r *Ring) Seal(record string, plain []byte) ([]byte, error) {
	if err := served(record); err != nil {
		return nil, err
	}
	return r.seal(record, plain)
}

// Open decrypts what Seal made for the same record. If it was altered, or belongs to another record or
// another installation, the error is of kind Internal and names the record.
func (r *Ring) Open(record string, sealed []byte) ([]byte, error) {
	if err := served(record); err != nil {
		return nil, err
	}
	return r.open(record, sealed)
}

func served(record string) error {
	if record == "" || strings.HasPrefix(record, signerPrefix) || strings.HasPrefix(record, secretPrefix) {
		return internal("keyring: record %q is not for Seal and Open", record)
	}
	return nil
}

func (r *Ring) seal(record string, plain []byte) ([]byte, error) {
	if r.current == "" {
		return nil, internal("keyring: no data key that is not retired to seal %s with", record)
	}
	head := append([]byte{ringVersion, byte(len(r.current))}, r.current...)
	body, err := sealBytes(r.keys[r.current], string(head)+record, plain)
	if err != nil {
		return nil, err
	}
	return append(head, body...), nil
}

func (r *Ring) open(record string, sealed []byte) ([]byte, error) {
	head, id, ok := splitHead(sealed)
	if !ok {
		return nil, internal("keyring: %s is not in a sealed form that this Cardea knows", record)
	}
	key, ok := r.keys[id]
	if !ok {
		return nil, internal("keyring: %s is sealed under data key %q, which is not there", record, id)
	}
	plain, err := openBytes(key, head+record, sealed[len(head):])
	if err != nil {
		return nil, internal("keyring: %s %w", record, err)
	}
	return plain, nil
}

func splitHead(sealed []byte) (head, id string, ok bool) {
	if len(sealed) < 2 || sealed[0] != ringVersion {
		return "", "", false
	}
	n := 2 + int(sealed[1])
	if len(sealed) < n {
		return "", "", false
	}
	return string(sealed[:n]), string(sealed[2:n]), true
}

func internal(format string, args ...any) error {
	return &credential.Error{Kind: credential.Internal, Err: fmt.Errorf(format, args...)}
}

// rsaBits is the size of RSA keys. 2048 are as strong as the months for which a key signs need them to be (NIST SP 800-57 part 1: until 2030 and with
// rotation), and they are what every verifier takes. 3072 would make each signature three times as dear here, and half as long again in every
// request that carries a token; whoever wants more takes ES256 or EdDSA, which are stronger and cheaper.
const rsaBits = 2048

// generate makes a private key for an algorithm.
func generate(alg string) (crypto.Signer, error) {
	switch alg {
	case "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case "RS256":
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return nil, internal("keyring: there are no keys for %q", alg)
}

// is reports whether a private key is one for an algorithm.
func is(private any, alg string) bool {
	switch k := private.(type) {
	case *ecdsa.PrivateKey:
		return alg == "ES256" && k.Curve == elliptic.P256()
	case ed25519.PrivateKey:
		return alg == "EdDSA"
	case *rsa.PrivateKey:
		return alg == "RS256" && k.N.BitLen() >= rsaBits
	}
	return false
}

// NewSigner makes a key pair for a purpose and an algorithm: ES256 (P-256), EdDSA (Ed25519) or RS256. Its Public is the DER of the public
// key until the caller sets a certificate.
func (r *Ring) NewSigner(purpose, alg string, now time.Time) (credential.Key, error) {
	private, err := generate(alg)
	if err != nil {
		return credential.Key{}, err
	}
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return credential.Key{}, err
	}
	defer clear(plain)
	key := credential.Key{ID: newID(), Purpose: purpose, Alg: alg, Wrapper: r.current, CreatedAt: now}
	if key.Public, err = x509.MarshalPKIXPublicKey(private.Public()); err != nil {
		return credential.Key{}, err
	}
	key.Sealed, err = r.seal(signerRecord(key), plain)
	return key, err
}

// Signer opens a signing key. The private key never leaves the package. The error is of kind Internal if the key was
// altered, or is not for its Alg, or its Public does not belong to it.
func (r *Ring) Signer(key credential.Key) (crypto.Signer, error) {
	record := signerRecord(key)
	plain, err := r.open(record, key.Sealed)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	parsed, err := x509.ParsePKCS8PrivateKey(plain)
	if err != nil {
		// Not %w: an error about a private key's bytes could quote them.
		return nil, internal("keyring: %s does not hold a private key", record)
	}
	private, ok := parsed.(crypto.Signer)
	if !ok || !is(private, key.Alg) {
		return nil, internal("keyring: %s does not hold a key for %q", record, key.Alg)
	}
	public, err := publicOf(key.Public)
	if err != nil {
		return nil, internal("keyring: public part of %s: %w", record, err)
	}
	if own, ok := private.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !own.Equal(public) {
		return nil, internal("keyring: public part of %s belongs to another key", record)
	}
	return signer{private}, nil
}

// signerRecord binds a signing key to its purpose as well, so that nobody who can write to the database makes one key do another's work.
func signerRecord(key credential.Key) string { return signerPrefix + key.Purpose + "/" + key.ID }

// NewSecret makes 32 random bytes for a purpose, from which things are derived that must be the same on every node and after a restart.
func (r *Ring) NewSecret(purpose string, now time.Time) (credential.Key, error) {
	plain := randomBytes(keyLen)
	defer clear(plain)
	key := credential.Key{ID: newID(), Purpose: purpose, Alg: "random-256", Wrapper: r.current, CreatedAt: now}
	var err error
	key.Sealed, err = r.seal(secretRecord(key), plain)
	return key, err
}

// Secret opens what NewSecret made. The error is of kind Internal if the key was altered, or is another's.
func (r *Ring) Secret(key credential.Key) ([]byte, error) {
	record := secretRecord(key)
	plain, err := r.open(record, key.Sealed)
	if err != nil {
		return nil, err
	}
	if len(plain) != keyLen {
		clear(plain)
		return nil, internal("keyring: %s does not hold %d bytes", record, keyLen)
	}
	return plain, nil
}

// secretRecord is [signerRecord] for secrets.
func secretRecord(key credential.Key) string { return secretPrefix + key.Purpose + "/" + key.ID }

// publicOf returns the public key in a DER public key or certificate.
func publicOf(der []byte) (crypto.PublicKey, error) {
	if pub, err := x509.ParsePKIXPublicKey(der); err == nil {
		return pub, nil
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errors.New("neither a public key nor a certificate")
	}
	return cert.PublicKey, nil
}

// signer hides the private key from type assertions and from print.
type signer struct{ private crypto.Signer }

func (s signer) Public() crypto.PublicKey { return s.private.Public() }

func (s signer) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.private.Sign(random, digest, opts)
}

// Format keeps the private key out of every kind of print.
func (signer) Format(s fmt.State, _ rune) { io.WriteString(s, "signer ***") }

// Format keeps the keys out of every kind of print.
func (Ring) Format(s fmt.State, _ rune) { io.WriteString(s, "ring ***") }
