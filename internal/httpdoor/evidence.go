package httpdoor

import (
	"encoding/base64"
	"net/http"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/gate"
)

const (
	doorName    = "http"
	tokenPrefix = "cardea_"
	maxBasic    = 1024 // base64 characters
)

// evidence reads into ev what the headers show: Authorization (Bearer, DPoP, Basic),
// X-API-Key and appKey. The same token in several places is one; two different
// ones, or Authorization twice, are ambiguous (H19). A cookie is not a source.
// With MalformedToken and AmbiguousEvidence nothing in ev counts. If the scheme is DPoP, ev has an empty proof.
func (d *Door) evidence(h http.Header, ev *gate.Evidence) credential.Reason {
	if !d.tokens {
		return credential.OK
	}
	if auth := h["Authorization"]; len(auth) > 0 {
		if len(auth) > 1 {
			return credential.AmbiguousEvidence
		}
		token, reason := d.fromAuthorization(auth[0], ev)
		if reason == credential.MalformedToken && len(h["X-Api-Key"])+len(h["Appkey"]) > 0 {
			return credential.AmbiguousEvidence
		}
		if reason != credential.OK {
			return reason
		}
		ev.Token = token
	}
	for _, v := range h["X-Api-Key"] {
		if reason := add(ev, v); reason != credential.OK {
			return reason
		}
	}
	for _, v := range h["Appkey"] {
		if reason := add(ev, v); reason != credential.OK {
			return reason
		}
	}
	return credential.OK
}

func add(ev *gate.Evidence, token string) credential.Reason {
	switch ev.Token {
	case "":
		if token == "" {
			return credential.MalformedToken
		}
		ev.Token = token
	case token:
	default:
		return credential.AmbiguousEvidence
	}
	return credential.OK
}

// fromAuthorization returns the token of an Authorization header. Another
// scheme is a credential, too, only not one of ours.
func (d *Door) fromAuthorization(v string, ev *gate.Evidence) (string, credential.Reason) {
	scheme, rest, _ := strings.Cut(v, " ")
	rest = strings.Trim(rest, " ")
	bound := strings.EqualFold(scheme, "DPoP")
	if bound {
		ev.DPoP = &gate.DPoP{}
	}
	switch {
	case bound, strings.EqualFold(scheme, "Bearer"):
		if rest == "" {
			return "", credential.MalformedToken
		}
		return rest, credential.OK
	case strings.EqualFold(scheme, "Basic"):
		return d.fromBasic(rest)
	}
	return "", credential.MalformedToken
}

// fromBasic takes the token from the password or the user name, as Git clients
// send it; the other part is ignored.
func (d *Door) fromBasic(encoded string) (string, credential.Reason) {
	if len(encoded) > maxBasic {
		return "", credential.MalformedToken
	}
	var buf [maxBasic]byte
	n, err := base64.StdEncoding.Decode(buf[:], []byte(encoded))
	if err != nil {
		return "", credential.MalformedToken
	}
	user, password, ok := strings.Cut(string(buf[:n]), ":")
	isUser, isPassword := strings.HasPrefix(user, tokenPrefix), strings.HasPrefix(password, tokenPrefix)
	switch {
	case ok && !isUser && !isPassword && d.gate.IsImported(password):
		return password, credential.OK
	case ok && !isUser && !isPassword && d.gate.IsImported(user):
		return user, credential.OK
	case !ok || !isUser && !isPassword:
		return "", credential.MalformedToken
	case isUser && isPassword && user != password:
		return "", credential.AmbiguousEvidence
	case isPassword:
		return password, credential.OK
	}
	return user, credential.OK
}

// showsToken reports whether a query carries a credential, which
// RFC 6750 §5.3 advises against and Cardea refuses (K04): a parameter named token,
// access_token or appKey in any case, or anything that looks like a token of ours.
// Names and values are looked at decoded. It does not allocate.
func showsToken(query string) bool {
	if query == "" {
		return false
	}
	escaped := strings.IndexByte(query, '%') >= 0
	for rest := query; rest != ""; {
		var pair string
		if i := strings.IndexAny(rest, "&;"); i >= 0 {
			pair, rest = rest[:i], rest[i+1:]
		} else {
			pair, rest = rest, ""
		}
		name, _, _ := strings.Cut(pair, "=")
		if namesToken(name, escaped) {
			return true
		}
	}
	if !escaped {
		return tokenIn(query)
	}
	return tokenInEscaped(query)
}

// namesToken compares a parameter's name, which may be escaped.
func namesToken(name string, escaped bool) bool {
	if !escaped {
		return isTokenName(name)
	}
	var buf [len("access_token")]byte
	n := 0
	for i := 0; i < len(name); n++ {
		if n == len(buf) {
			return false
		}
		buf[n], i = unescape(name, i)
	}
	return isTokenName(string(buf[:n]))
}

func isTokenName(name string) bool {
	switch len(name) {
	case len("token"):
		return strings.EqualFold(name, "token")
	case len("appKey"):
		return strings.EqualFold(name, "appKey")
	case len("access_token"):
		return strings.EqualFold(name, "access_token")
	}
	return false
}

// unescape returns the byte at i of a query and where the next one begins. A
// broken escape stands for itself.
func unescape(s string, i int) (byte, int) {
	if s[i] == '%' && i+2 < len(s) {
		hi, ok1 := unhex(s[i+1])
		lo, ok2 := unhex(s[i+2])
		if ok1 && ok2 {
			return hi<<4 | lo, i + 3
		}
	}
	return s[i], i + 1
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// shape is what a token begins with: x is a lower-case letter, w a letter or a
// digit. A text that only mentions cardea_ is not a token.
const shape = tokenPrefix + "xxx_wwwwwwwwwwwwwwww"

func fits(c, want byte) bool {
	switch want {
	case 'x':
		return c >= 'a' && c <= 'z'
	case 'w':
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	return c == want
}

func tokenIn(s string) bool {
	for {
		i := strings.Index(s, tokenPrefix)
		if i < 0 {
			return false
		}
		s = s[i:]
		if tokenAt(s, 0) {
			return true
		}
		s = s[len(tokenPrefix):]
	}
}

func tokenInEscaped(s string) bool {
	for i := 0; i < len(s); {
		c, next := unescape(s, i)
		if c == shape[0] && tokenAt(s, i) {
			return true
		}
		i = next
	}
	return false
}

func tokenAt(s string, i int) bool {
	for j := range len(shape) {
		if i >= len(s) {
			return false
		}
		var c byte
		if c, i = unescape(s, i); !fits(c, shape[j]) {
			return false
		}
	}
	return true
}
