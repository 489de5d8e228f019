package scram

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/xdg-go/stringprep"
)

// Prepare brings a user name into the form in which it is compared: SASLprep (RFC 4013) of a query, which may have
// characters that Unicode 3.2 does not know. The error does not hold the name.
func Prepare(username string) (string, error) { return prepare(username, false) }

// PrepareStored brings a user name or a password into the form in which it is kept: SASLprep (RFC 4013) of a stored
// string, which may have only characters that Unicode 3.2 knows. The error does not hold the text.
func PrepareStored(text string) (string, error) { return prepare(text, true) }

// maxText bounds names and passwords, before and after: what is not ASCII costs up to a microsecond a character, and
// one character can become 18.
const maxText = 1 << 10

func prepare(s string, stored bool) (string, error) {
	if !utf8.ValidString(s) {
		return "", errors.New("is not UTF-8")
	}
	if !plain(s) && len(s) <= maxText {
		s = normalised(s)
	}
	switch {
	case s == "":
		return "", errors.New("is empty, or nothing of it is left when it is normalised by SASLprep")
	case len(s) > maxText:
		return "", fmt.Errorf("is longer than %d bytes", maxText)
	case plain(s):
		return s, nil
	}
	check := stringprep.Profile{Prohibits: prohibited(stored), CheckBiDi: true}
	if _, err := check.Prepare(s); err != nil {
		return "", reason(err)
	}
	return s, nil
}

// normalised is steps 1 and 2 (RFC 4013, 2.1 and 2.2).
func normalised(s string) string {
	n := stringprep.Profile{Normalize: true}
	s, _ = n.Prepare(strings.Map(mapped, s)) // it can fail only where something is prohibited
	return s
}

// plain reports whether SASLprep leaves s as it is because it is printable ASCII.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// mapped is step 1 (RFC 4013, 2.1). What is a space and also nothing, U+200B, is a space, as the order of the text
// has it and as PostgreSQL and libidn do it; the library's own profile makes it nothing.
func mapped(r rune) rune {
	if stringprep.TableC1_2.Contains(r) {
		return ' '
	}
	if _, nothing := stringprep.TableB1.Map(r); nothing {
		return -1
	}
	return r
}

// prohibited is step 3 (RFC 4013, 2.3 and 2.5).
func prohibited(stored bool) []stringprep.Set {
	sets := []stringprep.Set{
		stringprep.TableC1_2, stringprep.TableC2_1, stringprep.TableC2_2, stringprep.TableC3, stringprep.TableC4,
		stringprep.TableC5, stringprep.TableC6, stringprep.TableC7, stringprep.TableC8, stringprep.TableC9,
	}
	if stored {
		sets = append(sets, stringprep.TableA1)
	}
	return sets
}

// reason says what the library found, without the character, which may be one of a password's.
func reason(err error) error {
	if e, ok := errors.AsType[stringprep.Error](err); ok {
		return fmt.Errorf("is refused by SASLprep: %s", e.Msg)
	}
	return errors.New("is refused by SASLprep")
}
