package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	strict "github.com/go-jose/go-jose/v4/json"
)

const (
	callLimit   = 30 * time.Second // for a whole call, with what it has to find out first
	httpTimeout = 10 * time.Second // for one request, if the caller's http.Client has no opinion
	maxDocument = 1 << 20
)

// OAuthError is how an endpoint of OAuth refuses (RFC 6749 section 5.2). It holds neither a secret nor a token: what was
// sent and comes back in a description is replaced by ***.
type OAuthError struct {
	Status      int    // of HTTP
	Code        string // "invalid_client", "invalid_scope", "invalid_target", …; "" if the answer has none
	Description string // what the server says about it

	RetryAfter time.Duration // when to ask again; 0 if the server did not say
}

// Error says all of it on one line.
func (e *OAuthError) Error() string {
	text := fmt.Sprintf("client: the authorization server answers %d", e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Description != "" {
		text += ": " + e.Description
	}
	return text
}

// oauthError reads a refusal. What is in secrets is taken out of it.
func oauthError(a answer, secrets []string) *OAuthError {
	var body struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(a.body, &body) // of something in between, perhaps, that speaks no JSON
	e := &OAuthError{Status: a.status, Code: plain(body.Code, secrets), Description: plain(body.Description, secrets)}
	if n, err := strconv.Atoi(a.header.Get("Retry-After")); err == nil && n > 0 {
		e.RetryAfter = time.Duration(min(n, 3600)) * time.Second
	}
	return e
}

// plain keeps text fit for a line of a log.
func plain(text string, secrets []string) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "***")
		}
	}
	if len(text) > 512 {
		text = text[:512]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// isJSON reports whether the answer says that it is JSON of any kind.
func (a answer) isJSON() bool {
	t, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}

// read makes a request and reads an answer of at most limit bytes.
func read(h *http.Client, r *http.Request, limit int64) (answer, error) {
	resp, err := h.Do(r)
	if err != nil {
		return answer{}, fmt.Errorf("client: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("client: the answer of %s broke off: %w", r.URL.Host, err)
	case int64(len(body)) > limit:
		return answer{}, fmt.Errorf("client: the answer of %s is larger than %d bytes", r.URL.Host, limit)
	}
	return answer{resp.StatusCode, resp.Header, body}, nil
}

// get reads a JSON document.
func get(ctx context.Context, h *http.Client, address string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	r.Header.Set("Accept", "application/json")
	a, err := read(h, r, maxDocument)
	switch {
	case err != nil:
		return err
	case a.status != http.StatusOK || !a.isJSON():
		return fmt.Errorf("client: %s answers %d with %q, not with JSON", address, a.status, plain(a.header.Get("Content-Type"), nil))
	}
	if err := unmarshal(a.body, into); err != nil {
		return fmt.Errorf("client: what %s answers is not what was expected: %w", address, err)
	}
	return nil
}

// unmarshal knows names by their exact letters and takes no object that has a member twice, since parsers differ in which of them they take (J05).
func unmarshal(text []byte, into any) error {
	if !json.Valid(text) { // which has a bound for depth
		return errors.New("not JSON")
	}
	var all any
	if err := strict.Unmarshal(text, &all); err != nil {
		return errors.New("not a JSON document, or an object in it has a member twice")
	}
	if _, object := all.(map[string]any); !object {
		return errors.New("not a JSON object")
	}
	d := strict.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(into); err != nil {
		return errors.New("a member of it is not of the kind that it must be")
	}
	return nil
}

// ownClient is an http.Client that follows no redirects: what is sent is for one server.
func ownClient(h *http.Client) *http.Client {
	if h == nil {
		h = &http.Client{Timeout: httpTimeout}
	}
	own := *h
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// checkURL wants an absolute URL by which no secret goes in the clear.
func checkURL(what, raw string, plainHTTP bool) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "":
		return fmt.Errorf("client: %s must be an https:// URL without user and fragment", what)
	case u.Scheme == "http" && !plainHTTP && !isLoopback(u.Hostname()):
		return fmt.Errorf("client: %s http://%s would send tokens in the clear: use https://", what, u.Host)
	}
	return nil
}
