package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"cardea/internal/credential"
)

// channel is where nodes tell each other of new revisions.
const channel = "cardea"

// postgresDB is the dialect of PostgreSQL.
type postgresDB struct {
	db     *sql.DB // writing and lists
	point  *sql.DB // look-ups and the feed
	locks  *sql.DB // a connection for each name that is locked or waited for, so that waiting takes none from those who work
	rooms  *rooms
	config *pgx.ConnConfig
	where  string // "PostgreSQL at db.example:5432, database cardea"
	log    *slog.Logger
	poll   time.Duration
}

func openPostgres(ctx context.Context, s *Store, url string) (dialect, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil { // whose text may hold parts of the password
		return nil, credential.Errorf(credential.Invalid, `the database URL cannot be read: it must be like "postgres://USER:PASSWORD@HOST:PORT/DATABASE"; characters such as @ : / %% in a password must be written as %%40 and so on`)
	}
	config.ConnectTimeout = connectPatience
	for name, value := range map[string]string{
		"application_name":                    "cardea",
		"statement_timeout":                   millis(commitPatience),
		"lock_timeout":                        millis(lockPatience),
		"idle_in_transaction_session_timeout": millis(2 * commitPatience),
	} {
		if _, set := config.RuntimeParams[name]; !set {
			config.RuntimeParams[name] = value
		}
	}
	d := &postgresDB{config: config, rooms: &s.rooms, log: s.log, poll: s.poll}
	d.where = fmt.Sprintf("PostgreSQL at %s, database %s", net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))), config.Database)
	d.db, d.point, d.locks = d.pool(8, durable), d.pool(6, pointed), d.pool(0, durable)
	s.read, s.point = d.db, d.point
	ctx, cancel := context.WithTimeout(ctx, 2*connectPatience)
	defer cancel()
	if err := d.db.PingContext(ctx); err != nil {
		_ = d.close(false)
		return nil, d.unreachable(err)
	}
	return d, nil
}

// pool bounds the connections, so that a slow database makes callers wait and not more connections (N06). One of
// size 0 has no bound of its own and keeps no connection.
func (d *postgresDB) pool(size int, ready func(context.Context, *pgx.Conn) error) *sql.DB {
	db := stdlib.OpenDB(*d.config, stdlib.OptionAfterConnect(ready))
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

// durable makes sure that COMMIT waits for the disk, whatever the server's default is.
func durable(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
	return err
}

// pointed makes look-ups use indexes also by a plan that was made, and is kept, from when the tables were small. A plan
// without an index looks very dear then, and must not be compiled for that.
func pointed(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, "SELECT set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false)")
	return err
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// unreachable says which database does not answer, and why.
func (d *postgresDB) unreachable(err error) error {
	why := "it does not answer"
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		why = e.Message
	} else if e, ok := errors.AsType[*net.OpError](err); ok {
		why = e.Err.Error()
	}
	return &credential.Error{Kind: credential.Down, Message: d.where + ": " + why, Err: d.redact(err)}
}

// redact takes the password out of the text of an error.
func (d *postgresDB) redact(err error) error {
	if d.config.Password == "" || !strings.Contains(err.Error(), d.config.Password) {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), d.config.Password, "***"))
}

func (d *postgresDB) name() string                                { return "postgres" }
func (d *postgresDB) conn(ctx context.Context) (*sql.Conn, error) { return d.db.Conn(ctx) }
func (d *postgresDB) begin() string                               { return "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE" }

func (d *postgresDB) notify() string { return " RETURNING pg_notify('" + channel + "', seq::text)" }
func (d *postgresDB) share() string  { return " FOR SHARE" }
func (d *postgresDB) keep() string   { return " FOR KEY SHARE" }
func (d *postgresDB) update() string { return " FOR UPDATE" }
func (d *postgresDB) alive() error   { return nil }
func (d *postgresDB) room() error    { return nil }
func (d *postgresDB) opened() error  { return nil }

