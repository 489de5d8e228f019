package store

import (
	"cardea/internal/credential"
	"context"
	"database/sql"
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
	return "INSERT INTO credentials (" + credentialColumns + ") VALUES (" + joined(19, s.dialect.param) + ")"
}

// CredentialArgs returns the values of CredentialInsert.
func CredentialArgs(c *credential.Credential) []any {
	c.Version = 1
	return credentialArgs(c)
}
