package jwt

import (
	"net"
	"net/url"
	"strings"
)

// SameURL reports whether two http or https URLs are the same for htu (RFC 9449 section 4.3): without query and fragment, by the syntax and the
// scheme (RFC 3986 sections 6.2.2 and 6.2.3). What is no such URL is the same as nothing.
func SameURL(a, b string) bool {
	x, ok := normalURL(a)
	if !ok {
		return false
	}
	y, ok := normalURL(b)
	return ok && x == y
}

func normalURL(s string) (string, bool) {
	u, err := url.Parse(s) // it lowers the scheme
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Hostname() == "" || strings.Contains(u.Host, "%") {
		return "", false
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(host, port) + withoutDots(plainPercents(u.EscapedPath())), true
}

// plainPercents decodes what needs no encoding, and writes the rest with capitals (RFC 3986 sections 6.2.2.1 and 6.2.2.2). The path is validly encoded.
func plainPercents(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			b.WriteByte(path[i])
			continue
		}
		if c := unhex(path[i+1])<<4 | unhex(path[i+2]); isUnreserved(c) {
			b.WriteByte(c)
		} else {
			b.WriteString(strings.ToUpper(path[i : i+3]))
		}
		i += 2
	}
	return b.String()
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

func isUnreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// withoutDots takes dot segments out of an absolute path (RFC 3986 section 5.2.4); the empty one is "/".
func withoutDots(path string) string {
	if !strings.Contains(path, "/.") && path != "" {
		return path
	}
	var out []string
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == ".." && len(out) > 0:
			out = out[:len(out)-1]
		case s != "." && s != "..":
			out = append(out, s)
			continue
		}
		if last {
			out = append(out, "")
		}
	}
	return "/" + strings.Join(out, "/")
}
