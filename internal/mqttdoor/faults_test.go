package mqttdoor

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// frail is a broker that panics where it is told to.
type frail struct {
	Upstream
	at atomic.Value // string
}

func (f *frail) fall(where string) {
	if f.at.Load() == where {
		panic("a fault at " + where)
	}
}

func (f *frail) Admit(c *mqtt.Connect, s *Session) error {
	f.fall("admit")
	return f.Upstream.Admit(c, s)
}

func (f *frail) Run(ctx context.Context, s *Session) error {
	f.fall("run")
	switch f.at.Load() {
	case "judge in":
		s.in.flow.judge = fallen{}
	case "judge out":
		s.out.flow.judge = fallen{after: s.out.flow.judge}
	}
	err := f.Upstream.Run(ctx, s)
	f.fall("end")
	return err
}

func (f *frail) Unsubscribe(s *Session, filters []string) {
	f.fall("unsubscribe")
	f.Upstream.Unsubscribe(s, filters)
}

func (f *frail) Subscriptions(s *Session) []mqtt.Filter {
	f.fall("subscriptions")
	return f.Upstream.Subscriptions(s)
}

func (f *frail) Forget(ctx context.Context, s *Session) error {
	f.fall("forget")
	return f.Upstream.Forget(ctx, s)
}

func (f *frail) Publish(ctx context.Context, s *Session, m *Message) error {
	f.fall("publish")
	return f.Upstream.Publish(ctx, s, m)
}

// M22: a fault in what a session calls ends that session, and lets nothing pass; the process and other sessions live, and nothing is left behind.
func TestPanics(t *testing.T) {
	var broken *frail
	h := newHouse(t, func(h *house, c *Config) {
		broken = &frail{Upstream: h.embedded()}
		c.Upstream = broken
	})
	w, bystander := h.device("pump", all), h.connect(h.device("bystander", all), mqtt.V5)
	bystander.Subscribe(testkit.Filter("#", 2))
	pub := func(c *testkit.MQTT, id uint16) {
		c.Send(mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{Topic: []byte("b"), QoS: 2, ID: id}, []byte("x")))
	}
	for where, provoke := range map[string]func(c *testkit.MQTT){
		"admit":         nil,
		"run":           nil,
		"end":           func(c *testkit.MQTT) { c.Disconnect() },
		"subscriptions": nil,
		"unsubscribe":   func(*testkit.MQTT) { h.may("pump", "allow mqtt:publish b") },
		"forget": func(c *testkit.MQTT) {
			pub(c, 1)
			c.Expect(mqtt.PUBREC)
			bystander.Message()
			h.may("pump", "allow mqtt:publish c")
			c.Send(mqtt.AppendAck(nil, mqtt.V5, mqtt.PUBREL, 1, mqtt.Success))
		},
		"publish": func(c *testkit.MQTT) { c.Drop() },
	} {
		h.may("pump", all)
		if provoke == nil {
			if where == "subscriptions" { // a session that comes back
				c := h.connect(w, mqtt.V5, staying)
				c.Subscribe(testkit.Filter("a", 0))
				c.Disconnect()
				h.gone("pump")
			}
			broken.at.Store(where)
			c := testkit.DialMQTT(t, h.addr, testkit.MQTTConfig{})
			conf := w.config(mqtt.V5, staying)
			_ = c.TrySend(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, ClientID: []byte("pump"), HasUser: true, User: []byte(w.token), Props: conf.Props}))
			c.Closed()
		} else {
			c := h.connect(w, mqtt.V5, leaving("a", 0))
			c.Subscribe(testkit.Filter("a", 0))
			broken.at.Store(where)
			provoke(c)
			c.Closed()
		}
		h.gone("pump")
		h.eventually(where+": the client id is free", func() bool {
			h.door.owners.mu.Lock()
			defer h.door.owners.mu.Unlock()
			return len(h.door.owners.of) == 1
		})
		h.eventually(where+": nobody watches it", func() bool { return h.sessions("pump") == 0 })
		h.eventually(where+": it is logged", func() bool { return strings.Contains(h.log.String(), "a fault at "+where) })
		broken.at.Store("")
		bystander.Ping()
	}
}

// fallen is a judge that panics, at every message.
type fallen struct{ after judge }

