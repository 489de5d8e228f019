package api

import (
	"encoding/json"
	"strings"
	"testing"

	"cardea/internal/testkit"
	"cardea/internal/view"
)

// R08, E02: a reported token is ended as its kind's policy says, the log has it, and nobody who reports learns whether there was anything to end.
func TestLeaks(t *testing.T) {
	w := newWorld(t)
	w.local("POST", "/principals", view.NewPrincipal{Kind: "service", Name: "billing"}).is(201)
	w.local("POST", "/principals", view.NewPrincipal{Kind: "device", Name: "pump-1"}).is(201)
	w.local("PATCH", "/policies/device_token", `{"leak_action":"quarantine"}`).is(200)
	made := func(kind, principal string) (is view.Issued) {
		w.local("POST", "/credentials", view.NewCredential{Kind: kind, Principal: principal}).is(201).into(&is)
		return is
	}
	key, device, rotated, spared := made("api_key", "billing"), made("device_token", "pump-1"), made("api_key", "billing"), made("api_key", "billing")
	var second view.Issued
	w.local("POST", "/credentials/"+rotated.ID+"/rotate", view.Rotate{Overlap: "1h"}).is(200).into(&second)

	report := func(tokens ...string) *result {
		in := view.LeakReport{Reporter: "scanner"}
		for _, text := range tokens {
			in.Leaks = append(in.Leaks, view.Leak{Token: view.Secret(text), URL: "https://example.com/config.txt"})
		}
		return w.as("", "POST", "/leaks", in)
	}
	live := report(key.Secret.Reveal(), device.Secret.Reveal(), rotated.Secret.Reveal()).is(202)
	w.api.Drain()
	wrong := testkit.Spoil(spared.Secret.Reveal())
	dead := report(wrong, "nonsense", key.Secret.Reveal()).is(202)
	w.api.Drain()
	if string(live.body) != string(dead.body) || strings.TrimSpace(string(live.body)) != `{"received":3}` {
		t.Errorf("live ones are answered %q, others %q", live.body, dead.body)
	}
	status := func(id string) string {
		var v view.CredentialView
		w.local("GET", "/credentials/"+id, nil).is(200).into(&v)
		return v.Status
	}
	for id, want := range map[string]string{key.ID: "revoked", device.ID: "quarantined", rotated.ID: "active", spared.ID: "active"} {
		if got := status(id); got != want {
			t.Errorf("credential %s is %s, want %s", id, got, want)
		}
	}
	w.as(rotated.Secret.Reveal(), "GET", "/whoami", nil).is(401) // the old version, which was found
	w.as(second.Secret.Reveal(), "GET", "/whoami", nil).is(200)
	var events view.Page[map[string]any]
	w.local("GET", "/events?type=credential.leaked", nil).is(200).into(&events)
	if len(events.Items) != 4 {
		t.Errorf("%d events of leaks: %v", len(events.Items), events.Items)
	}
	text, _ := json.Marshal(events)
	for _, secret := range []string{key.Secret.Reveal(), device.Secret.Reveal(), wrong} {
		if strings.Contains(string(text), secret) || strings.Contains(w.logged.String(), secret) { // K03
			t.Error("a token is in the log")
		}
	}
	report(key.Secret.Reveal()).is(202)
	w.api.Drain()
	w.local("GET", "/events?type=credential.leaked", nil).is(200).into(&events)
	if len(events.Items) != 4 {
		t.Errorf("one that had ended is told %d times on one day", len(events.Items)-3)
	}
}

// What is wrong with a report is said at once, and a source that floods is slowed down.
func TestBadLeakReports(t *testing.T) {
	w := newWorld(t)
	for body, want := range map[string]int{
		`{}`: 422, `{"leaks":[]}`: 422, `{"leaks":[{"token":""}]}`: 422, `[]`: 422, `{"leaks":[{"token":"x","color":"red"}]}`: 422,
		`{"leaks":[{"token":"x","url":"a\nb"}],"reporter":"\u0000"}`:  422,
		`{"leaks":[{"token":"` + strings.Repeat("x", 70<<10) + `"}]}`: 413,
	} {
		if a := w.as("", "POST", "/leaks", body); a.status != want {
			t.Errorf("%.60s: %d %s", body, a.status, a.body)
		}
	}
	last := 0
	for range attemptsAtOnce + 5 {
		last = w.as("", "POST", "/leaks", `{"leaks":[{"token":"x"}]}`).status
		if last == 429 {
			break
		}
	}
	if last != 429 {
		t.Errorf("a flood is answered %d", last)
	}
	w.api.Drain()
}

// What scanners need is published.
func TestSecretFormat(t *testing.T) {
	w := newWorld(t)
	resp, err := w.net.Client().Get(w.net.URL + "/.well-known/secret-format.json")
	w.must(err)
	defer resp.Body.Close()
	var doc struct {
		Regex  string
		Report struct{ Path string }
	}
	w.must(json.NewDecoder(resp.Body).Decode(&doc))
	if resp.StatusCode != 200 || !strings.HasPrefix(doc.Regex, "cardea_") || doc.Report.Path != "/api/v1/leaks" {
		t.Errorf("%d %+v", resp.StatusCode, doc)
	}
}
