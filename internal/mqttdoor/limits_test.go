package mqttdoor

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// M13: who says nothing, or only half of what is due first, is sent away when the time is over.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	h := newHouse(t, limits(Limits{Connect: 300 * time.Millisecond}))
	w := h.device("pump", all)
	secure := h.listen(&Listener{Name: "tls", Tokens: true, TLS: h.tls(false)})
	connect := mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, ClientID: []byte("pump"), HasUser: true, User: []byte(w.token)})
	shaken := func() net.Conn {
		c := tls.Client(h.raw(secure), h.trusting())
		h.must(c.Handshake())
		return c
	}
	hello := func() net.Conn { // the first half of a ClientHello
		c := h.raw(secure)
		c.Write([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"))
		return c
	}
	for name, tc := range map[string]struct {
		conn net.Conn
		say  []byte
	}{
		"nothing":               {h.raw(h.addr), nil},
		"one byte":              {h.raw(h.addr), connect[:1]},
		"half a CONNECT":        {h.raw(h.addr), connect[:len(connect)/2]},
		"all but a byte":        {h.raw(h.addr), connect[:len(connect)-1]},
		"nothing to TLS":        {h.raw(secure), nil},
		"half a TLS handshake":  {hello(), nil},
		"nothing in TLS":        {shaken(), nil},
		"half a CONNECT in TLS": {shaken(), connect[:len(connect)/2]},
	} {
		tc.conn.Write(tc.say)
		if got := h.closed(tc.conn); len(got) > 0 && tc.conn != nil && !strings.Contains(name, "TLS") {
			t.Errorf("%s: answered with % x", name, got)
		}
	}
	if n := h.door.Stats().Late; n != 6 {
		t.Errorf("%d connections were late, want 6", n)
	}
	h.logged("no whole CONNECT came in time", 1) // of one source
	// A trickle does not prolong it.
	c := h.raw(h.addr)
	for i := range connect {
		if _, err := c.Write(connect[i : i+1]); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	h.closed(c)
}

// rss is the resident memory of the process, in bytes.
func rss(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int
	fmt.Sscan(string(b), &size, &resident)
	return resident * os.Getpagesize()
}

// heap is what the process holds on to, in bytes.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// M14: a CONNECT that says it has 256 MB is refused by what it says; a hundred of them cost nothing.
func TestHugeConnect(t *testing.T) {
	h := newHouse(t, limits(Limits{Failures: 1000}))
	w := h.device("pump", all)
	for v, start := range map[mqtt.Version]string{mqtt.V311: "\x00\x04MQTT\x04\x02\x00\x3c", mqtt.V5: "\x00\x04MQTT\x05\x02\x00\x3c\x00"} {
		runtime.GC()
		before := rss(t)
		var all []net.Conn
		for range 100 {
			c := h.raw(h.addr)
			c.Write([]byte("\x10\xff\xff\xff\x7f" + start))
			all = append(all, c)
		}
		for _, c := range all {
			if got := h.closed(c); v == mqtt.V5 && string(got) != "\x20\x03\x00\x95\x00" || v == mqtt.V311 && len(got) > 0 {
				t.Errorf("%s: answered with % x", versionName(v), got)
			}
		}
		if more := rss(t) - before; more > 5<<20 {
			t.Errorf("%s: %d bytes more than before", versionName(v), more)
		}
	}
	// Just at and just above the limit.
	for size, ok := range map[int]bool{maxConnect: true, maxConnect + 1: false} {
		connect := mqtt.Connect{Version: mqtt.V5, ClientID: []byte("pump"), HasUser: true, User: []byte(w.token), CleanStart: true}
		connect.HasWill, connect.Will.Topic = true, []byte("state")
		connect.Will.Payload = make([]byte, 60_000)
		connect.Will.Payload = make([]byte, 60_000+size-len(mqtt.AppendConnect(nil, &connect)))
		frame := mqtt.AppendConnect(nil, &connect)
		if len(frame) != size {
			t.Fatalf("the CONNECT has %d bytes, want %d", len(frame), size)
		}
		m := testkit.DialMQTT(t, h.addr, testkit.MQTTConfig{})
		m.Send(frame)
		if code := m.Expect(mqtt.CONNACK).Connack.Code; (code == mqtt.Success) != ok {
			t.Errorf("%d bytes: 0x%02X", size, byte(code))
		}
		m.Drop()
	}
}

// M15: odd keep alives are taken as the standard says: 5.0 is told the door's, 3.1.1 keeps its own; nobody is cut who speaks.
func TestKeepAliveAgreed(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		w := h.device("pump", all)
		for asked, told := range map[uint16]uint32{0: 60, 43691: 60, 65535: 60, 61: 60, 60: 0, 1: 0} {
			keep := func(c *testkit.MQTTConfig) { c.KeepAlive = asked }
			c := h.connect(w, mqtt.V5, keep)
			if n, ok := c.Connack.Props.Number(mqtt.ServerKeepAlive); n != told || ok != (told > 0) {
				t.Errorf("%d: the server keep alive is %d", asked, n)
			}
			c.Disconnect()
			c = h.connect(w, mqtt.V311, keep)
			c.Ping()
			h.door.mu.Lock()
			for s := range h.door.sessions {
				if s.version == mqtt.V311 && s.patience() != time.Duration(asked)*1500*time.Millisecond {
					t.Errorf("%d: 3.1.1 is given %v", asked, s.patience())
				}
			}
			h.door.mu.Unlock()
			h.door.endSilent(time.Now().Add(time.Duration(asked) * time.Second)) // within the time and its half
			c.Ping()
			c.Disconnect()
			h.gone("pump")
		}
	})
}

