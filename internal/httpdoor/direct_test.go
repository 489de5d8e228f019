package httpdoor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/intake"
)

// counted is a house that counts what net/http is given.
func counted(t testing.TB, changes ...func(*house, *Config)) (*house, *atomic.Int64) {
	var n atomic.Int64
	h := founded(t)
	c := Config{Gate: h.gate, TokenAuth: true}
	for _, f := range changes {
		f(h, &c)
	}
	var err error
	h.door, err = New(c)
	h.must(err)
	inner := h.door.server.Handler
	h.door.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		inner.ServeHTTP(w, r)
	})
	h.open()
	return h, &n
}

// keepAlive sends requests on one connection, each when the answer to the one before has come.
type keepAlive struct {
	h *house
	net.Conn
	r *bufio.Reader
}

func (h *house) keepAlive() *keepAlive {
	h.Helper()
	c, err := net.Dial("tcp", h.addr)
	h.must(err)
	h.Cleanup(func() { c.Close() })
	return &keepAlive{h, c, bufio.NewReader(c)}
}

func authHead(headers ...string) string {
	return "GET /auth HTTP/1.1\r\nHost: door.test\r\n" + strings.Join(append(headers, "", ""), "\r\n")
}

func (k *keepAlive) ask(text string) answered {
	k.h.Helper()
	_, err := io.WriteString(k, text)
	k.h.must(err)
	return k.h.read(k.r, "GET")
}

