package jwt

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestTypesAreComparedAsMediaTypes(t *testing.T) { // J09, RFC 7515 section 4.1.9
	key := newKey(t)
	s, keys := newSigner(t, key), keysOf(t, key.Public())
	for _, test := range []struct {
		typ   string // JSON; "" for none
		types []string
		fits  bool
	}{
		{`"at+jwt"`, []string{"at+jwt"}, true},
		{`"AT+JWT"`, []string{"at+jwt"}, true},
		{`"application/at+jwt"`, []string{"at+jwt"}, true},
		{`"Application/AT+jwt"`, []string{"at+jwt"}, true},
		{`"at+jwt"`, []string{"application/at+jwt"}, true},
		{`"application/at+jwt;x=/"`, []string{"at+jwt;x=/"}, false},
		{`"text/at+jwt"`, []string{"at+jwt"}, false},
		{`"application/"`, []string{""}, false},
		{`"JWT"`, []string{"at+jwt"}, false},
		{`"JWT"`, []string{"at+jwt", "JWT"}, true},
		{``, []string{"at+jwt"}, false},
		{``, []string{"at+jwt", ""}, true},
		{`"JWT"`, []string{""}, false},
		{`""`, []string{"", "at+jwt"}, false},
		{`null`, []string{""}, false},
		{`7`, []string{""}, false},
		{`"at+jwt\u0000"`, []string{"at+jwt"}, false},
		{`"to\u212aen"`, []string{"token"}, false}, // KELVIN SIGN, which folds to k
		{`"at+jwt"`, nil, false},
	} {
		header := fmt.Sprintf(`{"alg":"ES256","kid":%q,"typ":%s}`, s.KeyID(), test.typ)
		if test.typ == "" {
			header = fmt.Sprintf(`{"alg":"ES256","kid":%q}`, s.KeyID())
		}
		_, err := Verify(forge(t, s, header, payload(t, good())), keys, Want{Types: test.types}, noon)
		if (err == nil) != test.fits {
			t.Errorf("typ %s where %q are wanted: %v", test.typ, test.types, err)
		}
	}
}

func TestWantedAlgorithmsAndAudiences(t *testing.T) { // J01, J08
	key := newKey(t)
	s, keys := newSigner(t, key), keysOf(t, key.Public())
	c := good()
	c["aud"] = []string{"db", "mq"}
	token := sign(t, s, typ, c)
	for _, test := range []struct {
		want  Want
		class error
	}{
		{Want{Audiences: []string{"x", "mq"}}, nil},
		{Want{Audiences: []string{"x"}}, ErrClaims},
		{Want{Audiences: []string{""}}, ErrClaims},
		{Want{}, ErrClaims},
		{Want{AnyAudience: true}, nil},
		{Want{AnyAudience: true, Algs: []string{"EdDSA", "ES256"}}, nil},
		{Want{AnyAudience: true, Algs: []string{"EdDSA"}}, ErrForm},
	} {
		test.want.Types = only
		_, err := Verify(token, keys, test.want, noon)
		if test.class == nil {
			if err != nil {
				t.Errorf("%+v: %v", test.want, err)
			}
			continue
		}
		refusedAs(t, err, test.class, "JWT refused")
	}
	c["aud"] = ""
	_, err := Verify(sign(t, s, typ, c), keys, Want{Types: only, Audiences: []string{""}}, noon)
	refusedAs(t, err, ErrClaims, "somebody else")
}

// Each class of error leads to something else: another set of keys, another reason.
func TestErrorsHaveClasses(t *testing.T) {
	key, thief := newKey(t), newKey(t)
	s, keys := newSigner(t, key), keysOf(t, key.Public())
	header := fmt.Sprintf(`{"alg":"ES256","kid":%q,"typ":%q}`, s.KeyID(), typ)
	want := Want{Types: only, Issuer: "me"}
	for says, one := range map[string]struct {
		token string
		class error
	}{
		"not three parts":      {"a.b", ErrForm},
		"header: not base64":   {"ä.b.c", ErrForm},
		"header: not JSON":     {"AAAA.e.e", ErrForm},
		"algorithm is none":    {b64(`{"alg":"none"}`) + "..", ErrForm},
		"extensions by b64":    {b64(`{"alg":"ES256","b64":false}`) + "..", ErrForm},
		"claims: not JSON":     {forge(t, s, header, `{`), ErrForm},
		"claims: a well-known": {forge(t, s, header, `{"SUB":"x"}`), ErrForm},
		"signature: not base":  {forge(t, s, header, `{}`) + "=", ErrForm},
		"key is unknown":       {sign(t, newSigner(t, thief), typ, good()), ErrKey},
		"wrong signature":      {forge(t, newSigner(t, thief), header, payload(t, good())), ErrSignature},
		"typ is another":       {sign(t, s, "x", good()), ErrClaims},
		"issuer is another":    {sign(t, s, typ, good()), ErrClaims},
		"no exp":               {sign(t, s, typ, claims{"iss": "me"}), ErrClaims},
	} {
		_, err := Verify(one.token, keys, want, noon)
		refusedAs(t, err, one.class, says)
	}
}

