package authority

import (
	"context"
	"slices"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// NewAuthenticator asks for an authenticator, or for what one shall be instead.
type NewAuthenticator struct {
	Type           credential.AuthenticatorType
	Listener       string
	Enabled        bool
	Precondition   string
	Scopes         []string
	AllowSuperuser bool
	DenyOnFailure  bool
	Backend        *credential.Backend       // nil: none was given
	Issuer         *credential.TrustedIssuer // jwt; nil or empty: Cardea's own access tokens
	Version        int64                     // Put: as read; 0: whatever it is now
	Idempotency    string                    // Create
}

// AuthenticatorPatch changes the fields that are not nil.
type AuthenticatorPatch struct {
	Enabled      *bool
	Precondition *string
	Version      int64
}

// Authenticator is one as callers see it.
type Authenticator struct {
	credential.Authenticator                     // without Sealed
	Backend                  *credential.Backend // with [Mask] in place of secrets; nil for types that ask nobody
	Warnings                 []string
}

// maxChain is how many authenticators a chain may have.
const maxChain = 32

// authenticatorsLock is held while a chain changes, so that its order and its bounds are those of all nodes.
const authenticatorsLock = "authenticators"

// Authenticators lists the chain of a listener in its order, or those of all listeners.
func (a *Authority) Authenticators(ctx context.Context, c Caller, listener string) ([]Authenticator, error) {
	name := "*"
	if listener != "" {
		name = objectOf(listener)
	}
	if err := a.Authorize(c, "authenticators:read", "/authenticators/"+name); err != nil {
		return nil, err
	}
	all, err := a.chains(ctx, c.Org)
	if err != nil {
		return nil, err
	}
	out := []Authenticator{}
	for _, one := range all {
		if listener != "" && one.Listener != listener {
			continue
		}
		shown, err := a.shown(one)
		if err != nil {
			return nil, err
		}
		out = append(out, shown)
	}
	return out, nil
}

// Authenticator returns one.
func (a *Authority) Authenticator(ctx context.Context, c Caller, id string) (Authenticator, error) {
	return a.AuthenticatorFor(ctx, c, "read", id)
}

// AuthenticatorFor returns one to a caller who has the right to do verb with it: "read", or "test" for who tries it.
func (a *Authority) AuthenticatorFor(ctx context.Context, c Caller, verb, id string) (Authenticator, error) {
	one, _, err := a.authenticator(ctx, c, verb, id)
	if err != nil {
		return Authenticator{}, err
	}
	return a.shown(one)
}

// CreateAuthenticator appends one to the chain of its listener.
// Errors: Invalid, NoRight, Exists for a second one that looks at Cardea's own credentials of a kind, Conflict for a full chain.
func (a *Authority) CreateAuthenticator(ctx context.Context, c Caller, n NewAuthenticator) (Authenticator, error) {
	if err := a.Authorize(c, "authenticators:create", "/authenticators/"+objectOf(n.Listener)); err != nil {
		return Authenticator{}, err
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return Authenticator{}, err
	}
	asked := n
	asked.Backend = masked(n.Backend) // what is remembered of a request must not help to guess a secret of it
	m, err := newMemo(c, "CreateAuthenticator", n.Idempotency, asked)
	if err != nil {
		return Authenticator{}, err
	}
	if err := m.hideBackend(n.Backend); err != nil {
		return Authenticator{}, err
	}
	if n.Backend, err = a.checkAuthenticator(ctx, &n, nil, b); err != nil {
		return Authenticator{}, err
	}
	var made credential.Authenticator
	err = a.store.Exclusive(ctx, authenticatorsLock, func(ctx context.Context) error {
		r, err := a.once(ctx, m, func() (reply, error) { return a.createAuthenticator(ctx, c, &n, b, m) })
		if err == nil {
			made = *r.Authenticator
		}
		return err
	})
	if err != nil {
		return Authenticator{}, err
	}
	return a.warned(made)
}

func (a *Authority) createAuthenticator(ctx context.Context, c Caller, n *NewAuthenticator, b *book, m *memo) (reply, error) {
	all, err := a.chains(ctx, c.Org)
	if err != nil {
		return reply{}, err
	}
	var p credential.Problems
	if err := a.checkListener(ctx, &p, n); err != nil {
		return reply{}, err
	}
	if err := p.Err(); err != nil { // the route has gone meanwhile
		return reply{}, err
	}
	chain := chainOf(all, n.Listener)
	if len(chain) >= maxChain {
		return reply{}, credential.Errorf(credential.Conflict, "the chain of %s has %d authenticators, which is the most that one can have", n.Listener, maxChain)
	}
	if n.Type == credential.ByJWT {
		err = sameTrust(chain, "", n.Listener, n.Issuer)
	}
	if err != nil {
		return reply{}, err
	}
	if n.Type != credential.ByJWT && !n.Type.Remote() && slices.ContainsFunc(chain, func(x credential.Authenticator) bool { return x.Type == n.Type }) {
		return reply{}, credential.Errorf(credential.Exists, "the chain of %s has an authenticator of type %s already", n.Listener, n.Type)
	}
	if err := mayTrust(c, b, n); err != nil {
		return reply{}, err
	}
	id, err := secret.NewID(secret.IDLen)
	if err != nil {
		return reply{}, err
	}
	ch := a.begin(c)
	one := n.stored(credential.Authenticator{ID: id, Org: c.Org, Type: n.Type, Listener: n.Listener, Rank: behind(chain), CreatedAt: ch.at})
	if one.Sealed, err = a.sealBackend(&one, n.Backend); err != nil {
		return reply{}, err
	}
	d := details{}
	for field, value := range describe(&one, n.Backend) {
		d.put(field, value)
	}
	ch.do(credential.PutAuthenticator{Authenticator: one}, "authenticator.create", aboutAuthenticator(&one), d)
	one.Version = 1
	r := reply{Authenticator: &one}
	if err := a.remember(ch, m, r); err != nil {
		return reply{}, err
	}
	return r, a.commit(ctx, ch)
}

// stored is one with what n says of it.
func (n *NewAuthenticator) stored(one credential.Authenticator) credential.Authenticator {
	one.Enabled, one.Precondition, one.Scopes = n.Enabled, n.Precondition, slices.Clone(n.Scopes)
	one.AllowSuperuser, one.DenyOnFailure, one.Issuer = n.AllowSuperuser, n.DenyOnFailure, n.Issuer
	return one
}

// PutAuthenticator replaces all of one but its type, its listener and its place. A secret that is given as [Mask] stays.
// What cannot work is refused, and what was before stays in force. One that changes nothing leaves no event.
func (a *Authority) PutAuthenticator(ctx context.Context, c Caller, id string, n NewAuthenticator) (Authenticator, error) {
	return a.changeAuthenticator(ctx, c, id, n.Version, func(ctx context.Context, old credential.Authenticator) (credential.Authenticator, *credential.Backend, error) {
		var p credential.Problems
		if n.Type != "" && n.Type != old.Type {
			p.Add("type", "cannot be changed: make another authenticator and delete this one")
		}
		if n.Listener != "" && n.Listener != old.Listener {
			p.Add("listener", "cannot be changed: make another authenticator and delete this one")
		}
		if err := p.Err(); err != nil {
			return old, nil, err
		}
		n := n
		n.Type, n.Listener = old.Type, old.Listener
		b, err := a.book(ctx, c.Org)
		if err != nil {
			return old, nil, err
		}
		before, err := a.backendOf(&old)
		if err != nil {
			return old, nil, err
		}
		if n.Backend, err = a.checkAuthenticator(ctx, &n, before, b); err != nil {
			return old, nil, err
		}
		now := n.stored(old)
		if old.Type == credential.ByJWT {
			all, err := a.chains(ctx, c.Org)
			if err == nil {
				err = sameTrust(chainOf(all, old.Listener), old.ID, old.Listener, now.Issuer)
			}
			if err != nil {
				return old, nil, err
			}
		}
		if !sameButSwitch(&old, &now) || now.Enabled && !old.Enabled || !sameBackend(before, n.Backend) {
			err = mayTrust(c, b, &n)
		}
		return now, n.Backend, err
	})
}

// UpdateAuthenticator changes switch and precondition.
func (a *Authority) UpdateAuthenticator(ctx context.Context, c Caller, id string, patch AuthenticatorPatch) (Authenticator, error) {
	return a.changeAuthenticator(ctx, c, id, patch.Version, func(ctx context.Context, old credential.Authenticator) (credential.Authenticator, *credential.Backend, error) {
		now := old
		if patch.Enabled != nil {
			now.Enabled = *patch.Enabled
		}
		if patch.Precondition != nil {
			now.Precondition = *patch.Precondition
			var p credential.Problems
			checkPrecondition(&p, now.Precondition)
			if err := p.Err(); err != nil {
				return old, nil, err
			}
		}
		backend, err := a.backendOf(&old)
		if err != nil {
			return old, nil, err
		}
		if now.Precondition != old.Precondition || now.Enabled && !old.Enabled {
			var b *book
			if b, err = a.book(ctx, c.Org); err != nil {
				return old, nil, err
			}
			err = mayTrust(c, b, &NewAuthenticator{Type: now.Type, Listener: now.Listener, Scopes: now.Scopes, AllowSuperuser: now.AllowSuperuser, Issuer: now.Issuer})
		}
		return now, backend, err
	})
}

// changeAuthenticator writes what change makes of an authenticator, unless it makes nothing else of it.
func (a *Authority) changeAuthenticator(ctx context.Context, c Caller, id string, version int64,
	change func(context.Context, credential.Authenticator) (credential.Authenticator, *credential.Backend, error),
) (Authenticator, error) {
	var done credential.Authenticator
	err := a.exclusively(ctx, version, func(ctx context.Context) error {
		old, _, err := a.authenticator(ctx, c, "update", id)
		if err != nil {
			return err
		}
		if err := checkVersion("authenticator", version, old.Version); err != nil {
			return err
		}
		now, backend, err := change(ctx, old)
		if err != nil {
			return err
		}
		before, err := a.backendOf(&old)
		if err != nil {
			return err
		}
		d := differences(&old, &now, before, backend)
		if done = old; len(d) == 0 {
			return nil
		}
		if !sameBackend(before, backend) {
			if now.Sealed, err = a.sealBackend(&now, backend); err != nil {
				return err
			}
		}
		ch := a.begin(c)
		ch.do(credential.PutAuthenticator{Authenticator: now}, "authenticator.update", aboutAuthenticator(&now), d)
		if err := a.commit(ctx, ch); err != nil {
			return err
		}
		done = now
		done.Version++
		return nil
	})
	if err != nil {
		return Authenticator{}, err
	}
	return a.warned(done)
}

// DeleteAuthenticator takes one out of its chain.
func (a *Authority) DeleteAuthenticator(ctx context.Context, c Caller, id string) error {
	return a.exclusively(ctx, 0, func(ctx context.Context) error {
		one, _, err := a.authenticator(ctx, c, "delete", id)
		if err != nil {
			return err
		}
		backend, err := a.backendOf(&one)
		if err != nil {
			return err
		}
		d := details{}
		for field, value := range describe(&one, backend) {
			d.put(field, value)
		}
		ch := a.begin(c)
		ch.do(credential.DeleteAuthenticator{ID: one.ID, Version: one.Version}, "authenticator.delete", aboutAuthenticator(&one), d)
		return a.commit(ctx, ch)
	})
}

// exclusively acts while no chain changes, and again if what it read has changed all the same.
func (a *Authority) exclusively(ctx context.Context, version int64, act func(context.Context) error) error {
	return a.store.Exclusive(ctx, authenticatorsLock, func(ctx context.Context) error {
		_, err := retry(version, func() (none, error) { return none{}, act(ctx) })
		return err
	})
}

// authenticator finds one, asks for a right on it, and returns it with its chain.
func (a *Authority) authenticator(ctx context.Context, c Caller, verb, id string) (credential.Authenticator, []credential.Authenticator, error) {
	hidden := notFound("authenticator", id)
	all, err := a.chains(ctx, c.Org)
	if err != nil {
		return credential.Authenticator{}, nil, err
	}
	at := slices.IndexFunc(all, func(x credential.Authenticator) bool { return x.ID == id })
	if at < 0 {
		return credential.Authenticator{}, nil, hidden
	}
	if err := a.permit(c, "authenticators", verb, objectOf(all[at].Listener), hidden); err != nil {
		return credential.Authenticator{}, nil, err
	}
	return all[at], chainOf(all, all[at].Listener), nil
}

// objectOf is the name of a listener in the object of a right: "default", "db/" for the route "/db/".
func objectOf(listener string) string { return strings.TrimPrefix(listener, "/") }

// chains returns the authenticators of an organisation by listener, each chain in its order.
func (a *Authority) chains(ctx context.Context, org string) ([]credential.Authenticator, error) {
	p, err := a.store.Policy(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(p.Authenticators, func(x credential.Authenticator) bool { return x.Org != org }), nil
}

func chainOf(all []credential.Authenticator, listener string) []credential.Authenticator {
	var chain []credential.Authenticator
	for _, x := range all {
		if x.Listener == listener {
			chain = append(chain, x)
		}
	}
	return chain
}

// shown is one without secrets.
func (a *Authority) shown(one credential.Authenticator) (Authenticator, error) {
	backend, err := a.backendOf(&one)
	if err != nil {
		return Authenticator{}, err
	}
	one.Sealed, one.Scopes, one.Issuer = nil, slices.Clone(one.Scopes), ownIssuer(one.Issuer) // the store shares what it answers
	return Authenticator{Authenticator: one, Backend: masked(backend)}, nil
}

// warned is shown with what may surprise.
func (a *Authority) warned(one credential.Authenticator) (Authenticator, error) {
	out, err := a.shown(one)
	if err == nil && a.listeners != nil && !strings.HasPrefix(one.Listener, "/") && one.Listener != credential.ListenerGRPC && !slices.Contains(a.listeners(), one.Listener) {
		out.Warnings = append(out.Warnings, "this node has no MQTT listener "+one.Listener+": the chain counts where one of that name runs")
	}
	return out, err
}

func aboutAuthenticator(one *credential.Authenticator) credential.Subject {
	return credential.Subject{Kind: "authenticator", ID: one.ID, Name: one.Listener}
}
