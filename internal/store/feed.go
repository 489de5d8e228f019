package store

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"time"

	"cardea/internal/credential"
)

// feed wakes those who wait for a revision.
type feed struct {
	mu   sync.Mutex
	seen atomic.Int64  // the newest revision that this process knows of; it never falls
	more chan struct{} // closed when seen grows
}

func (f *feed) init() { f.more = make(chan struct{}) }

// reached tells that a revision exists.
func (f *feed) reached(seq int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if seq > f.seen.Load() {
		f.seen.Store(seq)
		close(f.more)
		f.more = make(chan struct{})
	}
}

// beyond returns a channel that is closed when there is something after a revision.
func (f *feed) beyond(after int64) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen.Load() > after {
		done := make(chan struct{})
		close(done)
		return done
	}
	return f.more
}

// sinceSQL reads the head and what follows a revision in one statement, so in one snapshot.
const sinceSQL = `SELECT h.seq, e.seq, e.org, e.subject_kind, e.subject_id, e.subject_name
	FROM head h LEFT JOIN (SELECT seq, org, subject_kind, subject_id, subject_name FROM events WHERE seq > $1 ORDER BY seq LIMIT $2) e ON h.one = 1
	ORDER BY e.seq`

// Since implements [credential.Feed].
func (s *Store) Since(ctx context.Context, after int64, limit int) ([]credential.Touch, int64, error) {
	if err := s.dialect.alive(); err != nil {
		return nil, 0, err
	}
	touched, head, err := s.since(ctx, after, limit)
	if err == nil {
		s.feed.reached(head)
	}
	return touched, head, err
}

func (s *Store) since(ctx context.Context, after int64, limit int) ([]credential.Touch, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, s.fault(err)
	}
	ctx, cancel := s.dialect.short(ctx)
	defer cancel()
	rows, err := s.tail.QueryContext(ctx, after, max(limit, 1))
	if err != nil {
		return nil, 0, s.fault(err)
	}
	var touched []credential.Touch
	var head int64
	err = scanAll(rows, func(row scan) error {
		var seq sql.NullInt64
		var org, kind, id, name sql.NullString
		if err := row(&head, &seq, &org, &kind, &id, &name); err != nil || !seq.Valid {
			return err
		}
		touched = append(touched, credential.Touch{
			Seq: seq.Int64, Org: org.String,
			Subject: credential.Subject{Kind: kind.String, ID: id.String, Name: name.String},
		})
		return nil
	})
	if err != nil {
		return nil, 0, s.fault(err)
	}
	return touched, head, nil
}

// Wait implements [credential.Feed]. It is woken by commits of this process,
// and on PostgreSQL by those of others; the poll interval finds what neither has told.
func (s *Store) Wait(ctx context.Context, after int64) error {
	poll := time.NewTimer(s.poll)
	defer poll.Stop()
	select {
	case <-s.feed.beyond(after):
		return nil
	case <-poll.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
