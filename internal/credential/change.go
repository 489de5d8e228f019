package credential

import "time"

// Change is what [Writer.Commit] applies: operations in order, and one event for each thing changed.
type Change struct {
	Ops    []Op
	Events []Event
}

// Op is one operation of a [Change]: one of the types below.
type Op interface{ op() }

// The operations. "Version" fields of updates are compared and swapped: the
// row must still have that version, and gets the next. Scopes and roles that an operation
// names must exist, after the operations before it, in the organisation of what names them; Conflict if one does not.
type (
	// CreatePrincipal inserts a principal. Exists if the name is taken.
	CreatePrincipal struct{ Principal }
	// UpdatePrincipal writes description, roles, attributes and Disabled.
	UpdatePrincipal struct{ Principal }
	// DeletePrincipal ends a principal and, in the same transaction, marks all its credentials deleted.
	// Conflict if one of them is not among Credentials: its author does not know of it, and left no event for it.
	DeletePrincipal struct {
		ID          string
		Version     int64
		At          time.Time
		Reason      string
		Credentials []string // IDs of all that are not deleted; others may be among them
	}

	// CreateCredential inserts a credential; its principal must live. Conflict if it does not.
	CreateCredential struct{ Credential }
	// UpdateCredential writes the descriptive fields, scopes and networks, never proofs or state (K10).
	UpdateCredential struct{ Credential }
	// SetProofs replaces the versions of a credential that has not ended and sets its ExpiresAt. At least one proof.
	SetProofs struct {
		ID        string
		Version   int64
		Proofs    []Proof
		ExpiresAt time.Time
	}
	// SetQuarantine puts an active credential into quarantine, or with On false makes a quarantined one active again.
	SetQuarantine struct {
		ID      string
		Version int64
		On      bool
		At      time.Time // On: since when
		Reason  string    // On: why
	}
	// EndCredential revokes or deletes. Allowed from active and quarantined, and from revoked to deleted; otherwise Conflict.
	EndCredential struct {
		ID     string
		State  State
		At     time.Time
		Reason string
	}

	// PutScope inserts if Version is 0, else updates.
	PutScope struct{ Scope }
	// DeleteScope removes a scope. Conflict if a role or a credential that is not ended names it.
	DeleteScope struct {
		Org, Name string
		Version   int64
	}
	// PutRole inserts if Version is 0, else updates.
	PutRole struct{ Role }
	// DeleteRole removes a role. Conflict if a living principal has it.
	DeleteRole struct {
		Org, Name string
		Version   int64
	}
	// PutRoute inserts if Version is 0, else updates.
	PutRoute struct{ Route }
	// DeleteRoute removes a route.
	DeleteRoute struct {
		Prefix  string
		Version int64
	}

	// PutAuthenticator inserts if Version is 0, else updates all but type, organisation, listener and creation.
	PutAuthenticator struct{ Authenticator }
	// DeleteAuthenticator removes an authenticator.
	DeleteAuthenticator struct {
		ID      string
		Version int64
	}

	// PutKey inserts or replaces a key by ID.
	PutKey struct{ Key }
	// PutSetting inserts or replaces a setting; one with an empty value is removed.
	PutSetting struct{ Name, Value string }
	// ReserveSerial notes a certificate serial number before anything is signed (X06). Exists if it is taken.
	ReserveSerial struct{ Serial }
	// SettleSerial says what became of a reserved serial number: the credential it belongs to, or "" for abandoned.
	SettleSerial struct {
		Serial     string
		Credential string
		At         time.Time
	}
	// Remember keeps an answer for an idempotency key. Exists if the key is taken.
	Remember struct {
		Key     string // of caller and Idempotency-Key
		Request []byte // hash of the request
		Sealed  []byte // the answer, sealed
		Until   time.Time
	}
	// Expect holds if the principal still has the version; otherwise the change fails with Conflict.
	Expect struct {
		Principal string // ID
		Version   int64
	}
)

// Key is a key or a certificate of Cardea's own. Sealed never holds it in the clear.
type Key struct {
	ID        string
	Purpose   string // "data", "identity", "ca-root", "ca-issuing", "scram-fake"
	Alg       string // "aes-256-gcm", "ES256", "random-256"
	Wrapper   string // ID of the key that Sealed is under: a master key for "data", a data key for others
	Sealed    []byte
	Public    []byte // DER: certificate, or public key; nil for symmetric ones
	CreatedAt time.Time
	RetiredAt time.Time // zero while new things are made with it
}

// Serial is a certificate serial number that was given out.
type Serial struct {
	Serial     string // lower-case hex
	For        string // name of the principal it was meant for
	ReservedAt time.Time
}

func (CreatePrincipal) op()     {}
func (UpdatePrincipal) op()     {}
func (DeletePrincipal) op()     {}
func (CreateCredential) op()    {}
func (UpdateCredential) op()    {}
func (SetProofs) op()           {}
func (SetQuarantine) op()       {}
func (EndCredential) op()       {}
func (PutScope) op()            {}
func (DeleteScope) op()         {}
func (PutRole) op()             {}
func (DeleteRole) op()          {}
func (PutRoute) op()            {}
func (DeleteRoute) op()         {}
func (PutAuthenticator) op()    {}
func (DeleteAuthenticator) op() {}
func (PutKey) op()              {}
func (PutSetting) op()          {}
func (ReserveSerial) op()       {}
func (SettleSerial) op()        {}
func (Remember) op()            {}
func (Expect) op()              {}
