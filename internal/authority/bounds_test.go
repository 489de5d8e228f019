package authority

import (
	"slices"
	"strings"
	"testing"

	"cardea/internal/credential"
)

// held puts the organisation and a project that are held to resources into the store.
func (h *house) held(org []string, project string, of []string) {
	h.t.Helper()
	p, err := h.store.Policy(h.t.Context())
	h.must(err)
	o, _ := p.Org(credential.DefaultOrg)
	o.Name, o.Resources, o.CreatedAt = credential.DefaultOrg, org, h.clock.now()
	ops := []credential.Op{credential.PutOrg{Org: o}}
	events := []credential.Event{{At: h.clock.now(), Org: o.Name, Type: "org.update", Subject: credential.Subject{Kind: "org", ID: o.Name}}}
	if project != "" {
		ops = append(ops, credential.PutProject{Project: credential.Project{Org: o.Name, Name: project, Resources: of, CreatedAt: h.clock.now()}})
		events = append(events, credential.Event{At: h.clock.now(), Org: o.Name, Type: "project.create", Subject: credential.Subject{Kind: "project", ID: project}})
	}
	_, err = h.store.Commit(h.t.Context(), credential.Change{Ops: ops, Events: events})
	h.must(err)
}

// What a credential is held to is checked entry by entry, and lies within what its organisation and its project are held to.
func TestResourcesOfCredentials(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.Service, "svc")
	n := NewCredential{Kind: credential.APIKey, Principal: "svc", Resources: []string{"http:/db/**", "ftp:/x", "mqtt:a/#/b", "http:/db/**", "http:/cardea_api_" + strings.Repeat("a", 50)}}
	_, err := h.CreateCredential(ctx, h.local, n)
	fails(t, err, credential.Invalid, "repeats resources[0]")
	if got := fields(err); got != "resources[1] resources[2] resources[3] resources[4]" {
		t.Error(got)
	}
	h.held([]string{"http:/plant/**", "mqtt:plant/#"}, "hall-3", []string{"mqtt:plant/hall-3/#"})
	n.Resources = []string{"mqtt:plant/hall-3/a", "mqtt:plant/hall-4/#", "http:/db/**", "api:/scopes/*"}
	_, err = h.CreateCredential(ctx, h.local, n)
	fails(t, err, credential.Invalid, "resources[2] is outside of what the organisation default is held to: http:/plant/**, mqtt:plant/#")
	if got := fields(err); got != "resources[2]" {
		t.Error(got)
	}
	n.Project = "hall-3"
	_, err = h.CreateCredential(ctx, h.local, n)
	fails(t, err, credential.Invalid, "resources[1] is outside of what the project hall-3 is held to: mqtt:plant/hall-3/#")
	if got := fields(err); got != "resources[1] resources[2]" {
		t.Error(got)
	}
	n.Resources, n.Project = n.Resources[:2], "label"
	is, err := h.CreateCredential(ctx, h.local, n)
	h.must(err)
	hall := "hall-3"
	_, err = h.UpdateCredential(ctx, h.local, is.Credential.ID, CredentialPatch{Project: &hall})
	fails(t, err, credential.Invalid, "project is held to mqtt:plant/hall-3/#", "mqtt:plant/hall-4/#")
	one := n.Resources[:1]
	now, err := h.UpdateCredential(ctx, h.local, is.Credential.ID, CredentialPatch{Project: &hall, Resources: &one})
	h.must(err)
	if e := h.events(h.head() - 1); e[0].Detail["resources.new"] != one[0] || e[0].Detail["project.new"] != hall || len(now.Resources) != 1 {
		t.Errorf("%v", e[0].Detail)
	}
}

