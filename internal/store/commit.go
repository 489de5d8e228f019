package store

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"cardea/internal/audit"
	"cardea/internal/credential"
)

// Commit implements [credential.Writer].
func (s *Store) Commit(ctx context.Context, change credential.Change) ([]credential.Event, error) {
	if err := checkChange(&change); err != nil {
		return nil, err
	}
	c := &call{
		ctx:    ctx,
		events: slices.Clone(change.Events),
		weight: len(change.Ops) + len(change.Events),
		apply:  func(t *tx) error { return t.change(change.Ops) },
	}
	if err := s.writer.do(c); err != nil {
		return nil, err
	}
	return c.events, nil
}

// checkChange refuses a change that nobody would know of afterwards, and events that must not be written.
func checkChange(c *credential.Change) error {
	for i := range c.Events {
		if err := audit.Check(&c.Events[i]); err != nil {
			return err
		}
	}
	if len(c.Events) > 0 {
		return nil
	}
	if len(c.Ops) == 0 {
		return credential.Errorf(credential.Internal, "a change without operations and events")
	}
	for _, op := range c.Ops {
		switch op.(type) {
		case credential.Remember, credential.ReserveSerial, credential.SettleSerial, credential.PutSetting, credential.PutImport, credential.Expect:
		default:
			return credential.Errorf(credential.Internal, "a change with %T needs an event", op)
		}
	}
	return nil
}

const eventColumns = "seq, id, at, org, type, subject_kind, subject_id, subject_name, " +
	"actor_principal, actor_credential, actor_source, actor_door, actor_request, reason, detail, prev, hash"

// chain gives the events of the calls their place in the log. It locks the
// head, so that no other node can have the same place, and leaves what is to be written for the end.
func (w *writer) chain(t *tx, calls []*call) error {
	n := 0
	for _, c := range calls {
		n += len(c.events)
	}
	if n == 0 {
		return nil
	}
	var seq int64
	var hash []byte
	if err := t.row("SELECT seq, hash FROM head WHERE one = 1"+w.s.dialect.update())(&seq, &hash); err != nil {
		return err
	}
	args := make([]any, 0, n*17)
	for _, c := range calls {
		for i := range c.events {
			e := &c.events[i]
			seq++
			complete(e, seq, hash, t.now)
			hash = e.Hash
			args = append(args, eventArgs(e)...)
		}
	}
	if err := w.inserts("events ("+eventColumns+")", 17, args, t.later); err != nil {
		return err
	}
	t.head = seq
	return t.later("UPDATE head SET seq = $1, hash = $2 WHERE one = 1"+w.s.dialect.notify(), seq, hash)
}

// complete fills what Commit promises to fill.
func complete(e *credential.Event, seq int64, prev []byte, now time.Time) {
	if e.ID == "" {
		e.ID = rand.Text()
	}
	if e.At.IsZero() {
		e.At = now
	}
	e.At = e.At.UTC().Truncate(time.Microsecond)
	e.Seq, e.Prev = seq, prev
	e.Hash = audit.Hash(prev, e)
}

func eventArgs(e *credential.Event) []any {
	return []any{
		e.Seq, e.ID, micros(e.At), e.Org, e.Type, e.Subject.Kind, e.Subject.ID, e.Subject.Name,
		e.Actor.Principal, e.Actor.Credential, e.Actor.Source, e.Actor.Door, e.Actor.Request,
		e.Reason, encodeMap(e.Detail), e.Prev, e.Hash,
	}
}
