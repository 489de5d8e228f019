package view

import (
	"time"

	"cardea/internal/credential"
)

// PrincipalView is a principal as the API shows it.
type PrincipalView struct {
	ID          string            `json:"id" example:"P3kT9qLmZ0aB"`
	Org         string            `json:"org" example:"default"`
	Kind        string            `json:"kind" enum:"user,service,device"`
	Name        string            `json:"name" example:"pump-1"`
	Description string            `json:"description,omitempty"`
	Roles       []string          `json:"roles" nullable:"false"`
	Attributes  map[string]string `json:"attrs,omitempty"`
	Disabled    bool              `json:"disabled"`
	CreatedAt   time.Time         `json:"created_at"`
	DeletedAt   time.Time         `json:"deleted_at,omitzero"`
	Version     int64             `json:"version" doc:"Counts the changes; also the ETag"`
}

// FromPrincipal converts.
func FromPrincipal(p credential.Principal) PrincipalView {
	return PrincipalView{
		ID: p.ID, Org: p.Org, Kind: string(p.Kind), Name: p.Name, Description: p.Description,
		Roles: list(p.Roles), Attributes: p.Attrs, Disabled: p.Disabled,
		CreatedAt: instant(p.CreatedAt), DeletedAt: instant(p.DeletedAt), Version: p.Version,
	}
}

// NewPrincipal asks for a principal.
type NewPrincipal struct {
	Kind        string            `json:"kind" enum:"user,service,device" example:"device"`
	Name        string            `json:"name" example:"pump-1" doc:"Lower-case letters, digits and . _ @ -, at most 64"`
	Description string            `json:"description,omitempty"`
	Roles       []string          `json:"roles,omitempty" nullable:"false" example:"[\"device\"]"`
	Attributes  map[string]string `json:"attrs,omitempty"`
}

// PatchPrincipal changes the fields that are there.
type PatchPrincipal struct {
	Description *string            `json:"description,omitempty" example:"Pump in hall 3"`
	Roles       *[]string          `json:"roles,omitempty"`
	Attributes  *map[string]string `json:"attrs,omitempty"`
	Disabled    *bool              `json:"disabled,omitempty" doc:"All credentials of a disabled principal are refused"`
}

// WhoAmI is the caller as the gate knows it.
type WhoAmI struct {
	Org           string    `json:"org" example:"default"`
	Principal     string    `json:"principal" example:"ops"`
	PrincipalKind string    `json:"principal_kind,omitempty" example:"service"`
	Credential    string    `json:"credential,omitempty" example:"7Gq0bXv2LmNp"`
	Session       string    `json:"session,omitempty" example:"4bVn1sYc8QwE" doc:"The session that it came with; credential is then what that was made with"`
	Kind          string    `json:"kind,omitempty" example:"api_key"`
	Scopes        []string  `json:"scopes" nullable:"false"`
	ExpiresAt     time.Time `json:"expires_at,omitzero"`
	Local         bool      `json:"local,omitempty" doc:"The local administrator's socket"`
}
