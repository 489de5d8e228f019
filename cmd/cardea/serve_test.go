package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cardea/internal/testkit"
	"cardea/internal/view"
)

// upstreamOf serves a handler on a free port for the length of a test, and returns the option that sends /db/ to it.
func upstreamOf(t *testing.T, h http.HandlerFunc) []string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.CloseClientConnections)
	t.Cleanup(s.Close)
	return []string{"--http-upstream", "/db/=" + s.URL}
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }

// D07: the database goes away and comes back. What is known is decided for as
// long as the node may be stale, and then nothing; administration is refused
// at once; nobody has to restart anything.
func TestDatabaseDownAndUp(t *testing.T) {
	t.Parallel()
	pg := testkit.NewPostgres(t, true)
	k := start(t, testkit.CardeaConfig{Args: append(upstreamOf(t, ok), "--db", pg.Database(t), "--staleness", "3s")})
	token := gen(t, k, view.NewKey{ID: "pump-1"}).Token.Secret.Reveal()
	c := &http.Client{}
	if status := get(c, k.URL("/db/x"), token); status != http.StatusOK {
		t.Fatalf("before: %d", status)
	}
	pg.Stop()
	if status := get(c, k.URL("/db/x"), token); status != http.StatusOK {
		t.Errorf("a decision that is known was refused at once: %d", status)
	}
	_, text, code := k.CLI("key", "gen", "pump-2")
	if code != exitFailure || !strings.Contains(text, "database") {
		t.Errorf("key gen without a database: code %d, %s", code, text)
	}
	eventually(t, "not ready", func() bool { return get(c, k.URL("/readyz"), "") == http.StatusServiceUnavailable })
	eventually(t, "stale: nothing is accepted", func() bool { return get(c, k.URL("/db/x"), token) == http.StatusServiceUnavailable })
	if status := get(c, k.URL("/healthz"), ""); status != http.StatusOK {
		t.Errorf("alive: %d", status)
	}
	if err := pg.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready again", func() bool { return get(c, k.URL("/readyz"), "") == http.StatusOK })
	eventually(t, "accepted again", func() bool { return get(c, k.URL("/db/x"), token) == http.StatusOK })
	gen(t, k, view.NewKey{ID: "pump-3"})
	if strings.Contains(k.Log(), "pg-password-to-hide") {
		t.Error("the log holds the password of the database")
	}
	leaks(t, k, token)
}

// A database that is down at the start: code 1, and a text that says so without the password.
func TestDatabaseDownAtStart(t *testing.T) {
	t.Parallel()
	k := testkit.NewCardea(t, testkit.CardeaConfig{Bin: self(t), Args: []string{"--db", "postgres://u:hide-me@127.0.0.1:1/x"}})
	err := k.Start()
	if err == nil || k.Wait() != exitFailure || !strings.Contains(err.Error(), "database") || strings.Contains(err.Error(), "hide-me") {
		t.Errorf("code %d, %v", k.Wait(), err)
	}
}

// D17: SIGTERM. Nothing new is accepted, what runs may finish, streams are told, and the exit code is 0.
func TestDrain(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	k := start(t, testkit.CardeaConfig{Args: upstreamOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/db/slow" {
			close(entered)
			<-release
		}
		ok(w, r)
	})})
	token := gen(t, k, view.NewKey{ID: "pump-1"}).Token.Secret.Reveal()
	status := make(chan int, 1)
	go func() { status <- get(&http.Client{}, k.URL("/db/slow"), token) }()
	<-entered
	if err := k.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	eventually(t, "new connections are refused", func() bool { return get(fresh, k.URL("/db/x"), token) == 0 })
	close(release)
	if s := <-status; s != http.StatusOK {
		t.Errorf("the request that was running: %d", s)
	}
	if code := k.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A request that does not end is cut after the drain timeout; a second signal does not wait for it.
func TestDrainEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		drain  string
		second bool
		code   int
	}{
		"timeout": {"200ms", false, 0},
		"signal":  {"1h", true, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entered, release := make(chan struct{}), make(chan struct{})
			args := upstreamOf(t, func(http.ResponseWriter, *http.Request) {
				close(entered)
				<-release
			})
			t.Cleanup(func() { close(release) }) // before the upstream is closed, which waits for it
			k := start(t, testkit.CardeaConfig{Args: append(args, "--drain-timeout", c.drain)})
			token := gen(t, k, view.NewKey{ID: "pump-1"}).Token.Secret.Reveal()
			go get(&http.Client{}, k.URL("/db/slow"), token)
			<-entered
			_ = k.Signal(syscall.SIGTERM)
			if c.second {
				eventually(t, "draining", func() bool { return strings.Contains(k.Log(), "stopping") })
				eventually(t, "ended", func() bool { // the first moments of draining may still take a signal as the first one
					_ = k.Signal(syscall.SIGTERM)
					select {
					case <-k.Done():
						return true
					default:
						return false
					}
				})
			}
			if code := k.Wait(); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
		})
	}
}

// After a revocation has answered, no request of that key is accepted on any
// of 8 busy connections, and its event stream is cut (R01, R11).
func TestRevokedUnderLoad(t *testing.T) {
	t.Parallel()
	k := start(t, testkit.CardeaConfig{Args: upstreamOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/db/events" {
			ok(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})})
	token := gen(t, k, view.NewKey{ID: "pump-1"}).Token.Secret.Reveal()
	cut := openStream(t, k.URL("/db/events"), token)

	var acked, stop atomic.Bool
	var before, late atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			c := &http.Client{Transport: &http.Transport{}}
			for !stop.Load() {
				after := acked.Load()
				if get(c, k.URL("/db/x"), token) != http.StatusOK {
					continue
				}
				if before.Add(1); after {
					late.Add(1)
				}
			}
		})
	}
	eventually(t, "traffic", func() bool { return before.Load() > 500 })
	begun := time.Now()
	if status, err := ask(k.Socket(), http.MethodDelete, at(pathPrincipal, "pump-1"), nil, nil); status != http.StatusNoContent {
		t.Fatalf("del: %d, %v", status, err)
	}
	acked.Store(true)
	select {
	case at := <-cut:
		t.Logf("the stream was cut %s after the request for the end", at.Sub(begun))
	case <-time.After(patience):
		t.Error("the stream goes on")
	}
	served := before.Load()
	for range 500 {
		if status := get(http.DefaultClient, k.URL("/db/x"), token); status != http.StatusUnauthorized {
			t.Fatalf("after the end: %d", status)
		}
	}
	stop.Store(true)
	all.Wait()
	if late.Load() != 0 {
		t.Errorf("%d of %d requests that began after the answer were accepted", late.Load(), served)
	}
}

// openStream opens an event stream, and gives the time at which it ends.
func openStream(t *testing.T, url, token string) <-chan time.Time {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 9)
	if _, err := io.ReadFull(resp.Body, first); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the stream: %d, %v", resp.StatusCode, err)
	}
	cut := make(chan time.Time, 1)
	go func() {
		_, _ = io.Copy(io.Discard, resp.Body)
		cut <- time.Now()
		resp.Body.Close()
	}()
	return cut
}