// M15: a client that is silent for longer than its keep alive is ended, and its will sent; so is one that does not read.
func TestKeepAliveEnds(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		w := h.device(fmt.Sprintf("pump-%d", v), all)
		witness := h.witness(v)
		c := h.connect(w, v, leaving("state", 0), func(c *testkit.MQTTConfig) { c.KeepAlive = 10 })
		h.door.endSilent(time.Now().Add(14 * time.Second))
		c.Ping()
		h.door.endSilent(time.Now().Add(17 * time.Second))
		if code, said := c.Closed(); v == mqtt.V5 && (!said || code != mqtt.KeepAliveTimeout) {
			t.Errorf("DISCONNECT 0x%02X %v", byte(code), said)
		}
		if p := witness.Message(); p.Payload != "will of "+w.name {
			t.Errorf("%q", p.Payload)
		}
		h.gone(w.name)
		// One that does not read, with as much on its way to it as goes.
		c = h.connect(w, v, func(c *testkit.MQTTConfig) { c.KeepAlive = 10 })
		c.Subscribe(testkit.Filter("flood", 0))
		witness.Drop()
		h.flood("flood")
		h.door.endSilent(time.Now().Add(17 * time.Second))
		h.gone(w.name)
	})
}

// flood publishes, behind the door, as much as no socket holds.
func (h *house) flood(topic string) {
	h.Helper()
	pub := testkit.ConnectMQTT(h, h.behind(), testkit.MQTTConfig{ClientID: "flood"})
	payload := strings.Repeat("x", 64<<10)
	for range 300 {
		pub.SendPublish(mqtt.Publish{Topic: []byte(topic)}, payload)
	}
	pub.Ping()
	pub.Disconnect()
}

