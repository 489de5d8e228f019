package authority

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// org makes an organisation and returns its local administrator.
func (h *house) org(name string, resources ...string) Caller {
	h.t.Helper()
	_, err := h.CreateOrg(h.t.Context(), h.local, NewOrg{Name: name, Resources: resources})
	h.must(err)
	c, err := h.LocalCaller(h.t.Context(), name, h.local.Actor)
	h.must(err)
	return c
}

// ownerOf is somebody with the role owner, held to what the organisation is held to, as the gate has it.
func (h *house) ownerOf(org string, resources ...string) Caller {
	h.t.Helper()
	c := h.caller("api:*:* *", "http:* *", "mqtt:* *", "grpc:call *")
	c.Org = org
	var err error
	c.Rights.Boundary, err = policy.CompileResources(resources, true)
	h.must(err)
	return c
}

// A new organisation has its built-in scopes and roles, what it is held to, and its first owner, in one change.
func TestCreateOrg(t *testing.T) {
	h := newHouse(t)
	before := h.head()
	o, err := h.CreateOrg(t.Context(), h.local, NewOrg{Name: "acme", Description: "pumps", Owner: "alice"})
	h.must(err)
	want := []string{"mqtt:acme/#", "http:/acme/**"}
	if !slices.Equal(o.Resources, want) || len(o.Warnings) != 1 || !strings.Contains(o.Warnings[0], "no resources were given") {
		t.Errorf("%+v", o)
	}
	if o.Owner == nil || o.Owner.Org != "acme" || o.Owner.Kind != credential.User || !slices.Equal(o.Owner.Roles, []string{credential.RoleOwner}) {
		t.Errorf("owner %+v", o.Owner)
	}
	made := h.events(before)
	if got := types(made); got != "org.create scope.create scope.create scope.create scope.create "+
		"role.create role.create role.create role.create role.create principal.create" {
		t.Errorf("events %s", got)
	}
	for i, e := range made { // who asked for it is told where they are; its own log has nobody of elsewhere
		org, actor := "acme", "system"
		if i == 0 {
			org, actor = credential.DefaultOrg, "local"
		}
		if e.Org != org || e.Actor.Principal != actor || e.Actor.Request != h.local.Actor.Request {
			t.Errorf("%s of %s by %+v", e.Type, e.Org, e.Actor)
		}
	}
	c, err := h.LocalCaller(t.Context(), "acme", h.local.Actor)
	h.must(err)
	roles, err := h.Roles(t.Context(), c)
	h.must(err)
	var names []string
	for _, r := range roles {
		names = append(names, r.Name)
		if !r.BuiltIn || r.Org != "acme" {
			t.Errorf("role %+v", r)
		}
	}
	if got := strings.Join(names, " "); got != "admin auditor device member owner" {
		t.Errorf("roles %s", got)
	}
	if _, err := h.Scope(t.Context(), c, credential.ScopeEMQX); !credential.IsNotFound(err) {
		t.Errorf("the scope of clusters, which ask for the installation: %v", err)
	}
	_, err = h.LocalCaller(t.Context(), "nowhere", h.local.Actor)
	fails(t, err, credential.NotFound, "nowhere")
}

// All that is wrong is named at once, and a name is given once: whoever gets it would read the log of those who had it.
func TestCreateOrgRefuses(t *testing.T) {
	h := newHouse(t)
	h.org("acme")
	before := h.head()
	_, err := h.CreateOrg(t.Context(), h.local, NewOrg{Name: "Acme", Resources: []string{"mqtt:a/#/b", "api:*", "ftp:x"}, Owner: "Alice", Description: "\n"})
	fails(t, err, credential.Invalid)
	if got := fields(err); got != "name description resources[0] resources[2] resources[1] owner" {
		t.Errorf("fields %s", got)
	}
	for _, name := range []string{"acme", credential.DefaultOrg} {
		_, err = h.CreateOrg(t.Context(), h.local, NewOrg{Name: name})
		fails(t, err, credential.Exists, name)
	}
	if h.head() != before {
		t.Error("something was made")
	}
	h.must(h.DeleteOrg(t.Context(), h.local, "acme"))
	_, err = h.CreateOrg(t.Context(), h.local, NewOrg{Name: "acme"})
	fails(t, err, credential.Exists, "audit log is kept")
}

