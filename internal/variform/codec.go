package variform

import (
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode/utf8"
)

func bin2hexstr(r *run, s string) (any, error) {
	if err := r.fits(2 * len(s)); err != nil {
		return nil, err
	}
	return strings.ToUpper(hex.EncodeToString([]byte(s))), nil
}

func int2hexstr(_ *run, args []any) (any, error) {
	n, err := intArg(args, 0)
	return strings.ToUpper(strconv.FormatInt(n, 16)), err
}

// hexstr2bin takes an odd number of digits as if a 0 stood before them.
func hexstr2bin(_ *run, s string) (any, error) {
	if len(s)%2 == 1 {
		s = "0" + s
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, bad("the text has signs that are no hexadecimal digits")
	}
	return string(b), nil
}

// encoding is what the options no_padding and urlsafe ask for, in any order; others are ignored.
func encoding(options []any) (*base64.Encoding, bool) {
	encoding, padded := base64.StdEncoding, true
	for _, option := range options {
		switch option {
		case "urlsafe":
			encoding = base64.URLEncoding
		case "no_padding":
			padded = false
		}
	}
	return encoding, padded
}

func base64Encode(r *run, args []any) (any, error) {
	s, err := textArg(args, 0)
	if err != nil {
		return nil, err
	}
	encoding, padded := encoding(args[1:])
	if !padded {
		encoding = encoding.WithPadding(base64.NoPadding)
	}
	if err := r.fits(encoding.EncodedLen(len(s))); err != nil {
		return nil, err
	}
	return encoding.EncodeToString([]byte(s)), nil
}

// base64Decode passes over white space. With no_padding the = at the end may be missing.
func base64Decode(_ *run, args []any) (any, error) {
	s, err := textArg(args, 0)
	if err != nil {
		return nil, err
	}
	encoding, padded := encoding(args[1:])
	s = strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace(s)
	if !padded {
		encoding = encoding.WithPadding(base64.NoPadding)
		s = strings.TrimRight(s, "=")
	}
	b, err := encoding.DecodeString(s)
	if err != nil {
		return nil, bad("the text is not base64 of this kind")
	}
	return string(b), nil
}

// jsonValue is json_value(json, 'a.b'): null where the JSON is not valid or has no such member.
func jsonValue(r *run, args []any) (any, error) {
	path, err := pathArg(args)
	if err != nil {
		return nil, err
	}
	if args[0] == nil {
		return nil, bad("argument 1 must not be null")
	}
	s, ok := args[0].(string)
	if !ok {
		return nil, nil
	}
	return r.jsonMember(s, path)
}

func pathArg(args []any) (string, error) {
	path, ok := args[1].(string)
	if !ok || path == "" {
		return "", bad("argument 2 must be the path of a member, as in 'a.b'")
	}
	return path, nil
}

// jsonMember finds a member of a JSON object.
func (r *run) jsonMember(s, path string) (any, error) {
	if err := r.spendTimes(len(s), costJSON); err != nil {
		return nil, err
	}
	v, ok := readJSON(s)
	if !ok || !utf8.ValidString(s) {
		return nil, nil
	}
	for key := range strings.SplitSeq(path, ".") {
		object, _ := v.(map[string]any)
		if v, ok = object[key]; !ok {
			return nil, nil
		}
	}
	v, e := r.canonical(v, 0)
	if e != nil {
		return nil, fail(e.Code, "the member %s", e.Message)
	}
	return v, nil
}

// jwtValue is a claim of a token, whose signature is not checked.
func jwtValue(r *run, args []any) (any, error) {
	path, err := pathArg(args)
	if err != nil {
		return nil, err
	}
	if args[0] == nil {
		return nil, bad("argument 1 must not be null")
	}
	token, _ := args[0].(string)
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fail(BadJWT, "a JWT has three parts, and this has %d", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return nil, fail(BadJWTData, "the second part is not base64url")
	}
	return r.jsonMember(string(payload), path)
}
