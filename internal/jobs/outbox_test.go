package jobs

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/testkit/foundation"
)

// receiver is somebody who is told, and checks the signatures with a library that nobody here wrote.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	secret string
	status int
	told   []string // types, in order
	ids    []string
	bad    int // notices that were not signed well
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{status: 200}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		check, err := standardwebhooks.NewWebhook(r.secret)
		if err != nil || check.Verify(body, q.Header) != nil {
			r.bad++
		}
		r.ids = append(r.ids, q.Header.Get("webhook-id"))
		if r.status == 200 {
			r.told = append(r.told, string(body))
		}
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// telling is a Teller on a real Cardea, with a clock that the test holds.
type telling struct {
	*testing.T
	*foundation.Foundation
	teller *Teller
	now    time.Time
}

func newTelling(t *testing.T) *telling {
	h := &telling{T: t, Foundation: foundation.New(t), now: time.Now()}
	h.start()
	h.once() // what was before is history
	return h
}

func (h *telling) start() {
	var err error
	h.teller, err = NewTeller(TellerConfig{Store: h.Store, Keeper: h.Foundation.Authority, Notifier: foundation.Notices{Client: h.Sources}, Now: func() time.Time { return h.now }})
	h.must(err)
}

func (h *telling) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *telling) once() {
	h.Helper()
	h.must(h.teller.Once(h.T.Context()))
}

func (h *telling) hook(r *receiver, types ...string) authority.IssuedWebhook {
	h.Helper()
	w, err := h.Foundation.Authority.CreateWebhook(h.T.Context(), h.Local, authority.NewWebhook{URL: r.URL, Types: types})
	h.must(err)
	r.set(func() { r.secret = w.Secret.Reveal() })
	return w
}

func (h *telling) device(name string) {
	h.Helper()
	_, err := h.Foundation.Authority.CreatePrincipal(h.T.Context(), h.Local, authority.NewPrincipal{Kind: credential.Device, Name: name})
	h.must(err)
}

func (h *telling) deliveries(w authority.IssuedWebhook) []credential.Delivery {
	h.Helper()
	list, err := h.Foundation.Authority.Deliveries(h.T.Context(), h.Local, w.ID, 50)
	h.must(err)
	return list
}

// Who asks for events of a sort is told of these, once, from then on and in their order, signed; not of what was before, and not of others.
func TestWebhooksAreTold(t *testing.T) {
	h, r, other := newTelling(t), newReceiver(t), newReceiver(t)
	h.device("before")
	w := h.hook(r, "principal.*")
	h.hook(other, "principal.delete")
	for _, name := range []string{"pump-1", "pump-2"} {
		h.device(name)
	}
	h.once()
	h.once()
	if len(r.told) != 2 || r.bad != 0 || len(other.told) != 0 {
		t.Fatalf("%d were told, %d signed badly; the other was told %d", len(r.told), r.bad, len(other.told))
	}
	for i, name := range []string{"pump-1", "pump-2"} {
		if !strings.Contains(r.told[i], `"type":"principal.create"`) || !strings.Contains(r.told[i], name) {
			t.Errorf("notice %d is %s", i, r.told[i])
		}
	}
	for _, d := range h.deliveries(w) {
		if d.State != credential.DeliveryDone || d.Attempts != 1 {
			t.Errorf("%+v", d)
		}
	}
}

