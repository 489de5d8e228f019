package console

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
)

// Limits of a session (W03).
const (
	idleLimit     = 30 * time.Minute
	absoluteLimit = 8 * time.Hour
	maxSessions   = 1000
)

// sessions are the logins of this process. Only the hash of a cookie is kept.
type sessions struct {
	now func() time.Time
	mu  sync.Mutex
	all map[[sha256.Size]byte]*session
}

type session struct {
	caller      authority.Caller
	began, seen time.Time
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, all: map[[sha256.Size]byte]*session{}}
}

// start begins a session and returns the value of its cookie: 256 random bits.
func (s *sessions) start(caller authority.Caller) (string, error) {
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return "", err
	}
	id := base64.RawURLEncoding.EncodeToString(raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	if len(s.all) >= maxSessions {
		return "", credential.Errorf(credential.Down, "too many people are logged in: try again later")
	}
	now := s.now()
	s.all[sha256.Sum256([]byte(id))] = &session{caller: caller, began: now, seen: now}
	return id, nil
}

// caller returns who a cookie stands for, and keeps its session going.
func (s *sessions) caller(id string) (authority.Caller, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	found, ok := s.all[sha256.Sum256([]byte(id))]
	if !ok {
		return authority.Caller{}, false
	}
	found.seen = s.now()
	return found.caller, true
}

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, sha256.Sum256([]byte(id)))
}

// sweep forgets what has ended. There are few, so it looks at all.
func (s *sessions) sweep() {
	now := s.now()
	for key, v := range s.all {
		if now.Sub(v.seen) >= idleLimit || now.Sub(v.began) >= absoluteLimit {
			delete(s.all, key)
		}
	}
}
