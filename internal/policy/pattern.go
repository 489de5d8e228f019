package policy

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// anything is the resource that is everything of its action's protocol.
const anything = "*"

// matchPattern reports whether a valid path pattern that begins with "/"
// matches a canonical path. It is linear: ** stands last, so nothing is ever tried again.
func matchPattern(p, path string) bool {
	j := 0
	for i := 0; i < len(p); i++ {
		if p[i] != '*' {
			if j == len(path) || p[i] != path[j] {
				return false
			}
			j++
			continue
		}
		if i+1 < len(p) && p[i+1] == '*' {
			return true
		}
		from := j
		for j < len(path) && path[j] != '/' {
			j++
		}
		if j == from {
			return false
		}
	}
	return j == len(path)
}

// PathSubset reports whether every path that pattern a matches is matched by
// pattern b. Both must be valid: "*" alone, or a path with * and a final **.
// The answer is exact for canonical paths.
func PathSubset(a, b string) bool {
	if a == anything || b == anything {
		return b == anything
	}
	for a, b := segments(a), segments(b); ; {
		sa, oka := a.next()
		sb, okb := b.next()
		switch {
		case !oka || !okb:
			return oka == okb
		case sb == "**":
			return true
		case sa == "**":
			return false
		case sb == "*":
			if sa == "" {
				return false
			}
		case sa != sb:
			return false
		}
	}
}

// PathOverlap reports whether some path is matched by both patterns. Both
// must be valid as in [PathSubset]. The answer is exact for canonical paths.
func PathOverlap(a, b string) bool {
	if a == anything || b == anything {
		return true
	}
	for a, b := segments(a), segments(b); ; {
		sa, oka := a.next()
		sb, okb := b.next()
		switch {
		case !oka || !okb:
			return oka == okb
		case sa == "**" || sb == "**":
			return true
		case sa == "*":
			if sb == "" {
				return false
			}
		case sb == "*":
			if sa == "" {
				return false
			}
		case sa != sb:
			return false
		}
	}
}

// checkPattern says what is wrong with a path pattern; "" if nothing is.
func checkPattern(p string) string {
	if p == anything {
		return ""
	}
	if !strings.HasPrefix(p, "/") {
		return "must begin with / or be *"
	}
	if !utf8.ValidString(p) {
		return "is not valid UTF-8"
	}
	for _, c := range p {
		if why := badRune(c); why != "" {
			return "contains " + why
		}
	}
	s := segments(p)
	for {
		seg, ok := s.next()
		if !ok {
			return ""
		}
		if why := checkSegment(seg, !s.more); why != "" {
			return why
		}
	}
}

func checkSegment(seg string, last bool) string {
	switch {
	case seg == "" && !last:
		return "has an empty segment (//)"
	case seg == "." || seg == "..":
		return fmt.Sprintf("has the segment %q", seg)
	case seg == "**" && !last:
		return "has a ** that is not the last segment"
	case seg != "*" && seg != "**" && strings.Contains(seg, "*"):
		return "has a * inside a segment: * stands for a whole one"
	}
	return ""
}

// badRune says what a character is that no canonical path contains, and "" for
// any other. A pattern with one would never match; % would look like an
// escape, and patterns are of decoded paths.
func badRune(c rune) string {
	switch {
	case c < 0x20 || c >= 0x7F && c < 0xA0:
		return "a control character"
	case c == '?' || c == '#' || c == '\\' || c == ';':
		return fmt.Sprintf("%q", c)
	case c == '%':
		return "'%': write the characters themselves, unescaped"
	}
	return ""
}
