//go:build bench

// Package bench measures Cardea beside the bare thing, in one run, and prints
// one table: `make bench`. Every figure is a ratio of two medians of rounds that
// took turns, with the smallest and the largest round shown as the noise.
package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	var tab table
	defer tab.print()
	million := 1_000_000
	if testing.Short() {
		million = 20_000
	}
	dir := filepath.Join(t.TempDir(), "data")
	var tokens []string
	t.Run("gate", func(t *testing.T) {
		c := newCore(t, dir, "")
		tokens = c.fill(t, million)
		gateLines(t, &tab, c, tokens)
	})
	if t.Failed() {
		return
	}
	t.Run("start", func(t *testing.T) { startLine(t, &tab, dir, million) })
	t.Run("http", func(t *testing.T) { httpLines(t, &tab, dir, tokens[0]) })
	t.Run("oauth", func(t *testing.T) { oauthLines(t, &tab) })
	t.Run("create", func(t *testing.T) { createLines(t, &tab) })
	t.Run("mqtt", func(t *testing.T) { mqttLines(t, &tab) })
	t.Run("scram", func(t *testing.T) { scramLines(t, &tab) })
}

// server is a running cardea.
type server struct {
	http string
	pid  int
	took time.Duration // from exec to the first 200 of /readyz
}

func startCardea(t *testing.T, dir string, args ...string) server {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	cmd := exec.Command("../bin/cardea", append([]string{
		"serve", "--data", dir, "--ready-file", ready, "--http-listen", "127.0.0.1:0",
		"--grpc-listen", "off", "--mqtt-listen", "off", "--console-listen", "off", "--log-level", "warn",
	}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	var at struct{ HTTP string }
	for deadline := start.Add(time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if raw, err := os.ReadFile(ready); err != nil || json.Unmarshal(raw, &at) != nil {
			continue
		}
		if resp, err := http.Get("http://" + at.HTTP + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return server{at.HTTP, cmd.Process.Pid, time.Since(start)}
			}
		}
	}
	t.Fatalf("cardea did not become ready:\n%s", log.String())
	return server{}
}

func startLine(t *testing.T, tab *table, dir string, million int) {
	var took series
	var resident float64
	for range 5 {
		t.Run("once", func(t *testing.T) {
			s := startCardea(t, dir)
			took = append(took, s.took.Seconds())
			resident = residentMiB(t, s.pid)
		})
	}
	met := "met"
	if took.median() > 2 {
		met = "MISSED"
	}
	tab.plain(fmt.Sprintf("start with %s credentials until /readyz, seconds", figure(float64(million))), took.spread(), "≤ 2", met)
	tab.plain("resident memory after that start, MiB", figure(resident), "reported", "")
}

func httpLines(t *testing.T, tab *table, dir, token string) {
	upstream := bare(t, "upstream")
	handler := bare(t, "handler")
	proxy := bare(t, "proxy http://"+upstream.addr)
	nginx, nginxPIDs := startNginx(t, upstream.addr)
	s := startCardea(t, dir, "--trusted-proxy", "127.0.0.1/32", "--http-upstream", "/db/=http://"+upstream.addr)
	bearer := "Authorization: Bearer " + token
	auth := &load{
		name: "/auth", url: "http://" + s.http + "/auth", pids: []int{s.pid},
		headers: []string{bearer, "X-Original-Method: GET", "X-Original-URI: /db/query", "X-Forwarded-For: 127.0.0.1"},
	}
	// the bare handler gets the same headers, so that both parse the same bytes
	plain := &load{name: "handler", url: "http://" + handler.addr + "/auth", pids: []int{handler.pid}, headers: auth.headers}
	turns(t, 3, auth, plain)
	tab.ratio("/auth with a token against a bare net/http handler", "server CPU µs a request", auth.cpu, plain.cpu, 1.2, true)
	tab.ratio("/auth with a token against a bare net/http handler", "requests a second", auth.rps, plain.rps, 0, false)

	gateway := &load{name: "gateway", url: "http://" + s.http + "/db/query", pids: []int{s.pid}, headers: []string{bearer}}
	reverse := &load{name: "reverse proxy", url: "http://" + proxy.addr + "/db/query", pids: []int{proxy.pid}, headers: []string{bearer}}
	through := &load{name: "nginx", url: "http://" + nginx + "/db/query", pids: nginxPIDs, headers: []string{bearer}}
	pool := bare(t, "pooled http://"+upstream.addr)
	pooled := &load{name: "pooled", url: "http://" + pool.addr + "/db/query", pids: []int{pool.pid}, headers: []string{bearer}}
	turns(t, 3, gateway, reverse, pooled, through)
	tab.ratio("gateway with a token against a bare httputil.ReverseProxy", "server CPU µs a request", gateway.cpu, reverse.cpu, 1.15, true)
	tab.ratio("gateway with a token against a bare httputil.ReverseProxy", "requests a second", gateway.rps, reverse.rps, 0, false)
	tab.ratio("gateway with a token against the same with a BufferPool", "server CPU µs a request", gateway.cpu, pooled.cpu, 0, true)
	tab.ratio("gateway with a token against nginx proxy_pass (the next mark)", "server CPU µs a request", gateway.cpu, through.cpu, 0, true)
	tab.ratio("gateway with a token against nginx proxy_pass (the next mark)", "requests a second", gateway.rps, through.rps, 0, false)
}
