package gate

import (
	"context"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/jwt"
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
	if e != nil && e.made.Org != org { // an imported token does not say whose it is before it is found
		return Verdict{Reason: credential.UnknownCredential}
	}
	v := Verdict{Reason: why}
	if e == nil {
		return v
	}
	if e.made.Kind == credential.OAuthClient && v.Reason == credential.OK && (cert == nil || cert.flags&isAccess == 0) {
		v.Reason = credential.NoAuthenticator // it is good at the token endpoint alone
	}
	if v.Identity = g.identity(e); cert != nil {
		v.Identity = g.bind(e, cert)
	}
	v.Expires = v.Identity.Deadline
	rights := v.Identity.mayNow()
	if a != nil && v.Reason == credential.OK {
		d := rights.Decide(a)
		v.Reason, v.Scope = d.Reason, rights.Scope(d.Index())
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
	if isToken && g.belongsElsewhere(ctx, org, t.ID()) || !isToken && g.isOwn(ev.Token) && g.isOthers(ctx, org, ev.Token) {
		return true
	}
	if ev.Certificate == nil {
		return false
	}
	id, isOurs := credentialID(ev.Certificate)
	return isOurs && g.belongsElsewhere(ctx, org, id)
}

// isOthers reports whether an access token of ours is another organisation's, over as it may be.
func (g *Gate) isOthers(ctx context.Context, org, token string) bool {
	gr, why := g.grantOf(ctx, token)
	if why == credential.OK {
		return gr.org != org
	}
	if why != credential.Expired { // its signature is not known to be good
		return false
	}
	u, err := jwt.Read(token)
	gr = readGrant(u.Claims)
	return err != nil || gr == nil || gr.org != org
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
// same principal, or the session whose parent e is; nil for none.
func (g *Gate) examine(ctx context.Context, ev *Evidence) (e, cert *entry, why credential.Reason) {
	switch {
	case ev.Token != "" && ev.Certificate != nil:
		cert, why = g.examineLeaf(ctx, ev)
		if cert == nil || why != credential.OK {
			return nil, nil, why
		}
		var session *entry
		if e, session, why = g.examineToken(ctx, ev); session != nil && why == credential.OK {
			if e.flags&isAccess != 0 && session.made.PrincipalID == cert.made.PrincipalID {
				return session, e, credential.OK
			}
			return e, nil, credential.Unbound
		} else if session != nil {
			return session, e, why
		}
		if e != nil && e.made.PrincipalID != cert.made.PrincipalID {
			if cert = nil; why == credential.OK {
				why = credential.Unbound
			}
		}
		return e, cert, why
	case ev.Token != "":
		var p *entry
		if e, p, why = g.examineToken(ctx, ev); p != nil {
			return p, e, why
		}
	case ev.Certificate != nil:
		e, why = g.examineLeaf(ctx, ev)
	default:
		why = credential.NoCredential
	}
	return e, nil, why
}

// examineToken returns the version that a token is of and, of a session that is good, its parent.
func (g *Gate) examineToken(ctx context.Context, ev *Evidence) (e, parent *entry, why credential.Reason) {
	t, ok := secret.Parse(ev.Token)
	if !ok && g.isOwn(ev.Token) {
		return g.examineAccess(ctx, ev)
	}
	if !ok {
		return g.examineImported(ctx, ev)
	}
	if g.blind(g.clock.Mono()) {
		return nil, nil, credential.Unavailable
	}
	k, sum := keyOf(t.ID()), t.Hash()
	h := g.cache.hash(k)
	for range maxRounds {
		e := g.cache.find(k, h)
		if e == nil {
			var why credential.Reason
			if e, why = g.load(ctx, k, h, t.ID()); e == nil {
				return nil, nil, why
			}
		}
		form := formOf(t.Kind)
		if t.Kind == "sec" {
			form = clientForm
		}
		v := e.proven(form, &sum)
		if v == nil {
			return nil, nil, credential.WrongSecret
		}
		why := v.judge(g.clock.nano(), ev.Source)
		if why == credential.OK && v.flags&isDerived != 0 {
			p, why := g.parentOf(ctx, v, ev.Source)
			return v, p, why
		}
		if !v.dead() {
			return v, nil, why
		}
	}
	return nil, nil, credential.Unavailable
}

// examineAccess is examineToken for an access token of ours.
func (g *Gate) examineAccess(ctx context.Context, ev *Evidence) (x, parent *entry, why credential.Reason) {
	gr, why := g.grantOf(ctx, ev.Token)
	if why != credential.OK {
		return nil, nil, why
	}
	e, x, why := g.judgeGrant(ctx, gr, ev.Source)
	if why != credential.OK {
		return nil, nil, why
	}
	// Whoever asks has no proof to pass on: what is bound to a key is not good by itself (J22).
	return x, e, g.possessed(ctx, gr, ev)
}

// examineImported is examineToken for a text that is no token of ours.
func (g *Gate) examineImported(ctx context.Context, ev *Evidence) (e, parent *entry, why credential.Reason) {
	formats := g.formats.Load()
	if formats == nil || len(ev.Token) > maxForeign || strings.HasPrefix(ev.Token, tokenPrefix) {
		return nil, nil, credential.MalformedToken
	}
	if g.blind(g.clock.Mono()) {
		return nil, nil, credential.Unavailable
	}
	e, why = g.findImported(ctx, *formats, ev, false)
	return e, nil, why
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
