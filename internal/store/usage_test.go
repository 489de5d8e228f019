package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cardea/internal/credential"
	"cardea/internal/store"
	"cardea/internal/testkit"
)

// today is the first instant of day.
var today = day.Truncate(24 * time.Hour)

func slice(value string, n int64) credential.UsageSlice {
	return credential.UsageSlice{Credential: "c", Day: today, By: "address", Value: value, Count: n}
}

// What a credential is used from is counted by value up to a bound, and beyond it together: no flood of addresses fills the disk, and no use is lost.
func TestSlicesAreBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		ctx := t.Context()
		var want int64
		record := func(us ...credential.UsageSlice) {
			t.Helper()
			for _, u := range us {
				want += u.Count
			}
			noErr(t, s.Record(ctx, credential.Records{Slices: us}))
		}
		record(slice("", 3)) // the gate may count together what it could not keep apart
		for i := range 40 {
			record(slice(fmt.Sprintf("10.0.0.%02d", i), int64(i)+1))
		}
		record(slice("10.0.0.01", 100), slice("10.0.0.39", 100)) // one that has its own count, one that has not
		got, err := s.UsageBy(ctx, "c", day)
		noErr(t, err)
		var sum, rest int64
		values := map[string]int64{}
		for _, u := range got {
			sum += u.Count
			if values[u.Value] = u.Count; u.Value == "" {
				rest = u.Count
			}
			if u.Credential != "c" || !u.Day.Equal(today) || u.By != "address" {
				t.Errorf("%+v", u)
			}
		}
		equal(t, "values, sum, rest, one", []int64{int64(len(values)), sum, rest, values["10.0.0.01"]},
			[]int64{33, want, 3 + 33 + 34 + 35 + 36 + 37 + 38 + 39 + 40 + 100, 102})

		// Each day, thing and credential is counted by itself; lists begin with the newest day and the most used.
		tomorrow := slice("x", 5)
		tomorrow.Day = today.AddDate(0, 0, 1)
		route, other := slice("/db/", 2), slice("y", 1)
		route.By, other.Credential = "route", "d"
		record(tomorrow, route, other)
		got, err = s.UsageBy(ctx, "c", today)
		noErr(t, err)
		if len(got) != 35 || got[0] != tomorrow || got[1].Value != "" || got[2] != slice("10.0.0.01", 102) || got[34] != route {
			t.Errorf("list: %+v", got)
		}
		got, err = s.UsageBy(ctx, "c", tomorrow.Day)
		noErr(t, err)
		equal(t, "since tomorrow", got, []credential.UsageSlice{tomorrow})
	})
}

// Whatever is recorded in whatever portions, the sum is what was recorded, and no more values are kept than the bound.
func TestSlicesLoseNothing(t *testing.T) {
	s := open(t, store.Config{URL: sqliteURL(t)})
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		id := fmt.Sprint("c", n)
		var want, got int64
		for range rapid.IntRange(1, 6).Draw(r, "flushes") {
			var us []credential.UsageSlice
			for range rapid.IntRange(0, 25).Draw(r, "rows") {
				u := slice(rapid.SampledFrom([]string{"", "a"}).Draw(r, "or")+fmt.Sprint(rapid.IntRange(0, 50).Draw(r, "value")), rapid.Int64Range(1, 9).Draw(r, "count"))
				u.Credential = id
				us, want = append(us, u), want+u.Count
			}
			noErr(t, s.Record(t.Context(), credential.Records{Slices: us}))
		}
		kept, err := s.UsageBy(t.Context(), id, day)
		noErr(t, err)
		for _, u := range kept {
			got += u.Count
		}
		if got != want || len(kept) > 33 {
			r.Fatalf("%d of %d in %d rows", got, want, len(kept))
		}
	})
}

