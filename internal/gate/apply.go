package gate

import (
	"context"
	"errors"
	"slices"
	"time"

	"cardea/internal/credential"
)

// applyTime bounds what Apply asks of the store.
const applyTime = 10 * time.Second

// Apply is told of changes, by the authority on this node and by the change
// feed, in any order and more than once. See [credential.Gate].
func (g *Gate) Apply(ctx context.Context, touched []credential.Touch) error {
	if len(touched) == 0 {
		return nil
	}
	g.clock.Sync() // the authority may have acted by a clock that has just stepped forward
	var t touches
	for i := range touched {
		t.add(&touched[i])
	}
	raise(&g.floor, t.last) // what is looked up from now on must know of them
	ks := append(g.forget(&t), g.deny(t.token)...)
	// The change is made: that its author hangs up must not keep it from being applied.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), applyTime)
	defer cancel()

	// From here on nothing new starts on what was known; now for what lives.
	var errs []error
	if t.keys {
		errs = append(errs, g.turnSigning(ctx), g.reassessTokens(ctx))
	}
	if t.policy {
		errs = append(errs, g.applyPolicy(ctx, &t))
	}
	for _, k := range ks {
		errs = append(errs, g.reassess(ctx, k))
	}
	return errors.Join(errs...)
}

// touches are what some changes concern.
type touches struct {
	last       int64 // the highest revision
	policy     bool  // scopes, roles, routes, authenticators, organisations, projects or formats
	least      int64 // revision that the policy must have
	orgs       []string
	credential map[string]int64 // revision by ID
	principal  map[string]int64
	token      map[denial]bool // access tokens that were revoked
	keys       bool            // those that sign
}

func (t *touches) add(one *credential.Touch) {
	t.last = max(t.last, one.Seq)
	switch one.Subject.Kind {
	case "credential":
		note(&t.credential, one)
	case "principal":
		note(&t.principal, one)
	case "token":
		if k := keyOf(one.Subject.ID); k != (key{}) {
			if t.token == nil {
				t.token = map[denial]bool{}
			}
			t.token[denial{one.Org, k}] = true
		}
	case "key":
		t.keys = true
	case "scope", "role", "route", "authenticator", "org", "project", "format", "api":
		t.policy = true
		t.least = max(t.least, one.Seq)
		switch org := one.Org; one.Subject.Kind {
		case "route", "authenticator", "format":
		case "org": // which another one may have changed
			org = one.Subject.ID
			fallthrough
		default:
			if !slices.Contains(t.orgs, org) {
				t.orgs = append(t.orgs, org)
			}
		}
	}
}

// note keeps the highest revision; 0, which is unknown, is higher than all.
func note(m *map[string]int64, one *credential.Touch) {
	if *m == nil {
		*m = map[string]int64{}
	}
	seq, ok := (*m)[one.Subject.ID]
	if !ok || one.Seq <= 0 || seq > 0 && one.Seq > seq {
		(*m)[one.Subject.ID] = max(0, one.Seq)
	}
}

// forget takes what was touched out of the cache and returns the credentials
// whose sessions are to be looked at.
func (g *Gate) forget(t *touches) []key {
	ks := make([]key, 0, len(t.credential))
	if len(t.credential)+len(t.principal) > 0 {
		g.names.changed()
	}
	if len(t.principal) > 0 || t.policy {
		g.turns.Add(1)
	}
	for id, seq := range t.credential {
		if k := keyOf(id); k != (key{}) {
			g.drop(k, seq)
			ks = append(ks, k)
		}
	}
	for id, seq := range t.principal {
		g.outdateAll(seq)
		for _, k := range g.cache.owners.keys(id) {
			g.drop(k, seq)
		}
	}
	if len(t.principal) > 0 {
		ks = append(ks, g.sessions.keysOf(t.principal)...)
	}
	return ks
}

// applyPolicy makes sure that the policy is at least as new as the touches and
// looks at the sessions whose rights have changed.
func (g *Gate) applyPolicy(ctx context.Context, t *touches) error {
	err := g.reload(ctx, t.least)
	if err == nil {
		return g.reassessRights(ctx)
	}
	// What anybody of these organisations may is not known.
	for _, w := range g.sessions.all() {
		if slices.Contains(t.orgs, w.identity().Org) {
			w.cut(credential.Unavailable)
		}
	}
	return err
}

// reload reads the policy unless it has the revision already; 0 reads it in
// any case. If it cannot, the gate decides nothing until it can.
func (g *Gate) reload(ctx context.Context, least int64) error {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	if least > 0 && g.book.rev.Load() >= least && g.shut.Load()&lawless == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	p, err := g.store.Policy(ctx)
	if err == nil && p.Revision < max(least, g.book.rev.Load()) {
		err = credential.Errorf(credential.Down, "the database answers with scopes and roles of revision %d, after those of revision %d were seen",
			p.Revision, max(least, g.book.rev.Load()))
	}
	if err != nil {
		g.close(lawless)
		g.log.Error("scopes, roles and routes cannot be read: everything is refused until they can", "error", err)
		return err
	}
	g.book.turn(p)
	g.turn(p.Authenticators)
	g.turnFormats(p.Formats)
	g.turnAPIs(p.APIs)
	g.turns.Add(1)
	g.open(lawless)
	return nil
}
