package mqttdoor

import (
	"sync"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/mqtt"
	"cardea/internal/policy"
)

// outbound judges what the broker sends. It is under its lock.
type outbound struct {
	mu        sync.Mutex
	s         *Session
	flow      flow
	rest      []byte // of what was written: the beginning of a packet
	access    policy.Access
	memo      gate.Memo
	aliases   aliases
	connected bool            // CONNACK has passed
	swallowed map[uint16]bool // deliveries at QoS 2 that the door has refused, until they are released
	scratch   []byte
}

func (o *outbound) init(s *Session) {
	o.s = s
	o.flow = flow{judge: o, max: mqtt.MaxLength + 5} // the broker keeps to the client's maximum
}

// maxRest bounds what is held of a packet that cannot be judged yet, in bytes: more than clients may send in front of a payload.
const maxRest = 4 * maxControl

// keep keeps the beginning of a packet until the rest of it is written.
func (o *outbound) keep(b []byte) {
	if len(b) == 0 {
		o.rest = nil
		return
	}
	o.rest = append(o.rest[:0], b...) // b may be a part of it, behind
}

var (
	errNoConnack = &mqtt.Error{Code: mqtt.ProtocolError, Why: "the broker did not begin with CONNACK"}
	errBroker    = &mqtt.Error{Code: mqtt.ProtocolError, Why: "the broker sent a packet that it must not send"}
)

// isConnected reports whether the client has its CONNACK.
func (o *outbound) isConnected() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.connected
}

// judge implements [judge].
func (o *outbound) judge(h mqtt.Head, b []byte) (verdict, error) {
	if !o.connected {
		if h.Type != mqtt.CONNACK {
			return drop, errNoConnack
		}
		return o.connack(h, b)
	}
	switch h.Type {
	case mqtt.PUBLISH:
		return o.deliver(h, b)
	case mqtt.PUBCOMP, mqtt.PINGRESP:
		return pass, nil
	case mqtt.PUBACK:
		a, err := mqtt.ReadAck(o.s.version, h, b)
		o.s.in.unreleased.acknowledged(a.ID)
		return pass, err
	case mqtt.PUBREC:
		a, err := mqtt.ReadAck(o.s.version, h, b)
		if a.Code.Failed() {
			o.s.in.unreleased.take(a.ID) // there is nothing to release
		}
		return pass, err
	case mqtt.PUBREL:
		return o.release(h, b)
	case mqtt.SUBACK:
		return o.suback(h, b)
	case mqtt.UNSUBACK:
		a, err := mqtt.ReadSuback(o.s.version, h, b)
		if err == nil && !o.s.subs.left(a.ID) {
			return drop, nil
		}
		return pass, err
	case mqtt.DISCONNECT:
		d, err := mqtt.ReadDisconnect(o.s.version, h, b)
		if !o.s.finish(ending{how: deserted, code: d.Code, said: err == nil}) {
			return drop, nil // the door has a reason of its own, and says that
		}
		return pass, err
	}
	return drop, errBroker
}

// deliver judges a message that comes to the client.
func (o *outbound) deliver(h mqtt.Head, b []byte) (verdict, error) {
	s := o.s
	p, ok, err := mqtt.ReadPublish(s.version, mqtt.FromServer, h, b)
	if err != nil || !ok {
		return more, err
	}
	topic := view(p.Topic)
	var known *alias
	if p.Alias > 0 {
		if known, err = o.aliases.resolve(&p); err != nil {
			return drop, err
		}
		topic = known.topic
	}
	a := &o.access
	a.Resource, a.QoS = topic, p.QoS
	why := s.recall(&o.memo, a)
	a.Resource = ""
	if why != credential.OK {
		return o.refuse(&p)
	}
	s.messagesOut.Add(1)
	if known == nil || known.known {
		return pass, nil
	}
	known.known = true
	if len(p.Topic) > 0 {
		return pass, nil
	}
	o.scratch = respell(o.scratch[:0], s.version, &p, known.topic, h.Total())
	return o.flow.swapFor(p.Size, o.scratch), nil
}

// refuse ends a delivery that is not allowed, and lets the broker forget it (M07).
func (o *outbound) refuse(p *mqtt.Publish) (verdict, error) {
	s := o.s
	s.refused.Add(1)
	switch p.QoS {
	case 1:
		s.answer(mqtt.AppendAck(nil, s.version, mqtt.PUBACK, p.ID, mqtt.Success))
	case 2:
		// A PUBREC with a failure would end it in MQTT 5.0, but to the broker nothing has failed.
		if o.swallowed == nil {
			o.swallowed = map[uint16]bool{}
		}
		o.swallowed[p.ID] = true
		s.answer(mqtt.AppendAck(nil, s.version, mqtt.PUBREC, p.ID, mqtt.Success))
	}
	return drop, nil
}

// release lets PUBREL through, but for a delivery that the client never saw.
func (o *outbound) release(h mqtt.Head, b []byte) (verdict, error) {
	a, err := mqtt.ReadAck(o.s.version, h, b)
	if err != nil || !o.swallowed[a.ID] {
		return pass, err
	}
	delete(o.swallowed, a.ID)
	o.s.answer(mqtt.AppendAck(nil, o.s.version, mqtt.PUBCOMP, a.ID, mqtt.Success))
	return drop, nil
}

func (o *outbound) suback(h mqtt.Head, b []byte) (verdict, error) {
	s := o.s
	a, err := mqtt.ReadSuback(s.version, h, b)
	if err != nil {
		return drop, err
	}
	codes, changed, err := s.subs.answer(a, s.id.Load())
	if err != nil {
		return drop, err
	}
	if changed {
		s.meanwhile(s.reassess)
	}
	if len(codes) == len(a.Codes) {
		return pass, nil
	}
	o.scratch = mqtt.AppendSuback(o.scratch[:0], s.version, mqtt.SUBACK, a.ID, a.Props, codes)
	return o.flow.swapFor(h.Total(), o.scratch), nil
}

// answer sends the broker a packet on behalf of the client.
func (s *Session) answer(p []byte) {
	if send := s.toBroker.Load(); send != nil {
		(*send)(p)
		return
	}
	s.inject(p)
}
