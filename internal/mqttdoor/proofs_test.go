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
	// Who asks for enhanced authentication that nobody offers gets in by nothing else.
	if code := h.knock(h.addr, pump.config(mqtt.V5, func(c *testkit.MQTTConfig) {
		c.Props = c.Props.AppendText(mqtt.AuthenticationMethod, "SCRAM-SHA-1").AppendText(mqtt.AuthenticationData, "n,,n=pump,r=x")
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
