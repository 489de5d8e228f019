package policy

import (
	"fmt"
	"net/netip"
	"strings"

	"cardea/internal/credential"
)

// Check adds to p what is wrong with rules; field is their name in the request, "rules" say.
func Check(field string, rules []credential.Rule, p *credential.Problems) {
	for i := range rules {
		checkRule(fmt.Sprintf("%s[%d]", field, i), &rules[i], p)
	}
}

func checkRule(field string, r *credential.Rule, p *credential.Problems) {
	add := func(part, why string) {
		if why != "" {
			p.Add(field+"."+part, "%s", why)
		}
	}
	if r.Permission != credential.Allow && r.Permission != credential.Deny {
		add("permission", "must be allow or deny")
	}
	for i, n := range r.Networks {
		add(fmt.Sprintf("networks[%d]", i), checkNetwork(n))
	}
	why := checkAction(r.Action)
	add("action", why)
	if why != "" {
		return // what the rest may be depends on the action
	}
	act := parseAction(r.Action)
	add("resource", checkResource(act, r.Resource))
	for i, q := range r.QoS {
		if q < 0 || q > 2 {
			add(fmt.Sprintf("qos[%d]", i), "must be 0, 1 or 2")
		}
	}
	if len(r.QoS) > 0 && act.proto != MQTT {
		add("qos", "is for mqtt actions only")
	}
	if r.Retain != nil && (act.proto != MQTT || act.verb == "subscribe") {
		add("retain", "is for mqtt:publish and mqtt:* only")
	}
}

// checkAction says what is wrong with the action of a rule.
func checkAction(s string) string {
	proto, verb, _ := strings.Cut(s, ":")
	switch proto {
	case "http":
		if verb != anything && !isWord(verb, 'A', 'Z') {
			return "must be http: and a method in upper case, or http:*"
		}
	case "mqtt":
		if verb != "publish" && verb != "subscribe" && verb != anything {
			return "must be mqtt:publish, mqtt:subscribe or mqtt:*"
		}
	case "grpc":
		if verb != "call" {
			return "must be grpc:call"
		}
	case "api":
		noun, verb, _ := strings.Cut(verb, ":")
		if noun != anything && !isWord(noun, 'a', 'z') || verb != anything && !isWord(verb, 'a', 'z') {
			return "must be api:NOUN:VERB in lower case, with * for any noun or verb"
		}
	default:
		return "must begin with http:, mqtt:, grpc: or api:"
	}
	return ""
}

// isWord reports whether s is a word: a letter from first to last, then such
// letters, digits, - and _.
func isWord(s string, first, last byte) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= first && c <= last
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '-' && c != '_') {
			return false
		}
	}
	return s != ""
}

// checkResource says what is wrong with the resource of a rule for an action.
func checkResource(act action, s string) string {
	switch {
	case s == anything:
		return ""
	case s == "":
		return "is empty; * stands for everything"
	}
	if why := checkTemplate(act, s); why != "" {
		return why
	}
	return checkForm(act, s)
}

// checkForm is checkResource but for * and variables, which are as good as text:
// nothing of how they are written has a meaning in a topic or path.
func checkForm(act action, s string) string {
	switch {
	case act.proto == MQTT && strings.HasPrefix(s, sharePrefix):
		return "begins with $share/: write the filter alone, it holds for shared subscriptions too"
	case act.proto == MQTT:
		return checkFilter(s)
	}
	if why := checkPattern(s); why != "" {
		return why
	}
	switch act.proto {
	case GRPC:
		return checkMethod(s)
	case API:
		return checkObject(act.noun, s)
	}
	return ""
}

// checkMethod says what is wrong with the resource of grpc:call, a valid pattern.
func checkMethod(s string) string {
	service, method, ok := strings.Cut(s[1:], "/")
	if !ok || service == "" || service == "*" || method == "" || method == "**" || strings.Contains(method, "/") {
		return "must be /package.Service/Method, /package.Service/* or *"
	}
	return ""
}

// checkObject says what is wrong with the resource of an action of the API, a valid pattern.
func checkObject(noun, s string) string {
	first, name, ok := strings.Cut(s[1:], "/")
	switch {
	case !ok || !isWord(first, 'a', 'z') || name == "" || strings.Contains(name, "/"):
		return "must be /NOUN/NAME, /NOUN/*, /NOUN/** or *"
	case noun != anything && noun != first:
		return fmt.Sprintf("is not of the noun of its action: it must begin with /%s/", noun)
	}
	return ""
}

// checkNetwork says what is wrong with a network of a rule.
func checkNetwork(n netip.Prefix) string {
	switch {
	case !n.IsValid():
		return "is not a network in CIDR form, like 10.0.0.0/8"
	case n.Addr().Is4In6():
		if n.Bits() < 96 {
			return "is IPv4 inside IPv6, with host bits set: write the IPv4 network"
		}
		return fmt.Sprintf("is IPv4 inside IPv6: write %s", netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96).Masked())
	case n != n.Masked():
		return fmt.Sprintf("has host bits set: write %s", n.Masked())
	}
	return ""
}
