package outbound

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// target is where a backend is: what does not depend on the login.
type target struct {
	secure bool   // https
	host   string // without a port, in lower case; an IPv6 address without its brackets
	port   string
	as     string // as the Host header has it
}

func (t *target) addr() string { return net.JoinHostPort(t.host, t.port) }

// name is the target as errors and the log show it.
func (t *target) name() string {
	if t.secure {
		return "https://" + t.as
	}
	return "http://" + t.as
}

// parseURL takes a URL apart: the target, and the templates of path and query, the latter with its question mark. why
// says what is wrong with it.
func (g guard) parseURL(s string) (t target, path, query, why string) {
	scheme, rest, found := strings.Cut(s, "://")
	switch {
	case s == "":
		return t, "", "", "is needed"
	case found && strings.EqualFold(scheme, "https"):
		t.secure, t.port = true, "443"
	case found && strings.EqualFold(scheme, "http"):
		t.port = "80"
	default:
		return t, "", "", "must begin with http:// or https://"
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	if why := g.parseAuthority(&t, rest[:end]); why != "" {
		return t, "", "", why
	}
	if strings.Contains(rest, "#") {
		return t, "", "", "must not have a fragment (#…): it is never sent. Write %23 if the sign itself is meant"
	}
	path, query, found = strings.Cut(rest[end:], "?")
	if found {
		query = "?" + query
	}
	if path == "" {
		path = "/"
	}
	return t, path, query, ""
}

// parseAuthority reads "host" or "host:port" into t.
func (g guard) parseAuthority(t *target, s string) (why string) {
	if strings.Contains(s, "${") {
		return "must not have a placeholder in host or port: a client would choose whom Cardea calls"
	}
	if strings.Contains(s, "@") {
		return "must not have a user name or password: use a header"
	}
	host, port, hasPort := s, "", false
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port, hasPort = s[:i], s[i+1:], true
	}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return "must have a port from 1 to 65535, or none"
		}
		t.port = strconv.FormatUint(n, 10)
	}
	t.host = strings.ToLower(host)
	t.as = t.host
	if hasPort {
		t.as += ":" + t.port
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		if !ok || err != nil || !addr.Is6() || addr.Zone() != "" {
			return "must have an IPv6 address between [ and ]"
		}
		t.host = addr.String()
		return g.literal(addr)
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is4() {
		return g.literal(addr)
	}
	return checkHost(t.host)
}

func (g guard) literal(addr netip.Addr) string {
	if why := g.check(addr); why != "" {
		return fmt.Sprintf("must not be at %s: it is %s", addr, why)
	}
	return ""
}

// checkHost says what is wrong with a name, which is no address in its usual form.
func checkHost(name string) string {
	trimmed := strings.TrimSuffix(name, ".")
	if trimmed == "" || len(trimmed) > 253 {
		return "must have a host"
	}
	labels := strings.Split(trimmed, ".")
	for _, label := range labels {
		if !isLabel(label) {
			return "must have a host of letters, digits, - and _ between dots; other scripts are written in their xn-- form"
		}
	}
	// What many systems read as an IPv4 address, as RFC 3986, 7.4 warns: 2130706433, 0x7f.1, 0177.0.0.1, 127.1.
	if last := labels[len(labels)-1]; isNumber(last) {
		return "has a host that reads as a number: write an IPv4 address as four decimal numbers without leading zeros"
	}
	return ""
}

func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// isNumber reports whether inet_aton would read s, in lower case, as a number.
func isNumber(s string) bool {
	digits, isHex := strings.CutPrefix(s, "0x")
	for i := range len(digits) {
		if c := digits[i]; (c < '0' || c > '9') && (!isHex || c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// serverName is the name that the target's certificate must have, unless another is given.
func (t *target) serverName() string { return strings.TrimSuffix(t.host, ".") }
