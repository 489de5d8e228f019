package credential

import (
	"net/netip"
	"slices"
	"time"
)

// Permission is allow or deny.
type Permission string

// The two permissions.
const (
	Allow Permission = "allow"
	Deny  Permission = "deny"
)

// Rule is a permission for an action on a resource. Package policy gives it
// its meaning, and says what is wrong with a bad one.
type Rule struct {
	Permission Permission     `json:"permission"`
	Action     string         `json:"action"`
	Resource   string         `json:"resource"`
	QoS        []int          `json:"qos,omitempty"`      // mqtt only; none means any
	Retain     *bool          `json:"retain,omitempty"`   // mqtt:publish only; nil means both
	Networks   []netip.Prefix `json:"networks,omitempty"` // none means anywhere
}

// Scope is a named set of rules, across protocols.
type Scope struct {
	Org         string
	Name        string // by [CheckPolicyName]
	Description string
	Rules       []Rule
	BuiltIn     bool // made by Cardea; cannot be changed
	Version     int64
}

// Clone returns a scope of the caller's own, whose rules may be changed.
func (s Scope) Clone() Scope {
	s.Rules = slices.Clone(s.Rules)
	for i := range s.Rules {
		r := &s.Rules[i]
		r.QoS, r.Networks = slices.Clone(r.QoS), slices.Clone(r.Networks)
		if r.Retain != nil {
			retain := *r.Retain
			r.Retain = &retain
		}
	}
	return s
}

// Role is a named set of scopes, given to principals.
type Role struct {
	Org         string
	Name        string // by [CheckPolicyName]
	Description string
	Scopes      []string
	BuiltIn     bool
	Version     int64
}

// Clone returns a role of the caller's own.
func (r Role) Clone() Role {
	r.Scopes = slices.Clone(r.Scopes)
	return r
}

// Names of what every organisation has from the start.
const (
	RoleOwner    = "owner"          // may everything; the last one cannot be taken away
	RoleMember   = "member"         // sees, renews and revokes their own tokens
	ScopeMember  = "member:self"    //
	RoleAdmin    = "admin"          // may everything
	RoleDevice   = "device"         // what `key gen` gives without --scope
	RoleAuditor  = "auditor"        // reads everything of the API, changes nothing
	ScopeAdmin   = "admin:all"      //
	ScopeDevice  = "device:default" // all topics that do not begin with $, all gateway routes
	ScopeAuditor = "auditor:read"   //
	ScopeEMQX    = "backend:emqx"   // what a cluster of EMQX needs that asks Cardea
)

// ScopeQuarantine is the scope that holds for every credential in quarantine of
// its organisation, instead of all others. It is an ordinary one that an administrator
// makes; without it such a credential may nothing.
const ScopeQuarantine = "quarantine"

// Route sends what comes to a path prefix of the HTTP door to an upstream.
type Route struct {
	Prefix    string // canonical path that begins and ends with "/"
	Upstream  string // http:// or https:// URL without path, query and user info
	Source    string // "flag", "file" or "api"; only the last is in the store
	QueryKey  bool   // ?appKey= is taken on it, with a warning at each use
	CreatedAt time.Time
	Version   int64
}