func TestExercised(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		record := func(es ...credential.Exercise) {
			t.Helper()
			noErr(t, s.Record(t.Context(), credential.Records{Exercised: es}))
		}
		record(credential.Exercise{Credential: "c", Scope: "b", LastAt: day}, credential.Exercise{Credential: "c", Scope: "a", LastAt: day}, credential.Exercise{Credential: "d", Scope: "a", LastAt: day})
		record(credential.Exercise{Credential: "c", Scope: "b", LastAt: day.Add(-time.Hour)}) // an older report of another node
		record(credential.Exercise{Credential: "c", Scope: "a", LastAt: day.Add(time.Hour)})
		got, err := s.Exercised(t.Context(), "c")
		noErr(t, err)
		equal(t, "exercised", got, []credential.Exercise{{Credential: "c", Scope: "a", LastAt: day.Add(time.Hour)}, {Credential: "c", Scope: "b", LastAt: day}})
	})
}

// Of what a credential was seen as, the newest are kept, and since when each was seen stays.
func TestSightingsAreBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		at := func(i int) time.Time { return day.Add(time.Duration(i) * time.Minute) }
		sighted := func(by string, i, seen int) credential.Sighting {
			return credential.Sighting{Credential: "c", By: by, Value: fmt.Sprintf("v%02d", i), FirstAt: at(seen), LastAt: at(seen)}
		}
		record := func(g credential.Sighting) {
			t.Helper()
			noErr(t, s.Record(t.Context(), credential.Records{Sighted: []credential.Sighting{g}}))
		}
		record(sighted("network", 99, 0)) // things do not push each other out
		for i := range 16 {
			record(sighted("client", i, i))
		}
		record(sighted("client", 0, 50)) // the oldest is seen again
		record(sighted("client", 1, 0))  // an older report of another node
		for i := 16; i < 20; i++ {
			record(sighted("client", i, i))
		}
		var want []credential.Sighting
		first := sighted("client", 0, 0)
		first.LastAt = at(50)
		want = append(want, first)
		for i := 19; i >= 5; i-- {
			want = append(want, sighted("client", i, i))
		}
		want = append(want, sighted("network", 99, 0))
		got, err := s.Sightings(t.Context(), "c")
		noErr(t, err)
		equal(t, "sightings", got, want)
	})
}

// Two nodes count the uses of one credential: each learns of the sum, and how many there are that count.
func TestMeter(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		now := day
		clock := func() time.Time { return now }
		a := open(t, store.Config{URL: url, Now: clock})
		b := a
		if strings.HasPrefix(url, "postgres") {
			b = open(t, store.Config{URL: url, Now: clock})
		}
		meter := func(s *store.Store, node string, counts map[string]int64, want ...credential.Share) {
			t.Helper()
			var counted []credential.Metered
			for _, id := range []string{"y", "x"} {
				if n, ok := counts[id]; ok {
					counted = append(counted, credential.Metered{Credential: id, Month: now, Count: n})
				}
			}
			got, err := s.Meter(t.Context(), node, counted)
			noErr(t, err)
			equal(t, "shares of "+node, got, want)
		}
		share := func(id string, used int64, nodes int) credential.Share {
			return credential.Share{Credential: id, Used: used, Nodes: nodes}
		}
		meter(a, "a", nil)
		meter(a, "a", map[string]int64{"x": 5, "y": 1}, share("x", 5, 1), share("y", 1, 1))
		now = now.Add(time.Second)
		meter(b, "b", map[string]int64{"x": 7}, share("x", 12, 2))
		now = now.Add(9 * time.Second) // a was last heard ten seconds ago
		meter(b, "b", map[string]int64{"x": 1}, share("x", 13, 2))
		now = now.Add(time.Microsecond)
		meter(b, "b", map[string]int64{"x": 1}, share("x", 14, 1))
		meter(a, "a", map[string]int64{"x": 0}, share("x", 14, 2)) // it has nothing to add, but is there again
		used, err := b.Used(t.Context(), "x", now)
		noErr(t, err)
		equal(t, "used", used, int64(14))
		if used, err := a.Used(t.Context(), "z", now); err != nil || used != 0 {
			t.Errorf("of one that was never used: %d, %v", used, err)
		}
		if _, err := a.Used(t.Context(), "x\x00", now); err == nil || credential.KindOf(err) != credential.Invalid {
			t.Errorf("of no id: %v", err)
		}
		if _, head, _ := a.Since(t.Context(), 0, 1); head != 0 {
			t.Errorf("metering made revision %d", head)
		}
	})
}

