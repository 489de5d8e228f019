package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sys/unix"

	"cardea/internal/view"
)

// Bounds of what one request carries, and of the time that it should take.
const (
	maxChunk      = 1000
	firstChunk    = 200
	maxChunkBytes = 4 << 20
	longChunk     = 4 * time.Second
)

// rowFile is something with rows, which can be read more than once.
type rowFile struct {
	name string
	open func() (rowSource, io.Closer, error)
}

// importRun is one run of an import.
type importRun struct {
	a       *app
	c       *client
	file    rowFile
	options view.ImportOptions
	dry     bool
	results string // path; "" for none
	extra   func(*view.ImportResult)

	digest string
	total  int64
	im     view.Import
	out    *os.File // of results; nil for none
	last   int64    // row of the last result that is there already
	shown  int      // failures that were written to standard error
	meter  *progress
}

// rowReader reads rows as they are sent, and hashes them with how they are taken.
type rowReader struct {
	rows   rowSource
	closer io.Closer
	sum    hash.Hash
	n      int64
}

func (r *importRun) read() (*rowReader, error) {
	rows, closer, err := r.file.open()
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	if err := json.NewEncoder(sum).Encode(r.options); err != nil {
		return nil, err
	}
	return &rowReader{rows: rows, closer: closer, sum: sum}, nil
}

func (r *rowReader) next() (json.RawMessage, error) {
	row, err := r.rows.next()
	if err != nil {
		return nil, err
	}
	r.n++
	text, err := json.Marshal(row)
	if err != nil {
		return nil, err
	}
	r.sum.Write(text)
	return text, nil
}

// digest tells one import from others. It is kept by the server, and rows may hold tokens that can be guessed: so each guess costs what
// one of a slow hash costs (E06).
func (r *rowReader) digest() string {
	key := argon2.IDKey(r.sum.Sum(nil), []byte("cardea import"), 2, 19<<10, 1, sha256.Size)
	return hex.EncodeToString(key)
}

// do runs the import to its end, or says why it does not get there.
func (r *importRun) do(ctx context.Context) error {
	if err := r.look(ctx); err != nil {
		return err
	}
	if r.dry {
		r.im = view.Import{Name: r.file.name, Total: r.total}
		return r.rows(ctx, 1)
	}
	if finished, err := r.finishedBefore(ctx); err != nil || finished {
		return err
	}
	if err := r.c.post(ctx, pathImports, view.NewImport{Name: r.file.name, Digest: r.digest, Total: r.total}, &r.im); err != nil {
		return err
	}
	from := r.im.Done + 1
	if r.results != "" {
		if err := r.openResults(); err != nil {
			return err
		}
		defer r.out.Close()
		from = min(from, r.last+1)
	}
	if r.im.Done > 0 {
		fmt.Fprintf(r.a.err, "going on with import %s after row %d\n", r.im.ID, r.im.Done)
	}
	if err := r.rows(ctx, from); err != nil {
		return fmt.Errorf("%w; %d of %d rows are done, and the same command goes on from there", err, r.im.Done, r.total)
	}
	return r.c.post(ctx, at(pathImportFinish, r.im.ID), nil, &r.im)
}

// look reads the whole file once: what cannot be read at all is said before anything is made.
func (r *importRun) look(ctx context.Context) error {
	in, err := r.read()
	if err != nil {
		return err
	}
	defer in.closer.Close()
	for {
		switch _, err := in.next(); {
		case errors.Is(err, io.EOF):
			if in.n == 0 {
				return fmt.Errorf("%s has no rows", r.file.name)
			}
			r.digest, r.total = in.digest(), in.n
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", r.file.name, err)
		case ctx.Err() != nil:
			return errors.New("interrupted")
		}
	}
}

// rows sends the rows from a number on.
func (r *importRun) rows(ctx context.Context, from int64) error {
	in, err := r.read()
	if err != nil {
		return err
	}
	defer in.closer.Close()
	r.meter = newProgress(r.a.err, from-1, r.total)
	defer r.meter.end()
	var chunk []json.RawMessage
	size, limit := 0, firstChunk
	send := func() error {
		if len(chunk) == 0 {
			return nil
		}
		began := time.Now()
		if err := r.send(ctx, in.n-int64(len(chunk))+1, chunk); err != nil {
			return err
		}
		if took := time.Since(began); took > longChunk { // slow hashes, mostly
			limit = max(1, len(chunk)/2)
		} else if took < longChunk/4 {
			limit = min(maxChunk, 2*limit)
		}
		r.meter.reached(in.n)
		chunk, size = chunk[:0], 0
		return nil
	}
	for {
		row, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			if in.n != r.total || in.digest() != r.digest {
				return fmt.Errorf("%s was changed while it was read", r.file.name)
			}
			return send()
		case err != nil:
			return fmt.Errorf("%s: %w", r.file.name, err)
		case in.n < from:
			continue
		}
		if size > 0 && size+len(row) > maxChunkBytes {
			in.n-- // it belongs to the next
			err = send()
			in.n++
			if err != nil {
				return err
			}
		}
		chunk, size = append(chunk, row), size+len(row)
		if len(chunk) >= limit {
			if err := send(); err != nil {
				return err
			}
		}
	}
}