func (f fallen) judge(h mqtt.Head, b []byte) (verdict, error) {
	if f.after != nil && h.Type != mqtt.PUBLISH {
		return f.after.judge(h, b)
	}
	panic("a fault of a judge")
}

// M22: a fault while a packet is judged denies it, in both directions.
func TestPanicsOfJudges(t *testing.T) {
	for _, way := range []string{"in", "out"} {
		h := newHouse(t, func(h *house, c *Config) {
			broken := &frail{Upstream: h.embedded()}
			broken.at.Store("judge " + way)
			c.Upstream = broken
		})
		w := h.device("pump", all)
		witness := h.witness(mqtt.V5)
		c := h.connect(w, mqtt.V5)
		if way == "in" {
			c.SendPublish(mqtt.Publish{Topic: []byte("a"), QoS: 1}, "denied")
		} else {
			c.Subscribe(testkit.Filter("a", 1))
			witness.SendPublish(mqtt.Publish{Topic: []byte("a"), QoS: 1}, "denied")
		}
		c.Closed()
		for _, p := range c.Inbox() {
			t.Errorf("%s: delivered %q", way, p.Payload)
		}
		h.gone("pump")
		if way == "in" {
			h.nothing(witness)
		}
	}
}

// M23: connections that begin with nonsense leave nothing behind: no memory, no session, no goroutine, and few lines of log.
func TestMalformedConnects(t *testing.T) {
	n := 20_000
	if soaking {
		n = 1_000_000
	}
	h := newHouse(t, limits(Limits{Failures: 1 << 30, FailureTime: time.Nanosecond, Connect: patience}))
	good := mqtt.AppendConnect(nil, &mqtt.Connect{
		Version: mqtt.V5, ClientID: []byte("pump"), HasUser: true, User: []byte("cardea_dev_x"), KeepAlive: 60,
		Props: mqtt.Properties(nil).AppendNumber(mqtt.SessionExpiry, 9).AppendUser("a", "b"), HasWill: true, Will: mqtt.Will{Topic: []byte("a"), Payload: []byte("x")},
	})
	rng := rand.New(rand.NewPCG(1, 2))
	l := &Listener{Name: "default", Tokens: true}
	one := func() {
		b := bytes.Clone(good)
		for range 1 + rng.IntN(4) {
			b[rng.IntN(len(b))] = byte(rng.Uint32())
		}
		c := &memoryConn{in: b[:rng.IntN(len(b)+1)]}
		if s := h.door.greet(c, l, peer{}); s != nil {
			s.serve()
		}
		if !c.closed.Load() {
			t.Fatalf("not closed after % x", b)
		}
	}
	for range n / 10 {
		one()
	}
	before := heap()
	for range n {
		one()
	}
	if more := heap() - before; more > 2<<20 {
		t.Errorf("%d bytes more than before", more)
	}
	if st := h.door.Stats(); st.Malformed == 0 || st.Sessions != 0 || st.Malformed+st.Refused > uint64(n+n/10) {
		t.Errorf("%+v", st)
	}
	if lines := strings.Count(h.log.String(), "\n"); lines > 100 {
		t.Errorf("%d lines of log", lines)
	}
	if strings.Contains(h.log.String(), "cardea_dev") || strings.Contains(h.log.String(), "pump") {
		t.Error("what clients have sent is in the log")
	}
}

// memoryConn is a connection whose peer has said all it has to say.
type memoryConn struct {
	in     []byte
	closed atomic.Bool
	net.Conn
}

func (c *memoryConn) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, errors.New("the peer is gone")
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *memoryConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *memoryConn) Close() error                     { c.closed.Store(true); return nil }
func (c *memoryConn) SetDeadline(time.Time) error      { return nil }
func (c *memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memoryConn) SetWriteDeadline(time.Time) error { return nil }

