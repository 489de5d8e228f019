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
// names must exist, after the operations before it, in the organisation of what names them, and so must the
// organisation of whatever is made, but for [DefaultOrg]; Conflict if one does not.
type (
	// CreatePrincipal inserts a principal. Exists if the name is taken.
	CreatePrincipal struct{ Principal }
	// UpdatePrincipal writes description, roles, attributes and Disabled.
	UpdatePrincipal struct{ Principal }
	// DeletePrincipal ends a principal and, in the same transaction, marks all its credentials deleted.
	// Conflict if one of them is not among Credentials: its author does not know of it, and left no event for it. Conflict, too, if one
	// that is among them is another principal's by now: it would have an event, and live.
	DeletePrincipal struct {
		ID          string
		Version     int64
		At          time.Time
		Reason      string
		Credentials []string // IDs of all that are not deleted; others that have ended may be among them
	}

	// CreateCredential inserts a credential; its principal must live. Conflict if it does not. Exists if its user name, or what a version of it is found by, is taken.
	CreateCredential struct{ Credential }
	// UpdateCredential writes the descriptive fields, scopes, networks, resources, limits, owner and client, never proofs or state (K10);
	// the user name of an app_key only, which follows from its name: Exists if it is taken.
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
	// EndCredential revokes or deletes. Allowed from active, quarantined and pending, and from revoked to deleted; otherwise Conflict.
	EndCredential struct {
		ID      string
		Version int64 // 0: whatever it is now
		State   State
		At      time.Time
		Reason  string
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

	// Approve makes a pending credential active.
	Approve struct {
		ID      string
		Version int64
	}
	// SetPrincipal gives a credential that has not ended to another principal of its organisation, which must live.
	SetPrincipal struct {
		ID        string
		Version   int64
		Principal string // ID
	}
	// PutOrg inserts if Version is 0, else updates. Exists if the name is taken.
	PutOrg struct{ Org }
	// DeleteOrg removes an organisation with all that it has. Conflict if a principal of it lives. It is not for [DefaultOrg], without which nothing runs.
	DeleteOrg struct {
		Name    string
		Version int64
	}
	// PutProject inserts if Version is 0, else updates.
	PutProject struct{ Project }
	// DeleteProject removes a project. Conflict if a credential that is not ended names it.
	DeleteProject struct {
		Org, Name string
		Version   int64
	}
	// PutKindPolicy inserts if Version is 0, else updates.
	PutKindPolicy struct{ KindPolicy }
	// DeleteKindPolicy goes back to the default.
	DeleteKindPolicy struct {
		Org     string
		Kind    Kind
		Version int64
	}
	// PutTokenFormat inserts if Version is 0, else updates.
	PutTokenFormat struct{ TokenFormat }
	// DeleteTokenFormat removes a format. Conflict if a version of a credential is of it.
	DeleteTokenFormat struct {
		Org, Name string
		Version   int64
	}
	// PutWebhook inserts if Version is 0, else updates.
	PutWebhook struct{ Webhook }
	// DeleteWebhook removes a webhook and what waits for it.
	DeleteWebhook struct {
		ID      string
		Version int64
	}
	// PutAPI inserts if Version is 0, else updates. Its scopes must exist. Exists if name or audience is taken.
	PutAPI struct{ API }
	// DeleteAPI removes an API. Tokens for it are refused from then on.
	DeleteAPI struct {
		Org, Name string
		Version   int64
	}
	// DenyToken remembers that an access token was revoked. It is no error if it was already: it is denied for the longer of the two times then.
	DenyToken struct{ DeniedToken }
	// PutAvatar keeps the picture of a credential, a PNG; an empty one removes it.
	PutAvatar struct {
		Credential string
		PNG        []byte
	}
	// PutImport inserts or replaces an import. Conflict unless Done was Before; 0 for a new one. Progress alone needs no event.
	PutImport struct {
		Import
		Before int64
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
	Purpose   string // "data", "identity", "ca-root", "ca-issuing", "scram-fake", "oauth", "dpop-nonce"
	Alg       string // "aes-256-gcm", "ES256", "random-256"; oauth: one of [SigningAlgs]
	Wrapper   string // ID of the key that Sealed is under: a master key for "data", a data key for others
	Sealed    []byte
	Public    []byte // DER: certificate, or public key; nil for symmetric ones
	CreatedAt time.Time
	RetiredAt time.Time // zero while new things are made with it
	ActiveAt  time.Time // oauth: from when on it signs; it was published before that. Zero: from the start
	RevokedAt time.Time // oauth: since when nothing that it has signed is believed; zero: it is
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
func (Approve) op()             {}
func (SetPrincipal) op()        {}
func (PutOrg) op()              {}
func (DeleteOrg) op()           {}
func (PutProject) op()          {}
func (DeleteProject) op()       {}
func (PutKindPolicy) op()       {}
func (DeleteKindPolicy) op()    {}
func (PutTokenFormat) op()      {}
func (DeleteTokenFormat) op()   {}
func (PutWebhook) op()          {}
func (DeleteWebhook) op()       {}
func (PutAPI) op()              {}
func (DeleteAPI) op()           {}
func (DenyToken) op()           {}
func (PutAvatar) op()           {}
func (PutImport) op()           {}
func (PutKey) op()              {}
func (PutSetting) op()          {}
func (ReserveSerial) op()       {}
func (SettleSerial) op()        {}
func (Remember) op()            {}
func (Expect) op()              {}
