package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// maxSocketPath is what fits into an address of a unix socket, with room to spare.
const maxSocketPath = 100

// listenSocket binds the administrator's socket, mode 0600. What a dead process
// has left is removed; a living one is an error. A path that does not fit
// into an address is reached through the folder's descriptor.
func listenSocket(path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	var l net.Listener
	err := throughFolder(path, func(short string) (err error) {
		if l, err = net.Listen("unix", short); err != nil {
			return err
		}
		return os.Chmod(short, 0o600) // until then the folder's mode keeps others out
	})
	if err != nil {
		return nil, fmt.Errorf("the socket %s: %w", path, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // by the short name it could be another folder's
	return &ownSocket{UnixListener: l.(*net.UnixListener), path: path}, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is no socket: move it away", path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if c, err := dialSocket(ctx, path); err == nil {
		c.Close()
		return fmt.Errorf("another server listens on %s: stop it, or use another --data", path)
	}
	return os.Remove(path)
}

// throughFolder calls fn with a name of path that fits into an address.
func throughFolder(path string, fn func(short string) error) error {
	if len(path) <= maxSocketPath {
		return fn(path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return fn(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}

func dialSocket(ctx context.Context, path string) (c net.Conn, err error) {
	var d net.Dialer
	err = throughFolder(path, func(short string) (err error) {
		c, err = d.DialContext(ctx, "unix", short)
		return err
	})
	return c, err
}

// ownSocket accepts connections of the user that runs the server, and of root.
type ownSocket struct {
	*net.UnixListener
	path string
}

// Accept skips connections of other users, who cannot open the socket anyway unless its mode was changed.
func (l *ownSocket) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if uid, err := peerUID(c); err == nil && (uid == uint32(os.Geteuid()) || uid == 0) {
			return c, nil
		}
		c.Close()
	}
}

// Close removes the socket.
func (l *ownSocket) Close() error {
	err := l.UnixListener.Close()
	if err == nil {
		err = os.Remove(l.path)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func peerUID(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, failed); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
