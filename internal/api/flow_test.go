package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cardea/internal/audit"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/secret"
	"cardea/internal/view"
)

// K02: a secret is in the answer to its making and nowhere after, and that answer is not kept by anybody.
func TestASecretIsShownOnce(t *testing.T) {
	w := newWorld(t)
	w.device("pump-1")
	r := w.do("POST", "/credentials", view.NewCredential{Kind: "device_token", Principal: "pump-1", Tags: []string{"hall-3"}}).is(201)
	if r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control: %s", r.header.Get("Cache-Control"))
	}
	var made view.Issued
	r.into(&made)
	if got := r.header.Get("Location"); got != "/api/v1/credentials/"+made.ID {
		t.Errorf("Location: %s", got)
	}
	text := made.Secret.Reveal()
	hidden := text[len("cardea_dev_")+12 : len(text)-6]
	w.as(text, "GET", "/whoami", nil).is(200)
	for _, c := range [][2]string{
		{"GET", "/credentials/" + made.ID},
		{"GET", "/credentials?principal=pump-1"},
		{"GET", "/credentials"},
		{"GET", "/events"},
		{"GET", "/events/export"},
		{"GET", "/principals/pump-1"},
		{"GET", "/sessions"},
		{"GET", "/refusals"},
		{"POST", "/credentials/" + made.ID + "/revoke"},
		{"GET", "//metrics"},
	} {
		if r := w.do(c[0], c[1], nil).is(200); bytes.Contains(r.body, []byte(hidden)) {
			t.Errorf("%s shows the secret", r.asked)
		}
	}
	if strings.Contains(w.logged.String(), hidden) {
		t.Error("the log has the secret")
	}
}

// K11: what a client may not set is refused by name, all of it at once, and nothing changes.
func TestMassAssignment(t *testing.T) {
	w := newWorld(t)
	w.device("pump-1")
	made := w.token(view.NewCredential{Kind: "device_token", Principal: "pump-1"})
	before := w.do("GET", "/credentials/"+made.ID, nil).body
	got := w.do("PATCH", "/credentials/"+made.ID, `{"hash":"AAAA","owner_id":"P00000000000","is_admin":true,"parent":"7Gq0bXv2LmNp","limits":{"per_day":1},"secret":"","state":"active","version":1,"principal":"bootstrap","name":"x"}`).wrong(422)
	if want := []string{"body.hash", "body.is_admin", "body.limits.per_day", "body.owner_id", "body.parent", "body.principal", "body.secret", "body.state", "body.version"}; !cmp.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if after := w.do("GET", "/credentials/"+made.ID, nil).body; !bytes.Equal(before, after) {
		t.Errorf("before %s\nafter %s", before, after)
	}
	if got := w.do("PATCH", "/principals/pump-1", `{"id":"x","kind":"user","name":"y","org":"z","created_at":"2026-01-01T00:00:00Z"}`).wrong(422); len(got) != 5 {
		t.Errorf("got %v", got)
	}
	if got := w.do("POST", "/principals", `{"kind":"user","name":"ann","id":"Pxxxxxxxxxxx","org":"other"}`).wrong(422); !cmp.Equal(got, []string{"body.id", "body.org"}) {
		t.Errorf("got %v", got)
	}
	w.as(made.Secret.Reveal(), "GET", "/whoami", nil).is(200)
}

