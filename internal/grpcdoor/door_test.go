package grpcdoor

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/secret"
	cardeav1 "cardea/proto/cardea/v1"
)

func TestWhoAmI(t *testing.T) {
	w := newWorld(t)
	b, cert := w.key("pump-1")
	for name, ask := range map[string]func() (*cardeav1.WhoAmIResponse, error){
		"token": func() (*cardeav1.WhoAmIResponse, error) {
			return w.client().WhoAmI(bearer(t.Context(), b.Token.Secret.Reveal()), &cardeav1.WhoAmIRequest{})
		},
		"certificate": func() (*cardeav1.WhoAmIResponse, error) {
			return w.client(cert).WhoAmI(t.Context(), &cardeav1.WhoAmIRequest{})
		},
		"both": func() (*cardeav1.WhoAmIResponse, error) {
			return w.client(cert).WhoAmI(bearer(t.Context(), b.Token.Secret.Reveal()), &cardeav1.WhoAmIRequest{})
		},
	} {
		r, err := ask()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.Principal != "pump-1" || r.PrincipalKind != "device" || r.Org != "default" || r.Credential == "" || r.ExpiresAt.AsTime().Before(time.Now()) || len(r.Scopes) != 1 {
			t.Errorf("%s: %v", name, r)
		}
	}
}

// E02: every bad credential is answered the same, G04: and no other metadata says who it is.
func TestBadCredentials(t *testing.T) {
	w := newWorld(t)
	b, _ := w.key("pump-1")
	text := b.Token.Secret.Reveal()
	revoked := w.service("revoked")
	_, err := w.auth.Revoke(t.Context(), w.local, revoked.Credential.ID, "")
	w.must(err)
	guess, _, err := secret.New("dev", b.Token.Credential.ID)
	w.must(err)
	unknown, _, err := secret.New("dev", "000000000000")
	w.must(err)
	for name, md := range map[string][]string{
		"none": {}, "garbage": {"authorization", "Bearer x"}, "empty": {"authorization", ""}, "basic": {"authorization", "Basic " + text}, "bare": {"authorization", text},
		"revoked": {"authorization", "Bearer " + revoked.Secret.Reveal()}, "wrong": {"authorization", "Bearer " + guess.Reveal()}, "unknown": {"authorization", "Bearer " + unknown.Reveal()},
		"others": {"x-principal", "admin", "x-cardea-principal", "admin", "x-api-key", text, "cookie", "token=" + text, "x-forwarded-client-cert", "Subject=\"CN=admin\"", ":authority", "admin"},
	} {
		if name == "others" {
			md = md[:len(md)-2] // a client cannot set that one; TestRawRequests does
		}
		_, err := w.client().WhoAmI(metadata.AppendToOutgoingContext(t.Context(), md...), &cardeav1.WhoAmIRequest{})
		if st := w.code(err, codes.Unauthenticated); st.Message() != "invalid token" || len(st.Details()) > 0 {
			t.Errorf("%s: %v", name, st)
		}
	}
	r, err := w.client().WhoAmI(bearer(t.Context(), text, "x-principal", "admin", "x-cardea-principal", "admin", "x-forwarded-for", "192.0.2.1"), &cardeav1.WhoAmIRequest{})
	if err != nil || r.Principal != "pump-1" {
		t.Errorf("%v %v", r, err)
	}
	_, err = w.client().WhoAmI(bearer(bearer(t.Context(), text), text), &cardeav1.WhoAmIRequest{})
	w.code(err, codes.InvalidArgument)
	if strings.Contains(w.logged.String(), text) { // K03
		t.Error("the log has a token")
	}
}

// A token beside a certificate must be of the same principal.
func TestACertificateBindsAToken(t *testing.T) {
	w := newWorld(t)
	_, cert := w.key("pump-1")
	other, _ := w.key("pump-2")
	_, err := w.client(cert).WhoAmI(bearer(t.Context(), other.Token.Secret.Reveal()), &cardeav1.WhoAmIRequest{})
	w.code(err, codes.Unauthenticated)
}

