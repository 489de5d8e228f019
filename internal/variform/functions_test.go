package variform_test

import (
	"strings"
	"testing"

	"cardea/internal/variform"
)

// The examples of docs/variform.md have one of each function; these are the corners.
func TestTextFunctions(t *testing.T) {
	checkAll(t, []example{
		{"lower('ABC Ü İ Σ')", "abc ü i̇ σ"},
		{"lower('ΟΔΟΣ')", "οδοσ"}, // as Erlang does: a sigma at the end is like others
		{"upper('straße ŉ')", "STRASSE ʼN"},
		{"lower(true)", "true"}, // a boolean is its name
		{"lower('')", ""},
		{"trim(' \t\n\u0085\u2028 a b \r\n')", "a b"},
		{"trim('\u00a0a')", "\u00a0a"}, // a non-breaking space is none
		{"ltrim('  a ')", "a "},
		{"rtrim('  a ')", "  a"},
		{"trim('xyxaxyx','yx')", "a"},
		{"ltrim('00070','0')", "70"},
		{"rtrim('00070','0')", "0007"},
		{"trim('aaa','a')", ""},
		{"trim(' a ','')", " a "},
		{"rtrim(e_acute,'a')", "e\u0301"},
		{"ltrim(e_acute,'e')", "e\u0301a"}, // e is not the character é
		{"reverse(e_acute)", "ae\u0301"},
		{"reverse(flag)", "x🇩🇪"},
		{"reverse('')", ""},
		{"strlen(e_acute)", "2"},
		{"strlen(flag)", "2"},
		{"strlen(umlaut)", "3"},
		{"strlen('')", "0"},
		{"strlen('a\tb')", "3"},
		{"substr('hello',1)", "ello"},
		{"substr('hello',1,3)", "ell"},
		{"substr('hello',5)", ""},
		{"substr('hello',9,9)", ""},
		{"substr('hello',1,9223372036854775807)", "ello"},
		{"substr('hello',0,0)", ""},
		{"substr(flag,1)", "x"},
		{"rm_prefix('a/a/b','a/')", "a/b"},
		{"rm_prefix('b','a/')", "b"},
		{"rm_prefix('a','')", "a"},
		{"any_to_str(split('a,,b,',','))", `["a","b"]`},
		{"any_to_str(split('a,,b,',',','notrim'))", `["a","","b",""]`},
		{"any_to_str(split('a,b,c',',','leading'))", `["a","b,c"]`},
		{"any_to_str(split('a,b,c',',','trailing'))", `["a,b","c"]`},
		{"any_to_str(split(',b',',','leading'))", `["b"]`},
		{"any_to_str(split(',b',',','leading_notrim'))", `["","b"]`},
		{"any_to_str(split('a,b,',',','trailing_notrim'))", `["a,b",""]`},
		{"any_to_str(split('ab','x','leading_notrim'))", `["ab"]`},
		{"any_to_str(split('ab',''))", `["ab"]`},
		{"any_to_str(split('a::b','::'))", `["a","b"]`},
		{"any_to_str(split('',','))", ""},
		{"any_to_str(split('',',','notrim'))", `[""]`},
		{"any_to_str(tokens(' a b;c ','; '))", `["a","b","c"]`},
		{"any_to_str(tokens(unescape('a\\r\\nb\\nc'),','))", `["a\r\nb\nc"]`},
		{"any_to_str(tokens(unescape('a\\r\\nb\\nc'),',','nocrlf'))", `["a","b","c"]`},
		{"any_to_str(tokens('abc',''))", `["abc"]`},
		{"concat(strlen('xy'),'.2')", "2.2"},
		{"concat(null,'a')", "a"},
		{"concat(['a',1,2.50,true,null])", "a12.5true"},
		{"concat(names)", "bab"},
		{"concat(nothing)", ""},
		{"pad('a',3)", "a  "},
		{"pad('a',3,'trailing')", "a  "},
		{"pad('a',3,'leading')", "  a"},
		{"pad('a',4,'both')", " a  "},
		{"pad('a',4,'both','*')", "*a**"},
		{"pad('7',3,'leading','0')", "007"},
		{"pad('abcd',3)", "abcd"},
		{"pad('abcd',-3)", "abcd"},
		{"pad(flag,3,'leading','-')", "-🇩🇪x"},
		{"pad('',2,'leading','ü')", "üü"},
		{"replace('a-b-c','-','')", "abc"},
		{"replace('a-b-c','-','+','all')", "a+b+c"},
		{"replace('a-b-c','-','+','leading')", "a+b-c"},
		{"replace('a-b-c','-','+','trailing')", "a-b+c"},
		{"replace('abc','x','y','leading')", "abc"},
		{"replace('abc','','-')", "abc"},
		{"replace('a.c','.','&')", "a&c"}, // nothing is special
		{"ascii('ab')", "97"},
		{"ascii('ü')", "195"},
		{"find('a/b/c','/')", "/b/c"},
		{"find('a/b/c','/','leading')", "/b/c"},
		{"find('a/b/c','/','trailing')", "/c"},
		{"find('abc','x')", ""},
		{"find('abc','')", "abc"},
		{"join_to_string(names)", "b, a, b"},
		{"join_to_string('-',names)", "b-a-b"},
		{"join_to_string('-',['a'])", "a"},
		{"join_to_string('-',nothing)", ""},
		{"join_to_string('|',mixed)", `||x|1|2.5|true|["in"]`},
		{`unescape('\\ \n \t \r \b \f \v \" \? \a')`, "\\ \n \t \r \b \f \v \" ? \a"},
		{`unescape("\'")`, "'"},
		{`unescape('\x41\xe4\x1F600')`, "Aä😀"},
		{`unescape('\x41B')`, "\u041b"}, // as many digits as follow
		{"any_to_str(1)", "1"},
		{"any_to_str(1.50)", "1.5"},
		{"any_to_str(yes)", "true"},
		{"any_to_str('a')", "a"},
		{"any_to_str(null)", ""},
		{"any_to_str(codes)", "hi"},
		{"any_to_str([1,2])", "[1,2]"}, // no characters
		{"any_to_str([1.0,'<&>',null])", `[1.0,"<&>",""]`},
		{"any_to_str(map)", `{"a":{"deep-key":"v"},"b":1}`},
		{"is_empty_val(null)", "true"},
		{"is_empty_val('')", "true"},
		{"is_empty_val(nothing)", "true"},
		{"is_empty_val(json_value('{}','a'))", "true"},
		{"is_empty_val(no)", "false"},
		{"is_empty_val(0)", "false"},
		{"is_empty_val(map)", "false"},
		{"not(true)", "false"},
		{"not('true')", "false"},
		{"not('false')", "true"},
		{"iif(not('true'),'a text is not empty','')", "a text is not empty"},
		{"iif(not(true),'','a boolean is false')", "a boolean is false"},
		{"nth(1,names)", "b"},
		{"nth('2',names)", "a"},
		{"nth(4,names)", ""},
		{"nth(1,nothing)", ""},
		{"nth(3,[1,2,3])", "3"},
	})
}

