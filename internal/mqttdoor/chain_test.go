package mqttdoor

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/mqtt"
	"cardea/internal/scram"
	"cardea/internal/secret"
	"cardea/internal/testkit"
)

// service is somebody's REST service: it knows users by name, with what it answers for each.
type service struct {
	*httptest.Server
	asked atomic.Int64

	mu      sync.Mutex
	answers map[string]map[string]any
	status  int           // instead of 200
	delay   time.Duration // before each answer
}

func (h *house) restService() *service {
	s := &service{answers: map[string]map[string]any{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		var q struct{ Username, Password string }
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		answer, status, delay := s.answers[q.Username], s.status, s.delay
		s.mu.Unlock()
		time.Sleep(delay)
		switch want, checked := answer["password"]; {
		case status != 0:
			w.WriteHeader(status)
			return
		case answer == nil, checked && want != q.Password:
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	}))
	h.Cleanup(s.Close)
	return s
}

func (s *service) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// user makes a user for SCRAM with a password.
func (s *service) user(t testing.TB, name, password string, more map[string]any) *login {
	t.Helper()
	keys, err := scram.Derive(scram.SHA256, password, []byte("a salt of theirs"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	answer := map[string]any{"stored_key": hex.EncodeToString(keys.StoredKey), "server_key": strings.ToUpper(hex.EncodeToString(keys.ServerKey)), "salt": hex.EncodeToString(keys.Salt)}
	for k, v := range more {
		answer[k] = v
	}
	s.set(func() { s.answers[name] = answer })
	return &login{&who{name: name}, name, password}
}

// remote puts an authenticator that asks a service into the chain of a listener.
func (h *house) remote(s *service, typ credential.AuthenticatorType, changes ...func(*credential.Authenticator, *credential.Backend)) *credential.Authenticator {
	h.Helper()
	id, err := secret.NewID(secret.IDLen)
	h.must(err)
	a := &credential.Authenticator{ID: id, Org: credential.DefaultOrg, Type: typ, Listener: "default", Enabled: true, Rank: 100}
	b := credential.Backend{Method: "post", URL: s.URL, Body: map[string]any{"username": "${username}", "password": "${password}"}, RequestTimeout: 2 * time.Second}
	for _, f := range changes {
		f(a, &b)
	}
	var p credential.Problems
	h.base.Sources.Check(typ, &b, &p)
	h.must(p.Err())
	plain, err := json.Marshal(b)
	h.must(err)
	a.Sealed, err = h.base.Ring.Seal(a.SealedAs(), plain)
	h.must(err)
	h.base.Put(h, *a)
	a.Version = 1
	return a
}

// alter changes an authenticator while everything runs.
func (h *house) alter(a *credential.Authenticator, change func(*credential.Authenticator)) {
	h.Helper()
	change(a)
	h.base.Put(h, *a)
	a.Version++
}

// reseal seals the same anew.
func (h *house) reseal(a *credential.Authenticator) {
	plain, err := h.base.Ring.Open(a.SealedAs(), a.Sealed)
	h.must(err)
	a.Sealed, err = h.base.Ring.Seal(a.SealedAs(), plain)
	h.must(err)
}

// What a REST service answers for a SCRAM user holds: its ACL on all that moves, its deadline, its attributes; nothing that was not said.
func TestScramREST(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		s := h.restService()
		h.remote(s, credential.ByScramREST)
		acl := []map[string]any{
			{"permission": "deny", "action": "publish", "topic": "t/${username}/secret"},
			{"permission": "allow", "action": "publish", "topics": []string{"t/${username}/#", "eq t/${username}"}},
			{"permission": "allow", "action": "subscribe", "topic": "t/${client_attrs.site}/+", "qos": []int{0, 1}},
		}
		l := s.user(t, "dora", "not a secret", map[string]any{"acl": acl, "client_attrs": map[string]any{"site": "north"}, "is_superuser": true})
		w := h.witness(mqtt.V5)
		c := h.enter(h.addr, l, sha256)
		for topic, want := range map[string]mqtt.Code{
			"t/dora/a": mqtt.Success, "t/dora/secret": mqtt.NotAuthorized, "t/${username}": mqtt.Success, "t/dora": mqtt.Success, "t/emil/a": mqtt.NotAuthorized, "x": mqtt.NotAuthorized,
		} {
			if code := c.Publish(topic, topic, 1); code.Failed() != want.Failed() {
				t.Errorf("PUBLISH %s: 0x%02X", topic, byte(code))
			}
		}
		if codes := c.Subscribe(testkit.Filter("t/north/+", 1), testkit.Filter("t/north/+", 2), testkit.Filter("t/north/#", 0), testkit.Filter("#", 0)); codes[0] != 1 || codes[1] < 0x80 || codes[2] < 0x80 || codes[3] < 0x80 {
			t.Errorf("SUBSCRIBE %x", codes)
		}
		w.Publish("t/north/x", "news", 0)
		if p := c.Message(); p.Payload != "news" {
			t.Errorf("%q", p.Payload)
		}
		if code := h.refusedWill(l, "x"); code != mqtt.NotAuthorized {
			t.Errorf("a will that the ACL does not allow: 0x%02X", byte(code))
		}
		sessions := h.gate.Sessions(credential.SessionFilter{Door: doorName, Principal: "dora"})
		if len(sessions) != 1 {
			t.Errorf("%d sessions", len(sessions))
		}
	})
}

