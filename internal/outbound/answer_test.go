package outbound

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"cardea/internal/credential"
)

// now is the instant at which answers are read in tests.
var now = time.Unix(2_000_000_000, 999_000_000)

func planOf(kind credential.AuthenticatorType, algorithm string) *plan {
	var p credential.Problems
	b := credential.Backend{URL: "http://h/", Algorithm: algorithm}
	fillIn(kind, &b)
	return New(Config{}).compile(kind, &b, &p)
}

func read(to *plan, status int, kind, body string) credential.Answer {
	return to.read(&reply{status: status, kind: kind, body: []byte(body)}, now)
}

var key = strings.Repeat("0a", 32)

// keysWith is a good answer for SCRAM with more members, or others.
func keysWith(more string) string {
	return fmt.Sprintf(`{"stored_key":"%s","server_key":"%s","salt":"c0ffee"%s}`, key, key, more)
}

// Reference, 1.7; S14: every status, and it is never a yes but for 200.
func TestStatus(t *testing.T) {
	scram, http := planOf(credential.ByScramREST, ""), planOf(credential.ByHTTP, "")
	for status := 100; status < 600; status++ {
		want := credential.Failed
		if status >= 400 && status < 500 && status != 429 {
			want = credential.Unknown
		}
		wantOf := func(to *plan, body string) {
			t.Helper()
			want := want
			if status == 200 || status == 204 && !to.scram {
				want = credential.Known
			}
			if a := read(to, status, jsonType, body); a.Verdict != want {
				t.Errorf("%d: verdict %d (%s), want %d", status, a.Verdict, a.Why, want)
			}
		}
		wantOf(scram, keysWith(""))
		wantOf(http, `{"result":"allow"}`)
	}
}

