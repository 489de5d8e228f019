package mqttdoor

import (
	"io"
	"strings"
	"unsafe"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/mqtt"
	"cardea/internal/policy"
)

// inbound judges what the client sends. It belongs to the goroutine that calls Next.
type inbound struct {
	s          *Session
	buf        buffer
	flow       flow
	rest       []byte // with feed: the beginning of a packet
	unread     []byte
	access     policy.Access // of the message that is looked at
	evidence   gate.Evidence // where the client is, for the limits of its credential
	memo       gate.Memo
	aliases    aliases
	unreleased *unreleased // of the session, on this connection and before it
	scratch    []byte
}

func (in *inbound) init(s *Session) {
	in.s = s
	in.flow = flow{judge: in, max: s.door.limits.Packet}
}

var (
	errSecondConnect = &mqtt.Error{Code: mqtt.ProtocolError, Why: "a second CONNECT"}
	errServerPacket  = &mqtt.Error{Code: mqtt.ProtocolError, Why: "a packet that only a server sends"}
	errRefused       = &mqtt.Error{Code: mqtt.NotAuthorized, Why: "a message that is not allowed, for which MQTT 3.1.1 has no answer"}
	errUnreleased    = &mqtt.Error{Code: mqtt.NotAuthorized, Why: "a message at QoS 2 is not allowed any more"}
)

// judge implements [judge].
func (in *inbound) judge(h mqtt.Head, b []byte) (verdict, error) {
	s := in.s
	switch h.Type {
	case mqtt.PUBLISH:
		return in.publish(h, b)
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBCOMP:
		_, err := mqtt.ReadAck(s.version, h, b)
		return pass, err
	case mqtt.PUBREL:
		a, err := mqtt.ReadAck(s.version, h, b)
		if err == nil {
			err = in.release(a.ID)
		}
		return pass, err
	case mqtt.SUBSCRIBE:
		return in.subscribe(h, b)
	case mqtt.UNSUBSCRIBE:
		u, err := mqtt.ReadUnsubscribe(s.version, h, b)
		if err == nil {
			err = s.subs.unsubscribing(u)
		}
		return pass, err
	case mqtt.PINGREQ:
		return pass, nil
	case mqtt.DISCONNECT:
		return in.disconnect(h, b)
	case mqtt.AUTH:
		return in.auth(h, b)
	case mqtt.CONNECT:
		return drop, errSecondConnect // MQTT-3.1.0-2
	}
	return drop, errServerPacket
}

// disconnect lets the farewell through; what comes behind it is not looked at.
func (in *inbound) disconnect(h mqtt.Head, b []byte) (verdict, error) {
	s := in.s
	d, err := mqtt.ReadDisconnect(s.version, h, b)
	if err != nil {
		return drop, err
	}
	if n, ok := d.Props.Number(mqtt.SessionExpiry); ok && s.will != nil {
		s.will.expiry = n // it bounds the delay of the will
	}
	e := ending{how: left}
	if d.Code == mqtt.DisconnectWithWill {
		e.how = leftUnwell
	}
	s.end.CompareAndSwap(nil, &e) // the reader goes on, to its end
	s.hurry()
	in.flow.failed = io.EOF
	return pass, nil
}

// view is b as a string, without a copy: for what is only looked at while b stays as it is.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// publish judges a message by its topic, QoS and retain flag.
func (in *inbound) publish(h mqtt.Head, b []byte) (verdict, error) {
	s := in.s
	p, ok, err := mqtt.ReadPublish(s.version, mqtt.FromClient, h, b)
	if err != nil || !ok {
		return more, err
	}
	topic := view(p.Topic)
	var known *alias
	if p.Alias > 0 {
		if known, err = in.aliases.resolve(&p); err != nil {
			return drop, err
		}
		topic = known.topic
	}
	s.messagesIn.Add(1)
	if levels(topic) > s.door.limits.Levels {
		return in.refusePublish(&p, mqtt.QuotaExceeded) // M16
	}
	if p.QoS < 2 || !in.unreleased.knows(p.ID, topic, p.Retain) { // what is sent again was charged before
		if why := s.spend(); why != credential.OK {
			return in.refusePublish(&p, denials[why.Class()])
		}
	}
	a := &in.access
	a.Resource, a.QoS, a.Retain = topic, p.QoS, p.Retain
	why := s.recall(&in.memo, a)
	a.Resource = ""
	if why != credential.OK {
		return in.refusePublish(&p, denials[why.Class()])
	}
	switch p.QoS {
	case 1:
		in.unreleased.shield(p.ID)
	case 2:
		if err := in.unreleased.hold(p.ID, topic, p.Retain); err != nil {
			return drop, err
		}
	}
	if known == nil || known.known {
		return pass, nil
	}
	if len(p.Topic) > 0 {
		known.known = true
		return pass, nil
	}
	// The broker does not know the alias: the message that set it was refused. Now it learns it.
	known.known = true
	in.scratch = respell(in.scratch[:0], s.version, &p, known.topic, h.Total())
	return in.flow.swapFor(p.Size, in.scratch), nil
}

// respell writes what precedes the payload of a PUBLISH again, with a topic in place of the alias alone.
func respell(dst []byte, v mqtt.Version, p *mqtt.Publish, topic string, total int) []byte {
	q := *p
	q.Topic = []byte(topic)
	return mqtt.AppendPublishHead(dst, v, &q, total-p.Size)
}

// refusePublish answers a message that does not go on. At QoS 0 it is dropped
// and counted; above, a 3.1.1 client cannot be told, and is cut rather than deceived (M25).
func (in *inbound) refusePublish(p *mqtt.Publish, code mqtt.Code) (verdict, error) {
	s := in.s
	s.refused.Add(1)
	if p.QoS == 0 {
		return drop, nil
	}
	if p.QoS == 2 && in.unreleased.has(p.ID) { // it was let through before, and the broker has it (M12)
		s.spoiled.Store(true)
		return drop, errUnreleased
	}
	if s.version < mqtt.V5 {
		return drop, errRefused
	}
	t := mqtt.PUBACK
	if p.QoS == 2 {
		t = mqtt.PUBREC
	}
	in.scratch = mqtt.AppendAck(in.scratch[:0], s.version, t, p.ID, code)
	return drop, s.w.insert(in.scratch)
}

// release asks again whether a message at QoS 2 may be published: brokers
// distribute it only now (M12). If it may not, it must not stay with the broker, which would do so when the client comes back.
func (in *inbound) release(id uint16) error {
	s := in.s
	for _, m := range in.unreleased.take(id) {
		a := s.access("publish")
		a.Resource, a.QoS, a.Retain = m.topic, 2, m.retain
		if s.allowed(&a) != credential.OK {
			s.refused.Add(1)
			s.spoiled.Store(true)
			return errUnreleased
		}
	}
	return nil
}

func levels(topic string) int { return 1 + strings.Count(topic, "/") }
