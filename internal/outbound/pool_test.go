package outbound

import (
	"bufio"
	"fmt"
	"io"
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

// echo is an answer that names whom it is for.
func echo(user string) string {
	body := fmt.Sprintf(`{"result":"allow","client_attrs":{"for":%q}}`, user)
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// userOf reads a request and returns whom it asks about; "" at the end.
func userOf(in *bufio.Reader) string {
	r := next(in)
	if r == nil {
		return ""
	}
	return r.URL.Query().Get("u")
}

// askFor asks about a user and fails if the answer is another's.
func askFor(t testing.TB, s credential.Source, user string) {
	t.Helper()
	a := ask(t, s, &credential.Login{Username: user})
	if a.Verdict != credential.Known || a.Attrs["for"] != user {
		t.Errorf("%s: verdict %d (%s) for %q", user, a.Verdict, a.Why, a.Attrs["for"])
	}
}

// askAll asks about n users at the same time.
func askAll(t testing.TB, s credential.Source, n int) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { askFor(t, s, fmt.Sprintf("user-%d", i)) })
	}
	all.Wait()
}

func get(url string) credential.Backend {
	return credential.Backend{Method: "get", URL: url + "/?u=${username}", RequestTimeout: 30 * time.Second}
}

// Requests are on the connection before the first answer: as many as enable_pipelining says, and no more.
func TestPipelining(t *testing.T) {
	const depth = 5
	url := rawServer(t, func(n int, c net.Conn, in *bufio.Reader) {
		for {
			var users []string
			for range depth { // none is answered until all are there
				user := userOf(in)
				if user == "" {
					return
				}
				users = append(users, user)
			}
			if in.Buffered() > 0 {
				t.Error("there are more than may be")
			}
			for _, user := range users {
				_, _ = io.WriteString(c, echo(user))
			}
		}
	})
	b := get(url)
	b.PoolSize, b.Pipelining = 1, depth
	askAll(t, open(t, credential.ByHTTP, b), 20*depth)
}

// 100 questions at once on two connections, each gets its own answer, and there are two connections.
func TestManyOnFew(t *testing.T) {
	var most atomic.Int64
	url := rawServer(t, func(n int, c net.Conn, in *bufio.Reader) {
		most.Store(max(most.Load(), int64(n+1)))
		for user := userOf(in); user != ""; user = userOf(in) {
			_, _ = io.WriteString(c, echo(user))
		}
	})
	for _, pipelining := range []int{1, 3, 100} {
		most.Store(0)
		b := get(url)
		b.PoolSize, b.Pipelining = 2, pipelining
		s := open(t, credential.ByHTTP, b)
		for range 5 {
			askAll(t, s, 100)
		}
		if got := s.Status(); got.Questions != 500 || got.Failures != 0 {
			t.Errorf("%d: %+v", pipelining, got)
		}
		s.Close()
	}
}

func TestConnections(t *testing.T) {
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			connections.Add(1)
		case http.StateClosed:
			connections.Add(-1)
		}
	}
	server.Start()
	defer server.Close()
	s := open(t, credential.ByHTTP, credential.Backend{URL: server.URL, PoolSize: 3, MaxInactive: 50 * time.Millisecond})
	for range 20 { // one after the other needs one only
		wantVerdict(t, ask(t, s, someone), credential.Known)
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for questions one after the other", n)
	}
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() { wantVerdict(t, ask(t, s, someone), credential.Known) })
	}
	all.Wait()
	if n := connections.Load(); n > 3 {
		t.Errorf("%d connections in a pool of 3", n)
	}
	until(t, "idle connections are closed after max_inactive", func() bool { return connections.Load() == 0 })
	wantVerdict(t, ask(t, s, someone), credential.Known)
}

// A connection that breaks under several requests: those without a part of an answer are asked again.
func TestBreaksMidway(t *testing.T) {
	url := rawServer(t, func(n int, c net.Conn, in *bufio.Reader) {
		for i := 0; ; i++ {
			user := userOf(in)
			if user == "" || n == 0 && i == 3 {
				return // without a word
			}
			_, _ = io.WriteString(c, echo(user))
		}
	})
	b := get(url)
	b.PoolSize = 1
	askAll(t, open(t, credential.ByHTTP, b), 50)
}

// An answer that has begun is not asked for again, and those behind it are.
func TestCutAnswerIsFinal(t *testing.T) {
	var asked atomic.Int64
	url := rawServer(t, func(n int, c net.Conn, in *bufio.Reader) {
		for user := userOf(in); user != ""; user = userOf(in) {
			if user == "bad" {
				asked.Add(1)
				_, _ = io.WriteString(c, echo(user)[:60])
				_ = c.(*net.TCPConn).CloseWrite()
				drain(in) // a reset could overtake what was sent
				return
			}
			_, _ = io.WriteString(c, echo(user))
		}
	})
	b := get(url)
	b.PoolSize = 1
	s := open(t, credential.ByHTTP, b)
	var all sync.WaitGroup
	all.Go(func() {
		wantVerdict(t, ask(t, s, &credential.Login{Username: "bad"}), credential.Failed)
	})
	all.Go(func() { askAll(t, s, 20) })
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("it was asked for %d times", n)
	}
}

