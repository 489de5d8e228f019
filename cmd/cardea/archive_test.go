package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func archiveOf(t testing.TB, dump io.Reader, k keystoreFiles) []byte {
	t.Helper()
	var b bytes.Buffer
	w := newArchive(&b)
	if err := errors.Join(w.begin(manifest{Format: archiveFormat, CreatedAt: time.Unix(1, 0).UTC(), Password: k.password != nil}), w.dump(dump), w.end(k)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readArchive reads all of an archive.
func readArchive(r io.Reader) (dump string, k keystoreFiles, err error) {
	a, m, err := openArchive(r)
	if err != nil {
		return "", k, err
	}
	var b strings.Builder
	if err := a.dump(&b); err != nil {
		return "", k, err
	}
	k, err = a.end(m)
	return b.String(), k, err
}

// What was written is read, whatever its length.
func TestArchive(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, partSize - 1, partSize, partSize + 1, 2*partSize + 17} {
		dump := strings.Repeat("x", size)
		for _, password := range [][]byte{nil, []byte("p")} {
			k := keystoreFiles{document: []byte("{}"), password: password}
			got, back, err := readArchive(bytes.NewReader(archiveOf(t, iotest.HalfReader(strings.NewReader(dump)), k)))
			if err != nil || got != dump || !cmp.Equal(k, back, cmp.AllowUnexported(keystoreFiles{})) {
				t.Errorf("size %d: %d bytes came back, %v", size, len(got), err)
			}
		}
	}
}

// An answer of the server that was cut is not a backup, at any length.
func TestArchiveCutStream(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 10, partSize, partSize + 10} {
		var b bytes.Buffer
		cut := io.MultiReader(strings.NewReader(strings.Repeat("x", size)), iotest.ErrReader(io.ErrUnexpectedEOF))
		if err := newArchive(&b).dump(cut); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d bytes: %v", size, err)
		}
	}
}

// Whatever is not exactly what Cardea writes is refused: paths, links, other
// names and orders, sizes, what follows the end, a cut end (C06).
func TestArchiveStrict(t *testing.T) {
	t.Parallel()
	file := func(name, content string) tar.Header {
		return tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), Typeflag: tar.TypeReg}
	}
	type entry struct {
		tar.Header
		content string
	}
	good := func() []entry {
		var all []entry
		for _, e := range [][2]string{
			{"manifest.json", `{"format":1,"password":true}`},
			{"dump-00001.ndjson", "x"},
			{"keystore.json", "{}"},
			{"keystore-password", "p"},
			{"end", ""},
		} {
			all = append(all, entry{file(e[0], e[1]), e[1]})
		}
		return all
	}
	for what, change := range map[string]func([]entry) []entry{
		"nothing":       func(e []entry) []entry { return nil },
		"no manifest":   func(e []entry) []entry { return e[1:] },
		"other format":  func(e []entry) []entry { e[0] = entry{file("manifest.json", `{"format":2}`), `{"format":2}`}; return e },
		"no dump":       func(e []entry) []entry { return append(e[:1], e[2:]...) },
		"part 2 first":  func(e []entry) []entry { e[1].Name = "dump-00002.ndjson"; return e },
		"parent folder": func(e []entry) []entry { e[2].Name = "../keystore.json"; return e },
		"absolute":      func(e []entry) []entry { e[2].Name = "/etc/passwd"; return e },
		"symlink": func(e []entry) []entry {
			e[2].Typeflag, e[2].Linkname, e[2].Size, e[2].content = tar.TypeSymlink, "/etc/passwd", 0, ""
			return e
		},
		"hard link": func(e []entry) []entry {
			e[2].Typeflag, e[2].Linkname, e[2].Size, e[2].content = tar.TypeLink, "dump", 0, ""
			return e
		},
		"folder":        func(e []entry) []entry { e[2].Typeflag, e[2].Size, e[2].content = tar.TypeDir, 0, ""; return e },
		"no password":   func(e []entry) []entry { return append(e[:3], e[4]) },
		"twice":         func(e []entry) []entry { return append(e[:3], e[2:]...) },
		"no end":        func(e []entry) []entry { return e[:4] },
		"after the end": func(e []entry) []entry { return append(e, entry{file("x", "y"), "y"}) },
		"full end":      func(e []entry) []entry { e[4] = entry{file("end", "x"), "x"}; return e },
		"large keystore": func(e []entry) []entry {
			s := strings.Repeat("x", maxSmall+1)
			e[2] = entry{file("keystore.json", s), s}
			return e
		},
		"large part": func(e []entry) []entry {
			s := strings.Repeat("x", partSize+1)
			e[1] = entry{file("dump-00001.ndjson", s), s}
			return e
		},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, e := range change(good()) {
			if err := w.WriteHeader(&e.Header); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if _, err := io.WriteString(w, e.content); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		w.Close()
		if _, _, err := readArchive(&b); err == nil {
			t.Errorf("%s: was read", what)
		}
	}
	whole := archiveOf(t, strings.NewReader("x"), keystoreFiles{document: []byte("{}")})
	for _, size := range []int{0, 100, 512, 1024, 2000} {
		if _, _, err := readArchive(bytes.NewReader(whole[:size])); err == nil {
			t.Errorf("cut at %d: was read", size)
		}
	}
}

// No archive makes the reader panic, read without end, or accept what it would not have written.
func FuzzArchive(f *testing.F) {
	f.Add(archiveOf(f, strings.NewReader("x"), keystoreFiles{document: []byte("{}"), password: []byte("p")}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		dump, k, err := readArchive(bytes.NewReader(raw))
		if err != nil {
			return
		}
		again, back, err := readArchive(bytes.NewReader(archiveOf(t, strings.NewReader(dump), k)))
		if err != nil || again != dump || !bytes.Equal(back.document, k.document) {
			t.Errorf("%q is read and cannot be written: %v", dump, err)
		}
	})
}
