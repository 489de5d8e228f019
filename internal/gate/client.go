package gate

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cardea/internal/credential"
	"cardea/internal/jwt"
	"cardea/internal/secret"
)

// ClientEvidence is how an OAuth client proves itself: by one of a secret, an assertion and a certificate.
type ClientEvidence struct {
	ID        string   // client_id; "" if only the proof names it
	Secret    string   // client_secret
	Assertion string   // client_assertion: a JWT (RFC 7523)
	Audiences []string // that an assertion may be for
	// Certificate is one whose chain leads to Cardea's CA, Presented one whose key alone is proven. At most one of them is there.
	Certificate *x509.Certificate
	Presented   *x509.Certificate
	Source      netip.Addr
	Door, Route string
}

// Client is an OAuth client that has proven itself.
type Client struct {
	*Identity
	Config *credential.ClientConfig // never write to it
}

func (c *Client) entry() *clientEntry {
	if c == nil {
		return nil
	}
	return c.Identity.entry.client()
}

// clientEntry is what an entry of an OAuth client has beside.
type clientEntry struct {
	config *credential.ClientConfig
	keys   jwt.Keys // of config.JWKS
}

// clientForm is the form of the secrets of OAuth clients: no token of a door is one.
const clientForm = 1 << 31

func (e *entry) client() *clientEntry {
	if x := e.cold.Load(); x != nil {
		return x.client
	}
	return nil
}

// unsealClient fills in what the versions of an OAuth client have beside.
func (g *Gate) unsealClient(newest *entry, c *credential.Credential) {
	x := &clientEntry{config: c.Client}
	if x.config == nil {
		x.config = &credential.ClientConfig{} // proves itself by nothing
	}
	if len(x.config.JWKS) > 0 {
		var err error
		if x.keys, err = jwt.ParseSet(x.config.JWKS); err != nil {
			g.log.Error("the keys of an OAuth client cannot be read: it cannot prove itself", "credential", c.ID, "error", err)
		}
	}
	for e := newest; e != nil; e = e.older {
		e.lukewarm().client = x
	}
	newest.size += int32(perClient + min(2*len(x.config.JWKS), 1<<20)) //nolint:gosec // bounded
}

// perClient is the memory of a clientEntry, about.
const perClient = 512

// Client answers which OAuth client proves itself. What proves nothing is refused as at the doors, and counted by client and source.
func (g *Gate) Client(ctx context.Context, ce *ClientEvidence) (*Client, Outcome) {
	ev := &Evidence{Source: ce.Source, Door: ce.Door, Route: ce.Route}
	id := ce.ID
	if ce.Assertion != "" {
		u, err := jwt.Read(ce.Assertion)
		if err != nil || u.Issuer == "" || u.Issuer != u.Subject || id != "" && id != u.Subject {
			return nil, g.refuse(key{}, credential.WrongClaims, 0, ev)
		}
		id = u.Subject
	}
	k := keyOf(id)
	if k == (key{}) {
		return nil, g.refuse(key{}, credential.UnknownCredential, 0, ev)
	}
	h, mono := g.cache.hash(k), g.clock.Mono()
	if wait := g.limits.wait(k, h, ce.Source, mono); wait > 0 {
		return nil, g.refuse(k, credential.TooManyAttempts, wait, ev)
	}
	if g.blind(mono) {
		return nil, g.refuse(k, credential.Unavailable, comeAgain, ev)
	}
	asserted := ce.Assertion == ""
	for range maxRounds {
		e := g.cache.find(k, h)
		if e == nil {
			var why credential.Reason
			if e, why = g.load(ctx, k, h, id); e == nil {
				return nil, g.wrong(k, h, why, ev)
			}
		}
		x := e.client()
		if x == nil {
			return nil, g.wrong(k, h, credential.UnknownCredential, ev)
		}
		v, why := g.provesClient(ctx, e, x, ce)
		switch {
		case why == credential.Unavailable:
			return nil, g.refuse(k, why, comeAgain, ev)
		case why == credential.NoCredential:
			return nil, g.refuse(k, why, 0, ev)
		case v == nil:
			return nil, g.wrong(k, h, why, ev)
		}
		now := g.clock.nano()
		if why := v.judge(now, ce.Source); why != credential.OK && !v.dead() {
			return nil, g.refuse(k, why, 0, ev)
		}
		if v.dead() {
			continue
		}
		if !asserted {
			if out := g.assertOnce(ctx, v, ce, ev); out.Reason != credential.OK {
				return nil, out
			}
			asserted = true
		}
		out, again := g.meter(ctx, v, ev)
		if again {
			continue
		}
		if out.Reason != credential.OK {
			return nil, out
		}
		g.countAt(v, h, now, ev)
		return &Client{g.identity(v), x.config}, out
	}
	return nil, g.refuse(k, credential.Unavailable, comeAgain, ev)
}

