package gate

import (
	"context"
	"net/netip"
	"time"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// againTime is how long Authorize looks for what has become of an identity.
const againTime = 2 * time.Second

// Authorize answers "may it", by the rights of the identity as of now. It does
// not allocate, but for subscriptions and very long values where rules have templates. If the identity's credential was changed since it was
// authenticated, that is looked at again, and the reason of the decision may
// be any that Authenticate gives.
func (g *Gate) Authorize(id *Identity, a *policy.Access) policy.Decision {
	if id == nil {
		return policy.Decision{Reason: credential.NoCredential}
	}
	if id.entry.dead() || id.with != nil || id.entry.revision < 0 || g.shut.Load() != 0 {
		return g.authorizeAgain(id, a)
	}
	c := id.entry.rights.cur.Load()
	d := c.of(&id.entry.made.Holder).Decide(a)
	if d.Reason != credential.OK {
		g.denied(id.entry, a, d.Reason)
	} else if !id.entry.hasDone(c, d) {
		g.exercise(id.entry, c, d)
	}
	return d
}

// authorizeAgain is Authorize where the identity may not hold any more.
func (g *Gate) authorizeAgain(id *Identity, a *policy.Access) policy.Decision {
	if g.shut.Load() != 0 {
		g.denied(id.entry, a, credential.Unavailable)
		return policy.Decision{Reason: credential.Unavailable}
	}
	now, why := g.now(id, origin{addr: a.Source})
	if why != credential.OK {
		g.denied(id.entry, a, why)
		return policy.Decision{Reason: why}
	}
	c := now.rights().cur.Load()
	d := c.of(&now.Holder).Decide(a)
	if d.Reason != credential.OK {
		g.denied(now.entry, a, d.Reason)
	} else if !now.entry.hasDone(c, d) {
		g.exercise(now.entry, c, d)
	}
	return d
}

// now returns the identity that stands for another one now, looked up in a
// limited time if need be.
func (g *Gate) now(id *Identity, from origin) (*Identity, credential.Reason) {
	if !id.entry.dead() && g.holds(id) {
		return id, credential.OK
	}
	ctx, cancel := context.WithTimeout(g.ctx, againTime)
	defer cancel()
	return g.renew(ctx, id, from)
}

// holds reports whether what an identity has beside its entry needs no closer look.
func (g *Gate) holds(id *Identity) bool {
	switch {
	case id.with == nil:
		f := id.entry.federated()
		return f == nil || f.turn.Load() == g.turns.Load() && g.clock.nano() < id.entry.deadline
	case id.with.flags&isAccess != 0:
		return g.stands(id.with, id.entry)
	}
	return !id.with.dead()
}

// origin is where somebody is now. Whoever does not ask about it is anywhere.
type origin struct {
	addr     netip.Addr
	anywhere bool
}

// renew judges an identity again, without its secret: the same version of the
// same credential must still be accepted. It returns the identity as of now.
func (g *Gate) renew(ctx context.Context, id *Identity, from origin) (*Identity, credential.Reason) {
	switch {
	case id.with != nil && id.with.flags&isAccess != 0:
		return g.renewAccess(ctx, id, from)
	case id.entry.federated() != nil:
		return g.renewFederated(ctx, id)
	}
	e, why := g.successor(ctx, id.entry, from)
	if why != credential.OK {
		return nil, why
	}
	if id.with == nil {
		return g.identity(e), credential.OK
	}
	cert, why := g.successor(ctx, id.with, from)
	if why != credential.OK {
		return nil, why
	}
	return g.bind(e, cert), credential.OK
}

// successor returns what is in the table for an entry: itself, or the entry of
// the same version that was read after. A version that is gone was ended.
func (g *Gate) successor(ctx context.Context, old *entry, from origin) (*entry, credential.Reason) {
	h := g.cache.hash(old.key)
	for range maxRounds {
		e := old
		if old.dead() {
			if e = g.cache.find(old.key, h); e == nil {
				var why credential.Reason
				if e, why = g.load(ctx, old.key, h, old.made.Credential); e == nil {
					return nil, why
				}
			}
			if e = e.version(old.made.Proof, &old.hash); e == nil || e.made.PrincipalID != old.made.PrincipalID {
				return nil, credential.Revoked // a key that was given to somebody else is a new one to whoever used it
			}
		}
		now := g.clock.nano()
		why := e.standing(now)
		if why == credential.OK && !from.anywhere {
			why = e.judge(now, from.addr)
		}
		if e.dead() {
			continue
		}
		if why != credential.OK {
			return nil, why
		}
		return e, credential.OK
	}
	return nil, credential.Unavailable
}

// denied notes that an access was refused.
func (g *Gate) denied(e *entry, a *policy.Access, why credential.Reason) {
	g.refusals.add(e.key, why, doorOf(a.Proto), a.Source, g.clock.nano())
}

func doorOf(p policy.Proto) string {
	switch p {
	case policy.HTTP:
		return "http"
	case policy.MQTT:
		return "mqtt"
	case policy.GRPC:
		return "grpc"
	case policy.API:
		return "api"
	}
	return ""
}

// Rights returns the compiled rights of an identity as of now, for the
// authority. An identity that is not accepted any more has none.
func (g *Gate) Rights(id *Identity) policy.Rights {
	if id == nil || g.shut.Load() != 0 {
		return policy.Rights{}
	}
	now, why := g.now(id, origin{anywhere: true})
	if why != credential.OK {
		return policy.Rights{}
	}
	return now.mayNow()
}
