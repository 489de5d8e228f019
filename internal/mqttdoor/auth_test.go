package mqttdoor

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

const (
	sha256 = "SCRAM-SHA-256"
	sha512 = "SCRAM-SHA-512"
)

// login is a SCRAM credential with its password.
type login struct {
	*who
	username, password string
}

// scram gives a principal a SCRAM credential.
func (h *house) scram(name string, changes ...func(*authority.NewCredential)) *login {
	h.Helper()
	n := authority.NewCredential{Kind: credential.SCRAM, Principal: name, TTL: time.Hour}
	for _, f := range changes {
		f(&n)
	}
	is, err := h.authority.CreateCredential(context.Background(), h.local, n)
	h.must(err)
	return &login{&who{name: name, cred: is.Credential.ID}, is.Credential.Username, is.Secret.Reveal()}
}

func withSHA512(n *authority.NewCredential) { n.Algorithm = credential.SHA512 }

func (l *login) client(t testing.TB, method string, exporter []byte) *testkit.ScramClient {
	t.Helper()
	c, err := testkit.NewScramClient(method, l.username, l.password, exporter)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func auth(code mqtt.Code, method string, data []byte) []byte {
	var p mqtt.Properties
	if method != "" {
		p = p.AppendText(mqtt.AuthenticationMethod, method)
	}
	if data != nil {
		p = p.AppendText(mqtt.AuthenticationData, string(data))
	}
	return mqtt.AppendAuth(nil, code, p)
}

func helloAs(id, method string, data []byte, changes ...func(*mqtt.Connect)) []byte {
	p := mqtt.Properties(nil).AppendText(mqtt.AuthenticationMethod, method)
	if data != nil {
		p = p.AppendText(mqtt.AuthenticationData, string(data))
	}
	c := mqtt.Connect{Version: mqtt.V5, CleanStart: true, ClientID: []byte(id), Props: p}
	for _, f := range changes {
		f(&c)
	}
	return mqtt.AppendConnect(nil, &c)
}

func text(p mqtt.Properties, id mqtt.PropertyID) string {
	t, _ := p.Text(id)
	return string(t)
}

func dial(t testing.TB, addr string) *testkit.MQTT {
	return testkit.DialMQTT(t, addr, testkit.MQTTConfig{Version: mqtt.V5})
}

// prove sends the client-final message that answers the AUTH which comes.
func prove(t testing.TB, c *testkit.MQTT, s *testkit.ScramClient, method string) {
	t.Helper()
	p := c.Expect(mqtt.AUTH).Disconnect
	if p.Code != mqtt.ContinueAuthentication || text(p.Props, mqtt.AuthenticationMethod) != method {
		t.Fatalf("AUTH %+v", p)
	}
	final, err := s.Final([]byte(text(p.Props, mqtt.AuthenticationData)))
	if err != nil {
		t.Fatal(err)
	}
	c.Send(auth(mqtt.ContinueAuthentication, method, final))
}

// enter connects by SCRAM.
func (h *house) enter(addr string, l *login, method string, changes ...func(*mqtt.Connect)) *testkit.MQTT {
	h.Helper()
	c, s := dial(h, addr), l.client(h, method, nil)
	c.Send(helloAs(l.name, method, s.First(), changes...))
	prove(h, c, s, method)
	p := c.Expect(mqtt.CONNACK).Connack
	if p.Code != mqtt.Success || text(p.Props, mqtt.AuthenticationMethod) != method || !s.Verify([]byte(text(p.Props, mqtt.AuthenticationData))) {
		h.Fatalf("CONNACK %+v", p)
	}
	return c
}

// again proves once more who it is, while it is connected.
func again(t testing.TB, c *testkit.MQTT, l *login, method string) mqtt.Code {
	t.Helper()
	s := l.client(t, method, nil)
	c.Send(auth(mqtt.ReAuthenticate, method, s.First()))
	prove(t, c, s, method)
	p := c.Expect(mqtt.AUTH, mqtt.DISCONNECT).Disconnect
	if p.Code == mqtt.Success && !s.Verify([]byte(text(p.Props, mqtt.AuthenticationData))) {
		t.Error("the server does not prove itself again")
	}
	return p.Code
}

// S10, S12: SCRAM with both hashes in front of both brokers: CONNACK repeats the method and has the server's proof, what was sent
// behind the exchange is served, traffic goes on while a client proves itself again, and only as who it was.
func TestScram(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		h.device("pump", "allow mqtt:* a/#")
		h.device("valve", "allow mqtt:* a/#")
		other := h.scram("valve")
		for method, l := range map[string]*login{sha256: h.scram("pump"), sha512: h.scram("pump", withSHA512, func(n *authority.NewCredential) { n.Username = "pump, the second = 512" })} {
			c := h.enter(h.addr, l, method)
			c.Ping()
			c.Subscribe(testkit.Filter("a/#", 1))

			s := l.client(t, method, nil)
			c.Send(auth(mqtt.ReAuthenticate, method, s.First()))
			challenge := c.Expect(mqtt.AUTH).Disconnect
			c.Publish("a/b", "while it proves itself", 1)
			c.Message()
			final, err := s.Final([]byte(text(challenge.Props, mqtt.AuthenticationData)))
			h.must(err)
			c.Send(auth(mqtt.ContinueAuthentication, method, final))
			if p := c.Expect(mqtt.AUTH).Disconnect; p.Code != mqtt.Success || !s.Verify([]byte(text(p.Props, mqtt.AuthenticationData))) {
				t.Fatalf("AUTH %+v", p)
			}
			c.Publish("a/b", "after", 1)
			c.Message()
			if n := h.sessions("pump"); n != 1 {
				t.Errorf("%d sessions", n)
			}
			if method == sha256 { // the other's credential has this hash
				if code := again(t, c, other, method); code != mqtt.NotAuthorized {
					t.Errorf("as somebody else: 0x%02X", byte(code))
				}
				h.gone("pump")
				c = h.enter(h.addr, l, method)
			}
			h.revoke(l.who) // the new proof is watched as the old one was
			if code, said := c.Closed(); !said || code != mqtt.NotAuthorized {
				t.Errorf("revoked: 0x%02X", byte(code))
			}
			h.gone("pump")
		}
	})
}

