package grpcdoor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/intake"
)

// credentials returns the transport's: TLS always, with a client certificate
// if the caller has one. Its state is asked at every handshake, on resumption
// too (X08), and the connection is watched from then on.
func (d *Door) credentials(c *tls.Config) credentials.TransportCredentials {
	c = c.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.ClientAuth = tls.VerifyClientCertIfGiven
	c.VerifyConnection = d.verifyConnection
	return &watching{credentials.NewTLS(c), d}
}

func (d *Door) verifyConnection(cs tls.ConnectionState) error {
	leaf := verifiedLeaf(&cs)
	if leaf == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	if !accepted(d.gate.CheckCertificate(ctx, leaf)) {
		return errCertificate
	}
	return nil
}

// errCertificate is what this side logs; the client gets a TLS alert.
var errCertificate = errors.New("the client certificate is not accepted")

// verifiedLeaf returns the client's certificate if its chain was verified.
func verifiedLeaf(cs *tls.ConnectionState) *x509.Certificate {
	if len(cs.VerifiedChains) == 0 || len(cs.VerifiedChains[0]) == 0 {
		return nil
	}
	return cs.VerifiedChains[0][0]
}

func leafOf(info credentials.AuthInfo) *x509.Certificate {
	t, ok := info.(credentials.TLSInfo)
	if !ok {
		return nil
	}
	return verifiedLeaf(&t.State)
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
	leaf := leafOf(info)
	if leaf == nil {
		return conn, info, nil
	}
	watched, err := w.door.watchConn(raw, leaf)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return &watchedConn{conn, watched}, info, nil
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
