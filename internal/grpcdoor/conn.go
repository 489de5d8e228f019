package grpcdoor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc/credentials"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/intake"
)

// credentials returns the transport's: TLS always, with a client certificate
// if the caller has one. Its state is asked at every handshake, on resumption
// too (X08), and the connection is watched from then on. One whose chain leads nowhere is presented; see [intake.ClientCertificate].
func (d *Door) credentials(c *tls.Config) credentials.TransportCredentials {
	c = c.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.ClientAuth, c.ClientCAs = tls.RequestClientCert, nil // without names of CAs: Go's clients show only what one of those has issued
	c.VerifyConnection = d.verifyConnection
	return &watching{credentials.NewTLS(c), d}
}

func (d *Door) verifyConnection(cs tls.ConnectionState) error {
	verified, _, err := intake.ClientCertificate(&cs, d.clients, time.Now())
	if err != nil || verified == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	if !accepted(d.gate.CheckCertificate(ctx, verified)) {
		return errCertificate
	}
	return nil
}

// errCertificate is what this side logs; the client gets a TLS alert.
var errCertificate = errors.New("the client certificate is not accepted")

// authInfo is what a connection's calls find of its certificate. At most one of the two is there.
type authInfo struct {
	credentials.TLSInfo
	verified, presented *x509.Certificate
}

// watching puts the connections of callers with a certificate under watch.
type watching struct {
	credentials.TransportCredentials
	door *Door
}

// Clone is for whoever copies server options.
func (w *watching) Clone() credentials.TransportCredentials {
	return &watching{w.TransportCredentials.Clone(), w.door}
}

// ServerHandshake does the TLS handshake and starts the watch.
func (w *watching) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := w.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	known := authInfo{TLSInfo: info.(credentials.TLSInfo)}
	known.verified, known.presented, err = intake.ClientCertificate(&known.State, w.door.clients, time.Now())
	if err == nil && known.verified == nil {
		return conn, known, nil
	}
	var watched *gate.Watched
	if err == nil {
		watched, err = w.door.watchConn(raw, known.verified)
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return &watchedConn{conn, watched}, known, nil
}

func (d *Door) watchConn(raw net.Conn, leaf *x509.Certificate) (*gate.Watched, error) {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	source := intake.AddrOf(raw.RemoteAddr())
	id, out := d.gate.Authenticate(ctx, &gate.Evidence{Certificate: leaf, Source: source, Door: "grpc", Unmetered: true})
	if !accepted(out.Reason) {
		return nil, errCertificate
	}
	watched, reason := d.gate.Watch(ctx, id, gate.Live{
		Door: "grpc", Kind: "connection", Source: source, About: "connection",
		// the raw one: closing TLS writes first, and a peer that does not read could hold that up
		Cut: func(credential.Reason) { raw.Close() },
	})
	if !accepted(reason) {
		return nil, errCertificate
	}
	return watched, nil
}

// watchedConn ends the watch with the connection.
type watchedConn struct {
	net.Conn
	watched *gate.Watched
}

// Close closes the connection.
func (c *watchedConn) Close() error {
	c.watched.Close()
	return c.Conn.Close()
}
