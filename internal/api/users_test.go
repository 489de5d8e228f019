package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/testkit"
	"cardea/internal/view"
)

const (
	goodPassword  = "nine violins under a Danish roof"
	otherPassword = "purple tractor lemon window"
)

// staff makes the role of people who see to their own tokens, and users with it.
func (w *world) staff(users ...string) {
	w.Helper()
	w.do("POST", "/scopes", view.NewScope{Name: "orders", PutScope: view.PutScope{Rules: []view.Rule{{Permission: "allow", Action: "http:GET", Resource: "/db/orders/**"}}}}).is(201)
	w.do("POST", "/roles", view.NewRole{Name: "staff", PutRole: view.PutRole{Scopes: []string{"orders"}}}).is(201)
	for _, name := range users {
		w.local("POST", "/principals", view.NewPrincipal{Kind: "user", Name: name, Roles: []string{"member", "staff"}}).is(201)
		w.local("POST", "/users/"+name+"/password", view.SetPassword{Password: goodPassword}).is(200)
	}
}

// service makes a service and a token of it that may everything.
func (w *world) service(name string) string {
	w.Helper()
	w.local("POST", "/principals", view.NewPrincipal{Kind: "service", Name: name, Roles: []string{"admin"}}).is(201)
	var made view.Issued
	w.local("POST", "/credentials", view.NewCredential{Kind: "api_key", Principal: name}).is(201).into(&made)
	return made.Secret.Reveal()
}

// login begins a session.
func (w *world) login(name, password string) view.LoggedIn {
	w.Helper()
	var in view.LoggedIn
	w.as("", "POST", "/login", view.Login{Name: name, Password: view.Secret(password)}).is(200).into(&in)
	return in
}

// W03: a login gives a new session each time, which logout ends on the server; it ends by itself too. No cookie is set, and none is taken.
func TestLoginAndLogout(t *testing.T) {
	w := newWorld(t)
	w.staff("alice")
	r := w.as("", "POST", "/login", view.Login{Org: "default", Name: "alice", Password: goodPassword}).is(200)
	if r.header.Get("Cache-Control") != "no-store" || r.header.Get("Set-Cookie") != "" {
		t.Errorf("headers %v", r.header)
	}
	var a view.LoggedIn
	r.into(&a)
	b := w.login("alice", goodPassword)
	if a.Token == b.Token || !strings.HasPrefix(a.Token.Reveal(), "cardea_ses_") || a.Principal != "alice" || a.Org != "default" || time.Until(a.ExpiresAt) > 12*time.Hour {
		t.Errorf("%+v and %+v", a, b)
	}
	var me view.WhoAmI
	w.as(a.Token.Reveal(), "GET", "/whoami", nil).is(200).into(&me)
	if me.Principal != "alice" || me.Session == "" || me.Kind != "password" {
		t.Errorf("%+v", me)
	}
	var list view.Page[view.CredentialView]
	w.local("GET", "/credentials?kind=session&parent="+me.Credential, nil).is(200).into(&list)
	if len(list.Items) != 2 || list.Items[0].Parent != me.Credential {
		t.Errorf("%+v", list)
	}
	w.as("", "GET", "/whoami", nil, with{"Cookie", "session=" + a.Token.Reveal()}).is(401)
	w.as(a.Token.Reveal(), "POST", "/logout", nil).is(204)
	w.as(a.Token.Reveal(), "GET", "/whoami", nil).is(401)
	w.as(a.Token.Reveal(), "POST", "/logout", nil).is(401)
	w.as(b.Token.Reveal(), "GET", "/whoami", nil).is(200)
	w.local("DELETE", "/credentials/"+w.sessionOf(b), nil).is(204)
	w.as(b.Token.Reveal(), "GET", "/whoami", nil).is(401)
	w.as(w.service("svc"), "POST", "/logout", nil).problem(409)
	w.local("POST", "/logout", nil).problem(409)
}

func (w *world) sessionOf(in view.LoggedIn) string {
	w.Helper()
	var me view.WhoAmI
	w.as(in.Token.Reveal(), "GET", "/whoami", nil).is(200).into(&me)
	return me.Session
}

