package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"cardea/internal/mqtt"
)

// mqttLink is the client's side of an MQTT 3.1.1 connection, which every broker speaks. It belongs to one goroutine.
type mqttLink struct {
	conn net.Conn
	in   *bufio.Reader
	ctx  context.Context //nolint:containedctx // the connection's own life
	stop func() bool     // ends the watch over ctx
}

const (
	linkKeepAlive = 30 * time.Second // a PINGREQ goes out after as long a silence
	linkPatience  = 10 * time.Second // for an answer, or a packet that has begun
)

// newMQTTLink makes a link that ends with ctx, whatever it waits for then; it can still be written to.
func newMQTTLink(ctx context.Context, conn net.Conn) *mqttLink {
	interrupt := func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) } // of a connection that is open
	return &mqttLink{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), ctx: ctx, stop: context.AfterFunc(ctx, interrupt)}
}

func (l *mqttLink) write(packets []byte) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(linkPatience)); err != nil {
		return err
	}
	_, err := l.conn.Write(packets)
	return err
}

// within lets reads wait until then.
func (l *mqttLink) within(d time.Duration) error {
	if err := l.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	return l.ctx.Err() // it may have ended before the deadline was set
}

// connect takes up the session of a client id, or begins it. token may be "".
func (l *mqttLink) connect(clientID, token string) error {
	c := mqtt.Connect{
		Version: mqtt.V311, ClientID: []byte(clientID), KeepAlive: uint16(2 * linkKeepAlive / time.Second),
		HasUser: token != "", User: []byte(token),
	}
	if err := l.write(mqtt.AppendConnect(nil, &c)); err != nil {
		return err
	}
	if err := l.within(linkPatience); err != nil {
		return err
	}
	h, packet, err := l.packet()
	if err != nil {
		return err
	}
	if h.Type != mqtt.CONNACK {
		return fmt.Errorf("the server answers a CONNECT with %v", h.Type)
	}
	a, err := mqtt.ReadConnack(mqtt.V311, h, packet)
	if err == nil && a.Code != mqtt.Success {
		err = fmt.Errorf("the server refuses the connection with return code %d", a.Code.ReturnCode())
	}
	return err
}

// next waits for a packet, however long that takes while the server answers pings.
func (l *mqttLink) next() (mqtt.Head, []byte, error) {
	wait := linkKeepAlive
	for {
		if err := l.within(wait); err != nil {
			return mqtt.Head{}, nil, err
		}
		_, err := l.in.Peek(1)
		switch {
		case err == nil:
			if err := l.within(linkPatience); err != nil {
				return mqtt.Head{}, nil, err
			}
			return l.packet()
		case !errors.Is(err, os.ErrDeadlineExceeded) || l.ctx.Err() != nil:
			return mqtt.Head{}, nil, err
		case wait == linkPatience:
			return mqtt.Head{}, nil, errors.New("the server does not answer a PINGREQ")
		}
		if err := l.write(mqtt.AppendPing(nil, mqtt.PINGREQ)); err != nil {
			return mqtt.Head{}, nil, err
		}
		wait = linkPatience
	}
}

// packet reads one, by the deadline that is set. It does not change when the next one is read.
func (l *mqttLink) packet() (h mqtt.Head, packet []byte, err error) {
	for n, ok := 2, false; !ok; n++ {
		head, err := l.in.Peek(n)
		if err != nil {
			return h, nil, err
		}
		if h, ok, err = mqtt.ReadHead(head); err != nil {
			return h, nil, err
		}
	}
	packet = make([]byte, h.Total())
	_, err = io.ReadFull(l.in, packet)
	return h, packet, err
}

// waiting reports whether a whole packet has arrived that was not read yet.
func (l *mqttLink) waiting() bool {
	b, _ := l.in.Peek(l.in.Buffered()) // what is buffered can be looked at
	h, ok, err := mqtt.ReadHead(b)
	return err == nil && ok && h.Total() <= len(b)
}

// acknowledge answers messages at QoS 1.
func (l *mqttLink) acknowledge(messages []message) error {
	var acks []byte
	for _, m := range messages {
		if m.id != 0 {
			acks = mqtt.AppendAck(acks, mqtt.V311, mqtt.PUBACK, m.id, mqtt.Success)
		}
	}
	if len(acks) == 0 {
		return nil
	}
	return l.write(acks)
}
