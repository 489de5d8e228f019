package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/store"
	"cardea/internal/testkit"
)

// fill puts something into every table.
func fill(t testing.TB, s *store.Store) {
	t.Helper()
	p, gone := device(1), device(2)
	p.Attrs = map[string]string{"note": "tab\t nl\n quote\" <>& \u2028 ⛽ \u009b"}
	commit(t, s,
		credential.CreatePrincipal{Principal: p}, credential.CreatePrincipal{Principal: gone},
		credential.PutScope{Scope: credential.Scope{Org: "default", Name: "s", Rules: []credential.Rule{{Permission: credential.Allow, Action: "http:*", Resource: "/**"}}}},
		credential.PutRole{Role: credential.Role{Org: "default", Name: "r", Scopes: []string{"s"}}},
		credential.PutRoute{Route: credential.Route{Prefix: "/db/", Upstream: "http://127.0.0.1:1", CreatedAt: day}},
		credential.PutAuthenticator{Authenticator: remote(1)}, credential.PutAuthenticator{Authenticator: local(2, credential.ByScram)},
		credential.PutKey{Key: credential.Key{ID: "k", Purpose: "data", Sealed: []byte{0, 255}, CreatedAt: day}},
		credential.PutSetting{Name: "a", Value: "b"},
		credential.ReserveSerial{Serial: credential.Serial{Serial: "0a", For: "pump-1", ReservedAt: day}},
		credential.Remember{Key: "k", Request: []byte{1}, Sealed: []byte{2}, Until: day.Add(time.Hour)},
	)
	for i := range 80 {
		commit(t, s, credential.CreateCredential{Credential: token(i, p)})
	}
	commit(t, s, credential.CreateCredential{Credential: login(81, p, "pump=1,a\u00fc")})
	commit(t, s, credential.DeletePrincipal{ID: gone.ID, Version: 1, At: day})
	commit(t, s, credential.EndCredential{ID: token(0, p).ID, State: credential.StateRevoked, At: day, Reason: "lost"})
	noErr(t, s.Record(t.Context(), credential.Records{
		Used:    []credential.Usage{{Credential: token(1, p).ID, Proof: 1, Count: 7, FirstAt: day, LastAt: day, LastSource: netip.MustParseAddr("::1")}},
		Refused: []credential.Refusals{{Reason: credential.NoCredential, Door: "http", Count: 1, FirstAt: day, LastAt: day}},
	}))
	_, err := s.Once(t.Context(), "once", day.Add(time.Hour))
	noErr(t, err)
	fillUsers(t, s, p)
	fillOAuth(t, s, p)
}

// fillUsers puts something into the tables that came with users and organisations.
func fillUsers(t testing.TB, s *store.Store, p credential.Principal) {
	t.Helper()
	theirs := device(90)
	theirs.Org = "acme"
	full := token(90, p)
	full.Owner, full.Resources, full.Project = p.ID, []string{"http:/db/**", "mqtt:ü/#"}, "water"
	full.Limits = credential.Limits{PerSecond: 5, Burst: 7, PerMonth: 1 << 40}
	full.Documentation, full.ClientName, full.Home, full.Avatar = "https://x.example/?a=<&>", "name \"\u2028", "/app/", strings.Repeat("0a", 32)
	session := token(91, p)
	session.Kind, session.Parent, session.ParentProof, session.ExpiresAt = credential.SessionKey, full.ID, 3, day.Add(time.Hour)
	pending := token(92, p)
	pending.State = credential.StatePending
	password := login(93, p, "pump=1,aü") // the name of the one for SCRAM, which is of another kind
	password.Kind, password.Algorithm = credential.Password, ""
	format := legacy("vendor")
	commit(t, s, tenant("acme"), credential.PutProject{Project: credential.Project{Org: "default", Name: "water", Description: "d", Resources: []string{"http:/w/**"}, CreatedAt: day}},
		credential.PutKindPolicy{KindPolicy: strict(credential.APIKey)}, credential.PutTokenFormat{TokenFormat: format},
		credential.CreatePrincipal{Principal: theirs}, credential.CreateCredential{Credential: token(94, theirs)},
		credential.CreateCredential{Credential: full}, credential.CreateCredential{Credential: session}, credential.CreateCredential{Credential: pending},
		credential.CreateCredential{Credential: password}, credential.CreateCredential{Credential: imported(95, p, format)},
		credential.PutRoute{Route: credential.Route{Prefix: "/key/", Upstream: "http://127.0.0.1:1", QueryKey: true, CreatedAt: day}},
		credential.PutWebhook{Webhook: hook(1)}, credential.PutAvatar{Credential: full.ID, PNG: []byte{0x89, 'P', 'N', 'G', 0, 255}},
		credential.PutImport{Import: run(1)},
	)
	noErr(t, s.Enqueue(t.Context(), []credential.Delivery{waiting(hook(1).ID, 3)}, 4))
	noErr(t, s.Record(t.Context(), credential.Records{
		Slices:    []credential.UsageSlice{{Credential: full.ID, Day: day, By: "route", Value: "/db/", Count: 7}, {Credential: full.ID, Day: day, By: "address", Count: 1}},
		Exercised: []credential.Exercise{{Credential: full.ID, Scope: "s", LastAt: day}},
		Sighted:   []credential.Sighting{{Credential: full.ID, By: "network", Value: "10.0.0.0/24", FirstAt: day, LastAt: day.Add(time.Minute)}},
	}))
	_, err := s.Meter(t.Context(), "node-1", []credential.Metered{{Credential: full.ID, Month: day, Count: 9}})
	noErr(t, err)
}

