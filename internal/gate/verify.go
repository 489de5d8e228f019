package gate

import (
	"context"

	"cardea/internal/credential"
	"cardea/internal/policy"
	"cardea/internal/secret"
)

// Verify answers for a token, or a certificate, that somebody else was shown.
// It counts as no use and as no wrong attempt, and it is not limited by those.
// The access may be nil: then only "who" is answered. With explain every rule
// is listed, also for a credential that is not accepted.
//
// Who asks is of the organisation org: a credential of another one does not exist
// for them, whatever is right or wrong about it (W07).
func (g *Gate) Verify(ctx context.Context, org string, ev *Evidence, a *policy.Access, explain bool) Verdict {
	if g.isForeign(ctx, org, ev) {
		return Verdict{Reason: credential.UnknownCredential}
	}
	e, cert, why := g.examine(ctx, ev)
	v := Verdict{Reason: why}
	if e == nil {
		return v
	}
	if v.Identity = g.identity(e); cert != nil {
		v.Identity = g.bind(e, cert)
	}
	v.Expires = v.Identity.Deadline
	rights := v.Identity.mayNow()
	if a != nil && v.Reason == credential.OK {
		v.Reason = rights.Decide(a).Reason
	}
	if a != nil && explain {
		v.Looks = rights.Explain(a)
	}
	v.Allowed = v.Reason == credential.OK
	return v
}

// isForeign reports whether a credential that the evidence names is another organisation's.
func (g *Gate) isForeign(ctx context.Context, org string, ev *Evidence) bool {
	t, isToken := secret.Parse(ev.Token)
	if isToken && g.belongsElsewhere(ctx, org, t.ID()) {
		return true
	}
	if ev.Certificate == nil {
		return false
	}
	id, isOurs := credentialID(ev.Certificate)
	return isOurs && g.belongsElsewhere(ctx, org, id)
}

func (g *Gate) belongsElsewhere(ctx context.Context, org, id string) bool {
	k := keyOf(id)
	h := g.cache.hash(k)
	e := g.cache.find(k, h)
	if e == nil {
		e, _ = g.load(ctx, k, h, id)
	}
	return e != nil && e.made.Org != org
}

// examine finds whose evidence it is, even if it is not accepted. cert is the certificate beside a token of the
// same principal; nil for none.
func (g *Gate) examine(ctx context.Context, ev *Evidence) (e, cert *entry, why credential.Reason) {
	switch {
	case ev.Token != "" && ev.Certificate != nil:
		cert, why = g.examineLeaf(ctx, ev)
		if cert == nil || why != credential.OK {
			return nil, nil, why
		}
		e, why = g.examineToken(ctx, ev)
		if e != nil && e.made.PrincipalID != cert.made.PrincipalID {
			if cert = nil; why == credential.OK {
				why = credential.Unbound
			}
		}
		return e, cert, why
	case ev.Token != "":
		e, why = g.examineToken(ctx, ev)
	case ev.Certificate != nil:
		e, why = g.examineLeaf(ctx, ev)
	default:
		why = credential.NoCredential
	}
	return e, nil, why
}

func (g *Gate) examineToken(ctx context.Context, ev *Evidence) (*entry, credential.Reason) {
	t, ok := secret.Parse(ev.Token)
	if !ok {
		return nil, credential.MalformedToken
	}
	if g.blind(g.clock.Mono()) {
		return nil, credential.Unavailable
	}
	k, sum := keyOf(t.ID()), t.Hash()
	h := g.cache.hash(k)
	for range maxRounds {
		e := g.cache.find(k, h)
		if e == nil {
			var why credential.Reason
			if e, why = g.load(ctx, k, h, t.ID()); e == nil {
				return nil, why
			}
		}
		v := e.proven(formOf(t.Kind), &sum)
		if v == nil {
			return nil, credential.WrongSecret
		}
		why := v.judge(g.clock.nano(), ev.Source)
		if !v.dead.Load() {
			return v, why
		}
	}
	return nil, credential.Unavailable
}

func (g *Gate) examineLeaf(ctx context.Context, ev *Evidence) (*entry, credential.Reason) {
	id, ok := credentialID(ev.Certificate)
	if !ok {
		return nil, credential.UnknownCredential
	}
	if g.blind(g.clock.Mono()) {
		return nil, credential.Unavailable
	}
	k := keyOf(id)
	e, now, why := g.leaf(ctx, k, g.cache.hash(k), ev.Certificate)
	if e != nil && why == credential.OK {
		why = e.judge(now, ev.Source)
	}
	return e, why
}
