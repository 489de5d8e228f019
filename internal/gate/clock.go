package gate

import (
	"math"
	"sync/atomic"
	"time"
)

// Clock is wall time that never goes back while the process runs (D09). It is
// the wall clock as it was once, carried on by the monotonic clock. When the
// wall clock steps forward, so does a Clock at its next [Clock.Sync]; when it
// steps back, the Clock goes on and says by how much the wall clock is behind.
type Clock struct {
	base    time.Time // of the monotonic clock, if none was given
	wall    func() time.Time
	mono    func() time.Duration
	always  bool         // a wall clock was given: look at it at every reading
	offset  atomic.Int64 // wall minus monotonic time, in ns; it only grows
	stepped atomic.Int64 // sum of the forward steps, in ns
	behind  atomic.Int64 // in ns, by which the wall clock is behind; 0 if it is not
	alarms  atomic.Int64
}

// slack is how far the wall clock may be behind without an alarm: what time
// daemons do when they slew.
const slack = int64(time.Second)

// NewClock returns a Clock that starts at the wall clock or at high, whichever
// is later: high is the latest time that is known to have been, zero for none.
// With wall and mono nil it reads the system's clocks. Tests give a wall clock
// to step it, and a monotonic one to hold it; a given wall clock is read every time.
func NewClock(high time.Time, wall func() time.Time, mono func() time.Duration) *Clock {
	c := &Clock{base: time.Now(), wall: wall, mono: mono, always: wall != nil}
	if wall == nil {
		c.wall = time.Now
	}
	start := c.wall().UnixNano()
	if !high.IsZero() {
		start = max(start, high.UnixNano())
	}
	c.offset.Store(start - int64(c.Mono()))
	c.Sync()
	return c
}

// Now returns the time, in UTC.
func (c *Clock) Now() time.Time { return time.Unix(0, c.nano()).UTC() }

// Mono returns the time since some moment of the past, for durations.
func (c *Clock) Mono() time.Duration {
	if c.mono != nil {
		return c.mono()
	}
	return time.Since(c.base)
}

// nano returns Now in ns since 1970.
func (c *Clock) nano() int64 {
	_, now := c.read()
	return now
}

// read returns Mono and Now, in ns since 1970, of the same moment.
func (c *Clock) read() (time.Duration, int64) {
	if c.always {
		c.Sync()
	}
	mono := c.Mono()
	return mono, int64(mono) + c.offset.Load()
}

// Sync compares with the wall clock, adopts a step forward, and notes a step
// back. The gate calls it ten times a second.
func (c *Clock) Sync() {
	wall := c.wall().UnixNano()
	// The monotonic clock is read after: if the process is held up between the
	// two, the wall clock seems to be behind a little, never ahead.
	offset := wall - int64(c.Mono())
	for {
		old := c.offset.Load()
		if offset <= old {
			c.note(old - offset)
			return
		}
		if c.offset.CompareAndSwap(old, offset) {
			c.stepped.Add(offset - old)
			c.note(0)
			return
		}
	}
}

// note keeps how far the wall clock is behind, and counts one alarm each time
// that it falls behind.
func (c *Clock) note(behind int64) {
	if behind < slack {
		behind = 0
	}
	if old := c.behind.Swap(behind); old == 0 && behind != 0 {
		c.alarms.Add(1)
	}
}

// Behind returns how far the wall clock is behind this one; 0 if it is not.
// While it is not 0, nothing should be issued: its times would be wrong.
func (c *Clock) Behind() time.Duration { return time.Duration(c.behind.Load()) }

// Alarms returns how often the wall clock has fallen behind.
func (c *Clock) Alarms() int64 { return c.alarms.Load() }

// never is the deadline of what has none.
const never = math.MaxInt64

// nanos converts the end of something; zero, and what int64 cannot hold, is never.
func nanos(t time.Time) int64 {
	if t.IsZero() || t.Year() > 2261 {
		return never
	}
	return t.UnixNano()
}