// Everything that is wrong is named at once, as a problem document.
func TestAllFieldsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.device("pump-1")
	r := w.do("POST", "/credentials", view.NewCredential{
		Kind: "device_token", Principal: "pump-1", TTL: "soon", AllowedIPs: []string{"10.0.0.0/8", "10.0.0.*", ""},
	}).is(422)
	const want = `{"title":"Unprocessable Entity","status":422,"detail":"validation failed","errors":[` +
		`{"location":"body.allowed_ips[1]","message":"is neither a network such as 10.1.0.0/16 nor an address"},` +
		`{"location":"body.allowed_ips[2]","message":"is neither a network such as 10.1.0.0/16 nor an address"},` +
		`{"location":"body.ttl","message":"\"soon\" is not a length of time such as 90m, 12h or 1095d"}]}` + "\n"
	if diff := cmp.Diff(want, string(r.body)); diff != "" {
		t.Error(diff)
	}
	got := w.do("POST", "/credentials", view.NewCredential{
		Kind: "device_token", Principal: "pump-1", Scopes: []string{"device:default", "no:such"}, Tags: []string{"ok", "BAD"},
	}).wrong(422)
	if want := []string{"body.scopes[1]", "body.tags[1]"}; !cmp.Equal(got, want) {
		t.Errorf("the authority's: %v, want %v", got, want)
	}
	got = w.do("POST", "/scopes", `{"name":"Bad Name","rules":[{"permission":"allow","action":"mqtt:publish","resource":"a/#/b"},{"permission":"allow","action":"http:*","resource":"/x/**","networks":["x"]}]}`).wrong(422)
	if want := []string{"body.rules[1].networks[0]"}; !cmp.Equal(got, want) {
		t.Errorf("networks: %v, want %v", got, want)
	}
	got = w.do("POST", "/scopes", `{"name":"Bad Name","rules":[{"permission":"allow","action":"mqtt:publish","resource":"a/#/b"}]}`).wrong(422)
	if want := []string{"body.name", "body.rules[0].resource"}; !cmp.Equal(got, want) {
		t.Errorf("rules: %v, want %v", got, want)
	}
	got = w.do("POST", "/credentials/batch", `{"credentials":[{"kind":"device_token","principal":"pump-1"},{"kind":"device_token","principal":"pump-1","ttl":"0d","allowed_ips":["x"]}]}`).wrong(422)
	if want := []string{"body.credentials[1].allowed_ips[0]", "body.credentials[1].ttl"}; !cmp.Equal(got, want) {
		t.Errorf("batch: %v, want %v", got, want)
	}
	got = w.do("POST", "/credentials/batch", `{"credentials":[{"kind":"device_token","principal":"pump-1"},{"kind":"device_token","principal":"pump-1","scopes":["no:such"]}]}`).wrong(422)
	if want := []string{"body.credentials[1].scopes[0]"}; !cmp.Equal(got, want) {
		t.Errorf("batch, the authority's: %v, want %v", got, want)
	}
	got = w.do("POST", "/verify", `{"token":"","action":"http:*","resource":"/","ip":"x"}`).wrong(422)
	if want := []string{"body.action", "body.ip", "body.token"}; !cmp.Equal(sorted(got), want) {
		t.Errorf("verify: %v, want %v", got, want)
	}
	var page view.Page[view.CredentialView]
	w.do("GET", "/credentials?principal=pump-1", nil).into(&page)
	if len(page.Items) != 0 {
		t.Errorf("something was made: %v", page.Items)
	}
}

func sorted(s []string) []string { slices.Sort(s); return s }

// The same POST with the same Idempotency-Key is done once and answered the
// same, secret and all; another request with that key is refused.
func TestIdempotency(t *testing.T) {
	w := newWorld(t)
	w.device("pump-1")
	key := with{"Idempotency-Key", "first"}
	ask := view.NewCredential{Kind: "device_token", Principal: "pump-1", Name: "a"}
	one := w.do("POST", "/credentials", ask, key).is(201)
	two := w.do("POST", "/credentials", ask, key).is(201)
	if !bytes.Equal(one.body, two.body) || one.header.Get("Location") != two.header.Get("Location") {
		t.Errorf("one %s\ntwo %s", one.body, two.body)
	}
	ask.Name = "b"
	w.do("POST", "/credentials", ask, key).problem(422)
	var three view.Issued
	w.do("POST", "/credentials", ask, with{"Idempotency-Key", "second"}).is(201).into(&three)
	var page view.Page[view.CredentialView]
	w.do("GET", "/credentials?principal=pump-1", nil).into(&page)
	if len(page.Items) != 2 {
		t.Errorf("%d credentials", len(page.Items))
	}
	// another caller's key is another key
	creator := w.caller("creator", "api:credentials:* /credentials/*", "mqtt:* #", "http:* /**")
	w.as(creator, "POST", "/credentials", ask, key).is(201)
	for _, bad := range []string{strings.Repeat("k", 256), "with space", "ü"} {
		if got := w.do("POST", "/credentials", ask, with{"Idempotency-Key", bad}).wrong(422); !cmp.Equal(got, []string{"header.Idempotency-Key"}) {
			t.Errorf("%q: %v", bad, got)
		}
	}
	for _, c := range [][2]string{
		{"/principals", `{"kind":"service","name":"ann"}`},
		{"/keys", `{"id":"myapp01"}`},
		{"/scopes", `{"name":"s:one","rules":[{"permission":"allow","action":"mqtt:publish","resource":"a/#"}]}`},
		{"/roles", `{"name":"r-one","scopes":["s:one"]}`},
		{"/routes", `{"prefix":"/db/","upstream":"http://127.0.0.1:8086"}`},
		{"/credentials/batch", `{"credentials":[{"kind":"device_token","principal":"pump-1"},{"kind":"device_token","principal":"pump-1"}]}`},
		{"/credentials", `{"kind":"scram","principal":"pump-1"}`},
		{"/credentials/" + three.ID + "/rotate", `{"overlap":"1h"}`},
		{"/keys/myapp01/rotate", `{"overlap":"1h"}`},
	} {
		k := with{"Idempotency-Key", "for" + c[0]}
		one, two := w.do("POST", c[0], c[1], k), w.do("POST", c[0], c[1], k)
		if one.status > 201 || one.status != two.status || !bytes.Equal(one.body, two.body) {
			t.Errorf("%s: %d %s\n%d %s", c[0], one.status, one.body, two.status, two.body)
		}
	}
	w.do("POST", "/scopes", `{"name":"s:one","rules":[{"permission":"deny","action":"mqtt:publish","resource":"x"}]}`, with{"Idempotency-Key", "for/scopes"}).problem(409) // not what was asked for before
}

