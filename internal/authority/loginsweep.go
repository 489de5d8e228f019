package authority

import (
	"context"
	"slices"
	"time"

	"cardea/internal/credential"
)

// sweepBatch is how many sessions end in one change.
const sweepBatch = 200

// SweepSessions ends the sessions that have expired, that were not used for as long as their policy says, or whose parent has ended.
// Call it every minute; one node at a time does it.
func (a *Authority) SweepSessions(ctx context.Context) error {
	return a.store.Exclusive(ctx, "sessions", func(ctx context.Context) error {
		pol, err := a.store.Policy(ctx)
		if err != nil {
			return err
		}
		orgs := []string{credential.DefaultOrg}
		for _, o := range pol.Orgs {
			if o.Name != credential.DefaultOrg {
				orgs = append(orgs, o.Name)
			}
		}
		for _, org := range orgs {
			if err := a.sweepSessions(ctx, &pol, org); err != nil {
				return err
			}
		}
		return nil
	})
}

// over is a session that ends, and why.
type over struct {
	credential.Listed
	why string
}

func (a *Authority) sweepSessions(ctx context.Context, pol *credential.Policy, org string) error {
	_, err := retry(0, func() (none, error) {
		all, err := a.oldSessions(ctx, pol, org)
		if err != nil {
			return none{}, err
		}
		for batch := range slices.Chunk(all, sweepBatch) {
			c := system()
			c.Org = org
			ch := a.begin(c)
			for _, o := range batch {
				endSession(ch, o.Credential, o.PrincipalName, o.why)
			}
			if err := a.commit(ctx, ch); err != nil {
				return none{}, err
			}
		}
		return none{}, nil
	})
	return err
}

func (a *Authority) oldSessions(ctx context.Context, pol *credential.Policy, org string) ([]over, error) {
	var all []over
	expired := credential.CredentialFilter{Org: org, Kind: credential.SessionKey, Status: "expired"}
	err := a.eachCredential(ctx, expired, func(l credential.Listed) error {
		all = append(all, over{l, "it has expired"})
		return nil
	})
	if err != nil {
		return nil, err
	}
	shortest := time.Minute
	for _, k := range []credential.Kind{credential.AppKey, credential.Password} {
		if idle := pol.OfKind(org, k).SessionIdle; idle > 0 {
			shortest = min(shortest, idle)
		}
	}
	now := a.now()
	parents := map[string]credential.Record{}
	unused := credential.CredentialFilter{
		Org: org, Kind: credential.SessionKey, Status: "active", UnusedSince: now.Add(-shortest), CreatedBefore: now.Add(-shortest),
	}
	err = a.eachCredential(ctx, unused, func(l credential.Listed) error {
		parent, known := parents[l.Parent]
		if !known {
			var err error
			if parent, err = a.store.Credential(ctx, l.Parent); err != nil && !credential.IsNotFound(err) {
				return err
			}
			parents[l.Parent] = parent
		}
		if why := endsBecause(&l, &parent.Credential, pol, now); why != "" {
			all = append(all, over{l, why})
		}
		return nil
	})
	return all, err
}

// endsBecause says why a session is over; "" if it goes on.
func endsBecause(l *credential.Listed, parent *credential.Credential, pol *credential.Policy, now time.Time) string {
	if !hasSessions(parent.Kind) || parent.State.Ended() || indexOf(aliveProofs(parent, now), l.ParentProof) < 0 {
		return "what it was made with has ended"
	}
	seen := l.CreatedAt
	if l.LastUsedAt.After(seen) {
		seen = l.LastUsedAt
	}
	if idle := pol.OfKind(l.Org, parent.Kind).SessionIdle; idle > 0 && now.Sub(seen) >= idle {
		return "it was not used for " + idle.String()
	}
	return ""
}
