package variform_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cardea/internal/variform"
)

// ask renders src with the variables a, b and n.
func ask(t *rapid.T, src string, a, b any, n int64) string {
	e, err := variform.Compile(src)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	s, err := e.Render(variform.Map{"a": a, "b": b, "n": n})
	if err != nil {
		t.Fatalf("%s with %q, %q, %d: %v", src, a, b, n, err)
	}
	return s
}

// A literal is what stands between the quotes, whatever that is.
func TestLiteralIsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		quote := "'"
		if strings.Contains(s, quote) {
			quote = `"`
			s = strings.ReplaceAll(s, quote, "")
		}
		if got := ask(t, quote+s+quote, "", "", 0); got != s {
			t.Fatalf("%q", got)
		}
	})
}

func TestTextLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.String().Draw(t, "a"), rapid.String().Draw(t, "b")
		n := rapid.Int64Range(0, 40).Draw(t, "n")
		for src, want := range map[string]string{
			"concat(a,b)":                               a + b,
			"str_eq(a,b)":                               fmt.Sprint(a == b),
			"str_lt(a,b)":                               fmt.Sprint(a < b),
			"concat(substr(a,0,n),substr(a,n))":         a,
			"rm_prefix(concat(a,b),a)":                  b,
			"hexstr2bin(bin2hexstr(a))":                 a,
			"base64_decode(base64_encode(a))":           a,
			"bin2hexstr(a)":                             strings.ToUpper(hex.EncodeToString([]byte(a))),
			"base64_encode(a,'no_padding','urlsafe')":   base64.RawURLEncoding.EncodeToString([]byte(a)),
			"replace(a,b,b)":                            a,
			"join_to_string('/',topic_split(a))":        a,
			"str_eq(upper(upper(a)),upper(a))":          "true",
			"str_eq(trim(trim(a)),trim(a))":             "true",
			"not(str_eq(a,b))":                          fmt.Sprint(a != b),
			"iif(str_eq(a,b),str_neq(a,b),false)":       "false",
			"coalesce(a,b)":                             firstNonEmpty(a, b),
			"str_eq(hash('sha256',a),hash('sha256',a))": "true",
			"sprintf_s('~s~ts',[a,b])":                  a + b,
		} {
			if got := ask(t, src, a, b, n); got != want {
				t.Fatalf("%s with %q, %q, %d: %q, want %q", src, a, b, n, got, want)
			}
		}
	})
}

func firstNonEmpty(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// Parts of a split, joined again, are the text; without empty ones they are what a simple split leaves.
func TestSplitLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.StringMatching(`[a-c,]{0,12}`).Draw(t, "a")
		if got := ask(t, "join_to_string(',',split(a,',','notrim'))", a, "", 0); got != a {
			t.Fatalf("%q is %q", a, got)
		}
		parts := slices.DeleteFunc(strings.Split(a, ","), func(s string) bool { return s == "" })
		for _, src := range []string{"split(a,',')", "tokens(a,',')"} {
			if got := ask(t, "join_to_string(',',"+src+")", a, "", 0); got != strings.Join(parts, ",") {
				t.Fatalf("%s of %q is %q", src, a, got)
			}
		}
		if got := ask(t, "reverse(reverse(a))", a, "", 0); got != a {
			t.Fatalf("%q turned twice is %q", a, got)
		}
		if got := ask(t, "concat(pad(a,9),strlen(pad(a,9,'both')))", a, "", 0); got != fmt.Sprintf("%-9s%d", a, max(len(a), 9)) {
			t.Fatalf("%q padded is %q", a, got)
		}
	})
}

// A regular expression replaces what the standard library replaces, although matches are found in bounded steps.
func TestRegexIsGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		re := rapid.SampledFrom([]string{"a", "a+", "b*", "^a", "a|ab", "[bc]$", "(a)(b)?", "\\b", ".", "(?i)A{2}"}).Draw(t, "re")
		a := rapid.StringMatching(`[a-c ]{0,12}`).Draw(t, "a")
		if got, want := ask(t, "regex_replace(a,b,'<&>')", a, re, 0), regexp.MustCompile(re).ReplaceAllString(a, "<$0>"); got != want {
			t.Fatalf("%q: %q, want %q", re, got, want)
		}
		if got, want := ask(t, "regex_match(a,b)", a, re, 0), regexp.MustCompile(re).MatchString(a); got != fmt.Sprint(want) {
			t.Fatalf("%q: %v", re, got)
		}
	})
}

// map_to_range is in its range, and hash_to_range depends on the text alone.
func TestRangeLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64().Draw(t, "n")
		lo, hi := rapid.Int64().Draw(t, "lo"), rapid.Int64().Draw(t, "hi")
		lo, hi = min(lo, hi), max(lo, hi)
		src := fmt.Sprintf("num_gte(%[1]s,%[2]d)", "map_to_range(n,a,b)", lo)
		if ask(t, src, lo, hi, n) != "true" {
			t.Fatal("below the range")
		}
		if ask(t, fmt.Sprintf("num_lte(map_to_range(n,a,b),%d)", hi), lo, hi, n) != "true" {
			t.Fatal("above the range")
		}
		text := fmt.Sprint(n)
		if x, y := ask(t, "hash_to_range('"+text+"',a,b)", lo, hi, n), ask(t, "hash_to_range('"+text+"',a,b)", lo, hi, 0); x != y {
			t.Fatalf("%s and %s", x, y)
		}
	})
}