// provesClient returns the version of a client that is proven.
func (g *Gate) provesClient(ctx context.Context, e *entry, x *clientEntry, ce *ClientEvidence) (*entry, credential.Reason) {
	switch {
	case ce.Secret != "":
		t, ok := secret.Parse(ce.Secret)
		if !ok || !x.config.HasSecret() || t.Kind != "sec" || keyOf(t.ID()) != e.key {
			return nil, credential.WrongSecret
		}
		sum := t.Hash()
		if v := e.proven(clientForm, &sum); v != nil {
			return v, credential.OK
		}
		return nil, credential.WrongSecret
	case ce.Assertion != "":
		return g.provesByAssertion(ctx, e, x, ce)
	case ce.leaf() == nil:
		return nil, credential.NoCredential
	case x.config.Auth == credential.TLSClient && ce.Certificate != nil && namesSubject(x.config, ce.Certificate):
		return g.provesByLeaf(ctx, e, ce)
	case x.config.Auth == credential.TLSSelfSigned:
		keys, why := g.keysOf(ctx, e, x)
		if why != credential.OK {
			return nil, why
		}
		if !hasCertificate(keys, ce.leaf()) && x.config.JWKSURI != "" { // it may have a new one
			if newer, err := g.keySets.of(ctx, x.config.JWKSURI, e.made.Org != credential.DefaultOrg, true); err == nil {
				keys = newer
			}
		}
		if now := g.clock.Now(); hasCertificate(keys, ce.leaf()) && !now.Before(ce.leaf().NotBefore) && now.Before(ce.leaf().NotAfter) {
			return e, credential.OK
		}
	}
	return nil, credential.WrongSecret
}

func (ce *ClientEvidence) leaf() *x509.Certificate {
	if ce.Certificate != nil {
		return ce.Certificate
	}
	return ce.Presented
}

// provesByLeaf judges the certificate of a client with tls_client_auth. If it is one of our credentials it must be good as one.
func (g *Gate) provesByLeaf(ctx context.Context, e *entry, ce *ClientEvidence) (*entry, credential.Reason) {
	if _, ours := credentialID(ce.Certificate); !ours {
		return e, credential.OK // TLS has verified it
	}
	cert, why := g.examineLeaf(ctx, &Evidence{Certificate: ce.Certificate, Source: ce.Source})
	switch {
	case why == credential.Unavailable:
		return nil, why
	case cert == nil || why != credential.OK:
		return nil, credential.WrongSecret
	case cert.made.Org != e.made.Org:
		return nil, credential.Unbound
	}
	return e, credential.OK
}

// keysOf returns the keys of a client.
func (g *Gate) keysOf(ctx context.Context, e *entry, x *clientEntry) (jwt.Keys, credential.Reason) {
	if x.config.JWKSURI == "" {
		return x.keys, credential.OK
	}
	keys, err := g.keySets.of(ctx, x.config.JWKSURI, e.made.Org != credential.DefaultOrg, false)
	if err != nil {
		return keys, credential.Unavailable
	}
	return keys, credential.OK
}

