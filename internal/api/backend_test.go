package api

import (
	"encoding/json"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/view"
)

// cluster makes a credential for a cluster of EMQX.
func (w *world) cluster() string {
	return w.caller("cluster", "api:backend:authn /backend/emqx", "api:backend:authz /backend/emqx", "api:backend:scram /backend/emqx")
}

// emqx asks a question, "name=value" by name, and returns the result.
func (w *world) emqx(token, what string, fields ...string) string {
	w.Helper()
	body := map[string]string{}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		body[name] = value
	}
	var v view.EMQXVerdict
	w.as(token, "POST", "//backend/emqx/"+what, body).is(200).into(&v)
	return v.Result
}

// Every question needs a right of its own; a credential of anybody else learns nothing.
func TestBackendNeedsRights(t *testing.T) { // OWASP API5
	w := newWorld(t)
	for _, what := range []string{"authn", "authz", "scram"} {
		w.as("", "POST", "//backend/emqx/"+what, map[string]string{}).problem(401)
		w.as("cardea_api_nothing", "POST", "//backend/emqx/"+what, map[string]string{}).problem(401)
	}
	one := w.caller("one", "api:backend:authz /backend/emqx")
	w.as(one, "POST", "//backend/emqx/authz", map[string]string{}).is(200)
	w.as(one, "POST", "//backend/emqx/authn", map[string]string{}).problem(403)
	w.as(one, "POST", "//backend/emqx/scram", map[string]string{"username": "alice"}).problem(403)
	w.as(one, "POST", "//backend/emqx", nil).problem(404)
	w.as(one, "DELETE", "//backend/emqx/authz", nil).problem(405)
	w.send(w.net, "POST", "//backend/emqx/authz", map[string]string{}, with{"X-API-Key", one}).is(200)

	// The built-in scope is just that.
	w.do("POST", "/roles", view.NewRole{Name: "emqx", PutRole: view.PutRole{Scopes: []string{credential.ScopeEMQX}}}).is(201)
	w.do("POST", "/principals", view.NewPrincipal{Kind: "service", Name: "emqx", Roles: []string{"emqx"}}).is(201)
	is := w.token(view.NewCredential{Kind: "api_key", Principal: "emqx", Scopes: []string{credential.ScopeEMQX}}).Secret.Reveal()
	for _, what := range []string{"authn", "authz"} {
		w.as(is, "POST", "//backend/emqx/"+what, map[string]string{}).is(200)
	}
	w.as(is, "POST", "//backend/emqx/scram", map[string]string{"username": "bob"}).problem(404)
	w.as(is, "GET", "/credentials", nil).problem(403)
}

// Questions come as JSON, as a form, or as a query; what could be read in two ways is refused.
func TestBackendForms(t *testing.T) { // S16, H21
	w := newWorld(t)
	emqx := w.cluster()
	w.device("pump")
	made := w.token(view.NewCredential{Kind: "device_token", Principal: "pump"})
	fields := url.Values{"credential": {made.ID}, "action": {"publish"}, "topic": {"a/b"}, "qos": {"1"}, "retain": {"false"}, "other": {"x"}}
	form := with{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"}
	allow := func(r *result) {
		t.Helper()
		if got := strings.TrimSpace(string(r.is(200).body)); got != `{"result":"allow"}` || r.header.Get("Content-Type") != "application/json" || r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s %v", r.asked, got, r.header)
		}
	}
	allow(w.as(emqx, "POST", "//backend/emqx/authz", fields.Encode(), with{"Content-Type", ""}, form))
	allow(w.as(emqx, "GET", "//backend/emqx/authz?"+fields.Encode(), nil))
	allow(w.as(emqx, "POST", "//backend/emqx/authz", map[string]any{"credential": made.ID, "action": "publish", "topic": "a/b", "qos": 1, "retain": false, "x": nil}))

	for _, c := range []struct {
		body, kind string
		status     int
	}{
		{"{", "application/json", 400},
		{"[]", "application/json", 400},
		{"null", "application/json", 400},
		{`{"topic":{}}`, "application/json", 400},
		{`{"topic":"a","topic":"b"}`, "application/json", 400},
		{"{\"topic\":\"\xff\"}", "application/json", 400},
		{"topic=a&topic=b", "application/x-www-form-urlencoded", 400},
		{"topic=%zz", "application/x-www-form-urlencoded", 400},
		{"topic=%ff", "application/x-www-form-urlencoded", 400},
		{"topic=a", "text/plain", 415},
		{"topic=a", "", 415},
		{`{"x":"` + strings.Repeat("x", maxBackendBody) + `"}`, "application/json", 413},
	} {
		w.as(emqx, "POST", "//backend/emqx/authz", c.body, with{"Content-Type", ""}, with{"Content-Type", c.kind}).problem(c.status)
	}
	w.as(emqx, "GET", "//backend/emqx/authn?username=x&username=y", nil).problem(400)
	w.as(emqx, "GET", "//backend/emqx/authn?username=pump&password="+made.Secret.Reveal(), nil).problem(400) // K04
	if strings.Contains(w.logged.String(), made.Secret.Reveal()) {
		t.Error("the token is in the log")
	}
}