// Read says who a token claims to be from, and is as strict about its form as Verify; what it has read can be verified.
func TestReadBeforeVerify(t *testing.T) {
	key := newKey(t)
	s, keys := newSigner(t, key), keysOf(t, key.Public())
	c := good()
	c["iss"] = "https://issuer.example"
	token := sign(t, s, typ, c)
	u, err := Read(token)
	if err != nil {
		t.Fatal(err)
	}
	if u.Alg != "ES256" || u.KeyID != s.KeyID() || u.Typ != typ || u.Issuer != c["iss"] || u.Subject != c["sub"] || string(u.Claims) != payload(t, c) {
		t.Errorf("%+v", u)
	}
	if err := u.Verify(keys, Want{Types: only}, noon); err != nil {
		t.Error(err)
	}
	refusedAs(t, u.Verify(keysOf(t, newKey(t).Public()), Want{Types: only}, noon), ErrKey, "unknown")
	refusedAs(t, u.Verify(keys, Want{Types: []string{"x"}}, noon), ErrClaims, "typ")
	refusedAs(t, u.Verify(keys, Want{Types: only}, noon.AddDate(1, 0, 0)), ErrClaims, "expired")

	// Nobody's signature is enough to be read, and no more.
	parts := strings.Split(token, ".")
	u, err = Read(parts[0] + "." + parts[1] + ".AAAA")
	if err != nil || u.Issuer != c["iss"] {
		t.Errorf("%+v, %v", u, err)
	}
	refusedAs(t, u.Verify(keys, Want{Types: only}, noon), ErrSignature, "wrong signature")

	u, err = Read(forge(t, s, `{"alg":"EdDSA"}`, `{"iss":7,"sub":["x"]}`))
	if err != nil || u.Issuer != "" || u.Subject != "" || u.KeyID != "" || u.Typ != "" {
		t.Errorf("%+v, %v", u, err)
	}
	for says, bad := range map[string]string{
		"not three parts": parts[0] + "." + parts[1],
		"longer":          strings.Repeat("x", maxToken+1),
		"algorithm":       b64(`{"alg":"HS256"}`) + "." + parts[1] + "." + parts[2],
		"twice":           parts[0] + "." + b64(`{"iss":"a","iss":"b"}`) + "." + parts[2],
		"not JSON":        parts[0] + "." + b64(`{"iss":"a"`) + "." + parts[2],
		"a JSON object":   parts[0] + "." + b64(`[]`) + "." + parts[2],
	} {
		_, err := Read(bad)
		refusedAs(t, err, ErrForm, says)
	}
}

// Whoever reads the claims after us finds what we have found (J05): encoding/json takes the last of two, and does not mind case.
func TestClaimsAreReadTheSameByAll(t *testing.T) {
	key := newKey(t)
	s, keys := newSigner(t, key), keysOf(t, key.Public())
	header := fmt.Sprintf(`{"alg":"ES256","kid":%q,"typ":%q}`, s.KeyID(), typ)
	const exp = `"exp":99999999999`
	for claims, says := range map[string]string{
		`{` + exp + `,"sub":"a","sub":"b"}`:                        "twice",
		`{` + exp + `,"sub":"a","s\u0075b":"b"}`:                   "twice",
		`{` + exp + `,"act":{"sub":"a","sub":"b"}}`:                "twice",
		`{` + exp + `,"x":[1,{"a":[{"b":1,"b":2}]}]}`:              "twice",
		`{` + exp + `,"sub":"a","Sub":"b"}`:                        "another case",
		`{` + exp + `,"SUB":"b"}`:                                  "another case",
		`{` + exp + `,"\u017fub":"b"}`:                             "another case", // LATIN SMALL LETTER LONG S
		`{` + exp + `,"Client_ID":"b"}`:                            "another case",
		`{` + exp + `} {}`:                                         "not JSON",
		"{" + exp + ",\"x\":\"\xed\xa0\x80\"}":                     "not UTF-8",
		`{` + exp + `,"sub":"a","x":{"sub":"b"},"y":[{},[]]}`:      "",
		` { ` + exp + ` , "x" : [ 1 , { "a" : -1.5e3 } , [ ] ] } `: "",
		`{` + exp + `,"Name":"a","name":"b","x":"\"}{\\","":true}`: "",
	} {
		got, err := Verify(forge(t, s, header, claims), keys, Want{Types: only}, noon)
		if says != "" {
			refusedAs(t, err, ErrForm, says)
			continue
		}
		if err != nil || string(got) != claims || !json.Valid(got) {
			t.Errorf("%s: %s, %v", claims, got, err)
		}
	}
}
