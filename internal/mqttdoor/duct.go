package mqttdoor

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// duct is a client's connection and the one to the broker that belongs to it, on a loop.
type duct struct {
	loop *loop
	s    *Session
	done chan struct{} // closed when the loop has neither any more

	mu             sync.Mutex
	client, broker *end

	// Of the loop's thread.
	over  bool
	apart bool // aside is at it
}

// maxQueue bounds what waits for a peer that does not read, in bytes. Reading from the other one
// ends as soon as anything waits, so what exceeds this is the door's own.
const maxQueue = 1 << 20

// newDuct gives a session's connection and that to its broker to a loop. It is nil if they are not plain TCP, or cannot be given.
func newDuct(l *loop, s *Session, broker *link, c net.Conn) *duct {
	client, ok := s.conn.(*end)
	tcp, plain := c.(*net.TCPConn)
	if !ok || !plain {
		return nil
	}
	d := &duct{loop: l, s: s, done: make(chan struct{}), client: client, broker: &end{conn: tcp}}
	if d.broker.borrow() != nil {
		return nil
	}
	if client.borrow() != nil {
		unix.Close(d.broker.fd)
		return nil
	}
	client.other, d.broker.other = d.broker, client
	client.removed, d.broker.removed = true, true // until begin
	client.carry = func(p []byte) error { return s.feed(p, &broker.w) }
	d.broker.carry = func(p []byte) error { _, err := s.Write(p); return err }
	broker.w.conn = d.broker
	client.take(d)
	d.broker.take(d)
	return d
}

// begin lets the loop wait for both.
func (d *duct) begin() {
	d.loop.post(d.add)
	if d.s.over() { // what ended it may have come before the loop knew
		d.loop.post(d.finish)
	}
}

// wanted are the events that an end is waited for: to read unless the other one is stuck, to write if it is itself. The lock is held.
func (d *duct) wanted(e *end) (events uint32) {
	if len(e.other.queue) == 0 {
		events |= unix.EPOLLIN
	}
	if len(e.queue) > 0 {
		events |= unix.EPOLLOUT
	}
	return events
}

// await tells the kernel what both ends wait for. The lock is held.
func (d *duct) await() {
	for _, e := range []*end{d.client, d.broker} {
		if want := d.wanted(e); want != e.waits && !e.removed {
			e.waits = want
			ev := unix.EpollEvent{Events: want, Fd: int32(e.fd)}
			_ = unix.EpollCtl(d.loop.epfd, unix.EPOLL_CTL_MOD, e.fd, &ev) // it is there
		}
	}
}

// send writes to an end, from any goroutine.
func (d *duct) send(e *end, p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case e.dead:
		return 0, errDead
	case len(e.queue) > 0 && len(e.queue)+len(p) > maxQueue:
		return 0, errTooSlow
	case len(e.queue) > 0:
		e.queue = append(e.queue, p...)
		return len(p), nil
	}
	n, err := writeSome(e.fd, p)
	if err != nil {
		e.dead = true
		return n, err
	}
	if n < len(p) {
		e.queue = append(e.queue, p[n:]...)
		d.await()
	}
	return len(p), nil
}

// writeSome writes what a socket takes at once.
func writeSome(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Write(fd, p)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, unix.EAGAIN):
			return 0, nil
		case !errors.Is(err, unix.EINTR):
			return 0, err
		}
	}
}

// ready is called on the loop's thread when the kernel says that something can be done.
func (e *end) ready(events uint32) {
	d := e.duct.Load()
	if d == nil || d.over {
		return
	}
	if events&unix.EPOLLOUT != 0 {
		d.flush(e)
	}
	if events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		d.read(e)
	}
	if d.s.over() {
		d.finish()
	}
}

// flush writes what was queued.
func (d *duct) flush(e *end) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := writeSome(e.fd, e.queue)
	if err != nil {
		e.queue, e.dead = nil, true
	} else if e.queue = e.queue[n:]; len(e.queue) == 0 {
		e.queue = nil
	}
	d.await()
}

// read takes what has come and carries it to the other side.
func (d *duct) read(e *end) {
	n, err := unix.Read(e.fd, d.loop.buf[:])
	switch {
	case n > 0 && d.s.door.gate.Prompt(d.s.id.Load()):
		d.carried(e, e.carry(d.loop.buf[:n]))
	case n > 0:
		d.aside(e, append([]byte(nil), d.loop.buf[:n]...))
	case err == nil:
		d.carried(e, io.EOF)
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR): // or what is told was of a connection that had the descriptor before
	default:
		d.carried(e, err)
	}
}

// aside carries on a goroutine of its own what may have to ask the store: the loop has others to serve. Until
// it is done nothing more is read.
func (d *duct) aside(e *end, p []byte) {
	d.remove()
	d.apart = true
	go func() {
		err := e.carry(p)
		d.loop.post(func() {
			d.apart = false
			d.carried(e, err)
			if d.s.over() {
				d.finish()
				return
			}
			d.add()
		})
	}()
}

// carried looks at what became of what was read.
func (d *duct) carried(e *end, err error) {
	switch {
	case err == nil || d.s.over():
	case e == d.client:
		d.s.finish(ending{how: lost})
	default:
		d.s.Deserted(errClosed)
	}
}

// add waits for both, from now on or again.
func (d *duct) add() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return
	}
	for _, e := range []*end{d.client, d.broker} {
		e.waits, e.removed = d.wanted(e), false
		ev := unix.EpollEvent{Events: e.waits, Fd: int32(e.fd)}
		if err := unix.EpollCtl(d.loop.epfd, unix.EPOLL_CTL_ADD, e.fd, &ev); err != nil {
			d.s.Deserted(fmt.Errorf("a connection cannot be waited for: %w", err))
		}
		d.loop.ends[int32(e.fd)] = e
	}
}

// remove waits for neither.
func (d *duct) remove() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range []*end{d.client, d.broker} {
		if e.removed {
			continue
		}
		e.removed = true
		_ = unix.EpollCtl(d.loop.epfd, unix.EPOLL_CTL_DEL, e.fd, nil) // it is closed next
		delete(d.loop.ends, int32(e.fd))
	}
}

// finish is called on the loop's thread when the session is over, or is to be. It may be called again.
func (d *duct) finish() {
	switch {
	case d.over:
		return
	case !d.s.over():
		return // somebody has set a deadline, and there is nothing behind it
	case d.apart:
		return // it still judges and writes for the session, and comes here when it is done
	}
	d.over = true
	d.remove()
	close(d.done)
}

// wait returns when the loop has given both back; that to the broker is closed then. The broker has so long for its CONNACK.
func (d *duct) wait(patience time.Duration) {
	late := time.AfterFunc(patience, func() {
		if !d.s.out.isConnected() {
			d.s.Deserted(errNoAnswer)
		}
	})
	<-d.done
	late.Stop()
	if !d.client.giveBack() {
		d.s.w.tear()
	}
	d.broker.giveBack()
	d.broker.Close()
}
