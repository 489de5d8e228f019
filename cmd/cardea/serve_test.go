package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

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

// A backup of PostgreSQL is restored into an empty PostgreSQL, and into SQLite; a database that is not empty is left alone (D15, K17).
func TestBackupPostgres(t *testing.T) {
	t.Parallel()
	k := start(t, testkit.CardeaConfig{Args: []string{"--db", testkit.Postgres(t)}})
	keeps := gen(t, k, view.NewKey{ID: "keeps"}).Token.Secret.Reveal()
	goes := gen(t, k, view.NewKey{ID: "goes"}).Token.Secret.Reveal()
	file := filepath.Join(t.TempDir(), "b.age")

	// under load: whatever is made meanwhile is in it whole or not at all
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() {
		c := k.Socket()
		for i := 0; ctx.Err() == nil; i++ {
			_, _ = ask(c, http.MethodPost, pathKeys, view.NewKey{ID: fmt.Sprintf("load-%d", i)}, nil)
		}
	})
	_, text, code := k.CLI("backup", file)
	stop()
	load.Wait()
	if code != 0 {
		t.Fatal(text)
	}
	if _, text, code := k.CLI("key", "del", "goes"); code != 0 {
		t.Fatal(text)
	}
	k.Stop()
	for name, db := range map[string]string{"postgres": testkit.Postgres(t), "sqlite": ""} {
		restored := testkit.CardeaConfig{Data: filepath.Join(t.TempDir(), "data")}
		args := []string{"restore", file, "--journal", journalPath(k.Data)}
		if db != "" {
			args = append(args, "--db", db)
			restored.Args = []string{"--db", db}
		}
		into := &testkit.Cardea{Bin: self(t), Data: restored.Data}
		if _, text, code := into.CLI(args...); code != 0 {
			t.Fatalf("%s: %s", name, text)
		}
		if db != "" {
			other := &testkit.Cardea{Bin: self(t), Data: filepath.Join(t.TempDir(), "other")}
			if _, text, code := other.CLI(args...); code != exitFailure || !strings.Contains(text, "not empty") || exists(filepath.Join(other.Data, keystoreName)) {
				t.Errorf("into a full database: code %d, %s", code, text)
			}
		}
		n := start(t, restored)
		for token, want := range map[string]bool{keeps: true, goes: false} {
			var v view.Verdict
			if status, err := ask(n.Socket(), http.MethodPost, pathVerify, view.Verify{Token: view.Secret(token)}, &v); status != http.StatusOK || v.Allowed != want {
				t.Errorf("%s: %d, %v, %+v, want %t", name, status, err, v, want)
			}
		}
		verifyLog(t, n)
		if _, text, code := n.CLI("doctor"); code != 0 {
			t.Errorf("%s: doctor: %s", name, text)
		}
		n.Stop()
	}
}

// C03: no secret is in the arguments of a process, and what the server starts does not inherit one.
func TestNoSecretInChildren(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "env")
	k := start(t, testkit.CardeaConfig{
		Args: []string{"--keystore-password-command", "env > " + out + "; echo correct-horse-battery-staple-17"},
		Env:  []string{"CARDEA_TOKEN=cardea_api_secret", "CARDEA_VERIFY_TOKEN=cardea_api_secret"},
	})
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), "cardea_api_secret") {
		t.Error("the password command was given a token")
	}
	leaks(t, k, "correct-horse-battery-staple-17")
	for _, c := range (&app{getenv: func(string) string { return "" }}).root().Commands() {
		for _, sub := range append(c.Commands(), c) {
			for _, name := range []string{"token", "password", "passphrase", "secret"} {
				if sub.Flags().Lookup(name) != nil {
					t.Errorf("%s takes a secret in --%s", sub.CommandPath(), name)
				}
			}
		}
	}
}

// Every command has a help with an example, and takes --json.
func TestEveryCommandHelps(t *testing.T) {
	t.Parallel()
	root := (&app{getenv: func(string) string { return "" }}).root()
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		if c.Example == "" || c.Short == "" {
			t.Errorf("%s has no example or no short text", c.CommandPath())
		}
		for line := range strings.SplitSeq(c.Example, "\n") {
			if !strings.Contains(line, "cardea ") {
				t.Errorf("%s: the example is not a command: %q", c.CommandPath(), line)
			}
		}
		if c.InheritedFlags().Lookup("json") == nil && c.PersistentFlags().Lookup("json") == nil {
			t.Errorf("%s does not take --json", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(root)
}
