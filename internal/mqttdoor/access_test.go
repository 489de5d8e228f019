package mqttdoor

import (
	"context"
	sha2 "crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/mqtt"
	"cardea/internal/testkit"
	"cardea/internal/testkit/foundation"
)

// oauth is an OAuth client of a principal.
type oauth struct {
	h            *house
	name         string
	id, password string
}

func (h *house) oauth(name string, config credential.ClientConfig) *oauth {
	h.Helper()
	o := &oauth{h: h, name: name}
	o.id, o.password = h.base.Tokens.Client(h, name, config)
	return o
}

// mint gets an access token.
func (o *oauth) mint(w gate.Wanted) gate.Minted {
	o.h.Helper()
	return o.h.base.Tokens.Token(o.h, o.id, o.password, w)
}

// as is who with an access token.
func (o *oauth) as(m gate.Minted) *who { return &who{name: o.name, token: m.Token, cred: o.id} }

// padded is an access token of nearly the length that is taken at most (J11).
func (o *oauth) padded(m gate.Minted) string {
	key := o.h.base.Tokens.Key(o.h)
	claims := map[string]any{
		"iss": foundation.Issuer, "sub": o.name, "aud": foundation.Issuer, "exp": m.ExpiresAt.Unix(), "iat": time.Now().Unix(), "jti": m.ID, "client_id": o.id,
		"scope": strings.Join(m.Scopes, " "), "org": "default", "kind": "device", "crd": o.id + ".1", "pad": strings.Repeat("x", 5600),
	}
	return testkit.SignJWT(o.h, key, map[string]any{"typ": "at+jwt", "kid": testkit.Thumbprint(o.h, key)}, claims)
}

// J09, M08: an access token is the user name, or the password beside a user name that is the principal's or the client id; the rules of client ids hold. What
// is no access token is refused, though we have signed it.
func TestAccessTokens(t *testing.T) {
	h := newHouse(t)
	h.device("pump", all)
	h.device("valve", all)
	pump := h.oauth("pump", credential.ClientConfig{})
	m := pump.mint(gate.Wanted{})
	long := pump.padded(m)
	if len(long) < 7500 || len(long) > 8192 {
		t.Fatalf("the long one has %d bytes", len(long))
	}
	id := h.base.Tokens.Key(t)
	other := testkit.SignJWT(t, id, map[string]any{"typ": "JWT", "kid": testkit.Thumbprint(t, id)}, map[string]any{"iss": foundation.Issuer, "sub": "pump", "aud": foundation.Issuer, "exp": m.ExpiresAt.Unix()})
	proof := testkit.NewHolder(t).Proof("GET", foundation.Issuer, "", h.gate.Nonce())
	bound := pump.mint(gate.Wanted{JKT: testkit.NewHolder(t).JKT})
	for _, v := range versions {
		for name, tc := range map[string]struct {
			id, user, password string
			ok                 bool
		}{
			"user name":                         {"pump", m.Token, "", true},
			"password, user name the principal": {"pump:1", "pump", m.Token, true},
			"password, user name the client id": {"pump:1", "pump:1", m.Token, true},
			"of 8 KiB, as password":             {"pump", "pump", long, true},
			"of 8 KiB, as user name":            {"pump", long, "", true},
			"longer":                            {"pump", "pump", long + strings.Repeat("A", 1<<10), false},
			"password, another user name":       {"pump", "valve", m.Token, false},
			"another's client id":               {"valve", "pump", m.Token, false},
			"spoilt":                            {"pump", "pump", testkit.Spoil(m.Token), false},
			"the client's secret":               {"pump", "pump", pump.password, false},
			"an ID token":                       {"pump", "pump", other, false},
			"a DPoP proof":                      {"pump", "pump", proof, false},
			"bound to a key (J22)":              {"pump", "pump", bound.Token, false},
		} {
			want := mqtt.NotAuthorized
			if tc.ok {
				want = mqtt.Success
			}
			if code := h.knock(h.addr, testkit.MQTTConfig{Version: v, ClientID: tc.id, User: tc.user, Password: tc.password}); code != want {
				t.Errorf("%s, %s: 0x%02X", versionName(v), name, byte(code))
			}
			h.gone("pump")
		}
	}
}

