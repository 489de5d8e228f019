package view

import (
	"time"

	"cardea/internal/credential"
)

// Format is how tokens look that were made elsewhere. The key of one is never shown.
type Format struct {
	Name      string    `json:"name" example:"legacy"`
	Scheme    string    `json:"scheme" example:"sha256"`
	Prefix    string    `json:"prefix,omitempty" example:"sk_live_"`
	IDLength  int       `json:"id_length,omitempty"`
	Separator string    `json:"separator,omitempty"`
	Bits      int       `json:"bits,omitempty" example:"128"`
	CreatedAt time.Time `json:"created_at"`
	Version   int64     `json:"version" doc:"Counts the changes; also the ETag"`
}

// FromFormat converts.
func FromFormat(f credential.TokenFormat) Format {
	return Format{
		Name: f.Name, Scheme: f.Scheme, Prefix: f.Prefix, IDLength: f.IDLen, Separator: f.Separator, Bits: f.Bits,
		CreatedAt: instant(f.CreatedAt), Version: f.Version,
	}
}

// PutFormat is what PUT writes of a format. Of one that exists only bits can be changed.
type PutFormat struct {
	Scheme    string `json:"scheme" enum:"sha256,sha512,hmac-sha256,bcrypt,argon2id" doc:"How the other system has hashed its tokens. By the fast ones, sha256, sha512 and hmac-sha256, a token is found by its hash; by the slow ones by its public part"`
	Prefix    string `json:"prefix,omitempty" example:"sk_live_" doc:"With which each token begins; needed for slow schemes"`
	IDLength  int    `json:"id_length,omitempty" minimum:"0" maximum:"128" doc:"Slow schemes: length of the public part after the prefix; 0: up to separator"`
	Separator string `json:"separator,omitempty" doc:"Slow schemes: what ends the public part"`
	Bits      int    `json:"bits,omitempty" minimum:"0" maximum:"4096" example:"128" doc:"How hard each token is to guess, as whoever imports them vouches for; fast schemes need 112"`
	Key       Secret `json:"key,omitempty" minLength:"1" doc:"hmac-sha256: the key of the other system in hex or base64, 16 bytes at least. It is never shown again"`
}

// NewImport begins an import, or goes on with an unfinished one of the same digest.
type NewImport struct {
	Name   string `json:"name" example:"keys.csv" doc:"Of the file, for people"`
	Digest string `json:"digest" example:"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" doc:"SHA-256 in hex of what is imported: the file, and how it is read"`
	Total  int64  `json:"total,omitempty" minimum:"0" example:"100000" doc:"Rows of the file; 0: not known"`
}

