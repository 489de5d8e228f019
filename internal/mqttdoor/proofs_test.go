package mqttdoor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/intake"
	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// A token is the user name, or the password beside a user name that is the principal's or the client id. All else is refused, with one answer.
func TestTokens(t *testing.T) {
	h := newHouse(t)
	pump, svc := h.device("pump", all), h.service("svc", all)
	revoked, expired := h.another("pump"), h.another("pump", func(n *authority.NewCredential) { n.TTL = time.Millisecond })
	later := h.another("pump", func(n *authority.NewCredential) { n.NotBefore = time.Now().Add(time.Hour); n.TTL = 0 })
	far := h.another("pump", func(n *authority.NewCredential) { n.Networks = elsewhere })
	near := h.another("pump", func(n *authority.NewCredential) { n.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	h.revoke(revoked)
	time.Sleep(2 * time.Millisecond)
	for _, v := range versions {
		for name, tc := range map[string]struct {
			id, user, password string
			ok                 bool
		}{
			"user name":                                {"pump", pump.token, "", true},
			"password, user name the principal":        {"pump:1", "pump", pump.token, true},
			"password, user name the client id":        {"pump:1", "pump:1", pump.token, true},
			"password, another user name":              {"pump", "cam", pump.token, false},
			"password, user name of another client id": {"pump:1", "pump:2", pump.token, false},
			"service, user name the client id":         {"whatever", "whatever", svc.token, true},
			"service, user name the principal":         {"whatever", "svc", svc.token, true},
			"both":                                     {"pump", pump.token, pump.token, false},
			"both, the second wrong":                   {"pump", pump.token, "x", false},
			"none":                                     {"pump", "", "", false},
			"not a token":                              {"pump", "hello", "", false},
			"not a token, as password":                 {"pump", "pump", "hello", false},
			"another secret":                           {"pump", pump.token[:len(pump.token)-12] + revoked.token[len(revoked.token)-12:], "", false},
			"of somebody else":                         {"pump", svc.token, "", false},
			"revoked":                                  {"pump", revoked.token, "", false},
			"expired":                                  {"pump", expired.token, "", false},
			"not valid yet":                            {"pump", later.token, "", false},
			"from a network that is not its":           {"pump", far.token, "", false},
			"from its network":                         {"pump", near.token, "", true},
		} {
			if v == mqtt.V311 && tc.password != "" && tc.user == "" {
				continue
			}
			want := mqtt.NotAuthorized
			if tc.ok {
				want = mqtt.Success
			}
			if code := h.knock(h.addr, testkit.MQTTConfig{Version: v, ClientID: tc.id, User: tc.user, Password: tc.password}); code != want {
				t.Errorf("%s, %s: 0x%02X", versionName(v), name, byte(code))
			}
		}
		// On the wire the refusal is what the version has for it.
		c := h.raw(h.addr)
		c.Write(mqtt.AppendConnect(nil, &mqtt.Connect{Version: v, ClientID: []byte("pump"), CleanStart: true}))
		want := "\x20\x02\x00\x05"
		if v == mqtt.V5 {
			want = "\x20\x03\x00\x87\x00"
		}
		if got := h.closed(c); string(got) != want {
			t.Errorf("%s: refused with % x", versionName(v), got)
		}
	}
	// 5.0 may have a password alone.
	if code := h.knock(h.addr, testkit.MQTTConfig{ClientID: "pump", Password: pump.token}); code != mqtt.Success {
		t.Errorf("password alone: 0x%02X", byte(code))
	}
	// Nobody offers enhanced authentication here, and who asks for it gets in by nothing else.
	if code := h.knock(h.addr, pump.config(mqtt.V5, func(c *testkit.MQTTConfig) {
		c.Props = c.Props.AppendText(mqtt.AuthenticationMethod, "SCRAM-SHA-256").AppendText(mqtt.AuthenticationData, "n,,n=pump,r=x")
	})); code != mqtt.BadAuthenticationMethod {
		t.Errorf("an unknown method: 0x%02X", byte(code))
	}
	c := h.connect(pump, mqtt.V5)
	c.Send(mqtt.AppendAuth(nil, mqtt.ReAuthenticate, mqtt.Properties(nil).AppendText(mqtt.AuthenticationMethod, "SCRAM-SHA-256")))
	if code, _ := c.Closed(); code != mqtt.BadAuthenticationMethod {
		t.Errorf("re-authentication: 0x%02X", byte(code))
	}
}

// stranger is a CA that is not ours.
func stranger(t *testing.T, like *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stranger"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: like.SerialNumber, Subject: like.Subject, NotBefore: like.NotBefore, NotAfter: like.NotAfter, URIs: []*url.URL{like.URIs[0]},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A certificate alone is enough where it is demanded, and user name and password are not looked at there; beside a token both must be good and of one principal.
func TestCertificates(t *testing.T) {
	h := newHouse(t)
	h.device("cam", all)
	other, own := h.device("pump", all), h.another("cam")
	_, cert := h.certificate("cam", time.Hour)
	gone, revoked := h.certificate("cam", time.Hour)
	h.revoke(gone)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	h.must(err)
	foreign := stranger(t, leaf)
	demanding := h.listen(&Listener{Name: "certificates", Certificates: true, TLS: h.tls(true)})
	either := h.listen(&Listener{Name: "either", Certificates: true, Tokens: true, TLS: h.tls(false)})
	tokens := h.listen(&Listener{Name: "tokens", Tokens: true, TLS: h.tls(false)})
	closed := mqtt.Code(0xFF) // no answer at all
	for name, tc := range map[string]struct {
		addr           string
		certs          []tls.Certificate
		id, user, pass string
		want           mqtt.Code
	}{
		"certificate":                        {demanding, []tls.Certificate{cert}, "cam", "", "", mqtt.Success},
		"certificate, nonsense as user name": {demanding, []tls.Certificate{cert}, "cam", "cardea_nonsense", "x", mqtt.Success},
		"certificate, another's token":       {demanding, []tls.Certificate{cert}, "cam", other.token, "", mqtt.Success},
		"certificate, another's id":          {demanding, []tls.Certificate{cert}, "pump", other.token, "", mqtt.NotAuthorized},
		"token where certificates are asked": {demanding, nil, "cam", own.token, "", closed},
		"revoked":                            {demanding, []tls.Certificate{revoked}, "cam", "", "", closed},
		"of another CA":                      {demanding, []tls.Certificate{foreign}, "cam", "", "", closed},
		"either: certificate":                {either, []tls.Certificate{cert}, "cam", "", "", mqtt.Success},
		"either: token":                      {either, nil, "cam", own.token, "", mqtt.Success},
		"either: both":                       {either, []tls.Certificate{cert}, "cam", own.token, "", mqtt.Success},
		"either: both, another's token":      {either, []tls.Certificate{cert}, "cam", other.token, "", mqtt.NotAuthorized},
		"either: both, the token wrong":      {either, []tls.Certificate{cert}, "cam", "cardea_nonsense", "", mqtt.NotAuthorized},
		"either: none":                       {either, nil, "cam", "", "", mqtt.NotAuthorized},
		"either: token, certificate revoked": {either, []tls.Certificate{revoked}, "cam", own.token, "", closed},
		"tokens: certificate":                {tokens, []tls.Certificate{cert}, "cam", "", "", mqtt.NotAuthorized},
		"tokens: another's certificate":      {tokens, []tls.Certificate{cert}, "pump", other.token, "", mqtt.Success},
	} {
		conf := h.trusting()
		// The client shows what it has, even if the server does not name its CA.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if len(tc.certs) == 0 {
				return &tls.Certificate{}, nil
			}
			return &tc.certs[0], nil
		}
		c := testkit.DialMQTT(t, tc.addr, testkit.MQTTConfig{TLS: conf})
		connect := mqtt.Connect{Version: mqtt.V5, ClientID: []byte(tc.id), HasUser: tc.user != "", User: []byte(tc.user), HasPassword: tc.pass != "", Password: []byte(tc.pass)}
		_ = c.TrySend(mqtt.AppendConnect(nil, &connect))
		got := closed
		if p, _, err := c.Read(); err == nil {
			got = p.Connack.Code
		}
		if got != tc.want {
			t.Errorf("%s: 0x%02X, want 0x%02X", name, byte(got), byte(tc.want))
		}
		c.Drop()
		h.gone("cam")
		h.gone("pump")
	}
	// With both, the session hangs on both.
	for _, which := range []string{"token", "certificate"} {
		own := h.another("cam")
		w, cert := h.certificate("cam", time.Hour)
		c := testkit.ConnectMQTT(t, either, testkit.MQTTConfig{ClientID: "cam", User: own.token, TLS: h.trusting(cert)})
		if which == "token" {
			w = own
		}
		h.revoke(w)
		if code, said := c.Closed(); !said || code != mqtt.NotAuthorized {
			t.Errorf("the %s is revoked: told 0x%02X %v", which, byte(code), said)
		}
	}
}

// Anonymous access is for a listener that names the credential that clients are then, and for clients that show nothing at all.
func TestAnonymous(t *testing.T) {
	h := newHouse(t)
	guest := h.service("guest", "allow mqtt:subscribe public/#")
	addr := h.listen(&Listener{Name: "open", Tokens: true, Anonymous: guest.cred})
	shut := h.listen(&Listener{Name: "shut"})
	for _, v := range versions {
		c := testkit.ConnectMQTT(t, addr, testkit.MQTTConfig{Version: v, ClientID: "anybody"})
		if codes := c.Subscribe(testkit.Filter("public/#", 0), testkit.Filter("#", 0)); codes[0] != 0 || codes[1] != failed(v) {
			t.Errorf("SUBACK %x", codes)
		}
		for name, change := range map[string]func(*testkit.MQTTConfig){
			"a wrong token":   func(c *testkit.MQTTConfig) { c.User = "cardea_x" },
			"a user name":     func(c *testkit.MQTTConfig) { c.User = "anybody" },
			"a used id":       func(c *testkit.MQTTConfig) { c.ClientID = "x"; c.User, c.Password = "x", "wrong" },
			"a device's name": func(c *testkit.MQTTConfig) { c.ClientID = h.device("pump-"+versionName(v), all).name },
		} {
			conf := testkit.MQTTConfig{Version: v, ClientID: "other"}
			change(&conf)
			if code := h.knock(addr, conf); code != mqtt.NotAuthorized {
				t.Errorf("%s: 0x%02X", name, byte(code))
			}
		}
		for _, where := range []string{h.addr, shut} {
			if code := h.knock(where, testkit.MQTTConfig{Version: v, ClientID: "anybody"}); code != mqtt.NotAuthorized {
				t.Errorf("elsewhere: 0x%02X", byte(code))
			}
		}
		// A listener without proofs lets nobody in.
		if code := h.knock(shut, guest.config(v)); code != mqtt.NotAuthorized {
			t.Errorf("where nothing counts: 0x%02X", byte(code))
		}
		c.Disconnect()
		h.gone("guest")
	}
	c := testkit.ConnectMQTT(t, addr, testkit.MQTTConfig{ClientID: "anybody"})
	h.revoke(guest)
	c.Closed()
	if code := h.knock(addr, testkit.MQTTConfig{ClientID: "anybody"}); code != mqtt.NotAuthorized {
		t.Errorf("revoked: 0x%02X", byte(code))
	}
}

// The rules of a listener bind everybody there, beside their own: publish, subscribe, delivery and will; templates speak of the client.
func TestListenerRules(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		w := h.device("pump", all)
		pub := h.connect(h.service("pub", all), mqtt.V5)
		addr := h.listen(&Listener{
			Name: "narrow", Tokens: true, RefusedFilter: mqtt.Unspecified,
			Rules: h.set("allow mqtt:* dev/${principal}/#", "allow mqtt:subscribe all/+", "deny mqtt:subscribe all/secret qos=2", "deny mqtt:publish dev/+/no"),
		})
		c := testkit.ConnectMQTT(t, addr, w.config(mqtt.V5))
		if codes := c.Subscribe(testkit.Filter("dev/pump/#", 0), testkit.Filter("dev/cam/#", 0), testkit.Filter("#", 0), testkit.Filter("all/+", 1)); codes[0] != 0 || codes[1] != 0x80 || codes[2] != 0x80 || codes[3] != 1 {
			t.Errorf("SUBACK %x", codes)
		}
		for topic, ok := range map[string]bool{"dev/pump/a": true, "dev/cam/a": false, "dev/pump/no": false, "all/x": false} {
			if code := c.Publish(topic, topic, 1); code.Failed() == ok {
				t.Errorf("publish to %s: 0x%02X", topic, byte(code))
			}
		}
		if p := c.Message(); p.Payload != "dev/pump/a" {
			t.Errorf("%q", p.Payload)
		}
		pub.Publish("all/x", "delivered", 1)
		if p := c.Message(); p.Payload != "delivered" {
			t.Errorf("%q", p.Payload)
		}
		if code := h.knock(addr, w.config(mqtt.V5, leaving("state", 0))); code != mqtt.NotAuthorized {
			t.Errorf("will: 0x%02X", byte(code))
		}
		// They hold where they are, and nowhere else.
		if codes := h.connect(w, mqtt.V5, called("pump:2")).Subscribe(testkit.Filter("#", 0)); codes[0] != 0 {
			t.Errorf("elsewhere: %x", codes)
		}
	})
}

