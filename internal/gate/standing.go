package gate

import (
	"context"
	"net/netip"

	"cardea/internal/credential"
)

// Standing returns the identity of a credential of an organisation as of now, without a proof of it:
// for whoever has had it proven to [Gate.Authenticate] before, and asks again by its id. State, times and
// networks are judged as for everybody; it counts as no use. The identity is nil unless the reason is OK.
func (g *Gate) Standing(ctx context.Context, org, id string, source netip.Addr) (*Identity, Outcome) {
	k := keyOf(id)
	if k == (key{}) {
		return nil, Outcome{Reason: credential.UnknownCredential}
	}
	if g.blind(g.clock.Mono()) {
		return nil, Outcome{Reason: credential.Unavailable, RetryAfter: comeAgain}
	}
	h := g.cache.hash(k)
	for range maxRounds {
		e := g.cache.find(k, h)
		if e == nil {
			var why credential.Reason
			if e, why = g.load(ctx, k, h, id); e == nil {
				return nil, Outcome{Reason: why, RetryAfter: comeAgain}
			}
		}
		if e.made.Org != org {
			return nil, Outcome{Reason: credential.UnknownCredential} // W07
		}
		why := e.judge(g.clock.nano(), source)
		switch {
		case e.dead():
		case why != credential.OK:
			return nil, Outcome{Reason: why}
		case e.flags&isDerived != 0:
			p, why := g.parentOf(ctx, e, source)
			if why != credential.OK {
				return nil, Outcome{Reason: why, RetryAfter: comeAgain}
			}
			return g.bind(p, e), Outcome{}
		default:
			return g.identity(e), Outcome{}
		}
	}
	return nil, Outcome{Reason: credential.Unavailable, RetryAfter: comeAgain}
}
