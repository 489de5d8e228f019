package mqttdoor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// who is a principal with a scope and a role of its own, all of one name, and a token.
type who struct {
	name  string
	token string
	cred  string // ID of the token's credential
}

// rule reads one, as in "allow mqtt:publish a/# qos=0,1 retain=false networks=10.0.0.0/8".
func (h *house) rule(text string) credential.Rule {
	h.Helper()
	f := strings.Fields(text)
	r := credential.Rule{Permission: credential.Permission(f[0]), Action: f[1], Resource: f[2]}
	for _, condition := range f[3:] {
		key, value, _ := strings.Cut(condition, "=")
		switch key {
		case "qos":
			h.must(json.Unmarshal([]byte("["+value+"]"), &r.QoS))
		case "retain":
			h.must(json.Unmarshal([]byte(value), &r.Retain))
		case "networks":
			r.Networks = []netip.Prefix{netip.MustParsePrefix(value)}
		}
	}
	return r
}

// may says what a principal may from now on, when it returns.
func (h *house) may(name string, rules ...string) {
	h.Helper()
	s := credential.Scope{Org: credential.DefaultOrg, Name: name}
	if was, err := h.authority.Scope(context.Background(), h.local, name); err == nil {
		s.Version = was.Version
	}
	for _, r := range rules {
		s.Rules = append(s.Rules, h.rule(r))
	}
	_, err := h.authority.PutScope(context.Background(), h.local, s)
	h.must(err)
}

// device makes a device that may what the rules say; "all" stands for everything that does not begin with $.
func (h *house) device(name string, rules ...string) *who {
	return h.principal(credential.Device, name, nil, rules...)
}

func (h *house) service(name string, rules ...string) *who {
	return h.principal(credential.Service, name, nil, rules...)
}

const all = "allow mqtt:* #"

// soaking makes some tests longer.
var soaking = os.Getenv("CARDEA_SOAK") != ""

var elsewhere = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}

func (h *house) principal(kind credential.PrincipalKind, name string, attrs map[string]string, rules ...string) *who {
	h.Helper()
	ctx := context.Background()
	h.may(name, rules...)
	_, err := h.authority.PutRole(ctx, h.local, credential.Role{Org: credential.DefaultOrg, Name: name, Scopes: []string{name}})
	h.must(err)
	_, err = h.authority.CreatePrincipal(ctx, h.local, authority.NewPrincipal{Kind: kind, Name: name, Roles: []string{name}, Attrs: attrs})
	h.must(err)
	return h.another(name)
}

// another makes a further token of a principal.
func (h *house) another(name string, changes ...func(*authority.NewCredential)) *who {
	h.Helper()
	p, err := h.authority.Principal(context.Background(), h.local, name)
	h.must(err)
	n := authority.NewCredential{Kind: credential.DeviceToken, Principal: name, TTL: time.Hour}
	if p.Kind == credential.Service {
		n.Kind = credential.APIKey
	}
	for _, f := range changes {
		f(&n)
	}
	is, err := h.authority.CreateCredential(context.Background(), h.local, n)
	h.must(err)
	return &who{name: name, token: is.Secret.Reveal(), cred: is.Credential.ID}
}

// certificate makes a certificate of a principal.
func (h *house) certificate(name string, ttl time.Duration) (*who, tls.Certificate) {
	h.Helper()
	is, err := h.authority.CreateCredential(context.Background(), h.local, authority.NewCredential{Kind: credential.Certificate, Principal: name, TTL: ttl})
	h.must(err)
	pair, err := tls.X509KeyPair(is.Certificate, []byte(is.PrivateKey.Reveal()))
	h.must(err)
	return &who{name: name, cred: is.Credential.ID}, pair
}

func (h *house) revoke(w *who) {
	h.Helper()
	_, err := h.authority.Revoke(context.Background(), h.local, w.cred, "test")
	h.must(err)
}

// config is how somebody connects: with the token as the user name and its own name as the client id.
func (w *who) config(v mqtt.Version, changes ...func(*testkit.MQTTConfig)) testkit.MQTTConfig {
	c := testkit.MQTTConfig{Version: v, ClientID: w.name, User: w.token}
	for _, f := range changes {
		f(&c)
	}
	return c
}

// called gives the client another id.
func called(id string) func(*testkit.MQTTConfig) {
	return func(c *testkit.MQTTConfig) { c.ClientID = id }
}

// staying asks for a session that outlives the connection.
func staying(c *testkit.MQTTConfig) {
	c.Resume = true
	if c.Version == mqtt.V5 {
		c.Props = c.Props.AppendNumber(mqtt.SessionExpiry, 3600)
	}
}

func byHand(c *testkit.MQTTConfig) { c.Manual = true }

// connect connects, which must succeed.
func (h *house) connect(w *who, v mqtt.Version, changes ...func(*testkit.MQTTConfig)) *testkit.MQTT {
	h.Helper()
	return testkit.ConnectMQTT(h, h.addr, w.config(v, changes...))
}

// knock connects and returns the code of the answer, of 3.1.1 the one that its return code stands for.
func (h *house) knock(addr string, c testkit.MQTTConfig) mqtt.Code {
	h.Helper()
	m := testkit.DialMQTT(h, addr, c)
	defer m.Drop()
	return m.Connect(c)
}

// failed is the code of a SUBACK for a filter that is not allowed.
func failed(v mqtt.Version) byte {
	if v == mqtt.V5 {
		return byte(mqtt.NotAuthorized)
	}
	return 0x80
}

// witness is somebody who sees everything that is published, behind the door where no rule counts.
func (h *house) witness(v mqtt.Version) *testkit.MQTT {
	h.Helper()
	m := testkit.ConnectMQTT(h, h.behind(), testkit.MQTTConfig{Version: v, ClientID: "witness"})
	if codes := m.Subscribe(testkit.Filter("#", 2)); codes[0] != 2 {
		h.Fatalf("the witness may not subscribe: %x", codes)
	}
	return m
}

// behind is where the broker is reached without the door.
func (h *house) behind() string {
	h.Helper()
	if h.mosquitto != nil {
		return h.mosquitto.Addr
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	h.must(err)
	b := h.broker
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go b.Serve(c)
		}
	}()
	h.Cleanup(func() { ln.Close(); <-done }) // the connections end with their clients, or the broker
	return ln.Addr().String()
}

// nothing fails the test if a witness has seen any message before it sees one that is published now, behind the door.
func (h *house) nothing(witness *testkit.MQTT) {
	h.Helper()
	h.only(witness)
}

// only fails the test if a witness has seen other messages, in order, than those with the payloads.
func (h *house) only(witness *testkit.MQTT, payloads ...string) {
	h.Helper()
	witness.SendPublish(mqtt.Publish{Topic: []byte("witness/mark")}, "mark")
	var got []string
	for _, p := range witness.MessagesBefore("mark") {
		got = append(got, p.Payload)
	}
	if !slices.Equal(got, payloads) {
		h.Errorf("published: %q, want %q", got, payloads)
	}
}