// S10: what each packet is answered with that must not come.
func TestScramOutOfOrder(t *testing.T) {
	h := newHouse(t)
	w := h.device("pump", "allow mqtt:* a/#")
	l := h.scram("pump")
	first := func() []byte { return l.client(t, sha256, nil).First() }
	ping := mqtt.AppendPing(nil, mqtt.PINGREQ)
	for _, one := range []struct {
		what string
		say  [][]byte
		want mqtt.Code
		with mqtt.Type
	}{
		{"an unknown method", [][]byte{helloAs("pump", "SCRAM-SHA-1", first())}, mqtt.BadAuthenticationMethod, mqtt.CONNACK},
		{"the method in another case", [][]byte{helloAs("pump", "scram-sha-256", first())}, mqtt.BadAuthenticationMethod, mqtt.CONNACK},
		{"channel binding without TLS", [][]byte{helloAs("pump", sha256+"-PLUS", first())}, mqtt.BadAuthenticationMethod, mqtt.CONNACK},
		{"no data", [][]byte{helloAs("pump", sha256, nil)}, mqtt.NotAuthorized, mqtt.CONNACK},
		{"no SCRAM", [][]byte{helloAs("pump", sha256, []byte("hello"))}, mqtt.NotAuthorized, mqtt.CONNACK},
		{"a wrong proof", [][]byte{helloAs("pump", sha256, first()), auth(mqtt.ContinueAuthentication, sha256, []byte("c=biws,r=x,p=AAAA"))}, mqtt.NotAuthorized, mqtt.CONNACK},
		{"another method", [][]byte{helloAs("pump", sha256, first()), auth(mqtt.ContinueAuthentication, sha512, first())}, mqtt.BadAuthenticationMethod, mqtt.CONNACK},
		{"no method", [][]byte{helloAs("pump", sha256, first()), auth(mqtt.ContinueAuthentication, "", nil)}, mqtt.ProtocolError, mqtt.CONNACK},
		{"another code", [][]byte{helloAs("pump", sha256, first()), auth(mqtt.ReAuthenticate, sha256, first())}, mqtt.ProtocolError, mqtt.CONNACK},
		{"a second CONNECT", [][]byte{helloAs("pump", sha256, first()), helloAs("pump", sha256, first())}, mqtt.ProtocolError, mqtt.CONNACK},
		{"a PUBLISH", [][]byte{helloAs("pump", sha256, first()), mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{Topic: []byte("a")}, nil)}, mqtt.ProtocolError, mqtt.CONNACK},
		{"an AUTH of 1 MB", [][]byte{helloAs("pump", sha256, first()), {0xF0, 0xC0, 0x84, 0x3D, 0x18}}, mqtt.ProtocolError, mqtt.CONNACK},
	} {
		c := dial(t, h.addr)
		for _, p := range one.say {
			_ = c.TrySend(p)
		}
		p := c.Expect(one.with, mqtt.AUTH)
		if p.Head.Type == mqtt.AUTH {
			p = c.Expect(one.with)
		}
		if code := max(p.Connack.Code, p.Disconnect.Code); code != one.want {
			t.Errorf("%s: 0x%02X, want 0x%02X", one.what, byte(code), byte(one.want))
		}
		c.Closed()
	}
	for _, one := range []struct {
		what  string
		token bool
		say   []byte
		want  mqtt.Code
	}{
		{"0x18 while connected", false, auth(mqtt.ContinueAuthentication, sha256, []byte("x")), mqtt.ProtocolError},
		{"0x19 of another method", false, auth(mqtt.ReAuthenticate, sha512, first()), mqtt.BadAuthenticationMethod},
		{"0x19 in the middle", false, append(auth(mqtt.ReAuthenticate, sha256, first()), auth(mqtt.ReAuthenticate, sha256, first())...), mqtt.ProtocolError},
		{"0x19 after a token", true, auth(mqtt.ReAuthenticate, sha256, first()), mqtt.BadAuthenticationMethod},
		{"0x19 with nonsense", false, auth(mqtt.ReAuthenticate, sha256, []byte("nonsense")), mqtt.NotAuthorized},
	} {
		var c *testkit.MQTT
		if one.token {
			c = h.connect(w, mqtt.V5)
		} else {
			c = h.enter(h.addr, l, sha256)
		}
		c.Send(append(ping, one.say...))
		if code, said := c.Closed(); !said || code != one.want {
			t.Errorf("%s: 0x%02X (told: %v), want 0x%02X", one.what, byte(code), said, byte(one.want))
		}
		h.gone("pump")
	}
}

