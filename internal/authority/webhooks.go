package authority

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// Bounds of webhooks.
const (
	maxWebhooks     = 50 // of an organisation
	maxWebhookTypes = 32
	mailPrefix      = "mailto:"
)

// NewWebhook asks for a webhook.
type NewWebhook struct {
	URL         string // https://…, or mailto:ADDRESS
	Description string
	Types       []string // of events: exact, or a noun and ".*"; none means all
}

// WebhookPatch changes the fields that are not nil.
type WebhookPatch struct {
	URL, Description *string
	Types            *[]string
	Enabled          *bool
	Version          int64
}

// IssuedWebhook is a webhook with the secret that is shown once; empty for mail.
type IssuedWebhook struct {
	credential.Webhook
	Secret secret.Text
}

// webhookSecret is one of those that a webhook's notices are signed with.
type webhookSecret struct {
	Secret string    `json:"secret"`
	Until  time.Time `json:"until,omitzero"` // zero for the newest
}

// Webhooks lists those of the organisation.
func (a *Authority) Webhooks(ctx context.Context, c Caller) ([]credential.Webhook, error) {
	if err := a.Authorize(c, "webhooks:read", "/webhooks/*"); err != nil {
		return nil, err
	}
	return a.store.Webhooks(ctx, c.Org)
}

// Webhook returns one.
func (a *Authority) Webhook(ctx context.Context, c Caller, id string) (credential.Webhook, error) {
	return a.webhook(ctx, c, "read", id)
}

func (a *Authority) webhook(ctx context.Context, c Caller, verb, id string) (credential.Webhook, error) {
	hidden := notFound("webhook", id)
	all, err := a.store.Webhooks(ctx, c.Org)
	if err != nil {
		return credential.Webhook{}, err
	}
	at := slices.IndexFunc(all, func(w credential.Webhook) bool { return w.ID == id })
	if at < 0 {
		return credential.Webhook{}, hidden
	}
	return all[at], a.permit(c, "webhooks", verb, id, hidden)
}

// CreateWebhook tells somebody of what happens from now on. What is told holds nothing secret, but much of who does what:
// it is for who may read the audit log.
func (a *Authority) CreateWebhook(ctx context.Context, c Caller, n NewWebhook) (IssuedWebhook, error) {
	if err := a.Authorize(c, "webhooks:create", "/webhooks/*"); err != nil {
		return IssuedWebhook{}, err
	}
	if err := a.mayHear(c); err != nil {
		return IssuedWebhook{}, err
	}
	id, err := secret.NewID(secret.IDLen)
	if err != nil {
		return IssuedWebhook{}, err
	}
	return retry(0, func() (IssuedWebhook, error) {
		all, err := a.store.Webhooks(ctx, c.Org)
		if err != nil {
			return IssuedWebhook{}, err
		}
		ch := a.begin(c)
		w := credential.Webhook{ID: id, Org: c.Org, URL: n.URL, Description: n.Description, Types: slices.Clone(n.Types), Enabled: true, CreatedAt: ch.at}
		if err := a.checkWebhook(&w); err != nil {
			return IssuedWebhook{}, err
		}
		if len(all) >= maxWebhooks {
			return IssuedWebhook{}, credential.Errorf(credential.Conflict, "the organisation has %d webhooks, which is the most: delete one first", len(all))
		}
		text, err := a.sealSecrets(&w, nil, 0, ch.at)
		if err != nil {
			return IssuedWebhook{}, err
		}
		d := details{"to": destination(w.URL), "types": names(w.Types)}
		ch.do(credential.PutWebhook{Webhook: w}, "webhook.create", aboutWebhook(&w), d)
		if err := a.commit(ctx, ch); err != nil {
			return IssuedWebhook{}, err
		}
		w.Version = 1
		return IssuedWebhook{w, text}, nil
	})
}

