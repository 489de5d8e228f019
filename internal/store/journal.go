package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"cardea/internal/credential"
)

// ending is a line of the journal: a credential and when it ended.
type ending struct {
	id string
	at int64 // microseconds since 1970
}

// journal is the file that remembers, outside the database, which credentials
// have ended: when an older backup is restored, they end again (K17). A line is
//
//	ID SP microseconds-since-1970 LF
//
// Lines are only ever added. Only the writer uses it after Open.
type journal struct {
	path    string
	file    *os.File
	size    int64    // where the last whole line ends
	pending []ending // durable in the database, not yet in the file
}

// note adds endings and syncs. A nil journal notes nothing. If it fails, the next
// call, or the next Open, adds what is missing.
func (j *journal) note(ended []ending) error {
	if j == nil || len(ended)+len(j.pending) == 0 {
		return nil
	}
	j.pending = append(j.pending, ended...)
	if err := j.flush(); err != nil {
		return &credential.Error{
			Kind: credential.Down, Err: err,
			Message: "the change was made, but could not be noted in the revocation journal " + j.path + ": " + reason(err) + "; it is added as soon as that is possible",
		}
	}
	return nil
}

func (j *journal) flush() error {
	var b []byte
	for _, e := range j.pending {
		b = fmt.Appendf(b, "%s %d\n", e.id, e.at)
	}
	if _, err := j.file.WriteAt(b, j.size); err != nil {
		_ = j.file.Truncate(j.size)
		return err
	}
	if err := j.file.Sync(); err != nil {
		return err
	}
	j.size += int64(len(b))
	j.pending = nil
	return nil
}

func (j *journal) close() { j.file.Close() }

// openJournal opens the journal, cuts off a torn last line, and adds what ended in the database without being noted.
func (s *Store) openJournal(ctx context.Context, path string) error {
	fail := func(err error) error {
		return &credential.Error{Kind: credential.Down, Message: "cannot open the revocation journal " + path + ": " + reason(err), Err: err}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fail(err)
	}
	j := &journal{path: path, file: f}
	s.journal = j
	known, size, err := readJournal(f)
	if err != nil {
		return fail(err)
	}
	j.size = size
	if err := f.Truncate(size); err != nil {
		return fail(err)
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return fail(err)
	}
	rows, err := s.read.QueryContext(ctx, "SELECT id, ended_at FROM credentials WHERE "+hasEnded+" ORDER BY ended_at, id")
	if err != nil {
		return s.fault(err)
	}
	var missing []ending
	err = scanAll(rows, func(row scan) error {
		var e ending
		err := row(&e.id, &e.at)
		if _, ok := known[e.id]; !ok {
			missing = append(missing, e)
		}
		return err
	})
	if err != nil {
		return s.fault(err)
	}
	return j.note(missing)
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// ReadJournal returns which credentials a revocation journal knows as ended, and
// since when. A torn last line, as a crash leaves it, is passed over; any other
// line that is none is an error. A file that does not exist is an empty journal.
func ReadJournal(path string) (map[string]time.Time, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]time.Time{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	known, _, err := readJournal(f)
	return known, err
}

// readJournal also returns where the last whole line ends.
func readJournal(r io.Reader) (known map[string]time.Time, size int64, err error) {
	known = map[string]time.Time{}
	in := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			return known, size, nil
		}
		if err != nil {
			return nil, 0, err
		}
		id, at, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		us, err := strconv.ParseInt(at, 10, 64)
		if err != nil || id == "" {
			return nil, 0, fmt.Errorf("line %d of the revocation journal is not one", n)
		}
		if _, ok := known[id]; !ok {
			known[id] = fromMicros(us)
		}
		size += int64(len(line))
	}
}
