package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cardea/client"
	"cardea/internal/testkit"
)

// start runs a real server with the users alice, bob and root, and returns a client of a service that may everything.
func start(t *testing.T) (*testkit.Cardea, *client.Client) {
	t.Helper()
	k := testkit.StartCardea(t, testkit.CardeaConfig{})
	run := func(args ...string) string {
		out, errs, code := k.CLI(args...)
		if code != 0 {
			t.Fatalf("%v: %s", args, errs)
		}
		return out
	}
	run("principal", "create", "ci", "--kind", "service", "--role", "admin")
	run("principal", "create", "alice", "--kind", "user", "--role", "device")
	run("principal", "create", "bob", "--kind", "user", "--role", "device")
	run("principal", "create", "root", "--kind", "user", "--role", "admin")
	var made struct{ Secret string }
	must(t, json.Unmarshal([]byte(run("cred", "create", "ci", "--kind", "api_key", "--json")), &made))
	c, err := client.New("http://"+k.HTTP, made.Secret)
	must(t, err)
	return k, c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused wants a problem of a status that says something.
func refused(t *testing.T, err error, status int, words string) *client.Problem {
	t.Helper()
	p, ok := errors.AsType[*client.Problem](err)
	if !ok || p.Status != status || !strings.Contains(p.Error(), words) {
		t.Fatalf("error %v, want status %d with %q", err, status, words)
	}
	return p
}

func collect[T any](t *testing.T, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var all []T
	for v, err := range seq {
		must(t, err)
		all = append(all, v)
	}
	return all
}

// Every call about application keys, against a real server.
func TestApplicationKeys(t *testing.T) {
	t.Parallel()
	k, c := start(t)
	ctx, keys := t.Context(), c.ApplicationKeys
	n := client.NewApplicationKey{
		Name: "Line 7/8", User: "alice", Tags: []string{"hall-3"}, Project: "plant", IPWhitelist: []string{"127.0.0.0/8"}, ClientName: "PLC 7", Documentation: "a\nb", Home: "/db/",
	}
	_, err := keys.Create(ctx, n)
	if p := refused(t, err, 422, "body.name may not contain"); len(p.Errors) != 1 {
		t.Errorf("%+v", p)
	}
	n.Name = "Line 7"
	once := client.Once(client.NewKey())
	made, err := keys.Create(ctx, n, once)
	must(t, err)
	again, err := keys.Create(ctx, n, once)
	must(t, err)
	if made.ID != again.ID || made.Secret == "" || made.Secret != again.Secret || len(made.Warnings) != 1 || made.ClientName != "PLC 7" {
		t.Errorf("made %+v and %+v", made, again)
	}
	if s := fmt.Sprintf("%v %+v %#v %s", made, made, made, made.Secret); strings.Contains(s, made.Secret.Reveal()) {
		t.Error("a print shows the secret")
	}
	_, err = keys.Create(ctx, client.NewApplicationKey{Name: "line 7", User: "bob"})
	refused(t, err, 409, "there is an application key")
	_, err = keys.Create(ctx, client.NewApplicationKey{Name: "boss", User: "root"})
	refused(t, err, 422, "allow_admin")

	const key = "LINE 7"
	got, err := keys.Get(ctx, key)
	must(t, err)
	if got.ID != made.ID || !got.Waiting || got.Principal != "alice" || got.Documentation != "a\nb" {
		t.Errorf("got %+v", got)
	}
	if list := collect(t, keys.List(ctx, client.ApplicationKeyFilter{User: "alice", Tag: "hall-3", NeverUsed: true, Status: "active"})); len(list) != 1 || !list[0].Waiting {
		t.Errorf("list %+v", list)
	}
	id, err := keys.GetKeyID(ctx, key)
	must(t, err)
	if id.Secret != made.Secret || id.Version != 1 || id.ID != made.ID {
		t.Errorf("key id %+v", id)
	}
	user, err := keys.GetUserName(ctx, key)
	must(t, err)
	moved, err := keys.SetUserName(ctx, key, "bob", false)
	must(t, err)
	if user != "alice" || moved.Principal != "bob" {
		t.Errorf("user %q, then %q", user, moved.Principal)
	}
	_, err = keys.SetUserName(ctx, key, "root", false)
	refused(t, err, 422, "allow_admin")
	moved, err = keys.SetUserName(ctx, key, "root", true)
	must(t, err)
	if !moved.Admin || len(moved.Warnings) != 1 {
		t.Errorf("moved %+v", moved)
	}
	moved, err = keys.SetClientName(ctx, key, "")
	must(t, err)
	if moved.ClientName != "" {
		t.Errorf("client name %q", moved.ClientName)
	}
	_, err = keys.SetIPWhitelist(ctx, key, []string{"10.0.0.0/8", "x"})
	refused(t, err, 422, "body.ip_whitelist[1]")
	moved, err = keys.SetIPWhitelist(ctx, key, nil)
	must(t, err)
	if len(moved.AllowedIPs) != 0 {
		t.Errorf("whitelist %v", moved.AllowedIPs)
	}
	until := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	moved, err = keys.SetExpirationDate(ctx, key, until)
	must(t, err)
	date, err := keys.GetExpirationDate(ctx, key)
	must(t, err)
	if !date.Equal(until) || len(moved.Warnings) == 0 {
		t.Errorf("it ends at %s, warnings %q", date, moved.Warnings)
	}
	_, err = keys.ResetExpirationDateToDefault(ctx, key)
	must(t, err)
	if expired, err := keys.IsExpired(ctx, key); err != nil || expired {
		t.Errorf("expired %v, %v", expired, err)
	}
	if info := collect(t, keys.ExpirationInfo(ctx, "root", true, true)); len(info) != 1 || info[0].Name != "Line 7" || info[0].Expired {
		t.Errorf("info %+v", info)
	}
	if info := collect(t, keys.ExpirationInfo(ctx, "", true, false)); len(info) != 0 {
		t.Errorf("info %+v", info)
	}
	_, err = keys.DeleteAll(ctx, client.ToDelete{})
	refused(t, err, 422, "expired")
	for _, dry := range []bool{true, false} {
		gone, err := keys.DeleteAll(ctx, client.ToDelete{User: "root", Unexpired: true, DryRun: dry, Reason: "test"})
		must(t, err)
		if len(gone.Items) != 1 || gone.Items[0].ID != made.ID || gone.DryRun != dry || gone.More {
			t.Errorf("deleted %+v", gone)
		}
	}
	_, err = keys.Get(ctx, key)
	refused(t, err, 404, "there is no application key")
	_, err = keys.Create(ctx, n)
	must(t, err)
	must(t, keys.Delete(ctx, key, "sold & gone"))

	// its own secret is a token too, and sees what its user may: nothing of the API
	own, err := client.New("http://"+k.HTTP, made.Secret.Reveal())
	must(t, err)
	refused(t, own.Do(ctx, http.MethodGet, "/whoami", nil, nil), 401, "invalid token")
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	_, c := start(t)
	ctx := t.Context()
	made, err := c.Credentials.Create(ctx, client.NewCredential{Kind: "pat", Principal: "alice", Name: "ci", TTL: "30d"}, client.Once("k-1"))
	must(t, err)
	for i := range 120 { // more than a page
		_, err := c.Credentials.Create(ctx, client.NewCredential{Kind: "pat", Principal: "bob", Name: fmt.Sprint("n", i)})
		must(t, err)
	}
	if n := len(collect(t, c.Credentials.List(ctx, client.CredentialFilter{Kind: "pat"}))); n != 121 {
		t.Errorf("%d are listed", n)
	}
	for v, err := range c.Credentials.List(ctx, client.CredentialFilter{Principal: "alice", NeverUsed: true}) {
		if must(t, err); v.ID != made.ID {
			t.Errorf("listed %+v", v)
		}
		break
	}
	turned, err := c.Credentials.Rotate(ctx, made.ID, client.Rotation{Overlap: "1h"})
	must(t, err)
	if turned.Secret == made.Secret || turned.PreviousExpiresAt.IsZero() || len(turned.Versions) != 2 {
		t.Errorf("rotated %+v", turned)
	}
	ended, err := c.Credentials.Revoke(ctx, made.ID, "test")
	must(t, err)
	got, err := c.Credentials.Get(ctx, made.ID)
	must(t, err)
	if ended.Status != "revoked" || got.Status != "revoked" || got.RevokeReason != "test" {
		t.Errorf("ended %+v, then %+v", ended, got)
	}
	_, err = c.Credentials.Rotate(ctx, made.ID, client.Rotation{})
	refused(t, err, 409, "final")
	err = c.Do(ctx, http.MethodPatch, "/credentials/"+made.ID, map[string]any{"name": "x"}, nil, client.IfMatch(1))
	refused(t, err, 412, "")
	for _, err := range c.Credentials.List(ctx, client.CredentialFilter{Status: "asleep"}) {
		refused(t, err, 422, "query.status")
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Credentials.Get(gone, made.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context ended: %v", err)
	}
}

// A token goes to its server and to nobody else, and not in the clear.
func TestWhereTheTokenGoes(t *testing.T) {
	t.Parallel()
	for base, ok := range map[string]bool{
		"https://cardea.example": true, "https://cardea.example:5654/": true, "http://127.0.0.1:5654": true, "http://localhost:1": true, "http://[::1]:1": true,
		"http://cardea.example": false, "cardea.example": false, "ftp://cardea.example": false, "https://u:p@cardea.example": false, "https://cardea.example/x": false, "https://cardea.example?x=1": false, "": false,
	} {
		if _, err := client.New(base, "t"); (err == nil) != ok {
			t.Errorf("%q: %v", base, err)
		}
	}
	if _, err := client.New("http://cardea.example", "t", client.WithPlainHTTP()); err != nil {
		t.Error(err)
	}
	for _, token := range []string{"", "a b", "a\nX: y", "ä"} {
		if _, err := client.New("https://cardea.example", token); err == nil {
			t.Errorf("the token %q is taken", token)
		}
	}
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer stranger.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v1/moved":
			http.Redirect(w, r, stranger.URL, http.StatusFound)
		case "/api/v1/slow":
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(429)
			_, _ = w.Write([]byte(`{"success":false,"reason":"too many attempts"}`))
		case "/api/v1/proxy":
			w.WriteHeader(502)
			_, _ = w.Write([]byte(`<html>`))
		default:
			_, _ = w.Write([]byte(`[]`))
		}
	}))
	defer server.Close()
	c, err := client.New(server.URL, "secret-token", client.WithHTTPClient(server.Client()))
	must(t, err)
	refused(t, c.Do(t.Context(), "GET", "/moved", nil, nil), 302, "")
	if p := refused(t, c.Do(t.Context(), "GET", "/slow", nil, nil), 429, "too many attempts"); p.RetryAfter != 7*time.Second {
		t.Errorf("%+v", p)
	}
	refused(t, c.Do(t.Context(), "GET", "/proxy", nil, nil), 502, "Bad Gateway")
	if _, err := c.ApplicationKeys.Get(t.Context(), "x"); err == nil || strings.Contains(err.Error(), "secret-token") {
		t.Errorf("an answer of another form: %v", err)
	}
	if s := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(s, "secret-token") {
		t.Error("a print shows the token")
	}
}
