package broker

import (
	"io"
	"sync"

	"cardea/internal/mqtt"
)

// input reads packets from a connection. While little comes it has a small
// buffer of its own; a connection on which much comes borrows a large one; a packet that is larger gets
// one that grows with what has come of it, not with what it says it will be.
type input struct {
	small    [smallInput]byte
	large    *[largeInput]byte
	buf      []byte // where the bytes are: small, large or one of its own
	from, to int    // the bytes that are not handled yet
	last     int    // how many the last read brought
}

const (
	smallInput = 512
	largeInput = 32 << 10
)

var inputs = sync.Pool{New: func() any { return new([largeInput]byte) }}

var errTooLarge = &mqtt.Error{Code: mqtt.PacketTooLarge, Why: "a packet is larger than the limit"}

// next returns the next packet, which is valid until fill; nil if it is not all there yet.
func (in *input) next(limit int) (h mqtt.Head, packet []byte, err error) {
	b := in.buf[in.from:in.to]
	h, ok, err := mqtt.ReadHead(b)
	if err != nil || !ok {
		return h, nil, err
	}
	if h.Total() > limit {
		return h, nil, errTooLarge
	}
	if len(b) < h.Total() {
		return h, nil, nil
	}
	in.from += h.Total()
	return h, b[:h.Total():h.Total()], nil
}

// fill reads once, after it has made room.
func (in *input) fill(r io.Reader) error {
	in.makeRoom()
	n, err := r.Read(in.buf[in.to:])
	in.to += n
	in.last = n
	if n > 0 {
		return nil // an error comes again
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

func (in *input) makeRoom() {
	rest := in.buf[in.from:in.to]
	switch {
	case len(rest) == 0 && in.last < smallInput:
		in.move(nil, in.small[:])
		in.giveBack()
	case len(rest) < largeInput && len(in.buf) != largeInput:
		if in.large == nil {
			in.large = inputs.Get().(*[largeInput]byte)
		}
		in.move(rest, in.large[:])
	case len(rest) == len(in.buf):
		in.move(rest, make([]byte, 2*len(rest)))
		in.giveBack()
	default:
		in.move(rest, in.buf)
	}
}

func (in *input) move(rest, to []byte) {
	in.to = copy(to, rest)
	in.from, in.buf = 0, to
}

func (in *input) giveBack() {
	if in.large != nil {
		inputs.Put(in.large)
		in.large = nil
	}
}

// release gives back what is borrowed, when nothing is read any more.
func (in *input) release() {
	in.giveBack()
	in.buf, in.from, in.to = nil, 0, 0
}
