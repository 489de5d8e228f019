package credential

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Dispatch is one attempt to deliver a notice to a webhook, in the form of Standard Webhooks 1.0.0. Secrets and, as often
// with webhooks, the URL are secret: neither is printed.
type Dispatch struct {
	URL     string   `json:"-"`
	ID      string   `json:"id"` // of the notice, and the same at each attempt: letters, digits, _ and -
	Secrets []string `json:"-"`  // "whsec_…", the newest first; more than one while a secret is being rotated
	Body    []byte   `json:"-"`  // JSON, sent as it is
	Abroad  bool     `json:"-"`  // no private address and not this machine, unless backend_networks names it
}

// Format keeps secrets, URL and body out of every kind of print.
func (d Dispatch) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "dispatch ***") }

// Delivered is what came of a [Dispatch].
type Delivered struct {
	OK         bool          // the receiver has it
	Status     int           // of HTTP; 0 if there was no answer
	Why        string        // unless OK: what happened, for people; holds nothing secret and nothing of the answer's body
	Retry      bool          // another attempt makes sense
	Gone       bool          // the receiver wants no more (410): its webhook is to be disabled
	RetryAfter time.Duration // what the receiver asked to be left alone for, 24 h at most; 0 if it did not
}

// Notifier sends notices, and says where they may go. It is made of package outbound.
type Notifier interface {
	// CheckWebhook adds to p what is wrong with a webhook's URL, which may be mailto:ADDRESS where mail can be sent; the field is "url". With
	// abroad it must be on the internet, as in [Dispatch].
	CheckWebhook(url string, abroad bool, p *Problems)
	// NewSecret returns a secret for signatures, "whsec_…".
	NewSecret() string
	// Deliver tries once.
	Deliver(ctx context.Context, d *Dispatch) Delivered
	// Mail sends a mail. Down: try again; Invalid: this mail is never taken.
	Mail(ctx context.Context, to, subject, text string) error
	// HasMail reports whether mail can be sent.
	HasMail() bool
}