// E02, E05: whoever does not get in gets one answer, whether there is such a user or not.
func TestLoginTellsNothing(t *testing.T) {
	w := newWorld(t)
	w.staff("alice", "bob", "carol", "dave")
	w.local("PATCH", "/principals/bob", view.PatchPrincipal{Disabled: new(true)}).is(200)
	w.local("DELETE", "/principals/carol", nil).is(204)
	w.local("DELETE", "/users/dave/password", nil).is(204)
	w.local("POST", "/principals", view.NewPrincipal{Kind: "service", Name: "svc"}).is(201)
	const want = `{"title":"Unauthorized","status":401,"detail":"wrong name or password"}` + "\n"
	for what, in := range map[string]view.Login{
		"a wrong password":     {Name: "alice", Password: otherPassword},
		"nobody":               {Name: "nobody", Password: goodPassword},
		"another organisation": {Org: "other", Name: "alice", Password: goodPassword},
		"no organisation":      {Org: "No Such", Name: "alice", Password: goodPassword},
		"disabled":             {Name: "bob", Password: goodPassword},
		"deleted":              {Name: "carol", Password: goodPassword},
		"without a password":   {Name: "dave", Password: goodPassword},
		"a service":            {Name: "svc", Password: goodPassword},
		"no name":              {Name: "../../etc", Password: goodPassword},
		"control characters":   {Name: "alice\x00", Password: goodPassword + "\x07"},
	} {
		r := w.as("", "POST", "/login", in)
		if r.is(401); string(r.body) != want || r.header.Get("WWW-Authenticate") != `Bearer realm="cardea"` || len(r.header) != 7 {
			t.Errorf("%s: %s %v", what, r.body, r.header)
		}
	}
	ways := []string{"alice", "ALICE", " alice ", "ａｌｉｃｅ"} // E03: one record
	for _, name := range ways {
		w.as("", "POST", "/login", view.Login{Name: name, Password: goodPassword}).is(200)
	}
}

// E01: wrong passwords slow down who sends them for this name, not the user elsewhere, and nobody for ever.
func TestGuessesAreSlowedDown(t *testing.T) {
	w := newWorld(t)
	w.staff("alice")
	ctx := t.Context()
	elsewhere := func() credential.Reason {
		_, out := w.gate.Login(ctx, "default", "alice", goodPassword, &gate.Evidence{Source: addr("203.0.113.9"), Door: "api"})
		return out.Reason
	}
	names := []string{"alice", "Alice", "ALICE"} // E03: one counter
	right := 0
	for range 5 { // a machine that stands still for two seconds lets the right one through
		last, n := w.guess(func(i int) *result {
			return w.as("", "POST", "/login", view.Login{Name: names[i%3], Password: "wrong wrong wrong"})
		})
		if n < 90 || last.header.Get("Retry-After") == "" { // NIST SP 800-63B allows a hundred
			t.Errorf("after %d: %v", n, last.header)
		}
		if right = w.as("", "POST", "/login", view.Login{Name: "alice", Password: goodPassword}).status; right == 429 {
			break
		}
	}
	if right != 429 {
		t.Errorf("the right password, from where it was guessed: %d", right)
	}
	if why := elsewhere(); why != credential.OK {
		t.Errorf("from elsewhere: %s", why)
	}
}

// guess repeats an attempt until it is slowed down, however slow the machine is, and returns that answer and how many came before.
func (w *world) guess(attempt func(int) *result) (*result, int) {
	w.Helper()
	for i := range 1000 {
		if r := attempt(i); r.status == 429 {
			r.problem(429)
			return r, i
		}
	}
	w.Fatal("a thousand guesses were let through")
	return nil, 0
}

