package mqttdoor

import (
	"io"
	"sync"
)

const (
	idleSize = 512
	busySize = 16 << 10
)

var busyBuffers = sync.Pool{New: func() any { return new([busySize]byte) }}

// buffer holds what was read of a connection and is not judged yet. While
// little comes it needs no more than idleSize bytes; a connection that is busy borrows more.
type buffer struct {
	idle     [idleSize]byte
	b        []byte // idle, busy, or one of its own for what is longer
	busy     *[busySize]byte
	from, to int
	full     bool // the last read filled all there was
}

// bytes are those that are not done with.
func (r *buffer) bytes() []byte { return r.b[r.from:r.to] }

// done forgets the first n of them.
func (r *buffer) done(n int) { r.from += n }

// fill reads once. It fails with errPacketTooLarge if what is there is the
// beginning of something that is longer than may be held.
func (r *buffer) fill(c io.Reader) error {
	switch {
	case r.b == nil:
		r.b = r.idle[:]
	case r.from == r.to:
		r.from, r.to = 0, 0
		if r.full {
			r.grow()
		} else if r.busy != nil || len(r.b) > busySize {
			r.release()
		}
	case r.to == len(r.b) && r.from > 0:
		r.to = copy(r.b, r.b[r.from:r.to])
		r.from = 0
	}
	if r.to == len(r.b) {
		if len(r.b) > maxControl {
			return errPacketTooLarge
		}
		r.grow()
	}
	n, err := c.Read(r.b[r.to:])
	r.to += n
	r.full = r.to == len(r.b)
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

// grow makes room: from idle to busy, from there by doubling.
func (r *buffer) grow() {
	old := r.b
	switch {
	case len(old) < busySize:
		r.busy = busyBuffers.Get().(*[busySize]byte)
		r.b = r.busy[:]
	case r.from == r.to:
		return // busy is as much as is read at once
	default:
		r.b = make([]byte, 2*len(old))
	}
	r.to = copy(r.b, old[r.from:r.to])
	r.from = 0
	if len(r.b) > busySize {
		r.giveBack()
	}
}

// release goes back to the idle buffer. Nothing must be left to be done.
func (r *buffer) release() {
	r.giveBack()
	r.b, r.from, r.to = r.idle[:], 0, 0
}

func (r *buffer) giveBack() {
	if r.busy != nil {
		busyBuffers.Put(r.busy)
		r.busy = nil
	}
}
