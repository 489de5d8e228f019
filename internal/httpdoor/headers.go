package httpdoor

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/gate"
)

// The headers that tell an upstream who calls, in canonical form.
const (
	hPrincipal     = "X-Cardea-Principal"
	hPrincipalKind = "X-Cardea-Principal-Kind"
	hCredential    = "X-Cardea-Credential"
	hScopes        = "X-Cardea-Scopes"
	hOrg           = "X-Cardea-Org"
	hIdentity      = "X-Cardea-Identity"
)

// introduction is what an upstream is told of a caller: the backing of the
// header values, so that setting them allocates nothing.
type introduction [6]string

// introduce fills in the introduction of id, or says why there is none.
func (d *Door) introduce(in *introduction, id *gate.Identity) credential.Reason {
	assertion, err := d.gate.Assertion(id)
	if err != nil && credential.KindOf(err) == credential.Conflict {
		return credential.Expired // too near its end for a signature that counts in seconds
	}
	scopes := ""
	if len(id.Scopes) == 1 {
		scopes = id.Scopes[0]
	} else {
		scopes = strings.Join(id.Scopes, " ")
	}
	*in = introduction{carried(id.Principal), string(id.PrincipalKind), id.Credential, scopes, id.Org, assertion}
	for _, v := range in {
		if err != nil || !visible(v) {
			d.log.Error("the identity headers cannot be made", "credential", id.Credential, "error", err)
			return credential.Unavailable
		}
	}
	return credential.OK
}

// set puts the introduction into a header.
func (in *introduction) set(h http.Header) {
	h[hPrincipal] = in[0:1:1]
	h[hPrincipalKind] = in[1:2:2]
	h[hCredential] = in[2:3:3]
	h[hScopes] = in[3:4:4]
	h[hOrg] = in[4:5:5]
	h[hIdentity] = in[5:6:6]
}

// carried returns a name as a header carries it: every byte but those of the names that Cardea gives itself, and of
// capitals and ~, is escaped as in URLs (RFC 3986 §2.1). So no two names are the same, none looks like a list or a path, and
// a principal's is what it is. Others are those of people whom a REST service knows.
func carried(name string) string {
	i := 0
	for i < len(name) && plain(name[i]) {
		i++
	}
	if i == len(name) {
		return name
	}
	const hex = "0123456789ABCDEF"
	b := append(make([]byte, 0, 3*len(name)), name[:i]...)
	for ; i < len(name); i++ {
		if c := name[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

func plain(c byte) bool {
	switch c {
	case '.', '_', '@', '-', '~':
		return true
	}
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// visible reports whether s is visible ASCII and spaces, so that it can neither
// break a header nor be read differently by an upstream.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// strip removes from a caller's headers what only a gateway may say, and what
// the caller has proved itself with (H01, H03, H10, H15), here or at the console.
func strip(h http.Header) {
	for name := range h {
		if isOurs(name) {
			delete(h, name)
		}
	}
	stripCookies(h)
}

// stripCookies removes the cookies of sessions, here and at the console: browsers send them to every port
// of a host, and an upstream that got one could act as the person (W03). What is left stays as it was written.
func stripCookies(h http.Header) {
	lines := h["Cookie"]
	if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, "cardea") }) {
		return
	}
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		pairs := strings.Split(line, ";")
		pairs = slices.DeleteFunc(pairs, isOurCookie)
		if line = strings.TrimLeft(strings.Join(pairs, ";"), " \t"); line != "" {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = kept
}

// isOurCookie takes one pair of a Cookie header (RFC 6265 §4.2.1).
func isOurCookie(pair string) bool {
	name, _, _ := strings.Cut(pair, "=")
	name = strings.Trim(name, " \t")
	return name == "cardea" || name == "__Host-cardea" || isSessionCookie(name)
}

const longestOurs = 32

// isOurs normalises a name as CGI and its successors do, to which X-Principal,
// x_principal and X.Principal are the same header.
func isOurs(name string) bool {
	switch name[0] | 0x20 {
	case 'x', 'a', 'd', 'f', 'r', 'c', 'h', 't', 'p':
	default:
		return false
	}
	var buf [longestOurs]byte
	n, odd := min(len(name), longestOurs), false
	for i := range n {
		c := name[i]
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-':
		default:
			c, odd = '-', true
		}
		buf[i] = c
	}
	return isOursNormal(string(buf[:n]), odd)
}

// isOursNormal takes a normalised name; odd says that it was written with something else than "-".
func isOursNormal(name string, odd bool) bool {
	switch name {
	case "authorization", "x-api-key", "appkey", "dpop",
		"x-principal", "x-scopes", "x-remote-user", "remote-user",
		"forwarded", "x-real-ip", "x-rewrite-url",
		"true-client-ip", "x-client-ip", "client-ip", "x-cluster-client-ip", "cf-connecting-ip", // believed as x-real-ip is
		"client-cert", "client-cert-chain", // RFC 9440 §4
		"proxy", // HTTP_PROXY to CGI
		"x-http-method", "x-http-method-override", "x-method-override":
		return true
	case "content-length", "content-type", "transfer-encoding", "connection", "host", "cookie", "te", "trailer":
		return odd // the real ones are net/http's to handle; an alias is an attempt
	}
	return strings.HasPrefix(name, "x-cardea-") || strings.HasPrefix(name, "x-forwarded") ||
		strings.HasPrefix(name, "x-auth-request-") || strings.HasPrefix(name, "x-original-")
}

// forwarded sets where the request came from. Only a trusted proxy's word is
// kept; anybody else's was removed by strip.
func (d *Door) forwarded(out http.Header, in *http.Request, p *peer, source netip.Addr) {
	values := &[3]string{p.addr.String(), p.scheme, in.Host}
	if d.trustedPeer(p) {
		switch prior := in.Header["X-Forwarded-For"]; {
		case len(prior) > 0:
			values[0] = strings.Join(prior, ", ") + ", " + values[0]
		case source != p.addr:
			values[0] = source.String() + ", " + values[0]
		}
		if v := in.Header["X-Forwarded-Proto"]; len(v) == 1 && (v[0] == "http" || v[0] == "https") {
			values[1] = v[0]
		}
		if v := in.Header["X-Forwarded-Host"]; len(v) == 1 && visible(v[0]) {
			values[2] = v[0]
		}
	}
	out["X-Forwarded-For"] = values[0:1:1]
	out["X-Forwarded-Proto"] = values[1:2:2]
	out["X-Forwarded-Host"] = values[2:3:3]
}