// E04: codes of invitations are as little guessed; a wrong, a used and an old one get the same answer.
func TestActivation(t *testing.T) {
	w := newWorld(t)
	w.staff()
	w.local("POST", "/principals", view.NewPrincipal{Kind: "user", Name: "alice", Roles: []string{"member", "staff"}}).is(201)
	var inv view.Invited
	r := w.local("POST", "/users/alice/invite", nil).is(201)
	r.into(&inv)
	if r.header.Get("Cache-Control") != "no-store" || inv.Principal != "alice" || time.Until(inv.ExpiresAt) > 72*time.Hour {
		t.Errorf("%+v", inv)
	}
	use := func(code view.Secret, password string) *result {
		return w.as("", "POST", "/activate", view.Activate{Code: code, Password: view.Secret(password)})
	}
	wrong := use(view.Secret(testkit.Spoil(inv.Code.Reveal())), "short")
	wrong.problem(401)
	if got := use(inv.Code, "short").wrong(422); len(got) != 1 || got[0] != "body.password" {
		t.Errorf("%v", got)
	}
	var done view.Activated
	use(inv.Code, goodPassword).is(200).into(&done)
	if done.Principal != "alice" || done.Org != "default" {
		t.Errorf("%+v", done)
	}
	w.login("alice", goodPassword)
	again := use(inv.Code, otherPassword)
	if again.problem(401); !bytes.Equal(again.body, wrong.body) {
		t.Errorf("%s, and %s", again.body, wrong.body)
	}
	for range 40 {
		again = use("000000000000000000000000000000000000", otherPassword)
	}
	if again.problem(429); again.header.Get("Retry-After") == "" {
		t.Errorf("%v", again.header)
	}
}

// O01: a hundred use one code at the same time; one gets 200.
func TestActivationHasOneWinner(t *testing.T) {
	w := newWorld(t)
	w.staff()
	w.local("POST", "/principals", view.NewPrincipal{Kind: "user", Name: "alice"}).is(201)
	var inv view.Invited
	w.local("POST", "/users/alice/invite", nil).is(201).into(&inv)
	var all sync.WaitGroup
	won := make(chan string, 100)
	for i := range 100 {
		all.Go(func() {
			password := fmt.Sprintf("%s %d", goodPassword, i)
			r, err := w.try(w.net, "POST", "/activate", view.Activate{Code: inv.Code, Password: view.Secret(password)})
			switch {
			case err != nil:
				t.Error(err)
			case r.status == 200:
				won <- password
			case r.status != 401 && r.status != 429:
				t.Errorf("%d: %s", r.status, r.body)
			}
		})
	}
	all.Wait()
	if len(won) != 1 {
		t.Fatalf("%d have won", len(won))
	}
	w.login("alice", <-won)
}

// W01, H17: what anybody may send is small, strict JSON, and nothing of it is repeated.
func TestBadLogins(t *testing.T) {
	w := newWorld(t)
	w.staff("alice")
	big := `{"name":"alice","password":"` + strings.Repeat("x", 5000) + `"}`
	for what, x := range map[string]struct {
		body        string
		contentType string
		status      int
	}{
		"nothing":             {"", "application/json", 400},
		"no JSON":             {"name=alice", "application/json", 400},
		"a form":              {`name=alice`, "application/x-www-form-urlencoded", 415},
		"JSON as a form has":  {`{"name":"alice","password":"` + goodPassword + `"}`, "text/plain", 415},
		"a member twice":      {`{"name":"alice","password":"` + goodPassword + `","name":"bob"}`, "application/json", 400},
		"an unknown member":   {`{"name":"alice","password":"` + goodPassword + `","admin":true}`, "application/json", 422},
		"another letter case": {`{"Name":"alice","password":"` + goodPassword + `"}`, "application/json", 422},
		"a list":              {`["alice"]`, "application/json", 422},
		"no password":         {`{"name":"alice"}`, "application/json", 422},
		"a number":            {`{"name":1,"password":"` + goodPassword + `"}`, "application/json", 422},
		"more than 4 KiB":     {big, "application/json", 413},
	} {
		for _, path := range []string{"/login", "/activate"} {
			body := x.body
			if path == "/activate" {
				body = strings.ReplaceAll(body, `"name"`, `"code"`)
			}
			r := w.as("", "POST", path, body, with{"Content-Type", ""}, with{"Content-Type", x.contentType})
			if r.status != x.status || bytes.Contains(r.body, []byte(goodPassword)) {
				t.Errorf("%s to %s: %d %s", what, path, r.status, r.body)
			}
			if r.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s to %s: %v", what, path, r.header)
			}
		}
	}
	for _, path := range []string{"/login?password=x", "/activate?token=x"} { // K04
		w.as("", "POST", path, view.Login{Name: "alice", Password: goodPassword}).problem(400)
	}
	w.as("", "GET", "/login", nil).is(401) // it is no operation, so nothing is open about it
}