// refusedLogin runs a handshake, as changed by edit, and returns the server-first message and the code of the CONNACK.
func refusedLogin(t testing.TB, addr string, l *login, edit func(final []byte) []byte, changes ...func(*mqtt.Connect)) (challenge string, code mqtt.Code) {
	t.Helper()
	c, s := dial(t, addr), l.client(t, sha256, nil)
	defer c.Drop()
	c.Send(helloAs(l.name, sha256, s.First(), changes...))
	p := c.Expect(mqtt.AUTH, mqtt.CONNACK)
	if p.Head.Type == mqtt.CONNACK {
		return "", p.Connack.Code
	}
	challenge = text(p.Disconnect.Props, mqtt.AuthenticationData)
	final, err := s.Final([]byte(challenge))
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		final = edit(final)
	}
	c.Send(auth(mqtt.ContinueAuthentication, sha256, final))
	return challenge, c.Expect(mqtt.CONNACK).Connack.Code
}

func saltOf(challenge string) string {
	_, rest, _ := strings.Cut(challenge, ",s=")
	return rest // with the iterations
}

// S01, S02: who does not exist is asked like everybody, with a salt that stays, and is refused in the end like a wrong password.
func TestScramUnknownUser(t *testing.T) {
	h := newHouse(t)
	h.device("pump", "allow mqtt:* a/#")
	real := h.scram("pump")
	wrong := &login{real.who, real.username, "not the password"}
	nobody := &login{&who{name: "nobody"}, "nobody", "x"}
	challenge, code := refusedLogin(t, h.addr, wrong, nil)
	fake, code2 := refusedLogin(t, h.addr, nobody, nil)
	if code != mqtt.NotAuthorized || code2 != mqtt.NotAuthorized {
		t.Errorf("0x%02X and 0x%02X", byte(code), byte(code2))
	}
	if len(challenge) != len(fake) || !strings.HasSuffix(fake, ",i=4096") {
		t.Errorf("a real challenge is %q, a fake one %q", challenge, fake)
	}
	if more, _ := refusedLogin(t, h.addr, nobody, nil); saltOf(more) != saltOf(fake) {
		t.Error("the fake salt changes")
	}
	h.device("nobody", "allow mqtt:* a/#") // it is somebody from now on: that it was not is not remembered
	h.enter(h.addr, h.scram("nobody"), sha256)
}

