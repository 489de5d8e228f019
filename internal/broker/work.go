package broker

import (
	"sync"
	"sync/atomic"

	"cardea/internal/mqtt"
)

// work is what a goroutine needs while it moves messages: room to encode
// in, the connections that have something to write, and counts. It is used for one batch of packets.
type work struct {
	b       *Broker
	frames  [4]frame // of the message at hand at QoS 0, by version and retain flag
	special []byte
	props   []byte
	targets []byte     // of the message at hand, as the store wants them
	kept    []*session // that got the message at hand and are in the store
	dirty   []*conn

	packetsIn, bytesIn, messagesIn, messagesOut, dropped uint64
}

// frame is a message as it goes to many.
type frame struct {
	b    []byte // points into own, or is the packet that came
	own  []byte
	made bool
}

var works = sync.Pool{New: func() any { return new(work) }}

func (b *Broker) work() *work {
	w := works.Get().(*work)
	w.b = b
	return w
}

func (w *work) read(n int) {
	w.packetsIn++
	w.bytesIn += uint64(n)
}

// flush has everything written that w has put somewhere. w is not used after. Also what goes to the client whose packets are being handled is
// written by another goroutine: if both sides wrote and neither read, both would wait forever.
func (w *work) flush() {
	for _, c := range w.dirty {
		go c.write()
	}
	w.count()
	clear(w.dirty)
	clear(w.kept)
	w.dirty, w.kept, w.b = w.dirty[:0], w.kept[:0], nil
	for i := range w.frames {
		w.frames[i].b, w.frames[i].made = nil, false
	}
	works.Put(w)
}

func (w *work) count() {
	s := &w.b.stats
	for _, one := range [...]struct {
		to *atomic.Uint64
		n  *uint64
	}{
		{&s.packetsIn, &w.packetsIn},
		{&s.bytesIn, &w.bytesIn},
		{&s.messagesIn, &w.messagesIn},
		{&s.messagesOut, &w.messagesOut},
		{&s.dropped, &w.dropped},
	} {
		if *one.n > 0 {
			one.to.Add(*one.n)
			*one.n = 0
		}
	}
}

// frame returns the message at QoS 0 for one client. Most get the same bytes.
func (w *work) frame(in *inbound, v mqtt.Version, d *delivery) []byte {
	if v == mqtt.V5 && (d.alias != 0 || len(d.subIDs) > 0) {
		w.special = in.append(w.special[:0], v, d)
		return w.special
	}
	i := 0
	if v == mqtt.V5 {
		i = 1
	}
	if d.retain {
		i |= 2
	}
	f := &w.frames[i]
	if f.made {
		return f.b
	}
	f.made = true
	if in.raw != nil && in.version == v && d.retain == in.pub.Retain {
		f.b = in.raw
		return f.b
	}
	f.own = in.append(f.own[:0], v, d)
	f.b = f.own
	return f.b
}
