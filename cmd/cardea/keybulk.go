package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"cardea/internal/credential"
	"cardea/internal/view"
)

// Names within the folder of many keys. A device has a folder that is called as it, which no other name here can be: names of devices begin
// with a letter or a digit, and have neither a slash nor two dots in a row (C01).
const (
	runFile     = ".cardea-run" // marks the folder as that of a run, with what makes its requests ones that can be repeated
	partPrefix  = ".part-"      // begins the name of a folder that is not whole yet
	resultsFile = "results.csv"
	workSuffix  = ".work" // of the folder that becomes a zip file
)

// bulkWorkers is how many keys are asked for at once: the server writes what comes together in one go.
const bulkWorkers = 8

// bulk makes the keys of many devices, each in a folder of its own. A run that was stopped goes on in the same folder: what is whole is
// left alone, and a key that was made and not kept is asked for again with the same Idempotency-Key, by which the server answers it once more.
type bulk struct {
	a      *app
	c      *client
	list   string // path of the devices' names
	dir    string
	valid  string
	scopes []string

	run     string // random
	resumed bool
	busy    map[string]bool // IDs that a worker has taken; a list may name one twice
	total   int64
	mu      sync.Mutex
	results *csv.Writer
	file    *os.File
	done    int64
	counts  map[string]int64
	shown   int
	warned  []string
	meter   *progress
}

// What became of a device.
const (
	bulkMade    = "created"
	bulkSkipped = "skipped" // its key is in the folder already
	bulkFailed  = "failed"
)

func (a *app) generateMany(ctx context.Context, list, output, valid string, scopes []string) error {
	if output == "" {
		return usagef("--from needs --output: a folder, or a file that ends in .zip")
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	b := &bulk{a: a, c: c, list: list, dir: filepath.Clean(output), valid: valid, scopes: scopes, counts: map[string]int64{}, busy: map[string]bool{}}
	zipped := strings.EqualFold(filepath.Ext(output), ".zip")
	if zipped {
		if _, err := os.Lstat(output); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s exists already, and files are never overwritten: choose another name", output)
		}
		b.dir += workSuffix
	}
	if err := b.look(); err != nil {
		return err
	}
	if err := b.openFolder(); err != nil {
		return err
	}
	err = b.do(ctx)
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted; %d of %d devices are done, and the same command goes on from there", b.done, b.total)
	}
	if err != nil {
		return err
	}
	if zipped {
		if err := zipFolder(b.dir, output); err != nil {
			return err
		}
		if err := os.RemoveAll(b.dir); err != nil { // which holds private keys (C04)
			return fmt.Errorf("%s is whole, but the folder it was made in is left: %w", output, err)
		}
	}
	return b.report(output)
}

func (b *bulk) report(output string) error {
	summary := map[string]any{"output": output, "created": b.counts[bulkMade], "skipped": b.counts[bulkSkipped], "failed": b.counts[bulkFailed]}
	b.a.warn(b.warned)
	err := b.a.show(summary, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d devices: %d created, %d skipped, %d failed\nSave keys %s\n",
			b.total, b.counts[bulkMade], b.counts[bulkSkipped], b.counts[bulkFailed], output)
		return err
	})
	if err == nil && b.counts[bulkFailed] > 0 {
		err = fmt.Errorf("%d of %d devices failed: see %s", b.counts[bulkFailed], b.total, resultsFile)
	}
	return err
}

// look counts the devices, so that a list that cannot be read is refused before anything is made.
func (b *bulk) look() error {
	err := eachDevice(b.list, func(string) error { b.total++; return nil })
	if err == nil && b.total == 0 {
		err = errors.New("it names no devices")
	}
	if err != nil {
		return fmt.Errorf("--from %s: %w", b.list, err)
	}
	return nil
}

