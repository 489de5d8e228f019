package view

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"cardea/internal/credential"
)

// Whitelist is where an application key may come from: in JSON a list, or one text with commas as ThingWorx has it. Nothing, a
// blank text and an empty list are anywhere.
type Whitelist []string

// UnmarshalJSON takes a text apart at its commas. What stands between two of them and is nothing stays there, for
// [Whitelist.Parse] to refuse.
func (l *Whitelist) UnmarshalJSON(b []byte) error {
	var list []string
	if json.Unmarshal(b, &list) == nil {
		*l = list
		return nil
	}
	var text string
	if json.Unmarshal(b, &text) != nil {
		return errors.New("is neither a text nor a list of texts")
	}
	*l = SplitWhitelist(text)
	return nil
}

// Schema describes both forms.
func (Whitelist) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Description: "Networks or addresses, as a list or with commas between them; none means anywhere",
		Examples:    []any{"10.1.0.0/16, 192.0.2.7"},
		OneOf:       []*huma.Schema{{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}}, {Type: huma.TypeString}},
	}
}

// SplitWhitelist takes a text apart at its commas; a blank one is nothing.
func SplitWhitelist(text string) Whitelist {
	if strings.TrimSpace(text) == "" {
		return Whitelist{}
	}
	return strings.Split(text, ",")
}

// Parse reads the networks, with spaces around them or not. Garbage is a problem and never "anywhere" (H12).
func (l Whitelist) Parse(field string, p *credential.Problems) []netip.Prefix {
	trimmed := make([]string, len(l))
	for i, s := range l {
		trimmed[i] = strings.TrimSpace(s)
	}
	return ParseNetworks(field, trimmed, p)
}

// NewAppKey asks for an application key, as ThingWorx's CreateApplicationKey does.
type NewAppKey struct {
	Name           string    `json:"name" example:"line-7" doc:"Unique among the application keys of the organisation, without regard to case"`
	Description    string    `json:"description,omitempty"`
	User           string    `json:"user" example:"alice" doc:"Name or id of the user that requests with the key act as"`
	Scopes         []string  `json:"scopes,omitempty" nullable:"false" doc:"Narrows what the user may; none means all of it"`
	Tags           []string  `json:"tags,omitempty" nullable:"false"`
	Project        string    `json:"project,omitempty"`
	IPWhitelist    Whitelist `json:"ip_whitelist,omitempty"`
	ClientName     string    `json:"client_name,omitempty" doc:"Free text; the server does nothing with it"`
	ExpirationDate time.Time `json:"expiration_date,omitzero" doc:"Without it the default of the policy for app_key: 24 hours until somebody changes it. The answer says when it ends"`
	Documentation  string    `json:"documentation,omitempty" doc:"Up to 4 KiB, of several lines"`
	Home           string    `json:"home,omitempty" example:"/db/dashboard" doc:"Path that a session made on a page begins at"`
	AllowAdmin     bool      `json:"allow_admin,omitempty" doc:"Needed if the user is an administrator"`
}

// AppKey is an application key. Its user is the principal.
type AppKey struct {
	CredentialView
	Waiting bool `json:"waiting,omitempty" doc:"It is good and was never used: the device has not connected yet"`
}

// AsAppKey adds what only application keys show.
func (v CredentialView) AsAppKey() AppKey {
	good := v.Status == StatusActive || v.Status == StatusQuarantined || v.Status == StatusNotYetValid || v.Status == StatusPending
	return AppKey{v, good && v.FirstUsedAt.IsZero()}
}

// AppKeyChanged is an application key after a change.
type AppKeyChanged struct {
	AppKey
	Warnings []string `json:"warnings,omitempty" nullable:"false"`
}

// Revealed is the secret of an application key, which ThingWorx calls its key id.
type Revealed struct {
	ID      string `json:"id" example:"7Gq0bXv2LmNp"`
	Name    string `json:"name"`
	Version int    `json:"version" doc:"Number of the version that it is of: the newest that is good"`
	Secret  Secret `json:"secret"`
}

// UserName is whose an application key is.
type UserName struct {
	UserName string `json:"user_name" example:"alice"`
}

// SetUserName gives an application key to another user.
type SetUserName struct {
	UserName   string `json:"user_name" example:"bob" doc:"Name or id"`
	AllowAdmin bool   `json:"allow_admin,omitempty" doc:"Needed if the user is an administrator"`
}

// SetClientName changes the client name.
type SetClientName struct {
	ClientName string `json:"client_name" example:"PLC 7"`
}

// SetIPWhitelist changes where an application key may come from.
type SetIPWhitelist struct {
	IPWhitelist Whitelist `json:"ip_whitelist"`
}

// ExpirationDate is when an application key ends.
type ExpirationDate struct {
	ExpirationDate time.Time `json:"expiration_date,omitzero" example:"2027-01-31T00:00:00Z" doc:"Absent: never"`
}

// SetExpirationDate changes when an application key ends.
type SetExpirationDate struct {
	ExpirationDate time.Time `json:"expiration_date" example:"2027-01-31T00:00:00Z"`
}

// IsExpired says whether an application key has expired.
type IsExpired struct {
	Expired bool `json:"expired"`
}

// ExpirationInfo is when an application key ends or has ended.
type ExpirationInfo struct {
	ID             string    `json:"id" example:"7Gq0bXv2LmNp"`
	Name           string    `json:"name"`
	User           string    `json:"user" example:"alice"`
	ExpirationDate time.Time `json:"expiration_date,omitzero" doc:"Absent: never"`
	Expired        bool      `json:"expired"`
}

// FromExpiry converts.
func FromExpiry(l credential.Listed, now time.Time) ExpirationInfo {
	return ExpirationInfo{
		ID: l.ID, Name: l.Name, User: l.PrincipalName, ExpirationDate: instant(l.ExpiresAt),
		Expired: !l.ExpiresAt.IsZero() && !now.Before(l.ExpiresAt),
	}
}

// Prune asks that credentials be deleted that have expired.
type Prune struct {
	Kind       string `json:"kind,omitempty" enum:"device_token,certificate,scram,api_key,pat,app_key,oauth_client" doc:"Without it all of these"`
	Principal  string `json:"principal,omitempty" doc:"Name or id; without it everybody's"`
	ExpiredFor string `json:"expired_for,omitempty" example:"30d" doc:"Only those that have been expired for so long"`
	DryRun     bool   `json:"dry_run,omitempty" doc:"Only say which"`
	Reason     string `json:"reason,omitempty" doc:"For the audit log"`
}

// Pruned is what was deleted, or would be.
type Pruned struct {
	Items  []PrunedItem `json:"items" nullable:"false"`
	DryRun bool         `json:"dry_run" doc:"Nothing was deleted"`
	More   bool         `json:"more" doc:"There are more: ask again"`
}

// PrunedItem is a credential that was deleted, or would be.
type PrunedItem struct {
	ID        string    `json:"id" example:"7Gq0bXv2LmNp"`
	Kind      string    `json:"kind"`
	Name      string    `json:"name"`
	Principal string    `json:"principal" example:"alice"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// FromPruned converts.
func FromPruned(list []credential.Listed, more, dryRun bool) Pruned {
	items := make([]PrunedItem, len(list))
	for i, l := range list {
		items[i] = PrunedItem{ID: l.ID, Kind: string(l.Kind), Name: l.Name, Principal: l.PrincipalName, ExpiresAt: instant(l.ExpiresAt)}
	}
	return Pruned{Items: items, More: more, DryRun: dryRun}
}