func (d *postgresDB) close(bool) error {
	return errors.Join(d.locks.Close(), d.point.Close(), d.db.Close())
}

// finish sends all at once and waits once: the head is locked, and the other nodes wait for it. The server passes over what
// follows an error, COMMIT included.
func (d *postgresDB) finish(t *tx) (undone bool, err error) {
	var all pgx.Batch
	for _, st := range t.last {
		all.Queue(st.query, st.args...)
	}
	all.Queue("COMMIT")
	return false, t.w.conn.Raw(func(c any) error {
		return c.(*stdlib.Conn).Conn().SendBatch(t.ctx, &all).Close()
	})
}

func (d *postgresDB) snapshot() *sql.TxOptions {
	return &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
}

func (d *postgresDB) param(n int) string { return "$" + strconv.Itoa(n) }

func (d *postgresDB) has(column, param string) string {
	return "jsonb_exists(" + column + "::jsonb, " + param + ")"
}

func (d *postgresDB) each(list, alias string) string {
	return "jsonb_array_elements_text(cast(cast(" + list + " AS TEXT) AS JSONB)) AS " + alias + "(value)"
}

func (d *postgresDB) limit() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), commitPatience)
}

func (d *postgresDB) short(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, lookupPatience)
}

// listen holds a connection of its own that waits for notifications. When it dies
// it is made again; meanwhile the feed polls (N05).
func (d *postgresDB) listen(ctx context.Context, reached func(int64)) {
	pause := d.poll
	for ctx.Err() == nil {
		heard, err := d.listenOnce(ctx, reached)
		if ctx.Err() != nil {
			return
		}
		if heard {
			pause = d.poll
		}
		d.log.Warn("the connection that listens for changes is lost; polling until it is back", "database", d.where, "error", d.redact(err))
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, 5*time.Second)
	}
}

// heartbeat is how long the listening connection may be silent before it is asked whether it lives.
const heartbeat = 10 * time.Second

// listenOnce listens until the connection dies, and reports whether it had one.
func (d *postgresDB) listenOnce(ctx context.Context, reached func(int64)) (heard bool, err error) {
	c, err := pgx.ConnectConfig(ctx, d.config.Copy())
	if err != nil {
		return false, err
	}
	defer c.Close(context.WithoutCancel(ctx))
	if _, err := c.Exec(ctx, "LISTEN "+channel); err != nil {
		return false, err
	}
	if err := d.catchUp(ctx, reached); err != nil {
		return false, err
	}
	for {
		quiet, cancel := context.WithTimeout(ctx, heartbeat)
		n, err := c.WaitForNotification(quiet)
		cancel()
		if err == nil {
			if seq, err := strconv.ParseInt(n.Payload, 10, 64); err == nil {
				reached(seq)
			}
			continue
		}
		if ctx.Err() != nil || !pgconn.Timeout(err) {
			return true, err
		}
		ask, cancel := context.WithTimeout(ctx, connectPatience)
		err = c.Ping(ask)
		cancel()
		if err != nil {
			return true, err
		}
	}
}

// catchUp tells what was told while nobody listened: until the first change after that, no notification would.
func (d *postgresDB) catchUp(ctx context.Context, reached func(int64)) error {
	ctx, cancel := d.short(ctx)
	defer cancel()
	var head int64
	if err := d.point.QueryRowContext(ctx, "SELECT seq FROM head WHERE one = 1").Scan(&head); err != nil {
		return err
	}
	reached(head)
	return nil
}

// exclusive holds an advisory lock on a connection of its own. Of one process, one at a time asks for it.
func (d *postgresDB) exclusive(ctx context.Context, name string, fn func(context.Context) error) error {
	leave, err := d.rooms.enter(ctx, name)
	if err != nil {
		return err
	}
	defer leave()
	return d.locked(ctx, "cardea:"+name, func(ctx context.Context, _ *sql.Conn) error { return fn(ctx) })
}

