package policy

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"cardea/internal/credential"
)

// CanonicalPath returns the decoded path of a request if the escaped one can be
// read in one way only, and otherwise an error that says what is wrong with it
// (H05). It does not repair: a path that one server would clean and another
// would not is refused, so that the decision is taken on what the upstream sees.
//
// Accepted is a path that begins with "/", whose escapes are all well formed,
// and which, decoded, is valid UTF-8 without control characters, without
// \ ; ? # and without "." and ".." as segments; empty segments
// are refused but for the one that a final "/" makes. Refused are also %2F,
// which would make one segment two, and a decoded % before two hexadecimal
// digits, which a second decoding would read otherwise. The error is of kind
// Invalid and does not repeat the path. Without escapes nothing is allocated.
func CanonicalPath(escaped string) (string, error) {
	path, why := canonical(escaped)
	if why != "" {
		return "", credential.Errorf(credential.Invalid, "the path %s", why)
	}
	return path, nil
}

// canonical is CanonicalPath with the error as words that a subject stands before.
func canonical(escaped string) (path, why string) {
	if !strings.HasPrefix(escaped, "/") {
		return "", "must begin with /"
	}
	if path, why = unescape(escaped); why == "" {
		why = checkCanonical(path)
	}
	return path, why
}

// unescape decodes the percent escapes of s, or says why it cannot.
func unescape(s string) (text, why string) {
	i := strings.IndexByte(s, '%')
	if i < 0 {
		return s, ""
	}
	b := make([]byte, i, len(s))
	copy(b, s)
	for ; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
			return "", fmt.Sprintf("has at byte %d a %% without two hexadecimal digits", i+1)
		}
		c := unhex(s[i+1])<<4 | unhex(s[i+2])
		if c == '/' {
			return "", fmt.Sprintf("has at byte %d an escaped /", i+1)
		}
		b = append(b, c)
		i += 2
	}
	return string(b), ""
}

// checkCanonical says what is wrong with a decoded path that begins with "/".
func checkCanonical(p string) string {
	segment, start, ascii := 1, 1, true
	for i := 1; i <= len(p); i++ {
		if i == len(p) || p[i] == '/' {
			switch s := p[start:i]; {
			case s == "" && i < len(p):
				return fmt.Sprintf("is empty in segment %d (//)", segment)
			case s == "." || s == "..":
				return fmt.Sprintf("has %q as segment %d", s, segment)
			}
			segment, start = segment+1, i+1
			continue
		}
		switch c := p[i]; {
		case c >= utf8.RuneSelf:
			ascii = false
		case c == '%':
			if i+2 < len(p) && isHex(p[i+1]) && isHex(p[i+2]) {
				return fmt.Sprintf("is escaped twice in segment %d", segment)
			}
		case badByte[c]:
			return fmt.Sprintf("contains %s in segment %d", badRune(rune(c)), segment)
		}
	}
	if ascii {
		return ""
	}
	return checkUnicode(p)
}

// checkUnicode says what is wrong with a path's characters beyond ASCII.
func checkUnicode(p string) string {
	segment := 0
	for i, c := range p {
		switch {
		case c == '/':
			segment++
		case c == utf8.RuneError && !strings.HasPrefix(p[i:], string(utf8.RuneError)):
			return fmt.Sprintf("is not valid UTF-8 in segment %d", segment)
		case c >= utf8.RuneSelf && badRune(c) != "":
			return fmt.Sprintf("contains %s in segment %d", badRune(c), segment)
		}
	}
	return ""
}

// badByte is badRune for ASCII, but for '%'.
var badByte = func() (t [utf8.RuneSelf]bool) {
	for c := range t {
		t[c] = c != '%' && badRune(rune(c)) != ""
	}
	return t
}()

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&0x0F + 9
}
