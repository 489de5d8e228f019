package outbound

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/credential"
)

// answerWith is a handler that says the same to everybody.
func answerWith(status int, kind, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// S14: what a service can do wrong on the wire is bounded, is a failure, and is never a yes.
func TestBrokenServices(t *testing.T) {
	const fine = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	body := keysWith("")
	whole := fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", fine, len(body), body)
	for name, one := range map[string]struct {
		send string
		then func(net.Conn) // nil: it closes
		why  string
	}{
		"nothing, and closes":         {"", nil, "closed"},
		"hangs before the head":       {"", hang, errTimeout.Error()},
		"hangs in the head":           {fine, hang, errTimeout.Error()},
		"hangs in the body":           {fine + "Content-Length: 100\r\n\r\n{", hang, errTimeout.Error()},
		"a length that is too long":   {fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", fine, len(body)+1, body), hang, errTimeout.Error()},
		"half a head":                 {fine, nil, "broke off"},
		"half a body":                 {fine + "Content-Length: 100\r\n\r\n{", nil, "broke off"},
		"a length that is too short":  {fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", fine, len(body)-1, body), hang, "not JSON"},
		"two lengths":                 {fmt.Sprintf("%sContent-Length: %d\r\nContent-Length: 3\r\n\r\n%s", fine, len(body), body), hang, "not HTTP"},
		"two content-types":           {fmt.Sprintf("%sContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s", fine, len(body), body), hang, "content-type"},
		"a bad chunk":                 {fine + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", hang, "broke"},
		"no HTTP":                     {"SSH-2.0-x\r\n\r\n", hang, "not HTTP"},
		"endless line":                {"HTTP/1.1 200 OK\r\nx: ", floodWith("x"), "not HTTP"},
		"endless headers":             {"HTTP/1.1 200 OK\r\n", floodWith("x: y\r\n"), "not HTTP"},
		"endless 1xx":                 {"", floodWith("HTTP/1.1 100 Continue\r\n\r\n"), "not HTTP"},
		"switches protocols":          {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", hang, "not HTTP"},
		"10 MB with a length":         {fine + "Content-Length: 10485760\r\n\r\n", floodWith("x"), "64 KiB"},
		"10 MB in chunks":             {fine + "Transfer-Encoding: chunked\r\n\r\n", floodWith("1000\r\n" + strings.Repeat("x", 4096) + "\r\n"), "64 KiB"},
		"10 MB until it closes":       {fine + "\r\n", floodWith("x"), "64 KiB"},
		"small chunks, large in all":  {fine + "Transfer-Encoding: chunked\r\n\r\n", floodWith("1\r\nx\r\n"), "64 KiB"},
		"drips in the head":           {"", dripWith(fine), errTimeout.Error()},
		"drips in the body":           {fine + "Content-Length: 10000\r\n\r\n", dripWith("{"), errTimeout.Error()},
		"its own request timeout":     {"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", nil, "know the user"},
		"too much of what is unknown": {"HTTP/1.1 404 Not Found\r\n\r\n", floodWith("x"), "know the user"},
		"1xx before the answer":       {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + whole, hang, ""},
		"the answer until it closes":  {fine + "\r\n" + body, nil, ""},
		"HTTP/1.0":                    {strings.Replace(whole, "1.1", "1.0", 1), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := rawServer(t, func(_ int, c net.Conn, in *bufio.Reader) {
				for next(in) != nil {
					if _, err := io.WriteString(c, one.send); err != nil || one.then == nil {
						return
					}
					one.then(c)
				}
			})
			timeout := 20 * time.Second
			if one.why == errTimeout.Error() {
				timeout = 300 * time.Millisecond
			}
			s := open(t, credential.ByScramREST, credential.Backend{URL: url, RequestTimeout: timeout})
			a := ask(t, s, someone)
			want := credential.Failed
			switch one.why {
			case "":
				want = credential.Known
			case "know the user":
				want = credential.Unknown
			}
			wantVerdict(t, a, want)
			if !strings.Contains(a.Why, one.why) {
				t.Errorf("reason %q, want something about %q", a.Why, one.why)
			}
		})
	}
}

func hang(c net.Conn) { drain(c) }

// floodWith sends without end.
func floodWith(s string) func(net.Conn) {
	return func(c net.Conn) {
		block := strings.Repeat(s, 1+4096/len(s))
		for range 10 << 20 / len(block) {
			if _, err := io.WriteString(c, block); err != nil {
				return
			}
		}
		drain(c)
	}
}

// dripWith sends a byte now and then.
func dripWith(s string) func(net.Conn) {
	return func(c net.Conn) {
		for i := 0; ; i++ {
			if _, err := io.WriteString(c, s[i%len(s):i%len(s)+1]); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// S14: no connection at all.
func TestRefusedConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s := open(t, credential.ByHTTP, credential.Backend{URL: "http://" + l.Addr().String()})
	a := ask(t, s, someone)
	wantVerdict(t, a, credential.Failed)
	if !strings.Contains(a.Why, "connection refused") {
		t.Errorf("reason %q", a.Why)
	}
	s = open(t, credential.ByHTTP, credential.Backend{URL: "http://nobody.invalid/"})
	wantVerdict(t, ask(t, s, someone), credential.Failed)
}

// Who gives up waits no longer, and it says nothing about the service: clients could open the circuit otherwise.
func TestGivenUp(t *testing.T) {
	arrived := make(chan struct{}, 1)
	url := rawServer(t, func(_ int, _ net.Conn, in *bufio.Reader) {
		for next(in) != nil {
			arrived <- struct{}{}
		}
	})
	s := open(t, credential.ByHTTP, credential.Backend{URL: url, RequestTimeout: time.Minute})
	for range 2 * circuitFailures {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-arrived
			cancel()
		}()
		wantVerdict(t, s.Ask(ctx, someone), credential.Failed)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	wantVerdict(t, s.Ask(ended, someone), credential.Failed)
	if got := s.Status(); got.Failures != 0 || got.Open {
		t.Errorf("%+v", got)
	}
}

// A login that cannot be asked about is unknown to the service, and no failure of it. S16.
func TestUnaskable(t *testing.T) {
	s := open(t, credential.ByHTTP, credential.Backend{URL: "http://127.0.0.1:1/${username}"})
	for range 2 * circuitFailures {
		wantVerdict(t, ask(t, s, &credential.Login{Username: ".."}), credential.Unknown)
	}
	if got := s.Status(); got.Questions != 0 || got.Failures != 0 || got.Open {
		t.Errorf("%+v", got)
	}
}

// The circuit, with a service that fails and comes back. (reference, 5)
func TestCircuit(t *testing.T) {
	var status, asked atomic.Int64
	status.Store(500)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(int(status.Load()))
	}))
	defer server.Close()
	var clock atomic.Int64
	var log strings.Builder
	c := New(Config{
		Now: func() time.Time { return time.Unix(clock.Load(), 0) },
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	s := openOf(t, c, credential.ByHTTP, credential.Backend{URL: server.URL + "/?secret=s3cr3t"})
	step := func(want credential.Verdict, total int64, open bool) {
		t.Helper()
		wantVerdict(t, ask(t, s, someone), want)
		if asked.Load() != total || s.Status().Open != open {
			t.Fatalf("%d questions and %t, want %d and %t", asked.Load(), s.Status().Open, total, open)
		}
	}
	for i := range int64(4) {
		step(credential.Failed, i+1, false)
	}
	status.Store(404) // an answer: the row is broken
	step(credential.Unknown, 5, false)
	status.Store(503)
	for i := range int64(5) {
		step(credential.Failed, 6+i, i == 4)
	}
	step(credential.Failed, 10, true)
	clock.Add(9)
	step(credential.Failed, 10, true)
	clock.Add(1)
	step(credential.Failed, 11, true) // the probe fails
	step(credential.Failed, 11, true)
	clock.Add(10)
	status.Store(204)
	step(credential.Known, 12, false)
	step(credential.Known, 13, false)

	got := s.Status()
	if got.Questions != 13 || got.Failures != 10 || got.LastError != "" || got.LastAt.Unix() != 10 || got.Latency.Count != 13 {
		t.Errorf("%+v", got)
	}
	if n := strings.Count(log.String(), "\n"); n != 2 || strings.Contains(log.String(), "s3cr3t") {
		t.Errorf("the log: %s", log.String())
	}
}

// Errors tell the cause and nothing of what was sent or answered.
func TestErrorsHoldNoSecret(t *testing.T) {
	const secret = "s3cr3t"
	if why := explain(errCut{errors.New(secret)}); strings.Contains(why, secret) {
		t.Errorf("an error that nobody knows is shown: %s", why)
	}
	l := &credential.Login{Username: secret, Password: secret, ClientID: secret}
	b := credential.Backend{
		Headers: map[string]string{"authorization": secret, "x": "${username}"}, Body: map[string]any{"p": "${password}"}, RequestTimeout: 200 * time.Millisecond,
	}
	for _, send := range []string{
		secret + " " + secret + "\r\n", "HTTP/1.1 200 OK\r\n" + secret + "\r\n\r\n", "HTTP/1.1 500 " + secret + "\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: " + secret + "\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: /" + secret + "\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: " + secret + "\r\n\r\n", "HTTP/1.1 404 " + secret + "\r\nContent-Length: 0\r\n\r\n", "",
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n\"" + secret + "\"", secret,
	} {
		b.URL = rawServer(t, func(_ int, c net.Conn, in *bufio.Reader) {
			next(in)
			_, _ = io.WriteString(c, send)
			hang(c)
		}) + "/" + secret + "?k=" + secret
		s := open(t, credential.ByHTTP, b)
		a := ask(t, s, l)
		if all := fmt.Sprintf("%s %+v", a.Why, s.Status()); strings.Contains(all, secret) || a.Verdict == credential.Known {
			t.Errorf("%q: %s", send, all)
		}
	}
}

// Questions that are under way fail when the source is closed, and later ones too. Nothing is left (TestMain looks).
func TestClose(t *testing.T) {
	arrived := make(chan struct{}, 100)
	url := rawServer(t, func(_ int, c net.Conn, in *bufio.Reader) {
		for next(in) != nil {
			arrived <- struct{}{}
		}
	})
	s := open(t, credential.ByHTTP, credential.Backend{URL: url, RequestTimeout: time.Minute, PoolSize: 2, Pipelining: 2})
	var all sync.WaitGroup
	for range 10 { // four of them are sent
		all.Go(func() { wantVerdict(t, ask(t, s, someone), credential.Failed) })
	}
	for range 4 {
		<-arrived
	}
	s.Close()
	all.Wait()
	wantVerdict(t, ask(t, s, someone), credential.Failed)
	s.Close()
}