func TestRegularExpressions(t *testing.T) {
	checkAll(t, []example{
		{"regex_match('pump-17','[0-9]+')", "true"}, // not anchored
		{"regex_match('pump-17','^[0-9]+$')", "false"},
		{"regex_match('','^$')", "true"},
		{"regex_match('PUMP','(?i)^pump$')", "true"},
		{"regex_match(bytes,'^.')", "true"},
		{"regex_match('pump',concat('^pu','mp$'))", "true"},
		{"regex_replace('a1b22c','[0-9]+','#')", "a#b#c"},
		{"regex_replace('a1b22c','[0-9]+','')", "abc"},
		{"regex_replace('john smith','(\\w+) (\\w+)','\\2, \\1')", "smith, john"},
		{"regex_replace('abc','b','[&]')", "a[b]c"},
		{"regex_replace('abc','b','\\&\\\\')", "a&\\c"},
		{"regex_replace('abc','(b)','\\g1\\g{1}\\1')", "abbbc"},
		{"regex_replace('abc','b','\\n\\0\\10\\')", "an0\\c"},
		{"regex_replace('abc','(b)','\\9')", "ac"},
		{"regex_replace('abc','b','$0')", "a$0c"},
		{"regex_replace('abc','x*','-')", "-a-b-c-"},
		{"regex_replace('abc','^','-')", "-abc"},
		{"any_to_str(regex_extract('Date: 2021-05-20','(\\d{4})-(\\d{2})-(\\d{2})'))", `["2021","05","20"]`},
		{"any_to_str(regex_extract('Items: 12, Price: 34','(\\d+).*\\s(\\d+)'))", `["12","34"]`},
		{"any_to_str(regex_extract('none','(\\d+)'))", ""},
		{"any_to_str(regex_extract('a1','\\d'))", ""}, // no groups
		{"any_to_str(regex_extract('b','(a)|(b)'))", `["","b"]`},
		{"any_to_str(regex_extract('a','(a)|(b)'))", `["a"]`}, // the group at the end took no part
		{"any_to_str(regex_extract('a','(a)(b*)'))", `["a",""]`},
	})
}

