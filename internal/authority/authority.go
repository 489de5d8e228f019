// Package authority is the only writer: every use case is a method here.
package authority

import (
	"context"
	"io"
	"log/slog"
	"time"

	"cardea/internal/ca"
	"cardea/internal/credential"
	"cardea/internal/keyring"
	"cardea/internal/policy"
	"cardea/internal/secret"
)

// Store is what the authority needs of the database.
type Store interface {
	credential.Writer
	credential.Lookup
	credential.Catalog
	credential.Vault
	credential.Dumper
}

// Config is what an Authority is made of.
type Config struct {
	Store  Store
	Gate   credential.Gate
	Ring   *keyring.Ring
	CA     *ca.CA
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger
	Routes []credential.Route // static ones, from flags and file
}

// Authority issues, rotates, revokes and audits.
type Authority struct{}

// Bootstrap makes, under a lock, what a database must hold before anything else can run:
// data key, identity key, root and issuing certificate, built-in scopes and roles. What is there already stays.
func Bootstrap(ctx context.Context, s Store, ks *keyring.Keystore, now func() time.Time, log *slog.Logger) (*keyring.Ring, *ca.CA, error) {
	panic("not yet")
}

// New returns an Authority.
func New(c Config) (*Authority, error) { panic("not yet") }

// Authorize refuses with NoRight unless c may do verb on the object, as in "credentials:create", "/credentials/pump-1".
func (a *Authority) Authorize(c Caller, verb, object string) error { panic("not yet") }

// Principals.

func (a *Authority) CreatePrincipal(ctx context.Context, c Caller, n NewPrincipal) (credential.Principal, error) {
	panic("not yet")
}
func (a *Authority) UpdatePrincipal(ctx context.Context, c Caller, ref string, p PrincipalPatch) (credential.Principal, error) {
	panic("not yet")
}
func (a *Authority) DeletePrincipal(ctx context.Context, c Caller, ref, reason string) error {
	panic("not yet")
}
func (a *Authority) Principal(ctx context.Context, c Caller, ref string) (credential.Principal, error) {
	panic("not yet")
}
func (a *Authority) Principals(ctx context.Context, c Caller, f credential.PrincipalFilter) ([]credential.Principal, string, error) {
	panic("not yet")
}

// Credentials.

func (a *Authority) CreateCredential(ctx context.Context, c Caller, n NewCredential) (Issued, error) {
	panic("not yet")
}

// CreateCredentials makes tokens (no certificates) in one transaction: all or none.
func (a *Authority) CreateCredentials(ctx context.Context, c Caller, n []NewCredential) ([]Issued, error) {
	panic("not yet")
}
func (a *Authority) UpdateCredential(ctx context.Context, c Caller, id string, p CredentialPatch) (credential.Credential, error) {
	panic("not yet")
}
func (a *Authority) Rotate(ctx context.Context, c Caller, id string, r Rotation) (Issued, error) {
	panic("not yet")
}

// Retire ends an old version now. NeedsForce if it is in use or the newest was never seen (R07).
func (a *Authority) Retire(ctx context.Context, c Caller, id string, proof int, force bool) (credential.Credential, error) {
	panic("not yet")
}
func (a *Authority) Extend(ctx context.Context, c Caller, id string, until time.Time) (credential.Credential, error) {
	panic("not yet")
}

// Revoke answers after this node's gate refuses the credential and its live sessions are cut.
func (a *Authority) Revoke(ctx context.Context, c Caller, id, reason string) (credential.Credential, error) {
	panic("not yet")
}
func (a *Authority) DeleteCredential(ctx context.Context, c Caller, id, reason string) error {
	panic("not yet")
}
func (a *Authority) Credential(ctx context.Context, c Caller, id string) (Detailed, error) {
	panic("not yet")
}
func (a *Authority) Credentials(ctx context.Context, c Caller, f credential.CredentialFilter) ([]credential.Listed, string, error) {
	panic("not yet")
}

// Keys: a device with its token and certificate.

func (a *Authority) GenerateKey(ctx context.Context, c Caller, n NewKey) (Bundle, error) {
	panic("not yet")
}

