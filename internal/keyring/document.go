package keyring

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"time"

	"golang.org/x/crypto/argon2"

	"cardea/internal/credential"
)

// document is keystore.json.
type document struct {
	Version   int            `json:"version"`
	ID        string         `json:"id"`
	CreatedAt time.Time      `json:"created_at"`
	KDF       kdf            `json:"kdf"`
	Secret    []byte         `json:"secret"`  // installation secret, sealed; survives every rotation
	Masters   []sealedMaster `json:"masters"` // the current one first
}

type sealedMaster struct {
	ID     string `json:"id"`
	Sealed []byte `json:"sealed"`
}

// kdf says how the key that seals the masters is made from the password.
type kdf struct {
	Name    string `json:"name"` // kdfHKDF for a random password, kdfArgon for one that may be weak
	Salt    []byte `json:"salt"`
	Memory  uint32 `json:"memory_kib,omitempty"` // argon2id only, as the next two
	Time    uint32 `json:"time,omitempty"`
	Threads uint8  `json:"threads,omitempty"`
}

const (
	documentVersion = 1
	kdfHKDF         = "hkdf-sha256"
	kdfArgon        = "argon2id"
	saltLen         = 16
)

// argon2id with 19 MiB, 2 passes, 1 lane: OWASP Password Storage Cheat Sheet.
func argon() kdf {
	return kdf{Name: kdfArgon, Salt: randomBytes(saltLen), Memory: 19 << 10, Time: 2, Threads: 1}
}

// derive returns the key for a password.
func (d kdf) derive(password []byte) ([]byte, error) {
	if d.Name == kdfHKDF {
		return hkdf.Key(sha256.New, password, d.Salt, "cardea keystore v1", keyLen)
	}
	return argon2.IDKey(password, d.Salt, d.Time, d.Memory, d.Threads, keyLen), nil
}

// valid refuses unknown functions, and costs that would only serve to stop the start.
func (d kdf) valid() bool {
	if len(d.Salt) < saltLen || len(d.Salt) > 64 {
		return false
	}
	switch d.Name {
	case kdfHKDF:
		return d.Memory == 0 && d.Time == 0 && d.Threads == 0
	case kdfArgon:
		return d.Memory >= 8<<10 && d.Memory <= 1<<20 && d.Time >= 1 && d.Time <= 32 && d.Threads >= 1 && d.Threads <= 16
	}
	return false
}

// aad is what a part of the document is bound to: the document and its own name.
func (d document) aad(part string) string { return "cardea keystore v1/" + d.ID + "/" + part }

func (d document) marshal() ([]byte, error) {
	b, err := json.MarshalIndent(d, "", "  ")
	return append(b, '\n'), err
}

// parseDocument reads keystore.json strictly.
func parseDocument(path string, raw []byte) (document, error) {
	damaged := func(why string) (document, error) {
		return document{}, credential.Errorf(credential.Invalid, "%s is damaged (%s): put back the file from a backup", path, why)
	}
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return damaged("not JSON of the expected form")
	}
	if head.Version > documentVersion {
		return document{}, credential.Errorf(credential.Invalid, "%s has version %d, this Cardea reads up to version %d: start the newer Cardea that wrote it",
			path, head.Version, documentVersion)
	}
	var d document
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return damaged("not JSON of the expected form")
	}
	switch {
	case d.Version < 1:
		return damaged("it has no version")
	case !validID(d.ID):
		return damaged("its id is not 12 letters and digits")
	case !d.KDF.valid():
		return damaged("its kdf is unknown or out of bounds")
	case len(d.Masters) < 1 || len(d.Masters) > 2:
		return damaged("it must hold one or two master keys")
	}
	for _, m := range d.Masters {
		if !validID(m.ID) {
			return damaged("a master key's id is not 12 letters and digits")
		}
	}
	if len(d.Masters) == 2 && d.Masters[0].ID == d.Masters[1].ID {
		return damaged("a master key is there twice")
	}
	return d, nil
}

