package secret

import (
	"bytes"
	"encoding/json"
	"unsafe"
)

// Pattern is the regular expression of our tokens, for scanners that look for
// secrets in text. RE2, PCRE and the engines of programming languages understand it alike. What
// it finds is a token if the checksum is right, which [Find] looks at too. It
// has no word boundaries: a token may be glued to "%22" or to "\n" in JSON.
const Pattern = `cardea_(?:dev|api|pat|app|ses|sec)_[0-9A-Za-z]{50}`

// MaxLen is the length of a token. Who looks through a stream in pieces must
// let them overlap by one byte less.
const MaxLen = tokenLen

// Found is a token that was found in a text.
type Found struct {
	Offset int // of its first byte
	Token  Text
	Kind   string
	ID     string
}

// Find returns the tokens in data, in their order, whatever stands before and
// behind them. The checksum is right in each of them, so that chance does not make one;
// whether it is still good, only the server knows.
func Find(data []byte) []Found {
	var found []Found
	for at := 0; ; {
		i := bytes.Index(data[at:], []byte(prefix))
		if i < 0 {
			return found
		}
		at += i
		f, ok := foundAt(data, at)
		if !ok {
			at += len(prefix)
			continue
		}
		found = append(found, f)
		at += tokenLen
	}
}

func foundAt(data []byte, at int) (Found, bool) {
	if len(data)-at < tokenLen {
		return Found{}, false
	}
	if _, ok := Parse(unsafe.String(&data[at], tokenLen)); !ok { // read only, and gone before data can change
		return Found{}, false
	}
	s := string(data[at : at+tokenLen])
	return Found{at, NewText(s), s[len(prefix) : bodyAt-1], Peek(s)}, true
}

// format is what scanners of other people must know to find our tokens and to
// tell us of them.
type format struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Regex       string   `json:"regex"`
	Prefixes    []string `json:"prefixes"`
	Length      int      `json:"length"`
	Checksum    checksum `json:"checksum"`
	Report      report   `json:"report"`
}

type checksum struct {
	Algorithm string `json:"algorithm"`
	Covers    string `json:"covers"`
	Encoding  string `json:"encoding"`
	Alphabet  string `json:"alphabet"`
	Length    int    `json:"length"`
}

type report struct {
	Method string `json:"method"`
	Path   string `json:"path"`
}

// FormatDocument returns the description of our tokens for secret scanners as
// JSON: how they are recognised, and to which path of a server a leaked one is reported.
func FormatDocument() []byte {
	f := format{
		Name:        "cardea",
		Description: "Tokens of Cardea: cardea_, a kind, an underscore, a public id of 12 characters, a secret of 32, a checksum of 6",
		Regex:       Pattern,
		Length:      tokenLen,
		Checksum: checksum{
			Algorithm: "CRC-32 (IEEE 802.3, as in zlib)",
			Covers:    "the 55 bytes before the checksum, the prefix included",
			Encoding:  "base62, the most significant digit first, zeros in front",
			Alphabet:  digits,
			Length:    SumLen,
		},
		Report: report{Method: "POST", Path: "/api/v1/leaks"},
	}
	for _, k := range Kinds() {
		f.Prefixes = append(f.Prefixes, prefix+k+"_")
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		panic(err) // strings and numbers always have a JSON form
	}
	return append(b, '\n')
}
