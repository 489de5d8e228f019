package policy

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"cardea/internal/credential"
)

// What an ACL may have at most.
const (
	maxACLRules  = 1000
	maxACLTopics = 4096 // of all rules together
)

const (
	exactly         = "eq " // in front of a topic
	attrsDot        = "client_attrs."
	aclPlaceholders = "${username}, ${clientid}, ${cert_common_name}, ${zone}, ${client_attrs.NAME} and ${$}"
)

// CompileACL reads the "acl" of an answer, a list of rules in JSON, for who logs
// in. A rule that is wrong refuses the whole list: the error is of kind Invalid
// and names the rule and its field, "acl[2].topic". It keeps nothing of raw and who.
func CompileACL(raw []byte, who ACLContext) (*ACL, error) {
	var list []json.RawMessage
	switch {
	case !utf8.Valid(raw):
		return nil, wrong("acl", "is not valid UTF-8")
	case json.Unmarshal(raw, &list) != nil || list == nil:
		return nil, wrong("acl", "must be a list of rules")
	case len(list) > maxACLRules:
		return nil, wrong("acl", fmt.Sprintf("has %d rules: there may be %d", len(list), maxACLRules))
	}
	l := &ACL{count: len(list)}
	for i, text := range list {
		var p credential.Problems
		at := fmt.Sprintf("acl[%d]", i)
		l.rules = append(l.rules, parseACLRule(at, text, &who, &p)...)
		if err := p.Err(); err != nil {
			return nil, err
		}
		if len(l.rules) > maxACLTopics {
			return nil, wrong(at, fmt.Sprintf("brings more than %d topics: there may be so many in all rules together", maxACLTopics))
		}
	}
	l.sort()
	return l, nil
}

// parseACLRule returns what a rule says of each of its topics.
func parseACLRule(at string, text json.RawMessage, who *ACLContext, p *credential.Problems) []aclRule {
	raw := rawRule{at: at, problems: p}
	if json.Unmarshal(text, &raw.fields) != nil || raw.fields == nil {
		p.Add(at, "must be an object")
		return nil
	}
	rule := credential.Rule{Permission: raw.permission(), Action: raw.action(), QoS: raw.qos()}
	if rule.Action != "mqtt:subscribe" {
		rule.Retain = raw.retain()
	}
	networks := raw.networks()
	proto := aclRule{client: raw.expression("clientid_re"), off: raw.condition(who)}
	var rules []aclRule
	for i, topic := range raw.topics() {
		own := rule
		own.Resource, own.Networks = topic, networks
		r := proto
		var why string
		r.matcher, why = compileACLTopic(at, &own, who)
		raw.wrong(raw.topicField(i), why)
		if r.off == "" && !r.fromNetwork(who.Source) {
			r.off = "networks"
		}
		r.networks = nil // a login has one source
		rules = append(rules, r)
		if more, ok := literally(&r.matcher); ok {
			own := own
			r.matcher = compileAs(at, &own, more, nil)
			rules = append(rules, r)
		}
	}
	return rules
}

// literally is what else a deny is about whose placeholders have values that no
// level takes: the topics that come of the values as they are, "t/a/b" for a
// site "a/b", since it is these that were meant.
func literally(m *matcher) (topic string, ok bool) {
	t := m.template
	if t == nil || !m.deny || t.has(ofClientID) {
		return "", false
	}
	for _, l := range t.levels {
		topic += l.before
		for _, p := range l.pieces {
			topic += p.text
		}
	}
	topic += t.rest
	return topic, checkForm(action{proto: MQTT}, topic) == ""
}

// compileACLTopic compiles a rule about one topic. It keeps r.
func compileACLTopic(at string, r *credential.Rule, who *ACLContext) (m matcher, why string) {
	topic, exact := strings.CutPrefix(r.Resource, exactly)
	if why = checkForm(action{proto: MQTT}, topic); why != "" {
		return m, why
	}
	if exact {
		m = compileAs(at, r, topic, nil)
		if m.shape != shapeExact {
			m.shape = shapeSame
		}
		return m, ""
	}
	t, why := parseWith(topic, who.placeholder, aclPlaceholders)
	switch {
	case why != "":
		return m, why
	case t == nil:
		return compileAs(at, r, topic, nil), ""
	case !t.has(ofClientID):
		if topic, ok := t.expand(nil, MQTT, false, nil, &Access{}); ok {
			return compileAs(at, r, string(topic), nil), ""
		}
	}
	return compileAs(at, r, "", t), ""
}

// compileAs compiles a rule for mqtt with another resource than its own: text, or a template.
func compileAs(at string, r *credential.Rule, resource string, t *template) matcher {
	m := compileConditions(at, r)
	m.resource, m.template = resource, t
	m.findShape()
	return m
}

// placeholder reads the name of a placeholder. One without a value is a value
// that no level takes.
func (who *ACLContext) placeholder(name string) (piece, bool) {
	switch name {
	case "$":
		return piece{ofText, "$"}, true
	case "username":
		return piece{ofValue, who.Username}, true
	case "clientid":
		return piece{of: ofClientID}, true
	case "cert_common_name":
		return piece{ofValue, who.CertCommonName}, true
	case "zone":
		return piece{ofValue, who.Zone}, true
	}
	attr, ok := strings.CutPrefix(name, attrsDot)
	return piece{ofValue, who.Attrs[attr]}, ok && isAttr(attr)
}
