package store_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/store"
)

func TestPrincipalLists(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		commit(t, s, credential.PutRole{Role: role("device")}, credential.PutRole{Role: role("x")})
		for i, name := range []string{"b", "a_1", "a-1", "a1", "Z"} { // the order is that of bytes, on both
			p := device(i)
			p.Name = name
			if i%2 == 0 {
				p.Kind, p.Roles = credential.Service, []string{"device", "x"}
			}
			commit(t, s, credential.CreatePrincipal{Principal: p})
		}
		other := device(9)
		other.Org = "other"
		gone := device(10)
		commit(t, s, tenant("other"), credential.CreatePrincipal{Principal: other}, credential.CreatePrincipal{Principal: gone}, credential.DeletePrincipal{ID: gone.ID, Version: 1, At: day})

		for _, c := range []struct {
			filter credential.PrincipalFilter
			want   []string
		}{
			{credential.PrincipalFilter{}, []string{"Z", "a-1", "a1", "a_1", "b"}},
			{credential.PrincipalFilter{Limit: 2}, []string{"Z", "a-1", "a1", "a_1", "b"}},
			{credential.PrincipalFilter{Kind: credential.Service}, []string{"Z", "a-1", "b"}},
			{credential.PrincipalFilter{Role: "x", Limit: 1}, []string{"Z", "a-1", "b"}},
			{credential.PrincipalFilter{Role: "device", Kind: credential.Device}, nil},
			{credential.PrincipalFilter{Role: "dev"}, nil},
		} {
			c.filter.Org = "default"
			var got []string
			for pages := 0; ; pages++ {
				list, next, err := s.Principals(t.Context(), c.filter)
				noErr(t, err)
				for _, p := range list {
					got = append(got, p.Name)
				}
				if next == "" {
					break
				}
				if len(list) != c.filter.Limit || pages > 9 {
					t.Fatalf("%+v: page of %d", c.filter, len(list))
				}
				c.filter.Cursor = next
			}
			equal(t, fmt.Sprintf("%+v", c.filter), got, c.want)
		}
	})
}

func TestCredentialLists(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p, q := device(1), device(2)
		q.Kind, q.Name = credential.Service, "svc"
		commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreatePrincipal{Principal: q},
			credential.PutScope{Scope: scope("telemetry:write")}, credential.PutScope{Scope: scope("b")})
		now := day.Add(time.Hour)
		list := make([]credential.Credential, 7) // the newest is 6
		for i := range list {
			c := token(i, p)
			switch i {
			case 1:
				c.Principal, c.Kind = q.ID, credential.APIKey
			case 2:
				c.ExpiresAt = now // at this instant it has ended
			case 3:
				c.ExpiresAt, c.Scopes = now.Add(time.Second), []string{"telemetry:write", "b"}
			case 4:
				c.Tags, c.Project = []string{`a","b`}, "water"
			case 5:
				c.Tags, c.CreatedAt = []string{"b"}, list[4].CreatedAt // of the same instant as 4: the id decides
			}
			list[i] = c
			commit(t, s, credential.CreateCredential{Credential: c})
		}
		commit(t, s, credential.EndCredential{ID: list[0].ID, State: credential.StateRevoked, At: day},
			credential.EndCredential{ID: list[6].ID, State: credential.StateDeleted, At: day})
		noErr(t, s.Record(t.Context(), credential.Records{Used: []credential.Usage{
			{Credential: list[3].ID, Proof: 1, Count: 1, FirstAt: day, LastAt: day},
			{Credential: list[3].ID, Proof: 2, Count: 1, FirstAt: day, LastAt: day.Add(time.Minute)},
			{Credential: list[4].ID, Proof: 1, Count: 1, FirstAt: day, LastAt: day},
		}}))

		type filter = credential.CredentialFilter
		for _, c := range []struct {
			filter filter
			want   []int
		}{
			{filter{}, []int{5, 4, 3, 2, 1, 0}},
			{filter{Limit: 2}, []int{5, 4, 3, 2, 1, 0}},
			{filter{Limit: 1}, []int{5, 4, 3, 2, 1, 0}},
			{filter{Kind: credential.APIKey}, []int{1}},
			{filter{Principal: q.ID}, []int{1}},
			{filter{Scope: "b"}, []int{3}},
			{filter{Scope: "telemetry"}, nil},
			{filter{Tag: "b"}, []int{5}},
			{filter{Tag: `a","b`}, []int{4}},
			{filter{Project: "water"}, []int{4}},
			{filter{Status: "active"}, []int{5, 4, 3, 1}},
			{filter{Status: "expired"}, []int{2}},
			{filter{Status: "revoked"}, []int{0}},
			{filter{ExpiresBefore: now.Add(time.Second)}, []int{2}},
			{filter{UnusedSince: day.Add(time.Second)}, []int{5, 4, 2, 1, 0}},
			{filter{UnusedSince: day}, []int{5, 2, 1, 0}},
			{filter{Status: "active", Tag: "b", Limit: 1}, []int{5}},
		} {
			c.filter.Org, c.filter.Now = "default", now
			var got []int
			for pages := 0; ; pages++ {
				page, next, err := s.Credentials(t.Context(), c.filter)
				noErr(t, err)
				for _, l := range page {
					var n int
					fmt.Sscan(l.ID, &n)
					got = append(got, n)
					want := []any{"pump-1", credential.Device, time.Time{}}
					switch n {
					case 1:
						want = []any{"svc", credential.Service, time.Time{}}
					case 3:
						want[2] = day.Add(time.Minute)
					case 4:
						want[2] = day
					}
					equal(t, fmt.Sprintf("what is listed of %d", n), []any{l.PrincipalName, l.PrincipalKind, l.LastUsedAt}, want)
				}
				if next == "" {
					break
				}
				if len(page) != c.filter.Limit || pages > 9 {
					t.Fatalf("%+v: page of %d", c.filter, len(page))
				}
				c.filter.Cursor = next
			}
			equal(t, fmt.Sprintf("%+v", c.filter), got, c.want)
		}
		for _, bad := range []filter{{Cursor: "x"}, {Cursor: "12"}, {Cursor: "'; --"}, {Status: "gone"}, {Tag: "\x00"}} {
			if _, _, err := s.Credentials(t.Context(), bad); err == nil || credential.KindOf(err) != credential.Invalid {
				t.Errorf("%+v: %v", bad, err)
			}
		}
	})
}

