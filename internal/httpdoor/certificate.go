package httpdoor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"time"

	"cardea/internal/credential"
	"cardea/internal/intake"
)

// tlsConfig adds the gate to a TLS configuration. Certificates are looked at here and not by TLS, to which one without a known issuer is an
// error. VerifyConnection runs on resumed sessions as well, unlike VerifyPeerCertificate (X08).
func (d *Door) tlsConfig(c *tls.Config) *tls.Config {
	if c == nil {
		return nil
	}
	c = c.Clone()
	if len(c.NextProtos) == 0 {
		c.NextProtos = []string{"h2", "http/1.1"}
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	if d.cas = c.ClientCAs; d.cas != nil && c.ClientAuth != tls.RequireAndVerifyClientCert {
		// No names of CAs are sent: many clients, those of Go among them, show only what one of those has issued.
		c.ClientAuth, c.ClientCAs = tls.RequestClientCert, nil
	}
	before := c.VerifyConnection
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if before != nil {
			if err := before(cs); err != nil {
				return err
			}
		}
		verified, _, err := d.classify(&cs)
		switch {
		case err != nil:
			return err
		case verified == nil:
			return nil
		}
		if r := d.gate.CheckCertificate(context.Background(), verified); r != credential.OK {
			return errors.New("client certificate is not accepted")
		}
		return nil
	}
	return c
}

// classify is [intake.ClientCertificate] at this door.
func (d *Door) classify(cs *tls.ConnectionState) (verified, presented *x509.Certificate, err error) {
	if d.tls == nil {
		return intake.ClientCertificate(cs, nil, time.Now())
	}
	now := time.Now()
	if d.tls.Time != nil {
		now = d.tls.Time()
	}
	return intake.ClientCertificate(cs, d.cas, now)
}

// Certificate returns the certificate that the client of a request has shown: verified, if its chain leads to Config.TLS.ClientCAs, or else
// presented. The key of either is proven; but who presents one is nobody by it. Handlers of reserved paths find it here alone: Request.TLS
// does not say which one it is.
func (d *Door) Certificate(r *http.Request) (verified, presented *x509.Certificate) {
	p := d.peerOf(r)
	if d.trustedPeer(p) { // it is the proxy's own, and proves nothing about its clients
		return nil, nil
	}
	return p.leaf, p.presented
}
