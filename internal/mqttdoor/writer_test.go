package mqttdoor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/mqtt"
)

// pair is a connection over loopback.
func pair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// Whoever writes beside a run, the peer gets whole packets: what came through in order, and the door's own between them, in order.
func TestOwnPacketsNeverLandInsideOfARun(t *testing.T) {
	const packets, owns = 300, 300
	near, far := pair(t)
	w := writer{conn: near}
	rng := rand.New(rand.NewPCG(1, 2))
	var through []byte
	for i := range packets {
		through = mqtt.AppendPublish(through, mqtt.V5, &mqtt.Publish{Topic: fmt.Appendf(nil, "through/%d", i)}, make([]byte, rng.IntN(1<<rng.IntN(16))))
	}
	boundaries := map[int]bool{}
	for at := 0; at < len(through); {
		h, _, _ := mqtt.ReadHead(through[at:])
		at += h.Total()
		boundaries[at] = true
	}
	var writing sync.WaitGroup
	writing.Go(func() {
		for at := 0; at < len(through); {
			n := min(1+rng.IntN(1<<rng.IntN(16)), len(through)-at)
			if err := w.run(through[at:at+n], !boundaries[at+n]); err != nil {
				t.Error(err)
				return
			}
			at += n
		}
	})
	writing.Go(func() {
		for i := range owns {
			if err := w.insert(mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{Topic: fmt.Appendf(nil, "own/%d", i)}, nil)); err != nil {
				t.Error(err)
			}
		}
	})
	go func() { writing.Wait(); near.Close() }()
	slow := iotestSlow{far, rand.New(rand.NewPCG(3, 4))}
	got, err := io.ReadAll(slow)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	err = eachPacket(got, func(h mqtt.Head, packet []byte) error {
		p, ok, err := mqtt.ReadPublish(mqtt.V5, mqtt.FromServer, h, packet)
		if err != nil || !ok || len(packet) < h.Total() {
			return fmt.Errorf("torn: %v", err)
		}
		kind, number, _ := bytes.Cut(p.Topic, []byte("/"))
		if string(number) != fmt.Sprint(seen[string(kind)]) {
			return fmt.Errorf("%s comes as number %d", p.Topic, seen[string(kind)])
		}
		seen[string(kind)]++
		return nil
	})
	if err != nil || seen["through"] != packets || seen["own"] != owns {
		t.Errorf("%v, %v", seen, err)
	}
}

// iotestSlow reads little at a time.
type iotestSlow struct {
	io.Reader
	rng *rand.Rand
}

func (s iotestSlow) Read(p []byte) (int, error) {
	return s.Reader.Read(p[:min(len(p), 1+s.rng.IntN(5000))])
}

// Packets of the door's own that wait for the end of another one are bounded.
func TestOwnPacketsAreBounded(t *testing.T) {
	near, far := pair(t)
	go io.Copy(io.Discard, far)
	w := writer{conn: near}
	if err := w.run([]byte{0x30, 100, 0, 1}, true); err != nil {
		t.Fatal(err)
	}
	one, n := make([]byte, 1000), 0
	for ; n < 10_000; n++ {
		if err := w.insert(one); err != nil {
			if !errors.Is(err, errTooSlow) {
				t.Error(err)
			}
			break
		}
	}
	if n*1000 > maxOwn || len(w.own) > maxOwn {
		t.Errorf("%d packets wait", n)
	}
}

// kill returns though somebody writes to a peer that does not read, and no byte is written after it has returned.
func TestKill(t *testing.T) {
	for range 20 {
		near, _ := pair(t)
		var killed, late atomic.Bool
		w := writer{conn: &watchedConn{near.(*net.TCPConn), func([]byte) {
			if killed.Load() {
				late.Store(true)
			}
		}}}
		var writing sync.WaitGroup
		blocked := make(chan struct{})
		var once sync.Once
		for i := range 3 {
			writing.Go(func() {
				p := make([]byte, 1<<20)
				for n := 0; ; n++ {
					if n == 5 {
						once.Do(func() { close(blocked) })
					}
					var err error
					if i == 0 {
						err = w.insert(p)
					} else {
						err = w.run(p, false)
					}
					if err != nil {
						once.Do(func() { close(blocked) })
						return
					}
				}
			})
		}
		go func() { // or no socket takes so much
			for !killed.Load() && w.mu.TryLock() {
				w.mu.Unlock()
			}
		}()
		w.kill(errDead)
		killed.Store(true)
		writing.Wait()
		<-blocked
		if late.Load() {
			t.Fatal("something was written after kill had returned")
		}
		if err := w.insert([]byte{1}); err == nil {
			t.Error("something is written by who is dead")
		}
	}
}

// The last word is said only to a peer that has whole packets, and waits for no peer.
func TestLastWord(t *testing.T) {
	word := []byte{0xE0, 1, 0x87}
	for name, tc := range map[string]struct {
		before func(w *writer)
		want   string
		ok     bool
	}{
		"at rest":            {func(*writer) {}, string(word), true},
		"behind a packet":    {func(w *writer) { w.run([]byte{0x30, 1, 0}, false) }, "\x30\x01\x00" + string(word), true},
		"inside of a packet": {func(w *writer) { w.run([]byte{0x30, 9, 0}, true) }, "\x30\x09\x00", false},
		"killed":             {func(w *writer) { w.kill(errDead) }, string(word), true},
		"killed inside":      {func(w *writer) { w.run([]byte{0x30, 9}, true); w.insert(word); w.kill(errDead) }, "\x30\x09", false},
	} {
		near, far := pair(t)
		w := writer{conn: near}
		tc.before(&w)
		if ok := w.last(word, patience); ok != tc.ok {
			t.Errorf("%s: %v", name, ok)
		}
		if err := w.run(word, false); err == nil {
			t.Errorf("%s: something is written behind it", name)
		}
		near.Close()
		if got, _ := io.ReadAll(far); string(got) != tc.want {
			t.Errorf("%s: % x", name, got)
		}
	}
	near, _ := pair(t)
	for _, n := range []int{1 << 20, 1} { // as much as the socket takes
		for full := false; !full; {
			near.SetWriteDeadline(time.Now().Add(lastWord))
			_, err := near.Write(make([]byte, n))
			full = err != nil
		}
	}
	w := writer{conn: near}
	if w.last(word, lastWord) {
		t.Error("a peer that does not read is believed to have read")
	}
}
