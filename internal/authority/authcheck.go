package authority

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"unicode/utf8"

	"cardea/internal/audit"
	"cardea/internal/credential"
	"cardea/internal/variform"
)

const (
	maxPrecondition = 4 << 10  // bytes
	maxBackend      = 64 << 10 // bytes of a backend as JSON: every node has all of them at hand
)

// checkAuthenticator names all that is wrong with n, and returns its backend with what was left out filled in and the
// secrets of old, which it replaces, where it says [Mask].
func (a *Authority) checkAuthenticator(ctx context.Context, n *NewAuthenticator, old *credential.Backend, b *book) (*credential.Backend, error) {
	var p credential.Problems
	if !n.Type.Valid() {
		p.Add("type", "must be token, certificate, scram, password, jwt, scram_rest or http")
	}
	if err := a.checkListener(ctx, &p, n); err != nil {
		return nil, err
	}
	checkPrecondition(&p, n.Precondition)
	checkPolicyNames(&p, "scopes", n.Scopes, maxScopes, b.hasScope)
	backend := n.Backend
	switch {
	case n.Type == credential.ByJWT:
		n.Issuer = b.trusted(&p, n)
	case n.Issuer != nil:
		p.Add("issuer", "is for authenticators of type jwt only")
	}
	switch {
	case n.Type.Remote():
		backend = a.checkBackend(&p, n.Type, backend, old)
	case n.Type.Valid():
		checkLocal(&p, n)
	}
	return backend, p.Err()
}

// checkListener: a name, which some node's listener may have, or the prefix of a route that there is.
func (a *Authority) checkListener(ctx context.Context, p *credential.Problems, n *NewAuthenticator) error {
	if !strings.HasPrefix(n.Listener, "/") {
		if why := credential.CheckName(n.Listener); why != "" {
			p.Add("listener", "%s: it is the name of an MQTT listener, the prefix of an HTTP route, or grpc", why)
		} else if audit.LooksSecret(n.Listener) {
			p.Add("listener", "looks like a token")
		}
		if n.Listener == credential.ListenerGRPC && isScram(n.Type) {
			p.Add("type", "is not possible for gRPC, where there is no SCRAM: only token, certificate, password, jwt and http are")
		}
		return nil
	}
	if isScram(n.Type) {
		p.Add("type", "is not possible for an HTTP route, where there is no SCRAM: only token, certificate, password, jwt and http are")
	}
	routes, err := a.allRoutes(ctx)
	if err != nil {
		return err
	}
	for _, r := range routes {
		if r.Prefix == n.Listener {
			return nil
		}
	}
	p.Add("listener", "is not the prefix of a route: %s", quote(n.Listener))
	return nil
}

func isScram(t credential.AuthenticatorType) bool {
	return t == credential.ByScram || t == credential.ByScramREST
}

func checkPrecondition(p *credential.Problems, src string) {
	switch {
	case src == "":
		return
	case len(src) > maxPrecondition:
		p.Add("precondition", "is longer than %d bytes", maxPrecondition)
	case !utf8.ValidString(src) || strings.IndexByte(src, 0) >= 0:
		p.Add("precondition", "must be UTF-8 without NUL")
	case audit.LooksSecret(src):
		p.Add("precondition", "contains a token: no secret belongs here")
	default:
		if _, err := variform.Compile(src); err != nil {
			p.Add("precondition", "does not compile: %s", printable(err.Error()))
		}
	}
}

// checkBackend works on a copy, which it returns.
func (a *Authority) checkBackend(p *credential.Problems, t credential.AuthenticatorType, b, old *credential.Backend) *credential.Backend {
	switch {
	case a.sources == nil:
		p.Add("type", "is not possible here: this server asks no REST services")
		return b
	case b == nil:
		p.Add("url", "is empty: an authenticator of type %s asks a REST service", t)
		return b
	}
	b = copied(b)
	had := len(*p)
	unmask(p, b, old)
	if len(*p) > had { // what was not restored is no value to look at
		return b
	}
	a.sources.Check(t, b, p)
	if text, err := json.Marshal(b); err == nil && len(text) > maxBackend {
		p.Add("body", "makes the configuration longer than %d bytes", maxBackend)
	}
	return b
}

// checkLocal refuses what only an authenticator that asks a REST service can have.
func checkLocal(p *credential.Problems, n *NewAuthenticator) {
	const why = "is not for authenticators of type %s, which ask no REST service"
	if n.Backend != nil {
		b := *n.Backend
		if b.SSL == (credential.BackendTLS{Verify: true}) { // which is what it is when nothing is said
			b.SSL = credential.BackendTLS{}
		}
		v := reflect.ValueOf(b)
		for i := range v.NumField() {
			if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); !v.Field(i).IsZero() {
				p.Add(name, why, n.Type)
			}
		}
		n.Backend = nil
	}
	if len(n.Scopes) > 0 && n.Type != credential.ByJWT {
		p.Add("scopes", why, n.Type)
	}
	if n.AllowSuperuser {
		p.Add("allow_superuser", why, n.Type)
	}
	if n.DenyOnFailure {
		p.Add("on_backend_failure", why, n.Type)
	}
}

// mayTrust refuses unless c may itself all that a REST service can give away: the scopes, and over MQTT any topic, because
// an answer may come with rules of its own or make a superuser (J26, S17).
func mayTrust(c Caller, b *book, n *NewAuthenticator) error {
	switch {
	case n.Type == credential.ByJWT:
		return mayTrustIssuer(c, b, n)
	case !n.Type.Remote():
		return nil
	}
	if err := mayGrant(c, "the authenticator", granted(nil, b.ofScopes(n.Scopes))); err != nil {
		return err
	}
	if strings.HasPrefix(n.Listener, "/") && !n.AllowSuperuser {
		return nil
	}
	return mayGrant(c, "what the authenticator's service answers", []credential.Rule{everythingOf(n.Listener)})
}
