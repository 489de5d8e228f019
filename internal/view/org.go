package view

import (
	"time"

	"cardea/internal/credential"
)

// Org is an organisation, as the API shows it.
type Org struct {
	Name        string         `json:"name" example:"acme"`
	Description string         `json:"description,omitempty"`
	Resources   []string       `json:"resources" nullable:"false" doc:"What all its rules are held to; empty only for the organisation default, which is not bounded"`
	Disabled    bool           `json:"disabled" doc:"All its credentials are refused"`
	CreatedAt   time.Time      `json:"created_at"`
	Version     int64          `json:"version" doc:"Counts the changes; also the ETag"`
	Owner       *PrincipalView `json:"owner,omitempty" doc:"The first user, made together with it"`
	Warnings    []string       `json:"warnings,omitempty" nullable:"false"`
}

// FromOrg converts.
func FromOrg(o credential.Org) Org {
	return Org{
		Name: o.Name, Description: o.Description, Resources: list(o.Resources), Disabled: o.Disabled,
		CreatedAt: instant(o.CreatedAt), Version: o.Version,
	}
}

// NewOrg asks for an organisation.
type NewOrg struct {
	Name        string   `json:"name" example:"acme" doc:"Given once: one that was deleted cannot be made again"`
	Description string   `json:"description,omitempty"`
	Resources   []string `json:"resources,omitempty" nullable:"false" example:"[\"mqtt:acme/#\",\"http:/acme/**\"]" doc:"What all its rules are held to, as PROTO:RESOURCE; topics and paths of its own name if not said"`
	Owner       string   `json:"owner,omitempty" example:"alice" doc:"Makes this user as well, with the role owner"`
}

// PatchOrg changes the fields that are there.
type PatchOrg struct {
	Description *string   `json:"description,omitempty"`
	Resources   *[]string `json:"resources,omitempty" doc:"Its own callers may only narrow them"`
	Disabled    *bool     `json:"disabled,omitempty"`
}

// Project is a named part of an organisation, as the API shows it.
type Project struct {
	Name        string    `json:"name" example:"hall-3"`
	Description string    `json:"description,omitempty"`
	Resources   []string  `json:"resources" nullable:"false" doc:"What its credentials are held to; empty: nothing"`
	CreatedAt   time.Time `json:"created_at"`
	Version     int64     `json:"version" doc:"Counts the changes; also the ETag"`
	Warnings    []string  `json:"warnings,omitempty" nullable:"false"`
}

// FromProject converts.
func FromProject(p credential.Project) Project {
	return Project{
		Name: p.Name, Description: p.Description, Resources: list(p.Resources), CreatedAt: instant(p.CreatedAt), Version: p.Version,
	}
}

// PutProject is what PUT writes of a project.
type PutProject struct {
	Description string   `json:"description,omitempty"`
	Resources   []string `json:"resources,omitempty" nullable:"false" example:"[\"mqtt:acme/hall-3/#\"]" doc:"What its credentials are held to, as PROTO:RESOURCE, within those of the organisation"`
}
