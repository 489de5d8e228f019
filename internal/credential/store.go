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

	// Record adds to usage and refusal counters in one transaction, without a revision.
	// A crash may lose what was recorded in the last seconds.
	Record(ctx context.Context, used []Usage, refused []Refusals) error

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
	// Named returns the SCRAM credential of a user name that has not ended, and its principal. NotFound, Down.
	Named(ctx context.Context, org, username string) (Record, error)
	// Policy returns every scope, role, route and authenticator.
	Policy(ctx context.Context) (Policy, error)
}

// Record is a credential with its principal at a revision.
type Record struct {
	Credential Credential
	Principal  Principal
	Revision   int64
}

// Policy is all scopes, roles, stored routes and authenticators at a revision.
type Policy struct {
	Scopes         []Scope
	Roles          []Role
	Routes         []Route
	Authenticators []Authenticator // by organisation, listener and rank
	Revision       int64
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

// Store is everything a database does for Cardea. Each package asks for the part it needs.
type Store interface {
	Writer
	Lookup
	Feed
	Catalog
	Vault
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
	Status        string // "", "active" or "quarantined" (and not expired), "expired", "revoked"
	Tag           string
	Project       string
	ExpiresBefore time.Time
	UnusedSince   time.Time // not used since then, never used ones included
	Now           time.Time // by which expiry is judged
	Cursor        string
	Limit         int
}

// Listed is a credential in a list.
type Listed struct {
	Credential
	PrincipalName string
	PrincipalKind PrincipalKind
	LastUsedAt    time.Time // zero: never
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