// S03, S04, S07: broken proofs, replays and foreign authorization identities.
func TestScramRefuses(t *testing.T) {
	h := newHouse(t)
	h.device("pump", "allow mqtt:* a/#")
	l := h.scram("pump")
	proof := func(p string) func([]byte) []byte {
		return func(final []byte) []byte { return append(final[:bytes.LastIndex(final, []byte(",p="))], ",p="+p...) }
	}
	var old []byte
	for what, edit := range map[string]func([]byte) []byte{
		"no proof":     proof(""),
		"31 bytes":     proof(strings.Repeat("A", 40) + "AA=="),
		"64 bytes":     proof(strings.Repeat("A", 86) + "=="),
		"another c=":   func(f []byte) []byte { return bytes.Replace(f, []byte("c=biws"), []byte("c=eSws"), 1) },
		"another r=":   func(f []byte) []byte { return bytes.Replace(f, []byte("r="), []byte("r=a"), 1) },
		"bad UTF-8":    func([]byte) []byte { return []byte("c=biws,r=\xff,p=AAAA") },
		"nothing":      func([]byte) []byte { return nil },
		"an extension": func(f []byte) []byte { return append([]byte("m=x,"), f...) },
		"a replay": func(f []byte) []byte {
			old = f
			return bytes.Replace(f, []byte("p="), []byte("p=A"), 1)
		},
	} {
		if _, code := refusedLogin(t, h.addr, l, edit); code != mqtt.NotAuthorized {
			t.Errorf("%s: 0x%02X", what, byte(code))
		}
	}
	if _, code := refusedLogin(t, h.addr, l, func([]byte) []byte { return old }); code != mqtt.NotAuthorized {
		t.Errorf("a final message of before: 0x%02X", byte(code))
	}
	for what, first := range map[string]string{
		"another's authzid": "n,a=valve,n=pump,r=abcdef", "no nonce": "n,,n=pump,r=", "no user": "n,,n=,r=abc", "no gs2 header": "n=pump,r=abc",
		"an unknown extension": "n,,m=x,n=pump,r=abc", "a NUL": "n,,n=pu\x00mp,r=abc",
	} {
		c := dial(t, h.addr)
		c.Send(helloAs("pump", sha256, []byte(first)))
		if p := c.Expect(mqtt.CONNACK).Connack; p.Code != mqtt.NotAuthorized {
			t.Errorf("%s: 0x%02X", what, byte(p.Code))
		}
	}
	h.enter(h.addr, l, sha256)
}

// The CONNECT of a client that speaks SCRAM may name nobody else, and its client id is bound as with any proof (M08).
func TestScramIdentity(t *testing.T) {
	h := newHouse(t)
	h.device("pump", "allow mqtt:* ${principal}/#")
	l := h.scram("pump", func(n *authority.NewCredential) { n.Username = "Pumpe" })
	user := func(name string) func(*mqtt.Connect) {
		return func(c *mqtt.Connect) { c.HasUser, c.User = true, []byte(name) }
	}
	if _, code := refusedLogin(t, h.addr, l, nil, user("valve")); code != mqtt.NotAuthorized {
		t.Errorf("another user name in CONNECT: 0x%02X", byte(code))
	}
	if _, code := refusedLogin(t, h.addr, l, nil, func(c *mqtt.Connect) { c.ClientID = []byte("valve") }); code != mqtt.NotAuthorized {
		t.Errorf("another client id: 0x%02X", byte(code))
	}
	c := h.enter(h.addr, l, sha256, user("Pumpe"))
	if codes := c.Subscribe(testkit.Filter("pump/#", 1), testkit.Filter("Pumpe/#", 1)); codes[0] != 1 || codes[1] != byte(mqtt.NotAuthorized) {
		t.Errorf("its rights are not those of the principal: %x", codes)
	}
	// S13: the password is good for SCRAM alone.
	for _, v := range versions {
		if code := h.knock(h.addr, testkit.MQTTConfig{Version: v, ClientID: "pump", User: l.username, Password: l.password}); code != mqtt.NotAuthorized {
			t.Errorf("password without SCRAM: 0x%02X", byte(code))
		}
	}
}

