package client

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/oauth2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// UnaryServerInterceptor lets calls through whose metadata bear an access token that the verifier accepts, as "authorization: Bearer TOKEN". Others
// end with Unauthenticated, PermissionDenied without the scopes, or Unavailable when it cannot be known. Tokens that are bound to a DPoP
// key are refused: there are no proofs over gRPC. The handler finds the claims by [TokenFrom].
func UnaryServerInterceptor(v *Verifier, options ...GuardOption) grpc.UnaryServerInterceptor {
	g := newGuard(v, options)
	return func(ctx context.Context, in any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		ctx, _, err := g.enter(ctx, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return next(ctx, in)
	}
}

// StreamServerInterceptor is [UnaryServerInterceptor] for streams. A stream ends with Unauthenticated when its token does: its context is done, and
// whoever sends or receives gets an error, even if nothing moves.
func StreamServerInterceptor(v *Verifier, options ...GuardOption) grpc.StreamServerInterceptor {
	g := newGuard(v, options)
	return func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		ctx, c, err := g.enter(s.Context(), info.FullMethod)
		if err != nil {
			return err
		}
		if c == nil || c.ExpiresAt.IsZero() {
			return next(srv, &endingStream{s, ctx, nil})
		}
		ended := status.Error(codes.Unauthenticated, "the token has expired")
		left := c.ExpiresAt.Add(v.c.Leeway).Sub(v.c.Now())
		ctx, cancel := context.WithTimeoutCause(ctx, left, ended)
		defer cancel()
		err = next(srv, &endingStream{s, ctx, ended})
		if err != nil && errors.Is(context.Cause(ctx), ended) {
			return ended // whatever a handler makes of it
		}
		return err
	}
}

// enter returns no claims for a method that is open.
func (g *guard) enter(ctx context.Context, method string) (context.Context, *Claims, error) {
	if g.open[method] {
		return ctx, nil, nil
	}
	p, err := calledWith(ctx)
	var c *Claims
	if err == nil {
		c, err = g.admit(ctx, p, method)
	}
	if err == nil {
		return withClaims(ctx, c), c, nil
	}
	g.onRefuse(ctx, err)
	return nil, nil, statusOf(err)
}

// calledWith takes the token of a call, and the certificate of its connection.
func calledWith(ctx context.Context) (Presented, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	fields := md.Get("authorization")
	if len(fields) != 1 {
		return Presented{}, &TokenError{Reason: "there is not exactly one authorization in the metadata"}
	}
	token, dpop, known := schemeOf(fields[0])
	if !known || dpop {
		return Presented{}, &TokenError{Reason: "there is no Bearer token in the metadata"}
	}
	p := Presented{Token: token}
	if from, ok := peer.FromContext(ctx); ok {
		if t, ok := from.AuthInfo.(credentials.TLSInfo); ok && len(t.State.PeerCertificates) > 0 {
			p.Peer = t.State.PeerCertificates[0]
		}
	}
	return p, nil
}

// statusOf tells the same for whatever is wrong with a token.
func statusOf(err error) error {
	e, ok := errors.AsType[*TokenError](err)
	switch {
	case !ok && errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "canceled")
	case !ok:
		return status.Error(codes.Unavailable, "tokens cannot be checked at the moment")
	case e.Code == insufficientScope:
		return status.Error(codes.PermissionDenied, "insufficient scope: "+spaced(e.Scopes))
	case e.Code == "":
		return status.Error(codes.Unauthenticated, "no token")
	}
	return status.Error(codes.Unauthenticated, "invalid token")
}

// endingStream fails when its token has ended, although the stream itself goes on until the handler has returned.
type endingStream struct {
	grpc.ServerStream
	ctx   context.Context //nolint:containedctx // a grpc.ServerStream has one
	ended error           // the cause by which ctx says so; nil: it never does
}

func (s *endingStream) Context() context.Context { return s.ctx }

func (s *endingStream) SendMsg(m any) error {
	return s.unlessEnded(func() error { return s.ServerStream.SendMsg(m) })
}

func (s *endingStream) RecvMsg(m any) error {
	return s.unlessEnded(func() error { return s.ServerStream.RecvMsg(m) })
}

// unlessEnded leaves a move that is stuck to itself: it ends when the handler returns, which it does upon the error.
func (s *endingStream) unlessEnded(move func() error) error {
	if s.ended == nil {
		return move()
	}
	done := make(chan error, 1)
	go func() { done <- move() }()
	select {
	case err := <-done:
		return err
	case <-s.ctx.Done():
	}
	if errors.Is(context.Cause(s.ctx), s.ended) {
		return s.ended
	}
	return <-done // the stream itself has ended, and knows best how
}

// PerRPCCredentials puts tokens of a source on the calls of a gRPC client. The connection must be TLS. A source whose tokens are bound to a DPoP key
// cannot be used: there are no proofs over gRPC.
func PerRPCCredentials(source oauth2.TokenSource) credentials.PerRPCCredentials {
	return callCredentials{source}
}

type callCredentials struct{ source oauth2.TokenSource }

// GetRequestMetadata is of [credentials.PerRPCCredentials].
func (c callCredentials) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	info, _ := credentials.RequestInfoFromContext(ctx)
	if err := credentials.CheckSecurityLevel(info.AuthInfo, credentials.PrivacyAndIntegrity); err != nil {
		return nil, fmt.Errorf("client: the token would go in the clear: %w", err)
	}
	t, err := tokenOf(ctx, c.source)
	if err != nil {
		return nil, err
	}
	if t.Type() != "Bearer" {
		return nil, fmt.Errorf("client: a token of type %s cannot be used over gRPC", t.Type())
	}
	return map[string]string{"authorization": "Bearer " + t.AccessToken}, nil
}

// RequireTransportSecurity is of [credentials.PerRPCCredentials].
func (c callCredentials) RequireTransportSecurity() bool { return true }
