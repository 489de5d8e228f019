package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"cardea/internal/credential"
)

// oldest is the oldest SQLite that is used: earlier ones can lose a part of a WAL that was reset (D04).
const oldest = "3.51.3"

// sqliteDB is the dialect of SQLite: one file, one process, one writer.
type sqliteDB struct {
	path  string
	lock  *os.File // cardea.lock
	write *sql.DB
	read  *sql.DB
	point *sql.DB
	rooms *rooms

	main, wal os.FileInfo                      // the files as they were opened
	gone      atomic.Pointer[credential.Error] // set for good when they are not those any more
}

func openSQLite(ctx context.Context, s *Store, path string) (dialect, error) {
	if path == "" {
		return nil, credential.Errorf(credential.Invalid, `the database URL "sqlite:" names no file`)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, credential.Errorf(credential.Invalid, "the database file: %v", err)
	}
	d := &sqliteDB{path: path, rooms: &s.rooms}
	if d.lock, err = lockFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := d.open(ctx); err != nil {
		_ = d.close(false)
		return nil, d.explain(err)
	}
	s.read, s.point = d.read, d.point
	return d, nil
}

// open makes the three pools. The file is made here, so that its mode, and that
// of the files that SQLite puts beside it, is 0600 from the first moment.
func (d *sqliteDB) open(ctx context.Context) (err error) {
	f, err := os.OpenFile(d.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	f.Close()
	common := "?_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_pragma=trusted_schema(0)&_pragma=cache_size(-16000)"
	// What a statement of many rows would need to be undone alone is kept in memory (temp_store), not in a file.
	if d.write, err = d.pool(common+"&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(4000)&_pragma=temp_store(2)", 1); err != nil {
		return err
	}
	var version, mode string
	if err := d.write.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return err
	}
	if err := checkSQLite(version); err != nil {
		return err
	}
	if err := d.write.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return credential.Errorf(credential.Down, "the database %s cannot use a write-ahead log on this file system: put it on a local disk", d.path)
	}
	if d.read, err = d.pool(common+"&mode=ro&_pragma=query_only(1)", 6); err != nil {
		return err
	}
	d.point, err = d.pool(common+"&mode=ro&_pragma=query_only(1)", 4)
	return err
}

