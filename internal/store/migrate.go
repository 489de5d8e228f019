package store

import (
	"context"
	"database/sql"
	"embed"
	"io/fs"
	"strings"

	"cardea/internal/credential"
)

//go:embed migrations
var migrations embed.FS

// schemaVersion is the version that the newest migration makes.
const schemaVersion = 4

// migrate brings the schema up to date. Each migration and the note that it was
// made are one transaction, so that one that was killed begins again (D14).
func (s *Store) migrate(ctx context.Context) error {
	err := s.dialect.migrating(ctx, func(c *sql.Conn) error {
		if _, err := c.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS cardea_schema (version BIGINT PRIMARY KEY)"); err != nil {
			return err
		}
		var have int
		if err := c.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM cardea_schema").Scan(&have); err != nil {
			return err
		}
		if have > schemaVersion {
			return credential.Errorf(credential.Conflict,
				"the database was written by a newer Cardea: its schema has version %d, this one knows versions up to %d; run the newer one, or restore a backup that is older", have, schemaVersion)
		}
		files, err := fs.Glob(migrations, "migrations/"+s.dialect.name()+"/*.sql")
		if err != nil {
			return err
		}
		for i, file := range files[min(have, len(files)):] {
			if err := s.migration(ctx, c, file, have+i+1); err != nil {
				return err
			}
			s.log.Info("database schema changed", "version", have+i+1)
		}
		return nil
	})
	return s.fault(err)
}

// migration runs one file in a transaction.
func (s *Store) migration(ctx context.Context, c *sql.Conn, file string, version int) error {
	text, err := migrations.ReadFile(file)
	if err != nil {
		return err
	}
	if _, err := c.ExecContext(ctx, s.dialect.begin()); err != nil {
		return err
	}
	err = statements(string(text), func(statement string) error {
		_, err := c.ExecContext(ctx, statement)
		return err
	})
	if err == nil {
		_, err = c.ExecContext(ctx, "INSERT INTO cardea_schema (version) VALUES ($1)", version)
	}
	if err == nil {
		_, err = c.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		_, _ = c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	}
	return err
}

// statements splits a migration: each statement ends with a semicolon at the end of a line.
func statements(text string, each func(string) error) error {
	for _, part := range strings.SplitAfter(text, ";\n") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		if err := each(part); err != nil {
			return err
		}
	}
	return nil
}
