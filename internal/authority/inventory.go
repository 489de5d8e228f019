package authority

import (
	"context"
	"slices"
	"time"

	"cardea/internal/credential"
)

const (
	// reviewTime is how long a scope may go unused before the inventory counts its credential as over-privileged.
	reviewTime = 30 * day
	// unusedTime is how long a credential may go unused before the inventory counts it.
	unusedTime = 90 * day
	// mostNames is how many projects and owners the inventory tells apart.
	mostNames = 100
)

// Inventory counts the credentials of the caller's organisation.
func (a *Authority) Inventory(ctx context.Context, c Caller) (credential.Inventory, error) {
	if err := a.Authorize(c, "inventory:read", "/inventory/*"); err != nil {
		return credential.Inventory{}, err
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return credential.Inventory{}, err
	}
	now := a.now()
	return a.store.Inventory(ctx, credential.InventoryQuery{
		Org: c.Org, Now: now, UnusedSince: now.Add(-unusedTime), OverPrivileged: now.Add(-reviewTime), Needed: b.needed(), Most: mostNames,
	})
}

// UsageReport is what a credential was used for since a day.
type UsageReport struct {
	Credential credential.Credential
	Since      time.Time
	Versions   []credential.Usage      // since ever, the newest first
	Slices     []credential.UsageSlice // by day, thing and count; of API keys, personal tokens and application keys only
	Exercised  []credential.Exercise   // since ever
	Sightings  []credential.Sighting   // the newest first
	Suggestion *Suggestion             // nil: there is nothing to take away
}

// Usage reports on the use of a credential in the days up to now.
func (a *Authority) Usage(ctx context.Context, c Caller, id string, days int) (UsageReport, error) {
	rec, err := a.credential(ctx, c, "read", id)
	if err != nil {
		return UsageReport{}, err
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return UsageReport{}, err
	}
	now := a.now()
	r := UsageReport{Credential: rec.Credential, Since: now.Add(-time.Duration(days) * day)}
	if r.Versions, err = a.store.Usage(ctx, id); err != nil {
		return r, err
	}
	if r.Slices, err = a.store.UsageBy(ctx, id, r.Since.Add(day)); err != nil { // today is one of the days
		return r, err
	}
	if r.Exercised, err = a.store.Exercised(ctx, id); err != nil {
		return r, err
	}
	if r.Sightings, err = a.store.Sightings(ctx, id); err != nil {
		return r, err
	}
	r.Suggestion = b.suggest(&rec.Credential, rec.Principal.Roles, r.Exercised, r.Since, now)
	return r, nil
}

// Suggestion is the narrower set of scopes that would have been enough.
type Suggestion struct {
	Since  time.Time // for all that the credential has done since
	Scopes []string  // to be named by the credential
	Idle   []string  // that it has and has made no use of
	Revoke bool      // it has done nothing at all: Scopes would not narrow it
}

// Suggestions returns what would have been enough for each of some listed credentials since an instant; nil where there is nothing to take away.
func (a *Authority) Suggestions(ctx context.Context, c Caller, list []credential.Listed, since time.Time) ([]*Suggestion, error) {
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	all, err := a.store.ExercisedOf(ctx, ids, since)
	if err != nil {
		return nil, err
	}
	done := map[string][]credential.Exercise{}
	for _, e := range all {
		done[e.Credential] = append(done[e.Credential], e)
	}
	now := a.now()
	found := make([]*Suggestion, len(list))
	for i := range list {
		l := &list[i]
		found[i] = b.suggest(&l.Credential, l.Roles, done[l.ID], since, now)
	}
	return found, nil
}

// suggest says which scopes of a credential are idle. One that is younger than the time that is looked at has had no chance yet.
func (b *book) suggest(c *credential.Credential, roles []string, done []credential.Exercise, since, now time.Time) *Suggestion {
	if c.State.Ended() || !c.CreatedAt.Before(since) || !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt) {
		return nil
	}
	has := c.Scopes
	if len(has) == 0 {
		for _, r := range roles {
			has = append(has, b.roles[r].Scopes...)
		}
	}
	has = slices.Compact(slices.Sorted(slices.Values(has)))
	if len(c.Scopes) == 0 && len(has) < 2 {
		return nil // all of the principal's is one scope: its rules can be narrowed, not the credential
	}
	s := &Suggestion{Since: since, Revoke: true}
	for _, name := range has {
		used := slices.ContainsFunc(done, func(e credential.Exercise) bool { return e.Scope == name && !e.LastAt.Before(since) })
		switch {
		case used:
			s.Scopes, s.Revoke = append(s.Scopes, name), false
		case b.denies(name):
			s.Scopes = append(s.Scopes, name)
		default:
			s.Idle = append(s.Idle, name)
		}
	}
	if len(s.Idle) == 0 {
		return nil
	}
	return s
}

// denies reports whether a scope has a rule that denies. Such a one is needed whatever it is used for: without it the
// credential could do more.
func (b *book) denies(scope string) bool {
	return slices.ContainsFunc(b.scopes[scope].Rules, func(r credential.Rule) bool { return r.Permission == credential.Deny })
}

// needed returns the scopes that deny something.
func (b *book) needed() []string {
	var all []string
	for name := range b.scopes {
		if b.denies(name) {
			all = append(all, name)
		}
	}
	return all
}
