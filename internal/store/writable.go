package store

import (
	"context"
	"path/filepath"
	"syscall"
	"time"

	"cardea/internal/credential"
)

// leastFree is what must be free on the disk before writing is said to go again, in bytes. One
// small change may still find a place in the log when the next one does not.
const leastFree = 2 << 20

// probeEvery is how often writing is tried at the most, however many ask.
const probeEvery = 500 * time.Millisecond

// Writable says why no change can be made now; nil if all could be written.
// If one could not, something is written that changes nothing, so that a disk
// with space again, or a database that is back, is noticed without a change (A02).
func (s *Store) Writable(ctx context.Context) error {
	if !s.writer.failed.Load() {
		return nil
	}
	s.probe.Lock()
	defer s.probe.Unlock()
	now := s.now()
	if now.Sub(s.probed).Abs() < probeEvery {
		return s.probeErr
	}
	s.probed, s.probeErr = now, s.tryWriting(ctx)
	return s.probeErr
}

// tryWriting writes something that changes nothing.
func (s *Store) tryWriting(ctx context.Context) error {
	if err := s.dialect.room(); err != nil {
		return err
	}
	err := s.writer.do(&call{ctx: ctx, weight: 1, apply: func(t *tx) error {
		_, err := t.exec("UPDATE head SET seq = seq")
		return err
	}})
	if err == nil {
		s.writer.failed.Store(false)
	}
	return err
}

func (d *sqliteDB) room() error {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(d.path), &disk); err != nil {
		return &credential.Error{Kind: credential.Down, Message: "cannot see the disk of " + d.path, Err: err}
	}
	if disk.Bavail*uint64(disk.Bsize) < leastFree {
		return credential.Errorf(credential.Down, "the disk is full: less than %d MiB are free beside %s", leastFree>>20, d.path)
	}
	return nil
}
