package secret

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"cardea/internal/credential"
)

// Lengths of a password in code points (NIST SP 800-63B-4, 3.1.1.2: at least 15
// where it is the only factor). There are no rules of composition.
const (
	minPassword = 15
	maxPassword = 256
)

// maxRaw bounds a password in bytes, before and after it is normalised: more
// is not worth the work.
const maxRaw = 4 * maxPassword

// minRest is how many characters of a password must not belong to anything that
// is guessed first.
const minRest = 6

// PreparePassword brings a password into the form in which it is hashed and
// compared: NFKC, so that it is the same whatever keyboard it was typed on. It
// refuses what no keyboard types. The error is a message for its field and does
// not hold the password.
func PreparePassword(text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", errors.New("is not UTF-8")
	}
	if len(text) <= maxRaw {
		text = norm.NFKC.String(text)
	}
	switch {
	case len(text) > maxRaw:
		return "", fmt.Errorf("is longer than %d bytes", maxRaw)
	case strings.ContainsFunc(text, isControl):
		return "", errors.New("holds a control character or the end of a line: was more than the password pasted?")
	}
	return text, nil
}

func isControl(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) }

// CheckPassword adds to p what is wrong with a new password: its length, or that
// it is among the first that are guessed (NIST SP 800-63B-4, 3.1.1.2). The words
// in about are what everybody knows of the user: the name, the organisation. The
// message names the rule and what to do, never the password.
func CheckPassword(p *credential.Problems, field, text string, about ...string) {
	text, err := PreparePassword(text)
	if err != nil {
		p.Add(field, "%s", err)
		return
	}
	switch n := utf8.RuneCountInString(text); {
	case n < minPassword:
		p.Add(field, "is too short: at least %d characters are needed; some words that nobody else would put together are easy to remember", minPassword)
	case n > maxPassword:
		p.Add(field, "is too long: at most %d characters are taken", maxPassword)
	default:
		if why := weakness(text, about); why != "" {
			p.Add(field, "%s", why)
		}
	}
}

const advice = "take some words that nobody else would put together, or let a password manager make one"

// weakness says why a password is guessed early; "" if it is not.
func weakness(text string, about []string) string {
	lower := []rune(strings.ToLower(text))
	squeezed, signs := squeeze(lower)
	switch {
	case period(lower) < minPassword && 2*period(lower) <= len(lower):
		return "repeats a shorter text: " + advice
	case rest(lower, nil) < minRest, rest(squeezed, nil)+signs < minRest:
		return "is a pattern, such as a sequence or a row of keys: " + advice
	case rest(squeezed, common())+signs < minRest:
		return "is made of common words and patterns: " + advice
	case rest(squeezed, append(names(about), common()...))+signs < minRest:
		return "is made of names that everybody knows, of the user, the organisation or this program: " + advice
	}
	return ""
}

// squeeze drops what people put between words. signs is what that counts for:
// one sign over and over is no more to guess, several are.
func squeeze(text []rune) (squeezed []rune, signs int) {
	seen := map[rune]bool{}
	for _, r := range text {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || standsFor[r] != "":
			squeezed = append(squeezed, r)
		case !unicode.IsSpace(r):
			seen[r] = true
		}
	}
	return squeezed, max(0, len(seen)-1)
}

// names returns the words of texts such as "ann.smith@example.com", with "cardea".
func names(texts []string) [][]rune {
	words := [][]rune{[]rune("cardea")}
	for _, t := range texts {
		for word := range strings.FieldsFuncSeq(strings.ToLower(norm.NFKC.String(t)), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			if utf8.RuneCountInString(word) >= minWord {
				words = append(words, []rune(word))
			}
		}
	}
	return words
}
