package client

import (
	"net/http"
	"strings"
)

// What WWW-Authenticate says as error: RFC 6750 section 3.1, RFC 9449 sections 7.1 and 9.
const (
	invalidRequest    = "invalid_request"
	invalidToken      = "invalid_token"
	insufficientScope = "insufficient_scope"
	invalidProof      = "invalid_dpop_proof"
	useNonce          = "use_dpop_nonce"
)

// refusal returns the first error of a Bearer or DPoP challenge; "" for none.
func refusal(h http.Header) string {
	for _, line := range h.Values("WWW-Authenticate") {
		if e := challengeError(line); e != "" {
			return e
		}
	}
	return ""
}

// challengeError reads one field of challenges (RFC 9110 section 11.6.1): schemes and their parameters, separated by commas both.
func challengeError(line string) string {
	scheme := ""
	for line != "" {
		line = strings.TrimLeft(line, " \t,")
		word := line[:len(line)-len(strings.TrimLeft(line, tokenChars))]
		line = line[len(word):]
		rest := strings.TrimLeft(line, " \t")
		value, after, ok := parameter(rest)
		switch {
		case word == "":
			return "" // no challenge that anybody could read
		case !ok:
			scheme = word
		case strings.EqualFold(word, "error") && (strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "DPoP")):
			return value
		default:
			rest = after
		}
		line = rest
	}
	return ""
}

const tokenChars = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// parameter reads "= value", where the value is a token or a quoted string.
func parameter(s string) (value, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, "=")
	if !ok {
		return "", s, false
	}
	s = strings.TrimLeft(s, " \t")
	if !strings.HasPrefix(s, `"`) {
		rest = strings.TrimLeft(s, tokenChars)
		return s[:len(s)-len(rest)], rest, true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), "", true
}
