package api

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// A source may get so many wrong at once and then one each two seconds, whatever another does; what it costs to remember that is bounded.
func TestAttempts(t *testing.T) {
	var a attempts
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	one, neighbour, other := addr("2001:db8::1"), addr("2001:db8::ffff:2"), addr("::ffff:192.0.2.1")
	for i := range attemptsAtOnce {
		if wait := a.wait(one, now); wait != 0 {
			t.Fatalf("attempt %d must wait for %s", i, wait)
		}
		a.wrong(one, now)
	}
	for _, from := range []netip.Addr{one, neighbour} {
		if wait := a.wait(from, now); wait != attemptEach {
			t.Errorf("%s must wait for %s", from, wait)
		}
	}
	if a.wait(other, now) != 0 || a.wait(netip.Addr{}, now) != 0 {
		t.Error("another source must wait")
	}
	now = now.Add(attemptEach)
	if wait := a.wait(one, now); wait != 0 {
		t.Errorf("later it must wait for %s", wait)
	}
	var b [4]byte
	for i := range maxSources + 1000 {
		binary.BigEndian.PutUint32(b[:], uint32(i))
		a.wrong(netip.AddrFrom4(b), now)
	}
	if len(a.full) > maxSources {
		t.Errorf("%d sources are remembered", len(a.full))
	}
}
