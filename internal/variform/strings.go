package variform

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Options that say where in a text a function works.
const (
	everywhere = "all"
	leading    = "leading"
	trailing   = "trailing"
)

func rmPrefix(_ *run, s, prefix string) (any, error) { return strings.TrimPrefix(s, prefix), nil }

// split is split(s, sep[, option]). An empty separator splits nothing.
func split(r *run, args []any) (any, error) {
	s, sep, err := textArgs(args)
	if err != nil {
		return nil, err
	}
	option, err := optionArg(args, 2, everywhere, "notrim", leading, "leading_notrim", trailing, "trailing_notrim")
	if err != nil {
		return nil, err
	}
	where, empties := option, false
	if option == "notrim" {
		where, empties = everywhere, true
	} else if bare, ok := strings.CutSuffix(option, "_notrim"); ok {
		where, empties = bare, true
	}
	parts := splitAt(s, sep, where)
	list := make([]any, 0, len(parts))
	for _, part := range parts {
		if part != "" || empties {
			list = append(list, part)
		}
	}
	return list, r.spendTimes(len(parts), costMember)
}

func splitAt(s, sep, where string) []string {
	at := -1
	switch {
	case sep == "":
	case where == everywhere:
		return strings.Split(s, sep)
	case where == leading:
		at = strings.Index(s, sep)
	default:
		at = strings.LastIndex(s, sep)
	}
	if at < 0 {
		return []string{s}
	}
	return []string{s[:at], s[at+len(sep):]}
}

// tokens is tokens(s, separators[, 'nocrlf']): every byte of separators is one.
func tokens(r *run, args []any) (any, error) {
	s, seps, err := textArgs(args)
	if err != nil {
		return nil, err
	}
	if len(args) == 3 {
		if _, err := optionArg(args, 2, "nocrlf"); err != nil {
			return nil, err
		}
		seps += "\r\n"
	}
	var isSep [256]bool
	for i := range len(seps) {
		isSep[seps[i]] = true
	}
	list := []any{}
	for begin, at := 0, 0; at <= len(s); at++ {
		if at < len(s) && !isSep[s[at]] {
			continue
		}
		if at > begin {
			list = append(list, s[begin:at])
		}
		begin = at + 1
	}
	return list, r.spendTimes(len(list), costMember)
}

// concat is concat(a, b) or concat(list).
func concat(r *run, args []any) (any, error) {
	if len(args) == 2 {
		return r.join("", args)
	}
	list, err := listArg(args, 0)
	if err != nil {
		return nil, err
	}
	return r.join("", list)
}

func joinToString(r *run, args []any) (any, error) {
	sep := ", "
	if len(args) == 2 {
		var err error
		if sep, err = textArg(args, 0); err != nil {
			return nil, err
		}
	}
	list, err := listArg(args, len(args)-1)
	if err != nil {
		return nil, err
	}
	return r.join(sep, list)
}

// join makes a text of each member, with sep between them.
func (r *run) join(sep string, list []any) (any, error) {
	var b strings.Builder
	for i, member := range list {
		s, err := r.text(member)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(s)
		if b.Len() > maxText {
			break
		}
	}
	return b.String(), r.fits(b.Len())
}

// replace is replace(s, what, by[, where]). Nothing replaces the empty text.
func replace(r *run, args []any) (any, error) {
	s, what, err := textArgs(args)
	if err != nil {
		return nil, err
	}
	by, err := textArg(args, 2)
	if err != nil {
		return nil, err
	}
	where, err := optionArg(args, 3, everywhere, leading, trailing)
	if err != nil || what == "" {
		return s, err
	}
	if where != everywhere {
		parts := splitAt(s, what, where)
		if len(parts) == 1 {
			return s, nil
		}
		return parts[0] + by + parts[1], r.fits(len(parts[0]) + len(by) + len(parts[1]))
	}
	grown := int64(len(s)) + int64(strings.Count(s, what))*int64(len(by)-len(what))
	if err := r.fits(int(min(grown, maxText+1))); err != nil {
		return nil, err
	}
	return strings.ReplaceAll(s, what, by), nil
}

func ascii(_ *run, s string) (any, error) {
	if s == "" {
		return nil, bad("the text is empty")
	}
	return int64(s[0]), nil
}

// find is the rest of the text, from where the other begins in it.
func find(_ *run, args []any) (any, error) {
	s, what, err := textArgs(args)
	if err != nil {
		return nil, err
	}
	where, err := optionArg(args, 2, leading, trailing)
	if err != nil || what == "" {
		return s, err
	}
	at := strings.Index(s, what)
	if where == trailing {
		at = strings.LastIndex(s, what)
	}
	if at < 0 {
		return "", nil
	}
	return s[at:], nil
}

func anyToStr(r *run, args []any) (any, error) { return boxed(r.text(args[0])) }

// boxed makes a value of a text and its error.
func boxed(s string, err error) (any, error) { return s, err }

func not(_ *run, args []any) (any, error) {
	switch v := args[0]; v {
	case true:
		return false, nil
	case false:
		return true, nil
	case "true":
		return "false", nil
	case "false":
		return "true", nil
	}
	return nil, bad("the argument must be true or false")
}

// nth is nth(n, list), where n may be written as a text; "" beyond the end.
func nth(_ *run, args []any) (any, error) {
	list, err := listArg(args, 1)
	if err != nil {
		return nil, err
	}
	n, ok := args[0].(int64)
	if s, isText := args[0].(string); isText {
		parsed, err := strconv.ParseInt(s, 10, 64)
		n, ok = parsed, err == nil
	}
	switch {
	case !ok:
		return nil, fail(BadIndex, "argument 1 must be an integer")
	case n < 1:
		return nil, bad("argument 1 must be 1 or more")
	case n > int64(len(list)):
		return "", nil
	}
	return list[n-1], nil
}

var escapes = map[byte]byte{
	'\\': '\\', 'n': '\n', 't': '\t', 'r': '\r', 'b': '\b', 'f': '\f', 'v': '\v', '\'': '\'', '"': '"', '?': '?', 'a': 7,
}

// unescape reads \n and the like. \x takes as many hexadecimal digits as follow, for one character.
func unescape(_ *run, s string) (any, error) {
	if !utf8.ValidString(s) {
		return nil, errNotUTF8()
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, `\`)
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		if rest == "" {
			return nil, fail(BadEscape, `a \ stands at the end`)
		}
		if c, ok := escapes[rest[0]]; ok {
			b.WriteByte(c)
			s = rest[1:]
			continue
		}
		if rest[0] != 'x' {
			return nil, fail(BadEscape, `a \ stands before another sign than \ n t r b f v ' " ? a or x and digits`)
		}
		digits := rest[1 : 1+hexDigits(rest[1:])]
		c, err := strconv.ParseUint(digits, 16, 32)
		if err != nil || c > utf8.MaxRune || !utf8.ValidRune(rune(c)) {
			return nil, fail(BadEscape, `the hexadecimal digits after a \x are no character`)
		}
		b.WriteRune(rune(c))
		s = rest[1+len(digits):]
	}
}

// hexDigits counts those that s begins with.
func hexDigits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789abcdefABCDEF"))
}

func errNotUTF8() *Error { return bad("the text is not valid UTF-8") }