// proxied is a connection with a PROXY header in front.
func (h *house) proxied(addr, source string) *testkit.MQTT {
	h.Helper()
	c := testkit.DialMQTT(h, addr, testkit.MQTTConfig{})
	c.Send(intake.AppendProxy(nil, netip.MustParseAddrPort(source), netip.MustParseAddrPort("192.0.2.1:8883")))
	return c
}

// A listener behind a proxy believes the addresses that allowed peers tell, for networks of credentials and of rules, and takes nobody else.
func TestProxyHeader(t *testing.T) {
	h := newHouse(t, limits(Limits{Failures: 5, FailureTime: time.Hour, PerSource: 2}))
	h.device("pump", all)
	far := h.another("pump", func(n *authority.NewCredential) { n.Networks = elsewhere })
	ruled := h.device("ruled", "allow mqtt:subscribe a networks=198.51.100.0/24")
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	addr := h.listen(&Listener{Name: "proxy", Tokens: true, Proxies: loopback})

	c := h.proxied(addr, "198.51.100.7:1234")
	if code := c.Connect(far.config(mqtt.V5)); code != mqtt.Success {
		t.Errorf("from its network: 0x%02X", byte(code))
	}
	if list := h.gate.Sessions(credential.SessionFilter{Principal: "pump"}); len(list) != 1 || list[0].Source.String() != "198.51.100.7" {
		t.Errorf("%+v", list)
	}
	if code := h.proxied(addr, "203.0.113.9:1234").Connect(far.config(mqtt.V5)); code != mqtt.NotAuthorized {
		t.Errorf("from elsewhere: 0x%02X", byte(code))
	}
	for source, want := range map[string]byte{"198.51.100.8:1": 0, "203.0.113.8:1": byte(mqtt.NotAuthorized)} {
		c := h.proxied(addr, source)
		c.Connect(ruled.config(mqtt.V5, called("ruled:"+source[:3])))
		if codes := c.Subscribe(testkit.Filter("a", 0)); codes[0] != want {
			t.Errorf("from %s: SUBACK %x", source, codes)
		}
	}
	// As many as it likes: the limit is for sources that connect themselves.
	for range 5 {
		h.proxied(addr, "198.51.100.7:1").Drop()
	}
	for name, first := range map[string]string{
		"none":      string(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5})),
		"version 1": "PROXY TCP4 198.51.100.7 192.0.2.1 1 2\r\n",
		"garbage":   "\r\n\r\n\x00\r\nQUIT\n\xff\xff\xff\xff",
	} {
		c := h.raw(addr)
		c.Write([]byte(first))
		if got := h.closed(c); len(got) > 0 {
			t.Errorf("%s: answered with % x", name, got)
		}
	}
	// Failures count for whom the proxy speaks, not for the proxy.
	for range 6 {
		c := h.proxied(addr, "203.0.113.66:1")
		_ = c.TrySend(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, ClientID: []byte("x")}))
		c.Closed()
	}
	c = h.proxied(addr, "203.0.113.66:1")
	_ = c.TrySend(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, ClientID: []byte("x")}))
	if p, _, err := c.Read(); err == nil {
		t.Errorf("who failed too often is answered with %v", p.Head.Type)
	}
	if code := h.proxied(addr, "198.51.100.9:1").Connect(far.config(mqtt.V5, called("pump:9"))); code != mqtt.Success {
		t.Errorf("another one: 0x%02X", byte(code))
	}
	// A peer that is no proxy gets nothing, header or not.
	foreign := h.listen(&Listener{Name: "foreign", Tokens: true, Proxies: elsewhere})
	raw := h.raw(foreign)
	raw.Write(intake.AppendProxy(nil, netip.MustParseAddrPort("198.51.100.7:1"), netip.MustParseAddrPort("192.0.2.1:1")))
	if got := h.closed(raw); len(got) > 0 {
		t.Errorf("answered with % x", got)
	}
}

