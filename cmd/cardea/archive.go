package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// A backup is a tar archive within age encryption. Its entries are always
// these, in this order, and a reader accepts nothing else (C06):
//
//	manifest.json      what it is
//	dump-00001.ndjson  the database, in parts, because tar wants to know sizes
//	…
//	keystore.json
//	keystore-password  unless the password is kept elsewhere
//	end                so that a cut archive is not a whole one
const (
	archiveFormat = 1
	partSize      = 4 << 20
	maxParts      = 1 << 20
	maxSmall      = 64 << 10 // bytes of every entry but the parts
)

type manifest struct {
	Format    int       `json:"format"`
	CreatedAt time.Time `json:"created_at"`
	Version   string    `json:"version"`  // of Cardea
	Password  bool      `json:"password"` // the keystore's password is inside
}

func partName(n int) string { return fmt.Sprintf("dump-%05d.ndjson", n) }

// archiveWriter writes the entries in their order.
type archiveWriter struct {
	tar *tar.Writer
	at  time.Time
}

func newArchive(w io.Writer) *archiveWriter { return &archiveWriter{tar: tar.NewWriter(w)} }

func (w *archiveWriter) entry(name string, content []byte) error {
	h := &tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: w.at, Format: tar.FormatUSTAR}
	if err := w.tar.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.tar.Write(content)
	return err
}

func (w *archiveWriter) begin(m manifest) error {
	w.at = m.CreatedAt.Truncate(time.Second)
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return w.entry("manifest.json", raw)
}

// dump copies the database in parts.
func (w *archiveWriter) dump(from io.Reader) error {
	part := make([]byte, partSize)
	for n := 1; ; n++ {
		size, err := readPart(from, part)
		if size > 0 {
			if err := w.entry(partName(n), part[:size]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readPart is io.ReadFull that leaves the reader's own error as it is: the end
// of a stream and a stream that was cut must not look the same.
func readPart(from io.Reader, part []byte) (n int, err error) {
	for n < len(part) && err == nil {
		var m int
		m, err = from.Read(part[n:])
		n += m
	}
	return n, err
}

func (w *archiveWriter) end(k keystoreFiles) error {
	if err := w.entry(keystoreName, k.document); err != nil {
		return err
	}
	if k.password != nil {
		if err := w.entry(passwordName, k.password); err != nil {
			return err
		}
	}
	if err := w.entry("end", nil); err != nil {
		return err
	}
	return w.tar.Close()
}

// archiveReader reads what archiveWriter wrote, and nothing else.
type archiveReader struct {
	tar  *tar.Reader
	next *tar.Header
}

// openArchive reads the manifest.
func openArchive(r io.Reader) (*archiveReader, manifest, error) {
	a := &archiveReader{tar: tar.NewReader(r)}
	var m manifest
	if err := a.advance(); err != nil {
		return nil, m, err
	}
	raw, err := a.small("manifest.json")
	if err != nil {
		return nil, m, err
	}
	if err := json.Unmarshal(raw, &m); err != nil || m.Format != archiveFormat {
		return nil, m, fmt.Errorf("the backup has a format that this version of Cardea does not know")
	}
	return a, m, nil
}

// advance goes to the next entry, which must be a plain file.
func (a *archiveReader) advance() error {
	h, err := a.tar.Next()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("the backup is damaged: %w", err)
	}
	if h.Typeflag != tar.TypeReg || h.Linkname != "" || h.Size < 0 || h.Size > partSize {
		return fmt.Errorf("the backup has an entry that Cardea does not write: %.80q", h.Name)
	}
	a.next = h
	return nil
}

// small reads the present entry, which must have the name, and goes to the next.
func (a *archiveReader) small(name string) ([]byte, error) {
	if a.next.Name != name || a.next.Size > maxSmall {
		return nil, fmt.Errorf("the backup has %.80q where %s should be", a.next.Name, name)
	}
	raw, err := io.ReadAll(a.tar)
	if err != nil {
		return nil, fmt.Errorf("the backup is damaged: %w", err)
	}
	return raw, a.advance()
}

// dump copies the parts to a writer.
func (a *archiveReader) dump(to io.Writer) error {
	for n := 1; n <= maxParts; n++ {
		if a.next.Name != partName(n) {
			if n == 1 {
				return fmt.Errorf("the backup holds no database")
			}
			return nil
		}
		if _, err := io.Copy(to, a.tar); err != nil {
			return err
		}
		if err := a.advance(); err != nil {
			return err
		}
	}
	return errors.New("the backup has more parts than Cardea writes")
}

// end reads the keystore and checks that nothing follows.
func (a *archiveReader) end(m manifest) (k keystoreFiles, err error) {
	if k.document, err = a.small(keystoreName); err != nil {
		return k, err
	}
	if m.Password {
		if k.password, err = a.small(passwordName); err != nil {
			return k, err
		}
	}
	if a.next.Name != "end" || a.next.Size != 0 {
		return k, fmt.Errorf("the backup has %.80q where its end should be", a.next.Name)
	}
	if _, err := a.tar.Next(); err != io.EOF {
		return k, errors.New("the backup goes on after its end")
	}
	return k, nil
}
