package client

import (
	"context"
	"strings"
)

// GuardOption says what [Middleware] and the interceptors demand beyond a good token.
type GuardOption func(*guard)

// guard is what stands in front of a handler.
type guard struct {
	v        *Verifier
	realm    string
	scopes   []string
	byMethod map[string][]string
	open     map[string]bool
	onRefuse func(context.Context, error)
}

// RequireScope demands all of these scopes; without them the answer is 403, or PermissionDenied.
func RequireScope(scopes ...string) GuardOption {
	return func(g *guard) { g.scopes = append(g.scopes, scopes...) }
}

// RequireScopeFor demands more scopes for one method of gRPC, as "/package.Service/Method".
func RequireScopeFor(method string, scopes ...string) GuardOption {
	return func(g *guard) { g.byMethod[method] = append(g.byMethod[method], scopes...) }
}

// Open lets methods of gRPC be called without a token, as "/grpc.health.v1.Health/Check".
func Open(methods ...string) GuardOption {
	return func(g *guard) {
		for _, m := range methods {
			g.open[m] = true
		}
	}
}

// Realm is what WWW-Authenticate names; without it the issuer.
func Realm(name string) GuardOption { return func(g *guard) { g.realm = name } }

// OnRefused is told why somebody was refused, for a log: the caller is told less. The error holds no token.
func OnRefused(f func(context.Context, error)) GuardOption {
	return func(g *guard) { g.onRefuse = f }
}

func newGuard(v *Verifier, options []GuardOption) *guard {
	g := &guard{v: v, realm: v.c.Issuer, byMethod: map[string][]string{}, open: map[string]bool{}, onRefuse: func(context.Context, error) {}}
	for _, o := range options {
		o(g)
	}
	g.realm = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '_'
		}
		return r
	}, g.realm)
	return g
}

// admit verifies what was presented and holds it to the scopes that are demanded.
func (g *guard) admit(ctx context.Context, p Presented, method string) (*Claims, error) {
	c, err := g.v.Verify(ctx, p)
	if err != nil {
		return nil, err
	}
	for _, wanted := range [][]string{g.scopes, g.byMethod[method]} {
		if !c.HasScope(wanted...) {
			return nil, &TokenError{
				Code: insufficientScope, Reason: "it has not all of the scopes " + spaced(wanted), Scopes: wanted, proof: p.DPoP,
			}
		}
	}
	return c, nil
}

type claimsKey struct{}

// TokenFrom returns the claims of the token that a handler behind [Middleware] or an interceptor was called with.
func TokenFrom(ctx context.Context) (*Claims, bool) {
	c, ok := ctx.Value(claimsKey{}).(*Claims)
	return c, ok
}

func withClaims(ctx context.Context, c *Claims) context.Context {
	return context.WithValue(ctx, claimsKey{}, c)
}

// schemeOf splits credentials of an Authorization field. A scheme that is neither Bearer nor DPoP is not looked at further.
func schemeOf(field string) (token string, dpop, known bool) {
	scheme, rest, _ := strings.Cut(field, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return strings.TrimLeft(rest, " "), false, true
	case strings.EqualFold(scheme, "DPoP"):
		return strings.TrimLeft(rest, " "), true, true
	}
	return "", false, false
}
