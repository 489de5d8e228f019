package intake

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"syscall"
	"time"
)

const (
	firstBackoff = 5 * time.Millisecond
	lastBackoff  = time.Second

	warnEvery = time.Minute // for each length of the wait, so that nine lines tell of the first trouble
	waits     = 16          // more than there are between the first and the last
)

// Loop accepts connections of ln and hands each to handle, which must not take
// long: the next one waits for it. When the process is out of file descriptors
// or memory it waits, longer each time, instead of spinning or giving up
// (D13). It ends with ctx, and then returns ctx's error; when ln is closed; or
// when ln is broken. Then it returns what Accept said. Once it has returned, ln
// is closed.
func Loop(ctx context.Context, ln net.Listener, log *slog.Logger, handle func(net.Conn)) error {
	defer ln.Close()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	told := NewSampler[time.Duration](warnEvery, waits)
	wait := firstBackoff
	for {
		c, err := ln.Accept()
		switch {
		case err == nil:
			wait = firstBackoff
			handle(c)
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case !passes(err):
			return err
		}
		if similar, tell := told.Sample(wait); tell {
			log.Warn("cannot accept connections for now",
				"listener", ln.Addr().String(), "wait", wait, "similar", similar, "error", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		wait = min(2*wait, lastBackoff)
	}
}

// passing are the errors of accept that say nothing of the listener: there is
// too little of something, or a connection broke before it was taken, which
// Linux tells in place of the connection (accept(2), "Error handling"; EPERM is a firewall's).
var passing = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR, syscall.EPERM, syscall.EPROTO, syscall.ETIMEDOUT,
	syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENOPROTOOPT,
}

// passes reports whether Accept may succeed later.
func passes(err error) bool {
	errno, ok := errors.AsType[syscall.Errno](err)
	return ok && slices.Contains(passing, errno)
}