func TestBackendAuthn(t *testing.T) { // M08
	w := newWorld(t)
	emqx := w.cluster()
	w.device("pump")
	w.device("other")
	token := w.token(view.NewCredential{Kind: "device_token", Principal: "pump"})
	is := token.Secret.Reveal()
	svc := w.caller("worker")
	for _, c := range []struct{ fields, want string }{
		{"username=pump password=" + is + " clientid=pump", "allow"},
		{"username=pump password=" + is + " clientid=pump:2", "allow"},
		{"username=pump:2 password=" + is + " clientid=pump:2", "allow"},
		{"password=" + is + " clientid=pump", "allow"},
		{"username=" + is + " clientid=pump", "allow"},
		{"username=" + is + " password= clientid=pump", "allow"},
		{"username=other password=" + is + " clientid=pump", "deny"},
		{"username=pump password=" + is + " clientid=other", "deny"},
		{"username=pump password=" + is + " clientid=pump2", "deny"},
		{"username=pump password=" + is, "deny"}, // a device without a client id could have any
		{"username=" + is + " password=" + is + " clientid=pump", "deny"},
		{"username=pump password=" + is + "x clientid=pump", "deny"},
		{"username=pump password=cardea_dev_ clientid=pump", "deny"},
		{"username=pump password=" + is + " clientid=pump peerhost=nowhere", "deny"},
		{"username=worker password=" + svc + " clientid=anything", "allow"},
		{"username=" + svc + " clientid=anything", "allow"},
		{"username=worker password=" + svc + " clientid=pump", "deny"},
		{"username=worker password=" + svc + " clientid=pump:3", "deny"},
		// By such a name its sessions could not be found when it ends.
		{"username=anything password=" + svc + " clientid=anything", "deny"},
		{"password=" + svc + " clientid=anything", "deny"},
		{"username=joe password=secret clientid=joe", "ignore"},
		{"username=joe clientid=joe", "ignore"},
		{"clientid=joe", "ignore"},
	} {
		if got := w.emqx(emqx, "authn", strings.Fields(c.fields)...); got != c.want {
			t.Errorf("%s: %s, not %s", strings.NewReplacer(is, "TOKEN", svc, "SERVICE").Replace(c.fields), got, c.want)
		}
	}
	if got := w.emqx(emqx, "authn", "username=theirs", "clientid=theirs", "password="+w.othersToken("Other0000000", time.Time{})); got != "deny" { // W07
		t.Errorf("another organisation's: %s", got)
	}
	w.do("POST", "/credentials/"+token.ID+"/revoke", view.Revoke{}).is(200)
	if got := w.emqx(emqx, "authn", "username=pump", "clientid=pump", "password="+is); got != "deny" {
		t.Errorf("revoked: %s", got)
	}
	w.gate.Close()
	w.as(emqx, "POST", "//backend/emqx/authn", map[string]string{"username": "pump", "password": is, "clientid": "pump"}).problem(503)
}

