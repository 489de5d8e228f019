package credential

import (
	"context"
	"time"
)

// Writer changes what is stored.
type Writer interface {
	// Commit applies all of c or nothing. When it returns nil, the change, its
	// events and the next revisions are durable (synced), and the returned events
	// have their Seq and hashes. Errors: Conflict if a version or an expectation does not
	// hold any more, Exists for a name or an id that is taken, Down if the
	// database does not answer, in which case the change may or may not have been
	// made only if the error says so in so many words. It never retries by itself.
	Commit(ctx context.Context, c Change) ([]Event, error)

	// Record adds to counters in one transaction, without a revision.
	// A crash may lose what was recorded in the last seconds.
	Record(ctx context.Context, r Records) error
	// Meter adds what a node has counted and returns how all nodes stand, for the same credentials.
	Meter(ctx context.Context, node string, counted []Metered) ([]Share, error)

	// Once reports true to exactly one caller for a key, over all nodes, until
	// the given time; durable on return.
	Once(ctx context.Context, key string, until time.Time) (bool, error)

	// Exclusive runs fn while no other node runs one of the same name.
	Exclusive(ctx context.Context, name string, fn func(context.Context) error) error
}

// Lookup is what a gate reads. Every answer carries the revision it was read
// at, from the same snapshot.
type Lookup interface {
	// Credential returns the credential and its principal, ended ones included. NotFound, Down.
	Credential(ctx context.Context, id string) (Record, error)
	// CredentialsOf returns the ids of the principal's credentials that have not ended.
	CredentialsOf(ctx context.Context, principal string) ([]string, error)
	// Named returns the credential of a kind (SCRAM, Password or AppKey) and user name that has not ended, and its principal. NotFound, Down.
	Named(ctx context.Context, org string, k Kind, username string) (Record, error)
	// Foreign returns the credential with a version that is found by this [Proof.Lookup], ended ones included. NotFound, Down.
	Foreign(ctx context.Context, lookup []byte) (Record, error)
	// Used returns how often a credential with limits was used in a month, by all nodes.
	Used(ctx context.Context, credential string, month time.Time) (int64, error)
	// Denied returns the access tokens that were revoked and have not ended.
	Denied(ctx context.Context, now time.Time) ([]DeniedToken, error)
	// Policy returns everything that is not of a single principal.
	Policy(ctx context.Context) (Policy, error)
}

// Record is a credential with its principal at a revision.
type Record struct {
	Credential Credential
	Principal  Principal
	Revision   int64
}

// Records are what a gate has counted.
type Records struct {
	Used      []Usage
	Refused   []Refusals
	Slices    []UsageSlice
	Exercised []Exercise
	Sighted   []Sighting
}

// Policy is all scopes, roles, stored routes, authenticators, organisations, projects, policies of kinds, formats of tokens and APIs at a revision.
type Policy struct {
	Scopes         []Scope
	Roles          []Role
	Routes         []Route
	Authenticators []Authenticator // by organisation, listener and rank
	Orgs           []Org
	Projects       []Project
	Kinds          []KindPolicy // those that somebody has set
	Formats        []TokenFormat
	APIs           []API
	Revision       int64
}

// Org returns an organisation by name.
func (p *Policy) Org(name string) (Org, bool) {
	for _, o := range p.Orgs {
		if o.Name == name {
			return o, true
		}
	}
	return Org{}, false
}

// OfKind returns what an organisation demands of a kind.
func (p *Policy) OfKind(org string, k Kind) KindPolicy {
	for _, kp := range p.Kinds {
		if kp.Org == org && kp.Kind == k {
			return kp
		}
	}
	return DefaultKindPolicy(org, k)
}

// Feed tells a gate what has changed.
type Feed interface {
	// Since returns the touches after a revision in order, at most limit, and the head
	// revision. It is also how a node proves that it still sees the database.
	Since(ctx context.Context, after int64, limit int) ([]Touch, int64, error)
	// Wait returns nil as soon as there may be something after the revision, and
	// at the latest after the poll interval; an error only if ctx ends.
	Wait(ctx context.Context, after int64) error
}

