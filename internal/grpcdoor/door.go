// Package grpcdoor is the gate over gRPC. It speaks TLS only, takes a client
// certificate or a bearer token in the metadata "authorization", and holds one
// table from method to rule: a method that is not in it is refused, whoever
// asks.
//
//	door := grpcdoor.New(grpcdoor.Config{Gate: g, TLS: tlsConfig, Log: log})
//	go door.Serve(listener)
//	defer door.Shutdown(ctx)
//
// A connection that came with a client certificate is a session: when the
// certificate is revoked or ends, the connection is cut and with it all that
// runs on it. So is a stream of a caller that showed a credential.
package grpcdoor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress; the size limit holds for what comes out
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"cardea/internal/credential"
	"cardea/internal/gate"
	cardeav1 "cardea/proto/cardea/v1"
)

// What one caller may cost (G05, G07).
const (
	maxMessage       = 1 << 20
	maxHeaderList    = 16 << 10
	maxStreams       = 250
	handshakeTimeout = 10 * time.Second
	idleTimeout      = 15 * time.Minute
)

// Config is what a Door is made of.
type Config struct {
	Gate *gate.Gate
	// TLS has the server certificate, and in ClientCAs the pool that client
	// certificates are verified against. The door sets the rest.
	TLS *tls.Config
	Log *slog.Logger
}

// Door is the gRPC server.
type Door struct {
	gate     *gate.Gate
	log      *slog.Logger
	server   *grpc.Server
	health   *health
	clients  *x509.CertPool
	draining chan struct{}
	drain    func()
}

// New returns a Door that does not listen yet.
func New(c Config) (*Door, error) {
	switch {
	case c.Gate == nil:
		return nil, errors.New("grpcdoor: no gate")
	case c.TLS == nil || c.TLS.ClientCAs == nil:
		return nil, errors.New("grpcdoor: no TLS configuration with a pool for client certificates")
	}
	d := &Door{gate: c.Gate, log: c.Log, clients: c.TLS.ClientCAs, health: newHealth(c.Gate), draining: make(chan struct{})}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.drain = sync.OnceFunc(func() { close(d.draining) })
	d.server = grpc.NewServer(
		grpc.Creds(d.credentials(c.TLS)),
		grpc.UnaryInterceptor(d.unary),
		grpc.StreamInterceptor(d.stream),
		grpc.UnknownServiceHandler(unknown),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeaderList),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTimeout, Time: 2 * time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)
	cardeav1.RegisterGateServer(d.server, &service{door: d})
	healthpb.RegisterHealthServer(d.server, d.health)
	reflection.RegisterV1(d.server)
	return d, nil
}

// Serve accepts connections until Shutdown; then it returns nil.
func (d *Door) Serve(l net.Listener) error {
	go d.health.follow(d.draining)
	err := d.server.Serve(l)
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// Shutdown ends streams with Unavailable, lets running calls finish until ctx
// ends, and then closes what is left. It returns ctx's error if something was left.
func (d *Door) Shutdown(ctx context.Context) error {
	d.health.Shutdown()
	d.drain()
	done := make(chan struct{})
	go func() {
		d.server.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		d.server.Stop()
		<-done
		return ctx.Err()
	}
}

// recovered runs a handler; its panic is logged and becomes an error, and the process lives.
func (d *Door) recovered(method string, handle func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			d.logPanic(method, p)
			err = errInternal
		}
	}()
	return handle()
}

// accepted reports whether a reason lets the caller in.
func accepted(r credential.Reason) bool { return r == credential.OK }