// Reference, 1.7; S14.
func TestScramAnswers(t *testing.T) {
	to := planOf(credential.ByScramREST, "")
	for i, one := range []struct {
		kind, body string
		want       credential.Verdict
	}{
		{jsonType, keysWith(""), credential.Known},
		{"application/json; charset=utf-8", keysWith(""), credential.Known},
		{"Application/JSON;charset=utf-8", keysWith(""), credential.Known},
		{jsonType, " \n" + keysWith(`,"other":{"a":[1,{"b":null}],"c":"\"}"}`) + "\t\r\n", credential.Known},
		{jsonType, strings.Replace(keysWith(""), "c0ffee", "C0fFeE", 1), credential.Known},
		{jsonType, strings.Replace(keysWith(""), `"salt"`, `"\u0073alt"`, 1), credential.Known},
		{jsonType, strings.Replace(keysWith(""), "c0ffee", `\u0063\u0030ffee`, 1), credential.Known},
		{formType, "stored_key=" + key + "&server_key=" + key + "&salt=c0ffee&&x=", credential.Known},
		{formType + ";charset=x", "stored_key=" + key + "&server_key=" + key + "&salt=c0%66fee", credential.Known},

		{"", keysWith(""), credential.Failed},
		{"text/plain", keysWith(""), credential.Failed},
		{"application/jsonp", keysWith(""), credential.Failed},
		{"application/problem+json", keysWith(""), credential.Failed},
		{formType, keysWith(""), credential.Failed},
		{jsonType, "stored_key=" + key, credential.Failed},
		{jsonType, "", credential.Failed},
		{jsonType, "null", credential.Failed},
		{jsonType, "[" + keysWith("") + "]", credential.Failed},
		{jsonType, `"x"`, credential.Failed},
		{jsonType, keysWith("") + "{}", credential.Failed},
		{jsonType, keysWith("") + "x", credential.Failed},
		{jsonType, keysWith("")[:50], credential.Failed},
		{jsonType, keysWith(",}"), credential.Failed},
		{jsonType, keysWith("\xff"), credential.Failed},
		{jsonType, keysWith(`,"x":"` + "\xff" + `"`), credential.Failed},
		{jsonType, keysWith(`,"salt":"c0ffee"`), credential.Failed},
		{jsonType, keysWith(`,"\u0073alt":"c0ffee"`), credential.Failed},
		{jsonType, keysWith(`,"x":[{"a":1,"a":2}]`), credential.Failed},
		{jsonType, keysWith(`,"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40)), credential.Failed},
		{jsonType, keysWith(`,"x":` + strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)), credential.Failed},
		{jsonType, keysWith(`,"x":` + strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000)), credential.Failed},
		{jsonType, strings.Replace(keysWith(""), "stored_key", "other", 1), credential.Failed},
		{jsonType, strings.Replace(keysWith(""), "server_key", "other", 1), credential.Failed},
		{jsonType, strings.Replace(keysWith(""), "salt", "other", 1), credential.Failed},
		{jsonType, strings.Replace(keysWith(""), "salt", "Salt", 1), credential.Failed},
		{jsonType, strings.Replace(keysWith(""), `"c0ffee"`, "12", 1), credential.Failed},
		{jsonType, strings.Replace(keysWith(""), `"c0ffee"`, "null", 1), credential.Failed},
		{jsonType, strings.Replace(keysWith(""), `"c0ffee"`, `["c0ffee"]`, 1), credential.Failed},
		{jsonType, strings.Replace(keysWith(""), "c0ffee", "c0ffe", 1), credential.Failed},
		{jsonType, strings.Replace(keysWith(""), "c0ffee", "c0ffeg", 1), credential.Failed},
		{jsonType, strings.Replace(keysWith(""), "c0ffee", "0xc0ffee", 1), credential.Failed},
		{jsonType, strings.Replace(keysWith(""), "c0ffee", " c0ffee", 1), credential.Failed},
		{jsonType, strings.Replace(keysWith(""), "c0ffee", "", 1), credential.Failed},
		{jsonType, strings.Replace(keysWith(""), "c0ffee", strings.Repeat("00", maxSalt), 1), credential.Known},
		{jsonType, strings.Replace(keysWith(""), "c0ffee", strings.Repeat("00", maxSalt+1), 1), credential.Failed},
		{jsonType, strings.Replace(keysWith(""), key, "", 1), credential.Failed},
		{jsonType, strings.Replace(keysWith(""), key, key+"00", 1), credential.Failed},
		{jsonType, strings.ReplaceAll(keysWith(""), key, key+key), credential.Failed}, // those of sha512
		{formType, "stored_key=" + key + "&server_key=" + key + "&salt=%zz", credential.Failed},
		{formType, "stored_key=" + key + "&server_key=" + key + "&salt=00&salt=00", credential.Failed},
		{formType, "stored_key=" + key + "&server_key=" + key, credential.Failed},
		{formType, "stored_key=" + key + "&server_key=" + key + "&salt=00" + manyMembers(), credential.Failed},
	} {
		a := read(to, 200, one.kind, one.body)
		if a.Verdict != one.want {
			t.Errorf("case %d: verdict %d (%s), want %d", i, a.Verdict, a.Why, one.want)
		}
		if a.Verdict != credential.Known && (len(a.Keys.Salt) > 0 || a.Keys.Iterations > 0 || a.Why == "") {
			t.Errorf("case %d: keys in an answer that is none, or no reason", i)
		}
		if strings.Contains(a.Why, key) || strings.Contains(a.Why, "ffe") {
			t.Errorf("case %d: the answer is in %q", i, a.Why)
		}
	}
}

func manyMembers() string {
	var b strings.Builder
	for i := range maxMember {
		fmt.Fprintf(&b, "&a%d=", i)
	}
	return b.String()
}

func TestScramKeys(t *testing.T) {
	a := read(planOf(credential.ByScramREST, ""), 200, jsonType, keysWith(""))
	want := credential.ScramKeys{Salt: []byte{0xC0, 0xFF, 0xEE}, StoredKey: []byte(strings.Repeat("\x0a", 32)), ServerKey: []byte(strings.Repeat("\x0a", 32)), Iterations: 4096}
	if !cmp.Equal(want, a.Keys) {
		t.Error("other keys came out than went in")
	}
	long := planOf(credential.ByScramREST, "sha512")
	if a := read(long, 200, jsonType, strings.ReplaceAll(keysWith(""), key, key+key)); a.Verdict != credential.Known || len(a.Keys.StoredKey) != 64 {
		t.Errorf("sha512: %s", a.Why)
	}
	if a := read(long, 200, jsonType, keysWith("")); a.Verdict != credential.Failed {
		t.Error("the keys of sha256 are taken for those of sha512")
	}
}

// Reference, 1.7: what counts as true. S17: whether it is heeded is the authenticator's to say.
func TestSuperuser(t *testing.T) {
	to := planOf(credential.ByScramREST, "")
	for value, want := range map[string]bool{
		"true": true, `"true"`: true, `"1"`: true, "1": true, "2": true, "99999999999999999999999": true, `"10"`: true, `"01"`: true,
		"false": false, `"false"`: false, "0": false, `"0"`: false, "-1": false, "1.0": false, "1e0": false, `"1.0"`: false, `"TRUE"`: false,
		`"yes"`: false, "null": false, `""`: false, "[]": false, "{}": false, "[1]": false, `" 1"`: false, `"+1"`: false, `"-1"`: false, `"00"`: false,
	} {
		if a := read(to, 200, jsonType, keysWith(`,"is_superuser":`+value)); a.Verdict != credential.Known || a.Superuser != want {
			t.Errorf("%s: %v %s", value, a.Superuser, a.Why)
		}
	}
	for value, want := range map[string]bool{"true": true, "1": true, "%31": true, "0": false, "": false, `"1"`: false, "TRUE": false} {
		if a := read(to, 200, formType, "stored_key="+key+"&server_key="+key+"&salt=00&is_superuser="+value); a.Superuser != want {
			t.Errorf("form: %s: %v %s", value, a.Superuser, a.Why)
		}
	}
	if read(to, 200, jsonType, keysWith("")).Superuser {
		t.Error("true without a word")
	}
}

func TestAttrs(t *testing.T) {
	to := planOf(credential.ByHTTP, "")
	big := strings.Repeat("x", maxAttr)
	many := `{"a":"1"`
	for i := range maxAttrs {
		many += fmt.Sprintf(`,"a%d":"1"`, i)
	}
	for value, want := range map[string]map[string]string{
		"{}":                     {},
		`{"a":"1","B-_2":"ü\n"}`: {"a": "1", "B-_2": "ü\n"},
		`{"-a":"1","a.b":"2","":"3","ok":"4","_x":"5"}`: {"ok": "4"},
		`{"a":"` + big + `"}`:                           {"a": big},
		`{"a":"x` + big + `"}`:                          nil,
		many + "}":                                      nil,
		`{"a":1}`:                                       nil,
		`{"-a":1}`:                                      nil,
		`{"a":null}`:                                    nil,
		`{"a":true}`:                                    nil,
		`{"a":{"b":"c"}}`:                               nil,
		`{"a":"1","a":"2"}`:                             nil,
		"[]":                                            nil,
		`"a"`:                                           nil,
		"null":                                          nil,
		"1":                                             nil,
	} {
		a := read(to, 200, jsonType, `{"result":"allow","client_attrs":`+value+"}")
		if want == nil {
			wantVerdict(t, a, credential.Failed)
			continue
		}
		if diff := cmp.Diff(want, a.Attrs); diff != "" || a.Verdict != credential.Known {
			t.Errorf("%.60s: %s %s", value, diff, a.Why)
		}
	}
}

// Reference, 1.7: SCRAM's answer is no use then; that about a password is a refusal.
func TestExpireAt(t *testing.T) {
	scram, http := planOf(credential.ByScramREST, ""), planOf(credential.ByHTTP, "")
	for value, good := range map[string]bool{
		"2000000000": true, "2000000001": true, "4000000000": true,
		"1999999999": false, "0": false, "-1": false, "2000000000.0": false, "2e9": false, `"2000000001"`: false, "null": false, "true": false,
		"2000000000999": false, "99999999999999999999": false, "[]": false,
	} {
		a := read(scram, 200, jsonType, keysWith(`,"expire_at":`+value))
		b := read(http, 200, jsonType, `{"result":"allow","expire_at":`+value+"}")
		if !good {
			wantVerdict(t, a, credential.Failed)
			wantVerdict(t, b, credential.Denied)
			continue
		}
		wantVerdict(t, a, credential.Known)
		wantVerdict(t, b, credential.Known)
		if fmt.Sprint(a.ExpireAt.Unix()) != value || !a.ExpireAt.Equal(b.ExpireAt) {
			t.Errorf("%s: %s and %s", value, a.ExpireAt, b.ExpireAt)
		}
	}
	if a := read(scram, 200, jsonType, keysWith("")); !a.ExpireAt.IsZero() {
		t.Error("an end without a word")
	}
	wantVerdict(t, read(http, 200, formType, "result=allow&expire_at=2000000001"), credential.Known)
	wantVerdict(t, read(http, 200, formType, "result=allow&expire_at=x"), credential.Denied)
}

func TestACL(t *testing.T) {
	scram, http := planOf(credential.ByScramREST, ""), planOf(credential.ByHTTP, "")
	const rules = `[ {"permission":"allow","action":"all","topic":"a/#"}, {"x":[[1]]} ]`
	for value, want := range map[string]string{rules: rules, "[]": "[]", "{}": "", `"[]"`: "", "null": "", "1": "", `{"pub":[]}`: ""} {
		a := read(scram, 200, jsonType, keysWith(`,"acl":`+value))
		b := read(http, 200, jsonType, `{"result":"allow","acl":`+value+"}")
		if want == "" {
			wantVerdict(t, a, credential.Failed)
			wantVerdict(t, b, credential.Denied)
			continue
		}
		if string(a.ACL) != want || string(b.ACL) != want {
			t.Errorf("%s: %s and %s (%s, %s)", value, a.ACL, b.ACL, a.Why, b.Why)
		}
	}
	if a := read(scram, 200, jsonType, keysWith("")); a.ACL != nil {
		t.Error("an acl without a word")
	}
	for value, want := range map[string]credential.Verdict{
		"%5B%5D": credential.Known, "+[{}]+": credential.Known, "": credential.Denied, "x": credential.Denied, "[": credential.Denied,
		"{}": credential.Denied, "[],%22x%22:[]": credential.Denied, "[{%22a%22:1,%22a%22:1}]": credential.Denied,
	} {
		wantVerdict(t, read(http, 200, formType, "result=allow&acl="+value), want)
	}
}

// Reference, 3.1.
func TestPasswordAnswers(t *testing.T) {
	to := planOf(credential.ByHTTP, "")
	for i, one := range []struct {
		status     int
		kind, body string
		want       credential.Verdict
	}{
		{204, "", "", credential.Known},
		{200, jsonType, `{"result":"allow"}`, credential.Known},
		{200, jsonType, `{"result":"deny"}`, credential.Denied},
		{200, jsonType, `{"result":"deny","expire_at":"x","acl":1}`, credential.Denied},
		{200, jsonType, `{"result":"ignore"}`, credential.Unknown},
		{200, jsonType, `{}`, credential.Unknown},
		{200, jsonType, `{"is_superuser":true}`, credential.Unknown},
		{200, formType, "result=allow", credential.Known},
		{200, formType, "result=deny", credential.Denied},
		{200, formType, "a=b", credential.Unknown},
		{200, formType, "", credential.Failed},
		{200, jsonType, `{"result":"Allow"}`, credential.Failed},
		{200, jsonType, `{"result":"yes"}`, credential.Failed},
		{200, jsonType, `{"result":""}`, credential.Failed},
		{200, jsonType, `{"result":true}`, credential.Failed},
		{200, jsonType, `{"result":null}`, credential.Failed},
		{200, jsonType, `{"result":["allow"]}`, credential.Failed},
		{200, jsonType, `{"result":"allow","result":"deny"}`, credential.Failed},
		{200, jsonType, ``, credential.Failed},
		{200, jsonType, `allow`, credential.Failed},
		{200, "", `{"result":"allow"}`, credential.Failed},
		{200, "text/html", `{"result":"allow"}`, credential.Failed},
		{201, jsonType, `{"result":"allow"}`, credential.Failed},
		{302, jsonType, `{"result":"allow"}`, credential.Failed},
		{401, jsonType, `{"result":"allow"}`, credential.Unknown},
		{500, jsonType, `{"result":"allow"}`, credential.Failed},
	} {
		if a := read(to, one.status, one.kind, one.body); a.Verdict != one.want {
			t.Errorf("case %d: verdict %d (%s), want %d", i, a.Verdict, a.Why, one.want)
		}
	}
	a := read(to, 200, jsonType, `{"result":"allow","is_superuser":"1","client_attrs":{"a":"b"},"expire_at":2000000009,"acl":[]}`)
	want := credential.Answer{Verdict: credential.Known, Superuser: true, Attrs: map[string]string{"a": "b"}, ExpireAt: time.Unix(2_000_000_009, 0), ACL: []byte("[]")}
	if a.Superuser != want.Superuser || !cmp.Equal(a.Attrs, want.Attrs) || !a.ExpireAt.Equal(want.ExpireAt) || string(a.ACL) != "[]" {
		t.Errorf("the rest: %s", a.Why)
	}
}

// FuzzAnswer: no answer does harm, what is taken is what encoding/json reads, and nothing is Known by accident.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"", "{}", keysWith(""), keysWith(`,"acl":[{"a":"\""}],"client_attrs":{"a":"\u00e9"},"expire_at":2000000001,"is_superuser":1`),
		`{"result":"allow"}`, `{"a":{"b":[1,2,{"c":"]}\\\""}]}}`, `{"":""}`, "[[[[", "result=allow&acl=[]", "a=%", `{"a":1,"a":2}`, "{\"a\" : -1.5e3 ,\n\"b\":null}",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	scram, http := planOf(credential.ByScramREST, ""), planOf(credential.ByHTTP, "")
	f.Fuzz(func(t *testing.T, body string, form bool) {
		kind := jsonType
		if form {
			kind = formType
		}
		a := read(scram, 200, kind, body)
		if a.Verdict == credential.Known && (len(a.Keys.StoredKey) != 32 || len(a.Keys.ServerKey) != 32 || len(a.Keys.Salt) == 0) {
			t.Errorf("known without keys: %q", body)
		}
		a = read(http, 200, kind, body)
		if a.Verdict == credential.Known && !strings.Contains(body, "allow") && !strings.ContainsAny(body, `\%`) {
			t.Errorf("allowed: %q", body)
		}
		list, err := parseObject(nil, []byte(body))
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if !utf8.ValidString(body) || json.Unmarshal([]byte(body), &want) != nil {
			t.Fatalf("%q is no object", body)
		}
		got := map[string]json.RawMessage{}
		for _, m := range list {
			got[string(m.name)] = json.RawMessage(m.value)
		}
		if diff := cmp.Diff(want, got); diff != "" || len(list) != len(want) {
			t.Fatalf("%q: %s", body, diff)
		}
	})
}