// Catalog is what the authority reads to answer its callers. Lists are cut at
// limit; the second result is the cursor of the next page, "" at the end.
type Catalog interface {
	// Principal finds one by ID or by name; deleted ones by ID only. NotFound.
	Principal(ctx context.Context, org, ref string) (Principal, error)
	Principals(ctx context.Context, f PrincipalFilter) ([]Principal, string, error)
	Credentials(ctx context.Context, f CredentialFilter) ([]Listed, string, error)
	Usage(ctx context.Context, credential string) ([]Usage, error)
	Events(ctx context.Context, f EventFilter) ([]Event, error)
	RefusalsOf(ctx context.Context, since time.Time, limit int) ([]Refusals, error)
	// UsageBy returns the slices of a credential's use since a day, and Exercised by which scopes it has done something.
	UsageBy(ctx context.Context, credential string, since time.Time) ([]UsageSlice, error)
	Exercised(ctx context.Context, credential string) ([]Exercise, error)
	Sightings(ctx context.Context, credential string) ([]Sighting, error)
	// ExercisedOf is Exercised of several, since an instant.
	ExercisedOf(ctx context.Context, credentials []string, since time.Time) ([]Exercise, error)
	// FirstUses returns those after the given one, of which FirstAt and Credential count, in their order.
	FirstUses(ctx context.Context, after FirstUse, limit int) ([]FirstUse, error)
	// Sharings returns those after the given one, by FirstAt, Credential, By, Value and Other.
	Sharings(ctx context.Context, after Sharing, limit int) ([]Sharing, error)
	Inventory(ctx context.Context, q InventoryQuery) (Inventory, error)
	// Webhooks returns those of an organisation; "" for all.
	Webhooks(ctx context.Context, org string) ([]Webhook, error)
	// Deliveries returns the newest of a webhook.
	Deliveries(ctx context.Context, webhook string, limit int) ([]Delivery, error)
	// Avatar returns a PNG. NotFound.
	Avatar(ctx context.Context, credential string) ([]byte, error)
	// Import finds one by ID, or the newest of a file by its digest. NotFound.
	Import(ctx context.Context, org, ref string) (Import, error)
	Imports(ctx context.Context, org string, limit int) ([]Import, error)
	// Found returns, of some [Proof.Lookup], those that exist, with the ID of the credential. The keys are hex.
	Found(ctx context.Context, lookups [][]byte) (map[string]string, error)
	// Reply returns what was remembered for an idempotency key. NotFound.
	Reply(ctx context.Context, key string) (Remember, error)
}

// Vault reads keys and settings.
type Vault interface {
	Keys(ctx context.Context) ([]Key, error)
	// Setting returns the value of a setting, "" if there is none.
	Setting(ctx context.Context, name string) (string, error)
	// Settings returns the settings whose names begin with a prefix, by name.
	Settings(ctx context.Context, prefix string) (map[string]string, error)
	// Serials returns the serial numbers that were reserved before a time and never became a certificate.
	Serials(ctx context.Context, before time.Time) ([]Serial, error)
}

// Outbox holds what is to be told to webhooks. It is written without revisions.
type Outbox interface {
	// Enqueue adds deliveries and notes that all events up to seq were looked at.
	Enqueue(ctx context.Context, d []Delivery, seq int64) error
	// Looked returns up to which event was looked at.
	Looked(ctx context.Context) (int64, error)
	// Due returns deliveries that wait and whose time has come, the oldest first; of each webhook no more than a few.
	Due(ctx context.Context, now time.Time, limit int) ([]Delivery, error)
	// Settle writes what became of an attempt.
	Settle(ctx context.Context, d Delivery) error
}

// Store is everything a database does for Cardea. Each package asks for the part it needs.
type Store interface {
	Writer
	Lookup
	Feed
	Catalog
	Vault
	Outbox
}

// PrincipalFilter selects principals of one organisation, by name in ascending order.
type PrincipalFilter struct {
	Org    string
	Kind   PrincipalKind // "" for all
	Role   string        // only those that have it
	Cursor string
	Limit  int
}

// CredentialFilter selects credentials of one organisation that are not deleted, the newest first.
type CredentialFilter struct {
	Org           string
	Kind          Kind
	Principal     string // ID
	Scope         string // only those that name it
	Status        string // "", "active", "quarantined" or "pending" (and not expired), "expired", "revoked"
	Tag           string
	Project       string
	Owner         string // ID
	Parent        string // sessions of this credential
	NeverUsed     bool
	Kinds         []Kind // any of these
	Everything    bool   // without Kind, Kinds and Parent: passwords and sessions too
	ExpiresBefore time.Time
	ExpiresFrom   time.Time
	CreatedBefore time.Time
	UnusedSince   time.Time // not used since then, never used ones included
	// OverPrivileged selects those that can be used, were made before, and have a scope that has let them do nothing since: one of
	// their own or, if they name none, one of several that the roles of the principal have.
	OverPrivileged time.Time
	Needed         []string  // scopes that do not count for that
	Now            time.Time // by which expiry is judged
	Cursor         string
	Limit          int
}

// Listed is a credential in a list.
type Listed struct {
	Credential
	PrincipalName string
	PrincipalKind PrincipalKind
	Roles         []string  // of the principal
	OwnerName     string    // "" for nobody
	FirstUsedAt   time.Time // zero: never
	LastUsedAt    time.Time
	Admin         bool // app_key: its user is an administrator. It is filled in by the authority
}

// EventFilter selects events in ascending order of Seq.
type EventFilter struct {
	Org     string // "" for all: verification and export
	After   int64  // only those with a greater Seq
	Before  int64  // only those with a smaller Seq; 0 for no bound. With Newest the last ones are taken
	Newest  bool   // descending order
	Type    string // exact, or a noun followed by ".": "credential."
	Subject string // Subject.ID or Subject.Name
	Actor   string // Actor.Principal
	From    time.Time
	To      time.Time
	Limit   int
}
