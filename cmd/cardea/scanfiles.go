package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"cardea/internal/secret"
)

// leakScan looks for tokens in files, and notes what it could not look at.
type leakScan struct {
	all     bool  // .git too
	maxSize int64 // of a file in bytes; 0 for any

	report scanReport
	links  int // symbolic links and special files
	unread int
	buf    []byte
}

// pieceLen is how much of a file is in memory at once.
const pieceLen = 1 << 20

// path looks through what the user has named. The error is the context's.
func (s *leakScan) path(ctx context.Context, path string, stdin io.Reader) error {
	if path == "-" {
		return s.read(ctx, "-", stdin)
	}
	info, err := os.Stat(path)
	if err != nil {
		s.cannot(path, err)
		return nil
	}
	if info.IsDir() {
		return s.folder(ctx, path)
	}
	f, err := os.Open(path)
	return s.file(ctx, path, f, err)
}

// folder looks through a tree. The root keeps every opening inside it, also if
// somebody puts a link in the place of a folder meanwhile.
func (s *leakScan) folder(ctx context.Context, path string) error {
	root, err := os.OpenRoot(path)
	if err != nil {
		s.cannot(path, err)
		return nil
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		shown := filepath.Join(path, filepath.FromSlash(name))
		switch {
		case ctx.Err() != nil:
			return errors.New("interrupted")
		case err != nil:
			s.cannot(shown, err)
			return nil
		case d.Name() == ".git" && !s.all:
			s.skip(shown, "--all looks into it; of its history: git log -p --all | cardea scan -")
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			s.links++
			return nil
		}
		f, err := root.Open(name)
		return s.file(ctx, shown, f, err)
	})
}

// file looks through an open file and closes it; err is that of its opening.
func (s *leakScan) file(ctx context.Context, name string, f *os.File, err error) error {
	if err != nil {
		s.cannot(name, err)
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && s.maxSize > 0 && info.Size() > s.maxSize {
		s.skip(name, fmt.Sprintf("its %d bytes are more than --max-size allows", info.Size()))
		return nil
	}
	return s.read(ctx, name, f)
}

func (s *leakScan) skip(name, why string) {
	s.report.Skipped = append(s.report.Skipped, passedOver{secret.Redact(name), why})
}

func (s *leakScan) cannot(name string, err error) {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err // without the name, which may hold a token
	}
	s.unread++
	s.skip(name, err.Error())
}

// read looks through a stream in pieces that overlap by one byte less than a token.
func (s *leakScan) read(ctx context.Context, name string, r io.Reader) error {
	if s.buf == nil {
		s.buf = make([]byte, pieceLen)
	}
	r = decoded(r)
	at := position{line: 1}
	kept := 0
	for {
		n, err := io.ReadFull(r, s.buf[kept:])
		piece := s.buf[:kept+n]
		done := s.piece(name, piece, &at)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		switch {
		case ctx.Err() != nil:
			return errors.New("interrupted")
		case last:
			s.report.Files++
			return nil
		case err != nil:
			s.cannot(name, err)
			return nil
		}
		from := max(done, len(piece)-(secret.MaxLen-1))
		at.advance(piece[done:from])
		kept = copy(s.buf, piece[from:])
	}
}

// piece notes the tokens of one piece, at is where it begins. It returns how
// far at has come: to the end of the last token.
func (s *leakScan) piece(name string, piece []byte, at *position) (done int) {
	for _, f := range secret.Find(piece) {
		at.advance(piece[done:f.Offset])
		s.report.Findings = append(s.report.Findings, leak{secret.Redact(name), at.line, at.column + 1, f.Kind, f.ID, statusWellFormed, f.Token})
		done = f.Offset + secret.MaxLen
		at.advance(piece[f.Offset:done])
	}
	return done
}

// position is a place in a text: the line from 1, and how many bytes of it are before.
type position struct{ line, column int }

func (p *position) advance(over []byte) {
	if n := bytes.Count(over, []byte{'\n'}); n > 0 {
		p.line += n
		over = over[bytes.LastIndexByte(over, '\n')+1:]
		p.column = 0
	}
	p.column += len(over)
}

// decoded reads UTF-16 as UTF-8 if a byte order mark says so, as in what
// PowerShell writes; everything else as it is.
func decoded(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	mark, _ := b.Peek(2) // a text that is shorter has no token either
	if bytes.Equal(mark, []byte{0xff, 0xfe}) || bytes.Equal(mark, []byte{0xfe, 0xff}) {
		return transform.NewReader(b, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder())
	}
	return b
}
