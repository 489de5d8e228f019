package broker

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"
)

// memory is a disk in memory that knows what has been synced, and fails when it is told to.
type memory struct {
	mu     sync.Mutex
	files  map[string]*memoryFile
	ghosts map[string]*memoryFile // removed, and back after a crash
	budget int                    // bytes that can be written until writes fail; negative: no end
	broken bool                   // every write and sync fails
	syncs  int
}

type memoryFile struct {
	disk   *memory
	data   []byte
	synced []byte
	writes []write // since the last sync
	linked bool    // is there after a crash
}

type write struct {
	off int64
	b   []byte
}

var errDisk = errors.New("the disk is broken")

func newMemory() *memory {
	return &memory{files: map[string]*memoryFile{}, ghosts: map[string]*memoryFile{}, budget: -1}
}

func (d *memory) names() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.files)), nil
}

func (d *memory) read(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[name]
	if f == nil {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(f.data), nil
}

func (d *memory) create(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken || d.budget == 0 {
		return nil, errDisk
	}
	if d.files[name] != nil {
		return nil, fs.ErrExist
	}
	f := &memoryFile{disk: d}
	d.files[name] = f
	return f, nil
}

func (d *memory) truncate(name string, size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[name]
	f.data = f.data[:size]
	f.synced, f.writes = bytes.Clone(f.data), nil
	return nil
}

func (d *memory) keepAside(name, aside string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files[aside] = d.files[name]
	delete(d.files, name)
	return nil
}

func (d *memory) remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[name]; f != nil && f.linked {
		d.ghosts[name] = f
	}
	delete(d.files, name)
	return nil
}

func (d *memory) sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken {
		return errDisk
	}
	clear(d.ghosts)
	for _, f := range d.files {
		f.linked = true
	}
	return nil
}

func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken {
		return 0, errDisk
	}
	n := len(p)
	if d.budget >= 0 {
		n = min(n, d.budget)
		d.budget -= n
	}
	f.data = writeAt(f.data, p[:n], off)
	f.writes = append(f.writes, write{off, bytes.Clone(p[:n])})
	if n < len(p) {
		return n, errDisk
	}
	return n, nil
}

func writeAt(data, p []byte, off int64) []byte {
	if grow := int(off) + len(p) - len(data); grow > 0 {
		data = append(data, make([]byte, grow)...)
	}
	copy(data[off:], p)
	return data
}

func (f *memoryFile) Sync() error {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken {
		return errDisk
	}
	for _, w := range f.writes {
		f.synced = writeAt(f.synced, w.b, w.off)
	}
	f.synced = f.synced[:min(len(f.synced), len(f.data))]
	f.writes = nil
	d.syncs++
	return nil
}

func (f *memoryFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.broken {
		return errDisk
	}
	f.data = f.data[:size]
	return nil
}

func (f *memoryFile) Close() error { return nil }

// setBroken makes everything fail, or nothing.
func (d *memory) setBroken(broken bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = broken
	if !broken {
		d.budget = -1
	}
}

// crash returns the disk as a machine that loses its power now may leave it: of what was not synced, some bytes
// are there and some are not. choose returns a number from 0 to n.
func (d *memory) crash(choose func(n int) int) *memory {
	d.mu.Lock()
	defer d.mu.Unlock()
	to := newMemory()
	all := maps.Clone(d.ghosts)
	maps.Copy(all, d.files)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f := all[name]
		if !f.linked && choose(1) == 0 {
			continue
		}
		data := bytes.Clone(f.synced)
		for _, w := range f.writes {
			from := choose(len(w.b))
			part := w.b[from : from+choose(len(w.b)-from)]
			if len(part) > 0 {
				data = writeAt(data, part, w.off+int64(from))
			}
		}
		to.files[name] = &memoryFile{disk: to, data: data, synced: bytes.Clone(data), linked: true}
	}
	return to
}

// kill returns the disk as a process that is killed now leaves it: all that was written is there.
func (d *memory) kill() *memory {
	d.mu.Lock()
	defer d.mu.Unlock()
	to := newMemory()
	for name, f := range d.files {
		data := bytes.Clone(f.data)
		to.files[name] = &memoryFile{disk: to, data: data, synced: bytes.Clone(data), linked: true}
	}
	return to
}

// limit makes writes fail after some more bytes.
func (d *memory) limit(bytes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.budget = bytes
}