// What ends between the two steps, or while a client is connected, is refused, and cut.
func TestScramEnds(t *testing.T) {
	h := newHouse(t)
	h.device("pump", "allow mqtt:* a/#")
	l := h.scram("pump")
	if _, code := refusedLogin(t, h.addr, l, func(f []byte) []byte { h.revoke(l.who); return f }); code != mqtt.NotAuthorized {
		t.Errorf("revoked between the steps: 0x%02X", byte(code))
	}
	brief := h.scram("pump", func(n *authority.NewCredential) { n.TTL = 1500 * time.Millisecond })
	c := h.enter(h.addr, brief, sha256)
	if code, said := c.Closed(); !said || code != mqtt.NotAuthorized {
		t.Errorf("expired: 0x%02X", byte(code))
	}
	next := h.scram("pump", func(n *authority.NewCredential) { n.Username = "next" })
	was := *next
	r, err := h.authority.Rotate(context.Background(), h.local, next.cred, authority.Rotation{Overlap: time.Hour})
	h.must(err)
	next.password = r.Secret.Reveal()
	h.enter(h.addr, &was, sha256).Drop() // both are good until the old one ends
	h.gone("pump")
	h.enter(h.addr, next, sha256)
}

// S11: an exchange that does not end is ended, before the CONNACK and after it, and one source has so many at a time.
func TestScramStalls(t *testing.T) {
	h := newHouse(t, limits(Limits{Exchange: 300 * time.Millisecond, PendingSource: 3}))
	h.device("pump", "allow mqtt:* a/#")
	l := h.scram("pump")
	c := dial(t, h.addr)
	c.Send(helloAs("pump", sha256, l.client(t, sha256, nil).First()))
	c.Expect(mqtt.AUTH)
	c.Closed()

	c = h.enter(h.addr, l, sha256)
	c.Send(auth(mqtt.ReAuthenticate, sha256, l.client(t, sha256, nil).First()))
	c.Expect(mqtt.AUTH)
	if code, said := c.Closed(); !said || code != mqtt.NotAuthorized {
		t.Errorf("a second proof that does not come: 0x%02X", byte(code))
	}
	h.gone("pump")

	h.door.limits.Exchange = time.Minute
	var open []*testkit.MQTT
	for range 3 {
		c := dial(t, h.addr)
		c.Send(helloAs("pump", sha256, l.client(t, sha256, nil).First()))
		c.Expect(mqtt.AUTH)
		open = append(open, c)
	}
	c = dial(t, h.addr)
	c.Send(helloAs("pump", sha256, l.client(t, sha256, nil).First()))
	if p := c.Expect(mqtt.CONNACK).Connack; p.Code != mqtt.ConnectionRateExceeded {
		t.Errorf("a fourth: 0x%02X", byte(p.Code))
	}
	for _, c := range open {
		c.Drop()
	}
	h.eventually("their places are free again", func() bool {
		n := 0
		h.door.pending.Range(func(_, v any) bool { seats, _ := v.(interface{ Taken() (int, int) }).Taken(); n += seats; return true })
		return n == 0
	})
	h.enter(h.addr, l, sha256)
}

