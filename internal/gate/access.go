package gate

import (
	"context"
	"crypto/subtle"
	"crypto/x509"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"cardea/internal/credential"
	"cardea/internal/jwt"
)

// An access token is judged as a session is: it is good only as long as the version of the credential that it was made for, and whatever
// ends that ends it. Beside, its scopes narrow those of the credential, and all that it is bound to must be good as well.

// accessEntry is what the entry of an access token has beside. The entry is made for one entry of its credential and one state
// of the APIs, and made anew when one of them has changed.
type accessEntry struct {
	grant  *grant
	parent *entry
	others []*entry // actors, and the certificate that was shown beside
	apis   *apiBook
	bound  atomic.Pointer[Identity]
}

// access returns what e has as the entry of an access token; nil if it is none.
func (e *entry) access() *accessEntry {
	if e == nil || e.flags&isAccess == 0 {
		return nil
	}
	return e.cold.Load().access
}

// accessToken judges the access token of ev. It returns the version that it was made for, and its own entry.
func (g *Gate) accessToken(ctx context.Context, ev *Evidence, count bool) (e, x *entry, out Outcome) {
	if g.blind(g.clock.Mono()) {
		return nil, nil, g.refuse(key{}, credential.Unavailable, comeAgain, ev)
	}
	gr, why := g.grantOf(ctx, ev.Token)
	if why != credential.OK {
		return nil, nil, g.refuse(key{}, why, g.waitFor(why), ev)
	}
	if why := g.possessed(ctx, gr, ev); why != credential.OK {
		return nil, nil, g.refuse(gr.of.key, why, g.waitFor(why), ev)
	}
	for range maxRounds {
		e, x, why := g.judgeGrant(ctx, gr, ev.Source)
		if why != credential.OK {
			return nil, nil, g.refuse(gr.of.key, why, g.waitFor(why), ev)
		}
		if !count {
			return e, x, Outcome{}
		}
		out, again := g.meter(ctx, e, ev)
		if again {
			continue
		}
		if out.Reason != credential.OK {
			return nil, nil, out
		}
		g.count(e, g.clock.nano(), ev)
		return e, x, out
	}
	return nil, nil, g.refuse(gr.of.key, credential.Unavailable, comeAgain, ev)
}

// judgeGrant judges a token that is shown from src by whoever may show it.
func (g *Gate) judgeGrant(ctx context.Context, gr *grant, src netip.Addr) (e, x *entry, why credential.Reason) {
	return g.judgeGrantFrom(ctx, gr, origin{addr: src}, nil)
}

// judgeGrantFrom is judgeGrant with the certificate beside the token, which must live too.
func (g *Gate) judgeGrantFrom(ctx context.Context, gr *grant, from origin, beside *entry) (e, x *entry, why credential.Reason) {
	now := g.clock.nano()
	switch {
	case g.signingKeys(ctx) == nil:
		return nil, nil, credential.Unavailable
	case !g.believes(gr):
		return nil, nil, credential.BadSignature
	case g.revoked(gr):
		return nil, nil, credential.TokenDenied
	case now >= gr.ends:
		return nil, nil, credential.Expired
	case now < gr.begins-int64(clockSkew):
		return nil, nil, credential.NotYetValid
	}
	if e, why = g.bonded(ctx, gr.of, from); why != credential.OK {
		return nil, nil, parentEnded(why)
	}
	if e.made.Org != gr.org || e.made.Principal != gr.subject { // given to somebody else since
		return nil, nil, credential.ParentEnded
	}
	if last := gr.last.Load(); beside == nil && last != nil && g.fits(last, e) {
		return e, last, credential.OK
	}
	var others []*entry
	for _, b := range gr.bonds {
		actor, why := g.bonded(ctx, b, origin{anywhere: true})
		if why != credential.OK {
			return nil, nil, parentEnded(why)
		}
		if actor.made.Org != gr.org {
			return nil, nil, credential.ParentEnded
		}
		others = append(others, actor)
	}
	if beside != nil {
		others = append(others, beside)
	}
	if x = g.newAccess(gr, e, others); x == nil {
		return nil, nil, credential.WrongClaims
	}
	if beside == nil {
		gr.last.Store(x)
	}
	return e, x, credential.OK
}

