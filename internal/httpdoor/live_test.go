package httpdoor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
)

// cutBound is N of the security checks: what is live ends within it.
const cutBound = 250 * time.Millisecond

// events is an upstream that sends an event when it is told to, and never ends by itself.
func events(t testing.TB) (*backend, chan string, chan struct{}) {
	send, gone := make(chan string), make(chan struct{}, 8)
	return newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		w.WriteHeader(200)
		for {
			http.NewResponseController(w).Flush()
			select {
			case s := <-send:
				fmt.Fprintf(w, "data: %s\n\n", s)
			case <-r.Context().Done():
				gone <- struct{}{}
				return
			}
		}
	}), send, gone
}

// await fails the test if ch does not give anything in time.
func await[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("it did not come about: %s", what)
		panic("unreachable")
	}
}

// Invariant 10: an open event stream ends with its credential, within the bound,
// and not as if it were complete; the upstream is told.
func TestEventStreamIsCutOnRevocation(t *testing.T) {
	up, send, gone := events(t)
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	c := h.dial()
	fmt.Fprintf(c, "GET /db/events HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", bearer(is))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	h.must(err)
	body := bufio.NewReader(resp.Body)
	send <- "one"
	if line, err := body.ReadString('\n'); err != nil || line != "data: one\n" {
		t.Fatalf("%q, %v", line, err)
	}
	h.sessions(1, "stream", "GET /db/events")
	h.revoke(is)
	answered := time.Now()
	_, err = io.ReadAll(body)
	if took := time.Since(answered); err == nil || errors.Is(err, io.EOF) || took > cutBound {
		t.Errorf("the stream ended with %v after %v, want an error within %v", err, took, cutBound)
	}
	await(t, "the upstream is told", gone)
	h.sessions(0, "", "")
}

// sessions waits until the gate lists n sessions and checks the first.
func (h *house) sessions(n int, kind, about string) {
	h.Helper()
	var list []credential.Session
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if list = h.gate.Sessions(credential.SessionFilter{}); len(list) == n {
			break
		}
		if time.Now().After(end) {
			h.Fatalf("%d sessions: %v, want %d", len(list), list, n)
		}
	}
	if n > 0 && (list[0].Kind != kind || list[0].About != about || list[0].Door != "http") {
		h.Fatalf("session %+v, want %s %q", list[0], kind, about)
	}
}

// The same over HTTP/1.0, where an answer ends with the connection: it is reset, not closed.
func TestCutIsNeverACleanEnd(t *testing.T) {
	up, send, _ := events(t)
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	c := h.dial()
	fmt.Fprintf(c, "GET /db/events HTTP/1.0\r\nHost: h\r\n%s\r\n\r\n", bearer(is))
	send <- "one"
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		h.must(err)
		if line == "data: one\n" {
			break
		}
	}
	h.revoke(is)
	if _, err := io.ReadAll(r); err == nil {
		t.Error("the connection was closed as if the answer were complete")
	}
}

// M17's cousin: a client that takes nothing of its answer is cut all the same, and nothing is left behind.
func TestClientThatNeverReadsIsCut(t *testing.T) {
	gone := make(chan struct{})
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(gone)
		for chunk := make([]byte, 64<<10); ; { // soon all buffers on the way are full
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	c := h.dial()
	c.(*net.TCPConn).SetReadBuffer(4 << 10)
	fmt.Fprintf(c, "GET /db/long HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", bearer(is))
	h.sessions(1, "request", "GET /db/long") // listed after a second: it is blocked by then
	h.revoke(is)
	await(t, "the upstream is hung up on", gone)
	h.sessions(0, "", "")
}

// An upload is cut in the middle, too.
func TestUploadIsCutOnRevocation(t *testing.T) {
	began, ended := make(chan struct{}), make(chan error, 1)
	up := newUpstream(t, func(_ http.ResponseWriter, r *http.Request) {
		b := make([]byte, 1)
		r.Body.Read(b)
		close(began)
		_, err := io.Copy(io.Discard, r.Body)
		ended <- err
	})
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	c := h.dial()
	fmt.Fprintf(c, "POST /db/write HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n%s\r\n\r\nx", bearer(is))
	await(t, "the upload begins", began)
	h.revoke(is)
	if err := await(t, "the upload ends", ended); err == nil {
		t.Error("the upstream took the upload for complete")
	}
	if _, err := io.ReadAll(c); err == nil {
		t.Error("the connection was not reset")
	}
}

// websocketEcho is an upstream that switches protocols and then repeats what it is sent.
func websocketEcho(t testing.TB) *backend {
	return newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || r.Header.Get("Connection") != "Upgrade" {
			http.Error(w, "no upgrade", http.StatusBadRequest)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		rw.Flush()
		io.Copy(c, rw)
	})
}

