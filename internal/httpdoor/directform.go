package httpdoor

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// directForm is what direct has for forms that machines post: tokens are asked for and looked at as often as questions are. The handler is the
// one that net/http would call, and the rule is the same: head and body have come in one read, and nothing about them is unusual.
type directForm struct {
	request *http.Request
	header  http.Header
	values  [formNames]string // backs the header's slices
	body    formBody
}

// formNames is how many header fields of interest a form may have at most.
const formNames = 8

// formBody is a body that is there already.
type formBody struct{ bytes.Reader }

// Close does nothing.
func (*formBody) Close() error { return nil }

// formHandler returns who answers a form, and what follows its request line; nil if text is none.
func (d *Door) formHandler(text []byte) (http.Handler, string, []byte) {
	const method, version = "POST ", " HTTP/1.1\r\n"
	if len(d.forms) == 0 || !bytes.HasPrefix(text, []byte(method)) {
		return nil, "", nil
	}
	line, rest, ok := bytes.Cut(text[len(method):], []byte(version))
	if !ok {
		return nil, "", nil
	}
	for path, h := range d.forms { // few
		if string(line) == path {
			return h, path, rest
		}
	}
	return nil, "", nil
}

// readForm makes a request of the rest of a form. It is false if only net/http knows to handle it.
func (x *direct) readForm(path string, rest []byte) bool {
	fields, text, ok := bytes.Cut(rest, []byte("\r\n\r\n"))
	if !ok {
		return false
	}
	f := x.form
	if f == nil {
		header := make(http.Header, formNames)
		r := &http.Request{Method: http.MethodPost, URL: &url.URL{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, RemoteAddr: x.request.RemoteAddr}
		f = &directForm{request: r.WithContext(x.request.Context()), header: header}
		x.form = f
	}
	length, ok := f.read(string(fields))
	if !ok || length != len(text) { // less has come, or another request behind it
		return false
	}
	f.request.URL.Path, f.request.RequestURI, f.request.ContentLength = path, path, int64(length)
	f.body.Reset(text)
	f.request.Body = &f.body
	return true
}

// read fills the header with the fields that handlers of forms look at, and returns the length of the body. It is false for a field that net/http must handle,
// and for one that is there twice.
func (f *directForm) read(fields string) (length int, ok bool) {
	clear(f.header)
	n, lengths := 0, 0
	for fields != "" {
		var line string
		line, fields, _ = strings.Cut(fields, "\r\n")
		name, value, _ := strings.Cut(line, ":")
		canonical, known := fieldOf(&formFields, name)
		if !known {
			continue
		}
		value = strings.Trim(value, " \t")
		switch canonical {
		case "":
			return 0, false
		case "Connection":
			if !strings.EqualFold(value, "keep-alive") {
				return 0, false
			}
			continue
		case "Content-Length":
			var err error
			if length, err = strconv.Atoi(value); err != nil || lengths > 0 {
				return 0, false
			}
			lengths++
			continue
		}
		if n == len(f.values) || f.header[canonical] != nil {
			return 0, false
		}
		f.values[n] = value
		f.header[canonical] = f.values[n : n+1 : n+1]
		n++
	}
	return length, lengths == 1
}

// formFields are the fields that matter, by the length of their name.
var formFields = fieldTable(
	[]string{"Authorization", "X-Api-Key", "Dpop", "Content-Type", "Content-Encoding", "Forwarded", "X-Forwarded-For", "Content-Length", "Connection"},
	[]string{"Expect", "Upgrade", "Transfer-Encoding", "Te", "Trailer"},
)
