package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const metadataLife = time.Hour

// issuerMetadata is what an issuer says about itself (RFC 8414 section 2, RFC 8705 section 5), as far as it is used here.
type issuerMetadata struct {
	Issuer        string `json:"issuer"`
	Token         string `json:"token_endpoint"`
	JWKS          string `json:"jwks_uri"`
	Introspection string `json:"introspection_endpoint"`
	MTLS          struct {
		Token         string `json:"token_endpoint"`
		Introspection string `json:"introspection_endpoint"`
	} `json:"mtls_endpoint_aliases"`
}

// discovery finds the endpoints of one issuer and remembers them for an hour, or for as long as they cannot be read again.
type discovery struct {
	issuer string
	http   *http.Client
	plain  bool
	now    func() time.Time

	flights flights[struct{}, issuerMetadata]
	mu      sync.Mutex
	known   issuerMetadata
	until   time.Time
}

func (d *discovery) get(ctx context.Context) (issuerMetadata, error) {
	if m, ok := d.fresh(); ok {
		return m, nil
	}
	return d.flights.start(struct{}{}, callLimit, d.fetch).wait(ctx)
}

func (d *discovery) fresh() (issuerMetadata, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known, d.now().Before(d.until)
}

func (d *discovery) fetch(ctx context.Context) (issuerMetadata, error) {
	old, ok := d.fresh()
	if ok {
		return old, nil
	}
	m, err := discover(ctx, d.http, d.issuer, d.plain)
	if err != nil && old.Issuer == "" {
		return issuerMetadata{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil { // where an issuer's endpoints are hardly ever changes: those that answered last time are asked before all is given up
		d.until = d.now().Add(time.Minute)
		return old, nil //nolint:nilerr // the endpoint itself tells whether the server is there
	}
	d.known, d.until = m, d.now().Add(metadataLife)
	return m, nil
}

// discover reads the metadata of an issuer, which must be its own word for word (J10), since else any server could speak for it.
func discover(ctx context.Context, h *http.Client, issuer string, plainHTTP bool) (issuerMetadata, error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return issuerMetadata{}, fmt.Errorf("client: the issuer is not a URL: %w", err)
	}
	// RFC 8414 section 3.1: between the host and a path.
	address := u.Scheme + "://" + u.Host + "/.well-known/oauth-authorization-server" + strings.TrimSuffix(u.EscapedPath(), "/")
	var m issuerMetadata
	if err := get(ctx, h, address, &m); err != nil {
		return issuerMetadata{}, err
	}
	if m.Issuer != issuer {
		return issuerMetadata{}, fmt.Errorf("client: %s speaks for the issuer %q and not for %q", address, plain(m.Issuer, nil), issuer)
	}
	for what, endpoint := range map[string]string{
		"token_endpoint": m.Token, "jwks_uri": m.JWKS, "introspection_endpoint": m.Introspection,
		"mtls_endpoint_aliases.token_endpoint": m.MTLS.Token, "mtls_endpoint_aliases.introspection_endpoint": m.MTLS.Introspection,
	} {
		if endpoint == "" {
			continue
		}
		if err := checkURL(what+" of "+address, endpoint, plainHTTP); err != nil {
			return issuerMetadata{}, err
		}
	}
	return m, nil
}

// checkIssuer: RFC 8414 section 2.
func checkIssuer(issuer string, plainHTTP bool) error {
	if err := checkURL("the issuer", issuer, plainHTTP); err != nil {
		return err
	}
	if strings.Contains(issuer, "?") {
		return fmt.Errorf("client: the issuer %q must have no query", issuer)
	}
	return nil
}