// E01: too many wrong secrets are slowed down, and told for how long.
func TestTooManyAttempts(t *testing.T) {
	w := newWorld(t)
	b, _ := w.key("pump-1")
	guess, _, err := secret.New("dev", b.Token.Credential.ID)
	w.must(err)
	c := w.client()
	for range 1000 {
		_, err := c.WhoAmI(bearer(t.Context(), guess.Reveal()), &cardeav1.WhoAmIRequest{})
		if status.Code(err) == codes.Unauthenticated {
			continue
		}
		st := w.code(err, codes.ResourceExhausted)
		for _, d := range st.Details() {
			if r, ok := d.(*errdetails.RetryInfo); ok && r.RetryDelay.AsDuration() >= time.Second {
				return
			}
		}
		t.Fatalf("details: %v", st.Details())
	}
	t.Error("never slowed down")
}

// A call over the limits of the credential is told which limit and for how long; asking about somebody costs the one who asks.
func TestOverTheLimits(t *testing.T) {
	w := newWorld(t)
	asker := w.service("asker", allow("grpc:call", "/cardea.v1.Gate/Check"))
	w.service("asked")
	limited := func(name string, l credential.Limits) string {
		i, err := w.auth.CreateCredential(t.Context(), w.local, authority.NewCredential{Kind: credential.APIKey, Principal: name, Limits: l})
		w.must(err)
		return i.Secret.Reveal()
	}
	c := w.client()
	ctx, once := bearer(t.Context(), asker.Secret.Reveal()), limited("asked", credential.Limits{PerMonth: 1})
	for range 3 {
		if r, err := c.Check(ctx, &cardeav1.CheckRequest{Token: once}); err != nil || !r.Allowed {
			t.Fatalf("%v %v", r, err)
		}
	}
	ctx = bearer(t.Context(), limited("asker", credential.Limits{PerMonth: 1}))
	if r, err := c.Check(ctx, &cardeav1.CheckRequest{Token: once}); err != nil || !r.Allowed {
		t.Fatalf("%v %v", r, err)
	}
	_, err := c.Check(ctx, &cardeav1.CheckRequest{Token: once})
	st := w.code(err, codes.ResourceExhausted)
	r, ok := st.Details()[0].(*errdetails.RetryInfo)
	if !ok || r.RetryDelay.AsDuration() <= time.Second || !strings.Contains(st.Message(), "this month") {
		t.Errorf("%v", st)
	}
	// Of the certificate of a connection too only what is asked on it is charged.
	i, err := w.auth.CreateCredential(t.Context(), w.local, authority.NewCredential{
		Kind: credential.Certificate, Principal: "asker", TTL: time.Hour, Limits: credential.Limits{PerMonth: 1},
	})
	w.must(err)
	c = w.client(w.pair(i))
	_, err = c.WhoAmI(t.Context(), &cardeav1.WhoAmIRequest{})
	w.must(err)
	_, err = c.WhoAmI(t.Context(), &cardeav1.WhoAmIRequest{})
	w.code(err, codes.ResourceExhausted)
}

// Check answers for others, to those who may ask.
func TestCheck(t *testing.T) {
	w := newWorld(t)
	asker := w.service("asker", allow("grpc:call", "/cardea.v1.Gate/Check"))
	stranger := w.service("stranger", allow("grpc:call", "/cardea.v1.Gate/WhoAmI"))
	b, _ := w.key("pump-1")
	text := b.Token.Secret.Reveal()
	c := w.client()
	ctx := bearer(t.Context(), asker.Secret.Reveal())
	ask := func(r *cardeav1.CheckRequest) *cardeav1.CheckResponse {
		t.Helper()
		out, err := c.Check(ctx, r)
		w.must(err)
		return out
	}
	_, err := c.Check(bearer(t.Context(), stranger.Secret.Reveal()), &cardeav1.CheckRequest{Token: text})
	if st := w.code(err, codes.PermissionDenied); st.Message() != "insufficient scope" {
		t.Errorf("%v", st)
	}
	_, err = c.Check(t.Context(), &cardeav1.CheckRequest{Token: text})
	w.code(err, codes.Unauthenticated)

	r := ask(&cardeav1.CheckRequest{Token: text, Action: "mqtt:publish", Resource: "db/append/example", Qos: 1, Retain: true, Ip: "10.1.2.3"})
	if !r.Allowed || r.Reason != "ok" || r.Principal != "pump-1" || r.PrincipalKind != "device" || r.Credential != b.Token.Credential.ID || r.Org != "default" || r.ExpiresAt == nil {
		t.Errorf("allowed: %v", r)
	}
	own := w.service("own", allow("mqtt:publish", "own/${principal}/${client_id}")).Secret.Reveal()
	for id, want := range map[string]string{"c1": "ok", "c2": "no_rule", "": "no_rule", "+": "no_rule"} { // M10
		if r := ask(&cardeav1.CheckRequest{Token: own, Action: "mqtt:publish", Resource: "own/own/c1", ClientId: id}); r.Reason != want {
			t.Errorf("client id %q: %v", id, r)
		}
	}
	if r := ask(&cardeav1.CheckRequest{Token: text, Action: "api:principals:create", Resource: "/principals/x"}); r.Allowed || r.Reason != "no_rule" {
		t.Errorf("no rule: %v", r)
	}
	if r := ask(&cardeav1.CheckRequest{CertificatePem: string(b.Certificate.Certificate)}); !r.Allowed || r.Credential != b.Certificate.Credential.ID {
		t.Errorf("certificate: %v", r)
	}
	if r := ask(&cardeav1.CheckRequest{Token: "cardea_dev_x"}); r.Allowed || r.Reason != "malformed_token" || r.Principal != "" {
		t.Errorf("malformed: %v", r)
	}
	_, err = w.auth.Revoke(t.Context(), w.local, b.Token.Credential.ID, "")
	w.must(err)
	if r := ask(&cardeav1.CheckRequest{Token: text}); r.Allowed || r.Reason != "revoked" {
		t.Errorf("revoked: %v", r)
	}
}

