package mqttdoor

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/mqtt"
)

// The states of a client that authenticates by a method, and what each packet
// is answered with there:
//
//	connecting        AUTH 0x18 of the same method   goes on, until CONNACK
//	                  AUTH of another method         CONNACK 0x8C
//	                  any other packet               CONNACK 0x82
//	connected         AUTH 0x19 of the same method   begins again
//	                  AUTH 0x19 of another, or after a CONNECT without one: DISCONNECT 0x8C
//	                  any other AUTH                 DISCONNECT 0x82
//	reauthenticating  AUTH 0x18 of the same method   goes on, until AUTH 0x00
//	                  any other AUTH                 DISCONNECT 0x82
//	                  any other packet               as ever, with the rights from before
//
// Whoever fails is refused as with any other proof. A method may need one step alone: then CONNACK, or AUTH 0x00, is the answer to the first packet.

var (
	errAuthMethod = &mqtt.Error{Code: mqtt.BadAuthenticationMethod, Why: "AUTH of another method than that of CONNECT"}
	errNoMethod   = &mqtt.Error{Code: mqtt.BadAuthenticationMethod, Why: "no such authentication method here"}
	errPending    = &mqtt.Error{Code: mqtt.ConnectionRateExceeded, Why: "too many exchanges are pending"}
	errAuth       = &mqtt.Error{Code: mqtt.ProtocolError, Why: "AUTH where none is due, or with another code"}
	errNotAuth    = &mqtt.Error{Code: mqtt.ProtocolError, Why: "another packet than AUTH before CONNACK"}
	errLate       = &mqtt.Error{Code: mqtt.NotAuthorized, Why: "the client has not proved again in time who it is"}
)

// reauth is a session's exchange after CONNACK.
type reauth struct {
	mu   sync.Mutex
	run  *gate.Exchange // nil: connected
	busy bool           // a step is being taken
	late *time.Timer    // ends a session whose exchange does not end
}

// entrance is what a client shows. How it is used depends on the listener.
func (l *Listener) entrance(p *peer, c *mqtt.Connect) *gate.Entrance {
	in := &gate.Entrance{
		Listener: l.chain(), Evidence: gate.Evidence{Source: p.source.Addr(), Door: doorName, Route: doorName, Client: string(c.ClientID)}, Demand: l.Demand,
		Login: credential.Login{
			Username: string(c.User), Password: string(c.Password), ClientID: string(c.ClientID),
			Peer: p.source, Local: p.local, Protocol: "MQTT", Listener: l.kind(p) + ":" + l.chain(),
		},
	}
	if l.Certificates {
		in.Certificate, in.Presented = p.leaf, p.presented
	}
	return in
}

// enhanced lets a client prove who it is by the method that its CONNECT names. The error says how it is refused; said, that it was told so already.
func (s *Session) enhanced(ctx context.Context, p *peer, c *mqtt.Connect) (id *gate.Identity, said bool, err error) {
	name, _ := c.Props.Text(mqtt.AuthenticationMethod)
	s.method = string(name)
	run := s.exchange(p, c)
	if run == nil {
		s.method = ""
		return nil, false, errNoMethod
	}
	pending := s.door.pendingAt(s.listener)
	if !pending.Take(s.source.Addr(), s.listener.speaksFor(s.source.Addr())) {
		return nil, false, errPending
	}
	defer pending.Leave(s.source.Addr())
	defer run.Abandon()
	ctx, cancel := context.WithTimeout(ctx, s.door.limits.Exchange) // S11
	defer cancel()
	s.conn.SetReadDeadline(time.Now().Add(s.door.limits.Exchange))
	data, _ := c.Props.Text(mqtt.AuthenticationData)
	for {
		answer, id, why := run.Step(ctx, data)
		switch {
		case why != credential.OK:
			return nil, false, &mqtt.Error{Code: refusalFor(why), Why: "the client has not proved who it is"}
		case id != nil:
			s.proof, s.peer = answer, p
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

// exchange begins a run of the session's method; nil if the listener does not have it.
func (s *Session) exchange(p *peer, c *mqtt.Connect) *gate.Exchange {
	if s.method == gate.MethodJWT && !s.listener.Tokens || s.method != gate.MethodJWT && !s.listener.Scram {
		return nil
	}
	in := s.listener.entrance(p, c)
	if s.assigned { // the client has chosen none
		in.Client = ""
	}
	in.Exporter = p.exporter()
	return s.door.gate.Exchange(in, s.method)
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
		case ok && h.Type != mqtt.AUTH:
			return nil, false, errNotAuth // by a CONNACK: a DISCONNECT may not come before that
		case ok && h.Total() > maxConnect:
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
		if r.run = s.exchange(s.peer, &mqtt.Connect{ClientID: []byte(s.clientID)}); r.run == nil {
			return drop, errNoMethod // the listener had it when the client connected
		}
		run := r.run
		r.late = time.AfterFunc(s.door.limits.Exchange, func() { s.tooLate(run) })
	}
	r.busy = true
	s.meanwhile(func() { s.step(data) })
	return drop, nil
}

// step takes one step of a re-authentication (4.12.1).
func (s *Session) step(data []byte) {
	ctx, cancel := context.WithTimeout(s.door.ctx, s.door.limits.Exchange)
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
		r.late.Stop()
		code = refusalFor(why)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) { // what was not known in time counts as not proved
			code = mqtt.NotAuthorized
		}
		s.finish(ending{how: cut, reason: why, code: code, failed: true})
		s.w.kill(errDead)
		return
	case id != nil:
		r.late.Stop()
		r.run, code = nil, mqtt.Success
	case s.over(): // meanwhile: nobody else ends it
		r.run.Abandon()
	}
	if err := s.w.insert(s.authPacket(code, answer)); err != nil {
		s.finish(ending{how: lost})
	}
}

// tooLate ends a session whose exchange has not ended in time.
func (s *Session) tooLate(run *gate.Exchange) {
	r := &s.reauth
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run == run {
		if !r.busy { // otherwise the step is at it
			run.Abandon()
		}
		s.finish(ending{how: violated, code: mqtt.NotAuthorized, err: errLate})
	}
}

// forsake ends an exchange that its session does not survive.
func (s *Session) forsake() {
	r := &s.reauth
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run == nil {
		return
	}
	r.late.Stop()
	if !r.busy {
		r.run.Abandon()
	}
}

// become makes the session another proof of the same principal (S12). The new watch begins before the old one ends, so that no revocation falls between.
func (s *Session) become(ctx context.Context, id *gate.Identity) credential.Reason {
	was := s.id.Load()
	if id.Org != was.Org || id.PrincipalID != was.PrincipalID {
		return credential.Unbound
	}
	n := s.proofs + 1 // nobody else writes it
	w, why := s.door.gate.Watch(ctx, id, s.live(n))
	if why != credential.OK {
		return why
	}
	s.watching.Lock()
	old := s.watch
	s.watch, s.proofs = w, n
	s.id.Store(w.Identity())
	gone := s.unwatched
	s.watching.Unlock()
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
