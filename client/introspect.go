package client

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const (
	defaultCacheTTL     = 5 * time.Second
	defaultCacheEntries = 10_000
)

// introspector asks the server about tokens (RFC 7662) and remembers what it said, by the hash of the token.
type introspector struct {
	address  string // "" to find it in the metadata
	http     *http.Client
	server   *discovery
	clientID string
	auth     ClientAuth
	ttl      time.Duration
	now      func() time.Time
	rules    rules

	flights flights[tokenHash, *Claims]
	cache   *lru[tokenHash, *Claims]
}

type tokenHash [sha256.Size]byte

func newIntrospector(c VerifierConfig, h *http.Client, d *discovery) *introspector {
	if c.CacheTTL == 0 {
		c.CacheTTL = defaultCacheTTL
	}
	if c.CacheEntries <= 0 {
		c.CacheEntries = defaultCacheEntries
	}
	return &introspector{
		address: c.IntrospectionURL, http: h, server: d, clientID: c.ClientID, auth: c.Auth, ttl: c.CacheTTL, now: c.Now,
		rules: rules{issuer: c.Issuer, audiences: c.Audiences, org: c.Org, leeway: c.Leeway, now: c.Now},
		cache: newLRU[tokenHash, *Claims](c.CacheEntries),
	}
}

// narrow lets a JWT have what it says and what the server says now, and no more.
func (i *introspector) narrow(ctx context.Context, token string, own *Claims) (*Claims, error) {
	now, err := i.ask(ctx, token)
	if err != nil {
		return nil, err
	}
	if now.Subject != "" && now.Subject != own.Subject || now.ClientID != "" && now.ClientID != own.ClientID {
		return nil, refuse("introspection takes it for somebody else's")
	}
	c := *own
	var named struct {
		Scope *string `json:"scope"`
	}
	if json.Unmarshal(now.raw, &named) == nil && named.Scope != nil {
		c.Scopes = slices.DeleteFunc(slices.Clone(own.Scopes), func(s string) bool { return !slices.Contains(now.Scopes, s) })
	}
	return &c, nil
}

// ask returns the claims of an active token. The rules are looked at each time, since a remembered answer does not know what time it is.
func (i *introspector) ask(ctx context.Context, token string) (*Claims, error) {
	hash := tokenHash(sha256.Sum256([]byte(token)))
	c, ok := i.cache.get(hash, i.now())
	if !ok {
		var err error
		call := func(ctx context.Context) (*Claims, error) { return i.fetch(ctx, hash, token) }
		if c, err = i.flights.start(hash, callLimit, call).wait(ctx); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			return nil, &UnavailableError{err}
		}
	}
	if c == nil {
		return nil, refuse("introspection says that it is not active")
	}
	if err := i.rules.check(c); err != nil {
		return nil, err
	}
	return c, nil
}

// fetch returns nil for a token that is not active.
func (i *introspector) fetch(ctx context.Context, hash tokenHash, token string) (*Claims, error) {
	if c, ok := i.cache.get(hash, i.now()); ok { // another call has just ended
		return c, nil
	}
	c, err := i.post(ctx, token)
	if err == nil && i.ttl > 0 {
		i.cache.put(hash, c, i.now().Add(i.ttl))
	}
	return c, err
}

func (i *introspector) post(ctx context.Context, token string) (*Claims, error) {
	endpoint, audience, err := i.endpoint(ctx)
	if err != nil {
		return nil, err
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	r, secrets, err := formRequest(ctx, endpoint, audience, i.clientID, i.auth, form, i.now())
	if err != nil {
		return nil, err
	}
	a, err := read(i.http, r, maxDocument)
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, oauthError(a, secrets)
	}
	return i.accept(a)
}

func (i *introspector) accept(a answer) (*Claims, error) {
	var state struct {
		Active *bool `json:"active"`
	}
	if !a.isJSON() || object(a.body, &state) != nil || state.Active == nil {
		return nil, errors.New("client: what introspection answers is not what was expected")
	}
	if !*state.Active {
		return nil, nil
	}
	c, err := parseClaims(a.body)
	if err != nil {
		return nil, fmt.Errorf("client: what introspection answers cannot be read: %w", err)
	}
	return c, nil
}

func (i *introspector) endpoint(ctx context.Context) (endpoint, audience string, err error) {
	if i.address != "" {
		return i.address, i.server.issuer, nil
	}
	m, err := i.server.get(ctx)
	if err != nil {
		return "", "", err
	}
	endpoint = m.Introspection
	if i.auth.tls && m.MTLS.Introspection != "" {
		endpoint = m.MTLS.Introspection
	}
	if endpoint == "" {
		return "", "", fmt.Errorf("client: the metadata of %s name no introspection endpoint", m.Issuer)
	}
	return endpoint, m.Issuer, nil
}
