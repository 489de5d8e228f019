package httpdoor

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// wire is a connection whose peer has sent some pieces and then hung up.
type wire struct {
	mu     sync.Mutex
	pieces [][]byte
	out    bytes.Buffer
	closed chan struct{}
	once   sync.Once
}

func newWire(pieces [][]byte) *wire { return &wire{pieces: pieces, closed: make(chan struct{})} }

func (w *wire) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.pieces) > 0 && len(w.pieces[0]) == 0 {
		w.pieces = w.pieces[1:]
	}
	if len(w.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, w.pieces[0])
	w.pieces[0] = w.pieces[0][n:]
	return n, nil
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}

func (w *wire) Close() error                     { w.once.Do(func() { close(w.closed) }); return nil }
func (w *wire) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (w *wire) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// oneConn is a listener with a single connection.
type oneConn struct {
	conn net.Conn
	once sync.Once
	done <-chan struct{}
}

func (l *oneConn) Accept() (c net.Conn, err error) {
	l.once.Do(func() { c = l.conn })
	if c != nil {
		return c, nil
	}
	<-l.done
	return nil, net.ErrClosed
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// serveBytes gives pieces to net/http behind the guard, and returns what its handler was
// given, as "METHOD target body", and what went back.
func serveBytes(pieces [][]byte) (served []string, out string) {
	w := newWire(pieces)
	srv := &http.Server{
		MaxHeaderBytes: 28 << 10, DisableGeneralOptionsHandler: true, ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				rw.WriteHeader(400)
				return
			}
			served = append(served, fmt.Sprintf("%s %s %s", r.Method, r.RequestURI, body))
		}),
	}
	srv.Serve(&oneConn{conn: &guard{Conn: w, now: time.Now}, done: w.closed})
	return served, w.out.String()
}

// split cuts raw into pieces of n bytes.
func split(raw string, n int) (pieces [][]byte) {
	for len(raw) > n {
		pieces, raw = append(pieces, []byte(raw[:n])), raw[n:]
	}
	return append(pieces, []byte(raw))
}

const hello = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"

// Everything here is read in one way only, and served. H07, H08: the counterpart.
func TestGuardLetsGoodRequestsThrough(t *testing.T) {
	for name, tc := range map[string]struct {
		raw  string
		want []string
	}{
		"one":             {hello, []string{"GET /a "}},
		"pipelined":       {hello + "POST /b HTTP/1.1\r\nHost:h\r\nContent-Length:\t3 \r\n\r\nabc" + hello, []string{"GET /a ", "POST /b abc", "GET /a "}},
		"chunked":         {"POST /c HTTP/1.1\r\nhost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nT: v\r\n\r\n" + hello, []string{"POST /c abc0123456789", "GET /a "}},
		"HTTP/1.0":        {"GET /a HTTP/1.0\r\n\r\n", []string{"GET /a "}},
		"empty body":      {"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n" + hello, []string{"POST /b ", "GET /a "}},
		"100 headers":     {"GET /a HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X: y\r\n", 99) + "\r\n", []string{"GET /a "}},
		"odd but allowed": {"GET /a%20b?x=1;y=\"2\" HTTP/1.1\r\nHost: h\r\nX:\r\nY: a\tb \x80\r\n\r\n", []string{"GET /a%20b?x=1;y=\"2\" "}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 2, 3, 7, 64, 1 << 20} {
				served, _ := serveBytes(split(tc.raw, n))
				if d := cmp.Diff(tc.want, served); d != "" {
					t.Fatalf("in pieces of %d: %s", n, d)
				}
			}
		})
	}
}

