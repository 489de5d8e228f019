package mqttdoor

import (
	"slices"
	"strings"
	"sync"

	"cardea/internal/mqtt"
)

// Brokers distribute a message at QoS 2 when it is released, which may be long
// after it came, on another connection. So the door asks about it again then (M12), and remembers for it
// what it has let through.

// held is a message at QoS 2 between PUBLISH and PUBREL.
type held struct {
	topic  string
	retain bool
	again  bool // the id was used for a message at QoS 1 as well, so that a PUBACK says nothing of this one
}

// unreleased are those of one session, by packet id. Who uses an id again for something else leaves it to the broker which
// of the two it takes; then both count.
type unreleased struct {
	mu   sync.Mutex
	of   map[uint16][]held
	size int // of them and their topics, in bytes
}

// maxHeld bounds what a client leaves unreleased, in bytes, for a broker that does not bound their number itself.
const maxHeld = 4 << 20

// maxAgain is how many messages may have one id.
const maxAgain = 4

// size is about what it takes to remember m, in bytes.
func (m *held) size() int { return 64 + len(m.topic) }

var errHeld = &mqtt.Error{Code: mqtt.ReceiveMaximumExceeded, Why: "too many messages at QoS 2 are not released"}

// hold remembers a message until it is released.
func (u *unreleased) hold(id uint16, topic string, retain bool) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	m := held{topic: topic, retain: retain}
	if u.isAgain(id, topic, retain) {
		return nil
	}
	if u.size+m.size() > maxHeld || len(u.of[id]) >= maxAgain {
		return errHeld
	}
	if u.of == nil {
		u.of = map[uint16][]held{}
	}
	m.topic = strings.Clone(topic)
	u.of[id] = append(u.of[id], m)
	u.size += m.size()
	return nil
}

// isAgain reports whether a message is one that is sent again. The lock is held.
func (u *unreleased) isAgain(id uint16, topic string, retain bool) bool {
	return slices.ContainsFunc(u.of[id], func(o held) bool { return o.topic == topic && o.retain == retain })
}

// knows reports whether a message was let through before and is not released.
func (u *unreleased) knows(id uint16, topic string, retain bool) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.isAgain(id, topic, retain)
}

// has reports whether a message with the id is not released.
func (u *unreleased) has(id uint16) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.of[id]) > 0
}

// shield is told of a message at QoS 1.
func (u *unreleased) shield(id uint16) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range u.of[id] {
		u.of[id][i].again = true
	}
}

// acknowledged is told of a PUBACK: a broker without QoS 2 ends a message so.
func (u *unreleased) acknowledged(id uint16) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if all := u.of[id]; len(all) > 0 && !all[0].again {
		u.end(id)
	}
}

// take returns the messages with the id and forgets them.
func (u *unreleased) take(id uint16) []held {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.end(id)
}

// end is take. The lock is held.
func (u *unreleased) end(id uint16) []held {
	all := u.of[id]
	delete(u.of, id)
	for i := range all {
		u.size -= all[i].size()
	}
	return all
}

// forget forgets all.
func (u *unreleased) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.of, u.size = nil, 0
}

func (u *unreleased) bytes() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.size
}

// shelf keeps the unreleased messages of sessions, by their key, beyond the
// connection. It is bounded: of what it has forgotten, and of what another node has let through, the first judgement holds.
type shelf struct {
	mu   sync.Mutex
	of   map[string]*unreleased
	live map[*unreleased]int // connections that use it
	left []string            // keys of those without, the oldest first; some are stale
}

// maxShelf is how many sessions without a connection have a place, maxPlace how large that is in bytes.
const (
	maxShelf = 1024
	maxPlace = 64 << 10
)

// use returns the messages of a session, for a connection that will call leave.
func (f *shelf) use(key string) *unreleased {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of, f.live = map[string]*unreleased{}, map[*unreleased]int{}
	}
	u := f.of[key]
	if u == nil {
		u = &unreleased{}
		f.of[key] = u
	}
	f.live[u]++
	return u
}

// leave ends the use. stays says that the session outlives its connection.
func (f *shelf) leave(key string, u *unreleased, stays bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live[u]--; f.live[u] > 0 {
		return
	}
	delete(f.live, u)
	if n := u.bytes(); !stays || n == 0 || n > maxPlace {
		delete(f.of, key)
		return
	}
	f.left = append(f.left, key)
	if len(f.left) > maxShelf {
		f.clear()
	}
}

// clear takes out what is stale and, if that is not enough, the older half. The lock is held.
func (f *shelf) clear() {
	seen := map[string]bool{}
	var left []string
	for _, key := range slices.Backward(f.left) {
		if u := f.of[key]; u != nil && f.live[u] == 0 && !seen[key] {
			seen[key] = true
			left = append(left, key)
		}
	}
	slices.Reverse(left)
	if n := len(left) - maxShelf/2; n > 0 {
		for _, key := range left[:n] {
			delete(f.of, key)
		}
		left = slices.Delete(left, 0, n)
	}
	f.left = left
}