func (d *postgresDB) migrating(ctx context.Context, fn func(*sql.Conn) error) error {
	return d.locked(ctx, "cardea schema", func(_ context.Context, lock *sql.Conn) error {
		c, err := d.db.Conn(ctx)
		if err != nil {
			return d.unreachable(err)
		}
		defer c.Close()
		return fn(c)
	})
}

// locked waits for the lock of a name, and gives fn a context that ends when the lock is lost.
func (d *postgresDB) locked(ctx context.Context, name string, fn func(context.Context, *sql.Conn) error) error {
	c, err := d.locks.Conn(ctx)
	if err != nil {
		return d.unreachable(err)
	}
	defer c.Close()
	for {
		var got bool
		if err := c.QueryRowContext(ctx, "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", name).Scan(&got); err != nil {
			return d.unreachable(err)
		}
		if got {
			break
		}
		select {
		case <-ctx.Done():
			return &credential.Error{Kind: credential.Down, Message: "gave up waiting for what another node does", Err: ctx.Err()}
		case <-time.After(50 * time.Millisecond):
		}
	}
	inner, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		d.watch(inner, c, cancel)
	}()
	err = fn(inner, c)
	cancel(nil)
	<-watched
	undo, done := context.WithTimeout(context.WithoutCancel(ctx), lookupPatience)
	defer done()
	if _, bad := c.ExecContext(undo, "SELECT pg_advisory_unlock(hashtextextended($1, 0))", name); bad != nil {
		_ = c.Raw(func(any) error { return driver.ErrBadConn }) // so that the lock does not live on in the pool
	}
	return err
}

// watch asks once a second whether the connection that holds a lock lives, and cancels when it does not.
func (d *postgresDB) watch(ctx context.Context, c *sql.Conn, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			ask, done := context.WithTimeout(context.WithoutCancel(ctx), lookupPatience)
			_, err := c.ExecContext(ask, "SELECT 1")
			done()
			if err != nil {
				cancel(d.unreachable(err))
				return
			}
		}
	}
}

// fault reads the error codes of PostgreSQL, appendix A of its manual.
func (d *postgresDB) fault(err error) fault {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		var closed *pgconn.ConnectError
		var network net.Error
		if errors.As(err, &closed) || errors.As(err, &network) || pgconn.Timeout(err) || strings.Contains(err.Error(), "conn closed") || strings.Contains(err.Error(), "unexpected EOF") {
			return fault{kind: credential.Down, message: d.where + " does not answer", fatal: true}
		}
		return fault{}
	}
	switch e.Code {
	case "23505":
		return fault{kind: credential.Exists, message: "it exists already", taken: true, answered: true}
	case "23503":
		return fault{kind: credential.Conflict, message: "what it belongs to does not exist any more", answered: true}
	case "40001", "40P01":
		return fault{kind: credential.Conflict, message: "another change came in between: try again", answered: true}
	case "55P03", "57014":
		return fault{kind: credential.Down, message: d.where + " is too busy", answered: true}
	case "22021", "22P05":
		return fault{kind: credential.Invalid, message: "text must be UTF-8 without NUL", answered: true}
	case "53100":
		return fault{kind: credential.Down, message: "the disk is full: " + d.where, fatal: true, answered: true}
	case "25006":
		return fault{kind: credential.Down, message: d.where + " is read-only", fatal: true, answered: true}
	case "57P01", "57P02", "57P03", "57P05", "25P03":
		return fault{kind: credential.Down, message: d.where + " is stopping or starting", fatal: true}
	}
	switch e.Code[:2] {
	case "08":
		return fault{kind: credential.Down, message: d.where + " does not answer", fatal: true}
	case "28", "3D", "53", "58":
		return fault{kind: credential.Down, message: d.where + ": " + e.Message, fatal: true, answered: true}
	}
	return fault{kind: credential.Internal, message: "unexpected error of " + d.where, answered: true}
}
