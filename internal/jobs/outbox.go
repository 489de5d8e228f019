package jobs

import (
	"context"
	"errors"
	"log/slog"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"time"

	"cardea/internal/credential"
)

// Teller brings events to those who want to be told: to webhooks, and by mail to whom a credential belongs. It follows the audit log, so
// that an event is told after it is durable, at least once, however often the server stops in between. Exactly one node of a cluster does it.
type Teller struct {
	c TellerConfig
}

// TellerConfig is what a Teller is made of.
type TellerConfig struct {
	Store    TellerStore
	Keeper   Keeper
	Notifier credential.Notifier
	Log      *slog.Logger
	Every    time.Duration    // how often it looks for what is due; 0: 1 s
	Now      func() time.Time // nil: time.Now
}

// TellerStore is what a Teller needs of the database.
type TellerStore interface {
	credential.Outbox
	Events(ctx context.Context, f credential.EventFilter) ([]credential.Event, error)
	Webhooks(ctx context.Context, org string) ([]credential.Webhook, error)
	Since(ctx context.Context, after int64, limit int) ([]credential.Touch, int64, error)
	Exclusive(ctx context.Context, name string, fn func(context.Context) error) error
}

// Keeper knows the secrets of webhooks and the addresses of people. It is the authority.
type Keeper interface {
	WebhookSecrets(w *credential.Webhook) ([]string, error)
	StopWebhook(ctx context.Context, w credential.Webhook, typ, why string, disable bool) error
	MailOf(ctx context.Context, e *credential.Event) (string, error)
}

const (
	tellPage    = 500 // events that are looked at together
	tellAtOnce  = 8   // webhooks that are told at the same time
	tellDue     = 200
	tellTime    = 40 * time.Second // for one attempt
	tellTurn    = 10 * time.Second // for one webhook at a time
	mailWebhook = "mailto:"        // begins a webhook's URL, and stands for a webhook where a person is told
)

