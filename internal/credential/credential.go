package credential

import (
	"fmt"
	"net/netip"
	"slices"
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
	AppKey      Kind = "app_key"
	OAuthClient Kind = "oauth_client"
	Password    Kind = "password" // a user's own; not made by lists of credentials, but set
	SessionKey  Kind = "session"  // derived from a password or an application key; it dies with that
)

// Kinds lists every kind that can be asked for, in the order of the glossary.
func Kinds() []Kind { return []Kind{DeviceToken, Certificate, SCRAM, APIKey, PAT, AppKey, OAuthClient} }

// Valid reports whether k can be asked for.
func (k Kind) Valid() bool { return slices.Contains(Kinds(), k) }

// For reports whether a credential of kind k may speak for a principal of kind p.
// Device tokens are for devices, personal access tokens, application keys and passwords for users, API keys for
// services, OAuth clients are services or devices; a certificate and a password for SCRAM may be anybody's.
func (k Kind) For(p PrincipalKind) bool {
	switch k {
	case DeviceToken:
		return p == Device
	case PAT, AppKey, Password:
		return p == User
	case APIKey:
		return p == Service
	case OAuthClient:
		return p == Service || p == Device
	case Certificate, SCRAM, SessionKey:
		return true
	}
	return false
}

// State is what has been done to a credential. That it has expired is not a
// state: it follows from the clock.
type State string

// The states of a credential. Quarantined can be released again, pending is approved or revoked. Revoked and
// deleted are final: no operation leads back (R10).
const (
	StatePending     State = "pending" // made, but not accepted before somebody approves it
	StateActive      State = "active"
	StateQuarantined State = "quarantined" // accepted, but may only what [ScopeQuarantine] allows
	StateRevoked     State = "revoked"
	StateDeleted     State = "deleted" // revoked, and no longer in lists
)

// Ended reports whether s is final. A state that this version does not know counts as one.
func (s State) Ended() bool { return s != StateActive && s != StateQuarantined && s != StatePending }

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
	Project     string   // may be the name of a [Project], which bounds it then
	Owner       string   // ID of the user who answers for it; "" for nobody
	Resources   []string // what it is held to, as package policy reads them: "http:/db/**"; none means all that the rules allow
	Limits      Limits
	Parent      string // session: ID of the credential that it was made with and dies with
	ParentProof int    // session: the version of that
	Username    string // scram: the name to log in with; app_key: Name as it is compared. Unique for the kind in the organisation among those that have not ended
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

	Client *ClientConfig // oauth_client; nil for all others

	// What follows is for app_key, and described in docs/application-keys.md.
	Documentation string
	ClientName    string // free text
	Home          string // path on this server that a session begins at
	Avatar        string // SHA-256 in hex of the picture; "" for none
}

// Limits bound how much a credential is used. Zero is no bound.
type Limits struct {
	PerSecond int   `json:"per_second,omitempty"` // requests
	Burst     int   `json:"burst,omitempty"`      // requests that may come at once; 0: PerSecond
	PerMonth  int64 `json:"per_month,omitempty"`  // requests in a calendar month (UTC)
}

// Proof is one version of what a credential proves itself with. A rotation adds
// one and gives the older ones an end. It holds no secret in the clear: a token's proof is
// its hash, a certificate's its fingerprint, that of SCRAM and of passwords is sealed.
type Proof struct {
	N         int       `json:"n"`                // 1 for the first, then counting up
	Hash      []byte    `json:"hash"`             // 32 bytes: token: SHA-256 of id and secret; certificate: SHA-256 of its DER form; scram, password, OAuth clients without a secret: random
	Scheme    string    `json:"scheme,omitempty"` // imported token: how it was hashed elsewhere; see package secret, as for Hash and Lookup then
	Format    string    `json:"format,omitempty"` // imported token: name of its [TokenFormat]
	Lookup    []byte    `json:"lookup,omitempty"` // imported token: 32 bytes that it is found by; unique
	Serial    string    `json:"serial,omitempty"` // certificate: serial number, lower-case hex
	Sealed    []byte    `json:"sealed,omitempty"` // scram: see [ScramSealedAs]; app_key, password and slowly hashed imported tokens: [ProofSealedAs]
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

// ProofSealedAs names the record that [Proof.Sealed] is bound to: of an application key the token itself, of a
// password and of an imported token the PHC text of its slow hash.
func ProofSealedAs(id string, proof int) string { return fmt.Sprintf("proof/%s/%d", id, proof) }

// Usage is what is known about the use of one version of a credential.
type Usage struct {
	Credential string
	Proof      int // [Proof.N]
	Count      int64
	FirstAt    time.Time
	LastAt     time.Time
	LastSource netip.Addr
}

// UsageSlice counts the uses of a credential on one day by where they came from or went to.
type UsageSlice struct {
	Credential string
	Day        time.Time // midnight, UTC
	By         string    // "address" or "route"
	Value      string    // "" for the rest: what is beyond the values that are kept
	Count      int64
}

// Exercise is when a scope last let a credential do something.
type Exercise struct {
	Credential string
	Scope      string
	LastAt     time.Time
}

// Sighting is a client id or a network that a credential was used from.
type Sighting struct {
	Credential string
	By         string // "client" or "network"
	Value      string
	FirstAt    time.Time
	LastAt     time.Time
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