// Only callers of the organisation that runs the installation make organisations, and only of what they have themself (J26).
func TestWhoMayCreateOrgs(t *testing.T) {
	h := newHouse(t)
	h.org("acme", "mqtt:acme/#")
	theirs := h.ownerOf("acme", "mqtt:acme/#")
	_, err := h.CreateOrg(t.Context(), theirs, NewOrg{Name: "sub"})
	fails(t, err, credential.NoRight, "run by the organisation default")
	_, err = h.CreateOrg(t.Context(), h.caller("api:orgs:read *", "mqtt:* *", "http:* *"), NewOrg{Name: "sub"})
	fails(t, err, credential.NoRight, "orgs:create on /orgs/sub")

	some := h.caller("api:orgs:* /orgs/sub", "mqtt:* plant/#")
	_, err = h.CreateOrg(t.Context(), some, NewOrg{Name: "sub", Resources: []string{"mqtt:plant/1/#", "mqtt:other/#"}})
	fails(t, err, credential.NoRight, "nobody grants what they do not have", "other/#")
	o, err := h.CreateOrg(t.Context(), some, NewOrg{Name: "sub", Resources: []string{"mqtt:plant/1/#"}})
	h.must(err)
	_, err = h.UpdateOrg(t.Context(), some, "sub", OrgPatch{Resources: &[]string{"mqtt:plant/1/#", "mqtt:other/#"}})
	fails(t, err, credential.NoRight, "other/#")
	o, err = h.UpdateOrg(t.Context(), some, "sub", OrgPatch{Resources: &[]string{"mqtt:plant/#"}, Version: o.Version})
	h.must(err)
	if o.Version != 2 {
		t.Errorf("%+v", o)
	}
}

// What two organisations have in common is said, since it is what keeps them apart.
func TestSharedResourcesAreWarnedOf(t *testing.T) {
	h := newHouse(t)
	h.org("acme")
	o, err := h.CreateOrg(t.Context(), h.local, NewOrg{Name: "rival", Resources: []string{"mqtt:+/x/#"}})
	h.must(err)
	if len(o.Warnings) != 1 || !strings.Contains(o.Warnings[0], "mqtt:acme/# of the organisation acme") {
		t.Errorf("%q", o.Warnings)
	}
	o, err = h.UpdateOrg(t.Context(), h.local, "rival", OrgPatch{Resources: &[]string{"mqtt:rival/#"}})
	h.must(err)
	if len(o.Warnings) != 0 {
		t.Errorf("%q", o.Warnings)
	}
	// to its own callers another organisation is not even named (W07)
	h.must2(h.UpdateOrg(t.Context(), h.local, "rival", OrgPatch{Resources: &[]string{"mqtt:+/x/#"}}))
	o, err = h.UpdateOrg(t.Context(), h.ownerOf("rival", "mqtt:+/x/#"), "rival", OrgPatch{Resources: &[]string{"mqtt:+/x/1"}})
	h.must(err)
	if len(o.Warnings) != 0 {
		t.Errorf("%q", o.Warnings)
	}
}

func (h *house) must2(_ any, err error) {
	h.t.Helper()
	h.must(err)
}

// W07: callers of an organisation see and narrow their own, and know of no other.
func TestOrgsOfOthers(t *testing.T) {
	h := newHouse(t)
	h.org("acme")
	h.org("rival")
	own := h.ownerOf("acme", "mqtt:acme/#", "http:/acme/**")
	list, err := h.Orgs(t.Context(), own)
	h.must(err)
	if len(list) != 1 || list[0].Name != "acme" {
		t.Errorf("%+v", list)
	}
	if list, err = h.Orgs(t.Context(), h.local); err != nil || len(list) != 3 {
		t.Errorf("%+v, %v", list, err)
	}
	yes, words := true, "x"
	for _, name := range []string{"rival", credential.DefaultOrg, "nowhere"} {
		_, err := h.Org(t.Context(), own, name)
		fails(t, err, credential.NotFound, name)
		_, err = h.UpdateOrg(t.Context(), own, name, OrgPatch{Description: &words})
		fails(t, err, credential.NotFound, name)
		fails(t, h.DeleteOrg(t.Context(), own, name), credential.NotFound, name)
	}
	_, err = h.UpdateOrg(t.Context(), own, "acme", OrgPatch{Disabled: &yes})
	fails(t, err, credential.NoRight, "disabling")
	_, err = h.UpdateOrg(t.Context(), own, "acme", OrgPatch{Resources: &[]string{"mqtt:acme/#", "mqtt:rival/#"}})
	fails(t, err, credential.NoRight, "widening an organisation, by mqtt:rival/#")
	fails(t, h.DeleteOrg(t.Context(), own, "acme"), credential.NoRight, "deleting organisations")
	o, err := h.UpdateOrg(t.Context(), own, "acme", OrgPatch{Resources: &[]string{"mqtt:acme/1/#"}, Description: &words})
	h.must(err)
	if !slices.Equal(o.Resources, []string{"mqtt:acme/1/#"}) || o.Version != 2 {
		t.Errorf("%+v", o)
	}
	before := h.head()
	if _, err = h.UpdateOrg(t.Context(), own, "acme", OrgPatch{Description: &words}); err != nil || h.head() != before {
		t.Errorf("a change that changes nothing: %v", err)
	}
	_, err = h.UpdateOrg(t.Context(), own, "acme", OrgPatch{Description: &words, Version: 1})
	fails(t, err, credential.Conflict, "version 2")

	reader := h.caller("api:orgs:read /orgs/acme")
	reader.Org = "acme"
	h.must2(h.Org(t.Context(), reader, "acme"))
	_, err = h.UpdateOrg(t.Context(), reader, "acme", OrgPatch{Description: &words})
	fails(t, err, credential.NoRight, "orgs:update")
}