func TestTopics(t *testing.T) {
	checkAll(t, []example{
		{"topic_join(['a','b',1])", "a/b/1"},
		{"topic_join('a/','b')", "a/b"},
		{"topic_join('a','b')", "a/b"},
		{"topic_join('/','b')", "/b"},
		{"topic_join('a','')", "a/"},
		{"topic_join(nothing)", ""},
		{"any_to_str(topic_split('/a//b'))", `["","a","","b"]`},
		{"any_to_str(topic_split(''))", `[""]`},
		{"topic_match('a/b/c','a/+/c')", "true"},
		{"topic_match('a/b/c','a/#')", "true"},
		{"topic_match('a','a/#')", "true"},
		{"topic_match('a','a/+')", "false"},
		{"topic_match('a/','a/+')", "true"},
		{"topic_match('a/b','a')", "false"},
		{"topic_match('a','a/b')", "false"},
		{"topic_match('a/b','+')", "false"},
		{"topic_match('/a','+/a')", "true"},
		{"topic_match('ab','a')", "false"},
		{"topic_match('$SYS/a','#')", "false"},
		{"topic_match('$SYS/a','+/a')", "false"},
		{"topic_match('$SYS/a','$SYS/#')", "true"},
		{"topic_match('a/b/c','a/#/c')", "false"},
	})
}

func TestCodecs(t *testing.T) {
	const token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJwdW1wLTEiLCJhIjp7ImIiOlsxXX19.x" // {"sub":"pump-1","a":{"b":[1]}}
	checkAll(t, []example{
		{"bin2hexstr(bytes)", "FF00"},
		{"bin2hexstr('')", ""},
		{"int2hexstr(255)", "FF"},
		{"int2hexstr(-255)", "-FF"},
		{"int2hexstr(0)", "0"},
		{"hexstr2bin('6a6B')", "jk"},
		{"hexstr2bin('a')", "\n"}, // 0a
		{"hexstr2bin('')", ""},
		{"base64_encode('a?>')", "YT8+"},
		{"base64_encode('a?>','urlsafe')", "YT8-"},
		{"base64_encode('ab')", "YWI="},
		{"base64_encode('ab','no_padding')", "YWI"},
		{"base64_encode('a?','urlsafe','no_padding')", "YT8"},
		{"base64_encode('a?','no_padding','urlsafe')", "YT8"},
		{"base64_encode('ab','whatever')", "YWI="},
		{"base64_decode('YWI=')", "ab"},
		{"base64_decode('YW I=')", "ab"},
		{"base64_decode('YWI','no_padding')", "ab"},
		{"base64_decode('YWI=','no_padding')", "ab"},
		{"base64_decode('YT8-','urlsafe')", "a?>"},
		{`json_value('{"a":{"b":"c"}}','a.b')`, "c"},
		{`json_value('{"a":1.0}','a')`, "1.0"},
		{`json_value('{"a":9007199254740993}','a')`, "9007199254740993"},
		{`json_value('{"a":false}','a')`, "false"},
		{`json_value('{"a":null}','a')`, ""},
		{`json_value('{"a":[1,2]}','a.b')`, ""},
		{`json_value('{"a":1}','a.')`, ""},
		{`json_value('{"a":1}','b')`, ""},
		{`json_value('[1]','a')`, ""},
		{`json_value('{"a":1} x','a')`, ""},
		{`json_value('{','a')`, ""},
		{`json_value('','a')`, ""},
		{`json_value(null,'a')`, ""}, // a variable that is null is the empty text
		{`json_value(1,'a')`, ""},
		{`nth(2,json_value('{"a":["x","y"]}','a'))`, "y"},
		{"jwt_value('" + token + "','sub')", "pump-1"},
		{"any_to_str(jwt_value('" + token + "','a.b'))", "[1]"},
		{"jwt_value('" + token + "','a.c')", ""},
		{"jwt_value('a.YQ.c','a')", ""}, // the second part is no JSON
	})
}