// J25, M18: what ends an access token ends it here at once, with the session that lives by it; nothing is delivered after that.
func TestAccessTokenEnds(t *testing.T) {
	for name, end := range map[string]func(h *house, o *oauth, m gate.Minted){
		"client revoked":     func(h *house, o *oauth, m gate.Minted) { h.revoke(o.as(m)) },
		"secret replaced":    func(h *house, o *oauth, _ gate.Minted) { h.base.Tokens.Rotate(h, o.id) },
		"token revoked":      func(h *house, o *oauth, m gate.Minted) { h.base.Tokens.Deny(h, m, o.id) },
		"key revoked":        func(h *house, _ *oauth, _ gate.Minted) { h.base.Tokens.RevokeKey(h) },
		"principal disabled": func(h *house, o *oauth, _ gate.Minted) { h.disable(o.name, true) },
		"its time":           func(_ *house, _ *oauth, m gate.Minted) { time.Sleep(time.Until(m.ExpiresAt)) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.device("pump", all)
			bystander := h.connect(h.device("bystander", all), mqtt.V5)
			o := h.oauth("pump", credential.ClientConfig{TokenLife: map[bool]time.Duration{true: 2 * time.Second}[name == "its time"]})
			m := o.mint(gate.Wanted{})
			sessions := map[mqtt.Version]*testkit.MQTT{}
			for _, v := range versions {
				sessions[v] = h.connect(o.as(m), v, called(fmt.Sprintf("pump:%d", v)))
				sessions[v].Subscribe(testkit.Filter("a/#", 1))
			}
			end(h, o, m)
			if name != "its time" { // the timer may come a little later
				bystander.Publish("a/b", "after the end", 1)
			}
			for v, c := range sessions {
				code, said := c.Closed()
				if said != (v == mqtt.V5) || said && code != mqtt.NotAuthorized {
					t.Errorf("%s: told 0x%02X %v", versionName(v), byte(code), said)
				}
				if n := len(c.Inbox()); n > 0 {
					t.Errorf("%s: %d messages after the end", versionName(v), n)
				}
				if code := h.knock(h.addr, o.as(m).config(v)); code != mqtt.NotAuthorized {
					t.Errorf("%s: it comes back and is answered 0x%02X", versionName(v), byte(code))
				}
			}
			bystander.Ping()
		})
	}
}

const jwtMethod = "OAUTH2-JWT"

// bear connects by the method.
func (h *house) bear(addr string, o *oauth, m gate.Minted, changes ...func(*mqtt.Connect)) *testkit.MQTT {
	h.Helper()
	c := dial(h, addr)
	c.Send(helloAs(o.name, jwtMethod, []byte(m.Token), changes...))
	p := c.Expect(mqtt.CONNACK).Connack
	if _, data := p.Props.Text(mqtt.AuthenticationData); p.Code != mqtt.Success || text(p.Props, mqtt.AuthenticationMethod) != jwtMethod || data {
		h.Fatalf("CONNACK %+v", p)
	}
	return c
}

// renew shows another token on the same connection.
func renew(c *testkit.MQTT, token string) mqtt.Code {
	c.Send(auth(mqtt.ReAuthenticate, jwtMethod, []byte(token)))
	return c.Expect(mqtt.AUTH, mqtt.DISCONNECT).Disconnect.Code
}