// The organisation that runs the installation is not bounded, and is there to stay.
func TestDefaultOrgStays(t *testing.T) {
	h := newHouse(t)
	yes, words := true, "ours"
	fails(t, h.DeleteOrg(t.Context(), h.local, credential.DefaultOrg), credential.ReadOnly)
	_, err := h.UpdateOrg(t.Context(), h.local, credential.DefaultOrg, OrgPatch{Disabled: &yes})
	fails(t, err, credential.ReadOnly)
	_, err = h.UpdateOrg(t.Context(), h.local, credential.DefaultOrg, OrgPatch{Resources: &[]string{"mqtt:x/#"}})
	fails(t, err, credential.ReadOnly)
	h.must2(h.UpdateOrg(t.Context(), h.local, credential.DefaultOrg, OrgPatch{Description: &words}))
	h.org("acme")
	_, err = h.UpdateOrg(t.Context(), h.local, "acme", OrgPatch{Resources: &[]string{}})
	fails(t, err, credential.Invalid)
}

// An organisation goes when nobody of it lives; what it had goes with it, each thing with its event.
func TestDeleteOrg(t *testing.T) {
	h := newHouse(t)
	c := h.org("acme")
	h.must2(h.CreatePrincipal(t.Context(), c, NewPrincipal{Kind: credential.User, Name: "alice", Roles: []string{credential.RoleOwner}}))
	h.must2(h.PutProject(t.Context(), c, credential.Project{Name: "hall-3"}))
	fails(t, h.DeleteOrg(t.Context(), h.local, "acme"), credential.Conflict, "user alice")
	fails(t, h.DeletePrincipal(t.Context(), c, "alice", ""), credential.Conflict, "the last owner")
	yes := true
	h.must2(h.UpdateOrg(t.Context(), h.local, "acme", OrgPatch{Disabled: &yes}))
	h.must(h.DeletePrincipal(t.Context(), c, "alice", ""))
	before := h.head()
	h.must(h.DeleteOrg(t.Context(), h.local, "acme"))
	if got := types(h.events(before)); got != "org.delete scope.delete scope.delete scope.delete scope.delete "+
		"role.delete role.delete role.delete role.delete role.delete project.delete" {
		t.Errorf("events %s", got)
	}
	all, err := h.store.Policy(t.Context())
	h.must(err)
	for _, s := range all.Scopes {
		if s.Org == "acme" {
			t.Errorf("scope %s is left", s.Name)
		}
	}
	fails(t, h.DeleteOrg(t.Context(), h.local, "acme"), credential.NotFound)
}

