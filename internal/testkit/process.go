package testkit

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a foreign server. It goes when the test does, however that ends.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu  sync.Mutex
	log bytes.Buffer
}

// start starts a command in a process group of its own; what it says is shown if the test fails.
func start(t testing.TB, cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p, p
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait() // whoever asks sees the state
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd.Path, p.said())
		}
	})
	return p, nil
}

// Write takes up what the process says.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// kill ends the process and those that it has started.
func (p *process) kill() {
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

// accepts waits until something listens on an address; false if the process has ended before.
func (p *process) accepts(addr string) (bool, error) {
	for began := time.Now(); time.Since(began) < startPatience; time.Sleep(10 * time.Millisecond) {
		select {
		case <-p.done:
			return false, nil
		default:
		}
		if c, err := net.Dial("tcp", addr); err == nil {
			return true, c.Close()
		}
	}
	return false, fmt.Errorf("nobody listens on %s:\n%s", addr, p.said())
}

// freePort returns a port of the loopback address that nobody listens on. Another process may take it before it is used: who
// starts a server on it tries again.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	at, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, errors.New("a TCP listener without a TCP address")
	}
	return at.Port, nil
}
