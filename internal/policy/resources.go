package policy

import (
	"fmt"
	"slices"
	"strings"

	"cardea/internal/credential"
)

// What a list of resources may have at most.
const (
	maxResources     = 64
	maxResourcesText = 16 << 10 // bytes together: every key can have such a list
)

// CheckResources adds to p what is wrong with a list of resources that a
// credential, a project or an organisation is held to; field is its name in the
// request, "resources" say. Each is PROTO:RESOURCE: http, mqtt, grpc or api, and a
// resource as in a rule of that protocol. An empty list is a good one: it bounds nothing.
func CheckResources(p *credential.Problems, field string, resources []string) {
	if n := len(resources); n > maxResources {
		p.Add(field, "has %d entries: there may be %d", n, maxResources)
		return
	}
	bytes, seen := 0, make(map[string]int, len(resources))
	for i, text := range resources {
		at := fmt.Sprintf("%s[%d]", field, i)
		bytes += len(text)
		if first, again := seen[text]; again {
			p.Add(at, "repeats %s[%d]", field, first)
			continue
		}
		seen[text] = i
		if _, why := parseEntry(text); why != "" {
			p.Add(at, "%s", why)
		}
	}
	if bytes > maxResourcesText {
		p.Add(field, "has %d bytes together: there may be %d", bytes, maxResourcesText)
	}
}

// CompileResources compiles a list of resources for the bounds of [Rights]. With api
// everything of the API is allowed beside them: what is bound then is the data, and
// the API is confined by other means. An empty list bounds nothing, its set is nil. A list
// that [CheckResources] refuses is an error, beside which comes a set that allows nothing, since nil would bound nothing.
func CompileResources(resources []string, api bool) (*Set, error) {
	var problems credential.Problems
	if CheckResources(&problems, "resources", resources); len(problems) > 0 {
		return &Set{}, problems.Err()
	}
	if len(resources) == 0 {
		return nil, nil
	}
	var rules []matcher
	for i, text := range resources {
		rule, _ := parseEntry(text)
		rules = append(rules, compile(fmt.Sprintf("resources[%d]", i), &rule))
	}
	if api {
		rules = append(rules, compile("", &credential.Rule{Permission: credential.Allow, Action: "api:*:*", Resource: anything}))
	}
	return newSet(rules), nil
}

// Outside returns the entries of inner, by index, that do not lie within some one
// entry of outer, for who makes a key in an organisation that is held to outer. With api those of
// the API lie within it, as in [CompileResources]. Nothing is outside of an empty list, which bounds nothing.
//
// A variable of inner counts as a wildcard; one of outer holds nothing but the
// same words, which mean the same for every holder. The answer is sound, not
// complete; entries that [CheckResources] refuses are outside, and hold nothing.
func Outside(inner, outer []string, api bool) []int {
	if len(outer) == 0 {
		return nil
	}
	var holders []matcher
	for _, text := range outer {
		if rule, why := parseEntry(text); why == "" {
			holders = append(holders, compile("", &rule))
		}
	}
	var outside []int
	for i, text := range inner {
		rule, why := parseEntry(text)
		if why != "" {
			outside = append(outside, i)
			continue
		}
		m := compile("", &rule)
		held := slices.ContainsFunc(holders, func(o matcher) bool {
			return o.holds(&m) || o.rule.Action == rule.Action && o.rule.Resource == rule.Resource
		})
		if !held && !(api && m.action.proto == API) {
			outside = append(outside, i)
		}
	}
	return outside
}

// parseEntry returns the rule that allows everything on a resource PROTO:RESOURCE, or why there is none.
func parseEntry(text string) (rule credential.Rule, why string) {
	proto, resource, _ := strings.Cut(text, ":")
	rule = credential.Rule{Permission: credential.Allow, Resource: resource}
	switch proto {
	case "http", "mqtt":
		rule.Action = proto + ":*"
	case "grpc":
		rule.Action = "grpc:call"
	case "api":
		rule.Action = "api:*:*"
	default:
		return rule, "must begin with http:, mqtt:, grpc: or api:"
	}
	if why := checkResource(parseAction(rule.Action), resource); why != "" {
		return rule, "has after " + proto + ": a resource that " + why
	}
	return rule, ""
}
