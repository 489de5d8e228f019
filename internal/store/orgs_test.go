package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/store"
	"cardea/internal/testkit"
)

// policyOf returns the policy without its revision.
func policyOf(t testing.TB, s *store.Store) credential.Policy {
	t.Helper()
	p, err := s.Policy(t.Context())
	noErr(t, err)
	p.Revision = 0
	return p
}

// putting is one sort of thing that is made, changed and removed by its version.
type putting struct {
	name   string
	make   credential.Op
	change func(version int64) credential.Op
	remove func(version int64) credential.Op
	want   func(version int64) credential.Policy // once it was made (1) and changed (2)
}

func puttings() []putting {
	project := credential.Project{Org: "default", Name: "water", Description: "d'\"", Resources: []string{"http:/w/**", "mqtt:w/#"}, CreatedAt: day}
	policy, format, org := strict(credential.PAT), legacy("vendor"), tenant("acme").Org
	api := meters("meters")
	api.Scopes = nil
	return []putting{
		{
			"organisation",
			credential.PutOrg{Org: org},
			func(v int64) credential.Op {
				return credential.PutOrg{Org: credential.Org{Name: org.Name, Disabled: true, Version: v, CreatedAt: day.Add(time.Hour)}}
			},
			func(v int64) credential.Op { return credential.DeleteOrg{Name: org.Name, Version: v} },
			func(v int64) credential.Policy {
				o := org
				if o.Version = v; v == 2 {
					o.Description, o.Resources, o.Disabled = "", nil, true
				}
				return credential.Policy{Orgs: []credential.Org{o}}
			},
		},
		{
			"project",
			credential.PutProject{Project: project},
			func(v int64) credential.Op {
				return credential.PutProject{Project: credential.Project{Org: project.Org, Name: project.Name, Version: v, CreatedAt: day.Add(time.Hour)}}
			},
			func(v int64) credential.Op {
				return credential.DeleteProject{Org: project.Org, Name: project.Name, Version: v}
			},
			func(v int64) credential.Policy {
				p := project
				if p.Version = v; v == 2 {
					p.Description, p.Resources = "", nil
				}
				return credential.Policy{Projects: []credential.Project{p}}
			},
		},
		{
			"policy",
			credential.PutKindPolicy{KindPolicy: policy},
			func(v int64) credential.Op {
				return credential.PutKindPolicy{KindPolicy: credential.KindPolicy{Org: policy.Org, Kind: policy.Kind, Version: v}}
			},
			func(v int64) credential.Op {
				return credential.DeleteKindPolicy{Org: policy.Org, Kind: policy.Kind, Version: v}
			},
			func(v int64) credential.Policy {
				k := policy
				if k.Version = v; v == 2 {
					k = credential.KindPolicy{Org: policy.Org, Kind: policy.Kind, Version: v}
				}
				return credential.Policy{Kinds: []credential.KindPolicy{k}}
			},
		},
		{
			"format",
			credential.PutTokenFormat{TokenFormat: format},
			func(v int64) credential.Op { // only how good its tokens are: what they are found and compared by must not change under them
				return credential.PutTokenFormat{TokenFormat: credential.TokenFormat{Org: format.Org, Name: format.Name, Scheme: "sha256", Bits: 256, Version: v}}
			},
			func(v int64) credential.Op {
				return credential.DeleteTokenFormat{Org: format.Org, Name: format.Name, Version: v}
			},
			func(v int64) credential.Policy {
				f := format
				if f.Version = v; v == 2 {
					f.Bits = 256
				}
				return credential.Policy{Formats: []credential.TokenFormat{f}}
			},
		},
		{
			"api",
			credential.PutAPI{API: api},
			func(v int64) credential.Op {
				return credential.PutAPI{API: credential.API{Org: api.Org, Name: api.Name, Audience: "https://other.example/", Alg: "RS256", Version: v, CreatedAt: day.Add(time.Hour)}}
			},
			func(v int64) credential.Op {
				return credential.DeleteAPI{Org: api.Org, Name: api.Name, Version: v}
			},
			func(v int64) credential.Policy {
				a := api
				if a.Version = v; v == 2 {
					a = credential.API{Org: api.Org, Name: api.Name, Audience: "https://other.example/", Alg: "RS256", Version: v, CreatedAt: day}
				}
				return credential.Policy{APIs: []credential.API{a}}
			},
		},
	}
}