// exported is what both ends of a TLS connection can be bound to.
func exported(t testing.TB, c *tls.Conn) []byte {
	state := c.ConnectionState()
	data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// S05, S06: channel binding over TLS: it is offered, cannot be declined by who has it, and fails where somebody sits between.
func TestScramChannelBinding(t *testing.T) {
	h := newHouse(t)
	h.device("pump", "allow mqtt:* a/#")
	l := h.scram("pump")
	addr := h.listen(&Listener{Name: "tls", Scram: true, TLS: h.tls(false)})
	const plus = sha256 + "-PLUS"
	run := func(binding func(*tls.Conn) []byte, first func([]byte) []byte, method string) mqtt.Code {
		raw, err := tls.Dial("tcp", addr, h.trusting())
		h.must(err)
		c := testkit.MQTTOver(t, raw, mqtt.V5)
		defer c.Drop()
		s := l.client(t, method, binding(raw))
		c.Send(helloAs("pump", method, first(s.First())))
		p := c.Expect(mqtt.AUTH, mqtt.CONNACK)
		if p.Head.Type == mqtt.CONNACK {
			return p.Connack.Code
		}
		final, err := s.Final([]byte(text(p.Disconnect.Props, mqtt.AuthenticationData)))
		h.must(err)
		c.Send(auth(mqtt.ContinueAuthentication, method, final))
		ack := c.Expect(mqtt.CONNACK).Connack
		if ack.Code == mqtt.Success && !s.Verify([]byte(text(ack.Props, mqtt.AuthenticationData))) {
			t.Error("the server does not prove itself")
		}
		return ack.Code
	}
	mine := func(c *tls.Conn) []byte { return exported(t, c) }
	same := func(b []byte) []byte { return b }
	if code := run(mine, same, plus); code != mqtt.Success {
		t.Errorf("with the binding: 0x%02X", byte(code))
	}
	if code := run(mine, same, sha256); code != mqtt.Success {
		t.Errorf("by who knows no binding: 0x%02X", byte(code))
	}
	for what, one := range map[string]func() mqtt.Code{
		"another connection's binding": func() mqtt.Code {
			return run(func(*tls.Conn) []byte { return bytes.Repeat([]byte{7}, 32) }, same, plus)
		},
		"says that there is none": func() mqtt.Code {
			return run(mine, func(b []byte) []byte { return bytes.Replace(b, []byte("n,,"), []byte("y,,"), 1) }, sha256)
		},
		"tls-unique": func() mqtt.Code {
			return run(mine, func(b []byte) []byte { return bytes.Replace(b, []byte("p=tls-exporter"), []byte("p=tls-unique"), 1) }, plus)
		},
		"PLUS without binding": func() mqtt.Code {
			return run(mine, func(b []byte) []byte { return append([]byte("n,,"), b[len("p=tls-exporter,,"):]...) }, plus)
		},
	} {
		if code := one(); code != mqtt.NotAuthorized {
			t.Errorf("%s: 0x%02X", what, byte(code))
		}
	}
}

// Where a certificate is demanded it decides, and whoever speaks SCRAM beside must be the same principal by it.
func TestScramBesideCertificate(t *testing.T) {
	h := newHouse(t)
	h.device("pump", "allow mqtt:* a/#")
	h.device("valve", "allow mqtt:* a/#")
	pump, valve := h.scram("pump"), h.scram("valve")
	mine, pair := h.certificate("pump", time.Hour)
	addr := h.listen(&Listener{Name: "both", Certificates: true, Scram: true, Demand: true, TLS: h.tls(true)})
	run := func(l *login) (mqtt.Code, *testkit.MQTT) {
		raw, err := tls.Dial("tcp", addr, h.trusting(pair))
		h.must(err)
		c := testkit.MQTTOver(t, net.Conn(raw), mqtt.V5)
		s := l.client(t, sha256, nil)
		c.Send(helloAs(l.name, sha256, s.First()))
		prove(t, c, s, sha256)
		return c.Expect(mqtt.CONNACK).Connack.Code, c
	}
	if code, _ := run(valve); code != mqtt.NotAuthorized {
		t.Errorf("somebody else than the certificate's: 0x%02X", byte(code))
	}
	code, c := run(pump)
	if code != mqtt.Success {
		t.Fatalf("the same by both: 0x%02X", byte(code))
	}
	h.revoke(mine) // the session hangs on both
	if code, said := c.Closed(); !said || code != mqtt.NotAuthorized {
		t.Errorf("the certificate is revoked: 0x%02X", byte(code))
	}
}
