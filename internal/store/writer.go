package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"sync"
	"sync/atomic"

	"cardea/internal/credential"
)

// Bounds of a group. They keep a transaction short; they do not make anybody wait.
const (
	groupCalls = 128
	groupOps   = 4096
)

// writer is the one goroutine that writes. Nobody else uses its connection.
type writer struct {
	s      *Store
	queue  chan *call
	held   *call // taken from the queue, but for the next group
	conn   *sql.Conn
	stmts  map[string]*sql.Stmt
	bulk   map[bulk]string
	broken atomic.Pointer[credential.Error] // why nothing is written any more
	failed atomic.Bool                      // a group could not be written, and Writable has not found since that it goes again

	mu     sync.RWMutex // held for reading while handing in, for writing to close
	closed bool
}

// call is one caller's wish: work done in the transaction, and events that go with it.
type call struct {
	ctx    context.Context
	apply  func(*tx) error // may be run twice, the first time for nothing
	events []credential.Event
	weight int  // operations, for the bound of a group
	alone  bool // in a group of its own, without a limit in time

	err  error
	done chan struct{} // closed when events and err are final
}

func newWriter(s *Store) *writer {
	return &writer{s: s, queue: make(chan *call, groupCalls), stmts: map[string]*sql.Stmt{}, bulk: map[bulk]string{}}
}

// do hands in a call and waits for its true outcome. A caller that goes away
// before the writer has taken the call up leaves nothing behind; after that it
// waits all the same, so that nobody is told of a failure that was none.
func (w *writer) do(c *call) error {
	c.done = make(chan struct{})
	if err := w.hand(c); err != nil {
		return err
	}
	<-c.done
	return c.err
}

func (w *writer) hand(c *call) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return credential.Errorf(credential.Down, "the store is closed")
	}
	if err := c.ctx.Err(); err != nil {
		return w.s.fault(err)
	}
	select {
	case w.queue <- c:
		return nil
	case <-c.ctx.Done():
		return w.s.fault(c.ctx.Err())
	}
}

func (w *writer) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.closed = true
		close(w.queue)
	}
}

// run serves groups until the queue is closed and empty.
func (w *writer) run() {
	for first := range w.queue {
		for first != nil {
			w.serve(w.gather(first))
			first, w.held = w.held, nil
		}
	}
	w.drop()
}

// gather adds to the first call what waits already.
func (w *writer) gather(first *call) []*call {
	group, weight := []*call{first}, first.weight
	for !first.alone && len(group) < groupCalls && weight < groupOps {
		select {
		case c, ok := <-w.queue:
			switch {
			case !ok:
				return group
			case c.alone:
				w.held = c
				return group
			}
			group, weight = append(group, c), weight+c.weight
		default:
			return group
		}
	}
	return group
}

// serve writes a group and answers each of its calls.
func (w *writer) serve(group []*call) {
	live := group[:0]
	for _, c := range group {
		if err := c.ctx.Err(); err != nil {
			c.err = w.s.fault(err)
			close(c.done)
			continue
		}
		live = append(live, c)
	}
	if len(live) == 0 {
		return
	}
	err := w.transact(live)
	if err != nil && credential.KindOf(err) == credential.Down {
		w.failed.Store(true)
	}
	for _, c := range live {
		if c.err == nil {
			c.err = err
		}
		close(c.done)
	}
}

// transact applies the calls in one transaction. A call that fails by itself has
// its err set and leaves the others alone; the returned error is that of all the others.
func (w *writer) transact(group []*call) error {
	if b := w.broken.Load(); b != nil {
		return b
	}
	if err := w.s.dialect.alive(); err != nil {
		return err
	}
	ctx, cancel := w.s.dialect.limit()
	if group[0].alone {
		cancel()
		ctx, cancel = context.WithoutCancel(group[0].ctx), func() {}
	}
	defer cancel()
	t := &tx{w: w, ctx: ctx, now: w.s.now()}
	if group[0].alone { // which may do anything
		t.touchPolicy()
	}
	defer t.leavePolicy()
	t.held.forget()
	if err := w.begin(t); err != nil {
		w.drop()
		return w.fault(err)
	}
	good, err := w.apply(t, group)
	if err == nil && len(good) > 0 {
		err = w.chain(t, good)
	}
	if err != nil || len(good) == 0 {
		w.rollback(t)
		return w.fault(err)
	}
	if undone, err := w.s.dialect.finish(t); undone {
		w.rollback(t)
		return w.fault(err)
	} else if err != nil {
		return w.uncertain(t, err)
	}
	err = w.s.journal.note(t.ended)
	w.s.feed.reached(t.head)
	return err
}

