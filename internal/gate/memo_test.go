package gate

import (
	"testing"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// A remembered yes is worth nothing as soon as anything that it followed from has changed (M07, M18, H13).
func TestMemoForgetsWithWhatItFollowedFrom(t *testing.T) {
	publish := func(topic string) *policy.Access {
		return &policy.Access{Proto: policy.MQTT, Verb: "publish", Resource: topic, Source: here}
	}
	start := func(t *testing.T) (*house, *Identity, credential.Credential, func(*policy.Access) credential.Reason) {
		h := newHouse(t)
		h.scope("telemetry", credential.Rule{Permission: credential.Allow, Action: "mqtt:publish", Resource: "plant/#"})
		h.role("sensor", "telemetry")
		token, c := h.token(h.device("pump-1", "sensor"))
		id := h.accepted(token)
		var m Memo
		ask := func(a *policy.Access) credential.Reason { return h.gate.Recall(&m, id, a).Reason }
		for range 3 {
			if why := ask(publish("plant/a")); why != credential.OK {
				t.Fatalf("not allowed at first: %s", why)
			}
		}
		return h, id, c, ask
	}
	t.Run("another access", func(t *testing.T) {
		_, _, _, ask := start(t)
		if why := ask(publish("office/a")); why != credential.NoRule {
			t.Errorf("another topic: %s", why)
		}
		if why := ask(publish("plant/a")); why != credential.OK {
			t.Errorf("the first topic again: %s", why)
		}
	})
	t.Run("rules", func(t *testing.T) {
		h, _, _, ask := start(t)
		h.scope("telemetry", credential.Rule{Permission: credential.Allow, Action: "mqtt:publish", Resource: "plant/#"},
			credential.Rule{Permission: credential.Deny, Action: "mqtt:publish", Resource: "plant/a"})
		if why := ask(publish("plant/a")); why != credential.DeniedByRule {
			t.Errorf("after a deny was added: %s", why)
		}
	})
	t.Run("revocation", func(t *testing.T) {
		h, _, c, ask := start(t)
		h.revoke(c)
		if why := ask(publish("plant/a")); why != credential.Revoked {
			t.Errorf("after the revocation: %s", why)
		}
	})
	t.Run("a gate that may not decide", func(t *testing.T) {
		h, _, _, ask := start(t)
		h.gate.close(lawless)
		if why := ask(publish("plant/a")); why != credential.Unavailable {
			t.Errorf("while the policy cannot be read: %s", why)
		}
	})
	t.Run("QoS and retain", func(t *testing.T) {
		h, _, _, ask := start(t)
		no := false
		h.scope("telemetry", credential.Rule{Permission: credential.Allow, Action: "mqtt:publish", Resource: "plant/#", QoS: []int{0}, Retain: &no})
		a := publish("plant/a")
		if why := ask(a); why != credential.OK {
			t.Fatalf("at QoS 0: %s", why)
		}
		if a.QoS = 1; ask(a) != credential.NoRule {
			t.Error("QoS 1 is taken for QoS 0")
		}
		if a.QoS, a.Retain = 0, true; ask(a) != credential.NoRule {
			t.Error("a retained message is taken for one that is not")
		}
	})
	t.Run("no allocation", func(t *testing.T) {
		_, _, _, ask := start(t)
		one, other := publish("plant/a"), publish("plant/b")
		if n := testing.AllocsPerRun(200, func() { ask(one); ask(one); ask(other) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