// NewTeller returns a Teller that does nothing until it is run.
func NewTeller(c TellerConfig) (*Teller, error) {
	if c.Store == nil || c.Keeper == nil || c.Notifier == nil {
		return nil, errors.New("jobs: a teller needs a store, a keeper and a notifier")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Every <= 0 {
		c.Every = time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Teller{c}, nil
}

// Run tells until ctx ends.
func (t *Teller) Run(ctx context.Context) {
	said := time.Time{}
	for ctx.Err() == nil {
		err := t.c.Store.Exclusive(ctx, "teller", t.Once)
		if err != nil && ctx.Err() == nil && time.Since(said) > time.Minute {
			t.c.Log.Warn("notices cannot be sent now; they wait", "error", err)
			said = time.Now()
		}
		select {
		case <-ctx.Done():
		case <-time.After(t.c.Every):
		}
	}
}

// Once looks at the events that have come and tries everything that is due.
func (t *Teller) Once(ctx context.Context) error {
	if err := t.look(ctx); err != nil {
		return err
	}
	return t.deliver(ctx)
}

// look puts into the outbox what the events since the last time are to be told to.
func (t *Teller) look(ctx context.Context) error {
	after, err := t.c.Store.Looked(ctx)
	if err != nil {
		return err
	}
	if after == 0 { // the first time: what has happened before there was anybody to tell is history
		_, head, err := t.c.Store.Since(ctx, 0, 1)
		if err != nil || head == 0 {
			return err
		}
		return t.c.Store.Enqueue(ctx, nil, head)
	}
	for {
		events, err := t.c.Store.Events(ctx, credential.EventFilter{After: after, Limit: tellPage})
		if err != nil || len(events) == 0 {
			return err
		}
		hooks, err := t.c.Store.Webhooks(ctx, "")
		if err != nil {
			return err
		}
		var out []credential.Delivery
		for i := range events {
			more, err := t.deliveriesOf(ctx, &events[i], hooks)
			if err != nil {
				return err
			}
			out = append(out, more...)
		}
		after = events[len(events)-1].Seq
		if err := t.c.Store.Enqueue(ctx, out, after); err != nil {
			return err
		}
		if len(events) < tellPage {
			return nil
		}
	}
}

func (t *Teller) deliveriesOf(ctx context.Context, e *credential.Event, hooks []credential.Webhook) ([]credential.Delivery, error) {
	now := t.c.Now()
	to := func(webhook string) credential.Delivery {
		return credential.Delivery{Webhook: webhook, Seq: e.Seq, State: credential.DeliveryWaiting, NextAt: now, CreatedAt: now}
	}
	var out []credential.Delivery
	for i := range hooks {
		if wants(&hooks[i], e) {
			out = append(out, to(hooks[i].ID))
		}
	}
	if !personal[e.Type] || !t.c.Notifier.HasMail() {
		return out, nil
	}
	address, err := t.c.Keeper.MailOf(ctx, e)
	if err != nil {
		return nil, err
	}
	if a, err := mail.ParseAddress(address); err == nil && a.Address == address {
		out = append(out, to(mailWebhook+address))
	}
	return out, nil
}

// personal are the events that the person is told by mail whose credential they are about.
var personal = map[string]bool{
	"credential.expires_soon": true, "credential.expired": true, "credential.unused": true, "credential.rotation_due": true,
	"credential.leaked": true, "credential.shared": true, "credential.approve": true, "credential.deny": true, "quota.near": true, "quota.spent": true,
}

// wants reports whether a webhook is to be told of an event: of what happens after it was made, and of nothing about itself. That notices fail is told
// to none: two in trouble would tell of each other for ever.
func wants(w *credential.Webhook, e *credential.Event) bool {
	if e.Type == "webhook.failed" || e.Type == "webhook.disabled" {
		return false
	}
	if !w.Enabled || w.Org != e.Org || e.At.Before(w.CreatedAt) || e.Subject.Kind == "webhook" && e.Subject.ID == w.ID {
		return false
	}
	return len(w.Types) == 0 || slices.ContainsFunc(w.Types, func(t string) bool {
		noun, all := strings.CutSuffix(t, "*")
		return t == e.Type || all && strings.HasPrefix(e.Type, noun)
	})
}

// deliver tries what is due: of one webhook one after the other, of several at the same time.
func (t *Teller) deliver(ctx context.Context) error {
	due, err := t.c.Store.Due(ctx, t.c.Now(), tellDue)
	if err != nil || len(due) == 0 {
		return err
	}
	hooks, err := t.c.Store.Webhooks(ctx, "")
	if err != nil {
		return err
	}
	of := map[string][]credential.Delivery{}
	for _, d := range due {
		of[d.Webhook] = append(of[d.Webhook], d)
	}
	var all sync.WaitGroup
	seats := make(chan struct{}, tellAtOnce)
	for id, list := range of {
		seats <- struct{}{}
		all.Go(func() {
			defer func() { <-seats }()
			at := slices.IndexFunc(hooks, func(w credential.Webhook) bool { return w.ID == id })
			var hook *credential.Webhook
			if at >= 0 {
				hook = &hooks[at]
			}
			if err := t.tell(ctx, id, hook, list); err != nil && ctx.Err() == nil {
				t.c.Log.Warn("a notice could not be settled; it is told again", "webhook", id, "error", err)
			}
		})
	}
	all.Wait()
	return ctx.Err()
}

// tell tries the deliveries of one webhook. After one that was not taken, or when they take long, the others wait for the next time, so that a
// receiver in trouble is not flooded and holds up nobody.
func (t *Teller) tell(ctx context.Context, id string, hook *credential.Webhook, list []credential.Delivery) error {
	began := time.Now()
	for _, d := range list {
		if time.Since(began) > tellTurn {
			return nil
		}
		out := t.attempt(ctx, id, hook, &d)
		if ctx.Err() != nil {
			return nil // the server stops: the attempt does not count
		}
		if err := t.settle(ctx, hook, d, out); err != nil {
			return err
		}
		if !out.OK && out.Retry {
			return nil
		}
	}
	return nil
}

// attempt tells one event once.
func (t *Teller) attempt(ctx context.Context, id string, hook *credential.Webhook, d *credential.Delivery) credential.Delivered {
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	to, isPerson := strings.CutPrefix(id, mailWebhook)
	switch {
	case !isPerson && hook == nil:
		return credential.Delivered{Why: "the webhook is no more"}
	case !isPerson && !hook.Enabled:
		return credential.Delivered{Why: "the webhook is disabled"}
	case !isPerson:
		to, isPerson = strings.CutPrefix(hook.URL, mailWebhook)
	}
	events, err := t.c.Store.Events(ctx, credential.EventFilter{After: d.Seq - 1, Before: d.Seq + 1, Limit: 1})
	if err != nil || len(events) != 1 {
		return credential.Delivered{Why: "the event could not be read", Retry: true}
	}
	n := NewNotice(&events[0])
	if isPerson {
		return t.mail(ctx, to, &n)
	}
	body, err := n.Body()
	if err != nil {
		return credential.Delivered{Why: "the notice could not be written"}
	}
	secrets, err := t.c.Keeper.WebhookSecrets(hook)
	if err != nil {
		return credential.Delivered{Why: "the webhook's secret could not be opened", Retry: true}
	}
	return t.c.Notifier.Deliver(ctx, &credential.Dispatch{URL: hook.URL, ID: events[0].ID, Secrets: secrets, Body: body, Abroad: hook.Org != credential.DefaultOrg})
}

func (t *Teller) mail(ctx context.Context, to string, n *Notice) credential.Delivered {
	subject, text := n.Mail()
	err := t.c.Notifier.Mail(ctx, to, subject, text)
	if err == nil {
		return credential.Delivered{OK: true}
	}
	out := credential.Delivered{Why: "the mail was not taken", Retry: credential.KindOf(err) != credential.Invalid}
	if e, ok := errors.AsType[*credential.Error](err); ok {
		out.Why = e.Public()
	}
	return out
}

// settle writes what came of an attempt.
func (t *Teller) settle(ctx context.Context, hook *credential.Webhook, d credential.Delivery, out credential.Delivered) error {
	now := t.c.Now()
	d.Attempts++
	d.Trouble = out.Why
	switch {
	case out.OK:
		d.State, d.DoneAt, d.Trouble = credential.DeliveryDone, now, ""
	case out.Retry && d.Attempts < MaxAttempts:
		d.NextAt = now.Add(max(Backoff(d.Attempts+1), out.RetryAfter))
	default:
		d.State, d.DoneAt = credential.DeliveryFailed, now
	}
	if err := t.c.Store.Settle(ctx, d); err != nil {
		return err
	}
	switch {
	case hook == nil || d.State != credential.DeliveryFailed || !hook.Enabled:
		return nil
	case out.Gone:
		return t.c.Keeper.StopWebhook(ctx, *hook, "webhook.disabled", out.Why, true)
	}
	return t.c.Keeper.StopWebhook(ctx, *hook, "webhook.failed", out.Why, false)
}
