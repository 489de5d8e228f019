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
//	POST     /db/write/TABLE   [name, time, value], or an array of such
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
	if err := u.createTable(ctx, "EXAMPLE"); err != nil {
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
	return u.insert(ctx, "EXAMPLE", rows)
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

func (u *upstream) serveWrite(w http.ResponseWriter, r *http.Request, table string, start time.Time) {
	if !tableName.MatchString(table) || strings.HasPrefix(strings.ToLower(table), "sqlite_") {
		answer(w, http.StatusBadRequest, nil, "the table's name must be letters, digits and _, at most 64, and begin with a letter", start)
		return
	}
	rows, err := u.samples(http.MaxBytesReader(w, r.Body, maxUpstreamBody))
	if err != nil {
		answer(w, http.StatusBadRequest, nil, err.Error(), start)
		return
	}
	err = u.createTable(r.Context(), table)
	if err == nil {
		err = u.insert(r.Context(), table, rows)
	}
	if err != nil {
		answer(w, http.StatusBadRequest, nil, err.Error(), start)
		return
	}
	answer(w, http.StatusOK, nil, fmt.Sprintf("success, %d record(s) inserted", len(rows)), start)
}

// sample is one value of one series; time is nanoseconds since 1970.
type sample struct {
	name  string
	time  int64
	value float64
}

// samples reads [name, time, value], or an array of such.
func (u *upstream) samples(body io.Reader) ([]sample, error) {
	var all []json.RawMessage
	d := json.NewDecoder(body)
	if err := d.Decode(&all); err != nil || len(all) == 0 {
		return nil, errors.New("the body must be a JSON array: [name, time, value], or an array of such")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the body holds more than one JSON value")
	}
	if all[0][0] != '[' {
		s, err := u.sample(all)
		return []sample{s}, err
	}
	rows := make([]sample, len(all))
	for i, raw := range all {
		var one []json.RawMessage
		err := json.Unmarshal(raw, &one)
		if err == nil {
			rows[i], err = u.sample(one)
		}
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
	}
	return rows, nil
}

func (u *upstream) sample(cells []json.RawMessage) (s sample, err error) {
	if len(cells) != 3 {
		return s, fmt.Errorf("must be [name, time, value], not %d cells", len(cells))
	}
	if err := json.Unmarshal(cells[0], &s.name); err != nil || s.name == "" {
		return s, errors.New("the name must be a text")
	}
	if err := json.Unmarshal(cells[2], &s.value); err != nil {
		return s, errors.New("the value must be a number")
	}
	if s.time, err = u.instant(cells[1]); err != nil {
		return s, err
	}
	return s, nil
}

// instant reads nanoseconds since 1970, a time of RFC 3339, or "now".
func (u *upstream) instant(raw json.RawMessage) (int64, error) {
	var n int64
	if err := json.Unmarshal(raw, &n); err == nil && string(raw) != "null" {
		return n, nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err == nil {
		if s == "now" {
			return u.now().UnixNano(), nil
		}
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			return t.UnixNano(), nil
		}
	}
	return 0, errors.New(`the time must be nanoseconds since 1970, a time such as 2026-01-31T12:00:00Z, or "now"`)
}

// createTable makes a table that is not there yet. The name was checked.
func (u *upstream) createTable(ctx context.Context, name string) error {
	var there, tables int
	const q = `SELECT coalesce(sum(name = $1 COLLATE NOCASE), 0), count(*) FROM sqlite_schema WHERE type = 'table'`
	if err := u.write.QueryRowContext(ctx, q, name).Scan(&there, &tables); err != nil || there > 0 {
		return err
	}
	if tables >= maxTables {
		return fmt.Errorf("this sample service keeps %d tables at most", maxTables)
	}
	_, err := u.write.ExecContext(ctx, fmt.Sprintf(`CREATE TABLE IF NOT EXISTS "%s" (NAME VARCHAR NOT NULL, TIME BIGINT NOT NULL, VALUE DOUBLE NOT NULL)`, name))
	return err
}

func (u *upstream) insert(ctx context.Context, table string, rows []sample) error {
	tx, err := u.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, s := range rows {
		if _, err := tx.ExecContext(ctx, fmt.Sprintf(`INSERT INTO "%s" (NAME, TIME, VALUE) VALUES ($1, $2, $3)`, table), s.name, s.time, s.value); err != nil {
			return err
		}
	}
	return tx.Commit()
}
