package store_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/store"
	"cardea/internal/testkit"
)

// refusedOpen opens a store that must be refused.
func refusedOpen(t *testing.T, url string, kind credential.ErrorKind, says ...string) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: url})
	if err == nil {
		s.Close()
		t.Fatalf("%s was opened", url)
	}
	if credential.KindOf(err) != kind {
		t.Errorf("kind %d of %v", credential.KindOf(err), err)
	}
	for _, want := range says {
		if !strings.Contains(err.(*credential.Error).Public(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestSQLiteVersion(t *testing.T) { // D04
	for version, ok := range map[string]bool{
		"3.51.2": false, "3.51": false, "3.9.0": false, "2.99.99": false, "": false,
		"3.51.3": true, "3.51.10": true, "3.52.0": true, "4.0": true,
	} {
		if err := store.CheckSQLite(version); (err == nil) != ok {
			t.Errorf("SQLite %s: %v", version, err)
		}
	}
}

func TestOneProcessPerFolder(t *testing.T) { // D11
	url := sqliteURL(t)
	s := open(t, store.Config{URL: url})
	refusedOpen(t, url, credential.Conflict, "in use", "process "+itoa(os.Getpid()))
	noErr(t, s.Close())
	open(t, store.Config{URL: url})
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	notes := filepath.Join(dir, "notes")
	noErr(t, os.WriteFile(notes, []byte("these are my notes, and they are not a database at all, whatever you think"), 0o600))
	refusedOpen(t, "", credential.Invalid, "postgres://")
	refusedOpen(t, "mysql://x", credential.Invalid)
	refusedOpen(t, "sqlite:", credential.Invalid)
	refusedOpen(t, "sqlite:"+notes, credential.Down, notes, "not a database")
	refusedOpen(t, "sqlite:"+dir+"/no/such/folder/cardea.db", credential.Down, "no such file")
	if b, err := os.ReadFile(notes); err != nil || !strings.HasPrefix(string(b), "these are") {
		t.Errorf("the notes were changed: %q, %v", b, err)
	}
}

func TestNewFilesAreForTheOwnerAlone(t *testing.T) { // K13
	url := sqliteURL(t)
	path := strings.TrimPrefix(url, "sqlite:")
	s := open(t, store.Config{URL: url, Journal: path + ".revoked"})
	commit(t, s, credential.PutSetting{Name: "a", Value: "1"})
	for _, end := range []string{"", "-wal", "-shm", ".revoked"} {
		info, err := os.Stat(path + end)
		noErr(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", info.Name(), info.Mode())
		}
	}
}

func TestAnotherVersionsDatabase(t *testing.T) { // D14
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		commit(t, s, credential.CreatePrincipal{Principal: device(1)})
		_, err := rawExec(s, "INSERT INTO cardea_schema (version) VALUES (99)")
		noErr(t, err)
		noErr(t, s.Close())
		refusedOpen(t, url, credential.Conflict, "newer", "version 99")
	})
}

// D14: a migration that was killed leaves nothing, and the next start makes it.
func TestAKilledMigrationBeginsAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		noErr(t, store.MigrateHalf(t.Context(), url))
		s := open(t, store.Config{URL: url})
		fill(t, s)
		verified(t, s)
	})
}

// D12: the file under the process is another, or none.
func TestAReplacedDatabaseFile(t *testing.T) {
	for name, replace := range map[string]func(path string) error{
		"removed":     os.Remove,
		"log removed": func(path string) error { return os.Remove(path + "-wal") },
		"replaced": func(path string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := os.WriteFile(path+".new", b, 0o600); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		},
		"moved": func(path string) error { return os.Rename(path, path+".old") },
	} {
		t.Run(name, func(t *testing.T) {
			url := sqliteURL(t)
			path := strings.TrimPrefix(url, "sqlite:")
			s := open(t, store.Config{URL: url})
			commit(t, s, credential.CreatePrincipal{Principal: device(1)})
			noErr(t, replace(path))
			_, _, err := s.Since(t.Context(), 0, 1)
			if credential.KindOf(err) != credential.Down || err == nil || !strings.Contains(err.Error(), "removed or replaced") {
				t.Errorf("Since: %v", err)
			}
			if name == "moved" {
				noErr(t, os.Rename(path+".old", path)) // too late: the decision is final
			}
			_, err = s.Commit(t.Context(), change(credential.CreatePrincipal{Principal: device(2)}))
			if credential.KindOf(err) != credential.Down || err == nil {
				t.Errorf("Commit: %v", err)
			}
		})
	}
}