// refusedWill connects with a will at a topic.
func (h *house) refusedWill(l *login, topic string) mqtt.Code {
	_, code := refusedLogin(h, h.addr, l, nil, func(c *mqtt.Connect) {
		c.ClientID, c.HasWill, c.Will = []byte("other"), true, mqtt.Will{Topic: []byte(topic), Payload: []byte("x")}
	})
	return code
}

// expire_at cuts a session at that second, and a second proof moves it, with ACL and attributes; who answers for another is refused.
func TestScramRESTExpiry(t *testing.T) {
	h := newHouse(t)
	s := h.restService()
	h.remote(s, credential.ByScramREST)
	allow := func(topic string) []map[string]any {
		return []map[string]any{{"permission": "allow", "action": "all", "topic": topic}}
	}
	soon := func(seconds int64) int64 { return time.Now().Unix() + seconds }
	l := s.user(t, "dora", "not a secret", map[string]any{"expire_at": soon(2), "acl": allow("a/#")})
	c := h.enter(h.addr, l, sha256)
	c.Subscribe(testkit.Filter("a/#", 1))
	s.user(t, "dora", "not a secret", map[string]any{"expire_at": soon(4), "acl": allow("b/#")})
	if code := again(t, c, l, sha256); code != mqtt.Success {
		t.Fatalf("0x%02X", byte(code))
	}
	if code := c.Publish("a/b", "x", 1); code != mqtt.NotAuthorized {
		t.Errorf("by the old ACL: 0x%02X", byte(code))
	}
	if code := c.Publish("b/b", "x", 1); code.Failed() {
		t.Errorf("by the new ACL: 0x%02X", byte(code))
	}
	began := time.Now()
	if code, said := c.Closed(); !said || code != mqtt.NotAuthorized {
		t.Errorf("at its end: 0x%02X", byte(code))
	}
	if time.Since(began) < time.Second {
		t.Error("it was cut at the old deadline")
	}
	s.user(t, "dora", "not a secret", map[string]any{"expire_at": soon(-5)})
	if _, code := refusedLogin(t, h.addr, l, nil); code != mqtt.NotAuthorized {
		t.Errorf("in the past: 0x%02X", byte(code))
	}
	// The second proof must be of the same user, and a local principal of that name is another one.
	l = s.user(t, "emil", "not a secret", map[string]any{"acl": allow("a/#")})
	c = h.enter(h.addr, l, sha256)
	h.device("emil-2", "allow mqtt:* a/#")
	if code := again(t, c, h.scram("emil-2"), sha256); code != mqtt.NotAuthorized {
		t.Errorf("as somebody else: 0x%02X", byte(code))
	}
}

