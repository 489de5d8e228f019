package gate

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"cardea/internal/credential"
	"cardea/internal/jwt"
)

// accessType is the typ of access tokens (RFC 9068 §2.1).
const accessType = "at+jwt"

// grant is an access token of ours whose signature is good: what it says, and nothing of its text.
type grant struct {
	id        key   // jti
	ends      int64 // ns since 1970
	begins    int64
	org       string
	of        bond   // the version of a credential that it dies with
	bonds     []bond // of those who act, then of others
	acting    int    // how many act
	ancestors []key  // jti of the tokens that it was exchanged from
	scopes    []string
	audiences []string
	client    string // client_id
	subject   string
	actor     json.RawMessage // act; nil for nobody
	mayAct    string
	jkt, x5t  string // what it is bound to; "" for nothing
	issued    int64
	kid       string // of what signed it

	last atomic.Pointer[entry] // the last one that was made of it; see access.go
}

// bond is a version of a credential without which a token is nothing.
type bond struct {
	key   key
	proof int
}

// confirmation is cnf (RFC 7800).
type confirmation struct {
	JKT string `json:"jkt,omitempty"`
	X5T string `json:"x5t#S256,omitempty"`
}

// accessClaims are the claims of an access token of ours.
type accessClaims struct {
	Subject    string          `json:"sub"`
	Audience   oneOrMore       `json:"aud"`
	ExpiresAt  float64         `json:"exp"`
	IssuedAt   float64         `json:"iat"`
	ID         string          `json:"jti"`
	ClientID   string          `json:"client_id"`
	Scope      string          `json:"scope"`
	Org        string          `json:"org"`
	Kind       string          `json:"kind"`
	Credential string          `json:"crd"`
	Confirm    *confirmation   `json:"cnf"`
	Actor      json.RawMessage `json:"act"`
	MayAct     *struct {
		Subject string `json:"sub"`
	} `json:"may_act"`
	Ancestors []string `json:"anc"`
	By        []string `json:"by"`
}

// oneOrMore is a text or a list of them.
type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*o = []string{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(o))
}

// actorClaims is act: who acts with a token, on whose behalf, and who did before.
type actorClaims struct {
	Subject    string          `json:"sub"`
	ClientID   string          `json:"client_id,omitempty"`
	Credential string          `json:"crd"`
	Before     json.RawMessage `json:"act,omitempty"`
}

// grantOf returns what an access token of ours says. The reason is WrongClaims for what is not one, BadSignature for a forged one.
func (g *Gate) grantOf(ctx context.Context, token string) (*grant, credential.Reason) {
	k := keyOfToken(token)
	gr, turn := g.tokens.find(k)
	if gr != nil {
		return gr, credential.OK
	}
	if g.signing.read == nil || !looksLikeJWT(token) {
		return nil, credential.MalformedToken
	}
	s := g.signingKeys(ctx)
	if s == nil {
		return nil, credential.Unavailable
	}
	u, err := jwt.Read(token)
	if err != nil {
		return nil, credential.MalformedToken
	}
	now := g.clock.Now()
	want := jwt.Want{Types: []string{accessType}, Issuer: g.signing.issuer, AnyAudience: true, Leeway: clockSkew}
	if err = u.Verify(s.keys, want, now); errors.Is(err, jwt.ErrKey) {
		if s = g.seekKey(ctx); s != nil {
			err = u.Verify(s.keys, want, now)
		}
	}
	switch {
	case errors.Is(err, jwt.ErrSignature), errors.Is(err, jwt.ErrKey):
		return nil, credential.BadSignature
	case err != nil:
		return nil, lateOr(&u, now)
	}
	if gr = readGrant(u.Claims); gr == nil {
		return nil, credential.WrongClaims
	}
	gr.kid = strings.Clone(u.KeyID)
	g.tokens.put(k, gr, g.clock.nano(), turn)
	return gr, credential.OK
}

// lateOr is the reason of a token whose signature is good and whose claims are not: that it is over, if it is.
func lateOr(u *jwt.Unverified, now time.Time) credential.Reason {
	if c := readTimes(u.Claims); !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt) {
		return credential.Expired
	}
	return credential.WrongClaims
}

// times are the claims that say for how long a JWT is good, and which one it is.
type times struct {
	ID        string
	ExpiresAt time.Time // zero: it does not say
}

func readTimes(raw json.RawMessage) times {
	var c struct {
		ID  string  `json:"jti"`
		Exp float64 `json:"exp"`
	}
	if json.Unmarshal(raw, &c) != nil || c.Exp <= 0 || c.Exp > 253402300799 {
		return times{}
	}
	return times{c.ID, time.Unix(int64(c.Exp), 0)}
}

// believes reports whether the key that has signed a token is one of those that are believed now.
func (g *Gate) believes(gr *grant) bool {
	s := g.signing.now.Load()
	return s != nil && s.trusts[gr.kid]
}

// readGrant reads claims that we have signed; nil if they are not those of an access token.
func readGrant(raw json.RawMessage) *grant {
	var c accessClaims
	if json.Unmarshal(raw, &c) != nil {
		return nil
	}
	of, ok := readBond(c.Credential)
	if !ok || len(c.ID) != idLen || c.ExpiresAt == 0 || c.Org == "" || c.Subject == "" {
		return nil
	}
	gr := &grant{
		id: keyOf(c.ID), ends: int64(c.ExpiresAt) * int64(time.Second), begins: int64(c.IssuedAt) * int64(time.Second), issued: int64(c.IssuedAt) * int64(time.Second),
		org: c.Org, of: of, scopes: strings.Fields(c.Scope), audiences: slices.Clone(c.Audience), client: c.ClientID, subject: c.Subject,
		actor: slices.Clone(c.Actor),
	}
	if c.Confirm != nil {
		gr.jkt, gr.x5t = c.Confirm.JKT, c.Confirm.X5T
		if gr.jkt == "" && gr.x5t == "" {
			return nil // bound to what this version does not know
		}
	}
	if c.MayAct != nil {
		gr.mayAct = c.MayAct.Subject
	}
	for _, id := range c.Ancestors {
		if len(id) != idLen {
			return nil
		}
		gr.ancestors = append(gr.ancestors, keyOf(id))
	}
	for act := c.Actor; act != nil; {
		var a actorClaims
		if json.Unmarshal(act, &a) != nil {
			return nil
		}
		b, ok := readBond(a.Credential)
		if !ok {
			return nil
		}
		gr.bonds, act = append(gr.bonds, b), a.Before
	}
	gr.acting = len(gr.bonds)
	for _, text := range c.By {
		b, ok := readBond(text)
		if !ok {
			return nil
		}
		gr.bonds = append(gr.bonds, b)
	}
	return gr
}

// bondText is how a token writes a bond: "ID.N".
func bondText(e *entry) string { return e.made.Credential + "." + strconv.Itoa(e.made.Proof) }

func readBond(text string) (bond, bool) {
	id, n, ok := strings.Cut(text, ".")
	proof, err := strconv.Atoi(n)
	if !ok || len(id) != idLen || err != nil || proof < 1 {
		return bond{}, false
	}
	return bond{keyOf(id), proof}, true
}

// revoked reports whether the token, or one that it came from, was revoked.
func (g *Gate) revoked(gr *grant) bool {
	if g.denials.n.Load() == 0 {
		return false
	}
	return g.denials.has(gr.org, gr.id) || g.denials.has(gr.org, gr.ancestors...)
}