// A user sees to their own tokens; administrators see and revoke them.
func TestMyTokens(t *testing.T) {
	w := newWorld(t)
	w.staff("alice", "bob")
	alice, bob := w.login("alice", goodPassword).Token.Reveal(), w.login("bob", goodPassword).Token.Reveal()
	var me view.Self
	w.as(alice, "GET", "/me", nil).is(200).into(&me)
	if me.Principal != "alice" || me.Session == "" || len(me.Roles) != 2 || len(me.Selectable) != 2 || me.Tokens.MaxLifetime != "366d" || !me.Tokens.RequireExpiry {
		t.Errorf("%+v", me)
	}
	var made view.Issued
	r := w.as(alice, "POST", "/me/tokens", view.NewOwnToken{Name: "laptop", Scopes: []string{"orders"}, TTL: "30d", AllowedIPs: []string{"127.0.0.0/8"}}, with{"Idempotency-Key", "k1"}).is(201)
	r.into(&made)
	if made.Kind != "pat" || made.Principal != "alice" || !strings.HasPrefix(made.Secret.Reveal(), "cardea_pat_") || r.header.Get("Location") != prefix+"/me/tokens/"+made.ID {
		t.Errorf("%+v", made)
	}
	var again view.Issued
	w.as(alice, "POST", "/me/tokens", view.NewOwnToken{Name: "laptop", Scopes: []string{"orders"}, TTL: "30d", AllowedIPs: []string{"127.0.0.0/8"}}, with{"Idempotency-Key", "k1"}).is(201).into(&again)
	if again.Secret != made.Secret {
		t.Error("the same request is answered otherwise")
	}
	w.as(made.Secret.Reveal(), "GET", "/me/tokens", nil).problem(403)
	w.as(made.Secret.Reveal(), "POST", "/me/tokens", view.NewOwnToken{Name: "more"}).problem(403)
	one := "/me/tokens/" + made.ID
	var seen view.CredentialView
	w.as(alice, "GET", one, nil).is(200).into(&seen)
	var list view.Page[view.CredentialView]
	w.as(alice, "GET", "/me/tokens", nil).is(200).into(&list)
	if seen.Name != "laptop" || len(list.Items) != 2 {
		t.Errorf("%+v, %+v", seen, list)
	}
	w.as(alice, "GET", "/me/tokens?kind=pat&status=active", nil).is(200).into(&list)
	if len(list.Items) != 1 {
		t.Errorf("%+v", list)
	}
	var e view.Extended
	w.as(alice, "POST", one+"/renew", view.Extend{TTL: "60d"}).is(200).into(&e)
	if left := time.Until(e.ExpiresAt); left < 59*24*time.Hour || left > 60*24*time.Hour {
		t.Errorf("renewed until %s", e.ExpiresAt)
	}
	var rotated view.Issued
	w.as(alice, "POST", one+"/rotate", view.RotateOwn{Overlap: "1h"}).is(200).into(&rotated)
	svc := w.service("svc")
	for _, c := range []struct {
		method, path string
		body         any
	}{{"GET", one, nil}, {"POST", one + "/renew", view.Extend{TTL: "90d"}}, {"POST", one + "/rotate", nil}, {"POST", one + "/revoke", nil}} {
		w.as(bob, c.method, c.path, c.body).problem(404)
		w.as(svc, c.method, c.path, c.body).problem(409) // a service has no tokens of its own, whatever it may
		w.local(c.method, c.path, c.body).problem(409)
	}
	if got := w.as(alice, "POST", "/me/tokens", `{"name":"x","ttl":"30d","kind":"api_key","principal":"bob","owner":"bob"}`).wrong(422); len(got) != 3 { // K11
		t.Errorf("%v", got)
	}
	if got := w.as(alice, "POST", "/me/tokens", view.NewOwnToken{Name: "x", TTL: "soon", AllowedIPs: []string{"anywhere"}}).wrong(422); len(got) != 2 {
		t.Errorf("%v", got)
	}
	w.as(rotated.Secret.Reveal(), "GET", "/whoami", nil).is(200)
	w.local("GET", "/credentials?kind=pat&principal=alice", nil).is(200).into(&list)
	if len(list.Items) != 1 {
		t.Errorf("%+v", list)
	}
	w.as(alice, "POST", one+"/revoke", view.Revoke{Reason: "lost"}).is(204)
	w.as(rotated.Secret.Reveal(), "GET", "/whoami", nil).is(401)
}