// fillOAuth puts something into what came with OAuth. The scope "elsewhere" is made for it.
func fillOAuth(t testing.TB, s *store.Store, p credential.Principal) {
	t.Helper()
	signing := credential.Key{ID: "S00000000001", Purpose: "oauth", Alg: "EdDSA", Wrapper: "k", Sealed: []byte{0, 255}, Public: []byte{1}, CreatedAt: day}
	signing.ActiveAt, signing.RetiredAt, signing.RevokedAt = day.Add(time.Hour), day.Add(2*time.Hour), day.Add(3*time.Hour)
	commit(t, s, credential.PutScope{Scope: scope("elsewhere")}, credential.PutAPI{API: meters("meters")},
		credential.CreateCredential{Credential: client(96, p)}, credential.PutAuthenticator{Authenticator: trusting(97)},
		credential.PutKey{Key: signing}, credential.DenyToken{DeniedToken: denied(1)})
}

// answers is what is known of the users' side of a store that [fillUsers] and [fillOAuth] have filled.
func answers(t testing.TB, s *store.Store) map[string]any {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	all := map[string]any{}
	note := func(what string, v any, err error) {
		t.Helper()
		if r, ok := v.(credential.Record); ok {
			r.Revision = 0
			v = r
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		all[what] = v
	}
	p, err := s.Policy(ctx)
	p.Revision = 0
	note("policy", p, err)
	for n := 90; n <= 96; n++ {
		r, err := s.Credential(ctx, token(n, device(1)).ID)
		note(fmt.Sprint("credential ", n), r, err)
	}
	full := token(90, device(1)).ID
	found, err := s.Foreign(ctx, lookup(95))
	note("foreign", found, err)
	for _, k := range []credential.Kind{credential.SCRAM, credential.Password} {
		r, err := s.Named(ctx, "default", k, "pump=1,aü")
		note("named "+string(k), r, err)
	}
	hooks, err := s.Webhooks(ctx, "")
	note("webhooks", hooks, err)
	due, err := s.Due(ctx, day, 10)
	note("due", due, err)
	seen, err := s.Looked(ctx)
	note("looked", seen, err)
	png, err := s.Avatar(ctx, full)
	note("avatar", png, err)
	runs, err := s.Imports(ctx, "default", 10)
	note("imports", runs, err)
	slices, err := s.UsageBy(ctx, full, day)
	note("slices", slices, err)
	scopes, err := s.Exercised(ctx, full)
	note("exercised", scopes, err)
	sighted, err := s.Sightings(ctx, full)
	note("sightings", sighted, err)
	used, err := s.Used(ctx, full, day)
	note("used", used, err)
	keys, err := s.Keys(ctx)
	note("keys", keys, err)
	denied, err := s.Denied(ctx, day)
	note("denied", denied, err)
	return all
}

func dump(t testing.TB, s *store.Store) string {
	t.Helper()
	var b bytes.Buffer
	noErr(t, s.Dump(context.WithoutCancel(t.Context()), &b))
	return b.String()
}

// D15: what is dumped from one database is the same after loading it into the other, and back.
func TestDumpAndLoadAcrossDatabases(t *testing.T) {
	first := open(t, store.Config{URL: sqliteURL(t)})
	fill(t, first)
	want := dump(t, first)
	for table := range store.DumpedColumns() {
		if !strings.Contains(want, `{"table":"`+table+`"`) {
			t.Errorf("the test puts nothing into table %s", table)
		}
	}
	know := answers(t, first)
	text := want
	for _, url := range []string{testkit.Postgres(t), testkit.Postgres(t), sqliteURL(t)} {
		s := open(t, store.Config{URL: url})
		noErr(t, s.Load(t.Context(), strings.NewReader(text), store.LoadConfig{}))
		text = dump(t, s)
		equal(t, "dump of "+url, strings.Split(text, "\n"), strings.Split(want, "\n"))
		equal(t, "what is known in "+url, answers(t, s), know)
		verified(t, s)
		commit(t, s, credential.CreatePrincipal{Principal: device(3)}) // and it goes on from there
		verified(t, s)
		if err := s.Load(t.Context(), strings.NewReader(text), store.LoadConfig{}); err == nil || credential.KindOf(err) != credential.Conflict {
			t.Errorf("load into a database that is not empty: %v", err)
		}
	}
}

// Every column of every table of either database is in a dump.
func TestADumpForgetsNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		query := "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"
		if strings.HasPrefix(url, "sqlite") {
			query = "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY m.name, c.cid"
		}
		rows, err := s.Read().Query(query)
		noErr(t, err)
		defer rows.Close()
		have := map[string][]string{}
		for rows.Next() {
			var table, column string
			noErr(t, rows.Scan(&table, &column))
			have[table] = append(have[table], column)
		}
		delete(have, "cardea_schema") // it is in the header
		equal(t, "tables and columns", store.DumpedColumns(), have)
	})
}

