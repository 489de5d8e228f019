package credential

import (
	"net/netip"
	"time"
)

// Kind says what sort of credential it is.
type Kind string

// The kinds of credentials that this version issues.
const (
	DeviceToken Kind = "device_token"
	Certificate Kind = "certificate"
	APIKey      Kind = "api_key"
	PAT         Kind = "pat"
	SCRAM       Kind = "scram"
)

// Kinds lists every kind that can be issued, in the order of the glossary.
func Kinds() []Kind { return []Kind{DeviceToken, Certificate, SCRAM, APIKey, PAT} }

// Valid reports whether k can be issued.
func (k Kind) Valid() bool {
	return k == DeviceToken || k == Certificate || k == APIKey || k == PAT || k == SCRAM
}

// For reports whether a credential of kind k may speak for a principal of kind p.
// Device tokens are for devices, personal access tokens for users, API keys for
// services; a certificate and a password for SCRAM may be anybody's.
func (k Kind) For(p PrincipalKind) bool {
	switch k {
	case DeviceToken:
		return p == Device
	case PAT:
		return p == User
	case APIKey:
		return p == Service
	case Certificate, SCRAM:
		return true
	}
	return false
}

// State is what has been done to a credential. That it has expired is not a
// state: it follows from the clock.
type State string

// The states of a credential. Quarantined can be released again. Revoked and
// deleted are final: no operation leads back (R10).
const (
	StateActive      State = "active"
	StateQuarantined State = "quarantined" // accepted, but may only what [ScopeQuarantine] allows
	StateRevoked     State = "revoked"
	StateDeleted     State = "deleted" // revoked, and no longer in lists
)

// Ended reports whether s is final. A state that this version does not know counts as one.
func (s State) Ended() bool { return s != StateActive && s != StateQuarantined }

// Credential is something that proves a principal.
type Credential struct {
	ID          string // 12 base62 characters, random; part of the token
	Org         string
	Kind        Kind
	Principal   string // ID of the principal
	Name        string
	Description string
	Scopes      []string       // names of scopes; none means all of the principal's
	Networks    []netip.Prefix // where it may come from; none means anywhere
	Tags        []string
	Project     string
	Username    string // scram: the name to log in with; unique in the organisation among those that have not ended
	Algorithm   string // scram: SHA256 or SHA512
	State       State
	NotBefore   time.Time // zero: from the start
	ExpiresAt   time.Time // zero: never
	CreatedAt   time.Time
	CreatedBy   string    // name of the principal that made it, or "local"
	EndedAt     time.Time // since when it is what State says: quarantined, revoked or deleted; zero while active
	EndReason   string    // why; may be empty
	Proofs      []Proof   // versions, the newest first; at least one
	Version     int64     // as in [Principal]
}

// Proof is one version of what a credential proves itself with. A rotation adds
// one and gives the older ones an end. It holds no secret in the clear: a token's proof is
// its hash, a certificate's its fingerprint, that of SCRAM is sealed.
type Proof struct {
	N         int       `json:"n"`                // 1 for the first, then counting up
	Hash      []byte    `json:"hash"`             // 32 bytes: token: SHA-256 of id and secret; certificate: SHA-256 of its DER form; scram: random
	Serial    string    `json:"serial,omitempty"` // certificate: serial number, lower-case hex
	Sealed    []byte    `json:"sealed,omitempty"` // scram: see [ScramSealedAs]
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: with the credential
}

// Ends returns the instant at which version p of c stops: the earlier of the
// two ends. Zero means never.
func (c *Credential) Ends(p *Proof) time.Time {
	if p.ExpiresAt.IsZero() || !c.ExpiresAt.IsZero() && c.ExpiresAt.Before(p.ExpiresAt) {
		return c.ExpiresAt
	}
	return p.ExpiresAt
}

// Usage is what is known about the use of one version of a credential.
type Usage struct {
	Credential string
	Proof      int // [Proof.N]
	Count      int64
	FirstAt    time.Time
	LastAt     time.Time
	LastSource netip.Addr
}

// Refusals counts refused requests of one cause since the last flush. The
// gate aggregates them, so that a flood makes few rows.
type Refusals struct {
	Credential string // ID as presented; "" if none could be read
	Reason     Reason
	Door       string
	Source     netip.Addr
	Count      int64
	FirstAt    time.Time
	LastAt     time.Time
}
