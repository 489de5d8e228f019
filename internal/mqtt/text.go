package mqtt

import (
	"bytes"
	"unicode/utf8"
)

// ValidText reports whether s is a string as 1.5.4 wants it: UTF-8 without NUL.
func ValidText(s []byte) bool {
	for i, c := range s {
		if c == 0 {
			return false
		}
		if c >= utf8.RuneSelf {
			return utf8.Valid(s[i:]) && bytes.IndexByte(s[i:], 0) < 0
		}
	}
	return true
}

// checkTopic is ValidText for topic names, which have no wildcards (3.3.2.1).
func checkTopic(s []byte) error {
	for i, c := range s {
		switch {
		case c == 0:
			return errUTF8
		case c == '+' || c == '#':
			return errTopic
		case c >= utf8.RuneSelf:
			rest := s[i:]
			if !utf8.Valid(rest) || bytes.IndexByte(rest, 0) >= 0 {
				return errUTF8
			}
			if bytes.ContainsAny(rest, "+#") {
				return errTopic
			}
			return nil
		}
	}
	return nil
}

// ValidFilter reports whether f, which is valid text, is a topic filter (4.7.1):
// not empty, # and + as whole levels, # only as the last one. A shared
// subscription, $share/NAME/FILTER, needs a name without wildcards and a filter (4.8.2).
func ValidFilter(f []byte) bool {
	if len(f) == 0 {
		return false
	}
	if rest, shared := bytes.CutPrefix(f, []byte("$share/")); shared {
		name, filter, ok := bytes.Cut(rest, []byte("/"))
		return ok && len(name) > 0 && !bytes.ContainsAny(name, "+#") && ValidFilter(filter)
	}
	for i, c := range f {
		switch c {
		case '#':
			if i != len(f)-1 || i > 0 && f[i-1] != '/' {
				return false
			}
		case '+':
			if i > 0 && f[i-1] != '/' || i < len(f)-1 && f[i+1] != '/' {
				return false
			}
		}
	}
	return true
}