// Invariant 10, X07: a WebSocket goes through, whatever bytes it carries, and ends with its credential.
func TestWebSocketIsForwardedAndCut(t *testing.T) {
	up := websocketEcho(t)
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	c := h.dial()
	fmt.Fprintf(c, "GET /db/ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n%s\r\n\r\n", bearer(is))
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	h.must(err)
	if resp.StatusCode != 101 {
		t.Fatal(resp.StatusCode)
	}
	const noHTTP = "\x00\x81\n\r\nGET / HTTP/1.1\r\n\r\n\xff"
	io.WriteString(c, noHTTP)
	echo := make([]byte, len(noHTTP))
	if _, err := io.ReadFull(r, echo); err != nil || string(echo) != noHTTP {
		t.Fatalf("%q, %v", echo, err)
	}
	h.sessions(1, "upgrade", "GET /db/ws")
	h.revoke(is)
	answered := time.Now()
	if _, err := r.ReadByte(); err == nil || time.Since(answered) > cutBound {
		t.Errorf("%v after %v", err, time.Since(answered))
	}
	h.sessions(0, "", "")
	if a := h.ask("GET", "/db/ws", bearer(is), "Connection: Upgrade", "Upgrade: websocket"); a.StatusCode != 401 {
		t.Errorf("a new one: %d", a.StatusCode)
	}
}

// No other protocol is switched to: h2c would be a tunnel behind the gate.
func TestOtherUpgradesAreNotForwarded(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	for _, headers := range []string{
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
		"Connection: Upgrade\r\nUpgrade: websocket, h2c", "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c", "Connection: Upgrade\r\nUpgrade: x",
	} {
		a := h.ask("GET", "/db/x", bearer(is), headers)
		s := up.got()
		if a.StatusCode != 200 || len(s) != 1 || s[0].header["Upgrade"] != nil || s[0].header["Connection"] != nil {
			t.Errorf("%q: %d, the upstream got %v", headers, a.StatusCode, s)
		}
	}
}

// R11: a stream ends at the instant at which its credential does.
func TestStreamIsCutAtExpiry(t *testing.T) {
	up, _, gone := events(t)
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump", func(n *authority.NewCredential) { n.TTL = 2 * time.Second })
	c := h.dial()
	fmt.Fprintf(c, "GET /db/events HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", bearer(is))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	h.must(err)
	if resp.StatusCode != 200 {
		t.Fatal(resp.StatusCode)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the stream ended cleanly")
	}
	if early, late := time.Until(is.Credential.ExpiresAt), time.Since(is.Credential.ExpiresAt); early > 0 || late > cutBound {
		t.Errorf("cut %v after the end", late)
	}
	await(t, "the upstream is told", gone)
}

// A right that is taken away cuts what lives by it; a right that stays does not.
func TestStreamIsCutWhenItsRightEnds(t *testing.T) {
	up, send, gone := events(t)
	h := newHouse(t, []string{"/db/=" + up.URL})
	h.scope("reads", "allow http:GET /db/**", "allow http:POST /db/**")
	is := h.scoped("pump", "reads")
	c := h.dial()
	fmt.Fprintf(c, "GET /db/events HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", bearer(is))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	h.must(err)
	change := func(rules ...credential.Rule) {
		t.Helper()
		s, err := h.authority.Scope(t.Context(), h.local, "reads")
		h.must(err)
		s.Rules = rules
		_, err = h.authority.PutScope(t.Context(), h.local, s)
		h.must(err)
	}
	s, err := h.authority.Scope(t.Context(), h.local, "reads")
	h.must(err)
	change(s.Rules[0])
	send <- "still there"
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line != "data: still there\n" {
		t.Fatalf("%q, %v", line, err)
	}
	change(s.Rules[1])
	await(t, "the upstream is told", gone)
}