// The last owner that can act stays one: by whatever way it would go.
func TestLastOwnerStays(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	c := h.org("acme")
	no, yes := []string{}, true
	h.must2(h.CreatePrincipal(ctx, c, NewPrincipal{Kind: credential.User, Name: "admin", Roles: []string{credential.RoleAdmin}}))
	h.must2(h.UpdatePrincipal(ctx, c, "admin", PrincipalPatch{Roles: &no})) // there is no owner, so none is missed
	for _, name := range []string{"alice", "bob"} {
		h.must2(h.CreatePrincipal(ctx, c, NewPrincipal{Kind: credential.User, Name: name, Roles: []string{credential.RoleOwner}}))
	}
	h.must2(h.UpdatePrincipal(ctx, c, "bob", PrincipalPatch{Disabled: &yes}))
	last := func(err error) {
		t.Helper()
		fails(t, err, credential.Conflict, "alice is the last owner of the organisation acme", "give somebody else the role owner first")
	}
	before := h.head()
	_, err := h.UpdatePrincipal(ctx, c, "alice", PrincipalPatch{Roles: &[]string{credential.RoleAdmin}})
	last(err)
	_, err = h.UpdatePrincipal(ctx, c, "alice", PrincipalPatch{Disabled: &yes})
	last(err)
	last(h.DeletePrincipal(ctx, c, "alice", ""))
	if h.head() != before {
		t.Error("something was changed")
	}
	words := "still"
	h.must2(h.UpdatePrincipal(ctx, c, "alice", PrincipalPatch{Description: &words}))
	h.must(h.DeletePrincipal(ctx, c, "bob", "")) // one that is disabled is none
	h.must2(h.CreatePrincipal(ctx, c, NewPrincipal{Kind: credential.Service, Name: "robot", Roles: []string{credential.RoleOwner}}))
	h.must(h.DeletePrincipal(ctx, c, "alice", ""))
	// owners of another organisation are no help
	h.principal(credential.User, "carol", credential.RoleOwner)
	fails(t, h.DeletePrincipal(ctx, c, "robot", ""), credential.Conflict, "the last owner")
}

// Of owners that all leave at once one stays, whatever they do and in whatever order.
func TestLastOwnerOfMany(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	c := h.org("acme")
	const many = 8
	for i := range many {
		h.must2(h.CreatePrincipal(ctx, c, NewPrincipal{Kind: credential.User, Name: fmt.Sprint("o", i), Roles: []string{credential.RoleOwner}}))
	}
	yes, no := true, []string{}
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			name := fmt.Sprint("o", i)
			// One that is overtaken too often is a Conflict as well: whoever goes on asking finds out.
			for range 20 {
				var err error
				switch i % 3 {
				case 0:
					_, err = h.UpdatePrincipal(ctx, c, name, PrincipalPatch{Disabled: &yes})
				case 1:
					_, err = h.UpdatePrincipal(ctx, c, name, PrincipalPatch{Roles: &no})
				default:
					err = h.DeletePrincipal(ctx, c, name, "")
				}
				if err == nil || strings.Contains(err.Error(), "the last owner") {
					return
				}
			}
		})
	}
	wg.Wait()
	page, _, err := h.Principals(ctx, c, credential.PrincipalFilter{Role: credential.RoleOwner})
	h.must(err)
	page = slices.DeleteFunc(page, func(p credential.Principal) bool { return p.Disabled })
	if len(page) != 1 {
		t.Errorf("%d owners are left", len(page))
	}
}

// In an organisation that is held to resources its owner gives the built-in roles, which say more than that: what is given
// stays within. A rule that lies wholly outside is a mistake, and refused.
func TestRulesWithinTheBoundary(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.org("acme", "mqtt:acme/#")
	c := h.ownerOf("acme", "mqtt:acme/#")
	h.must2(h.CreatePrincipal(ctx, c, NewPrincipal{Kind: credential.Device, Name: "pump-1", Roles: []string{credential.RoleDevice}}))
	h.must2(h.CreatePrincipal(ctx, c, NewPrincipal{Kind: credential.User, Name: "bob", Roles: []string{credential.RoleOwner}}))

	_, err := h.PutScope(ctx, c, credential.Scope{Name: "s", Rules: []credential.Rule{
		allow("mqtt:publish", "acme/1/#"), allow("mqtt:publish", "other/#"), allow("http:GET", "/acme/**"), allow("mqtt:*", "#"), allow("api:orgs:read", "*"),
	}})
	fails(t, err, credential.Invalid)
	if got := fields(err); got != "rules[1] rules[2]" || !strings.Contains(err.Error(), "held to mqtt:acme/#") {
		t.Errorf("%s: %v", got, err)
	}
	s, err := h.PutScope(ctx, c, credential.Scope{Name: "s", Rules: []credential.Rule{allow("mqtt:publish", "acme/1/#")}})
	h.must(err)
	// what was inside may go on when the boundary moves, and is named; other rules beside it can still be changed
	o, err := h.UpdateOrg(ctx, c, "acme", OrgPatch{Resources: &[]string{"mqtt:acme/2/#"}})
	h.must(err)
	if len(o.Warnings) != 1 || !strings.Contains(o.Warnings[0], "the scope s") {
		t.Errorf("%q", o.Warnings)
	}
	s.Rules = append(s.Rules, allow("mqtt:publish", "acme/2/x"))
	h.must2(h.PutScope(ctx, c, s))
}