// W07: a credential of another organisation is as unknown as one that does not exist, also if it has ended.
func TestOthersCredentialsAreUnknown(t *testing.T) {
	w := newWorld(t)
	asker := w.service("asker", allow("grpc:call", "/cardea.v1.Gate/Check"))
	c, ctx := w.client(), bearer(t.Context(), asker.Secret.Reveal())
	nobody, _, err := secret.New("dev", "000000nobody")
	w.must(err)
	live, ended := w.others("0000000live0", time.Time{}), w.others("000000ended0", time.Now().Add(-time.Hour))
	for name, token := range map[string]string{"nobody's": nobody.Reveal(), "live": live, "ended": ended} {
		got, err := c.Check(ctx, &cardeav1.CheckRequest{Token: token, Action: "http:GET", Resource: "/db/x"})
		w.must(err)
		if want := (&cardeav1.CheckResponse{Reason: "unknown_credential"}); !proto.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if r, err := c.WhoAmI(bearer(t.Context(), live), &cardeav1.WhoAmIRequest{}); status.Code(err) != codes.PermissionDenied && r.GetOrg() != "other" {
		t.Errorf("it is a good token, for them: %v, %v", r, err)
	}
}

// A question that cannot be understood names every field that is wrong, and repeats none.
func TestBadQuestions(t *testing.T) {
	w := newWorld(t)
	asker := w.service("asker", allow("grpc:call", "/cardea.v1.Gate/*"))
	c := w.client()
	ctx := bearer(t.Context(), asker.Secret.Reveal())
	foreign := newWorld(t)
	b, _ := foreign.key("pump-1")
	for _, q := range []struct {
		r    *cardeav1.CheckRequest
		want []string
	}{
		{&cardeav1.CheckRequest{}, []string{"token"}},
		{&cardeav1.CheckRequest{Token: "x", Resource: "/x"}, []string{"action"}},
		{&cardeav1.CheckRequest{Token: "x", Action: "http:*", Resource: "/", Ip: "010.0.0.1", Qos: 3}, []string{"ip", "qos", "action"}},
		{&cardeav1.CheckRequest{Token: "x", Action: "http:GET", Resource: "/db/..%2fadmin"}, []string{"resource"}}, // H05
		{&cardeav1.CheckRequest{CertificatePem: "x"}, []string{"certificate_pem"}},
		{&cardeav1.CheckRequest{CertificatePem: string(b.Certificate.Certificate)}, []string{"certificate_pem"}}, // of another installation
		{&cardeav1.CheckRequest{CertificatePem: string(w.auth.TrustAnchor())}, []string{"certificate_pem"}},      // not a client's
	} {
		_, err := c.Check(ctx, q.r)
		var got []string
		for _, d := range w.code(err, codes.InvalidArgument).Details() {
			for _, v := range d.(*errdetails.BadRequest).FieldViolations {
				got = append(got, v.Field)
			}
		}
		if !slices.Equal(got, q.want) {
			t.Errorf("%v: %v, want %v", q.r, got, q.want)
		}
	}
}

// G02: every registered method has a rule, and every rule is of a registered method.
func TestEveryMethodHasARule(t *testing.T) {
	w := newWorld(t)
	known := map[string]bool{}
	for service, info := range w.door.server.GetServiceInfo() {
		for _, m := range info.Methods {
			method := "/" + service + "/" + m.Name
			known[method] = true
			if rules[method] == 0 {
				t.Errorf("%s has no rule", method)
			}
		}
	}
	for method := range rules {
		if !known[method] {
			t.Errorf("%s is not registered", method)
		}
	}
}

// G02: each method is closed to those without a credential, health apart; what has no rule is closed to all.
func TestEveryMethodIsGuarded(t *testing.T) {
	w := newWorld(t)
	conn := w.dial()
	admin := w.service("admin-service", allow("grpc:call", "*"))
	methods := []string{"/cardea.v1.Gate/Nothing", "/grpc.channelz.v1.Channelz/GetServers", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "/x.Y/Z", "/a/b/c", "//"} // G06
	for m := range rules {
		if m != "/grpc.health.v1.Health/Watch" { // does not end by itself; see below
			methods = append(methods, m)
		}
	}
	for _, m := range methods {
		var out healthpb.HealthCheckResponse
		err := conn.Invoke(t.Context(), m, &healthpb.HealthCheckRequest{}, &out)
		switch {
		case strings.HasPrefix(m, "/grpc.health.v1.Health/") && rules[m] == open:
			if m == "/grpc.health.v1.Health/Check" && (err != nil || out.Status != healthpb.HealthCheckResponse_SERVING) {
				t.Errorf("%s: %v %v", m, &out, err)
			}
		default:
			w.code(err, codes.Unauthenticated)
		}
		if rules[m] == 0 {
			w.code(conn.Invoke(bearer(t.Context(), admin.Secret.Reveal()), m, &healthpb.HealthCheckRequest{}, &out), codes.Unimplemented)
		}
	}
	// the rule is asked before the method: what has none would be refused even if it were there
	known := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+admin.Secret.Reveal()))
	_, unruled := w.door.admit(known, "/cardea.v1.Gate/Forgotten")
	w.code(unruled, codes.Unimplemented)
	// a credential that is shown must be good, even where none is needed
	h := healthpb.NewHealthClient(conn)
	_, err := h.Check(bearer(t.Context(), "x"), &healthpb.HealthCheckRequest{})
	w.code(err, codes.Unauthenticated)
	watch, err := h.Watch(bearer(t.Context(), "x"), &healthpb.HealthCheckRequest{})
	w.must(err)
	_, err = watch.Recv()
	w.code(err, codes.Unauthenticated)
}

