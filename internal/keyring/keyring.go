// Package keyring holds Cardea's own keys: the keystore of a node, the data keys and the signing keys.
package keyring

import (
	"crypto"
	"time"

	"cardea/internal/credential"
)

// Config says where a node's keystore is.
type Config struct {
	Dir string // data folder: keystore.json and keystore-password
	// Password, if not nil, gives the password instead of the file (environment or command).
	Password func() ([]byte, error)
	// AnyMode accepts files that others can read; for file systems without modes.
	AnyMode bool
}

// Keystore is a node's hold of the master key.
type Keystore struct{}

// Open opens the keystore of the installation, or makes one if sealed is false: sealed says that the database holds
// sealed data or a keystore id already, so that nothing may be made anew (K12). check is the value that
// Check returned when the database was made, "" for a new database (K14).
func Open(c Config, sealed bool, check string) (*Keystore, error) { panic("not yet") }

// ID names the keystore's installation, and Check is a value that the database keeps to recognise it.
func (k *Keystore) ID() string    { panic("not yet") }
func (k *Keystore) Check() string { panic("not yet") }

// Masters returns the ids of the master keys, the current one first; two during a rotation.
func (k *Keystore) Masters() []string { panic("not yet") }

// AddMaster writes a keystore with a new current master key beside the old one; DropOld writes one without the old one.
func (k *Keystore) AddMaster() error { panic("not yet") }
func (k *Keystore) DropOld() error   { panic("not yet") }

// NewDataKey makes a data key, sealed under the current master key.
func (k *Keystore) NewDataKey(now time.Time) (credential.Key, error) { panic("not yet") }

// Rewrap seals a data key under the current master key; the same key is returned if it is already.
func (k *Keystore) Rewrap(key credential.Key) (credential.Key, error) { panic("not yet") }

// Ring opens and seals with the data keys of the database.
type Ring struct{}

// New opens the data keys among keys.
func New(k *Keystore, keys []credential.Key) (*Ring, error) { panic("not yet") }

// Seal encrypts for a record; record is its kind and id, "idempotency/…", and is bound as additional data (K15).
func (r *Ring) Seal(record string, plain []byte) ([]byte, error) { panic("not yet") }

// Open decrypts what Seal made for the same record.
func (r *Ring) Open(record string, sealed []byte) ([]byte, error) { panic("not yet") }

// NewSigner makes an ECDSA P-256 key pair for a purpose; its Public is the DER of the public key until the caller sets a certificate.
func (r *Ring) NewSigner(purpose string, now time.Time) (credential.Key, error) { panic("not yet") }

// Signer opens a signing key. The private key never leaves the package.
func (r *Ring) Signer(key credential.Key) (crypto.Signer, error) { panic("not yet") }
