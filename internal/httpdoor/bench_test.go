package httpdoor

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cardea/internal/gate"
)

// sink is a response writer that keeps nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

// The budget: reading a token from any header but Basic allocates nothing, nor does looking
// through a query; an answer of /auth costs one allocation, the values of its headers.
func TestAllocationBudget(t *testing.T) {
	h := newHouse(t, nil, behind("127.0.0.1/32"), func(_ *house, c *Config) { c.Log = nil })
	is := h.token("pump")
	token := is.Secret.Reveal()
	for name, header := range map[string]http.Header{
		"Bearer": {"Authorization": {"Bearer " + token}}, "X-API-Key": {"X-Api-Key": {token}}, "appKey": {"Appkey": {token}},
	} {
		if n := testing.AllocsPerRun(100, func() {
			var ev gate.Evidence
			if h.door.evidence(header, &ev); ev.Token != token {
				t.Fatal("no token")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		if showsToken("q=select%20*%20from%20t&from=1&to=2;x=y") {
			t.Fatal("a token")
		}
	}); n != 0 {
		t.Errorf("query: %v allocations, want none", n)
	}
	p := &peer{addr: netip.MustParseAddr("127.0.0.1"), trusted: true, socket: &socket{}}
	r, err := http.NewRequestWithContext(context.WithValue(t.Context(), peerKey{}, p), "GET", "/auth", nil)
	h.must(err)
	r.RequestURI = "/auth"
	r.Header = http.Header{
		"Authorization": {"Bearer " + token}, "X-Original-Method": {"GET"}, "X-Original-Uri": {"/db/x?q=1"}, "X-Forwarded-For": {"192.0.2.7"},
	}
	w := &sink{header: http.Header{}}
	if n := testing.AllocsPerRun(100, func() { h.door.ServeHTTP(w, r) }); n > 1 || w.status != 200 {
		t.Errorf("/auth: %v allocations, want 1; status %d", n, w.status)
	}
}

// The benchmarks below count the CPU time of this process alone: clients and upstreams are
// children, this very binary with a role in its environment.
const roleVariable = "CARDEA_BENCH_ROLE"

// playRole is what a child does. It reports false in any other process.
func playRole() bool {
	switch role := os.Getenv(roleVariable); {
	case role == "upstream":
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(ln.Addr())
		go func() {
			io.Copy(io.Discard, os.Stdin) // until the parent has gone
			os.Exit(0)
		}()
		http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"success":true}`) }))
	case role != "":
		var addr string
		var n int
		if _, err := fmt.Sscan(role, &addr, &n); err != nil {
			log.Fatal(err)
		}
		request, err := io.ReadAll(os.Stdin)
		if err == nil {
			err = hammer(addr, string(request), n)
		}
		if err != nil {
			log.Fatal(err)
		}
	default:
		return false
	}
	return true
}

// hammer sends a request n times over 8 connections that are kept alive.
func hammer(addr, request string, n int) error {
	const connections = 8
	errs := make(chan error, connections)
	for i := range connections {
		go func() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				errs <- err
				return
			}
			defer c.Close()
			r := bufio.NewReader(c)
			for j := i; j < n && err == nil; j += connections {
				io.WriteString(c, request)
				err = skipAnswer(r)
			}
			errs <- err
		}()
	}
	var err error
	for range connections {
		err = errors.Join(err, <-errs)
	}
	return err
}

// skipAnswer reads a 200, as cheaply as can be.
func skipAnswer(r *bufio.Reader) error {
	length := 0
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && string(line) != "HTTP/1.1 200 OK\r\n" {
			return fmt.Errorf("answer %q", line)
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(v)))
		}
		if len(line) == 2 {
			_, err = r.Discard(length)
			return err
		}
	}
}

// child starts this binary in a role.
func child(role string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

// measure lets a child hammer on addr and reports the CPU time of this process for each request.
func measure(b *testing.B, addr, request string) {
	cmd := child(fmt.Sprint(addr, " ", b.N))
	cmd.Stdin = strings.NewReader(request)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func listen(b *testing.B, handler http.Handler) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: handler}
	go s.Serve(ln)
	b.Cleanup(func() { s.Close() })
	return ln.Addr().String()
}

// /auth against a bare handler of net/http that gets the same request.
func BenchmarkForwardAuth(b *testing.B) {
	h := newHouse(b, nil, behind("127.0.0.1/32"), func(_ *house, c *Config) { c.Log = nil })
	is := h.token("pump")
	request := "GET /auth HTTP/1.1\r\nHost: h\r\nX-Original-Method: GET\r\nX-Original-URI: /db/x\r\nX-Forwarded-For: 192.0.2.7\r\n" + bearer(is) + "\r\n\r\n"
	bare := listen(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	b.Run("bare", func(b *testing.B) { measure(b, bare, request) })
	b.Run("door", func(b *testing.B) { measure(b, h.addr, request) })
}

// The gateway against a bare httputil.ReverseProxy with the same transport and upstream.
func BenchmarkGateway(b *testing.B) {
	cmd := child("upstream")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); cmd.Wait() })
	up, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	up = "http://" + strings.TrimSpace(up)
	h := newHouse(b, []string{"/db/=" + up}, func(_ *house, c *Config) { c.Log = nil })
	is := h.token("pump")
	request := "GET /db/x?q=1 HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nUser-Agent: bench\r\n" + bearer(is) + "\r\n\r\n"
	target, err := url.Parse(up)
	if err != nil {
		b.Fatal(err)
	}
	tr := newTransport(nil, Limits{}.orDefault())
	b.Cleanup(tr.CloseIdleConnections)
	bare := listen(b, &httputil.ReverseProxy{
		Rewrite:   func(pr *httputil.ProxyRequest) { pr.SetURL(target); pr.SetXForwarded() },
		Transport: tr,
	})
	b.Run("bare", func(b *testing.B) { measure(b, bare, request) })
	b.Run("door", func(b *testing.B) { measure(b, h.addr, request) })
}