// A password is changed with the present one, which is guessed no faster here than at the login; its sessions end.
func TestMyPassword(t *testing.T) {
	w := newWorld(t)
	w.staff("alice")
	a, b := w.login("alice", goodPassword).Token.Reveal(), w.login("alice", goodPassword).Token.Reveal()
	change := func(token, current, next string) *result {
		return w.as(token, "POST", "/me/password", view.ChangePassword{Current: view.Secret(current), Password: view.Secret(next)})
	}
	if got := change(a, otherPassword, otherPassword).wrong(422); len(got) != 1 || got[0] != "body.current" {
		t.Errorf("%v", got)
	}
	if got := change(a, goodPassword, "short").wrong(422); len(got) != 1 || got[0] != "body.password" {
		t.Errorf("%v", got)
	}
	change(w.admin, goodPassword, otherPassword).problem(401) // the bootstrap token has ended with the first user
	change(a, goodPassword, otherPassword).is(204)
	for _, token := range []string{a, b} {
		w.as(token, "GET", "/whoami", nil).is(401)
	}
	w.as("", "POST", "/login", view.Login{Name: "alice", Password: goodPassword}).is(401)
	w.login("alice", otherPassword)
	w.local("POST", "/me/password", view.ChangePassword{Current: goodPassword, Password: otherPassword}).problem(409)
	c := w.login("alice", otherPassword).Token.Reveal()
	w.guess(func(int) *result { return change(c, goodPassword, otherPassword) })
}

// R05, J25, L04: a disabled user's login session, token and live connections are dead within 250 ms; here: when it is answered.
func TestDisabledUserIsCut(t *testing.T) {
	w := newWorld(t)
	w.staff("alice")
	session := w.login("alice", goodPassword).Token.Reveal()
	var made view.Issued
	w.as(session, "POST", "/me/tokens", view.NewOwnToken{Name: "laptop", TTL: "30d"}).is(201).into(&made)
	cuts := make(chan credential.Reason, 2)
	for _, token := range []string{session, made.Secret.Reveal()} {
		id, out := w.gate.Authenticate(t.Context(), &gate.Evidence{Token: token, Source: addr("127.0.0.1"), Door: "http"})
		if out.Reason != credential.OK {
			t.Fatal(out.Reason)
		}
		watch, why := w.gate.Watch(t.Context(), id, gate.Live{Door: "http", Kind: "stream", About: "GET /db/events", Cut: func(r credential.Reason) { cuts <- r }})
		if why != credential.OK {
			t.Fatal(why)
		}
		t.Cleanup(watch.Close)
	}
	w.local("PATCH", "/principals/alice", view.PatchPrincipal{Disabled: new(true)}).is(200)
	if len(cuts) != 2 {
		t.Errorf("%d of 2 connections were cut", len(cuts))
	}
	w.as(session, "GET", "/whoami", nil).is(401)
	w.as(made.Secret.Reveal(), "GET", "/whoami", nil).is(401)
	w.as("", "POST", "/login", view.Login{Name: "alice", Password: goodPassword}).is(401)
}

