package api

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cardea/internal/view"
)

// O09: into quarantine and out of it: what is answered, shown, listed, verified, explained and noted.
func TestQuarantine(t *testing.T) {
	w := newWorld(t)
	w.device("pump-1")
	made := w.token(view.NewCredential{Kind: "device_token", Principal: "pump-1"})
	path := "/credentials/" + made.ID
	ask := func(action, resource string) (v view.Explanation) {
		t.Helper()
		w.do("POST", "/explain", view.Verify{Token: made.Secret, Action: action, Resource: resource}).is(200).into(&v)
		return v
	}
	if v := ask("mqtt:publish", "db/append/example"); !v.Allowed {
		t.Fatalf("before: %+v", v)
	}
	var q view.Quarantined
	r := w.do("POST", path+"/quarantine", `{"reason":"noise"}`).is(200)
	r.into(&q)
	if q.Status != "quarantined" || q.QuarantineReason != "noise" || q.QuarantinedAt.IsZero() || !q.RevokedAt.IsZero() || r.header.Get("ETag") != `"2"` {
		t.Errorf("quarantined: %+v", q)
	}
	if len(q.Warnings) != 1 || !strings.Contains(q.Warnings[0], "no scope quarantine") {
		t.Errorf("warnings: %q", q.Warnings)
	}
	if v := ask("mqtt:publish", "db/append/example"); v.Allowed || v.Reason != "no_rule" || !cmp.Equal(v.Scopes, []string{"quarantine"}) || len(v.Rules) > 0 {
		t.Errorf("without the scope: %+v", v)
	}
	w.do("POST", "/scopes", `{"name":"quarantine","rules":[{"permission":"allow","action":"mqtt:subscribe","resource":"firmware/#"}]}`).is(201)
	if v := ask("mqtt:subscribe", "firmware/pump"); !v.Allowed || len(v.Rules) != 1 || v.Rules[0].Scope != "quarantine" {
		t.Errorf("with the scope: %+v", v)
	}
	if v := ask("mqtt:publish", "db/append/example"); v.Allowed || v.Reason != "no_rule" || len(v.Rules) != 1 {
		t.Errorf("with the scope: %+v", v)
	}
	w.do("POST", path+"/quarantine", nil).is(200).into(&q)
	if q.QuarantineReason != "noise" {
		t.Errorf("again: %+v", q)
	}
	listed := func(status string) (ids []string) {
		var page view.Page[view.CredentialView]
		w.do("GET", "/credentials?kind=device_token&status="+status, nil).is(200).into(&page)
		for _, v := range page.Items {
			ids = append(ids, v.ID)
		}
		return ids
	}
	if got := listed("quarantined"); !cmp.Equal(got, []string{made.ID}) || len(listed("active")) > 0 {
		t.Errorf("listed: %v", got)
	}
	w.as(made.Secret.Reveal(), "GET", "/whoami", nil).is(200) // it is who it was

	var free view.CredentialView
	w.do("POST", path+"/release", `{"reason":"new firmware"}`).is(200).into(&free)
	if free.Status != "active" || free.QuarantineReason != "" || !free.QuarantinedAt.IsZero() || !free.RevokedAt.IsZero() {
		t.Errorf("released: %+v", free)
	}
	if v := ask("mqtt:publish", "db/append/example"); !v.Allowed {
		t.Errorf("released: %+v", v)
	}
	w.do("POST", path+"/revoke", nil).is(200)
	w.do("POST", path+"/quarantine", nil).problem(409)
	w.do("POST", path+"/release", nil).problem(409)
	w.do("POST", "/credentials/0000000000zz/quarantine", nil).problem(404)
	var told []string
	for _, e := range w.allEvents() {
		if e.Subject.ID == made.ID {
			told = append(told, e.Type+" "+e.Reason)
		}
	}
	if want := []string{"credential.create ", "credential.quarantine noise", "credential.release new firmware", "credential.revoke "}; !cmp.Equal(told, want) { // A05
		t.Errorf("events: %q", told)
	}
}

// Who may put into quarantine may not take out of it, and who may take out needs what is given back (J26).
func TestRightsOfQuarantine(t *testing.T) {
	w := newWorld(t)
	w.device("pump-1")
	path := "/credentials/" + w.token(view.NewCredential{Kind: "device_token", Principal: "pump-1"}).ID
	guard := w.caller("guard", "api:credentials:quarantine /credentials/*", "api:credentials:read /credentials/*")
	healer := w.caller("healer", "api:credentials:release /credentials/*", "api:credentials:read /credentials/*")
	w.as(healer, "POST", path+"/quarantine", nil).problem(403)
	w.as(guard, "POST", path+"/quarantine", nil).is(200)
	w.as(guard, "POST", path+"/release", nil).problem(403)
	if p := w.as(healer, "POST", path+"/release", nil).problem(403); !strings.Contains(p.Detail, "nobody grants what they do not have") {
		t.Errorf("%+v", p)
	}
	// A caller in quarantine may nothing of the API, itself to release included.
	var who view.WhoAmI
	w.as(guard, "GET", "/whoami", nil).into(&who)
	w.do("POST", "/credentials/"+who.Credential+"/quarantine", nil).is(200)
	w.as(guard, "GET", path, nil).problem(404)
	w.as(guard, "POST", "/credentials/"+who.Credential+"/release", nil).problem(404)
}
