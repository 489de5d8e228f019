package secret

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

const stars = "***"

// Text is a secret in the clear. It prints as *** everywhere; only Reveal gives
// it out. The zero value is the empty text. Two Texts of the same secret are
// not ==.
type Text struct {
	// A pointer for the same reason as in [Token]: fmt shows an address where it
	// may not or does not call methods (an unexported field, %p).
	s *string
}

// NewText wraps a secret that came from elsewhere.
func NewText(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{&s}
}

// Reveal returns the secret.
func (t Text) Reveal() string {
	if t.s == nil {
		return ""
	}
	return *t.s
}

// IsZero reports whether there is no secret, for the "omitzero" of JSON.
func (t Text) IsZero() bool { return t.s == nil }

// String returns ***.
func (t Text) String() string { return stars }

// Format writes *** for every verb.
func (t Text) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, stars) }

// MarshalText returns ***, so that JSON, XML and the like do.
func (t Text) MarshalText() ([]byte, error) { return []byte(stars), nil }

// LogValue returns ***.
func (t Text) LogValue() slog.Value { return slog.StringValue(stars) }

// String returns the token without id and secret.
func (t Token) String() string { return prefix + t.Kind + "_" + stars }

// Format writes what String returns, for every verb.
func (t Token) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, t.String()) }

// MarshalText returns what String returns.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// LogValue returns what String returns.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// Looks reports whether s contains something in the form of a token: its
// beginning, an id and at least one character of the secret. The sum is not
// asked, because a token with a typing mistake gives most of a secret away too.
// It sees the text as it is: of a query string look at the decoded form as well.
func Looks(s string) bool {
	_, _, ok := find(s)
	return ok
}

// Redact returns s with everything that [Looks] sees replaced by
// "cardea_<kind>_***". It does not allocate if there is nothing.
func Redact(s string) string {
	from, to, ok := find(s)
	if !ok {
		return s
	}
	var b strings.Builder
	for ; ok; from, to, ok = find(s) {
		b.WriteString(s[:from+bodyAt])
		b.WriteString(stars)
		s = s[to:]
	}
	b.WriteString(s)
	return b.String()
}

// find returns where the first thing in the form of a token begins and ends.
// Whatever base62 follows is taken for a part of it, up to the next token.
func find(s string) (from, to int, ok bool) {
	for {
		i := strings.Index(s[from:], prefix)
		if i < 0 {
			return 0, 0, false
		}
		from += i
		if isHead(s[from:]) {
			to = from + bodyAt
			for to < len(s) && value[s[to]] != 0xFF && !isHead(s[to:]) {
				to++
			}
			if to-from > bodyAt+IDLen {
				return from, to, true
			}
		}
		from += len(prefix)
	}
}
