package outbound

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// member is a member of a JSON object. Value is the text of its value, without blanks around it.
type member struct {
	name  []byte
	value []byte
}

// maxNesting is of objects and lists in an answer. The deepest that has a meaning is a list in a rule in acl.
const maxNesting = 16

var (
	errNotJSON   = errors.New("it is not JSON")
	errNotUTF8   = errors.New("it is not UTF-8")
	errNotObject = errors.New("it is not an object")
	errTwice     = errors.New("a name is there twice")
	errTooDeep   = errors.New("it is nested too deeply")
)

// parseObject appends the members of a text that must be one JSON object and nothing else. What readers could understand
// in more than one way is refused: names that are there twice, at any depth, and text that is no UTF-8.
func parseObject(to []member, text []byte) ([]member, error) {
	switch {
	case !utf8.Valid(text):
		return nil, errNotUTF8
	case !json.Valid(text):
		return nil, errNotJSON
	}
	w := walker{text: text}
	if w.skip(); w.text[w.at] != '{' {
		return nil, errNotObject
	}
	return w.object(to, 1)
}

// walker goes through a text that is valid JSON, so that it need not look at what it passes.
type walker struct {
	text []byte
	at   int
}

// skip passes blanks.
func (w *walker) skip() {
	for w.at < len(w.text) {
		switch w.text[w.at] {
		case ' ', '\t', '\n', '\r':
			w.at++
		default:
			return
		}
	}
}

// object passes an object whose members it appends.
func (w *walker) object(to []member, depth int) ([]member, error) {
	if depth > maxNesting {
		return nil, errTooDeep
	}
	from := len(to)
	var seen map[string]bool // for objects that are too large to look through
	w.at++
	for w.skip(); w.text[w.at] != '}'; w.skip() {
		name := plain(w.scalar())
		if seen == nil && len(to)-from == 16 {
			seen = map[string]bool{}
			for _, m := range to[from:] {
				seen[string(m.name)] = true
			}
		}
		if seen[string(name)] || seen == nil && find(to[from:], string(name)) != nil {
			return nil, errTwice
		}
		if seen != nil {
			seen[string(name)] = true
		}
		w.skip()
		w.at++ // the colon
		w.skip()
		begin := w.at
		if err := w.value(depth); err != nil {
			return nil, err
		}
		to = append(to, member{name, w.text[begin:w.at]})
		if w.skip(); w.text[w.at] == ',' {
			w.at++
		}
	}
	w.at++
	return to, nil
}

// value passes a value.
func (w *walker) value(depth int) error {
	switch w.text[w.at] {
	case '{':
		var room [8]member
		_, err := w.object(room[:0], depth+1)
		return err
	case '[':
		return w.list(depth + 1)
	}
	w.scalar()
	return nil
}

func (w *walker) list(depth int) error {
	if depth > maxNesting {
		return errTooDeep
	}
	w.at++
	for w.skip(); w.text[w.at] != ']'; w.skip() {
		if err := w.value(depth); err != nil {
			return err
		}
		if w.skip(); w.text[w.at] == ',' {
			w.at++
		}
	}
	w.at++
	return nil
}

// scalar passes a string, number or word, and returns its text.
func (w *walker) scalar() []byte {
	from := w.at
	if w.text[w.at] != '"' {
		for w.at < len(w.text) && strings.IndexByte(",]} \t\r\n", w.text[w.at]) < 0 {
			w.at++
		}
		return w.text[from:w.at]
	}
	for w.at++; w.text[w.at] != '"'; w.at++ {
		if w.text[w.at] == '\\' {
			w.at++
		}
	}
	w.at++
	return w.text[from:w.at]
}

// find returns the value of a member; nil if there is none of that name.
func find(list []member, name string) []byte {
	for i := range list {
		if string(list[i].name) == name {
			return list[i].value
		}
	}
	return nil
}

// plain is the value of a JSON string.
func plain(text []byte) []byte {
	if bytes.IndexByte(text, '\\') < 0 {
		return text[1 : len(text)-1]
	}
	var s string
	_ = json.Unmarshal(text, &s) // it is valid
	return []byte(s)
}

// text returns the value of a JSON string; false for other values.
func text(value []byte) ([]byte, bool) {
	if len(value) == 0 || value[0] != '"' {
		return nil, false
	}
	return plain(value), true
}
