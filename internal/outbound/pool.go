package outbound

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// maxAgain is how often a request is asked again whose connection broke.
const maxAgain = 2

// pool keeps the connections to one service and puts requests on them: on an idle one; else on a new one while there
// are fewer than it may have; else behind the fewest others. What finds no room waits.
type pool struct {
	client *Client
	plan   *plan
	ctx    context.Context // ends when the pool is closed
	cancel context.CancelFunc
	tasks  sync.WaitGroup // goroutines

	mu      sync.Mutex
	lines   []*line
	dialing int
	waiting queue
	depth   int // requests on a connection: one, for a service that ends each connection after its first answer
	closed  bool
}

func newPool(c *Client, to *plan) *pool {
	p := &pool{client: c, plan: to, depth: to.pipelining}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// do puts a question and waits for the reply, until its deadline or the end of ctx. Only if it returns nil is c the caller's again.
func (p *pool) do(ctx context.Context, c *call) error {
	if ctx.Err() != nil {
		return errGivenUp
	}
	c.ctx = ctx
	c.timer.Reset(max(time.Until(c.deadline), 0))
	defer c.timer.Stop()
	for again := 0; ; {
		p.start(c)
		err := p.wait(ctx, c)
		_, broken := errors.AsType[errBroken](err)
		switch {
		case errors.Is(err, errLast): // it comes nearer to its turn each time
		case broken && again < maxAgain:
			again++
		default:
			return err
		}
	}
}

func (p *pool) wait(ctx context.Context, c *call) error {
	var err error
	select {
	case <-c.done:
		return c.err
	case <-c.timer.C:
		err = errTimeout
	case <-ctx.Done():
		err = errGivenUp
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting.remove(c)
	return err
}

// start puts a call on a line, or lets it wait for one.
func (p *pool) start(c *call) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		c.finish(errClosed)
		return
	}
	l := p.pick()
	if l == nil {
		p.waiting.push(c)
		p.grow()
		p.mu.Unlock()
		return
	}
	mine := l.put(c)
	p.mu.Unlock()
	if mine {
		l.write(c)
	}
}

// pick returns the line for a new call; nil if it has to wait.
func (p *pool) pick() *line {
	best := p.roomiest()
	if best != nil && best.load > 0 && len(p.lines)+p.dialing < p.plan.pool {
		return nil
	}
	return best
}

// roomiest returns the line with the fewest calls; nil if none has room. Lines that have ended meanwhile are taken out.
func (p *pool) roomiest() *line {
	p.lines = slices.DeleteFunc(p.lines, (*line).over)
	var best *line
	for _, l := range p.lines {
		if l.load < p.depth && l.takes() && (best == nil || l.load < best.load) {
			if best = l; l.load == 0 {
				break
			}
		}
	}
	return best
}

// dispatch puts calls that wait on lines that have room, and makes new lines for the rest.
func (p *pool) dispatch() {
	for p.waiting.n > 0 {
		l := p.roomiest()
		if l == nil {
			break
		}
		if c := p.waiting.pop(); l.put(c) {
			l.flush(c)
		}
	}
	p.grow()
}

// grow dials for calls that wait.
func (p *pool) grow() {
	for !p.closed && p.waiting.n > p.dialing && len(p.lines)+p.dialing < p.plan.pool {
		p.dialing++
		p.tasks.Go(p.dial)
	}
}

// dial makes one line.
func (p *pool) dial() {
	ctx, cancel := context.WithTimeout(p.ctx, p.plan.connectTimeout)
	defer cancel()
	conn, err := p.client.dial(ctx, p.plan.target.addr(), p.plan.tls)
	var l *line
	if err == nil {
		l, err = newLine(ctx, p, conn)
	}
	if err != nil {
		p.pause()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing--
	switch {
	case p.closed:
		if err == nil {
			p.tasks.Go(l.hangUp)
		}
		return
	case err == nil:
		p.lines = append(p.lines, l)
		l.open()
	case len(p.lines) > 0: // they will do
	case p.dialing > 0: // others may have more luck
		if c := p.waiting.pop(); c != nil {
			c.finish(errDial{err})
		}
	default:
		for c := p.waiting.pop(); c != nil; c = p.waiting.pop() {
			c.finish(errDial{err})
		}
	}
	p.dispatch()
}

// dialPause is how long a pool that has a connection does not try again where another could not be made.
const dialPause = 100 * time.Millisecond

// pause waits before the next try, if what waits may yet be put on a connection that there is.
func (p *pool) pause() {
	p.mu.Lock()
	some := len(p.lines) > 0
	p.mu.Unlock()
	if !some {
		return
	}
	t := time.NewTimer(dialPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.ctx.Done():
	}
}

// drop takes out a line, if it is not out already, and returns the calls that are left on it.
func (p *pool) drop(l *line) (left queue) {
	if i := slices.Index(p.lines, l); i >= 0 {
		p.lines = slices.Delete(p.lines, i, i+1)
	}
	left, l.queue = l.queue, queue{}
	p.dispatch()
	return left
}

// close ends all connections and waits until nothing of the pool runs any more.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	lines := slices.Clone(p.lines)
	for c := p.waiting.pop(); c != nil; c = p.waiting.pop() {
		c.finish(errClosed)
	}
	p.mu.Unlock()
	p.cancel()
	for _, l := range lines {
		l.fail(errClosed, false)
	}
	p.tasks.Wait()
}
