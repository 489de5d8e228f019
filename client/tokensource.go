package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

const (
	renewAhead  = 30 * time.Second // before a token's end, or a tenth of its life if that is less
	firstWait   = time.Second      // after a failure; doubled with each one that follows
	longestWait = time.Minute
	refusedWait = 10 * time.Second // between two renewals because a server has refused a token
)

// TokenConfig says how a [TokenSource] gets its tokens.
type TokenConfig struct {
	// Issuer is the URL of the server, exactly as its metadata has it. The token endpoint is found there unless TokenURL is given.
	Issuer   string
	TokenURL string

	ClientID string     // of an oauth_client; "" if a key is exchanged without one
	Auth     ClientAuth // SecretBasic, SecretPost, PrivateKeyJWT or TLSClientAuth

	Scopes    []string // none: all that the client may have
	Resources []string // audiences that the token is for (RFC 8707); none: the server's default

	// Subject makes it a token exchange (RFC 8693): the token is made from another one, as from a Cardea key by [Key], and is never wider and
	// never lives longer. SubjectType is what kind it is; "" is an access token, which Cardea's keys pass as.
	Subject     oauth2.TokenSource
	SubjectType string
	// Actor is who acts with the subject's token, if it is not the client itself.
	Actor     oauth2.TokenSource
	ActorType string

	// DPoP binds tokens to a key that is made in memory (RFC 9449), so that whoever sees one can do nothing with it. They can be
	// used by a [Transport] alone.
	DPoP bool

	HTTP      *http.Client // nil: one with a timeout of 10 s. Its certificate is the client's for TLSClientAuth
	PlainHTTP bool         // let secrets go over http:// to other machines, where everybody in between can read them
	Now       func() time.Time
}

// TokenSource holds an access token and renews it shortly before its end. It is an [oauth2.TokenSource], safe for concurrent use. It
// has a goroutine only while it asks for a token, so there is nothing to close.
type TokenSource struct {
	c      TokenConfig
	http   *http.Client
	server *discovery // nil if the token URL is given
	prover *prover    // nil without DPoP

	flights flights[struct{}, *oauth2.Token]
	mu      sync.Mutex
	held    *oauth2.Token
	renewAt time.Time // zero: not before a server refuses it
	endsAt  time.Time // zero: never
	failed  error
	fails   int
	retryAt time.Time // not before, after a failure
	refused time.Time // when a token was dropped because a server had refused it
}

var _ oauth2.TokenSource = (*TokenSource)(nil)

// NewTokenSource checks a configuration. It asks for no token yet. The error names all that is wrong.
func NewTokenSource(c TokenConfig) (*TokenSource, error) {
	var wrong []error
	if c.Issuer == "" && c.TokenURL == "" {
		wrong = append(wrong, errors.New("client: an Issuer or a TokenURL is needed"))
	}
	if c.Issuer != "" {
		wrong = append(wrong, checkIssuer(c.Issuer, c.PlainHTTP))
	}
	if c.TokenURL != "" {
		wrong = append(wrong, checkURL("the token URL", c.TokenURL, c.PlainHTTP))
	}
	if c.Subject == nil && c.Auth.none() {
		wrong = append(wrong, errors.New("client: an Auth is needed, as SecretBasic(secret), or a Subject to exchange"))
	}
	if c.Actor != nil && c.Subject == nil {
		wrong = append(wrong, errors.New("client: an Actor needs a Subject to act for"))
	}
	wrong = append(wrong, c.Auth.check(c.ClientID))
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &TokenSource{c: c, http: ownClient(c.HTTP)}
	if c.TokenURL == "" {
		s.server = &discovery{issuer: c.Issuer, http: s.http, plain: c.PlainHTTP, now: c.Now}
	}
	if c.DPoP {
		p, err := newProver(c.Now)
		if err != nil {
			return nil, err
		}
		s.prover = p
	}
	return s, nil
}

