package intake

import (
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// nth is one of many sources, of both families.
func nth(i int) netip.Addr {
	if i%2 == 0 {
		return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	}
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, byte(i >> 16), byte(i >> 8), byte(i), 15: 1})
}

// await waits until the log holds a text.
func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: it does not happen", what)
		panic("unreachable")
	}
}

func allocations(t *testing.T, what string, budget float64, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(200, f); n > budget {
		t.Errorf("%s: %v allocations, want at most %v", what, n, budget)
	}
}
