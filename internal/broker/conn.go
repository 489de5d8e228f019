package broker

import (
	"errors"
	"io"
	"net"
	"runtime/debug"
	"time"

	"cardea/internal/mqtt"
)

// conn is one client connection. What is below out is under the lock of its session.
type conn struct {
	b  *Broker
	nc net.Conn
	s  *session
	v  mqtt.Version

	// Of the goroutine that reads.
	in        input
	keepAlive time.Duration
	aliases   map[uint16][]byte // that the client has set
	last      *route            // of the newest message

	out       *buffer       // frames to be written; nil while there are none
	writing   bool          // somebody is at it, or has been told to be
	over      bool          // nothing more goes out; the connection is closed when out is written
	linger    bool          // or when the client has closed it, if that comes soon enough
	idle      chan struct{} // closed when nobody is writing, for who waits for that
	room      chan struct{} // closed when what waited is being written, for the reader when it waits for that
	cut       *time.Timer   // closes the connection if it does not end by itself
	acks      []ack         // what waits for the store, in order
	told      bool          // the store knows that something waits
	pending   int           // PUBLISH of QoS 1 and 2 that are not answered yet
	window    int           // Receive Maximum of the client, or less
	maxPacket int
	aliasMax  int
	aliased   map[string]uint16 // that the broker has set
}

// errTakenOver ends a connection whose session is not its own any more.
var errTakenOver = &mqtt.Error{Code: mqtt.SessionTakenOver, Why: "another connection has the session"}

// grace is how long a client may take to read why its connection ends.
const grace = time.Second

// ErrClosed is what Serve and Publish return after Close.
var ErrClosed = errors.New("broker: closed")

// Serve serves one client connection, from CONNECT on, and closes it. It returns when the connection is
// over: nil if the client has said so, io.EOF if it went away, an [*mqtt.Error] if it broke the protocol or was sent away.
// Writes may wait for the client: they are done by goroutines of their own.
func (b *Broker) Serve(nc net.Conn) error {
	if !b.enter() {
		nc.Close()
		return ErrClosed
	}
	defer b.serving.Done()
	b.stats.connections.Add(1)
	defer b.stats.connections.Add(-1)
	c := &conn{b: b, nc: nc, maxPacket: mqtt.MaxLength}
	normal, err := c.serve()
	c.finish(normal, err)
	return err
}

// serve reads until the connection is over. A panic ends this connection only.
func (c *conn) serve() (normal bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			normal, err = false, &mqtt.Error{Code: mqtt.Unspecified, Why: "the broker panicked"}
			c.b.sayPanic(p, debug.Stack())
		}
	}()
	defer c.in.release()
	if err := c.connect(); err != nil {
		return false, err
	}
	for {
		done, err := c.batch()
		if done || err != nil {
			return done, err
		}
		c.b.store.pace()
		c.pace()
		if err := c.fill(); err != nil {
			return false, err
		}
	}
}

// batch handles the packets that have been read, and sees to it that what they caused is written. done says that the client has said goodbye.
func (c *conn) batch() (done bool, err error) {
	w := c.b.work()
	defer w.flush()
	for {
		h, packet, err := c.in.next(c.b.limits.Packet)
		if err != nil || packet == nil {
			return false, err
		}
		w.read(len(packet))
		if h.Type == mqtt.DISCONNECT {
			return c.disconnect(h, packet)
		}
		if err := c.handle(w, h, packet); err != nil {
			return false, err
		}
	}
}

// pace waits while more answers wait to be written than a client can need that reads them.
func (c *conn) pace() {
	c.s.mu.Lock()
	if c.over || c.buffered() < 2*c.b.limits.Output {
		c.s.mu.Unlock()
		return
	}
	room := make(chan struct{})
	c.room = room
	c.s.mu.Unlock()
	<-room
}

// fill reads more.
func (c *conn) fill() error {
	if c.keepAlive > 0 {
		if err := c.nc.SetReadDeadline(time.Now().Add(c.keepAlive)); err != nil {
			return err
		}
	}
	err := c.in.fill(c.nc)
	var timeout net.Error
	if c.keepAlive > 0 && errors.As(err, &timeout) && timeout.Timeout() {
		return &mqtt.Error{Code: mqtt.KeepAliveTimeout, Why: "nothing came within one and a half times the keep alive"} // 3.1.2.10
	}
	return err
}

// handle handles one packet.
func (c *conn) handle(w *work, h mqtt.Head, packet []byte) error {
	switch h.Type {
	case mqtt.PUBLISH:
		return c.publish(w, h, packet)
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP:
		return c.acknowledge(w, h, packet)
	case mqtt.SUBSCRIBE:
		return c.subscribe(w, h, packet)
	case mqtt.UNSUBSCRIBE:
		return c.unsubscribe(w, h, packet)
	case mqtt.PINGREQ:
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		c.put(pong, w)
		return nil
	}
	return &mqtt.Error{Code: mqtt.ProtocolError, Why: "a client sends no " + h.Type.String() + " here"}
}

var pong = mqtt.AppendPing(nil, mqtt.PINGRESP)

// disconnect handles the client's goodbye (3.14).
func (c *conn) disconnect(h mqtt.Head, packet []byte) (done bool, err error) {
	d, err := mqtt.ReadDisconnect(c.v, h, packet)
	if err != nil {
		return false, err
	}
	if n, ok := d.Props.Number(mqtt.SessionExpiry); ok {
		if !c.setExpiry(n) {
			return false, &mqtt.Error{Code: mqtt.ProtocolError, Why: "DISCONNECT gives a session an expiry that had none"} // 3.14.2.2.2
		}
	}
	if d.Code != mqtt.Success {
		return false, io.EOF // the will is wanted
	}
	return true, nil
}

// setExpiry is false if the session was to end with its connection.
func (c *conn) setExpiry(n uint32) bool {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != c {
		return true
	}
	if s.expiry == 0 && n > 0 {
		return false
	}
	s.setExpiry(min(n, c.b.limits.SessionExpiry))
	return true
}

// finish says why, if there is somebody to say it to, parts with the session and returns when nothing of the connection is left.
func (c *conn) finish(normal bool, why error) {
	code := mqtt.Success
	if e, ok := errors.AsType[*mqtt.Error](why); ok {
		code = e.Code
		c.b.stats.violations.Add(1)
	}
	if c.s == nil { // CONNECT was not accepted, and has been answered
		c.nc.Close()
		return
	}
	c.s.mu.Lock()
	c.end(code)
	c.s.mu.Unlock()
	c.b.settle(c.b.detach(c, normal))
	c.s.mu.Lock()
	idle := c.idle
	if c.writing && idle == nil {
		idle = make(chan struct{})
		c.idle = idle
	}
	writing, linger, cut := c.writing, c.linger, c.cut
	c.s.mu.Unlock()
	if linger {
		c.drain()
	}
	if writing {
		<-idle
	}
	if cut != nil {
		cut.Stop()
	}
	c.nc.Close()
}

// drain reads until the client closes the connection or the grace is over.
func (c *conn) drain() {
	defer c.b.recover()
	var trash [128]byte
	for {
		if _, err := c.nc.Read(trash[:]); err != nil {
			return
		}
	}
}
