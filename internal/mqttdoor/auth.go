package mqttdoor

import (
	"bytes"
	"context"
	"sync"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/mqtt"
)

// Method is a way of enhanced authentication (4.12), as SCRAM-SHA-256 is one. A listener has those that it offers.
type Method interface {
	// Begin starts an exchange with a client of a listener.
	Begin(l *Listener, source gate.Evidence) Exchange
}

// Exchange is one run of a method: as many steps as the client needs to prove who it is. It is used by one goroutine at a time.
type Exchange interface {
	// Step takes what the client has sent and returns what it is to be sent. With an identity the client has proved to be
	// that; without one, and OK, it has to go on. Any other reason refuses it, and the exchange is over.
	Step(ctx context.Context, data []byte) (answer []byte, id *gate.Identity, why credential.Reason)
}

// The states of a client that authenticates by a method, and what each packet
// is answered with there:
//
//	connecting        AUTH 0x18 of the same method   goes on, until CONNACK
//	                  AUTH of another method         CONNACK 0x8C
//	                  any other AUTH, CONNECT        CONNACK 0x82
//	                  any other packet               DISCONNECT 0x82
//	connected         AUTH 0x19 of the same method   begins again
//	                  AUTH 0x19 of another, or after a CONNECT without one: DISCONNECT 0x8C
//	                  any other AUTH                 DISCONNECT 0x82
//	reauthenticating  AUTH 0x18 of the same method   goes on, until AUTH 0x00
//	                  any other AUTH                 DISCONNECT 0x82
//	                  any other packet               as ever, with the rights from before
//
// Whoever fails is refused as with any other proof.

// exchanging bounds an exchange before the CONNACK as a whole (S11).
const exchanging = 10 * time.Second

var (
	errAuthMethod = &mqtt.Error{Code: mqtt.BadAuthenticationMethod, Why: "AUTH of another method than that of CONNECT"}
	errAuth       = &mqtt.Error{Code: mqtt.ProtocolError, Why: "AUTH where none is due, or with another code"}
	errNotAuth    = &mqtt.Error{Code: mqtt.ProtocolError, Why: "another packet than AUTH before CONNACK"}
)

// reauth is a session's exchange after CONNACK.
type reauth struct {
	mu   sync.Mutex
	run  Exchange // nil: connected
	busy bool     // a step is being taken
}

// enhanced lets a client prove who it is by the method that its CONNECT names. The error says how it is refused; said, that it was told so already.
func (s *Session) enhanced(ctx context.Context, p peer, c *mqtt.Connect) (id *gate.Identity, said bool, err error) {
	name, _ := c.Props.Text(mqtt.AuthenticationMethod)
	method := s.listener.Methods[string(name)]
	if method == nil {
		return nil, false, &mqtt.Error{Code: mqtt.BadAuthenticationMethod, Why: "no such authentication method here"}
	}
	s.method = string(name)
	ctx, cancel := context.WithTimeout(ctx, exchanging)
	defer cancel()
	s.conn.SetReadDeadline(time.Now().Add(exchanging))
	run := method.Begin(s.listener, gate.Evidence{Source: p.source.Addr(), Door: doorName})
	data, _ := c.Props.Text(mqtt.AuthenticationData)
	for {
		answer, id, why := run.Step(ctx, data)
		switch {
		case why != credential.OK:
			return nil, false, &mqtt.Error{Code: refusals[why.Class()], Why: "the client has not proved who it is"}
		case id != nil:
			s.proof = answer
			return id, false, nil
		}
		if err := s.w.insert(s.authPacket(mqtt.ContinueAuthentication, answer)); err != nil {
			sever(s.conn)
			return nil, true, err
		}
		if data, said, err = s.nextAuth(); err != nil {
			return nil, said, err
		}
	}
}

func (s *Session) authPacket(code mqtt.Code, data []byte) []byte {
	p := mqtt.Properties(nil).AppendText(mqtt.AuthenticationMethod, s.method)
	if data != nil {
		p = p.AppendText(mqtt.AuthenticationData, string(data))
	}
	return mqtt.AppendAuth(nil, code, p)
}

