package authority

import "cardea/internal/credential"

// What every organisation has from the start. Its names are in package credential.

func adminScope() credential.Scope {
	return credential.Scope{
		Org: credential.DefaultOrg, Name: credential.ScopeAdmin, BuiltIn: true,
		Description: "Everything: the API and all doors.",
		Rules: []credential.Rule{
			allow("api:*:*", "*"), allow("http:*", "*"), allow("mqtt:*", "*"), allow("grpc:call", "*"),
		},
	}
}

func builtInScopes() []credential.Scope {
	return []credential.Scope{
		adminScope(),
		{
			Org: credential.DefaultOrg, Name: credential.ScopeDevice, BuiltIn: true,
			Description: "All topics that do not begin with $, and all gateway routes.",
			Rules:       []credential.Rule{allow("mqtt:*", "#"), allow("http:*", "/**")},
		},
		{
			Org: credential.DefaultOrg, Name: credential.ScopeAuditor, BuiltIn: true,
			Description: "Reads everything of the API and exports the audit log; changes nothing.",
			Rules:       []credential.Rule{allow("api:*:read", "*"), allow("api:events:export", "*")},
		},
		{
			Org: credential.DefaultOrg, Name: credential.ScopeEMQX, BuiltIn: true,
			Description: "For an EMQX cluster that asks who may connect, publish and subscribe. It may learn the keys of SCRAM users.",
			Rules: []credential.Rule{
				allow("api:backend:authn", "/backend/emqx"), allow("api:backend:authz", "/backend/emqx"), allow("api:backend:scram", "/backend/emqx"),
			},
		},
	}
}

func builtInRoles() []credential.Role {
	return []credential.Role{
		{
			Org: credential.DefaultOrg, Name: credential.RoleAdmin, BuiltIn: true,
			Description: "May everything.", Scopes: []string{credential.ScopeAdmin},
		},
		{
			Org: credential.DefaultOrg, Name: credential.RoleDevice, BuiltIn: true,
			Description: "What key gen gives to a device without --scope.", Scopes: []string{credential.ScopeDevice},
		},
		{
			Org: credential.DefaultOrg, Name: credential.RoleAuditor, BuiltIn: true,
			Description: "Reads everything of the API, changes nothing.", Scopes: []string{credential.ScopeAuditor},
		},
	}
}

func allow(action, resource string) credential.Rule {
	return credential.Rule{Permission: credential.Allow, Action: action, Resource: resource}
}