// S10, S12: a client shows its token by a method, and the next one before the first has ended: the session goes on, with the deadline and
// the rights of the new one, in front of both brokers. Only the token that holds now ends it.
func TestRenewedAccessToken(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		h.device("pump", "allow mqtt:* a/#")
		h.may("b", "allow mqtt:* b/#")
		was, err := h.authority.Role(ctx, h.local, "pump")
		h.must(err)
		_, err = h.authority.PutRole(ctx, h.local, credential.Role{Org: credential.DefaultOrg, Name: "pump", Scopes: []string{"pump", "b"}, Version: was.Version})
		h.must(err)
		short, long := h.oauth("pump", credential.ClientConfig{TokenLife: 3 * time.Second}), h.oauth("pump", credential.ClientConfig{})
		first := short.mint(gate.Wanted{Scopes: []string{"pump"}})
		w := h.witness(mqtt.V5)
		c := h.bear(h.addr, short, first)
		c.Subscribe(testkit.Filter("a/#", 1))
		c.Publish("a/x", "before", 1)
		c.Message()
		second := long.mint(gate.Wanted{Scopes: []string{"b"}})
		if code := renew(c, second.Token); code != mqtt.Success {
			t.Fatalf("AUTH 0x%02X", byte(code))
		}
		if code := c.Publish("a/x", "by the old one", 1); code != mqtt.NotAuthorized {
			t.Errorf("PUBLISH by the rights of the old one: 0x%02X", byte(code))
		}
		if code := c.Publish("b/x", "by the new one", 1); code.Failed() {
			t.Errorf("PUBLISH by the rights of the new one: 0x%02X", byte(code))
		}
		w.Publish("a/x", "not for it any more", 1)
		time.Sleep(time.Until(first.ExpiresAt) + 200*time.Millisecond)
		c.Ping()
		if n := len(c.Inbox()); n > 0 {
			t.Errorf("%d messages by the rights of the old one", n)
		}
		h.revoke(short.as(first))
		c.Ping()
		if n := h.sessions("pump"); n != 1 {
			t.Errorf("%d sessions", n)
		}
		h.base.Tokens.Deny(h, second, long.id)
		if code, said := c.Closed(); !said || code != mqtt.NotAuthorized {
			t.Errorf("with the new one revoked: 0x%02X", byte(code))
		}
	})
}

// S12, J09: what must not renew a session ends it, as a wrong proof of another method does.
func TestNotRenewed(t *testing.T) {
	h := newHouse(t)
	pumpToken := h.device("pump", all)
	h.device("valve", all)
	pump, valve := h.oauth("pump", credential.ClientConfig{}), h.oauth("valve", credential.ClientConfig{})
	m := pump.mint(gate.Wanted{})
	denied := pump.mint(gate.Wanted{})
	h.base.Tokens.Deny(h, denied, pump.id)
	for name, token := range map[string]string{
		"somebody else's": valve.mint(gate.Wanted{}).Token, "spoilt": testkit.Spoil(m.Token), "revoked": denied.Token, "no JWT": pumpToken.token, "nothing": "",
		"a proof": testkit.NewHolder(t).Proof("GET", foundation.Issuer, "", h.gate.Nonce()),
	} {
		c := h.bear(h.addr, pump, m)
		c.Ping()
		if code := renew(c, token); code != mqtt.NotAuthorized {
			t.Errorf("%s: 0x%02X", name, byte(code))
		}
		h.gone("pump")
	}
	c := h.connect(pump.as(m), mqtt.V5) // a CONNECT without a method
	if code := renew(c, m.Token); code != mqtt.BadAuthenticationMethod {
		t.Errorf("after a CONNECT without it: 0x%02X", byte(code))
	}
}

// S10: where and how the method is there.
func TestBearerMethod(t *testing.T) {
	h := newHouse(t)
	pumpToken := h.device("pump", all)
	pump := h.oauth("pump", credential.ClientConfig{})
	m := pump.mint(gate.Wanted{})
	s := h.restService()
	s.user(t, "pump", "secret", map[string]any{"password": "secret", "result": "allow"})
	h.remote(s, credential.ByHTTP)
	none := h.listen(&Listener{Name: "none", Scram: true})
	own := h.listenBare(&Listener{Name: "own", Tokens: true})
	h.base.Chain(t, "own", credential.ByJWT)
	demand := &Listener{Name: "demand", Tokens: true, Certificates: true, Demand: true, TLS: h.tls(true)}
	h.chain(demand)
	_, cert := h.certificate("pump", time.Hour)
	said := func(user, password string) func(*mqtt.Connect) {
		return func(c *mqtt.Connect) {
			c.HasUser, c.User, c.HasPassword, c.Password = user != "", []byte(user), password != "", []byte(password)
		}
	}
	nobody := said("", "")
	for name, tc := range map[string]struct {
		addr, method, data string
		change             func(*mqtt.Connect)
		want               mqtt.Code
	}{
		"good":                             {h.addr, jwtMethod, m.Token, nobody, mqtt.Success},
		"with the chain of JWTs":           {own, jwtMethod, m.Token, nobody, mqtt.Success},
		"with the principal's name":        {h.addr, jwtMethod, m.Token, said("pump", ""), mqtt.Success},
		"in another case":                  {h.addr, "oauth2-jwt", m.Token, nobody, mqtt.BadAuthenticationMethod},
		"where nobody takes tokens":        {none, jwtMethod, m.Token, nobody, mqtt.BadAuthenticationMethod},
		"with somebody else's name":        {h.addr, jwtMethod, m.Token, said("valve", ""), mqtt.NotAuthorized},
		"no JWT":                           {h.addr, jwtMethod, pumpToken.token, nobody, mqtt.NotAuthorized},
		"no data":                          {h.addr, jwtMethod, "", nobody, mqtt.NotAuthorized},
		"a password in place of the token": {h.addr, jwtMethod, testkit.Spoil(m.Token), said("pump", "secret"), mqtt.NotAuthorized},
	} {
		c := dial(t, tc.addr)
		c.Send(helloAs("pump", tc.method, []byte(tc.data), tc.change))
		if p := c.Expect(mqtt.CONNACK).Connack; p.Code != tc.want {
			t.Errorf("%s: 0x%02X", name, byte(p.Code))
		}
		c.Drop()
		h.gone("pump")
	}
	if s.asked.Load() != 0 {
		t.Error("the REST service was asked")
	}
	c := testkit.DialMQTT(t, h.listenBare(demand), testkit.MQTTConfig{Version: mqtt.V5, TLS: h.trusting(cert)})
	c.Send(helloAs("pump", jwtMethod, []byte(m.Token)))
	if p := c.Expect(mqtt.CONNACK).Connack; p.Code != mqtt.BadAuthenticationMethod {
		t.Errorf("where certificates alone decide: 0x%02X", byte(p.Code))
	}
}

