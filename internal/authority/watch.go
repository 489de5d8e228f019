package authority

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"cardea/internal/credential"
)

const (
	// watchBack is how far the first watch after a start looks back.
	watchBack = day
	// watchSlack is for uses that nodes record late, and for their clocks.
	watchSlack = 10 * time.Minute
	// watchPage is how many rows are read at a time.
	watchPage = 1000
)

// watch is how far the uses of credentials were looked at.
type watch struct {
	mu           sync.Mutex // one at a time
	last, before time.Time  // when the last one that has succeeded began, and the one before it
	told         map[string]time.Time
}

// since is from when on uses are looked at. The one before last counts: what nodes have kept while the database
// was away is recorded within seconds after it is back, but not before everything else.
func (w *watch) since(now time.Time) time.Time {
	if w.before.IsZero() {
		return now.Add(-watchBack)
	}
	return w.before.Add(-watchSlack)
}

// WatchUse records as events what the uses since the last time tell: that a credential was used for the first time (O06), and that
// one is used from two places (O10). Each is told once, the latter once a day, by however many nodes. Call it every minute.
func (a *Authority) WatchUse(ctx context.Context) error {
	w := &a.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	now := a.now()
	since := w.since(now)
	if w.told == nil {
		w.told = map[string]time.Time{}
	}
	for key, at := range w.told {
		if at.Before(since) {
			delete(w.told, key)
		}
	}
	if err := a.watchFirst(ctx, since, now); err != nil {
		return err
	}
	if err := a.watchShared(ctx, since, now); err != nil {
		return err
	}
	w.last, w.before = now, w.last
	return nil
}

func (a *Authority) watchFirst(ctx context.Context, since, now time.Time) error {
	after := credential.FirstUse{Usage: credential.Usage{FirstAt: since}}
	for {
		page, err := a.store.FirstUses(ctx, after, watchPage)
		if err != nil {
			return err
		}
		for i := range page {
			f := &page[i]
			d := details{"kind": string(f.Kind), "version": strconv.Itoa(f.Proof), "at": stamp(f.FirstAt)}
			if f.LastSource.IsValid() {
				d.put("source", f.LastSource.String())
			}
			// that it is told once for ever follows from since: by then the key is long forgotten, and so is the first use
			if err := a.tell(ctx, f.Org, "credential.first_used", aboutCredential(f.Credential, f.Principal), d, "", f.FirstAt, now); err != nil {
				return err
			}
		}
		if len(page) < watchPage {
			return nil
		}
		after = page[len(page)-1]
	}
}

func (a *Authority) watchShared(ctx context.Context, since, now time.Time) error {
	after := credential.Sharing{Sighting: credential.Sighting{FirstAt: since}}
	for {
		page, err := a.store.Sharings(ctx, after, watchPage)
		if err != nil {
			return err
		}
		for i := range page {
			s := &page[i]
			if !isShared(s) {
				continue
			}
			d := details{
				"kind": string(s.Kind), "by": s.By, "value": s.Value, "value.first_at": stamp(s.FirstAt),
				"other": s.Other, "other.last_at": stamp(s.OtherLastAt),
			}
			if err := a.tell(ctx, s.Org, "credential.shared", aboutCredential(s.Credential, s.Principal), d, s.FirstAt.Format(time.DateOnly), s.FirstAt, now); err != nil {
				return err
			}
		}
		if len(page) < watchPage {
			return nil
		}
		after = page[len(page)-1]
	}
}

// oneThing are the kinds of credentials that one device, or one application, holds: it has one client id, and is in one network.
var oneThing = []credential.Kind{credential.DeviceToken, credential.Certificate, credential.SCRAM, credential.AppKey}

// isShared reports whether two places are worth an alert. API keys and personal tokens are used from many networks by their nature; with two client
// ids there are two clients of a broker that share one. OAuth clients are where their owner runs them, and come to no broker themselves.
func isShared(s *credential.Sharing) bool {
	switch {
	case slices.Contains(oneThing, s.Kind):
		return true
	case s.Kind == credential.APIKey || s.Kind == credential.PAT:
		return s.By == "client"
	}
	return false
}

// tell records an event about a credential unless that was done before: on this node, or on another.
func (a *Authority) tell(ctx context.Context, org, typ string, about credential.Subject, d details, on string, at, now time.Time) error {
	key := typ + "/" + about.ID + "/" + on
	if _, told := a.watch.told[key]; told {
		return nil
	}
	c := system()
	c.Org = org
	ch := a.begin(c)
	ch.also(credential.Remember{Key: key, Until: now.Add(2 * watchBack)})
	ch.do(nil, typ, about, d)
	if err := a.commit(ctx, ch); err != nil && credential.KindOf(err) != credential.Exists {
		return err
	}
	a.watch.told[key] = at
	return nil
}