// Organisations, projects, policies of kinds and formats: made once, changed and removed only by who has seen the newest.
func TestThingsOfOrganisations(t *testing.T) {
	for _, p := range puttings() {
		t.Run(p.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, url string) {
				s := open(t, store.Config{URL: url})
				refused(t, s, credential.Conflict, p.change(1))
				refused(t, s, credential.Conflict, p.remove(1))
				commit(t, s, p.make)
				equal(t, "made", policyOf(t, s), p.want(1))
				refused(t, s, credential.Exists, p.make)
				refused(t, s, credential.Conflict, p.change(2))
				commit(t, s, p.change(1))
				equal(t, "changed", policyOf(t, s), p.want(2))
				refused(t, s, credential.Conflict, p.change(1))
				refused(t, s, credential.Conflict, p.remove(1))
				commit(t, s, p.remove(2))
				equal(t, "removed", policyOf(t, s), credential.Policy{})
				refused(t, s, credential.Conflict, p.remove(2))
				commit(t, s, p.make)
				equal(t, "made again", policyOf(t, s), p.want(1))
			})
		})
	}
}

// What was read of them is not kept when an event tells of a change, whichever node has made it.
func TestPolicyNoticesEveryThing(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		for _, p := range puttings() {
			a := open(t, store.Config{URL: url})
			b := a
			if strings.HasPrefix(url, "postgres") {
				b = open(t, store.Config{URL: url})
			}
			kind := map[string]string{"organisation": "org"}[p.name]
			if kind == "" {
				kind = p.name
			}
			act := func(op credential.Op, want credential.Policy) {
				t.Helper()
				e := about(kind+".change", "x")
				e.Subject = credential.Subject{Kind: kind, ID: "x"}
				done, err := b.Commit(t.Context(), credential.Change{Ops: []credential.Op{op}, Events: []credential.Event{e}})
				noErr(t, err)
				want.Revision = done[0].Seq
				for range 2 {
					got, err := a.Policy(t.Context())
					noErr(t, err)
					equal(t, p.name, got, want)
				}
			}
			_, err := a.Policy(t.Context()) // which is kept
			noErr(t, err)
			act(p.make, p.want(1))
			act(p.change(1), p.want(2))
			act(p.remove(2), credential.Policy{})
			noErr(t, a.Close())
			noErr(t, b.Close())
		}
	})
}

// The lists of a policy are the caller's own.
func TestPolicyIsTheCallersOwn(t *testing.T) {
	s := open(t, store.Config{URL: sqliteURL(t)})
	var want credential.Policy
	for _, p := range puttings() {
		commit(t, s, p.make)
		is := p.want(1)
		want.Orgs, want.Projects = append(want.Orgs, is.Orgs...), append(want.Projects, is.Projects...)
		want.Kinds, want.Formats = append(want.Kinds, is.Kinds...), append(want.Formats, is.Formats...)
		want.APIs = append(want.APIs, is.APIs...)
	}
	for range 3 { // the first is read, the others are what was kept
		got := policyOf(t, s)
		equal(t, "policy", got, want)
		got.Orgs[0].Name, got.Projects[0].Name, got.Kinds[0].Org, got.Formats[0].Name, got.APIs[0].Name = "x", "x", "x", "x", "x"
	}
}

