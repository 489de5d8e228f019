package store_test

import (
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/store"
	"cardea/internal/testkit"
)

func TestWebhooks(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		one, two, theirs := hook(1), hook(2), hook(3)
		theirs.Org, two.URL, two.Types, two.Sealed = "acme", "mailto:a@x.example", nil, nil
		commit(t, s, tenant("acme"), credential.PutWebhook{Webhook: two}, credential.PutWebhook{Webhook: theirs}, credential.PutWebhook{Webhook: one})
		one.Version, two.Version, theirs.Version = 1, 1, 1
		listed := func(org string, want ...credential.Webhook) {
			t.Helper()
			got, err := s.Webhooks(t.Context(), org)
			noErr(t, err)
			equal(t, "webhooks of "+org, got, want)
		}
		listed("default", one, two)
		listed("", theirs, one, two)
		listed("nobody")
		refused(t, s, credential.Exists, credential.PutWebhook{Webhook: hook(1)})

		edit := credential.Webhook{ID: one.ID, Org: one.Org, URL: "https://y.example", Trouble: "answered 410", Version: 1, Sealed: []byte{2}}
		commit(t, s, credential.PutWebhook{Webhook: edit})
		refused(t, s, credential.Conflict, credential.PutWebhook{Webhook: edit})
		edit.Version, edit.CreatedAt = 2, one.CreatedAt
		listed("default", edit, two)
		foreign := edit
		foreign.Org = "acme"
		refused(t, s, credential.Conflict, credential.PutWebhook{Webhook: foreign}) // W07

		refused(t, s, credential.Conflict, credential.DeleteWebhook{ID: one.ID, Version: 1})
		refused(t, s, credential.Conflict, credential.DeleteWebhook{ID: "unknown", Version: 1})
		noErr(t, s.Enqueue(t.Context(), []credential.Delivery{waiting(one.ID, 1), waiting(two.ID, 1)}, 1))
		commit(t, s, credential.DeleteWebhook{ID: one.ID, Version: 2})
		listed("default", two)
		due, err := s.Due(t.Context(), day, 10) // nothing waits for it any more
		noErr(t, err)
		equal(t, "due", due, []credential.Delivery{waiting(two.ID, 1)})
	})
}

func TestOutbox(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		ctx := t.Context()
		a, b := hook(1).ID, hook(2).ID
		commit(t, s, credential.PutWebhook{Webhook: hook(1)}, credential.PutWebhook{Webhook: hook(2)})
		looked := func(want int64) {
			t.Helper()
			got, err := s.Looked(ctx)
			noErr(t, err)
			equal(t, "looked at", got, want)
		}
		due := func(now time.Time, limit int, want ...credential.Delivery) {
			t.Helper()
			got, err := s.Due(ctx, now, limit)
			noErr(t, err)
			equal(t, "due", got, want)
		}
		looked(0)
		noErr(t, s.Enqueue(ctx, nil, 2)) // nobody wanted to know
		looked(2)
		later := waiting(a, 5)
		later.NextAt = day.Add(time.Minute)
		noErr(t, s.Enqueue(ctx, []credential.Delivery{waiting(b, 4), waiting(a, 4), waiting(b, 3), later, waiting("gone", 4)}, 5))
		looked(5)
		due(day.Add(-time.Microsecond), 10)
		due(day, 10, waiting(b, 3), waiting(a, 4), waiting(b, 4)) // the oldest first; nothing for a webhook that is gone
		due(day, 2, waiting(b, 3), waiting(a, 4))
		due(later.NextAt, 10, waiting(b, 3), waiting(a, 4), waiting(b, 4), later)

		done := waiting(a, 4)
		done.State, done.Attempts, done.DoneAt = credential.DeliveryDone, 1, day.Add(time.Second)
		retry := waiting(b, 3)
		retry.Attempts, retry.NextAt, retry.Trouble = 2, day.Add(time.Hour), "answered 500"
		failed := waiting(b, 4)
		failed.State, failed.Attempts, failed.Trouble, failed.DoneAt = credential.DeliveryFailed, 9, "does not answer", day.Add(time.Second)
		for _, d := range []credential.Delivery{done, retry, failed} {
			noErr(t, s.Settle(ctx, d))
		}
		noErr(t, s.Settle(ctx, waiting("gone", 4))) // its webhook went meanwhile
		due(later.NextAt, 10, later)
		due(retry.NextAt, 10, later, retry)

		// The same again changes nothing: neither what was done is done again, nor what waits waits less.
		noErr(t, s.Enqueue(ctx, []credential.Delivery{waiting(a, 4), waiting(b, 3), waiting(b, 4)}, 6))
		looked(6)
		due(retry.NextAt, 10, later, retry)
		for id, want := range map[string][]credential.Delivery{a: {later, done}, b: {failed, retry}, "gone": nil} {
			got, err := s.Deliveries(ctx, id, 10)
			noErr(t, err)
			equal(t, "deliveries", got, want)
		}
		newest, err := s.Deliveries(ctx, a, 1)
		noErr(t, err)
		equal(t, "the newest", newest, []credential.Delivery{later})
		if _, head, _ := s.Since(ctx, 0, 1); head != 2 {
			t.Errorf("the outbox made revision %d", head)
		}

		// What is over is forgotten after its time, what waits never.
		for _, c := range []struct {
			after time.Duration
			want  int64
		}{{30 * 24 * time.Hour, 0}, {30*24*time.Hour + 2*time.Second, 2}, {1000 * 24 * time.Hour, 0}} {
			removed, err := s.Prune(ctx, day.Add(c.after))
			noErr(t, err)
			equal(t, "removed after "+c.after.String(), removed, c.want)
		}
		due(retry.NextAt, 10, later, retry)
	})
}

// Two nodes: a delivery does not outlive its webhook, which is removed while it is enqueued.
func TestEnqueueAgainstRemoval(t *testing.T) {
	url := testkit.Postgres(t)
	a, b := open(t, store.Config{URL: url}), open(t, store.Config{URL: url})
	for i := range 30 {
		commit(t, a, credential.PutWebhook{Webhook: hook(i)})
		enqueued := make(chan error, 1)
		go func() {
			var ds []credential.Delivery
			for seq := range int64(20) {
				ds = append(ds, waiting(hook(i).ID, seq))
			}
			enqueued <- b.Enqueue(t.Context(), ds, 1)
		}()
		commit(t, a, credential.DeleteWebhook{ID: hook(i).ID, Version: 1})
		noErr(t, <-enqueued)
		due, err := a.Due(t.Context(), day, 1)
		noErr(t, err)
		if len(due) > 0 {
			t.Fatalf("after removal %d something waits: %+v", i, due)
		}
	}
}
