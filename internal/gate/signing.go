package gate

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cardea/internal/credential"
	"cardea/internal/jwt"
)

// signing is what access tokens are signed with and believed by.
type signing struct {
	read   func(context.Context) (credential.SigningKeys, error) // nil: there are no access tokens
	issuer string
	now    atomic.Pointer[signingSet] // nil: not known; no access token is made or believed then
	mu     sync.Mutex                 // while it is read
	stale  atomic.Bool                // it was changed
	sought atomic.Int64               // monotonic, in ns: when a token by an unknown key was the reason to read it
	failed error                      // of the last reading; under mu, as again
	again  time.Duration              // monotonic: it is not read before that after it has failed
}

// signingSet never changes.
type signingSet struct {
	sign   map[string]*jwt.Signer // by alg
	keys   jwt.Keys
	trusts map[string]bool // by kid: those of keys
	jwks   []byte          // of all that are believed, and of those that sign assertions
	next   int64           // ns since 1970, when the clock changes it
}

// signingKeys returns the set as of now; nil if it cannot be known.
func (g *Gate) signingKeys(ctx context.Context) *signingSet {
	s := g.signing.now.Load()
	if s != nil && g.clock.nano() < s.next && !g.signing.stale.Load() {
		return s
	}
	if g.readSigning(ctx) != nil {
		return nil
	}
	return g.signing.now.Load()
}

// readSigning reads the keys, if somebody else is not at it or they are no longer those that were read. If it was told that they have changed, no
// access token is believed until it succeeds: what was read before may have been revoked. If it is the clock alone that changes them,
// or a token by a key that is not known, those that were read go on.
func (g *Gate) readSigning(ctx context.Context) error {
	x := &g.signing
	if x.read == nil {
		return credential.Errorf(credential.Down, "there are no access tokens here")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	had, told := x.now.Load(), x.stale.Load()
	if had != nil && g.clock.nano() < had.next && !told {
		return nil
	}
	if mono := g.clock.Mono(); x.failed != nil && mono < x.again {
		if had != nil && !told {
			return nil
		}
		return x.failed
	}
	x.stale.Store(false)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTime)
	defer cancel()
	keys, err := x.read(ctx)
	if err == nil {
		var s *signingSet
		if s, err = g.newSigningSet(keys); err == nil {
			x.now.Store(s)
			x.failed = nil
			return nil
		}
	}
	x.failed, x.again = err, g.clock.Mono()+signingPause
	if told || had == nil {
		x.now.Store(nil)
		x.stale.Store(true)
		g.log.Error("the keys of access tokens cannot be read: none is made or accepted until they can", "error", err)
		return err
	}
	later := *had
	later.next = g.clock.nano() + int64(signingPause)
	x.now.Store(&later)
	g.log.Warn("the keys of access tokens cannot be read again: those that were read go on", "error", err)
	return nil
}

// signingPause is how long reading the keys again waits after it has failed, or after a token of an unknown key has asked for it.
const signingPause = time.Second

// seekKey reads the keys again because a token names one that is not known: another node may have made it a moment ago.
func (g *Gate) seekKey(ctx context.Context) *signingSet {
	x := &g.signing
	mono := int64(g.clock.Mono())
	last := x.sought.Load()
	if mono-last < int64(signingPause) && last != 0 || !x.sought.CompareAndSwap(last, mono) {
		return nil
	}
	x.mu.Lock()
	if had := x.now.Load(); had != nil {
		now := *had
		now.next = math.MinInt64
		x.now.Store(&now)
	}
	x.mu.Unlock()
	return g.signingKeys(ctx)
}

func (g *Gate) newSigningSet(keys credential.SigningKeys) (*signingSet, error) {
	s := &signingSet{sign: map[string]*jwt.Signer{}, next: never}
	if !keys.Next.IsZero() {
		s.next = nanos(keys.Next)
	}
	for alg, k := range keys.Sign {
		signer, err := jwt.NewSigner(k)
		if err != nil {
			return nil, err
		}
		s.sign[alg] = signer
	}
	var err error
	if s.keys, err = jwt.NewKeys(keys.Trust...); err != nil {
		return nil, err
	}
	s.trusts = map[string]bool{}
	for k := range s.keys.All() {
		s.trusts[k.ID] = true
	}
	s.jwks, err = jwt.Set(append(slices.Clone(keys.Trust), g.publics...)...)
	return s, err
}

// turnSigning is told that keys have changed. When it returns nothing is believed that was signed with one that was revoked.
func (g *Gate) turnSigning(ctx context.Context) error {
	if g.signing.read == nil {
		return nil
	}
	g.signing.stale.Store(true)
	g.tokens.clear()
	return g.readSigning(ctx)
}

// Issuer is the iss of access tokens, and the audience of Cardea itself; "" if there are none.
func (g *Gate) Issuer() string { return g.signing.issuer }

// SigningAlgs returns the algorithms that access tokens can be signed with now.
func (g *Gate) SigningAlgs(ctx context.Context) []string {
	s := g.signingKeys(ctx)
	if s == nil {
		return nil
	}
	var algs []string
	for _, a := range credential.SigningAlgs() {
		if s.sign[a] != nil {
			algs = append(algs, a)
		}
	}
	return algs
}

// CheckedAlgs lists the algorithms by which clients may sign assertions and proofs.
func CheckedAlgs() []string { return jwt.Algs() }

// JWKS returns the public keys that assertions and access tokens are signed with, as a JWK set. A key is in it for longer than others may keep
// the set before it signs.
func (g *Gate) JWKS(ctx context.Context) []byte {
	if s := g.signingKeys(ctx); s != nil {
		return s.jwks
	}
	return g.jwks
}
