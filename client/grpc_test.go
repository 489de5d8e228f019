package client_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/oauth2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"cardea/client"
)

const (
	checkMethod = "/grpc.health.v1.Health/Check"
	listMethod  = "/grpc.health.v1.Health/List"
	talkMethod  = "/test.Talk/Talk"
)

// health is a service with unary calls. Beside it stands one with a stream to both sides.
type health struct {
	healthpb.UnimplementedHealthServer
	subjects chan string
	stream   func(grpc.ServerStream) error
}

func (h *health) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	subject := ""
	if c, ok := client.TokenFrom(ctx); ok {
		subject = c.Subject
	}
	h.subjects <- subject
	return &healthpb.HealthCheckResponse{}, nil
}

func (h *health) List(ctx context.Context, _ *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	_, err := h.Check(ctx, nil)
	return &healthpb.HealthListResponse{}, err
}

func (h *health) talk() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{ServiceName: "test.Talk", Streams: []grpc.StreamDesc{{
		StreamName: "Talk", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return h.stream(s) },
	}}}
}

// startGRPC runs a server with TLS that asks for certificates and believes any.
func startGRPC(t testing.TB, v *client.Verifier, options ...client.GuardOption) (*health, func(...grpc.DialOption) *grpc.ClientConn) {
	t.Helper()
	cert := selfSigned(t, "server")
	h := &health{subjects: make(chan string, 100)}
	s := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert})),
		grpc.UnaryInterceptor(client.UnaryServerInterceptor(v, options...)),
		grpc.StreamInterceptor(client.StreamServerInterceptor(v, options...)),
	)
	healthpb.RegisterHealthServer(s, h)
	s.RegisterService(h.talk(), nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	return h, func(o ...grpc.DialOption) *grpc.ClientConn {
		o = append([]grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "localhost"}))}, o...)
		c, err := grpc.NewClient(l.Addr().String(), o...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
}

func withToken(t testing.TB, fields ...string) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	for _, f := range fields {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", f)
	}
	return ctx
}

func TestInterceptorsOnCalls(t *testing.T) {
	i := newIssuer(t, newClock())
	var reasons []string
	h, dial := startGRPC(t, i.verifier(t, nil), client.RequireScope("things:read"), client.RequireScopeFor(listMethod, "things:write"),
		client.OnRefused(func(_ context.Context, err error) { reasons = append(reasons, err.Error()) }))
	c := healthpb.NewHealthClient(dial())
	good, narrow := i.sign(i.claims(nil)), i.sign(i.claims(claims{"scope": "things:read"}))
	for name, x := range map[string]struct {
		fields []string
		list   bool
		want   codes.Code
	}{
		"good":                       {[]string{"Bearer " + good}, false, codes.OK},
		"narrow, and that is enough": {[]string{"bearer " + narrow}, false, codes.OK},
		"narrow, where more is due":  {[]string{"Bearer " + narrow}, true, codes.PermissionDenied},
		"wide":                       {[]string{"Bearer " + good}, true, codes.OK},
		"nothing":                    {nil, false, codes.Unauthenticated},
		"two":                        {[]string{"Bearer " + good, "Bearer " + good}, false, codes.Unauthenticated},
		"another scheme":             {[]string{"Basic " + good}, false, codes.Unauthenticated},
		"J22 as DPoP":                {[]string{"DPoP " + good}, false, codes.Unauthenticated},
		"expired":                    {[]string{"Bearer " + i.sign(i.claims(claims{"exp": 1}))}, false, codes.Unauthenticated},
		"J08 another aud":            {[]string{"Bearer " + i.sign(i.claims(claims{"aud": "x"}))}, false, codes.Unauthenticated},
		"J22 bound to a DPoP key":    {[]string{"Bearer " + i.sign(i.claims(claims{"cnf": claims{"jkt": athOf("x")}}))}, false, codes.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if x.list {
				_, err = c.List(withToken(t, x.fields...), &healthpb.HealthListRequest{})
			} else {
				_, err = c.Check(withToken(t, x.fields...), &healthpb.HealthCheckRequest{})
			}
			if status.Code(err) != x.want {
				t.Fatalf("error is %v, want %v", err, x.want)
			}
			if err != nil && len(h.subjects) != 0 {
				t.Fatal("the handler was called")
			}
			if err == nil {
				if s := <-h.subjects; s != "pump-1" {
					t.Errorf("subject is %q", s)
				}
			}
		})
	}
	if len(reasons) != 8 {
		t.Errorf("the log has %q", reasons)
	}
	i.change(func() { i.down = true })
	_, dial = startGRPC(t, i.verifier(t, nil))
	if _, err := healthpb.NewHealthClient(dial()).Check(withToken(t, "Bearer "+good), &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("when it cannot be known: %v", err)
	}
}

func TestMethodsThatAreOpen(t *testing.T) {
	i := newIssuer(t, newClock())
	h, dial := startGRPC(t, i.verifier(t, nil), client.Open(checkMethod, talkMethod))
	h.stream = func(s grpc.ServerStream) error { return s.SendMsg(&healthpb.HealthCheckResponse{}) }
	conn := dial()
	c := healthpb.NewHealthClient(conn)
	if _, err := c.Check(withToken(t), &healthpb.HealthCheckRequest{}); err != nil || <-h.subjects != "" {
		t.Error(err)
	}
	must(t, openTalk(t, conn, withToken(t)).RecvMsg(&healthpb.HealthCheckResponse{}))
	if _, err := c.List(withToken(t), &healthpb.HealthListRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("another method: %v", err)
	}
}

