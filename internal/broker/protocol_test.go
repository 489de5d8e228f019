package broker

import (
	"testing"

	"cardea/internal/mqtt"
)

// both runs a test with both versions.
func both(t *testing.T, f func(t *testing.T, v mqtt.Version)) {
	t.Run("3.1.1", func(t *testing.T) { f(t, mqtt.V311) })
	t.Run("5", func(t *testing.T) { f(t, mqtt.V5) })
}

func TestEachQoSArrives(t *testing.T) {
	both(t, func(t *testing.T, v mqtt.Version) {
		_, addr := start(t, Config{})
		sub := connect(t, addr, v, "sub")
		sub.subscribe("a/+")
		pub := connect(t, addr, v, "pub")
		pub.publish("a/b", "zero", 0)
		pub.publish("a/b", "one", 1)
		pub.publish("a/b", "two", 2)
		pub.publish("c", "elsewhere", 0)
		sub.expectMessages("a/b=zero q0", "a/b=one q1", "a/b=two q2")
		sub.expectNothing()
		sub.bye()
		pub.bye()
	})
}