// A source that fails too often waits; one that has too many connections gets no further one. Others notice nothing.
func TestLimitsPerSource(t *testing.T) {
	h := newHouse(t, limits(Limits{Failures: 3, FailureTime: 300 * time.Millisecond, PerSource: 4}))
	w := h.device("pump", all)
	c := h.connect(w, mqtt.V5)
	for range 3 {
		h.knock(h.addr, testkit.MQTTConfig{ClientID: "x"})
	}
	raw := h.raw(h.addr)
	if got := h.closed(raw); len(got) > 0 {
		t.Errorf("answered with % x", got)
	}
	c.Ping()
	h.eventually("it may try again", func() bool {
		m := testkit.DialMQTT(t, h.addr, testkit.MQTTConfig{})
		defer m.Drop()
		_ = m.TrySend(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, ClientID: []byte("pump:2"), HasUser: true, User: []byte(w.token)}))
		p, _, err := m.Read()
		return err == nil && p.Connack.Code == mqtt.Success
	})
	h.eventually("one is left", func() bool { n, _ := h.door.seats.Taken(); return n == 1 })
	for range 3 {
		h.raw(h.addr)
	}
	h.eventually("four sit", func() bool { n, _ := h.door.seats.Taken(); return n == 4 })
	if got := h.closed(h.raw(h.addr)); len(got) > 0 {
		t.Errorf("answered with % x", got)
	}
	c.Ping()
	if n := h.door.Stats().TurnedAway; n < 2 {
		t.Errorf("%d were turned away", n)
	}
}