// A service that closes without a word is asked three times in all.
func TestAskedAgainTwice(t *testing.T) {
	var asked atomic.Int64
	url := rawServer(t, func(_ int, _ net.Conn, in *bufio.Reader) {
		if userOf(in) != "" {
			asked.Add(1)
		}
	})
	s := open(t, credential.ByHTTP, get(url))
	wantVerdict(t, ask(t, s, &credential.Login{Username: "u"}), credential.Failed)
	if n := asked.Load(); n != 3 {
		t.Errorf("it was asked %d times", n)
	}
}

// A service that closes an idle connection costs no login.
func TestClosedWhileIdle(t *testing.T) {
	url := rawServer(t, func(_ int, c net.Conn, in *bufio.Reader) {
		if user := userOf(in); user != "" {
			_, _ = io.WriteString(c, echo(user))
		}
	})
	s := open(t, credential.ByHTTP, get(url))
	for i := range 50 {
		askFor(t, s, fmt.Sprint(i))
	}
}

// A service that ends each connection after one answer, and says so, gets every question answered however many there are.
func TestConnectionClose(t *testing.T) {
	for _, server := range []func(net.Conn, string){
		func(c net.Conn, answer string) {
			_, _ = io.WriteString(c, strings.Replace(answer, "\r\n", "\r\nConnection: close\r\n", 1))
		},
		func(c net.Conn, answer string) {
			_, _ = io.WriteString(c, strings.Replace(answer, "1.1", "1.0", 1))
		},
	} {
		url := rawServer(t, func(_ int, c net.Conn, in *bufio.Reader) {
			if user := userOf(in); user != "" {
				server(c, echo(user))
				_ = c.(*net.TCPConn).CloseWrite()
				drain(in)
			}
		})
		b := get(url)
		b.PoolSize = 2
		s := open(t, credential.ByHTTP, b)
		askAll(t, s, 100)
		if s.pool.depth != 1 {
			t.Errorf("%d requests on a connection that takes one", s.pool.depth)
		}
	}
}

// A service that has learnt to keep connections is given more than one request at a time again.
func TestDepthComesBack(t *testing.T) {
	url := rawServer(t, func(n int, c net.Conn, in *bufio.Reader) {
		for user := userOf(in); user != ""; user = userOf(in) {
			if n > 0 {
				_, _ = io.WriteString(c, echo(user))
				continue
			}
			_, _ = io.WriteString(c, strings.Replace(echo(user), "\r\n", "\r\nConnection: close\r\n", 1))
			_ = c.(*net.TCPConn).CloseWrite()
			drain(in)
		}
	})
	s := open(t, credential.ByHTTP, get(url))
	for i, want := range []int{1, 1, 100} {
		askFor(t, s, "u")
		s.pool.mu.Lock()
		if s.pool.depth != want {
			t.Errorf("%d requests on a connection after %d answers, want %d", s.pool.depth, i+1, want)
		}
		s.pool.mu.Unlock()
	}
}

// As many servers do after a number of answers: what is behind the last one is asked on another connection.
func TestConnectionCloseNowAndThen(t *testing.T) {
	url := rawServer(t, func(_ int, c net.Conn, in *bufio.Reader) {
		for i := 0; ; i++ {
			user := userOf(in)
			answer := echo(user)
			if i == 7 {
				answer = strings.Replace(answer, "\r\n", "\r\nConnection: close\r\n", 1)
			}
			if _, err := io.WriteString(c, answer); err != nil || user == "" || i == 7 {
				_ = c.(*net.TCPConn).CloseWrite()
				drain(in)
				return
			}
		}
	})
	b := get(url)
	b.PoolSize = 2
	s := open(t, credential.ByHTTP, b)
	askAll(t, s, 200)
	if s.pool.depth != 100 {
		t.Errorf("%d requests on a connection", s.pool.depth)
	}
}

// An answer that nobody asked for ends the connection: it would be taken for that to the next question, of another user.
func TestExtraAnswer(t *testing.T) {
	url := rawServer(t, func(_ int, c net.Conn, in *bufio.Reader) {
		for user := userOf(in); user != ""; user = userOf(in) {
			_, _ = io.WriteString(c, echo(user)+echo("evil"))
		}
	})
	s := open(t, credential.ByHTTP, get(url))
	for i := range 50 {
		askFor(t, s, fmt.Sprint(i))
	}
	// One that comes when nothing is asked.
	evil := make(chan struct{})
	url = rawServer(t, func(n int, c net.Conn, in *bufio.Reader) {
		for user := userOf(in); user != ""; user = userOf(in) {
			_, _ = io.WriteString(c, echo(user))
			if n == 0 {
				<-evil
				_, _ = io.WriteString(c, echo("evil"))
			}
		}
	})
	s = open(t, credential.ByHTTP, get(url))
	askFor(t, s, "a")
	close(evil)
	until(t, "the connection is closed", func() bool {
		s.pool.mu.Lock()
		defer s.pool.mu.Unlock()
		return len(s.pool.lines) == 0
	})
	askFor(t, s, "b")
}