func TestEvents(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		for i := range 6 {
			e := about("credential.create", fmt.Sprint("c", i%2))
			e.At = day.Add(time.Duration(i) * time.Minute)
			switch i {
			case 1:
				e.Type = "credentials"
			case 2:
				e.Type, e.Subject.Name, e.Detail = "principal.update", "", map[string]string{"b": "2\r\n\x1b[31m", "a": ""}
			case 3:
				e.Actor.Principal, e.Reason = "alice", "because ⛽"
			case 4:
				e.Org = "other"
			}
			events, err := s.Commit(t.Context(), credential.Change{Events: []credential.Event{e}})
			noErr(t, err)
			stored, err := s.Events(t.Context(), credential.EventFilter{After: int64(i), Limit: 1})
			noErr(t, err)
			equal(t, "what Commit returned", stored, events)
		}
		verified(t, s)
		type filter = credential.EventFilter
		for _, c := range []struct {
			filter filter
			want   []int64
		}{
			{filter{}, []int64{1, 2, 3, 4, 5, 6}},
			{filter{Limit: 2}, []int64{1, 2}},
			{filter{Newest: true, Limit: 2}, []int64{6, 5}},
			{filter{Newest: true, Before: 5, Limit: 2}, []int64{4, 3}},
			{filter{After: 2, Before: 5}, []int64{3, 4}},
			{filter{Org: "other"}, []int64{5}},
			{filter{Type: "credential."}, []int64{1, 4, 5, 6}},
			{filter{Type: "credential.create", Org: "default"}, []int64{1, 4, 6}},
			{filter{Type: "credential"}, nil},
			{filter{Subject: "c0"}, []int64{1, 3, 5}},
			{filter{Subject: "pump-1"}, []int64{1, 2, 4, 5, 6}},
			{filter{Actor: "alice"}, []int64{4}},
			{filter{From: day.Add(time.Minute), To: day.Add(3 * time.Minute)}, []int64{2, 3}},
		} {
			events, err := s.Events(t.Context(), c.filter)
			noErr(t, err)
			var got []int64
			for _, e := range events {
				got = append(got, e.Seq)
			}
			equal(t, fmt.Sprintf("%+v", c.filter), got, c.want)
		}
	})
}

