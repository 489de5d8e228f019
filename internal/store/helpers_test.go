package store_test

import (
	"context"
	"database/sql"

	"cardea/internal/store"
)

// rawExec runs a statement on the writer's connection, past every check of the store.
func rawExec(s *store.Store, query string, args ...any) (n int64, err error) {
	err = s.Raw(context.Background(), func(c *sql.Conn) error {
		r, err := c.ExecContext(context.Background(), query, args...)
		if err == nil {
			n, err = r.RowsAffected()
		}
		return err
	})
	return n, err
}
