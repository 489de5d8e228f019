package authority

import (
	"fmt"
	"net/netip"
	"time"

	"cardea/internal/credential"
	"cardea/internal/policy"
	"cardea/internal/secret"
)

// Caller is who asks for an act. It is an argument of every method; none travels in a context.
type Caller struct {
	Org    string // never empty: the local administrator acts in an organisation too
	Rights policy.Rights
	Local  bool // the administrator's socket: may everything
	Actor  credential.Actor
	Token  string // jti of the access token that they have come with; "" for none
	// Exercised, if not nil, is told which scope has allowed something.
	Exercised func(scope string)

	own  bool // acts on credentials of their own; see me.go
	free bool // own, and nothing holds back the credential that they have come with
}

// NewPrincipal asks for a principal.
type NewPrincipal struct {
	Kind        credential.PrincipalKind
	Name        string
	Description string
	Roles       []string
	Attrs       map[string]string
	Idempotency string // Idempotency-Key; "" for none
}

// PrincipalPatch changes the fields that are not nil.
type PrincipalPatch struct {
	Description *string
	Roles       *[]string
	Attrs       *map[string]string
	Disabled    *bool
	Version     int64 // 0: whatever it is now
}

// NewCredential asks for a credential. It prints without its secrets.
type NewCredential struct {
	Kind        credential.Kind
	Principal   string // name or ID
	Name        string
	Description string
	Scopes      []string
	Networks    []netip.Prefix
	Tags        []string
	Project     string
	NotBefore   time.Time
	TTL         time.Duration // at most one of TTL and ExpiresAt; neither: the kind's default
	ExpiresAt   time.Time
	Never       bool   // without an end, where the policy allows it; then neither TTL nor ExpiresAt
	CSR         []byte // certificate: PEM; empty: Cardea makes the key pair
	Owner       string // name or ID of the user who answers for it; "": the caller, if that is a user
	Resources   []string
	Limits      credential.Limits
	Idempotency string
	// Unread is what could not be read of the request at all: it is told together with what is wrong with the rest. Names of fields are those of one request.
	Unread credential.Problems `json:"-"`

	// What follows is for app_key.
	AllowAdmin    bool // its user is an administrator, and that is meant
	Documentation string
	ClientName    string
	Home          string

	// What follows is for scram. At most one of Password and the three keys; without both Cardea makes a password.
	Username   string      // "": the principal's name
	Algorithm  string      // "": [credential.SHA256]
	Password   secret.Text `json:"-"`
	Iterations int         // 0: [credential.MinIterations]; with keys it must be what they were made with
	Salt       []byte      `json:"-"`
	StoredKey  []byte      `json:"-"` // as long as the algorithm's hash
	ServerKey  []byte      `json:"-"`

	Client *credential.ClientConfig // oauth_client, which needs one; without Auth it is [credential.SecretBasic]
}

// Format keeps password and keys out of every kind of print.
func (n NewCredential) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "new %s for %q", n.Kind, printable(n.Principal))
}

// Password wraps one that was sent, for [NewCredential] and [Rotation].
func Password(text string) secret.Text { return secret.NewText(text) }

// Issued is a new credential, or a new version of one, with what is shown once.
type Issued struct {
	Credential    credential.Credential
	PrincipalName string
	Secret        secret.Text // token, or the password that was made; empty for certificates, for clients that have none and for what the caller gave
	Certificate   []byte      // PEM: leaf, then the issuing certificate; nil for tokens
	PrivateKey    secret.Text // PEM, PKCS#8; empty with a CSR
	PreviousEnds  time.Time   // rotation: when the version before stops
	OwnerName     string      // "" for nobody
	Admin         bool        // app_key: its user is an administrator
	Warnings      []string
}

// Preview is what a request for a credential would make (L01).
type Preview struct {
	Credential    credential.Credential // without ID and versions; pending if somebody must approve it
	PrincipalName string
	OwnerName     string
	Policy        credential.KindPolicy // that it was held to
	Warnings      []string
}

// CredentialPatch changes the fields that are not nil.
type CredentialPatch struct {
	Name, Description, Project *string
	Scopes, Tags               *[]string
	Networks                   *[]netip.Prefix
	Owner                      *string // name or ID; "" for nobody
	Resources                  *[]string
	Limits                     *credential.Limits

	Documentation, ClientName, Home *string // app_key

	Client *credential.ClientConfig // oauth_client: as a whole. What proves the client is replaced at once, and its tokens end with it

	Version int64
}

// Rotation asks for a new version of a credential.
type Rotation struct {
	Overlap     time.Duration // how long the version before goes on; 0 means it stops now, which needs Force if it was used within the last day
	Force       bool
	CSR         []byte
	Idempotency string

	// What follows is for scram, as in [NewCredential]. A password gets salt and iterations of the version before. Keys that
	// have others are possible only without an overlap.
	Password   secret.Text `json:"-"`
	Iterations int         // with keys only
	Salt       []byte      `json:"-"`
	StoredKey  []byte      `json:"-"`
	ServerKey  []byte      `json:"-"`
}

// Format keeps password and keys out of every kind of print.
func (r Rotation) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "rotation with an overlap of %s", r.Overlap)
}

// NewKey asks for a device with its token and certificate, as `key gen` does.
type NewKey struct {
	ID          string        // name of the device
	Valid       time.Duration // 0: 1095 days
	Scopes      []string      // none: the built-in role device; otherwise the device gets the role that allows exactly these
	CSR         []byte
	Idempotency string
}

// Extended is a credential with a later end.
type Extended struct {
	Credential credential.Credential
	Warnings   []string
}

// Quarantined is a credential that was put into quarantine.
type Quarantined struct {
	Credential credential.Credential
	Warnings   []string
}

// Bundle is a device with what is shown once.
type Bundle struct {
	Principal   credential.Principal
	Token       Issued
	Certificate Issued
	Warnings    []string
}

// VersionUse is a version of a credential with its use (R06).
type VersionUse struct {
	credential.Proof
	Ends  time.Time // zero: never
	Usage credential.Usage
}

// Detailed is a credential with its principal and versions.
type Detailed struct {
	credential.Credential
	Principal credential.Principal
	Admin     bool         // app_key: its user is an administrator
	OwnerName string       // "" for nobody
	Versions  []VersionUse // newest first
}