func (d *sqliteDB) pool(query string, size int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file://"+(&url.URL{Path: d.path}).EscapedPath()+query)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// checkSQLite refuses versions older than oldest.
func checkSQLite(version string) error {
	have, want := strings.Split(version, "."), strings.Split(oldest, ".")
	for i, w := range want {
		n, m := 0, 0
		if i < len(have) {
			n, _ = strconv.Atoi(have[i])
		}
		if m, _ = strconv.Atoi(w); n != m {
			if n > m {
				return nil
			}
			return credential.Errorf(credential.Invalid, "SQLite %s is too old: it can lose what was committed; build with %s or newer", version, oldest)
		}
	}
	return nil
}

// lockFolder takes the lock of a data folder for as long as the process lives (D11).
func lockFolder(dir string) (*os.File, error) {
	name := filepath.Join(dir, "cardea.lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, &credential.Error{Kind: credential.Down, Message: "cannot make " + name + ": " + reason(err), Err: err}
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		b := make([]byte, 20)
		n, _ := f.ReadAt(b, 0)
		f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &credential.Error{Kind: credential.Down, Message: "cannot lock " + name + ": " + reason(err), Err: err}
		}
		pid := strings.TrimSpace(string(b[:n]))
		return nil, credential.Errorf(credential.Conflict, "the data folder %s is in use by another Cardea, process %s: stop it first", dir, pid)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

// reason is the part of an error of the file system that does not repeat the path.
func reason(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// explain names the file in errors of opening.
func (d *sqliteDB) explain(err error) error {
	if e, ok := errors.AsType[*credential.Error](err); ok {
		return e
	}
	f := d.fault(err)
	if f.message == "" {
		f = fault{kind: credential.Down, message: reason(err)}
	}
	return &credential.Error{Kind: f.kind, Message: fmt.Sprintf("cannot open the database %s: %s", d.path, f.message), Err: err}
}

func (d *sqliteDB) name() string                                { return "sqlite" }
func (d *sqliteDB) conn(ctx context.Context) (*sql.Conn, error) { return d.write.Conn(ctx) }
func (d *sqliteDB) begin() string                               { return "BEGIN IMMEDIATE" }
func (d *sqliteDB) snapshot() *sql.TxOptions                    { return &sql.TxOptions{ReadOnly: true} }
func (d *sqliteDB) notify() string                              { return "" }
func (d *sqliteDB) share() string                               { return "" }
func (d *sqliteDB) keep() string                                { return "" }
func (d *sqliteDB) update() string                              { return "" }

// param gives a parameter without a name: the driver looks every parameter's name
// up in a list, which makes statements with a thousand of them ten times slower.
func (d *sqliteDB) param(int) string { return "?" }

func (d *sqliteDB) has(column, param string) string {
	return "EXISTS (SELECT 1 FROM json_each(" + column + ") WHERE value = " + param + ")"
}

func (d *sqliteDB) each(list, alias string) string { return "json_each(" + list + ") AS " + alias }

// limit gives no deadline: the driver would need a goroutine for each statement
// to watch it, and a statement on a file ends by itself.
func (d *sqliteDB) limit() (context.Context, context.CancelFunc) {
	return context.Background(), func() {}
}

// short drops the deadline for the same reason: a look-up takes microseconds.
func (d *sqliteDB) short(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithoutCancel(ctx), func() {}
}

func (d *sqliteDB) listen(context.Context, func(int64)) {}

func (d *sqliteDB) exclusive(ctx context.Context, name string, fn func(context.Context) error) error {
	leave, err := d.rooms.enter(ctx, name)
	if err != nil {
		return err
	}
	defer leave()
	return fn(ctx)
}

func (d *sqliteDB) migrating(ctx context.Context, fn func(*sql.Conn) error) error {
	c, err := d.write.Conn(ctx)
	if err != nil {
		return d.explain(err)
	}
	defer c.Close()
	if err := fn(c); err != nil {
		return d.explain(err)
	}
	return nil
}

func (d *sqliteDB) finish(t *tx) (undone bool, err error) {
	for _, st := range t.last {
		if _, err := t.exec(st.query, st.args...); err != nil {
			return true, err
		}
	}
	_, err = t.exec("COMMIT")
	return false, err
}

// opened notes which files are open.
func (d *sqliteDB) opened() (err error) {
	if d.main, err = os.Stat(d.path); err != nil {
		return d.explain(err)
	}
	// The log exists as soon as there are readers and stays until the last connection is closed.
	if d.wal, err = os.Stat(d.path + "-wal"); err != nil {
		return d.explain(err)
	}
	return nil
}

// alive fails for good once the database file or its log is not the one that was opened: what
// would be written then is lost to whoever opens the folder next (D12).
func (d *sqliteDB) alive() error {
	if gone := d.gone.Load(); gone != nil {
		return gone
	}
	for _, f := range [...]struct {
		path string
		was  os.FileInfo
	}{{d.path, d.main}, {d.path + "-wal", d.wal}} {
		is, err := os.Stat(f.path)
		if err == nil && os.SameFile(f.was, is) {
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &credential.Error{Kind: credential.Down, Message: "cannot see the database file " + f.path + ": " + reason(err), Err: err}
		}
		d.gone.CompareAndSwap(nil, credential.Errorf(credential.Down,
			"the database file %s was removed or replaced while it was open: stop Cardea, put the right file back, start it again", f.path))
		return d.gone.Load()
	}
	return nil
}

// close closes the readers first: while one of them reads, the log cannot be folded into the file, and
// if one were the last, it could not do it.
func (d *sqliteDB) close(sound bool) error {
	var errs []error
	for _, db := range []*sql.DB{d.point, d.read} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if d.write != nil {
		if sound && d.alive() == nil {
			errs = append(errs, d.fold())
		}
		errs = append(errs, d.write.Close())
	}
	if d.lock != nil {
		d.lock.Close()
	}
	return errors.Join(errs...)
}

// fold moves all that is in the log into the database file, which is whole by itself then (D12).
func (d *sqliteDB) fold() error {
	var busy, frames, moved int64
	err := d.write.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved)
	if err != nil {
		return d.explain(err)
	}
	if busy != 0 {
		return credential.Errorf(credential.Down, "the database %s is being read by another program: what is in %s-wal belongs to it", d.path, d.path)
	}
	return nil
}

// fault reads the result codes of SQLite, https://sqlite.org/rescode.html.
func (d *sqliteDB) fault(err error) fault {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return fault{}
	}
	switch code := e.Code(); code & 0xff {
	case lib.SQLITE_CONSTRAINT:
		return constraintFault(code)
	case lib.SQLITE_FULL:
		return fault{kind: credential.Down, message: "the disk is full: nothing was changed", fatal: true, answered: true}
	case lib.SQLITE_IOERR:
		return ioFault(code)
	case lib.SQLITE_READONLY, lib.SQLITE_PERM, lib.SQLITE_CANTOPEN:
		return fault{kind: credential.Down, message: "the database file cannot be written or opened", fatal: true, answered: true}
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_PROTOCOL:
		return fault{kind: credential.Down, message: "the database file is locked by another program", fatal: true, answered: true}
	case lib.SQLITE_CORRUPT:
		return fault{kind: credential.Down, message: "the database file is damaged: restore a backup", fatal: true, stop: true}
	case lib.SQLITE_NOTADB:
		return fault{kind: credential.Down, message: "the file is not a database", fatal: true, stop: true}
	case lib.SQLITE_INTERRUPT:
		return fault{kind: credential.Down, message: "the request was given up before the database answered", fatal: true, answered: true}
	case lib.SQLITE_NOMEM:
		return fault{kind: credential.Down, message: "there is not enough memory", fatal: true, answered: true}
	}
	return fault{}
}

func constraintFault(code int) fault {
	switch code {
	case lib.SQLITE_CONSTRAINT_UNIQUE, lib.SQLITE_CONSTRAINT_PRIMARYKEY, lib.SQLITE_CONSTRAINT_ROWID:
		return fault{kind: credential.Exists, message: "it exists already", taken: true}
	case lib.SQLITE_CONSTRAINT_FOREIGNKEY:
		return fault{kind: credential.Conflict, message: "what it belongs to does not exist any more"}
	}
	return fault{kind: credential.Internal, message: "a rule of the database is broken"}
}

// ioFault tells errors of reading, after which one may try again, from those of
// writing and syncing, after which nobody knows what is on the disk.
func ioFault(code int) fault {
	f := fault{kind: credential.Down, message: "the disk gives an error", fatal: true}
	switch code {
	case lib.SQLITE_IOERR_READ, lib.SQLITE_IOERR_SHORT_READ, lib.SQLITE_IOERR_LOCK, lib.SQLITE_IOERR_RDLOCK, lib.SQLITE_IOERR_CHECKRESERVEDLOCK, lib.SQLITE_IOERR_NOMEM:
		f.answered = true
	case lib.SQLITE_IOERR_SHMSIZE, lib.SQLITE_IOERR_SHMOPEN:
		f.message, f.answered = "the disk gives an error, probably because it is full", true
	default:
		f.stop = true
	}
	return f
}

// rooms are the names that [Store.Exclusive] has locked in this process.
type rooms struct {
	mu   sync.Mutex
	busy map[string]chan struct{} // closed when it gets free
}

func (r *rooms) enter(ctx context.Context, name string) (leave func(), err error) {
	for {
		r.mu.Lock()
		wait, taken := r.busy[name]
		if !taken {
			mine := make(chan struct{})
			if r.busy == nil {
				r.busy = map[string]chan struct{}{}
			}
			r.busy[name] = mine
			r.mu.Unlock()
			return func() {
				r.mu.Lock()
				delete(r.busy, name)
				r.mu.Unlock()
				close(mine)
			}, nil
		}
		r.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, &credential.Error{Kind: credential.Down, Message: "gave up waiting for what another request does", Err: ctx.Err()}
		}
	}
}
