package variform

import (
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// What people take for one character may be several code points, as é or a flag may be: what counts, cuts, turns
// and pads a text does so by grapheme clusters (UAX #29).

func lower(r *run, s string) (any, error) {
	if isASCII(s) {
		return strings.ToLower(s), nil
	}
	return mapCase(r, s, func() cases.Caser { return cases.Lower(language.Und, cases.HandleFinalSigma(false)) })
}

func upper(r *run, s string) (any, error) {
	if isASCII(s) {
		return strings.ToUpper(s), nil
	}
	return mapCase(r, s, func() cases.Caser { return cases.Upper(language.Und) })
}

// mapCase makes a caser for the call: one holds state.
func mapCase(r *run, s string, caser func() cases.Caser) (any, error) {
	if !utf8.ValidString(s) {
		return nil, errNotUTF8()
	}
	if err := r.spendTimes(len(s), costGraphemes); err != nil {
		return nil, err
	}
	out := caser().String(s)
	return out, r.fits(len(out))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// clusters returns the grapheme clusters of s.
func (r *run) clusters(s string) ([]string, error) {
	if !utf8.ValidString(s) {
		return nil, errNotUTF8()
	}
	if err := r.spendTimes(len(s), costGraphemes); err != nil {
		return nil, err
	}
	out := make([]string, 0, len(s))
	for state := -1; s != ""; {
		var cluster string
		cluster, s, _, state = uniseg.FirstGraphemeClusterInString(s, state)
		out = append(out, cluster)
	}
	return out, nil
}

func reverse(r *run, s string) (any, error) {
	clusters, err := r.clusters(s)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := len(clusters) - 1; i >= 0; i-- {
		b.WriteString(clusters[i])
	}
	return b.String(), nil
}

func strlen(r *run, s string) (any, error) {
	if isASCII(s) && strings.IndexByte(s, '\r') < 0 { // CR LF is one
		return int64(len(s)), nil
	}
	clusters, err := r.clusters(s)
	return int64(len(clusters)), err
}

// substr is substr(s, start[, length]); start begins with 0.
func substr(r *run, args []any) (any, error) {
	s, err := textArg(args, 0)
	if err != nil {
		return nil, err
	}
	start, err := intArg(args, 1)
	if err != nil {
		return nil, err
	}
	clusters, err := r.clusters(s)
	if err != nil {
		return nil, err
	}
	n := int64(len(clusters))
	if len(args) == 3 {
		if n, err = intArg(args, 2); err != nil {
			return nil, err
		}
	}
	if start < 0 || n < 0 {
		return nil, bad("start and length must not be negative")
	}
	start = min(start, int64(len(clusters)))
	end := start + min(n, int64(len(clusters))-start)
	return strings.Join(clusters[start:end], ""), nil
}

// spaces is what trim takes away: Pattern_White_Space of Unicode.
const spaces = "\t\n\v\f\r \u0085\u200e\u200f\u2028\u2029"

// trim makes a function (s[, characters]) that takes characters away from the ends.
func trim(left, right bool) func(*run, []any) (any, error) {
	return func(r *run, args []any) (any, error) {
		s, err := textArg(args, 0)
		if err != nil {
			return nil, err
		}
		if len(args) == 1 {
			return trimSpaces(s, left, right)
		}
		set, err := textArg(args, 1)
		if err != nil {
			return nil, err
		}
		return boxed(r.trimSet(s, set, left, right))
	}
}

func trimSpaces(s string, left, right bool) (any, error) {
	if !utf8.ValidString(s) {
		return nil, errNotUTF8()
	}
	if left {
		s = strings.TrimLeft(s, spaces)
	}
	if right {
		s = strings.TrimRight(s, spaces)
	}
	return s, nil
}

func (r *run) trimSet(s, set string, left, right bool) (string, error) {
	members, err := r.clusters(set)
	if err != nil {
		return "", err
	}
	drop := make(map[string]bool, len(members))
	for _, m := range members {
		drop[m] = true
	}
	clusters, err := r.clusters(s)
	if err != nil {
		return "", err
	}
	for left && len(clusters) > 0 && drop[clusters[0]] {
		clusters = clusters[1:]
	}
	for right && len(clusters) > 0 && drop[clusters[len(clusters)-1]] {
		clusters = clusters[:len(clusters)-1]
	}
	return strings.Join(clusters, ""), nil
}

// pad is pad(s, n[, where[, character]]). What is long enough stays as it is.
func pad(r *run, args []any) (any, error) {
	s, err := textArg(args, 0)
	if err != nil {
		return nil, err
	}
	n, err := intArg(args, 1)
	if err != nil {
		return nil, err
	}
	where, err := optionArg(args, 2, trailing, leading, "both")
	if err != nil {
		return nil, err
	}
	char := " "
	if len(args) == 4 {
		if char, err = textArg(args, 3); err != nil {
			return nil, err
		}
	}
	clusters, err := r.clusters(s)
	if err != nil || n <= int64(len(clusters)) {
		return s, err
	}
	missing := n - int64(len(clusters))
	if missing > maxText {
		return nil, r.fits(maxText + 1)
	}
	if err := r.fits(len(s) + int(missing)*len(char)); err != nil {
		return nil, err
	}
	before := map[string]int64{trailing: 0, leading: missing, "both": missing / 2}[where]
	return strings.Repeat(char, int(before)) + s + strings.Repeat(char, int(missing-before)), nil
}