// Key is a Cardea key, or any other token that does not change, as the subject of an exchange.
func Key(token string) oauth2.TokenSource {
	return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})
}

// Format keeps secrets and tokens out of every kind of print.
func (s *TokenSource) Format(w fmt.State, _ rune) {
	_, _ = io.WriteString(w, "token source of "+s.c.ClientID+" at "+s.c.Issuer+s.c.TokenURL)
}

// Token is TokenContext without a bound of the caller's; a request ends after 30 s in any case.
func (s *TokenSource) Token() (*oauth2.Token, error) { return s.TokenContext(context.Background()) }

// TokenContext returns a token that is good now. While one is held, nobody waits: it is renewed beside. Without one all
// wait for the same request. After a failure the server is left alone for as long as it asks (Retry-After), else for a second, which
// doubles up to a minute, and the same error is returned meanwhile. A refusal is an [*OAuthError].
func (s *TokenSource) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	t, renew, err := s.current()
	if t != nil && !renew {
		return t, nil
	}
	if t == nil && err != nil {
		return nil, err
	}
	f := s.flights.start(struct{}{}, callLimit, s.renew)
	if t != nil {
		return t, nil
	}
	if t, err = f.wait(ctx); err != nil {
		return nil, err
	}
	own := *t
	return &own, nil
}

// current returns the token that is held, whether it is time for another one, and while the server is left alone the error why.
func (s *TokenSource) current() (t *oauth2.Token, renew bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.c.Now()
	wait := now.Before(s.retryAt)
	if s.held != nil && (s.endsAt.IsZero() || now.Before(s.endsAt)) {
		own := *s.held
		return &own, !wait && !s.renewAt.IsZero() && !now.Before(s.renewAt), nil
	}
	if wait {
		return nil, false, s.failed
	}
	return nil, true, nil
}

func (s *TokenSource) renew(ctx context.Context) (*oauth2.Token, error) {
	if t, renew, err := s.current(); !renew { // another call has just ended
		return t, err
	}
	t, life, err := s.request(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.c.Now()
	if err != nil {
		s.failed, s.retryAt = err, now.Add(waitAfter(err, s.fails))
		s.fails++
		return nil, err
	}
	s.held, s.failed, s.fails, s.retryAt = t, nil, 0, time.Time{}
	s.renewAt, s.endsAt = time.Time{}, time.Time{}
	if life > 0 {
		ahead := min(renewAhead, life/10)
		t.Expiry = now.Add(life)
		s.renewAt = t.Expiry.Add(-ahead)
		s.endsAt = t.Expiry.Add(-ahead / 10) // it has to arrive, too
	}
	return t, nil
}

func waitAfter(err error, fails int) time.Duration {
	if e, ok := errors.AsType[*OAuthError](err); ok && e.RetryAfter > 0 {
		return e.RetryAfter
	}
	return min(firstWait<<min(fails, 10), longestWait)
}

// Refused tells that a server has refused a token, which [Transport] does by itself. It reports whether the next call of Token
// may return another one: a token that is held no more was replaced already, and the one that is held is dropped at
// most every 10 s, so that a server that refuses everything does not make everybody renew for ever.
func (s *TokenSource) Refused(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil || s.held.AccessToken != token {
		return true
	}
	now := s.c.Now()
	if !s.refused.IsZero() && now.Before(s.refused.Add(refusedWait)) {
		return false
	}
	s.held, s.refused = nil, now
	return true
}

func (s *TokenSource) kind() string {
	if s.prover != nil {
		return "DPoP"
	}
	return "Bearer"
}

// tokenOf asks another source, within a context if it knows how.
func tokenOf(ctx context.Context, s oauth2.TokenSource) (*oauth2.Token, error) {
	if own, ok := s.(*TokenSource); ok {
		return own.TokenContext(ctx)
	}
	return s.Token()
}

func spaced(words []string) string { return strings.Join(words, " ") }
