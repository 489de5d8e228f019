package gate

import (
	"context"
	"sync"
	"time"

	"cardea/internal/credential"
	"cardea/internal/jwt"
)

// keySets are the JWK sets of others, by URL.
type keySets struct {
	from credential.KeySets // nil: none can be fetched
	now  func() time.Time
	ctx  context.Context //nolint:containedctx // the gate's own life: a fetch goes on when its caller has gone

	mu sync.Mutex
	by map[keySetAt]*keySet
}

// keySetAt is a URL, and who may be asked there: what a tenant is refused is not refused to others, and what others get is not for tenants.
type keySetAt struct {
	url    string
	abroad bool
}

type keySet struct {
	keys    jwt.Keys
	fetched time.Time // zero: never
	until   time.Time // it is fetched again after this
	tried   time.Time
	err     error         // of the last try
	flight  chan struct{} // is closed when the fetch that is under way is over; nil for none
}

// Bounds of what is kept and asked.
const (
	maxKeySets   = 1000
	keySetPause  = 10 * time.Second // between two fetches of one set, whoever names keys that it lacks
	keySetGrace  = 24 * time.Hour   // for which a set is used that cannot be fetched again
	keySetWait   = 6 * time.Second
	keySetNoneAt = time.Second // when a set that there never was is tried again
)

// of returns the keys at a URL. With newer it is fetched again, unless that was done a moment ago: what is there has not the key that is wanted.
func (s *keySets) of(ctx context.Context, url string, abroad, newer bool) (jwt.Keys, error) {
	if s.from == nil {
		return jwt.Keys{}, credential.Errorf(credential.Down, "this Cardea fetches no keys")
	}
	s.mu.Lock()
	one, now := s.get(keySetAt{url, abroad}), s.now()
	fresh := !one.fetched.IsZero() && now.Before(one.until) && (!newer || now.Before(one.tried.Add(keySetPause)))
	failed := one.err != nil && now.Before(one.tried.Add(one.pause()))
	if fresh || failed {
		defer s.mu.Unlock()
		return one.answer(now)
	}
	if one.flight == nil {
		one.flight = make(chan struct{})
		go s.fetch(one, url, abroad)
	}
	flight, usable := one.flight, !one.fetched.IsZero() && !newer && now.Before(one.fetched.Add(keySetGrace))
	s.mu.Unlock()
	if !usable { // otherwise nobody waits for what may be the same again
		wait, cancel := context.WithTimeout(ctx, keySetWait)
		defer cancel()
		select {
		case <-flight:
		case <-wait.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return one.answer(s.now())
}

func (s *keySets) get(at keySetAt) *keySet {
	if one := s.by[at]; one != nil {
		return one
	}
	s.makeRoom(true) // tenants' first: however many those name, they take nobody's but each other's
	s.makeRoom(false)
	one := &keySet{}
	s.by[at] = one
	return one
}

// makeRoom forgets sets, of tenants or of anybody, if there are too many.
func (s *keySets) makeRoom(tenants bool) {
	for at, one := range s.by {
		if len(s.by) < maxKeySets {
			return
		}
		if one.flight == nil && (at.abroad || !tenants) {
			delete(s.by, at)
		}
	}
}

func (s *keySets) fetch(one *keySet, url string, abroad bool) {
	text, keep, err := s.from.KeySet(s.ctx, url, abroad)
	var keys jwt.Keys
	if err == nil {
		keys, err = jwt.ParseSet(text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	one.tried, one.err = now, err
	if err == nil {
		one.keys, one.fetched, one.until = keys, now, now.Add(keep)
	}
	close(one.flight)
	one.flight = nil
}

// pause is how long a set is not tried after it could not be fetched.
func (k *keySet) pause() time.Duration {
	if k.fetched.IsZero() {
		return keySetNoneAt
	}
	return keySetPause
}

func (k *keySet) answer(now time.Time) (jwt.Keys, error) {
	switch {
	case !k.fetched.IsZero() && now.Before(k.fetched.Add(keySetGrace)):
		return k.keys, nil
	case k.err != nil:
		return jwt.Keys{}, k.err
	}
	return jwt.Keys{}, credential.Errorf(credential.Down, "the keys have not come in time")
}
