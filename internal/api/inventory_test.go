package api

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
	"cardea/internal/view"
)

// old puts a token into the store that was made some days ago.
func (w *world) old(principal, kind, id string, days int, scopes ...string) string {
	w.Helper()
	p, err := w.store.Principal(w.Context(), credential.DefaultOrg, principal)
	w.must(err)
	form := map[string]string{"device_token": "dev", "api_key": "api"}[kind]
	text, hash, err := secret.New(form, id)
	w.must(err)
	at := time.Now().UTC().Truncate(time.Microsecond).AddDate(0, 0, -days)
	_, err = w.store.Commit(w.Context(), credential.Change{
		Ops: []credential.Op{credential.CreateCredential{Credential: credential.Credential{
			ID: id, Org: p.Org, Kind: credential.Kind(kind), Principal: p.ID, Name: id, Scopes: scopes, State: credential.StateActive, CreatedAt: at, Version: 1,
			Proofs: []credential.Proof{{N: 1, Hash: hash[:], CreatedAt: at}},
		}}},
		Events: []credential.Event{{At: at, Org: p.Org, Type: "credential.create", Subject: credential.Subject{Kind: "credential", ID: id, Name: p.Name}}},
	})
	w.must(err)
	return text.Reveal()
}

// soon repeats a request until its answer is as wanted: uses are recorded a moment later.
func soon[T any](w *world, path string, is func(T) bool) T {
	w.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var v T
		w.do("GET", path, nil).is(200).into(&v)
		if is(v) {
			return v
		}
		if time.Now().After(end) {
			w.Fatalf("%s: %+v", path, v)
		}
	}
}

// A key of the API is counted by day, address and route, and the scopes that its calls were allowed by are exercised.
func TestUsageOfAnAPIKey(t *testing.T) {
	w := newWorld(t)
	w.caller("auditing", "api:events:read /events/*")
	w.do("POST", "/scopes", view.NewScope{Name: "listing", PutScope: view.PutScope{Rules: []view.Rule{{Permission: "allow", Action: "api:principals:read", Resource: "/principals/*"}}}}).is(201)
	w.do("POST", "/roles", view.NewRole{Name: "both", PutRole: view.PutRole{Scopes: []string{"auditing", "listing"}}}).is(201)
	w.do("PATCH", "/principals/auditing", map[string]any{"roles": []string{"both"}}).is(200)
	const id = "oldkey000001"
	key := w.old("auditing", "api_key", id, 40)
	for range 3 {
		w.as(key, "GET", "/principals", nil).is(200)
	}
	w.as(key, "GET", "/whoami", nil).is(200)
	w.as(key, "GET", "/roles", nil).is(403)
	w.as(key, "GET", "/nothing/x", nil).is(404)
	path := "/credentials/" + id + "/usage"
	r := soon(w, path, func(r view.UsageReport) bool {
		return len(r.Days) > 0 && r.Days[0].Uses >= 6 && len(r.Exercised) > 0 && len(r.Networks) > 0
	})
	today := time.Now().UTC().Format(time.DateOnly)
	if len(r.Days) == 1 && (r.Days[0] != view.DayUses{Day: today, Uses: 6}) { // unless it is midnight
		t.Errorf("days %v", r.Days)
	}
	if fmt.Sprint(r.Addresses) != "[{127.0.0.1 6}]" || fmt.Sprint(r.Routes) != "[{/api/v1/principals 3} {/api/v1 1} {/api/v1/roles 1} {/api/v1/whoami 1}]" {
		t.Errorf("addresses %v, routes %v", r.Addresses, r.Routes)
	}
	if len(r.Exercised) != 1 || r.Exercised[0].Scope != "listing" || !r.Detailed || r.Networks[0].Value != "127.0.0.0/24" || len(r.Clients) != 0 {
		t.Errorf("%+v", r)
	}
	if s := r.Suggestion; s == nil || s.Action != "narrow" || fmt.Sprint(s.Scopes) != "[listing]" || fmt.Sprint(s.Idle) != "[auditing]" {
		t.Errorf("suggestion %+v", s)
	}
	if r.Versions[0].Uses != 6 {
		t.Errorf("versions %+v", r.Versions)
	}
	over := "/credentials?over_privileged=30d&with_suggestions=true"
	var page view.Page[view.CredentialView]
	w.do("GET", over, nil).is(200).into(&page)
	if len(page.Items) != 1 || page.Items[0].ID != id || page.Items[0].Suggestion == nil || page.Items[0].Suggestion.Scopes[0] != "listing" {
		t.Errorf("%+v", page.Items)
	}
	w.do("PATCH", "/credentials/"+id, map[string]any{"scopes": page.Items[0].Suggestion.Scopes}).is(200)
	w.as(key, "GET", "/principals", nil).is(200)
	w.as(key, "GET", "/events", nil).is(403)
	w.do("GET", over, nil).is(200).into(&page)
	if len(page.Items) != 0 {
		t.Errorf("after it was narrowed: %+v", page.Items)
	}
	if got := w.do("GET", "/credentials?over_privileged=1h", nil).wrong(422); fmt.Sprint(got) != "[query.over_privileged]" {
		t.Errorf("%v", got)
	}
	w.do("GET", path+"?days=101", nil).problem(422)
	w.do("GET", "/credentials/unknown00000/usage", nil).problem(404)
}

