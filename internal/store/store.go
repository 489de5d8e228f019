// Package store keeps what Cardea knows in SQLite or PostgreSQL.
//
// There is one set of statements for both, written with $N parameters; the few
// things that differ are in the private type dialect, and sqlite.go and postgres.go
// hold what opens, guards and wakes the one or the other.
//
// # Writing
//
// All writing goes through one goroutine, the writer. It takes what callers of
// [Store.Commit] have handed in while it was busy, and puts it into one database
// transaction, each change behind a savepoint, so that one that fails leaves the
// others alone. The revision lock is taken last: only then the events get their
// sequence numbers and their hashes, so that numbers have no gaps and become
// visible in their order, over all nodes. A group costs one fsync, however many
// callers wait for it.
//
// # Reading
//
// Reads never wait for the writer. Every answer to a gate carries the revision of
// the snapshot it was read from.
//
// # Failing
//
// What a caller may see is in the kinds of [credential.Error]. Errors and
// logs name the host and the database, never the password of a database URL.
package store

import (
	"context"
	"database/sql"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cardea/internal/credential"
)

// Config says where the database is.
type Config struct {
	URL     string           // "sqlite:PATH" or "postgres://…"
	Journal string           // path of the revocation journal; "" for none
	Log     *slog.Logger     // nil: none
	Poll    time.Duration    // how often a feed looks by itself; 0: 250 ms
	Now     func() time.Time // nil: time.Now
}

// Store is an open database. It implements [credential.Store] and [credential.Dumper].
type Store struct {
	dialect dialect
	log     *slog.Logger
	now     func() time.Time
	poll    time.Duration
	read    *sql.DB // lists and snapshots
	point   *sql.DB // look-ups and the feed: short statements only, so that lists never delay them
	lookup  *sql.Stmt
	named   *sql.Stmt
	foreign *sql.Stmt
	tail    *sql.Stmt
	byRef   *sql.Stmt
	policy  atomic.Pointer[policy]

	policyNews   *sql.Stmt
	policyWrites atomic.Int64 // odd while this process may be changing scopes, roles, routes or authenticators
	writer       *writer

	probe    sync.Mutex // of Writable
	probed   time.Time
	probeErr error
	feed     feed
	journal  *journal
	rooms    rooms // what Exclusive holds on SQLite

	closing sync.Once
	closed  atomic.Bool
	stop    context.CancelFunc // ends the background goroutines
	behind  sync.WaitGroup     // waits for them
}

var (
	_ credential.Store  = (*Store)(nil)
	_ credential.Dumper = (*Store)(nil)
)

// Open opens the database, brings its schema up to date and completes the
// journal. Errors: Invalid if the URL cannot be used; Conflict if another process has the
// SQLite folder, or the database belongs to a newer version; Down if it does not answer.
func Open(ctx context.Context, c Config) (*Store, error) {
	s := &Store{log: c.Log, now: c.Now, poll: c.Poll}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.poll <= 0 {
		s.poll = 250 * time.Millisecond
	}
	s.feed.init()
	var err error
	scheme, rest, _ := strings.Cut(c.URL, ":")
	switch scheme {
	case "sqlite":
		s.dialect, err = openSQLite(ctx, s, rest)
	case "postgres", "postgresql":
		s.dialect, err = openPostgres(ctx, s, c.URL)
	default:
		err = credential.Errorf(credential.Invalid, `the database URL must be "sqlite:PATH" or "postgres://USER:PASSWORD@HOST/DATABASE"`)
	}
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx, c.Journal); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// start migrates, prepares and sets the goroutines going.
func (s *Store) start(ctx context.Context, journal string) error {
	if err := s.migrate(ctx); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if journal != "" {
		if err := s.openJournal(ctx, journal); err != nil {
			return err
		}
	}
	behind, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.writer = newWriter(s)
	s.behind.Go(s.writer.run)
	if err := s.dialect.opened(); err != nil {
		return err
	}
	s.behind.Go(func() { s.dialect.listen(behind, s.feed.reached) })
	return nil
}

// prepare readies the statements of the hot paths.
func (s *Store) prepare(ctx context.Context) (err error) {
	if s.lookup, err = s.point.PrepareContext(ctx, lookupSQL); err != nil {
		return s.fault(err)
	}
	if s.named, err = s.point.PrepareContext(ctx, namedSQL); err != nil {
		return s.fault(err)
	}
	if s.tail, err = s.point.PrepareContext(ctx, sinceSQL); err != nil {
		return s.fault(err)
	}
	if s.foreign, err = s.point.PrepareContext(ctx, foreignSQL); err != nil {
		return s.fault(err)
	}
	if s.byRef, err = s.point.PrepareContext(ctx, principalSQL); err != nil {
		return s.fault(err)
	}
	if s.policyNews, err = s.point.PrepareContext(ctx, policySQL); err != nil {
		return s.fault(err)
	}
	_, head, err := s.since(ctx, 0, 1)
	if err == nil {
		s.feed.reached(head)
	}
	return err
}

// Close ends everything. Commits that wait are still made; later ones are refused with Down. Afterwards the
// file of SQLite holds all by itself; an error says that it does not, and nothing is lost as long as the files beside it stay.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() {
		if s.writer != nil {
			s.writer.close()
		}
		if s.stop != nil {
			s.stop()
		}
		s.behind.Wait()
		s.closed.Store(true)
		if s.journal != nil {
			s.journal.close()
		}
		err = s.dialect.close(s.writer != nil && s.writer.broken.Load() == nil)
	})
	return err
}