// clockSkew is how far the clocks of two nodes may differ.
const clockSkew = 5 * 1e9

// parentEnded makes one reason of all that keep a credential from being accepted: its token is at its end with it.
func parentEnded(why credential.Reason) credential.Reason {
	if why == credential.Unavailable || why == credential.NetworkRefused {
		return why
	}
	return credential.ParentEnded
}

// fits reports whether the entry of an access token is still what it would be made anew for e, and all that it is bound to stands.
func (g *Gate) fits(x, e *entry) bool {
	a := x.access()
	if a.parent != e || a.apis != g.apis.Load() {
		return false
	}
	now := g.clock.nano()
	return !slices.ContainsFunc(a.others, func(o *entry) bool { return o.dead() || o.standing(now) != credential.OK })
}

// bonded returns the version that something is bound to, if it is accepted.
func (g *Gate) bonded(ctx context.Context, b bond, from origin) (*entry, credential.Reason) {
	h := g.cache.hash(b.key)
	for range maxRounds {
		e := g.cache.find(b.key, h)
		if e == nil {
			var why credential.Reason
			if e, why = g.load(ctx, b.key, h, b.key.String()); e == nil {
				return nil, why
			}
		}
		for ; e != nil && e.made.Proof != b.proof; e = e.older {
		}
		if e == nil || e.flags&isDerived != 0 {
			return nil, credential.Revoked
		}
		now := g.clock.nano()
		why := e.standing(now)
		if why == credential.OK && !from.anywhere {
			why = e.judge(now, from.addr)
		}
		if !e.dead() {
			return e, why
		}
	}
	return nil, credential.Unavailable
}

// newAccess makes the entry of a token for e as it is now; nil if none of what it is for is here.
func (g *Gate) newAccess(gr *grant, e *entry, others []*entry) *entry {
	apis := g.apis.Load()
	scopes, here := apis.narrow(gr, g.signing.issuer)
	if !here {
		return nil
	}
	x := &entry{key: gr.id, form: foreignForm, flags: isAccess, deadline: gr.ends, notBefore: gr.begins - int64(clockSkew), revision: -1}
	x.rights = g.narrowed(e, scopes)
	x.made = e.made
	x.made.entry, x.made.compiled, x.made.Deadline = x, x.rights.cur.Load(), at(gr.ends)
	x.ident.Store(&x.made)
	x.cold.Store(&cold{access: &accessEntry{grant: gr, parent: e, others: others, apis: apis}})
	return x
}

// narrowed returns the rights of e with no more than some scopes.
func (g *Gate) narrowed(e *entry, scopes []string) *rights {
	r := e.rights
	if r.quarantine {
		return r
	}
	if len(r.scopes) > 0 {
		scopes = slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return !slices.Contains(r.scopes, s) })
	}
	if len(scopes) == 0 {
		return g.book.granted(r.org, nil) // no scopes of one's own would be all that the principal has
	}
	return g.book.rights(r.org, r.roles, scopes, r.resources, r.project)
}

// bindAccess is bind for an access token.
func (g *Gate) bindAccess(e, x *entry) *Identity {
	a, now := x.access(), rightsOf(e, x).cur.Load()
	if b := a.bound.Load(); b != nil && b.entry == e && b.compiled == now {
		return b
	}
	b := *g.identity(e)
	b.with, b.compiled, b.Scopes = x, now, now.names
	if x.deadline < e.deadline {
		b.Deadline = x.made.Deadline
	}
	a.bound.Store(&b)
	return &b
}

