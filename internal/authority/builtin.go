package authority

import "cardea/internal/credential"

// What every organisation has from the start. Its names are in package credential.

func adminScope(org string) credential.Scope {
	return credential.Scope{
		Org: org, Name: credential.ScopeAdmin, BuiltIn: true,
		Description: "Everything: the API and all doors.",
		Rules: []credential.Rule{
			allow("api:*:*", "*"), allow("http:*", "*"), allow("mqtt:*", "*"), allow("grpc:call", "*"),
		},
	}
}

func builtInScopes(org string) []credential.Scope {
	all := []credential.Scope{
		adminScope(org),
		{
			Org: org, Name: credential.ScopeDevice, BuiltIn: true,
			Description: "All topics that do not begin with $, and all gateway routes.",
			Rules:       []credential.Rule{allow("mqtt:*", "#"), allow("http:*", "/**")},
		},
		{
			Org: org, Name: credential.ScopeAuditor, BuiltIn: true,
			Description: "Reads everything of the API and exports the audit log; changes nothing.",
			Rules:       []credential.Rule{allow("api:*:read", "*"), allow("api:events:export", "*")},
		},
		{
			Org: org, Name: credential.ScopeMember, BuiltIn: true,
			Description: "What people do for themselves: see, make, renew and revoke their own tokens, change their password.",
			Rules:       []credential.Rule{allow("api:me:*", "/me/**")},
		},
	}
	if org == credential.DefaultOrg {
		all = append(all, credential.Scope{
			Org: org, Name: credential.ScopeEMQX, BuiltIn: true,
			Description: "For an EMQX cluster that asks who may connect, publish and subscribe. It may learn the keys of SCRAM users.",
			Rules: []credential.Rule{
				allow("api:backend:authn", "/backend/emqx"), allow("api:backend:authz", "/backend/emqx"), allow("api:backend:scram", "/backend/emqx"),
			},
		})
	}
	return all
}

func builtInRoles(org string) []credential.Role {
	return []credential.Role{
		{
			Org: org, Name: credential.RoleOwner, BuiltIn: true,
			Description: "May everything. The last one cannot be taken away.", Scopes: []string{credential.ScopeAdmin},
		},
		{
			Org: org, Name: credential.RoleAdmin, BuiltIn: true,
			Description: "May everything.", Scopes: []string{credential.ScopeAdmin},
		},
		{
			Org: org, Name: credential.RoleMember, BuiltIn: true,
			Description: "Takes care of their own tokens and password; everything else by further roles.", Scopes: []string{credential.ScopeMember},
		},
		{
			Org: org, Name: credential.RoleDevice, BuiltIn: true,
			Description: "What key gen gives to a device without --scope.", Scopes: []string{credential.ScopeDevice},
		},
		{
			Org: org, Name: credential.RoleAuditor, BuiltIn: true,
			Description: "Reads everything of the API, changes nothing.", Scopes: []string{credential.ScopeAuditor},
		},
	}
}

// furnish adds to a change what an organisation lacks of its built-in scopes and roles. What it has by these names stays as it is.
func furnish(ch *change, org string, has *credential.Policy) {
	had := map[string]bool{}
	for _, s := range has.Scopes {
		if s.Org == org {
			had["scope "+s.Name] = true
		}
	}
	for _, r := range has.Roles {
		if r.Org == org {
			had["role "+r.Name] = true
		}
	}
	for _, s := range builtInScopes(org) {
		if !had["scope "+s.Name] {
			ch.in(org, credential.PutScope{Scope: s}, "scope.create", aboutScope(s.Name), details{"rules": rulesText(s.Rules)})
		}
	}
	for _, r := range builtInRoles(org) {
		if !had["role "+r.Name] {
			ch.in(org, credential.PutRole{Role: r}, "role.create", aboutRole(r.Name), details{"scopes": names(r.Scopes)})
		}
	}
}

func allow(action, resource string) credential.Rule {
	return credential.Rule{Permission: credential.Allow, Action: action, Resource: resource}
}