// mayHear refuses who may not read the audit log: whoever says where it is told, or can sign what is told, could read it there.
func (a *Authority) mayHear(c Caller) error { return a.Authorize(c, "events:read", "/events/*") }

// checkWebhook names everything that is wrong at once.
func (a *Authority) checkWebhook(w *credential.Webhook) error {
	var p credential.Problems
	if a.notifier == nil {
		p.Add("url", "cannot be told of anything: this Cardea sends no notices")
	} else {
		a.notifier.CheckWebhook(w.URL, abroad(w.Org), &p)
	}
	checkText(&p, "description", w.Description, maxDescriptionLen)
	if len(w.Types) > maxWebhookTypes {
		p.Add("types", "has more than %d entries", maxWebhookTypes)
	} else {
		for i, t := range w.Types {
			noun, verb, ok := strings.Cut(t, ".")
			if !ok || credential.CheckName(strings.ReplaceAll(noun, "-", "")) != "" || verb != "*" && credential.CheckName(verb) != "" {
				p.Add(item("types", i), "is no type of an event, such as credential.revoke, and no noun with .* behind it, such as credential.*")
			}
		}
		checkRepeats(&p, "types", w.Types)
	}
	return p.Err()
}

// sealSecrets gives a webhook a new secret, in front of those that go on until their end. Mail has none.
func (a *Authority) sealSecrets(w *credential.Webhook, old []webhookSecret, overlap time.Duration, now time.Time) (secret.Text, error) {
	if strings.HasPrefix(w.URL, mailPrefix) {
		w.Sealed = nil
		return secret.Text{}, nil
	}
	all := []webhookSecret{{Secret: a.notifier.NewSecret()}}
	for _, s := range old {
		if end := now.Add(overlap); s.Until.IsZero() || end.Before(s.Until) {
			s.Until = end // who rotates without an overlap does not want an older one to go on either
		}
		if now.Before(s.Until) && len(all) < 4 {
			all = append(all, s)
		}
	}
	plain, err := json.Marshal(all)
	if err != nil {
		return secret.Text{}, &credential.Error{Kind: credential.Internal, Err: err}
	}
	w.Sealed, err = a.ring.Seal(w.SealedAs(), plain)
	return secret.NewText(all[0].Secret), err
}

func (a *Authority) secretsOf(w *credential.Webhook) ([]webhookSecret, error) {
	if len(w.Sealed) == 0 {
		return nil, nil
	}
	plain, err := a.ring.Open(w.SealedAs(), w.Sealed)
	if err != nil {
		return nil, err
	}
	var all []webhookSecret
	if err := json.Unmarshal(plain, &all); err != nil {
		return nil, &credential.Error{Kind: credential.Internal, Err: err}
	}
	return all, nil
}

// WebhookSecrets returns what notices to a webhook are signed with now, the newest first. It is for the job that sends them.
func (a *Authority) WebhookSecrets(w *credential.Webhook) ([]string, error) {
	all, err := a.secretsOf(w)
	if err != nil {
		return nil, err
	}
	var good []string
	for _, s := range all {
		if s.Until.IsZero() || a.now().Before(s.Until) {
			good = append(good, s.Secret)
		}
	}
	return good, nil
}

