package authority

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cardea/internal/credential"
)

func (h *house) api(n NewAPI) credential.API {
	h.t.Helper()
	one, err := h.CreateAPI(h.t.Context(), h.local, n)
	h.must(err)
	return one
}

// An API is made, changed, listed and removed; each change is one event with what changed, and the gate is told.
func TestAPIs(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.scope("meters:read", allow("http:GET", "/meters/**"))
	h.principal(credential.Service, "proxy")
	before := h.head()
	one := h.api(NewAPI{Name: "meters", Audience: "https://meters.example/v1", Description: "Meters.", Scopes: []string{"meters:read"}, TokenLife: 5 * time.Minute, Introspectors: []string{"proxy"}})
	if one.Version != 1 || one.Alg != "ES256" || !one.CreatedAt.Equal(h.clock.now()) {
		t.Errorf("made %+v", one)
	}
	got, err := h.API(ctx, h.local, "meters")
	h.must(err)
	if diff := cmp.Diff(one, got); diff != "" {
		t.Error(diff)
	}
	got.Scopes[0] = "x" // the caller's own
	other := h.api(NewAPI{Name: "bills", Audience: "urn:example:bills"})
	list, err := h.APIs(ctx, h.local)
	h.must(err)
	if diff := cmp.Diff([]credential.API{other, one}, list); diff != "" {
		t.Error(diff)
	}
	_, err = h.CreateAPI(ctx, h.local, NewAPI{Name: "meters", Audience: "https://other.example/"})
	fails(t, err, credential.Exists, "meters")
	_, err = h.CreateAPI(ctx, h.local, NewAPI{Name: "others", Audience: one.Audience})
	fails(t, err, credential.Exists, "audience")
	none, life, aud := []string{}, time.Minute, "https://meters.example/v2"
	now, err := h.UpdateAPI(ctx, h.local, "meters", APIPatch{Scopes: &none, TokenLife: &life, Audience: &aud, Introspectors: &none, Version: 1})
	h.must(err)
	if now.Version != 2 || len(now.Scopes) != 0 || now.Audience != aud || now.Description != "Meters." {
		t.Errorf("changed %+v", now)
	}
	_, err = h.UpdateAPI(ctx, h.local, "meters", APIPatch{TokenLife: &life, Version: 1})
	fails(t, err, credential.Conflict)
	same, err := h.UpdateAPI(ctx, h.local, "meters", APIPatch{TokenLife: &life})
	h.must(err)
	if same.Version != 2 {
		t.Errorf("a change of nothing made version %d", same.Version)
	}
	h.must(h.DeleteAPI(ctx, h.local, "meters"))
	fails(t, h.DeleteAPI(ctx, h.local, "meters"), credential.NotFound)
	events := h.events(before)
	if types(events) != "api.create api.create api.update api.delete" {
		t.Fatalf("events %s", types(events))
	}
	if d := events[2].Detail; d["audience.old"] != one.Audience || d["audience.new"] != aud || d["scopes.old"] != "meters:read" || d["token_life.new"] != "1m" || d["introspectors.old"] != "proxy" {
		t.Errorf("event %v", d)
	}
	if last := h.gate.touched[len(h.gate.touched)-1]; last.Subject != (credential.Subject{Kind: "api", ID: "meters"}) {
		t.Errorf("the gate was told %+v", last)
	}
}

