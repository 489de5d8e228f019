package oauth

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"cardea/internal/credential"
)

// BenchmarkIntrospect is one introspection over a connection that is kept, with the client's work in it.
func BenchmarkIntrospect(b *testing.B) {
	h := newHouse(b)
	is := h.client("billing", credential.ClientConfig{})
	h.keep(b, introspectPath, body("token", h.tokenOf(is)), asClient(is))
}

// BenchmarkToken is the same for a token.
func BenchmarkToken(b *testing.B) {
	h := newHouse(b)
	is := h.client("billing", credential.ClientConfig{})
	h.keep(b, tokenPath, "grant_type=client_credentials&scope=read", asClient(is))
}

// keep sends a request again and again.
func (h *house) keep(b *testing.B, path, text, header string) {
	c, err := net.Dial("tcp", strings.TrimPrefix(h.base, "http://"))
	h.must(err)
	defer c.Close()
	request := "POST " + path + " HTTP/1.1\r\nHost: cardea.test\r\nContent-Type: application/x-www-form-urlencoded\r\n" + header +
		"\r\nContent-Length: " + strconv.Itoa(len(text)) + "\r\n\r\n" + text
	r := bufio.NewReader(c)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.WriteString(c, request); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 200 {
			b.Fatal(err, resp)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

// BenchmarkIntrospectAlone is the handler without a connection.
func BenchmarkIntrospectAlone(b *testing.B) {
	h := newHouse(b)
	is := h.client("billing", credential.ClientConfig{})
	text := body("token", h.tokenOf(is))
	h.server.ClientAddr = func(*http.Request) (a netip.Addr) { return a }
	auth := strings.TrimPrefix(asClient(is), "Authorization: ")
	w := &sink{header: http.Header{}}
	r := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: introspectPath}, Header: http.Header{"Authorization": {auth}, "Content-Type": {"application/x-www-form-urlencoded"}}}
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(strings.NewReader(text))
		clear(w.header)
		h.server.ServeHTTP(w, r)
	}
	if w.status != 0 && w.status != http.StatusOK {
		b.Fatal(w.status)
	}
}

// sink takes an answer and keeps nothing of it.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }
