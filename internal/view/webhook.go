package view

import (
	"time"

	"cardea/internal/credential"
)

// Webhook is where an organisation is told of events, as the API shows it.
type Webhook struct {
	ID          string    `json:"id" example:"7Gq0bXv2LmNp"`
	URL         string    `json:"url" example:"https://hooks.example.com/cardea"`
	Description string    `json:"description,omitempty"`
	Types       []string  `json:"types" nullable:"false" doc:"None means all"`
	Enabled     bool      `json:"enabled"`
	Trouble     string    `json:"trouble,omitempty" doc:"Why it was disabled by itself"`
	CreatedAt   time.Time `json:"created_at"`
	Version     int64     `json:"version" doc:"Counts the changes; also the ETag"`
}

// FromWebhook converts.
func FromWebhook(w credential.Webhook) Webhook {
	return Webhook{
		ID: w.ID, URL: w.URL, Description: w.Description, Types: list(w.Types), Enabled: w.Enabled, Trouble: w.Trouble,
		CreatedAt: instant(w.CreatedAt), Version: w.Version,
	}
}

// IssuedWebhook is a webhook with what is shown this once.
type IssuedWebhook struct {
	Webhook
	Secret Secret `json:"secret,omitempty" doc:"whsec_…: what notices are signed with. It is shown this once; mail has none"`
}

// NewWebhook asks for a webhook.
type NewWebhook struct {
	URL         string   `json:"url" example:"https://hooks.example.com/cardea" doc:"https, or mailto:ADDRESS where mail can be sent"`
	Types       []string `json:"types,omitempty" nullable:"false" example:"[\"credential.*\"]" doc:"Types of events, or nouns with .* behind them; none means all"`
	Description string   `json:"description,omitempty"`
}

// PatchWebhook changes the fields that are there.
type PatchWebhook struct {
	URL         *string   `json:"url,omitempty"`
	Types       *[]string `json:"types,omitempty"`
	Description *string   `json:"description,omitempty"`
	Enabled     *bool     `json:"enabled,omitempty" example:"true"`
}

// RotateWebhook asks for a new secret.
type RotateWebhook struct {
	Overlap string `json:"overlap,omitempty" example:"1h" doc:"How long notices are signed with the old one as well"`
}

// Delivery is one event on its way to a webhook.
type Delivery struct {
	Seq       int64     `json:"seq" doc:"Of the event"`
	State     string    `json:"state" enum:"waiting,done,failed"`
	Attempts  int       `json:"attempts"`
	NextAt    time.Time `json:"next_at,omitzero" doc:"While it waits: when it is tried again"`
	Trouble   string    `json:"trouble,omitempty" doc:"What happened at the last attempt"`
	CreatedAt time.Time `json:"created_at"`
	DoneAt    time.Time `json:"done_at,omitzero"`
}

// FromDelivery converts.
func FromDelivery(d credential.Delivery) Delivery {
	v := Delivery{
		Seq: d.Seq, State: d.State, Attempts: d.Attempts, Trouble: d.Trouble, CreatedAt: instant(d.CreatedAt), DoneAt: instant(d.DoneAt),
	}
	if d.State == credential.DeliveryWaiting {
		v.NextAt = instant(d.NextAt)
	}
	return v
}

// WebhookTested is what came of a test.
type WebhookTested struct {
	OK     bool   `json:"ok"`
	Status int    `json:"status,omitempty" doc:"Of HTTP; absent: there was no answer"`
	Why    string `json:"why,omitempty"`
}
