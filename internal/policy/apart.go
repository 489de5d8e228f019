package policy

import (
	"slices"

	"cardea/internal/credential"
)

// Apart returns the allows of rules, by index, that none of the resources touches: whoever is held to these can do
// nothing by them. The API is not asked about, since what bounds data does not bound it. Nothing is
// apart from an empty list, which bounds nothing, nor is a rule that [Check] refuses.
//
// Variables count as wildcards, so a rule that is not returned may still allow nothing to somebody.
func Apart(rules []credential.Rule, resources []string) []int {
	if len(resources) == 0 {
		return nil
	}
	bounds := compileAll(Granting(resources))
	var apart []int
	for i := range rules {
		if rules[i].Permission != credential.Allow || !isFine(&rules[i]) {
			continue
		}
		m := compile("", &rules[i])
		if m.action.proto != API && !slices.ContainsFunc(bounds, func(b matcher) bool { return b.touchesAny(&m) }) {
			apart = append(apart, i)
		}
	}
	return apart
}

// Touching returns a pair of resources, one of each list, that have something in common; false if there is none. Both lists
// are such as [CheckResources] accepts.
func Touching(some, others []string) (one, other string, found bool) {
	left, right := compileAll(Granting(some)), compileAll(Granting(others))
	for i := range left {
		for j := range right {
			if left[i].touchesAny(&right[j]) {
				return some[i], others[j], true
			}
		}
	}
	return "", "", false
}

// Granting returns, for each of the resources that [CheckResources] accepts, the rule that allows everything on it: for
// [Rights.Covers] to judge who may hold others to them.
func Granting(resources []string) []credential.Rule {
	rules := make([]credential.Rule, 0, len(resources))
	for _, text := range resources {
		if rule, why := parseEntry(text); why == "" {
			rules = append(rules, rule)
		}
	}
	return rules
}

func compileAll(rules []credential.Rule) []matcher {
	all := make([]matcher, len(rules))
	for i := range rules {
		all[i] = compile("", &rules[i])
	}
	return all
}

// touchesAny reports whether two allows have an access in common, either half of mqtt:* counting.
func (m *matcher) touchesAny(n *matcher) bool {
	return slices.ContainsFunc(n.split(), func(half matcher) bool { return m.touches(&half) })
}