// Pages follow each other without a gap and without a repetition.
func TestPages(t *testing.T) {
	w := newWorld(t)
	for i := range 7 {
		w.device(fmt.Sprintf("pump-%d", i))
		w.token(view.NewCredential{Kind: "device_token", Principal: fmt.Sprintf("pump-%d", i)})
	}
	var names, ids, all []string
	walk[view.PrincipalView](w, "/principals?kind=device&limit=3", func(p view.PrincipalView) { names = append(names, p.Name) })
	if want := []string{"pump-0", "pump-1", "pump-2", "pump-3", "pump-4", "pump-5", "pump-6"}; !cmp.Equal(names, want) {
		t.Errorf("principals: %v", names)
	}
	walk[view.CredentialView](w, "/credentials?kind=device_token&limit=2", func(c view.CredentialView) { ids = append(ids, c.ID) })
	walk[view.CredentialView](w, "/credentials?kind=device_token", func(c view.CredentialView) { all = append(all, c.ID) })
	if len(ids) != 7 || !cmp.Equal(ids, all) {
		t.Errorf("credentials: %v, at once %v", ids, all)
	}
	var up, down []int64
	walk[view.Event](w, "/events?limit=4", func(e view.Event) { up = append(up, e.Seq) })
	walk[view.Event](w, "/events?limit=4&newest=true", func(e view.Event) { down = append(down, e.Seq) })
	slices.Reverse(down)
	if len(up) < 14 || !cmp.Equal(up, down) {
		t.Errorf("events: up %v, down %v", up, down)
	}
	for i := range up {
		if up[i] != up[0]+int64(i) {
			t.Fatalf("a gap: %v", up)
		}
	}
}

func walk[T any](w *world, path string, fn func(T)) {
	w.Helper()
	cursor := ""
	for range 100 {
		var page view.Page[T]
		w.do("GET", path+cursor, nil).is(200).into(&page)
		for _, i := range page.Items {
			fn(i)
		}
		if page.NextCursor == "" {
			return
		}
		cursor = "&cursor=" + page.NextCursor
	}
	w.Fatalf("%s does not end", path)
}

// A change that depends on what was read is refused if it was changed meanwhile.
func TestETags(t *testing.T) {
	w := newWorld(t)
	w.device("pump-1")
	made := w.token(view.NewCredential{Kind: "device_token", Principal: "pump-1"})
	w.do("PUT", "/scopes/s:one", `{"rules":[{"permission":"deny","action":"mqtt:publish","resource":"x"}]}`).is(200)
	w.do("PUT", "/roles/r-one", `{"scopes":["s:one"]}`).is(200)
	for path, bodies := range map[string][2]string{
		"PATCH /principals/pump-1":      {`{"description":"a"}`, `{"description":"b"}`},
		"PATCH /credentials/" + made.ID: {`{"description":"a"}`, `{"description":"b"}`},
		"PUT /scopes/s:one":             {`{"description":"a","rules":[{"permission":"deny","action":"mqtt:publish","resource":"x"}]}`, `{"description":"b","rules":[{"permission":"deny","action":"mqtt:publish","resource":"x"}]}`},
		"PUT /roles/r-one":              {`{"description":"a","scopes":["s:one"]}`, `{"description":"b","scopes":["s:one"]}`},
	} {
		method, path, _ := strings.Cut(path, " ")
		tag := w.do("GET", path, nil).is(200).header.Get("ETag")
		next := w.do(method, path, bodies[0], with{"If-Match", tag}).is(200).header.Get("ETag")
		if tag == "" || next == "" || next == tag {
			t.Errorf("%s: ETags %q and %q", path, tag, next)
		}
		w.do(method, path, bodies[1], with{"If-Match", tag}).problem(412)
		for _, bad := range []string{"1", "x", `W/` + next, `"x"`, `""`, `"0"`, `"01"`, `"99999999999999999999"`} {
			w.do(method, path, bodies[1], with{"If-Match", bad}).problem(412)
		}
		if got := w.do("GET", path, nil).header.Get("ETag"); got != next {
			t.Errorf("%s was changed: %s", path, got)
		}
		w.do(method, path, bodies[1], with{"If-Match", next}).is(200)
		w.do(method, path, bodies[0], with{"If-Match", "*"}).is(200)
		w.do(method, path, bodies[1]).is(200)
	}
	w.do("PUT", "/scopes/s:new", `{"rules":[{"permission":"deny","action":"mqtt:publish","resource":"x"}]}`, with{"If-Match", "*"}).problem(412)
	w.do("GET", "/scopes/s:new", nil).problem(404)
}

