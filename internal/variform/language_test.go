package variform_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"cardea/internal/variform"
)

// vars are what the expressions of these tests may use.
func vars() variform.Map {
	m := credentialVars()
	m["empty"] = ""
	m["null"] = nil
	m["nothing"] = []any{}
	m["yes"], m["no"] = true, false
	m["n"], m["f"], m["big"] = 10, 2.2, json.Number("9007199254740993")
	m["names"] = []string{"b", "a", "b"}
	m["mixed"] = []any{nil, "", "x", json.Number("1"), 2.5, true, []any{"in"}}
	m["codes"] = []any{104, 105}
	m["map"] = variform.Map{"b": 1, "a": map[string]any{"deep-key": "v"}}
	m["pub_props"] = map[string]any{"Message-Expiry-Interval": 10}
	m["umlaut"] = "Ünï"
	m["e_acute"] = "e\u0301a" // two characters, three code points
	m["flag"] = "🇩🇪x"
	m["bytes"] = []byte{0xff, 0x00}
	return m
}

type example struct{ src, want string }

func checkAll(t *testing.T, examples []example) {
	t.Helper()
	for _, x := range examples {
		e, err := variform.Compile(x.src)
		if err != nil {
			t.Errorf("%s: %v", x.src, err)
			continue
		}
		if got, err := e.Render(vars()); err != nil || got != x.want {
			t.Errorf("%s\n got %q, %v\nwant %q", x.src, got, err, x.want)
		}
	}
}

func TestLiteralsAndVariables(t *testing.T) {
	checkAll(t, []example{
		{"'a'", "a"},
		{`"a"`, "a"},
		{`'say "x"'`, `say "x"`},
		{`"it's"`, "it's"},
		{`'no \n escape'`, `no \n escape`},
		{"'two\nlines'", "two\nlines"},
		{"''", ""},
		{"'grüße 🇩🇪'", "grüße 🇩🇪"},
		{"1", "1"},
		{"+1", "1"},
		{"-1", "-1"},
		{"007", "7"},
		{"9223372036854775807", "9223372036854775807"},
		{"1.0", "1.0"},
		{"-2.50", "-2.5"},
		{"1.5e2", "150.0"},
		{"1.5e+2", "150.0"},
		{"1.5E-2", "0.015"},
		{"0.00000000001", "0.0"},
		{"1.23456789012345", "1.2345678901"},
		{"true", "true"},
		{"false", "false"},
		{" \t\n username \n", "pump-1"},
		{"client_attrs.site", "north"},
		{"pub_props.Message-Expiry-Interval", "10"},
		{"map.a.deep-key", "v"},
		{"map..a.deep-key.", "v"}, // an empty name is no step
		{"empty", ""},
		{"null", ""},
		{"nothing", ""},
		{"yes", "true"},
		{"no", "false"},
		{"n", "10"},
		{"f", "2.2"},
		{"big", "9007199254740993"}, // not rounded
		{"bytes", "\xff\x00"},
		{"coalesce(trueish, 'trueish is a name')", "trueish is a name"},
		{"coalesce(true-ish, 'so is this')", "so is this"},
		{"concat ( [ 'a' , 'b' ] )", "ab"},
		{"concat(['a',['b','c']])", `a["b","c"]`},
	})
}

func TestSyntaxErrors(t *testing.T) {
	for _, x := range []struct {
		src    string
		line   int
		column int
		want   string
	}{
		{"", 1, 1, "expected a text, a number, a variable or a call, found the end"},
		{"  ", 1, 3, "found the end"},
		{"'a", 1, 1, "no closing '"},
		{`concat('a', "b)`, 1, 13, `no closing "`},
		{"_a", 1, 1, "cannot have '_'"},
		{"1a", 1, 2, "expected the end of the expression, found a"},
		{"1e5", 1, 2, "found e5"},
		{"1.5e", 1, 4, "found e"},
		{"1.", 1, 2, "cannot have '.'"},
		{".5", 1, 1, "cannot have '.'"},
		{"- 1", 1, 1, "cannot have '-'"},
		{"1 - 1", 1, 3, "cannot have '-'"},
		{"9223372036854775808", 1, 1, "64 bits"},
		{"1.0e999", 1, 1, "no number is as large"},
		{"a b", 1, 3, "expected the end of the expression, found b"},
		{"a\r\n", 1, 2, `cannot have '\r'`},
		{"f(a,)", 1, 5, "found )"},
		{"f(,a)", 1, 3, "found ,"},
		{"f(a b)", 1, 5, "expected , or )"},
		{"f(a", 1, 4, "expected , or ), found the end"},
		{"f([a)", 1, 5, "expected , or ], found )"},
		{"f([])", 1, 4, "an array cannot be empty"},
		{"['a']", 1, 1, "found ["},
		{"true('a')", 1, 5, "expected the end of the expression, found ("},
		{"'f'('a')", 1, 4, "found ("},
		{"a + b", 1, 3, "cannot have '+'"},
		{"a;b", 1, 2, "cannot have ';'"},
		{"${a}", 1, 1, "cannot have '$'"},
		{"ü", 1, 1, "cannot have 'ü'"},
		{"concat(['ü',\n 'ß' x])", 2, 6, "expected , or ], found x"},
		{"'\xff'", 1, 2, "not valid UTF-8"},
	} {
		e := compileError(t, x.src)
		if e.Code != variform.Syntax || e.Line != x.line || e.Column != x.column || !strings.Contains(e.Message, x.want) {
			t.Errorf("%q: %v at %d:%d\nwant %q at %d:%d", x.src, e, e.Line, e.Column, x.want, x.line, x.column)
		}
	}
}

