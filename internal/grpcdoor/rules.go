package grpcdoor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/intake"
	"cardea/internal/policy"
)

// rule says who may call a method.
type rule uint8

const (
	open          rule = iota + 1 // anybody, over TLS; a credential that is shown must still be good
	authenticated                 // anybody whose credential is good
	permitted                     // whoever may grpc:call the method's path
)

// rules is the table (G02). What is not in it is refused to everybody.
var rules = map[string]rule{
	"/cardea.v1.Gate/Check":                                     permitted,
	"/cardea.v1.Gate/WhoAmI":                                    authenticated,
	"/grpc.health.v1.Health/Check":                              open,
	"/grpc.health.v1.Health/Watch":                              open,
	"/grpc.health.v1.Health/List":                               authenticated,
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": authenticated,
}

var (
	errInternal  = status.Error(codes.Internal, "internal error")
	errUnknown   = status.Error(codes.Unimplemented, "unknown method")
	errAmbiguous = status.Error(codes.InvalidArgument, "more than one authorization: send one")
)

// unknown answers what no service serves; it runs only after the stream interceptor let the caller in.
func unknown(any, grpc.ServerStream) error { return errUnknown }

// caller is who calls, as the door sees it.
type caller struct {
	id     *gate.Identity // nil: nobody in particular
	source netip.Addr
}

type callerKey struct{}

// admit is the one place where a call is let in or refused.
func (d *Door) admit(ctx context.Context, method string) (caller, error) {
	ev, err := evidence(ctx)
	if err != nil {
		return caller{}, err
	}
	c := caller{source: ev.Source}
	rule := rules[method]
	if rule == open && ev.Token == "" && ev.Certificate == nil && ev.Presented == nil {
		return c, nil
	}
	id, out := d.authenticate(ctx, &ev)
	if !accepted(out.Reason) {
		return c, refusal(out.Reason, out.RetryAfter)
	}
	c.id = id
	switch rule {
	case open, authenticated:
		return c, nil
	case permitted:
		dec := d.gate.Authorize(id, access(method, ev.Source))
		return c, refusal(dec.Reason, 0)
	}
	return c, errUnknown
}

// chain is the listener of this door, if somebody has made authenticators for it. Without any, tokens and certificates are looked at as everywhere.
const chain = credential.ListenerGRPC

// authenticate asks who it is: the chain or, where there is none, the gate.
func (d *Door) authenticate(ctx context.Context, ev *gate.Evidence) (*gate.Identity, gate.Outcome) {
	if !d.gate.HasChain(chain) {
		return d.gate.Authenticate(ctx, ev)
	}
	in := &gate.Entrance{Listener: chain, Evidence: *ev, Login: credential.Login{Protocol: "gRPC", Listener: "grpc:" + chain}}
	if p, ok := peer.FromContext(ctx); ok {
		in.Login.Peer, in.Login.Local = addrPort(p.Addr), addrPort(p.LocalAddr)
	}
	return d.gate.Enter(ctx, in)
}

func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(intake.AddrOf(a), uint16(t.Port)) //nolint:gosec // a port
}

func access(method string, source netip.Addr) *policy.Access {
	return &policy.Access{Proto: policy.GRPC, Verb: "call", Resource: method, Source: source}
}

// evidence reads what the caller shows: the client certificate of the
// connection and the bearer token of the call. No other metadata says who it is (G04). There is no DPoP here: RFC 9449 binds proofs to requests of HTTP,
// and a token that is bound to such a key is refused.
func evidence(ctx context.Context) (gate.Evidence, error) {
	ev := gate.Evidence{Door: "grpc", Route: "grpc"}
	if p, ok := peer.FromContext(ctx); ok {
		ev.Source = intake.AddrOf(p.Addr)
		if known, ok := p.AuthInfo.(authInfo); ok {
			ev.Certificate, ev.Presented = known.verified, known.presented
		}
	}
	md, _ := metadata.FromIncomingContext(ctx)
	values := md["authorization"]
	switch {
	case len(values) > 1:
		return ev, errAmbiguous
	case len(values) == 1:
		scheme, token, _ := strings.Cut(values[0], " ")
		if !strings.EqualFold(scheme, "bearer") || token == "" {
			return ev, refusal(credential.MalformedToken, 0)
		}
		ev.Token = token
	}
	return ev, nil
}

// refusal is the door's table from reason to answer: the same for every cause of a class (E02).
func refusal(r credential.Reason, after time.Duration) error {
	switch r.Class() {
	case credential.Accepted:
		return nil
	case credential.InvalidRequest:
		return errAmbiguous
	case credential.Forbidden:
		return status.Error(codes.PermissionDenied, "insufficient scope")
	case credential.SlowDown:
		return retry(codes.ResourceExhausted, slowDown(r), after)
	case credential.CannotKnow:
		return retry(codes.Unavailable, "the gate cannot decide now, try again", after)
	default:
		return status.Error(codes.Unauthenticated, "invalid token")
	}
}

// slowDown says what there is too much of. The limits of a credential are told to whoever has proved to hold it alone.
func slowDown(r credential.Reason) string {
	switch r {
	case credential.RateLimited:
		return "more requests a second than the credential may"
	case credential.QuotaSpent:
		return "the requests that the credential may this month are spent"
	}
	return "too many attempts"
}

func retry(code codes.Code, text string, after time.Duration) error {
	st, err := status.New(code, text).WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(max(after, time.Second))})
	if err != nil {
		return status.Error(code, text)
	}
	return st.Err()
}

func (d *Door) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
	c, err := d.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	err = d.recovered(info.FullMethod, func() (err error) {
		resp, err = handle(context.WithValue(ctx, callerKey{}, c), req)
		return err
	})
	return resp, err
}

// stream watches the stream of a known caller. The handler runs beside, because
// one that waits for a message can only be left, not woken: when the
// interceptor returns, the stream ends and the wait with it.
func (d *Door) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	c, err := d.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	cut := make(chan credential.Reason, 1)
	if c.id != nil {
		w, reason := d.gate.Watch(ss.Context(), c.id, d.live(c, info.FullMethod, cut))
		if !accepted(reason) {
			return refusal(reason, 0)
		}
		defer w.Close()
	}
	done := make(chan error, 1)
	go func() { done <- d.recovered(info.FullMethod, func() error { return handle(srv, ss) }) }()
	select {
	case err := <-done:
		return err
	case reason := <-cut:
		return refusal(reason, 0)
	case <-d.draining:
		return refusal(credential.Draining, 0)
	}
}

func (d *Door) live(c caller, method string, cut chan<- credential.Reason) gate.Live {
	l := gate.Live{Door: "grpc", Kind: "stream", Source: c.source, About: method, Cut: func(r credential.Reason) { cut <- r }}
	if rules[method] == permitted {
		l.Access = access(method, c.source)
	}
	return l
}

func (d *Door) logPanic(method string, p any) {
	d.log.Error("panic in a gRPC call", "method", method, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
}
