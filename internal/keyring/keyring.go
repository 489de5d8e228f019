// Package keyring holds Cardea's own keys, in three layers.
//
// A master key is what a node holds: it lies in the keystore, a file of the data
// folder, sealed under a password that lies in a second file or comes from the
// environment or a command. Data keys lie in the database, each sealed under a
// master key. Everything else that must be used again in the clear, signing keys
// among it, is sealed under a data key:
//
//	password ─ HKDF or argon2id ─► master key ─► data key ─► record
//	            keystore.json                    database     database
//
// So the database alone opens nothing, nor does the keystore without the database,
// and a new master key costs a handful of small writes instead of one a record.
//
//	ks, err := keyring.Open(keyring.Config{Dir: dir}, sealed, check)
//	ring, err := keyring.New(ks, keys)
//	sealed, err := ring.Seal("idempotency/"+id, answer)
//
// Everything fails closed: what was altered, or moved to another record, does not
// open; and a keystore that is lost, foreign or open to others stops the start
// and is never replaced by a new one behind the administrator's back (K12 to K14).
//
// The master key is replaced in three steps, of which each is safe to repeat and
// between any two of which the process may die: AddMaster, then for each data key
// Rewrap and commit, then DropOld. Keystore.Masters has two entries from the first
// to the last step, and that is how an interrupted rotation is noticed (K16).
package keyring

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"cardea/internal/credential"
)

// Names of the two files in the data folder.
const (
	keystoreName = "keystore.json"
	passwordName = "keystore-password"
)

const keyLen = 32 // of every symmetric key: AES-256

// Config says where a node's keystore is.
type Config struct {
	Dir string // data folder: keystore.json and keystore-password
	// Password, if not nil, gives the password instead of the file (environment or command).
	Password func() ([]byte, error)
	// AnyMode accepts files that others can read or own; for file systems without modes and owners.
	// Symbolic links are refused all the same.
	AnyMode bool
	// Now is the clock that the keystore's creation is dated by; nil: time.Now.
	Now func() time.Time
}

// Keystore is a node's hold of the master key. It is safe for concurrent use.
type Keystore struct {
	files  files
	id     string
	kek    []byte // key that the masters are sealed under
	secret []byte // never changes; Check is derived from it

	mu      sync.RWMutex
	doc     document
	raw     []byte   // keystore.json as last read or written
	masters []master // the current one first
}

type master struct {
	id  string
	key []byte
}

// Open opens the keystore of the installation, or makes one if sealed is false: sealed says that the database holds
// sealed data or a keystore id already, so that nothing may be made anew (K12). check is the value that
// Check returned when the database was made, "" for a new database (K14).
//
// Errors are of kind Down if something is missing or cannot be read, and Invalid if what is there cannot be
// used. Their text names the file and the way out. Nothing is written when an error is returned, unless it
// is an error of writing the new keystore; then the next Open goes on with what is there.
func Open(c Config, sealed bool, check string) (*Keystore, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	return open(c, files{dir: c.Dir, anyMode: c.AnyMode, link: os.Link, step: func(string) error { return nil }}, sealed, check)
}

func open(c Config, f files, sealed bool, check string) (*Keystore, error) {
	raw, err := f.read(keystoreName)
	if errors.Is(err, fs.ErrNotExist) {
		if raw, err = create(c, f, sealed || check != ""); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	doc, err := parseDocument(f.path(keystoreName), raw)
	if err != nil {
		return nil, err
	}
	pw, err := password(c, f, doc)
	if err != nil {
		return nil, err
	}
	defer clear(pw)
	k, err := unlock(f, doc, raw, pw)
	if err != nil {
		return nil, err
	}
	if check != "" && !hmac.Equal([]byte(check), []byte(k.Check())) {
		return nil, credential.Errorf(credential.Invalid,
			"%s is the keystore of another installation (its id is %s): put back the %s and %s that belong to this database",
			f.path(keystoreName), k.id, keystoreName, passwordName)
	}
	f.sweep()
	return k, nil
}

// unlock opens everything in a keystore.
func unlock(f files, doc document, raw, pw []byte) (*Keystore, error) {
	path := f.path(keystoreName)
	kek, err := doc.KDF.derive(pw)
	if err != nil {
		return nil, err
	}
	k := &Keystore{files: f, id: doc.ID, doc: doc, raw: raw, kek: kek}
	if k.secret, err = openBytes(kek, doc.aad("secret"), doc.Secret); err != nil {
		return nil, credential.Errorf(credential.Invalid,
			"the password does not open %s: put back the %s that belongs to it, or give the password that it was made with", path, passwordName)
	}
	for _, m := range doc.Masters {
		key, err := openBytes(kek, doc.aad("master/"+m.ID), m.Sealed)
		if err != nil || len(key) != keyLen {
			return nil, credential.Errorf(credential.Invalid, "master key %s in %s is damaged: put back the file from a backup", m.ID, path)
		}
		k.masters = append(k.masters, master{m.ID, key})
	}
	return k, nil
}

// ID names the keystore's installation, and Check is a value that the database keeps to recognise it.
// Both stay the same when the master key is replaced.
func (k *Keystore) ID() string { return k.id }

// Check returns 64 hexadecimal digits that tell nothing about any key.
func (k *Keystore) Check() string {
	mac := hmac.New(sha256.New, k.secret)
	mac.Write([]byte("cardea keystore check"))
	return hex.EncodeToString(mac.Sum(nil))
}

// Masters returns the ids of the master keys, the current one first; two during a rotation.
func (k *Keystore) Masters() []string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	ids := make([]string, len(k.masters))
	for i, m := range k.masters {
		ids[i] = m.id
	}
	return ids
}