// W07: an organisation goes only when nobody of it lives, and then with all that it has: whoever got its name would have it.
func TestDeleteOrg(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p := device(1)
		p.Org = "acme"
		c := token(1, p)
		theirs := func() []credential.Op {
			sc, r, a, w, i, f, k := scope("s"), role("r", "s"), local(1, credential.ByToken), hook(1), run(1), legacy("vendor"), strict(credential.PAT)
			api := meters("meters")
			api.Scopes = []string{"s"}
			for _, org := range []*string{&sc.Org, &r.Org, &a.Org, &w.Org, &i.Org, &f.Org, &k.Org, &api.Org} {
				*org = "acme"
			}
			project := credential.Project{Org: "acme", Name: "water", CreatedAt: day}
			return []credential.Op{
				credential.PutScope{Scope: sc},
				credential.PutRole{Role: r},
				credential.PutAuthenticator{Authenticator: a},
				credential.PutWebhook{Webhook: w},
				credential.PutImport{Import: i},
				credential.PutTokenFormat{TokenFormat: f},
				credential.PutKindPolicy{KindPolicy: k},
				credential.PutProject{Project: project},
				credential.PutAPI{API: api},
				credential.CreatePrincipal{Principal: p},
			}
		}
		for _, op := range theirs() { // nothing is made in an organisation that does not exist
			if _, ok := op.(credential.PutRole); !ok {
				refused(t, s, credential.Conflict, op)
			}
		}
		commit(t, s, tenant("acme"), tenant("other"))
		commit(t, s, theirs()...)
		commit(t, s, credential.CreateCredential{Credential: c}, credential.PutProject{Project: credential.Project{Org: "default", Name: "water", CreatedAt: day}},
			credential.PutWebhook{Webhook: hook(2)})
		noErr(t, s.Enqueue(t.Context(), []credential.Delivery{waiting(hook(1).ID, 1), waiting(hook(2).ID, 1)}, 1))

		remove := credential.DeleteOrg{Name: "acme", Version: 1}
		refused(t, s, credential.Conflict, remove)
		refused(t, s, credential.Conflict, remove, credential.DeletePrincipal{ID: p.ID, Version: 1, At: day, Credentials: []string{c.ID}})
		commit(t, s, credential.DeletePrincipal{ID: p.ID, Version: 1, At: day, Credentials: []string{c.ID}})
		refused(t, s, credential.Conflict, credential.DeleteOrg{Name: "acme", Version: 2})
		refused(t, s, credential.Conflict, remove, credential.CreatePrincipal{Principal: device(2)}, func() credential.Op { // what comes later in the same change is too late
			late := device(3)
			late.Org = "acme"
			return credential.CreatePrincipal{Principal: late}
		}())
		commit(t, s, remove)
		got := policyOf(t, s)
		if len(got.Orgs) != 1 || got.Orgs[0].Name != "other" || len(got.Projects) != 1 || len(got.Scopes)+len(got.Roles)+len(got.Authenticators)+len(got.Kinds)+len(got.Formats)+len(got.APIs) != 0 {
			t.Errorf("left: %+v", got)
		}
		hooks, err := s.Webhooks(t.Context(), "")
		noErr(t, err)
		due, err := s.Due(t.Context(), day, 10)
		noErr(t, err)
		if len(hooks) != 1 || hooks[0].ID != hook(2).ID || len(due) != 1 || due[0].Webhook != hook(2).ID {
			t.Errorf("left: %+v, %+v", hooks, due)
		}
		if runs, err := s.Imports(t.Context(), "acme", 10); err != nil || len(runs) != 0 {
			t.Errorf("imports %+v, %v", runs, err)
		}
		r, err := s.Credential(t.Context(), c.ID) // kept for the audit log
		noErr(t, err)
		equal(t, "credential", r.Credential.State, credential.StateDeleted)
	})
}