// A project is a name on credentials that holds them to resources, within those of the organisation.
func TestProjects(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	local := h.org("acme", "mqtt:acme/#")
	c := h.ownerOf("acme", "mqtt:acme/#")
	h.must2(h.CreatePrincipal(ctx, local, NewPrincipal{Kind: credential.Service, Name: "svc"}))
	key, err := h.CreateCredential(ctx, local, NewCredential{Kind: credential.APIKey, Principal: "svc", Project: "hall-3"})
	h.must(err)

	_, err = h.PutProject(ctx, c, credential.Project{Name: "Hall 3", Resources: []string{"mqtt:acme/1/#", "api:*", "x"}, Description: "\x00"})
	fails(t, err, credential.Invalid)
	if got := fields(err); got != "name description resources[2] resources[1]" {
		t.Errorf("fields %s", got)
	}
	_, err = h.PutProject(ctx, c, credential.Project{Name: "hall-3", Resources: []string{"mqtt:acme/1/#", "mqtt:hall/#"}})
	fails(t, err, credential.Invalid)
	if got := fields(err); got != "resources[1]" {
		t.Errorf("fields %s", got)
	}
	p, err := h.PutProject(ctx, c, credential.Project{Name: "hall-3", Resources: []string{"mqtt:acme/3/#"}})
	h.must(err)
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "1 credential that bears") {
		t.Errorf("%q", p.Warnings)
	}
	_, err = h.PutProject(ctx, c, credential.Project{Name: "hall-3"})
	fails(t, err, credential.Exists)

	// nobody widens what they are held to themself (J26)
	held := c
	held.Rights.Project, err = policy.CompileResources([]string{"mqtt:acme/3/#"}, true)
	h.must(err)
	for _, wider := range [][]string{{"mqtt:acme/#"}, {}} {
		_, err = h.PutProject(ctx, held, credential.Project{Name: "hall-3", Resources: wider, Version: p.Version})
		fails(t, err, credential.NoRight, "nobody grants what they do not have")
	}
	p, err = h.PutProject(ctx, held, credential.Project{Name: "hall-3", Resources: []string{"mqtt:acme/3/1/#"}, Version: p.Version})
	h.must(err)
	fails(t, h.DeleteProject(ctx, c, "hall-3"), credential.Conflict, key.Credential.ID)
	h.must2(h.Revoke(ctx, local, key.Credential.ID, ""))
	p.Resources = nil
	h.must2(h.PutProject(ctx, local, p.Project))
	h.must(h.DeleteProject(ctx, c, "hall-3"))

	reader := h.caller("api:projects:read *")
	reader.Org = "acme"
	h.must2(h.PutProject(ctx, c, credential.Project{Name: "hall-4"}))
	fails(t, h.DeleteProject(ctx, reader, "hall-4"), credential.NoRight, "projects:delete on /projects/hall-4")
	list, err := h.Projects(ctx, reader)
	h.must(err)
	if len(list) != 1 || list[0].Name != "hall-4" {
		t.Errorf("%+v", list)
	}
	if list, err = h.Projects(ctx, h.local); err != nil || len(list) != 0 { // W07
		t.Errorf("%+v, %v", list, err)
	}
	_, err = h.Project(ctx, h.local, "hall-4")
	fails(t, err, credential.NotFound)
}

// What is of the installation is refused to every other organisation, by name, its local administrator included.
func TestOfTheInstallation(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	local := h.org("acme")
	owner := h.ownerOf("acme", "mqtt:acme/#")
	for _, c := range []Caller{local, owner} {
		for _, verb := range []string{"routes:read", "routes:create", "authenticators:read", "backend:authn", "events:verify"} {
			fails(t, h.Authorize(c, verb, "*"), credential.NoRight, "run by the organisation default")
		}
		_, err := h.Routes(ctx, c)
		fails(t, err, credential.NoRight, "run by the organisation default")
		_, err = h.VerifyLog(ctx, c)
		fails(t, err, credential.NoRight, "run by the organisation default")
	}
	fails(t, h.Backup(ctx, local, new(strings.Builder)), credential.NoRight, "run by the organisation default")
	fails(t, h.AcceptClock(ctx, local), credential.NoRight, "run by the organisation default")
	_, _, err := h.AdminToken(ctx, local)
	h.must(err)
	_, _, err = h.AdminToken(ctx, owner)
	fails(t, err, credential.NoRight)
	yes := true
	h.must2(h.UpdateOrg(ctx, h.local, "acme", OrgPatch{Disabled: &yes}))
	_, _, err = h.AdminToken(ctx, local)
	fails(t, err, credential.Conflict, "disabled")
}