func TestRecord(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		ctx := t.Context()
		at := func(n int) time.Time { return day.Add(time.Duration(n) * time.Second) }
		a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
		noErr(t, s.Record(ctx, credential.Records{}))
		noErr(t, s.Record(ctx, credential.Records{Used: []credential.Usage{
			{Credential: "c", Proof: 1, Count: 2, FirstAt: at(5), LastAt: at(6), LastSource: a},
			{Credential: "c", Proof: 2, Count: 1, FirstAt: at(5), LastAt: at(5)},
			{Credential: "c", Proof: 1, Count: 3, FirstAt: at(1), LastAt: at(2), LastSource: b}, // an older report of another node
		}}))
		noErr(t, s.Record(ctx, credential.Records{Used: []credential.Usage{{Credential: "c", Proof: 2, Count: 1, FirstAt: at(8), LastAt: at(9), LastSource: b}}}))
		used, err := s.Usage(ctx, "c")
		noErr(t, err)
		equal(t, "usage", used, []credential.Usage{
			{Credential: "c", Proof: 2, Count: 2, FirstAt: at(5), LastAt: at(9), LastSource: b},
			{Credential: "c", Proof: 1, Count: 5, FirstAt: at(1), LastAt: at(6), LastSource: a},
		})

		wrong := credential.Refusals{Credential: "c", Reason: credential.WrongSecret, Door: "http", Source: a, Count: 4, FirstAt: at(1), LastAt: at(2)}
		none := credential.Refusals{Reason: credential.MalformedToken, Door: "http", Count: 1, FirstAt: at(4), LastAt: at(4)}
		noErr(t, s.Record(ctx, credential.Records{Refused: []credential.Refusals{wrong, none}}))
		noErr(t, s.Record(ctx, credential.Records{Refused: []credential.Refusals{wrong}}))
		wrong.Count = 8
		got, err := s.RefusalsOf(ctx, at(2), 10)
		noErr(t, err)
		equal(t, "refusals", got, []credential.Refusals{none, wrong})
		got, err = s.RefusalsOf(ctx, at(3), 10)
		noErr(t, err)
		equal(t, "refusals since", got, []credential.Refusals{none})
		if _, head, _ := s.Since(ctx, 0, 1); head != 0 {
			t.Errorf("recording made revision %d", head)
		}
	})
}

func TestOnceAndReplies(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		now := day
		s := open(t, store.Config{URL: url, Now: func() time.Time { return now }})
		ctx := t.Context()
		once := func(want bool) {
			t.Helper()
			got, err := s.Once(ctx, "jti", now.Add(time.Minute))
			noErr(t, err)
			if got != want {
				t.Errorf("Once at %v: %v", now, got)
			}
		}
		reply := credential.Remember{Key: "k", Request: []byte{1}, Sealed: []byte{2, 0}, Until: now.Add(time.Minute)}
		_, err := s.Commit(ctx, credential.Change{Ops: []credential.Op{reply}})
		noErr(t, err)
		got, err := s.Reply(ctx, "k")
		noErr(t, err)
		equal(t, "reply", got, reply)
		once(true)
		once(false)
		refused(t, s, credential.Exists, reply)
		if _, err := s.Reply(ctx, "l"); !credential.IsNotFound(err) {
			t.Errorf("unknown key: %v", err)
		}

		now = now.Add(time.Minute)
		if _, err := s.Reply(ctx, "k"); !credential.IsNotFound(err) {
			t.Errorf("after its time: %v", err)
		}
		once(true)
		reply.Until = now.Add(time.Minute)
		commit(t, s, reply) // the key is free again

		noErr(t, s.Record(ctx, credential.Records{Refused: []credential.Refusals{{Reason: credential.NoCredential, Count: 1, FirstAt: day, LastAt: day}}}))
		removed, err := s.Prune(ctx, now.Add(time.Second))
		noErr(t, err)
		equal(t, "removed too early", removed, int64(0))
		removed, err = s.Prune(ctx, now.Add(31*24*time.Hour))
		noErr(t, err)
		equal(t, "removed", removed, int64(3))
	})
}

// A flood of refusals, from as many sources as there may be, does not fill the disk: the oldest go first.
func TestPruneEndsAFlood(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		_, err := rawExec(s, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100300)
			INSERT INTO refusals (hour, credential, reason, door, source, times, first_at, last_at)
			SELECT i, '', 'no_credential', 'http', '', 1, i, i FROM n`)
		noErr(t, err)
		now := time.UnixMicro(200_000)
		removed, err := s.Prune(t.Context(), now)
		noErr(t, err)
		equal(t, "removed", removed, int64(300))
		removed, err = s.Prune(t.Context(), now)
		noErr(t, err)
		equal(t, "removed again", removed, int64(0))
		left, err := s.RefusalsOf(t.Context(), time.UnixMicro(301), 1)
		noErr(t, err)
		equal(t, "newest", left[0].LastAt, time.UnixMicro(100_300).UTC())
	})
}
