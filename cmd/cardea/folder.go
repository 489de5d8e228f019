package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"cardea/internal/credential"
)

// lockFolder takes the lock of a data folder whose database is elsewhere, as
// the store does for SQLite: two processes would fight for its socket and keystore (D11).
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "cardea.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		pid := make([]byte, 20)
		size, _ := f.ReadAt(pid, 0)
		f.Close()
		return nil, credential.Errorf(credential.Conflict, "the data folder %s is in use by another Cardea, process %s: stop it first", dir, strings.TrimSpace(string(pid[:size])))
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
		_ = err // the number is for people; the lock is what counts
	}
	return f, nil
}

// writeAdminToken makes the first token of the administrator, if nobody is
// there yet who could make one. The file comes first: a token that is nowhere is of no use.
func (n *node) writeAdminToken(ctx context.Context) error {
	there, _, err := n.store.Principals(ctx, credential.PrincipalFilter{Org: credential.DefaultOrg, Limit: 1})
	if err != nil || len(there) > 0 {
		return err
	}
	path := adminTokenPath(n.config.Data)
	files := keyFiles{{path: path, mode: 0o600}}
	if err := files.reserve(); err != nil {
		if _, stat := os.Lstat(path); stat == nil {
			n.log.Warn("admin.token is there already and was left alone; `cardea admin token` makes one", "file", path)
			return nil
		}
		return err
	}
	token, until, err := n.authority.AdminToken(ctx, local())
	if err != nil {
		files.discard()
		return err
	}
	n.log.Info("the administrator's first token was made", "file", path, "until", until)
	return files.fill(token.Reveal() + "\n")
}

// exists reports whether there is anything under a name, a link to nothing included.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