// Nodes that meter the same credentials at the same time do not wait for each other in a circle, and lose nothing.
func TestMetersAddUp(t *testing.T) {
	url := testkit.Postgres(t)
	done := make(chan error, 3)
	const rounds, credentials = 20, 30
	for n := range 3 {
		s := open(t, store.Config{URL: url})
		go func() {
			var counted []credential.Metered
			for i := range credentials {
				counted = append(counted, credential.Metered{Credential: fmt.Sprint("c", (i*7+n*11)%credentials), Month: day, Count: 1})
			}
			for range rounds {
				if _, err := s.Meter(t.Context(), fmt.Sprint("n", n), counted); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 3 {
		noErr(t, <-done)
	}
	s := open(t, store.Config{URL: url})
	for i := range credentials {
		used, err := s.Used(t.Context(), fmt.Sprint("c", i), day)
		noErr(t, err)
		if used != 3*rounds {
			t.Errorf("credential %d: %d", i, used)
		}
	}
}

// A month is one of UTC, whatever the clock on the wall says, and of its year.
func TestMonths(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		berlin, err := time.LoadLocation("Europe/Berlin")
		noErr(t, err)
		utc := func(y int, m time.Month, d, h int) time.Time { return time.Date(y, m, d, h, 0, 0, 0, time.UTC) }
		for i, c := range []struct {
			used, asked time.Time
			same        bool
		}{
			{utc(2026, 12, 31, 23), utc(2026, 12, 1, 0), true},
			{utc(2026, 12, 31, 23), utc(2027, 1, 1, 0), false},
			{utc(2027, 1, 1, 0), utc(2027, 1, 31, 23), true},
			{utc(2026, 1, 15, 0), utc(2027, 1, 15, 0), false},
			{utc(2028, 2, 29, 12), utc(2028, 2, 1, 0), true},
			{utc(2028, 2, 29, 12), utc(2028, 3, 1, 0), false},
			{time.Date(2027, 1, 1, 0, 30, 0, 0, berlin), utc(2026, 12, 31, 0), true},
			{time.Date(2026, 4, 1, 1, 30, 0, 0, berlin), utc(2026, 3, 31, 0), true}, // summer time: two hours before
			{time.Date(2026, 4, 1, 2, 0, 0, 0, berlin), utc(2026, 4, 1, 0), true},
			{time.Date(2026, 11, 1, 0, 59, 0, 0, berlin), utc(2026, 10, 31, 0), true}, // and one again
			{time.Date(2026, 11, 1, 1, 0, 0, 0, berlin), utc(2026, 11, 1, 0), true},
		} {
			id := fmt.Sprint("c", i)
			_, err := s.Meter(t.Context(), "n", []credential.Metered{{Credential: id, Month: c.used, Count: 1}})
			noErr(t, err)
			used, err := s.Used(t.Context(), id, c.asked)
			noErr(t, err)
			if used == 1 != c.same {
				t.Errorf("used at %v, asked for %v: %d", c.used, c.asked, used)
			}
		}
	})
}

// What was counted is kept as long as it is of use: slices for a hundred days, meters for thirteen months.
func TestRetentionOfUse(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		ctx := t.Context()
		noErr(t, s.Record(ctx, credential.Records{
			Slices: []credential.UsageSlice{slice("a", 1)}, Exercised: []credential.Exercise{{Credential: "c", Scope: "s", LastAt: day}},
			Sighted: []credential.Sighting{{Credential: "c", By: "client", Value: "v", FirstAt: day, LastAt: day}},
		}))
		_, err := s.Meter(ctx, "n", []credential.Metered{{Credential: "c", Month: day, Count: 1}})
		noErr(t, err)
		for _, c := range []struct {
			at   time.Time
			want int64
		}{
			{today.AddDate(0, 0, 100).Add(24*time.Hour - time.Second), 0},
			{today.AddDate(0, 0, 101), 1},
			{time.Date(2027, 12, 31, 23, 0, 0, 0, time.UTC), 0},
			{time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC), 1},
			{day.AddDate(50, 0, 0), 0}, // when a scope was last exercised, and who was seen, stays with the credential
		} {
			removed, err := s.Prune(ctx, c.at)
			noErr(t, err)
			equal(t, "removed at "+c.at.String(), removed, c.want)
		}
	})
}

