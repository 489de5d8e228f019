package variform

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// sprintf is sprintf_s(format, list), with the directives of Erlang's io_lib:format that make texts and numbers.
func sprintf(r *run, args []any) (any, error) {
	format, err := textArg(args, 0)
	if err != nil {
		return nil, err
	}
	list, err := listArg(args, 1)
	if err != nil {
		return nil, err
	}
	f := formatter{run: r, args: list}
	return boxed(f.format(format))
}

type formatter struct {
	run  *run
	args []any // those that are left
	out  strings.Builder
}

// directive is ~F.P.PadModC.
type directive struct {
	width     int // 0: none
	left      bool
	precision int // -1: none
	pad       string
	unicode   bool // t
	verb      byte
}

func (f *formatter) format(format string) (string, error) {
	for {
		before, rest, found := strings.Cut(format, "~")
		if err := f.repeat(before, 1); err != nil {
			return "", err
		}
		if !found {
			break
		}
		d, rest, err := f.directive(rest)
		if err != nil {
			return "", err
		}
		if err := f.write(d); err != nil {
			return "", err
		}
		format = rest
	}
	if len(f.args) > 0 {
		return "", bad("the list has %d members more than the format asks for", len(f.args))
	}
	return f.out.String(), nil
}

// directive reads what follows a ~.
func (f *formatter) directive(s string) (d directive, rest string, err error) {
	d = directive{precision: -1, pad: " "}
	if after, ok := strings.CutPrefix(s, "-"); ok {
		d.left, s = true, after
	}
	if d.width, s, err = f.count(s, 0); err != nil {
		return d, "", err
	}
	if d.width < 0 {
		d.left, d.width = true, -d.width
	}
	if after, ok := strings.CutPrefix(s, "."); ok {
		if d.precision, s, err = f.count(after, -1); err != nil {
			return d, "", err
		}
	}
	if after, ok := strings.CutPrefix(s, "."); ok && after != "" {
		_, n := utf8.DecodeRuneInString(after)
		if d.pad, s = after[:n], after[n:]; d.pad == "*" {
			if d.pad, err = f.char(); err != nil {
				return d, "", err
			}
		}
	}
	for s != "" && strings.IndexByte("tlkK", s[0]) >= 0 {
		d.unicode = d.unicode || s[0] == 't'
		s = s[1:]
	}
	if s == "" {
		return d, "", bad("the format ends within a directive")
	}
	d.verb = s[0]
	return d, s[1:], nil
}

// count reads digits, or takes the next argument for a *; none if there is neither.
func (f *formatter) count(s string, none int) (n int, rest string, err error) {
	if after, ok := strings.CutPrefix(s, "*"); ok {
		v, err := f.integer()
		if err == nil && (v > maxText || v < -maxText) {
			err = f.run.fits(maxText + 1)
		}
		return int(v), after, err
	}
	digits := s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
	if digits == "" {
		return none, s, nil
	}
	n, err = strconv.Atoi(digits)
	if err != nil || n > maxText {
		return 0, "", f.run.fits(maxText + 1)
	}
	return n, s[len(digits):], nil
}

func (f *formatter) next() (any, error) {
	if len(f.args) == 0 {
		return nil, bad("the format asks for more members than the list has")
	}
	v := f.args[0]
	f.args = f.args[1:]
	return v, nil
}

func (f *formatter) integer() (int64, error) {
	v, err := f.next()
	if err != nil {
		return 0, err
	}
	n, ok := v.(int64)
	if !ok {
		return 0, bad("the format asks for an integer where the list has %s", typeOf(v))
	}
	return n, nil
}

// write writes what d says.
func (f *formatter) write(d directive) error {
	switch d.verb {
	case '~':
		return f.repeat("~", max(d.width, 1))
	case 'n':
		return f.repeat("\n", max(d.width, 1))
	case 'c':
		return f.character(d)
	case 's':
		return f.text(d)
	case 'w', 'p':
		return f.term(d)
	case 'b', 'B', 'x', 'X', '+', '#':
		return f.based(d)
	case 'e', 'f', 'g':
		return f.float(d)
	case 'i':
		_, err := f.next()
		return err
	}
	return bad("the format has a directive that is none of ~~ ~n ~c ~s ~w ~p ~b ~x ~e ~f ~g ~i")
}

func (f *formatter) repeat(s string, n int) error {
	if s == "" || n == 0 {
		return nil
	}
	if n > (maxText-f.out.Len())/len(s) {
		return f.run.fits(maxText + 1)
	}
	if err := f.run.spend(n * len(s)); err != nil {
		return err
	}
	f.out.WriteString(strings.Repeat(s, n))
	return nil
}

// field writes s in the width of d.
func (f *formatter) field(d directive, s string) error {
	missing := max(d.width-utf8.RuneCountInString(s), 0)
	if !d.left {
		if err := f.repeat(d.pad, missing); err != nil {
			return err
		}
	}
	if err := f.repeat(s, 1); err != nil {
		return err
	}
	if d.left {
		return f.repeat(d.pad, missing)
	}
	return nil
}

// numeric is field for what must not be cut: stars stand for what is wider.
func (f *formatter) numeric(d directive, s string) error {
	if d.width > 0 && utf8.RuneCountInString(s) > d.width {
		return f.repeat("*", d.width)
	}
	return f.field(d, s)
}

// character is ~c: the precision says how often.
func (f *formatter) character(d directive) error {
	c, err := f.char()
	if err != nil {
		return err
	}
	times := d.precision
	if times < 0 {
		times = max(d.width, 1)
	}
	if err := f.run.fits(4 * times); err != nil {
		return err
	}
	return f.field(d, strings.Repeat(c, times))
}

// char is the character whose code the next argument is.
func (f *formatter) char() (string, error) {
	n, err := f.integer()
	if err != nil {
		return "", err
	}
	if n < 0 || n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
		return "", bad("the format asks for a character where the list has another number")
	}
	return string(rune(n)), nil
}

// text is ~s: at most as many characters as the precision says, or else the width.
func (f *formatter) text(d directive) error {
	v, err := f.next()
	if err != nil {
		return err
	}
	var b strings.Builder
	if !flatText(&b, v) {
		return bad("~s asks for a text where the list has %s", typeOf(v))
	}
	s, most := b.String(), d.precision
	if most < 0 && d.width > 0 {
		most = d.width
	}
	if most >= 0 {
		s = cut(s, most)
	}
	return f.field(d, s)
}

// flatText writes a text, or a list of texts and character codes.
func flatText(b *strings.Builder, v any) bool {
	switch v := v.(type) {
	case string:
		b.WriteString(v)
	case bool:
		b.WriteString(scalarText(v))
	case []any:
		for _, member := range v {
			if n, ok := member.(int64); ok && n >= 0 && n <= utf8.MaxRune {
				b.WriteRune(rune(n))
			} else if !flatText(b, member) {
				return false
			}
		}
	default:
		return false
	}
	return true
}

// cut returns the first n characters of s.
func cut(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}
