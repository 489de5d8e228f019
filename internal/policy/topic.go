package policy

import (
	"strings"
	"unicode/utf8"
)

// maxTopic is the length of the longest topic name or filter (MQTT 5.0, 1.5.4).
const maxTopic = 65535

const sharePrefix = "$share/"

// Unshare returns the filter of a shared subscription, "$share/group/filter"
// (MQTT 5.0, 4.8.2), and any other filter as it is. It is false if filter
// begins as a shared subscription but has not its form.
func Unshare(filter string) (string, bool) {
	rest, shared := strings.CutPrefix(filter, sharePrefix)
	if !shared {
		return filter, true
	}
	group, inner, ok := strings.Cut(rest, "/")
	return inner, ok && group != "" && inner != "" && !strings.ContainsAny(group, "+#")
}

// checkText says what is wrong with any topic name or filter (MQTT 5.0, 1.5.4 and 4.7.3).
func checkText(s string) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > maxTopic:
		return "is longer than 65535 bytes"
	case strings.IndexByte(s, 0) >= 0:
		return "contains a NUL character"
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	}
	return ""
}

// checkFilter says what is wrong with a topic filter (MQTT 5.0, 4.7); "" if nothing is.
func checkFilter(f string) string {
	if why := checkText(f); why != "" {
		return why
	}
	return checkWildcards(f)
}

func checkWildcards(f string) string {
	for i := range len(f) {
		switch f[i] {
		case '#':
			if i != len(f)-1 || i > 0 && f[i-1] != '/' {
				return "has a # that is not the whole last level"
			}
		case '+':
			if i > 0 && f[i-1] != '/' || i < len(f)-1 && f[i+1] != '/' {
				return "has a + that is not a whole level"
			}
		}
	}
	return ""
}

// isSubscription reports whether f is a filter that [Set.Decide] judges: one
// with its wildcards in place and without "$share/", which the door takes off.
func isSubscription(f string) bool {
	return checkWildcards(f) == "" && !strings.HasPrefix(f, sharePrefix)
}

// matchFilter reports whether a valid filter matches a topic name (MQTT 5.0, 4.7).
func matchFilter(f, t string) bool {
	if beginsWild(f) && strings.HasPrefix(t, "$") { // MQTT-4.7.2-1
		return false
	}
	return matchLevels(f, t)
}

// matchLevels is matchFilter where a wildcard in front matches $ too. It is
// linear in the shorter of the two: # stands last, so nothing is ever tried again.
func matchLevels(f, t string) bool {
	j := 0
	for i := 0; i < len(f); i++ {
		switch f[i] {
		case '#':
			return true
		case '+':
			for j < len(t) && t[j] != '/' {
				j++
			}
		default:
			if j == len(t) {
				return f[i:] == "/#" // the parent level too (4.7.1.2)
			}
			if f[i] != t[j] {
				return false
			}
			j++
		}
	}
	return j == len(t)
}

func beginsWild(f string) bool { return f != "" && (f[0] == '+' || f[0] == '#') }

// Subset reports whether every topic name that filter a matches is matched by
// filter b. Both must be valid topic filters. The answer is exact.
func Subset(a, b string) bool {
	if beginsWild(b) && strings.HasPrefix(a, "$") {
		return false
	}
	for a, b := levels(a), levels(b); ; {
		la, oka := a.next()
		lb, okb := b.next()
		switch {
		case okb && lb == "#":
			return true // a goes on or ends here: # matches the parent too
		case !oka || !okb:
			return oka == okb
		case la == "#": // it matches the parent, which b does not
			return false
		case lb != "+" && la != lb:
			return false
		}
	}
}

// Overlap reports whether some topic name is matched by both filters. Both
// must be valid topic filters. The answer is exact.
func Overlap(a, b string) bool {
	if beginsWild(a) && strings.HasPrefix(b, "$") || beginsWild(b) && strings.HasPrefix(a, "$") {
		return false
	}
	return overlapLevels(a, b)
}

// overlapLevels is Overlap where a wildcard in front matches $ too.
func overlapLevels(a, b string) bool {
	for a, b := levels(a), levels(b); ; {
		la, oka := a.next()
		lb, okb := b.next()
		switch {
		case oka && la == "#" || okb && lb == "#":
			return true
		case !oka || !okb:
			return oka == okb
		case la != "+" && lb != "+" && la != lb:
			return false
		}
	}
}

// parts walks over what "/" separates.
type parts struct {
	rest string
	more bool
}

// levels walks over the levels of a filter. # is read as +/#, and /# as /+/#,
// which match the same names: what # would match beside, as the parent level, is
// the name without characters, and there is none such (MQTT-4.7.3-1).
func levels(filter string) parts {
	switch filter {
	case "#":
		filter = "+/#"
	case "/#":
		filter = "/+/#"
	}
	return parts{filter, true}
}

// segments walks over the segments of a path or pattern that begins with "/".
func segments(path string) parts { return parts{strings.TrimPrefix(path, "/"), true} }

func (p *parts) next() (part string, ok bool) {
	if !p.more {
		return "", false
	}
	part, p.rest, p.more = strings.Cut(p.rest, "/")
	return part, true
}