func TestHealthFollowsTheGate(t *testing.T) {
	w := newWorld(t)
	h := healthpb.NewHealthClient(w.dial())
	for _, service := range []string{"", "cardea.v1.Gate"} {
		r, err := h.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || r.Status != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v %v", service, r, err)
		}
	}
	watch, err := h.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	w.must(err)
	first, err := watch.Recv()
	if err != nil || first.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatal(first, err)
	}
	w.gate.Close()
	if r, err := h.Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil || r.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("%v %v", r, err)
	}
	if next, err := watch.Recv(); err != nil || next.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("%v %v", next, err)
	}
	st := w.code(second(w.client().WhoAmI(bearer(t.Context(), w.someToken()), &cardeav1.WhoAmIRequest{})), codes.Unavailable)
	if len(st.Details()) != 1 {
		t.Errorf("details: %v", st.Details())
	}
}

func (w *world) someToken() string {
	text, _, err := secret.New("dev", "000000000000")
	w.must(err)
	return text.Reveal()
}

func second[T any](_ T, err error) error { return err }

// G06: plain text is not answered, and neither is old TLS.
func TestOnlyTLS(t *testing.T) {
	w := newWorld(t)
	conn, err := grpc.NewClient(w.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	w.must(err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = cardeav1.NewGateClient(conn).WhoAmI(bearer(ctx, "x"), &cardeav1.WhoAmIRequest{})
	w.code(err, codes.Unavailable)
	for version, ok := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		c, err := tls.Dial("tcp", w.addr, &tls.Config{RootCAs: w.roots, MinVersion: version, MaxVersion: version, NextProtos: []string{"h2"}})
		if (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			c.Close()
		}
	}
}

// X07, X08: a revocation cuts the connection of a certificate, refuses the next handshake, and a resumed one too.
func TestRevokedCertificate(t *testing.T) {
	w := newWorld(t)
	b, cert := w.key("pump-1")
	tickets := tls.NewLRUClientSessionCache(4)
	config := &tls.Config{RootCAs: w.roots, Certificates: []tls.Certificate{cert}, ClientSessionCache: tickets, NextProtos: []string{"h2"}, ServerName: "localhost"}
	raw := w.handshake(config) // gets a ticket
	if again := w.handshake(config); !again.ConnectionState().DidResume {
		t.Fatal("nothing is resumed, so this test would show nothing")
	}
	client := w.client(cert)
	_, err := client.WhoAmI(t.Context(), &cardeav1.WhoAmIRequest{})
	w.must(err)
	if n := len(w.gate.Sessions(credential.SessionFilter{Org: "default", Principal: "pump-1"})); n != 3 {
		t.Errorf("%d connections under watch", n)
	}
	_, err = w.auth.Revoke(t.Context(), w.local, b.Certificate.Credential.ID, "")
	w.must(err)
	raw.SetReadDeadline(time.Now().Add(10 * time.Second))
	for buf := make([]byte, 1024); ; {
		if _, err := raw.Read(buf); err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Error("the connection is not cut")
			}
			break
		}
	}
	if _, err = client.WhoAmI(t.Context(), &cardeav1.WhoAmIRequest{}); err == nil {
		t.Error("accepted after the revocation")
	}
	if _, err := w.tryHandshake(config); err == nil {
		t.Error("a resumed session is accepted after the revocation")
	}
	config.ClientSessionCache = nil
	if _, err := w.tryHandshake(config); err == nil {
		t.Error("a new handshake is accepted after the revocation")
	}
	w.within("forgetting the connections", func() bool { return w.gate.Stats().Sessions == 0 })
}

