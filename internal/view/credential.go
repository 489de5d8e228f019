package view

import (
	"encoding/hex"
	"time"

	"cardea/internal/credential"
)

// The statuses of a credential, as seen from outside. A deleted one is revoked.
const (
	StatusActive      = "active"
	StatusQuarantined = "quarantined"
	StatusExpired     = "expired"
	StatusRevoked     = "revoked"
	StatusNotYetValid = "not_yet_valid"
	StatusPending     = "pending"
)

// CredentialView is a credential as the API shows it. It holds no secret and no hash of one.
type CredentialView struct {
	ID               string    `json:"id" example:"7Gq0bXv2LmNp"`
	Org              string    `json:"org" example:"default"`
	Kind             string    `json:"kind" enum:"device_token,certificate,scram,api_key,pat,app_key,oauth_client,password,session"`
	Principal        string    `json:"principal" example:"pump-1" doc:"Name of the principal"`
	PrincipalID      string    `json:"principal_id" example:"P3kT9qLmZ0aB"`
	PrincipalKind    string    `json:"principal_kind,omitempty" enum:"user,service,device"`
	Name             string    `json:"name"`
	Description      string    `json:"description,omitempty"`
	Scopes           []string  `json:"scopes" nullable:"false" doc:"None means all of the principal's"`
	AllowedIPs       []string  `json:"allowed_ips" nullable:"false" doc:"None means anywhere"`
	Tags             []string  `json:"tags" nullable:"false"`
	Project          string    `json:"project,omitempty"`
	Owner            string    `json:"owner,omitempty" doc:"Name of the user who answers for it"`
	Resources        []string  `json:"resources,omitempty" nullable:"false" doc:"What it is held to; none means all that the rules allow"`
	Limits           *Limits   `json:"limits,omitempty"`
	Documentation    string    `json:"documentation,omitempty" doc:"Application keys"`
	ClientName       string    `json:"client_name,omitempty" doc:"Application keys"`
	Home             string    `json:"home,omitempty" doc:"Application keys: where a session begins"`
	Avatar           bool      `json:"avatar,omitempty" doc:"Application keys: there is a picture"`
	Admin            bool      `json:"admin,omitempty" doc:"Application keys: the user is an administrator"`
	ClientID         string    `json:"client_id,omitempty" doc:"OAuth clients: its id once more, by the name that RFC 6749 has for it"`
	Client           *Client   `json:"client,omitempty" doc:"OAuth clients"`
	Parent           string    `json:"parent,omitempty" doc:"Sessions: id of the credential that it was made with"`
	Username         string    `json:"username,omitempty" doc:"SCRAM: the name to log in with"`
	Algorithm        string    `json:"algorithm,omitempty" enum:"sha256,sha512" doc:"SCRAM: sha256 is SCRAM-SHA-256, sha512 is SCRAM-SHA-512"`
	Status           string    `json:"status" enum:"active,quarantined,expired,revoked,not_yet_valid,pending"`
	CreatedAt        time.Time `json:"created_at"`
	CreatedBy        string    `json:"created_by,omitempty"`
	NotBefore        time.Time `json:"not_before,omitzero"`
	ExpiresAt        time.Time `json:"expires_at,omitzero" doc:"Absent: never"`
	QuarantinedAt    time.Time `json:"quarantined_at,omitzero" doc:"There while it is in quarantine, expired or not"`
	QuarantineReason string    `json:"quarantine_reason,omitempty"`
	RevokedAt        time.Time `json:"revoked_at,omitzero"`
	RevokeReason     string    `json:"revoke_reason,omitempty"`
	FirstUsedAt      time.Time `json:"first_used_at,omitzero"`
	LastUsedAt       time.Time `json:"last_used_at,omitzero" doc:"Absent: never; a few seconds late"`
	Versions         []Version `json:"versions" nullable:"false" doc:"The newest first"`
	Version          int64     `json:"version" doc:"Counts the changes; also the ETag"`

	Suggestion *Suggestion `json:"suggestion,omitempty" doc:"In lists with with_suggestions: the narrower set of scopes that would have been enough"`
}

// Limits bound how much a credential is used; 0 or absent is no bound.
type Limits struct {
	PerSecond int   `json:"per_second,omitempty" minimum:"0" maximum:"1000000" doc:"Requests"`
	Burst     int   `json:"burst,omitempty" minimum:"0" maximum:"1000000" doc:"Requests that may come at once; per_second if not said"`
	PerMonth  int64 `json:"per_month,omitempty" minimum:"0" maximum:"1000000000000" doc:"Requests in a calendar month, UTC"`
}

// From converts; nil is no bound.
func (l *Limits) From() credential.Limits {
	if l == nil {
		return credential.Limits{}
	}
	return credential.Limits(*l)
}

