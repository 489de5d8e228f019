package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cardea/internal/credential"
)

// Bounds of a key set.
const (
	keySetTimeout = 5 * time.Second // from dialing to the end of the body
	maxKeySet     = 256 << 10       // bytes
	keepKeySet    = 5 * time.Minute // unless the answer says for how long
	leastKeep     = time.Minute     // so that nobody has it fetched for each login
	mostKeep      = 24 * time.Hour  // so that a key that was given up is not believed for longer
	keySetType    = "application/jwk-set+json"
)

// CheckKeySetURL implements [credential.KeySets]. Without TLS only loopback is called: whoever could alter the keys on the way could sign as anybody.
func (c *Client) CheckKeySetURL(url string, abroad bool, p *credential.Problems, field string) {
	_, why := c.keySetURL(url, abroad)
	note(p, field, why)
}

func (c *Client) keySetURL(s string, abroad bool) (to target, why string) {
	to, why = c.calledURL(s)
	switch {
	case why != "":
		return to, why
	case !to.secure && !isLoopback(to.host):
		return to, "must begin with https://: without TLS keys are fetched from loopback only"
	case abroad && len(c.guard.networks) == 0:
		return to, c.guard.targetAbroad(&to)
	}
	return to, ""
}

// KeySet implements [credential.KeySets]. One fetch is one connection; who asks for the same set at once is the caller's to see.
func (c *Client) KeySet(ctx context.Context, url string, abroad bool) (set []byte, keep time.Duration, err error) {
	to, why := c.keySetURL(url, abroad) // the networks may be another start's
	if why != "" {
		return nil, 0, credential.Errorf(credential.Invalid, "the URL of the JWK set %s", why)
	}
	set, keep, why = c.fetchKeySet(ctx, url, to.secure, abroad)
	if why != "" {
		return nil, 0, credential.Errorf(credential.Down, "the JWK set at %s cannot be had: %s", shown(url), why)
	}
	return set, keep, nil
}

// shown is a URL without its query, which may hold a secret.
func shown(url string) string {
	url, _, _ = strings.Cut(url, "?")
	return url
}

func (c *Client) fetchKeySet(ctx context.Context, url string, secure, abroad bool) (set []byte, keep time.Duration, why string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil { // its text has the URL
		return nil, 0, "the URL cannot be called"
	}
	request.Header.Set("Accept", keySetType+", "+jsonType)
	request.Header.Set("User-Agent", "Cardea")
	client := c.keySetClient(secure, abroad)
	defer client.CloseIdleConnections() // sets are fetched rarely: a connection is not worth being kept
	answer, err := client.Do(request)
	if err != nil {
		return nil, 0, unanswered(ctx, err, "server")
	}
	defer func() { _ = answer.Body.Close() }()
	if why := noKeySet(answer); why != "" {
		return nil, 0, why
	}
	set, err = io.ReadAll(io.LimitReader(answer.Body, maxKeySet+1))
	switch {
	case err != nil:
		return nil, 0, "the answer broke off: " + unanswered(ctx, err, "server")
	case len(set) > maxKeySet:
		return nil, 0, fmt.Sprintf("the answer is larger than %d KiB", maxKeySet>>10)
	}
	return set, keepFor(answer.Header), ""
}

func (c *Client) keySetClient(secure, abroad bool) *http.Client {
	guarded := c.guard.control
	switch {
	case !secure:
		guarded = c.guard.loopback
	case abroad:
		guarded = c.guard.abroad
	}
	return c.client(guarded, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.roots}, keySetTimeout)
}

// noKeySet says why an answer cannot be a JWK set; "" if it can.
func noKeySet(answer *http.Response) string {
	switch status := answer.StatusCode; {
	case status >= 300 && status < 400:
		return fmt.Sprintf("the server answered %d, and redirects are not followed: set the URL that it leads to", status)
	case status != http.StatusOK:
		return fmt.Sprintf("the server answered %d", status)
	}
	if kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); err != nil || kind != jsonType && kind != keySetType {
		return "the answer's Content-Type is neither " + jsonType + " nor " + keySetType
	}
	return ""
}

// keepFor reads for how long an answer is fresh (RFC 9111 sections 4.2 and 5.2.2), within our bounds.
func keepFor(h http.Header) time.Duration {
	keep, told := keepKeySet, false
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return leastKeep
		case "max-age":
			age := seconds(strings.Trim(value, `"`))
			if !told || age < keep { // of several the shortest holds
				keep, told = age, true
			}
		}
	}
	if told {
		keep -= seconds(h.Get("Age")) // how long it has been kept by others already
	}
	return min(max(keep, leastKeep), mostKeep)
}

// seconds reads delta-seconds (RFC 9111 section 1.2.2); what cannot be read is none, and what is more than a day is one.
func seconds(text string) time.Duration {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	return time.Duration(min(n, uint64(mostKeep/time.Second))) * time.Second
}
