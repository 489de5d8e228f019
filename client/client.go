// Package client is Cardea for Go programs, in three parts that need one another little.
//
// A [TokenSource] gets access tokens for a service, by OAuth 2: for its client credentials, or in exchange for a key. A [Transport]
// puts them on requests, [PerRPCCredentials] on calls of gRPC; it is an oauth2.TokenSource, too, for whatever takes one.
//
// A [Verifier] checks such tokens where they arrive, by the keys that the server publishes, and asks about each of them if that
// is wanted (RFC 7662). [Middleware], [UnaryServerInterceptor] and [StreamServerInterceptor] stand in front of handlers.
//
// A [Client] talks to the API of a Cardea server: it makes, lists, rotates and ends credentials, and does with application
// keys what ThingWorx's services do.
//
//	c, err := client.New("https://cardea.example:5654", os.Getenv("CARDEA_TOKEN"))
//	if err != nil {
//		return err
//	}
//	key, err := c.ApplicationKeys.Create(ctx, client.NewApplicationKey{Name: "line-7", User: "alice"}, client.Once(client.NewKey()))
//	if p, ok := errors.AsType[*client.Problem](err); ok {
//		for _, f := range p.Errors { … } // everything that is wrong, at once
//	}
//	save(key.Secret.Reveal())
//
// A refusal is a [*Problem]. Nothing is sent twice by itself: whoever does not know whether a request arrived sends it again
// with the same [Once], and gets the first answer. Secrets are of type [Secret], which prints as ***.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	prefix    = "/api/v1"
	maxAnswer = 64 << 20
)

// Client talks to one server with one token. It is safe for concurrent use.
type Client struct {
	ApplicationKeys ApplicationKeys
	Credentials     Credentials

	base  string
	token string
	http  *http.Client
	plain bool
}

// Option changes how a [Client] talks.
type Option func(*Client)

// WithHTTPClient makes requests with another client, which may have a transport and a timeout of its own. Redirects are not followed all the same.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithPlainHTTP lets the token go over http:// to another machine, where everybody in between can read it.
func WithPlainHTTP() Option { return func(c *Client) { c.plain = true } }

// New returns a client for the server at a URL (scheme, host and port), with a token of a principal that has the rights.
func New(baseURL, token string, options ...Option) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("client: the base URL must be http:// or https:// with a host and nothing else")
	}
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("client: the token is empty or contains what no token does")
	}
	c := &Client{base: u.Scheme + "://" + u.Host, token: token, http: &http.Client{Timeout: time.Minute}}
	for _, o := range options {
		o(c)
	}
	if u.Scheme == "http" && !c.plain && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("client: http://%s would send the token in the clear: use https://", u.Host)
	}
	h := *c.http
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // a token is for one server
	c.http = &h
	c.ApplicationKeys.c, c.Credentials.c = c, c
	return c, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Format keeps the token out of every kind of print.
func (c *Client) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, "cardea client of "+c.base) }

// RequestOption changes one request.
type RequestOption func(*http.Request)

// Once makes a POST safe to repeat: the same request with the same key is done once, and answered the same for a day.
func Once(key string) RequestOption {
	return func(r *http.Request) { r.Header.Set("Idempotency-Key", key) }
}

// NewKey returns a random key for [Once].
func NewKey() string { return rand.Text() }

// IfMatch makes a change depend on the version that was read: it is refused with status 412 if it was changed meanwhile.
func IfMatch(version int64) RequestOption {
	return func(r *http.Request) { r.Header.Set("If-Match", fmt.Sprintf("%q", fmt.Sprint(version))) }
}

// Do sends one request to a path below /api/v1, as in "/whoami", and is what all methods are made of. in is the body
// as JSON, out what the answer is read into; either may be nil. The error is a [*Problem] if the server has refused.
func (c *Client) Do(ctx context.Context, method, path string, in, out any, options ...RequestOption) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("client: the body cannot be written: %w", err)
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+prefix+path, body)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("Accept", "application/json, application/problem+json")
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, o := range options {
		o(r)
	}
	return c.send(r, out)
}

func (c *Client) send(r *http.Request, out any) error {
	resp, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("client: the answer broke off: %w", err)
	case len(answer) > maxAnswer:
		return fmt.Errorf("client: the answer is larger than %d MiB", maxAnswer>>20)
	case resp.StatusCode/100 != 2:
		return problemOf(resp, answer)
	case out == nil || resp.StatusCode == http.StatusNoContent:
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("client: the answer to %s %s is not what was expected: %w", r.Method, r.URL.Path, err)
	}
	return nil
}

// at puts names into a path.
func at(format string, names ...string) string {
	escaped := make([]any, len(names))
	for i, n := range names {
		escaped[i] = url.PathEscape(n)
	}
	return fmt.Sprintf(format, escaped...)
}
