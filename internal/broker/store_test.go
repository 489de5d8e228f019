package broker

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// startOn starts a broker on a disk and a port.
func startOn(t testing.TB, d disk, cfg Config, tune ...func(*store)) (*Broker, string) {
	t.Helper()
	b, err := newBroker(cfg, d, tune...)
	if err != nil {
		t.Fatal(err)
	}
	addr := listen(t, b)
	t.Cleanup(func() { b.Close() })
	return b, addr
}

// aSegment returns a disk with one segment in which n messages for one session are, and where the record of each begins.
func aSegment(t *testing.T, n int) (data []byte, begins []int) {
	t.Helper()
	d := newMemory()
	b, addr := startOn(t, d, Config{})
	sub := connect(t, addr, mqtt.V5, "sub", lasting)
	sub.subscribe("t")
	sub.bye()
	pub := connect(t, addr, mqtt.V5, "pub")
	for i := range n {
		pub.publish("t", fmt.Sprintf("message %d", i), 1)
	}
	data = d.kill().files[segmentName(1)].data
	data = data[:b.store.segment.size]
	for i := range n {
		at := bytes.Index(data, fmt.Appendf(nil, "message %d", i))
		begins = append(begins, bytes.LastIndex(data[:at], data[headerSize:headerSize+4]))
	}
	return data, begins
}

// left returns what a broker delivers that has a segment, and what it says.
func left(t *testing.T, data []byte) (messages []string, out *testkit.Log, d *memory) {
	t.Helper()
	d = newMemory()
	d.files[segmentName(1)] = &memoryFile{disk: d, data: bytes.Clone(data), synced: bytes.Clone(data), linked: true}
	out = &testkit.Log{}
	b, addr := startOn(t, d, Config{Log: out.Logger()})
	sub, there := present(t, addr, mqtt.V5, "sub", lasting)
	if there {
		s := b.session("sub")
		s.mu.Lock()
		n := s.queue.waiting
		s.mu.Unlock()
		for range n {
			messages = append(messages, sub.receive().payload)
		}
		sub.expectNothing()
	}
	b.Close()
	return messages, out, d
}

// TestTornTail: a log that ends anywhere gives what is whole, and says that something was cut off.
func TestTornTail(t *testing.T) {
	data, begins := aSegment(t, 3)
	for _, behind := range [][]byte{nil, make([]byte, 100)} {
		for at := begins[0]; at < len(data); at++ {
			got, out, _ := left(t, append(bytes.Clone(data[:at]), behind...))
			want := 0
			for i := range begins {
				if i+1 < len(begins) && at >= begins[i+1] || at == len(data) {
					want = i + 1
				}
			}
			// The recSynced in front of the next message ends the one before.
			if len(got) < want || len(got) > want+1 {
				t.Fatalf("cut at %d: %q", at, got)
			}
			for i, m := range got {
				if m != fmt.Sprintf("message %d", i) {
					t.Fatalf("cut at %d: %q", at, got)
				}
			}
			if out.Count("damaged") > 0 {
				t.Fatalf("cut at %d is said to be damage", at)
			}
		}
	}
	if _, out, d := left(t, data[:begins[2]+20]); out.Count("cut off") != 1 {
		t.Error("it is not said")
	} else if b, err := newBroker(Config{Log: out.Logger()}, d); err != nil || out.Count("cut off") != 1 {
		t.Error("it is said again", err)
	} else {
		b.Close()
	}
}

// TestDamage: whatever byte of the log is damaged, the rest is kept, the file is put aside and it is said.
func TestDamage(t *testing.T) {
	data, begins := aSegment(t, 3)
	for at := range begins[2] - 30 {
		bad := bytes.Clone(data)
		bad[at] ^= 0x55
		got, out, d := left(t, bad)
		for i := range begins {
			hit := i+1 < len(begins) && at >= begins[i] && at < begins[i+1]
			if want := fmt.Sprintf("message %d", i); at >= begins[0] && !hit && !slices.Contains(got, want) {
				t.Fatalf("byte %d: %q is left, not %q", at, got, want)
			}
		}
		if at < headerSize && len(got) != 3 {
			t.Fatalf("byte %d of the header: %q", at, got)
		}
		if d.files[segmentName(1)+".damaged"] == nil && at >= headerSize || d.files[segmentName(1)] != nil && at >= headerSize {
			t.Fatalf("byte %d: the file is not put aside", at)
		}
		if out.Count("is damaged") != 1 && at >= headerSize {
			t.Fatalf("byte %d: it is not said: %s", at, out.String())
		}
	}
}