// UpdateWebhook changes the fields that are given. Enabling it again forgets why it was disabled.
func (a *Authority) UpdateWebhook(ctx context.Context, c Caller, id string, patch WebhookPatch) (credential.Webhook, error) {
	return retry(patch.Version, func() (credential.Webhook, error) {
		old, err := a.webhook(ctx, c, "update", id)
		if err == nil {
			err = a.mayHear(c)
		}
		if err != nil {
			return old, err
		}
		if err := checkVersion("webhook", patch.Version, old.Version); err != nil {
			return old, err
		}
		w := old
		if patch.URL != nil {
			w.URL = *patch.URL
		}
		if patch.Description != nil {
			w.Description = *patch.Description
		}
		if patch.Types != nil {
			w.Types = slices.Clone(*patch.Types)
		}
		if patch.Enabled != nil {
			if w.Enabled = *patch.Enabled; w.Enabled {
				w.Trouble = ""
			}
		}
		if strings.HasPrefix(old.URL, mailPrefix) != strings.HasPrefix(w.URL, mailPrefix) {
			return old, &credential.Error{Kind: credential.Invalid, Fields: []credential.FieldError{{Field: "url", Message: "changes between mail and HTTP: make another webhook"}}}
		}
		if err := a.checkWebhook(&w); err != nil {
			return old, err
		}
		d := details{}
		d.set("to", destination(old.URL), destination(w.URL))
		if old.URL != w.URL && len(d) == 0 {
			d["url"] = "changed"
		}
		d.set("description", old.Description, w.Description)
		d.set("types", names(old.Types), names(w.Types))
		d.set("enabled", yesNo(old.Enabled), yesNo(w.Enabled))
		if len(d) == 0 {
			return old, nil
		}
		return a.putWebhook(ctx, c, w, "webhook.update", d)
	})
}

func (a *Authority) putWebhook(ctx context.Context, c Caller, w credential.Webhook, typ string, d details) (credential.Webhook, error) {
	ch := a.begin(c)
	ch.do(credential.PutWebhook{Webhook: w}, typ, aboutWebhook(&w), d)
	if err := a.commit(ctx, ch); err != nil {
		return w, err
	}
	w.Version++
	return w, nil
}

// RotateWebhook gives a webhook a new secret. Until the overlap is over, notices are signed with the old one too.
func (a *Authority) RotateWebhook(ctx context.Context, c Caller, id string, overlap time.Duration) (IssuedWebhook, error) {
	return retry(0, func() (IssuedWebhook, error) {
		w, err := a.webhook(ctx, c, "rotate", id)
		if err == nil {
			err = a.mayHear(c)
		}
		if err != nil {
			return IssuedWebhook{}, err
		}
		var p credential.Problems
		if overlap < 0 || overlap > maxOverlap {
			p.Add("overlap", "is not between 0 and %d days", maxOverlap/day)
		}
		if strings.HasPrefix(w.URL, mailPrefix) {
			p.Add("url", "is mail, which is not signed")
		}
		if err := p.Err(); err != nil {
			return IssuedWebhook{}, err
		}
		old, err := a.secretsOf(&w)
		if err != nil {
			return IssuedWebhook{}, err
		}
		text, err := a.sealSecrets(&w, old, overlap, a.now())
		if err != nil {
			return IssuedWebhook{}, err
		}
		w, err = a.putWebhook(ctx, c, w, "webhook.rotate", details{"overlap": overlap.String()})
		return IssuedWebhook{w, text}, err
	})
}

// DeleteWebhook removes a webhook, and what waits for it.
func (a *Authority) DeleteWebhook(ctx context.Context, c Caller, id string) error {
	_, err := retry(0, func() (none, error) {
		w, err := a.webhook(ctx, c, "delete", id)
		if err != nil {
			return none{}, err
		}
		ch := a.begin(c)
		ch.do(credential.DeleteWebhook{ID: w.ID, Version: w.Version}, "webhook.delete", aboutWebhook(&w), details{"to": destination(w.URL)})
		return none{}, a.commit(ctx, ch)
	})
	return err
}

// Deliveries returns the newest of a webhook.
func (a *Authority) Deliveries(ctx context.Context, c Caller, id string, limit int) ([]credential.Delivery, error) {
	if _, err := a.webhook(ctx, c, "read", id); err != nil {
		return nil, err
	}
	return a.store.Deliveries(ctx, id, clampLimit(limit))
}

