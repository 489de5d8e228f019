package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

const (
	grantCredentials = "client_credentials"
	grantExchange    = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccessToken  = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT          = "urn:ietf:params:oauth:token-type:jwt"

	maxToken = 8 << 10 // octets; longer ones are neither parsed (J11) nor sent
	maxLife  = 10 * 365 * 24 * time.Hour
)

// request gets a token and how long it lives; 0 if the server does not say.
func (s *TokenSource) request(ctx context.Context) (*oauth2.Token, time.Duration, error) {
	endpoint, audience, err := s.endpoint(ctx)
	if err != nil {
		return nil, 0, err
	}
	form, err := s.form(ctx)
	if err != nil {
		return nil, 0, err
	}
	a, secrets, err := s.post(ctx, endpoint, audience, form)
	if err != nil {
		return nil, 0, err
	}
	if a.status == http.StatusBadRequest || a.status == http.StatusUnauthorized {
		// RFC 9449 section 8: once more, with the nonce that the answer brought.
		if s.prover != nil && oauthError(a, nil).Code == useNonce && a.header.Get("DPoP-Nonce") != "" {
			if a, secrets, err = s.post(ctx, endpoint, audience, form); err != nil {
				return nil, 0, err
			}
		}
	}
	if a.status != http.StatusOK {
		e := oauthError(a, secrets)
		s.renewSubject(e, form)
		return nil, 0, e
	}
	return s.accept(a)
}

// renewSubject lets the next exchange have another subject or actor if one of those that were sent may be what was refused, as one that
// was revoked is (RFC 8693 section 2.2.2).
func (s *TokenSource) renewSubject(e *OAuthError, form url.Values) {
	if e.Code != "invalid_request" && e.Code != "invalid_grant" {
		return
	}
	for name, from := range map[string]oauth2.TokenSource{"subject_token": s.c.Subject, "actor_token": s.c.Actor} {
		if own, ok := from.(*TokenSource); ok {
			own.Refused(form.Get(name))
		}
	}
}

// endpoint returns where the token is asked for, and whom an assertion is for: the issuer, which no other server can claim to be.
func (s *TokenSource) endpoint(ctx context.Context) (endpoint, audience string, err error) {
	if s.server == nil {
		if s.c.Issuer != "" {
			return s.c.TokenURL, s.c.Issuer, nil
		}
		return s.c.TokenURL, s.c.TokenURL, nil
	}
	m, err := s.server.get(ctx)
	if err != nil {
		return "", "", err
	}
	endpoint = m.Token
	if s.c.Auth.tls && m.MTLS.Token != "" {
		endpoint = m.MTLS.Token
	}
	if endpoint == "" {
		return "", "", fmt.Errorf("client: the metadata of %s name no token endpoint", s.c.Issuer)
	}
	return endpoint, m.Issuer, nil
}

func (s *TokenSource) form(ctx context.Context) (url.Values, error) {
	form := url.Values{"grant_type": {grantCredentials}}
	if len(s.c.Scopes) > 0 {
		form.Set("scope", spaced(s.c.Scopes))
	}
	if len(s.c.Resources) > 0 {
		form["resource"] = s.c.Resources
	}
	if s.c.Subject == nil {
		return form, nil
	}
	form.Set("grant_type", grantExchange)
	form.Set("requested_token_type", typeAccessToken)
	if err := addToken(ctx, form, "subject_token", s.c.Subject, s.c.SubjectType); err != nil {
		return nil, err
	}
	if s.c.Actor == nil {
		return form, nil
	}
	return form, addToken(ctx, form, "actor_token", s.c.Actor, s.c.ActorType)
}

func addToken(ctx context.Context, form url.Values, name string, from oauth2.TokenSource, kind string) error {
	t, err := tokenOf(ctx, from)
	if err != nil {
		return fmt.Errorf("client: there is no %s: %w", name, err)
	}
	if t.AccessToken == "" {
		return fmt.Errorf("client: the %s is empty", name)
	}
	if kind == "" {
		kind = typeAccessToken
	}
	form.Set(name, t.AccessToken)
	form.Set(name+"_type", kind)
	return nil
}

