package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/view"
)

type patchWebhookIn struct {
	IDIn
	MatchIn
	BodyIn[view.PatchWebhook]
}

type rotateWebhookIn struct {
	IDIn
	OptionalIn[view.RotateWebhook]
}

type deliveriesIn struct {
	IDIn
	Limit int `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type (
	webhookOut       = reply[view.Webhook]
	webhooksOut      = reply[view.Page[view.Webhook]]
	issuedWebhookOut = reply[view.IssuedWebhook]
	deliveriesOut    = reply[view.Page[view.Delivery]]
	testedOut        = reply[view.WebhookTested]
)

func (s *server) webhooks() {
	auth := s.api.Authority
	issued := func(w authority.IssuedWebhook, err error) (*issuedWebhookOut, error) {
		return tagged(view.IssuedWebhook{Webhook: view.FromWebhook(w.Webhook), Secret: view.Secret(w.Secret.Reveal())}, w.Version), err
	}
	handle(s, op{
		id: "createWebhook", method: http.MethodPost, path: "/webhooks", summary: "Tell somebody of events from now on; the secret of the signatures is shown this once",
		right: "webhooks:create on /webhooks/*, and events:read", status: http.StatusCreated, example: `{"url":"https://hooks.example.com/cardea","types":["credential.*"]}`,
	}, func(ctx context.Context, c *caller, in *BodyIn[view.NewWebhook]) (*issuedWebhookOut, error) {
		w, err := auth.CreateWebhook(ctx, c.Caller, authority.NewWebhook{URL: in.Body.URL, Types: in.Body.Types, Description: in.Body.Description})
		out, err := issued(w, err)
		return out.at("webhooks", w.ID), err
	})
	handle(s, op{
		id: "listWebhooks", method: http.MethodGet, path: "/webhooks", summary: "List the webhooks", right: "webhooks:read on /webhooks/*",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*webhooksOut, error) {
		list, err := auth.Webhooks(ctx, c.Caller)
		return answer(view.NewPage(list, "", view.FromWebhook)), err
	})
	handle(s, op{
		id: "getWebhook", method: http.MethodGet, path: "/webhooks/{id}", summary: "Show a webhook", right: "webhooks:read on /webhooks/ID",
	}, func(ctx context.Context, c *caller, in *IDIn) (*webhookOut, error) {
		w, err := auth.Webhook(ctx, c.Caller, in.ID)
		return tagged(view.FromWebhook(w), w.Version), err
	})
	handle(s, op{
		id: "patchWebhook", method: http.MethodPatch, path: "/webhooks/{id}", summary: "Change a webhook, disable or enable it", right: "webhooks:update on /webhooks/ID",
		example: `{"enabled":false}`,
	}, func(ctx context.Context, c *caller, in *patchWebhookIn) (*webhookOut, error) {
		version, err := in.version()
		if err != nil {
			return nil, err
		}
		b := in.Body
		w, err := auth.UpdateWebhook(ctx, c.Caller, in.ID, authority.WebhookPatch{URL: b.URL, Types: b.Types, Description: b.Description, Enabled: b.Enabled, Version: version})
		return tagged(view.FromWebhook(w), w.Version), err
	})
	handle(s, op{
		id: "deleteWebhook", method: http.MethodDelete, path: "/webhooks/{id}", summary: "Remove a webhook and what waits for it", right: "webhooks:delete on /webhooks/ID",
		status: http.StatusNoContent,
	}, func(ctx context.Context, c *caller, in *IDIn) (*empty, error) {
		return nil, auth.DeleteWebhook(ctx, c.Caller, in.ID)
	})
	handle(s, op{
		id: "rotateWebhook", method: http.MethodPost, path: "/webhooks/{id}/rotate", summary: "Give a webhook a new secret", right: "webhooks:rotate on /webhooks/ID",
		example: `{"overlap":"24h"}`,
	}, func(ctx context.Context, c *caller, in *rotateWebhookIn) (*issuedWebhookOut, error) {
		var p credential.Problems
		overlap := time.Duration(0)
		if in.Body != nil {
			overlap = view.ParseOverlap("overlap", in.Body.Overlap, &p)
		}
		if err := p.Err(); err != nil {
			return nil, err
		}
		return issued(auth.RotateWebhook(ctx, c.Caller, in.ID, overlap))
	})
	handle(s, op{
		id: "testWebhook", method: http.MethodPost, path: "/webhooks/{id}/test", summary: "Send a notice of type webhook.test at once", right: "webhooks:test on /webhooks/ID",
	}, func(ctx context.Context, c *caller, in *IDIn) (*testedOut, error) {
		body, err := json.Marshal(map[string]any{"type": "webhook.test", "timestamp": s.api.Now().UTC(), "data": map[string]string{"org": c.Org}})
		if err != nil {
			return nil, err
		}
		out, err := auth.TestWebhook(ctx, c.Caller, in.ID, body)
		return answer(view.WebhookTested{OK: out.OK, Status: out.Status, Why: out.Why}), err
	})
	handle(s, op{
		id: "listDeliveries", method: http.MethodGet, path: "/webhooks/{id}/deliveries", summary: "List what was told to a webhook, or waits, the newest first",
		right: "webhooks:read on /webhooks/ID",
	}, func(ctx context.Context, c *caller, in *deliveriesIn) (*deliveriesOut, error) {
		list, err := auth.Deliveries(ctx, c.Caller, in.ID, in.Limit)
		return answer(view.NewPage(list, "", view.FromDelivery)), err
	})
}
