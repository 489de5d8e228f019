package variform_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"cardea/internal/variform"
)

// FuzzVariform gives arbitrary text as an expression, and arbitrary values to its variables. Nothing panics, an error is
// typed, a result has its bound, and the same again is the same.
func FuzzVariform(f *testing.F) {
	for _, src := range fuzzSeeds {
		f.Add(src, "pump-1", "a,b,c", int64(3))
	}
	f.Add("sprintf_s(a,[a,b,n])", "~5.2.0s~p~*c~.16x", "[1]", int64(-1))
	f.Add("regex_replace(a,b,b)", "aaaa", "(a*)*\\1&", int64(0))
	f.Fuzz(func(t *testing.T, src, a, b string, n int64) {
		e, err := variform.Compile(src)
		if err != nil {
			mustBeTyped(t, err)
			return
		}
		vars := variform.Map{"a": a, "b": b, "username": a, "clientid": b, "n": n, "list": []any{a, b, n, nil, 1.5}, "map": map[string]any{a: b, "k": n}}
		got, err := e.Render(vars)
		if err != nil {
			mustBeTyped(t, err)
		}
		if len(got) > mib {
			t.Errorf("%d bytes", len(got))
		}
		if strings.Contains(src, "rand_") || strings.Contains(src, "timestamp_") {
			return
		}
		again, err2 := e.Render(vars)
		if again != got || (err == nil) != (err2 == nil) {
			t.Errorf("%q, %v and then %q, %v", got, err, again, err2)
		}
	})
}

func mustBeTyped(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*variform.Error](err)
	if !ok || e.Code == "" || e.Message == "" || !utf8.ValidString(err.Error()) {
		t.Errorf("%T %q", err, err)
	}
}

var fuzzSeeds = []string{
	"'a'", "username", "-1.5e+3", "true", "concat([a,'/',lower(b)])", "iif(str_eq(a,b),'x',nth(n,list))", "coalesce([a.b,tokens(a,b)])",
	"is_empty(map.k)", "lists.sort(list)", "maps.keys(map)", "regex_extract(a,'([a-z]+)-(\\d)')", "unescape(a)", "pad(a,n,'both',b)", "substr(a,n,n)",
	"json_value(a,'x.y')", "jwt_value(a,b)", "hash('md4',a)", "base64_decode(a,'urlsafe','no_padding')", "hexstr2bin(a)", "topic_match(a,b)", "a.b.c(1)",
	"emqx_variform_bif.upper(a)", "split(a,b,'leading_notrim')", "map_to_range(n,-1,5)", "join_to_string(b,list)", "reverse(a)", "trim(a,b)", "concat([[1],['a']])",
}
