package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"cardea/internal/credential"
)

// Config is what a [Client] needs.
type Config struct {
	// Networks are the only ones that may be called; none allows all, private ones and loopback among them. Addresses that
	// are link-local, unspecified, multicast, reserved or a cloud's own are never called.
	Networks []netip.Prefix

	Roots *x509.CertPool // who vouches for webhooks, key sets and the mail server; nil: whom the system trusts

	Log *slog.Logger     // nil: none
	Now func() time.Time // for expire_at and the circuits; nil: the system's clock
}

// Client calls others. It implements [credential.Sources] and [credential.KeySets]. Its methods may be called from any goroutine.
type Client struct {
	guard guard
	roots *x509.CertPool
	log   *slog.Logger
	now   func() time.Time
}

var (
	_ credential.Sources = (*Client)(nil)
	_ credential.KeySets = (*Client)(nil)
)

// New makes a client. It holds nothing that had to be closed.
func New(c Config) *Client {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Client{guard: newGuard(c.Networks), roots: c.Roots, log: c.Log, now: c.Now}
}

// Check implements [credential.Sources].
func (c *Client) Check(t credential.AuthenticatorType, b *credential.Backend, p *credential.Problems) {
	fillIn(t, b)
	c.compile(t, b, p)
}

// Open implements [credential.Sources]. It refuses what Check refuses, and that may be more than when the backend was
// saved, because the networks that may be called are another start's.
func (c *Client) Open(t credential.AuthenticatorType, b *credential.Backend) (credential.Source, error) {
	own := *b
	fillIn(t, &own)
	var p credential.Problems
	plan := c.compile(t, &own, &p)
	if err := p.Err(); err != nil {
		return nil, err
	}
	return newSource(c, plan), nil
}

// HTTP returns a client of net/http with the same guard, for services whose answers are not on a login's path: it
// follows no redirect, heeds no proxy, and a request takes no longer than timeout, which includes reading the body. config may be nil.
// The answer's size is the caller's to bound.
func (c *Client) HTTP(config *tls.Config, timeout time.Duration) *http.Client {
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return c.client(c.guard.control, config, timeout)
}

// control is [net.Dialer.ControlContext].
type control func(ctx context.Context, network, address string, c syscall.RawConn) error

func (c *Client) client(guarded control, config *tls.Config, timeout time.Duration) *http.Client {
	dialer := &net.Dialer{ControlContext: guarded}
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        config,
			TLSHandshakeTimeout:    timeout,
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: maxHead,
			MaxIdleConnsPerHost:    4,
			IdleConnTimeout:        30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// dialer makes connections that the guard has looked at: after the name was resolved, so that a name cannot
// be one address when it is checked and another when it is called (S15).
func (c *Client) dialer() *net.Dialer {
	return &net.Dialer{ControlContext: c.guard.control}
}

// dial connects to a target, and with TLS if it has a configuration. ctx bounds both.
func (c *Client) dial(ctx context.Context, addr string, config *tls.Config) (net.Conn, error) {
	conn, err := c.dialer().DialContext(ctx, "tcp", addr)
	if err != nil || config == nil {
		return conn, err
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}