// A slow answer holds up those behind it, no longer than until its own end; then they are asked elsewhere.
func TestSlowHead(t *testing.T) {
	url := rawServer(t, func(n int, c net.Conn, in *bufio.Reader) {
		for user := userOf(in); user != ""; user = userOf(in) {
			if user == "slow" {
				drain(in)
				return
			}
			_, _ = io.WriteString(c, echo(user))
		}
	})
	b := get(url)
	b.PoolSize, b.RequestTimeout = 1, 2*time.Second
	s := open(t, credential.ByHTTP, b)
	var all sync.WaitGroup
	all.Go(func() {
		wantVerdict(t, ask(t, s, &credential.Login{Username: "slow"}), credential.Failed)
	})
	until(t, "the slow one is asked about", func() bool {
		s.pool.mu.Lock()
		defer s.pool.mu.Unlock()
		return len(s.pool.lines) == 1 && s.pool.lines[0].load == 1
	})
	time.Sleep(time.Second) // so that those behind it have time left
	askAll(t, s, 10)
	all.Wait()
}

// Each answer has until its own request's deadline, not that of the one before it.
func TestNextHasItsOwnTime(t *testing.T) {
	t.Parallel()
	var connections atomic.Int64
	url := rawServer(t, func(_ int, c net.Conn, in *bufio.Reader) {
		connections.Add(1)
		first, second := userOf(in), userOf(in)
		_, _ = io.WriteString(c, echo(first)+echo(second)[:30])
		time.Sleep(1500 * time.Millisecond)
		_, _ = io.WriteString(c, echo(second)[30:])
		drain(in)
	})
	b := get(url)
	b.PoolSize, b.RequestTimeout = 1, 3*time.Second
	s := open(t, credential.ByHTTP, b)
	var all sync.WaitGroup
	all.Go(func() { askFor(t, s, "first") })
	time.Sleep(2 * time.Second)
	askFor(t, s, "second") // answered when the first one's time is over
	all.Wait()
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// What finds no room waits for as long as its own time lasts.
func TestNoRoom(t *testing.T) {
	url := rawServer(t, func(_ int, _ net.Conn, in *bufio.Reader) { drain(in) })
	b := get(url)
	b.PoolSize, b.Pipelining, b.RequestTimeout = 2, 2, 200*time.Millisecond
	s := open(t, credential.ByHTTP, b)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			a := ask(t, s, someone)
			wantVerdict(t, a, credential.Failed)
		})
	}
	all.Wait()
	if s.pool.waiting.n != 0 {
		t.Errorf("%d wait for nothing", s.pool.waiting.n)
	}
}

// A service that does not read what it is sent blocks nobody for longer than the timeout.
func TestServiceDoesNotRead(t *testing.T) {
	stop := make(chan struct{})
	url := rawServer(t, func(_ int, c net.Conn, _ *bufio.Reader) {
		_ = c.(*net.TCPConn).SetReadBuffer(4096)
		<-stop
	})
	defer close(stop)
	s := open(t, credential.ByHTTP, credential.Backend{
		URL: url, PoolSize: 1, RequestTimeout: 300 * time.Millisecond, Body: map[string]any{"p": "${password}"},
	})
	long := &credential.Login{Password: strings.Repeat("x", 200_000)}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { wantVerdict(t, ask(t, s, long), credential.Failed) })
	}
	all.Wait()
}

// Large requests arrive whole and in order beside small ones.
func TestLargeRequests(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"result":"allow","client_attrs":{"for":"%d"}}`, strings.Count(string(body), "x"))
	}))
	defer server.Close()
	s := open(t, credential.ByHTTP, credential.Backend{URL: server.URL, PoolSize: 2, Body: map[string]any{"p": "${password}"}, RequestTimeout: time.Minute})
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			n := i * i * 20
			if a := ask(t, s, &credential.Login{Password: strings.Repeat("x", n)}); a.Attrs["for"] != fmt.Sprint(n) {
				t.Errorf("%d: %q (%s)", n, a.Attrs["for"], a.Why)
			}
		})
	}
	all.Wait()
}

// A pool that has lost its service gets it back without being made anew.
func TestServiceComesBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	serve := func(l net.Listener) *httptest.Server {
		server := httptest.NewUnstartedServer(answerWith(204, "", ""))
		server.Listener.Close()
		server.Listener = l
		server.Start()
		return server
	}
	server := serve(l)
	s := open(t, credential.ByHTTP, credential.Backend{URL: "http://" + addr})
	wantVerdict(t, ask(t, s, someone), credential.Known)
	server.Close()
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { wantVerdict(t, ask(t, s, someone), credential.Failed) })
	}
	all.Wait()
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Skip("the port is taken by another:", err)
	}
	server = serve(l)
	defer server.Close()
	wantVerdict(t, ask(t, s, someone), credential.Known)
}