// TestSegmentThatWasBeingMade: a file that never became a segment is cut off, and is not taken for a damaged one later.
func TestSegmentThatWasBeingMade(t *testing.T) {
	header := appendHeader(nil, 1)
	for _, made := range [][]byte{nil, header[:10], make([]byte, headerSize+ahead), append(header[:20:20], make([]byte, 100)...)} {
		_, out, d := left(t, made)
		if out.Count("damaged") > 0 {
			t.Errorf("% x is said to be damage", made[:min(len(made), headerSize)])
		}
		b, err := newBroker(Config{Log: out.Logger()}, d.kill())
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
		if out.Count("damaged") > 0 {
			t.Errorf("% x is said to be damage the next time", made[:min(len(made), headerSize)])
		}
	}
}

// TestDamagedBeginning: a segment that cannot be read from its beginning is not thrown away.
func TestDamagedBeginning(t *testing.T) {
	data, _ := aSegment(t, 3)
	bad := bytes.Clone(data)
	clear(bad[:headerSize+frameSize])
	_, out, d := left(t, bad)
	if f := d.files[segmentName(1)+".damaged"]; f == nil || !bytes.Equal(f.data[:len(bad)], bad) {
		t.Error("it was not put aside")
	}
	if out.Count("is damaged") != 1 {
		t.Error("it was not said")
	}
}

// TestForgedRecord: what looks like a record in a payload is not one, also where the log is damaged in front of it.
func TestForgedRecord(t *testing.T) {
	d := newMemory()
	_, addr := startOn(t, d, Config{})
	pub := connect(t, addr, mqtt.V5, "pub", lasting)
	forged := appendSubscription(appendNumber([]byte{recSubscribe}, 1), &subscription{filter: "secret/#"})
	record := append(make([]byte, frameSize), forged...)
	frameRecord(record, 0x01020304)
	pub.publishAs(mqtt.Publish{Topic: []byte("t"), QoS: 1, Retain: true}, string(record))
	pub.publishAs(mqtt.Publish{Topic: []byte("u"), QoS: 1, Retain: true}, "x")
	killed := d.kill()
	data := killed.files[segmentName(1)].data
	data[bytes.Index(data, record)-3] ^= 1
	b, _ := startOn(t, killed, Config{})
	if list := b.Subscriptions("pub"); len(list) != 0 {
		t.Errorf("there is a subscription: %q", list[0].Filter)
	}
	if n := b.Stats().Retained; n != 1 {
		t.Errorf("%d messages are retained", n)
	}
}

func TestUnknownFormatIsRefused(t *testing.T) {
	d := newMemory()
	seg, err := createSegment(d, 1, 7)
	if err != nil {
		t.Fatal(err)
	}
	record := append(make([]byte, frameSize), 200)
	frameRecord(record, 7)
	if err := seg.write(record); err != nil {
		t.Fatal(err)
	}
	if _, err := newBroker(Config{}, d); err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("a record of a later version: %v", err)
	}
}