func compileError(t *testing.T, src string) *variform.Error {
	t.Helper()
	_, err := variform.Compile(src)
	e, ok := errors.AsType[*variform.Error](err)
	if !ok {
		t.Fatalf("%q compiles: %v", src, err)
	}
	return e
}

func TestSpecialForms(t *testing.T) {
	checkAll(t, []example{
		{"iif(true,'T','F')", "T"},
		{"iif(false,'T','F')", "F"}, // EMQX takes the other
		{"iif(yes,'T','F')", "T"},
		{"iif(no,'T','F')", "F"},
		{"iif('false','T','F')", "T"}, // a text that is not empty
		{"iif('','T','F')", "F"},
		{"iif(null,'T','F')", "F"},
		{"iif(nothing,'T','F')", "F"},
		{"iif(0,'T','F')", "T"},
		{"iif(missing,'T','F')", "F"},
		{"iif(lower(missing),'T','F')", "F"},
		{"iif(str_eq(n,10),2,3)", "2"},
		{"iif(true,'T',missing)", "T"}, // the other branch is not evaluated
		{"iif(false,nonsense(),'F')", "F"},
		{"iif(nth(2,tokens(clientid,'-')),concat([nth(2,tokens(clientid,'-')),'/#']),'')", "1/#"},
		{"coalesce('a','b')", "a"},
		{"coalesce('','b')", "b"},
		{"coalesce(['','b'])", "b"},
		{"coalesce(missing,null,nothing,'d')", "d"},
		{"coalesce([missing,lower(missing),'d'])", "d"},
		{"coalesce(missing)", ""},
		{"coalesce(lower(missing))", ""},
		{"coalesce('','')", ""},
		{"coalesce()", ""},
		{"coalesce('a',nonsense())", "a"},
		{"coalesce(empty,n)", "10"},
		{"coalesce(empty,no)", "false"}, // false is not empty
		{"coalesce(tokens(',,b,c',','))", "b"},
		{"coalesce(tokens(',,',','))", ""},
		{"coalesce(mixed)", "x"},
		{"coalesce(empty)", ""},
		{"is_empty(missing)", "true"},
		{"is_empty(map.missing.more)", "true"},
		{"is_empty(null)", "true"},
		{"is_empty(empty)", "true"},
		{"is_empty(nothing)", "true"},
		{"is_empty('a')", "false"},
		{"is_empty(no)", "false"},
		{"is_empty(0)", "false"},
		{"is_empty(lower(missing))", "true"},
		{"emqx_variform_bif.iif(false,'T','F')", "F"},
	})
}

func TestErrors(t *testing.T) {
	for _, x := range []struct {
		src  string
		code variform.Code
		want string
	}{
		{"missing", variform.VarUnbound, "there is no variable missing (line 1, column 1)"},
		{"username.more", variform.VarUnbound, "username.more"},
		{"client_attrs.other", variform.VarUnbound, "client_attrs.other"},
		{"concat(['a', missing])", variform.VarUnbound, "(line 1, column 14)"}, // EMQX has an empty text there
		{"is_empty_val(cert_common_name)", variform.VarUnbound, "cert_common_name"},
		{"iif('a',missing,'')", variform.VarUnbound, "missing"},
		{"names", variform.BadReturn, "a list"},
		{"map", variform.BadReturn, "a map"},
		{"maps.new()", variform.BadReturn, "a map"},
		{"nonsense(missing)", variform.UnknownFunc, "there is no function nonsense"}, // before its arguments
		{"lower()", variform.UnknownFunc, "lower takes 1 argument, not 0"},
		{"concat('a','b','c')", variform.UnknownFunc, "concat takes 1 to 2 arguments, not 3"},
		{"iif('a','b')", variform.UnknownFunc, "iif takes 3 arguments, not 2"},
		{"is_empty()", variform.UnknownFunc, "is_empty takes 1 argument, not 0"},
		{"lists.map(names)", variform.UnknownFunc, "there is no function lists.map"},
		{"os.cmd('id')", variform.UnknownModule, "there is no module os"},
		{"erlang.halt()", variform.UnknownModule, "there is no module erlang"},
		{"a.b.c(username)", variform.BadReference, "a.b.c"},
		{"coalesce(any_to_str(n))", variform.BadCoalesce, "must yield a list"},
		{"coalesce(lower(1),'a')", variform.BadArg, "lower"}, // only missing variables count as empty
		{"iif(lower(1),'a','b')", variform.BadArg, "lower"},
		{"is_empty(lower(1))", variform.BadArg, "lower"},
		{"concat(['a',\n  lower(n)])", variform.BadArg, "lower: argument 1 must be a text, and is an integer (line 2, column 3)"},
		{"lower(json_value('{}','a'))", variform.BadArg, "is null"},
		{"regex_match(username,'(')", variform.BadRegex, "regex_match"},
		{"regex_match(username,concat('(',''))", variform.BadRegex, "regex_match"},
		{"regex_match(username,'(?=a)')", variform.BadRegex, "not one of RE2"}, // PCRE has it
		{"regex_match(username,'(a)\\1')", variform.BadRegex, "not one of RE2"},
	} {
		e := renderError(t, x.src, vars())
		if e == nil || e.Code != x.code || !strings.Contains(e.Error(), x.want) {
			t.Errorf("%s: %v\nwant %s, %q", x.src, e, x.code, x.want)
		}
	}
}