// A project goes only when no credential that lives is held to it: without it that could do more.
func TestDeleteProject(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p, theirs := device(1), device(2)
		theirs.Org = "acme"
		c, pending, other := token(1, p), token(2, p), token(3, theirs)
		c.Project, pending.Project, other.Project, pending.State = "water", "water", "water", credential.StatePending
		project := credential.Project{Org: "default", Name: "water", Resources: []string{"http:/w/**"}, CreatedAt: day}
		remove := credential.DeleteProject{Org: "default", Name: "water", Version: 1}
		commit(t, s, tenant("acme"), credential.PutProject{Project: project}, credential.CreatePrincipal{Principal: p}, credential.CreatePrincipal{Principal: theirs},
			credential.CreateCredential{Credential: c}, credential.CreateCredential{Credential: other})
		if err := refused(t, s, credential.Conflict, remove); !strings.Contains(err.Error(), "credential") {
			t.Errorf("the refusal does not say by what it is used: %v", err)
		}
		c.Version, c.Project = 1, ""
		commit(t, s, credential.UpdateCredential{Credential: c}, credential.CreateCredential{Credential: pending})
		refused(t, s, credential.Conflict, remove)
		commit(t, s, credential.EndCredential{ID: pending.ID, State: credential.StateRevoked, At: day})
		commit(t, s, remove) // the one of the other organisation does not count
		c.Version, c.Project = 2, "water"
		commit(t, s, credential.UpdateCredential{Credential: c}) // a label now
	})
}

// A format goes only when no credential that lives has a token of it: nobody could check that any more.
func TestDeleteTokenFormat(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p, f, other := device(1), legacy("vendor"), legacy("other")
		remove := credential.DeleteTokenFormat{Org: "default", Name: "vendor", Version: 1}
		commit(t, s, credential.CreatePrincipal{Principal: p})
		refused(t, s, credential.Conflict, credential.CreateCredential{Credential: imported(1, p, f)}) // there is no such format
		commit(t, s, credential.PutTokenFormat{TokenFormat: f}, credential.PutTokenFormat{TokenFormat: other},
			credential.CreateCredential{Credential: imported(1, p, f)}, credential.CreateCredential{Credential: imported(2, p, other)})
		refused(t, s, credential.Conflict, remove)
		commit(t, s, credential.SetQuarantine{ID: token(1, p).ID, Version: 1, On: true, At: day})
		refused(t, s, credential.Conflict, remove)
		commit(t, s, credential.EndCredential{ID: token(1, p).ID, State: credential.StateRevoked, At: day})
		commit(t, s, remove)
		refused(t, s, credential.Conflict, credential.CreateCredential{Credential: imported(3, p, f)})
		equal(t, "formats", len(policyOf(t, s).Formats), 1)
	})
}