// D15: a dump that is made while others write is one state: its log ends at its head, and it loads.
func TestDumpUnderLoad(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		var group sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		for w := range 4 {
			group.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					p := device(w*100_000 + i)
					if _, err := s.Commit(t.Context(), change(credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: token(w*100_000+i, p)})); err != nil {
						t.Error(err)
					}
				}
			})
		}
		noErr(t, s.Wait(t.Context(), 0))
		for range 3 {
			text := dump(t, s)
			other := open(t, store.Config{URL: sqliteURL(t)})
			noErr(t, other.Load(t.Context(), strings.NewReader(text), store.LoadConfig{}))
			verified(t, other)
		}
		stop()
		group.Wait()
	})
}

// C06, A06: what is not a whole dump of this version is refused by the line, and leaves the database empty.
func TestLoadRefuses(t *testing.T) {
	s := open(t, store.Config{URL: sqliteURL(t)})
	p := device(1)
	commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: token(1, p)})
	commit(t, s, credential.EndCredential{ID: token(1, p).ID, State: credential.StateRevoked, At: day})
	good := strings.SplitAfter(dump(t, s), "\n")
	good = good[:len(good)-1]
	line := func(part string) int {
		i := slices.IndexFunc(good, func(l string) bool { return strings.Contains(l, part) })
		if i < 0 {
			t.Fatalf("no line with %s in %s", part, good)
		}
		return i
	}
	replace := func(part, old, new string) []string {
		out := slices.Clone(good)
		i := line(part)
		out[i] = strings.Replace(out[i], old, new, 1)
		if out[i] == good[i] {
			t.Fatalf("%q is not in %s", old, good[i])
		}
		return out
	}
	without := func(part string) []string { return slices.Delete(slices.Clone(good), line(part), line(part)+1) }
	event := `"table":"events","row":{"seq":2`
	swapped := slices.Clone(good)
	swapped[line(event)], swapped[line(event)+1] = swapped[line(event)+1], swapped[line(event)]
	noProofs := slices.Clone(good)
	before, rest, _ := strings.Cut(good[line(`"table":"credentials"`)], `"proofs":"`)
	_, after, _ := strings.Cut(rest, `]","version"`)
	noProofs[line(`"table":"credentials"`)] = before + `"proofs":"[]","version"` + after
	for name, c := range map[string]struct {
		dump []string
		want string
	}{
		"nothing":                {nil, "line 1"},
		"something else":         {[]string{"{}\n"}, "not the header"},
		"newer format":           {replace("cardea_dump", `"cardea_dump":1`, `"cardea_dump":2`), "format 2"},
		"newer schema":           {replace("cardea_dump", `"schema":4`, `"schema":5`), "schema 5"},
		"no schema":              {replace("cardea_dump", `"schema":4`, `"schema":0`), "schema 0"},
		"column left out":        {replace(`"table":"credentials"`, `,"username":""`, ``), "username of table credentials: is missing"},
		"newest column left out": {replace(`"table":"credentials"`, `,"parent_proof":0`, ``), "parent_proof of table credentials: is missing"},
		"limits that are none":   {replace(`"table":"credentials"`, `"more":"{}"`, `"more":"{"`), "more of table credentials: is not JSON"},
		"cut off":                {good[:len(good)-1], "cut off"},
		"cut within":             {append(slices.Clone(good[:3]), good[3][:20]), "line 4"},
		"two dumps":              {append(slices.Clone(good), good...), "follows the end"},
		"row missing":            {without(`"table":"credentials"`), "rows"},
		"row twice":              {slices.Insert(slices.Clone(good), 1, good[1]), "rows"},
		"unknown table":          {replace(`"table":"principals"`, `principals`, `sqlite_schema`), `"sqlite_schema"`},
		"unknown column":         {replace(`"table":"principals"`, `"name"`, `"nick"`), `"nick"`},
		"column missing":         {replace(`"table":"principals"`, `"kind":"device",`, ``), "kind of table principals: is missing"},
		"text for a number":      {replace(`"table":"principals"`, `"version":1`, `"version":"1"`), "whole number"},
		"null":                   {replace(`"table":"principals"`, `"name":"pump-1"`, `"name":null`), "not a string"},
		"not JSON in JSON":       {replace(`"table":"credentials"`, `"tags":"[]"`, `"tags":"["`), "not JSON"},
		"no proofs":              {noProofs, "a rule of the database is broken"},
		"NUL":                    {replace(`"table":"principals"`, `"description":""`, `"description":"\u0000"`), "NUL"},
		"event altered":          {replace(event, `"org":"default"`, `"org":"defaulT"`), "event 2"},
		"event missing":          {recount(without(event)), "event 2"},
		"events swapped":         {swapped, "event 2"},
		"last event cut":         {recount(without(`"table":"events","row":{"seq":3`)), "event 3"},
		"head altered":           {replace(`"table":"head"`, `"hash":"`, `"hash":"AAAA`), "event 3"},
		"revision in header":     {replace("cardea_dump", `"revision":3`, `"revision":4`), "revision 4"},
		"rows in trailer":        {replace(`"end"`, `"rows":`, `"rows":1`), "rows"},
		"principal missing":      {recount(without(`"table":"principals"`)), "do not fit"},
		"oversized line":         {append(slices.Clone(good[:1]), `{"table":"`+strings.Repeat("x", 9<<20)+"\"}\n"), "longer than"},
		"garbage after the row":  {replace(`"table":"principals"`, "}}\n", "}} {}\n"), "not a row"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Join(c.dump, "")
			to := open(t, store.Config{URL: sqliteURL(t)})
			err := to.Load(t.Context(), strings.NewReader(text), store.LoadConfig{})
			if err == nil || credential.KindOf(err) != credential.Invalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			noErr(t, to.Load(t.Context(), strings.NewReader(strings.Join(good, "")), store.LoadConfig{})) // it is still empty
		})
	}
}