// RotateKey rotates the newest active token and certificate of a device, both in one change.
func (a *Authority) RotateKey(ctx context.Context, c Caller, id string, r Rotation) (Bundle, error) {
	panic("not yet")
}

// Scopes, roles, routes.

func (a *Authority) Scopes(ctx context.Context, c Caller) ([]credential.Scope, error) {
	panic("not yet")
}
func (a *Authority) Scope(ctx context.Context, c Caller, name string) (credential.Scope, error) {
	panic("not yet")
}

// PutScope creates (Version 0; Exists if it is there) or updates (Version as read).
func (a *Authority) PutScope(ctx context.Context, c Caller, s credential.Scope) (credential.Scope, error) {
	panic("not yet")
}
func (a *Authority) DeleteScope(ctx context.Context, c Caller, name string) error { panic("not yet") }
func (a *Authority) Roles(ctx context.Context, c Caller) ([]credential.Role, error) {
	panic("not yet")
}
func (a *Authority) Role(ctx context.Context, c Caller, name string) (credential.Role, error) {
	panic("not yet")
}
func (a *Authority) PutRole(ctx context.Context, c Caller, r credential.Role) (credential.Role, error) {
	panic("not yet")
}
func (a *Authority) DeleteRole(ctx context.Context, c Caller, name string) error { panic("not yet") }

// Routes lists the stored and the static ones.
func (a *Authority) Routes(ctx context.Context, c Caller) ([]credential.Route, error) {
	panic("not yet")
}
func (a *Authority) PutRoute(ctx context.Context, c Caller, r credential.Route) (credential.Route, error) {
	panic("not yet")
}
func (a *Authority) DeleteRoute(ctx context.Context, c Caller, prefix string) error {
	panic("not yet")
}

// CheckRoute says what is wrong with a route beside the others: form, reserved prefix, overlap.
func CheckRoute(r credential.Route, others []credential.Route) error { panic("not yet") }

// Sessions.

func (a *Authority) Sessions(ctx context.Context, c Caller, f credential.SessionFilter) ([]credential.Session, error) {
	panic("not yet")
}
func (a *Authority) Kick(ctx context.Context, c Caller, id string) error { panic("not yet") }

// Audit.

func (a *Authority) Events(ctx context.Context, c Caller, f credential.EventFilter) ([]credential.Event, error) {
	panic("not yet")
}
func (a *Authority) Refusals(ctx context.Context, c Caller, since time.Time, limit int) ([]credential.Refusals, error) {
	panic("not yet")
}

// LogState is what VerifyLog found.
type LogState struct {
	Events int64  // how many were read
	Head   []byte // hash of the last
	OK     bool
	Seq    int64  // the first bad one, 0 if none
	Wrong  string // what is wrong with it
}

// VerifyLog recomputes the chain from the first event to the last.
func (a *Authority) VerifyLog(ctx context.Context, c Caller) (LogState, error) { panic("not yet") }

// Administration.

// AdminToken makes an API token of the principal "bootstrap", valid for 24 h. Only for the local administrator.
func (a *Authority) AdminToken(ctx context.Context, c Caller) (secret.Text, time.Time, error) {
	panic("not yet")
}

// AdminLink makes the one-time code of a link that opens the console; RedeemLink uses it up.
func (a *Authority) AdminLink(ctx context.Context, c Caller) (secret.Text, time.Time, error) {
	panic("not yet")
}

// RedeemLink returns the caller that a one-time code stands for, to exactly one of those who present it.
func (a *Authority) RedeemLink(ctx context.Context, code string, from credential.Actor) (Caller, error) {
	panic("not yet")
}

// Backup writes the plain content of a backup; who calls it encrypts. Only for the local administrator.
func (a *Authority) Backup(ctx context.Context, c Caller, w io.Writer) error { panic("not yet") }

// TrustAnchor returns the root certificate in PEM. It is public.
func (a *Authority) TrustAnchor() []byte { panic("not yet") }

// RightsOfLocal is what the local administrator may: everything.
func RightsOfLocal() policy.Rights { panic("not yet") }
