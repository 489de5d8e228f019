package gate

import (
	"context"
	"testing"

	"cardea/internal/credential"
)

// Bears asks the store once for a name that no device bears, for a while; a device that is made is seen at once, also by a look-up that
// was under way when it was made (M08).
func TestBears(t *testing.T) {
	h := newHouse(t)
	h.run()
	bears := func(name string, want bool, asked int64) {
		t.Helper()
		before := h.store.principals.Load()
		got, err := h.gate.Bears(t.Context(), h.org, name)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if n := h.store.principals.Load() - before; n != asked {
			t.Errorf("%s: the store was asked %d times, want %d", name, n, asked)
		}
	}
	bears("pump", false, 1)
	bears("pump", false, 0)
	h.pass(negativeTime)
	bears("pump", false, 1)
	h.device("pump")
	bears("pump", true, 1)
	bears("pump", true, 1)
	bears("no name of a principal", false, 0)

	h.store.set(func(f *faulty) {
		f.principal = func() error { h.device("valve"); return nil } // after the store has answered
	})
	bears("valve", false, 1)
	h.store.set(func(f *faulty) { f.principal = nil })
	bears("valve", true, 1)

	h.store.set(func(f *faulty) { f.principal = func() error { return down } })
	for range 2 { // that the store does not answer is no answer
		if _, err := h.gate.Bears(context.Background(), h.org, "fan"); credential.KindOf(err) != credential.Down {
			t.Errorf("%v", err)
		}
	}
}
