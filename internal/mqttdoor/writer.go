package mqttdoor

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

var (
	errTooSlow = errors.New("the peer does not read what it is sent")
	errDead    = errors.New("the session is over")
	past       = time.Unix(1, 0)
)

// maxOwn bounds the door's own packets that wait for the end of another one, in bytes.
const maxOwn = 1 << 20

// writer writes packets to one side of a session: those that come through it
// in runs, and the door's own between them, never inside of one. It waits for
// a peer that is slow: what waits behind it is the broker's, which has its limits (M17).
type writer struct {
	conn net.Conn

	mu    sync.Mutex
	isMid bool   // the last run ended inside of a packet
	own   []byte // the door's packets that wait for its end
	dead  error  // why nothing is written any more
	torn  bool   // a packet was written in part
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
		if len(w.own)+len(p) > maxOwn {
			return errTooSlow
		}
		w.own = append(w.own, p...)
		return nil
	}
	return w.write(p)
}

// write writes. The lock is held.
func (w *writer) write(p []byte) error {
	if w.dead != nil {
		return w.dead
	}
	n, err := w.conn.Write(p)
	if err != nil {
		w.dead, w.torn = err, w.torn || n > 0
	}
	return err
}

// kill lets nothing be written any more, at once, whatever the peer does: when
// it returns no byte leaves here that had not left before.
func (w *writer) kill(why error) {
	if !w.mu.TryLock() {
		w.conn.SetWriteDeadline(past) // somebody is writing, perhaps to a peer that does not read
		w.mu.Lock()
	}
	defer w.mu.Unlock()
	if w.dead == nil {
		w.dead = why
	}
	if e, ok := w.conn.(*end); ok && e.discard() {
		w.torn = true
	}
	w.own = nil
}

// tear says that a packet was written in part, by somebody else.
func (w *writer) tear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.torn = true
}

// last writes the packet that ends everything, in a limited time, unless the peer is in the middle of another
// one. It reports whether the peer may be waited for: it has taken all that it was sent.
func (w *writer) last(p []byte, patience time.Duration) bool {
	w.conn.SetWriteDeadline(time.Now().Add(patience)) // it ends what is under way, too
	w.mu.Lock()
	defer w.mu.Unlock()
	ok := !w.torn && !w.isMid
	if len(p) > 0 && ok {
		_, err := w.conn.Write(p)
		ok = err == nil
	}
	if w.dead == nil {
		w.dead = errDead
	}
	return ok
}

// sever closes at once, whatever the peer has not read: without the farewell of TLS, and so that the system forgets what it holds.
func sever(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	switch t := c.(type) {
	case interface{ SetLinger(int) error }:
		t.SetLinger(0)
	case *webConn:
		t.ws.CloseNow()
	}
	c.Close()
}
