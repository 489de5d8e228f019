package mqttdoor

import (
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// S14: a service that does not answer in its request timeout, which is the default one, has failed: the next in the chain is asked,
// and after five failures it is left alone.
func TestHangingServiceInDefaultTime(t *testing.T) {
	h := newHouse(t)
	first, second := h.restService(), h.restService()
	a := h.remote(first, credential.ByHTTP, func(a *credential.Authenticator, b *credential.Backend) { a.Rank, b.RequestTimeout = 100, 0 })
	h.remote(second, credential.ByHTTP, func(a *credential.Authenticator, _ *credential.Backend) { a.Rank = 101 })
	first.set(func() { first.delay = 7 * time.Second })
	second.set(func() { second.answers["dora"] = map[string]any{"result": "allow", "password": "not a secret"} })
	if code := h.knock(h.addr, testkit.MQTTConfig{Version: mqtt.V5, ClientID: "c-dora", User: "dora", Password: "not a secret"}); code != mqtt.Success {
		t.Errorf("the one behind it is not asked: 0x%02X", byte(code))
	}
	status, _ := h.gate.AuthenticatorStatus(credential.DefaultOrg, a.ID)
	if status.Source.Failures != 1 {
		t.Errorf("it has not failed: %+v", status.Source)
	}
}