// What a client does wrong ends its session with the code of the standard, and others notice nothing (bad input of the issue).
func TestBadInput(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		w := h.device("pump-"+versionName(v), all)
		bystander := h.connect(h.device("bystander-"+versionName(v), all), v)
		publish := func(topic string) []byte { return mqtt.AppendPublish(nil, v, &mqtt.Publish{Topic: []byte(topic)}, nil) }
		for name, tc := range map[string]struct {
			b    []byte
			code mqtt.Code
		}{
			"a second CONNECT":         {mqtt.AppendConnect(nil, &mqtt.Connect{Version: v, CleanStart: true, ClientID: []byte(w.name)}), mqtt.ProtocolError},
			"a CONNACK":                {mqtt.AppendConnack(nil, v, &mqtt.Connack{}), mqtt.ProtocolError},
			"a SUBACK":                 {mqtt.AppendSuback(nil, v, mqtt.SUBACK, 1, nil, []byte{0}), mqtt.ProtocolError},
			"an UNSUBACK":              {mqtt.AppendSuback(nil, v, mqtt.UNSUBACK, 1, nil, []byte{0}), mqtt.ProtocolError},
			"a PINGRESP":               {[]byte{0xD0, 0}, mqtt.ProtocolError},
			"type 0":                   {[]byte{0, 0}, mqtt.MalformedPacket},
			"flags":                    {[]byte{0x83, 0}, mqtt.MalformedPacket},
			"QoS 3":                    {[]byte{0x36, 5, 0, 1, 'a', 0, 1}, mqtt.MalformedPacket},
			"a length without end":     {[]byte{0x30, 0xFF, 0xFF, 0xFF, 0xFF}, mqtt.MalformedPacket},
			"a wildcard":               {publish("a/+/b"), mqtt.TopicNameInvalid},
			"not UTF-8":                {publish("a\xff"), mqtt.MalformedPacket},
			"NUL":                      {publish("a\x00"), mqtt.MalformedPacket},
			"SUBSCRIBE of nothing":     {mqtt.AppendSubscribe(nil, v, 1, nil, nil), mqtt.ProtocolError},
			"id 0":                     {mqtt.AppendSubscribe(nil, v, 0, nil, []mqtt.Filter{testkit.Filter("a", 0)}), mqtt.ProtocolError},
			"a PUBACK that ends early": {[]byte{0x40, 1, 0}, mqtt.MalformedPacket},
			"a PINGREQ with a body":    {[]byte{0xC0, 1, 0}, mqtt.MalformedPacket},
			"AUTH":                     {mqtt.AppendAuth(nil, mqtt.ContinueAuthentication, mqtt.Properties(nil).AppendText(mqtt.AuthenticationMethod, "x")), mqtt.ProtocolError},
			// What killed a broker once: a SUBSCRIBE of 5.0 that ends inside of its properties.
			"a SUBSCRIBE that ends early": {[]byte{0x82, 6, 0, 1, 0, 0, 1, 'a'}, mqtt.MalformedPacket},
			"a DISCONNECT with a body":    {[]byte{0xE0, 3, 0, 1, 0xFF}, mqtt.MalformedPacket},
		} {
			c := h.connect(w, v)
			c.Send(tc.b)
			if code, said := c.Closed(); v == mqtt.V5 && (!said || code != tc.code) {
				t.Errorf("%s: told 0x%02X %v, want 0x%02X", name, byte(code), said, byte(tc.code))
			}
			h.gone(w.name)
		}
		bystander.Ping()
	}, limits(Limits{Failures: 1000}))
}

// What comes behind a DISCONNECT is nobody's business.
func TestNothingBehindDisconnect(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		witness := h.witness(v)
		w := h.device("pump-"+versionName(v), "allow mqtt:publish a")
		c := h.connect(w, v, leaving("a", 0))
		b := mqtt.AppendPublish(nil, v, &mqtt.Publish{Topic: []byte("a")}, []byte("before"))
		b = mqtt.AppendDisconnect(b, v, mqtt.Success, nil)
		b = mqtt.AppendPublish(b, v, &mqtt.Publish{Topic: []byte("a")}, []byte("behind"))
		b = mqtt.AppendPublish(b, v, &mqtt.Publish{Topic: []byte("no"), QoS: 1, ID: 1}, []byte("behind"))
		c.Send(b)
		for {
			p, _, err := c.Read()
			if err != nil {
				break
			}
			t.Errorf("answered with %v", p.Head.Type)
		}
		h.gone(w.name)
		h.only(witness, "before")
		if n := h.door.Stats().Denied; n != 0 {
			t.Errorf("%d denied", n)
		}
	})
}
