package gate

import (
	"context"
	"crypto/x509"
	"net/netip"
	"time"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// Evidence is what a caller presents. It is passed by pointer and never kept.
type Evidence struct {
	Token       string            // the text of a token; "" for none
	Certificate *x509.Certificate // leaf whose chain TLS has verified; nil for none
	Source      netip.Addr        // the client's address, behind trusted proxies
	Door        string            // "http", "grpc", "mqtt", "api"
}

// Outcome is why an authentication went as it did.
type Outcome struct {
	Reason     credential.Reason
	RetryAfter time.Duration // with TooManyAttempts and Unavailable
}

// Identity is the answer to "who". It is immutable and shared; never write to it.
type Identity struct {
	Org           string
	Principal     string // name
	PrincipalID   string
	PrincipalKind credential.PrincipalKind
	Attrs         map[string]string
	Credential    string // ID
	Kind          credential.Kind
	Proof         int       // version
	Scopes        []string  // effective scope names: the credential's own, or those of the principal's roles
	Deadline      time.Time // when this version ends; zero for never
	// … unexported parts
	entry *entry // what the gate keeps of it
}

type entry struct{}

// Gate decides. See the package comment.
type Gate struct{}

// Authenticate answers "who is this". On a hit it does not allocate. The identity is nil unless the reason is OK.
func (g *Gate) Authenticate(ctx context.Context, ev *Evidence) (*Identity, Outcome) { panic("not yet") }

// Authorize answers "may it". It does not allocate.
func (g *Gate) Authorize(id *Identity, a *policy.Access) policy.Decision { panic("not yet") }

// Rights returns the compiled rights of an identity as of now, for the authority.
func (g *Gate) Rights(id *Identity) policy.Rights { panic("not yet") }

// CheckCertificate is for VerifyConnection of a TLS door, on resumption too: it
// answers whether the leaf is a certificate that Authenticate would accept (X08), without networks.
func (g *Gate) CheckCertificate(ctx context.Context, leaf *x509.Certificate) credential.Reason {
	panic("not yet")
}

// Assertion returns the signed identity header: a JWT of 60 s, made once per
// identity and revision and kept for half its life.
func (g *Gate) Assertion(id *Identity) (string, error) { panic("not yet") }

// JWKS returns the public keys that assertions are signed with, as a JWK set.
func (g *Gate) JWKS() []byte { panic("not yet") }

// Routes returns the gateway's routes as of now, static and stored, the longest prefix first. Do not write to it.
func (g *Gate) Routes() []credential.Route { panic("not yet") }

// Live describes a live thing that wants to be watched.
type Live struct {
	Door   string
	Kind   string // "connection", "upgrade", "stream", "request"
	Source netip.Addr
	About  string
	// Access, if not nil, is asked again whenever rights change; a session that may no longer do it is cut.
	Access *policy.Access
	// Cut ends it. It is called at most once, from the gate's goroutines, and must return
	// at once, whatever the peer does (set deadlines, close; never write and wait).
	Cut func(credential.Reason)
	// Changed, if not nil, is told of the new identity when rights change and it may go on.
	Changed func(*Identity)
}

// Watched is a session under watch.
type Watched struct{}

// Watch registers a live thing first and checks its identity again after, so
// that no revocation falls between (invariant 4). If the reason is not OK
// nothing is registered and Cut is not called.
func (g *Gate) Watch(ctx context.Context, id *Identity, l Live) (*Watched, credential.Reason) {
	panic("not yet")
}

// Close ends the watch. Idempotent. After it has returned Cut is not called any more, unless it is running.
func (w *Watched) Close() { panic("not yet") }

// Ready reports whether the gate may decide: the store was seen within the staleness bound.
func (g *Gate) Ready() bool { panic("not yet") }

// Verdict is the answer to a verify or explain request of the API.
type Verdict struct {
	Allowed  bool
	Reason   credential.Reason
	Identity *Identity // nil unless the token is somebody's, even if it is not accepted
	Expires  time.Time
	Looks    []policy.Look // explain only
}

// Verify answers for a token that somebody else was shown. It counts as no use and as no wrong attempt.
// The access may be nil: then only "who" is answered. With explain every rule is listed.
func (g *Gate) Verify(ctx context.Context, ev *Evidence, a *policy.Access, explain bool) Verdict {
	panic("not yet")
}