// What is answered on the spot is answered as net/http would: the same status, header and body.
func TestDirectAnswersAreTheSame(t *testing.T) {
	h, through := counted(t, behind("127.0.0.1/32"))
	is := h.token("pump")
	token := bearer(is)
	const method, uri = "X-Original-Method: GET", "X-Original-URI: /db/x?q=1"
	for name, headers := range map[string][]string{
		"allowed":           {token, method, uri},
		"other spelling":    {strings.Replace(token, "Authorization", "aUTHORIZATION", 1), "x-original-method:GET", "X-ORIGINAL-URI:  /db/x  "},
		"Traefik":           {token, "X-Forwarded-Method: GET", "X-Forwarded-Uri: /db/x", "X-Forwarded-For: 192.0.2.1", "User-Agent: x"},
		"Basic":             {"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("x:"+is.Secret.Reveal())), method, uri},
		"X-API-Key":         {"X-API-Key: " + is.Secret.Reveal(), method, uri},
		"appKey":            {"appKey: " + is.Secret.Reveal(), method, uri},
		"no token":          {method, uri},
		"wrong token":       {"Authorization: Bearer x", method, uri},
		"two credentials":   {token, "X-API-Key: x", method, uri},
		"H20 nothing asked": {token},
		"H20 mixed":         {token, method, "X-Forwarded-Uri: /db/x"},
		"H05 dots":          {token, method, "X-Original-URI: /db/../x"},
		"H11 garbage":       {token, method, uri, "X-Forwarded-For: x"},
		"H11 forwarded":     {token, method, uri, "Forwarded: for=192.0.2.1"},
		"K04":               {token, method, "X-Original-URI: /db/x?token=1"},
		"not a gateway":     {token, "X-Original-Method: TRACE", uri},
	} {
		before := through.Load()
		direct := h.keepAlive().ask(authHead(headers...))
		if through.Load() != before {
			t.Errorf("%s: net/http was asked", name)
		}
		long := h.keepAlive().ask(authHead(append(headers, "Connection: keep-alive")...))
		if through.Load() != before+1 {
			t.Errorf("%s: net/http was not asked, so there is nothing to compare with", name)
		}
		if direct.StatusCode != long.StatusCode || direct.text != long.text || direct.ContentLength != long.ContentLength {
			t.Errorf("%s: %d %q, by net/http %d %q", name, direct.StatusCode, direct.text, long.StatusCode, long.text)
		}
		if a, b := undated(direct.Header), undated(long.Header); !maps.EqualFunc(a, b, slices.Equal) {
			t.Errorf("%s: %v, by net/http %v", name, a, b)
		}
	}
}

// undated leaves out the date.
func undated(h http.Header) http.Header {
	h = h.Clone()
	if h.Get("Date") != "" {
		h.Set("Date", "there")
	}
	return h
}

// What is not one whole question is net/http's: other paths, bodies, pieces,
// several at once, versions and fields that mean something to the connection.
func TestDirectLeavesTheRestToNetHTTP(t *testing.T) {
	h, through := counted(t, behind("127.0.0.1/32"))
	is := h.token("pump")
	fields := []string{bearer(is), "X-Original-Method: GET", "X-Original-URI: /db/x"}
	question := authHead(fields...)
	for name, tc := range map[string]struct {
		text string
		want []int
	}{
		"a query":         {strings.Replace(question, "/auth", "/auth?x=1", 1), []int{200}},
		"HEAD":            {strings.Replace(question, "GET", "HEAD", 1), []int{200}},
		"an old version":  {strings.Replace(question, "1.1", "1.0", 1), []int{200}},
		"a body":          {authHead(append(fields, "Content-Length: 2")...) + "ab", []int{200}},
		"no body, said":   {authHead(append(fields, "Content-Length: 0")...), []int{200}},
		"chunks":          {authHead(append(fields, "Transfer-Encoding: chunked")...) + "0\r\n\r\n", []int{200}},
		"two at once":     {question + question, []int{200, 200}},
		"another behind":  {question + "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", []int{200, 404}},
		"a field twice":   {authHead(append(fields, "X-Original-URI: /db/x")...), []int{403}},
		"closing":         {authHead(append(fields, "Connection: close")...), []int{200}},
		"an expectation":  {authHead(append(fields, "Expect: x")...), []int{417}},
		"H07 both":        {authHead(append(fields, "Content-Length: 1", "Transfer-Encoding: chunked")...), []int{400}},
		"H08 bare feed":   {strings.Replace(question, "\r\nX", "\nX", 1), []int{400}},
		"H08 no host":     {strings.Replace(question, "Host: door.test\r\n", "", 1), []int{400}},
		"H08 name, space": {authHead(append(fields, "X-A : b")...), []int{400}},
	} {
		before := through.Load()
		k := h.keepAlive()
		_, err := io.WriteString(k, tc.text)
		h.must(err)
		for i, want := range tc.want {
			verb, _, _ := strings.Cut(tc.text, " ")
			if a := h.read(k.r, verb); a.StatusCode != want {
				t.Errorf("%s, answer %d: %d %s, want %d", name, i, a.StatusCode, a.text, want)
			}
		}
		if tc.want[0] < 400 && through.Load() == before {
			t.Errorf("%s: net/http was not asked", name)
		}
	}
}

// Questions and other requests take turns on one connection, in one piece and in several.
func TestDirectAndNetHTTPTakeTurns(t *testing.T) {
	h, through := counted(t, behind("127.0.0.1/32"))
	is := h.token("pump")
	question := authHead(bearer(is), "X-Original-Method: GET", "X-Original-URI: /db/x")
	k := h.keepAlive()
	for i := range 20 {
		if a := k.ask(question); a.StatusCode != 200 {
			t.Fatalf("question %d: %d %s", i, a.StatusCode, a.text)
		}
		if a := k.ask("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"); a.StatusCode != 401 {
			t.Fatalf("request %d: %d %s", i, a.StatusCode, a.text)
		}
		cut := 1 + i*len(question)/21
		_, err := io.WriteString(k, question[:cut])
		h.must(err)
		if a := k.ask(question[cut:]); a.StatusCode != 200 {
			t.Fatalf("question %d, cut at %d: %d %s", i, cut, a.StatusCode, a.text)
		}
	}
	if n := through.Load(); n < 20 || n > 40 { // the pieces of a question may have come in one read
		t.Errorf("net/http was asked %d times", n)
	}
	h.revoke(is) // R01: the next question on the same connection
	if a := k.ask(question); a.StatusCode != 401 {
		t.Errorf("after the revocation: %d", a.StatusCode)
	}
}

// D17: while the door ends, no answer that was begun is lost: it comes whole, and what comes after is net/http's.
func TestDirectAnswersSurviveShutdown(t *testing.T) {
	h, _ := counted(t, behind("127.0.0.1/32"))
	question := authHead(bearer(h.token("pump")), "X-Original-Method: GET", "X-Original-URI: /db/x")
	var asked, torn atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		k := h.keepAlive()
		all.Go(func() {
			for {
				if _, err := io.WriteString(k, question); err != nil {
					return
				}
				first, err := k.r.ReadByte()
				if err != nil {
					return // closed before the answer began
				}
				resp, err := http.ReadResponse(bufio.NewReader(io.MultiReader(bytes.NewReader([]byte{first}), k.r)), nil)
				if err != nil || resp.StatusCode != 200 {
					torn.Add(1)
					return
				}
				asked.Add(1)
			}
		})
	}
	for asked.Load() < 200 {
		runtime.Gosched()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := h.door.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	all.Wait()
	if torn.Load() > 0 {
		t.Errorf("%d of %d answers were torn", torn.Load(), asked.Load())
	}
}

// A question costs few allocations: the text of its head, and what the answer of one request needs.
func TestDirectBudget(t *testing.T) {
	h, _ := counted(t, behind("127.0.0.1/32"))
	is := h.token("pump")
	x := newDirect(t.Context(), h.door, &peer{addr: intake.AddrOf(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}), trusted: true})
	g := &guard{Conn: discard{}, now: h.door.now}
	head := []byte(authHead(bearer(is), "X-Original-Method: GET", "X-Original-URI: /db/x", "User-Agent: nginx"))
	n := testing.AllocsPerRun(200, func() {
		if done, err := x.serve(g, head); !done || err != nil {
			t.Fatal(done, err)
		}
	})
	if n > 4 {
		t.Errorf("%.0f allocations", n)
	}
	if !strings.HasPrefix(string(x.answer.out), "HTTP/1.1 200 OK\r\n") {
		t.Errorf("%s", x.answer.out)
	}
}

// discard is a connection that takes everything.
type discard struct{ net.Conn }

func (discard) Write(p []byte) (int, error)     { return len(p), nil }
func (discard) SetReadDeadline(time.Time) error { return nil }

// An answer that went out in part is the last on its connection: another one behind it would be read as the rest of it.
func TestDirectDoesNotAnswerTwice(t *testing.T) {
	h, through := counted(t, behind("127.0.0.1/32"))
	c := &stuck{pieces: authHead(bearer(h.token("pump")), "X-Original-Method: GET", "X-Original-URI: /db/x")}
	g := &guard{Conn: c, now: h.door.now}
	g.direct = newDirect(t.Context(), h.door, &peer{addr: intake.AddrOf(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}), trusted: true})
	n, err := g.Read(make([]byte, 4096))
	if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || c.written == 0 || through.Load() != 0 {
		t.Errorf("net/http gets %d bytes and %v; %d bytes were written", n, err, c.written)
	}
}

// stuck is a connection that takes half of an answer.
type stuck struct {
	net.Conn
	pieces  string
	written int
}

func (s *stuck) Read(p []byte) (int, error)      { return copy(p, s.pieces), nil }
func (s *stuck) SetReadDeadline(time.Time) error { return nil }
func (s *stuck) Write(p []byte) (int, error) {
	s.written += len(p) / 2
	return len(p) / 2, os.ErrDeadlineExceeded
}