// handshake makes a TLS connection and reads the server's first frame, with which a TLS 1.3 client knows that its certificate was taken.
func (w *world) handshake(c *tls.Config) *tls.Conn {
	w.Helper()
	conn, err := w.tryHandshake(c)
	w.must(err)
	return conn
}

func (w *world) tryHandshake(c *tls.Config) (*tls.Conn, error) {
	conn, err := tls.Dial("tcp", w.addr, c)
	if err != nil {
		return nil, err
	}
	w.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		return nil, err
	}
	_, err = conn.Read(make([]byte, 9))
	return conn, err
}

// A connection that the client ends is watched no more.
func TestEndedConnectionIsForgotten(t *testing.T) {
	w := newWorld(t)
	_, cert := w.key("pump-1")
	conn := w.handshake(&tls.Config{RootCAs: w.roots, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
	if n := w.gate.Stats().Sessions; n != 1 {
		t.Fatalf("%d under watch", n)
	}
	conn.Close()
	w.within("forgetting the connection", func() bool { return w.gate.Stats().Sessions == 0 })
}

// X09: a connection is cut when its certificate ends.
func TestExpiredCertificate(t *testing.T) {
	w := newWorld(t)
	b, cert := w.key("pump-1")
	conn := w.handshake(&tls.Config{RootCAs: w.roots, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
	w.clock.add(time.Until(b.Certificate.Credential.ExpiresAt) + 2*time.Second)
	for buf := make([]byte, 1024); ; {
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Read(buf); err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Error("the connection is not cut")
			}
			break
		}
	}
}

// A certificate of another authority is nobody's, whatever name is in it: it is not told from a wrong one of ours.
func TestForeignCertificate(t *testing.T) {
	w := newWorld(t)
	foreign := newWorld(t)
	_, cert := foreign.key("pump-1")
	w.key("pump-1")
	conn := w.dialTLS(&tls.Config{RootCAs: w.roots, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &cert, nil // although the server asks for others
	}})
	_, err := cardeav1.NewGateClient(conn).WhoAmI(t.Context(), &cardeav1.WhoAmIRequest{})
	w.code(err, codes.Unauthenticated)
	token := w.service("svc")
	_, err = cardeav1.NewGateClient(conn).WhoAmI(bearer(t.Context(), token.Secret.Reveal()), &cardeav1.WhoAmIRequest{})
	w.code(err, codes.Unauthenticated) // nor does it stand beside what is not bound to it
}

// A connection with a certificate from a network where it may not come from is refused.
func TestNetworkOfACertificate(t *testing.T) {
	w := newWorld(t)
	b, cert := w.key("pump-1")
	nets := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	_, err := w.auth.UpdateCredential(t.Context(), w.local, b.Certificate.Credential.ID, authority.CredentialPatch{Networks: &nets})
	w.must(err)
	_, err = w.client(cert).WhoAmI(t.Context(), &cardeav1.WhoAmIRequest{})
	w.code(err, codes.Unavailable)
}

// G03: streams of a caller that showed a credential are cut when it is revoked, whether they write or wait.
func TestRevocationCutsStreams(t *testing.T) {
	w := newWorld(t)
	watcher := w.service("watcher")
	conn := w.dial()
	ctx := bearer(t.Context(), watcher.Secret.Reveal())
	watch, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
	w.must(err)
	_, err = watch.Recv()
	w.must(err)
	reflection, err := reflectpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	w.must(err)
	w.must(reflection.Send(&reflectpb.ServerReflectionRequest{MessageRequest: &reflectpb.ServerReflectionRequest_ListServices{}}))
	list, err := reflection.Recv()
	if err != nil || len(list.GetListServicesResponse().GetService()) < 3 {
		t.Fatal(list, err)
	}
	sessions := w.gate.Sessions(credential.SessionFilter{Org: "default", Principal: "watcher", Door: "grpc"})
	if len(sessions) != 2 || sessions[0].Kind != "stream" {
		t.Errorf("sessions: %+v", sessions)
	}
	_, err = w.auth.Revoke(t.Context(), w.local, watcher.Credential.ID, "")
	w.must(err)
	_, err = watch.Recv()
	w.code(err, codes.Unauthenticated)
	_, err = reflection.Recv()
	w.code(err, codes.Unauthenticated)
	// somebody without a credential goes on: nothing of theirs was revoked
	open, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	w.must(err)
	_, err = open.Recv()
	w.must(err)
	w.within("forgetting the streams", func() bool { return w.gate.Stats().Sessions == 0 })
}

// G05: messages have a limit, also for what comes out of compression.
func TestBigMessages(t *testing.T) {
	w := newWorld(t)
	asker := w.service("asker", allow("grpc:call", "/cardea.v1.Gate/Check"))
	ctx := bearer(t.Context(), asker.Secret.Reveal())
	big := &cardeav1.CheckRequest{Token: strings.Repeat("a", 2<<20)}
	_, err := w.client().Check(ctx, big)
	w.code(err, codes.ResourceExhausted)
	big.Token = strings.Repeat("a", 64<<20)
	_, err = w.client().Check(ctx, big, grpc.UseCompressor(gzip.Name))
	w.code(err, codes.ResourceExhausted)
	small, err := w.client().Check(ctx, &cardeav1.CheckRequest{Token: strings.Repeat("a", 2000)}, grpc.UseCompressor(gzip.Name))
	if err != nil || small.Reason != "malformed_token" {
		t.Errorf("%v %v", small, err)
	}
	_, err = w.client().WhoAmI(metadata.AppendToOutgoingContext(ctx, "x-big", strings.Repeat("a", 64<<10)), &cardeav1.WhoAmIRequest{})
	if err == nil {
		t.Error("64 KiB of metadata are taken")
	}
}

// M22: a panic is one Internal without its text, and the process lives.
func TestPanic(t *testing.T) {
	w := newWorld(t)
	err := w.door.recovered("/x/Y", func() error { panic("cardea_secret") })
	if st := w.code(err, codes.Internal); st.Message() != "internal error" {
		t.Errorf("%v", st)
	}
	if log := w.logged.String(); strings.Contains(log, "cardea_secret") || !strings.Contains(log, "/x/Y") {
		t.Errorf("log: %s", log)
	}
}

// D17: at the end streams are told, and nothing hangs.
func TestShutdown(t *testing.T) {
	w := newWorld(t)
	watch, err := healthpb.NewHealthClient(w.dial()).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	w.must(err)
	_, err = watch.Recv()
	w.must(err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	w.must(w.door.Shutdown(ctx))
	for err == nil {
		_, err = watch.Recv()
	}
	w.code(err, codes.Unavailable)
}
