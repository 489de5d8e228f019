package outbound

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The circuit opens after five failures in a row, and then only one probe at a time is let through. (reference, 5)
func TestTally(t *testing.T) {
	var c tally
	at := time.Unix(0, 0)
	enter := func(wantProbe, wantOK bool) {
		t.Helper()
		if probe, ok := c.enter(at); probe != wantProbe || ok != wantOK {
			t.Fatalf("probe %t and ok %t, want %t and %t", probe, ok, wantProbe, wantOK)
		}
	}
	for range 7 { // all under way at once
		enter(false, true)
	}
	for i := range 5 {
		if turned := c.leave(false, "no", 0, at); turned != (i == 4) {
			t.Fatalf("failure %d: %t", i+1, turned)
		}
	}
	at = at.Add(9 * time.Second)
	c.leave(false, "late", 0, at) // one that was under way does not keep it open for longer
	enter(false, false)
	at = at.Add(time.Second)
	enter(true, true)
	enter(false, false)
	c.forget(true) // a probe that nobody waited for
	enter(true, true)
	c.leave(true, "no", 0, at)
	enter(false, false)
	at = at.Add(10 * time.Second)
	enter(true, true)
	if !c.leave(true, "", 0, at) {
		t.Fatal("the answer to the probe does not close it")
	}
	enter(false, true)
	if c.leave(false, "no", 0, at) || c.status().Open {
		t.Fatal("one failure opens it again")
	}
	if s := c.status(); s.Questions != 9 || s.Failures != 8 || s.LastError != "no" || !s.LastAt.Equal(at) {
		t.Errorf("%+v", s)
	}
}

// An answer to what was asked before the circuit opened closes it: the service does answer.
func TestLateAnswerCloses(t *testing.T) {
	var c tally
	for range 5 {
		c.leave(false, "no", 0, time.Unix(0, 0))
	}
	if !c.leave(false, "", 0, time.Unix(1, 0)) || c.status().Open {
		t.Error("it stays open")
	}
}

// Quantiles are never below what they are, and at most a quarter above.
func TestHistogram(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		times := rapid.SliceOfN(rapid.Int64Range(0, int64(time.Hour)), 1, 300).Draw(rt, "times")
		var h histogram
		for _, d := range times {
			h.add(time.Duration(d))
		}
		slices.Sort(times)
		got := h.sum()
		at := func(percent int) time.Duration { return time.Duration(times[(len(times)*percent+99)/100-1]) }
		for _, one := range []struct{ got, want time.Duration }{{got.P50, at(50)}, {got.P99, at(99)}} {
			if one.got < one.want || one.got > one.want+one.want/4+2*time.Microsecond {
				rt.Fatalf("%s for %s", one.got, one.want)
			}
		}
		if got.Count != int64(len(times)) || got.Max != time.Duration(times[len(times)-1]) {
			rt.Fatalf("%+v", got)
		}
	})
	if (&histogram{}).sum().P99 != 0 {
		t.Error("a quantile of nothing")
	}
}
