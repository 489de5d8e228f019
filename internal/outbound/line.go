package outbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"time"
)

// line is one connection of a pool. Its fields are guarded by the pool, but for those that only its reader uses.
type line struct {
	pool *pool
	conn net.Conn
	load int // calls on it

	streams *http.ClientConn // of HTTP/2; nil for HTTP/1.1, which all that follows is for
	idle    *time.Timer      // of HTTP/2: closes it

	queue    queue // calls in the order in which they were sent
	answered int
	reading  bool   // the answer to the first of the queue
	writing  bool   // somebody writes; what else is to be sent goes into out
	out      []byte // requests, one after the other

	meter meter
	in    *bufio.Reader
}

const protoH2 = "h2"

// maxDirect is the length in bytes of a request that the caller writes itself: so little is taken by the kernel at once, when
// everything before it was answered.
const maxDirect = 16 << 10

// newLine makes a line of a connection.
func newLine(ctx context.Context, p *pool, conn net.Conn) (*line, error) {
	l := &line{pool: p, conn: conn}
	if secured, ok := conn.(*tls.Conn); ok && secured.ConnectionState().NegotiatedProtocol == protoH2 {
		return l, l.multiplex(ctx)
	}
	l.meter.from = conn
	l.in = bufio.NewReader(&l.meter)
	return l, nil
}

// open starts what serves a line.
func (l *line) open() {
	if l.streams != nil {
		l.idle = time.AfterFunc(l.pool.plan.maxInactive, l.inactive)
		return
	}
	l.rest()
	l.pool.tasks.Go(l.read)
}

// rest lets it be closed when nothing is asked for a while.
func (l *line) rest() { l.until(time.Now().Add(l.pool.plan.maxInactive)) }

// until bounds what is read next. It fails only on a closed connection, as the read then does.
func (l *line) until(at time.Time) { _ = l.conn.SetReadDeadline(at) }

// put adds a call. mine reports that the request is to be written, by [line.write] or [line.flush].
func (l *line) put(c *call) (mine bool) {
	l.load++
	if l.streams != nil {
		l.idle.Stop()
		l.pool.tasks.Go(func() { l.stream(c) })
		return false
	}
	if l.queue.push(c); l.queue.n == 1 {
		l.until(c.deadline)
	}
	if l.writing {
		l.out = append(l.out, c.request...)
		return false
	}
	l.writing = true
	return true
}

// write writes the request of a call, by its owner. Where that could take a while it leaves it to another goroutine.
func (l *line) write(c *call) {
	p := l.pool
	if len(c.request) > maxDirect {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.closed {
			l.flush(c)
		}
		return
	}
	if !l.send(c.request) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(l.out) == 0:
		l.writing = false
	case !p.closed:
		p.tasks.Go(l.sendRest)
	}
}

// flush has the request of a call written.
func (l *line) flush(c *call) {
	// what came to out in the meantime is behind c
	behind := l.out
	l.out = append(append(make([]byte, 0, len(c.request)+len(behind)), c.request...), behind...)
	clear(behind)
	l.pool.tasks.Go(l.sendRest)
}

// sendRest writes what is to be sent until nothing is left.
func (l *line) sendRest() {
	p := l.pool
	var batch []byte
	for {
		p.mu.Lock()
		if len(l.out) == 0 {
			l.writing = false
			p.mu.Unlock()
			return
		}
		batch, l.out = l.out, batch[:0]
		p.mu.Unlock()
		sent := l.send(batch)
		clear(batch)
		if !sent {
			return
		}
	}
}

// send writes b; false if the connection broke.
func (l *line) send(b []byte) bool {
	err := l.conn.SetWriteDeadline(time.Now().Add(l.pool.plan.requestTimeout))
	if err == nil {
		_, err = l.conn.Write(b)
	}
	if err != nil {
		l.giveUp(err)
	}
	return err == nil
}

// giveUp takes a line on which nothing can be written any more out of the pool. A call whose answer is being read stays: only the
// reader says what becomes of it, because it must not be its owner's again before that.
func (l *line) giveUp(cause error) {
	p := l.pool
	p.mu.Lock()
	left := p.drop(l)
	if l.reading && left.n > 0 {
		l.queue.push(left.pop())
	}
	p.mu.Unlock()
	l.end(left, cause, false)
}

