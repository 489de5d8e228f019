package mqttdoor

import (
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/mqtt"
)

// A second proof whose step is still being taken when the time for it is over: the service has not answered.
func TestTooLateDuringStep(t *testing.T) {
	h := newHouse(t, limits(Limits{Exchange: 300 * time.Millisecond}))
	s := h.restService()
	h.remote(s, credential.ByScramREST)
	l := s.user(t, "dora", "not a secret", nil)
	c := h.enter(h.addr, l, sha256)
	s.set(func() { s.delay = time.Second })
	c.Send(auth(mqtt.ReAuthenticate, sha256, l.client(t, sha256, nil).First()))
	if code, said := c.Closed(); !said || code != mqtt.NotAuthorized {
		t.Errorf("0x%02X", byte(code))
	}
	h.gone("dora")
}
