package broker

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"cardea/internal/mqtt"
)

// image copies the folder of a broker as a process that is killed now would leave it.
func image(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if os.IsNotExist(err) {
			continue // compacted away between
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// reopen calls f with a broker that was closed and opened again, and with one that was killed.
func reopen(t *testing.T, b *Broker, dir string, f func(t *testing.T, b *Broker, addr string)) {
	t.Run("killed", func(t *testing.T) {
		b, addr := start(t, Config{Dir: image(t, dir)})
		f(t, b, addr)
	})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	t.Run("closed", func(t *testing.T) {
		b, addr := start(t, Config{Dir: dir})
		f(t, b, addr)
	})
}

func TestWhatWasAcknowledgedSurvives(t *testing.T) {
	both(t, func(t *testing.T, v mqtt.Version) {
		dir := t.TempDir()
		b, addr := start(t, Config{Dir: dir})
		sub := connect(t, addr, v, "sub", lasting)
		sub.subscribe("a/#", "b")
		sub.bye()
		pub := connect(t, addr, v, "pub")
		var want []string
		for i := range 20 {
			n := strconv.Itoa(i)
			pub.publish("a/"+n, n, byte(1+i%2))
			want = append(want, "a/"+n+"="+n+" q"+strconv.Itoa(1+i%2))
		}
		if code := pub.publishAs(mqtt.Publish{Topic: []byte("b"), QoS: 1, Retain: true}, "kept"); code.Failed() {
			t.Fatal(code)
		}
		want = append(want, "b=kept q1")
		pub.bye()
		reopen(t, b, dir, func(t *testing.T, b *Broker, addr string) {
			sub, there := present(t, addr, v, "sub", lasting)
			if !there {
				t.Fatal("the session is gone")
			}
			sub.expectMessages(want...)
			sub.expectNothing()
			other := connect(t, addr, v, "other")
			other.subscribe("b")
			other.expectMessages("b=kept q1 retained")
		})
	})
}
