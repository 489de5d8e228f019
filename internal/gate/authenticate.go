package gate

import (
	"context"
	"time"
	"unsafe"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// comeAgain is what a caller is told to wait when the gate cannot know.
const comeAgain = time.Second

// maxRounds is how often an entry may die under a caller before it is told to come again.
const maxRounds = 8

// Authenticate answers "who is this". On a hit it does not allocate. The
// identity is nil unless the reason is OK. With a token and a certificate both
// must be good and of the same principal; the identity is the token's, with
// the earlier deadline.
func (g *Gate) Authenticate(ctx context.Context, ev *Evidence) (*Identity, Outcome) {
	if ev.Token == "" || ev.Certificate != nil {
		return g.authenticateMore(ctx, ev)
	}
	e, out := g.token(ctx, ev, true)
	if out.Reason != credential.OK {
		return nil, out
	}
	return g.identity(e), out
}

// authenticateMore is Authenticate for all but a token alone.
func (g *Gate) authenticateMore(ctx context.Context, ev *Evidence) (*Identity, Outcome) {
	if ev.Certificate == nil {
		return nil, g.refuse(key{}, credential.NoCredential, 0, ev)
	}
	if ev.Token == "" {
		e, out := g.certificate(ctx, ev, true)
		if out.Reason != credential.OK {
			return nil, out
		}
		return g.identity(e), out
	}
	cert, out := g.certificate(ctx, ev, false)
	if out.Reason != credential.OK {
		return nil, out
	}
	e, out := g.token(ctx, ev, false)
	if out.Reason != credential.OK {
		return nil, out
	}
	if e.made.PrincipalID != cert.made.PrincipalID || e.made.Org != cert.made.Org {
		return nil, g.refuse(e.key, credential.Unbound, 0, ev)
	}
	now := g.clock.nano()
	g.count(e, now, ev)
	g.count(cert, now, ev)
	return g.bind(e, cert), Outcome{}
}

// token judges the token of ev and, if count is set, counts its use.
func (g *Gate) token(ctx context.Context, ev *Evidence, count bool) (*entry, Outcome) {
	k := keyOf(secret.Peek(ev.Token))
	h := g.cache.hash(k)
	g.cache.fetchSlot(h) // comes while the token is parsed
	t, ok := secret.Parse(ev.Token)
	if !ok {
		return nil, g.refuse(key{}, credential.MalformedToken, 0, ev)
	}
	mono, now := g.clock.read()
	if wait := g.limits.wait(k, h, ev.Source, mono); wait > 0 {
		return nil, g.refuse(k, credential.TooManyAttempts, wait, ev)
	}
	if g.blind(mono) {
		return nil, g.refuse(k, credential.Unavailable, comeAgain, ev)
	}
	g.cache.fetchEntry(h) // comes while the token is hashed
	sum := t.Hash()
	for range maxRounds {
		e := g.cache.find(k, h)
		if e == nil {
			var why credential.Reason
			if e, why = g.load(ctx, k, h, t.ID()); e == nil {
				secret.Equal(sum, noHash) // as much work as for an id that exists (E02)
				return nil, g.wrong(k, h, why, ev)
			}
			now = g.clock.nano() // it took time
		}
		v := e.proven(formOf(t.Kind), &sum)
		if v == nil {
			return nil, g.wrong(k, h, credential.WrongSecret, ev)
		}
		why := v.judge(now, ev.Source)
		if v.dead.Load() {
			continue
		}
		if why != credential.OK {
			return nil, g.refuse(k, why, 0, ev)
		}
		if count {
			g.countAt(v, h, now, ev)
		}
		return v, Outcome{}
	}
	return nil, g.refuse(k, credential.Unavailable, comeAgain, ev)
}

// noHash is what the hash of an unknown credential's token is compared with.
var noHash [32]byte

// proven returns the version whose hash is sum, in a time that depends on the
// number of versions alone.
func (e *entry) proven(form uint32, sum *[32]byte) *entry {
	var found *entry
	for v := e; v != nil; v = v.older {
		if secret.Equal(*sum, v.hash) && v.form == form {
			found = v
		}
	}
	return found
}

// wrong answers that a credential is unknown or its secret another, and counts
// the attempt. That it could not be looked up is nobody's fault.
func (g *Gate) wrong(k key, h uint64, why credential.Reason, ev *Evidence) Outcome {
	if why == credential.Unavailable {
		return g.refuse(k, why, comeAgain, ev)
	}
	g.limits.wrong(k, h, ev.Source, g.clock.Mono())
	return g.refuse(k, why, 0, ev)
}

// refuse notes a refusal and returns it.
func (g *Gate) refuse(k key, why credential.Reason, wait time.Duration, ev *Evidence) Outcome {
	g.refusals.add(k, why, ev.Door, ev.Source, g.clock.nano())
	return Outcome{Reason: why, RetryAfter: wait}
}

// rightsOf returns the rights of whoever has shown e, and beside it cert, if that is not nil: those of e, unless
// the certificate is in quarantine. It takes only one of the two to be there.
func rightsOf(e, cert *entry) *rights {
	if cert != nil && cert.flags&isQuarantined != 0 {
		return cert.rights
	}
	return e.rights
}

// rights returns the rights of an identity.
func (id *Identity) rights() *rights { return rightsOf(id.entry, id.with) }

// bind returns the identity of a token that was shown beside a certificate of
// the same principal. The last one is kept, as connections repeat themselves.
func (g *Gate) bind(e, cert *entry) *Identity {
	id, x, now := g.identity(e), e.lukewarm(), rightsOf(e, cert).cur.Load()
	if b := x.bound.Load(); b != nil && b.with == cert && b.compiled == now {
		return b
	}
	b := *id
	b.with, b.compiled, b.Scopes = cert, now, now.names
	if cert.deadline < e.deadline {
		b.Deadline = cert.made.Deadline
	}
	if x.bound.Swap(&b) == nil {
		g.charge(e, int64(unsafe.Sizeof(b)+unsafe.Sizeof(*x)))
	}
	return &b
}