// renderError compiles and renders src, one of which must fail.
func renderError(t *testing.T, src string, b variform.Bindings) *variform.Error {
	t.Helper()
	e, err := variform.Compile(src)
	if err == nil {
		var got string
		if got, err = e.Render(b); err == nil {
			t.Errorf("%s: is %q", src, got)
			return nil
		}
	}
	typed, ok := errors.AsType[*variform.Error](err)
	if !ok {
		t.Fatalf("%s: %T %v", src, err, err)
	}
	if typed.Line == 0 && typed.Code != variform.BadReturn && typed.Code != variform.TooLarge {
		t.Errorf("%s: %v does not say where", src, err)
	}
	return typed
}

// An error goes into logs and statuses, and variables may be passwords (S16).
func TestErrorsHoldNoValues(t *testing.T) {
	const secret = "s3cret~z(("
	b := variform.Map{"p": secret, "list": []any{secret}, "map": map[string]any{secret: secret}}
	for _, src := range []string{
		"nth(p,list)", "nth(1,p)", "lists.nth(9,list)", "regex_match('a',p)", "regex_match(p,p)", "sprintf_s(p,list)", "sprintf_s('~b',list)",
		"hash(p,'a')", "unescape(concat('\\q',p))", "hexstr2bin(p)", "base64_decode(p)", "jwt_value(p,'a')", "num_eq(p,1)", "not(p)",
		"substr(p,p)", "pad(p,1,p)", "split(p,'a',p)", "tokens(p,'a',p)", "maps.get('x',map)", "maps.keys(p)", "lists.sum(list)",
		"list", "map", "coalesce(p)", "map_to_range(p,2,1)", "rand_int(p)", "int2hexstr(p)", "join_to_string(p)", "p.a", "topic_join('',p)",
	} {
		e := renderError(t, src, b)
		if e != nil && (strings.Contains(e.Error(), "s3cret") || strings.Contains(e.Error(), "((")) {
			t.Errorf("%s: %v", src, e)
		}
	}
}

func TestEvalTypes(t *testing.T) {
	for _, x := range []struct{ src, want string }{
		{"true", "true"},
		{"strlen('ab')", "2"},
		{"1.5", "1.5"},
		{"tokens('a,b',',')", `["a","b"]`},
		{"maps.put('k',[1,'x'],maps.new())", `{"k":[1,"x"]}`},
		{"json_value('{\"a\":null}','a')", "null"},
		{"mixed", `[null,"","x",1,2.5,true,["in"]]`},
	} {
		v, err := compile(t, x.src).Eval(vars())
		if err != nil {
			t.Errorf("%s: %v", x.src, err)
			continue
		}
		if got, err := json.Marshal(v); string(got) != x.want || err != nil {
			t.Errorf("%s: %s, %v; want %s", x.src, got, err, x.want)
		}
	}
	if v, err := compile(t, "'a'").Eval(nil); v != "a" || err != nil {
		t.Errorf("without bindings: %v, %v", v, err)
	}
	if e := renderError(t, "a", nil); e.Code != variform.VarUnbound {
		t.Error(e)
	}
}

func TestBindingsThatAreNoValues(t *testing.T) {
	cyclic := map[string]any{}
	cyclic["a"] = cyclic
	for name, v := range map[string]any{
		"a struct": struct{}{}, "a large integer": uint64(1 << 63), "a large number of JSON": json.Number("18446744073709551616"),
		"beyond a float": json.Number("1e999"), "a cycle": cyclic, "a channel within": []any{make(chan int)},
	} {
		e := renderError(t, "any_to_str(v)", variform.Map{"v": v})
		if e != nil && (e.Code != variform.BadArg && e.Code != variform.TooLarge || !strings.Contains(e.Message, "the variable v has ")) {
			t.Errorf("%s: %v", name, e)
		}
	}
}

// An expression belongs to many connections at once; the race detector looks on.
func TestConcurrentUse(t *testing.T) {
	e := compile(t, "concat([upper(username),'/',regex_replace(clientid,'[0-9]+','<&>'),'/',join_to_string(lists.sort(names))])")
	b := vars()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				if s, err := e.Render(b); s != "PUMP-1/pump-<1>/a, b, b" || err != nil {
					t.Errorf("%q, %v", s, err)
					return
				}
			}
		})
	}
	all.Wait()
}
