package testkit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startPatience is how long a server may take until all its doors accept, on a busy machine.
const startPatience = 60 * time.Second

// CardeaConfig says what server a test wants.
type CardeaConfig struct {
	Bin  string   // the binary; "" builds ./cmd/cardea once for the process, or takes CARDEA_BIN
	Data string   // data folder; "" for a new one
	Args []string // further ones of `cardea serve`
	// Command is what is run instead of serve: demo, say.
	Command string
	Env     []string // further variables
	// Quiet leaves the server's log out of the output of a failed test.
	Quiet bool
}

// Cardea is a real server in a process of its own, on free ports of the loopback address.
type Cardea struct {
	Bin, Data string
	// Where the doors are, after Start; empty if off.
	HTTP, GRPC, Console, MQTT, MQTTS string

	config CardeaConfig
	ready  string // file
	cmd    *exec.Cmd
	done   chan struct{} // closed when the process has ended
	mu     sync.Mutex
	log    bytes.Buffer
}

// StartCardea starts a server and waits until its doors accept. It is stopped at the end of the test.
func StartCardea(t testing.TB, c CardeaConfig) *Cardea {
	t.Helper()
	k := NewCardea(t, c)
	if err := k.Start(); err != nil {
		t.Fatal(err)
	}
	return k
}

// NewCardea prepares a server without starting it.
func NewCardea(t testing.TB, c CardeaConfig) *Cardea {
	t.Helper()
	k := &Cardea{config: c, Bin: c.Bin, Data: c.Data}
	if k.Bin == "" {
		bin, err := binary()
		if err != nil {
			t.Fatal(err)
		}
		k.Bin = bin
	}
	dir := t.TempDir()
	if k.Data == "" {
		k.Data = filepath.Join(dir, "data")
	}
	k.ready = filepath.Join(dir, "ready.json")
	t.Cleanup(func() {
		k.Kill()
		if t.Failed() && !c.Quiet {
			t.Logf("log of the server on %s:\n%s", k.Data, k.Log())
		}
	})
	return k
}

// binary is ./cmd/cardea of this module, built once for the process.
var binary = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("CARDEA_BIN"); bin != "" {
		return bin, nil
	}
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	root := filepath.Dir(strings.TrimSpace(string(mod)))
	bin := filepath.Join(os.TempDir(), fmt.Sprintf("cardea-%d", os.Getuid()), "cardea")
	build := exec.Command("go", "build", "-trimpath", "-o", bin, "./cmd/cardea")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

// Start starts the process and waits until it is ready; the error holds what it said if it ends before.
func (k *Cardea) Start() error {
	if err := k.Launch(); err != nil {
		return err
	}
	deadline := time.After(startPatience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !k.readReady() {
		select {
		case <-tick.C:
		case <-k.done:
			return fmt.Errorf("the server ended with code %d before it was ready:\n%s", k.cmd.ProcessState.ExitCode(), k.Log())
		case <-deadline:
			k.Kill()
			return fmt.Errorf("the server was not ready after %s:\n%s", startPatience, k.Log())
		}
	}
	return nil
}

// Launch starts the process and does not wait until it is ready.
func (k *Cardea) Launch() error {
	if err := os.Remove(k.ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	args := append([]string{
		cmp.Or(k.config.Command, "serve"), "--data", k.Data, "--ready-file", k.ready,
		"--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--console-listen", "127.0.0.1:0",
		"--mqtt-listen", "127.0.0.1:0",
	}, k.config.Args...)
	if k.config.Command == "demo" { // it has a second listener of MQTT if nobody says otherwise
		args = slices.Insert(args, 1, "--mqtt-tls-listen", "127.0.0.1:0")
	}
	k.cmd = exec.Command(k.Bin, args...)
	k.cmd.Env = append(os.Environ(), k.config.Env...)
	k.cmd.Stdout, k.cmd.Stderr = k, k
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := k.cmd.Start(); err != nil {
		return err
	}
	k.done = make(chan struct{})
	go func() {
		_ = k.cmd.Wait() // the state tells how
		close(k.done)
	}()
	return nil
}

func (k *Cardea) readReady() bool {
	raw, err := os.ReadFile(k.ready)
	if err != nil {
		return false
	}
	var r struct {
		HTTP, GRPC, Console, MQTT, MQTTS string
		PID                              int
	}
	if json.Unmarshal(raw, &r) != nil || r.PID != k.cmd.Process.Pid {
		return false
	}
	k.HTTP, k.GRPC, k.Console, k.MQTT, k.MQTTS = r.HTTP, r.GRPC, r.Console, r.MQTT, r.MQTTS
	return true
}

// Write takes up what the process says.
func (k *Cardea) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.log.Write(p)
}

// Log is what all processes of this server have said.
func (k *Cardea) Log() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.log.String()
}

// Signal sends a signal.
func (k *Cardea) Signal(s os.Signal) error { return k.cmd.Process.Signal(s) }

// Done is closed when the process has ended.
func (k *Cardea) Done() <-chan struct{} { return k.done }

// Wait waits for the end of the process and returns its exit code; -1 for a signal.
func (k *Cardea) Wait() int {
	<-k.done
	return k.cmd.ProcessState.ExitCode()
}

// Stop sends SIGTERM and returns the exit code.
func (k *Cardea) Stop() int {
	_ = k.Signal(syscall.SIGTERM)
	return k.Wait()
}

// Kill ends the process with SIGKILL, as a power cut would end it. The data folder stays.
func (k *Cardea) Kill() {
	if k.cmd == nil || k.cmd.Process == nil {
		return
	}
	_ = k.cmd.Process.Kill()
	<-k.done
}

// URL is a path of the HTTP door.
func (k *Cardea) URL(path string) string { return "http://" + k.HTTP + path }

// CLI runs a command of the same binary against this server's socket.
func (k *Cardea) CLI(args ...string) (stdout, stderr string, code int) {
	cmd := exec.Command(k.Bin, append(args, "--data", k.Data)...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); e != nil {
		if exit, ok := errors.AsType[*exec.ExitError](e); ok {
			return out.String(), err.String(), exit.ExitCode()
		}
		return out.String(), e.Error(), -1
	}
	return out.String(), err.String(), 0
}

// Socket returns a client of the administrator's socket; its requests go to http://cardea/….
func (k *Cardea) Socket() *http.Client {
	return &http.Client{Transport: unixTransport(filepath.Join(k.Data, "cardea.sock"))}
}

// unixTransport reaches one socket, whatever the URL says.
func unixTransport(path string) *http.Transport {
	return &http.Transport{
		MaxIdleConnsPerHost: 16,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}
}