// O12: what ends within 30, 7 and 1 days is listed and counted.
func TestWhatEndsSoon(t *testing.T) {
	w := newWorld(t)
	w.device("pump-1")
	now := time.Now()
	for _, ttl := range []string{"12h", "3d", "20d", "60d"} {
		w.token(view.NewCredential{Kind: "device_token", Principal: "pump-1", TTL: ttl, Name: ttl})
	}
	for days, want := range map[int]int{1: 1, 7: 2, 30: 3} {
		var page view.Page[view.CredentialView]
		w.do("GET", "/credentials?principal=pump-1&expires_before="+now.AddDate(0, 0, days).UTC().Format(time.RFC3339), nil).is(200).into(&page)
		if len(page.Items) != want {
			t.Errorf("within %d days: %d, want %d", days, len(page.Items), want)
		}
	}
	var i view.Inventory
	w.do("GET", "/inventory", nil).is(200).into(&i)
	if admin := int64(1); i.Expiring.Days7 != 2+admin || i.Expiring.Days30 != 3+admin || i.NeverUsed < 4 { // the bootstrap token ends within a day
		t.Errorf("%+v", i)
	}
	w.as(w.caller("reader", "api:credentials:read /credentials/*"), "GET", "/inventory", nil).problem(403)
	w.as(w.caller("counter", "api:inventory:read /inventory/*"), "GET", "/inventory", nil).is(200)
}

// W05, W07: an export is the whole list of one organisation, over all pages, without secrets and without formulas.
func TestExportOfCredentials(t *testing.T) {
	w := newWorld(t)
	w.othersToken("theirs000001", time.Time{})
	w.device("pump-1")
	var secrets []string
	var batch view.NewCredentials
	for i := range 500 {
		batch.Credentials = append(batch.Credentials, view.NewCredential{Kind: "device_token", Principal: "pump-1", Name: fmt.Sprint("=cmd|' /C calc'!A", i), Tags: []string{"x"}})
	}
	for range 2 {
		var made view.IssuedList
		w.do("POST", "/credentials/batch", batch).is(201).into(&made)
		secrets = append(secrets, made.Items[0].Secret.Reveal())
	}
	var one view.Page[view.CredentialView]
	w.do("GET", "/credentials?tag=x&limit=1", nil).is(200).into(&one)

	r := w.do("GET", "/credentials/export?tag=x", nil).is(200)
	if ct := r.header.Get("Content-Type"); ct != "text/csv; charset=utf-8; header=present" || !strings.Contains(r.header.Get("Content-Disposition"), "credentials.csv") {
		t.Errorf("%v", r.header)
	}
	rows, err := csv.NewReader(strings.NewReader(string(r.body))).ReadAll()
	w.must(err)
	if len(rows) != 1001 {
		t.Errorf("%d rows", len(rows))
	}
	for _, row := range rows[1:] {
		for _, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t") {
				t.Fatalf("a formula: %q", cell)
			}
		}
	}
	j := w.do("GET", "/credentials/export?format=json", nil).is(200)
	var all []view.CredentialView
	w.must(json.Unmarshal(j.body, &all))
	ids := map[string]bool{}
	for _, c := range all {
		ids[c.ID] = true
		if c.Org != credential.DefaultOrg {
			t.Errorf("%s is of %s", c.ID, c.Org)
		}
	}
	if len(ids) != len(all) || len(all) < 1001 || ids["theirs000001"] {
		t.Errorf("%d of %d are different ones", len(ids), len(all))
	}
	for _, s := range secrets {
		if body := string(r.body) + string(j.body); strings.Contains(body, s) || strings.Contains(body, s[len(s)-38:]) {
			t.Error("a secret is exported")
		}
	}
	stored, err := w.store.Credential(w.Context(), one.Items[0].ID)
	w.must(err)
	for _, form := range []string{"%x", "%s"} {
		if strings.Contains(string(j.body), fmt.Sprintf(form, stored.Credential.Proofs[0].Hash)) {
			t.Error("a hash is exported")
		}
	}
	none := w.do("GET", "/credentials/export?format=json&tag=none", nil).is(200)
	if string(none.body) != "[]\n" {
		t.Errorf("%q", none.body)
	}
	only := w.caller("one", "api:credentials:read /credentials/pump-1")
	w.as(only, "GET", "/credentials/export", nil).problem(403)
	w.as(only, "GET", "/credentials/export?principal=pump-1&limit=3", nil).problem(422) // there is no limit
	p, err := w.store.Principal(w.Context(), credential.DefaultOrg, "pump-1")
	w.must(err)
	w.as(only, "GET", "/credentials/export?principal="+p.ID, nil).is(200)
	w.do("GET", "/credentials/export?format=xml", nil).problem(422)
}
