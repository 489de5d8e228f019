package api

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cardea/internal/view"
)

// user makes a user with roles.
func (w *world) user(name string, roles ...string) {
	w.Helper()
	if roles == nil {
		roles = []string{}
	}
	w.local("POST", "/principals", view.NewPrincipal{Kind: "user", Name: name, Roles: roles}).is(201)
}

// The default is there from the start, with the ETag of what nobody has set; PUT says all, PATCH some of it, DELETE goes back.
func TestPoliciesOfKinds(t *testing.T) {
	w := newWorld(t)
	var list view.Page[view.KindPolicy]
	w.do("GET", "/policies", nil).is(200).into(&list)
	if len(list.Items) != 8 || list.Items[4].Kind != "pat" || list.Items[4].Set || list.Items[4].DefaultLifetime != "90d" {
		t.Errorf("%+v", list.Items)
	}
	r := w.do("GET", "/policies/pat", nil).is(200)
	const want = `{"kind":"pat","set":false,"default_lifetime":"90d","max_lifetime":"366d","require_expiry":true,"unused_action":"warn","notices":["30d","7d","1d"],"leak_action":"revoke","version":0}`
	if got := strings.TrimSpace(string(r.body)); got != want {
		t.Errorf("got %s", got)
	}
	etag := r.header.Get("ETag")
	r = w.do("PUT", "/policies/pat", `{"default_lifetime":"7d","max_lifetime":"30d","networks":["10.0.0.0/8","192.0.2.7"],"name_pattern":"ci-.*","notices":["1d","7d"],"max_number":3}`, with{"If-Match", etag}).is(200)
	var p view.KindPolicy
	r.into(&p)
	put := view.PutKindPolicy{
		DefaultLifetime: "7d", MaxLifetime: "30d", Networks: []string{"10.0.0.0/8", "192.0.2.7/32"}, NamePattern: "ci-.*", Notices: []string{"7d", "1d"}, MaxNumber: 3,
		UnusedAction: "warn", LeakAction: "revoke",
	}
	if diff := cmp.Diff(view.KindPolicy{Kind: "pat", Set: true, PutKindPolicy: put, Version: 1}, p); diff != "" {
		t.Error(diff)
	}
	w.do("PUT", "/policies/pat", put, with{"If-Match", etag}).problem(412) // somebody has set it meanwhile
	p = view.KindPolicy{}
	w.do("PATCH", "/policies/pat", `{"networks":[],"name_pattern":"","max_lifetime":"60d","approval":true}`, with{"If-Match", r.header.Get("ETag")}).is(200).into(&p)
	put.Networks, put.NamePattern, put.MaxLifetime, put.Approval = nil, "", "60d", true
	if diff := cmp.Diff(view.KindPolicy{Kind: "pat", Set: true, PutKindPolicy: put, Version: 2}, p); diff != "" {
		t.Error(diff)
	}
	w.do("DELETE", "/policies/pat", nil, with{"If-Match", `"1"`}).problem(412)
	w.do("DELETE", "/policies/pat", nil).is(204)
	if got := w.do("GET", "/policies/pat", nil).is(200).body; strings.TrimSpace(string(got)) != want {
		t.Errorf("after reset %s", got)
	}
	for _, kind := range []string{"session", "x", "PAT"} {
		w.do("GET", "/policies/"+kind, nil).problem(404)
		w.do("PUT", "/policies/"+kind, `{}`).problem(404)
	}
}

// Every wrong field at once: those of form together, then those of meaning together.
func TestBadPolicies(t *testing.T) {
	w := newWorld(t)
	for body, want := range map[string][]string{
		`{"max_lifetime":"soon","default_lifetime":"0s","networks":["10.0.0.1/8"],"notices":["1d","","x"]}`: {
			"body.default_lifetime", "body.max_lifetime", "body.networks[0]", "body.notices[1]", "body.notices[2]",
		},
		`{"max_lifetime":"1d","default_lifetime":"2d","name_pattern":"(","max_number":-1,"max_sessions":3,"unused_after":"5s"}`: {
			"body.default_lifetime", "body.max_sessions", "body.max_number", "body.name_pattern", "body.unused_after",
		},
		`{"unused_action":"revoke","leak_action":"warn","version":3,"set":true,"kind":"pat","org":"other"}`: { // K11
			"body.kind", "body.leak_action", "body.org", "body.set", "body.unused_action", "body.version",
		},
	} {
		for _, method := range []string{"PUT", "PATCH"} {
			if got := sorted(w.do(method, "/policies/pat", body).wrong(422)); !cmp.Equal(got, sorted(want)) {
				t.Errorf("%s %s: %v", method, body, got)
			}
		}
	}
}

