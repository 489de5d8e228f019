package mqttdoor

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How much may wait for a client that is slow to take it, in bytes. Above the
// first mark deliveries at QoS 0 are left out; at the second the session ends,
// and what its broker keeps for it comes again at the next one (M17).
const (
	slowQueue = 1 << 20
	fullQueue = 4 << 20
)

var (
	errTooSlow = errors.New("the client does not read what it is sent")
	errDead    = errors.New("the session is over")
	past       = time.Unix(1, 0)
)

// writer writes packets to one side of a session: those that come through it
// in runs, and the door's own between them, never inside of one.
//
// A writer that queues never waits for the peer: what the socket does not take
// at once is written by a goroutine that lives as long as there is some.
type writer struct {
	conn   net.Conn
	raw    syscall.RawConn // to try without waiting; nil if the connection is not plain TCP
	queues bool

	mu       sync.Mutex
	queue    []byte
	flushing bool
	idle     *sync.Cond // flushing has ended; made when somebody waits for it
	isMid    bool       // the last run ended inside of a packet
	own      []byte     // the door's packets that wait for its end
	dead     error      // why nothing is written any more
	torn     bool       // a packet was written in part
}

func (w *writer) init(c net.Conn, queues bool) {
	w.conn, w.queues = c, queues
	if t, ok := c.(*net.TCPConn); ok && queues {
		w.raw, _ = t.SyscallConn() // without it everything goes through the goroutine
	}
}

// run writes what came through; mid says that it ends inside of a packet.
func (w *writer) run(p []byte, mid bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.write(p); err != nil {
		return err
	}
	w.isMid = mid
	if mid || len(w.own) == 0 {
		return nil
	}
	own := w.own
	w.own = nil
	return w.write(own)
}

// insert writes a packet of the door's own, as soon as none is under way.
func (w *writer) insert(p []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead != nil {
		return w.dead
	}
	if w.isMid {
		if len(w.own)+len(p) > fullQueue {
			return errTooSlow
		}
		w.own = append(w.own, p...)
		return nil
	}
	return w.write(p)
}

// write writes or queues. The lock is held.
func (w *writer) write(p []byte) error {
	if w.dead != nil {
		return w.dead
	}
	if !w.queues {
		n, err := w.conn.Write(p)
		if err != nil {
			w.dead, w.torn = err, w.torn || n > 0
		}
		return err
	}
	if !w.flushing {
		n, err := w.try(p)
		if err != nil {
			w.dead, w.torn = err, w.torn || n > 0
			return err
		}
		p = p[n:]
	}
	if len(p) == 0 {
		return nil
	}
	if len(w.queue)+len(p) > fullQueue {
		w.dead, w.torn = errTooSlow, true
		return errTooSlow
	}
	w.queue = append(w.queue, p...)
	if !w.flushing {
		w.flushing = true
		go w.flush()
	}
	return nil
}

// try writes what the socket takes at once.
func (w *writer) try(p []byte) (n int, err error) {
	if w.raw == nil {
		return 0, nil
	}
	failed := w.raw.Write(func(fd uintptr) bool {
		n, err = unix.Write(int(fd), p)
		return true
	})
	if n < 0 {
		n = 0
	}
	switch {
	case failed != nil:
		return n, failed
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return n, nil
	}
	return n, err
}

// flush writes the queue until it is empty.
func (w *writer) flush() {
	var spare []byte
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.dead == nil && len(w.queue) > 0 {
		p := w.queue
		w.queue = spare[:0]
		w.mu.Unlock()
		n, err := w.conn.Write(p)
		w.mu.Lock()
		if err != nil {
			w.dead, w.torn = err, w.torn || n < len(p)
		}
		spare = p
	}
	w.flushing = false
	if len(w.queue) == 0 {
		w.queue = nil // an idle session holds no memory for it
	}
	if w.idle != nil {
		w.idle.Broadcast()
	}
}

// isSlow reports whether so much waits that what may be left out is to be left out.
func (w *writer) isSlow() bool {
	if !w.queues {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue) > slowQueue
}

// kill lets nothing be written any more, at once, whatever the peer does: when
// it returns no byte leaves here that had not left before.
func (w *writer) kill(why error) {
	if !w.mu.TryLock() {
		// Somebody is writing, perhaps to a peer that does not read.
		w.conn.SetWriteDeadline(past)
		w.mu.Lock()
	} else if w.flushing {
		w.conn.SetWriteDeadline(past)
	}
	defer w.mu.Unlock()
	if w.dead == nil {
		w.dead = why
	}
	w.torn = w.torn || w.isMid || len(w.queue) > 0
	w.queue, w.own = nil, nil
}

// last writes the packet that ends everything, in a limited time, unless the
// peer is in the middle of another one. What is queued goes first if the session is not dead.
func (w *writer) last(p []byte, patience time.Duration) {
	w.conn.SetWriteDeadline(time.Now().Add(patience))
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.flushing {
		if w.idle == nil {
			w.idle = sync.NewCond(&w.mu)
		}
		w.idle.Wait() // the deadline ends it
	}
	if len(p) > 0 && !w.torn && !w.isMid {
		_, _ = w.conn.Write(p) // it is closed next
	}
	if w.dead == nil {
		w.dead = errDead
	}
}
