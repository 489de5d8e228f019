package mqttdoor

import (
	"testing"

	"cardea/internal/credential"
)

// A change that the watch of before a second proof tells of late does not bring back who the session was by the first.
func TestLateChangeOfOldWatch(t *testing.T) {
	h := newHouse(t)
	s := h.restService()
	h.remote(s, credential.ByScramREST)
	l := s.user(t, "dora", "not a secret", map[string]any{"acl": []map[string]any{{"permission": "allow", "action": "all", "topic": "#"}}})
	c := h.enter(h.addr, l, sha256)
	var session *Session
	h.door.mu.Lock()
	for one := range h.door.sessions {
		session = one
	}
	h.door.mu.Unlock()
	first, told := session.id.Load(), session.live(0).Changed // what the gate has of the first watch
	s.user(t, "dora", "not a secret", map[string]any{"acl": []any{}})
	again(t, c, l, sha256)
	second := session.id.Load()
	if second == first {
		t.Fatal("it has no other identity")
	}
	told(first) // the gate had begun to before that watch was closed
	if session.id.Load() != second {
		t.Error("the session has the rights of its first proof again")
	}
	if code := c.Publish("any/thing", "x", 1); !code.Failed() {
		t.Error("it may publish by the ACL of its first proof")
	}
}
