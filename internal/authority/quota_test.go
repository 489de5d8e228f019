package authority

import (
	"sync"
	"testing"
	"time"

	"cardea/internal/credential"
)

// The end of a month's requests is noted once, and that it is near, however many nodes say so and however often; each month anew.
func TestNoteQuota(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	is := h.apiKey("svc")
	before := h.head()
	january := time.Date(h.clock.now().Year(), h.clock.now().Month(), 1, 0, 0, 0, 0, time.UTC)
	note := func(month time.Time, used int64) {
		t.Helper()
		q := QuotaNote{Org: credential.DefaultOrg, Credential: is.Credential.ID, Month: month, Used: used, Limit: 100}
		if err := h.NoteQuota(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	var nodes sync.WaitGroup
	for range 4 {
		nodes.Go(func() {
			note(january, 80)
			note(january, 100)
			note(january, 101)
			note(january, 81)
		})
	}
	nodes.Wait()
	events := h.events(before)
	if types(events) != "quota.near quota.spent" && types(events) != "quota.spent quota.near" {
		t.Fatal(types(events))
	}
	for _, e := range events {
		if e.Subject.Kind != "credential" || e.Subject.ID != is.Credential.ID || e.Subject.Name != "svc" || e.Actor.Principal != "system" || e.Org != credential.DefaultOrg ||
			e.Detail["month"] != january.Format("2006-01") || e.Detail["limit"] != "100" {
			t.Errorf("%+v", e)
		}
	}
	before = h.head()
	note(january.AddDate(0, 1, 0), 90)
	if e := h.events(before); types(e) != "quota.near" || e[0].Detail["used"] != "90" {
		t.Errorf("%+v", e)
	}
	// What failed is not taken for noted.
	before = h.head()
	h.fault.set(func(credential.Change) error { return down() }, nil)
	q := QuotaNote{Org: credential.DefaultOrg, Credential: is.Credential.ID, Month: january.AddDate(0, 2, 0), Used: 100, Limit: 100}
	if err := h.NoteQuota(t.Context(), q); credential.KindOf(err) != credential.Down {
		t.Errorf("%v", err)
	}
	h.fault.set(nil, nil)
	note(q.Month, 100)
	if e := h.events(before); types(e) != "quota.spent" {
		t.Error(types(e))
	}
	q.Credential = "gone00000000"
	if err := h.NoteQuota(t.Context(), q); err != nil {
		t.Errorf("a credential that is not there any more: %v", err)
	}
}
