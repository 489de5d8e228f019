package broker

import (
	"runtime/debug"
	"sync"
	"time"

	"cardea/internal/mqtt"
)

// buffer holds frames that wait to be written.
type buffer struct{ b []byte }

// A buffer that has grown beyond maxBuffer is not used again.
const maxBuffer = 256 << 10

var buffers = sync.Pool{New: func() any { return &buffer{make([]byte, 0, 4<<10)} }}

func (b *buffer) release() {
	if cap(b.b) <= maxBuffer {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}

// ack is an answer that waits until the store has written what it acknowledges.
type ack struct {
	lsn  uint64
	typ  mqtt.Type
	id   uint16
	code mqtt.Code
	body []byte // of a SUBACK or UNSUBACK: the packet
}

// put lets a frame go out. s.mu is held.
func (c *conn) put(frame []byte, w *work) {
	if c.over {
		return
	}
	c.output().b = append(c.out.b, frame...)
	c.wake(w)
}

// output returns the buffer for frames, which somebody must be told to write.
func (c *conn) output() *buffer {
	if c.out == nil {
		c.out = buffers.Get().(*buffer)
	}
	return c.out
}

// buffered is how many bytes wait to be written.
func (c *conn) buffered() int {
	if c.out == nil {
		return 0
	}
	return len(c.out.b)
}

// wake makes w see to it that what waits is written. s.mu is held. Without a w it begins at once.
func (c *conn) wake(w *work) {
	if c.writing {
		return
	}
	c.writing = true
	if w == nil {
		go c.write()
		return
	}
	w.dirty = append(w.dirty, c)
}

// write writes what waits, until nothing does. There is one at a time, as c.writing says.
func (c *conn) write() {
	defer func() {
		if p := recover(); p != nil {
			c.b.sayPanic(p, debug.Stack())
			c.broken()
		}
	}()
	for {
		buf, finished := c.take()
		if buf == nil {
			if finished {
				c.nc.Close()
			}
			return
		}
		n := len(buf.b)
		_, err := c.nc.Write(buf.b)
		buf.release()
		c.b.stats.bytesOut.Add(uint64(n))
		if err != nil {
			c.broken()
			return
		}
	}
}

// take returns what is to be written, nil if there is nothing: then nobody is writing any more, and finished says whether the connection is to be closed.
func (c *conn) take() (buf *buffer, finished bool) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.buffered() == 0 && !c.over && c.s.conn == c {
		c.s.fill(c)
	}
	if c.buffered() > 0 {
		buf, c.out = c.out, nil
		c.letRead()
		return buf, false
	}
	c.rest()
	return nil, c.over && !c.linger
}

// letRead ends the wait of pace.
func (c *conn) letRead() {
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
}

// rest notes that nobody is writing.
func (c *conn) rest() {
	c.writing = false
	if c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// broken gives up a connection that cannot be written to.
func (c *conn) broken() {
	c.s.mu.Lock()
	c.over = true
	if c.out != nil {
		c.out.release()
		c.out = nil
	}
	c.letRead()
	c.rest()
	c.s.mu.Unlock()
	c.nc.Close()
}

// end ends the connection: what waits is written, and it is closed, after the grace at the latest. A client of version 5 is told a
// code that says more than Success. If it may be sending still the connection lingers: closing it would make
// the client's system throw away what it has not read yet. s.mu is held.
func (c *conn) end(code mqtt.Code) {
	if c.over {
		return
	}
	if code != mqtt.Success && c.v == mqtt.V5 {
		c.output().b = mqtt.AppendDisconnect(c.out.b, c.v, code, nil)
		c.linger = code != mqtt.ServerShuttingDown
	}
	c.over = true
	c.acks = nil
	c.cut = time.AfterFunc(grace, func() { c.nc.Close() })
	c.wake(nil)
}

// answer lets an acknowledgement go out as soon as the store has written what it is about, in the order of the calls. s.mu is held.
func (c *conn) answer(w *work, a ack) {
	if c.over {
		return
	}
	if fate := c.b.store.outcome(a.lsn); len(c.acks) == 0 && fate != onItsWay {
		c.send(a, fate)
		c.wake(w)
		return
	}
	c.acks = append(c.acks, a)
	c.await()
}

// await makes the store tell the connection when it has written something.
func (c *conn) await() {
	if !c.told {
		c.told = true
		c.b.store.tell(c)
	}
}

// send puts an acknowledgement into the output. If what it is about was lost the client hears that, by a code or by the end of the connection.
func (c *conn) send(a ack, fate int) {
	if fate == gone {
		refusable := a.typ == mqtt.PUBACK || a.typ == mqtt.PUBREC
		if !refusable || c.v < mqtt.V5 {
			c.end(mqtt.QuotaExceeded)
			return
		}
		a.code = mqtt.QuotaExceeded
		if a.typ == mqtt.PUBREC {
			delete(c.s.received, a.id)
		}
	}
	out := c.output()
	if a.body != nil {
		out.b = append(out.b, a.body...)
		return
	}
	if a.typ == mqtt.PUBACK || a.typ == mqtt.PUBREC && a.code.Failed() || a.typ == mqtt.PUBCOMP && a.code == mqtt.Success {
		c.pending = max(c.pending-1, 0)
	}
	out.b = mqtt.AppendAck(out.b, c.v, a.typ, a.id, a.code)
}

// stored is called by the store when something has become of more of what was appended.
func (c *conn) stored() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.told = false
	n := 0
	for ; n < len(c.acks) && !c.over; n++ {
		fate := c.b.store.outcome(c.acks[n].lsn)
		if fate == onItsWay {
			break
		}
		c.send(c.acks[n], fate)
	}
	if c.over {
		return
	}
	c.acks = c.acks[:copy(c.acks, c.acks[n:])]
	if len(c.acks) > 0 {
		c.await()
	} else if cap(c.acks) > 64 {
		c.acks = nil
	}
	c.s.fill(c)
	if c.buffered() > 0 {
		c.wake(nil)
	}
}
