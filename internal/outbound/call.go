package outbound

import (
	"context"
	"sync"
	"time"
)

// call is one request on its way through a pool. Whoever has made it owns it, but for the time from [pool.start] to done.
type call struct {
	request  []byte
	deadline time.Time
	ctx      context.Context // the caller's; a stream of HTTP/2 ends with it
	done     chan struct{}   // gets one when reply and err are there
	reply    reply
	err      error // nil, errBroken, errClosing or what cannot be helped by asking again
	next     *call // in a queue
	timer    *time.Timer
}

// reply is what came back.
type reply struct {
	status int
	kind   string // content-type; "" if there was none, or more than one
	body   []byte
}

var calls = sync.Pool{New: func() any {
	c := &call{done: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	c.timer.Stop()
	return c
}}

// newCall returns a call with empty buffers.
func newCall() *call {
	return calls.Get().(*call)
}

// free puts c where the next may take it, without the secrets that went through it. Nobody else may have it.
func (c *call) free() {
	clear(c.request[:cap(c.request)])
	clear(c.reply.body[:cap(c.reply.body)])
	*c = call{request: c.request[:0], done: c.done, timer: c.timer, reply: reply{body: c.reply.body[:0]}}
	if cap(c.request)+cap(c.reply.body) <= 16<<10 {
		calls.Put(c)
	}
}

// finish tells the owner what came of it.
func (c *call) finish(err error) {
	c.err = err
	c.done <- struct{}{}
}

// queue is calls in the order in which they are answered.
type queue struct {
	first, last *call
	n           int
}

func (q *queue) push(c *call) {
	c.next = nil
	if q.last == nil {
		q.first = c
	} else {
		q.last.next = c
	}
	q.last = c
	q.n++
}

func (q *queue) pop() *call {
	c := q.first
	if c == nil {
		return nil
	}
	if q.first = c.next; q.first == nil {
		q.last = nil
	}
	c.next = nil
	q.n--
	return c
}

// remove takes out c and reports whether it was there.
func (q *queue) remove(c *call) bool {
	var before *call
	for at := q.first; at != nil; before, at = at, at.next {
		if at != c {
			continue
		}
		if before == nil {
			q.pop()
			return true
		}
		if before.next = c.next; c.next == nil {
			q.last = before
		}
		c.next = nil
		q.n--
		return true
	}
	return false
}
