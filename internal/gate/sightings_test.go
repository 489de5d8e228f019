package gate

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"cardea/internal/credential"
)

// seen returns what a credential was sighted at: "network 192.0.2.0/24 03:04:05-03:10:00".
func (h *house) seen(id string) map[string]bool {
	h.Helper()
	h.flushed()
	all, err := h.store.Sightings(h.Context(), id)
	if err != nil {
		h.Fatal(err)
	}
	found := map[string]bool{}
	for _, s := range all {
		found[fmt.Sprintf("%s %s %s-%s", s.By, s.Value, s.FirstAt.Format(time.TimeOnly), s.LastAt.Format(time.TimeOnly))] = true
	}
	return found
}

func wantSeen(t *testing.T, got map[string]bool, want ...string) {
	t.Helper()
	for _, w := range want {
		if !got[w] {
			t.Errorf("%q is not there: %v", w, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func (h *house) connect(token, client string, src netip.Addr) {
	h.Helper()
	if _, out := h.gate.Authenticate(h.Context(), &Evidence{Token: token, Source: src, Door: "mqtt", Route: "mqtt", Client: client}); out.Reason != credential.OK {
		h.Error(out.Reason)
	}
}

// O10: networks and client ids are noted when they are new, and once an hour while they are in use.
func TestSightings(t *testing.T) {
	h := newHouse(t, quiet)
	token, c := h.token(h.device("pump-1"))
	h.pass(time.Hour - intoHour(c.ID, h.hands.now())) // its own hour begins
	start := h.hands.now()
	_, writes := h.counted()
	for i := range 50 {
		h.authenticate(token, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		h.connect(token, "pump-1", here)
		h.flushed()
	}
	now := start.Format(time.TimeOnly)
	wantSeen(t, h.seen(c.ID), "network 192.0.2.0/24 "+now+"-"+now, "client pump-1 "+now+"-"+now)
	if n := writes.Load(); n != 2 {
		t.Errorf("%d writes for one network and one client id, want 2", n)
	}
	h.pass(10 * time.Minute)
	for range 50 {
		h.authenticate(token, netip.MustParseAddr("2001:db8:1:2::3"))
		h.authenticate(token, here)
		h.connect(token, "pump-1:b", here)
		h.flushed()
	}
	if n := writes.Load(); n > 6 {
		t.Errorf("%d writes for two networks and two client ids, want at most 6", n)
	}
	h.pass(55 * time.Minute)
	h.authenticate(token, here)
	h.connect(token, "pump-1", here)
	later, last := start.Add(10*time.Minute).Format(time.TimeOnly), start.Add(65*time.Minute).Format(time.TimeOnly)
	wantSeen(t, h.seen(c.ID), "network 192.0.2.0/24 "+now+"-"+last, "network 2001:db8:1::/48 "+later+"-"+later,
		"client pump-1 "+now+"-"+last, "client pump-1:b "+later+"-"+later)
}

// A few places that are in use over hours are each written once an hour: those of the hour before make room for themselves.
func TestSightingsOverHours(t *testing.T) {
	h := newHouse(t, quiet)
	token, c := h.token(h.device("pump-1"))
	h.pass(time.Hour - intoHour(c.ID, h.hands.now()) + time.Minute)
	_, writes := h.counted()
	const hours, clients = 4, 6
	for range hours {
		for i := range 10 * clients {
			h.connect(token, fmt.Sprint("c", i%clients), here)
			h.flushed()
		}
		h.pass(time.Hour)
	}
	if n := writes.Load(); n != hours*(clients+1) {
		t.Errorf("%d writes, want %d", n, hours*(clients+1))
	}
}

// intoHour is how much of its hour is over for a credential.
func intoHour(id string, now time.Time) (into time.Duration) {
	e := &entry{key: keyOf(id)}
	for e.hour(now.Add(-into-time.Second).UnixNano()) == e.hour(now.UnixNano()) {
		into += time.Second
	}
	return into
}

// A flood of networks and client ids stays bounded, in memory and in the store.
func TestSightingsAreBounded(t *testing.T) {
	h := newHouse(t, quiet)
	token, c := h.token(h.device("pump-1"))
	for i := range 1000 {
		h.connect(token, fmt.Sprint("c", i), netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}))
	}
	h.gate.sightings.mu.Lock()
	waiting := len(h.gate.sightings.pending[keyOf(c.ID)])
	h.gate.sightings.mu.Unlock()
	if waiting != maxPlaces {
		t.Errorf("%d wait for the flush, want %d", waiting, maxPlaces)
	}
	if got := h.seen(c.ID); len(got) > 32 {
		t.Errorf("%d are recorded", len(got))
	}
}

// K03: what looks like a token is not kept of a client id, nor what would not print, nor more than a little.
func TestClientTexts(t *testing.T) {
	token := wrongSecret(t, "dev", "7Gq0bXv2LmNp")
	if got := clientText("x" + token); strings.Contains(got, token[16:]) {
		t.Errorf("kept: %q", got)
	}
	if got := clientText("a\n\x1b[1m\xff" + strings.Repeat("ä", 300)); len(got) > maxClientID+8 || strings.ContainsAny(got, "\n\x1b") || !utf8.ValidString(got) {
		t.Errorf("kept: %q", got)
	}
}

// Two uses at the same time from two networks are two sightings, whoever is first.
func TestSightingsOfManyAtOnce(t *testing.T) {
	h := newHouse(t, quiet)
	token, c := h.token(h.device("pump-1"))
	done := make(chan struct{})
	for i := range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 200 {
				h.authenticate(token, netip.AddrFrom4([4]byte{10, 0, byte(i), 1}))
			}
		}()
	}
	for range 8 {
		<-done
	}
	if got := h.seen(c.ID); len(got) != 8 {
		t.Errorf("%d networks, want 8: %v", len(got), got)
	}
}
