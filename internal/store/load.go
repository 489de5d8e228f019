package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"cardea/internal/audit"
	"cardea/internal/credential"
)

// LoadConfig says what to do beside loading.
type LoadConfig struct {
	// Revoked are the credentials that the revocation journal knows as ended. Those
	// that the dump has as active are ended again, each with an event (K17, D15).
	Revoked map[string]time.Time
}

// maxRow bounds a line of a dump, in bytes.
const maxRow = 8 << 20

// Load fills an empty database with what Dump wrote, from whichever of the two
// databases, in one transaction: all of it or nothing. It checks the form of every line, the
// number of rows and the chain of the events. Errors: Conflict if the database is not empty; Invalid, with
// the line, if the dump is not whole, was altered or belongs to another version.
func (s *Store) Load(ctx context.Context, r io.Reader, c LoadConfig) error {
	load := &call{ctx: ctx, alone: true}
	load.apply = func(t *tx) error {
		if err := t.empty(); err != nil {
			return err
		}
		l := &loader{t: t, tables: map[string]table{}}
		for _, tab := range tables() {
			l.tables[tab.name] = tab
		}
		if err := l.read(r); err != nil {
			return l.explain(err)
		}
		events, err := t.revokeAgain(c.Revoked)
		if err != nil {
			return err
		}
		load.events = events
		return t.endedAll()
	}
	if err := s.writer.do(load); err != nil {
		return err
	}
	_, _, err := s.Since(ctx, 0, 1)
	return err
}

// empty makes sure that nothing is overwritten.
func (t *tx) empty() error {
	for _, tab := range tables() {
		query := "SELECT 1 FROM " + tab.name + " LIMIT 1"
		if tab.name == "head" {
			query = "SELECT 1 FROM head WHERE seq <> 0"
		}
		used, err := t.any(query)
		if err != nil {
			return err
		}
		if used {
			return credential.Errorf(credential.Conflict, "the database is not empty (table %s): load into a new one", tab.name)
		}
	}
	return nil
}

// loader reads a dump.
type loader struct {
	t      *tx
	tables map[string]table
	schema int // of the dump
	line   int
	rows   int64
	chain  audit.Verifier

	into  table // what pending is for
	ready []any // rows not yet inserted, one after the other
}

// explain names the line of what is wrong with the dump, and leaves errors of the database alone.
func (l *loader) explain(err error) error {
	var e *bad
	if errors.As(err, &e) {
		return credential.Errorf(credential.Invalid, "line %d of the dump: %s", l.line, e.why)
	}
	f := l.t.w.s.classify(err)
	if f.fatal {
		return err
	}
	return &credential.Error{Kind: credential.Invalid, Message: fmt.Sprintf("the rows before line %d of the dump do not fit: %s", l.line, f.message), Err: err}
}

// bad is a mistake in a dump.
type bad struct{ why string }

func (b *bad) Error() string { return b.why }

func badf(format string, args ...any) error { return &bad{fmt.Sprintf(format, args...)} }

func (l *loader) read(r io.Reader) error {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 1<<16), maxRow)
	next := func() ([]byte, error) {
		l.line++
		if in.Scan() {
			return in.Bytes(), nil
		}
		switch err := in.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			return nil, badf("is longer than %d bytes", maxRow)
		case err != nil:
			return nil, badf("cannot be read: %v", err)
		}
		return nil, badf("is missing: the dump was cut off")
	}
	first, err := next()
	if err != nil {
		return err
	}
	var h header
	if err := strict(first, &h); err != nil || h.Dump == 0 {
		return badf("is not the header of a dump of Cardea")
	}
	if h.Dump != dumpFormat || h.Schema < 1 || h.Schema > schemaVersion {
		return badf("the dump has format %d and schema %d, but this Cardea reads format %d and schemas up to %d", h.Dump, h.Schema, dumpFormat, schemaVersion)
	}
	l.schema = h.Schema
	for {
		b, err := next()
		if err != nil {
			return err
		}
		if bytes.HasPrefix(b, []byte(`{"end"`)) {
			if err := l.finish(b, h); err != nil {
				return err
			}
			break
		}
		if err := l.row(b); err != nil {
			return err
		}
	}
	if _, err := next(); err == nil {
		return badf("something follows the end of the dump")
	}
	return nil
}

// strict decodes one JSON value without unknown fields.
func strict(b []byte, to any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(to); err != nil {
		return err
	}
	if dec.More() {
		return errors.New("more than one value")
	}
	return nil
}

// finish checks the trailer, and that the log of events ends where the head says.
func (l *loader) finish(b []byte, h header) error {
	var end trailer
	if err := strict(b, &end); err != nil || end.End != dumpFormat {
		return badf("is not a trailer")
	}
	if end.Rows != l.rows {
		return badf("the dump should have %d rows, but %d were read", end.Rows, l.rows)
	}
	if err := l.flush(); err != nil {
		return err
	}
	var seq int64
	var hash []byte
	if err := l.t.row("SELECT seq, hash FROM head WHERE one = 1")(&seq, &hash); err != nil {
		return err
	}
	if seq != h.Revision {
		return badf("the header has revision %d, the rows have %d", h.Revision, seq)
	}
	if err := l.chain.Ends(seq, hash); err != nil {
		return badf("the audit log is not whole: %v", err)
	}
	return nil
}

