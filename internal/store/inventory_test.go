package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/store"
)

// TestOverPrivileged lists credentials with scopes that they have made no use of, by the database itself.
func TestOverPrivileged(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		var ops []credential.Op
		for _, name := range []string{"a", "b", "c", "denies"} {
			ops = append(ops, credential.PutScope{Scope: credential.Scope{Org: "default", Name: name}})
		}
		for name, scopes := range map[string][]string{"one": {"a"}, "same": {"a", "a"}, "two": {"a", "b"}, "deny": {"a", "denies"}, "none": nil} {
			ops = append(ops, credential.PutRole{Role: credential.Role{Org: "default", Name: name, Scopes: scopes}})
		}
		commit(t, s, ops...)
		since := day.Add(time.Hour)
		add := func(n int, roles, scopes []string, change ...func(*credential.Credential)) string {
			p := device(n)
			p.Roles = roles
			c := token(n, p)
			c.Scopes = scopes
			for _, f := range change {
				f(&c)
			}
			commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: c})
			return c.ID
		}
		did := func(id, scope string, at time.Time) {
			noErr(t, s.Record(t.Context(), credential.Records{Exercised: []credential.Exercise{{Credential: id, Scope: scope, LastAt: at}}}))
		}
		// What is wanted is named in the comment of each.
		var want []string
		list := func(id string) { want = append(want, id) }
		x := add(1, []string{"two"}, []string{"a", "b"})
		did(x, "a", since)
		did(x, "b", since)
		x = add(2, []string{"two"}, []string{"a", "b"})
		did(x, "a", since)
		list(x) // b was never exercised
		x = add(3, []string{"two"}, []string{"a"})
		did(x, "a", since.Add(-time.Microsecond))
		list(x) // too long ago
		x = add(4, []string{"two"}, nil)
		did(x, "a", since)
		list(x)                                      // of two of the roles one
		add(5, []string{"one", "same", "none"}, nil) // one scope: there is nothing narrower
		x = add(6, []string{"two", "deny"}, []string{"a", "denies"})
		did(x, "a", since) // what denies is needed
		x = add(7, []string{"deny", "two"}, nil)
		did(x, "a", since)
		list(x)
		x = add(8, []string{"two"}, nil)
		did(x, "a", since)
		did(x, "b", since)
		add(9, []string{"two"}, []string{"a"}, func(c *credential.Credential) { c.CreatedAt = since.Add(time.Second) })         // too new
		add(10, []string{"two"}, []string{"a"}, func(c *credential.Credential) { c.ExpiresAt = since.Add(30 * time.Minute) })   // over
		add(11, []string{"two"}, []string{"a"}, func(c *credential.Credential) { c.State = credential.StateRevoked })           // ended
		list(add(12, []string{"two"}, []string{"a"}, func(c *credential.Credential) { c.State = credential.StateQuarantined })) // never used
		add(13, []string{"two"}, nil, func(c *credential.Credential) { c.Kind = credential.SessionKey })

		f := credential.CredentialFilter{Org: "default", Now: since.Add(time.Hour), OverPrivileged: since, Needed: []string{"denies"}, Limit: 2}
		var got []string
		for {
			page, next, err := s.Credentials(t.Context(), f)
			noErr(t, err)
			for _, c := range page {
				got = append(got, c.ID)
			}
			if f.Cursor = next; next == "" {
				break
			}
		}
		slices.Sort(got)
		equal(t, "over-privileged", got, want)
		f.Org, f.Cursor = "other", ""
		others, _, err := s.Credentials(t.Context(), f)
		noErr(t, err)
		equal(t, "of another organisation", len(others), 0)

		inv, err := s.Inventory(t.Context(), credential.InventoryQuery{Org: "default", Now: f.Now, UnusedSince: since, OverPrivileged: since, Needed: f.Needed, Most: 10})
		noErr(t, err)
		equal(t, "counted", inv.OverPrivileged, int64(len(want)))

		done, err := s.ExercisedOf(t.Context(), []string{token(2, device(2)).ID, token(3, device(3)).ID, "unknown"}, since)
		noErr(t, err)
		equal(t, "exercised", done, []credential.Exercise{{Credential: token(2, device(2)).ID, Scope: "a", LastAt: since}})
	})
}