// R01: 1,000 requests a second over 8 connections; after the revocation has answered none is accepted.
func TestNothingIsAcceptedAfterARevocation(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	var revoked atomic.Bool
	var before, after, refused atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			tick := time.NewTicker(8 * time.Millisecond) // 125 a second
			defer tick.Stop()
			tr := &http.Transport{MaxConnsPerHost: 1}
			defer tr.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				was := revoked.Load()
				req, _ := http.NewRequest("GET", "http://"+h.addr+"/db/x", nil)
				req.Header.Set("Authorization", "Bearer "+is.Secret.Reveal())
				resp, err := tr.RoundTrip(req)
				if err != nil {
					continue // cut in flight
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				switch {
				case resp.StatusCode == 200 && was:
					after.Add(1)
				case resp.StatusCode == 200:
					before.Add(1)
				case resp.StatusCode == 401:
					refused.Add(1)
				}
			}
		})
	}
	for before.Load() < 400 {
		time.Sleep(time.Millisecond)
	}
	h.revoke(is)
	revoked.Store(true)
	for refused.Load() < 200 {
		time.Sleep(time.Millisecond)
	}
	close(stop)
	all.Wait()
	if after.Load() > 0 {
		t.Errorf("%d requests were accepted after the revocation had answered", after.Load())
	}
}

// D17: shutting down ends streams at once, lets requests finish, and cuts what takes too long.
func TestShutdown(t *testing.T) {
	started, finish := make(chan string, 2), make(chan struct{})
	streams, _, gone := events(t)
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		started <- r.URL.Path
		if r.URL.Path == "/db/endless" {
			<-r.Context().Done()
			return
		}
		<-finish
		io.WriteString(w, "finished")
	})
	h := newHouse(t, []string{"/db/=" + up.URL, "/ev/=" + streams.URL})
	is := h.token("pump")
	open := func(path string) *bufio.Reader {
		c := h.dial()
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", path, bearer(is))
		return bufio.NewReader(c)
	}
	stream := open("/ev/x")
	if resp, err := http.ReadResponse(stream, nil); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	short, long := open("/db/short"), open("/db/endless")
	await(t, "a request begins", started)
	await(t, "another begins", started)
	ctx, cancel := context.WithCancel(context.Background())
	down := make(chan error, 1)
	go func() { down <- h.door.Shutdown(ctx) }()
	await(t, "the stream ends", gone)
	close(finish)
	if a := h.read(short, "GET"); a.text != "finished" || !a.Close {
		t.Errorf("the short one: %q, close %v", a.text, a.Close)
	}
	if c, err := net.Dial("tcp", h.addr); err == nil {
		c.Close()
		t.Error("it still accepts")
	}
	cancel()
	if err := await(t, "it is down", down); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's error: something was cut", err)
	}
	if _, err := http.ReadResponse(long, nil); err == nil {
		t.Error("the endless one got an answer")
	}
}

// E02 for kicked sessions: an administrator ends one; the credential stays good.
func TestKick(t *testing.T) {
	up, _, gone := events(t)
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump")
	c := h.dial()
	fmt.Fprintf(c, "GET /db/events HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", bearer(is))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	h.must(err)
	h.must(h.authority.Kick(t.Context(), h.local, h.gate.Sessions(credential.SessionFilter{})[0].ID))
	await(t, "the upstream is told", gone)
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the stream ended cleanly")
	}
	if a := h.ask("POST", "/db/", "X-Other: 1"); a.StatusCode != 401 || strings.Contains(a.text, "kick") {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
}

// O09: quarantine cuts what is under way and is not in its scope; from then on the token is known and forbidden all else.
func TestQuarantineCutsAndForbids(t *testing.T) {
	up, send, gone := events(t)
	h := newHouse(t, []string{"/db/=" + up.URL})
	h.scope(credential.ScopeQuarantine, "allow http:GET /firmware/**")
	is := h.token("pump")
	c := h.dial()
	fmt.Fprintf(c, "GET /db/events HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", bearer(is))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	h.must(err)
	body := bufio.NewReader(resp.Body)
	send <- "one"
	if line, err := body.ReadString('\n'); err != nil || line != "data: one\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_, err = h.authority.Quarantine(t.Context(), h.local, is.Credential.ID, "noise")
	h.must(err)
	if _, err = io.ReadAll(body); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v, want an error", err)
	}
	await(t, "the upstream is told", gone)
	for method, path := range map[string]string{"GET": "/db/events", "POST": "/firmware/x"} {
		if r := h.ask(method, path, bearer(is)); r.StatusCode != http.StatusForbidden {
			t.Errorf("%s %s in quarantine: %s", method, path, r.Status)
		}
	}
	if r := h.ask("GET", "/firmware/x", bearer(is)); r.StatusCode != http.StatusNotFound {
		t.Errorf("what is allowed, where there is no route: %s", r.Status)
	}
	_, err = h.authority.Release(t.Context(), h.local, is.Credential.ID, "")
	h.must(err)
	if r := h.ask("POST", "/firmware/x", bearer(is)); r.StatusCode != http.StatusNotFound {
		t.Errorf("released: %s", r.Status)
	}
}