func fromLimits(l credential.Limits) *Limits {
	if l == (credential.Limits{}) {
		return nil
	}
	v := Limits(l)
	return &v
}

// Version is one version of what a credential proves itself with, and its use (R06).
type Version struct {
	N            int       `json:"n" example:"1"`
	CreatedAt    time.Time `json:"created_at"`
	ExpiresAt    time.Time `json:"expires_at,omitzero" doc:"When this version stops; absent: never"`
	FirstUsedAt  time.Time `json:"first_used_at,omitzero"`
	LastUsedAt   time.Time `json:"last_used_at,omitzero"`
	LastUsedFrom string    `json:"last_used_from,omitempty" example:"10.1.2.3"`
	Uses         int64     `json:"uses"`
	Serial       string    `json:"serial,omitempty" doc:"Certificate: serial number in hex"`
	Fingerprint  string    `json:"fingerprint,omitempty" doc:"Certificate: SHA-256 in hex"`
}

// FromListed converts a credential of a list; the use of single versions is not known there.
func FromListed(l credential.Listed, now time.Time) CredentialView {
	v := FromCredential(l.Credential, l.PrincipalName, l.PrincipalKind, now)
	v.FirstUsedAt, v.LastUsedAt, v.Owner = instant(l.FirstUsedAt), instant(l.LastUsedAt), l.OwnerName
	v.Admin = l.Admin
	return v
}

// FromCredential converts; what is not known of the principal is left out.
func FromCredential(c credential.Credential, principal string, kind credential.PrincipalKind, now time.Time) CredentialView {
	v := CredentialView{
		ID: c.ID, Org: c.Org, Kind: string(c.Kind),
		Principal: principal, PrincipalID: c.Principal, PrincipalKind: string(kind),
		Name: c.Name, Description: c.Description, Scopes: list(c.Scopes),
		AllowedIPs: FormatNetworks(c.Networks), Tags: list(c.Tags), Project: c.Project,
		Resources: c.Resources, Limits: fromLimits(c.Limits), Documentation: c.Documentation, ClientName: c.ClientName, Home: c.Home,
		Avatar: c.Avatar != "", Parent: c.Parent,
		Algorithm: c.Algorithm,
		Status:    StatusOf(&c, now), CreatedAt: instant(c.CreatedAt), CreatedBy: c.CreatedBy,
		NotBefore: instant(c.NotBefore), ExpiresAt: instant(c.ExpiresAt),
		Version: c.Version, Versions: make([]Version, len(c.Proofs)),
	}
	if c.Kind == credential.OAuthClient {
		v.ClientID, v.Client = c.ID, fromClient(c.Client)
	}
	if c.Kind != credential.AppKey { // there it is its name once more
		v.Username = c.Username
	}
	if c.State == credential.StateQuarantined {
		v.QuarantinedAt, v.QuarantineReason = instant(c.EndedAt), c.EndReason
	} else {
		v.RevokedAt, v.RevokeReason = instant(c.EndedAt), c.EndReason
	}
	for i := range c.Proofs {
		v.Versions[i] = FromProof(c.Kind, c.Proofs[i], c.Ends(&c.Proofs[i]), credential.Usage{})
	}
	return v
}

// WithVersions puts the versions with their use into v, and from them the last use of all.
func (v CredentialView) WithVersions(versions []Version) CredentialView {
	v.Versions = list(versions)
	for _, w := range versions {
		if w.LastUsedAt.After(v.LastUsedAt) {
			v.LastUsedAt = w.LastUsedAt
		}
		if f := w.FirstUsedAt; !f.IsZero() && (v.FirstUsedAt.IsZero() || f.Before(v.FirstUsedAt)) {
			v.FirstUsedAt = f
		}
	}
	return v
}

// FromProof converts a version. A token's hash is not shown, a certificate's fingerprint is.
func FromProof(kind credential.Kind, p credential.Proof, ends time.Time, u credential.Usage) Version {
	v := Version{
		N: p.N, CreatedAt: instant(p.CreatedAt), ExpiresAt: instant(ends), Serial: p.Serial,
		FirstUsedAt: instant(u.FirstAt), LastUsedAt: instant(u.LastAt), Uses: u.Count,
	}
	if kind == credential.Certificate {
		v.Fingerprint = hex.EncodeToString(p.Hash)
	}
	if u.LastSource.IsValid() {
		v.LastUsedFrom = u.LastSource.String()
	}
	return v
}

// StatusOf is what a credential is at an instant.
func StatusOf(c *credential.Credential, now time.Time) string {
	switch {
	case c.State.Ended():
		return StatusRevoked
	case !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt):
		return StatusExpired
	case now.Before(c.NotBefore):
		return StatusNotYetValid
	case c.State == credential.StatePending:
		return StatusPending
	case c.State == credential.StateQuarantined:
		return StatusQuarantined
	}
	return StatusActive
}