// J26: to be held to less is a grant: more resources, a project that bounds less, higher limits or none.
func TestLooserIsAGrant(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.scope("s", allow("http:*", "/**"))
	h.role("r", "s")
	h.principal(credential.Service, "svc", "r")
	h.held(nil, "hall-3", []string{"http:/a/**"})
	list := func(items ...string) *[]string { return &items }
	text := func(s string) *string { return &s }
	limits := func(second, burst int, month int64) *credential.Limits {
		return &credential.Limits{PerSecond: second, Burst: burst, PerMonth: month}
	}
	was := NewCredential{Kind: credential.APIKey, Principal: "svc", Resources: []string{"http:/a/**"}, Project: "hall-3", Limits: *limits(5, 10, 100)}
	for name, tc := range map[string]struct {
		patch CredentialPatch
		grant bool
	}{
		"fewer resources":          {CredentialPatch{Resources: list("http:/a/b")}, false},
		"the same":                 {CredentialPatch{Resources: list("http:/a/**")}, false},
		"no resources":             {CredentialPatch{Resources: list()}, true},
		"no project":               {CredentialPatch{Project: text("")}, true},
		"a project that is a word": {CredentialPatch{Project: text("hall-4")}, true},
		"lower limits":             {CredentialPatch{Limits: limits(4, 9, 99)}, false},
		"more a second":            {CredentialPatch{Limits: limits(6, 10, 100)}, true},
		"more at once":             {CredentialPatch{Limits: limits(5, 11, 100)}, true},
		"more a month":             {CredentialPatch{Limits: limits(5, 10, 101)}, true},
		"nothing a month":          {CredentialPatch{Limits: limits(5, 10, 0)}, true},
		"nothing a second":         {CredentialPatch{Limits: limits(0, 0, 100)}, true},
		"as many at once":          {CredentialPatch{Limits: limits(5, 0, 100)}, false},
		"who answers":              {CredentialPatch{Owner: text("")}, false},
	} {
		is, err := h.CreateCredential(ctx, h.local, was)
		h.must(err)
		_, err = h.UpdateCredential(ctx, h.caller("api:credentials:update /credentials/*"), is.Credential.ID, tc.patch)
		switch {
		case tc.grant:
			if credential.KindOf(err) != credential.NoRight || err == nil {
				t.Errorf("%s: %v", name, err)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		}
		_, err = h.UpdateCredential(ctx, h.caller("api:credentials:update /credentials/*", "http:* /**"), is.Credential.ID, tc.patch)
		if err != nil {
			t.Errorf("%s, by who has it: %v", name, err)
		}
	}
}

// Limits, and what only application keys have, are checked on the way in, and no other kind gets it.
func TestBadBounds(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.Service, "svc")
	h.principal(credential.User, "alice")
	_, err := h.CreateCredential(ctx, h.local, NewCredential{
		Kind: credential.APIKey, Principal: "svc", Limits: credential.Limits{PerSecond: -1, Burst: 1_000_001, PerMonth: 1 << 60},
		Documentation: "x", ClientName: "x", Home: "/x",
	})
	fails(t, err, credential.Invalid, "is for app_key only")
	if got := fields(err); got != "limits.per_second limits.burst limits.per_month documentation client_name home" {
		t.Error(got)
	}
	_, err = h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.APIKey, Principal: "svc", Limits: credential.Limits{Burst: 1}})
	fails(t, err, credential.Invalid, "limits.burst is given without per_second")
	is, err := h.CreateCredential(ctx, h.local, NewCredential{
		Kind: credential.AppKey, Principal: "alice", Name: "dash", Documentation: "first\nsecond\r\n\tthird", ClientName: "dash", Home: "/ui/#x?y=1",
	})
	h.must(err)
	for home, ok := range map[string]bool{
		"": true, "/": true, "/a/b": true, "a": false, "//evil.example": false, "/\\evil.example": false, "https://evil.example": false,
		"/a\nb": false, "/a b": false, "/\t/evil.example": false, "/a\xff": false, "/" + strings.Repeat("a", 512): false,
	} {
		_, err := h.UpdateCredential(ctx, h.local, is.Credential.ID, CredentialPatch{Home: &home})
		if (err == nil) != ok || err != nil && fields(err) != "home" {
			t.Errorf("home %q: %v", home, err)
		}
	}
	long, word := strings.Repeat("x", 4097), strings.Repeat("x", 129)
	_, err = h.UpdateCredential(ctx, h.local, is.Credential.ID, CredentialPatch{Documentation: &long, ClientName: &word})
	if fields(err) != "documentation client_name" {
		t.Error(err)
	}
	bell := "a\x07"
	_, err = h.UpdateCredential(ctx, h.local, is.Credential.ID, CredentialPatch{Documentation: &bell}) // A09
	fails(t, err, credential.Invalid, "documentation")
}

