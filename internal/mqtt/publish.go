package mqtt

// Publish is a PUBLISH without its payload (3.3).
type Publish struct {
	Dup, Retain bool
	QoS         byte
	ID          uint16 // 0 at QoS 0
	Topic       []byte // empty if Alias stands for it
	Alias       uint16 // 0 for none
	Props       Properties
	Size        int // of all that precedes the payload, fixed header included
}

// ReadPublish reads what precedes the payload of a PUBLISH whose head is h. b
// begins with the packet and may end before it does: then it is false if
// what precedes the payload is not all there yet.
func ReadPublish(v Version, from Side, h Head, b []byte) (p Publish, ok bool, err error) {
	whole := len(b) >= h.Total()
	if whole {
		b = b[:h.Total()]
	}
	p = Publish{Dup: h.Dup(), Retain: h.Retain(), QoS: h.QoS()}
	short := func() (Publish, bool, error) {
		if whole {
			return Publish{}, false, errShort
		}
		return Publish{}, false, nil
	}
	at := h.Size
	if len(b) < at+2 {
		return short()
	}
	n := int(b[at])<<8 | int(b[at+1])
	at += 2
	if at+n > h.Total() {
		return Publish{}, false, errShort
	}
	if len(b) < at+n {
		return short()
	}
	p.Topic = b[at : at+n : at+n]
	at += n
	if p.QoS > 0 {
		if len(b) < at+2 {
			return short()
		}
		p.ID = uint16(b[at])<<8 | uint16(b[at+1])
		at += 2
		if p.ID == 0 {
			return Publish{}, false, errPacketID
		}
	}
	if v == V5 {
		n, size := readVarint(b[at:])
		switch {
		case size < 0:
			return Publish{}, false, errPropLength
		case size == 0:
			return short()
		case at+size+n > h.Total():
			return Publish{}, false, errShort
		case len(b) < at+size+n:
			return short()
		}
		at += size
		if n > 0 {
			p.Props = Properties(b[at : at+n : at+n])
			at += n
			if err := p.readProperties(from); err != nil {
				return Publish{}, false, err
			}
		}
	}
	p.Size = at
	if err := checkTopic(p.Topic); err != nil {
		return Publish{}, false, err
	}
	if len(p.Topic) == 0 && p.Alias == 0 {
		if v == V5 {
			return Publish{}, false, errNoTopic
		}
		return Publish{}, false, errNoTopic311
	}
	return p, true, nil
}

func (p *Publish) readProperties(from Side) error {
	allowed := inPublish
	if from == FromServer {
		allowed = inDelivery
	}
	if err := p.Props.check(allowed); err != nil {
		return err
	}
	if n, ok := p.Props.Number(TopicAlias); ok {
		p.Alias = uint16(n)
	}
	return nil
}

// AppendPublish appends a PUBLISH. Alias and Size are not looked at: what there is of an alias is in Props.
func AppendPublish(dst []byte, v Version, p *Publish, payload []byte) []byte {
	dst = AppendPublishHead(dst, v, p, len(payload))
	return append(dst, payload...)
}

// AppendPublishHead appends a PUBLISH without the payload, whose length is given.
func AppendPublishHead(dst []byte, v Version, p *Publish, payload int) []byte {
	return AppendPublishHeadWith(dst, v, p, nil, payload)
}

// AppendPublishHeadWith is AppendPublishHead with more properties in front of those of p.
func AppendPublishHeadWith(dst []byte, v Version, p *Publish, more Properties, payload int) []byte {
	flags := p.QoS << 1
	length := dataSize(p.Topic) + payload
	props := len(more) + len(p.Props)
	if v == V5 {
		length += varintSize(props) + props
	}
	if p.Dup {
		flags |= 8
	}
	if p.Retain {
		flags |= 1
	}
	if p.QoS > 0 {
		length += 2
	}
	dst = AppendHead(dst, PUBLISH, flags, length)
	dst = appendData(dst, p.Topic)
	if p.QoS > 0 {
		dst = appendUint16(dst, p.ID)
	}
	if v < V5 {
		return dst
	}
	dst = append(appendVarint(dst, props), more...)
	return append(dst, p.Props...)
}
