package variform

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"
)

// pattern is a regular expression, and what one match of it may cost.
type pattern struct {
	re      *regexp.Regexp
	states  int // steps of its program, about
	longest int // bytes of its longest match; negative if there is no end
}

// compilePattern reads RE2. Its running time grows with the length of the text, but also with the size of the
// program, so that has a limit too. A message never holds the expression, which may have come from a client.
func compilePattern(src string) (*pattern, *Error) {
	if len(src) > maxRegex {
		return nil, fail(BadRegex, "the regular expression is longer than %d bytes", maxRegex)
	}
	tree, err := syntax.Parse(src, syntax.Perl)
	if e, ok := errors.AsType[*syntax.Error](err); ok {
		return nil, fail(BadRegex, "the regular expression is not one of RE2: %s", e.Code)
	}
	if err != nil {
		return nil, fail(BadRegex, "the regular expression is not one of RE2")
	}
	p := &pattern{states: states(tree), longest: longest(tree)}
	if p.states > maxStates {
		return nil, fail(BadRegex, "the regular expression is too large when its repetitions are written out")
	}
	if p.re, err = regexp.Compile(src); err != nil {
		return nil, fail(BadRegex, "the regular expression is not one of RE2")
	}
	return p, nil
}

// states is about how many steps the program of re has.
func states(re *syntax.Regexp) int {
	n := 1
	for _, sub := range re.Sub {
		n = min(n+states(sub), maxStates+1)
	}
	switch re.Op {
	case syntax.OpLiteral:
		n += len(re.Rune)
	case syntax.OpRepeat:
		n *= max(re.Min, re.Max, 1) + 1
	}
	return min(n, maxStates+1)
}

// longest is how many bytes a match of re may have; negative without an end.
func longest(re *syntax.Regexp) int {
	sum := 0
	for _, sub := range re.Sub {
		n := longest(sub)
		switch {
		case n < 0:
			return -1
		case re.Op == syntax.OpAlternate:
			sum = max(sum, n)
		default:
			sum += n
		}
	}
	switch re.Op {
	case syntax.OpStar, syntax.OpPlus:
		return -1
	case syntax.OpRepeat:
		if re.Max < 0 {
			return -1
		}
		return min(sum*re.Max, maxText)
	case syntax.OpLiteral:
		return 4 * len(re.Rune)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 4
	}
	return min(sum, maxText)
}

// compileRegex reads the regular expression of a call when it is written out, so that a mistake in it
// shows when the expression is saved.
func compileRegex(fn string, args []node, at int) *Error {
	if !strings.HasPrefix(fn, "regex_") {
		return nil
	}
	written, ok := args[1].(literal)
	if !ok {
		return nil
	}
	src, ok := written.value.(string)
	if !ok {
		return nil
	}
	p, err := compilePattern(src)
	if err != nil {
		err.Func, err.at = fn, at
		return err
	}
	args[1] = literal{p}
	return nil
}

// regexArgs are the text and the regular expression of a call. What one match may cost is spent.
func (r *run) regexArgs(args []any) (string, *pattern, error) {
	s, err := textArg(args, 0)
	if err != nil {
		return "", nil, err
	}
	p, ok := args[1].(*pattern)
	if !ok {
		src, err := textArg(args, 1)
		if err != nil {
			return "", nil, err
		}
		var e *Error
		if p, e = compilePattern(src); e != nil {
			return "", nil, e
		}
		if err := r.spend(64 * p.states); err != nil {
			return "", nil, err
		}
	}
	return s, p, r.spendTimes(len(s)+1, p.states)
}

func regexMatch(r *run, args []any) (any, error) {
	s, p, err := r.regexArgs(args)
	if err != nil {
		return nil, err
	}
	return p.re.MatchString(s), nil
}

// regexExtract is the groups of the first match. Those at the end that took no part are left out.
func regexExtract(r *run, args []any) (any, error) {
	s, p, err := r.regexArgs(args)
	if err != nil {
		return nil, err
	}
	at := p.re.FindStringSubmatchIndex(s)
	for len(at) > 0 && at[len(at)-1] < 0 {
		at = at[:len(at)-2]
	}
	list := []any{}
	for i := 2; i < len(at); i += 2 {
		list = append(list, group(s, at, i/2))
	}
	return list, nil
}

// group is the text of the nth group, "" if it took no part or does not exist.
func group(s string, at []int, n int) string {
	if n < 0 || 2*n+1 >= len(at) || at[2*n] < 0 {
		return ""
	}
	return s[at[2*n]:at[2*n+1]]
}

func regexReplace(r *run, args []any) (any, error) {
	s, p, err := r.regexArgs(args)
	if err != nil {
		return nil, err
	}
	by, err := textArg(args, 2)
	if err != nil {
		return nil, err
	}
	matches, err := r.allMatches(p, s)
	if err != nil {
		return nil, err
	}
	template := parseReplacement(by)
	var b strings.Builder
	done := 0
	for _, at := range matches {
		b.WriteString(s[done:at[0]])
		for _, part := range template {
			if part.group < 0 {
				b.WriteString(part.text)
			} else {
				b.WriteString(group(s, at, part.group))
			}
			if err := r.spend(costMember); err != nil || b.Len() > maxText {
				return nil, r.fits(maxText + 1)
			}
		}
		done = at[1]
	}
	b.WriteString(s[done:])
	return b.String(), r.fits(b.Len())
}

// allMatches finds every match. A search may look at the whole rest of the text for each of them, or, if
// matches have a greatest length, at about as much: so many are looked for as there is work left for.
func (r *run) allMatches(p *pattern, s string) ([][]int, error) {
	reach := len(s) + 1
	if p.longest >= 0 {
		reach = min(reach, p.longest+1)
	}
	each := reach*p.states + costMatch*(p.re.NumSubexp()+1)
	most := r.left / each
	matches := p.re.FindAllStringSubmatchIndex(s, most+1) // one more: then spending fails
	return matches, r.spendTimes(len(matches), each)
}

// replacement is a part of what a match is replaced by: a text, or a group of the match.
type replacement struct {
	text  string
	group int // -1 for a text; 0 is the whole match
}

// parseReplacement reads what Erlang does: & is the whole match, \1 or \g1 or \g{1} a group, and any other sign after
// a \ itself.
func parseReplacement(s string) []replacement {
	var parts []replacement
	var text strings.Builder
	add := func(group int) {
		if text.Len() > 0 {
			parts = append(parts, replacement{text.String(), -1})
			text.Reset()
		}
		if group >= 0 {
			parts = append(parts, replacement{"", group})
		}
	}
	for s != "" {
		if s[0] == '&' {
			add(0)
			s = s[1:]
			continue
		}
		if n, length := groupReference(s); length > 0 {
			add(n)
			s = s[length:]
			continue
		}
		if s[0] == '\\' && len(s) > 1 {
			s = s[1:]
		}
		text.WriteByte(s[0])
		s = s[1:]
	}
	add(-1)
	return parts
}

var referenceForm = regexp.MustCompile(`^\\(?:g?([1-9][0-9]{0,2})|g\{([1-9][0-9]{0,2})\})`)

// groupReference returns the number that s begins to refer to and how long that is; 0 if it does not.
func groupReference(s string) (n, length int) {
	if s[0] != '\\' {
		return 0, 0
	}
	s = s[:min(len(s), len(`\g{999}`))]
	at := referenceForm.FindStringSubmatchIndex(s)
	if at == nil {
		return 0, 0
	}
	for _, c := range group(s, at, 1) + group(s, at, 2) {
		n = 10*n + int(c-'0')
	}
	return n, at[1]
}
