package mqtt

// Ack is a PUBACK, PUBREC, PUBREL or PUBCOMP (3.4 to 3.7).
type Ack struct {
	ID    uint16
	Code  Code // Success in 3.1.1
	Props Properties
}

// ReadAck reads a whole packet of one of the four types.
func ReadAck(v Version, h Head, packet []byte) (a Ack, err error) {
	r := h.body(packet)
	a.ID = r.packetID()
	if v == V5 && len(r.b) > 0 {
		a.Code = Code(r.byte())
		if len(r.b) > 0 {
			a.Props = r.properties(v, inAck)
		}
	}
	return a, r.end()
}

// AppendAck appends a packet of one of the four types, in the shortest form.
func AppendAck(dst []byte, v Version, t Type, id uint16, code Code) []byte {
	var flags byte
	if t == PUBREL {
		flags = 2
	}
	if v < V5 || code == Success {
		return append(dst, byte(t)<<4|flags, 2, byte(id>>8), byte(id))
	}
	return append(dst, byte(t)<<4|flags, 3, byte(id>>8), byte(id), byte(code))
}

// Subscribe is a SUBSCRIBE (3.8) or UNSUBSCRIBE (3.10).
type Subscribe struct {
	ID      uint16
	Props   Properties
	Filters Filters
}

// Filters are the topic filters of a packet, as they are on the wire.
type Filters struct {
	b       []byte
	options bool // each filter has its options behind it
}

// Filter is a topic filter with its options (3.8.3.1). It is valid text, but not always a valid filter: see [ValidFilter].
type Filter struct {
	Filter  []byte
	Options Options // of a SUBSCRIBE
}

// Options are those of a subscription.
type Options byte

// QoS is the highest one that is wanted.
func (o Options) QoS() byte { return byte(o) & 3 }

// NoLocal says that the client's own messages are not wanted.
func (o Options) NoLocal() bool { return o&4 != 0 }

// RetainAsPublished says that the retain flag is to be kept.
func (o Options) RetainAsPublished() bool { return o&8 != 0 }

// RetainHandling says when retained messages are wanted: 0 always, 1 if the subscription is new, 2 never.
func (o Options) RetainHandling() byte { return byte(o) >> 4 & 3 }

var (
	errNoFilters   = violation("there is no topic filter")
	errOptions     = malformed("the options of a subscription have reserved bits or QoS 3")
	errSharedLocal = violation("a shared subscription with No Local")
)

// Next returns the first filter and those behind it.
func (f Filters) Next() (one Filter, rest Filters, ok bool) {
	text, n := prefixed(f.b)
	if n == 0 {
		return Filter{}, Filters{}, false
	}
	one.Filter = text
	if f.options {
		if len(f.b) <= n {
			return Filter{}, Filters{}, false
		}
		one.Options = Options(f.b[n])
		n++
	}
	return one, Filters{f.b[n:], f.options}, true
}

// Len counts the filters.
func (f Filters) Len() int {
	n := 0
	for _, rest, ok := f.Next(); ok; _, rest, ok = rest.Next() {
		n++
	}
	return n
}

// ReadSubscribe reads a whole SUBSCRIBE.
func ReadSubscribe(v Version, h Head, packet []byte) (Subscribe, error) {
	return readFilters(v, h, packet, inSubscribe, true)
}

// ReadUnsubscribe reads a whole UNSUBSCRIBE.
func ReadUnsubscribe(v Version, h Head, packet []byte) (Subscribe, error) {
	return readFilters(v, h, packet, inUnsubscribe, false)
}

func readFilters(v Version, h Head, packet []byte, allowed props, options bool) (s Subscribe, err error) {
	r := h.body(packet)
	s.ID = r.packetID()
	s.Props = r.properties(v, allowed)
	s.Filters = Filters{r.b, options}
	if r.err == nil && len(r.b) == 0 {
		return Subscribe{}, errNoFilters // MQTT-3.8.3-2, MQTT-3.10.3-2
	}
	for len(r.b) > 0 {
		text := r.text()
		if !options {
			continue
		}
		o := Options(r.byte())
		switch {
		case r.err != nil:
		case o.QoS() == 3, v < V5 && o > 2, o&0xC0 != 0, o.RetainHandling() == 3:
			r.fail(errOptions)
		case o.NoLocal() && len(text) >= 7 && string(text[:7]) == "$share/":
			r.fail(errSharedLocal) // MQTT-3.8.3-4
		}
	}
	return s, r.err
}