// Vectors: RFC 1320 and 1321, FIPS 180-4 and 202, RFC 7693; the lengths of SHAKE are those of OpenSSL.
func TestHashes(t *testing.T) {
	checkAll(t, []example{
		{"hash('md4','abc')", "a448017aaf21d8525fc10ae87aa6729d"},
		{"hash('md5','abc')", "900150983cd24fb0d6963f7d28e17f72"},
		{"hash('sha','abc')", "a9993e364706816aba3e25717850c26c9cd0d89d"},
		{"hash('sha1','abc')", "a9993e364706816aba3e25717850c26c9cd0d89d"},
		{"hash('sha224','abc')", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"},
		{"hash('sha256','abc')", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"substr(hash('sha384','abc'),0,16)", "cb00753f45a35e8b"},
		{"substr(hash('sha512','abc'),0,16)", "ddaf35a193617aba"},
		{"hash('sha3_224','abc')", "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf"},
		{"hash('sha3_256','abc')", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"},
		{"substr(hash('sha3_384','abc'),0,16)", "ec01498288516fc9"},
		{"substr(hash('sha3_512','abc'),0,16)", "b751850b1a57168a"},
		{"hash('shake128','')", "7f9c2ba4e88f827d616045507605853e"},
		{"hash('shake256','')", "46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762f"},
		{"substr(hash('blake2b','abc'),0,16)", "ba80a53f981c4d0d"},
		{"hash('blake2s','abc')", "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"},
		{"hash('sha256','')", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"hash_to_range('abc',1,5)", "1"}, // the hash is 0 modulo 5
		{"hash_to_range('abc',7,7)", "7"},
		{"map_to_range('a',0,9)", "7"}, // 97
		{"map_to_range('ab',1,10)", "1"},
		{"map_to_range(12,1,5)", "3"},
		{"map_to_range(-1,1,5)", "5"},
		{"map_to_range('x',-9223372036854775807,9223372036854775807)", "-9223372036854775687"},
	})
}

func TestComparisons(t *testing.T) {
	checkAll(t, []example{
		{"str_eq('a','a')", "true"},
		{"str_eq(n,'10')", "true"},
		{"str_eq(null,'')", "true"},
		{"str_eq(json_value('{}','a'),'')", "true"},
		{"str_eq(yes,'true')", "true"},
		{"str_neq('a','b')", "true"},
		{"str_lt('a','b')", "true"},
		{"str_lt('Z','a')", "true"}, // bytes
		{"str_lt('a','')", "false"},
		{"str_lte('a','a')", "true"},
		{"str_gt(9,10)", "true"},
		{"str_gte('','')", "true"},
		{"str_comp('a','b')", "lt"},
		{"str_comp('b','a')", "gt"},
		{"str_comp('a','a')", "eq"},
		{"num_eq(1,1)", "true"},
		{"num_eq(1,1.0)", "true"},
		{"num_eq(big,9007199254740992.0)", "false"}, // exact
		{"num_neq(2,1)", "true"},
		{"num_lt(-1,2)", "true"},
		{"num_lt(9,10)", "true"},
		{"num_lte(2,2)", "true"},
		{"num_gt(2.5,2)", "true"},
		{"num_gte(-1,2)", "false"},
		{"num_comp(1,2)", "lt"},
		{"num_comp(f,2)", "gt"},
		{"num_comp(2,2.0)", "eq"},
	})
}

func TestSprintf(t *testing.T) {
	checkAll(t, []example{
		{"sprintf_s('~s-~s',['a','b'])", "a-b"},
		{"sprintf_s('no directive',nothing)", "no directive"},
		{"sprintf_s('~~~n~2n',nothing)", "~\n\n\n"},
		{"sprintf_s('~ts',['ü'])", "ü"},
		{"sprintf_s('~s',['ü'])", "ü"},
		{"sprintf_s('~s ~s',[yes,codes])", "true hi"},
		{"sprintf_s('|~5s|~-5s|~2s|~.2s|~5.2s|',['abc','abc','abc','abc','abc'])", "|  abc|abc  |ab|ab|   ab|"},
		{"sprintf_s('~5.5.0s',['7'])", "00007"},
		{"sprintf_s('~6.3.*c|',[120,97])", "xxxaaa|"},
		{"sprintf_s('~w ~w',[9007199254740993.0,12345678.0])", "9.007199254740992e15 12345678.0"},
		{"sprintf_s('~*s',[3,'7'])", "  7"},
		{"sprintf_s('~b ~B ~.16b ~.16B ~.2b',[10,-10,255,255,5])", "10 -10 ff FF 101"},
		{"sprintf_s('~5b|~-5b|~3b|~5..0b',[42,42,12345,42])", "   42|42   |***|00042"},
		{"sprintf_s('~.16x ~.16X ~.16+ ~.16#',[31,'0x',31,'0x',-31,-31])", "0x1f 0x1F -16#1f -16#1F"},
		{"sprintf_s('~c~3c',[97,98])", "abbb"},
		{"sprintf_s('~tc',[228])", "ä"},
		{"sprintf_s('~f ~.2f ~.1f ~8.2f|',[1.5,2.345,3,2.5])", "1.500000 2.35 3.0     2.50|"},
		{"sprintf_s('~e ~.3e ~e',[1.0,12345.678,0.00012])", "1.00000e+0 1.23e+4 1.20000e-4"},
		{"sprintf_s('~g ~g ~g',[1.5,0.00001,123456.0])", "1.50000 1.00000e-5 1.23456e+5"},
		{"sprintf_s('~w ~p',['ab','ab'])", `<<97,98>> <<"ab">>`},
		{"sprintf_s('~p ~tp',['ü','ü'])", `<<195,188>> <<"ü"/utf8>>`},
		{"sprintf_s('~p ~w',[codes,codes])", `"hi" [104,105]`},
		{"sprintf_s('~p',[map])", `#{<<"a">> => #{<<"deep-key">> => <<"v">>},<<"b">> => 1}`},
		{"sprintf_s('~0p ~p ~w',[yes,1.0,mixed])", `true 1.0 [null,<<>>,<<120>>,1,2.5,true,[<<105,110>>]]`},
		{"sprintf_s('~w ~w ~w',[100.0,1000.0,0.001])", "100.0 1.0e3 0.001"},
		{"sprintf_s('~4w|~2w',[7,12345])", "   7|**"},
		{"sprintf_s('~i~s',['passed over','a'])", "a"},
		{"sprintf_s('~p',['a\"b\\c'])", `<<"a\"b\\c">>`},
	})
}

func TestListsAndMaps(t *testing.T) {
	checkAll(t, []example{
		{"any_to_str(lists.append(names,['c']))", `["b","a","b","c"]`},
		{"any_to_str(lists.append([names,[1]]))", `["b","a","b",1]`},
		{"any_to_str(lists.delete('b',names))", `["a","b"]`},
		{"any_to_str(lists.delete('x',names))", `["b","a","b"]`},
		{"any_to_str(lists.flatten([1,[2,['x',[null]]]]))", `[1,2,"x",""]`},
		{"concat(lists.join('/',names))", "b/a/b"},
		{"any_to_str(lists.join('/',nothing))", ""},
		{"lists.last(names)", "b"},
		{"lists.max([1,3.5,2])", "3.5"},
		{"lists.max([1,'a'])", "a"}, // texts are greater than numbers
		{"lists.min(names)", "a"},
		{"lists.member('a',names)", "true"},
		{"lists.member(1,['1'])", "false"},
		{"lists.member(['a'],[['a']])", "true"},
		{"lists.member(map,[map])", "true"},
		{"lists.nth(2,names)", "a"},
		{"concat(lists.reverse(['a','b','c']))", "cba"},
		{"any_to_str(lists.sort(['b',2,maps.new(),true,[1],'a',1.5,null]))", `[1.5,2,true,{},[1],"","a","b"]`},
		{"any_to_str(lists.usort(names))", `["a","b"]`},
		{"any_to_str(lists.sublist(['a','b','c'],2))", `["a","b"]`},
		{"any_to_str(lists.sublist(['a','b','c'],2,9))", `["b","c"]`},
		{"any_to_str(lists.sublist(['a'],5,1))", ""},
		{"lists.sum([1,2,3])", "6"},
		{"lists.sum([1,0.5])", "1.5"},
		{"lists.sum(nothing)", "0"},
		{"maps.get('b',map)", "1"},
		{"maps.get('x',map,'none')", "none"},
		{"maps.is_key('x',map)", "false"},
		{"any_to_str(maps.keys(map))", `["a","b"]`},
		{"any_to_str(maps.values(maps.put('a','v',maps.new())))", `["v"]`},
		{"any_to_str(maps.merge(maps.put('a',1,maps.new()),maps.put('a',2,maps.new())))", `{"a":2}`},
		{"any_to_str(maps.remove('a',map))", `{"b":1}`},
		{"maps.size(maps.new())", "0"},
		{"maps.size(map)", "2"},
		{"maps.size(maps.put('c',1,map))", "3"},
		{"str_eq(any_to_str(map),any_to_str(maps.merge(map,map)))", "true"}, // nothing changed the variable
	})
}

func TestBadArguments(t *testing.T) {
	for src, code := range map[string]variform.Code{
		"lower(1)": variform.BadArg, "upper(names)": variform.BadArg, "lower(bytes)": variform.BadArg, "strlen(hexstr2bin('ff'))": variform.BadArg,
		"upper(hexstr2bin('ff'))": variform.BadArg, "reverse(bytes)": variform.BadArg, "trim(bytes)": variform.BadArg,
		"substr('a','1')": variform.BadArg, "substr('a',-1)": variform.BadArg, "substr('a',0,-1)": variform.BadArg, "substr('a',1.0)": variform.BadArg,
		"split('a',',','both')": variform.BadArg, "split('a',1)": variform.BadArg, "tokens('a',',','crlf')": variform.BadArg,
		"concat('a')": variform.BadArg, "concat(1)": variform.BadArg, "pad('a','3')": variform.BadArg, "pad('a',3,'left')": variform.BadArg,
		"replace('a','b','c','first')": variform.BadArg, "find('a','b','first')": variform.BadArg, "ascii('')": variform.BadArg,
		"join_to_string('a')": variform.BadArg, "join_to_string(1,names)": variform.BadArg,
		`unescape('\')`: variform.BadEscape, `unescape('\q')`: variform.BadEscape, `unescape('\x')`: variform.BadEscape,
		`unescape('\xd800')`: variform.BadEscape, `unescape('\x110000')`: variform.BadEscape, `unescape('\xfffffffffffff')`: variform.BadEscape,
		"not('')": variform.BadArg, "not(1)": variform.BadArg, "not('TRUE')": variform.BadArg, "not(names)": variform.BadArg,
		"nth('x',names)": variform.BadIndex, "nth(1.0,names)": variform.BadIndex, "nth(0,names)": variform.BadArg, "nth('-1',names)": variform.BadArg, "nth(1,'a')": variform.BadArg,
		"topic_join('','a')": variform.BadArg, "topic_join('a')": variform.BadArg, "topic_join(json_value('','a'),'b')": variform.BadArg,
		"topic_match(json_value('','a'),'b')": variform.BadArg, "topic_split(json_value('','a'))": variform.BadArg,
		"topic_join(json_value('{\"a\":[null]}','a'))": variform.BadArg,
		"rand_str(0)": variform.BadArg, "rand_str('a')": variform.BadArg, "rand_int(0)": variform.BadArg, "rand_int(-1)": variform.BadArg,
		"bin2hexstr(1)": variform.BadArg, "int2hexstr('1')": variform.BadArg, "hexstr2bin('xy')": variform.BadArg,
		"base64_decode('YWI')": variform.BadArg, "base64_decode('YT8-')": variform.BadArg, "base64_decode('!')": variform.BadArg,
		"json_value('{}','')": variform.BadArg, "json_value(json_value('','a'),'a')": variform.BadArg, `json_value('{"a":18446744073709551616}','a')`: variform.BadArg,
		"jwt_value('a.b','x')": variform.BadJWT, "jwt_value('','x')": variform.BadJWT, "jwt_value('a.!.c','x')": variform.BadJWTData, "jwt_value('a.b.c','')": variform.BadArg,
		"hash('SHA256','a')": variform.UnknownHash, "hash('x','a')": variform.UnknownHash, "hash('md5',1)": variform.BadArg, "hash(1,'a')": variform.BadArg,
		"hash_to_range(1,1,2)": variform.BadArg, "hash_to_range('',1,2)": variform.BadArg, "hash_to_range('a','1',2)": variform.BadArg, "hash_to_range('a',2,1)": variform.BadArg,
		"map_to_range('',1,2)": variform.BadArg, "map_to_range('a','1',2)": variform.BadArg, "map_to_range('a',2,1)": variform.BadArg, "map_to_range(1.5,1,2)": variform.BadArg,
		"num_eq('1',1)": variform.BadArg, "num_lt(1,null)": variform.BadArg, "num_comp(true,1)": variform.BadArg, "getenv(1)": variform.BadArg,
		"sprintf_s('~s','a')": variform.BadArg, "sprintf_s('~s',nothing)": variform.BadArg, "sprintf_s('',['a'])": variform.BadArg, "sprintf_s('~s',[1])": variform.BadArg,
		"sprintf_s('~b',['1'])": variform.BadArg, "sprintf_s('~b',[1.0])": variform.BadArg, "sprintf_s('~.1b',[1])": variform.BadArg, "sprintf_s('~.37b',[1])": variform.BadArg,
		"sprintf_s('~f',['1'])": variform.BadArg, "sprintf_s('~q',[1])": variform.BadArg, "sprintf_s('~',[1])": variform.BadArg, "sprintf_s('~5',[1])": variform.BadArg,
		"sprintf_s('~c',[-1])": variform.BadArg, "sprintf_s('~.16x',[1,2])": variform.BadArg, "sprintf_s('~*s',['a','b'])": variform.BadArg, "sprintf_s('~.999f',[1.0])": variform.BadArg, "sprintf_s('~.1e',[1.0])": variform.BadArg, "sprintf_s('~.0f',[1.0])": variform.BadArg,
		"lists.last(nothing)": variform.BadArg, "lists.max(nothing)": variform.BadArg, "lists.nth(4,names)": variform.BadArg, "lists.sum(names)": variform.BadArg,
		"lists.sum([9223372036854775807,1])": variform.BadArg, "lists.sum([-9223372036854775807,-2])": variform.BadArg, "lists.sort('a')": variform.BadArg,
		"lists.sublist(names,-1)": variform.BadArg, "lists.sublist(names,0,1)": variform.BadArg, "lists.append(['a'])": variform.BadArg, "lists.member(1,2)": variform.BadArg,
		"maps.get('x',map)": variform.BadKey, "maps.get(1,map)": variform.BadArg, "maps.get('a','b')": variform.BadArg, "maps.keys(names)": variform.BadArg, "maps.merge(map,names)": variform.BadArg,
	} {
		if e := renderError(t, src, vars()); e != nil && e.Code != code {
			t.Errorf("%s: %v, want %s", src, e, code)
		}
	}
	huge := strings.Repeat("9", 308) + ".0"
	if e := renderError(t, "lists.sum(["+strings.Repeat(huge+",", 9)+"1])", nil); e.Code != variform.BadArg {
		t.Error(e)
	}
}
