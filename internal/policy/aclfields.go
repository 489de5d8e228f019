package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"cardea/internal/credential"
)

// rawRule is a rule as it came, with what is wrong with it.
type rawRule struct {
	at       string
	fields   map[string]json.RawMessage // by their exact names
	problems *credential.Problems
}

func (r *rawRule) wrong(field, why string) {
	if why != "" {
		r.problems.Add(r.at+"."+field, "%s", why)
	}
}

func (r *rawRule) permission() credential.Permission {
	switch s, _ := r.text("permission"); s {
	case "allow":
		return credential.Allow
	case "deny":
		return credential.Deny
	}
	r.wrong("permission", "must be allow or deny")
	return ""
}

func (r *rawRule) action() string {
	switch s, _ := r.text("action"); s {
	case "publish", "pub":
		return "mqtt:publish"
	case "subscribe", "sub":
		return "mqtt:subscribe"
	case "all":
		return "mqtt:*"
	}
	r.wrong("action", "must be publish, subscribe or all")
	return "mqtt:*"
}

// text returns a field that is a text; false if it is missing or something else.
func (r *rawRule) text(field string) (string, bool) {
	var s *string
	if json.Unmarshal(r.fields[field], &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

// topics are those of "topic", if it is a text, and otherwise of "topics".
func (r *rawRule) topics() []string {
	if s, ok := r.text("topic"); ok {
		return []string{s}
	}
	raw, ok := r.fields["topics"]
	if !ok {
		r.wrong("topic", "is missing: it must be a text, or topics a list of them")
		return nil
	}
	var list []*string
	if json.Unmarshal(raw, &list) != nil || list == nil || slices.Contains(list, nil) {
		r.wrong("topics", "must be a list of texts")
		return nil
	}
	topics := make([]string, len(list))
	for i, s := range list {
		topics[i] = *s
	}
	return topics
}

// topicField is the name of a topic's field.
func (r *rawRule) topicField(i int) string {
	if _, ok := r.text("topic"); ok {
		return "topic"
	}
	return fmt.Sprintf("topics[%d]", i)
}

// qos is none for any.
func (r *rawRule) qos() []int {
	raw, ok := r.fields["qos"]
	if !ok || isNull(raw) {
		return nil
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	var all []int
	for _, one := range list {
		text := string(one)
		if s := ""; json.Unmarshal(one, &s) == nil {
			text = s
		}
		for s := range strings.SplitSeq(text, ",") {
			s = strings.TrimSpace(s)
			if len(s) != 1 || s < "0" || s > "2" {
				r.wrong("qos", "must be 0, 1 or 2, or a list of them")
				return nil
			}
			all = append(all, int(s[0]-'0'))
		}
	}
	if all == nil {
		r.wrong("qos", "is an empty list: leave it out for any")
	}
	return all
}

// retain is nil for any.
func (r *rawRule) retain() *bool {
	switch raw := r.fields["retain"]; string(bytes.TrimSpace(raw)) {
	case "", "null", `"all"`:
		return nil
	case "true", "1", `"true"`, `"1"`:
		return new(true)
	case "false", "0", `"false"`, `"0"`:
		return new(false)
	}
	r.wrong("retain", "must be true, false or all")
	return nil
}

// networks is the one of "ipaddr"; none for any.
func (r *rawRule) networks() []netip.Prefix {
	if _, ok := r.fields["ipaddr"]; !ok {
		return nil
	}
	s, _ := r.text("ipaddr")
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return []netip.Prefix{netip.PrefixFrom(a, a.BitLen())}
	}
	n, err := netip.ParsePrefix(s)
	if err == nil && n.Addr().Is4In6() {
		n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	if err != nil || !n.IsValid() {
		r.wrong("ipaddr", "must be an address, or a network like 10.0.0.0/8")
		return nil
	}
	return []netip.Prefix{n.Masked()}
}

// condition names a condition on who logs in that does not hold; "" if all do.
func (r *rawRule) condition(who *ACLContext) string {
	off := ""
	for _, c := range []struct{ field, of, value string }{
		{"username_re", "username", who.Username},
		{"zone_re", "zone", who.Zone},
		{"listener_re", "listener", who.Listener},
	} {
		if e := r.expression(c.field); e != nil && !e.MatchString(c.value) {
			off = c.of
		}
	}
	for _, c := range []struct{ field, value string }{{"zone", who.Zone}, {"listener", who.Listener}} {
		if _, there := r.fields[c.field]; !there {
			continue
		}
		s, ok := r.text(c.field)
		switch {
		case !ok || s == "":
			r.wrong(c.field, "must be a text that is not empty")
		case s != c.value:
			off = c.field
		}
	}
	return off
}

// expression is a field that is a regular expression; nil if it is missing or wrong.
func (r *rawRule) expression(field string) *regexp.Regexp {
	if _, ok := r.fields[field]; !ok {
		return nil
	}
	s, _ := r.text(field)
	e, err := regexp.Compile(s)
	if s == "" || err != nil {
		r.wrong(field, "must be a regular expression as RE2 has them, not an empty one")
		return nil
	}
	return e
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }
