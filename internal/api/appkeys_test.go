package api

import (
	"bytes"
	"image"
	"image/png"
	"net/http"
	"strings"
	"testing"
	"time"

	"cardea/internal/view"
)

// keyUser makes a user with roles. The first one ends the administrator's first token, so there is another one before.
func (w *world) keyUser(name string, roles ...string) {
	w.Helper()
	if w.do("GET", "/principals/boss", nil).status == http.StatusNotFound {
		w.admin = w.boss("default", "boss")
	}
	if roles == nil {
		roles = []string{}
	}
	w.do("POST", "/principals", view.NewPrincipal{Kind: "user", Name: name, Roles: roles}).is(201)
}

// What ThingWorx's services do, call by call, each by the key's name too.
func TestApplicationKeyCalls(t *testing.T) {
	w := newWorld(t)
	w.keyUser("alice", "device")
	w.keyUser("bob", "device")
	before := time.Now()
	var made view.Issued
	r := w.do("POST", "/app-keys", `{"name":"Line 7","user":"alice","description":"filling","tags":["hall-3"],"project":"plant","ip_whitelist":"127.0.0.1, 10.1.0.0/16",
		"client_name":"PLC 7","documentation":"first line\nsecond","home":"/db/dash"}`, with{"Idempotency-Key", "k1"}).is(201).into(&made)
	if r.header.Get("Location") != "/api/v1/app-keys/"+made.ID || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("header %v", r.header)
	}
	if made.Kind != "app_key" || made.Principal != "alice" || strings.Join(made.AllowedIPs, " ") != "127.0.0.1/32 10.1.0.0/16" || made.Username != "" || made.Home != "/db/dash" {
		t.Errorf("made %+v", made)
	}
	// L01: 24 hours, and it is said
	if made.ExpiresAt.Before(before.Add(24*time.Hour-time.Minute)) || made.ExpiresAt.After(time.Now().Add(24*time.Hour)) || len(made.Warnings) != 1 {
		t.Errorf("it ends at %s, warnings %q", made.ExpiresAt, made.Warnings)
	}
	secret := made.Secret.Reveal()
	const at = "/app-keys/line%207"

	var key view.AppKey
	got := w.do("GET", at, nil).is(200).into(&key)
	if key.ID != made.ID || !key.Waiting || key.ClientName != "PLC 7" || key.Documentation != "first line\nsecond" || got.header.Get("ETag") != `"1"` {
		t.Errorf("shown %+v", key)
	}
	var revealed view.Revealed
	got = w.do("POST", at+"/key-id", nil).is(200).into(&revealed)
	if revealed.Secret.Reveal() != secret || revealed.Version != 1 || revealed.Name != "Line 7" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("revealed %+v", revealed)
	}
	w.do("POST", "/credentials/"+made.ID+"/reveal", nil).is(200).into(&revealed)
	if revealed.Secret.Reveal() != secret {
		t.Error("another secret is revealed")
	}
	var name view.UserName
	if w.do("GET", at+"/user-name", nil).is(200).into(&name); name.UserName != "alice" {
		t.Errorf("user %q", name.UserName)
	}
	var changed view.AppKeyChanged
	if w.do("PUT", at+"/user-name", `{"user_name":"bob"}`).is(200).into(&changed); changed.Principal != "bob" || changed.Version != 2 {
		t.Errorf("changed %+v", changed)
	}
	if w.do("PUT", at+"/client-name", `{"client_name":"PLC 8"}`).is(200).into(&changed); changed.ClientName != "PLC 8" {
		t.Errorf("changed %+v", changed)
	}
	if w.do("PUT", at+"/ip-whitelist", `{"ip_whitelist":["192.0.2.0/24"]}`).is(200).into(&changed); strings.Join(changed.AllowedIPs, " ") != "192.0.2.0/24" {
		t.Errorf("changed %+v", changed)
	}
	w.as(secret, "GET", "/whoami", nil).is(401) // not from here
	changed = view.AppKeyChanged{}
	if w.do("PUT", at+"/ip-whitelist", `{"ip_whitelist":" "}`).is(200).into(&changed); len(changed.AllowedIPs) != 0 {
		t.Errorf("changed %+v", changed)
	}
	var me view.WhoAmI
	if w.as(secret, "GET", "/whoami", nil).is(200).into(&me); me.Principal != "bob" {
		t.Errorf("the key speaks for %q", me.Principal)
	}

	until := time.Now().Add(72 * time.Hour).UTC().Truncate(time.Second)
	w.do("PUT", at+"/expiration-date", view.SetExpirationDate{ExpirationDate: until}).is(200).into(&changed)
	if !changed.ExpiresAt.Equal(until) || len(changed.Warnings) != 1 || !strings.Contains(changed.Warnings[0], "rotation") {
		t.Errorf("changed %+v", changed)
	}
	var date view.ExpirationDate
	if w.do("GET", at+"/expiration-date", nil).is(200).into(&date); !date.ExpirationDate.Equal(until) {
		t.Errorf("date %v", date)
	}
	changed = view.AppKeyChanged{}
	w.do("POST", at+"/expiration-date/reset", nil).is(200).into(&changed)
	if left := time.Until(changed.ExpiresAt); left > 24*time.Hour || left < 24*time.Hour-time.Minute || len(changed.Warnings) > 0 {
		t.Errorf("reset %+v", changed)
	}
	var expired view.IsExpired
	if w.do("GET", at+"/is-expired", nil).is(200).into(&expired); expired.Expired {
		t.Error("it has expired")
	}
	w.do("DELETE", at+"?reason=sold", nil).is(204)
	w.do("GET", at, nil).problem(404)
	w.as(secret, "GET", "/whoami", nil).is(401)
}

// Everything that is wrong is said at once, by the names of the call; garbage in a whitelist is never "anywhere" (H12).
func TestApplicationKeyProblems(t *testing.T) {
	w := newWorld(t)
	w.keyUser("root", "admin")
	for body, want := range map[string]string{
		`{"name":"a/b","user":"nobody","home":"//x","client_name":"a\tb","expiration_date":"2001-01-01T00:00:00Z"}`: "body.user body.expiration_date body.client_name body.home body.name",
		`{"name":"a","user":"root"}`: "body.allow_admin",
		`{"name":"a","user":"root","allow_admin":true,"ip_whitelist":"10.0.0.1,,10.0.0.2"}`: "body.ip_whitelist[1]",
		`{"name":"a","user":"root","allow_admin":true,"ip_whitelist":","}`:                  "body.ip_whitelist[0] body.ip_whitelist[1]",
		`{"name":"a","user":"root","allow_admin":true,"ip_whitelist":"10.0.0.1-10.0.0.9"}`:  "body.ip_whitelist[0]",
		`{"name":"a","user":"root","allow_admin":true,"ip_whitelist":["*"]}`:                "body.ip_whitelist[0]",
		`{"name":"a","user":"root","allow_admin":true,"ip_whitelist":[""]}`:                 "body.ip_whitelist[0]",
		`{"name":"a","user":"root","allow_admin":true,"ip_whitelist":7}`:                    "body.ip_whitelist",
		`{"name":"a","user":"root","allow_admin":true,"ip_whitelist":{}}`:                   "body.ip_whitelist",
		`{"user":"root","name":"a","admin":true}`:                                           "body.admin",
	} {
		got := w.do("POST", "/app-keys", body).wrong(422)
		for _, field := range strings.Fields(want) {
			if !strings.Contains(strings.Join(got, " "), field) {
				t.Errorf("%s: wrong is %q, want %q", body, got, want)
			}
		}
		if len(got) != len(strings.Fields(want)) {
			t.Errorf("%s: wrong is %q, want %q", body, got, want)
		}
	}
	var made view.Issued
	w.do("POST", "/app-keys", `{"name":"a","user":"root","allow_admin":true,"ip_whitelist":"","expiration_date":"2027-01-31T00:00:00Z"}`).is(201).into(&made)
	if !made.Admin || len(made.AllowedIPs) != 0 || !strings.Contains(strings.Join(made.Warnings, " "), "root is an administrator") {
		t.Errorf("made %+v", made)
	}
	var list view.Page[view.AppKey]
	if w.do("GET", "/app-keys", nil).is(200).into(&list); len(list.Items) != 1 || !list.Items[0].Admin {
		t.Errorf("list %+v", list)
	}
	w.do("POST", "/app-keys", `{"name":"A","user":"root","allow_admin":true}`).problem(409)
	if got := w.do("PUT", "/app-keys/a/expiration-date", `{"expiration_date":"2001-01-01T00:00:00Z"}`).wrong(422); strings.Join(got, " ") != "body.expiration_date" {
		t.Errorf("wrong is %q", got)
	}
	if got := w.do("PUT", "/app-keys/a/user-name", `{"user_name":""}`).wrong(422); strings.Join(got, " ") != "body.user" {
		t.Errorf("wrong is %q", got)
	}
	if got := w.do("PUT", "/app-keys/a/ip-whitelist", `{"ip_whitelist":"x"}`).wrong(422); strings.Join(got, " ") != "body.ip_whitelist[0]" {
		t.Errorf("wrong is %q", got)
	}
	w.do("DELETE", "/app-keys", nil).problem(422) // L06: neither expired nor unexpired was said
}

// K02: nothing but the call for it shows the secret again, and that needs a right of its own.
func TestApplicationKeySecretIsShownByRevealAlone(t *testing.T) {
	w := newWorld(t)
	w.keyUser("alice")
	var made view.Issued
	w.do("POST", "/app-keys", `{"name":"a","user":"alice"}`).is(201).into(&made)
	secret := made.Secret.Reveal()
	for _, path := range []string{
		"/app-keys", "/app-keys/a", "/credentials", "/credentials/" + made.ID, "/credentials?kind=app_key", "/app-keys/expiration-info", "/events?limit=500", "/events/export",
	} {
		if body := w.do("GET", path, nil).is(200).body; bytes.Contains(body, []byte(secret[24:])) || bytes.Contains(body, []byte("sealed")) {
			t.Errorf("%s shows the secret", path)
		}
	}
	reader := w.caller("reader", "api:credentials:read /credentials/*", "api:credentials:update /credentials/*")
	w.as(reader, "GET", "/app-keys/a", nil).is(200)
	for _, path := range []string{"/app-keys/a/key-id", "/credentials/" + made.ID + "/reveal"} {
		if p := w.as(reader, "POST", path, nil).problem(403); !strings.Contains(p.Detail, "credentials:reveal") {
			t.Errorf("%s: %s", path, p.Detail)
		}
	}
	stranger := w.caller("stranger")
	w.as(stranger, "POST", "/app-keys/a/key-id", nil).problem(404)
	w.device("pump-1")
	token := w.token(view.NewCredential{Kind: "device_token", Principal: "pump-1"})
	if p := w.do("POST", "/credentials/"+token.ID+"/reveal", nil).problem(409); !strings.Contains(p.Detail, "cannot be shown again") {
		t.Errorf("detail %q", p.Detail)
	}
	var events view.Page[view.Event]
	w.do("POST", "/app-keys/a/key-id", nil).is(200)
	if w.do("GET", "/events?type=credential.reveal", nil).is(200).into(&events); len(events.Items) != 1 || events.Items[0].Subject.ID != made.ID {
		t.Errorf("events %+v", events)
	}
	if strings.Contains(w.logged.String(), secret[24:]) {
		t.Error("the log holds the secret")
	}
}