// An access token of ours is shown to no REST service, whoever mistook it for a password.
func TestAccessTokensAreShownToNobody(t *testing.T) {
	h := newHouse(t)
	h.device("pump", all)
	m := h.oauth("pump", credential.ClientConfig{}).mint(gate.Wanted{})
	addr := h.listenBare(&Listener{Name: "rest", Tokens: true})
	s := h.restService()
	h.remote(s, credential.ByHTTP, func(a *credential.Authenticator, _ *credential.Backend) { a.Listener = "rest" })
	for _, c := range []testkit.MQTTConfig{{ClientID: "pump", User: "pump", Password: m.Token}, {ClientID: "pump", User: m.Token}} {
		if code := h.knock(addr, c); code != mqtt.NotAuthorized {
			t.Errorf("0x%02X", byte(code))
		}
	}
	if n := s.asked.Load(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
}

// J20: a token that is bound to a certificate is good over a connection with that alone, also where certificates by themselves let nobody in.
func TestCertificateBoundTokens(t *testing.T) {
	h := newHouse(t)
	h.device("pump", all)
	h.device("valve", all)
	_, mine := h.certificate("pump", time.Hour)
	_, again := h.certificate("pump", time.Hour)
	_, theirs := h.certificate("valve", time.Hour)
	sum := sha2.Sum256(mine.Certificate[0])
	o := h.oauth("pump", credential.ClientConfig{})
	m := o.mint(gate.Wanted{X5T: base64.RawURLEncoding.EncodeToString(sum[:])})
	both := h.listen(&Listener{Name: "both", Tokens: true, Certificates: true, TLS: h.tls(false)})
	tokens := h.listenBare(&Listener{Name: "tokens", Tokens: true, Certificates: true, TLS: h.tls(false)})
	h.base.Chain(t, "tokens", credential.ByToken)
	for where, addr := range map[string]string{"both": both, "tokens": tokens} {
		for name, tc := range map[string]struct {
			certs []tls.Certificate
			want  mqtt.Code
		}{
			"with it": {[]tls.Certificate{mine}, mqtt.Success}, "without": {nil, mqtt.NotAuthorized},
			"with another of the same": {[]tls.Certificate{again}, mqtt.NotAuthorized}, "with somebody's": {[]tls.Certificate{theirs}, mqtt.NotAuthorized},
		} {
			c := testkit.DialMQTT(t, addr, testkit.MQTTConfig{Version: mqtt.V5, TLS: h.trusting(tc.certs...)})
			c.Send(helloAs("pump", jwtMethod, []byte(m.Token)))
			if p := c.Expect(mqtt.CONNACK).Connack; p.Code != tc.want {
				t.Errorf("%s, %s: 0x%02X", where, name, byte(p.Code))
			}
			c.Drop()
			h.gone("pump")
		}
	}
	if code := h.knock(h.addr, o.as(m).config(mqtt.V5)); code != mqtt.NotAuthorized {
		t.Errorf("without TLS: 0x%02X", byte(code))
	}
}

// Clients that nobody here wrote bring an access token as their password.
func TestMosquittoBringsAccessTokens(t *testing.T) {
	if _, err := exec.LookPath("mosquitto_pub"); err != nil {
		t.Fatal("mosquitto-clients is needed for this test; `make test` installs it")
	}
	h := newHouse(t)
	h.device("pump", all)
	m := h.oauth("pump", credential.ClientConfig{}).mint(gate.Wanted{})
	w := h.witness(mqtt.V5)
	host, port, _ := strings.Cut(h.addr, ":")
	for _, version := range []string{"311", "5"} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		out, err := exec.CommandContext(ctx, "mosquitto_pub", "-h", host, "-p", port, "-V", version, "-i", "pump", "-u", "pump", "-P", m.Token, "-t", "a/b", "-m", "from "+version, "-q", "1").CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("%s: %v %s", version, err, out)
		}
		if p := w.Message(); p.Payload != "from "+version {
			t.Errorf("%q", p.Payload)
		}
	}
	_, err := h.authority.UpdatePrincipal(t.Context(), h.local, "pump", authority.PrincipalPatch{Disabled: new(true)})
	h.must(err)
	if out, err := exec.Command("mosquitto_pub", "-h", host, "-p", port, "-i", "pump", "-u", "pump", "-P", m.Token, "-t", "a/b", "-m", "x").CombinedOutput(); err == nil {
		t.Errorf("of a disabled device: %s", out)
	}
}

