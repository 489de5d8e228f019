package view

import (
	"fmt"
	"time"

	"cardea/internal/credential"
)

// Rule is a permission for an action on a resource.
type Rule struct {
	Permission string   `json:"permission" enum:"allow,deny" example:"allow"`
	Action     string   `json:"action" example:"mqtt:publish"`
	Resource   string   `json:"resource" example:"db/append/#" doc:"May have the variables ${principal}, ${attr.NAME} and, for MQTT, ${client_id}"`
	QoS        []int    `json:"qos,omitempty" nullable:"false"`
	Retain     *bool    `json:"retain,omitempty"`
	Networks   []string `json:"networks,omitempty" nullable:"false"`
}

// FromRule converts.
func FromRule(r credential.Rule) Rule {
	v := Rule{Permission: string(r.Permission), Action: r.Action, Resource: r.Resource, QoS: r.QoS, Retain: r.Retain}
	if len(r.Networks) > 0 {
		v.Networks = FormatNetworks(r.Networks)
	}
	return v
}

// Rules converts the rules of a request; what is wrong with their networks is
// added to p. What the rules mean is for package policy to check.
func Rules(field string, rules []Rule, p *credential.Problems) []credential.Rule {
	out := make([]credential.Rule, len(rules))
	for i, r := range rules {
		out[i] = credential.Rule{
			Permission: credential.Permission(r.Permission), Action: r.Action, Resource: r.Resource,
			QoS: r.QoS, Retain: r.Retain,
			Networks: ParseNetworks(fmt.Sprintf("%s[%d].networks", field, i), r.Networks, p),
		}
	}
	return out
}

// Scope is a named set of rules, as the API shows it.
type Scope struct {
	Name        string `json:"name" example:"telemetry:write"`
	Description string `json:"description,omitempty"`
	Rules       []Rule `json:"rules" nullable:"false"`
	BuiltIn     bool   `json:"built_in,omitempty" doc:"Made by Cardea; cannot be changed"`
	Version     int64  `json:"version" doc:"Counts the changes; also the ETag"`
}

// FromScope converts.
func FromScope(s credential.Scope) Scope {
	rules := make([]Rule, len(s.Rules))
	for i, r := range s.Rules {
		rules[i] = FromRule(r)
	}
	return Scope{Name: s.Name, Description: s.Description, Rules: rules, BuiltIn: s.BuiltIn, Version: s.Version}
}

// NewScope asks for a scope; it is the body of POST.
type NewScope struct {
	Name string `json:"name" example:"telemetry:write"`
	PutScope
}

// PutScope is what PUT writes of a scope.
type PutScope struct {
	Description string `json:"description,omitempty"`
	Rules       []Rule `json:"rules" nullable:"false"`
}

// Role is a named set of scopes, as the API shows it.
type Role struct {
	Name        string   `json:"name" example:"writer"`
	Description string   `json:"description,omitempty"`
	Scopes      []string `json:"scopes" nullable:"false"`
	BuiltIn     bool     `json:"built_in,omitempty" doc:"Made by Cardea; cannot be changed"`
	Version     int64    `json:"version" doc:"Counts the changes; also the ETag"`
}

// FromRole converts.
func FromRole(r credential.Role) Role {
	return Role{Name: r.Name, Description: r.Description, Scopes: list(r.Scopes), BuiltIn: r.BuiltIn, Version: r.Version}
}

// NewRole asks for a role; it is the body of POST.
type NewRole struct {
	Name string `json:"name" example:"writer"`
	PutRole
}

// PutRole is what PUT writes of a role.
type PutRole struct {
	Description string   `json:"description,omitempty"`
	Scopes      []string `json:"scopes" nullable:"false" example:"[\"telemetry:write\"]"`
}

// Route is a gateway route, as the API shows it.
type Route struct {
	Prefix    string    `json:"prefix" example:"/db/"`
	Upstream  string    `json:"upstream" example:"http://127.0.0.1:8086"`
	QueryKey  bool      `json:"query_key,omitempty" doc:"?appKey= is taken on it, with a warning in the log at each use and an event each hour"`
	Source    string    `json:"source" enum:"flag,file,api" doc:"Only those of the API can be changed here"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	Version   int64     `json:"version,omitempty" doc:"Counts the changes; also the ETag"`
}

// FromRoute converts.
func FromRoute(r credential.Route) Route {
	return Route{Prefix: r.Prefix, Upstream: r.Upstream, QueryKey: r.QueryKey, Source: r.Source, CreatedAt: instant(r.CreatedAt), Version: r.Version}
}

// NewRoute asks for a route, or for another upstream of one.
type NewRoute struct {
	Prefix   string `json:"prefix" example:"/db/" doc:"Path prefix that begins and ends with /"`
	Upstream string `json:"upstream" example:"http://127.0.0.1:8086"`
	QueryKey bool   `json:"query_key,omitempty" doc:"Take ?appKey= on it, for old clients: logs and histories keep what stands in a URL"`
}
