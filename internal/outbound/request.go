package outbound

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cardea/internal/credential"
)

// request is a backend's request, taken apart so that a login's values are put into one buffer.
type request struct {
	post   bool
	start  string  // up to the path
	path   []piece // as it is sent
	varied bool    // the path has a placeholder
	head   []piece // from the query to the last header, its line end included
	body   []piece
}

// maxRequest bounds what one login sends, in bytes. An MQTT client chooses some 200 KB of values.
const maxRequest = 256 << 10

// maxDepth is of maps in maps of a body.
const maxDepth = 8

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

// compile reads the templates of a backend.
func (r *request) compile(t *target, path, query string, b *credential.Backend, p *credential.Problems) {
	switch b.Method {
	case "post":
		r.post, r.start = true, "POST "
	case "get":
		r.start = "GET "
	default:
		p.Add("method", "must be get or post")
	}
	r.path = linkPieces(path, p)
	r.varied = slices.ContainsFunc(r.path, func(p piece) bool { return p.of != ofText })
	if hasDots(textOf(r.path)) {
		p.Add("url", "must not have . or .. as a part of its path")
	}
	var head pieces
	head.add(linkPieces(query, p)...)
	headers := checkHeaders(b, p)
	switch {
	case !r.post:
		head.query(query != "", b.Body, p)
	case headers["content-type"] == formType:
		var body pieces
		body.form(b.Body, "with "+formType, p)
		r.body = body.list
	default:
		var body pieces
		body.json(b.Body, "body", 1, p)
		r.body = body.list
	}
	head.text(" HTTP/1.1\r\nhost: " + t.as + "\r\n")
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		value, _ := parse(headers[name], asIs) // checkHeaders has said what is wrong
		head.text(name + ": ")
		head.add(value...)
		head.text("\r\n")
	}
	r.head = head.list
}

// render appends the whole request for a login. why says why there is none. scratch is room for the body; it is returned.
func (r *request) render(to, scratch []byte, l *credential.Login) (_, _ []byte, why string) {
	body, why := render(scratch[:0], r.body, l)
	if why != "" {
		return to, body, why
	}
	to = append(to, r.start...)
	from := len(to)
	if to, why = render(to, r.path, l); why != "" {
		return to, body, why
	}
	if r.varied && hasDots(string(to[from:])) {
		return to, body, "a value that would lead to another path cannot be sent in a URL"
	}
	if to, why = render(to, r.head, l); why != "" {
		return to, body, why
	}
	if r.post {
		to = append(to, "content-length: "...)
		to = strconv.AppendInt(to, int64(len(body)), 10)
		to = append(to, "\r\n"...)
	}
	to = append(append(to, "\r\n"...), body...)
	if len(to) > maxRequest {
		return to, body, "the values are too long to be sent"
	}
	return to, body, ""
}

// hasDots reports whether a path has a segment that is "." or "..", also for a server that takes %2F and \ for a
// slash, as many do before they look for such segments (S16).
func hasDots(path string) bool {
	dots, others := 0, false
	for i := 0; i <= len(path); i++ {
		c := byte('/')
		if i < len(path) {
			c = path[i]
			if c == '%' && i+2 < len(path) {
				if n, err := strconv.ParseUint(path[i+1:i+3], 16, 8); err == nil {
					c, i = byte(n), i+2
				}
			}
		}
		switch c {
		case '/', '\\':
			if !others && (dots == 1 || dots == 2) {
				return true
			}
			dots, others = 0, false
		case '.':
			dots++
		default:
			others = true
		}
	}
	return false
}

// textOf is a template with an x for each placeholder.
func textOf(list []piece) string {
	var b strings.Builder
	for _, p := range list {
		if p.of == ofText {
			b.WriteString(p.text)
		} else {
			b.WriteByte('x')
		}
	}
	return b.String()
}

// linkPieces reads the template of a path or a query.
func linkPieces(s string, p *credential.Problems) []piece {
	list, why := parse(s, asForm)
	if why != "" {
		note(p, "url", why)
		return nil
	}
	for i := range list {
		if list[i].of != ofText {
			continue
		}
		if list[i].text, why = linkText(list[i].text); why != "" {
			note(p, "url", why)
			return nil
		}
	}
	return list
}

// linkText encodes what cannot stand in a path or a query.
func linkText(s string) (text, why string) {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ' || c == 0x7F:
			return "", "must not have blanks or control characters"
		case c == '%':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return "", "has a % without two hexadecimal digits after it: the sign itself is %25"
			}
			b.WriteByte(c)
		case c >= utf8.RuneSelf || strings.IndexByte("\"<>\\^`{|}", c) >= 0:
			b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}