// NewCredential asks for a credential.
type NewCredential struct {
	Kind        string    `json:"kind" enum:"device_token,certificate,scram,api_key,pat,app_key,oauth_client" example:"device_token"`
	Principal   string    `json:"principal" example:"pump-1" doc:"Name or id"`
	Name        string    `json:"name,omitempty" example:"field unit"`
	Description string    `json:"description,omitempty"`
	Scopes      []string  `json:"scopes,omitempty" nullable:"false" doc:"None means all of the principal's"`
	TTL         string    `json:"ttl,omitempty" example:"90d" doc:"How long it is valid: 90m, 12h, 1095d, or never. At most one of ttl and expires_at"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	NotBefore   time.Time `json:"not_before,omitzero"`
	AllowedIPs  []string  `json:"allowed_ips,omitempty" nullable:"false" example:"[\"10.1.0.0/16\"]" doc:"Networks or addresses it may come from; none means anywhere"`
	Tags        []string  `json:"tags,omitempty" nullable:"false"`
	Project     string    `json:"project,omitempty"`
	Owner       string    `json:"owner,omitempty" doc:"Name or id of the user who answers for it; without it the caller, if that is a user"`
	Resources   []string  `json:"resources,omitempty" nullable:"false" example:"[\"http:/db/query/orders/**\",\"mqtt:sensors/hall-3/#\"]" doc:"Holds it to these, whatever the rules allow; none: no bound"`
	Limits      *Limits   `json:"limits,omitempty"`
	CSR         string    `json:"csr,omitempty" doc:"Certificate only: PKCS#10 request in PEM; without it Cardea makes the key pair"`
	Username    string    `json:"username,omitempty" minLength:"1" doc:"SCRAM only: the name to log in with, 1 to 256 bytes, kept as SASLprep has it (RFC 4013); unique in the organisation. Without it the principal's name"`
	Algorithm   string    `json:"algorithm,omitempty" enum:"sha256,sha512" doc:"SCRAM only; without it sha256"`
	Password    Secret    `json:"password,omitempty" minLength:"1" doc:"SCRAM only: 8 to 256 bytes. Without it, and without keys, Cardea makes one"`
	ScramKeys

	AllowAdmin    bool   `json:"allow_admin,omitempty" doc:"Application keys: needed if the user is an administrator"`
	Documentation string `json:"documentation,omitempty" doc:"Application keys"`
	ClientName    string `json:"client_name,omitempty" doc:"Application keys"`
	Home          string `json:"home,omitempty" doc:"Application keys: path that a session made on a page begins at"`

	Client *Client `json:"client,omitempty" doc:"OAuth clients, which need one: how they prove themselves, and what their tokens are"`
}

// ScramKeys are keys that were made of a password elsewhere (RFC 5802, 3): all three or none.
type ScramKeys struct {
	Iterations int    `json:"iterations,omitempty" minimum:"4096" maximum:"10000000" doc:"SCRAM only: iterations of the key derivation; 4096 if not said. With keys: those that they were made with, and needed"`
	Salt       string `json:"salt,omitempty" minLength:"1" doc:"SCRAM import only: hex of 1 to 1024 bytes"`
	StoredKey  Secret `json:"stored_key,omitempty" minLength:"1" doc:"SCRAM import only: hex of the 32 bytes of sha256 or the 64 of sha512"`
	ServerKey  Secret `json:"server_key,omitempty" minLength:"1" doc:"SCRAM import only: hex, as long as stored_key"`
}

// NewCredentials asks for several credentials that are no certificates, all or none.
type NewCredentials struct {
	Credentials []NewCredential `json:"credentials" nullable:"false" minItems:"1" maxItems:"500"`
}

// IssuedList is the answer to [NewCredentials], in the same order.
type IssuedList struct {
	Items []Issued `json:"items" nullable:"false"`
}

// Issued is a new credential or a new version of one, with what is shown this once.
type Issued struct {
	CredentialView
	Secret            Secret    `json:"secret,omitempty" doc:"The token, or the password that Cardea has made. It is shown this once"`
	CertificatePEM    string    `json:"certificate,omitempty" doc:"PEM: the certificate, then the issuing one"`
	PrivateKey        Secret    `json:"private_key,omitempty" doc:"PEM, PKCS#8. It is shown this once"`
	PreviousExpiresAt time.Time `json:"previous_expires_at,omitzero" doc:"Rotation: when the version before stops"`
	Warnings          []string  `json:"warnings,omitempty" nullable:"false"`
}

// PatchCredential changes the fields that are there.
type PatchCredential struct {
	Name        *string   `json:"name,omitempty" example:"field unit 2"`
	Description *string   `json:"description,omitempty"`
	Project     *string   `json:"project,omitempty"`
	Scopes      *[]string `json:"scopes,omitempty"`
	Tags        *[]string `json:"tags,omitempty"`
	AllowedIPs  *[]string `json:"allowed_ips,omitempty"`
	Owner       *string   `json:"owner,omitempty"`
	Resources   *[]string `json:"resources,omitempty"`
	Limits      *Limits   `json:"limits,omitempty" doc:"Replaces all of them"`

	Documentation *string `json:"documentation,omitempty"`
	ClientName    *string `json:"client_name,omitempty"`
	Home          *string `json:"home,omitempty"`

	Client *Client `json:"client,omitempty" doc:"OAuth clients: replaces all of it. Another proof ends at once what the one before has got"`
}

// Rotate asks for a new version. That of a SCRAM credential has the algorithm of the one before, and with a password its salt and
// iterations; with keys these may be others if there is no overlap.
type Rotate struct {
	Overlap string `json:"overlap,omitempty" example:"1h" doc:"How long the version before goes on; 0 stops it now"`
	Force   bool   `json:"force,omitempty" doc:"Stop the version before even if it is in use"`
	CSR     string `json:"csr,omitempty" doc:"Certificate only: PKCS#10 request in PEM"`

	Password Secret `json:"password,omitempty" minLength:"1" doc:"SCRAM only: 8 to 256 bytes. Without it, and without keys, Cardea makes one"`
	ScramKeys
}

// Retire ends an old version now.
type Retire struct {
	Version int  `json:"version" example:"1" doc:"Number of the version, n"`
	Force   bool `json:"force,omitempty" doc:"Even if it is in use"`
}

// Extend sets a later end: exactly one of the two.
type Extend struct {
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	TTL       string    `json:"ttl,omitempty" example:"90d" doc:"From now"`
}

// Extended is the answer to [Extend].
type Extended struct {
	CredentialView
	Warnings []string `json:"warnings,omitempty" nullable:"false" doc:"What goes on ending earlier"`
}

// Revoke ends a credential for good.
type Revoke struct {
	Reason string `json:"reason,omitempty" example:"device was stolen"`
}

// Preview is what a request for a credential would make.
type Preview struct {
	Kind       string     `json:"kind"`
	Principal  string     `json:"principal"`
	Name       string     `json:"name,omitempty"`
	Scopes     []string   `json:"scopes" nullable:"false"`
	AllowedIPs []string   `json:"allowed_ips" nullable:"false"`
	Owner      string     `json:"owner,omitempty"`
	Resources  []string   `json:"resources,omitempty" nullable:"false"`
	Limits     *Limits    `json:"limits,omitempty"`
	Client     *Client    `json:"client,omitempty"`
	NotBefore  time.Time  `json:"not_before,omitzero"`
	ExpiresAt  time.Time  `json:"expires_at,omitzero" doc:"Absent: never"`
	Approval   bool       `json:"approval" doc:"Somebody else would have to approve it before it works"`
	Policy     KindPolicy `json:"policy" doc:"That it was held to"`
	Warnings   []string   `json:"warnings,omitempty" nullable:"false"`
}

// Approve makes a pending credential work.
type Approve struct {
	Reason string `json:"reason,omitempty" example:"for the nightly export"`
}

// Deny ends a pending credential for good.
type Deny struct {
	Reason string `json:"reason" minLength:"1" example:"ask for the export's scopes alone"`
}

// Quarantine takes from a credential, until it is released, all but what the scope "quarantine" allows.
type Quarantine struct {
	Reason string `json:"reason,omitempty" example:"it publishes nonsense"`
}

// Quarantined is the answer to [Quarantine].
type Quarantined struct {
	CredentialView
	Warnings []string `json:"warnings,omitempty" nullable:"false" doc:"That there is no scope for it; which other credentials go on"`
}

// Release ends a quarantine.
type Release struct {
	Reason string `json:"reason,omitempty" example:"new firmware"`
}

// NewKey asks for a device with its token and certificate.
type NewKey struct {
	ID     string   `json:"id" example:"myapp01" doc:"Name of the device"`
	Valid  string   `json:"valid,omitempty" example:"1095d" doc:"How long both are valid; 1095d if not said"`
	Scopes []string `json:"scopes,omitempty" nullable:"false" doc:"None gives the role device"`
	CSR    string   `json:"csr,omitempty" doc:"PKCS#10 request in PEM; without it Cardea makes the key pair"`
}

// KeyBundle is a device with what is shown this once.
type KeyBundle struct {
	Principal   PrincipalView `json:"principal"`
	Token       Issued        `json:"token"`
	Certificate Issued        `json:"certificate"`
	Warnings    []string      `json:"warnings,omitempty" nullable:"false"`
}