// create makes keystore.json, and keystore-password if the password comes from there. The password goes first, so
// that a process that dies between the two leaves a state from which the next start goes on.
func create(c Config, f files, sealed bool) ([]byte, error) {
	if sealed {
		return nil, credential.Errorf(credential.Down, "%s is missing, but the database holds data that only it opens: put it back from a backup, and %s with it; nothing was written",
			f.path(keystoreName), passwordName)
	}
	pw, random, err := newPassword(c, f)
	if err != nil {
		return nil, err
	}
	defer clear(pw)
	d := document{Version: documentVersion, ID: newID(), CreatedAt: c.Now().UTC().Truncate(time.Second), KDF: argon()}
	if random {
		d.KDF = kdf{Name: kdfHKDF, Salt: randomBytes(saltLen)}
	}
	raw, err := d.fill(pw)
	if err != nil {
		return nil, err
	}
	return raw, f.create(keystoreName, raw)
}

// fill makes the installation secret and the first master key, and returns the document's text.
func (d document) fill(pw []byte) ([]byte, error) {
	kek, err := d.KDF.derive(pw)
	if err != nil {
		return nil, err
	}
	secret, key := randomBytes(keyLen), randomBytes(keyLen)
	defer clear(kek)
	defer clear(secret)
	defer clear(key)
	if d.Secret, err = sealBytes(kek, d.aad("secret"), secret); err != nil {
		return nil, err
	}
	m := sealedMaster{ID: newID()}
	if m.Sealed, err = sealBytes(kek, d.aad("master/"+m.ID), key); err != nil {
		return nil, err
	}
	d.Masters = []sealedMaster{m}
	return d.marshal()
}

// newPassword returns the password for a new keystore and whether it is one of Cardea's own random ones.
func newPassword(c Config, f files) (pw []byte, random bool, err error) {
	if c.Password != nil {
		pw, err = given(c)
		return pw, false, err
	}
	pw, err = f.read(passwordName)
	if errors.Is(err, fs.ErrNotExist) {
		pw = []byte(base64.StdEncoding.EncodeToString(randomBytes(keyLen)))
		return pw, true, f.create(passwordName, append(bytes.Clone(pw), '\n'))
	}
	if err != nil {
		return nil, false, err
	}
	// Left by a first start that was interrupted, or laid there by somebody who wants it so.
	pw, err = trim(f.path(passwordName), pw)
	key, bad := base64.StdEncoding.DecodeString(string(pw))
	defer clear(key)
	return pw, bad == nil && len(key) == keyLen, err
}

// password returns the password of an existing keystore.
func password(c Config, f files, d document) ([]byte, error) {
	if c.Password != nil {
		return given(c)
	}
	pw, err := f.read(passwordName)
	if errors.Is(err, fs.ErrNotExist) {
		how := "put it back from a backup"
		if d.KDF.Name == kdfArgon {
			how += ", or give the password by environment or command as when the keystore was made"
		}
		return nil, credential.Errorf(credential.Down, "%s is missing, and %s does not open without it: %s; nothing was written",
			f.path(passwordName), f.path(keystoreName), how)
	}
	if err != nil {
		return nil, err
	}
	return trim(f.path(passwordName), pw)
}

// given asks the environment or the command.
func given(c Config) ([]byte, error) {
	pw, err := c.Password()
	if err != nil {
		return nil, &credential.Error{Kind: credential.Down, Message: "the keystore's password was not given", Err: err}
	}
	return trim("the given keystore password", pw)
}

// trim takes one line end off, which editors and commands add.
func trim(what string, pw []byte) ([]byte, error) {
	pw = bytes.TrimSuffix(bytes.TrimSuffix(pw, []byte("\n")), []byte("\r"))
	if len(pw) == 0 {
		return nil, credential.Errorf(credential.Invalid, "%s is empty", what)
	}
	return pw, nil
}
