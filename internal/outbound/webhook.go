package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cardea/internal/credential"
)

// Bounds of a webhook.
const (
	maxWebhookURL    = 2048             // bytes
	maxWebhookID     = 128              // bytes
	webhookTimeout   = 15 * time.Second // from dialing to the end of what is read; the specification wants 15 to 30 s
	maxWebhookAnswer = 4 << 10          // bytes of the answer's body that are read, so that the receiver is not cut off, and dropped
	maxRetryAfter    = 24 * time.Hour
)

// Webhook delivers a notice once. It never returns an error beside the outcome: what fails is told there, in words
// that can be shown.
func (c *Client) Webhook(ctx context.Context, d *credential.Dispatch) credential.Delivered {
	request, why := c.webhookRequest(ctx, d)
	if why != "" {
		return credential.Delivered{Why: why}
	}
	client := c.webhookClient(request.URL.Scheme, d.Abroad)
	defer client.CloseIdleConnections() // notices are rare: a connection is not worth being kept
	answer, err := client.Do(request)
	if err != nil {
		return credential.Delivered{Why: unanswered(ctx, err, "receiver"), Retry: true}
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.CopyN(io.Discard, answer.Body, maxWebhookAnswer) // the status has said it all
	return c.delivered(answer)
}

func (c *Client) webhookClient(scheme string, abroad bool) *http.Client {
	guarded := c.guard.plain
	switch {
	case abroad:
		guarded = c.guard.abroad
	case scheme == "https":
		guarded = c.guard.control
	}
	return c.client(guarded, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.roots}, webhookTimeout)
}

// webhookRequest makes the signed request. Its timestamp is the attempt's and not the event's, so that a receiver can refuse what is old.
func (c *Client) webhookRequest(ctx context.Context, d *credential.Dispatch) (_ *http.Request, why string) {
	var p credential.Problems
	if c.CheckWebhook(d.URL, d.Abroad, &p); len(p) > 0 { // the networks may be another start's
		return nil, "the URL " + p[0].Message
	}
	if !isWebhookID(d.ID) {
		return nil, fmt.Sprintf("the notice's ID must be 1 to %d letters, digits, _ and -", maxWebhookID)
	}
	timestamp := strconv.FormatInt(c.now().Unix(), 10)
	signature, why := signWebhook(d, timestamp)
	if why != "" {
		return nil, why
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(d.Body))
	if err != nil { // its text has the URL
		return nil, "the URL cannot be called"
	}
	r.Header.Set("Content-Type", jsonType)
	r.Header.Set("User-Agent", "Cardea")
	r.Header.Set("Webhook-Id", d.ID)
	r.Header.Set("Webhook-Timestamp", timestamp)
	r.Header.Set("Webhook-Signature", signature)
	return r, ""
}

// delivered reads the head of an answer.
func (c *Client) delivered(answer *http.Response) credential.Delivered {
	out := credential.Delivered{Status: answer.StatusCode}
	switch {
	case out.Status >= 200 && out.Status < 300:
		out.OK = true
		return out
	case out.Status == http.StatusGone:
		out.Why, out.Gone = "the receiver answered 410: it wants no more notices", true
		return out
	case out.Status >= 300 && out.Status < 400:
		out.Why = fmt.Sprintf("the receiver answered %d, and redirects are not followed: change the URL", out.Status)
	default:
		out.Why = fmt.Sprintf("the receiver answered %d", out.Status)
	}
	out.Retry, out.RetryAfter = true, retryAfter(answer.Header, c.now())
	return out
}

// retryAfter reads Retry-After (RFC 9110, 10.2.3): seconds or a date. What cannot be read is as if it were not there.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if n, err := strconv.ParseUint(text, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(n, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// unanswered says why who, a receiver say, gave no answer. The words of [reason] that speak of an authenticator's fields are others here.
func unanswered(ctx context.Context, err error, who string) string {
	if errors.Is(ctx.Err(), context.Canceled) {
		return "it was given up before there was an answer"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the " + who + "'s certificate is of an authority that this machine does not trust"
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return "the " + who + " does not speak TLS"
	}
	return reason(err)
}

// CheckWebhook adds to p what is wrong with the URL of a webhook, by the guard that the URLs of authenticators have. Without TLS only
// loopback is called, and what backend_networks names. With abroad, neither this machine nor a private network is, unless it is named there.
func (c *Client) CheckWebhook(s string, abroad bool, p *credential.Problems) {
	note(p, "url", c.webhookURL(s, abroad))
}

func (c *Client) webhookURL(s string, abroad bool) (why string) {
	to, why := c.calledURL(s)
	if why != "" || len(c.guard.networks) > 0 {
		return why
	}
	if why := c.guard.targetAbroad(&to); abroad && why != "" {
		return why
	}
	if !to.secure && (abroad || !isLoopback(to.host)) {
		return "must begin with https://: without TLS only loopback is called, and networks that the server's --backend-network names"
	}
	return ""
}

// calledURL reads a URL without placeholders.
func (c *Client) calledURL(s string) (to target, why string) {
	if len(s) > maxWebhookURL {
		return to, fmt.Sprintf("must not be longer than %d bytes", maxWebhookURL)
	}
	to, path, query, why := c.guard.parseURL(s)
	if why == "" {
		_, why = linkText(path + query)
	}
	if why != "" {
		return to, why
	}
	if u, err := url.Parse(s); err != nil || !strings.EqualFold(u.Host, authority(s)) {
		return to, "must be a URL" // what net/http would call is what was looked at
	}
	return to, ""
}

// targetAbroad says what is wrong with a target that is not on the internet, as far as it can be seen before its name is resolved.
func (g guard) targetAbroad(to *target) (why string) {
	if addr, err := netip.ParseAddr(to.host); isLoopback(to.host) || err == nil && g.checkAbroad(addr) != "" {
		return "must be on the internet: neither this machine nor a private network is called for an organisation other than default"
	}
	return ""
}

// authority is what stands between "//" and the path of a URL.
func authority(s string) string {
	_, rest, _ := strings.Cut(s, "://")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return rest
}

func isWebhookID(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '_' && s[i] != '-' { // a full stop would let one ID and time pass for another
			return false
		}
	}
	return s != "" && len(s) <= maxWebhookID
}