// L01: what would be made is shown before it is made, with the same words; what is refused names the policy and what it allows.
func TestPreviewAndRefusal(t *testing.T) {
	w := newWorld(t)
	w.user("alice")
	w.local("PATCH", "/policies/pat", `{"max_lifetime":"30d","default_lifetime":"7d","approval":true}`).is(200)
	maker := w.maker("api:credentials:create /credentials/*")
	ask := `{"kind":"pat","principal":"alice","owner":"alice"}`
	var p view.Preview
	w.as(maker, "POST", "/credentials/preview", ask).is(200).into(&p)
	if !p.Approval || p.Policy.MaxLifetime != "30d" || p.Owner != "alice" || len(p.Warnings) != 2 || !strings.Contains(p.Warnings[0], "7d, the default of the policy for pat of default") {
		t.Errorf("%+v", p)
	}
	var list view.Page[view.CredentialView]
	w.local("GET", "/credentials?owner=alice", nil).is(200).into(&list)
	if len(list.Items) != 0 {
		t.Error("a preview has made something")
	}
	var made view.Issued
	w.as(maker, "POST", "/credentials", ask).is(201).into(&made)
	if len(made.Warnings) != 2 || made.Warnings[1] != p.Warnings[1] || made.Status != "pending" || made.Owner != "alice" {
		t.Errorf("%+v", made.CredentialView)
	}
	for path, ask := range map[string]string{"/credentials/preview": `{"kind":"pat","principal":"alice","ttl":"31d","resources":["x"],"limits":{"burst":1},"scopes":["no:such"]}`, "/credentials": ``} {
		if ask == "" {
			ask = `{"kind":"pat","principal":"alice","ttl":"31d","resources":["x"],"limits":{"burst":1},"scopes":["no:such"]}`
		}
		r := w.as(maker, "POST", path, ask)
		if got, want := sorted(r.wrong(422)), []string{"body.limits.burst", "body.resources[0]", "body.scopes[0]", "body.ttl"}; !cmp.Equal(got, want) {
			t.Errorf("%s: %v", path, got)
		}
		if !strings.Contains(string(r.body), "is beyond what the policy for pat of default allows: at most 30d, until ") {
			t.Errorf("%s: %s", path, r.body)
		}
	}
	r := w.as(maker, "POST", "/credentials", `{"kind":"pat","principal":"alice","ttl":"never"}`)
	if got := r.wrong(422); !cmp.Equal(got, []string{"body.ttl"}) || !strings.Contains(string(r.body), "demands an end") {
		t.Errorf("never: %s", r.body)
	}
}

// maker is a service with rules of its own, made by the local administrator.
func (w *world) maker(rules ...string) string {
	w.Helper()
	admin := w.admin
	defer func() { w.admin = admin }()
	w.user("root", "admin")
	var made view.Issued
	w.local("POST", "/credentials", view.NewCredential{Kind: "pat", Principal: "root", TTL: "1d"}).is(201).into(&made)
	w.admin = made.Secret.Reveal()
	return w.caller("maker", rules...)
}

