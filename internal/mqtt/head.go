package mqtt

// Head is a fixed header (2.1).
type Head struct {
	Type   Type
	Flags  byte
	Size   int // of the fixed header itself, 2 to 5 bytes
	Length int // of what follows, in bytes
}

// Total is the length of the packet, in bytes.
func (h *Head) Total() int { return h.Size + h.Length }

// Dup, QoS and Retain are the flags of a PUBLISH.
func (h *Head) Dup() bool { return h.Flags&8 != 0 }

// QoS of a PUBLISH.
func (h *Head) QoS() byte { return h.Flags >> 1 & 3 }

// Retain of a PUBLISH.
func (h *Head) Retain() bool { return h.Flags&1 != 0 }

// MaxLength is the largest remaining length that can be written (2.1.4).
const MaxLength = 268_435_455

var (
	errLength  = malformed("the remaining length has more than four bytes")
	errType    = malformed("the packet type is 0")
	errFlags   = malformed("the reserved flags of the fixed header are not as they must be")
	errQoS     = malformed("the QoS is 3")
	errDup     = malformed("DUP is set at QoS 0")
	errNoBody  = malformed("the packet must be empty")
	errAuth311 = violation("MQTT 3.1.1 has no AUTH")
)

// ReadHead reads the fixed header at the beginning of b. It is false if more
// bytes are needed to tell. A remaining length with more bytes than it needs is taken:
// only 5.0 forbids it, and which version is spoken a fixed header does not say.
func ReadHead(b []byte) (h Head, ok bool, err error) {
	if len(b) == 0 {
		return Head{}, false, nil
	}
	h.Type, h.Flags = Type(b[0]>>4), b[0]&15
	if err := h.checkFlags(); err != nil {
		return Head{}, false, err
	}
	for i := 1; i < 5; i++ {
		if i >= len(b) {
			return Head{}, false, nil
		}
		h.Length |= int(b[i]&127) << (7 * (i - 1))
		if b[i] < 128 {
			h.Size = i + 1
			return h, true, h.checkLength()
		}
	}
	return Head{}, false, errLength
}

func (h *Head) checkFlags() error {
	switch h.Type {
	case 0:
		return errType
	case PUBLISH:
		switch {
		case h.QoS() == 3:
			return errQoS
		case h.Dup() && h.QoS() == 0:
			return errDup // MQTT-3.3.1-2
		}
	case PUBREL, SUBSCRIBE, UNSUBSCRIBE:
		if h.Flags != 2 {
			return errFlags
		}
	default:
		if h.Flags != 0 {
			return errFlags
		}
	}
	return nil
}

func (h *Head) checkLength() error {
	if h.Length > 0 && (h.Type == PINGREQ || h.Type == PINGRESP) {
		return errNoBody
	}
	return nil
}

// AppendHead appends a fixed header.
func AppendHead(dst []byte, t Type, flags byte, length int) []byte {
	return appendVarint(append(dst, byte(t)<<4|flags), length)
}

// HeadSize is the size of the fixed header of a packet with a remaining length.
func HeadSize(length int) int { return 1 + varintSize(length) }

func appendVarint(dst []byte, n int) []byte {
	for n >= 128 {
		dst = append(dst, byte(n)|128)
		n >>= 7
	}
	return append(dst, byte(n))
}

func varintSize(n int) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<14:
		return 2
	case n < 1<<21:
		return 3
	}
	return 4
}

// readVarint reads a variable byte integer (1.5.5). size is 0 if b ends in the middle, -1 if it is malformed or has more
// bytes than it needs (MQTT-1.5.5-1).
func readVarint(b []byte) (n, size int) {
	for i := range 4 {
		if i >= len(b) {
			return 0, 0
		}
		n |= int(b[i]&127) << (7 * i)
		if b[i] < 128 {
			if i > 0 && b[i] == 0 {
				return 0, -1
			}
			return n, i + 1
		}
	}
	return 0, -1
}

// reader takes fields off the front of a packet. After an error it returns zero values.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *reader) byte() byte {
	if len(r.b) < 1 {
		r.fail(errShort)
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uint16() uint16 {
	if len(r.b) < 2 {
		r.fail(errShort)
		return 0
	}
	n := uint16(r.b[0])<<8 | uint16(r.b[1])
	r.b = r.b[2:]
	return n
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.fail(errShort)
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

// data reads binary data (1.5.6).
func (r *reader) data() []byte { return r.take(int(r.uint16())) }

// text reads a string (1.5.4).
func (r *reader) text() []byte {
	s := r.data()
	if r.err == nil && !ValidText(s) {
		r.fail(errUTF8)
	}
	return s
}

// packetID reads a packet identifier (2.2.1).
func (r *reader) packetID() uint16 {
	id := r.uint16()
	if r.err == nil && id == 0 {
		r.fail(errPacketID)
	}
	return id
}

// properties reads the properties of a packet of version 5; earlier ones have none.
func (r *reader) properties(v Version, allowed props) Properties {
	if v < V5 {
		return nil
	}
	n, size := readVarint(r.b)
	switch {
	case size < 0:
		r.fail(errPropLength)
		return nil
	case size == 0 && r.err == nil:
		r.fail(errShort)
	}
	if r.err != nil {
		return nil
	}
	r.take(size)
	p := Properties(r.take(n))
	if r.err == nil {
		if err := p.check(allowed); err != nil {
			r.fail(err)
		}
	}
	return p
}

// end makes sure that nothing is left.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.err = errTrailing
	}
	return r.err
}

// body is a reader of what follows the fixed header of a whole packet.
func (h *Head) body(packet []byte) reader {
	if len(packet) < h.Total() {
		return reader{err: errShort}
	}
	return reader{b: packet[h.Size:h.Total()]}
}

func appendUint16(dst []byte, n uint16) []byte { return append(dst, byte(n>>8), byte(n)) }

// MaxText is the most that a string or binary data can hold, in bytes (1.5.4). Append functions cut what is longer:
// with a length that has wrapped around, the rest would be read as the fields behind it.
const MaxText = 65_535

func cut[T ~string | ~[]byte](s T) T { return s[:min(len(s), MaxText)] }

// dataSize is how many bytes appendData appends.
func dataSize[T ~string | ~[]byte](s T) int { return 2 + len(cut(s)) }

func appendData[T ~string | ~[]byte](dst []byte, s T) []byte {
	s = cut(s)
	return append(appendUint16(dst, uint16(len(s))), s...)
}
