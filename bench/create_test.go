//go:build bench

package bench

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"cardea/internal/authority"
	"cardea/internal/testkit"
)

// createLines measures durable creation beside a bare insert and commit of a
// row with the columns, contents and indexes of the credentials table. What Cardea
// does beyond it: secret, checks, the event with its hash, the feed, the answer of the gate.
func createLines(t *testing.T, tab *table) {
	dir := t.TempDir()
	pg := testkit.NewPostgres(t, true) // fsync on
	t.Cleanup(pg.Stop)
	lite := newCore(t, filepath.Join(dir, "lite"), "")
	post := newCore(t, filepath.Join(dir, "post"), pg.Database(t))
	bareLite, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "bare.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	bareLite.SetMaxOpenConns(1)
	barePost, err := sql.Open("pgx", pg.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bareLite.Close(); _ = barePost.Close() })
	createOn(t, tab, "SQLite", lite, bareLite)
	createOn(t, tab, "PostgreSQL", post, barePost)
}

func createOn(t *testing.T, tab *table, name string, c *core, db *sql.DB) {
	b := newBareTable(t, db)
	const clients, each, batch = 8, 40, 500
	var ours, bare, oursBatch, bareBatch series
	for range rounds {
		ours = append(ours, perSecond(clients*each, func() {
			parallel(clients, func() {
				for range each {
					if _, err := c.auth.CreateCredential(context.Background(), local(), newKey()); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}))
		bare = append(bare, perSecond(clients*each, func() {
			parallel(clients, func() {
				for range each {
					b.insert(t, 1)
				}
			})
		}))
		oursBatch = append(oursBatch, perSecond(4*batch, func() {
			for range 4 {
				all := make([]authority.NewCredential, batch)
				for i := range all {
					all[i] = newKey()
				}
				if _, err := c.auth.CreateCredentials(context.Background(), local(), all); err != nil {
					t.Fatal(err)
				}
			}
		}))
		bareBatch = append(bareBatch, perSecond(4*batch, func() {
			for range 4 {
				b.insert(t, batch)
			}
		}))
	}
	tab.ratio(name+": credentials created one by one, 8 clients", "a second", ours, bare, 0, false)
	tab.ratio(name+": credentials created in batches of 500", "a second", oursBatch, bareBatch, 0.5, false)
}

func perSecond(n int, f func()) float64 {
	start := time.Now()
	f()
	return float64(n) / time.Since(start).Seconds()
}

func parallel(n int, f func()) {
	var all sync.WaitGroup
	for range n {
		all.Go(f)
	}
	all.Wait()
}

type bareTable struct {
	db   *sql.DB
	text string
	mu   sync.Mutex
	next int
}

const bareColumns = 19 // as the credentials table

func newBareTable(t *testing.T, db *sql.DB) *bareTable {
	t.Helper()
	var cols, params []string
	for i := range bareColumns {
		cols = append(cols, fmt.Sprintf("c%d TEXT NOT NULL", i))
		params = append(params, fmt.Sprintf("$%d", i+1))
	}
	cols[0] += " PRIMARY KEY"
	statements := []string{
		"CREATE TABLE bare (" + strings.Join(cols, ",") + ")",
		"CREATE INDEX bare_newest ON bare (c1, c13, c0)", "CREATE INDEX bare_principal ON bare (c3)",
		"CREATE INDEX bare_expiry ON bare (c1, c12) WHERE c12 <> '0'",
		"CREATE INDEX bare_project ON bare (c1, c9) WHERE c9 <> ''", "CREATE INDEX bare_ended ON bare (c15, c0) WHERE c10 <> 'active'",
	}
	for _, text := range statements {
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	return &bareTable{db: db, text: "INSERT INTO bare VALUES (" + strings.Join(params, ",") + ")"}
}

// insert adds n rows, one statement each, and commits.
func (b *bareTable) insert(t *testing.T, n int) {
	tx, err := b.db.Begin()
	if err != nil {
		t.Error(err)
		return
	}
	defer tx.Rollback()
	st, err := tx.Prepare(b.text)
	if err != nil {
		t.Error(err)
		return
	}
	for range n {
		b.mu.Lock()
		b.next++
		id := b.next
		b.mu.Unlock()
		if _, err := st.Exec(bareRow(id)...); err != nil {
			t.Error(err)
			return
		}
	}
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
}

func bareRow(id int) []any {
	row := make([]any, bareColumns)
	for i := range row {
		row[i] = "0"
	}
	row[0] = fmt.Sprintf("%012d", id*7919%1_000_000_007) // spread, as random ids are
	row[1], row[3], row[9], row[10] = "default", "PreaderReader", "", "active"
	row[12], row[13] = fmt.Sprint(1_790_000_000_000_000+id), fmt.Sprint(1_780_000_000_000_000+id)
	row[17] = `[{"n":1,"hash":"` + strings.Repeat("A", 44) + `","created_at":"2026-01-01T00:00:00.000000Z"}]`
	return row
}
