package intake

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"
)

// ClientCertificate says what the certificate is that a client has shown to TLS, which has seen that it has the key and looked no further
// ([tls.RequestClientCert]). It is verified if its chain leads to one of the roots, as TLS would have done it, or else presented: such a one proves
// nobody, but access tokens can be bound to it (RFC 8705 §3), and OAuth clients prove themselves by one (§2.2). Both are nil if the client has shown none. It is
// an error if the certificate is not good at this time: then it is good for nothing, whoever has issued it.
func ClientCertificate(cs *tls.ConnectionState, roots *x509.CertPool, now time.Time) (verified, presented *x509.Certificate, err error) {
	if cs == nil || len(cs.PeerCertificates) == 0 {
		return nil, nil, nil
	}
	leaf := cs.PeerCertificates[0]
	switch {
	case len(cs.VerifiedChains) > 0: // by TLS, after all
		return leaf, nil, nil
	case now.Before(leaf.NotBefore) || now.After(leaf.NotAfter):
		return nil, nil, errNotNow
	case roots == nil:
		return nil, leaf, nil
	}
	between := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		between.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return nil, leaf, nil
	}
	return leaf, nil, nil
}

var errNotNow = errors.New("the client certificate has expired, or is not valid yet")
