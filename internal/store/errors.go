package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"unicode/utf8"

	"cardea/internal/credential"
)

// fault is an error of a driver, understood.
type fault struct {
	kind    credential.ErrorKind
	message string

	taken    bool // a unique value is there already
	fatal    bool // the transaction or the connection is gone, not the statement alone
	answered bool // the database itself has refused, so it is known what it has done
	stop     bool // nothing more may be written until the database is opened again
}

// fault makes the one error type of what a driver said.
func (s *Store) fault(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*credential.Error](err); ok {
		return e
	}
	f := s.classify(err)
	return &credential.Error{Kind: f.kind, Message: f.message, Err: err}
}

func (s *Store) classify(err error) fault {
	if e, ok := errors.AsType[*credential.Error](err); ok {
		return fault{kind: e.Kind, message: e.Message}
	}
	if errors.Is(err, sql.ErrNoRows) {
		return fault{kind: credential.NotFound, message: "no such thing"}
	}
	f := s.dialect.fault(err)
	if f.message != "" {
		return f
	}
	switch {
	case errors.Is(err, context.Canceled):
		return fault{kind: credential.Down, message: "the request was given up before the database answered", fatal: true}
	case errors.Is(err, context.DeadlineExceeded):
		return fault{kind: credential.Down, message: "the database did not answer in time", fatal: true}
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone), errors.Is(err, sql.ErrTxDone):
		return fault{kind: credential.Down, message: "the connection to the database is lost", fatal: true}
	}
	if s.closed.Load() {
		return fault{kind: credential.Down, message: "the store is closed", fatal: true}
	}
	return fault{kind: credential.Internal, message: "unexpected error of the database"}
}

// found turns "no rows" into a NotFound that names what was looked for, and other errors as [Store.fault] does.
func (s *Store) found(err error, what, ref string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return credential.Errorf(credential.NotFound, "%s %q does not exist", what, ref)
	}
	return s.fault(err)
}

// plain refuses texts that not both databases keep as they are: NUL, and what is not UTF-8.
func plain(args []any) error {
	for _, a := range args {
		if t, ok := a.(string); ok && (strings.IndexByte(t, 0) >= 0 || !utf8.ValidString(t)) {
			return credential.Errorf(credential.Invalid, "text must be UTF-8 without NUL")
		}
	}
	return nil
}
