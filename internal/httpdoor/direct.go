package httpdoor

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// direct answers questions to /auth, and forms (directform.go), on the connection itself, without the
// machinery that net/http spends on each request: a proxy asks them for every
// request of its own. The handler is the same, and so are its answers.
//
// It takes a request only if all of it has come in one read, while nothing
// else is going on in the connection: a head that the scanner has approved, without a
// body, of exactly the form that proxies send. Whatever is unusual is left to net/http.
type direct struct {
	door    *Door
	peer    *peer
	request *http.Request // the same for all questions of the connection, but for the header
	header  http.Header
	values  [directNames]string // backs the header's slices
	form    *directForm         // nil until the first one comes
	answer  directWriter
	renew   time.Time // when the read deadline is to be set again
}

// directNames is how many header fields of interest a question may have at most.
const directNames = 12

// question is the request line of a question.
const question = "GET /auth HTTP/1.1\r\n"

// newDirect returns a direct for a connection, whose context is ctx.
func newDirect(ctx context.Context, d *Door, p *peer) *direct {
	header := make(http.Header, directNames)
	request := &http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: "/auth"}, RequestURI: "/auth", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: http.NoBody, RemoteAddr: p.addr.String(),
	}
	return &direct{
		door: d, peer: p, header: header, request: request.WithContext(ctx),
		answer: directWriter{header: make(http.Header, 2*directNames)},
	}
}

// serve answers text if it is a question or a form, and reports whether it was. The
// error is the connection's. The text of the answer is one write.
func (x *direct) serve(g *guard, text []byte) (bool, error) {
	fields, isQuestion := bytes.CutPrefix(text, []byte(question))
	h, path, rest := x.door.formHandler(text)
	if !isQuestion && h == nil {
		return false, nil
	}
	x.door.answers.Add(1) // first, so that Shutdown sees it or is seen
	defer x.door.answers.Add(-1)
	switch {
	case x.door.ending.Load():
		return false, nil
	case isQuestion:
		if end := bytes.Index(fields, []byte("\r\n\r\n")); end < 0 || end != len(fields)-4 || !x.read(string(fields[:end+2])) {
			return false, nil
		}
		x.answer.reset()
		x.door.forwardAuth(&x.answer, x.request, x.peer)
	default:
		if !x.readForm(path, rest) {
			return false, nil
		}
		x.answer.reset()
		h.ServeHTTP(&x.answer, x.form.request)
		x.answer.WriteHeader(http.StatusOK) // unless it has
	}
	now := x.door.now()
	if now.After(x.renew) { // what net/http has set is for the first request, or for the next
		g.Conn.SetReadDeadline(now.Add(x.door.limits.Idle))
		x.renew = now.Add(x.door.limits.Idle / 8)
	}
	_, err := g.Conn.Write(x.answer.text(now))
	return true, err
}

// read fills the header with the fields that the handler looks at. It is false
// if there is one that only net/http knows to handle.
func (x *direct) read(fields string) bool {
	clear(x.header)
	n := 0
	for fields != "" {
		var line string
		line, fields, _ = strings.Cut(fields, "\r\n")
		name, value, _ := strings.Cut(line, ":")
		canonical, known := fieldOf(&directFields, name)
		if !known {
			continue
		}
		if canonical == "" || n == len(x.values) || x.header[canonical] != nil {
			return false
		}
		x.values[n] = strings.Trim(value, " \t")
		x.header[canonical] = x.values[n : n+1 : n+1]
		n++
	}
	return true
}

// fieldOf returns the canonical name of a field that matters, "" for one
// that net/http must handle. The names are compared by length first, as most do not matter.
func fieldOf(t *fields, name string) (canonical string, known bool) {
	for _, f := range t[min(len(name), len(t)-1)] {
		if strings.EqualFold(name, f.name) {
			return f.canonical, true
		}
	}
	return "", false
}

type namedField struct{ name, canonical string }

// fields are header fields by the length of their name.
type fields [24][]namedField

func fieldTable(read, unusual []string) (t fields) {
	for _, name := range read {
		t[len(name)] = append(t[len(name)], namedField{name, name})
	}
	for _, name := range unusual {
		t[len(name)] = append(t[len(name)], namedField{name, ""})
	}
	return t
}

// directFields are the fields that matter for a question.
var directFields = fieldTable(
	[]string{
		"Authorization", "X-Api-Key", "Appkey", "Forwarded", "X-Forwarded-For",
		"X-Original-Method", "X-Original-Uri", "X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host",
		"Cookie", "Origin", "Sec-Fetch-Site", "User-Agent",
	},
	[]string{"Connection", "Expect", "Upgrade", "Content-Length", "Transfer-Encoding", "Te", "Trailer", "X-Request-Id", "Dpop"},
)

// directWriter is the http.ResponseWriter of an answer without net/http.
type directWriter struct {
	header http.Header
	status int
	body   []byte
	names  []string
	out    []byte
	date   []byte // the Date line of a second
	second int64
}

// Header is that of the answer.
func (w *directWriter) Header() http.Header { return w.header }

// WriteHeader notes the status; the first one counts.
func (w *directWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write notes the body.
func (w *directWriter) Write(p []byte) (int, error) {
	w.body = append(w.body, p...)
	return len(p), nil
}

func (w *directWriter) reset() {
	clear(w.header)
	w.status, w.body = 0, w.body[:0]
}

// text returns the whole answer; it is good until the next one.
func (w *directWriter) text(now time.Time) []byte {
	if second := now.Unix(); second != w.second {
		w.second = second
		w.date = now.UTC().AppendFormat(append(w.date[:0], "Date: "...), http.TimeFormat)
		w.date = append(w.date, "\r\n"...)
	}
	b := append(w.out[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(w.status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(w.status)...)
	b = append(b, "\r\n"...)
	w.names = w.names[:0]
	for name := range w.header {
		w.names = append(w.names, name)
	}
	slices.Sort(w.names)
	for _, name := range w.names {
		for _, value := range w.header[name] {
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, value...)
			b = append(b, "\r\n"...)
		}
	}
	b = append(b, w.date...)
	if w.header["Content-Length"] == nil {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(w.body)), 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	w.out = append(b, w.body...)
	return w.out
}