// TestWebhook sends a notice of type webhook.test at once, and returns what came of it.
func (a *Authority) TestWebhook(ctx context.Context, c Caller, id string, body []byte) (credential.Delivered, error) {
	w, err := a.webhook(ctx, c, "test", id)
	if err != nil {
		return credential.Delivered{}, err
	}
	if to, isMail := strings.CutPrefix(w.URL, mailPrefix); isMail {
		if err := a.notifier.Mail(ctx, to, "Cardea: a test", "This is what somebody has asked for who set up notices to this address.\n"); err != nil {
			return credential.Delivered{Why: whyNot(err)}, nil
		}
		return credential.Delivered{OK: true}, nil
	}
	secrets, err := a.WebhookSecrets(&w)
	if err != nil {
		return credential.Delivered{}, err
	}
	once, err := secret.NewID(secret.IDLen)
	if err != nil {
		return credential.Delivered{}, err
	}
	return a.notifier.Deliver(ctx, &credential.Dispatch{URL: w.URL, ID: "test_" + once, Secrets: secrets, Body: body, Abroad: abroad(w.Org)}), nil
}

// StopWebhook disables one that wants no more, or to which a notice could not be brought. It is for the job that sends them.
func (a *Authority) StopWebhook(ctx context.Context, w credential.Webhook, typ, why string, disable bool) error {
	if !disable { // said once a day
		today := a.now().Truncate(day)
		if first, err := a.store.Once(ctx, "webhook-failed/"+w.ID+"/"+today.Format(time.DateOnly), today.Add(day)); err != nil || !first {
			return err
		}
	}
	_, err := retry(0, func() (none, error) {
		c := system()
		c.Org = w.Org
		now, err := a.webhook(ctx, c, "update", w.ID)
		if credential.IsNotFound(err) || err == nil && !now.Enabled {
			return none{}, nil
		}
		if err != nil {
			return none{}, err
		}
		ch := a.begin(c)
		d := details{"to": destination(now.URL), "why": printable(why)}
		if !disable {
			ch.do(nil, typ, aboutWebhook(&now), d)
			return none{}, a.commit(ctx, ch)
		}
		now.Enabled, now.Trouble = false, printable(why)
		ch.do(credential.PutWebhook{Webhook: now}, typ, aboutWebhook(&now), d)
		return none{}, a.commit(ctx, ch)
	})
	return err
}

// abroad reports whether an organisation's webhooks may only be on the internet: what stands in the host's own networks is not for every
// tenant to call (W07).
func abroad(org string) bool { return org != credential.DefaultOrg }

// MailOf returns the address of the person whom an event about a credential is for: its owner, or the user whose it is; "" for nobody.
func (a *Authority) MailOf(ctx context.Context, e *credential.Event) (string, error) {
	if e.Subject.Kind != "credential" {
		return "", nil
	}
	rec, err := a.store.Credential(ctx, e.Subject.ID)
	if credential.IsNotFound(err) {
		return "", nil
	}
	if err != nil || rec.Credential.Org != e.Org {
		return "", err
	}
	p := rec.Principal
	if owner := rec.Credential.Owner; owner != "" {
		if p, err = a.store.Principal(ctx, e.Org, owner); credential.IsNotFound(err) {
			return "", nil
		}
	}
	if err != nil || p.Kind != credential.User || p.Disabled || !p.DeletedAt.IsZero() {
		return "", err
	}
	return p.Attrs["email"], nil
}

// destination is how a webhook's URL is told: paths and queries of webhooks are secrets, often.
func destination(u string) string {
	if strings.HasPrefix(u, mailPrefix) {
		return u
	}
	scheme, rest, _ := strings.Cut(u, "://")
	host, _, _ := strings.Cut(rest, "/")
	host, _, _ = strings.Cut(host, "?")
	return scheme + "://" + host
}

func aboutWebhook(w *credential.Webhook) credential.Subject {
	return credential.Subject{Kind: "webhook", ID: w.ID, Name: destination(w.URL)}
}

func whyNot(err error) string {
	if e, ok := err.(*credential.Error); ok {
		return e.Public()
	}
	return "it did not work"
}