// AppendSubscribe appends a SUBSCRIBE.
func AppendSubscribe(dst []byte, v Version, id uint16, p Properties, filters []Filter) []byte {
	length := 2 + propertiesSize(v, p)
	for i := range filters {
		length += dataSize(filters[i].Filter) + 1
	}
	dst = AppendHead(dst, SUBSCRIBE, 2, length)
	dst = appendProperties(appendUint16(dst, id), v, p)
	for i := range filters {
		dst = append(appendData(dst, filters[i].Filter), byte(filters[i].Options))
	}
	return dst
}

// AppendUnsubscribe appends an UNSUBSCRIBE.
func AppendUnsubscribe(dst []byte, v Version, id uint16, p Properties, filters []string) []byte {
	length := 2 + propertiesSize(v, p)
	for i := range filters {
		length += dataSize(filters[i])
	}
	dst = AppendHead(dst, UNSUBSCRIBE, 2, length)
	dst = appendProperties(appendUint16(dst, id), v, p)
	for _, f := range filters {
		dst = appendData(dst, f)
	}
	return dst
}

// Suback is a SUBACK (3.9) or UNSUBACK (3.11).
type Suback struct {
	ID    uint16
	Props Properties
	Codes []byte // one [Code] for each filter; none in an UNSUBACK of 3.1.1
}

var errNoCodes = violation("there is no reason code")

// ReadSuback reads a whole SUBACK or UNSUBACK.
func ReadSuback(v Version, h Head, packet []byte) (s Suback, err error) {
	r := h.body(packet)
	s.ID = r.packetID()
	s.Props = r.properties(v, inAck)
	s.Codes = r.b
	switch none := h.Type == UNSUBACK && v < V5; {
	case r.err != nil:
		return Suback{}, r.err
	case none && len(s.Codes) > 0:
		return Suback{}, errTrailing
	case !none && len(s.Codes) == 0:
		return Suback{}, errNoCodes
	}
	return s, nil
}

// AppendSuback appends a SUBACK or UNSUBACK. For 3.1.1 the codes must be its own already.
func AppendSuback(dst []byte, v Version, t Type, id uint16, p Properties, codes []byte) []byte {
	if v < V5 && t == UNSUBACK {
		codes = nil
	}
	dst = AppendHead(dst, t, 0, 2+propertiesSize(v, p)+len(codes))
	dst = appendProperties(appendUint16(dst, id), v, p)
	return append(dst, codes...)
}

// Disconnect is a DISCONNECT (3.14) or AUTH (3.15).
type Disconnect struct {
	Code  Code
	Props Properties
}

// ReadDisconnect reads a whole DISCONNECT. In 3.1.1 it is empty.
func ReadDisconnect(v Version, h Head, packet []byte) (Disconnect, error) {
	if v < V5 && h.Length > 0 {
		return Disconnect{}, errNoBody
	}
	return readReason(v, h, packet, inDisconnect)
}

// ReadAuth reads a whole AUTH.
func ReadAuth(v Version, h Head, packet []byte) (Disconnect, error) {
	if v < V5 {
		return Disconnect{}, errAuth311
	}
	return readReason(v, h, packet, inAuth)
}

// readReason reads a code and properties, either of which may be left out at the end.
func readReason(v Version, h Head, packet []byte, allowed props) (d Disconnect, err error) {
	r := h.body(packet)
	if r.err == nil && len(r.b) > 0 {
		d.Code = Code(r.byte())
		if len(r.b) > 0 {
			d.Props = r.properties(v, allowed)
		}
	}
	return d, r.end()
}

// AppendDisconnect appends a DISCONNECT; that of 3.1.1 says nothing.
func AppendDisconnect(dst []byte, v Version, code Code, p Properties) []byte {
	if v < V5 {
		return append(dst, byte(DISCONNECT)<<4, 0)
	}
	return appendReason(dst, DISCONNECT, code, p)
}

// AppendAuth appends an AUTH.
func AppendAuth(dst []byte, code Code, p Properties) []byte { return appendReason(dst, AUTH, code, p) }

func appendReason(dst []byte, t Type, code Code, p Properties) []byte {
	switch {
	case code == Success && len(p) == 0:
		return append(dst, byte(t)<<4, 0)
	case len(p) == 0:
		return append(dst, byte(t)<<4, 1, byte(code))
	}
	dst = AppendHead(dst, t, 0, 1+propertiesSize(V5, p))
	return appendProperties(append(dst, byte(code)), V5, p)
}

// AppendPing appends a PINGREQ or PINGRESP.
func AppendPing(dst []byte, t Type) []byte { return append(dst, byte(t)<<4, 0) }
