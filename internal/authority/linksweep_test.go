package authority

import (
	"testing"
	"time"

	"cardea/internal/credential"
)

// Of a link nothing stays once it is used or over; one that is good stays good.
func TestLinksAreForgotten(t *testing.T) {
	h := newHouse(t)
	link := func() string {
		code, _, err := h.AdminLink(t.Context(), h.local)
		h.must(err)
		return code.Reveal()
	}
	stored := func() int {
		links, err := h.store.Settings(t.Context(), "link/")
		h.must(err)
		return len(links)
	}
	used, over := link(), link()
	_, err := h.RedeemLink(t.Context(), used, credential.Actor{})
	h.must(err)
	if n := stored(); n != 1 {
		t.Errorf("%d links after one of two was used", n)
	}
	_, err = h.RedeemLink(t.Context(), used, credential.Actor{})
	fails(t, err, credential.NotFound, "used or has expired")
	h.clock.add(linkLife - time.Minute)
	good := link()
	h.clock.add(2 * time.Minute)
	before := h.head()
	h.must(h.Sweep(t.Context()))
	if n := stored(); n != 1 || h.head() != before {
		t.Errorf("%d links after the sweep, %d events", n, h.head()-before)
	}
	_, err = h.RedeemLink(t.Context(), over, credential.Actor{})
	fails(t, err, credential.NotFound, "used or has expired")
	_, err = h.RedeemLink(t.Context(), good, credential.Actor{})
	h.must(err)
}