func TestScopesRolesAndRoutes(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/scopes", `{"name":"s:one","rules":[{"permission":"allow","action":"mqtt:publish","resource":"a/#","qos":[0,1],"networks":["10.0.0.0/8"]}]}`).is(201)
	w.do("POST", "/scopes", `{"name":"s:one","rules":[{"permission":"deny","action":"mqtt:publish","resource":"x"}]}`).problem(409)
	var s view.Scope
	w.do("GET", "/scopes/s:one", nil).is(200).into(&s)
	want := []view.Rule{{Permission: "allow", Action: "mqtt:publish", Resource: "a/#", QoS: []int{0, 1}, Networks: []string{"10.0.0.0/8"}}}
	if !cmp.Equal(s.Rules, want) {
		t.Errorf("rules: %+v", s.Rules)
	}
	w.do("PUT", "/scopes/admin:all", `{"rules":[{"permission":"deny","action":"mqtt:publish","resource":"x"}]}`).problem(409) // built in
	w.do("POST", "/roles", `{"name":"writer","scopes":["s:one"]}`).is(201)
	w.do("DELETE", "/scopes/s:one", nil).problem(409) // the role names it
	w.do("DELETE", "/roles/writer", nil).is(204)
	w.do("DELETE", "/scopes/s:one", nil).is(204)
	w.do("GET", "/scopes/s:one", nil).problem(404)

	w.do("POST", "/routes", `{"prefix":"/db/","upstream":"http://127.0.0.1:8086"}`).is(201)
	w.do("POST", "/routes", `{"prefix":"/db/","upstream":"http://127.0.0.1:8087"}`).problem(409)
	if got := w.do("POST", "/routes", `{"prefix":"/api/x/","upstream":"ftp://x"}`).wrong(422); !cmp.Equal(got, []string{"body.prefix", "body.upstream"}) {
		t.Errorf("bad route: %v", got)
	}
	var r view.Route
	w.do("PUT", "/routes", `{"prefix":"/db/","upstream":"http://127.0.0.1:8087"}`).is(200).into(&r)
	if r.Upstream != "http://127.0.0.1:8087" || r.Source != "api" || r.Version != 2 {
		t.Errorf("route: %+v", r)
	}
	if got := w.do("DELETE", "/routes", nil).wrong(422); !cmp.Equal(got, []string{"query.prefix"}) {
		t.Errorf("no prefix: %v", got)
	}
	w.do("DELETE", "/routes?prefix=%2Fdb%2F", nil).is(204)
	w.do("DELETE", "/routes?prefix=/db/", nil).problem(404)
}