// Two nodes: one removes what the other gives somebody at the same time. Never do both go through.
func TestRemovalAgainstMaking(t *testing.T) {
	url := testkit.Postgres(t)
	a, b := open(t, store.Config{URL: url}), open(t, store.Config{URL: url})
	p := device(0)
	commit(t, a, credential.CreatePrincipal{Principal: p})
	theirs := device(1)
	theirs.Org = "acme"
	held, labelled := token(1, p), token(2, p)
	held.Project = "water"
	edit := labelled
	edit.Version, edit.Project = 1, "water"
	format := legacy("vendor")
	project := credential.PutProject{Project: credential.Project{Org: "default", Name: "water", CreatedAt: day}}
	noProject := credential.DeleteProject{Org: "default", Name: "water", Version: 1}
	noOrg := credential.DeleteOrg{Name: "acme", Version: 1}
	webhook, ofRole := hook(1), role("r")
	webhook.Org, ofRole.Org = "acme", "acme"
	orphans := func(query string) func(t *testing.T, removed, made bool) {
		return func(t *testing.T, removed, made bool) {
			t.Helper()
			var n int
			noErr(t, a.Read().QueryRow(query).Scan(&n))
			if n != 0 {
				t.Fatalf("removed %v, made %v: %d are left of what is gone", removed, made, n)
			}
		}
	}
	alive := "SELECT count(*) FROM credentials WHERE project = 'water' AND state = 'active' AND NOT EXISTS (SELECT 1 FROM projects)"
	for name, c := range map[string]struct {
		before   []credential.Op
		remove   credential.Op
		making   credential.Op
		either   bool // exactly one goes through
		orphaned string
	}{
		"principal of an organisation": {
			[]credential.Op{tenant("acme")},
			noOrg,
			credential.CreatePrincipal{Principal: theirs},
			true,
			"SELECT count(*) FROM principals p WHERE p.org <> 'default' AND NOT EXISTS (SELECT 1 FROM orgs o WHERE o.name = p.org)",
		},
		"webhook of an organisation": {
			[]credential.Op{tenant("acme")},
			noOrg,
			credential.PutWebhook{Webhook: webhook},
			false,
			"SELECT count(*) FROM webhooks w WHERE NOT EXISTS (SELECT 1 FROM orgs o WHERE o.name = w.org)",
		},
		"role of an organisation": {
			[]credential.Op{tenant("acme")},
			noOrg,
			credential.PutRole{Role: ofRole},
			false,
			"SELECT count(*) FROM roles r WHERE r.org <> 'default' AND NOT EXISTS (SELECT 1 FROM orgs o WHERE o.name = r.org)",
		},
		"new credential of a project": {[]credential.Op{project}, noProject, credential.CreateCredential{Credential: held}, false, ""},
		"credential that gets a project": {
			[]credential.Op{project, credential.CreateCredential{Credential: labelled}}, noProject, credential.UpdateCredential{Credential: edit}, false, "",
		},
		"imported token of a format": {
			[]credential.Op{credential.PutTokenFormat{TokenFormat: format}},
			credential.DeleteTokenFormat{Org: "default", Name: "vendor", Version: 1},
			credential.CreateCredential{Credential: imported(3, p, format)},
			true,
			"SELECT count(*) FROM lookups l WHERE NOT EXISTS (SELECT 1 FROM token_formats f WHERE f.name = l.format)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, first := range []string{"removal", "making"} {
				for _, op := range c.before {
					if _, err := a.Commit(t.Context(), change(op)); err != nil && credential.KindOf(err) != credential.Exists {
						t.Fatal(err)
					}
				}
				ops := []credential.Op{c.remove, c.making}
				if first == "making" {
					slices.Reverse(ops)
				}
				one, two := race(t, a, b, ops[0], ops[1])
				noErr(t, one)
				if first == "making" {
					two, one = one, two
				}
				for _, err := range []error{one, two} {
					if err != nil && credential.KindOf(err) != credential.Conflict {
						t.Fatal(err)
					}
				}
				if c.either && (one == nil) == (two == nil) {
					t.Fatalf("%s first: removal %v, making %v", first, one, two)
				}
				query := c.orphaned
				if query == "" && first == "making" { // the other way round it is a label from the start
					query = alive
				}
				if query != "" {
					orphans(query)(t, one == nil, two == nil)
				}
				for _, table := range []string{"lookups", "credentials", "principals WHERE org = 'acme'", "webhooks", "roles", "orgs", "projects", "token_formats"} {
					_, err := rawExec(a, "DELETE FROM "+table)
					noErr(t, err)
				}
			}
		})
	}
}

// race commits two operations on two nodes: the first has done all but its COMMIT when the second begins.
func race(t *testing.T, a, b *store.Store, first, second credential.Op) (error, error) {
	t.Helper()
	inside, outcome := make(chan struct{}), make(chan error, 1)
	go func() {
		<-inside
		_, err := b.Commit(t.Context(), change(second))
		outcome <- err
	}()
	err := a.CommitAnd(t.Context(), change(first), func() {
		close(inside)
		for waits := 0; waits == 0 && len(outcome) == 0; { // until the second waits for the first, or has not needed to
			time.Sleep(time.Millisecond)
			query := "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
			if err := b.Read().QueryRow(query).Scan(&waits); err != nil {
				t.Error(err)
				return
			}
		}
	})
	return err, <-outcome
}
