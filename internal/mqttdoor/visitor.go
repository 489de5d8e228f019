package mqttdoor

import (
	"context"
	"fmt"
	"net"
	"time"

	"cardea/internal/mqtt"
)

// visitor is a short connection of the door's own to a broker, on behalf of a principal.
type visitor struct {
	c       net.Conn
	buf     buffer
	version mqtt.Version
}

// visit connects anew under a client id, does what there is to do, and takes its leave.
func (x *External) visit(ctx context.Context, s *Session, clientID string, version mqtt.Version, do func(*visitor) error) error {
	c, err := x.dial(ctx, s)
	if err != nil {
		return err
	}
	defer c.Close()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(willPatience)
	}
	c.SetDeadline(deadline)
	defer context.AfterFunc(ctx, func() { c.SetDeadline(past) })()
	v := &visitor{c: c, version: version}
	defer v.buf.giveBack()
	connect := mqtt.Connect{Version: version, CleanStart: true, ClientID: []byte(clientID), KeepAlive: 60}
	x.identify(&connect, s.id.Load().Principal, s.org)
	if _, err := c.Write(mqtt.AppendConnect(nil, &connect)); err != nil {
		return err
	}
	h, packet, err := v.expect(mqtt.CONNACK)
	if err != nil {
		return err
	}
	ack, err := mqtt.ReadConnack(version, h, packet)
	v.buf.done(h.Total())
	switch {
	case err != nil:
		return err
	case ack.Code != mqtt.Success:
		return fmt.Errorf("the broker refuses the door (0x%02X)", byte(ack.Code))
	case ctx.Err() != nil: // the wake-up is on its way, but the broker was faster
		return ctx.Err()
	}
	if err := do(v); err != nil {
		return err
	}
	_, err = c.Write(mqtt.AppendDisconnect(nil, version, mqtt.Success, nil))
	return err
}

// publish returns when the broker has the message.
func (v *visitor) publish(m *Message) error {
	p := mqtt.Publish{QoS: m.QoS, Retain: m.Retain, Topic: []byte(m.Topic), Props: m.Props}
	if m.QoS > 0 {
		p.ID = 1
	}
	if _, err := v.c.Write(mqtt.AppendPublish(nil, v.version, &p, m.Payload)); err != nil {
		return err
	}
	switch m.QoS {
	case 1:
		return v.acknowledged(mqtt.PUBACK)
	case 2:
		if err := v.acknowledged(mqtt.PUBREC); err != nil {
			return err
		}
		if _, err := v.c.Write(mqtt.AppendAck(nil, v.version, mqtt.PUBREL, 1, mqtt.Success)); err != nil {
			return err
		}
		return v.acknowledged(mqtt.PUBCOMP)
	}
	return nil
}

func (v *visitor) acknowledged(t mqtt.Type) error {
	h, packet, err := v.expect(t)
	if err != nil {
		return err
	}
	defer v.buf.done(h.Total())
	a, err := mqtt.ReadAck(v.version, h, packet)
	if err == nil && a.Code.Failed() {
		err = fmt.Errorf("the broker refuses the message (0x%02X)", byte(a.Code))
	}
	return err
}

// expect reads one packet of a type.
func (v *visitor) expect(t mqtt.Type) (mqtt.Head, []byte, error) {
	for {
		b := v.buf.bytes()
		h, ok, err := mqtt.ReadHead(b)
		switch {
		case err != nil:
			return h, nil, err
		case ok && len(b) >= h.Total() && h.Type == t:
			return h, b[:h.Total()], nil
		case ok && h.Type != t:
			return h, nil, fmt.Errorf("the broker answers with %s instead of %s", h.Type, t)
		}
		if err := v.buf.fill(v.c); err != nil {
			return h, nil, err
		}
	}
}