// A receiver that is down is told later, with the same id, also by a server that was started anew; in the end it is given up, and the log says so.
func TestDeliveriesAreTriedAgain(t *testing.T) {
	h, r := newTelling(t), newReceiver(t)
	w := h.hook(r, "principal.create")
	r.set(func() { r.status = 503 })
	h.device("pump-1")
	h.once()
	if d := h.deliveries(w)[0]; d.State != credential.DeliveryWaiting || d.Attempts != 1 || !d.NextAt.After(h.now) || d.Trouble == "" {
		t.Fatalf("after the first attempt: %+v", d)
	}
	h.once() // it is not due yet
	h.start()
	h.now = h.now.Add(time.Hour)
	r.set(func() { r.status = 200 })
	h.once()
	if len(r.told) != 1 || len(r.ids) != 2 || r.ids[0] != r.ids[1] || r.bad != 0 {
		t.Errorf("told %d times by the ids %v", len(r.told), r.ids)
	}
	r.set(func() { r.status = 500 })
	h.device("pump-2")
	for range MaxAttempts + 2 {
		h.once()
		h.now = h.now.Add(24 * time.Hour)
	}
	if d := h.deliveries(w)[0]; d.State != credential.DeliveryFailed || d.Attempts != MaxAttempts {
		t.Errorf("in the end: %+v", d)
	}
	events, err := h.Foundation.Authority.Events(context.Background(), h.Local, credential.EventFilter{Type: "webhook.failed"})
	h.must(err)
	if len(events) != 1 {
		t.Errorf("%d events say that a notice was given up", len(events))
	}
}

// A receiver that wants no more (410) is asked no more, and the webhook says why.
func TestGoneReceivers(t *testing.T) {
	h, r := newTelling(t), newReceiver(t)
	w := h.hook(r)
	r.set(func() { r.status = 410 })
	h.device("pump-1")
	h.once()
	now, err := h.Foundation.Authority.Webhook(context.Background(), h.Local, w.ID)
	h.must(err)
	if now.Enabled || now.Trouble == "" {
		t.Errorf("the webhook is %+v", now)
	}
	h.device("pump-2")
	h.once()
	if len(r.ids) != 1 {
		t.Errorf("it was asked %d times", len(r.ids))
	}
}

// While a secret is rotated, who has the old one and who has the new one can both check; then the new one alone.
func TestRotatedSecrets(t *testing.T) {
	h, r := newTelling(t), newReceiver(t)
	w := h.hook(r, "principal.create")
	_, err := h.Foundation.Authority.RotateWebhook(context.Background(), h.Local, w.ID, time.Hour)
	h.must(err)
	h.device("pump-1")
	h.once()
	if len(r.told) != 1 || r.bad != 0 {
		t.Errorf("with the old secret: %d told, %d signed badly", len(r.told), r.bad)
	}
	next, err := h.Foundation.Authority.RotateWebhook(context.Background(), h.Local, w.ID, 0)
	h.must(err)
	h.device("pump-2")
	h.once()
	if r.bad != 1 {
		t.Errorf("a secret whose time is over still signs")
	}
	r.set(func() { r.secret = next.Secret.Reveal() })
	h.device("pump-3")
	h.once()
	if r.bad != 1 || len(r.told) != 3 {
		t.Errorf("with the new secret: %d told, %d signed badly", len(r.told), r.bad)
	}
}

// One that does not answer, with much that waits for it, holds up no other.
func TestOneInTroubleHoldsUpNobody(t *testing.T) {
	h, down, up := newTelling(t), newReceiver(t), newReceiver(t)
	h.hook(down, "principal.create")
	for i := range 250 {
		h.device(fmt.Sprint("old-", i))
	}
	down.set(func() { down.status = 500 })
	h.once()
	h.hook(up, "principal.create")
	h.device("new")
	h.once()
	if len(up.told) != 1 || len(down.ids) > 3 {
		t.Errorf("one was told %d times, the other was asked %d times", len(up.told), len(down.ids))
	}
}

// Webhooks that fail do not tell of each other, for ever.
func TestFailuresAreNotTold(t *testing.T) {
	h, one, two := newTelling(t), newReceiver(t), newReceiver(t)
	one.set(func() { one.status = 500 })
	two.set(func() { two.status = 500 })
	h.hook(one)
	h.hook(two)
	h.device("pump-1")
	for range 40 {
		h.once()
		h.now = h.now.Add(24 * time.Hour)
	}
	events, err := h.Foundation.Authority.Events(context.Background(), h.Local, credential.EventFilter{Type: "webhook.failed"})
	h.must(err)
	if len(events) > 2 {
		t.Errorf("%d events say that a notice was given up", len(events))
	}
	due, err := h.Store.Due(context.Background(), h.now.Add(100*24*time.Hour), 100)
	h.must(err)
	if len(due) != 0 {
		t.Errorf("%d deliveries wait", len(due))
	}
}