// From issue to revocation: rotate with overlap, see the use of each version, retire, extend, revoke, delete.
func TestTheLifeOfACredential(t *testing.T) {
	w := newWorld(t)
	w.device("pump-1")
	one := w.token(view.NewCredential{Kind: "device_token", Principal: "pump-1", TTL: "90d"})
	first := one.Secret.Reveal()
	w.as(first, "GET", "/whoami", nil).is(200)
	var two view.Issued
	w.do("POST", "/credentials/"+one.ID+"/rotate", `{"overlap":"1h"}`).is(200).into(&two)
	if two.PreviousExpiresAt.IsZero() || two.ID != one.ID || two.Secret == one.Secret {
		t.Errorf("rotated: %+v", two)
	}
	w.as(first, "GET", "/whoami", nil).is(200) // R06: both work
	// R07: the old one is in use, so it is not ended without force
	if p := w.do("POST", "/credentials/"+one.ID+"/retire", `{"version":1}`).problem(409); !p.Force || p.Detail == "" {
		t.Errorf("retire: %+v", p)
	}
	w.as(two.Secret.Reveal(), "GET", "/whoami", nil).is(200)
	v := w.eventually("/credentials/"+one.ID, func(v view.CredentialView) bool { return v.Versions[0].Uses > 0 && v.Versions[1].Uses > 1 })
	if v.Versions[0].N != 2 || v.Versions[0].LastUsedFrom != "127.0.0.1" || v.LastUsedAt.IsZero() || v.Status != "active" {
		t.Errorf("in use: %+v", v)
	}
	w.do("POST", "/credentials/"+one.ID+"/retire", `{"version":1,"force":true}`).is(200)
	w.as(first, "GET", "/whoami", nil).problem(401)
	w.do("POST", "/credentials/"+one.ID+"/extend", `{}`).problem(422)
	w.do("POST", "/credentials/"+one.ID+"/extend", `{"ttl":"1d","expires_at":"2099-01-01T00:00:00Z"}`).problem(422)
	var longer view.Extended
	w.do("POST", "/credentials/"+one.ID+"/rotate", `{"overlap":"1h"}`).is(200).into(&two)
	w.do("POST", "/credentials/"+one.ID+"/extend", `{"ttl":"365d"}`).is(200).into(&longer)
	if !longer.ExpiresAt.After(one.ExpiresAt) || longer.Principal != "pump-1" {
		t.Errorf("extended: %+v", longer)
	}
	if len(longer.Warnings) != 1 || !strings.Contains(longer.Warnings[0], "version 2 still ends at") {
		t.Errorf("what stays behind is not said: %q", longer.Warnings)
	}
	var gone view.CredentialView
	w.do("POST", "/credentials/"+one.ID+"/revoke", `{"reason":"stolen"}`).is(200).into(&gone)
	if gone.Status != "revoked" || gone.RevokeReason != "stolen" || gone.RevokedAt.IsZero() {
		t.Errorf("revoked: %+v", gone)
	}
	w.as(two.Secret.Reveal(), "GET", "/whoami", nil).problem(401)
	w.do("POST", "/credentials/"+one.ID+"/extend", `{"ttl":"1d"}`).problem(409) // R10
	w.do("DELETE", "/credentials/"+one.ID+"?reason=tidy", nil).is(204)
	var page view.Page[view.CredentialView]
	w.do("GET", "/credentials?principal=pump-1", nil).into(&page)
	if len(page.Items) != 0 {
		t.Errorf("still listed: %+v", page.Items)
	}
	var types []string
	for _, e := range w.allEvents() {
		if e.Subject.ID == one.ID {
			types = append(types, e.Type)
		}
	}
	if want := []string{"credential.create", "credential.rotate", "credential.retire", "credential.rotate", "credential.extend", "credential.revoke", "credential.delete"}; !cmp.Equal(types, want) { // A05
		t.Errorf("events: %v", types)
	}
}

func (w *world) eventually(path string, ok func(view.CredentialView) bool) view.CredentialView {
	w.Helper()
	var v view.CredentialView
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		w.do("GET", path, nil).is(200).into(&v)
		if ok(v) {
			return v
		}
		if time.Now().After(deadline) {
			w.Fatalf("it stays %+v", v)
		}
	}
}

func TestFilters(t *testing.T) {
	w := newWorld(t)
	w.device("pump-1")
	w.device("pump-2")
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	a := w.token(view.NewCredential{Kind: "device_token", Principal: "pump-1", Tags: []string{"hall-3"}, Project: "water", ExpiresAt: soon})
	b := w.token(view.NewCredential{Kind: "device_token", Principal: "pump-2", Scopes: []string{"device:default"}})
	w.do("POST", "/credentials/"+b.ID+"/revoke", nil).is(200)
	w.as(a.Secret.Reveal(), "GET", "/whoami", nil).is(200)
	w.eventually("/credentials/"+a.ID, func(v view.CredentialView) bool { return !v.LastUsedAt.IsZero() })
	for query, want := range map[string]string{
		"tag=hall-3": a.ID, "project=water": a.ID, "principal=pump-1": a.ID, "principal=" + a.PrincipalID: a.ID,
		"scope=device:default": b.ID, "status=revoked": b.ID, "status=active&kind=device_token": a.ID, "status=expired": "", "tag=none": "",
		"expires_before=" + soon.Add(time.Second).Format(time.RFC3339) + "&kind=device_token":          a.ID,
		"unused_since=" + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339) + "&kind=device_token": b.ID,
	} {
		var page view.Page[view.CredentialView]
		w.do("GET", "/credentials?"+query, nil).is(200).into(&page)
		var ids []string
		for _, c := range page.Items {
			ids = append(ids, c.ID)
		}
		if strings.Join(ids, " ") != want {
			t.Errorf("%s: %v, want %s", query, ids, want)
		}
	}
	w.do("GET", "/credentials?principal=nobody", nil).problem(404)
}