// Import is how far an import has come.
type Import struct {
	ID         string    `json:"id" example:"I7Gq0bXv2LmN"`
	Name       string    `json:"name"`
	Digest     string    `json:"digest"`
	Total      int64     `json:"total,omitempty"`
	Done       int64     `json:"done" doc:"Rows that were dealt with, from the first: go on with the next"`
	Created    int64     `json:"created"`
	Unchanged  int64     `json:"unchanged"`
	Failed     int64     `json:"failed"`
	StartedAt  time.Time `json:"started_at"`
	UpdatedAt  time.Time `json:"updated_at"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	By         string    `json:"by" doc:"Who began it"`
}

// FromImport converts.
func FromImport(i credential.Import) Import {
	return Import{
		ID: i.ID, Name: i.Name, Digest: i.Digest, Total: i.Total, Done: i.Done, Created: i.Created, Unchanged: i.Unchanged, Failed: i.Failed,
		StartedAt: instant(i.StartedAt), UpdatedAt: instant(i.UpdatedAt), FinishedAt: instant(i.FinishedAt), By: i.By,
	}
}

// ImportOptions say how rows are taken.
type ImportOptions struct {
	CreatePrincipals bool     `json:"create_principals,omitempty" doc:"Make the principals that rows name and that do not exist"`
	PrincipalKind    string   `json:"principal_kind,omitempty" enum:"user,service,device" doc:"Of those; without it a user for pat, a service for api_key, a device for device_token"`
	Roles            []string `json:"roles,omitempty" nullable:"false" doc:"Of those"`
	Expired          string   `json:"expired,omitempty" enum:"keep,skip" doc:"Rows that have ended already are kept as expired, or left out; keep if not said"`
}

// ImportRows are some rows of an import.
type ImportRows struct {
	From    int64         `json:"from" minimum:"1" example:"1" doc:"Number of the first of them; at most one more than are done. Those that are done already are answered by what is there"`
	Options ImportOptions `json:"options,omitzero"`
	Rows    []ImportRow   `json:"rows" nullable:"false" minItems:"1" maxItems:"1000"`
}

// TryImport asks what would become of rows.
type TryImport struct {
	Options ImportOptions `json:"options,omitzero"`
	Rows    []ImportRow   `json:"rows" nullable:"false" minItems:"1" maxItems:"1000"`
}

// ImportRow is a credential that was made elsewhere. All of it is checked when it is taken, so that one that is wrong does not stop the others.
type ImportRow struct {
	ExternalID  string     `json:"external_id,omitempty" doc:"What the other system calls it; for the results and the audit log"`
	Kind        string     `json:"kind,omitempty" example:"api_key" doc:"api_key, pat or device_token"`
	Principal   string     `json:"principal,omitempty" example:"billing" doc:"Name or id"`
	Name        string     `json:"name,omitempty"`
	Format      string     `json:"format,omitempty" example:"legacy" doc:"Name of the format of its token"`
	Hash        Secret     `json:"hash,omitempty" doc:"What the other system has kept of the token: hex or base64, or the text of bcrypt or argon2id"`
	Token       Secret     `json:"token,omitempty" doc:"Instead of hash the token itself: it is hashed at once and never kept"`
	ID          string     `json:"id,omitempty" doc:"With the hash of a slow scheme: the public part of the token"`
	Scopes      []string   `json:"scopes,omitempty" nullable:"false"`
	Resources   []string   `json:"resources,omitempty" nullable:"false"`
	AllowedIPs  []string   `json:"allowed_ips,omitempty" nullable:"false"`
	Tags        []string   `json:"tags,omitempty" nullable:"false"`
	Project     string     `json:"project,omitempty"`
	Owner       string     `json:"owner,omitempty"`
	ExpiresAt   string     `json:"expires_at,omitempty" example:"2027-01-31T00:00:00Z" doc:"An instant, a day (its beginning, UTC), or never; without it the default of the policy of its kind"`
	NotBefore   string     `json:"not_before,omitempty"`
	CreatedAt   string     `json:"created_at,omitempty" doc:"When the other system has made it; now if not said"`
	Description string     `json:"description,omitempty"`
	Limits      *RowLimits `json:"limits,omitempty"`
	Status      string     `json:"status,omitempty" doc:"active or revoked; one that is revoked is known and never accepted"`
	Invalid     string     `json:"invalid,omitempty" maxLength:"512" doc:"Why the row could not be read from its file: it counts as failed, with this as the reason"`
}

// RowLimits are [Limits] without bounds: what is wrong with those of one row must not stop the others.
type RowLimits struct {
	PerSecond int   `json:"per_second,omitempty"`
	Burst     int   `json:"burst,omitempty"`
	PerMonth  int64 `json:"per_month,omitempty"`
}

// From converts; nil is no bound.
func (l *RowLimits) From() credential.Limits {
	if l == nil {
		return credential.Limits{}
	}
	return credential.Limits(*l)
}

// ParseInstant reads an instant as imports have them: RFC 3339, or a day, which is its beginning in UTC. "" is the zero time.
func ParseInstant(field, s string, p *credential.Problems) time.Time {
	if s == "" {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() > 0 && t.Year() < 10000 {
			return t.UTC()
		}
	}
	p.Add(field, "is neither an instant such as 2027-01-31T12:00:00Z nor a day such as 2027-01-31")
	return time.Time{}
}

// ImportResult is what became of a row.
type ImportResult struct {
	Row        int64         `json:"row" doc:"Its number, from 1"`
	ExternalID string        `json:"external_id,omitempty"`
	Status     string        `json:"status" enum:"created,unchanged,failed" doc:"unchanged: it was there already, or is left out"`
	ID         string        `json:"id,omitempty" doc:"Of the credential"`
	Note       string        `json:"note,omitempty"`
	Errors     []ImportError `json:"errors,omitempty" nullable:"false"`
}

// ImportError says what is wrong with a field of a row.
type ImportError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// String is how an error is shown to people. What is about the whole row has the field "row".
func (e ImportError) String() string {
	if e.Field == "row" {
		return e.Message
	}
	return e.Field + " " + e.Message
}

// ImportResults are the answer to rows, in their order.
type ImportResults struct {
	Import  Import         `json:"import"`
	Results []ImportResult `json:"results" nullable:"false"`
}

// TriedResults are the answer to [TryImport].
type TriedResults struct {
	Results []ImportResult `json:"results" nullable:"false"`
}
