package mqttdoor

import (
	"bytes"
	"crypto/tls"
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

// fill writes as much as a socket takes whose peer does not read.
func fill(c net.Conn) {
	for _, n := range []int{1 << 20, 1} {
		for full := false; !full; {
			c.SetWriteDeadline(time.Now().Add(lastWord))
			_, err := c.Write(make([]byte, n))
			full = err != nil
		}
	}
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
	for round := range 20 {
		near, far := pair(t)
		var killed, late atomic.Bool
		var wrote atomic.Int64
		w := writer{conn: &watchedConn{near.(*net.TCPConn), func(p []byte) {
			wrote.Add(int64(len(p)))
			if killed.Load() {
				late.Store(true)
			}
		}}}
		reads := round%2 == 0
		if reads {
			go io.Copy(io.Discard, far)
		}
		var writing sync.WaitGroup
		for i := range 3 {
			writing.Go(func() {
				p := make([]byte, 64<<10)
				for err := error(nil); err == nil; {
					if i == 0 {
						err = w.insert(p)
					} else {
						err = w.run(p, false)
					}
				}
			})
		}
		for before := int64(-1); ; { // until the peer takes no more, or is in full swing
			time.Sleep(20 * time.Millisecond)
			n := wrote.Load()
			if n == before && n > 0 || reads && n > 10<<20 {
				break
			}
			before = n
		}
		w.kill(errDead)
		killed.Store(true)
		writing.Wait()
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
	fill(near)
	w := writer{conn: near}
	if w.last(word, lastWord) {
		t.Error("a peer that does not read is believed to have read")
	}
}

// Who is told nothing, and reads nothing, is not waited for either: the farewell of TLS would be, for 5 s.
func TestLastWordOfTLS(t *testing.T) {
	h := newHouse(t)
	near, far := pair(t)
	server := tls.Server(near, h.tls(false))
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	h.must(tls.Client(far, h.trusting()).Handshake())
	h.must(<-shaken)
	fill(near) // beside TLS: it believes that all it wrote was taken
	near.SetWriteDeadline(time.Time{})
	s := &Session{door: h.door, conn: server}
	s.w.conn = server
	start := time.Now()
	s.last(nil, lastWord)
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("it took %v", d)
	}
}