// S17: a superuser is one only where the authenticator allows it; without an ACL its scopes hold, and without those nothing is allowed.
func TestScramRESTRights(t *testing.T) {
	h := newHouse(t)
	s := h.restService()
	a := h.remote(s, credential.ByScramREST)
	may := func(l *login, topic string) bool {
		c := h.enter(h.addr, l, sha256)
		defer h.gone(l.name)
		defer c.Drop()
		return !c.Publish(topic, "x", 1).Failed()
	}
	root := s.user(t, "root", "not a secret", map[string]any{"is_superuser": true})
	if may(root, "a") {
		t.Error("a superuser that nobody allowed")
	}
	h.may("guests", "allow mqtt:* g/${principal}/${attr.site}/#")
	h.alter(a, func(a *credential.Authenticator) { a.Scopes = []string{"guests"} })
	l := s.user(t, "dora", "not a secret", map[string]any{"client_attrs": map[string]any{"site": "north"}})
	if !may(l, "g/dora/north/x") || may(l, "g/emil/north/x") || may(l, "a") {
		t.Error("the scopes of the authenticator do not hold")
	}
	c := h.enter(h.addr, l, sha256)
	h.may("guests", "allow mqtt:* other/#") // a change of the scope is felt by those who are there
	if code := c.Publish("g/dora/north/x", "x", 1); code != mqtt.NotAuthorized {
		t.Errorf("0x%02X", byte(code))
	}
	h.alter(a, func(a *credential.Authenticator) { a.AllowSuperuser = true })
	if !may(root, "any/thing") || !may(root, "$x") {
		t.Error("a superuser may not all")
	}
	// A guest bears no device's client id (M08).
	h.device("pump", "allow mqtt:* a/#")
	if _, code := refusedLogin(t, h.addr, l, nil, func(c *mqtt.Connect) { c.ClientID = []byte("pump:1") }); code != mqtt.NotAuthorized {
		t.Errorf("a device's client id: 0x%02X", byte(code))
	}
}

// S14: a service that fails lets nobody in; the next in the chain is asked, unless the authenticator denies then.
func TestScramRESTFailures(t *testing.T) {
	h := newHouse(t)
	s := h.restService()
	h.device("pump", "allow mqtt:* a/#")
	local := h.scram("pump")
	a := h.remote(s, credential.ByScramREST, func(a *credential.Authenticator, b *credential.Backend) {
		a.Rank, b.RequestTimeout = -1, 300*time.Millisecond
	})
	l := s.user(t, "dora", "not a secret", nil)
	bad := map[string]func(){
		"500":          func() { s.status = 500 },
		"503":          func() { s.status = 503 },
		"403":          func() { s.status = 403 },
		"204":          func() { s.status = 204 },
		"302":          func() { s.status = 302 },
		"a late one":   func() { s.delay = time.Second },
		"no hex":       func() { s.answers["dora"]["salt"] = "xyz" },
		"no key":       func() { delete(s.answers["dora"], "server_key") },
		"short keys":   func() { s.answers["dora"]["stored_key"] = "abcd" },
		"a bad ACL":    func() { s.answers["dora"]["acl"] = []any{map[string]any{"permission": "maybe"}} },
		"ACL as text":  func() { s.answers["dora"]["acl"] = "all" },
		"a bad expiry": func() { s.answers["dora"]["expire_at"] = "soon" },
	}
	for what, spoil := range bad {
		s.user(t, "dora", "not a secret", nil)
		s.set(spoil)
		if _, code := refusedLogin(t, h.addr, l, nil); code != mqtt.NotAuthorized {
			t.Errorf("%s: 0x%02X", what, byte(code))
		}
		h.enter(h.addr, local, sha256).Drop() // the one behind it serves whom it knows
		h.gone("pump")
		s.set(func() { s.status, s.delay = 0, 0 })
		h.alter(a, h.reseal) // a new source, whose failures are forgotten
	}
	h.alter(a, func(a *credential.Authenticator) { a.DenyOnFailure = true })
	s.set(func() { s.status = 500 })
	if challenge, code := refusedLogin(t, h.addr, local, nil); code != mqtt.NotAuthorized || challenge != "" {
		t.Errorf("denies on failure: 0x%02X after %q", byte(code), challenge)
	}
	status, ok := h.gate.AuthenticatorStatus(credential.DefaultOrg, a.ID)
	if !ok || status.Failed != 1 || status.LastError == "" {
		t.Errorf("%+v", status)
	}
	h.alter(a, h.reseal)
	s.set(func() { s.status = 404 })
	h.enter(h.addr, local, sha256) // a 4xx is that the user is not known there
}