// recount gives a dump the trailer of as many rows as it has, so that the count is not what gives it away.
func recount(lines []string) []string {
	return append(slices.Clone(lines[:len(lines)-1]), fmt.Sprintf("{\"end\":1,\"rows\":%d}\n", len(lines)-2))
}

// A reader that fails fails the load, whole.
func TestLoadOfABrokenStream(t *testing.T) {
	s := open(t, store.Config{URL: sqliteURL(t)})
	err := s.Load(t.Context(), errReader{}, store.LoadConfig{})
	if err == nil || credential.KindOf(err) != credential.Invalid {
		t.Errorf("got %v", err)
	}
	if err := s.Dump(t.Context(), errWriter{}); err == nil {
		t.Error("a dump to a full disk went well")
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("damaged") }

type errWriter struct{}

func (errWriter) Write([]byte) (int, error) { return 0, errors.New("full") }

// K17, D15: last week's backup does not bring back what was revoked since.
func TestARestoredBackupKeepsRevocations(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		dir := t.TempDir()
		journal := filepath.Join(dir, "revoked")
		s := open(t, store.Config{URL: sqliteURL(t), Journal: journal})
		p, q := device(1), device(2)
		commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreatePrincipal{Principal: q})
		for i := range 4 {
			commit(t, s, credential.CreateCredential{Credential: token(i, p)})
		}
		commit(t, s, credential.CreateCredential{Credential: token(4, q)})
		commit(t, s, credential.EndCredential{ID: token(0, p).ID, State: credential.StateRevoked, At: day})
		old := dump(t, s)
		later := day.Add(time.Hour)
		commit(t, s, credential.EndCredential{ID: token(1, p).ID, State: credential.StateRevoked, At: later},
			credential.EndCredential{ID: token(2, p).ID, State: credential.StateDeleted, At: later})
		commit(t, s, credential.EndCredential{ID: token(1, p).ID, State: credential.StateDeleted, At: later.Add(time.Hour)})
		commit(t, s, credential.DeletePrincipal{ID: q.ID, Version: 1, At: later, Credentials: []string{token(4, q).ID}})
		made := token(9, p) // made and revoked after the backup
		commit(t, s, credential.CreateCredential{Credential: made}, credential.EndCredential{ID: made.ID, State: credential.StateRevoked, At: later})
		noErr(t, s.Close())

		revoked, err := store.ReadJournal(journal)
		noErr(t, err)
		equal(t, "journal", revoked, map[string]time.Time{
			token(0, p).ID: day, token(1, p).ID: later, token(2, p).ID: later, token(4, q).ID: later, made.ID: later,
		})
		fresh := filepath.Join(dir, "fresh")
		restored := open(t, store.Config{URL: url, Journal: fresh})
		noErr(t, restored.Load(t.Context(), strings.NewReader(old), store.LoadConfig{Revoked: revoked}))
		for i, want := range []credential.State{credential.StateRevoked, credential.StateRevoked, credential.StateRevoked, credential.StateActive, credential.StateRevoked} {
			r, err := restored.Credential(t.Context(), token(i, p).ID)
			noErr(t, err)
			if r.Credential.State != want {
				t.Errorf("credential %d is %s", i, r.Credential.State)
			}
			if i == 1 {
				equal(t, "end", []any{r.Credential.EndedAt, r.Credential.EndReason}, []any{later, "revoked after the backup was made"})
			}
		}
		events := verified(t, restored)
		var again []string
		for _, e := range events {
			if e.Reason == "revoked after the backup was made" && e.Type == "credential.revoke" && e.Actor.Principal == "system" {
				again = append(again, e.Subject.ID+" "+e.Subject.Name)
			}
		}
		equal(t, "events", again, []string{token(1, p).ID + " pump-1", token(2, p).ID + " pump-1", token(4, q).ID + " pump-2"})
		known, err := store.ReadJournal(fresh)
		noErr(t, err)
		delete(revoked, made.ID)
		equal(t, "journal of the restored one", known, revoked)
	})
}