// nextAuth reads the next packet before the CONNACK, which must be an AUTH that goes on.
func (s *Session) nextAuth() (data []byte, said bool, err error) {
	buf := &s.in.buf
	for {
		b := buf.bytes()
		h, ok, err := mqtt.ReadHead(b)
		switch {
		case err != nil:
			return nil, false, err
		case ok && h.Type != mqtt.AUTH && h.Type != mqtt.CONNECT:
			s.last(mqtt.AppendDisconnect(nil, s.version, mqtt.ProtocolError, nil), lastWord)
			return nil, true, errNotAuth
		case ok && (h.Type == mqtt.CONNECT || h.Total() > maxConnect):
			return nil, false, errAuth
		case ok && len(b) >= h.Total():
			data, err := s.readAuth(h, b, mqtt.ContinueAuthentication)
			buf.done(h.Total())
			return data, false, err
		}
		if err := buf.fill(s.conn); err != nil {
			sever(s.conn)
			return nil, true, err
		}
	}
}

// readAuth returns a copy of the data of an AUTH with a code, of the session's method.
func (s *Session) readAuth(h mqtt.Head, b []byte, code mqtt.Code) ([]byte, error) {
	a, err := mqtt.ReadAuth(s.version, h, b)
	if err != nil {
		return nil, err
	}
	name, ok := a.Props.Text(mqtt.AuthenticationMethod)
	switch {
	case a.Code != code, !ok:
		return nil, errAuth
	case s.method == "" || string(name) != s.method:
		return nil, errAuthMethod
	}
	data, _ := a.Props.Text(mqtt.AuthenticationData)
	return bytes.Clone(data), nil
}

// auth takes an AUTH of a session that lives. Its steps are taken aside: traffic goes on meanwhile.
func (in *inbound) auth(h mqtt.Head, b []byte) (verdict, error) {
	s := in.s
	r := &s.reauth
	r.mu.Lock()
	defer r.mu.Unlock()
	want := mqtt.ReAuthenticate
	if r.run != nil {
		want = mqtt.ContinueAuthentication
	}
	data, err := s.readAuth(h, b, want)
	switch {
	case err != nil:
		return drop, err
	case r.busy:
		return drop, errAuth
	case r.run == nil:
		r.run = s.listener.Methods[s.method].Begin(s.listener, gate.Evidence{Source: s.source.Addr(), Door: doorName})
	}
	r.busy = true
	s.meanwhile(func() { s.step(data) })
	return drop, nil
}

// step takes one step of a re-authentication (4.12.1).
func (s *Session) step(data []byte) {
	ctx, cancel := context.WithTimeout(s.door.ctx, exchanging)
	defer cancel()
	r := &s.reauth
	answer, id, why := r.run.Step(ctx, data)
	if why == credential.OK && id != nil {
		why = s.become(ctx, id)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy = false
	code := mqtt.ContinueAuthentication
	switch {
	case why != credential.OK:
		s.finish(ending{how: cut, reason: why, code: refusals[why.Class()]})
		s.w.kill(errDead)
		return
	case id != nil:
		r.run, code = nil, mqtt.Success
	}
	if err := s.w.insert(s.authPacket(code, answer)); err != nil {
		s.finish(ending{how: lost})
	}
}

// become makes the session another proof of the same principal (S12). The new watch begins before the old one ends, so that no revocation falls between.
func (s *Session) become(ctx context.Context, id *gate.Identity) credential.Reason {
	was := s.id.Load()
	if id.Org != was.Org || id.PrincipalID != was.PrincipalID {
		return credential.Unbound
	}
	w, why := s.door.gate.Watch(ctx, id, s.live())
	if why != credential.OK {
		return why
	}
	s.watching.Lock()
	old := s.watch
	s.watch = w
	gone := s.unwatched
	s.watching.Unlock()
	s.id.Store(id)
	old.Close()
	if gone { // the session has ended meanwhile
		w.Close()
		return credential.OK
	}
	s.reassess()
	return credential.OK
}

// unwatch ends the watch, and any that would follow it.
func (s *Session) unwatch() {
	s.watching.Lock()
	defer s.watching.Unlock()
	s.unwatched = true
	if s.watch != nil {
		s.watch.Close()
	}
}
