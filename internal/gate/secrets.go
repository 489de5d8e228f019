package gate

import (
	"encoding/json"

	"cardea/internal/credential"
	"cardea/internal/scram"
)

// scramEntry is what a version of a SCRAM credential is proved by.
type scramEntry struct {
	name string     // to log in with
	hash scram.Hash // 0: the keys cannot be opened
	keys credential.ScramKeys
}

// perScram is the memory of a scramEntry, about.
const perScram = 320

// isCalled reports whether e is the credential of a user name.
func (e *entry) isCalled(u userName) bool {
	if e.made.Org != u.org || e.made.Kind != u.kind {
		return false
	}
	if u.kind == credential.Password {
		x := e.password()
		return x != nil && x.name == u.name
	}
	x := e.scram()
	return x != nil && x.name == u.name
}

// scram returns what e is proved by; nil if it is of another kind, or cannot be opened.
func (e *entry) scram() *scramEntry {
	if x := e.cold.Load(); x != nil {
		return x.scram
	}
	return nil
}

// unseal opens the keys of the versions of a SCRAM credential. One that cannot be opened is never proved, and the log says so (K15).
func (g *Gate) unseal(newest *entry, c *credential.Credential) {
	hash, ok := scram.HashOf(c.Algorithm)
	for e := newest; e != nil && ok; e = e.older {
		for i := range c.Proofs {
			p := &c.Proofs[i]
			if p.N != e.made.Proof {
				continue
			}
			x := &scramEntry{name: c.Username, hash: hash}
			if err := g.openKeys(&x.keys, hash, credential.ScramSealedAs(c.ID, p.N), p.Sealed); err != nil {
				g.log.Error("the keys of a SCRAM credential cannot be opened: nobody can log in with it", "credential", c.ID, "version", p.N, "error", err)
				x.hash = 0 // no exchange is with this one, and the user is like one that does not exist
			}
			e.lukewarm().scram = x // nobody else has e yet
			newest.size += perScram
		}
	}
}

func (g *Gate) openKeys(to *credential.ScramKeys, hash scram.Hash, record string, sealed []byte) error {
	plain, err := g.unwrap(record, sealed)
	if err != nil {
		return err
	}
	defer clear(plain)
	if err := json.Unmarshal(plain, to); err != nil {
		return credential.Errorf(credential.Internal, "what was sealed are no keys")
	}
	var p credential.Problems
	scram.CheckKeys(hash, to, &p)
	return p.Err()
}
