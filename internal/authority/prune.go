package authority

import (
	"context"
	"time"

	"cardea/internal/credential"
)

// maxPrune is how many credentials are deleted in one change: it holds up nobody else for long.
const maxPrune = 500

// Doomed says which credentials are to be deleted: those that have expired, and only if Unexpired says so those that have not.
type Doomed struct {
	Kinds      []credential.Kind // none: all that can be asked for
	Principal  string            // name or ID; "" for everybody's
	Expired    bool
	Unexpired  bool
	ExpiredFor time.Duration // only those that have been expired for so long
	DryRun     bool          // only say which
	Reason     string
}

// Pruned is what was deleted, or would be.
type Pruned struct {
	Credentials []credential.Listed // as they were, the newest first
	More        bool                // there are more, for the next call
}

// DeleteCredentials deletes what is doomed, at most 500 in a call, with an event for each. A credential that was given a later
// end meanwhile stays (L06). It needs credentials:delete on /credentials/*, or on the principal's. Errors: Invalid, NotFound, NoRight, Down.
func (a *Authority) DeleteCredentials(ctx context.Context, c Caller, d Doomed) (Pruned, error) {
	f, err := a.doomed(ctx, c, &d)
	if err != nil {
		return Pruned{}, err
	}
	return retry(0, func() (Pruned, error) {
		ch := a.begin(c)
		p, err := a.pick(ctx, f, &d, ch.at)
		if err != nil || d.DryRun || len(p.Credentials) == 0 {
			return p, err
		}
		for _, l := range p.Credentials {
			// At the version that was judged: a rotation brings an expired one back to life.
			endVersion(ch, l.Credential, l.Version, l.PrincipalName, credential.StateDeleted, "credential.delete", d.Reason)
		}
		return p, a.commit(ctx, ch)
	})
}

// doomed asks for the right, checks the request, and returns the filter that it stands for.
func (a *Authority) doomed(ctx context.Context, c Caller, d *Doomed) (credential.CredentialFilter, error) {
	f := credential.CredentialFilter{Org: c.Org, Kinds: d.Kinds, Limit: maxLimit}
	if len(f.Kinds) == 0 {
		f.Kinds = credential.Kinds() // passwords are their users', and sessions are swept
	}
	if !d.Unexpired {
		f.Status = "expired"
	}
	if d.Principal == "" {
		if err := a.Authorize(c, "credentials:delete", "/credentials/*"); err != nil {
			return f, err
		}
		return f, d.check()
	}
	hidden := notFound("principal", d.Principal)
	if !plausibleRef(d.Principal) {
		return f, hidden
	}
	who, err := a.store.Principal(ctx, c.Org, d.Principal)
	if credential.IsNotFound(err) {
		return f, hidden
	}
	if err != nil {
		return f, err
	}
	f.Principal = who.ID
	if err := a.permit(c, "credentials", "delete", who.Name, hidden); err != nil {
		return f, err
	}
	return f, d.check()
}

func (d *Doomed) check() error {
	var p credential.Problems
	if !d.Expired && !d.Unexpired {
		p.Add("expired", "is not said, and neither is unexpired: one of them must be")
	}
	if d.ExpiredFor < 0 {
		p.Add("expired_for", "is negative")
	}
	if d.ExpiredFor > 0 && d.Unexpired {
		p.Add("expired_for", "is of those that have expired: leave unexpired out")
	}
	for _, k := range d.Kinds {
		if !k.Valid() {
			p.Add("kind", "is none of %s", list(credential.Kinds(), func(k credential.Kind) string { return string(k) }))
		}
	}
	checkReason(&p, d.Reason)
	return p.Err()
}

// pick reads what is doomed, as many as one call takes.
func (a *Authority) pick(ctx context.Context, f credential.CredentialFilter, d *Doomed, now time.Time) (Pruned, error) {
	var p Pruned
	f.Now = now
	if d.ExpiredFor > 0 {
		f.ExpiresBefore = now.Add(-d.ExpiredFor)
	}
	for {
		page, next, err := a.store.Credentials(ctx, f)
		if err != nil {
			return p, err
		}
		for _, l := range page {
			if !d.hits(&l.Credential, now) {
				continue
			}
			if len(p.Credentials) == maxPrune {
				p.More = true
				return p, nil
			}
			p.Credentials = append(p.Credentials, l)
		}
		if next == "" {
			return p, nil
		}
		f.Cursor = next
	}
}

// hits reports whether a credential that has not ended is among those that are meant.
func (d *Doomed) hits(c *credential.Credential, now time.Time) bool {
	if c.State.Ended() {
		return false
	}
	expired := !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt)
	return expired && d.Expired || !expired && d.Unexpired
}

// ExpirationInfo lists the application keys that have not ended, of a user (name or ID; "" for all), by whether they have expired:
// ThingWorx's GetApplicationKeyExpirationInfo. A page may hold fewer than it could; the second result is the cursor of the next.
func (a *Authority) ExpirationInfo(ctx context.Context, c Caller, user string, expired, unexpired bool, cursor string, limit int) ([]credential.Listed, string, error) {
	f := credential.CredentialFilter{Kind: credential.AppKey, Principal: user, Cursor: cursor, Limit: limit}
	if !unexpired {
		f.Status = "expired"
	}
	page, next, err := a.Credentials(ctx, c, f)
	if err != nil {
		return nil, "", err
	}
	d, now := Doomed{Expired: expired, Unexpired: unexpired}, a.now()
	some := page[:0]
	for _, l := range page {
		if d.hits(&l.Credential, now) {
			some = append(some, l)
		}
	}
	return some, next, nil
}