// D05: a full disk refuses, keeps what it has, and is over when there is space again.
func TestAFullDisk(t *testing.T) {
	s := open(t, store.Config{URL: sqliteURL(t)})
	ctx := t.Context()
	p := device(0)
	commit(t, s, credential.CreatePrincipal{Principal: p})
	pages := func(n string) { // the database may not have more pages, which SQLite reports as a full disk
		noErr(t, s.Raw(ctx, func(c *sql.Conn) error { _, err := c.ExecContext(ctx, "PRAGMA max_page_count = "+n); return err }))
	}
	pages("1")
	made, failed := 0, 0
	for i := range 400 {
		_, err := s.Commit(ctx, change(credential.CreateCredential{Credential: token(i, p)}))
		switch {
		case err == nil:
			made++
		case credential.KindOf(err) == credential.Down && strings.Contains(err.Error(), "the disk is full"):
			failed++
		default:
			t.Fatal(err)
		}
	}
	if failed == 0 {
		t.Fatal("the disk was never full")
	}
	ids, err := s.CredentialsOf(ctx, p.ID) // reading goes on
	noErr(t, err)
	equal(t, "credentials", len(ids), made)
	pages("1000000")
	commit(t, s, credential.CreateCredential{Credential: token(1000, p)})
	if got := len(verified(t, s)); got != made+2 {
		t.Errorf("%d events", got)
	}
}

func TestPostgresThatIsNotThere(t *testing.T) {
	const password = "hunter2-$ecret"
	for url, says := range map[string][]string{
		"postgres://cardea:hunter2-$ecret@127.0.0.1:1/things":             {"127.0.0.1:1", "database things", "refused"},
		"postgres://cardea:hunter2-$ecret@no-such-host.invalid/things":    {"no-such-host.invalid"},
		"postgres://cardea:hunter2-$ecret@127.0.0.1:1/things?sslmode=bad": {"cannot be read"},
		"postgres://cardea:hunter2-$ecret%ZZ@127.0.0.1:x/things":          {"cannot be read"},
	} {
		var log bytes.Buffer
		_, err := store.Open(t.Context(), store.Config{URL: url, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err == nil {
			t.Fatal(url)
		}
		for _, want := range says {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if strings.Contains(e.Error()+log.String(), password) {
				t.Errorf("the password is in %q", e)
			}
		}
	}
	missing := strings.Replace(testkit.Postgres(t), "/test_", "/no_test_", 1)
	refusedOpen(t, missing, credential.Down, "database no_test_", "does not exist")
}

// D07: PostgreSQL goes away and comes back under an open store.
func TestPostgresGoesAway(t *testing.T) {
	server := testkit.NewPostgres(t, false)
	url := server.Database(t)
	log := &testkit.Log{}
	s := open(t, store.Config{URL: url, Log: slog.New(slog.NewTextHandler(log, nil)), Poll: 10 * time.Millisecond})
	p := device(1)
	commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: token(1, p)})
	server.Stop()
	ctx := t.Context()
	for range 12 { // more often than there are connections in the pool
		for what, err := range map[string]error{
			"Commit":     func() error { _, err := s.Commit(ctx, change(credential.PutSetting{})); return err }(),
			"Credential": func() error { _, err := s.Credential(ctx, token(1, p).ID); return err }(),
			"Since":      func() error { _, _, err := s.Since(ctx, 0, 1); return err }(),
			"Policy":     func() error { _, err := s.Policy(ctx); return err }(),
			"Keys":       func() error { _, err := s.Keys(ctx); return err }(),
			"Once":       func() error { _, err := s.Once(ctx, "x", day.Add(time.Hour)); return err }(),
			"Record":     s.Record(ctx, credential.Records{Used: []credential.Usage{{Credential: "c"}}}),
			"Exclusive":  s.Exclusive(ctx, "x", func(context.Context) error { return nil }),
			"Dump":       s.Dump(ctx, &bytes.Buffer{}),

			"Named":   func() error { _, err := s.Named(ctx, "default", credential.Password, "x"); return err }(),
			"Foreign": func() error { _, err := s.Foreign(ctx, lookup(1)); return err }(),
			"Used":    func() error { _, err := s.Used(ctx, "c", day); return err }(),
			"Meter": func() error {
				_, err := s.Meter(ctx, "n", []credential.Metered{{Credential: "c", Month: day}})
				return err
			}(),
			"Credentials": func() error { _, _, err := s.Credentials(ctx, credential.CredentialFilter{Org: "default"}); return err }(),
			"UsageBy":     func() error { _, err := s.UsageBy(ctx, "c", day); return err }(),
			"Exercised":   func() error { _, err := s.Exercised(ctx, "c"); return err }(),
			"Sightings":   func() error { _, err := s.Sightings(ctx, "c"); return err }(),
			"Webhooks":    func() error { _, err := s.Webhooks(ctx, ""); return err }(),
			"Deliveries":  func() error { _, err := s.Deliveries(ctx, "w", 1); return err }(),
			"Avatar":      func() error { _, err := s.Avatar(ctx, "c"); return err }(),
			"Import":      func() error { _, err := s.Import(ctx, "default", "x"); return err }(),
			"Imports":     func() error { _, err := s.Imports(ctx, "default", 1); return err }(),
			"Found":       func() error { _, err := s.Found(ctx, [][]byte{lookup(1)}); return err }(),
			"Enqueue":     s.Enqueue(ctx, nil, 1),
			"Looked":      func() error { _, err := s.Looked(ctx); return err }(),
			"Due":         func() error { _, err := s.Due(ctx, day, 1); return err }(),
			"Settle":      s.Settle(ctx, waiting("w", 1)),
			"Prune":       func() error { _, err := s.Prune(ctx, day); return err }(),
		} {
			if err == nil || credential.KindOf(err) != credential.Down {
				t.Fatalf("%s without a database: %v", what, err)
			}
			if strings.Contains(err.Error(), "pg-password-to-hide") {
				t.Errorf("the password is in %v", err)
			}
		}
	}
	noErr(t, s.Wait(ctx, 1)) // does not fail: it is Since that tells
	noErr(t, server.Start())
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, err := s.Commit(ctx, change(credential.PutSetting{Name: "back"}))
		if err == nil {
			break
		}
		if credential.KindOf(err) != credential.Down || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if _, err := s.Credential(ctx, token(1, p).ID); err != nil {
		t.Error(err)
	}
	verified(t, s)
	if strings.Contains(log.String(), "pg-password-to-hide") {
		t.Errorf("the password is in the log: %s", log)
	}
}

