package store

import (
	"context"
	"database/sql"
	"strings"
	"time"
)

// tx is the transaction of a group.
type tx struct {
	w      *writer
	ctx    context.Context
	now    time.Time
	ended  []ending // credentials that this transaction ends, for the journal
	held   held
	policy bool        // it may have changed scopes, roles, routes or authenticators
	last   []statement // what is run last: events, head, COMMIT
	head   int64       // the revision that this transaction makes; 0 if none
}

// touchPolicy says that scopes, roles, routes or authenticators are about to change: what was read of them is not kept until leavePolicy.
func (t *tx) touchPolicy() {
	if !t.policy {
		t.policy = true
		t.w.s.policyWrites.Add(1)
	}
}

// leavePolicy ends what touchPolicy began, whatever has become of the change.
func (t *tx) leavePolicy() {
	if t.policy {
		t.policy = false
		t.w.s.policyWrites.Add(1)
	}
}

// exec runs a statement and returns the number of rows it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	st, err := t.ready(query, args)
	if err != nil {
		return 0, err
	}
	r, err := st.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// query runs a statement and gives each row to each.
func (t *tx) query(each func(scan) error, query string, args ...any) error {
	st, err := t.ready(query, args)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(t.ctx, args...)
	if err != nil {
		return err
	}
	return scanAll(rows, each)
}

// row runs a statement for one row; sql.ErrNoRows if there is none.
func (t *tx) row(query string, args ...any) scan {
	return func(dest ...any) error {
		st, err := t.ready(query, args)
		if err != nil {
			return err
		}
		return st.QueryRowContext(t.ctx, args...).Scan(dest...)
	}
}

func (t *tx) ready(query string, args []any) (*sql.Stmt, error) {
	if err := plain(args); err != nil {
		return nil, err
	}
	st := t.w.stmts[query]
	if st != nil {
		return st, nil
	}
	st, err := t.w.conn.PrepareContext(t.ctx, query)
	if err != nil {
		return nil, err
	}
	t.w.stmts[query] = st
	return st, nil
}

// statement is one that is run later.
type statement struct {
	query string
	args  []any
}

// later adds a statement to those that are run last, together.
func (t *tx) later(query string, args ...any) error {
	t.last = append(t.last, statement{query, args})
	return plain(args)
}

// insert adds rows, given one after the other.
func (t *tx) insert(into string, columns int, args []any) error {
	return t.w.inserts(into, columns, args, func(query string, args ...any) error {
		_, err := t.exec(query, args...)
		return err
	})
}

// inserts gives each the statements that insert rows: as few as a few fixed sizes allow.
func (w *writer) inserts(into string, columns int, args []any, each func(query string, args ...any) error) error {
	for _, size := range [...]int{64, 16, 4, 1} {
		for n := size * columns; len(args) >= n; args = args[n:] {
			if err := each(w.inserting(into, columns, size), args[:n]...); err != nil {
				return err
			}
		}
	}
	return nil
}

// bulk is the shape of an insertion of several rows.
type bulk struct {
	into    string // table and columns: "settings (name, value)"
	columns int
	rows    int
}

// inserting returns the statement of a shape.
func (w *writer) inserting(into string, columns, rows int) string {
	key := bulk{into, columns, rows}
	if q, ok := w.bulk[key]; ok {
		return q
	}
	var b strings.Builder
	b.WriteString("INSERT INTO " + into + " VALUES ")
	for i := range rows * columns {
		switch {
		case i == 0:
			b.WriteString("(")
		case i%columns == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		b.WriteString(w.s.dialect.param(i + 1))
	}
	b.WriteString(")")
	w.bulk[key] = b.String()
	return w.bulk[key]
}