// TestCompaction: the folder stays in proportion to what is needed, and what is needed stays.
func TestCompaction(t *testing.T) {
	dir := t.TempDir()
	b, addr := start(t, Config{Dir: dir, Limits: Limits{Receive: 65535, Inflight: 1000}})
	away := connect(t, addr, mqtt.V5, "away", lasting)
	away.subscribe("kept")
	away.bye()
	pub := connect(t, addr, mqtt.V5, "pub")
	pub.publish("kept", "first", 2)
	pub.publishAs(mqtt.Publish{Topic: []byte("r"), QoS: 1, Retain: true}, "retained")
	sub := connect(t, addr, mqtt.V5, "sub", lasting)
	sub.subscribe("t")
	payload := strings.Repeat("x", 32<<10)
	most := int64(0)
	for range 2000 {
		pub.publish("t", payload, 1)
		if g := sub.receive(); g.payload != payload {
			t.Fatal("a message is not whole")
		}
		most = max(most, b.Stats().DiskBytes)
	}
	if most > 3*garbage {
		t.Errorf("the log grew to %d bytes", most)
	}
	pub.publish("kept", "last", 1)
	sub.bye()
	reopen(t, b, dir, func(t *testing.T, b *Broker, addr string) {
		away, _ := present(t, addr, mqtt.V5, "away", lasting)
		away.expectMessages("kept=first q2", "kept=last q1")
		sub, _ := present(t, addr, mqtt.V5, "sub", lasting)
		sub.expectNothing(payload) // what was acknowledged last may not have been written
		if s := b.Stats(); s.Retained != 1 || s.Subscriptions != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// TestLiveBytes: what is counted as needed is nothing when nothing is needed, also after the log was read again.
func TestLiveBytes(t *testing.T) {
	d := newMemory()
	use := func(b *Broker, addr string) {
		sub := connect(t, addr, mqtt.V5, "sub", lasting)
		sub.subscribe("t", "u", "t")
		pub := connect(t, addr, mqtt.V5, "pub", lasting)
		for i := range 10 {
			pub.publishAs(mqtt.Publish{Topic: []byte("t"), QoS: 2, Retain: i == 0}, "x")
		}
		poke(b.store.compact)
		for range 5 {
			sub.receive()
		}
		sub.bye()
	}
	clean := func(b *Broker, addr string) {
		pub := connect(t, addr, mqtt.V5, "pub", lasting)
		pub.publishAs(mqtt.Publish{Topic: []byte("t"), QoS: 1, Retain: true}, "")
		b.Forget("sub")
		b.Forget("pub")
		if n := b.store.live.Load(); n != 0 {
			t.Errorf("%d bytes are counted as needed", n)
		}
		if s := b.Stats(); s.Held != 0 || s.Waiting != 0 || s.Lasting != 0 || s.Sessions != 0 || s.Subscriptions != 0 {
			t.Errorf("%+v", s)
		}
	}
	b, addr := startOn(t, d, Config{})
	use(b, addr)
	b.Close()
	b, addr = startOn(t, d, Config{})
	sub := connect(t, addr, mqtt.V5, "sub", resume)
	sub.receive()
	clean(b, addr)
	use(b, addr)
	clean(b, addr)
}

// TestDiskFails: what cannot be kept is refused, by a code or the end of the connection, it is said once, and it ends by itself.
func TestDiskFails(t *testing.T) {
	d := newMemory()
	var out testkit.Log
	b, addr := startOn(t, d, Config{Log: out.Logger()})
	sub := connect(t, addr, mqtt.V5, "sub", lasting)
	sub.subscribe("t")
	sub.bye()
	live := connect(t, addr, mqtt.V5, "live")
	live.subscribe("live")
	pub := connect(t, addr, mqtt.V5, "pub", lasting)
	pub.publish("t", "before", 1)
	d.limit(100)
	for i := range 5 {
		for qos := range byte(2) {
			if code := pub.publishAs(mqtt.Publish{Topic: []byte("t"), QoS: 1 + qos}, strings.Repeat("x", 200)); code != mqtt.QuotaExceeded {
				t.Errorf("message %d of QoS %d: 0x%02X", i, 1+qos, byte(code))
			}
		}
	}
	if !b.Stats().Failing {
		t.Error("it does not say that it fails")
	}
	pub.publish("live", "needs no disk", 2)
	live.expectMessages("live=needs no disk q2")
	old := connect(t, addr, mqtt.V311, "old")
	m := mqtt.Publish{Topic: []byte("t"), QoS: 1, ID: 1}
	old.send(mqtt.AppendPublish(nil, mqtt.V311, &m, []byte("refused")))
	old.expectEnd(0)
	if code := pub.subscribeAs(filter("x", 1), 0); code != mqtt.QuotaExceeded {
		t.Errorf("SUBACK 0x%02X", byte(code))
	}
	if n := out.Count("cannot be written"); n != 1 {
		t.Errorf("it was said %d times", n)
	}
	d.setBroken(false)
	eventually(t, "the store to recover", func() bool { return !b.Stats().Failing })
	pub.publish("t", "after", 2)
	for _, d := range []*memory{d.kill(), d} {
		if d.broken = false; len(d.files) > 0 {
			b.Close()
		}
		_, addr := startOn(t, d, Config{})
		sub, there := present(t, addr, mqtt.V5, "sub", lasting)
		if !there {
			t.Fatal("the session is gone")
		}
		sub.expectMessages("t=before q1", "t=after q2")
		sub.expectNothing()
	}
}

// TestFiles: only the owner may read them.
func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sub", "folder")
	b, _ := start(t, Config{Dir: dir})
	list, err := filepath.Glob(dir + "/*")
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	for _, name := range append(list, dir) {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	if err := os.WriteFile(dir+"/README", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.Close()
	start(t, Config{Dir: dir})
}

// TestOneSyncForMany: those who publish at the same time share one sync.
func TestOneSyncForMany(t *testing.T) {
	d := newMemory()
	b, addr := startOn(t, d, Config{})
	sub := connect(t, addr, mqtt.V5, "sub", lasting)
	sub.subscribe("t")
	sub.bye()
	pub := connect(t, addr, mqtt.V5, "pub")
	before := d.syncs
	b.store.written.Lock() // a sync that takes long
	synced := sync.OnceFunc(b.store.written.Unlock)
	defer synced()
	var all []byte
	for id := range uint16(100) {
		all = mqtt.AppendPublish(all, mqtt.V5, &mqtt.Publish{Topic: []byte("t"), QoS: 1, ID: id + 1}, []byte("x"))
	}
	pub.send(all)
	eventually(t, "the messages to be taken", func() bool { return b.Stats().Waiting == 100 })
	synced()
	for id := range uint16(100) {
		pub.expectAck(mqtt.PUBACK, id+1) // in order
	}
	if n := d.syncs - before; n > 3 {
		t.Errorf("%d syncs for 100 messages", n)
	}
}

// TestNobodyGetsWhatIsNotOnDisk: before a kept message is synced neither its subscribers nor its publisher hear of it; one that nobody keeps does not wait.
func TestNobodyGetsWhatIsNotOnDisk(t *testing.T) {
	b, addr := startOn(t, newMemory(), Config{})
	sub := connect(t, addr, mqtt.V5, "sub", lasting)
	sub.subscribe("kept")
	live := connect(t, addr, mqtt.V5, "live")
	live.subscribe("#")
	pub := connect(t, addr, mqtt.V5, "pub")
	b.store.written.Lock() // a sync that takes long
	synced := sync.OnceFunc(b.store.written.Unlock)
	defer synced()
	pub.send(mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{Topic: []byte("kept"), QoS: 1, ID: 1}, []byte("x")))
	pub.send(mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{Topic: []byte("not"), QoS: 1, ID: 2}, []byte("x")))
	other := connect(t, addr, mqtt.V5, "other")
	other.publish("not", "y", 2)
	eventually(t, "the message to be taken", func() bool { return b.Stats().Waiting >= 1 })
	sub.expectNothing()
	pub.expectNothing()
	synced()
	sub.expectMessages("kept=x q1")
	pub.expectAck(mqtt.PUBACK, 1)
	pub.expectAck(mqtt.PUBACK, 2) // in order
}

// TestIdentifierOfARefusedMessage: the disk has a message although its publisher was told that it has not, and the broker is killed. The publisher's next
// message under that identifier is another one.
func TestIdentifierOfARefusedMessage(t *testing.T) {
	d := newMemory()
	_, addr := startOn(t, d, Config{}, hasty)
	sub := connect(t, addr, mqtt.V5, "sub", lasting)
	sub.subscribe("t")
	sub.bye()
	pub := connect(t, addr, mqtt.V5, "pub", lasting)
	m := mqtt.Publish{Topic: []byte("t"), QoS: 2, ID: 7}
	pub.send(mqtt.AppendPublish(nil, mqtt.V5, &m, []byte("accepted")))
	pub.expectAck(mqtt.PUBREC, 7) // stands for one that was refused: it is on the disk
	_, addr = startOn(t, d.kill(), Config{})
	pub = connect(t, addr, mqtt.V5, "pub", lasting)
	m.Dup = true
	pub.send(mqtt.AppendPublish(nil, mqtt.V5, &m, []byte("accepted")))
	pub.expectAck(mqtt.PUBREC, 7)
	m.Dup = false
	pub.send(mqtt.AppendPublish(nil, mqtt.V5, &m, []byte("another")))
	pub.expectAck(mqtt.PUBREC, 7)
	m.Dup = true
	pub.send(mqtt.AppendPublish(nil, mqtt.V5, &m, []byte("another")))
	pub.expectAck(mqtt.PUBREC, 7)
	sub = connect(t, addr, mqtt.V5, "sub", lasting)
	sub.expectMessages("t=accepted q2", "t=another q2")
	sub.expectNothing()
}