// What a cluster keeps: the credential for its questions about rights, and the end.
func TestBackendAuthnAnswer(t *testing.T) {
	w := newWorld(t)
	emqx := w.cluster()
	w.device("pump")
	made := w.token(view.NewCredential{Kind: "device_token", Principal: "pump", TTL: "1h", AllowedIPs: []string{"10.0.0.0/8"}})
	ask := func(peer string) map[string]any {
		t.Helper()
		var v map[string]any
		w.as(emqx, "POST", "//backend/emqx/authn", map[string]string{"username": "pump", "clientid": "pump", "password": made.Secret.Reveal(), "peerhost": peer}).is(200).into(&v)
		return v
	}
	for _, peer := range []string{"10.1.2.3", "::ffff:10.1.2.3"} {
		v := ask(peer)
		attrs, _ := v["client_attrs"].(map[string]any)
		if v["result"] != "allow" || v["is_superuser"] != false || attrs["cardea_credential"] != made.ID || attrs["cardea_principal"] != "pump" || len(v) != 4 {
			t.Errorf("%s: %v", peer, v)
		}
		if end, _ := v["expire_at"].(float64); int64(end) != made.ExpiresAt.Unix() {
			t.Errorf("expire_at %v, not %v", v["expire_at"], made.ExpiresAt)
		}
	}
	for _, peer := range []string{"192.0.2.1", ""} {
		if v := ask(peer); v["result"] != "deny" || len(v) != 1 {
			t.Errorf("%q: %v", peer, v)
		}
	}
}

