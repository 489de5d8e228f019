package httpdoor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// H16: heads and bodies that do not come are given up; others are served meanwhile.
func TestSlowSenders(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, func(_ *house, c *Config) {
		c.Limits.Header, c.Limits.Idle, c.Limits.Unread = 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
		c.Limits.BodyIdle, c.Limits.BodyRate = 300*time.Millisecond, 1000
	})
	is := h.token("pump")
	body := "POST /db/x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n" + bearer(is) + "\r\n\r\n"
	for name, tc := range map[string]struct {
		sent, drip string // drip is sent again and again
		status     int    // 0: closed without an answer
	}{
		"H16 nothing":               {"", "", 0},
		"H16 half a head":           {"GET /db/x HT", "", 0},
		"H16 dripping head":         {"GET /db/x HTTP/1.1\r\n", "X: y\r\n", 0},
		"H16 no body":               {body, "", 408},
		"H16 dripping body":         {body, "x", 408},
		"H16 half a chunk":          {strings.Replace(body, "Content-Length: 100", "Transfer-Encoding: chunked", 1) + "9\r\nx", "", 408},
		"H16 refused, and no body":  {"POST /db/x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n", "", 401},
		"H07 malformed chunk":       {strings.Replace(body, "Content-Length: 100", "Transfer-Encoding: chunked", 1) + "x\r\n", "", 400},
		"H16 idle after an answer":  {hello, "", 401},
		"H16 reserved, and no body": {"POST /api/v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n", "", 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", h.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(c, tc.sent)
			stop := make(chan struct{})
			defer close(stop)
			if tc.drip != "" {
				go func() {
					for tick := time.NewTicker(50 * time.Millisecond); ; {
						select {
						case <-tick.C:
							io.WriteString(c, tc.drip)
						case <-stop:
							tick.Stop()
							return
						}
					}
				}()
			}
			r := bufio.NewReader(c)
			if tc.status != 0 {
				resp, err := http.ReadResponse(r, nil)
				if err != nil || resp.StatusCode != tc.status {
					t.Fatalf("%v, %v", resp, err)
				}
				io.Copy(io.Discard, resp.Body)
			}
			rest, err := io.ReadAll(r) // of a head that did not come net/http says 400, or nothing
			if errors.Is(err, os.ErrDeadlineExceeded) || len(rest) > 0 && !strings.HasPrefix(string(rest), "HTTP/1.1 400") {
				t.Errorf("it was not closed: %q, %v", rest, err)
			}
		})
	}
	t.Run("others are served", func(t *testing.T) {
		t.Parallel()
		if a := h.send("POST", "/db/x", "body", bearer(is)); a.StatusCode != 200 {
			t.Errorf("%d %s", a.StatusCode, a.text)
		}
	})
}

// A body whose pieces come in time may take longer than any single bound.
func TestSteadyBodyIsTaken(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, func(_ *house, c *Config) {
		c.Limits.BodyIdle, c.Limits.BodyRate = 200*time.Millisecond, 1
	})
	is := h.token("pump")
	c := h.dial()
	fmt.Fprintf(c, "POST /db/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 10\r\n%s\r\n\r\n", bearer(is))
	for range 10 {
		time.Sleep(60 * time.Millisecond) // it is the pace that is tested
		io.WriteString(c, "x")
	}
	if a := h.read(bufio.NewReader(c), "POST"); a.StatusCode != 200 || up.got()[0].body != "xxxxxxxxxx" {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
}

// A slow upstream is not mistaken for a slow caller once the body is complete.
func TestSlowAnswerAfterABody(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		time.Sleep(400 * time.Millisecond) // longer than BodyIdle
		if r.Context().Err() == nil {
			io.WriteString(w, "late")
		}
	})
	h := newHouse(t, []string{"/db/=" + up.URL}, func(_ *house, c *Config) { c.Limits.BodyIdle = 100 * time.Millisecond })
	is := h.token("pump")
	if a := h.send("POST", "/db/x", "body", bearer(is)); a.StatusCode != 200 || a.text != "late" {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
}

// Bodies have a bound, told or not.
func TestBodyTooLarge(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, func(_ *house, c *Config) { c.Limits.MaxBody = 1000 })
	is := h.token("pump")
	if a := h.send("POST", "/db/x", strings.Repeat("x", 1000), bearer(is)); a.StatusCode != 200 {
		t.Errorf("exactly as much: %d %s", a.StatusCode, a.text)
	}
	if a := h.send("POST", "/db/x", strings.Repeat("x", 1001), bearer(is)); a.StatusCode != 413 || !a.Close {
		t.Errorf("told: %d %s", a.StatusCode, a.text)
	}
	c := h.dial()
	fmt.Fprintf(c, "POST /db/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n%s\r\n\r\n3e9\r\n%s\r\n0\r\n\r\n", bearer(is), strings.Repeat("x", 1001))
	if a := h.read(bufio.NewReader(c), "POST"); a.StatusCode != 413 || !a.Close {
		t.Errorf("not told: %d %s", a.StatusCode, a.text)
	}
}

