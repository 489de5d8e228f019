package authority

import (
	"fmt"
	"testing"
	"time"

	"cardea/internal/credential"
)

// sees records that a credential was seen somewhere.
func (h *house) sees(id, by, value string, first, last time.Time) {
	h.t.Helper()
	h.must(h.store.Record(h.t.Context(), credential.Records{Sighted: []credential.Sighting{{Credential: id, By: by, Value: value, FirstAt: first, LastAt: last}}}))
}

// watched watches, and returns the events that came of it.
func (h *house) watched() []credential.Event {
	h.t.Helper()
	before := h.head()
	h.must(h.WatchUse(h.t.Context()))
	return h.events(before)
}

// O06: the first use of a credential is an event with source and version; once, also on another node and after a restart.
func TestFirstUse(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "billing")
	id := h.apiKey("billing").Credential.ID
	if got := h.watched(); len(got) != 0 {
		t.Fatalf("before the use: %s", types(got))
	}
	h.clock.add(time.Minute)
	at := h.clock.now()
	h.used(id, 1, 0)
	h.clock.add(time.Second)
	got := h.watched()
	if len(got) != 1 || got[0].Type != "credential.first_used" || got[0].Org != credential.DefaultOrg || got[0].Actor.Principal != "system" ||
		got[0].Subject != aboutCredential(id, "billing") {
		t.Fatalf("%+v", got)
	}
	want := map[string]string{"kind": "api_key", "version": "1", "at": at.Format(time.RFC3339), "source": "198.51.100.4"}
	if fmt.Sprint(got[0].Detail) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got[0].Detail, want)
	}
	h.used(id, 2, -time.Minute) // a new version is no first use
	for range 5 {
		h.clock.add(time.Minute)
		if more := h.watched(); len(more) != 0 {
			t.Fatalf("again: %s", types(more))
		}
	}
	h.open() // another node, or the same one after a restart
	if more := h.watched(); len(more) != 0 {
		t.Errorf("by another node: %s", types(more))
	}
	h.clock.add(3 * day)
	h.open()
	if more := h.watched(); len(more) != 0 {
		t.Errorf("days after: %s", types(more))
	}
}

// O10: one credential in two places within a day is an alert, once a day. What that is depends on its kind.
func TestSharedCredential(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "billing")
	h.principal(credential.Device, "pump-1")
	kinds := map[string]string{}
	for kind, of := range map[credential.Kind]string{credential.APIKey: "billing", credential.SCRAM: "billing", credential.DeviceToken: "pump-1"} {
		is, err := h.CreateCredential(t.Context(), h.local, NewCredential{Kind: kind, Principal: of, TTL: 30 * day})
		h.must(err)
		kinds[string(kind)] = is.Credential.ID
	}
	now := h.clock.now()
	for _, id := range kinds {
		h.sees(id, "network", "10.0.0.0/24", now, now)
		h.sees(id, "client", "a", now, now)
	}
	h.clock.add(time.Minute)
	if got := h.watched(); len(got) != 0 {
		t.Fatalf("in one place: %s", types(got))
	}
	later := h.clock.now()
	for _, id := range kinds {
		h.sees(id, "network", "10.0.1.0/24", later, later)
	}
	h.clock.add(time.Minute)
	got := h.watched()
	if types(got) != "credential.shared credential.shared" {
		t.Fatalf("in two networks: %s", types(got))
	}
	for _, e := range got {
		if e.Subject.ID == kinds["api_key"] || e.Detail["by"] != "network" || e.Detail["value"] != "10.0.1.0/24" || e.Detail["other"] != "10.0.0.0/24" ||
			e.Detail["value.first_at"] != stamp(later) || e.Detail["other.last_at"] != stamp(now) {
			t.Errorf("%s: %v", e.Subject.ID, e.Detail)
		}
	}
	for _, id := range kinds {
		h.sees(id, "client", "b", h.clock.now(), h.clock.now())
	}
	h.clock.add(time.Minute)
	if got = h.watched(); len(got) != 1 || got[0].Subject.ID != kinds["api_key"] || got[0].Detail["by"] != "client" {
		t.Fatalf("two client ids, where the others were told of today: %s", types(got))
	}
	h.open()
	h.clock.add(time.Minute)
	if got = h.watched(); len(got) != 0 {
		t.Errorf("by another node: %s", types(got))
	}
	h.clock.add(day)
	h.sees(kinds["device_token"], "network", "10.0.0.0/24", now, h.clock.now())
	h.sees(kinds["device_token"], "network", "10.0.9.0/24", h.clock.now(), h.clock.now())
	h.clock.add(time.Minute)
	if got = h.watched(); types(got) != "credential.shared" {
		t.Errorf("the next day: %s", types(got))
	}
}

// A watch that fails is made up for by the next: nothing is left out, and nothing told twice.
func TestWatchAfterFailure(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "billing")
	var ids []string
	for range 3 {
		ids = append(ids, h.apiKey("billing").Credential.ID)
	}
	for range 3 {
		h.clock.add(time.Minute)
		h.must(h.WatchUse(t.Context()))
	}
	for _, id := range ids {
		h.used(id, 1, 0)
	}
	before, n := h.head(), 0
	h.fault.set(func(credential.Change) error {
		if n++; n == 2 {
			return down()
		}
		return nil
	}, nil)
	h.clock.add(time.Second)
	if err := h.WatchUse(t.Context()); err == nil {
		t.Fatal("it did not fail")
	}
	h.fault.set(nil, nil)
	h.clock.add(30 * time.Minute) // the database was away, and nodes record what they have kept after the next watch
	h.must(h.WatchUse(t.Context()))
	late := h.apiKey("billing").Credential.ID
	h.used(late, 1, 25*time.Minute)
	h.clock.add(time.Minute)
	h.must(h.WatchUse(t.Context()))
	told := map[string]int{}
	for _, e := range h.events(before) {
		if e.Type == "credential.first_used" {
			told[e.Subject.ID]++
		}
	}
	for _, id := range append(ids, late) {
		if told[id] != 1 {
			t.Errorf("%s was told of %d times", id, told[id])
		}
	}
	if len(told) != 4 {
		t.Errorf("%v", told)
	}
}