// An id that somebody gets whom a REST service vouches for is none of a device's, and one that the client can come back with.
func TestScramRESTAssignedClientID(t *testing.T) {
	h := newHouse(t)
	s := h.restService()
	h.remote(s, credential.ByScramREST)
	h.device("pump", "allow mqtt:* a/#")
	for name, begin := range map[string]string{"dora": "dora:", "pump:7": "", "hall/3": "", "a+b": ""} {
		l := s.user(t, name, "not a secret", nil)
		c, proof := dial(h, h.addr), l.client(h, sha256, nil)
		c.Send(helloAs("", sha256, proof.First()))
		prove(h, c, proof, sha256)
		id := text(c.Expect(mqtt.CONNACK).Connack.Props, mqtt.AssignedClientID)
		if !strings.HasPrefix(id, begin) || begin == "" && strings.Contains(id, ":") || id == "" {
			t.Errorf("%s got %q", name, id)
		}
		c.Drop()
		h.gone(name)
		h.enter(h.addr, l, sha256, func(c *mqtt.Connect) { c.ClientID = []byte(id) }).Drop()
	}
}

// An expire_at that is the second which runs is none in the past: the session begins, and ends with that second.
func TestScramRESTExpiresNow(t *testing.T) {
	h := newHouse(t)
	s := h.restService()
	h.remote(s, credential.ByScramREST)
	now := time.Now()
	now = now.Truncate(time.Second).Add(1100 * time.Millisecond)
	time.Sleep(time.Until(now)) // with most of a second to go
	l := s.user(t, "dora", "not a secret", map[string]any{"expire_at": now.Unix()})
	c := h.enter(h.addr, l, sha256)
	if code, said := c.Closed(); !said || code != mqtt.NotAuthorized {
		t.Errorf("at its end: 0x%02X", byte(code))
	}
	if took := time.Since(now); took > 1500*time.Millisecond {
		t.Errorf("it lasted for %s", took)
	}
}

// Rights that are bad refuse a login by password too, and that is the service's failure: it is seen on the status, and is no wrong password.
func TestPasswordBadRights(t *testing.T) {
	for what, more := range map[string]map[string]any{"expire_at": {"expire_at": 5}, "acl": {"acl": "all"}} {
		h := newHouse(t)
		s := h.restService()
		a := h.remote(s, credential.ByHTTP)
		more["result"] = "allow"
		s.set(func() { s.answers["dora"] = more })
		dora := &who{name: "dora"}
		for i := range 100 {
			if i%4 == 0 {
				h.alter(a, h.reseal) // a new source, whose circuit is closed
			}
			if code := h.knock(h.addr, dora.config(mqtt.V5, func(c *testkit.MQTTConfig) { c.User, c.Password = "dora", "x" })); code != mqtt.NotAuthorized {
				t.Fatalf("%s, login %d: 0x%02X", what, i, byte(code))
			}
		}
		if st, _ := h.gate.AuthenticatorStatus(credential.DefaultOrg, a.ID); st.LastError == "" || st.Source == nil || st.Source.Failures == 0 || st.Source.LastError == "" {
			t.Errorf("%s: %+v", what, st)
		}
	}
}