// J26: nobody makes anything that may more than they may themselves, nor gives it to somebody.
func TestNobodyGrantsMoreThanTheyHave(t *testing.T) {
	w := newWorld(t)
	w.device("pump-1")
	small := w.caller("small", "api:credentials:* /credentials/*", "api:principals:* /principals/*", "api:scopes:* /scopes/*", "api:roles:* /roles/*", "mqtt:publish a/#")
	for _, c := range [][3]string{
		{"POST", "/credentials", `{"kind":"api_key","principal":"bootstrap"}`},
		{"POST", "/credentials", `{"kind":"device_token","principal":"pump-1"}`},
		{"POST", "/credentials/batch", `{"credentials":[{"kind":"api_key","principal":"small"},{"kind":"api_key","principal":"bootstrap"}]}`},
		{"POST", "/principals", `{"kind":"service","name":"big","roles":["admin"]}`},
		{"PATCH", "/principals/small", `{"roles":["admin"]}`},
		{"POST", "/scopes", `{"name":"big","rules":[{"permission":"allow","action":"mqtt:publish","resource":"#"}]}`},
		{"PUT", "/scopes/small", `{"rules":[{"permission":"allow","action":"http:*","resource":"/**"}]}`},
		{"PUT", "/roles/small", `{"scopes":["admin:all"]}`},
		{"POST", "/keys", `{"id":"myapp01"}`},
	} {
		r := w.as(small, c[0], c[1], c[2])
		r.problem(403)
		if r.header.Get("WWW-Authenticate") != `Bearer realm="cardea", error="insufficient_scope"` {
			t.Errorf("%s: %v", r.asked, r.header)
		}
	}
	w.as(small, "POST", "/scopes", `{"name":"tiny","rules":[{"permission":"allow","action":"mqtt:publish","resource":"a/b"}]}`).is(201)
	w.as(small, "POST", "/credentials", `{"kind":"api_key","principal":"small","scopes":["tiny"]}`).is(201)
}

// W07: a credential of another organisation is as unknown as one that does not exist, also if it has ended.
func TestOthersCredentialsAreUnknown(t *testing.T) {
	w := newWorld(t)
	live, ended := w.othersToken("0000000live0", time.Time{}), w.othersToken("000000ended0", time.Now().Add(-time.Hour))
	nobody, _, err := secret.New("dev", "000000nobody")
	w.must(err)
	for _, path := range []string{"/verify", "/explain"} {
		ask := func(token string) string {
			return string(w.do("POST", path, view.Verify{Token: view.Secret(token), Action: "http:GET", Resource: "/db/x"}).is(200).body)
		}
		want := ask(nobody.Reveal())
		if !strings.Contains(want, `"unknown_credential"`) {
			t.Errorf("%s of nobody's: %s", path, want)
		}
		for name, token := range map[string]string{"live": live, "ended": ended} {
			if got := ask(token); got != want {
				t.Errorf("%s of their %s token: %s, want %s", path, name, got, want)
			}
		}
	}
	if r := w.as(live, "GET", "/whoami", nil).is(200); !strings.Contains(string(r.body), `"org":"other"`) {
		t.Errorf("it is a good token, for them: %s", r.body)
	}
}

// W07: what another organisation has does not exist.
func TestOtherOrganisations(t *testing.T) {
	w := newWorld(t)
	theirs := w.othersPrincipal()
	for _, c := range [][3]string{
		{"GET", "/principals/" + theirs.ID},
		{"GET", "/principals/theirs"},
		{"PATCH", "/principals/" + theirs.ID, `{"disabled":true}`},
		{"DELETE", "/principals/" + theirs.ID},
		{"POST", "/credentials", `{"kind":"device_token","principal":"` + theirs.ID + `"}`},
		{"GET", "/credentials?principal=" + theirs.ID},
		{"GET", "/sessions?principal=theirs"},
	} {
		var body any
		if c[2] != "" {
			body = c[2]
		}
		r := w.do(c[0], c[1], body)
		if r.status != 404 && r.status != 422 {
			t.Errorf("%s: %d %s", r.asked, r.status, r.body)
		}
	}
	p, err := w.store.Principal(t.Context(), "other", theirs.ID)
	if err != nil || p.Version != 1 || p.Disabled {
		t.Errorf("theirs was touched: %+v, %v", p, err)
	}
	for _, e := range w.exported() {
		if e.Org == "other" {
			t.Errorf("their event is shown: %+v", e)
		}
	}
}

func (w *world) exported() []view.Event {
	w.Helper()
	r := w.do("GET", "/events/export", nil).is(200)
	if ct := r.header.Get("Content-Type"); ct != "application/x-ndjson" {
		w.Errorf("Content-Type %s", ct)
	}
	var out []view.Event
	for lines := bufio.NewScanner(bytes.NewReader(r.body)); lines.Scan(); {
		var e view.Event
		w.must(json.Unmarshal(lines.Bytes(), &e))
		out = append(out, e)
	}
	// A03: it is the one format of exports, byte for byte, and its chain holds
	var again bytes.Buffer
	w.must(audit.Export(&again, audit.ReadExport(bytes.NewReader(r.body))))
	if again.String() != string(r.body) {
		w.Errorf("the export of the API is of another form than %s", again.String())
	}
	if v, err := audit.VerifyExport(&again); err != nil || v.Count() != int64(len(out)) {
		w.Errorf("the export: %d events, %v", v.Count(), err)
	}
	return out
}