// H06, H07, H08, H18: what two parsers could read differently gets an error, the
// connection ends, and nothing that follows is taken for a request. What came before is answered first.
func TestGuardRefusesAmbiguousFraming(t *testing.T) {
	head := func(lines ...string) string {
		return "POST /x HTTP/1.1\r\nHost: h\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
	}
	for name, raw := range map[string]string{
		"H07 length and coding":         head("Content-Length: 5", "Transfer-Encoding: chunked") + "0\r\n\r\n",
		"H07 coding and length":         head("Transfer-Encoding: chunked", "Content-Length: 5") + "0\r\n\r\n",
		"H08 two lengths":               head("Content-Length: 5", "Content-Length: 6") + "abcdef",
		"H08 the same length twice":     head("Content-Length: 5", "Content-Length: 5") + "abcde",
		"H08 list of lengths":           head("Content-Length: 5, 5") + "abcde",
		"H08 signed length":             head("Content-Length: +5") + "abcde",
		"H08 spaced length":             head("Content-Length: 5 5") + "abcde",
		"H08 no length":                 head("Content-Length:"),
		"H08 endless length":            head("Content-Length: 9999999999999999999"),
		"H08 hexadecimal length":        head("Content-Length: 0x5") + "abcde",
		"H08 other coding":              head("Transfer-Encoding: gzip, chunked") + "0\r\n\r\n",
		"H08 identity":                  head("Transfer-Encoding: identity"),
		"H08 obscured coding":           head("Transfer-Encoding: xchunked") + "0\r\n\r\n",
		"H08 coding in capitals":        head("Transfer-Encoding: Chunked") + "0\r\n\r\n",
		"H08 coding twice":              head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + "0\r\n\r\n",
		"H08 vertical tab":              head("Transfer-Encoding: \x0bchunked") + "0\r\n\r\n",
		"H08 coding in 1.0":             "POST /x HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"H08 space before colon":        head("Content-Length : 5") + "abcde",
		"H08 bare LF":                   "GET /x HTTP/1.1\nHost: h\n\n",
		"H08 bare LF in a header":       "GET /x HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
		"H08 bare LF at the end":        "GET /x HTTP/1.1\r\nHost: h\r\n\n",
		"H08 bare CR":                   "GET /x HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
		"H08 fold":                      head("X: a\r\n b"),
		"H08 fold first":                "GET /x HTTP/1.1\r\n Host: h\r\n\r\n",
		"H08 NUL":                       head("X: a\x00b"),
		"H08 DEL":                       head("X: a\x7fb"),
		"H08 no name":                   head(": x"),
		"H08 no colon":                  head("hello"),
		"H08 two hosts":                 head("Host: i"),
		"H08 no host":                   "GET /x HTTP/1.1\r\nX: y\r\n\r\n",
		"H08 leading line break":        "\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n",
		"H08 two spaces":                "GET  /x HTTP/1.1\r\nHost: h\r\n\r\n",
		"H08 space in target":           "GET /x y HTTP/1.1\r\nHost: h\r\n\r\n",
		"H08 raw byte in target":        "GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n",
		"H08 fragment":                  "GET /x#y HTTP/1.1\r\nHost: h\r\n\r\n",
		"H08 HTTP/0.9":                  "GET /x\r\n\r\n",
		"H08 HTTP/1.2":                  "GET /x HTTP/1.2\r\nHost: h\r\n\r\n",
		"H08 HTTP/2":                    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"H08 lower-case version":        "GET /x http/1.1\r\nHost: h\r\n\r\n",
		"H06 absolute form":             "GET http://h/x HTTP/1.1\r\nHost: h\r\n\r\n",
		"H06 asterisk":                  "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
		"H06 no slash":                  "GET x HTTP/1.1\r\nHost: h\r\n\r\n",
		"H07 chunk: no size":            head("Transfer-Encoding: chunked") + "\r\nabc\r\n0\r\n\r\n",
		"H07 chunk: sign":               head("Transfer-Encoding: chunked") + "+3\r\nabc\r\n0\r\n\r\n",
		"H07 chunk: space":              head("Transfer-Encoding: chunked") + "3 \r\nabc\r\n0\r\n\r\n",
		"H07 chunk: prefix":             head("Transfer-Encoding: chunked") + "0x3\r\nabc\r\n0\r\n\r\n",
		"H07 chunk: bare LF":            head("Transfer-Encoding: chunked") + "3\nabc\r\n0\r\n\r\n",
		"H07 chunk: LF in extension":    head("Transfer-Encoding: chunked") + "3;\nabc\r\n0\r\n\r\n",
		"H07 chunk: longer than told":   head("Transfer-Encoding: chunked") + "3\r\nabcd\r\n0\r\n\r\n",
		"H07 chunk: LF after data":      head("Transfer-Encoding: chunked") + "3\r\nabc\n0\r\n\r\n",
		"H07 chunk: huge":               head("Transfer-Encoding: chunked") + "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
		"H17 chunk: long extensions":    head("Transfer-Encoding: chunked") + "3;" + strings.Repeat("x", 2000) + "\r\nabc\r\n0\r\n\r\n",
		"H07 trailer: length":           head("Transfer-Encoding: chunked") + "0\r\nContent-Length: 3\r\n\r\n",
		"H07 trailer: bare LF":          head("Transfer-Encoding: chunked") + "0\r\nX: y\n\r\n",
		"H18 trailer: too many":         head("Transfer-Encoding: chunked") + "0\r\n" + strings.Repeat("X: y\r\n", 101) + "\r\n",
		"H06 something behind CONNECT":  "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\nx",
		"H06 CONNECT with a body":       "CONNECT h:1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
		"H18 more than 100 headers":     "GET /x HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X: y\r\n", 100) + "\r\n",
		"H18 more than 32 KiB":          "GET /x HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("y", 33<<10) + "\r\n\r\n",
		"H18 a method without an end":   strings.Repeat("A", 100) + " / HTTP/1.1\r\nHost: h\r\n\r\n",
		"H08 no method":                 " /x HTTP/1.1\r\nHost: h\r\n\r\n",
		"H08 odd method":                "G(T /x HTTP/1.1\r\nHost: h\r\n\r\n",
		"H07 a whole request in a body": head("Content-Length: 1", "X: y", "Transfer-Encoding: chunked") + hello,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // net/http lingers for half a second after a 431
			want, sizes := "400 Bad Request", []int{1, 2, 3, 5, 17, 1 << 20}
			if strings.HasPrefix(name, "H18 more") {
				want, sizes = "431 Request Header Fields Too Large", []int{7, 1 << 20}
			}
			for _, n := range sizes {
				served, out := serveBytes(split(hello+raw+hello, n))
				served = dropConnect(served)
				if d := cmp.Diff([]string{"GET /a "}, served); d != "" {
					t.Fatalf("in pieces of %d, served: %s", n, d)
				}
				if !strings.HasPrefix(out, "HTTP/1.1 200 OK") || !strings.Contains(out, "HTTP/1.1 "+want) {
					t.Fatalf("in pieces of %d, answered %q, want 200 and then %s", n, out, want)
				}
			}
		})
	}
}

