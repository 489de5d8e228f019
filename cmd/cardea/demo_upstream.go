package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"strings"
	"time"

	_ "modernc.org/sqlite"
)

// upstream is the sample service behind `cardea demo`: a little database of
// time series over HTTP. It believes nobody but Cardea: each request must
// bring the signed identity header (H04).
//
//	POST     /db/write/TABLE   rows, as samples has them
//	GET|POST /db/query?q=SELECT…
type upstream struct {
	write  *sql.DB // one connection
	read   *sql.DB // opened read-only, and told query_only
	verify func(ctx context.Context, assertion string) error
	now    func() time.Time
}

const (
	maxUpstreamBody = 4 << 20
	maxQueryRows    = 10_000
	maxTables       = 100
	queryPatience   = 10 * time.Second
)

// newUpstream opens the database file and makes the table EXAMPLE with some rows in it.
func newUpstream(ctx context.Context, path string, verify func(context.Context, string) error) (*upstream, error) {
	write, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	u := &upstream{write: write, verify: verify, now: time.Now}
	if err := u.keep(ctx, batch{table: "EXAMPLE"}); err != nil {
		write.Close()
		return nil, err
	}
	if err := u.fillExample(ctx); err != nil {
		write.Close()
		return nil, err
	}
	u.read, err = sql.Open("sqlite", "file:"+path+"?mode=ro&_pragma=query_only(1)&_pragma=trusted_schema(0)&_pragma=busy_timeout(5000)")
	if err != nil {
		write.Close()
		return nil, err
	}
	u.read.SetMaxOpenConns(4)
	return u, nil
}

func (u *upstream) Close() error { return errors.Join(u.read.Close(), u.write.Close()) }

// fillExample puts a wave into an empty EXAMPLE.
func (u *upstream) fillExample(ctx context.Context) error {
	var n int
	if err := u.write.QueryRowContext(ctx, `SELECT count(*) FROM "EXAMPLE"`).Scan(&n); err != nil || n > 0 {
		return err
	}
	var rows []sample
	start := u.now().Add(-10 * time.Second)
	for i := range 10 {
		at := start.Add(time.Duration(i) * time.Second)
		rows = append(rows, sample{"wave.sin", at.UnixNano(), math.Sin(float64(i) / 3)})
	}
	return u.keep(ctx, batch{"EXAMPLE", rows})
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := u.now()
	if err := u.verify(r.Context(), r.Header.Get("X-Cardea-Identity")); err != nil {
		answer(w, http.StatusForbidden, nil, "this service answers requests that come through Cardea only: "+err.Error(), start)
		return
	}
	table, isWrite := strings.CutPrefix(r.URL.Path, "/db/write/")
	switch {
	case isWrite && r.Method == http.MethodPost:
		u.serveWrite(w, r, table, start)
	case r.URL.Path == "/db/query" && (r.Method == http.MethodGet || r.Method == http.MethodPost):
		u.serveQuery(w, r, start)
	case isWrite || r.URL.Path == "/db/query":
		w.Header().Set("Allow", "GET, POST")
		answer(w, http.StatusMethodNotAllowed, nil, "method not allowed", start)
	default:
		answer(w, http.StatusNotFound, nil, "not found: there are /db/write/TABLE and /db/query", start)
	}
}

// answer writes the one form of answer that the service has.
func answer(w http.ResponseWriter, status int, data any, reason string, start time.Time) {
	body := struct {
		Data    any    `json:"data,omitempty"`
		Success bool   `json:"success"`
		Reason  string `json:"reason"`
		Elapse  string `json:"elapse"`
	}{data, status == http.StatusOK, reason, time.Since(start).String()}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the peer may be gone
}

var tableName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,63}$`)

// parse makes a batch of what somebody sends for a table. An error says nothing of what was sent.
func (u *upstream) parse(table string, body io.Reader) (b batch, err error) {
	if !tableName.MatchString(table) || strings.HasPrefix(strings.ToLower(table), "sqlite_") {
		return b, errors.New("the table's name must be letters, digits and _, at most 64, and begin with a letter")
	}
	b.table = table
	b.rows, err = u.samples(body)
	return b, err
}

func (u *upstream) serveWrite(w http.ResponseWriter, r *http.Request, table string, start time.Time) {
	b, err := u.parse(table, http.MaxBytesReader(w, r.Body, maxUpstreamBody))
	if err == nil {
		err = u.keep(r.Context(), b)
	}
	if err != nil {
		answer(w, http.StatusBadRequest, nil, err.Error(), start)
		return
	}
	answer(w, http.StatusOK, nil, fmt.Sprintf("success, %d record(s) inserted", len(b.rows)), start)
}

// batch are rows for one table.
type batch struct {
	table string
	rows  []sample
}

// keep stores batches, all of them or none, and makes the tables that are not there yet. Their names were
// checked. They are on disk when it returns nil.
func (u *upstream) keep(ctx context.Context, batches ...batch) error {
	tx, err := u.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, b := range batches {
		if err := createTable(ctx, tx, b.table); err != nil {
			return err
		}
		if err := insert(ctx, tx, b); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// errTables is a table too many: nothing that could be tried again.
var errTables = fmt.Errorf("this sample service keeps %d tables at most", maxTables)

func createTable(ctx context.Context, tx *sql.Tx, name string) error {
	var there, tables int
	const q = `SELECT coalesce(sum(name = $1 COLLATE NOCASE), 0), count(*) FROM sqlite_schema WHERE type = 'table'`
	if err := tx.QueryRowContext(ctx, q, name).Scan(&there, &tables); err != nil || there > 0 {
		return err
	}
	if tables >= maxTables {
		return errTables
	}
	_, err := tx.ExecContext(ctx, fmt.Sprintf(`CREATE TABLE IF NOT EXISTS "%s" (NAME VARCHAR NOT NULL, TIME BIGINT NOT NULL, VALUE DOUBLE NOT NULL)`, name))
	return err
}

func insert(ctx context.Context, tx *sql.Tx, b batch) error {
	add, err := tx.PrepareContext(ctx, fmt.Sprintf(`INSERT INTO "%s" (NAME, TIME, VALUE) VALUES ($1, $2, $3)`, b.table))
	if err != nil {
		return err
	}
	defer add.Close()
	for _, s := range b.rows {
		if _, err := add.ExecContext(ctx, s.name, s.time, s.value); err != nil {
			return err
		}
	}
	return nil
}
