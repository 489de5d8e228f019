package gate

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"strings"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// certificate judges the certificate of ev and, if count is set, counts its use.
func (g *Gate) certificate(ctx context.Context, ev *Evidence, count bool) (*entry, Outcome) {
	id, ok := credentialID(ev.Certificate)
	if !ok {
		return nil, g.refuse(key{}, credential.UnknownCredential, 0, ev)
	}
	k := keyOf(id)
	h := g.cache.hash(k)
	mono := g.clock.Mono()
	if wait := g.limits.wait(k, h, ev.Source, mono); wait > 0 {
		return nil, g.refuse(k, credential.TooManyAttempts, wait, ev)
	}
	if g.blind(mono) {
		return nil, g.refuse(k, credential.Unavailable, comeAgain, ev)
	}
	for range maxRounds {
		e, now, why := g.leaf(ctx, k, h, ev.Certificate)
		if e == nil {
			return nil, g.wrong(k, h, why, ev)
		}
		if why == credential.OK {
			why = e.judge(now, ev.Source)
		}
		if why != credential.OK {
			return nil, g.refuse(k, why, 0, ev)
		}
		if !count {
			return e, Outcome{}
		}
		out, again := g.meter(ctx, e, ev)
		if again {
			continue
		}
		if out.Reason != credential.OK {
			return nil, out
		}
		g.countAt(e, h, now, ev)
		return e, out
	}
	return nil, g.refuse(k, credential.Unavailable, comeAgain, ev)
}

// leaf finds the version that a certificate is of. Without one the reason says
// why; with one it is OK, or what is to be said of the certificate's own times.
func (g *Gate) leaf(ctx context.Context, k key, h uint64, leaf *x509.Certificate) (*entry, int64, credential.Reason) {
	sum := sha256.Sum256(leaf.Raw)
	for range maxRounds {
		e := g.cache.find(k, h)
		if e == nil {
			var why credential.Reason
			if e, why = g.load(ctx, k, h, k.String()); e == nil {
				secret.Equal(sum, noHash)
				return nil, 0, why
			}
		}
		v := e.proven(0, &sum)
		if v == nil || !v.cold.Load().has(leaf) {
			return nil, 0, credential.WrongSecret
		}
		if v.dead() {
			continue
		}
		now := g.clock.nano()
		switch {
		case now < nanos(leaf.NotBefore):
			return v, now, credential.NotYetValid
		case now >= nanos(leaf.NotAfter.Add(time.Second)): // NotAfter is the last second (RFC 5280 section 4.1.2.5)
			return v, now, credential.Expired
		}
		return v, now, credential.OK
	}
	return nil, 0, credential.Unavailable
}

// has reports whether a certificate has the serial number of the proof.
func (c *cold) has(leaf *x509.Certificate) bool {
	return c != nil && c.serial != nil && leaf.SerialNumber != nil && c.serial.Cmp(leaf.SerialNumber) == 0
}

// uriPrefix is what precedes the id in a client certificate's one URI, after "urn:".
const uriPrefix = "cardea:credential:"

// credentialID returns the credential that a client certificate carries: its
// one URI is urn:cardea:credential: and 12 base62 characters.
func credentialID(leaf *x509.Certificate) (string, bool) {
	if len(leaf.URIs) != 1 || leaf.URIs[0] == nil {
		return "", false
	}
	u := leaf.URIs[0]
	if u.Scheme != "urn" || u.User != nil || u.Host != "" || u.Path != "" || u.ForceQuery || u.RawQuery != "" || u.Fragment != "" {
		return "", false
	}
	id, ok := strings.CutPrefix(u.Opaque, uriPrefix)
	if !ok || len(id) != idLen {
		return "", false
	}
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return "", false
		}
	}
	return id, true
}

// CheckCertificate is for VerifyConnection of a TLS door, on resumption too: it
// answers whether the leaf is a certificate that Authenticate would accept
// (X08), without networks. It counts no use.
func (g *Gate) CheckCertificate(ctx context.Context, leaf *x509.Certificate) credential.Reason {
	ev := &Evidence{Certificate: leaf, Door: "tls"}
	id, ok := credentialID(leaf)
	if !ok {
		return g.refuse(key{}, credential.UnknownCredential, 0, ev).Reason
	}
	k := keyOf(id)
	if g.blind(g.clock.Mono()) {
		return g.refuse(k, credential.Unavailable, 0, ev).Reason
	}
	e, now, why := g.leaf(ctx, k, g.cache.hash(k), leaf)
	if e != nil && why == credential.OK {
		why = e.standing(now)
	}
	if why != credential.OK {
		g.refuse(k, why, 0, ev)
	}
	return why
}
