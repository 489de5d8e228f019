package view

import (
	"time"

	"cardea/internal/credential"
)

// Login is a user's name and password.
type Login struct {
	Org      string `json:"org,omitempty" maxLength:"64" example:"default" doc:"Organisation; default if not said"`
	Name     string `json:"name" minLength:"1" maxLength:"256" example:"alice"`
	Password Secret `json:"password" minLength:"1" maxLength:"1024" example:"nine violins under a roof"`
}

// LoggedIn is a session that has begun. Its token is sent as Authorization: Bearer.
type LoggedIn struct {
	Token     Secret    `json:"token" doc:"It is shown this once"`
	ExpiresAt time.Time `json:"expires_at" doc:"When it ends at the latest; before that, when it was not used for a while"`
	Principal string    `json:"principal" example:"alice"`
	Org       string    `json:"org" example:"default"`
}

// Activate sets a password by the code of an invitation.
type Activate struct {
	Org      string `json:"org,omitempty" maxLength:"64" doc:"Not needed: the code says it"`
	Code     Secret `json:"code" minLength:"1" maxLength:"256" example:"P3kT9qLmZ0aBq8…"`
	Password Secret `json:"password" minLength:"1" maxLength:"1024" example:"nine violins under a roof" doc:"At least 15 characters, and none of those that are guessed first"`
}

// Activated is whose password was set.
type Activated struct {
	Principal string `json:"principal" example:"alice"`
	Org       string `json:"org" example:"default"`
}

// SetPassword gives a user another password.
type SetPassword struct {
	Password Secret `json:"password" minLength:"1" maxLength:"1024" example:"nine violins under a roof" doc:"At least 15 characters, and none of those that are guessed first"`
}

// ChangePassword gives the caller another password.
type ChangePassword struct {
	Current  Secret `json:"current" minLength:"1" maxLength:"1024" example:"nine violins under a roof" doc:"The present one"`
	Password Secret `json:"password" minLength:"1" maxLength:"1024" example:"purple tractor, lemon window" doc:"At least 15 characters, and none of those that are guessed first"`
}

// Invited is an invitation: with the code a user sets their password, once.
type Invited struct {
	Principal string    `json:"principal" example:"alice"`
	Code      Secret    `json:"code" doc:"It is shown this once"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Self is the caller with what its principal is.
type Self struct {
	WhoAmI
	PrincipalID string            `json:"principal_id" example:"P3kT9qLmZ0aB"`
	Description string            `json:"description,omitempty"`
	Roles       []string          `json:"roles" nullable:"false"`
	Attributes  map[string]string `json:"attrs,omitempty"`
	Selectable  []Selectable      `json:"selectable" nullable:"false" doc:"Scopes that its own tokens may be given"`
	Tokens      TokenRules        `json:"tokens" doc:"What the organisation demands of personal access tokens"`
}

// Selectable is a scope that lies within what a user may.
type Selectable struct {
	Name        string `json:"name" example:"telemetry:read"`
	Description string `json:"description,omitempty"`
}

// TokenRules are the part of a policy that whoever makes a token has to know.
type TokenRules struct {
	DefaultLifetime string   `json:"default_lifetime,omitempty" example:"90d"`
	MaxLifetime     string   `json:"max_lifetime,omitempty" example:"366d"`
	RequireExpiry   bool     `json:"require_expiry"`
	RequireNetworks bool     `json:"require_networks"`
	Networks        []string `json:"networks,omitempty" nullable:"false"`
	NamePattern     string   `json:"name_pattern,omitempty"`
	Approval        bool     `json:"approval" doc:"Somebody else must approve each token before it works"`
	MaxNumber       int      `json:"max_number,omitempty"`
}

// NewOwnToken asks for a personal access token of the caller's own.
type NewOwnToken struct {
	Name        string    `json:"name" example:"laptop"`
	Description string    `json:"description,omitempty" doc:"Where an approval is needed: why you need it"`
	Scopes      []string  `json:"scopes,omitempty" nullable:"false" doc:"None means all that you may, also later"`
	Resources   []string  `json:"resources,omitempty" nullable:"false" doc:"Holds it to these, whatever the scopes allow; none: no bound"`
	TTL         string    `json:"ttl,omitempty" example:"30d" doc:"How long it is valid; at most one of ttl and expires_at"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	AllowedIPs  []string  `json:"allowed_ips,omitempty" nullable:"false" doc:"Networks or addresses it may come from; none means anywhere"`
	Tags        []string  `json:"tags,omitempty" nullable:"false"`
	Limits      *Limits   `json:"limits,omitempty"`
}

// Wanted is the token as a request for a credential.
func (n NewOwnToken) Wanted() NewCredential {
	return NewCredential{
		Kind: string(credential.PAT), Name: n.Name, Description: n.Description, Scopes: n.Scopes, Resources: n.Resources,
		TTL: n.TTL, ExpiresAt: n.ExpiresAt, AllowedIPs: n.AllowedIPs, Tags: n.Tags, Limits: n.Limits,
	}
}

// FromTokenRules converts.
func FromTokenRules(p credential.KindPolicy) TokenRules {
	r := TokenRules{
		RequireExpiry: p.RequireExpiry, RequireNetworks: p.RequireNetworks, Networks: FormatNetworks(p.Networks),
		NamePattern: p.NamePattern, Approval: p.Approval, MaxNumber: p.MaxNumber,
	}
	if p.DefaultLifetime > 0 {
		r.DefaultLifetime = FormatDuration(p.DefaultLifetime)
	}
	if p.MaxLifetime > 0 {
		r.MaxLifetime = FormatDuration(p.MaxLifetime)
	}
	return r
}

// FromSelectable converts.
func FromSelectable(scopes []credential.Scope) []Selectable {
	out := make([]Selectable, len(scopes))
	for i, s := range scopes {
		out[i] = Selectable{Name: s.Name, Description: s.Description}
	}
	return out
}

// RotateOwn asks for a new version of a personal access token.
type RotateOwn struct {
	Overlap string `json:"overlap,omitempty" example:"1h" doc:"How long the version before goes on; 0 stops it now"`
	Force   bool   `json:"force,omitempty" doc:"Stop the version before even if it is in use"`
}