// R08: every fault of an API is told at once, and nothing is made.
func TestBadAPIs(t *testing.T) {
	h := newHouse(t)
	before := h.head()
	for name, tc := range map[string]struct {
		n      NewAPI
		fields string
	}{
		"empty":          {NewAPI{}, "name audience"},
		"fragment":       {NewAPI{Name: "a", Audience: "https://x.example/#"}, "audience"},
		"relative":       {NewAPI{Name: "a", Audience: "/meters"}, "audience"},
		"user":           {NewAPI{Name: "a", Audience: "https://u:p@x.example/"}, "audience"},
		"Cardea":         {NewAPI{Name: "a", Audience: testIssuer}, "audience"},
		"long":           {NewAPI{Name: "a", Audience: "https://x.example/" + strings.Repeat("a", maxAudienceLen)}, "audience"},
		"token":          {NewAPI{Name: "a", Audience: "https://x.example/cardea_api_" + strings.Repeat("a", 50)}, "audience"},
		"all at once":    {NewAPI{Name: "a b", Audience: "x", Description: "\x00", Scopes: []string{"missing"}, TokenLife: time.Second, Alg: "none", Introspectors: []string{"nobody", "x y"}}, "name audience description scopes[0] token_life alg introspectors[0] introspectors[1]"},
		"HMAC":           {NewAPI{Name: "a", Audience: "urn:a", Alg: "HS256"}, "alg"},
		"parts":          {NewAPI{Name: "a", Audience: "urn:a", TokenLife: time.Minute + 1}, "token_life"},
		"many":           {NewAPI{Name: "a", Audience: "urn:a", Introspectors: make([]string, maxIntrospectors+1)}, "introspectors"},
		"what is a path": {NewAPI{Name: "a/b", Audience: "urn:a"}, "name"},
	} {
		_, err := h.CreateAPI(t.Context(), h.local, tc.n)
		fails(t, err, credential.Invalid)
		if got := fields(err); got != tc.fields {
			t.Errorf("%s: fields %q, want %q: %v", name, got, tc.fields, err)
		}
	}
	if h.head() != before {
		t.Error("something was made")
	}
}

// W07: organisations have APIs of their own, by the same names and audiences, and see none of each other.
func TestAPIsOfOrganisations(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	_, err := h.CreateOrg(ctx, h.local, NewOrg{Name: "acme", Resources: []string{"http:/acme/**"}})
	h.must(err)
	theirs, err := h.LocalCaller(ctx, "acme", h.local.Actor)
	h.must(err)
	h.api(NewAPI{Name: "meters", Audience: "https://meters.example/"})
	before := h.head()
	_, err = h.CreateAPI(ctx, theirs, NewAPI{Name: "meters", Audience: "https://meters.example/", Alg: "EdDSA"})
	h.must(err)
	h.must(h.DeleteAPI(ctx, h.local, "meters"))
	list, err := h.APIs(ctx, theirs)
	h.must(err)
	if len(list) != 1 || list[0].Org != "acme" {
		t.Errorf("list %+v", list)
	}
	_, err = h.API(ctx, h.local, "meters")
	fails(t, err, credential.NotFound)
	events := h.events(before)
	if types(events) != "api.create key.create api.delete" || events[0].Org != "acme" || events[1].Org != credential.DefaultOrg || events[1].Actor.Principal != "system" {
		t.Errorf("events %s: %+v", types(events), events)
	}
	for _, name := range []string{"APIs", "API", "CreateAPI", "UpdateAPI", "DeleteAPI"} {
		c := h.caller("api:credentials:* *", "api:roles:* *")
		switch name {
		case "APIs":
			_, err = h.APIs(ctx, c)
		case "API":
			_, err = h.API(ctx, c, "meters")
		case "CreateAPI":
			_, err = h.CreateAPI(ctx, c, NewAPI{Name: "x", Audience: "urn:x"})
		case "UpdateAPI":
			_, err = h.UpdateAPI(ctx, c, "meters", APIPatch{})
		case "DeleteAPI":
			err = h.DeleteAPI(ctx, c, "meters")
		}
		if k := credential.KindOf(err); err == nil || k != credential.NoRight && k != credential.NotFound {
			t.Errorf("%s without a right: %v", name, err)
		}
	}
}

