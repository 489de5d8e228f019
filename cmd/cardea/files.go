package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// keyFile is a file that a command will write: made empty before the server is
// asked, so that nothing is issued that cannot be kept, and filled after.
type keyFile struct {
	label string // "certificate", as in "Save certificate ./pump-1_cert.pem"
	path  string // as the user wrote it
	mode  os.FileMode
	file  *os.File
}

// keyFiles are the files of one command.
type keyFiles []*keyFile

// reserve makes all files of a prefix, or none. What exists is never opened,
// links are not followed, and the modes do not depend on the umask (C02).
func (files keyFiles) reserve() error {
	for i, f := range files {
		if err := f.reserve(); err != nil {
			files[:i].discard()
			return err
		}
	}
	return nil
}

func (f *keyFile) reserve() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, f.mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already, and files are never overwritten: choose another name", f.path)
	}
	if err != nil {
		return fmt.Errorf("the file cannot be made: %w", err)
	}
	if err := file.Chmod(f.mode); err != nil {
		file.Close()
		os.Remove(f.path)
		return fmt.Errorf("the file cannot be made: %w", err)
	}
	f.file = file
	return nil
}

// discard removes what reserve made.
func (files keyFiles) discard() {
	for _, f := range files {
		if f.file != nil {
			f.file.Close()
			os.Remove(f.path)
			f.file = nil
		}
	}
}

// fill writes the texts, one for each file in order, so that they are durable.
// On an error nothing is left.
func (files keyFiles) fill(texts ...string) error {
	for i, f := range files {
		_, err := f.file.WriteString(texts[i])
		if err == nil {
			err = f.file.Sync()
		}
		if err != nil {
			files.discard()
			return fmt.Errorf("%s could not be written: %w", f.path, err)
		}
	}
	for _, f := range files {
		f.file.Close()
		f.file = nil
	}
	return nil
}

// checkPrefix returns the prefix of files as it is shown: one without a folder with "./", so that the lines can be pasted into a command.
func checkPrefix(prefix string) (string, error) {
	if base := filepath.Base(prefix); strings.HasSuffix(prefix, "/") || base == "." || base == ".." {
		return "", usagef("--output must be the beginning of a file name, as in ./pump-1, not %q", prefix)
	}
	if !strings.Contains(prefix, "/") {
		prefix = "./" + prefix
	}
	return prefix, nil
}

// newKeyFiles names the files of a prefix.
func newKeyFiles(prefix string, withKey bool) (keyFiles, error) {
	prefix, err := checkPrefix(prefix)
	if err != nil {
		return nil, err
	}
	files := keyFiles{{label: "certificate", path: prefix + "_cert.pem", mode: 0o644}}
	if withKey {
		files = append(files, &keyFile{label: "private key", path: prefix + "_key.pem", mode: 0o600})
	}
	return append(files, &keyFile{label: "token", path: prefix + "_token", mode: 0o600}), nil
}

// createExclusive writes one new file durably and never overwrites.
func createExclusive(path string, mode os.FileMode, content []byte) error {
	f := keyFiles{{path: path, mode: mode}}
	if err := f.reserve(); err != nil {
		return err
	}
	return f.fill(string(content))
}

// replaceFile writes a file so that a reader sees the old or the new content,
// and never a part.
func replaceFile(path string, mode os.FileMode, content []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	err = errors.Join(f.Chmod(mode), func() error { _, err := f.Write(content); return err }(), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
