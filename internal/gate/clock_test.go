package gate

import (
	"testing"
	"time"

	"cardea/internal/credential"
)

// D09: the clock follows its wall clock forward, at once, and never back.
func TestClockNeverGoesBack(t *testing.T) {
	var h hands
	start := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	h.wall.Store(start.UnixNano())
	c := h.clock()
	check := func(what string, want time.Time, behind time.Duration, alarms int64) {
		t.Helper()
		if now := c.Now(); !now.Equal(want) || c.Behind() != behind || c.Alarms() != alarms {
			t.Errorf("%s: %v, behind %v, %d alarms; want %v, %v, %d", what, now, c.Behind(), c.Alarms(), want, behind, alarms)
		}
	}
	check("at the start", start, 0, 0)
	h.pass(time.Second)
	check("a second later", start.Add(time.Second), 0, 0)
	h.step(-5 * time.Minute)
	check("after a step back", start.Add(time.Second), 5*time.Minute, 1)
	h.pass(time.Minute)
	check("a minute after it", start.Add(61*time.Second), 5*time.Minute, 1)
	h.step(365 * 24 * time.Hour)
	forward := start.Add(61*time.Second - 5*time.Minute + 365*24*time.Hour)
	check("after a step of a year", forward, 0, 1)
	h.step(-2 * 365 * 24 * time.Hour)
	check("after a step of two years back", forward, 2*365*24*time.Hour, 2)
	h.step(2*365*24*time.Hour - time.Millisecond)
	check("within the slack", forward, 0, 2)
}

// D09: a clock starts no earlier than the latest time that is known to have been.
func TestClockStartsAtHighWater(t *testing.T) {
	var h hands
	wall := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	h.wall.Store(wall.UnixNano())
	c := NewClock(wall.Add(time.Hour), h.now, func() time.Duration { return time.Duration(h.mono.Load()) })
	if !c.Now().Equal(wall.Add(time.Hour)) || c.Behind() != time.Hour || c.Alarms() != 1 {
		t.Errorf("%v, behind %v", c.Now(), c.Behind())
	}
	h.pass(time.Minute)
	if !c.Now().Equal(wall.Add(time.Hour + time.Minute)) {
		t.Errorf("%v", c.Now())
	}
	if c = NewClock(wall.Add(-time.Hour), h.now, nil); c.Now().Before(wall) || c.Alarms() != 0 {
		t.Errorf("%v with an old mark", c.Now())
	}
}

// The system's clock, read without a wall clock of one's own.
func TestSystemClock(t *testing.T) {
	c := NewClock(time.Time{}, nil, nil)
	before := time.Now()
	now := c.Now()
	if after := time.Now(); now.Before(before.Add(-time.Second)) || now.After(after.Add(time.Second)) {
		t.Errorf("%v is not between %v and %v", now, before, after)
	}
	if n := testing.AllocsPerRun(100, func() { c.nano() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// D09 at the gate: a step back revives nothing, a step forward ends what it ends.
func TestStepsOfTheWallClock(t *testing.T) {
	h := newHouse(t)
	token, _ := h.token(h.device("pump-1"), func(c *credential.Credential) { c.ExpiresAt = h.hands.now().Add(time.Hour) })
	var cut cutter
	h.watch(h.accepted(token), cut.live("connection"))
	h.hands.step(-365 * 24 * time.Hour)
	h.accepted(token)
	h.pass(time.Hour)
	h.refused(token, credential.Expired)
	h.eventually("the session is cut", func() bool { return cut.n.Load() == 1 })
	h.hands.step(-10 * time.Minute)
	h.refused(token, credential.Expired)

	other, _ := h.token(h.device("pump-2"), func(c *credential.Credential) { c.ExpiresAt = h.gate.clock.Now().Add(time.Hour) })
	var second cutter
	h.watch(h.accepted(other), second.live("connection"))
	h.hands.step(2 * 365 * 24 * time.Hour)
	h.refused(other, credential.Expired)
	h.eventually("the session is cut", func() bool { return second.n.Load() == 1 })
	if st := h.gate.Stats(); st.ClockAlarms == 0 {
		t.Error("no alarm")
	}
}

// The time that a machine sleeps counts for the staleness bound, although the monotonic clock stands still.
func TestSleepCountsAsStale(t *testing.T) {
	h := newHouse(t)
	token, _ := h.token(h.device("pump-1"))
	h.accepted(token)
	h.store.set(func(f *faulty) { f.since = func() error { return down } })
	h.hands.step(h.gate.staleness + time.Second)
	h.eventually("it refuses", func() bool { _, out := h.authenticate(token, here); return out.Reason == credential.Unavailable })
	h.store.set(func(f *faulty) { f.since = nil })
	h.eventually("it is ready", h.gate.Ready)
	h.accepted(token)
}
