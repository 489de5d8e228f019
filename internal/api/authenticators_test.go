package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/view"
)

// restService is somebody's service: it knows the user "pump-1" with the password "right".
type restService struct {
	*httptest.Server
	down atomic.Bool
	key  atomic.Value // the x-api-key that it was shown last
}

func newRESTService(t testing.TB) *restService {
	s := &restService{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.key.Store(r.Header.Get("X-Api-Key"))
		if s.down.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		var body struct{ Username, Password string }
		raw, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(raw, &body)
		w.Header().Set("Content-Type", "application/json")
		switch {
		case body.Username != "pump-1":
			io.WriteString(w, `{"result":"ignore"}`)
		case body.Password != "right":
			io.WriteString(w, `{"result":"deny"}`)
		default:
			fmt.Fprintf(w, `{"result":"allow","is_superuser":true,"client_attrs":{"site":"north"},"expire_at":%d,"acl":[{"permission":"allow","action":"publish","topic":"a/#"}]}`,
				time.Now().Add(time.Hour).Unix())
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// httpAuth is a request for an authenticator of type http that asks the service.
func (s *restService) httpAuth() map[string]any {
	return map[string]any{
		"type": "http", "listener": "default", "url": s.URL + "/login", "headers": map[string]any{"x-api-key": "hunter2"},
		"body": map[string]any{"username": "${username}", "password": "${password}"},
	}
}

func (w *world) authenticator(body any) view.Authenticator {
	w.Helper()
	var v view.Authenticator
	w.do("POST", "/authenticators", body).is(201).into(&v)
	return v
}

func (w *world) chain(listener string) []string {
	w.Helper()
	var page view.Authenticators
	w.do("GET", "/authenticators?listener="+listener, nil).is(200).into(&page)
	var ids []string
	for _, v := range page.Items {
		ids = append(ids, v.ID)
	}
	return ids
}

// The life of an authenticator through the API, in the words of the issue.
func TestAuthenticatorLife(t *testing.T) {
	w := newWorld(t)
	const body = `{"type":"scram_rest","listener":"default","enable":true,"method":"post","url":"http://127.0.0.1:9/x","headers":{},"body":{"username":"${username}"},
		"algorithm":"sha256","iteration_count":4096,"precondition":"","pool_size":8,"connect_timeout":"15s","request_timeout":"5s","enable_pipelining":100,
		"ssl":{"enable":false},"allow_superuser":false,"on_backend_failure":"ignore"}`
	r := w.do("POST", "/authenticators", body).is(201)
	var v view.Authenticator
	r.into(&v)
	if r.header.Get("Location") != "/api/v1/authenticators/"+v.ID || r.header.Get("ETag") != `"1"` {
		t.Errorf("headers %v", r.header)
	}
	if c := r.header.Get("Cache-Control"); c != "no-store" { // K02
		t.Errorf("Cache-Control %q", c)
	}
	var said, want map[string]any
	r.into(&said)
	w.must(json.Unmarshal([]byte(body), &want))
	want["ssl"].(map[string]any)["verify"] = true
	for name, value := range want {
		if fmt.Sprint(said[name]) != fmt.Sprint(value) {
			t.Errorf("%s is %v, was given as %v", name, said[name], value)
		}
	}
	if said["status"] != "unknown" || said["max_inactive"] != "10s" || len(v.Warnings) > 0 {
		t.Errorf("answer %s", r.body)
	}
	chain := w.chain("default")
	if len(chain) != 4 || chain[3] != v.ID {
		t.Errorf("chain %v", chain)
	}

	r = w.do("PATCH", "/authenticators/"+v.ID, `{"enable":false,"precondition":"str_eq(listener, 'tcp:default')"}`).is(200).into(&v)
	if v.Enable || v.Status != "disabled" || v.Precondition == "" || r.header.Get("ETag") != `"2"` {
		t.Errorf("after PATCH %s", r.body)
	}
	w.do("PATCH", "/authenticators/"+v.ID, `{"enable":true}`, with{"If-Match", `"1"`}).problem(412)
	w.do("PATCH", "/authenticators/"+v.ID, `{"url":"http://127.0.0.1/"}`).problem(422)
	v = view.Authenticator{ID: v.ID}
	r = w.do("PUT", "/authenticators/"+v.ID, `{"url":"http://127.0.0.1:9/y","algorithm":"sha512"}`, with{"If-Match", `"2"`}).is(200).into(&v)
	if !v.Enable || v.Precondition != "" || v.Algorithm != "sha512" || len(v.Body) > 0 || v.Method != "post" {
		t.Errorf("after PUT %s", r.body)
	}
	w.do("POST", "/authenticators/"+v.ID+"/move", `{"position":"front"}`).is(200)
	if got := w.chain("default"); got[0] != v.ID {
		t.Errorf("chain %v", got)
	}
	w.do("POST", "/authenticators/"+v.ID+"/move", `{"position":"after:`+chain[0]+`"}`, with{"If-Match", `"1"`}).problem(412)
	w.do("POST", "/authenticators/"+v.ID+"/move", `{"position":"after:`+chain[0]+`"}`).is(200)
	if got := w.chain("default"); !slices.Equal(got, []string{chain[0], v.ID, chain[1], chain[2]}) {
		t.Errorf("chain %v", got)
	}
	w.do("DELETE", "/authenticators/"+v.ID, nil).is(204)
	for _, at := range []string{"", "/metrics"} {
		w.do("GET", "/authenticators/"+v.ID+at, nil).problem(404)
	}
	w.do("POST", "/authenticators/"+v.ID+"/test", nil).problem(404)
}

// The types that ask nobody have four fields, and a second one of them is refused.
func TestLocalAuthenticators(t *testing.T) {
	w := newWorld(t)
	r := w.do("POST", "/authenticators", `{"type":"token","listener":"plant","enable":false,"precondition":"true"}`).is(201)
	for _, name := range []string{"url", "scopes", "allow_superuser", "on_backend_failure", "pool_size"} {
		if strings.Contains(string(r.body), name) {
			t.Errorf("the answer has %s: %s", name, r.body)
		}
	}
	if !strings.Contains(string(r.body), "this node has no MQTT listener plant") {
		t.Errorf("no warning: %s", r.body)
	}
	w.do("POST", "/authenticators", `{"type":"token","listener":"plant"}`).problem(409)
	if got := w.do("POST", "/authenticators", `{"type":"scram","listener":"plant","url":"http://127.0.0.1/","pool_size":0}`).wrong(422); !slices.Equal(got, []string{"body.url", "body.pool_size"}) {
		t.Errorf("complains of %v", got)
	}
	w.do("POST", "/authenticators", `{"type":"scram"}`).problem(409) // the listener is "default"
}

// What cannot work is refused at save, by the field; S08, S15.
func TestRefusedAuthenticators(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct{ change, fields string }{
		{`"type":"ldap"`, "body.type"},
		{`"listener":"Bad"`, "body.listener"},
		{`"listener":"/none/"`, "body.listener body.type"},
		{`"url":""`, "body.url"},
		{`"url":"ftp://127.0.0.1/"`, "body.url"},
		{`"url":"http://169.254.169.254/"`, "body.url"},
		{`"url":"http://2852039166/"`, "body.url"}, // a decimal address
		{`"url":7`, "body.url"},
		{`"method":"PUT"`, "body.method"},
		{`"headers":["a"]`, "body.headers"},
		{`"headers":{"a b":"c"}`, "body.headers"},
		{`"headers":{"x":"a\r\nb: c"}`, "body.headers.x"},
		{`"method":"get","headers":{"content-type":"application/json"}`, "body.headers.content-type"},
		{`"headers":{"content-type":"text/plain"}`, "body.headers.content-type"},
		{`"body":"username=x"`, "body.body"},
		{`"body":{"u":"${nobody}"}`, "body.body.u"},
		{`"body":{"u":1}`, "body.body.u"},
		{`"algorithm":"sha1"`, "body.algorithm"},
		{`"iteration_count":4095`, "body.iteration_count"},
		{`"iteration_count":0`, "body.iteration_count"},
		{`"iteration_count":-1`, "body.iteration_count"},
		{`"iteration_count":1000000000`, "body.iteration_count"},
		{`"iteration_count":"4096"`, "body.iteration_count"},
		{`"iteration_count":4096.5`, "body.iteration_count"},
		{`"pool_size":0`, "body.pool_size"},
		{`"enable_pipelining":0`, "body.enable_pipelining"},
		{`"connect_timeout":"0s"`, "body.connect_timeout"},
		{`"connect_timeout":"soon"`, "body.connect_timeout"},
		{`"request_timeout":5`, "body.request_timeout"},
		{`"request_timeout":"-5s"`, "body.request_timeout"},
		{`"max_inactive":"0ms"`, "body.max_inactive"},
		{`"ssl":{"enable":true}`, "body.ssl.enable"},
		{`"ssl":{"enable":"yes"}`, "body.ssl.enable"},
		{`"ssl":{"enable":true,"cacert":"x"},"url":"https://127.0.0.1/"`, "body.ssl.cacert"},
		{`"url":"https://127.0.0.1/"`, "body.ssl.enable"},
		{`"precondition":"str_eq("`, "body.precondition"},
		{`"precondition":true`, "body.precondition"},
		{`"enable":"true"`, "body.enable"},
		{`"on_backend_failure":"allow"`, "body.on_backend_failure"},
		{`"allow_superuser":"no"`, "body.allow_superuser"},
		{`"scopes":["nothing"]`, "body.scopes[0]"},
		{`"something":1`, "body.something"},
	} {
		var body map[string]any
		w.must(json.Unmarshal([]byte(`{"type":"scram_rest","listener":"default","url":"http://127.0.0.1:9/"}`), &body))
		w.must(json.Unmarshal([]byte("{"+tc.change+"}"), &body))
		got := w.do("POST", "/authenticators", body).wrong(422)
		slices.Sort(got)
		if strings.Join(got, " ") != tc.fields {
			t.Errorf("%s: complains of %v, want %s", tc.change, got, tc.fields)
		}
	}
	if got := w.chain("default"); len(got) != 3 {
		t.Errorf("chain %v", got)
	}
}

// EMQX writes lengths of time in these forms.
func TestLengthsOfTimeOfAuthenticators(t *testing.T) {
	w := newWorld(t)
	for given, want := range map[string]string{"5s": "5s", "500ms": "500ms", "1m": "1m", "5000ms": "5s", "1m30s": "1m30s"} {
		v := w.authenticator(map[string]any{"type": "http", "url": "http://127.0.0.1:9/", "request_timeout": given})
		if v.RequestTimeout != want {
			t.Errorf("%s is shown as %s", given, v.RequestTimeout)
		}
	}
}

// K02: a secret is shown as ******; that in the same place of a PUT keeps it, and the service is still shown it.
func TestSecretsOfAuthenticators(t *testing.T) {
	w, rest := newWorld(t), newRESTService(t)
	v := w.authenticator(rest.httpAuth())
	r := w.do("GET", "/authenticators/"+v.ID, nil).is(200)
	for _, text := range []string{string(r.body), string(w.do("GET", "/authenticators", nil).is(200).body), string(w.do("GET", "/events", nil).is(200).body)} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("a secret is shown: %s", text)
		}
	}
	var read map[string]any
	r.into(&read)
	for _, name := range []string{"id", "status", "created_at", "version"} {
		delete(read, name)
	}
	read["request_timeout"] = "7s"
	w.do("PUT", "/authenticators/"+v.ID, read).is(200)
	w.do("POST", "/authenticators/"+v.ID+"/test", `{"username":"pump-1","password":"right"}`).is(200)
	if got := rest.key.Load(); got != "hunter2" {
		t.Errorf("the service was shown %q", got)
	}
	read["url"] = "http://127.0.0.1:10/"
	if got := w.do("PUT", "/authenticators/"+v.ID, read).wrong(422); !slices.Equal(got, []string{"body.headers.x-api-key"}) {
		t.Errorf("complains of %v", got)
	}
	if strings.Contains(w.logged.String(), "hunter2") {
		t.Error("a secret is in the log")
	}
}

// A test answers what would happen, lets nobody in and is no login of the figures. S17: a superuser only where that is allowed.
func TestTryAnAuthenticator(t *testing.T) {
	w, rest := newWorld(t), newRESTService(t)
	body := rest.httpAuth()
	body["precondition"] = "str_eq(clientid, 'c1')"
	v := w.authenticator(body)
	try := func(login string) (out view.TrialResult) {
		t.Helper()
		w.do("POST", "/authenticators/"+v.ID+"/test", login).is(200).into(&out)
		return out
	}
	one := 1
	out := try(`{"username":"pump-1","password":"right","clientid":"c1","peerhost":"192.0.2.7","listener":"ssl:default","client_attrs":{"a":"b"}}`)
	if out.Result != "accept" || out.Principal != "pump-1" || out.Precondition != "true" || out.ACLRules == nil || *out.ACLRules != one ||
		out.IsSuperuser || out.ClientAttrs["site"] != "north" || out.ExpireAt.Before(time.Now()) || out.TookMS <= 0 {
		t.Errorf("the right password: %+v", out)
	}
	if out := try(`{"username":"pump-1","password":"wrong","clientid":"c1"}`); out.Result != "reject" {
		t.Errorf("the wrong password: %+v", out)
	}
	if out := try(`{"username":"pump-2","clientid":"c1"}`); out.Result != "ignore" {
		t.Errorf("somebody else: %+v", out)
	}
	if out := try(`{"username":"pump-1","password":"right","clientid":"c2"}`); out.Result != "ignore" || out.Precondition != "false" {
		t.Errorf("a precondition that does not hold: %+v", out)
	}
	w.do("POST", "/authenticators/"+v.ID+"/test", nil).is(200)
	if got := w.do("POST", "/authenticators/"+v.ID+"/test", `{"peerhost":"here","cert_pem":"x"}`).wrong(422); !slices.Equal(got, []string{"body.peerhost", "body.cert_pem"}) {
		t.Errorf("complains of %v", got)
	}
	body["allow_superuser"], body["precondition"] = true, ""
	w.do("PUT", "/authenticators/"+v.ID, body).is(200)
	if out := try(`{"username":"pump-1","password":"right"}`); !out.IsSuperuser {
		t.Errorf("a superuser where that is allowed: %+v", out)
	}
	var m view.AuthenticatorMetrics
	w.do("GET", "/authenticators/"+v.ID+"/metrics", nil).is(200).into(&m)
	if m.Total != 0 || m.Source == nil || m.Source.Questions == 0 || m.Source.Circuit != "closed" || m.Source.Latency.Max <= 0 {
		t.Errorf("figures %+v %+v", m, m.Source)
	}
}

// A test is a call to somebody's service, so it has a right of its own.
func TestTryNeedsItsRight(t *testing.T) {
	w, rest := newWorld(t), newRESTService(t)
	v := w.authenticator(rest.httpAuth())
	reader := w.caller("reader", "api:authenticators:read /authenticators/*")
	w.as(reader, "POST", "/authenticators/"+v.ID+"/test", `{}`).problem(403)
	w.as(reader, "GET", "/authenticators/"+v.ID+"/metrics", nil).is(200)
	tester := w.caller("tester", "api:authenticators:test /authenticators/default")
	w.as(tester, "POST", "/authenticators/"+v.ID+"/test", `{}`).is(200)
	w.as(tester, "GET", "/authenticators/"+v.ID+"/metrics", nil).problem(404)
}

// The status follows what the service does.
func TestStatusOfAnAuthenticator(t *testing.T) {
	w, rest := newWorld(t), newRESTService(t)
	v := w.authenticator(rest.httpAuth())
	status := func() (out view.Authenticator) {
		w.do("GET", "/authenticators/"+v.ID, nil).is(200).into(&out)
		return out
	}
	ask := func() { w.do("POST", "/authenticators/"+v.ID+"/test", `{"username":"pump-2"}`).is(200) }
	if got := status(); got.Status != "unknown" || got.LastError != "" {
		t.Errorf("before the first question %+v", got)
	}
	if ask(); status().Status != "ok" {
		t.Errorf("after an answer %+v", status())
	}
	rest.down.Store(true)
	ask()
	if got := status(); got.Status != "failing" || got.LastError == "" || got.LastErrorAt.IsZero() {
		t.Errorf("after a failure %+v", got)
	}
	rest.down.Store(false)
	if ask(); status().Status != "ok" {
		t.Errorf("after the next answer %+v", status())
	}
}

func TestStatusOf(t *testing.T) {
	now := time.Now()
	src := func(s credential.SourceStatus) *credential.SourceStatus { return &s }
	for _, tc := range []struct {
		want           string
		enabled, known bool
		st             gate.AuthenticatorStatus
	}{
		{"disabled", false, true, gate.AuthenticatorStatus{}},
		{"unknown", true, false, gate.AuthenticatorStatus{}},
		{"ok", true, true, gate.AuthenticatorStatus{}},
		{"failing", true, true, gate.AuthenticatorStatus{LastError: "x", LastErrorAt: now}},
		{"ok", true, true, gate.AuthenticatorStatus{LastError: "x", LastErrorAt: now.Add(-time.Hour)}},
		{"failing", true, true, gate.AuthenticatorStatus{LastError: "broken"}},
		{"unknown", true, true, gate.AuthenticatorStatus{Source: src(credential.SourceStatus{})}},
		{"failing", true, true, gate.AuthenticatorStatus{LastError: "x", LastErrorAt: now, Source: src(credential.SourceStatus{})}},
		{"failing", true, true, gate.AuthenticatorStatus{LastError: "x", LastErrorAt: now, Source: src(credential.SourceStatus{Questions: 2})}},
		{"failing", true, true, gate.AuthenticatorStatus{LastError: "broken", Source: src(credential.SourceStatus{Questions: 2})}},
		{"failing", true, true, gate.AuthenticatorStatus{Source: src(credential.SourceStatus{Questions: 2, Open: true})}},
		{"failing", true, true, gate.AuthenticatorStatus{Source: src(credential.SourceStatus{Questions: 2, LastError: "x"})}},
	} {
		if got := statusOf(tc.enabled, tc.known, &tc.st, now); got != tc.want {
			t.Errorf("%+v: %s, want %s", tc, got, tc.want)
		}
	}
}

// The same POST with the same key makes one.
func TestAuthenticatorIsMadeOnce(t *testing.T) {
	w := newWorld(t)
	const body = `{"type":"http","url":"http://127.0.0.1:9/"}`
	var one, two view.Authenticator
	w.do("POST", "/authenticators", body, with{"Idempotency-Key", "k"}).is(201).into(&one)
	w.do("POST", "/authenticators", body, with{"Idempotency-Key", "k"}).is(201).into(&two)
	if one.ID != two.ID || len(w.chain("default")) != 4 {
		t.Errorf("%s and %s", one.ID, two.ID)
	}
	w.do("POST", "/authenticators", `{"type":"http","url":"http://127.0.0.1:8/"}`, with{"Idempotency-Key", "k"}).problem(422)
}
