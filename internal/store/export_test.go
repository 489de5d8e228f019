package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"cardea/internal/credential"
)

// CheckSQLite is checkSQLite for tests.
var CheckSQLite = checkSQLite

// Raw runs fn on the connection of the writer, outside of a transaction, so that
// tests can make the database itself fail.
func (s *Store) Raw(ctx context.Context, fn func(*sql.Conn) error) error {
	return s.writer.do(&call{ctx: ctx, alone: true, apply: func(t *tx) error {
		if _, err := t.exec("COMMIT"); err != nil {
			return err
		}
		err := fn(t.w.conn)
		if _, bad := t.exec(s.dialect.begin()); bad != nil {
			return bad
		}
		return err
	}})
}

// LoseConnection makes the writer give its connection up, as it does after an error that it cannot read.
func (s *Store) LoseConnection() {
	_ = s.writer.do(&call{ctx: context.Background(), alone: true, apply: func(t *tx) error {
		if _, err := t.exec("ROLLBACK"); err != nil {
			return err
		}
		return credential.Errorf(credential.Conflict, "lost") // so that a ROLLBACK follows, which fails
	}})
}

// Hold keeps the writer busy until the returned function is called, so that
// what is committed meanwhile makes one group.
func (s *Store) Hold(ctx context.Context) (release func()) {
	held, free := make(chan struct{}), make(chan struct{})
	go func() {
		_ = s.writer.do(&call{ctx: ctx, alone: true, apply: func(*tx) error {
			close(held)
			<-free
			return nil
		}})
	}()
	<-held
	return func() { close(free) }
}

// Waiting returns how many calls wait for the writer.
func (s *Store) Waiting() int { return len(s.writer.queue) }

// DumpedColumns returns the columns of each table that a dump holds.
func DumpedColumns() map[string][]string {
	all := map[string][]string{}
	for _, t := range tables() {
		for _, c := range t.columns {
			all[t.name] = append(all[t.name], c.name)
		}
	}
	return all
}

// Read returns the pool of readers.
func (s *Store) Read() *sql.DB { return s.read }

// CredentialInsert and CredentialArgs are a bare insertion of a credential.
func (s *Store) CredentialInsert() string {
	return "INSERT INTO credentials (" + credentialColumns + ") VALUES (" + joined(credentialWidth, s.dialect.param) + ")"
}

// CredentialArgs returns the values of CredentialInsert.
func CredentialArgs(c *credential.Credential) []any {
	c.Version = 1
	return appendCredential(nil, c)
}

// CommitThen commits, and calls then once the writer has taken the change up.
func (s *Store) CommitThen(ctx context.Context, c credential.Change, then func()) error {
	return s.writer.do(&call{ctx: ctx, events: c.Events, apply: func(t *tx) error {
		then()
		return t.change(c.Ops)
	}})
}

// CommitAnd commits, and calls then when all is done but the events and the COMMIT.
func (s *Store) CommitAnd(ctx context.Context, c credential.Change, then func()) error {
	return s.writer.do(&call{ctx: ctx, events: c.Events, apply: func(t *tx) error {
		err := t.change(c.Ops)
		then()
		return err
	}})
}

// BreakJournal makes the journal fail, MendJournal makes it work again.
func (s *Store) BreakJournal() error { return s.journal.file.Close() }

// MendJournal undoes BreakJournal.
func (s *Store) MendJournal() (err error) {
	s.journal.file, err = os.OpenFile(s.journal.path, os.O_RDWR, 0)
	return err
}

// Seen returns the newest revision that the feed knows of.
func (s *Store) Seen() int64 { return s.feed.seen.Load() }

// MigrateHalf opens a database and runs the first statements of its first migration as a process does that is killed then.
func MigrateHalf(ctx context.Context, url string) error {
	return onSchema(ctx, url, false, func(d dialect, c *sql.Conn) error {
		if _, err := c.ExecContext(ctx, d.begin()); err != nil {
			return err
		}
		left := 5
		return schema(d, 1, func(statement string) error {
			if left--; left < 0 {
				return nil
			}
			_, err := c.ExecContext(ctx, statement)
			return err
		})
	})
}

// MigrateTo makes a database as the Cardea left it that knew n versions of the schema, and runs statements on it.
func MigrateTo(ctx context.Context, url string, n int, then ...string) error {
	return onSchema(ctx, url, true, func(d dialect, c *sql.Conn) error {
		run := func(statement string) error {
			_, err := c.ExecContext(ctx, statement)
			return err
		}
		for version := 1; version <= n; version++ {
			if err := schema(d, version, run); err != nil {
				return err
			}
			if err := run(fmt.Sprintf("INSERT INTO cardea_schema (version) VALUES (%d)", version)); err != nil {
				return err
			}
		}
		for _, statement := range then {
			if err := run(statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// schema gives the statements of a migration one by one.
func schema(d dialect, version int, each func(string) error) error {
	files, err := fs.Glob(migrations, fmt.Sprintf("migrations/%s/%04d_*.sql", d.name(), version))
	if err != nil {
		return err
	}
	text, err := migrations.ReadFile(files[0])
	if err != nil {
		return err
	}
	return statements(string(text), each)
}

// onSchema opens an empty database and gives the connection for migrations. Without sound it is left as the end of a process leaves it.
func onSchema(ctx context.Context, url string, sound bool, fn func(dialect, *sql.Conn) error) error {
	s := &Store{log: slog.New(slog.DiscardHandler), now: time.Now, poll: time.Hour}
	s.feed.init()
	open := func() (dialect, error) { return openPostgres(ctx, s, url) }
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		open = func() (dialect, error) { return openSQLite(ctx, s, path) }
	}
	d, err := open()
	if err != nil {
		return err
	}
	s.dialect = d
	err = d.migrating(ctx, func(c *sql.Conn) error {
		if _, err := c.ExecContext(ctx, "CREATE TABLE cardea_schema (version BIGINT PRIMARY KEY)"); err != nil {
			return err
		}
		return fn(d, c)
	})
	return errors.Join(err, d.close(sound))
}
