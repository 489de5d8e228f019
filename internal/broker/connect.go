package broker

import (
	"crypto/rand"
	"time"

	"cardea/internal/mqtt"
)

// connect reads CONNECT and answers it. If it cannot be accepted the client has been told when it returns the error.
func (c *conn) connect() error {
	h, packet, err := c.first()
	if err != nil {
		return err
	}
	p, err := mqtt.ReadConnect(h, packet)
	c.v = p.Version
	if err != nil {
		return c.reject(err)
	}
	if _, ok := p.Props.Text(mqtt.AuthenticationMethod); ok {
		return c.reject(&mqtt.Error{Code: mqtt.BadAuthenticationMethod, Why: "enhanced authentication is not done here"})
	}
	if err := c.open(&p); err != nil {
		return c.reject(err)
	}
	return nil
}

// first reads the first packet, which must be a CONNECT (3.1).
func (c *conn) first() (h mqtt.Head, packet []byte, err error) {
	for {
		if err := c.fill(); err != nil {
			return h, nil, err
		}
		h, packet, err = c.in.next(c.b.limits.Packet)
		switch {
		case err != nil:
			return h, nil, err
		case packet == nil:
		case h.Type != mqtt.CONNECT:
			return h, nil, &mqtt.Error{Code: mqtt.ProtocolError, Why: "the first packet is not CONNECT"}
		default:
			c.b.stats.packetsIn.Add(1)
			c.b.stats.bytesIn.Add(uint64(len(packet)))
			return h, packet, nil
		}
	}
}

// reject answers CONNECT with the code of an error.
func (c *conn) reject(err error) error {
	code := mqtt.Unspecified
	if e, ok := err.(*mqtt.Error); ok {
		code = e.Code
	}
	// What the client does not read is lost: nobody waits for it here.
	stop := time.AfterFunc(grace, func() { c.nc.Close() })
	defer stop.Stop()
	c.nc.Write(mqtt.AppendConnack(nil, c.v, &mqtt.Connack{Code: code}))
	return err
}

// open finds or makes the session, and accepts the connection.
func (c *conn) open(p *mqtt.Connect) error {
	b := c.b
	id := string(p.ClientID)
	var props mqtt.Properties
	if id == "" {
		if c.v < mqtt.V5 && !p.CleanStart {
			return &mqtt.Error{Code: mqtt.ClientIDNotValid, Why: "a session that is to be kept has no client id"} // 3.1.3.1 there
		}
		id = "auto-" + rand.Text()
		props = props.AppendText(mqtt.AssignedClientID, id)
	}
	expiry := c.limits(p)
	for {
		s, present, left, err := b.claim(id, p.CleanStart)
		if err != nil {
			return err
		}
		b.settle(left)
		if err := b.store.wait(left.lsn); err != nil {
			b.abandon(s)
			return &mqtt.Error{Code: mqtt.ServerUnavailable, Why: "the end or the return of a session could not be written down"}
		}
		expiry = b.allow(s, expiry)
		hello := c.hello(p, props, expiry, present)
		if c.attach(s, expiry, newWill(p), hello) {
			return nil
		}
	}
}

// abandon gives up a session that was claimed and is not attached.
func (b *Broker) abandon(s *session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.mu.Lock()
	if s.conn != nil || s.ended {
		s.mu.Unlock()
		return
	}
	if s.expiry == 0 {
		s.mu.Unlock()
		b.end(s, 0)
		return
	}
	s.away()
	s.mu.Unlock()
}

// allow returns the expiry that a session may have: none if too many have one.
func (b *Broker) allow(s *session, expiry uint32) uint32 {
	if expiry == 0 || b.lasting.Load() < int64(b.limits.Sessions) || s.lasting() {
		return expiry
	}
	if b.quietSince(&b.saidFull) {
		b.logger.Warn("too many sessions outlive their connections; new ones do not", "sessions", b.limits.Sessions)
	}
	return 0
}

// limits takes over what a CONNECT says about limits, and returns the session's expiry.
func (c *conn) limits(p *mqtt.Connect) (expiry uint32) {
	l := &c.b.limits
	c.window = l.Inflight
	if l.KeepAlive > 0 {
		c.keepAlive = time.Duration(c.keepAliveOf(p)) * time.Second * 3 / 2
	}
	if c.v < mqtt.V5 {
		if p.CleanStart {
			return 0
		}
		return l.SessionExpiry
	}
	if n, ok := p.Props.Number(mqtt.ReceiveMaximum); ok {
		c.window = min(c.window, int(n))
	}
	if n, ok := p.Props.Number(mqtt.MaximumPacketSize); ok {
		c.maxPacket = min(c.maxPacket, int(n))
	}
	if n, ok := p.Props.Number(mqtt.TopicAliasMaximum); ok {
		c.aliasMax = min(l.AliasesOut, int(n))
	}
	n, _ := p.Props.Number(mqtt.SessionExpiry)
	return min(n, l.SessionExpiry)
}

// keepAliveOf is the keep alive that counts, in seconds.
func (c *conn) keepAliveOf(p *mqtt.Connect) uint16 {
	limit := c.b.limits.KeepAlive
	if c.v == mqtt.V5 && limit > 0 && (p.KeepAlive == 0 || p.KeepAlive > limit) {
		return limit
	}
	return p.KeepAlive
}

// hello is the CONNACK of a connection that is accepted (3.2).
func (c *conn) hello(p *mqtt.Connect, props mqtt.Properties, expiry uint32, present bool) []byte {
	a := mqtt.Connack{SessionPresent: present}
	if c.v == mqtt.V5 {
		l := &c.b.limits
		if n, _ := p.Props.Number(mqtt.SessionExpiry); n != expiry {
			props = props.AppendNumber(mqtt.SessionExpiry, expiry)
		}
		if n := c.keepAliveOf(p); n != p.KeepAlive {
			props = props.AppendNumber(mqtt.ServerKeepAlive, uint32(n))
		}
		props = props.AppendNumber(mqtt.ReceiveMaximum, uint32(l.Receive))
		props = props.AppendNumber(mqtt.MaximumPacketSize, uint32(l.Packet))
		if l.Aliases > 0 {
			props = props.AppendNumber(mqtt.TopicAliasMaximum, uint32(l.Aliases))
		}
		a.Props = props
	}
	return mqtt.AppendConnack(nil, c.v, &a)
}

// attach gives the connection the session, and is false if that has ended meanwhile.
func (c *conn) attach(s *session, expiry uint32, will *will, hello []byte) bool {
	w := c.b.work()
	left, ok := s.attach(c, expiry, will, hello, w)
	w.flush()
	c.b.settle(left)
	return ok
}