func TestEvents(t *testing.T) {
	w := newWorld(t)
	var batch view.NewCredentials
	w.device("pump-1")
	for range 500 {
		batch.Credentials = append(batch.Credentials, view.NewCredential{Kind: "device_token", Principal: "pump-1"})
	}
	var made view.IssuedList
	w.do("POST", "/credentials/batch", batch).is(201).into(&made)
	if len(made.Items) != 500 || made.Items[499].Secret == "" || made.Items[0].ID == made.Items[499].ID {
		t.Errorf("%d were made", len(made.Items))
	}
	batch.Credentials = append(batch.Credentials, batch.Credentials[0])
	if got := w.do("POST", "/credentials/batch", batch).wrong(422); !cmp.Equal(got, []string{"body.credentials"}) {
		t.Errorf("501: %v", got)
	}
	all, exported := w.allEvents(), w.exported() // more than one page of the export
	if len(all) < 500 || len(exported) != len(all) {
		t.Errorf("%d events, %d exported", len(all), len(exported))
	}
	for i := 1; i < len(all); i++ {
		if all[i].Prev != all[i-1].Hash || all[i].Seq != all[i-1].Seq+1 || len(all[i].Hash) != 64 {
			t.Fatalf("the chain breaks at %d", i)
		}
	}
	var s view.LogState
	w.do("POST", "/events/verify", nil).is(200).into(&s)
	if !s.OK || s.Events != int64(len(all)) || s.Head != all[len(all)-1].Hash {
		t.Errorf("verified: %+v", s)
	}
	var page view.Page[view.Event]
	w.do("GET", "/events?newest=true&limit=1&type=principal.&subject=pump-1&actor=bootstrap&from=2020-01-01T00:00:00Z", nil).is(200).into(&page)
	if len(page.Items) != 1 || page.Items[0].Type != "principal.create" {
		t.Errorf("filtered: %+v", page.Items)
	}
	w.do("GET", "/events?to=2020-01-01T00:00:00Z", nil).is(200).into(&page)
	if len(page.Items) != 0 {
		t.Errorf("before 2020: %+v", page.Items)
	}
}

func TestSessions(t *testing.T) {
	w := newWorld(t)
	w.device("pump-1")
	made := w.token(view.NewCredential{Kind: "device_token", Principal: "pump-1"})
	id, out := w.gate.Authenticate(t.Context(), &gate.Evidence{Token: made.Secret.Reveal(), Door: "http"})
	if out.Reason != credential.OK {
		t.Fatal(out.Reason)
	}
	cut := make(chan credential.Reason, 1)
	if _, reason := w.gate.Watch(t.Context(), id, gate.Live{Door: "http", Kind: "stream", About: "GET /db/events", Cut: func(r credential.Reason) { cut <- r }}); reason != credential.OK {
		t.Fatal(reason)
	}
	var page view.Page[view.Session]
	w.do("GET", "/sessions?door=http", nil).is(200).into(&page)
	if len(page.Items) != 1 || page.Items[0].Principal != "pump-1" || page.Items[0].About != "GET /db/events" {
		t.Fatalf("sessions: %+v", page.Items)
	}
	w.do("DELETE", "/sessions/"+page.Items[0].ID, nil).is(204)
	if got := <-cut; got != credential.Kicked {
		t.Errorf("cut for %s", got)
	}
	w.do("DELETE", "/sessions/"+page.Items[0].ID, nil).problem(404)
}

