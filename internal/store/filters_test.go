package store_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/store"
)

// The filters of lists that came with owners, sessions and approval, alone and together with pages.
func TestCredentialFilters(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p, owner, theirs := device(1), device(2), device(3)
		owner.Kind, owner.Name, p.Roles, theirs.Org = credential.User, "alice", []string{"r"}, "acme"
		commit(t, s, tenant("acme"), credential.PutRole{Role: role("r")}, credential.CreatePrincipal{Principal: p}, credential.CreatePrincipal{Principal: owner},
			credential.CreatePrincipal{Principal: theirs})
		now := day.Add(time.Hour)
		list := make([]credential.Credential, 10) // the newest is 9
		for i := range list {
			c := token(i, p)
			switch i {
			case 0:
				c.Owner = owner.ID
			case 1:
				c.Principal, c.Kind = owner.ID, credential.AppKey
			case 2, 3:
				c.Principal, c.Kind, c.Parent, c.ParentProof = owner.ID, credential.SessionKey, list[1].ID, 1
			case 4:
				c.Principal, c.Kind, c.Username = owner.ID, credential.Password, "alice"
			case 5:
				c.State = credential.StatePending
			case 6:
				c.State, c.ExpiresAt = credential.StatePending, now // nobody can approve it any more
			case 7:
				c.Kind, c.Owner, c.Resources = credential.APIKey, owner.ID, []string{"http:/x"}
			case 8:
				c.Owner = "gone"
			case 9:
				c.Org, c.Principal, c.Owner = "acme", theirs.ID, owner.ID
			}
			list[i] = c
			commit(t, s, credential.CreateCredential{Credential: c})
		}
		noErr(t, s.Record(t.Context(), credential.Records{Used: []credential.Usage{
			{Credential: list[0].ID, Proof: 1, Count: 1, FirstAt: day.Add(time.Minute), LastAt: day.Add(2 * time.Minute)},
			{Credential: list[0].ID, Proof: 2, Count: 1, FirstAt: day.Add(3 * time.Minute), LastAt: day.Add(4 * time.Minute)},
			{Credential: list[3].ID, Proof: 1, Count: 1, FirstAt: day, LastAt: day},
		}}))
		type filter = credential.CredentialFilter
		kinds := func(ks ...credential.Kind) []credential.Kind { return ks }
		for _, c := range []struct {
			filter filter
			want   []int
		}{
			{filter{}, []int{8, 7, 6, 5, 1, 0}}, // neither passwords nor sessions
			{filter{Everything: true}, []int{8, 7, 6, 5, 4, 3, 2, 1, 0}},
			{filter{Everything: true, Limit: 4}, []int{8, 7, 6, 5, 4, 3, 2, 1, 0}},
			{filter{Owner: owner.ID}, []int{7, 0}},
			{filter{Owner: owner.ID, Limit: 1}, []int{7, 0}},
			{filter{Owner: owner.ID, Kind: credential.APIKey}, []int{7}},
			{filter{Owner: "nobody"}, nil},
			{filter{Parent: list[1].ID}, []int{3, 2}},
			{filter{Parent: list[1].ID, Limit: 1}, []int{3, 2}},
			{filter{Parent: list[0].ID}, nil},
			{filter{Kind: credential.Password}, []int{4}},
			{filter{Kind: credential.SessionKey, NeverUsed: true}, []int{2}},
			{filter{Kinds: kinds(credential.SessionKey, credential.AppKey)}, []int{3, 2, 1}},
			{filter{Kinds: kinds(credential.Password)}, []int{4}},
			{filter{Kinds: kinds(credential.APIKey, credential.DeviceToken), Owner: owner.ID, Limit: 1}, []int{7, 0}},
			{filter{Kinds: kinds("x")}, nil},
			{filter{Principal: owner.ID}, []int{1}},
			{filter{Principal: owner.ID, Everything: true}, []int{4, 3, 2, 1}},
			{filter{NeverUsed: true}, []int{8, 7, 6, 5, 1}},
			{filter{NeverUsed: true, Everything: true, Limit: 3}, []int{8, 7, 6, 5, 4, 2, 1}},
			{filter{CreatedBefore: list[5].CreatedAt}, []int{1, 0}},
			{filter{CreatedBefore: list[5].CreatedAt.Add(time.Microsecond), Limit: 1}, []int{5, 1, 0}},
			{filter{Status: "pending"}, []int{5}},
			{filter{Status: "expired"}, []int{6}},
			{filter{Status: "active"}, []int{8, 7, 1, 0}},
			{filter{Status: "active", UnusedSince: day.Add(3 * time.Minute), CreatedBefore: list[8].CreatedAt, NeverUsed: true}, []int{7, 1}},
		} {
			c.filter.Org, c.filter.Now = "default", now
			var got []int
			for pages := 0; ; pages++ {
				page, next, err := s.Credentials(t.Context(), c.filter)
				noErr(t, err)
				for _, l := range page {
					n, err := strconv.Atoi(l.ID)
					noErr(t, err)
					got = append(got, n)
					want := credential.Listed{Credential: list[n], PrincipalName: p.Name, PrincipalKind: p.Kind, Roles: p.Roles}
					want.Version = 1
					if want.Principal == owner.ID {
						want.PrincipalName, want.PrincipalKind, want.Roles = owner.Name, owner.Kind, nil
					}
					switch n {
					case 0:
						want.OwnerName, want.FirstUsedAt, want.LastUsedAt = "alice", day.Add(time.Minute), day.Add(4*time.Minute)
					case 3:
						want.FirstUsedAt, want.LastUsedAt = day, day
					case 7:
						want.OwnerName = "alice"
					}
					equal(t, fmt.Sprintf("what is listed of %d", n), l, want)
				}
				if next == "" {
					break
				}
				if len(page) != c.filter.Limit || pages > 12 {
					t.Fatalf("%+v: page of %d", c.filter, len(page))
				}
				c.filter.Cursor = next
			}
			equal(t, fmt.Sprintf("%+v", c.filter), got, c.want)
		}
		// Of another organisation only what is its own (W07).
		page, _, err := s.Credentials(t.Context(), filter{Org: "acme", Owner: owner.ID, Now: now})
		noErr(t, err)
		if len(page) != 1 || page[0].ID != list[9].ID {
			t.Errorf("of the other organisation: %+v", page)
		}
	})
}

