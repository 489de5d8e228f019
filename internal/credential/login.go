package credential

import (
	"context"
	"net/netip"
	"time"
)

// Sessions makes sessions of credentials that a door has had proven. It is implemented by package authority.
type Sessions interface {
	// BeginSession makes a session that dies with the version of the credential it was made with. NoRight for a kind
	// of credential that has no sessions; Conflict if the credential has as many as its policy allows.
	BeginSession(ctx context.Context, of SessionOf) (Began, error)
	// EndSession ends a session. It is no error if it has ended already.
	EndSession(ctx context.Context, org, id, reason string) error
}

// SessionOf says whose session is to be made, by whom it was asked for.
type SessionOf struct {
	Org        string
	Credential string // ID
	Proof      int    // [Proof.N]
	Token      string // jti of the access token that was shown in place of the credential; "" for none
	Source     netip.Addr
	Door       string
}

// Began is a session that was made.
type Began struct {
	ID        string // of the session's own credential
	Token     string // shown this once
	ExpiresAt time.Time
	Home      string // where the credential says that a session begins; "" for nowhere in particular
}
