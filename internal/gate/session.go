package gate

import (
	"context"
	"net/netip"

	"cardea/internal/credential"
)

// parent is the version of a credential that a session was made with.
type parent struct {
	key   key
	proof int
}

// derived answers for a session whose own token is good: its parent must be accepted too, from where the session
// is used. So whatever ends the parent ends the session, and its rights and limits are the parent's. With again it took time, and
// the session is to be looked at once more.
func (g *Gate) derived(ctx context.Context, v *entry, ev *Evidence, count bool) (e, session *entry, out Outcome, again bool) {
	p, why := g.parentOf(ctx, v, ev.Source)
	switch {
	case why == credential.Unavailable:
		return nil, nil, g.refuse(v.key, why, comeAgain, ev), false
	case why != credential.OK:
		return nil, nil, g.refuse(v.key, why, 0, ev), false
	case v.dead(): // meanwhile
		return nil, nil, Outcome{}, true
	case !count:
		return p, v, Outcome{}, false
	}
	out, again = g.meter(ctx, p, ev)
	if again || out.Reason != credential.OK {
		return nil, nil, out, again
	}
	now := g.clock.nano()
	g.count(v, now, ev)
	g.count(p, now, ev)
	return p, v, out, false
}

// parentOf returns the version that a session was made with, if it is accepted from src. The reason is
// ParentEnded for whatever keeps it from that.
func (g *Gate) parentOf(ctx context.Context, v *entry, src netip.Addr) (*entry, credential.Reason) {
	x := v.cold.Load()
	if x == nil || x.parent.key == (key{}) {
		return nil, credential.ParentEnded
	}
	k := x.parent.key
	h := g.cache.hash(k)
	for range maxRounds {
		e := g.cache.find(k, h)
		if e == nil {
			var why credential.Reason
			if e, why = g.load(ctx, k, h, k.String()); why == credential.Unavailable {
				return nil, why
			}
		}
		for ; e != nil && e.made.Proof != x.parent.proof; e = e.older {
		}
		if e == nil || !e.hasSessions() || e.made.PrincipalID != v.made.PrincipalID || e.made.Org != v.made.Org {
			return nil, credential.ParentEnded
		}
		why := e.judge(g.clock.nano(), src)
		switch {
		case e.dead():
		case why != credential.OK:
			return nil, credential.ParentEnded
		default:
			return e, credential.OK
		}
	}
	return nil, credential.Unavailable
}

// hasSessions reports whether sessions are made of credentials of e's kind.
func (e *entry) hasSessions() bool {
	return e.made.Kind == credential.AppKey || e.made.Kind == credential.Password
}

// Session returns the ID of the session that an identity came with; "" if it came with something else.
func (id *Identity) Session() string {
	if id.with == nil || id.with.flags&isDerived == 0 {
		return ""
	}
	return id.with.made.Credential
}