// hasCertificate reports whether a certificate is the own one of a key of a set (RFC 8705 §2.2.2).
func hasCertificate(keys jwt.Keys, leaf *x509.Certificate) bool {
	for k := range keys.All() {
		if len(k.Certs) > 0 && k.Certs[0].Equal(leaf) {
			return true
		}
	}
	return false
}

// maxAssertion is the longest time that an assertion may be good for.
const maxAssertion = 10 * time.Minute

// provesByAssertion judges a client assertion (RFC 7523 §3). Whether it was used before is asked last.
func (g *Gate) provesByAssertion(ctx context.Context, e *entry, x *clientEntry, ce *ClientEvidence) (*entry, credential.Reason) {
	if x.config.Auth != credential.PrivateKeyJWT {
		return nil, credential.WrongSecret
	}
	keys, why := g.keysOf(ctx, e, x)
	if why != credential.OK {
		return nil, why
	}
	// Any typ but those that say that it is something else (RFC 7523 demands none).
	want := jwt.Want{Types: []string{"", "JWT", "client-authentication+jwt"}, Issuer: e.made.Credential, Audiences: ce.Audiences, Leeway: assertionLeeway}
	now := g.clock.Now()
	_, err := jwt.Verify(ce.Assertion, keys, want, now)
	if errors.Is(err, jwt.ErrKey) && x.config.JWKSURI != "" { // it may have a new one
		if keys, e2 := g.keySets.of(ctx, x.config.JWKSURI, e.made.Org != credential.DefaultOrg, true); e2 == nil {
			_, err = jwt.Verify(ce.Assertion, keys, want, now)
		}
	}
	switch {
	case errors.Is(err, jwt.ErrSignature), errors.Is(err, jwt.ErrKey):
		return nil, credential.BadSignature
	case err != nil:
		return nil, credential.WrongClaims
	}
	return e, credential.OK
}

const assertionLeeway = 30 * time.Second

// assertOnce makes sure that an assertion is used once, on all nodes (J19). Its signature is good.
func (g *Gate) assertOnce(ctx context.Context, e *entry, ce *ClientEvidence, ev *Evidence) Outcome {
	u, err := jwt.Read(ce.Assertion)
	t := readTimes(u.Claims)
	if err != nil || t.ID == "" || len(t.ID) > 256 || !t.ExpiresAt.After(g.clock.Now().Add(-assertionLeeway)) || t.ExpiresAt.After(g.clock.Now().Add(maxAssertion+assertionLeeway)) {
		return g.refuse(e.key, credential.WrongClaims, 0, ev)
	}
	switch first, err := g.store.Once(ctx, "assertion/"+e.made.Credential+"/"+hashName(t.ID), t.ExpiresAt.Add(2*assertionLeeway)); {
	case err != nil:
		return g.refuse(e.key, credential.Unavailable, comeAgain, ev)
	case !first:
		return g.refuse(e.key, credential.Replayed, 0, ev)
	}
	return Outcome{}
}

// namesSubject reports whether a certificate is that of a client with tls_client_auth (RFC 8705 §2.1.2).
func namesSubject(c *credential.ClientConfig, leaf *x509.Certificate) bool {
	switch {
	case c.SubjectDN != "":
		return leaf.Subject.String() == c.SubjectDN
	case c.SANDNS != "":
		return slices.ContainsFunc(leaf.DNSNames, func(n string) bool { return strings.EqualFold(n, c.SANDNS) })
	case c.SANURI != "":
		for _, u := range leaf.URIs {
			if u.String() == c.SANURI {
				return true
			}
		}
	case c.SANEmail != "":
		return slices.Contains(leaf.EmailAddresses, c.SANEmail)
	case c.SANIP != "":
		want, err := netip.ParseAddr(c.SANIP)
		for _, ip := range leaf.IPAddresses {
			if a, ok := netip.AddrFromSlice(ip); err == nil && ok && a.Unmap() == want.Unmap() {
				return true
			}
		}
	}
	return false
}
