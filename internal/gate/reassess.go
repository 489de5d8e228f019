package gate

import (
	"context"
	"errors"

	"cardea/internal/credential"
)

// reassess looks again at the sessions of a credential. It returns when those
// that may not go on were cut. An error means that some were cut because it
// could not be found out whether they may.
func (g *Gate) reassess(ctx context.Context, k key) error {
	var errs []error
	for _, w := range g.sessions.of(k) {
		errs = append(errs, g.reassessOne(ctx, w))
	}
	return errors.Join(errs...)
}

// reassessRights looks again at the sessions whose rights are not what they were.
func (g *Gate) reassessRights(ctx context.Context) error {
	var errs []error
	for _, w := range g.sessions.all() {
		id := w.identity()
		if id.compiled != id.rights().cur.Load() || id.entry.federated() != nil || !g.holds(id) {
			errs = append(errs, g.reassessOne(ctx, w))
		}
	}
	return errors.Join(errs...)
}

// reassessTokens looks again at the sessions that came with access tokens: what signed them may have gone.
func (g *Gate) reassessTokens(ctx context.Context) error {
	var errs []error
	for _, w := range g.sessions.all() {
		if w.identity().AccessToken() != "" {
			errs = append(errs, g.reassessOne(ctx, w))
		}
	}
	return errors.Join(errs...)
}

// reassessAll looks again at all sessions.
func (g *Gate) reassessAll(ctx context.Context) error {
	var errs []error
	for _, w := range g.sessions.all() {
		errs = append(errs, g.reassessOne(ctx, w))
	}
	return errors.Join(errs...)
}

// reassessOne looks again at one session. Those of one credential are looked
// at one after the other, so that a session is told of its identities in order.
func (g *Gate) reassessOne(ctx context.Context, w *Watched) error {
	mu := &g.reassessing[g.cache.hash(w.own.key)>>(64-shardBits)]
	mu.Lock()
	defer mu.Unlock()
	switch w.state.Load() {
	case starting:
		if w.state.CompareAndSwap(starting, retry) {
			return nil // Watch looks itself
		}
	case retry:
		return nil
	case cutting:
		w.await()
		return nil
	case ended:
		return nil
	}
	old := w.identity()
	id, why := g.renew(ctx, old, origin{addr: w.live.Source})
	if why == credential.OK && id != old {
		why = g.goOn(w, id)
	}
	if why == credential.OK {
		return nil
	}
	w.cut(why)
	if why == credential.Unavailable {
		return credential.Errorf(credential.Down, "it could not be read whether sessions of credential %s may go on; they were cut", old.Credential)
	}
	return nil
}

// goOn gives a session its new identity, unless that may not do what the session does.
func (g *Gate) goOn(w *Watched, id *Identity) credential.Reason {
	if a := w.live.Access; a != nil {
		if d := id.may().Decide(a); !d.Allowed() {
			return d.Reason
		}
	}
	w.id.Store(id)
	w.deadline.Store(deadlineOf(id))
	g.deadlines.expect(w)
	if w.live.Changed != nil && w.state.Load() == living {
		g.tell(w, id)
	}
	return credential.OK
}

// tell calls Changed. If that panics the session is not known to have understood, and is cut.
func (g *Gate) tell(w *Watched, id *Identity) {
	defer func() {
		if p := recover(); p != nil {
			g.log.Error("a session could not be told of a change", "session", w.name(), "panic", p)
			w.cut(credential.Unavailable)
		}
	}()
	w.live.Changed(id)
}