// Whom the first service does not know and the second does gets nothing wrong, however often; whom nobody knows is slowed down.
func TestPasswordSecondService(t *testing.T) {
	h := newHouse(t)
	first, second := h.restService(), h.restService()
	h.remote(first, credential.ByHTTP, func(a *credential.Authenticator, _ *credential.Backend) { a.Rank = 100 })
	h.remote(second, credential.ByHTTP, func(a *credential.Authenticator, _ *credential.Backend) { a.Rank = 101 })
	second.set(func() { second.answers["dora"] = map[string]any{"result": "allow"} })
	as := func(name string) mqtt.Code {
		return h.knock(h.addr, (&who{name: name}).config(mqtt.V5, func(c *testkit.MQTTConfig) { c.User, c.Password = name, "x" }))
	}
	for i := range 100 {
		if code := as("dora"); code != mqtt.Success {
			t.Fatalf("login %d: 0x%02X", i, byte(code))
		}
	}
	for range 100 {
		as("emil")
	}
	if code := as("emil"); code != mqtt.ConnectionRateExceeded {
		t.Errorf("whom nobody knows: 0x%02X", byte(code))
	}
}

// Logins while a service is out of order are no wrong passwords: whoever tried then may log in as soon as it answers again.
func TestScramRESTOutage(t *testing.T) {
	h := newHouse(t)
	s := h.restService()
	a := h.remote(s, credential.ByScramREST)
	l := s.user(t, "dora", "not a secret", nil)
	s.set(func() { s.status = 503 })
	for i := range 100 {
		if _, code := refusedLogin(t, h.addr, l, nil); code != mqtt.NotAuthorized {
			t.Fatalf("login %d of an outage: 0x%02X", i, byte(code))
		}
	}
	s.set(func() { s.status = 0 })
	h.alter(a, h.reseal) // a new source, whose circuit is closed
	h.enter(h.addr, l, sha256)
}

