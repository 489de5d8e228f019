package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Listener keeps a server certificate for a listener fresh. Its key lives in memory only.
// It is safe for concurrent use.
type Listener struct {
	ca    *CA
	names []string
	addrs []netip.Addr
	now   func() time.Time

	current atomic.Pointer[served]
	issuing sync.Mutex
}

// served is a certificate with the span in which it is served without a thought of a new one.
type served struct {
	cert        *tls.Certificate
	from, renew time.Time
}

// NewListener returns a Listener for names and addresses, of which there must be at least one; see [CA.Server]. The
// first certificate is made at the first handshake, the next ones when two thirds of their life are over.
func NewListener(c *CA, names []string, addrs []netip.Addr, now func() time.Time) (*Listener, error) {
	if _, _, err := serverNames(names, addrs); err != nil {
		return nil, err
	}
	return &Listener{ca: c, names: names, addrs: addrs, now: now}, nil
}

// GetCertificate is for tls.Config. It serves the leaf and the issuing certificate.
func (l *Listener) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	now := l.now()
	have := l.current.Load()
	if have.fresh(now) {
		return have.cert, nil
	}
	if have.usable(now) {
		// One handshake makes the new certificate; the others do not wait for it.
		if !l.issuing.TryLock() {
			return have.cert, nil
		}
	} else {
		l.issuing.Lock()
	}
	defer l.issuing.Unlock()
	if have = l.current.Load(); have.fresh(now) {
		return have.cert, nil
	}
	next, err := l.issue(now)
	if err != nil {
		if have.usable(now) {
			return have.cert, nil
		}
		return nil, err
	}
	l.current.Store(next)
	return next.cert, nil
}

// fresh reports whether s is good and needs no successor yet. A clock that was set back makes it stale.
func (s *served) fresh(now time.Time) bool {
	return s != nil && !now.Before(s.from) && now.Before(s.renew)
}

// usable reports whether clients will take s.
func (s *served) usable(now time.Time) bool {
	return s != nil && !now.Before(s.from) && now.Before(s.cert.Leaf.NotAfter)
}

func (l *Listener) issue(now time.Time) (*served, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := l.ca.Server(key.Public(), l.names, l.addrs, now)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &served{
		cert:  &tls.Certificate{Certificate: [][]byte{der, l.ca.Issuing.Raw}, PrivateKey: key, Leaf: leaf},
		from:  leaf.NotBefore,
		renew: leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 3 * 2),
	}, nil
}
