package variform

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// term is ~w and ~p: the value as it would be written in Erlang, on one line. ~p shows texts as such.
func (f *formatter) term(d directive) error {
	v, err := f.next()
	if err != nil {
		return err
	}
	if err := f.run.spendOn(v); err != nil {
		return err
	}
	w := termWriter{pretty: d.verb == 'p', unicode: d.unicode}
	w.write(v)
	if d.verb == 'p' {
		d.width = 0 // there it is where to break lines
	}
	return f.numeric(d, w.b.String())
}

type termWriter struct {
	b       strings.Builder
	pretty  bool
	unicode bool
}

func (w *termWriter) write(v any) {
	if w.b.Len() > maxText {
		return
	}
	switch v := v.(type) {
	case string:
		w.binary(v)
	case float64:
		w.b.WriteString(shortest(v))
	case []any:
		w.list(v)
	case map[string]any:
		w.b.WriteString("#{")
		for i, key := range slices.Sorted(maps.Keys(v)) {
			w.comma(i)
			w.binary(key)
			w.b.WriteString(" => ")
			w.write(v[key])
		}
		w.b.WriteByte('}')
	default:
		w.b.WriteString(atom(v))
	}
}

func (w *termWriter) comma(i int) {
	if i > 0 {
		w.b.WriteByte(',')
	}
}

func (w *termWriter) list(list []any) {
	if s, ok := printable(list); ok && w.pretty && s != "" {
		w.b.WriteString(quoteTerm(s))
		return
	}
	w.b.WriteByte('[')
	for i, member := range list {
		w.comma(i)
		w.write(member)
	}
	w.b.WriteByte(']')
}

// binary writes a text: <<"abc">>, or its bytes where it cannot be shown.
func (w *termWriter) binary(s string) {
	switch {
	case w.pretty && s != "" && isPrintable(s, unicode.MaxASCII):
		fmt.Fprintf(&w.b, "<<%s>>", quoteTerm(s))
	case w.pretty && w.unicode && s != "" && isPrintable(s, unicode.MaxRune):
		fmt.Fprintf(&w.b, "<<%s/utf8>>", quoteTerm(s))
	default:
		w.b.WriteString("<<")
		for i := range len(s) {
			w.comma(i)
			w.b.WriteString(strconv.Itoa(int(s[i])))
		}
		w.b.WriteString(">>")
	}
}

func isPrintable(s string, most rune) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool {
		return c > most || !unicode.IsPrint(c) && !strings.ContainsRune("\n\r\t\v\b\f\x1b", c)
	})
}

var termEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\v", `\v`, "\b", `\b`, "\f", `\f`, "\x1b", `\e`)

func quoteTerm(s string) string { return `"` + termEscapes.Replace(s) + `"` }
