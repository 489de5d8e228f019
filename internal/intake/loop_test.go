package intake

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cardea/internal/testkit"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func dial(t *testing.T, ln net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func bye(c net.Conn) {
	io.WriteString(c, "bye")
	c.Close()
}

func TestLoopEndsWithItsContext(t *testing.T) {
	ln := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Loop(ctx, ln, slog.New(slog.DiscardHandler), bye) }()
	for range 3 {
		if b, err := io.ReadAll(dial(t, ln)); string(b) != "bye" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	cancel()
	if err := await(t, "the loop ends", done); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}

func TestLoopEndsWithItsListener(t *testing.T) {
	ln := listen(t)
	done := make(chan error, 1)
	go func() { done <- Loop(t.Context(), ln, slog.New(slog.DiscardHandler), bye) }()
	ln.Close()
	if err := await(t, "the loop ends", done); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// D13: a process that has really no file descriptor left waits, and serves who came meanwhile when it has some.
func TestLoopWithoutFileDescriptors(t *testing.T) {
	ln := listen(t)
	var clients []net.Conn
	for range 6 {
		clients = append(clients, dial(t, ln)) // the kernel takes them
	}
	free := exhaust(t)
	var log testkit.Log
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Loop(ctx, ln, log.Logger(), bye) }()
	log.Await(t, "cannot accept connections for now")
	free()
	for i, c := range clients {
		if b, err := io.ReadAll(c); string(b) != "bye" {
			t.Errorf("client %d: %q, %v", i, b, err)
		}
	}
	cancel()
	await(t, "the loop ends", done)
	if !strings.Contains(log.String(), "too many open files") || strings.Contains(log.String(), clients[0].LocalAddr().String()) {
		t.Error(log.String())
	}
}

// exhaust takes all file descriptors of the process until free is called.
func exhaust(t *testing.T) (free func()) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	low := was
	low.Cur = 256
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	var held []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		held = append(held, f)
	}
	free = func() {
		for _, f := range held {
			f.Close()
		}
		held = nil
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(free)
	return free
}

// script is a listener whose Accept says what it is told to; when that is over, it is closed.
type script struct {
	net.Listener // for the rest
	says         []error
	at           []time.Time // when it was asked
	closed       atomic.Bool
}

func (s *script) Accept() (net.Conn, error) {
	s.at = append(s.at, time.Now())
	if len(s.says) == 0 {
		return nil, net.ErrClosed
	}
	err := s.says[0]
	s.says = s.says[1:]
	if err == nil {
		c, _ := net.Pipe()
		return c, nil
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
}

func (s *script) Close() error   { s.closed.Store(true); return nil }
func (s *script) Addr() net.Addr { return &net.TCPAddr{} }

// D13: the wait doubles from 5 ms to a second, begins anew after a success, and the log stays readable.
func TestLoopWaitsLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		says := append(slices.Repeat([]error{syscall.EMFILE}, 300), nil, syscall.ENOMEM, syscall.ECONNABORTED)
		ln := &script{says: says}
		var log testkit.Log
		accepted := 0
		err := Loop(t.Context(), ln, log.Logger(), func(c net.Conn) { c.Close(); accepted++ })
		if !errors.Is(err, net.ErrClosed) || accepted != 1 {
			t.Errorf("%v, %d accepted", err, accepted)
		}
		var got []time.Duration
		for i := range len(ln.at) - 1 {
			got = append(got, ln.at[i+1].Sub(ln.at[i]))
		}
		const ms = time.Millisecond
		want := slices.Concat([]time.Duration{5 * ms, 10 * ms, 20 * ms, 40 * ms, 80 * ms, 160 * ms, 320 * ms, 640 * ms},
			slices.Repeat([]time.Duration{time.Second}, 292), []time.Duration{0, 5 * ms, 10 * ms})
		if !slices.Equal(got, want) {
			t.Errorf("it waited %v", got)
		}
		// eight steps, the minutes of the longest wait, two more steps
		if n := strings.Count(log.String(), "cannot accept"); n != 8+5+2 {
			t.Errorf("%d lines of 302 failures:\n%s", n, &log)
		}
		if !strings.Contains(log.String(), "wait=1s similar=59") {
			t.Errorf("it is not told how many there were:\n%s", &log)
		}
	})
}

// A connection that comes and goes while there are no descriptors does not fill the log.
func TestLoopThatStumblesLogsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := &script{says: slices.Repeat([]error{syscall.ENFILE, nil}, 1000)}
		var log testkit.Log
		Loop(t.Context(), ln, log.Logger(), func(c net.Conn) { c.Close() })
		if n := strings.Count(log.String(), "cannot accept"); n != 1 {
			t.Errorf("%d lines within five seconds", n)
		}
	})
}

// While it waits it ends at once with its context.
func TestLoopEndsWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+500*time.Microsecond)
		defer cancel()
		start := time.Now()
		err := Loop(ctx, &script{says: slices.Repeat([]error{syscall.EMFILE}, 100)}, slog.New(slog.DiscardHandler), bye)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second+500*time.Microsecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// What does not pass ends it.
func TestLoopEndsWhenTheListenerIsBroken(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK} {
		ln := &script{says: []error{errno}}
		if err := Loop(t.Context(), ln, slog.New(slog.DiscardHandler), bye); !errors.Is(err, errno) || len(ln.at) != 1 || !ln.closed.Load() {
			t.Errorf("%v: %v, asked %d times, closed: %v", errno, err, len(ln.at), ln.closed.Load())
		}
	}
}