// H07 through the whole door: a pipelined second request behind an ambiguous first one is never served.
func TestSmugglingThroughTheDoor(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	c := h.dial()
	fmt.Fprintf(c, "POST /db/one HTTP/1.1\r\nHost: h\r\n%[1]s\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /db/two HTTP/1.1\r\nHost: h\r\n%[1]s\r\n\r\n", bearer(is))
	out, err := io.ReadAll(c)
	if err != nil || strings.Count(string(out), "HTTP/1.1 ") != 1 || !strings.HasPrefix(string(out), "HTTP/1.1 400 Bad Request\r\n") {
		t.Errorf("%v %q", err, out)
	}
	if s := up.got(); len(s) > 0 {
		t.Errorf("the upstream got %v", s)
	}
}

// H18: a head of a megabyte is refused without reading it all.
func TestHugeHead(t *testing.T) {
	h := newHouse(t, nil)
	c := h.dial()
	go fmt.Fprintf(c, "GET /db/x HTTP/1.1\r\nHost: h\r\nX: %s\r\n\r\n", strings.Repeat("x", 1<<20))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 431 {
		t.Errorf("%v, %v", resp, err)
	}
}

// Connections of a source are bounded, and a seat that is left can be taken again.
func TestConnectionsAreBounded(t *testing.T) {
	h := newHouse(t, nil, func(_ *house, c *Config) { c.Limits.PerSource = 2 })
	one, two := h.dial(), h.dial()
	for _, c := range []net.Conn{one, two} {
		fmt.Fprint(c, hello)
		if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := io.ReadAll(h.dial()); len(b) > 0 {
		t.Errorf("a third connection: %q, %v", b, err)
	}
	one.Close()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c := h.dial()
		fmt.Fprint(c, hello)
		if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && resp.StatusCode == 401 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the seat was not given back")
		}
	}
}

// exhausted is a listener of a process without file descriptors, for a while.
type exhausted struct {
	net.Listener
	mu    sync.Mutex
	times int
}

func (e *exhausted) Accept() (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.times > 0 {
		e.times--
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return e.Listener.Accept()
}

// D13: without file descriptors the door waits, and goes on when there are some.
func TestAcceptBacksOff(t *testing.T) {
	h := newHouse(t, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	h.must(err)
	done := make(chan error, 1)
	go func() { done <- h.door.Serve(t.Context(), &exhausted{Listener: ln, times: 4}) }()
	h.addr = ln.Addr().String()
	if a := h.ask("GET", "/db/x"); a.StatusCode != 401 {
		t.Error(a.StatusCode)
	}
	if n := strings.Count(h.log.String(), "cannot accept connections for now"); n != 4 {
		t.Errorf("%d warnings, want one for each failure: it spins", n)
	}
	ln.Close()
	if err := await(t, "Serve ends", done); err == nil {
		t.Error("a listener that broke is not told of")
	}
}

// A caller that takes nothing of its answer for WriteIdle is given up, revoked or not.
func TestClientThatNeverReadsIsGivenUp(t *testing.T) {
	gone := make(chan struct{})
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(gone)
		for chunk := make([]byte, 64<<10); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	h := newHouse(t, []string{"/db/=" + up.URL}, func(_ *house, c *Config) { c.Limits.WriteIdle = 200 * time.Millisecond })
	is := h.token("pump")
	c := h.dial()
	c.(*net.TCPConn).SetReadBuffer(4 << 10)
	fmt.Fprintf(c, "GET /db/long HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", bearer(is))
	await(t, "the upstream is hung up on", gone)
	h.empty()
}

// A caller that asks before it sends a body is told to go on, unless it is refused.
func TestExpectContinue(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	const head = "POST /db/x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n"
	c := h.dial()
	r := bufio.NewReader(c)
	fmt.Fprint(c, head, bearer(is), "\r\n\r\n")
	if line, err := r.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	r.ReadString('\n')
	io.WriteString(c, "body")
	if a := h.read(r, "POST"); a.StatusCode != 200 || up.got()[0].body != "body" {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
	c = h.dial()
	fmt.Fprint(c, head, "\r\n")
	if a := h.read(bufio.NewReader(c), "POST"); a.StatusCode != 401 {
		t.Errorf("refused: %d %s", a.StatusCode, a.text)
	}
}

// A reserved path may switch protocols, too: the guard then lets everything through.
func TestReservedPathsMaySwitchProtocols(t *testing.T) {
	h := newHouse(t, nil, func(_ *house, c *Config) {
		c.Reserved = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			io.Copy(c, rw)
		})
	})
	c := h.dial()
	fmt.Fprint(c, "GET /mqtt HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(c)
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 {
		t.Fatal(resp, err)
	}
	io.WriteString(c, "\x00\n\xff")
	echo := make([]byte, 3)
	if _, err := io.ReadFull(r, echo); err != nil || string(echo) != "\x00\n\xff" {
		t.Errorf("%q, %v", echo, err)
	}
}

// A handler that panics ends its request, and is told of at once; the door lives on.
func TestPanicsAreLogged(t *testing.T) {
	h := newHouse(t, nil, func(_ *house, c *Config) {
		c.Reserved = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("broken") })
	})
	c := h.dial()
	fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
	if b, _ := io.ReadAll(c); len(b) > 0 {
		t.Errorf("%q", b)
	}
	if !strings.Contains(h.log.String(), "level=ERROR") {
		t.Error("nothing at level error")
	}
	if a := h.ask("GET", "/db/x"); a.StatusCode != 401 {
		t.Error(a.StatusCode)
	}
}