// Who answers for a credential is a living user of the organisation; the caller, if nobody is named and the caller is a user.
func TestOwners(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.Service, "svc")
	alice := h.principal(credential.User, "alice")
	gone := h.principal(credential.User, "gone")
	h.must(h.DeletePrincipal(ctx, h.local, "gone", ""))
	other := h.org("other")
	theirs, err := h.CreatePrincipal(ctx, other, NewPrincipal{Kind: credential.User, Name: "theirs"})
	h.must(err)
	n := NewCredential{Kind: credential.APIKey, Principal: "svc", TTL: day}
	for owner, says := range map[string]string{
		"nobody": "does not exist", gone.ID: "does not exist", "gone": "does not exist", theirs.ID: "does not exist", "theirs": "does not exist", // W07
		"svc": "is no user, but a service", "x' OR 1=1 --": "does not exist", "P": "does not exist",
	} {
		n.Owner = owner
		_, err := h.CreateCredential(ctx, h.local, n)
		fails(t, err, credential.Invalid, "owner "+says)
	}
	for name, tc := range map[string]struct {
		c     Caller
		owner string
		want  string
	}{
		"by name":                     {h.local, "alice", "alice"},
		"by ID":                       {h.local, alice.ID, "alice"},
		"nobody":                      {h.local, "", ""},
		"the caller":                  {h.named("alice", mayCreate), "", "alice"},
		"a caller who is no user":     {h.named("svc", mayCreate), "", ""},
		"a caller who is gone":        {h.named("gone", mayCreate), "", ""},
		"a user names another":        {h.named("svc", mayCreate), "alice", "alice"},
		"somebody whom nobody stores": {h.caller(mayCreate), "", ""},
	} {
		n.Owner = tc.owner
		is, err := h.CreateCredential(ctx, tc.c, n)
		h.must(err)
		d, err := h.Credential(ctx, h.local, is.Credential.ID)
		h.must(err)
		if is.OwnerName != tc.want || d.OwnerName != tc.want || (d.Owner == alice.ID) != (tc.want == "alice") {
			t.Errorf("%s: %q, then %q (%s)", name, is.OwnerName, d.OwnerName, d.Owner)
		}
	}
	is, err := h.CreateCredential(ctx, h.named("alice", mayCreate), NewCredential{Kind: credential.APIKey, Principal: "svc"})
	h.must(err)
	id := is.Credential.ID
	for _, owner := range []string{theirs.ID, gone.ID, "svc"} { // K11
		_, err = h.UpdateCredential(ctx, h.local, id, CredentialPatch{Owner: &owner})
		fails(t, err, credential.Invalid, "owner")
	}
	list, _, err := h.Credentials(ctx, h.local, credential.CredentialFilter{Owner: "alice"})
	h.must(err)
	if len(list) != 5 {
		t.Errorf("alice answers for %d", len(list))
	}
	for _, ref := range []string{"nobody", theirs.ID, "a b"} {
		_, _, err = h.Credentials(ctx, h.local, credential.CredentialFilter{Owner: ref})
		fails(t, err, credential.NotFound)
	}
	none := ""
	before := h.head()
	_, err = h.UpdateCredential(ctx, h.local, id, CredentialPatch{Owner: &none})
	h.must(err)
	if e := h.events(before); len(e) != 1 || e[0].Detail["owner.old"] != "alice" {
		t.Errorf("%+v", e)
	}
	hers := slices.DeleteFunc(list, func(l credential.Listed) bool { return l.ID == id }) // those of one instant are in any order
	turned, err := h.Rotate(ctx, h.local, hers[0].ID, Rotation{Overlap: day / 24})
	h.must(err)
	if turned.OwnerName != "alice" {
		t.Errorf("a rotated one is answered for by %q", turned.OwnerName)
	}
	// A user who is deleted between look and commit answers for nothing.
	h.principal(credential.User, "dora")
	dora := "dora"
	h.overtake(func() { h.must(h.DeletePrincipal(ctx, h.local, dora, "")) })
	_, err = h.UpdateCredential(ctx, h.local, id, CredentialPatch{Owner: &dora})
	h.fault.set(nil, nil)
	fails(t, err, credential.Invalid, "owner does not exist")
	h.overtake(func() { h.must(h.DeletePrincipal(ctx, h.local, "alice", "")) })
	n.Owner = "alice"
	_, err = h.CreateCredential(ctx, h.local, n)
	h.fault.set(nil, nil)
	fails(t, err, credential.Invalid, "owner does not exist")
}