// Chains: order, switches, preconditions, all while running; S16: a token of ours is shown to no service.
func TestChains(t *testing.T) {
	h := newHouse(t)
	s := h.restService()
	pump := h.device("pump", "allow mqtt:* a/#")
	everything := []map[string]any{{"permission": "allow", "action": "all", "topic": "#"}}
	s.set(func() {
		s.answers["dora"] = map[string]any{"result": "allow", "password": "not a secret", "acl": everything}
		s.answers["denied"] = map[string]any{"result": "deny"}
		s.answers["ignored"] = map[string]any{"result": "ignore"}
		s.answers["odd"] = map[string]any{"result": "perhaps"}
		s.answers["late"] = map[string]any{"result": "allow", "expire_at": 5}
	})
	a := h.remote(s, credential.ByHTTP)
	try := func(user, password string) mqtt.Code {
		return h.knock(h.addr, testkit.MQTTConfig{Version: mqtt.V5, ClientID: "c-" + user, User: user, Password: password})
	}
	check := func(when string, want map[string]bool) {
		t.Helper()
		for user, ok := range want {
			password := "not a secret"
			if code := try(user, password); (code == mqtt.Success) != ok || !ok && code != mqtt.NotAuthorized {
				t.Errorf("%s: %s: 0x%02X", when, user, byte(code))
			}
		}
	}
	check("at first", map[string]bool{"dora": true, "denied": false, "ignored": false, "odd": false, "late": false, "nobody": false})
	if code := try("dora", "wrong"); code != mqtt.NotAuthorized {
		t.Errorf("a wrong password: 0x%02X", byte(code))
	}
	for _, v := range versions {
		if code := h.knock(h.addr, pump.config(v)); code != mqtt.Success {
			t.Errorf("a token: 0x%02X", byte(code))
		}
	}
	before := s.asked.Load()
	h.knock(h.addr, testkit.MQTTConfig{Version: mqtt.V5, ClientID: "pump", User: "pump", Password: testkit.Spoil(pump.token)})
	if s.asked.Load() != before {
		t.Error("what looks like a token was shown to the service")
	}
	h.alter(a, func(a *credential.Authenticator) { a.Precondition = `str_eq(clientid, 'c-dora')` })
	check("with a precondition", map[string]bool{"dora": true, "odd": false})
	h.alter(a, func(a *credential.Authenticator) { a.Precondition = `str_eq(listener, 'ssl:default')` })
	check("with one that does not hold", map[string]bool{"dora": false})
	h.alter(a, func(a *credential.Authenticator) { a.Precondition = `str_eq(cert_common_name, 'x')` })
	check("with one that fails", map[string]bool{"dora": false})
	if st, _ := h.gate.AuthenticatorStatus(credential.DefaultOrg, a.ID); !strings.Contains(st.LastError, "cert_common_name") {
		t.Errorf("the status says nothing of it: %+v", st)
	}
	h.alter(a, func(a *credential.Authenticator) { a.Precondition, a.Enabled = "", false })
	check("disabled", map[string]bool{"dora": false})
	h.alter(a, func(a *credential.Authenticator) { a.Enabled, a.Rank = true, -1 })
	check("in front", map[string]bool{"dora": true})
	if code := h.knock(h.addr, pump.config(mqtt.V5)); code != mqtt.Success {
		t.Errorf("a token behind it: 0x%02X", byte(code))
	}
	s.set(func() { s.status = 500 })
	for range 8 { // the circuit opens
		check("failing", map[string]bool{"dora": false})
	}
	if code := h.knock(h.addr, pump.config(mqtt.V5)); code != mqtt.Success {
		t.Errorf("a token behind one that fails: 0x%02X", byte(code))
	}
	policy, err := h.base.Store.Policy(t.Context())
	h.must(err)
	for _, one := range policy.Authenticators {
		one.Enabled = false
		h.base.Put(h, one)
	}
	if code := h.knock(h.addr, pump.config(mqtt.V5)); code != mqtt.NotAuthorized {
		t.Errorf("a chain that is wholly disabled: 0x%02X", byte(code))
	}
	none := h.listenBare(&Listener{Name: "bare", Tokens: true})
	if code := h.knock(none, pump.config(mqtt.V5)); code != mqtt.NotAuthorized {
		t.Errorf("a chain that is empty: 0x%02X", byte(code))
	}
}

// A guest has the name of no principal: to an upstream, and to the rules, it would be that one. Nor has it one that rules of scopes
// cannot speak of, where those hold.
func TestGuestNames(t *testing.T) {
	h := newHouse(t)
	s := h.restService()
	h.may("guests", "allow mqtt:* #", "deny mqtt:* home/${principal}")
	a := h.remote(s, credential.ByScramREST, func(a *credential.Authenticator, _ *credential.Backend) { a.Scopes = []string{"guests"} })
	l := s.user(t, "billing", "not a secret", nil)
	h.enter(h.addr, l, sha256).Drop()
	h.gone("billing")
	h.service("billing", all)
	if _, code := refusedLogin(t, h.addr, l, nil); code != mqtt.NotAuthorized {
		t.Errorf("the name of a service: 0x%02X", byte(code))
	}
	if _, code := refusedLogin(t, h.addr, s.user(t, "x/y", "not a secret", nil), nil); code != mqtt.NotAuthorized {
		t.Errorf("a name that is more than a level: 0x%02X", byte(code))
	}
	if st, _ := h.gate.AuthenticatorStatus(credential.DefaultOrg, a.ID); st.LastError == "" {
		t.Error("the status says nothing of it")
	}
	acl := []map[string]any{{"permission": "allow", "action": "all", "topic": "#"}}
	h.enter(h.addr, s.user(t, "x/y", "not a secret", map[string]any{"acl": acl}), sha256, func(c *mqtt.Connect) { c.ClientID = []byte("xy") })
}

