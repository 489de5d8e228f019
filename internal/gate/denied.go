package gate

import (
	"context"
	"sync"
	"sync/atomic"

	"cardea/internal/credential"
)

// denials are the access tokens that were revoked before their end, by jti.
type denials struct {
	n  atomic.Int64 // how many; most of the time there are none, and it costs a load to see that
	mu sync.RWMutex
	by map[denial]int64 // until when, ns since 1970
}

func (d *denials) init() { d.by = map[denial]int64{} }

// denial is a token of an organisation: nobody denies those of another one.
type denial struct {
	org string
	id  key
}

// has reports whether one of some tokens of an organisation was revoked.
func (d *denials) has(org string, ids ...key) bool {
	if d.n.Load() == 0 {
		return false
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, k := range ids {
		if _, ok := d.by[denial{org, k}]; ok {
			return true
		}
	}
	return false
}

// add denies tokens, and forgets those that have ended.
func (d *denials) add(now int64, until map[denial]int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, t := range d.by {
		if t <= now {
			delete(d.by, k)
		}
	}
	for k, t := range until {
		d.by[k] = max(t, d.by[k])
	}
	d.n.Store(int64(len(d.by)))
}

// deny makes the gate refuse tokens of which it was told by the change feed, which does not say when they end.
func (g *Gate) deny(ids map[denial]bool) []key {
	if len(ids) == 0 {
		return nil
	}
	now := g.clock.nano()
	until, ks := map[denial]int64{}, make([]key, 0, len(ids))
	for t := range ids {
		until[t] = now + int64(credential.MaxTokenLife) + int64(clockSkew)
		ks = append(ks, t.id)
	}
	g.denials.add(now, until)
	return ks
}

// readDenied reads all that is denied.
func (g *Gate) readDenied(ctx context.Context) error {
	now := g.clock.Now()
	list, err := g.store.Denied(ctx, now)
	if err != nil {
		return err
	}
	until := make(map[denial]int64, len(list))
	for _, d := range list {
		if k := keyOf(d.ID); k != (key{}) {
			until[denial{d.Org, k}] = nanos(d.Until)
		}
	}
	g.denials.add(now.UnixNano(), until)
	return nil
}