func TestVerifyAndExplain(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/scopes", `{"name":"t:write","rules":[{"permission":"allow","action":"mqtt:publish","resource":"db/append/#"},{"permission":"deny","action":"mqtt:publish","resource":"db/append/secret"}]}`).is(201)
	w.device("pump-1")
	made := w.token(view.NewCredential{Kind: "device_token", Principal: "pump-1", Scopes: []string{"t:write"}, AllowedIPs: []string{"10.0.0.0/8"}})
	ask := func(ip, action, resource string) (v view.Explanation) {
		t.Helper()
		q := view.Verify{Token: made.Secret, Action: action, Resource: resource, IP: ip}
		var short view.Verdict
		w.do("POST", "/verify", q).is(200).into(&short)
		w.do("POST", "/explain", q).is(200).into(&v)
		if !cmp.Equal(short, v.Verdict) {
			t.Errorf("verify %+v, explain %+v", short, v.Verdict)
		}
		return v
	}
	v := ask("10.1.2.3", "mqtt:publish", "db/append/example")
	if !v.Allowed || v.Reason != "ok" || v.Principal != "pump-1" || v.Credential != made.ID || !cmp.Equal(v.Scopes, []string{"t:write"}) || len(v.Rules) < 3 {
		t.Errorf("allowed: %+v", v)
	}
	if v := ask("10.1.2.3", "mqtt:publish", "db/append/secret"); v.Allowed || v.Reason != "denied_by_rule" {
		t.Errorf("denied: %+v", v)
	}
	if v := ask("10.1.2.3", "http:GET", "/db/query"); v.Allowed || v.Reason != "no_rule" {
		t.Errorf("no rule: %+v", v)
	}
	if v := ask("192.0.2.1", "mqtt:publish", "db/append/example"); v.Allowed || v.Reason != "network_refused" {
		t.Errorf("network: %+v", v)
	}
	if v := ask("10.1.2.3", "", ""); !v.Allowed || v.Principal != "pump-1" {
		t.Errorf("who only: %+v", v)
	}
	w.do("POST", "/credentials/"+made.ID+"/revoke", nil).is(200)
	if v := ask("10.1.2.3", "", ""); v.Allowed || v.Reason != "revoked" {
		t.Errorf("revoked: %+v", v)
	}
	if r := w.do("POST", "/verify", `{"token":"cardea_dev_x"}`).is(200); !strings.Contains(string(r.body), `"reason":"malformed_token"`) {
		t.Errorf("malformed: %s", r.body)
	}
	w.do("POST", "/scopes", `{"name":"t:own","rules":[{"permission":"allow","action":"mqtt:publish","resource":"dev/${principal}/${attr.site}/${client_id}"}]}`).is(201)
	w.do("PATCH", "/principals/pump-1", `{"attrs":{"site":"north"}}`).is(200)
	own := w.token(view.NewCredential{Kind: "device_token", Principal: "pump-1", Scopes: []string{"t:own"}})
	q := view.Verify{Token: own.Secret, Action: "mqtt:publish", Resource: "dev/pump-1/north/c1", ClientID: "c1"}
	if w.do("POST", "/explain", q).is(200).into(&v); !v.Allowed {
		t.Errorf("a template: %+v", v)
	}
	q.ClientID = "" // M10
	w.do("POST", "/explain", q).is(200).into(&v)
	if i := slices.IndexFunc(v.Rules, func(l view.Look) bool { return l.Scope == "t:own" }); v.Allowed || v.Reason != "no_rule" || i < 0 || v.Rules[i].Why != "template" {
		t.Errorf("a template without a value: %+v", v)
	}
	reader := w.caller("reader", "api:credentials:read /credentials/*")
	w.as(reader, "POST", "/verify", view.Verify{Token: made.Secret}).problem(403)
	w.as(reader, "POST", "/explain", view.Verify{Token: made.Secret}).problem(403)
}

func TestKeys(t *testing.T) {
	w := newWorld(t)
	var b view.KeyBundle
	w.do("POST", "/keys", view.NewKey{ID: "myapp01"}).is(201).into(&b)
	if b.Principal.Name != "myapp01" || b.Token.Secret == "" || !strings.HasPrefix(b.Certificate.CertificatePEM, "-----BEGIN CERTIFICATE") || b.Certificate.PrivateKey == "" {
		t.Errorf("bundle: %v", b)
	}
	if !b.Token.ExpiresAt.Equal(b.Certificate.ExpiresAt) || b.Certificate.Versions[0].Fingerprint == "" || b.Certificate.Versions[0].Serial == "" {
		t.Errorf("bundle: %v", b)
	}
	w.as(b.Token.Secret.Reveal(), "GET", "/whoami", nil).is(200)
	if p := w.do("POST", "/keys", view.NewKey{ID: "myapp01"}).problem(409); !strings.Contains(p.Detail, "rotate") {
		t.Errorf("again: %s", p.Detail)
	}
	if got := w.do("POST", "/keys", view.NewKey{ID: "x", Valid: "-1d"}).wrong(422); !cmp.Equal(got, []string{"body.valid"}) {
		t.Errorf("valid: %v", got)
	}
	var n view.KeyBundle
	w.do("POST", "/keys/myapp01/rotate", `{"overlap":"1h"}`).is(200).into(&n)
	if n.Token.Secret == b.Token.Secret || n.Certificate.CertificatePEM == b.Certificate.CertificatePEM {
		t.Errorf("rotated: %v", n)
	}
	w.as(b.Token.Secret.Reveal(), "GET", "/whoami", nil).is(200)
	w.do("POST", "/keys/nobody/rotate", `{}`).problem(404)
}