func TestJournal(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		path := filepath.Join(t.TempDir(), "revoked")
		none, err := store.ReadJournal(path)
		noErr(t, err)
		equal(t, "journal that does not exist", none, map[string]time.Time{})
		s := open(t, store.Config{URL: url}) // without a journal
		p := device(1)
		commit(t, s, credential.CreatePrincipal{Principal: p})
		for i := range 3 {
			commit(t, s, credential.CreateCredential{Credential: token(i, p)})
		}
		end := func(i int) credential.Op {
			return credential.EndCredential{ID: token(i, p).ID, State: credential.StateRevoked, At: day}
		}
		commit(t, s, end(0))
		s.Close()

		noErr(t, os.WriteFile(path, []byte("older 5\ntor"), 0o600)) // as a crash leaves it
		s = open(t, store.Config{URL: url, Journal: path})
		commit(t, s, end(1))
		text, err := os.ReadFile(path)
		noErr(t, err)
		at := day.UnixMicro()
		equal(t, "journal", string(text), fmt.Sprintf("older 5\n%s %d\n%s %d\n", token(0, p).ID, at, token(1, p).ID, at))

		// What could not be noted is made all the same, and says so; it is noted with the next one.
		noErr(t, s.BreakJournal())
		_, err = s.Commit(t.Context(), change(end(2)))
		if err == nil || credential.KindOf(err) != credential.Down || !strings.Contains(err.Error(), "the change was made") {
			t.Errorf("got %v", err)
		}
		r, err := s.Credential(t.Context(), token(2, p).ID)
		noErr(t, err)
		equal(t, "state", r.Credential.State, credential.StateRevoked)
		noErr(t, s.MendJournal())
		commit(t, s, credential.PutSetting{Name: "a"})
		known, err := store.ReadJournal(path)
		noErr(t, err)
		if len(known) != 4 {
			t.Errorf("the journal has %v", known)
		}
	})
	t.Run("damaged", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "revoked")
		noErr(t, os.WriteFile(path, []byte("a 1\nb two\nc 3\n"), 0o600))
		if _, err := store.ReadJournal(path); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("got %v", err)
		}
		if _, err := store.Open(t.Context(), store.Config{URL: sqliteURL(t), Journal: path}); err == nil {
			t.Error("opened with a damaged journal")
		}
	})
}
