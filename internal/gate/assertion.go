package gate

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"cardea/internal/credential"
)

// The type and the life of a signed identity.
const (
	assertionType = "cardea-identity+jwt"
	assertionLife = 60 * time.Second
)

// assertion is a signed identity that is kept.
type assertion struct {
	of   *Identity
	made int64 // ns since 1970
	ends int64
	text string
}

// claims are what an assertion says.
type claims struct {
	Issuer     string  `json:"iss"`
	Subject    string  `json:"sub"` // name of the principal
	Org        string  `json:"org"`
	Kind       string  `json:"kind"` // of the principal
	Credential string  `json:"credential"`
	Scopes     string  `json:"scopes"` // separated by spaces
	IssuedAt   instant `json:"iat"`
	ExpiresAt  instant `json:"exp"`
}

// instant is ns since 1970, written as a NumericDate: whole seconds where it is (RFC 7519 §2),
// with milliseconds in the last second of an identity that does not end with one.
type instant int64

// MarshalJSON never rounds up.
func (i instant) MarshalJSON() ([]byte, error) {
	b := strconv.AppendInt(nil, int64(i)/int64(time.Second), 10)
	if ms := int64(i) % int64(time.Second) / int64(time.Millisecond); ms != 0 {
		b = fmt.Appendf(b, ".%03d", ms)
	}
	return b, nil
}

// Assertion returns the signed identity header: a JWT of 60 s, made once per
// identity and revision and kept for half its life. It never outlives the identity.
func (g *Gate) Assertion(id *Identity) (string, error) {
	if id == nil {
		return "", credential.Errorf(credential.Invalid, "there is no identity to sign")
	}
	x, now := id.entry.lukewarm(), g.clock.nano()
	old := x.assertion.Load()
	valid := old != nil && old.of == id && now < old.ends
	if valid && now < old.made+int64(assertionLife)/2 {
		return old.text, nil
	}
	mine := x.signing.CompareAndSwap(false, true)
	if mine {
		defer x.signing.Store(false)
	} else if valid {
		return old.text, nil // somebody else is making the next one
	}
	fresh, err := g.sign(id, now)
	if err != nil {
		return "", err
	}
	if mine {
		grown := int64(len(fresh.text)) + perAssertion
		if was := x.assertion.Swap(fresh); was != nil {
			grown -= int64(len(was.text)) + perAssertion
		}
		g.charge(id.entry, grown)
	}
	return fresh.text, nil
}

func (g *Gate) sign(id *Identity, now int64) (*assertion, error) {
	issued := now - now%int64(time.Second)
	expires := issued + int64(assertionLife)
	if ends := deadlineOf(id); ends < expires {
		expires = ends - ends%int64(time.Millisecond)
	}
	if expires <= now {
		return nil, credential.Errorf(credential.Conflict, "the identity is at its end")
	}
	text, err := g.signer.Sign(assertionType, claims{
		Issuer: g.issuer, Subject: id.Principal, Org: id.Org, Kind: string(id.PrincipalKind), Credential: id.Credential,
		Scopes: strings.Join(id.Scopes, " "), IssuedAt: instant(issued), ExpiresAt: instant(expires),
	})
	if err != nil {
		return nil, err
	}
	return &assertion{of: id, made: now, ends: expires, text: text}, nil
}

// perAssertion is the memory of an assertion besides its text, about.
const perAssertion = 160