// J20: over WebSocket a certificate of nobody's refuses whoever shows it, whatever is beside it that is not bound to it.
func TestCertificateOfNobody(t *testing.T) {
	h := newHouse(t)
	w := h.device("pump", all)
	l := h.scram("pump")
	_, cert := h.certificate("pump", time.Hour)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	h.must(err)
	o := h.oauth("pump", credential.ClientConfig{})
	sum := sha2.Sum256(leaf.Raw)
	bound, plain := o.mint(gate.Wanted{X5T: base64.RawURLEncoding.EncodeToString(sum[:])}), o.mint(gate.Wanted{})
	listener := &Listener{Name: "web", Tokens: true, Certificates: true, Scram: true}
	h.chain(listener)
	server := httptest.NewServer(h.door.WebSocket(listener, func(*http.Request) netip.Addr { return netip.MustParseAddr("127.0.0.1") },
		func(*http.Request) (verified, presented *x509.Certificate) { return nil, leaf }))
	h.Cleanup(server.Close)
	connect := func(p mqtt.Properties, user string) mqtt.Code {
		t.Helper()
		c := h.dialWebSocket(server.Listener.Addr().String())
		defer c.Close()
		_, err := c.Write(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, CleanStart: true, ClientID: []byte("pump"), Props: p, HasUser: user != "", User: []byte(user)}))
		h.must(err)
		c.SetReadDeadline(time.Now().Add(patience))
		answer := make([]byte, 4)
		_, err = io.ReadFull(c, answer)
		h.must(err)
		return mqtt.Code(answer[3])
	}
	method := func(name string, data []byte) mqtt.Properties {
		return mqtt.Properties(nil).AppendText(mqtt.AuthenticationMethod, name).AppendText(mqtt.AuthenticationData, string(data))
	}
	for name, tc := range map[string]struct {
		props mqtt.Properties
		user  string
		want  mqtt.Code
	}{
		"alone":                 {nil, "", mqtt.NotAuthorized},
		"a token":               {nil, w.token, mqtt.NotAuthorized},
		"an access token":       {nil, plain.Token, mqtt.NotAuthorized},
		"one that is bound":     {nil, bound.Token, mqtt.Success},
		"the same, by a method": {method(jwtMethod, []byte(bound.Token)), "", mqtt.Success},
		"SCRAM":                 {method(sha256, l.client(t, sha256, nil).First()), "", mqtt.NotAuthorized},
	} {
		if code := connect(tc.props, tc.user); code != tc.want {
			t.Errorf("%s: 0x%02X, want 0x%02X", name, byte(code), byte(tc.want))
		}
		h.gone("pump")
	}
}