// post sends a form with the proof of the client and of the key, both new each time since neither is good twice. It returns what must not come back in an error.
func (s *TokenSource) post(ctx context.Context, endpoint, audience string, form url.Values) (answer, []string, error) {
	r, secrets, err := formRequest(ctx, endpoint, audience, s.c.ClientID, s.c.Auth, form, s.c.Now())
	if err != nil {
		return answer{}, nil, err
	}
	if s.prover != nil {
		proof, err := s.prover.proof(r.Method, r.URL, "")
		if err != nil {
			return answer{}, nil, err
		}
		r.Header.Set("DPoP", proof)
	}
	a, err := read(s.http, r, maxDocument)
	if err != nil {
		return answer{}, nil, err
	}
	if s.prover != nil {
		s.prover.learn(r.URL, a.header.Get("DPoP-Nonce"))
	}
	return a, secrets, nil
}

// formRequest makes a request with the proof of a client.
func formRequest(ctx context.Context, endpoint, audience, clientID string, auth ClientAuth, form url.Values, now time.Time) (*http.Request, []string, error) {
	full := url.Values{}
	for k, v := range form {
		full[k] = v
	}
	header := http.Header{}
	if err := auth.apply(header, full, clientID, audience, now); err != nil {
		return nil, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(full.Encode()))
	if err != nil {
		return nil, nil, fmt.Errorf("client: %w", err)
	}
	r.Header = header
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	return r, []string{
		auth.secret.Reveal(), full.Get("client_assertion"), full.Get("subject_token"), full.Get("actor_token"), full.Get("token"),
	}, nil
}

// accept reads the answer of RFC 6749 section 5.1 and RFC 8693 section 2.2.
func (s *TokenSource) accept(a answer) (*oauth2.Token, time.Duration, error) {
	var body struct {
		Token     string      `json:"access_token"`
		Type      string      `json:"token_type"`
		ExpiresIn json.Number `json:"expires_in"`
		Scope     string      `json:"scope"`
		Issued    string      `json:"issued_token_type"`
	}
	if !a.isJSON() || json.Unmarshal(a.body, &body) != nil {
		return nil, 0, errors.New("client: the token endpoint's answer is not what was expected")
	}
	switch {
	case !isToken(body.Token):
		return nil, 0, errors.New("client: the token endpoint's answer holds no access token that can be sent")
	case !strings.EqualFold(body.Type, s.kind()):
		// RFC 9449 section 5: a token of another type is not bound to the key.
		return nil, 0, fmt.Errorf("client: the token endpoint gave a token of type %q where %s was asked for", plain(body.Type, nil), s.kind())
	case s.c.Subject != nil && body.Issued != typeAccessToken && body.Issued != typeJWT:
		return nil, 0, fmt.Errorf("client: the exchange gave a %q and no access token", plain(body.Issued, nil))
	}
	life, err := lifeOf(string(body.ExpiresIn))
	if err != nil {
		return nil, 0, err
	}
	if body.Scope == "" {
		body.Scope = spaced(s.c.Scopes) // section 5.1: left out if it is what was asked for
	}
	t := &oauth2.Token{AccessToken: body.Token, TokenType: s.kind(), ExpiresIn: int64(life / time.Second)}
	return t.WithExtra(map[string]any{"scope": body.Scope, "issued_token_type": body.Issued}), life, nil
}

func lifeOf(expiresIn string) (time.Duration, error) {
	if expiresIn == "" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(expiresIn, 64)
	if err != nil || f < 1 {
		return 0, errors.New("client: the token endpoint's answer has an expires_in that is no number of seconds")
	}
	return time.Duration(min(f, maxLife.Seconds())) * time.Second, nil
}

// isToken: b68token of RFC 6750 section 2.1, which cannot break out of a header.
func isToken(s string) bool {
	if s == "" || len(s) > maxToken {
		return false
	}
	body := strings.TrimRight(s, "=")
	return body != "" && !strings.ContainsFunc(body, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~+/", r)
	})
}