// What any_to_str makes of JSON is the same JSON.
func TestJSONRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := map[string]any{
			"s": rapid.String().Draw(t, "s"), "n": rapid.Int64().Draw(t, "i"), "f": rapid.Float64Range(-1e18, 1e18).Draw(t, "f"),
			"l": []any{nil, rapid.Bool().Draw(t, "b"), map[string]any{}}, rapid.String().Draw(t, "key"): "v",
		}
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var one, two any
		if json.Unmarshal([]byte(ask(t, "any_to_str(a)", v, "", 0)), &one) != nil || json.Unmarshal(want, &two) != nil || !sameJSON(one, two) {
			t.Fatalf("%v\n%s", one, want)
		}
		if got := ask(t, "any_to_str(json_value(a,'n'))", string(want), "", 0); got != fmt.Sprint(v["n"]) && v["n"] != "v" {
			t.Fatalf("%s", got)
		}
	})
}

func sameJSON(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

// topic_match is the filter's meaning (MQTT 5.0, 4.7), written down another way.
func TestTopicMatchIsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topic := rapid.StringMatching(`\$?[ab]?(/[ab]?){0,3}`).Draw(t, "topic")
		filter := rapid.StringMatching(`([ab]?|\+|\$a)(/([ab]?|\+)){0,3}(/#)?`).Draw(t, "filter")
		pattern := regexp.QuoteMeta(filter)
		pattern = strings.ReplaceAll(pattern, `\+`, `[^/]*`)
		if before, ok := strings.CutSuffix(pattern, `/#`); ok {
			pattern = before + `(/.*)?`
		}
		want := regexp.MustCompile(`^`+pattern+`$`).MatchString(topic) && !(strings.HasPrefix(topic, "$") && strings.HasPrefix(filter, "+"))
		if got := ask(t, "topic_match(a,b)", topic, filter, 0); got != fmt.Sprint(want) {
			t.Fatalf("%q by %q: %s", topic, filter, got)
		}
	})
}

func TestRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, 500).Draw(t, "n")
		if s := ask(t, "rand_str(n)", "", "", n); int64(len(s)) != n || strings.Trim(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" {
			t.Fatalf("%q", s)
		}
		if ask(t, "num_lte(rand_int(n),n)", "", "", n) != "true" || ask(t, "num_gt(rand_int(n),0)", "", "", n) != "true" {
			t.Fatal("outside of 1 to n")
		}
	})
	seen := map[string]bool{}
	e := compile(t, "rand_str(8)")
	for range 1000 {
		s, err := e.Render(nil)
		if err != nil || seen[s] {
			t.Fatalf("%q twice, %v", s, err)
		}
		seen[s] = true
	}
}

// Any function, given anything, answers or fails with an [*variform.Error]; it does neither panic nor change a variable.
func TestAnyCallOfAnything(t *testing.T) {
	arities := variform.FunctionNames()
	names := variform.SortedNames()
	shared := map[string]any{
		"list": []any{"b", int64(1), nil, 2.5, true, []any{"x"}, map[string]any{"k": "v"}}, "map": map[string]any{"k": "v", "l": []any{"a"}},
		"nums": []any{int64(3), -1.5}, "null": nil, "yes": true, "text": "a/b-é🇩🇪\\n~s", "bytes": "\xff\xfe", "n": int64(2), "json": `{"k":[1]}`,
	}
	before := fmt.Sprint(shared)
	leaf := rapid.SampledFrom([]string{
		"list", "map", "nums", "null", "yes", "text", "bytes", "n", "json", "missing", "'k'", "''", "'leading'", "'md5'", "'(a)|b*'", "'~p~n'", "0", "-3", "70000",
		"9223372036854775807", "1.5", "-0.0", "false", "['k',n]", "[[1],text]",
	})
	var expr func(t *rapid.T, depth int) string
	expr = func(t *rapid.T, depth int) string {
		if depth == 0 || rapid.IntRange(0, 3).Draw(t, "leaf") == 0 {
			return leaf.Draw(t, "leaf")
		}
		name := rapid.SampledFrom(names).Draw(t, "function")
		args := make([]string, rapid.IntRange(arities[name][0], arities[name][1]).Draw(t, "arguments"))
		for i := range args {
			args[i] = expr(t, depth-1)
		}
		return name + "(" + strings.Join(args, ",") + ")"
	}
	rapid.Check(t, func(t *rapid.T) {
		src := expr(t, 4)
		e, err := variform.Compile(src)
		if err == nil {
			_, err = e.Eval(variform.Map(shared))
		}
		if _, typed := errors.AsType[*variform.Error](err); err != nil && !typed {
			t.Fatalf("%s: %T %v", src, err, err)
		}
	})
	if after := fmt.Sprint(shared); after != before {
		t.Errorf("the variables are\n%s\nand were\n%s", after, before)
	}
}