// A session goes long after its end, with what was counted of it. Whatever was given to somebody stays for ever once it was revoked.
func TestRetentionOfSessions(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		ctx := t.Context()
		p := device(1)
		parent, plain := token(1, p), token(2, p)
		parent.ExpiresAt, plain.ExpiresAt = day.Add(time.Hour), day.Add(time.Hour)
		session := func(n int) credential.Credential {
			c := token(n, p)
			c.Kind, c.Parent, c.ParentProof, c.ExpiresAt = credential.SessionKey, parent.ID, 1, day.Add(time.Hour)
			return c
		}
		old, revoked, endless, newer, orphan := session(3), session(4), session(5), session(6), session(7)
		endless.ExpiresAt, newer.ExpiresAt, orphan.Parent = time.Time{}, day.Add(2*time.Hour), ""
		ops := []credential.Op{credential.CreatePrincipal{Principal: p}}
		for _, c := range []credential.Credential{parent, plain, old, revoked, endless, newer, orphan} {
			ops = append(ops, credential.CreateCredential{Credential: c})
		}
		commit(t, s, ops...)
		for _, id := range []string{parent.ID, plain.ID, revoked.ID} {
			commit(t, s, credential.EndCredential{ID: id, State: credential.StateDeleted, At: day})
		}
		used := func(id string) credential.Records {
			return credential.Records{
				Used:      []credential.Usage{{Credential: id, Proof: 1, Count: 1, FirstAt: day, LastAt: day}},
				Slices:    []credential.UsageSlice{{Credential: id, Day: day.AddDate(1, 0, 0), By: "route", Value: "/", Count: 1}},
				Exercised: []credential.Exercise{{Credential: id, Scope: "s", LastAt: day}},
				Sighted:   []credential.Sighting{{Credential: id, By: "client", Value: "v", FirstAt: day, LastAt: day}},
			}
		}
		for _, id := range []string{old.ID, newer.ID} {
			noErr(t, s.Record(ctx, used(id)))
			_, err := s.Meter(ctx, "n", []credential.Metered{{Credential: id, Month: day, Count: 1}})
			noErr(t, err)
		}
		end := day.Add(time.Hour).AddDate(0, 0, 30)
		for _, c := range []struct {
			at   time.Time
			want int64
		}{{end, 0}, {end.Add(time.Microsecond), 2}, {end.Add(time.Second), 0}} {
			removed, err := s.Prune(ctx, c.at)
			noErr(t, err)
			equal(t, "removed", removed, c.want)
		}
		for _, c := range []credential.Credential{parent, plain, endless, newer, orphan} {
			stored(t, s, c.ID)
		}
		for _, c := range []credential.Credential{old, revoked} {
			if _, err := s.Credential(ctx, c.ID); !credential.IsNotFound(err) {
				t.Errorf("session %s: %v", c.ID, err)
			}
		}
		for _, table := range []string{"usage", "usage_slices", "exercised", "sightings", "meters"} {
			var of string
			noErr(t, s.Read().QueryRow("SELECT credential FROM "+table).Scan(&of))
			var n int
			noErr(t, s.Read().QueryRow("SELECT count(*) FROM "+table).Scan(&n))
			if of != newer.ID || n != 1 {
				t.Errorf("%s holds %d rows, one of %s", table, n, of)
			}
		}
		verified(t, s) // and the log holds all that was ever done
	})
}
