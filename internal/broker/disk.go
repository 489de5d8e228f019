package broker

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// disk is the folder in which the store has its files. Tests put a disk in its place that fails.
type disk interface {
	// names lists the files.
	names() ([]string, error)
	// read returns all of a file.
	read(name string) ([]byte, error)
	// create makes a file that does not exist yet; only the owner may read it. It is there after a crash when sync has returned.
	create(name string) (file, error)
	// truncate cuts a file.
	truncate(name string, size int64) error
	// keepAside gives a file another name, so that it is not read any more.
	keepAside(name, aside string) error
	remove(name string) error
	// sync makes what was created, renamed and removed last.
	sync() error
}

// file is a file that is being written.
type file interface {
	WriteAt(p []byte, off int64) (int, error)
	// Sync returns when everything written is on disk. After an error nothing is known about what was not synced before.
	Sync() error
	Truncate(size int64) error
	Close() error
}

// folder is a disk that is one.
type folder string

func openFolder(dir string) (folder, error) {
	return folder(dir), os.MkdirAll(dir, 0o700)
}

func (f folder) path(name string) string { return filepath.Join(string(f), name) }

func (f folder) names() ([]string, error) {
	list, err := os.ReadDir(string(f))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range list {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (f folder) read(name string) ([]byte, error) { return os.ReadFile(f.path(name)) }

func (f folder) create(name string) (file, error) {
	h, err := os.OpenFile(f.path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{h}, nil
}

func (f folder) truncate(name string, size int64) error {
	h, err := os.OpenFile(f.path(name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(h.Truncate(size), h.Sync(), h.Close())
}

func (f folder) keepAside(name, aside string) error { return os.Rename(f.path(name), f.path(aside)) }

func (f folder) remove(name string) error {
	err := os.Remove(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (f folder) sync() error {
	h, err := os.Open(string(f))
	if err != nil {
		return err
	}
	return errors.Join(h.Sync(), h.Close())
}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return syncData(f.File) }
