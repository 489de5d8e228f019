package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cardea/internal/credential"
)

const (
	noticedSetting  = "notices.at"   // up to when ends were looked for
	reviewedSetting = "notices.hour" // when all credentials were last looked through
	noticeReach     = 35 * day       // how far back a server looks that was off for long
	noticeBatch     = 200            // events of one change
)

// Notices does by the clock what policies of kinds say: it tells of ends before they come and when they have come (O12), and once an hour looks for what was
// not rotated, not used, or has expired long ago (L06). Call it every minute, on one node at a time.
func (a *Authority) Notices(ctx context.Context) error {
	all, err := a.store.Policy(ctx)
	if err != nil {
		return err
	}
	now := a.now()
	last, err := a.instant(ctx, noticedSetting)
	if err != nil {
		return err
	}
	if last.IsZero() { // the first time: what has ended before is nobody's news
		return a.mark(ctx, noticedSetting, now)
	}
	if reach := now.Add(-noticeReach); last.Before(reach) {
		last = reach
	}
	hour, err := a.instant(ctx, reviewedSetting)
	if err != nil {
		return err
	}
	review := now.Sub(hour) >= time.Hour
	var problems []error
	for _, org := range all.Orgs {
		for _, kind := range append(credential.Kinds(), credential.Password) {
			rules := all.OfKind(org.Name, kind)
			w := &minder{a: a, org: org.Name, rules: &rules, now: now, last: last}
			problems = append(problems, w.ends(ctx))
			if review {
				problems = append(problems, w.review(ctx))
			}
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err // what was told already is told again: better than not at all
	}
	if review {
		if err := a.mark(ctx, reviewedSetting, now); err != nil {
			return err
		}
	}
	return a.mark(ctx, noticedSetting, now)
}

func (a *Authority) instant(ctx context.Context, setting string) (time.Time, error) {
	text, err := a.store.Setting(ctx, setting)
	if err != nil || text == "" {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, nil //nolint:nilerr // it is written anew
	}
	return t, nil
}

func (a *Authority) mark(ctx context.Context, setting string, t time.Time) error {
	_, err := a.store.Commit(ctx, credential.Change{Ops: []credential.Op{credential.PutSetting{Name: setting, Value: t.UTC().Format(time.RFC3339Nano)}}})
	return err
}

// minder looks at the credentials of one kind in one organisation.
type minder struct {
	a         *Authority
	org       string
	rules     *credential.KindPolicy
	now, last time.Time
	ch        *change
}

// each calls fn for the credentials that a filter selects, and commits what it adds to the change, in parts.
func (w *minder) each(ctx context.Context, f credential.CredentialFilter, fn func(l *credential.Listed) error) error {
	f.Org, f.Kind, f.Now, f.Limit = w.org, w.rules.Kind, w.now, noticeBatch
	for {
		page, next, err := w.a.store.Credentials(ctx, f)
		if err != nil {
			return err
		}
		c := system()
		c.Org = w.org
		w.ch = w.a.begin(c)
		for i := range page {
			if err := fn(&page[i]); err != nil {
				return err
			}
		}
		if len(w.ch.events) > 0 {
			if err := w.a.commit(ctx, w.ch); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		f.Cursor = next
	}
}

// tell adds an event about a credential.
func (w *minder) tell(op credential.Op, typ string, l *credential.Listed, reason string, d details) {
	d["kind"] = string(l.Kind)
	d.put("name", l.Name)
	d.put("owner", l.OwnerName)
	d.put("expires_at", stamp(l.ExpiresAt))
	w.ch.because(op, typ, aboutCredential(l.ID, l.PrincipalName), d, reason)
}

// ends tells of ends that come nearer than a threshold between last and now, and of those that have come.
func (w *minder) ends(ctx context.Context) error {
	for _, before := range append(slices.Clone(w.rules.Notices), 0) {
		f := credential.CredentialFilter{ExpiresFrom: w.last.Add(before), ExpiresBefore: w.now.Add(before)}
		err := w.each(ctx, f, func(l *credential.Listed) error {
			switch {
			case l.State.Ended() || l.CreatedAt.After(l.ExpiresAt.Add(-before)): // it was never farther away: whoever made it knows
			case before == 0:
				w.tell(nil, "credential.expired", l, "", details{})
			default:
				w.tell(nil, "credential.expires_soon", l, "", details{"before": inDays(before)})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// review looks through all credentials for what is due.
func (w *minder) review(ctx context.Context) error {
	return errors.Join(w.unused(ctx), w.old(ctx), w.purge(ctx))
}

// unused warns of credentials that nobody uses, or puts them into quarantine.
func (w *minder) unused(ctx context.Context) error {
	after := w.rules.UnusedAfter
	if after <= 0 || w.rules.Kind == credential.Password {
		return nil
	}
	since := w.now.Add(-after)
	f := credential.CredentialFilter{Status: string(credential.StateActive), UnusedSince: since, CreatedBefore: since}
	return w.each(ctx, f, func(l *credential.Listed) error {
		if w.rules.UnusedAction == credential.ActionQuarantine {
			reason := "it was not used for " + inDays(after)
			op := credential.SetQuarantine{ID: l.ID, Version: l.Version, On: true, At: w.ch.at, Reason: reason}
			w.tell(op, "credential.quarantine", l, reason, details{"last_used_at": stamp(l.LastUsedAt)})
			return nil
		}
		first, err := w.once(ctx, "unused", l, after)
		if err == nil && first {
			w.tell(nil, "credential.unused", l, "", details{"for": inDays(after), "last_used_at": stamp(l.LastUsedAt)})
		}
		return err
	})
}

// old tells of credentials whose newest version is older than it should be, and tells so again each month.
func (w *minder) old(ctx context.Context) error {
	age := w.rules.RotationAge
	if age <= 0 {
		return nil
	}
	f := credential.CredentialFilter{Status: string(credential.StateActive), CreatedBefore: w.now.Add(-age)}
	return w.each(ctx, f, func(l *credential.Listed) error {
		if l.Proofs[0].CreatedAt.After(w.now.Add(-age)) {
			return nil
		}
		first, err := w.once(ctx, "rotation", l, 30*day)
		if err == nil && first {
			w.tell(nil, "credential.rotation_due", l, "", details{"version": fmt.Sprint(l.Proofs[0].N), "since": stamp(l.Proofs[0].CreatedAt.Add(age))})
		}
		return err
	})
}

// purge deletes what has expired long enough ago, and never anything that has not (L06).
func (w *minder) purge(ctx context.Context) error {
	after := w.rules.PurgeAfter
	if after <= 0 {
		return nil
	}
	f := credential.CredentialFilter{Status: "expired", ExpiresBefore: w.now.Add(-after)}
	return w.each(ctx, f, func(l *credential.Listed) error {
		if l.ExpiresAt.IsZero() || !l.ExpiresAt.Before(w.now.Add(-after)) {
			return nil
		}
		endVersion(w.ch, l.Credential, l.Version, l.PrincipalName, credential.StateDeleted, "credential.delete", "it had expired "+inDays(after)+" before")
		return nil
	})
}

// once reports whether something is to be said of a credential that is said once in a while.
func (w *minder) once(ctx context.Context, what string, l *credential.Listed, every time.Duration) (bool, error) {
	turn := w.now.Unix() / int64(max(every, day)/time.Second)
	return w.a.store.Once(ctx, fmt.Sprintf("notice/%s/%s/%d", what, l.ID, turn), w.now.Add(2*max(every, day)))
}

func inDays(d time.Duration) string {
	if d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}