// E01: who guesses passwords of a user is slowed down, that user elsewhere is not, and who has known better begins anew.
func TestScramGuesses(t *testing.T) {
	h := newHouse(t, limits(Limits{Failures: 1 << 20}))
	h.device("pump", "allow mqtt:* a/#")
	l := h.scram("pump")
	wrong := &login{l.who, l.username, "not the password"}
	guess := func(n int) (code mqtt.Code) {
		for range n {
			_, code = refusedLogin(t, h.addr, wrong, nil)
		}
		return code
	}
	if code := guess(60); code != mqtt.NotAuthorized {
		t.Fatalf("0x%02X", byte(code))
	}
	h.enter(h.addr, l, sha256).Drop()
	h.gone("pump")
	if code := guess(80); code != mqtt.NotAuthorized {
		t.Errorf("after the right password: 0x%02X", byte(code))
	}
	if code := guess(40); code != mqtt.ConnectionRateExceeded {
		t.Errorf("after 120 guesses: 0x%02X", byte(code))
	}
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", h.addr)
	h.must(err)
	c, proof := testkit.MQTTOver(t, conn, mqtt.V5), l.client(t, sha256, nil)
	c.Send(helloAs("pump", sha256, proof.First()))
	prove(t, c, proof, sha256)
	if ack := c.Expect(mqtt.CONNACK).Connack; ack.Code != mqtt.Success {
		t.Errorf("elsewhere: 0x%02X", byte(ack.Code))
	}
}

// K15: an authenticator whose secrets cannot be opened lets nobody in, and stops nobody else, unless it is to deny when it fails.
func TestBrokenAuthenticator(t *testing.T) {
	h := newHouse(t)
	pump := h.device("pump", "allow mqtt:* a/#")
	s := h.restService()
	s.set(func() { s.answers["dora"] = map[string]any{"result": "allow"} })
	a := h.remote(s, credential.ByHTTP, func(a *credential.Authenticator, _ *credential.Backend) { a.Rank = -1 })
	as := func() mqtt.Code {
		return h.knock(h.addr, testkit.MQTTConfig{Version: mqtt.V5, ClientID: "dora", User: "dora", Password: "x"})
	}
	if code := as(); code != mqtt.Success {
		t.Fatalf("0x%02X", byte(code))
	}
	h.alter(a, func(a *credential.Authenticator) { a.Sealed[len(a.Sealed)-1] ^= 1 })
	if code := as(); code != mqtt.NotAuthorized {
		t.Errorf("whom it knew: 0x%02X", byte(code))
	}
	if code := h.knock(h.addr, pump.config(mqtt.V5)); code != mqtt.Success {
		t.Errorf("a token behind it: 0x%02X", byte(code))
	}
	if st, _ := h.gate.AuthenticatorStatus(credential.DefaultOrg, a.ID); st.LastError == "" {
		t.Error("the status says nothing of it")
	}
	h.alter(a, func(a *credential.Authenticator) { a.DenyOnFailure = true })
	if code := h.knock(h.addr, pump.config(mqtt.V5)); code != mqtt.NotAuthorized {
		t.Errorf("a token behind one that denies: 0x%02X", byte(code))
	}
}

// A flood of half-open exchanges from many sources is bounded, and over after the deadline.
func TestScramHalfOpen(t *testing.T) {
	h := newHouse(t, limits(Limits{Exchange: 2 * time.Second, Pending: 40, PendingSource: 40}))
	h.device("pump", "allow mqtt:* a/#")
	l := h.scram("pump")
	refused := 0
	for i := range 60 {
		c := dial(t, h.addr)
		c.Send(helloAs(fmt.Sprint("x", i), sha256, []byte("n,,n=nobody,r=abcdefgh")))
		if p := c.Expect(mqtt.AUTH, mqtt.CONNACK); p.Head.Type == mqtt.CONNACK {
			refused++
		}
	}
	if refused != 20 {
		t.Errorf("%d of 60 are refused, want 20", refused)
	}
	h.eventually("the half-open ones are gone", func() bool { seats, _ := h.door.seats.Taken(); return seats == 0 })
	h.enter(h.addr, l, sha256)
}