// sentRows is [view.ImportRows] with rows that are written already.
type sentRows struct {
	From    int64              `json:"from,omitempty"`
	Options view.ImportOptions `json:"options,omitzero"`
	Rows    []json.RawMessage  `json:"rows"`
}

func (r *importRun) send(ctx context.Context, from int64, chunk []json.RawMessage) error {
	var answer view.ImportResults
	if r.dry {
		if err := r.c.post(ctx, pathImportTry, sentRows{Options: r.options, Rows: chunk}, &answer); err != nil {
			return err
		}
		for i := range answer.Results {
			answer.Results[i].Row += from - 1
		}
		r.count(answer.Results)
		return r.note(answer.Results)
	}
	if err := r.c.post(ctx, at(pathImportRows, r.im.ID), sentRows{From: from, Options: r.options, Rows: chunk}, &answer); err != nil {
		return err
	}
	r.im = answer.Import
	return r.note(answer.Results)
}

// count adds up a trial, of which the server keeps nothing.
func (r *importRun) count(results []view.ImportResult) {
	for _, one := range results {
		r.im.Done++
		switch one.Status {
		case "created":
			r.im.Created++
		case "unchanged":
			r.im.Unchanged++
		default:
			r.im.Failed++
		}
	}
}

// maxShown is how many failures are written to standard error.
const maxShown = 20

// note keeps the results of a chunk, durably, and shows failures.
func (r *importRun) note(results []view.ImportResult) error {
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	enc.SetEscapeHTML(false)
	for _, one := range results {
		if r.extra != nil {
			r.extra(&one)
		}
		if err := enc.Encode(one); err != nil {
			return err
		}
		if one.Status == "failed" {
			r.showFailure(one)
		}
	}
	if r.out == nil {
		return nil
	}
	_, err := r.out.Write(lines.Bytes())
	if err == nil {
		err = r.out.Sync()
	}
	if err != nil {
		return fmt.Errorf("--results: %w", err)
	}
	return nil
}

func (r *importRun) showFailure(one view.ImportResult) {
	if r.shown++; r.shown > maxShown {
		if r.shown == maxShown+1 {
			r.meter.say("further failures are not shown: --results FILE keeps all")
		}
		return
	}
	text := fmt.Sprintf("row %d", one.Row)
	if one.ExternalID != "" {
		text += " (" + one.ExternalID + ")"
	}
	for i, e := range one.Errors {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		text += sep + e.String()
	}
	r.meter.say(text)
}

// resultsHead is the first line of a file of results: of which import it is.
type resultsHead struct {
	Import string `json:"import"`
	Digest string `json:"digest"`
}

// openResults makes the file of results, or goes on with that of the same import: what its last run has left half written goes.
func (r *importRun) openResults() error {
	head, err := json.Marshal(resultsHead{r.im.ID, r.im.Digest})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(r.results, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err == nil {
		r.out = f
		_, err = f.Write(append(head, '\n'))
		return err
	}
	if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("--results: %w", err)
	}
	if f, err = os.OpenFile(r.results, os.O_RDWR|unix.O_NOFOLLOW, 0); err != nil {
		return fmt.Errorf("--results: %w", err)
	}
	r.out = f
	return r.resumeResults(head)
}

// finishedBefore reports whether the results that are there are those of a finished import of the same file: the last run may have ended
// between the server's word for that and its own.
func (r *importRun) finishedBefore(ctx context.Context) (bool, error) {
	if r.results == "" {
		return false, nil
	}
	f, err := os.OpenFile(r.results, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false, nil // there are none, or openResults tells why they cannot be read
	}
	defer f.Close()
	var head resultsHead
	line, _ := bufio.NewReader(io.LimitReader(f, 4<<10)).ReadBytes('\n')
	if json.Unmarshal(line, &head) != nil || head.Digest != r.digest || head.Import == "" {
		return false, nil
	}
	var im view.Import
	err = r.c.get(ctx, at(pathImport, head.Import), &im)
	if isStatus(err, http.StatusNotFound) {
		return false, nil
	}
	if err != nil || im.FinishedAt.IsZero() {
		return false, err
	}
	r.im = im
	fmt.Fprintf(r.a.err, "import %s of this file was finished before, and its results are in %s: to have every row looked at again, name another file\n", im.ID, r.results)
	return true, nil
}

func (r *importRun) resumeResults(head []byte) error {
	whole, first := int64(0), true
	err := eachLine(r.out, func(line []byte) error {
		if first && !bytes.Equal(line, head) {
			return errors.New("it holds something else than the results of this import: name another file")
		}
		if !first {
			var one view.ImportResult
			if err := json.Unmarshal(line, &one); err != nil || one.Row <= r.last {
				return errors.New("it holds something else than results: name another file")
			}
			r.last = one.Row
		}
		first = false
		whole += int64(len(line)) + 1
		return nil
	})
	if err == nil && first { // it was made, and nothing was written
		if err = r.out.Truncate(0); err == nil {
			_, err = r.out.WriteAt(append(head, '\n'), 0)
		}
		whole = int64(len(head)) + 1
	}
	if err == nil {
		err = r.out.Truncate(whole)
	}
	if err == nil {
		_, err = r.out.Seek(whole, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("--results %s: %w", r.results, err)
	}
	return nil
}