// M16: 10,000 filters, 10,000 levels, 100,000 user properties: each ends with a code, none takes long.
func TestExcess(t *testing.T) {
	h := newHouse(t, limits(Limits{Subscriptions: 100}))
	w := h.device("pump", all)
	deep := strings.Repeat("/", 10_000)
	for _, v := range versions {
		c := h.connect(w, v)
		over := byte(0x80)
		if v == mqtt.V5 {
			over = byte(mqtt.QuotaExceeded)
		}
		var filters []mqtt.Filter
		for i := range 10_000 {
			filters = append(filters, testkit.Filter(fmt.Sprintf("%04d", i), 0))
		}
		for _, part := range [][]mqtt.Filter{filters[:5000], filters[5000:]} { // 64 KiB hold no more
			codes := c.Subscribe(part...)
			if len(codes) != len(part) {
				t.Fatalf("%d codes", len(codes))
			}
			granted := bytes.Count(codes, []byte{0})
			if refused := bytes.Count(codes, []byte{over}); granted+refused != len(part) || granted > 100 || part[0].Filter[0] == '0' && granted != 100 {
				t.Errorf("%s: %d granted, %d refused", versionName(v), granted, refused)
			}
		}
		// Who has its number may replace one, and have another one for one that it gives up.
		if codes := c.Subscribe(testkit.Filter("0000", 1), testkit.Filter("other", 1)); codes[0] != 1 || codes[1] != over {
			t.Errorf("%s: %x", versionName(v), codes)
		}
		c.Unsubscribe("0000")
		if codes := c.Subscribe(testkit.Filter("other", 1), testkit.Filter("0000", 1)); codes[0] != 1 || codes[1] != over {
			t.Errorf("%s: %x", versionName(v), codes)
		}
		c.Unsubscribe("other")
		if codes := c.Subscribe(testkit.Filter(deep, 0), testkit.Filter(strings.Repeat("+/", 10_000)+"#", 0), testkit.Filter("$share/g/"+deep, 0)); codes[0] != over || codes[1] != over || codes[2] != over {
			t.Errorf("%s: 10,000 levels: %x", versionName(v), codes)
		}
		if v == mqtt.V5 {
			if code := c.Publish(deep, "x", 1); code != mqtt.QuotaExceeded {
				t.Errorf("10,000 levels: 0x%02X", byte(code))
			}
		} else {
			c.SendPublish(mqtt.Publish{Topic: []byte(deep), QoS: 1}, "x")
			c.Closed()
			h.gone("pump")
			c = h.connect(w, v)
		}
		// A packet that is no PUBLISH is at most 64 KiB.
		c.Send(mqtt.AppendSubscribe(nil, v, c.NextID(), nil, filters))
		if code, said := c.Closed(); v == mqtt.V5 && (!said || code != mqtt.PacketTooLarge) {
			t.Errorf("a long SUBSCRIBE: 0x%02X %v", byte(code), said)
		}
		h.gone("pump")
	}
	var many mqtt.Properties
	for range 100_000 {
		many = many.AppendUser("a", "b")
	}
	c := h.connect(w, mqtt.V5)
	c.SendPublish(mqtt.Publish{Topic: []byte("a"), Props: many}, "x")
	if code, said := c.Closed(); !said || code != mqtt.PacketTooLarge {
		t.Errorf("100,000 user properties: 0x%02X %v", byte(code), said)
	}
	// In one packet with all that, of the size that is allowed, they pass.
	c = h.connect(w, mqtt.V5)
	if code := c.PublishWith(mqtt.Publish{Topic: []byte("a"), Props: many[:7*8000], QoS: 1}, "x"); code.Failed() {
		t.Errorf("8,000 user properties: 0x%02X", byte(code))
	}
	// Longer than what the CONNACK says.
	c.Send(mqtt.AppendHead(nil, mqtt.PUBLISH, 0, 1<<20))
	if code, said := c.Closed(); !said || code != mqtt.PacketTooLarge {
		t.Errorf("longer than allowed: 0x%02X %v", byte(code), said)
	}
}

// M17: a consumer that never reads costs a bounded amount, and delays nobody else.
func TestConsumerThatNeverReads(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		for _, qos := range []byte{0, 1} {
			before := heap()
			w := h.device(fmt.Sprintf("deaf-%d", qos), all)
			deaf := h.connect(w, mqtt.V5)
			deaf.Subscribe(testkit.Filter("flood", mqtt.Options(qos)))
			good := h.connect(h.device(fmt.Sprintf("good-%d", qos), all), mqtt.V5)
			good.Subscribe(testkit.Filter("flood", mqtt.Options(qos)))
			pub := h.connect(h.service(fmt.Sprintf("pub-%d", qos), all), mqtt.V5)
			payload := strings.Repeat("x", 16<<10)
			var reading sync.WaitGroup
			got := 0
			reading.Go(func() { got = len(good.MessagesBefore("end")) })
			for range 1000 { // 16 MB
				pub.Publish("flood", payload, qos)
			}
			pub.Publish("flood", "end", 1)
			pub.Ping()
			reading.Wait()
			if qos == 1 && got != 1000 {
				t.Errorf("QoS 1: %d messages, want 1,000", got)
			}
			good.Ping()
			// With the embedded broker, which is in this process, QoS 1 waits in its queue, by its own limit.
			bound := 24 << 20
			if h.broker != nil && qos == 1 {
				bound += 20 << 20
			}
			if more := heap() - before; more > bound {
				t.Errorf("QoS %d: %d bytes more than before", qos, more)
			}
			deaf.Drop()
			good.Disconnect()
			pub.Disconnect()
			h.gone(w.name)
		}
	})
}

// A client that is slow to read, as over a bad network, gets all that it is sent at QoS 1, however much waits for it.
func TestSlowReader(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		w := h.device("reader", all)
		c := h.connect(w, mqtt.V5, staying)
		c.Subscribe(testkit.Filter("big", 1))
		c.Drop()
		h.gone("reader")
		pub := h.connect(h.service("pub", all), mqtt.V5)
		payload := strings.Repeat("x", 500<<10)
		for range 60 { // 30 MB
			pub.Publish("big", payload, 1)
		}
		pub.Publish("big", "end", 1)
		c = h.connect(w, mqtt.V5, staying)
		for before := uint64(0); ; { // until nothing moves any more, as the client does not read
			time.Sleep(100 * time.Millisecond)
			out := h.door.Stats().BytesOut
			if out == before {
				break
			}
			before = out
		}
		if got := len(c.MessagesBefore("end")); got != 60 {
			t.Errorf("%d messages, want 60", got)
		}
	})
}