// N05: the listening connection is killed; it is made again, and notifications arrive.
func TestTheListenerIsMadeAgain(t *testing.T) {
	url := testkit.Postgres(t)
	log := &testkit.Log{}
	s := open(t, store.Config{URL: url, Poll: 20 * time.Millisecond, Log: slog.New(slog.NewTextHandler(log, nil))})
	other := open(t, store.Config{URL: url})
	const listeners = "FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN cardea'"
	count := func(query string) (n int) {
		noErr(t, other.Read().QueryRow("SELECT count(*) "+query).Scan(&n))
		return n
	}
	for count(listeners) < 2 {
		time.Sleep(5 * time.Millisecond)
	}
	var killed int
	noErr(t, other.Read().QueryRow("SELECT count(*) FROM (SELECT pg_terminate_backend(pid) "+listeners+") k").Scan(&killed))
	for !strings.Contains(log.String(), "listens for changes is lost") || count(listeners) < 2 {
		time.Sleep(5 * time.Millisecond)
	}
	events := commit(t, other, credential.PutSetting{Name: "a", Value: "1"})
	last := events[len(events)-1].Seq
	for s.Seen() < last { // nobody asks: only a notification can tell it
		time.Sleep(time.Millisecond)
	}
}

// What is changed while the listening connection is away is told as soon as there is another one: its notification has gone.
func TestTheListenerCatchesUp(t *testing.T) {
	url := testkit.Postgres(t)
	s := open(t, store.Config{URL: url, Poll: 200 * time.Millisecond}) // which is the pause before the next connection, too
	other := open(t, store.Config{URL: url})
	const listeners = "FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN cardea'"
	for range 3 {
		for n := 0; n < 2; time.Sleep(5 * time.Millisecond) {
			noErr(t, other.Read().QueryRow("SELECT count(*) "+listeners).Scan(&n))
		}
		var killed int
		noErr(t, other.Read().QueryRow("SELECT count(*) FROM (SELECT pg_terminate_backend(pid) "+listeners+") k").Scan(&killed))
		events := commit(t, other, credential.PutSetting{Name: "a", Value: rand.Text()})
		last := events[len(events)-1].Seq
		for s.Seen() < last { // nobody asks
			time.Sleep(time.Millisecond)
		}
	}
}

// A COMMIT that nobody has answered is told as what it is.
func TestAnUncertainCommit(t *testing.T) {
	url := testkit.Postgres(t)
	s := open(t, store.Config{URL: url})
	for _, statement := range []string{
		"CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); RETURN NULL; END $$",
		"CREATE CONSTRAINT TRIGGER die AFTER INSERT ON settings DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()", // runs within COMMIT
	} {
		_, err := rawExec(s, statement)
		noErr(t, err)
	}
	_, err := s.Commit(t.Context(), change(credential.PutSetting{Name: "a", Value: "1"}))
	if err == nil || credential.KindOf(err) != credential.Down || !strings.Contains(err.(*credential.Error).Public(), "may or may not have been made") {
		t.Errorf("got %v", err)
	}
	commit(t, s, credential.CreatePrincipal{Principal: device(1)}) // and it goes on
	verified(t, s)
}

// Whoever has lost the lock of Exclusive is told, since another node has it by now.
func TestExclusiveTellsThatItsLockIsLost(t *testing.T) {
	url := testkit.Postgres(t)
	s, other := open(t, store.Config{URL: url}), open(t, store.Config{URL: url})
	err := s.Exclusive(t.Context(), "x", func(ctx context.Context) error {
		var killed int
		noErr(t, other.Read().QueryRow("SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) k").Scan(&killed))
		if killed != 1 {
			t.Errorf("%d locks", killed)
		}
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if err == nil || credential.KindOf(err) != credential.Down {
		t.Errorf("got %v", err)
	}
	noErr(t, other.Exclusive(t.Context(), "x", func(context.Context) error { return nil }))
}
