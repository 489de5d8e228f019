package gate

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"sync"
	"time"

	"cardea/internal/credential"
	"cardea/internal/jwt"
)

// DPoP is a proof of possession that came with a request (RFC 9449).
type DPoP struct {
	Proof  string
	Method string
	URL    string // of the request, without query and fragment, as its sender has called it

	Later bool // its use is noted by [Gate.FirstPossession] when all else is good, and not before: anybody can make proofs

	id string // that it is remembered by
}

// Possession checks a proof for a request, and for the access token that came with it, "" for none. It returns the thumbprint of the key that is
// possessed. A proof must have a nonce of ours, so that nobody can make proofs ahead of their time, and is good once (J21).
func (g *Gate) Possession(ctx context.Context, d *DPoP, token string) (jkt string, why credential.Reason) {
	p, err := jwt.ReadProof(d.Proof)
	if err != nil || p.Method != d.Method || !jwt.SameURL(p.URL, d.URL) {
		return "", credential.BadProof
	}
	now := g.clock.Now()
	if p.IssuedAt.Before(now.Add(-proofLife)) || p.IssuedAt.After(now.Add(proofSkew)) {
		return "", credential.BadProof
	}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		if !sameText(p.TokenHash, base64.RawURLEncoding.EncodeToString(sum[:])) {
			return "", credential.BadProof
		}
	}
	if !g.nonces.good(p.Nonce, now) {
		return "", credential.NonceNeeded
	}
	d.id = p.JKT + "/" + p.ID
	if d.Later {
		return p.JKT, credential.OK
	}
	switch first, full := g.proofs.first(d.id, now); {
	case full:
		return "", credential.Unavailable
	case !first:
		return "", credential.Replayed
	}
	return p.JKT, credential.OK
}

// FirstPossession makes sure that a proof that [Gate.Possession] has found good was not shown to another node. It writes, so it is for the end: when
// nothing else is to be refused.
func (g *Gate) FirstPossession(ctx context.Context, d *DPoP) credential.Reason {
	switch first, err := g.store.Once(ctx, "dpop/"+hashName(d.id), g.clock.Now().Add(proofLife+proofSkew)); {
	case err != nil:
		return credential.Unavailable
	case !first:
		return credential.Replayed
	}
	return credential.OK
}

// ProofChallenge is what is said of proofs, beside or instead of other challenges, to whoever is refused for a reason (RFC 9449 §7.1, §9).
func ProofChallenge(why credential.Reason) string {
	code := "invalid_token"
	switch why {
	case credential.NonceNeeded:
		code = "use_dpop_nonce"
	case credential.BadProof, credential.Replayed:
		code = "invalid_dpop_proof"
	}
	return `DPoP realm="cardea", error="` + code + `", algs="` + strings.Join(jwt.Algs(), " ") + `"`
}

const (
	nonceLife = 5 * time.Minute
	proofLife = time.Minute
	proofSkew = 30 * time.Second
)

// hashName makes a short name of a long one.
func hashName(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// nonces are made of the time alone, with a key that all nodes share: nothing is kept of them.
type nonces struct{ key []byte }

// Nonce returns one that is good for five minutes at least.
func (g *Gate) Nonce() string {
	return g.nonces.at(g.clock.Now().Unix() / int64(nonceLife/time.Second))
}

func (n *nonces) at(period int64) string {
	m := hmac.New(sha256.New, n.key)
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(period)) //nolint:gosec // after 1970
	m.Write([]byte("cardea dpop nonce"))
	m.Write(b[:])
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:18])
}

// good reports whether a nonce is of this period or the last.
func (n *nonces) good(nonce string, now time.Time) bool {
	period := now.Unix() / int64(nonceLife/time.Second)
	return nonce != "" && (sameText(nonce, n.at(period)) || sameText(nonce, n.at(period-1)) || sameText(nonce, n.at(period+1)))
}

// proofs are those that were used on this node, for as long as they would be good otherwise.
type proofs struct {
	mu       sync.Mutex
	turned   time.Time
	now, was map[[16]byte]struct{}
}

// maxProofs bounds how many are remembered of a minute and a half: more than a node can check in that time. Further ones are refused, as a replay
// could not be told from them.
const maxProofs = 1 << 20

// first reports whether a proof was not used before, or that there is no room to tell.
func (p *proofs) first(id string, now time.Time) (first, full bool) {
	sum := sha256.Sum256([]byte(id))
	k := [16]byte(sum[:16])
	p.mu.Lock()
	defer p.mu.Unlock()
	if age := now.Sub(p.turned); p.now == nil || age >= proofLife+proofSkew {
		p.was, p.now, p.turned = p.now, map[[16]byte]struct{}{}, now
	}
	if _, used := p.was[k]; used {
		return false, false
	}
	if _, used := p.now[k]; used || len(p.now) >= maxProofs {
		return false, !used
	}
	p.now[k] = struct{}{}
	return true, false
}
