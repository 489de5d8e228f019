package api

import (
	"context"

	"cardea/internal/credential"
	"cardea/internal/outbound"
)

// callerOut is what sends notices, as the server has it, but without mail.
type callerOut struct{ *outbound.Client }

func (c callerOut) NewSecret() string { return outbound.NewWebhookSecret() }
func (c callerOut) HasMail() bool     { return false }

func (c callerOut) Deliver(ctx context.Context, d *credential.Dispatch) credential.Delivered {
	return c.Webhook(ctx, d)
}

func (c callerOut) Mail(context.Context, string, string, string) error {
	return credential.Errorf(credential.Down, "there is no mail server")
}
