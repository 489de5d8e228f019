package variform

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
)

// json writes v as JSON, with the keys of maps in order.
func (r *run) json(v any) (string, error) {
	if err := r.spendOn(v); err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := writeJSON(&b, v); err != nil {
		return "", err
	}
	return b.String(), r.fits(b.Len())
}

func writeJSON(b *bytes.Buffer, v any) error {
	if b.Len() > maxText {
		return fail(TooLarge, "would make a text longer than 1 MiB")
	}
	switch v := v.(type) {
	case []any:
		return writeMembers(b, "[]", len(v), func(i int) error { return writeJSON(b, v[i]) })
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		return writeMembers(b, "{}", len(keys), func(i int) error {
			writeQuoted(b, keys[i])
			b.WriteByte(':')
			return writeJSON(b, v[keys[i]])
		})
	case string:
		writeQuoted(b, v)
	case nil:
		b.WriteString("null")
	case float64:
		b.WriteString(shortest(v))
	default:
		b.WriteString(scalarText(v))
	}
	return nil
}

func writeMembers(b *bytes.Buffer, brackets string, n int, member func(int) error) error {
	b.WriteByte(brackets[0])
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := member(i); err != nil {
			return err
		}
	}
	b.WriteByte(brackets[1])
	return nil
}

func writeQuoted(b *bytes.Buffer, s string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always has a JSON form, and a buffer takes it
	b.Truncate(b.Len() - 1)
}

// readJSON is the opposite; false if s is not one JSON value.
func readJSON(s string) (any, bool) {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	_, err := d.Token()
	return v, err == io.EOF
}
