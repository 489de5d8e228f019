package authority

import (
	"context"
	"slices"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// adminNouns are what an administrator changes: who there is, and who may what.
var adminNouns = []string{"principals", "credentials", "roles", "scopes", "orgs", "users"}

// administers reports whether whoever has these roles is an administrator: may change who may what. That is so if
// an allow of theirs reaches a verb that changes something on the [adminNouns] of everybody. Denies do not count, nor does where
// somebody must come from: this is for warnings, and they rather come once too often.
func (b *book) administers(roles []string) bool {
	var rules []credential.Rule
	verbs := map[string]bool{} // "NOUN:VERB"
	for _, r := range b.ofRoles(roles) {
		noun, verb, ok := changes(&r)
		if !ok {
			continue
		}
		rules = append(rules, credential.Rule{Permission: credential.Allow, Action: r.Action, Resource: r.Resource})
		for _, n := range adminNouns {
			if noun == n || noun == "*" {
				verbs[n+":"+verb] = true
			}
		}
	}
	if len(verbs) == 0 {
		return false
	}
	set, err := policy.Compile([]credential.Scope{{Name: "administers", Rules: rules}})
	if err != nil {
		return true // rules that nobody can read
	}
	rights := policy.Rights{Principal: set}
	for v := range verbs {
		noun, _, _ := strings.Cut(v, ":")
		if rights.Decide(&policy.Access{Proto: policy.API, Verb: v, Resource: "/" + noun + "/*"}).Allowed() {
			return true
		}
	}
	return false
}

// changes returns noun and verb of a rule that allows to change something through the API. A verb "*" is matched by itself.
func changes(r *credential.Rule) (noun, verb string, ok bool) {
	parts := strings.Split(r.Action, ":")
	if r.Permission != credential.Allow || len(parts) != 3 || parts[0] != "api" {
		return "", "", false
	}
	switch parts[2] {
	case "read", "export", "explain", "verify", "test":
		return "", "", false
	}
	return parts[1], parts[2], true
}

// markAdministrators marks the application keys of administrators in a list.
func (a *Authority) markAdministrators(ctx context.Context, org string, list []credential.Listed) error {
	if !slices.ContainsFunc(list, func(l credential.Listed) bool { return l.Kind == credential.AppKey }) {
		return nil
	}
	b, err := a.book(ctx, org)
	if err != nil {
		return err
	}
	known := map[string]bool{} // by roles: most users of a list are alike
	for i := range list {
		if list[i].Kind != credential.AppKey {
			continue
		}
		roles := names(list[i].Roles)
		if _, done := known[roles]; !done {
			known[roles] = b.administers(list[i].Roles)
		}
		list[i].Admin = known[roles]
	}
	return nil
}