// W08: there is no password from the start; what makes the first user is one-time and ends with that.
func TestFirstUser(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"admin", "root", "bootstrap", "cardea", "local", "system"} {
		for _, password := range []string{"admin", "cardea", "public", "password", name} {
			w.as("", "POST", "/login", view.Login{Name: name, Password: view.Secret(password)}).is(401)
		}
	}
	w.do("POST", "/principals", view.NewPrincipal{Kind: "user", Name: "alice", Roles: []string{"admin"}}).is(201)
	w.do("GET", "/whoami", nil).is(401) // the bootstrap token
	var inv view.Invited
	w.local("POST", "/users/alice/invite", nil).is(201).into(&inv)
	w.as("", "POST", "/activate", view.Activate{Code: inv.Code, Password: goodPassword}).is(200)
	w.as("", "POST", "/activate", view.Activate{Code: inv.Code, Password: goodPassword}).is(401)
	token := w.login("alice", goodPassword).Token.Reveal()
	w.as(token, "GET", "/principals", nil).is(200)
	w.as(token, "POST", "/users/alice/password", view.SetPassword{Password: otherPassword}).problem(409) // not without the present one
	w.as(token, "POST", "/users/alice/invite", nil).problem(409)
}

// K01, K03: no password, code or session's token in the database or in the log, at any level, whatever went wrong.
func TestNoPasswordIsLogged(t *testing.T) {
	w := newWorld(t)
	w.staff("alice")
	token := w.login("alice", goodPassword).Token.Reveal()
	var inv view.Invited
	w.local("POST", "/users/alice/invite", nil).is(201).into(&inv)
	w.as("", "POST", "/login", view.Login{Name: "alice", Password: otherPassword}).is(401)
	w.as("", "POST", "/login", view.Login{Name: otherPassword, Password: "x"}).is(401) // typed into the wrong field
	w.as(token, "POST", "/me/password", view.ChangePassword{Current: otherPassword, Password: goodPassword}).is(422)
	w.as("", "POST", "/login", `{"name":"alice","password":["`+goodPassword+`"]}`).is(422)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = w.gate.Login(ctx, "default", "alice", goodPassword, &gate.Evidence{Source: addr("127.0.0.1"), Door: "api"})
	w.must(w.gate.Close()) // what it has counted is recorded
	var dump bytes.Buffer
	w.must(w.store.Dump(context.Background(), &dump))
	all := dump.String() + w.logged.String()
	for _, s := range []string{goodPassword, otherPassword, inv.Code.Reveal(), token} {
		for _, form := range []string{s, hex.EncodeToString([]byte(s)), base64.StdEncoding.EncodeToString([]byte(s)), strings.ReplaceAll(s, " ", "+")} {
			if strings.Contains(all, form) {
				t.Errorf("%q is there", form)
			}
		}
	}
}

// The password of somebody else is set by who has all that they may; it is answered without it.
func TestSetPassword(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/principals", view.NewPrincipal{Kind: "service", Name: "svc"}).is(201)
	desk := w.caller("desk", "api:users:* /users/*", "http:GET /db/orders/**", "api:me:* /me/**")
	weak := w.caller("weak", "api:users:* /users/*")
	w.staff("alice")
	r := w.as(desk, "POST", "/users/alice/password", view.SetPassword{Password: otherPassword}).is(200)
	if bytes.Contains(r.body, []byte(otherPassword)) || bytes.Contains(r.body, []byte("argon2")) {
		t.Errorf("%s", r.body)
	}
	w.as(weak, "POST", "/users/alice/password", view.SetPassword{Password: goodPassword}).problem(403)
	w.as(weak, "POST", "/users/alice/invite", nil).problem(403)
	w.as(desk, "POST", "/users/svc/password", view.SetPassword{Password: goodPassword}).problem(404)
	if got := w.as(desk, "POST", "/users/alice/password", view.SetPassword{Password: "alice alice alice"}).wrong(422); len(got) != 1 || got[0] != "body.password" {
		t.Errorf("%v", got)
	}
	token := w.login("alice", otherPassword).Token.Reveal()
	w.as(desk, "DELETE", "/users/alice/password?reason=left", nil).is(204)
	w.as(token, "GET", "/whoami", nil).is(401)
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