// read takes the answers, each for the first call in the queue, until the connection ends.
func (l *line) read() {
	for {
		l.meter.left = maxHead
		if _, err := l.in.Peek(1); err != nil {
			if l.early(err) {
				continue
			}
			l.fail(err, false)
			return
		}
		c := l.head()
		if c == nil { // a service that talks when it was not asked, or twice, would give one user's data to another
			l.fail(errUnasked, false)
			return
		}
		ended, err := l.receive(&c.reply)
		if err != nil {
			l.fail(err, true)
			return
		}
		if !l.pass(c, ended) {
			return
		}
	}
}

func (l *line) head() *call {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.reading = l.queue.first != nil
	return l.queue.first
}

// early reports whether err says only that an idle line's time is over that is idle no longer.
func (l *line) early(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if c := l.queue.first; c != nil && time.Now().Before(c.deadline) {
		l.until(c.deadline)
		return true
	}
	return false
}

// receive reads one answer.
func (l *line) receive(r *reply) (ended bool, err error) {
	for range maxInterim {
		answer, err := http.ReadResponse(l.in, nil)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return true, err
		case err != nil, answer.StatusCode == http.StatusSwitchingProtocols, answer.StatusCode < 200 && announcesMore(answer):
			return true, bad(err)
		case answer.StatusCode < 200:
			continue
		}
		l.meter.left = maxChunked
		ended, err := r.take(answer)
		return ended || answer.Close || announcesMore(answer), err
	}
	return true, errBadReply
}

// announcesMore reports whether an answer that has no body says that it has one, or how it is sent: who sends such may send one as well.
func announcesMore(a *http.Response) bool {
	if a.StatusCode >= 200 && a.StatusCode != http.StatusNoContent && a.StatusCode != http.StatusNotModified {
		return false
	}
	length := a.Header["Content-Length"]
	return len(a.TransferEncoding) > 0 || len(length) > 1 || len(length) == 1 && length[0] != "0"
}

// bad keeps of an error of parsing only what can be shown.
func bad(err error) error {
	if _, ok := errors.AsType[net.Error](err); ok || isEnd(err) {
		return err
	}
	return errBadReply
}

// pass gives the reply to its call, and the line to the next. It returns false if the line is of no use any more.
func (l *line) pass(c *call, ended bool) bool {
	p := l.pool
	p.mu.Lock()
	if l.queue.first != c { // it was closed meanwhile
		p.mu.Unlock()
		return false
	}
	l.queue.pop()
	l.reading = false
	l.load--
	l.answered++
	switch next := l.queue.first; {
	case ended:
	case next != nil:
		l.until(next.deadline)
	case l.in.Buffered() > 0: // more than was asked for
		ended = true
	default:
		l.rest()
	}
	p.learn(l.answered, ended)
	var left queue
	if ended {
		left = p.drop(l)
	} else {
		p.dispatch()
	}
	p.mu.Unlock()
	c.finish(nil)
	if ended {
		l.end(left, errLast, false)
	}
	return !ended
}

// learn sets how many requests may be on a connection: a service that ends each after one answer would have the
// others asked again and again.
func (p *pool) learn(answered int, ended bool) {
	switch {
	case ended && answered == 1:
		p.depth = 1
	case answered == 2:
		p.depth = p.plan.pipelining
	}
}

// fail takes the line out of the pool. begun says that the first call's answer had begun.
func (l *line) fail(cause error, begun bool) {
	l.pool.mu.Lock()
	left := l.pool.drop(l)
	l.pool.mu.Unlock()
	l.end(left, cause, begun)
}

// end closes the connection of a line that is out of the pool, and tells the calls that are left on it.
func (l *line) end(left queue, cause error, begun bool) {
	l.hangUp()
	for c := left.pop(); c != nil; c = left.pop() {
		c.finish(fate(c, cause, begun))
		begun = false
	}
}

// fate is what becomes of a call that is on a line that ends.
func fate(c *call, cause error, begun bool) error {
	switch {
	case errors.Is(cause, errClosed), errors.Is(cause, errLast):
		return cause
	case !time.Now().Before(c.deadline):
		return errTimeout
	case begun:
		return errCut{cause}
	}
	return errBroken{cause}
}

// hangUp closes the connection.
func (l *line) hangUp() {
	if l.streams != nil {
		_ = l.streams.Close()
	}
	_ = l.conn.Close()
}
