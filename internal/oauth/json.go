package oauth

import (
	"strconv"
	"unicode/utf8"
)

// answer sends what was written to x.out.
func (x *exchange) answer() {
	h := x.w.Header()
	header(h)
	h["Content-Length"] = []string{strconv.Itoa(len(x.out))}
	_, _ = x.w.Write(x.out)
}

// appendMember writes one more member with a text, if it is not empty. The name needs no escaping.
func appendMember(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	return appendString(appendName(b, name), text)
}

func appendName(b []byte, name string) []byte {
	return append(append(append(b, `,"`...), name...), `":`...)
}

// appendScope writes scopes as OAuth has them. Their names need no escaping.
func appendScope(b []byte, scopes []string) []byte {
	b = append(b, `,"scope":"`...)
	for i, s := range scopes {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, s...)
	}
	return append(b, '"')
}

// appendString writes a JSON string (RFC 8259 §7).
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	if isPlain(s) {
		return append(append(b, s...), '"')
	}
	for i := 0; i < len(s); {
		c, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case c == utf8.RuneError && n == 1:
			b = append(b, `\ufffd`...)
		case c == '"' || c == '\\':
			b = append(b, '\\', byte(c))
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return append(b, '"')
}

// isPlain reports whether a text needs no escaping.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
