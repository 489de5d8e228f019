package jwt

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"

	"cardea/internal/credential"
)

const (
	maxSet  = 256 << 10 // octets of a JWK set
	maxKeys = 100       // of a set
	maxTry  = 4         // keys that are tried for a token that does not say which: each costs a signature's check
)

// Key is a public key that signatures are checked with.
type Key struct {
	ID     string              // kid; "" if it has none
	Alg    string              // the one algorithm that it is for; "" for any that suits it
	Public crypto.PublicKey    // *ecdsa.PublicKey, ed25519.PublicKey or *rsa.PublicKey
	Certs  []*x509.Certificate // x5c: the key's own certificate and what vouches for it; nil if it has none
}

// Keys are the keys of one party. The zero value has none. It never changes, and is safe for concurrent use.
type Keys struct{ all []Key }

// NewKeys returns the public keys of signers, by their RFC 7638 thumbprints and for the algorithms, as [NewSigner] has them.
func NewKeys(keys ...crypto.PublicKey) (Keys, error) {
	var out Keys
	for _, pub := range keys {
		alg, err := signingAlg(pub)
		if err != nil {
			return Keys{}, err
		}
		id, err := Thumbprint(pub)
		if err != nil {
			return Keys{}, err
		}
		out.all = append(out.all, Key{ID: id, Alg: alg.name, Public: pub})
	}
	return out, nil
}

// Len returns how many there are.
func (k Keys) Len() int { return len(k.all) }

// All ranges over them, in the order of the set.
func (k Keys) All() iter.Seq[Key] { return slices.Values(k.all) }

// candidates returns the keys that a token can be signed with, and whether a key that it names is known. A token without a
// kid may be anyone's, and so may one with a kid that nobody has, if it is by keys that have none.
func (k Keys) candidates(id string, alg *algorithm) (_ []Key, known bool) {
	if id != "" {
		named := k.fitting(alg, func(one *Key) bool { return one.ID == id })
		known = slices.ContainsFunc(k.all, func(one Key) bool { return one.ID == id })
		if known {
			return named, true
		}
	}
	some := k.fitting(alg, func(one *Key) bool { return id == "" || one.ID == "" })
	return some[:min(len(some), maxTry)], false
}

func (k Keys) fitting(alg *algorithm, also func(*Key) bool) []Key {
	var out []Key
	for i := range k.all {
		one := &k.all[i]
		if (one.Alg == "" || one.Alg == alg.name) && alg.fits(one.Public) && also(one) {
			out = append(out, *one)
		}
	}
	return out
}

// ParseSet reads the JWK set (RFC 7517) of somebody else. Keys that no signature is checked with here are left out, as section 5
// has it: those of other kinds, too weak ones, and those with private members. An x5c that cannot be read is left out, too.
// Error: Invalid.
func ParseSet(text []byte) (Keys, error) {
	list, err := readSet(text)
	if err != nil {
		return Keys{}, credential.Errorf(credential.Invalid, "not a JWK set: %v", err)
	}
	var out Keys
	for _, raw := range list {
		m, err := object(raw)
		if err != nil {
			continue
		}
		bad := false
		k := readKey(m, func(member, _ string) { bad = bad || member[:min(3, len(member))] != "x5c" })
		if !bad {
			out.all = append(out.all, k)
		}
	}
	return out, nil
}

// ParseClientSet reads a JWK set that somebody registers: every key must be good. Error: Invalid, with all that is wrong, by the
// names jwks, jwks.keys[0].n and so on.
func ParseClientSet(text []byte) (Keys, error) {
	var p credential.Problems
	list, err := readSet(text)
	switch {
	case err != nil:
		p.Add("jwks", "must be a JWK set: %v", err)
	case len(list) == 0:
		p.Add("jwks", "must have a key")
	}
	var out Keys
	var nameless int
	for i, raw := range list {
		at := fmt.Sprintf("jwks.keys[%d]", i)
		m, err := object(raw)
		if err != nil {
			p.Add(at, "must be a JWK: it is %v", err)
			continue
		}
		k := readKey(m, func(member, why string) { p.Add(at+"."+member, "%s", why) })
		if k.ID == "" {
			nameless++
		} else if slices.ContainsFunc(out.all, func(o Key) bool { return o.ID == k.ID }) {
			p.Add(at+".kid", "must not be that of another key")
		}
		out.all = append(out.all, k)
	}
	if nameless > maxTry {
		p.Add("jwks", "must give its keys a kid each: no more than %d are tried that have none", maxTry)
	}
	if err := p.Err(); err != nil {
		return Keys{}, err
	}
	return out, nil
}

// readSet returns the keys of a set as they stand there.
func readSet(text []byte) ([]json.RawMessage, error) {
	if len(text) > maxSet {
		return nil, fmt.Errorf("longer than %d bytes", maxSet)
	}
	m, err := object(text)
	if err != nil {
		return nil, err
	}
	var list []json.RawMessage
	if raw, ok := m["keys"]; !ok || json.Unmarshal(raw, &list) != nil || list == nil {
		return nil, errors.New(`a JSON object with a list "keys" is expected`)
	}
	if len(list) > maxKeys {
		return nil, fmt.Errorf("more than %d keys", maxKeys)
	}
	return list, nil
}