// W07: a link opens the console in the organisation that it was made in, with what its administrators may.
func TestLinkIsOfAnOrganisation(t *testing.T) {
	h := newHouse(t)
	local := h.org("acme", "mqtt:acme/#")
	for _, c := range []Caller{local, h.local} {
		code, _, err := h.AdminLink(t.Context(), c)
		h.must(err)
		got, err := h.RedeemLink(t.Context(), code.Reveal(), credential.Actor{Door: "console"})
		h.must(err)
		if got.Org != c.Org || got.Local || (got.Rights.Boundary != nil) != (c.Org == "acme") {
			t.Errorf("a link of %s: %+v", c.Org, got)
		}
		_, err = h.RedeemLink(t.Context(), code.Reveal(), credential.Actor{Door: "console"})
		fails(t, err, credential.NotFound)
	}
}

// W07: an organisation sees what was refused to its own credentials; the one that runs the installation beside its own what is nobody's.
func TestRefusalsOfOrganisations(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	local := h.org("acme")
	h.must2(h.CreatePrincipal(ctx, local, NewPrincipal{Kind: credential.Service, Name: "svc"}))
	theirs, err := h.CreateCredential(ctx, local, NewCredential{Kind: credential.APIKey, Principal: "svc"})
	h.must(err)
	h.principal(credential.Service, "svc")
	ours := h.apiKey("svc").Credential.ID
	var refused []credential.Refusals
	for _, id := range []string{theirs.Credential.ID, ours, "000000000000", ""} {
		refused = append(refused, credential.Refusals{Credential: id, Reason: credential.NoRule, Door: "http", Count: 1, FirstAt: h.clock.now(), LastAt: h.clock.now()})
	}
	h.must(h.store.Record(ctx, credential.Records{Refused: refused}))
	for _, c := range []struct {
		who  Caller
		want []string
	}{
		{h.ownerOf("acme"), []string{theirs.Credential.ID}},
		{local, []string{theirs.Credential.ID}},
		{h.caller("api:events:read *"), []string{"", "000000000000", ours}},
		{h.local, []string{"", "000000000000", ours, theirs.Credential.ID}},
	} {
		list, err := h.Refusals(ctx, c.who, h.clock.now().Add(-time.Hour), 0)
		h.must(err)
		var got []string
		for _, r := range list {
			got = append(got, r.Credential)
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s (local: %v) sees %q, want %q", c.who.Org, c.who.Local, got, c.want)
		}
	}
}

// D14: a database from before organisations gets the first one and what is new of the built-in things at its next start, for every
// organisation; a role of somebody's own that is called as a new one stays what it is, and guards nothing.
func TestBootstrapBringsOrganisations(t *testing.T) {
	h := empty(t)
	ctx := t.Context()
	_, _, err := Bootstrap(ctx, h.store, h.ks, h.clock.now, nil)
	h.must(err)
	for _, table := range []string{"orgs", "scopes", "roles"} {
		h.sql("DELETE FROM " + table)
	}
	_, err = h.store.Commit(ctx, credential.Change{
		Ops: []credential.Op{
			credential.PutOrg{Org: credential.Org{Name: "acme", Resources: []string{"mqtt:acme/#"}, CreatedAt: h.clock.now()}},
			credential.PutRole{Role: credential.Role{Org: credential.DefaultOrg, Name: credential.RoleOwner, Description: "ours"}},
		},
		Events: []credential.Event{{At: h.clock.now(), Org: credential.DefaultOrg, Type: "test.past", Subject: credential.Subject{Kind: "org", ID: "acme"}}},
	})
	h.must(err)
	before := h.head()
	h.open()
	made := map[string]int{}
	for _, e := range h.events(before) {
		made[e.Org+" "+e.Type]++
	}
	for what, n := range map[string]int{
		"default org.create": 1, "default scope.create": 5, "default role.create": 4, "acme scope.create": 4, "acme role.create": 5,
	} {
		if made[what] != n {
			t.Errorf("%s: %d times, want %d", what, made[what], n)
		}
	}
	h.principal(credential.User, "alice", credential.RoleOwner)
	h.must(h.DeletePrincipal(ctx, h.local, "alice", ""))
	before = h.head()
	h.open()
	if h.head() != before {
		t.Error("a further start made something")
	}
}