func (w *writer) begin(t *tx) (err error) {
	if w.conn == nil {
		if w.conn, err = w.s.dialect.conn(t.ctx); err != nil {
			return err
		}
	}
	_, err = t.exec(w.s.dialect.begin())
	return err
}

// apply runs the calls and returns those that went well. Nearly always these are all of them, and
// savepoints would cost as much as small calls do: only if one fails, all is
// begun again with a savepoint for each. The error is one that ends the transaction.
func (w *writer) apply(t *tx, group []*call) (good []*call, err error) {
	if len(group) == 1 {
		return w.applyGuarded(t, group)
	}
	for _, c := range group {
		err = c.apply(t)
		if err != nil {
			break
		}
	}
	switch {
	case err == nil:
		return group, nil
	case w.s.classify(err).fatal:
		return nil, err
	}
	t.ended = nil
	t.held.forget()
	if _, err := t.exec("ROLLBACK"); err != nil {
		return nil, err
	}
	if err := w.begin(t); err != nil {
		return nil, err
	}
	return w.applyGuarded(t, group)
}

// applyGuarded runs each of several calls behind a savepoint.
func (w *writer) applyGuarded(t *tx, group []*call) (good []*call, err error) {
	for _, c := range group {
		mark := len(t.ended)
		if len(group) > 1 {
			if _, err := t.exec("SAVEPOINT change"); err != nil {
				return nil, err
			}
		}
		if err := c.apply(t); err != nil {
			if w.s.classify(err).fatal {
				return nil, err
			}
			c.err, t.ended = w.s.fault(err), t.ended[:mark]
			t.held.forget()
			if len(group) == 1 {
				return nil, nil
			}
			if _, err := t.exec("ROLLBACK TO SAVEPOINT change"); err != nil {
				return nil, err
			}
		} else {
			good = append(good, c)
		}
		if len(group) > 1 {
			if _, err := t.exec("RELEASE SAVEPOINT change"); err != nil {
				return nil, err
			}
		}
	}
	return good, nil
}

// rollback undoes the transaction. If that fails, the connection is given up, which undoes it too.
func (w *writer) rollback(t *tx) {
	ctx, cancel := w.s.dialect.limit()
	defer cancel()
	t.ctx = ctx
	if _, err := t.exec("ROLLBACK"); err != nil {
		w.drop()
	}
}

// uncertain tells what a COMMIT that failed means. If the database has answered
// that it did not commit, nothing was made. If it has not answered, or could not sync, nobody knows.
func (w *writer) uncertain(t *tx, err error) error {
	f := w.s.classify(err)
	e := w.fault(err)
	w.rollback(t)
	w.drop()
	if f.fatal && (f.stop || !f.answered) {
		return &credential.Error{Kind: credential.Down, Message: f.message + ": the change may or may not have been made", Err: err}
	}
	return e
}

// fault is [Store.fault], and stops all writing after an error after which SQLite cannot be trusted to have kept what it was given (D06).
func (w *writer) fault(err error) error {
	if err == nil {
		return nil
	}
	if f := w.s.classify(err); f.stop {
		w.broken.CompareAndSwap(nil, &credential.Error{
			Kind: credential.Down, Err: err,
			Message: f.message + "; nothing is written any more until Cardea is started again",
		})
		w.s.log.Error("the database cannot be written any more", "error", err)
	}
	return w.s.fault(err)
}

// drop gives the connection up; the next transaction takes a new one.
func (w *writer) drop() {
	for _, st := range w.stmts {
		st.Close()
	}
	clear(w.stmts)
	if w.conn != nil {
		_ = w.conn.Raw(func(any) error { return driver.ErrBadConn }) // so that the pool does not keep it
		w.conn.Close()
		w.conn = nil
	}
}