// A token of a user is made for a part of what the user may; what it names beyond is named, with the rule that the user lacks.
func TestTokensAreSubsetsOfTheirUser(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.scope("own", allow("http:*", "/db/**"), allow("mqtt:*", "users/${principal}/#"), credential.Rule{Permission: credential.Deny, Action: "http:*", Resource: "/db/keys/**"})
	h.scope("part", allow("http:GET", "/db/query/**"))
	h.scope("same", allow("mqtt:*", "users/${principal}/#"))
	h.scope("beyond", allow("http:GET", "/db/query/**"), allow("http:GET", "/other/**"))
	h.scope("denied", allow("http:GET", "/db/keys/a"))
	h.scope("others", allow("mqtt:*", "users/#"))
	h.role("r", "own")
	h.principal(credential.User, "alice", "r")
	h.principal(credential.Service, "svc", "r")
	n := NewCredential{Principal: "alice", TTL: day, Name: "a", Scopes: []string{"own", "beyond", "part", "denied", "same", "others"}}
	for _, k := range []credential.Kind{credential.PAT, credential.AppKey} {
		n.Kind = k
		_, err := h.CreateCredential(ctx, h.local, n)
		fails(t, err, credential.Invalid, "scopes[1] allows http:GET on /other/**, which alice may not", "scopes[3] allows http:GET on /db/keys/a", "scopes[5] allows mqtt:* on users/#")
		if fields(err) != "scopes[1] scopes[3] scopes[5]" {
			t.Error(fields(err))
		}
	}
	_, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.APIKey, Principal: "svc", Scopes: n.Scopes}) // of services the gate takes what both allow
	h.must(err)
	n.Kind, n.Scopes = credential.PAT, []string{"own", "part", "same"}
	is, err := h.CreateCredential(ctx, h.local, n)
	h.must(err)
	// A scope that the user has lost stays where it is, and is worth nothing; another one is refused.
	none, more, fewer := []string{}, []string{"own", "beyond"}, []string{"own"}
	_, err = h.UpdatePrincipal(ctx, h.local, "alice", PrincipalPatch{Roles: &none})
	h.must(err)
	_, err = h.UpdateCredential(ctx, h.local, is.Credential.ID, CredentialPatch{Scopes: &fewer})
	h.must(err)
	_, err = h.UpdateCredential(ctx, h.local, is.Credential.ID, CredentialPatch{Scopes: &more})
	if fails(t, err, credential.Invalid, "which alice may not"); fields(err) != "scopes[1]" {
		t.Error(fields(err))
	}
}
