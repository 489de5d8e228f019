package jwt

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// members of a JSON object by their names.
type members map[string]json.RawMessage

// object reads a JSON object strictly: whichever parser reads it later finds the same in it. No object, at any
// depth, has a member twice (J05). Names keep their case.
func object(text []byte) (members, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("not UTF-8")
	}
	if !json.Valid(text) {
		return nil, errors.New("not JSON")
	}
	s := scanner{text: text}
	if s.space(); s.text[s.at] != '{' {
		return nil, errors.New("not a JSON object")
	}
	m := members{}
	if !s.object(m) {
		return nil, errors.New("a member is there twice")
	}
	return m, nil
}

// scanner walks over text that is known to be JSON, so that it needs to look for nothing but the bounds of values.
type scanner struct {
	text []byte
	at   int
}

func (s *scanner) space() {
	for s.at < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.at]) >= 0 {
		s.at++
	}
}

// object puts the members of an object into m. False: an object in it has a member twice.
func (s *scanner) object(m members) bool {
	s.at++
	for s.space(); s.text[s.at] != '}'; s.space() {
		if s.text[s.at] == ',' {
			s.at++
			s.space()
		}
		start := s.at
		s.string()
		name := unquote(s.text[start:s.at])
		s.space()
		s.at++ // the colon
		s.space()
		start = s.at
		if _, twice := m[name]; twice || !s.value() {
			return false
		}
		m[name] = s.text[start:s.at]
	}
	s.at++
	return true
}

// value walks over a value. False: an object in it has a member twice.
func (s *scanner) value() bool {
	switch s.text[s.at] {
	case '{':
		return s.object(members{})
	case '[':
		s.at++
		for s.space(); s.text[s.at] != ']'; s.space() {
			if s.text[s.at] == ',' {
				s.at++
				s.space()
			}
			if !s.value() {
				return false
			}
		}
		s.at++
	case '"':
		s.string()
	default:
		for s.at < len(s.text) && strings.IndexByte(" \t\r\n,]}", s.text[s.at]) < 0 {
			s.at++
		}
	}
	return true
}

func (s *scanner) string() {
	for s.at++; s.text[s.at] != '"'; s.at++ {
		if s.text[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
}

// unquote returns the text of a JSON string that is known to be one.
func unquote(quoted []byte) string {
	inner := string(quoted[1 : len(quoted)-1])
	if strings.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // it is valid
	return s
}

// text returns a string member, "" if it is not there or no string.
func (m members) text(name string) string {
	raw := m[name]
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	return unquote(raw)
}

// optional is text, and refuses what is there and no string.
func (m members) optional(name string) (string, error) {
	if raw, ok := m[name]; ok && raw[0] != '"' {
		return "", errors.New("its " + name + " is not a string")
	}
	return m.text(name), nil
}

// texts returns a member that is a list of strings; nil if it is anything else.
func (m members) texts(name string) []string {
	var list []*string
	if raw, ok := m[name]; !ok || json.Unmarshal(raw, &list) != nil || list == nil {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		if s == nil {
			return nil
		}
		out[i] = *s
	}
	return out
}

// time returns a NumericDate, RFC 7519 section 2: seconds since 1970, up to the year 9999.
func (m members) time(name string) (time.Time, bool, error) {
	raw, ok := m[name]
	if !ok {
		return time.Time{}, false, nil
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f < 0 || f > 253402300799 {
		return time.Time{}, true, errors.New("its " + name + " is not a number of seconds since 1970")
	}
	whole := int64(f)
	return time.Unix(whole, int64((f-float64(whole))*1e9)), true, nil
}

// decode is strict: Go's decoder skips line ends, and without Strict lets the last bits vary, so that a token would have many forms.
func decode(part string) ([]byte, error) {
	if strings.ContainsAny(part, "\r\n") {
		return nil, errors.New("not base64url")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, errors.New("not base64url")
	}
	return b, nil
}
