package policy

import (
	"strings"

	"cardea/internal/credential"
)

// ParseAccess reads an access from an action, as in a rule but without
// wildcards, and a resource, as the API takes them from somebody who asks what a
// credential may. A path may be escaped, a filter may be that of a shared
// subscription. QoS, Retain and Source are left to the caller. The error is
// of kind Invalid and names the fields "action" and "resource".
func ParseAccess(action, resource string) (Access, error) {
	why := checkAction(action)
	if why == "" && strings.Contains(action, anything) {
		why = "must name one action, without *"
	}
	if why != "" {
		return Access{}, wrong("action", why)
	}
	act := parseAction(action)
	a := Access{Proto: act.proto, Verb: act.verb}
	if act.proto == API {
		a.Verb = act.noun + ":" + act.verb
	}
	if a.Resource, why = parseResource(act, resource); why != "" {
		return Access{}, wrong("resource", why)
	}
	return a, nil
}

func wrong(field, why string) error {
	return &credential.Error{Kind: credential.Invalid, Fields: []credential.FieldError{{Field: field, Message: why}}}
}

// parseResource returns the resource of an access to what text says, or why there is none.
func parseResource(act action, text string) (resource, why string) {
	switch {
	case act.proto == HTTP:
		path, why := canonical(text)
		return path, why
	case act.verb == "subscribe" && act.proto == MQTT:
		filter, ok := Unshare(text)
		if !ok || strings.HasPrefix(filter, sharePrefix) {
			return "", "is not a shared subscription: it must be $share/GROUP/FILTER"
		}
		return filter, checkFilter(filter)
	case act.proto == MQTT:
		if strings.ContainsAny(text, "+#") {
			return "", "is a topic filter: messages are published to names, without + and #"
		}
		return text, checkText(text)
	case strings.Contains(text, anything):
		return "", "must name one thing, without *"
	case text == "":
		return "", "is empty"
	}
	return text, checkForm(act, text)
}
