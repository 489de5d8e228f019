package mqttdoor

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// end is a plain TCP connection that may be given to a loop and taken back.
// Until then, and from then on, Go's own poller waits for it, and it is a
// net.Conn like any other. While a loop has it, nobody reads from it but the loop, writes do
// not wait, and a read deadline that is over ends the session.
type end struct {
	duct atomic.Pointer[duct] // nil: Go's poller has it

	mu   sync.Mutex
	conn *net.TCPConn // of Go's poller; the last one while a loop has it, closed

	// The rest is the duct's, under its lock.
	fd      int
	other   *end
	queue   []byte // what the socket did not take at once
	waits   uint32 // events that the loop waits for
	dead    bool   // nothing is written any more
	carry   func(p []byte) error
	removed bool
}

var _ net.Conn = (*end)(nil)

func (e *end) tcp() *net.TCPConn {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.conn
}

// Read reads, unless a loop has the connection.
func (e *end) Read(p []byte) (int, error) { return e.tcp().Read(p) }

// Write writes. While a loop has the connection it queues what the socket does not take.
func (e *end) Write(p []byte) (int, error) {
	if d := e.duct.Load(); d != nil {
		return d.send(e, p)
	}
	return e.tcp().Write(p)
}

// SetReadDeadline bounds reads. A loop takes any for one that is over.
func (e *end) SetReadDeadline(t time.Time) error {
	if d := e.duct.Load(); d != nil {
		if !t.IsZero() {
			d.loop.post(d.finish)
		}
		return nil
	}
	return e.tcp().SetReadDeadline(t)
}

// SetWriteDeadline bounds writes that wait.
func (e *end) SetWriteDeadline(t time.Time) error {
	if e.duct.Load() != nil {
		return nil
	}
	return e.tcp().SetWriteDeadline(t)
}

// SetDeadline sets both.
func (e *end) SetDeadline(t time.Time) error {
	return errors.Join(e.SetReadDeadline(t), e.SetWriteDeadline(t))
}

// Close closes. A connection that a loop has is closed when it is taken back.
func (e *end) Close() error {
	if d := e.duct.Load(); d != nil {
		d.loop.post(d.finish)
		return nil
	}
	return e.tcp().Close()
}

// CloseWrite says that nothing more is written.
func (e *end) CloseWrite() error { return e.tcp().CloseWrite() }

// SetLinger is that of the TCP connection.
func (e *end) SetLinger(sec int) error { return e.tcp().SetLinger(sec) }

// LocalAddr is that of the TCP connection.
func (e *end) LocalAddr() net.Addr { return e.tcp().LocalAddr() }

// RemoteAddr is that of the TCP connection.
func (e *end) RemoteAddr() net.Addr { return e.tcp().RemoteAddr() }

// discard throws away what is queued, lets nothing be written any more, and reports whether there was any.
func (e *end) discard() bool {
	d := e.duct.Load()
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	had := len(e.queue) > 0
	e.queue, e.dead = nil, true
	e.tcp().SetWriteDeadline(past) // giveBack may be writing what was queued
	return had
}

// borrow makes a second descriptor of the connection.
func (e *end) borrow() error {
	raw, err := e.tcp().SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { e.fd, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	return errors.Join(err, failed)
}

// take takes the connection from Go's poller: nothing but closing its descriptor does that.
func (e *end) take(d *duct) {
	e.duct.Store(d)
	e.tcp().Close()
}

// giveBack makes it Go's poller's again. What is queued is written, in a limited time; it reports whether nothing was torn.
func (e *end) giveBack() bool {
	d := e.duct.Load()
	d.mu.Lock()
	dead := e.dead
	e.dead = true // before the descriptor is closed, which is somebody else's soon
	d.mu.Unlock()
	f := os.NewFile(uintptr(e.fd), "socket")
	c, err := net.FileConn(f)
	f.Close()
	e.mu.Lock()
	if t, ok := c.(*net.TCPConn); ok && err == nil {
		e.conn = t // otherwise the old one stays, which is closed
	}
	t := e.conn
	e.mu.Unlock()
	d.mu.Lock()
	queue := e.queue // nil if it was discarded meanwhile
	e.queue = nil
	t.SetWriteDeadline(time.Now().Add(lastWord))
	d.mu.Unlock()
	err = nil
	if len(queue) > 0 && !dead {
		_, err = t.Write(queue)
	}
	e.duct.Store(nil)
	return err == nil
}