// eachDevice calls fn with each name of a list: the lines of a text, without empty ones and those that begin with #; of CSV the column id.
func eachDevice(path string, fn func(id string) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	bounded := &recordReader{in: f}
	bounded.renew()
	in := bufio.NewReader(bounded)
	if bom, err := in.Peek(3); err == nil && string(bom) == "\xef\xbb\xbf" {
		_, _ = in.Discard(3)
	}
	if strings.EqualFold(filepath.Ext(path), ".csv") {
		return eachCell(bounded, in, "id", fn)
	}
	for {
		bounded.renew()
		line, err := in.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if id := strings.TrimSpace(line); id != "" && id[0] != '#' {
			if err := fn(id); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// eachCell calls fn with the cells of a column.
func eachCell(bounded *recordReader, in io.Reader, column string, fn func(string) error) error {
	r := csv.NewReader(in)
	head, err := r.Read()
	at := -1
	for i, name := range head {
		if strings.EqualFold(strings.TrimSpace(name), column) {
			at = i
		}
	}
	if err == nil && at < 0 {
		return fmt.Errorf("its first row names no column %q", column)
	}
	for err == nil {
		bounded.renew()
		var cells []string
		if cells, err = r.Read(); err == nil {
			err = fn(strings.TrimSpace(cells[at]))
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return csvFault(err)
}

// openFolder makes the folder, or goes on with that of a run before.
func (b *bulk) openFolder() error {
	err := os.Mkdir(b.dir, 0o700)
	switch {
	case errors.Is(err, fs.ErrExist):
		if err := b.resume(); err != nil {
			return err
		}
	case err != nil:
		return fmt.Errorf("the folder cannot be made: %w", err)
	default:
		b.run = rand.Text()
		if err := createExclusive(filepath.Join(b.dir, runFile), 0o600, []byte(b.run)); err != nil {
			return err
		}
	}
	// Each run says what became of every device, so the results of the one before are no loss.
	name := filepath.Join(b.dir, resultsFile)
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	files := keyFiles{{path: name, mode: 0o600}}
	if err := files.reserve(); err != nil {
		return err
	}
	b.file = files[0].file
	b.results = csv.NewWriter(b.file)
	return b.results.Write([]string{"id", "status", "error"})
}

// resume reads the mark of the run before and removes folders that it has left half made.
func (b *bulk) resume() error {
	run, err := os.ReadFile(filepath.Join(b.dir, runFile))
	if err != nil {
		return fmt.Errorf("%s exists already and is not of a run before: choose another name", b.dir)
	}
	b.run, b.resumed = string(run), true
	d, err := os.Open(b.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1000)
		for _, name := range names {
			if strings.HasPrefix(name, partPrefix) {
				if err := os.RemoveAll(filepath.Join(b.dir, name)); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// do makes the keys, a few at a time.
func (b *bulk) do(ctx context.Context) error {
	b.meter = newProgress(b.a.err, 0, b.total)
	defer b.meter.end()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ids := make(chan string)
	var workers sync.WaitGroup
	for range bulkWorkers {
		workers.Go(func() {
			for id := range ids {
				status, warnings, err := b.one(ctx, id)
				if ctx.Err() != nil { // what the server has done is answered by the next run
					return
				}
				if err := b.note(id, status, warnings, err); err != nil {
					stop(err)
				}
			}
		})
	}
	err := eachDevice(b.list, func(id string) error {
		select {
		case ids <- id:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	close(ids)
	workers.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	b.results.Flush()
	return errors.Join(err, b.results.Error(), b.file.Sync(), b.file.Close())
}

// note keeps what became of a device. The error is that it cannot be kept.
func (b *bulk) note(id, status string, warnings []string, failure error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := ""
	if failure != nil {
		text = printable(failure.Error())
		if b.shown++; b.shown <= maxShown {
			b.meter.say(id + ": " + text)
		}
	}
	for _, w := range warnings { // each device's are alike, but for its name
		if w = strings.ReplaceAll(w, id, "each device"); len(b.warned) < maxShown {
			b.warned = append(b.warned, w)
		}
	}
	b.counts[status]++
	b.done++
	if err := b.results.Write([]string{id, status, text}); err != nil {
		return err
	}
	b.meter.reached(b.done)
	if b.done%100 == 0 {
		b.results.Flush()
	}
	return b.results.Error()
}

// one makes the key of one device, unless it is there.
func (b *bulk) one(ctx context.Context, id string) (status string, warnings []string, err error) {
	if why := credential.CheckName(id); why != "" {
		return bulkFailed, nil, fmt.Errorf("the ID %s", why)
	}
	folder := filepath.Join(b.dir, id)
	if !b.take(id) {
		return bulkSkipped, nil, nil
	}
	defer b.release(id)
	if _, err := os.Lstat(folder); err == nil {
		return bulkSkipped, nil, nil
	}
	request := view.NewKey{ID: id, Valid: b.valid, Scopes: b.scopes}
	var made view.KeyBundle
	sum := sha256.Sum256([]byte(strings.Join(append([]string{b.run, id, b.valid}, b.scopes...), "\n")))
	if err := b.c.callOnce(ctx, http.MethodPost, pathKeys, hex.EncodeToString(sum[:16]), request, &made); err != nil {
		return bulkFailed, nil, b.a.nameRotate(err, id)
	}
	if b.resumed { // the answer may be one of yesterday
		var is view.PrincipalView
		if err := b.c.get(ctx, at(pathPrincipal, made.Principal.ID), &is); err != nil {
			return bulkFailed, nil, err
		}
		if !is.DeletedAt.IsZero() {
			return bulkFailed, nil, errors.New("it was made by the run before and deleted since: make its key by itself, or into another folder")
		}
	}
	if err := b.keep(folder, id, made); err != nil {
		return bulkFailed, nil, fmt.Errorf("it was made, but could not be kept; the same command tries again: %w", err)
	}
	return bulkMade, append(made.Warnings, made.Token.Warnings...), nil
}

// take reports whether nobody else is about a device.
func (b *bulk) take(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.busy[id] {
		return false
	}
	b.busy[id] = true
	return true
}

func (b *bulk) release(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.busy, id)
}

// keep writes a key to a folder of another name first, so that one of the device's name is always whole.
func (b *bulk) keep(folder, id string, made view.KeyBundle) error {
	part := filepath.Join(b.dir, partPrefix+id)
	if err := os.Mkdir(part, 0o700); err != nil {
		return err
	}
	files := keyFiles{
		{path: filepath.Join(part, "cert.pem"), mode: 0o644}, {path: filepath.Join(part, "key.pem"), mode: 0o600}, {path: filepath.Join(part, "token"), mode: 0o600},
	}
	err := files.reserve()
	if err == nil {
		err = files.fill(made.Certificate.CertificatePEM, made.Certificate.PrivateKey.Reveal(), made.Token.Secret.Reveal()+"\n")
	}
	if err == nil {
		err = os.Rename(part, folder)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(part))
	}
	return nil
}
