package authority

import (
	"context"
	"strings"
	"testing"

	"cardea/internal/credential"
	"cardea/internal/outbound"
	"cardea/internal/secret"
)

// Who may not read the audit log cannot have it sent to them, by no way of changing a webhook (J26).
func TestWebhooksAreForWhoMayHear(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	w, err := h.CreateWebhook(ctx, h.local, NewWebhook{URL: "https://hooks.example.com/x"})
	h.must(err)
	deaf := h.caller("api:webhooks:* /webhooks/**")
	url := "https://evil.example.com/"
	_, err = h.CreateWebhook(ctx, deaf, NewWebhook{URL: url})
	fails(t, err, credential.NoRight, "events:read")
	_, err = h.UpdateWebhook(ctx, deaf, w.ID, WebhookPatch{URL: &url})
	fails(t, err, credential.NoRight, "events:read")
	_, err = h.RotateWebhook(ctx, deaf, w.ID, 0)
	fails(t, err, credential.NoRight, "events:read")
	hearing := h.caller("api:webhooks:* /webhooks/**", "api:events:read /events/*")
	_, err = h.UpdateWebhook(ctx, hearing, w.ID, WebhookPatch{URL: &url})
	h.must(err)
}

// K01, K03: the secret of a webhook is nowhere in the clear, and the paths of URLs, which often are secrets, are in no event.
func TestWebhookSecretsAreSealed(t *testing.T) {
	h := newHouse(t)
	w, err := h.CreateWebhook(t.Context(), h.local, NewWebhook{URL: "https://hooks.example.com/services/T0/hush"})
	h.must(err)
	dump := h.dump()
	if strings.Contains(dump, strings.TrimPrefix(w.Secret.Reveal(), "whsec_")) {
		t.Error("the secret is in the database")
	}
	for _, e := range h.events(0) {
		if strings.Contains(sprint(e), "hush") {
			t.Errorf("the event %s tells the path", e.Type)
		}
	}
}

// J26: an invitation is good for whom it was made, not for what they have become meanwhile.
func TestInvitationsDoNotGrow(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.role("more")
	h.principal(credential.User, "bob")
	password := secret.NewText("trilobite marzipan quay 71")
	for what, change := range map[string]func(){
		"more roles": func() {
			_, err := h.UpdatePrincipal(ctx, h.local, "bob", PrincipalPatch{Roles: &[]string{"more"}})
			h.must(err)
		},
		"other attributes": func() {
			_, err := h.UpdatePrincipal(ctx, h.local, "bob", PrincipalPatch{Attrs: &map[string]string{"site": "x"}})
			h.must(err)
		},
		"no password": func() { h.must(h.RemovePassword(ctx, h.local, "bob", "")) },
	} {
		in, err := h.Invite(ctx, h.local, "bob")
		h.must(err)
		change()
		_, err = h.Activate(ctx, "", in.Code.Reveal(), password, credential.Actor{Door: "api"})
		if !credential.IsNotFound(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	in, err := h.Invite(ctx, h.local, "bob")
	h.must(err)
	_, err = h.Activate(ctx, "", in.Code.Reveal(), password, credential.Actor{Door: "api"})
	h.must(err)
}

// R08: a leak of what is in quarantine already is told once a day.
func TestLeaksOfTheQuarantined(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.Service, "svc")
	_, err := h.SetKindPolicy(ctx, h.local, credential.APIKey, AnyVersion, func(p *credential.KindPolicy) { p.LeakAction = credential.ActionQuarantine })
	h.must(err)
	is := h.made("k", 30*day)
	before := h.head()
	for range 5 {
		h.must(h.Leaked(ctx, Leak{Org: h.local.Org, Credential: is.Credential.ID, Proof: 1}))
	}
	if got := types(h.events(before)); strings.Count(got, "credential.leaked") != 2 || strings.Count(got, "credential.quarantine") != 1 {
		t.Errorf("the events are %s", got)
	}
}

// notices sends nothing that the tests of this package look at, but for what is checked and signed with.
type notices struct{ *outbound.Client }

func (notices) NewSecret() string { return outbound.NewWebhookSecret() }
func (notices) HasMail() bool     { return false }

func (n notices) Deliver(ctx context.Context, d *credential.Dispatch) credential.Delivered {
	return n.Webhook(ctx, d)
}

func (notices) Mail(context.Context, string, string, string) error {
	return credential.Errorf(credential.Down, "there is no mail server")
}