// row takes up one line.
func (l *loader) row(b []byte) error {
	var line struct {
		Table string                     `json:"table"`
		Row   map[string]json.RawMessage `json:"row"`
	}
	if err := strict(b, &line); err != nil {
		return badf("is not a row: %v", err)
	}
	into, ok := l.tables[line.Table]
	if !ok {
		return badf("names the table %q, which this Cardea does not know", line.Table)
	}
	for _, name := range slices.Sorted(maps.Keys(line.Row)) {
		if !slices.ContainsFunc(into.columns, func(c column) bool { return c.name == name && c.since <= l.schema }) {
			return badf("table %s of schema %d has no column %q", into.name, l.schema, name)
		}
	}
	if into.name != l.into.name || len(l.ready) >= 64*len(into.columns) {
		if err := l.flush(); err != nil {
			return err
		}
		l.into = into
	}
	from := len(l.ready)
	for _, c := range into.columns {
		raw := line.Row[c.name]
		if raw == nil && c.since > l.schema {
			raw = c.empty()
		}
		v, err := value(raw, c)
		if err != nil {
			return badf("column %s of table %s: %v", c.name, into.name, err)
		}
		l.ready = append(l.ready, v)
	}
	l.rows++
	if into.name == "events" {
		return l.event(l.ready[from:])
	}
	return nil
}

// value reads one column.
func value(raw json.RawMessage, c column) (any, error) {
	if raw == nil {
		return nil, errors.New("is missing")
	}
	if c.form == numberForm {
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil {
			return nil, errors.New("is not a whole number")
		}
		return n, nil
	}
	var text *string
	if err := json.Unmarshal(raw, &text); err != nil || text == nil {
		return nil, errors.New("is not a string")
	}
	switch c.form {
	case bytesForm:
		b, err := base64.StdEncoding.Strict().DecodeString(*text)
		if err != nil {
			return nil, errors.New("is not base64")
		}
		return blob(b), nil
	case jsonForm:
		if !json.Valid([]byte(*text)) {
			return nil, errors.New("is not JSON")
		}
	}
	return *text, plain([]any{*text})
}

// event checks the place of an event in the chain; columns are in the order of eventColumns.
func (l *loader) event(v []any) error {
	text := func(i int) string { return v[i].(string) }
	e := credential.Event{
		Seq: v[0].(int64), ID: text(1), At: fromMicros(v[2].(int64)), Org: text(3), Type: text(4),
		Subject: credential.Subject{Kind: text(5), ID: text(6), Name: text(7)},
		Actor:   credential.Actor{Principal: text(8), Credential: text(9), Source: text(10), Door: text(11), Request: text(12)},
		Reason:  text(13), Prev: v[15].([]byte), Hash: v[16].([]byte),
	}
	if err := (dict{&e.Detail}).Scan(v[14]); err != nil {
		return badf("the detail of event %d is not one", e.Seq)
	}
	if err := l.chain.Add(&e); err != nil {
		return badf("the audit log is not whole: %v", err)
	}
	return nil
}

// flush inserts what is ready. The head is there in an empty database already.
func (l *loader) flush() error {
	rows := l.ready
	l.ready = l.ready[:0]
	if len(rows) == 0 {
		return nil
	}
	if l.into.name == "head" {
		if len(rows) != 3 {
			return badf("the head is there twice")
		}
		_, err := l.t.exec("UPDATE head SET seq = $2, hash = $3 WHERE one = $1", rows...)
		return err
	}
	return l.t.insert(l.into.name+" ("+l.into.names()+")", len(l.into.columns), rows)
}

// revokeAgain ends what was revoked after the dump was made.
func (t *tx) revokeAgain(revoked map[string]time.Time) ([]credential.Event, error) {
	var events []credential.Event
	for _, id := range slices.Sorted(maps.Keys(revoked)) {
		var org, name string
		ended := true
		err := t.query(func(row scan) error { ended = false; return row(&org, &name) },
			"SELECT c.org, p.name FROM credentials c JOIN principals p ON p.id = c.principal WHERE c.id = $1 AND c."+notEnded, id)
		if err != nil {
			return nil, err
		}
		if ended {
			continue
		}
		const reason = "revoked after the backup was made"
		at := revoked[id]
		err = t.endCredential(credential.EndCredential{ID: id, State: credential.StateRevoked, At: at, Reason: reason})
		if err != nil {
			return nil, err
		}
		events = append(events, credential.Event{
			At: t.now, Org: org, Type: "credential.revoke", Reason: reason,
			Subject: credential.Subject{Kind: "credential", ID: id, Name: name},
			Actor:   credential.Actor{Principal: "system", Door: "system"},
			Detail:  map[string]string{"revoked_at": at.UTC().Format(time.RFC3339Nano)},
		})
	}
	return events, nil
}

// endedAll gives the journal every credential that the dump has as ended; knowing one twice does not harm it.
func (t *tx) endedAll() error {
	t.ended = nil
	return t.query(func(row scan) error {
		var e ending
		err := row(&e.id, &e.at)
		t.ended = append(t.ended, e)
		return err
	}, "SELECT id, ended_at FROM credentials WHERE "+hasEnded+" ORDER BY ended_at, id")
}