// A key waits for its first connection until it was used once.
func TestApplicationKeysThatWait(t *testing.T) {
	w := newWorld(t)
	w.keyUser("alice", "device")
	var a, b view.Issued
	w.do("POST", "/app-keys", `{"name":"a","user":"alice","tags":["hall-3"]}`).is(201).into(&a)
	w.do("POST", "/app-keys", `{"name":"b","user":"alice"}`).is(201).into(&b)
	w.as(a.Secret.Reveal(), "GET", "/whoami", nil).is(200)
	names := func(query string) string {
		var list view.Page[view.AppKey]
		w.do("GET", "/app-keys?"+query, nil).is(200).into(&list)
		var out []string
		for _, k := range list.Items {
			mark := k.Name
			if k.Waiting {
				mark += " waits"
			}
			if k.Waiting != k.FirstUsedAt.IsZero() {
				t.Errorf("%s: waits %v, first used at %s", k.Name, k.Waiting, k.FirstUsedAt)
			}
			out = append(out, mark)
		}
		return strings.Join(out, ", ")
	}
	for names("") != "b waits, a" { // use is recorded a moment later
	}
	for query, want := range map[string]string{"never_used=true": "b waits", "tag=hall-3": "a", "user=alice&limit=1": "b waits", "status=expired": ""} {
		if got := names(query); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	w.do("POST", "/credentials/"+b.ID+"/revoke", nil).is(200)
	var list view.Page[view.AppKey]
	if w.do("GET", "/app-keys?never_used=true", nil).is(200).into(&list); len(list.Items) != 1 || list.Items[0].Waiting {
		t.Errorf("one that was revoked waits: %+v", list)
	}
}

// L06: deleting by expiry, with a dry run.
func TestDeletingApplicationKeys(t *testing.T) {
	w := newWorld(t)
	w.keyUser("alice")
	w.keyUser("bob")
	for _, body := range []string{`{"name":"a","user":"alice"}`, `{"name":"b","user":"alice"}`, `{"name":"c","user":"bob"}`} {
		w.do("POST", "/app-keys", body).is(201)
	}
	soon := time.Now().Add(50 * time.Millisecond)
	w.do("PUT", "/app-keys/a/expiration-date", view.SetExpirationDate{ExpirationDate: soon}).is(200)
	for is := (view.IsExpired{}); !is.Expired; {
		w.do("GET", "/app-keys/a/is-expired", nil).is(200).into(&is)
	}
	var info view.Page[view.ExpirationInfo]
	for query, want := range map[string]int{"": 3, "?user=alice": 2, "?unexpired=false": 1, "?expired=false": 2, "?user=bob&unexpired=false": 0} {
		if w.do("GET", "/app-keys/expiration-info"+query, nil).is(200).into(&info); len(info.Items) != want {
			t.Errorf("%q: %+v", query, info.Items)
		}
	}
	var p view.Pruned
	names := func() string {
		var out []string
		for _, i := range p.Items {
			out = append(out, i.Name)
		}
		return strings.Join(out, " ")
	}
	if w.do("DELETE", "/app-keys?expired=true&unexpired=true&user=alice&dry_run=true", nil).is(200).into(&p); names() != "b a" || !p.DryRun {
		t.Errorf("%+v", p)
	}
	if w.do("POST", "/credentials/prune", `{"kind":"app_key","expired_for":"30d"}`).is(200).into(&p); names() != "" || p.DryRun {
		t.Errorf("%+v", p)
	}
	if w.do("POST", "/credentials/prune", `{"dry_run":true}`).is(200).into(&p); names() != "a" || p.Items[0].Principal != "alice" {
		t.Errorf("%+v", p)
	}
	if w.do("DELETE", "/app-keys?expired=true", nil).is(200).into(&p); names() != "a" || p.More {
		t.Errorf("%+v", p)
	}
	if w.do("DELETE", "/app-keys?unexpired=true&user=bob", nil).is(200).into(&p); names() != "c" {
		t.Errorf("%+v", p)
	}
	if w.do("GET", "/app-keys/expiration-info", nil).is(200).into(&info); len(info.Items) != 1 || info.Items[0].Name != "b" {
		t.Errorf("left %+v", info.Items)
	}
	if got := w.do("POST", "/credentials/prune", `{"expired_for":"x"}`).wrong(422); strings.Join(got, " ") != "body.expired_for" {
		t.Errorf("wrong is %q", got)
	}
}

// A picture is served as what it is, and as nothing else.
func TestAvatarOverHTTP(t *testing.T) {
	w := newWorld(t)
	w.keyUser("alice")
	var made view.Issued
	w.do("POST", "/app-keys", `{"name":"a","user":"alice"}`).is(201).into(&made)
	at := "/credentials/" + made.ID + "/avatar"
	var file bytes.Buffer
	w.must(png.Encode(&file, image.NewGray(image.Rect(0, 0, 600, 300))))
	w.do("GET", at, nil).problem(404)
	w.do("PUT", at, file.String(), with{"Content-Type", ""}, with{"Content-Type", "image/png"}).is(204)
	r := w.do("GET", at, nil).is(200)
	if r.header.Get("Content-Type") != "image/png" || r.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("header %v", r.header)
	}
	size, err := png.DecodeConfig(bytes.NewReader(r.body))
	if err != nil || size.Width != 256 || size.Height != 128 {
		t.Errorf("%+v, %v", size, err)
	}
	var key view.AppKey
	if w.do("GET", "/app-keys/a", nil).is(200).into(&key); !key.Avatar {
		t.Error("it is not said that there is one")
	}
	if got := w.do("PUT", at, "GIF89a").wrong(422); strings.Join(got, " ") != "body.avatar" {
		t.Errorf("wrong is %q", got)
	}
	w.do("PUT", at, file.String()+strings.Repeat("x", 256<<10)).problem(http.StatusRequestEntityTooLarge)
	w.do("DELETE", at, nil).is(204)
	w.do("GET", at, nil).problem(404)
}
