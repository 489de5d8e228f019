package variform_test

import (
	"fmt"
	"strings"
	"testing"

	"cardea/internal/variform"
)

const mib = 1 << 20

func TestLimitsOfTheSource(t *testing.T) {
	text := func(n int) string { return "'" + strings.Repeat("a", n-2) + "'" }
	compile(t, text(64<<10))
	if e := compileError(t, text(64<<10+1)); e.Code != variform.TooLarge {
		t.Error(e)
	}
	nested := func(begin, end string, n int) string {
		return strings.Repeat(begin, n) + "'a'" + strings.Repeat(end, n)
	}
	compile(t, nested("lower(", ")", 100))
	compile(t, "concat(["+strings.Repeat("lower(['a']),", 200)+"'a'])") // beside each other
	for _, src := range []string{nested("lower(", ")", 101), "concat(" + nested("[", "]", 100) + ")", strings.Repeat("f(", 30_000), strings.Repeat("f([", 20_000)} {
		if e := compileError(t, src); e.Code != variform.TooLarge {
			t.Errorf("%.40s: %v", src, e)
		}
	}
	for _, re := range []string{strings.Repeat("a", 1025), "(a{100}){40}", "(((a{9}){9}){9}){9}", strings.Repeat(".{1000}", 5)} {
		if e := compileError(t, "regex_match(x,'"+re+"')"); e.Code != variform.BadRegex {
			t.Errorf("%.40s: %v", re, e)
		}
		if e := renderError(t, "regex_match('',re)", variform.Map{"re": re}); e.Code != variform.BadRegex {
			t.Errorf("%.40s: %v", re, e)
		}
	}
}

// Whoever connects chooses the values: none of them may cost memory or time without end (S14, S16).
func TestLimitsOfTheValues(t *testing.T) {
	b := variform.Map{
		"mib": strings.Repeat("x", mib), "more": strings.Repeat("x", mib+1), "half": strings.Repeat("é", mib/4), "many": make([]any, 3_000_000),
		"list": strings.Split(strings.Repeat("x,", 100_000), ","), "as": strings.Repeat("a", 20_000), "control": strings.Repeat("\x01", 300_000),
	}
	var deep any
	for range 1001 {
		deep = []any{deep}
	}
	ints := make([]any, 400_000)
	for i := range ints {
		ints[i] = i * 7919 % len(ints)
	}
	b["deep"], b["ints"] = deep, ints
	repeated := func(arg string, n int) string { return strings.Repeat(arg+",", n-1) + arg }
	for _, src := range []string{
		"deep", "more", "any_to_str(more)", "any_to_str(many)", "concat(mib,'x')", "concat([" + repeated("mib", 20) + "])", "join_to_string(mib,['a','b'])",
		"pad('a',1048577)", "pad('a',9223372036854775807)", "pad('a',600000,'leading','é')", "pad('a',9223372036854775807,'both','é')", "pad('',2,'both',mib)",
		"replace(mib,'x','xx')", "replace(mib,'x',mib)", "replace(mib,'x','xx','leading')", "regex_replace(mib,'x','xx')", "regex_replace('ab','.',mib)",
		"rand_str(1048577)", "rand_str(9223372036854775807)", "bin2hexstr(mib)", "base64_encode(mib)", "topic_join(mib,'a')", "any_to_str([control])",
		"sprintf_s('~1048577s',['a'])", "sprintf_s('~9999999999999999999s',['a'])", "sprintf_s('~*s',[9223372036854775807,'a'])", "sprintf_s('~1000000c~1000000c',[97,98])",
		"sprintf_s('~s~s',[mib,mib])", "sprintf_s('~w',[mib])", "sprintf_s('~1048577n',many)", "sprintf_s('~.1048577c',[97])",
		"regex_match(mib,'(ab|cd|ef|gh|ij|kl|mn|op)*y')", "regex_replace(as,'a.*b|a','')", // quadratic without a limit
		"strlen(concat(half,concat(half,'é')))", "lists.sort(ints)", "lists.sort(" + repeatedCall("lists.append(%s,list)", "list", 20) + ")",
		repeatedCall("lists.join(%s,list)", "list", 5), "concat([" + repeated("lower(mib)", 30) + "])", "coalesce([" + repeated("find(mib,'y')", 30) + "])",
	} {
		if e := renderError(t, src, b); e != nil && e.Code != variform.TooLarge {
			t.Errorf("%.60s: %v", src, e)
		}
	}
	for _, src := range []string{"mib", "upper(mib)", "trim(mib)", "strlen(half)", "regex_match(mib,'y')", "regex_replace(as,'a','b')", "join_to_string(list)", "concat(lists.sort(list))", "sprintf_s('~s',[mib])", "substr(mib,5)", "pad('a',1048576)", "rand_str(100000)"} {
		if _, err := compile(t, src).Render(b); err != nil {
			t.Errorf("%s: %v", src, err)
		}
	}
}

// repeatedCall puts call into itself n times.
func repeatedCall(call, inner string, n int) string {
	for range n {
		inner = fmt.Sprintf(call, inner)
	}
	return inner
}

// What is left of one evaluation's work is not taken from the next.
func TestLimitIsPerEvaluation(t *testing.T) {
	e := compile(t, "strlen(x)")
	b := variform.Map{"x": strings.Repeat("é", 200_000)}
	for range 5 {
		if _, err := e.Render(b); err != nil {
			t.Fatal(err)
		}
	}
}