// J20 over gRPC.
func TestCallsWithTokensThatAreBoundToACertificate(t *testing.T) {
	i := newIssuer(t, newClock())
	_, dial := startGRPC(t, i.verifier(t, nil))
	mine, other := selfSigned(t, "mine"), selfSigned(t, "other")
	sum := sha256.Sum256(mine.Leaf.Raw)
	token := i.sign(i.claims(claims{"cnf": claims{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}}))
	for name, x := range map[string]struct {
		certs []tls.Certificate
		want  codes.Code
	}{"its": {[]tls.Certificate{mine}, codes.OK}, "another": {[]tls.Certificate{other}, codes.Unauthenticated}, "none": {nil, codes.Unauthenticated}} {
		creds := credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, Certificates: x.certs})
		_, err := healthpb.NewHealthClient(dial(grpc.WithTransportCredentials(creds))).Check(withToken(t, "Bearer "+token), &healthpb.HealthCheckRequest{})
		if status.Code(err) != x.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A stream ends with its token, whatever it is at: waiting for the client, stuck in sending, or waiting for its context. Afterwards nothing of it is left.
func TestStreamsEndWithTheirToken(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("all", func(t *testing.T) {
		for name, stream := range map[string]func(grpc.ServerStream) error{
			"waiting for its context": func(s grpc.ServerStream) error {
				<-s.Context().Done()
				return s.Context().Err()
			},
			"waiting for the client": func(s grpc.ServerStream) error {
				return s.RecvMsg(&healthpb.HealthCheckRequest{})
			},
			"sending to nobody": func(s grpc.ServerStream) error {
				for {
					if err := s.SendMsg(&healthpb.HealthCheckResponse{}); err != nil {
						return errors.New("some error of the handler's own")
					}
				}
			},
		} {
			t.Run(name, func(t *testing.T) {
				i := newIssuer(t, newClock())
				h, dial := startGRPC(t, i.verifier(t, func(c *client.VerifierConfig) { c.Leeway = -1 }))
				ended := make(chan error, 1)
				h.stream = func(s grpc.ServerStream) error {
					err := stream(s)
					ended <- err
					return err
				}
				// The test's clock stands still, so that the token is good however slow the machine is; a second later the stream ends.
				token := i.sign(i.claims(claims{"exp": i.clock.Now().Add(time.Second).Unix()}))
				w := openTalk(t, dial(), withToken(t, "Bearer "+token))
				if err := <-ended; err == nil { // while the client reads nothing
					t.Error("the handler saw no end")
				}
				var err error
				for err == nil {
					err = w.RecvMsg(&healthpb.HealthCheckResponse{})
				}
				if status.Code(err) != codes.Unauthenticated {
					t.Errorf("the client sees %v", err)
				}
			})
		}
	})
}

// openTalk begins a stream.
func openTalk(t testing.TB, c *grpc.ClientConn, ctx context.Context) grpc.ClientStream { //nolint:revive // the test is first
	t.Helper()
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, talkMethod)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What ends a stream for another reason is told as it is.
func TestStreamsThatEndOtherwise(t *testing.T) {
	i := newIssuer(t, newClock())
	h, dial := startGRPC(t, i.verifier(t, nil))
	good := "Bearer " + i.sign(i.claims(nil))
	h.stream = func(grpc.ServerStream) error { return status.Error(codes.NotFound, "no such thing") }
	if err := openTalk(t, dial(), withToken(t, good)).RecvMsg(&healthpb.HealthCheckResponse{}); status.Code(err) != codes.NotFound {
		t.Errorf("the handler's own: %v", err)
	}
	saw := make(chan error, 1)
	started := make(chan struct{})
	h.stream = func(s grpc.ServerStream) error {
		close(started)
		err := s.RecvMsg(&healthpb.HealthCheckRequest{})
		saw <- err
		return err
	}
	ctx, cancel := context.WithCancel(withToken(t, good))
	openTalk(t, dial(), ctx)
	<-started
	cancel()
	if err := <-saw; status.Code(err) != codes.Canceled {
		t.Errorf("the client's: %v", err)
	}
}

func TestPerRPCCredentials(t *testing.T) {
	i := newIssuer(t, newClock())
	h, dial := startGRPC(t, i.verifier(t, nil))
	for name, source := range map[string]oauth2.TokenSource{
		"ours": i.source(t, nil), "theirs": oauth2.StaticTokenSource(&oauth2.Token{AccessToken: i.sign(i.claims(nil))}),
	} {
		_, err := healthpb.NewHealthClient(dial(grpc.WithPerRPCCredentials(client.PerRPCCredentials(source)))).Check(withToken(t), &healthpb.HealthCheckRequest{})
		if err != nil || <-h.subjects != "pump-1" {
			t.Errorf("%s: %v", name, err)
		}
	}
	bound := i.source(t, func(c *client.TokenConfig) { c.DPoP = true })
	_, err := healthpb.NewHealthClient(dial(grpc.WithPerRPCCredentials(client.PerRPCCredentials(bound)))).Check(withToken(t), &healthpb.HealthCheckRequest{})
	if status.Code(err) != codes.Unauthenticated || len(h.subjects) != 0 {
		t.Errorf("bound to a DPoP key: %v", err)
	}
	_, err = grpc.NewClient("127.0.0.1:1", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(client.PerRPCCredentials(i.source(t, nil))))
	if err == nil {
		t.Error("a token may go in the clear")
	}
}
