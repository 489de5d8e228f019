package main

import (
	"context"
	"fmt"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/jobs"
	"cardea/internal/outbound"
)

// notifier sends notices by what the node calls out with.
type notifier struct {
	client *outbound.Client
	mailer *outbound.Mailer // nil: there is no mail
}

func noticeOptions() []option {
	return []option{
		{name: "smtp-url", value: "URL", usage: "server that takes mail for notices: smtp://user:password@host:587 or smtps://…:465; better in CARDEA_SMTP_URL than on a command line", set: text(func(c *config) *string { return &c.SMTP.URL })},
		{name: "smtp-from", value: "ADDRESS", usage: "address that notices come from", set: text(func(c *config) *string { return &c.SMTP.From })},
	}
}

// checkSMTP adds what is wrong with these options together.
func (c *config) checkSMTP(problems *credential.Problems) {
	if (c.SMTP.URL == "") != (c.SMTP.From == "") {
		problems.Add("--smtp-url", "and --smtp-from go together: one of them is missing")
	}
}

// makeNotifier makes what sends notices.
func (n *node) makeNotifier() (credential.Notifier, error) {
	out := &notifier{client: n.outbound}
	if n.config.SMTP.URL == "" {
		return out, nil
	}
	var err error
	if out.mailer, err = n.outbound.Mailer(n.config.SMTP.URL, n.config.SMTP.From); err != nil {
		return nil, fmt.Errorf("--smtp-url, --smtp-from: %w", err)
	}
	return out, nil
}

// makeTeller makes the job that tells webhooks and people.
func (n *node) makeTeller(by credential.Notifier) (err error) {
	n.teller, err = jobs.NewTeller(jobs.TellerConfig{Store: n.store, Keeper: n.authority, Notifier: by, Log: n.log})
	return err
}

// CheckWebhook implements [credential.Notifier].
func (n *notifier) CheckWebhook(url string, abroad bool, p *credential.Problems) {
	address, isMail := strings.CutPrefix(url, "mailto:")
	switch {
	case !isMail:
		n.client.CheckWebhook(url, abroad, p)
	case n.mailer == nil:
		p.Add("url", "is mail, and this Cardea has no mail server: start it with --smtp-url and --smtp-from")
	default:
		outbound.CheckMailAddress("url", address, p)
	}
}

// NewSecret implements [credential.Notifier].
func (n *notifier) NewSecret() string { return outbound.NewWebhookSecret() }

// Deliver implements [credential.Notifier].
func (n *notifier) Deliver(ctx context.Context, d *credential.Dispatch) credential.Delivered {
	return n.client.Webhook(ctx, d)
}

// Mail implements [credential.Notifier].
func (n *notifier) Mail(ctx context.Context, to, subject, text string) error {
	if n.mailer == nil {
		return credential.Errorf(credential.Down, "there is no mail server: start with --smtp-url and --smtp-from")
	}
	return n.mailer.Send(ctx, to, subject, text)
}

// HasMail implements [credential.Notifier].
func (n *notifier) HasMail() bool { return n.mailer != nil }
