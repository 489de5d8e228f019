package mqttdoor

import "cardea/internal/mqtt"

// verdict is what becomes of a packet.
type verdict uint8

const (
	more verdict = iota // more of it is needed to tell
	pass                // it goes on as it came
	drop                // it ends here
	swap                // flow.swapped goes on in the place of its first flow.swapSize bytes, the rest as it came
)

// judge looks at the packets of one direction. b begins with a packet and may
// end before it does; only a PUBLISH may be judged before all of it is there.
type judge interface {
	judge(h mqtt.Head, b []byte) (verdict, error)
}

// flow takes the bytes of one direction apart into packets and gives out those
// that may go on, as long runs of what came. Payloads pass through: what is
// decided is decided on what precedes them.
type flow struct {
	judge judge
	max   int // length of the longest packet, in bytes

	rest     int  // bytes of a packet that was judged which are still to come
	passing  bool // they go on
	swapped  []byte
	swapSize int

	held   verdict // of the next packet, which is judged already
	isHeld bool
	failed error // why nothing more is looked at: a judge may say so of what comes behind a packet that passes
}

// mid reports whether the last run ended inside of a packet.
func (f *flow) mid() bool { return f.rest > 0 && f.passing }

// next returns the first bytes of b that may go on, and how many of b are done
// with. If that is 0, more bytes are needed. What is returned is part
// of b or of the flow, and valid until the next call.
func (f *flow) next(b []byte) (run []byte, used int, err error) {
	if f.failed != nil && f.rest == 0 {
		return nil, 0, f.failed
	}
	start, at := 0, 0 // of the run, and of what is looked at
	for at < len(b) {
		if f.rest == 0 {
			if f.failed != nil {
				return b[start:at], at, nil
			}
			h, v, err := f.look(b[at:])
			if err != nil {
				f.failed = err
			}
			switch {
			case err != nil && at == start:
				return nil, at, err
			case err != nil, v == more: // what precedes it goes on first
				return b[start:at], at, nil
			case v != pass && at > start:
				f.held, f.isHeld = v, true
				return b[start:at], at, nil
			}
			f.rest, f.passing = h.Total(), v != drop
			if v == swap {
				f.rest -= f.swapSize
				return f.swapped, at + f.swapSize, nil
			}
		}
		n := min(f.rest, len(b)-at)
		if !f.passing {
			if at > start {
				return b[start:at], at, nil
			}
			start += n
		}
		f.rest -= n
		at += n
	}
	return b[start:at], at, nil
}

// look judges the packet that b begins with.
func (f *flow) look(b []byte) (h mqtt.Head, v verdict, err error) {
	h, ok, err := mqtt.ReadHead(b)
	switch {
	case err != nil || !ok:
		return h, more, err
	case h.Total() > f.max:
		return h, more, errPacketTooLarge
	case f.isHeld:
		f.isHeld = false
		return h, f.held, nil
	case h.Type != mqtt.PUBLISH && len(b) < h.Total():
		if h.Total() > maxControl {
			return h, more, errPacketTooLarge
		}
		return h, more, nil
	}
	v, err = f.judge.judge(h, b)
	return h, v, err
}

// swapFor notes what goes on in the place of the first n bytes of a packet.
func (f *flow) swapFor(n int, with []byte) verdict {
	f.swapped, f.swapSize = with, n
	return swap
}

// maxControl bounds what must be held at once to judge a packet: all packets but PUBLISH, and what precedes its payload.
const maxControl = 64 << 10

var errPacketTooLarge = &mqtt.Error{Code: mqtt.PacketTooLarge, Why: "a packet, or what precedes the payload of one, is too large"}