// AddMaster writes a keystore with a new current master key beside the old one; DropOld writes one without the old one.
// If a rotation was begun and not ended, AddMaster does nothing, so that repeating all steps ends it. When it returns
// nil the new key is durable, and before that nothing is sealed under it.
func (k *Keystore) AddMaster() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.masters) > 1 {
		return nil
	}
	m := master{newID(), randomBytes(keyLen)}
	return k.write(append([]master{m}, k.masters...))
}

// DropOld must only be called when every data key was rewrapped and the database has said so.
func (k *Keystore) DropOld() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.masters) == 1 {
		return nil
	}
	return k.write(k.masters[:1:1])
}

// write replaces the file, and then what this process holds, by a keystore with these masters.
func (k *Keystore) write(masters []master) error {
	doc := k.doc
	doc.Masters = nil
	for _, m := range masters {
		s, err := k.sealedMaster(m)
		if err != nil {
			return err
		}
		doc.Masters = append(doc.Masters, s)
	}
	raw, err := doc.marshal()
	if err != nil {
		return err
	}
	now, err := k.files.read(keystoreName)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, k.raw) {
		return credential.Errorf(credential.Conflict, "%s was changed by somebody else since it was read: restart Cardea and try again", k.files.path(keystoreName))
	}
	replaced, err := k.files.replace(keystoreName, raw)
	if replaced {
		k.raw = raw
	}
	if err != nil {
		// The name may still point to the old content after a power cut. So nothing may be sealed under
		// a new master, and nothing that is under an old one may be given up.
		return err
	}
	for _, old := range k.masters[1:] {
		if len(masters) == 1 {
			clear(old.key)
		}
	}
	k.doc, k.masters = doc, masters
	return nil
}

// sealedMaster returns the form of a master in the file; one that stands there already is taken as it is.
func (k *Keystore) sealedMaster(m master) (sealedMaster, error) {
	for _, s := range k.doc.Masters {
		if s.ID == m.id {
			return s, nil
		}
	}
	b, err := sealBytes(k.kek, k.doc.aad("master/"+m.id), m.key)
	return sealedMaster{m.id, b}, err
}

// NewDataKey makes a data key, sealed under the current master key.
func (k *Keystore) NewDataKey(now time.Time) (credential.Key, error) {
	key := credential.Key{ID: newID(), Purpose: purposeData, Alg: "aes-256-gcm", CreatedAt: now}
	plain := randomBytes(keyLen)
	defer clear(plain)
	return k.wrap(key, plain)
}

// Rewrap seals a data key under the current master key; the same key is returned if it is already.
func (k *Keystore) Rewrap(key credential.Key) (credential.Key, error) {
	if key.Wrapper == k.Masters()[0] {
		return key, nil
	}
	plain, err := k.unwrap(key)
	if err != nil {
		return credential.Key{}, err
	}
	defer clear(plain)
	return k.wrap(key, plain)
}

// wrap seals plain under the current master and fills Wrapper and Sealed of key.
func (k *Keystore) wrap(key credential.Key, plain []byte) (credential.Key, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	m := k.masters[0]
	b, err := sealBytes(m.key, dataKeyAAD(k.id, m.id, key.ID), plain)
	if err != nil {
		return credential.Key{}, err
	}
	key.Wrapper, key.Sealed = m.id, b
	return key, nil
}

// unwrap opens a data key with the one master that it names.
func (k *Keystore) unwrap(key credential.Key) ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, m := range k.masters {
		if m.id != key.Wrapper {
			continue
		}
		plain, err := openBytes(m.key, dataKeyAAD(k.id, m.id, key.ID), key.Sealed)
		if err != nil || len(plain) != keyLen {
			return nil, credential.Errorf(credential.Invalid, "data key %s in the database is damaged: restore the database from a backup", key.ID)
		}
		return plain, nil
	}
	return nil, credential.Errorf(credential.Invalid, "data key %s is sealed under master key %s, which %s does not hold: put back the newest %s of this installation",
		key.ID, key.Wrapper, k.files.path(keystoreName), keystoreName)
}

func dataKeyAAD(keystore, master, id string) string {
	return "cardea data key v1/" + keystore + "/" + master + "/" + id
}

// Format keeps the keys out of every kind of print.
func (k *Keystore) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "keystore %s ***", k.id) }

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// newID returns 12 random base62 characters. Bytes beyond the last multiple of 62 are thrown away, so that all are equally likely.
func newID() string {
	id := make([]byte, 0, 12)
	for len(id) < cap(id) {
		b := randomBytes(1)[0]
		if b < 4*62 {
			id = append(id, base62[b%62])
		}
	}
	return string(id)
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

// randomBytes never fails: if the system has no random numbers, crypto/rand ends the process (K08).
func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func (f files) path(name string) string { return filepath.Join(f.dir, name) }
