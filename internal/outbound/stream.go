package outbound

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"net/http"
)

// multiplex makes a line of a connection that speaks HTTP/2.
func (l *line) multiplex(ctx context.Context) error {
	var only http.Protocols
	only.SetHTTP2(true)
	t := &http.Transport{
		Protocols:              &only,
		MaxResponseHeaderBytes: maxHead,
		DialTLSContext:         func(context.Context, string, string) (net.Conn, error) { return l.conn, nil },
	}
	var err error
	if l.streams, err = t.NewClientConn(ctx, "https", l.pool.plan.target.addr()); err != nil {
		_ = l.conn.Close()
	}
	return err
}

// takes reports whether one more request can be put on a line at once.
func (l *line) takes() bool { return l.streams == nil || l.streams.Available() > 0 }

// over reports whether a line has nothing on it and takes nothing more: its service has said so, or is gone. One of
// HTTP/1.1 is taken out by its reader.
func (l *line) over() bool {
	if l.load > 0 || l.takes() {
		return false
	}
	l.pool.tasks.Go(l.hangUp) // it may take a while
	return true
}

// stream asks for one call in a stream of its own.
func (l *line) stream(c *call) {
	begun, err := l.exchange(c)
	p := l.pool
	p.mu.Lock()
	if l.load--; l.load == 0 {
		l.idle.Reset(p.plan.maxInactive)
	}
	p.dispatch()
	p.mu.Unlock()
	if err != nil {
		err = fate(c, err, begun)
	}
	c.finish(err)
}

// exchange sends the request and reads the answer. begun says that there was one.
func (l *line) exchange(c *call) (begun bool, err error) {
	ctx, cancel := context.WithDeadline(c.ctx, c.deadline)
	defer cancel()
	// The request is the one that HTTP/1.1 would get, without its connection header, which net/http leaves out. It may be
	// read for longer than the call is there.
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(bytes.Clone(c.request))))
	if err != nil {
		return false, err
	}
	r.RequestURI, r.URL.Scheme, r.URL.Host = "", "https", l.pool.plan.target.as
	answer, err := l.streams.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return false, err
	}
	defer func() { _ = answer.Body.Close() }()
	_, err = c.reply.take(answer)
	return true, err
}

// inactive ends a line that nothing was asked on for a while.
func (l *line) inactive() {
	l.pool.mu.Lock()
	busy := l.load > 0
	l.pool.mu.Unlock()
	if !busy {
		l.fail(errInactive, false)
	}
}
