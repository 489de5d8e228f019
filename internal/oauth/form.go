package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

const (
	maxBody  = 64 << 10
	maxPairs = 64
)

// form is the parameters of a request, in the order in which they came. There are few.
type form struct{ pairs []pair }

type pair struct{ name, value string }

// get returns a parameter; "" for none. One without a value counts as left out (RFC 6749 §3.2).
func (f *form) get(name string) string {
	for i := range f.pairs {
		if f.pairs[i].name == name {
			return f.pairs[i].value
		}
	}
	return ""
}

// all returns the values of a parameter that may be there more than once.
func (f *form) all(name string) (values []string) {
	for i := range f.pairs {
		if f.pairs[i].name == name && f.pairs[i].value != "" {
			values = append(values, f.pairs[i].value)
		}
	}
	return values
}

// readForm reads the body. What it does not know it ignores, but nothing may be there twice (RFC 6749 §3.2).
func (x *exchange) readForm() *refusal {
	h := x.r.Header
	if types := h["Content-Type"]; len(types) != 1 || !isForm(types[0]) || h["Content-Encoding"] != nil {
		return badType
	}
	if x.r.URL.RawQuery != "" { // parameters belong into the body, secrets above all (RFC 6749 §2.3.1)
		return badQuery
	}
	if x.r.ContentLength > maxBody {
		return tooLarge
	}
	var err error
	if x.body, err = readAll(x.r.Body, x.body[:0]); err != nil {
		return badBody
	}
	if len(x.body) > maxBody {
		return tooLarge
	}
	return x.form.parse(string(x.body))
}

func isForm(contentType string) bool {
	const form = "application/x-www-form-urlencoded"
	if contentType == form {
		return true
	}
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && t == form
}

// readAll reads into b, at most one octet more than is allowed.
func readAll(r io.Reader, b []byte) ([]byte, error) {
	for len(b) <= maxBody {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):min(cap(b), maxBody+1)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
	return b, nil
}

// parse reads application/x-www-form-urlencoded.
func (f *form) parse(body string) *refusal {
	f.pairs = f.pairs[:0]
	for body != "" {
		var one string
		one, body, _ = strings.Cut(body, "&")
		if one == "" {
			continue
		}
		if len(f.pairs) == maxPairs {
			return badForm
		}
		name, value, _ := strings.Cut(one, "=")
		name, ok := unescape(name)
		if !ok {
			return badForm
		}
		if value, ok = unescape(value); !ok {
			return badForm
		}
		if f.has(name) && name != "resource" && name != "audience" { // RFC 8707 §2, RFC 8693 §2.1
			return repeated
		}
		f.pairs = append(f.pairs, pair{name, value})
	}
	return nil
}

func (f *form) has(name string) bool {
	for i := range f.pairs {
		if f.pairs[i].name == name {
			return true
		}
	}
	return false
}

// unescape decodes a name or a value. What is not text, or has a NUL in it, is refused.
func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') >= 0 || strings.IndexByte(s, '+') >= 0 {
		plain, err := url.QueryUnescape(s)
		if err != nil {
			return "", false
		}
		s = plain
	}
	return s, utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

// single returns a header that may be there once; "" for none.
func single(h http.Header, name string) (value string, ok bool) {
	switch v := h[name]; len(v) {
	case 0:
		return "", true
	case 1:
		return v[0], true
	}
	return "", false
}
