package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cardea/internal/testkit"
	"cardea/internal/view"
)

// patience bounds every wait for something that must happen.
const patience = 30 * time.Second

// start starts this program as a server in a process of its own.
func start(t testing.TB, c testkit.CardeaConfig) *testkit.Cardea {
	t.Helper()
	c.Bin = self(t)
	return testkit.StartCardea(t, c)
}

func self(t testing.TB) string {
	t.Helper()
	bin, err := exec.LookPath("cardea") // TestMain has put it there
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// ask sends one request of the API on the socket and returns the status; 0 if there was no answer.
func ask(c *http.Client, method, path string, in, out any) (int, error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://cardea"+path, body)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if out != nil && resp.StatusCode < 300 {
		return resp.StatusCode, json.Unmarshal(raw, out)
	}
	return resp.StatusCode, nil
}

// gen makes a device and returns its bundle.
func gen(t testing.TB, k *testkit.Cardea, n view.NewKey) view.KeyBundle {
	t.Helper()
	var b view.KeyBundle
	if status, err := ask(k.Socket(), http.MethodPost, pathKeys, n, &b); status != http.StatusCreated {
		t.Fatalf("key gen %s: status %d, %v", n.ID, status, err)
	}
	return b
}

// get asks a URL with a token and returns the status; 0 if there was no answer.
func get(c *http.Client, url, token string) int {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.Do(r)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// eventually waits until something is so.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("not so after %s: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// leaks fails if a secret stands in a file of the folder or in the log (K01, K03).
func leaks(t testing.TB, k *testkit.Cardea, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if strings.Contains(k.Log(), s) {
			t.Errorf("the log holds a secret")
		}
	}
	files, err := filepath.Glob(filepath.Join(k.Data, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			continue // a socket, or a folder
		}
		for _, s := range secrets {
			if filepath.Base(f) != "admin.token" && bytes.Contains(raw, []byte(s)) {
				t.Errorf("%s holds a secret in the clear", f)
			}
		}
	}
}

// A command that is interrupted while it waits for the server leaves no files behind.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := listenSocket(socketPath(data)) // a server that takes the request and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := make(chan struct{})
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = c.Read(make([]byte, 1))
		close(asked)
		_, _ = io.Copy(io.Discard, c)
	}()
	cmd := exec.Command(self(t), "--data", data, "key", "gen", "pump-1", "--output", filepath.Join(dir, "p"))
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the code is looked at below
	if code := cmd.ProcessState.ExitCode(); code != exitFailure || !contains(said.String(), "it is not known whether the change was made") {
		t.Errorf("code %d: %s", code, &said)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "p*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
