package gate

import (
	"context"

	"cardea/internal/credential"
)

// Assume returns the identity of a credential without any proof of it: for a
// listener whose configuration says in so many words that callers who show
// nothing are it. State, times and networks are judged as for everybody, and its use is counted.
func (g *Gate) Assume(ctx context.Context, id string, ev *Evidence) (*Identity, Outcome) {
	k := keyOf(id)
	h := g.cache.hash(k)
	if k == (key{}) {
		return nil, g.refuse(k, credential.UnknownCredential, 0, ev)
	}
	if g.blind(g.clock.Mono()) {
		return nil, g.refuse(k, credential.Unavailable, comeAgain, ev)
	}
	for range maxRounds {
		e := g.cache.find(k, h)
		if e == nil {
			var why credential.Reason
			if e, why = g.load(ctx, k, h, id); e == nil {
				return nil, g.refuse(k, why, 0, ev)
			}
		}
		now := g.clock.nano()
		why := e.judge(now, ev.Source)
		if e.dead() {
			continue
		}
		if why == credential.OK && e.flags&isDerived != 0 {
			why = credential.ParentEnded // a session is nothing to configure
		}
		if why != credential.OK {
			return nil, g.refuse(k, why, 0, ev)
		}
		out, again := g.meter(ctx, e, ev)
		if again {
			continue
		}
		if out.Reason != credential.OK {
			return nil, out
		}
		g.countAt(e, h, now, ev)
		return g.identity(e), out
	}
	return nil, g.refuse(k, credential.Unavailable, comeAgain, ev)
}

// Bears reports whether a device of an organisation has this name. The error is of the kinds of [credential.Catalog].
func (g *Gate) Bears(ctx context.Context, org, name string) (bool, error) {
	kind, err := g.bearer(ctx, org, name)
	return kind == credential.Device, err
}

// bearer returns what sort of principal has a name; "" if none has.
func (g *Gate) bearer(ctx context.Context, org, name string) (credential.PrincipalKind, error) {
	if credential.CheckName(name) != "" {
		return "", nil
	}
	u := userName{org: org, name: name}
	kind, known, changes := g.names.bearer(u, g.clock.Mono())
	if known {
		return kind, nil
	}
	p, err := g.store.Principal(ctx, org, name)
	if err != nil && !credential.IsNotFound(err) {
		return "", err
	}
	if err == nil && p.Name == name && p.DeletedAt.IsZero() { // it may also be found by its ID
		kind = constantKind(p.Kind)
	}
	if kind != credential.Device {
		g.names.setBearer(u, kind, g.clock.Mono(), changes)
	}
	return kind, nil
}