func TestBackendAuthz(t *testing.T) {
	w := newWorld(t)
	emqx := w.cluster()
	w.do("POST", "/scopes", view.NewScope{Name: "s", PutScope: view.PutScope{Rules: []view.Rule{
		{Permission: "allow", Action: "mqtt:*", Resource: "a/${client_id}/#"},
		{Permission: "allow", Action: "mqtt:publish", Resource: "q", QoS: []int{0, 1}},
		{Permission: "allow", Action: "mqtt:publish", Resource: "r", Retain: new(false)},
		{Permission: "allow", Action: "mqtt:subscribe", Resource: "b/+"},
	}}}).is(201)
	w.do("POST", "/roles", view.NewRole{Name: "r", PutRole: view.PutRole{Scopes: []string{"s"}}}).is(201)
	w.do("POST", "/principals", view.NewPrincipal{Kind: "device", Name: "pump", Roles: []string{"r"}}).is(201)
	made := w.token(view.NewCredential{Kind: "device_token", Principal: "pump", AllowedIPs: []string{"10.0.0.0/8"}})
	id := "credential=" + made.ID
	for _, c := range []struct{ fields, want string }{
		{"action=publish topic=a/pump/x qos=1 retain=true", "allow"},
		{"action=publish topic=a/other/x qos=1 retain=true", "deny"},
		{"action=subscribe topic=a/pump/# qos=2", "allow"},
		{"action=subscribe topic=$share/g/a/pump/# qos=2", "allow"},
		{"action=subscribe topic=b/+ qos=0 retain=false", "allow"},
		{"action=subscribe topic=b/# qos=0", "deny"},
		{"action=publish topic=b/x qos=0", "deny"},
		{"action=publish topic=q qos=1 retain=0", "allow"},
		{"action=publish topic=q qos=2", "deny"},
		{"action=publish topic=q", "deny"}, // QoS 2 is not allowed
		{"action=publish topic=r qos=1 retain=false", "allow"},
		{"action=publish topic=r qos=1", "deny"}, // nor is retain
		{"action=publish topic=a/pump/+ qos=1", "deny"},
		{"action=subscribe topic=a/pump/#/x qos=1", "deny"},
		{"action=all topic=a/pump/x qos=1", "deny"},
		{"action=publish qos=1", "deny"},
		{"action=publish topic=a/pump/x qos=3", "deny"},
		{"action=publish topic=a/pump/x qos=1 retain=maybe", "deny"},
		{"action=publish topic=a/pump/x qos=1 peerhost=192.0.2.1", "deny"},
		{"action=publish topic=a/pump/x qos=1 peerhost=x", "deny"},
		{"action=publish topic=a/pump/x qos=1 peerhost=", "deny"},
		{"action=publish topic=a/pump/x qos=1 clientid=", "deny"},
		{"action=publish topic=a/pump/x qos=1 credential=nobody000000", "deny"},
		{"action=publish topic=a/pump/x qos=1 credential=x", "deny"},
		{"action=publish topic=a/pump/x qos=1 credential=", "deny"},
		{"action=publish topic=a/pump/x qos=1 credential= username=pump", "deny"},
		{"action=publish topic=a/pump/x qos=1 credential= username=" + made.Secret.Reveal(), "allow"},
		{"action=publish topic=a/other/x qos=1 credential= username=" + made.Secret.Reveal(), "deny"},
	} {
		fields := append([]string{id, "clientid=pump", "peerhost=10.1.2.3"}, strings.Fields(c.fields)...)
		if got := w.emqx(emqx, "authz", fields...); got != c.want {
			t.Errorf("%s: %s, not %s", c.fields, got, c.want)
		}
	}
	w.othersToken("Other0000000", time.Time{})
	if got := w.emqx(emqx, "authz", "credential=Other0000000", "action=publish", "topic=a", "qos=0", "retain=false"); got != "deny" { // W07
		t.Errorf("another organisation's: %s", got)
	}
	for org, want := range map[string]credential.Reason{"other": credential.OK, credential.DefaultOrg: credential.UnknownCredential} {
		if _, out := w.gate.Standing(t.Context(), org, "Other0000000", netip.Addr{}); out.Reason != want {
			t.Errorf("for %s it is %v", org, out.Reason)
		}
	}
	asked := []string{id, "clientid=pump", "peerhost=10.1.2.3", "action=publish", "topic=a/pump/x", "qos=1"}
	w.do("POST", "/credentials/"+made.ID+"/quarantine", map[string]string{"reason": "x"}).is(200)
	if got := w.emqx(emqx, "authz", asked...); got != "deny" {
		t.Errorf("in quarantine: %s", got)
	}
	w.do("POST", "/credentials/"+made.ID+"/release", map[string]string{}).is(200)
	if got := w.emqx(emqx, "authz", asked...); got != "allow" {
		t.Errorf("released: %s", got)
	}
	w.do("POST", "/credentials/"+made.ID+"/revoke", view.Revoke{}).is(200)
	if got := w.emqx(emqx, "authz", asked...); got != "deny" {
		t.Errorf("revoked: %s", got)
	}
	w.gate.Close()
	w.as(emqx, "POST", "//backend/emqx/authz", map[string]string{"credential": made.ID, "action": "publish", "topic": "a"}).problem(503)
}

// Asking about rights is no use of a credential.
func TestBackendAuthzIsNoUse(t *testing.T) {
	w := newWorld(t)
	emqx := w.cluster()
	w.device("pump")
	made := w.token(view.NewCredential{Kind: "device_token", Principal: "pump"})
	w.emqx(emqx, "authz", "credential="+made.ID, "action=publish", "topic=a", "qos=0", "retain=false")
	w.gate.Close() // what is counted is recorded
	used, err := w.store.Usage(t.Context(), made.ID)
	if err != nil || len(used) > 0 && used[0].Count > 0 {
		t.Errorf("%+v, %v", used, err)
	}
}

