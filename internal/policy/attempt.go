package policy

import (
	"strings"

	"cardea/internal/credential"
)

// NewAccess reads what is attempted from an action and a resource as rules
// write them, but without wildcards: "http:GET" of a canonical path,
// "mqtt:publish" of a topic, "mqtt:subscribe" of a filter, "grpc:call" of
// "/package.Service/Method", "api:NOUN:VERB" of "/NOUN/NAME". What is wrong is
// added to p under "action" and "resource".
func NewAccess(action, resource string, p *credential.Problems) Access {
	proto, verb, _ := strings.Cut(action, ":")
	a := Access{Verb: verb, Resource: resource}
	switch proto {
	case "http":
		a.Proto = HTTP
	case "mqtt":
		a.Proto = MQTT
	case "grpc":
		a.Proto = GRPC
	case "api":
		a.Proto = API
	}
	if why := badAttempt(a.Proto, verb); why != "" {
		p.Add("action", "%s", why)
		return a
	}
	if a.Proto == HTTP {
		path, err := CanonicalPath(resource)
		if err != nil {
			p.Add("resource", "is not a path that can be read in one way only: %s", err.Error())
		}
		a.Resource = path
		return a
	}
	if why := badTarget(&a); why != "" {
		p.Add("resource", "%s", why)
	}
	return a
}

func badAttempt(proto Proto, verb string) string {
	if strings.Contains(verb, "*") {
		return "must be one action, without a wildcard"
	}
	ok := false
	switch proto {
	case HTTP:
		ok = isMethod(verb)
	case MQTT:
		ok = verb == "publish" || verb == "subscribe"
	case GRPC:
		ok = verb == "call"
	case API:
		noun, act, found := strings.Cut(verb, ":")
		ok = found && noun != "" && act != "" && !strings.Contains(act, ":")
	}
	if !ok {
		return "is none of http:METHOD, mqtt:publish, mqtt:subscribe, grpc:call, api:NOUN:VERB"
	}
	return ""
}

func isMethod(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return s != ""
}

func badTarget(a *Access) string {
	r := a.Resource
	switch {
	case r == "":
		return "is empty"
	case len(r) > 65535:
		return "is longer than 65535 bytes"
	case strings.ContainsRune(r, 0):
		return "contains a NUL"
	case a.Proto != MQTT && r[0] != '/':
		return "must begin with /"
	case a.Proto == GRPC && strings.Count(r, "/") != 2:
		return "must be /package.Service/Method"
	case a.Proto == MQTT && a.Verb == "publish" && strings.ContainsAny(r, "+#"):
		return "is a topic filter; a topic has neither + nor #"
	}
	return ""
}