// What few credentials have is written when they are made and by updates, and nothing of it is lost on the way.
func TestUpdatesWriteTheNewFields(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p := device(1)
		c := token(1, p)
		commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: c})
		c.Version = 1
		for i, set := range []func(){
			func() { c.Owner = p.ID },
			func() { c.Resources = []string{"http:/db/**", `mqtt:"\/#`} },
			func() { c.Limits = credential.Limits{PerSecond: 1} },
			func() { c.Limits = credential.Limits{PerSecond: 1, Burst: 2, PerMonth: 1 << 50} },
			func() {
				c.Documentation, c.ClientName, c.Home, c.Avatar = "https://x.example/\u2028", "na<me>", "/a/", "ab"
			},
			func() { c.Limits = credential.Limits{} },
			func() { c.Documentation, c.ClientName, c.Home, c.Avatar = "", "", "", "" },
			func() { c.Owner, c.Resources = "", nil },
		} {
			set()
			edit := c
			edit.Parent, edit.ParentProof, edit.Kind = "x", 9, credential.APIKey // of these, nothing is written
			commit(t, s, credential.UpdateCredential{Credential: edit})
			c.Version++
			equal(t, fmt.Sprint("update ", i), stored(t, s, c.ID), c)
		}
	})
}

// Credentials that have one of the fields that few have are made with it, whatever they are made together with.
func TestEachFieldIsWritten(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p := device(1)
		ops := []credential.Op{credential.CreatePrincipal{Principal: p}}
		var list []credential.Credential
		for i, set := range []func(*credential.Credential){
			func(*credential.Credential) {},
			func(c *credential.Credential) { c.Username = "u" },
			func(c *credential.Credential) { c.Algorithm = credential.SHA256 },
			func(c *credential.Credential) { c.Owner = p.ID },
			func(*credential.Credential) {},
			func(c *credential.Credential) { c.Resources = []string{"http:/x"} },
			func(c *credential.Credential) { c.Parent = "x" },
			func(c *credential.Credential) { c.ParentProof = 1 },
			func(c *credential.Credential) { c.Limits.PerSecond = 1 },
			func(c *credential.Credential) { c.Limits.Burst = 1 },
			func(c *credential.Credential) { c.Limits.PerMonth = 1 },
			func(c *credential.Credential) { c.Documentation = "d" },
			func(c *credential.Credential) { c.ClientName = "n" },
			func(c *credential.Credential) { c.Home = "/" },
			func(c *credential.Credential) { c.Avatar = "ab" },
			func(*credential.Credential) {},
		} {
			c := token(i, p)
			set(&c)
			list, ops = append(list, c), append(ops, credential.CreateCredential{Credential: c})
		}
		commit(t, s, ops...)
		for _, c := range list {
			c.Version = 1
			equal(t, c.ID, stored(t, s, c.ID), c)
		}
	})
}
