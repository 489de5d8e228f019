package jwt

import (
	"time"
	"unicode/utf8"
)

// Bounds of a proof's values.
const (
	proofType    = "dpop+jwt"
	maxProofID   = 128  // characters of jti, which has to be remembered
	maxProofText = 4096 // octets of each of the others
)

// Proof is a DPoP proof (RFC 9449 section 4.2) that is signed by the key that it brings. Whether it is for the request at hand, fresh, and
// not used before, is for the one who has the request to see.
type Proof struct {
	JKT       string // RFC 7638 thumbprint of the key, as cnf.jkt has it
	ID        string // jti
	Method    string // htm
	URL       string // htu; see [SameURL]
	Nonce     string // "" if it has none, as the next
	TokenHash string // ath: of the access token, by SHA-256 in base64url
	IssuedAt  time.Time
}

// ReadProof checks all of RFC 9449 section 4.3 that does not depend on the request: that it is a JWT of the one typ, by an asymmetric
// algorithm, signed by the public key in its header, and that it has what a proof must have. Errors are those of [Verify].
func ReadProof(text string) (Proof, error) {
	t, err := parse(text)
	if err != nil {
		return Proof{}, err
	}
	if !sameType(t.typ, proofType) {
		return Proof{}, refuse(ErrClaims, "the typ is not %s", proofType)
	}
	key, err := t.ownKey()
	if err != nil {
		return Proof{}, err
	}
	sig, err := decode(t.sig)
	if err != nil {
		return Proof{}, refuse(ErrForm, "signature: %v", err)
	}
	if !t.alg.holds(key.Public, []byte(t.input), sig) {
		return Proof{}, refuse(ErrSignature, "wrong signature")
	}
	_, claims, err := t.readClaims()
	if err != nil {
		return Proof{}, err
	}
	return claims.proof(key)
}

// ownKey returns the public key that the header brings.
func (t *compact) ownKey() (Key, error) {
	m, err := object(t.header["jwk"])
	if err != nil {
		return Key{}, refuse(ErrForm, "jwk: %v", err)
	}
	why := ""
	key := readKey(m, func(member, rule string) {
		if why == "" {
			why = member + " " + rule
		}
	})
	if why != "" {
		return Key{}, refuse(ErrForm, "jwk: %s", why)
	}
	if !t.alg.fits(key.Public) || key.Alg != "" && key.Alg != t.alg.name {
		return Key{}, refuse(ErrSignature, "the algorithm does not suit the key")
	}
	return key, nil
}

func (m members) proof(key Key) (Proof, error) {
	var p Proof
	for _, one := range []struct {
		name   string
		to     *string
		needed bool
	}{{"jti", &p.ID, true}, {"htm", &p.Method, true}, {"htu", &p.URL, true}, {"nonce", &p.Nonce, false}, {"ath", &p.TokenHash, false}} {
		text, err := m.optional(one.name)
		if err != nil {
			return Proof{}, refuse(ErrClaims, "%v", err)
		}
		if _, there := m[one.name]; text == "" && (one.needed || there) {
			return Proof{}, refuse(ErrClaims, "it has no %s", one.name)
		}
		if len(text) > maxProofText {
			return Proof{}, refuse(ErrClaims, "its %s is longer than %d bytes", one.name, maxProofText)
		}
		*one.to = text
	}
	if utf8.RuneCountInString(p.ID) > maxProofID {
		return Proof{}, refuse(ErrClaims, "its jti is longer than %d characters", maxProofID)
	}
	at, there, err := m.time("iat")
	if err != nil {
		return Proof{}, refuse(ErrClaims, "%v", err)
	}
	if !there {
		return Proof{}, refuse(ErrClaims, "it has no iat")
	}
	p.IssuedAt = at
	if p.JKT, err = Thumbprint(key.Public); err != nil {
		return Proof{}, refuse(ErrForm, "jwk: %v", err)
	}
	return p, nil
}