func TestBackendScram(t *testing.T) { // S01, S13
	w := newWorld(t)
	emqx := w.cluster()
	w.device("pump")
	w.do("POST", "/principals", view.NewPrincipal{Kind: "service", Name: "billing", Roles: []string{"device"}}).is(201)
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	keys := view.ScramKeys{
		StoredKey: view.Secret(strings.Repeat("0304", 16)), ServerKey: view.Secret(strings.Repeat("05AB", 16)), Salt: "0102", Iterations: 4096,
	}
	made := w.token(view.NewCredential{
		Kind: "scram", Principal: "billing", Username: "alice", ScramKeys: keys, ExpiresAt: end, AllowedIPs: []string{"10.1.2.0/24"},
	})
	w.token(view.NewCredential{Kind: "scram", Principal: "pump"})
	ask := func(fields string) *result {
		body := map[string]string{}
		for _, f := range strings.Fields(fields) {
			name, value, _ := strings.Cut(f, "=")
			body[name] = value
		}
		return w.as(emqx, "POST", "//backend/emqx/scram", body)
	}
	const alice = "username=alice peerhost=::ffff:10.1.2.3 "
	var v map[string]any
	ask(alice + "clientid=x").is(200).into(&v)
	want, _ := json.Marshal(map[string]any{
		"stored_key": strings.Repeat("0304", 16), "server_key": strings.Repeat("05ab", 16), "salt": "0102", "is_superuser": false, "expire_at": end.Unix(),
		"client_attrs": map[string]string{"cardea_credential": made.ID, "cardea_principal": "billing"},
	})
	if got, _ := json.Marshal(v); string(got) != string(want) {
		t.Errorf("%s, not %s", got, want)
	}
	ask(alice + "algorithm=sha256 iteration_count=4096").is(200)
	for fields, status := range map[string]int{
		"username=bob": 404, "": 404, alice + "algorithm=sha512": 404, alice + "algorithm=md5": 404, alice + "iteration_count=8192": 404,
		"username=alice": 404, "username=alice peerhost=10.1.3.1": 404, // its networks
		alice + "clientid=pump": 404, alice + "clientid=pump:1": 404, alice + "iteration_count=x": 400, "username=alice peerhost=x": 400,
	} {
		if p := ask(fields).problem(status); strings.Contains(p.Detail, "alice") {
			t.Errorf("%s: %+v", fields, p)
		}
	}
	ask("username=pump clientid=pump:1").is(200)
	ask("username=pump clientid=other").problem(404)
	w.do("PATCH", "/principals/pump", map[string]any{"disabled": true}).is(200)
	ask("username=pump").problem(404)
	w.do("POST", "/credentials/"+made.ID+"/revoke", map[string]any{}).is(200)
	ask(alice).problem(404)
	w.gate.Close() // it cannot know any more
	ask("username=pump").problem(503)
}

// The configuration to paste sends what is read here, and nothing else.
func TestBackendExample(t *testing.T) {
	text, err := os.ReadFile("../../examples/emqx/base.hocon")
	if err != nil {
		t.Fatal(err)
	}
	for what, typ := range map[string]reflect.Type{"authn": reflect.TypeFor[view.EMQXLogin](), "authz": reflect.TypeFor[view.EMQXAccess](), "scram": reflect.TypeFor[view.EMQXScramUser]()} {
		_, after, found := strings.Cut(string(text), backendObject+"/"+what)
		_, body, _ := strings.Cut(after, "body {")
		body, _, _ = strings.Cut(body, "}\n")
		known := map[string]bool{}
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			known[name] = true
		}
		sent := 0
		for line := range strings.Lines(body) {
			name, _, ok := strings.Cut(strings.TrimSpace(line), " = ")
			if ok && !known[name] {
				t.Errorf("%s is sent %s, which it does not read", what, name)
			}
			if ok {
				sent++
			}
		}
		if !found || sent < 4 {
			t.Errorf("%s is sent %d fields", what, sent)
		}
	}
}
