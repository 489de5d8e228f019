package mqttdoor

import "sync"

// owners knows whose each client id is that a live session has.
type owners struct {
	mu sync.Mutex
	of map[string]*owner // by organisation and client id
}

type owner struct {
	principal string // ID
	sessions  map[*Session]struct{}
}

func ownerKey(s *Session) string { return s.org + "\x00" + s.clientID }

// claim makes a client id the principal's for as long as s lives. It is false
// if it is somebody else's. A device bears its ids by right: whoever had one
// before the device came to be is returned, to be cut.
func (o *owners) claim(s *Session, principal string, byRight bool) (evicted []*Session, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := ownerKey(s)
	was := o.of[k]
	if was != nil && was.principal != principal {
		if !byRight {
			return nil, false
		}
		for other := range was.sessions {
			evicted = append(evicted, other)
		}
		was = nil
	}
	if was == nil {
		was = &owner{principal, map[*Session]struct{}{}}
		o.of[k] = was
	}
	was.sessions[s] = struct{}{}
	return evicted, true
}

// release ends a claim.
func (o *owners) release(s *Session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := ownerKey(s)
	own := o.of[k]
	if own == nil {
		return
	}
	delete(own.sessions, s) // of one that was evicted there is nothing to delete
	if len(own.sessions) == 0 {
		delete(o.of, k)
	}
}

// others reports whether a session with the same broker's session as s, which is over, lives.
func (o *owners) others(s *Session) (other *Session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	own := o.of[ownerKey(s)]
	if own == nil {
		return nil
	}
	for t := range own.sessions {
		if t != s && t.key == s.key {
			return t
		}
	}
	return nil
}