// dropConnect leaves out CONNECT, which the door answers with 405; it matters what comes after.
func dropConnect(served []string) (rest []string) {
	for _, s := range served {
		if !strings.HasPrefix(s, "CONNECT") {
			rest = append(rest, s)
		}
	}
	return rest
}

// What the scanner approves comes out as it went in, however it is cut.
func TestGuardChangesNothing(t *testing.T) {
	raw := hello + "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nPUT /d HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n\x00\n\r\n\x7f" + hello
	for n := 1; n < len(raw); n++ {
		got, err := io.ReadAll(&guard{Conn: newWire(split(raw, n)), now: time.Now})
		if err != nil || string(got) != raw {
			t.Fatalf("in pieces of %d: %q, %v", n, got, err)
		}
	}
}

func TestScannerDoesNotAllocate(t *testing.T) {
	var s scanner
	raw := []byte("POST /db/write/x?y=z HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer abc\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
	if n := testing.AllocsPerRun(100, func() {
		if _, v := s.scan(raw); v != pass {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkScanner(b *testing.B) {
	var s scanner
	raw := []byte("GET /db/query?q=select+1 HTTP/1.1\r\nHost: 127.0.0.1:5654\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\nAuthorization: Bearer cardea_dev_" + strings.Repeat("x", 50) + "\r\n\r\n")
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		s.scan(raw)
	}
}

// FuzzGuard: behind the guard, net/http never serves a request that a strict parser of
// the whole input does not see in that place.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{
		hello, hello + hello,
		"POST /b HTTP/1.1\r\nHost:h\r\nContent-Length: 3\r\n\r\nabc" + hello,
		"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: v\r\n\r\n" + hello,
		"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + hello,
		"GET /x HTTP/1.1\nHost: h\n\n" + hello, "GET /a HTTP/1.0\r\n\r\n", "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n" + hello,
		"POST /e HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc" + hello,
		"GET /u HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + hello,
	} {
		f.Add([]byte(s), uint8(0))
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, raw []byte, n uint8) {
		want := strictly(string(raw))
		served, _ := serveBytes(split(string(raw), int(n)+1))
		for i, s := range served {
			if i >= len(want) || s != want[i] {
				t.Fatalf("served %q as number %d of %q\na strict parser sees %q", s, i, raw, want)
			}
		}
	})
}

var (
	reLine   = regexp.MustCompile(`^([!#$%&'*+\-.^_` + "`" + `|~0-9A-Za-z]+) ([!-"$-~]+) HTTP/1\.([01])$`)
	reHeader = regexp.MustCompile(`^([!#$%&'*+\-.^_` + "`" + `|~0-9A-Za-z]+):[ \t]*([\t -~\x80-\xff]*)$`)
	reChunk  = regexp.MustCompile(`^([0-9A-Fa-f]{1,15})(;[\t -~\x80-\xff]*)?$`)
)

// strictly is a second reader of the same grammar, written to be read: it has the whole
// input, splits it into lines and stops at the first thing it does not know.
func strictly(raw string) (requests []string) {
	for {
		line, rest, ok := strings.Cut(raw, "\r\n")
		m := reLine.FindStringSubmatch(line)
		if !ok || m == nil || m[2][0] != '/' && m[1] != "CONNECT" {
			return requests
		}
		fields, rest, ok := strictFields(rest)
		if !ok {
			return requests
		}
		hosts, lengths, codings := fields["host"], fields["content-length"], fields["transfer-encoding"]
		if len(hosts) > 1 || len(hosts) == 0 && m[3] == "1" || len(lengths)+len(codings) > 1 || len(codings) > 0 && m[3] == "0" {
			return requests
		}
		body := ""
		if len(lengths) == 1 {
			n, err := strconv.ParseUint(lengths[0], 10, 62)
			if err != nil || n > uint64(len(rest)) {
				return requests
			}
			body, rest = rest[:n], rest[n:]
		}
		if len(codings) == 1 {
			if body, rest, ok = strictChunks(rest); !ok || codings[0] != "chunked" {
				return requests
			}
		}
		requests = append(requests, m[1]+" "+m[2]+" "+body)
		if m[1] == "CONNECT" {
			return requests
		}
		raw = rest
	}
}

func strictFields(raw string) (fields map[string][]string, rest string, ok bool) {
	fields = map[string][]string{}
	for {
		line, rest, ok := strings.Cut(raw, "\r\n")
		if !ok || line == "" {
			return fields, rest, ok
		}
		m := reHeader.FindStringSubmatch(latin(line))
		if m == nil {
			return nil, "", false
		}
		name := strings.ToLower(m[1])
		fields[name] = append(fields[name], strings.Trim(m[2], " \t"))
		raw = rest
	}
}

func strictChunks(raw string) (body, rest string, ok bool) {
	for {
		line, rest, ok := strings.Cut(raw, "\r\n")
		m := reChunk.FindStringSubmatch(latin(line))
		if !ok || m == nil {
			return "", "", false
		}
		n, _ := strconv.ParseUint(m[1], 16, 62)
		if n == 0 {
			fields, rest, ok := strictFields(rest)
			bad := len(fields["host"])+len(fields["content-length"])+len(fields["transfer-encoding"]) > 0
			return body, rest, ok && !bad
		}
		if n > uint64(len(rest)) || !strings.HasPrefix(rest[n:], "\r\n") {
			return "", "", false
		}
		body, raw = body+rest[:n], rest[n+2:]
	}
}

// latin makes each byte a rune, so that a regular expression can match all of them.
func latin(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// H07: what is refused takes no answer from the requests before it in the pipeline.
func TestEarlierRequestsAreAnsweredBeforeTheRefusal(t *testing.T) {
	h := newHouse(t, nil, func(_ *house, c *Config) {
		c.Reserved = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
				t.Error("given up, as if the client had gone")
			case <-time.After(100 * time.Millisecond): // nothing is to happen
				w.WriteHeader(http.StatusNoContent)
			}
		})
	})
	for _, bad := range []string{"GET / HTTP/1.1\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "\x00"} {
		k := h.keepAlive()
		_, err := io.WriteString(k, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"+bad)
		h.must(err)
		for _, want := range []int{204, 400} {
			resp, err := http.ReadResponse(k.r, nil)
			if err != nil || resp.StatusCode != want {
				t.Fatalf("%q: %v %v, want %d", bad, resp, err, want)
			}
		}
	}
}