// J13: the key for an algorithm comes with the first API that asks for it, in the same change, and with no other.
func TestTheKeyComesWithTheAPI(t *testing.T) {
	h := newHouse(t)
	algs := func() []string {
		keys, err := h.SigningKeys(t.Context(), h.local)
		h.must(err)
		var all []string
		for _, k := range keys {
			all = append(all, k.Alg+" "+k.State)
		}
		slices.Sort(all)
		return all
	}
	want := []string{"ES256 current"}
	h.api(NewAPI{Name: "a", Audience: "urn:a"})
	if diff := cmp.Diff(want, algs()); diff != "" {
		t.Error(diff)
	}
	h.fault.set(func(credential.Change) error { return down() }, nil)
	_, err := h.CreateAPI(t.Context(), h.local, NewAPI{Name: "b", Audience: "urn:b", Alg: "EdDSA"})
	fails(t, err, credential.Down)
	h.fault.set(nil, nil)
	if diff := cmp.Diff(want, algs()); diff != "" {
		t.Error(diff)
	}
	h.api(NewAPI{Name: "b", Audience: "urn:b", Alg: "EdDSA"})
	h.api(NewAPI{Name: "c", Audience: "urn:c", Alg: "EdDSA"})
	rsa := "RS256"
	_, err = h.UpdateAPI(t.Context(), h.local, "a", APIPatch{Alg: &rsa})
	h.must(err)
	if diff := cmp.Diff([]string{"ES256 current", "EdDSA current", "RS256 current"}, algs()); diff != "" {
		t.Error(diff)
	}
}

// J08: while clients name an audience it goes to nobody else; a client can name only one that there is.
func TestAudiencesOfClients(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.Service, "billing")
	h.api(NewAPI{Name: "meters", Audience: "https://meters.example/"})
	is := h.mustClient(credential.ClientConfig{Audiences: []string{"https://meters.example/", testIssuer}})
	aud := "https://other.example/"
	_, err := h.UpdateAPI(ctx, h.local, "meters", APIPatch{Audience: &aud})
	fails(t, err, credential.Conflict, is.Credential.ID, "billing")
	fails(t, h.DeleteAPI(ctx, h.local, "meters"), credential.Conflict, is.Credential.ID, "billing")
	_, err = h.reconfigure(is.Credential.ID, credential.ClientConfig{})
	h.must(err)
	_, err = h.UpdateAPI(ctx, h.local, "meters", APIPatch{Audience: &aud})
	h.must(err)
	is = h.mustClient(credential.ClientConfig{Audiences: []string{aud}})
	_, err = h.Revoke(ctx, h.local, is.Credential.ID, "")
	h.must(err)
	h.must(h.DeleteAPI(ctx, h.local, "meters"))
}

// J23: a principal that is deleted is named by nobody any more, so that whoever gets its name neither acts nor introspects in its place.
func TestNamesOfTheDeletedAreForgotten(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.Service, "billing")
	h.principal(credential.Service, "proxy")
	h.principal(credential.Service, "other")
	h.api(NewAPI{Name: "meters", Audience: "urn:m", Introspectors: []string{"proxy", "other"}})
	is := h.mustClient(credential.ClientConfig{MayAct: "proxy", TokenLife: time.Minute})
	stays := h.mustClient(credential.ClientConfig{MayAct: "other"})
	before := h.head()
	h.must(h.DeletePrincipal(ctx, h.local, "proxy", ""))
	if got := types(h.events(before)); got != "api.update credential.update principal.delete" {
		t.Errorf("events %s", got)
	}
	one, err := h.API(ctx, h.local, "meters")
	h.must(err)
	c, err := h.Credential(ctx, h.local, is.Credential.ID)
	h.must(err)
	o, err := h.Credential(ctx, h.local, stays.Credential.ID)
	h.must(err)
	if !slices.Equal(one.Introspectors, []string{"other"}) || c.Client.MayAct != "" || c.Client.TokenLife != time.Minute || o.Client.MayAct != "other" {
		t.Errorf("left: %v, %q, %q", one.Introspectors, c.Client.MayAct, o.Client.MayAct)
	}
	if len(c.Versions) != 1 {
		t.Error("the client got a new version")
	}
}
