package keyring

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"cardea/internal/credential"
)

const maxFile = 64 << 10 // bytes; the real ones have less than 2 KiB

// files reads and writes the keystore's files in the data folder, so that a reader
// finds either the old content or the new, whole, after a crash too.
type files struct {
	dir     string
	anyMode bool
	link    func(from, to string) error // os.Link
	step    func(name string) error     // called before each step of writing; an error of it stops there, as a crash would
}

// read returns the content of a file that nobody else can read. A missing one gives fs.ErrNotExist,
// everything else a credential error. What was checked is what is read: the open descriptor, not the name.
func (f files) read(name string) ([]byte, error) {
	path := f.path(name)
	// O_NONBLOCK: opening a pipe must not wait for its writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, err
	case errors.Is(err, syscall.ELOOP):
		return nil, credential.Errorf(credential.Invalid, "%s is a symbolic link: put the file itself there", path)
	case err != nil:
		return nil, unreadable(path, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, unreadable(path, err)
	}
	if err := f.check(path, info); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, unreadable(path, err)
	}
	if len(b) > maxFile {
		return nil, credential.Errorf(credential.Invalid, "%s is longer than %d bytes: put back the file from a backup", path, maxFile)
	}
	return b, nil
}

func unreadable(path string, err error) error {
	return &credential.Error{Kind: credential.Down, Message: path + " cannot be read", Err: err}
}

// check refuses what is not a file of this process's user alone (K13).
func (f files) check(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return credential.Errorf(credential.Invalid, "%s is not a regular file: put the file itself there", path)
	}
	if f.anyMode {
		return nil
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return credential.Errorf(credential.Invalid, "%s belongs to user %d, but Cardea runs as user %d: change the owner", path, st.Uid, os.Geteuid())
	}
	if m := info.Mode().Perm(); m&0o077 != 0 {
		return credential.Errorf(credential.Invalid, "%s has mode %04o, so others can use it: change it to 0600, and the keys if somebody may have read them", path, m)
	}
	return nil
}

// create writes a file that must not be there yet.
func (f files) create(name string, content []byte) error {
	temp, err := f.writeTemp(name, content)
	if err != nil {
		return err
	}
	if err := f.place(temp, f.path(name)); err != nil {
		return f.failed(name, err)
	}
	if err := f.do("sync folder for "+name, f.syncDir); err != nil {
		return f.failed(name, err)
	}
	return nil
}

// place gives a finished file its name, which must be free.
func (f files) place(temp, path string) error {
	err := f.do("link "+path, func() error { return f.link(temp, path) })
	if err == nil {
		return f.do("unlink "+temp, func() error { return os.Remove(temp) })
	}
	if errors.Is(err, fs.ErrExist) || !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EPERM) {
		return err
	}
	// The file system has no hard links. The name is taken first, so that nobody else can have it.
	taken, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(taken.Close(), os.Rename(temp, path))
}

// replace writes a file in the place of another. It reports whether the name points to the new content, which is
// durable only if there is no error.
func (f files) replace(name string, content []byte) (bool, error) {
	temp, err := f.writeTemp(name, content)
	if err != nil {
		return false, err
	}
	if err := f.do("rename "+name, func() error { return os.Rename(temp, f.path(name)) }); err != nil {
		return false, f.failed(name, err)
	}
	if err := f.do("sync folder for "+name, f.syncDir); err != nil {
		return true, f.failed(name, err)
	}
	return true, nil
}

// writeTemp writes a synced file beside the one that it is to become.
func (f files) writeTemp(name string, content []byte) (string, error) {
	temp := f.path(name) + ".new"
	err := f.do("write "+name, func() error {
		// One process has the folder, so what lies there was left by a crash.
		if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		file, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return err
		}
		_, err = file.Write(content)
		return errors.Join(err, file.Chmod(0o600), file.Sync(), file.Close())
	})
	if err != nil {
		return "", f.failed(name, err)
	}
	return temp, nil
}

// sweep removes what interrupted writes have left. It is no harm if that fails: the files are as closed as the others.
func (f files) sweep() {
	_ = os.Remove(f.path(keystoreName) + ".new")
	_ = os.Remove(f.path(passwordName) + ".new")
}

func (f files) syncDir() error {
	d, err := os.Open(f.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f files) do(name string, act func() error) error {
	if err := f.step(name); err != nil {
		return err
	}
	return act()
}

func (f files) failed(name string, err error) error {
	return &credential.Error{
		Kind:    credential.Down,
		Message: fmt.Sprintf("%s cannot be written: check the data folder's mode and free space, and try again", f.path(name)), Err: err,
	}
}