// What is pending is listed, approved or denied over the API, by others than who has asked for it.
func TestApproval(t *testing.T) {
	w := newWorld(t)
	w.user("alice")
	w.local("PATCH", "/policies/pat", `{"approval":true}`).is(200)
	maker := w.maker("api:credentials:create /credentials/*", "api:credentials:approve /credentials/bob", "api:credentials:read /credentials/*")
	var one, two view.Issued
	w.as(maker, "POST", "/credentials", `{"kind":"pat","principal":"alice","ttl":"1d"}`).is(201).into(&one)
	w.as(maker, "POST", "/credentials", `{"kind":"pat","principal":"alice","ttl":"1d"}`).is(201).into(&two)
	token := one.Secret.Reveal()
	w.as(token, "GET", "/whoami", nil).problem(401)
	var list view.Page[view.CredentialView]
	w.local("GET", "/credentials?status=pending&never_used=true", nil).is(200).into(&list)
	if len(list.Items) != 2 {
		t.Errorf("%d are pending", len(list.Items))
	}
	w.as(maker, "POST", "/credentials/"+one.ID+"/approve", nil).problem(403)
	for _, verb := range []string{"rotate", "release"} {
		w.local("POST", "/credentials/"+one.ID+"/"+verb, `{}`).problem(409)
	}
	w.local("POST", "/credentials/"+one.ID+"/extend", `{"ttl":"2d"}`).problem(409)
	w.local("POST", "/credentials/"+one.ID+"/approve", nil, with{"If-Match", `"9"`}).problem(412)
	var v view.CredentialView
	w.local("POST", "/credentials/"+one.ID+"/approve", `{"reason":"for the export"}`).is(200).into(&v)
	if v.Status != "active" {
		t.Errorf("status %s", v.Status)
	}
	w.as(token, "GET", "/whoami", nil).is(200)
	if got := w.local("POST", "/credentials/"+two.ID+"/deny", `{}`).wrong(422); len(got) != 1 {
		t.Errorf("%v", got)
	}
	w.local("POST", "/credentials/"+two.ID+"/deny", `{"reason":"no need"}`).is(200).into(&v)
	if v.Status != "revoked" || v.RevokeReason != "no need" {
		t.Errorf("%+v", v)
	}
	w.local("POST", "/credentials/"+two.ID+"/approve", nil).problem(409)
}

// K11: owner and bounds can be patched and are checked; what nobody may set is refused by name together with them, and nothing changes.
func TestPatchesOfBounds(t *testing.T) {
	w := newWorld(t)
	other := w.othersPrincipal()
	w.user("alice")
	w.user("root", "admin")
	var made view.Issued
	w.local("POST", "/credentials", `{"kind":"app_key","principal":"alice","name":"dash","ttl":"1d","owner":"root","resources":["http:/db/**"],"limits":{"per_second":5}}`).is(201).into(&made)
	if made.Owner != "root" || made.Limits == nil || made.Limits.PerSecond != 5 {
		t.Errorf("%+v", made.CredentialView)
	}
	path := "/credentials/" + made.ID
	before := w.local("GET", path, nil).is(200).body
	for body, want := range map[string][]string{
		`{"owner":"` + other.ID + `","resources":["http:/a","x:y"],"limits":{"burst":7},"home":"//evil.example"}`: {"body.home", "body.limits.burst", "body.owner", "body.resources[1]"},
		`{"owner":"maker"}`:                             {"body.owner"},
		`{"limits":{"per_second":-1,"per_month":1e13}}`: {"body.limits.per_month", "body.limits.per_second"},
		`{"state":"active","hash":"AA","parent":"x","principal":"root","owner_name":"x","kind":"api_key"}`: {"body.hash", "body.kind", "body.owner_name", "body.parent", "body.principal", "body.state"},
	} {
		if got := sorted(w.local("PATCH", path, body).wrong(422)); !cmp.Equal(got, want) {
			t.Errorf("%s: %v", body, got)
		}
	}
	if after := w.local("GET", path, nil).is(200).body; !cmp.Equal(before, after) {
		t.Errorf("before %s\nafter %s", before, after)
	}
	var v view.CredentialView
	w.local("PATCH", path, `{"owner":"alice","resources":[],"limits":{"per_month":9},"home":"/ui/","client_name":"dash","documentation":"a\nb"}`).is(200).into(&v)
	if v.Owner != "alice" || v.Resources != nil || *v.Limits != (view.Limits{PerMonth: 9}) || v.Home != "/ui/" || v.Documentation != "a\nb" || v.ClientName != "dash" {
		t.Errorf("%+v", v)
	}
	var list view.Page[view.CredentialView]
	w.local("GET", "/credentials?owner=alice&never_used=true", nil).is(200).into(&list)
	if len(list.Items) != 1 || list.Items[0].Owner != "alice" {
		t.Errorf("%+v", list.Items)
	}
	w.local("GET", "/credentials?owner=nobody", nil).problem(404)
}
