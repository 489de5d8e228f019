package scram

import "cardea/internal/credential"

// NewNonce is newNonce for tests.
var NewNonce = newNonce

// ChallengeWith is Challenge with a nonce that the test has chosen.
func (hs *Handshake) ChallengeWith(nonce string, candidates ...credential.ScramKeys) ([]byte, error) {
	return hs.challenge(candidates, []byte(nonce))
}

// Rekey exchanges the keys under a challenge.
func (hs *Handshake) Rekey(k credential.ScramKeys) {
	hs.keys = append(append(hs.keys[:0], k.StoredKey...), k.ServerKey...)
}

// Kept returns the memory in which the handshake holds keys.
func (hs *Handshake) Kept() []byte { return hs.keys }
