package scram

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/subtle"
	"fmt"

	"cardea/internal/credential"
)

// SaltLen is the length of the salts that new credentials get, in bytes, and so of those of [Fake].
const SaltLen = 16

// maxSalt bounds the salts that come from elsewhere; they go out in every challenge.
const maxSalt = 1024

// CheckKeys adds to p what is wrong with keys, by the names that their fields have in the API.
func CheckKeys(h Hash, k *credential.ScramKeys, p *credential.Problems) {
	checkFactors(k.Salt, k.Iterations, p)
	if len(k.StoredKey) != h.Size() {
		p.Add("stored_key", "must have the %d bytes of %s, not %d", h.Size(), h.Algorithm(), len(k.StoredKey))
	}
	if len(k.ServerKey) != h.Size() {
		p.Add("server_key", "must have the %d bytes of %s, not %d", h.Size(), h.Algorithm(), len(k.ServerKey))
	}
}

func checkFactors(salt []byte, iterations int, p *credential.Problems) {
	if len(salt) < 1 || len(salt) > maxSalt {
		p.Add("salt", "must have 1 to %d bytes, not %d", maxSalt, len(salt))
	}
	if iterations < credential.MinIterations || iterations > credential.MaxIterations {
		p.Add("iterations", "must be from %d to %d, not %d", credential.MinIterations, credential.MaxIterations, iterations)
	}
}

// Derive makes the keys of a password (RFC 5802, 3). It takes as long as the iterations do: a millisecond for 4096.
// The errors are of kind Invalid, with the fields "password", "salt" and "iterations", and never hold the password.
func Derive(h Hash, password string, salt []byte, iterations int) (credential.ScramKeys, error) {
	var p credential.Problems
	prepared, err := PrepareStored(password)
	if err != nil {
		p.Add("password", "%s", err)
	}
	checkFactors(salt, iterations, &p)
	if err := p.Err(); err != nil {
		return credential.ScramKeys{}, err
	}
	salted, err := pbkdf2.Key(h.new, prepared, salt, iterations, h.Size())
	if err != nil {
		return credential.ScramKeys{}, fmt.Errorf("scram: keys cannot be derived: %w", err)
	}
	defer clear(salted)
	client := mac(h, salted, []byte("Client Key"))
	defer clear(client)
	return credential.ScramKeys{
		Salt:       append([]byte(nil), salt...),
		StoredKey:  sum(h, client),
		ServerKey:  mac(h, salted, []byte("Server Key")),
		Iterations: iterations,
	}, nil
}

// Check reports whether keys are those of a password. It takes as long as [Derive].
func Check(h Hash, k *credential.ScramKeys, password string) bool {
	d, err := Derive(h, password, k.Salt, k.Iterations)
	if err != nil {
		return false
	}
	same := subtle.ConstantTimeCompare(d.StoredKey, k.StoredKey) & subtle.ConstantTimeCompare(d.ServerKey, k.ServerKey)
	return same == 1
}

// Fake makes the keys of a user that does not exist. They follow from a secret key, which must be the same on every
// node and after a restart, and from the prepared name.
func Fake(key []byte, h Hash, name string, iterations int) credential.ScramKeys {
	part := func(of string) []byte {
		return mac(h, key, []byte("cardea scram fake "+of+" "+name))
	}
	return credential.ScramKeys{
		Salt:       part("salt")[:SaltLen:SaltLen],
		StoredKey:  part("stored"),
		ServerKey:  part("server"),
		Iterations: iterations,
	}
}

func mac(h Hash, key []byte, parts ...[]byte) []byte {
	m := hmac.New(h.new, key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

func sum(h Hash, b []byte) []byte {
	s := h.new()
	s.Write(b)
	return s.Sum(nil)
}
