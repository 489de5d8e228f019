package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Modes do not depend on the umask, nothing is overwritten or followed, and of
// several files all are made or none (C02). Not parallel: the umask is the process's.
func TestKeyFiles(t *testing.T) {
	for _, mask := range []int{0o000, 0o077, 0o777} {
		dir := t.TempDir()
		old := syscall.Umask(mask)
		files, err := newKeyFiles(filepath.Join(dir, "a"), true)
		if err == nil {
			err = files.reserve()
		}
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		if err := files.fill("c", "k", "t"); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]os.FileMode{"a_cert.pem": 0o644, "a_key.pem": 0o600, "a_token": 0o600} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil || info.Mode() != want {
				t.Errorf("umask %04o: %s: %v, %v", mask, name, info.Mode(), err)
			}
		}
	}
	for what, put := range map[string]func(path string) error{
		"file":   func(p string) error { return os.WriteFile(p, []byte("mine"), 0o600) },
		"link":   func(p string) error { return os.Symlink(filepath.Join(filepath.Dir(p), "elsewhere"), p) },
		"folder": func(p string) error { return os.Mkdir(p, 0o700) },
	} {
		dir := t.TempDir()
		if err := put(filepath.Join(dir, "a_token")); err != nil {
			t.Fatal(err)
		}
		files, err := newKeyFiles(filepath.Join(dir, "a"), true)
		if err != nil {
			t.Fatal(err)
		}
		if err := files.reserve(); err == nil || !strings.Contains(err.Error(), "a_token") {
			t.Errorf("%s: %v", what, err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 1 {
			t.Errorf("%s: left behind: %v", what, left)
		}
	}
}

// What cannot be written whole is not left in part.
func TestKeyFilesFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files, err := newKeyFiles(filepath.Join(dir, "a"), true)
	if err != nil {
		t.Fatal(err)
	}
	if err := files.reserve(); err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full here")
	}
	files[2].file.Close()
	files[2].file = full
	if err := files.fill("c", "k", "t"); err == nil {
		t.Error("a full disk was not noticed")
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The socket: any length of path, mode 0600, removed at the end; a dead one is
// replaced, a living one and what is no socket is not touched.
func TestSocket(t *testing.T) {
	t.Parallel()
	for _, deep := range []int{0, 150} {
		dir := filepath.Join(t.TempDir(), strings.Repeat("d", deep))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		path := socketPath(dir)
		l, err := listenSocket(path)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		accepted := make(chan error, 1)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				accepted <- c.Close()
			}
		}()
		c, err := dialSocket(context.Background(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-accepted; err != nil {
			t.Error(err)
		}
		c.Close()
		if _, err := listenSocket(path); err == nil || !strings.Contains(err.Error(), "another server listens") {
			t.Errorf("beside a living one: %v", err)
		}
		<-accepted // the look of the second one
		if err := l.Close(); err != nil || exists(path) {
			t.Errorf("after the end: %v, there: %v", err, exists(path))
		}
	}
}

func TestSocketStale(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := socketPath(dir)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	l, err := listenSocket(path)
	if err != nil {
		t.Fatalf("a dead one stands in the way: %v", err)
	}
	l.Close()
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(path); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("in the place of a file: %v", err)
	}
}