func TestInventory(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		now := day.Add(100 * 24 * time.Hour)
		ann, bob := device(100), device(101)
		ann.Kind, ann.Name, bob.Kind, bob.Name = credential.User, "ann", credential.User, "bob"
		p := device(1)
		other := device(2)
		other.Org, other.Name = "other", "theirs"
		commit(t, s, credential.PutOrg{Org: credential.Org{Name: "other", CreatedAt: day}}, credential.CreatePrincipal{Principal: ann}, credential.CreatePrincipal{Principal: bob}, credential.CreatePrincipal{Principal: p}, credential.CreatePrincipal{Principal: other})
		n := 0
		add := func(of credential.Principal, change func(*credential.Credential)) string {
			n++
			c := token(n, of)
			change(&c)
			commit(t, s, credential.CreateCredential{Credential: c})
			return c.ID
		}
		end := func(d time.Duration) func(*credential.Credential) {
			return func(c *credential.Credential) { c.ExpiresAt = now.Add(d) }
		}
		add(p, end(-time.Second))
		add(p, end(12*time.Hour))
		add(p, end(6*24*time.Hour))
		lately := add(p, end(29*24*time.Hour))
		long := add(p, func(c *credential.Credential) { c.Project, c.Owner = "north", ann.ID })
		add(p, func(c *credential.Credential) {
			c.Project, c.Owner, c.Kind, c.CreatedAt = "north", bob.ID, credential.APIKey, now.Add(-time.Hour)
		})
		add(p, func(c *credential.Credential) { c.Project, c.State = "south", credential.StatePending })
		add(p, func(c *credential.Credential) { c.State = credential.StateRevoked })
		add(p, func(c *credential.Credential) { c.NotBefore = now.Add(time.Hour) })
		add(p, func(c *credential.Credential) { c.Kind = credential.Password })
		add(other, func(c *credential.Credential) { c.Project = "theirs" })
		noErr(t, s.Record(t.Context(), credential.Records{Used: []credential.Usage{
			{Credential: lately, Proof: 1, Count: 1, FirstAt: now.Add(-time.Hour), LastAt: now.Add(-time.Hour)},
			{Credential: long, Proof: 1, Count: 1, FirstAt: day, LastAt: day},
		}}))
		inv, err := s.Inventory(t.Context(), credential.InventoryQuery{Org: "default", Now: now, UnusedSince: now.Add(-90 * 24 * time.Hour), OverPrivileged: day, Most: 1})
		noErr(t, err)
		equal(t, "inventory", inv, credential.Inventory{
			Kinds: []credential.KindCount{
				{Kind: credential.APIKey, Status: "active", Count: 1},
				{Kind: credential.DeviceToken, Status: "active", Count: 4},
				{Kind: credential.DeviceToken, Status: "expired", Count: 1},
				{Kind: credential.DeviceToken, Status: "not_yet_valid", Count: 1},
				{Kind: credential.DeviceToken, Status: "pending", Count: 1},
				{Kind: credential.DeviceToken, Status: "revoked", Count: 1},
			},
			Projects: []credential.NameCount{{Name: "", Count: 4}}, OtherProjects: 3,
			Owners: []credential.NameCount{{Name: "", Count: 5}}, OtherOwners: 2,
			Usable: 7, Expiring: [3]int64{3, 2, 1}, NeverUsed: 5, Unused: 5, Pending: 1,
		})
	})
}

// O06, O10: what the watch over uses looks at.
func TestFirstUsesAndSharings(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p := device(1)
		commit(t, s, credential.CreatePrincipal{Principal: p})
		var ids []string
		for n := range 5 {
			c := token(n, p)
			if n == 4 {
				c.Kind = credential.Password
			}
			commit(t, s, credential.CreateCredential{Credential: c})
			ids = append(ids, c.ID)
		}
		at := func(hours float64) time.Time { return day.Add(time.Duration(hours * float64(time.Hour))) }
		use := func(id string, proof int, first float64) credential.Usage {
			return credential.Usage{Credential: id, Proof: proof, Count: 1, FirstAt: at(first), LastAt: at(first)}
		}
		see := func(id, by, value string, first, last float64) credential.Sighting {
			return credential.Sighting{Credential: id, By: by, Value: value, FirstAt: at(first), LastAt: at(last)}
		}
		noErr(t, s.Record(t.Context(), credential.Records{
			Used: []credential.Usage{use(ids[0], 1, 1), use(ids[0], 2, 5), use(ids[1], 2, 2), use(ids[1], 3, 2), use(ids[2], 1, 2), use(ids[4], 1, 2), use("gone", 1, 2)},
			Sighted: []credential.Sighting{
				see(ids[0], "network", "10.0.0.0/24", 0, 10), see(ids[0], "network", "10.0.1.0/24", 33.5, 34), // 23.5 h after
				see(ids[1], "network", "10.0.0.0/24", 0, 10), see(ids[1], "network", "10.0.1.0/24", 34.5, 35), // 24.5 h after
				see(ids[2], "client", "a", 30, 40), see(ids[2], "client", "b", 31, 31), see(ids[2], "network", "10.0.0.0/24", 31, 31),
				see(ids[3], "client", "x", 30, 30),
			},
		}))
		var first []string
		after := credential.FirstUse{Usage: credential.Usage{FirstAt: at(1)}}
		for {
			page, err := s.FirstUses(t.Context(), after, 1)
			noErr(t, err)
			if len(page) == 0 {
				break
			}
			after = page[0]
			first = append(first, fmt.Sprint(after.Credential, " ", after.Proof, " ", after.Org, " ", after.Kind, " ", after.Principal))
		}
		equal(t, "first uses", first, []string{
			ids[0] + " 1 default device_token pump-1", ids[1] + " 2 default device_token pump-1", ids[2] + " 1 default device_token pump-1",
		})
		var shared []string
		var last credential.Sharing
		for {
			page, err := s.Sharings(t.Context(), last, 1)
			noErr(t, err)
			if len(page) == 0 {
				break
			}
			last = page[0]
			shared = append(shared, fmt.Sprint(last.Credential, " ", last.By, " ", last.Value, " ", last.Other, " ", last.Principal))
		}
		equal(t, "sharings", shared, []string{ids[2] + " client b a pump-1", ids[0] + " network 10.0.1.0/24 10.0.0.0/24 pump-1"})
		none, err := s.Sharings(t.Context(), credential.Sharing{Sighting: credential.Sighting{FirstAt: at(34)}}, 10)
		noErr(t, err)
		equal(t, "after them", len(none), 0)
	})
}
