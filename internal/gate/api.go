package gate

import (
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
	Presented   *x509.Certificate // leaf whose key TLS has seen proven, and whose chain leads nowhere: it proves nobody, but access tokens may be bound to it
	DPoP        *DPoP             // proof that came with the token; nil for none
	HeldLeaf    *x509.Certificate // leaf whose key was proven by whoever asks, for something else than this evidence: a token may be bound to it. nil for none
	Held        string            // thumbprint of a key whose possession was proven for this request already ([Gate.Possession]); "" for none
	Source      netip.Addr        // the client's address, behind trusted proxies
	Door        string            // "http", "grpc", "mqtt", "api"
	Route       string            // what it is asked for, to count uses by: one of few texts, never a part of what was sent. "" is counted with the rest
	Client      string            // client id of MQTT that the client has chosen; "" for none
	// Unmetered says that it is no request: a connection, say, whose requests come to the gate one by one. It counts as a use, but is not
	// charged against limits.
	Unmetered bool
}

// Outcome is why an authentication went as it did.
type Outcome struct {
	Reason     credential.Reason
	RetryAfter time.Duration // with TooManyAttempts, RateLimited, QuotaSpent and Unavailable
	Allowance  *Allowance    // of a credential with limits whose request was charged, or refused for these; nil for all others
}

// Identity is the answer to "who". It is immutable and shared; never write to it.
type Identity struct {
	entry    *entry    // what it was made from
	compiled *compiled // the rights when it was made
	with     *entry    // the certificate that was shown beside a token; nil for none

	Org           string
	policy.Holder // the principal's name and attributes
	PrincipalID   string
	PrincipalKind credential.PrincipalKind
	Credential    string // ID
	Kind          credential.Kind
	Proof         int       // version
	Scopes        []string  // effective scope names: the credential's own, or those of the principal's roles; "quarantine" alone in quarantine
	Deadline      time.Time // when this version ends; zero for never
}

// Live describes a live thing that wants to be watched.
type Live struct {
	Door   string
	Kind   string // "connection", "upgrade", "stream", "request"
	Source netip.Addr
	About  string
	// Access, if not nil, is asked again whenever rights or the principal's attributes change; a session that may no longer do it is cut.
	Access *policy.Access
	// Cut ends it. It is called at most once, from the gate's goroutines, and must return
	// at once, whatever the peer does (set deadlines, close; never write and wait).
	Cut func(credential.Reason)
	// Traffic, if not nil, tells what has passed; it is asked when sessions are listed.
	Traffic func() credential.Traffic
	// Changed, if not nil, is told of the new identity when rights, attributes or the deadline change and
	// it may go on. The rights may be the same ones: what their templates expand to is another matter.
	// It must return at once, like Cut.
	Changed func(*Identity)
}

// Verdict is the answer to a verify or explain request of the API.
type Verdict struct {
	Allowed  bool
	Reason   credential.Reason
	Identity *Identity // nil unless the token is somebody's, even if it is not accepted
	Expires  time.Time
	Scope    string        // of the rule that allows the access; "" for none
	Looks    []policy.Look // explain only
}