// renewAccess judges again who has shown an access token.
func (g *Gate) renewAccess(ctx context.Context, id *Identity, from origin) (*Identity, credential.Reason) {
	a := id.with.access()
	var beside *entry
	if n := len(a.others); n > len(a.grant.bonds) {
		var why credential.Reason
		if beside, why = g.successor(ctx, a.others[n-1], from); why != credential.OK {
			return nil, why
		}
	}
	e, x, why := g.judgeGrantFrom(ctx, a.grant, from, beside)
	if why != credential.OK {
		return nil, why
	}
	if beside != nil && g.fits(id.with, e) { // the same again
		x = id.with
	}
	return g.bindAccess(e, x), credential.OK
}

// stands reports whether an identity that came with an access token needs no closer look.
func (g *Gate) stands(x *entry, e *entry) bool {
	a := x.access()
	return g.believes(a.grant) && !g.revoked(a.grant) && g.clock.nano() < x.deadline && g.fits(x, e)
}

// possessed reports whether whoever shows a token holds the key that it is bound to.
func (g *Gate) possessed(ctx context.Context, gr *grant, ev *Evidence) credential.Reason {
	if gr.x5t != "" {
		leaf := ev.Certificate
		if leaf == nil {
			leaf = ev.Presented
		}
		if leaf == nil {
			leaf = ev.HeldLeaf
		}
		if leaf == nil {
			return credential.ProofMissing
		}
		if !sameText(Thumbprint(leaf), gr.x5t) {
			return credential.BadProof
		}
		if leaf != ev.Certificate { // one of ours that was ended does not come in by leaving out who has issued it
			if _, ours := credentialID(leaf); ours {
				if _, why := g.examineLeaf(ctx, &Evidence{Certificate: leaf, Source: ev.Source}); why != credential.OK {
					return parentEnded(why)
				}
			}
		}
	}
	if gr.x5t == "" && ev.Presented != nil { // it is shown for nothing, as one that is not good
		return credential.Unbound
	}
	if gr.jkt == "" && ev.DPoP == nil || gr.jkt != "" && sameText(ev.Held, gr.jkt) {
		return credential.OK
	}
	if gr.jkt == "" { // it is no DPoP token, and says so to whoever treats it as one
		return credential.BadProof
	}
	if ev.DPoP == nil {
		return credential.ProofMissing
	}
	jkt, why := g.Possession(ctx, ev.DPoP, ev.Token)
	if why == credential.OK && !sameText(jkt, gr.jkt) {
		return credential.BadProof
	}
	return why
}

// Thumbprint is what binds a token to a certificate (RFC 8705 §3.1).
func Thumbprint(c *x509.Certificate) string { return jwt.CertThumbprint(c) }

func sameText(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (g *Gate) waitFor(why credential.Reason) time.Duration {
	if why == credential.Unavailable {
		return comeAgain
	}
	return 0
}

// beside returns what an identity hangs on beside its own credential.
func (id *Identity) beside() []key {
	if id.with == nil {
		return nil
	}
	ks := []key{id.with.key}
	if a := id.with.access(); a != nil {
		ks = append(ks, a.grant.ancestors...)
		for _, o := range a.others {
			ks = append(ks, o.key)
		}
	}
	return ks
}

// beside returns the identity of an access token beside a certificate of the same principal, which must live as well from then on.
func (g *Gate) beside(ctx context.Context, x, cert *entry, ev *Evidence) (*Identity, Outcome, bool) {
	e, x, why := g.judgeGrantFrom(ctx, x.access().grant, origin{addr: ev.Source}, cert)
	if why != credential.OK {
		return nil, g.refuse(cert.key, why, g.waitFor(why), ev), false
	}
	return g.bindAccess(e, x), Outcome{}, false
}

// AccessToken returns the jti of the access token that an identity came with; "" if it came with something else.
func (id *Identity) AccessToken() string {
	if id.with == nil || id.with.flags&isAccess == 0 {
		return ""
	}
	return id.with.key.String()
}
