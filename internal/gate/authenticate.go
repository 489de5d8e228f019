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
	if ev.Token == "" || ev.Certificate != nil || ev.Presented != nil {
		return g.authenticateMore(ctx, ev)
	}
	return g.authenticateToken(ctx, ev)
}

// authenticateToken is Authenticate for a token alone.
func (g *Gate) authenticateToken(ctx context.Context, ev *Evidence) (*Identity, Outcome) {
	e, session, out := g.token(ctx, ev, true)
	if out.Reason != credential.OK {
		return nil, out
	}
	if session != nil {
		return g.bind(e, session), out
	}
	return g.identity(e), out
}

// authenticateMore is Authenticate for all but a token alone.
func (g *Gate) authenticateMore(ctx context.Context, ev *Evidence) (*Identity, Outcome) {
	switch {
	case ev.Presented != nil && !g.isOwn(ev.Token): // nothing else is bound to a certificate that proves nobody
		return nil, g.refuse(key{}, credential.UnknownCredential, 0, ev)
	case ev.Presented != nil:
		return g.authenticateToken(ctx, ev)
	case ev.Certificate == nil:
		return nil, g.refuse(key{}, credential.NoCredential, 0, ev)
	}
	if ev.Token == "" {
		e, out := g.certificate(ctx, ev, true)
		if out.Reason != credential.OK {
			return nil, out
		}
		return g.identity(e), out
	}
	for range maxRounds {
		if id, out, again := g.tokenBeside(ctx, ev); !again {
			return id, out
		}
	}
	return nil, g.refuse(key{}, credential.Unavailable, comeAgain, ev)
}

// tokenBeside is Authenticate for a token beside a certificate. With again it is to be asked once more; see [Gate.spend].
func (g *Gate) tokenBeside(ctx context.Context, ev *Evidence) (id *Identity, out Outcome, again bool) {
	cert, out := g.certificate(ctx, ev, false)
	if out.Reason != credential.OK {
		return nil, out, false
	}
	e, session, out := g.token(ctx, ev, false)
	if out.Reason != credential.OK {
		return nil, out, false
	}
	if session != nil && session.flags&isAccess == 0 { // it is for those who have no certificate
		return nil, g.refuse(session.key, credential.Unbound, 0, ev), false
	}
	if e.made.PrincipalID != cert.made.PrincipalID || e.made.Org != cert.made.Org {
		return nil, g.refuse(e.key, credential.Unbound, 0, ev), false
	}
	if e.flags&isMetered != 0 { // the certificate only binds it
		if out, again = g.meter(ctx, e, ev); again || out.Reason != credential.OK {
			return nil, out, again
		}
	}
	now := g.clock.nano()
	g.count(e, now, ev)
	g.count(cert, now, ev)
	if session != nil {
		return g.beside(ctx, session, cert, ev)
	}
	return g.bind(e, cert), out, false
}

// token judges the token of ev and, if count is set, counts its use. Of a session it returns the version of the
// credential that it was made with, and the session itself.
func (g *Gate) token(ctx context.Context, ev *Evidence, count bool) (e, session *entry, out Outcome) {
	k := keyOf(secret.Peek(ev.Token))
	h := g.cache.hash(k)
	g.cache.fetchSlot(h) // comes while the token is parsed
	t, ok := secret.Parse(ev.Token)
	if !ok {
		if g.isOwn(ev.Token) {
			return g.accessToken(ctx, ev, count)
		}
		if ev.DPoP != nil {
			return nil, nil, g.refuse(key{}, credential.BadProof, 0, ev)
		}
		e, out := g.imported(ctx, ev, count)
		return e, nil, out
	}
	if ev.DPoP != nil { // no key of ours is bound to a key of its holder's
		return nil, nil, g.refuse(k, credential.BadProof, 0, ev)
	}
	mono, now := g.clock.read()
	if wait := g.limits.wait(k, h, ev.Source, mono); wait > 0 {
		return nil, nil, g.refuse(k, credential.TooManyAttempts, wait, ev)
	}
	if g.blind(mono) {
		return nil, nil, g.refuse(k, credential.Unavailable, comeAgain, ev)
	}
	g.cache.fetchEntry(h) // comes while the token is hashed
	sum := t.Hash()
	for range maxRounds {
		e := g.cache.find(k, h)
		if e == nil {
			var why credential.Reason
			if e, why = g.load(ctx, k, h, t.ID()); e == nil {
				secret.Equal(sum, noHash) // as much work as for an id that exists (E02)
				return nil, nil, g.wrong(k, h, why, ev)
			}
			now = g.clock.nano() // it took time
		}
		v := e.proven(formOf(t.Kind), &sum)
		if v == nil {
			return nil, nil, g.wrong(k, h, credential.WrongSecret, ev)
		}
		why := v.judge(now, ev.Source)
		if v.dead() {
			continue
		}
		if why != credential.OK {
			return nil, nil, g.refuse(k, why, 0, ev)
		}
		if v.flags&isDerived != 0 {
			e, session, out, again := g.derived(ctx, v, ev, count)
			if again {
				now = g.clock.nano()
				continue
			}
			return e, session, out
		}
		var out Outcome
		if count {
			if v.flags&isMetered != 0 {
				var again bool
				if out, again = g.meter(ctx, v, ev); again {
					now = g.clock.nano()
					continue
				}
				if out.Reason != credential.OK {
					return nil, nil, out
				}
			}
			g.countAt(v, h, now, ev)
		}
		return v, nil, out
	}
	return nil, nil, g.refuse(k, credential.Unavailable, comeAgain, ev)
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
	if cert == nil {
		return e.rights
	}
	if a := cert.access(); a != nil && e.flags&isQuarantined == 0 {
		if n := len(a.others); n > len(a.grant.bonds) && a.others[n-1].flags&isQuarantined != 0 {
			return a.others[n-1].rights
		}
		return cert.rights
	}
	if cert.flags&isQuarantined != 0 {
		return cert.rights
	}
	return e.rights
}

// rights returns the rights of an identity.
func (id *Identity) rights() *rights { return rightsOf(id.entry, id.with) }

// bind returns the identity of a token that was shown beside a certificate of
// the same principal, or of a session's parent beside the session. The last one is kept, as connections repeat themselves.
func (g *Gate) bind(e, cert *entry) *Identity {
	if cert.flags&isAccess != 0 {
		return g.bindAccess(e, cert)
	}
	owner := e
	if cert.flags&isDerived != 0 {
		owner = cert // its parent may have many
	}
	id, x, now := g.identity(e), owner.lukewarm(), rightsOf(e, cert).cur.Load()
	if b := x.bound.Load(); b != nil && b.with == cert && b.entry == e && b.compiled == now {
		return b
	}
	b := *id
	b.with, b.compiled, b.Scopes = cert, now, now.names
	if cert.deadline < e.deadline {
		b.Deadline = cert.made.Deadline
	}
	if x.bound.Swap(&b) == nil {
		g.charge(owner, int64(unsafe.Sizeof(b)+unsafe.Sizeof(*x)))
	}
	return &b
}
