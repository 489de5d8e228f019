package httpdoor

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

var (
	errTooSlow  = errors.New("request body too slow")
	errTooLarge = errors.New("request body too large")
)

// body is a request's body that must make progress (H16) and has an end: no
// piece may take longer than Limits.BodyIdle, and after that time the whole
// must have come at Limits.BodyRate.
//
// A transport may still be in Read when the handler has returned. From then on
// the response controller must not be touched; finish sees to it.
type body struct {
	src   io.ReadCloser
	limit Limits
	now   func() time.Time
	began time.Time
	max   int64 // bytes; 0 for no bound
	read  int64

	mu      sync.Mutex
	rc      *http.ResponseController // nil when the handler has returned
	renewed time.Time                // when the read deadline was last set
	failed  error                    // why Read has failed; nil or io.EOF if it has not
}

// pace returns the body of r, pieces of which must come in time. r itself keeps its own.
func (d *Door) pace(w http.ResponseWriter, r *http.Request, max int64) *body {
	return &body{src: r.Body, limit: d.limits, now: d.now, began: d.now(), max: max, rc: http.NewResponseController(w)}
}

// Read reads under a deadline. Once it has failed it fails for ever.
func (b *body) Read(p []byte) (int, error) {
	if err := b.before(); err != nil {
		return 0, err
	}
	n, err := b.src.Read(p)
	b.read += int64(n)
	if b.max > 0 && b.read > b.max {
		n, err = 0, errTooLarge
	}
	if err != nil {
		b.fail(err)
	}
	return n, err
}

// before renews the deadline, not at every read: that would cost more than the
// read. At the end of the body net/http clears it and waits on, for a hang-up.
func (b *body) before() error {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed == nil && b.slow(now) {
		b.failed = errTooSlow
	}
	if b.failed != nil {
		return b.failed
	}
	if b.rc != nil && now.Sub(b.renewed) > b.limit.BodyIdle/8 {
		b.rc.SetReadDeadline(now.Add(b.limit.BodyIdle))
		b.renewed = now
	}
	return nil
}

// slow asks for the average rate once the first idle time is over.
func (b *body) slow(now time.Time) bool {
	passed := now.Sub(b.began)
	return passed > b.limit.BodyIdle && b.read < int64(passed.Seconds()*float64(b.limit.BodyRate))
}

func (b *body) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = err
}

// finish is for the handler before it returns.
func (b *body) finish() {
	b.mu.Lock()
	b.rc = nil
	b.mu.Unlock()
}

// fault returns why the body could not be read, nil if it could.
func (b *body) fault() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed == io.EOF {
		return nil
	}
	return b.failed
}

// Close closes the source.
func (b *body) Close() error { return b.src.Close() }
