package mqttdoor

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// leaving gives a client a will; delay in seconds, for 5.0.
func leaving(topic string, delay uint32) func(*testkit.MQTTConfig) {
	return func(c *testkit.MQTTConfig) {
		c.Will = &mqtt.Will{Topic: []byte(topic), Payload: []byte("will of " + c.ClientID), QoS: 1}
		if c.Version == mqtt.V5 && delay > 0 {
			c.Will.Props = c.Will.Props.AppendNumber(mqtt.WillDelay, delay)
		}
	}
}

// waiting is how many wills wait for their delay.
func (h *house) waiting() int {
	h.door.wills.mu.Lock()
	defer h.door.wills.mu.Unlock()
	return len(h.door.wills.of)
}

// M04: a will on a topic that is not allowed is refused at CONNECT, as are its QoS and its retain flag.
func TestWillIsJudgedAtConnect(t *testing.T) {
	h := newHouse(t)
	w := h.device("pump", "allow mqtt:publish state/${client_id} qos=0,1 retain=false", "deny mqtt:publish state/secret")
	for _, v := range versions {
		for name, tc := range map[string]struct {
			change func(*testkit.MQTTConfig)
			ok     bool
		}{
			"allowed":    {func(*testkit.MQTTConfig) {}, true},
			"other":      {func(c *testkit.MQTTConfig) { c.Will.Topic = []byte("state/other") }, false},
			"denied":     {func(c *testkit.MQTTConfig) { c.Will.Topic = []byte("state/secret") }, false},
			"QoS":        {func(c *testkit.MQTTConfig) { c.Will.QoS = 2 }, false},
			"retained":   {func(c *testkit.MQTTConfig) { c.Will.Retain = true }, false},
			"the system": {func(c *testkit.MQTTConfig) { c.Will.Topic = []byte("$SYS/x") }, false},
			"too deep":   {func(c *testkit.MQTTConfig) { c.Will.Topic = []byte("state/" + strings.Repeat("/", 10_000)) }, false},
		} {
			want := mqtt.Success
			if !tc.ok {
				want = mqtt.NotAuthorized
			}
			if code := h.knock(h.addr, w.config(v, leaving("state/pump", 0), tc.change)); code != want {
				t.Errorf("%s, %s: 0x%02X, want 0x%02X", versionName(v), name, byte(code), byte(want))
			}
			h.gone("pump")
		}
	}
}

// A will is published when the connection breaks, not when the client says farewell, and is as the client has written it.
func TestWillIsPublished(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		w := h.device(fmt.Sprintf("pump-%d", v), all)
		witness := h.witness(mqtt.V5)
		props := mqtt.Properties(nil).AppendText(mqtt.ContentType, "text/plain").AppendUser("a", "b")
		for qos := range byte(3) {
			c := h.connect(w, v, leaving("state", 0), func(c *testkit.MQTTConfig) {
				c.Will.QoS = qos
				if v == mqtt.V5 {
					c.Will.Props = props
				}
			})
			c.Drop()
			p := witness.Message()
			if p.Payload != "will of "+w.name || string(p.Publish.Topic) != "state" || p.Publish.QoS != qos || v == mqtt.V5 && string(p.Publish.Props) != string(props) {
				t.Errorf("%q on %s, QoS %d, %q", p.Payload, p.Publish.Topic, p.Publish.QoS, p.Publish.Props)
			}
		}
		c := h.connect(w, v, leaving("state", 0))
		c.Disconnect()
		h.gone(w.name)
		if v == mqtt.V5 { // it may ask for it
			c := h.connect(w, v, leaving("state", 0))
			c.DisconnectWith(mqtt.DisconnectWithWill, nil)
			witness.Message()
		}
		c = h.connect(w, v, leaving("state", 0))
		c.Send([]byte{0xF7}) // nonsense ends the session, and not by the client's will
		witness.Message()
		h.nothing(witness)
	})
}

// M04: what may be published is asked again when the will is sent.
func TestWillIsJudgedWhenItIsSent(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		w := h.device(fmt.Sprintf("pump-%d", v), all)
		witness := h.witness(v)
		c := h.connect(w, v, leaving("state", 0))
		h.may(w.name, "allow mqtt:publish other")
		c.Drop()
		h.eventually("the will is refused", func() bool { return strings.Contains(h.log.String(), "a will is not published") })
		h.nothing(witness)
	})
}

// M05, M18: no will is sent of a session that the gate has cut because its credential ended; one that was kicked leaves it.
func TestWillAfterCut(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		w := h.device(fmt.Sprintf("pump-%d", v), all)
		witness := h.witness(v)
		for name, tc := range map[string]struct {
			cut  func(*who)
			sent bool
		}{
			"revoked":  {h.revoke, false},
			"disabled": {func(w *who) { h.disable(w.name, true) }, false},
			"kicked":   {func(w *who) { h.kick(w.name) }, true},
		} {
			one := h.another(w.name)
			c := h.connect(one, v, leaving("state", 0))
			tc.cut(one)
			c.Closed()
			h.gone(w.name)
			if tc.sent {
				if p := witness.Message(); p.Payload != "will of "+w.name {
					t.Errorf("%s: %q", name, p.Payload)
				}
			}
			h.disable(w.name, false)
			h.nothing(witness)
		}
	})
}

func (h *house) disable(name string, on bool) {
	h.Helper()
	_, err := h.authority.UpdatePrincipal(context.Background(), h.local, name, authority.PrincipalPatch{Disabled: &on})
	h.must(err)
}

func (h *house) kick(name string) {
	h.Helper()
	for _, s := range h.gate.Sessions(credential.SessionFilter{Principal: name}) {
		h.must(h.authority.Kick(context.Background(), h.local, s.ID))
	}
}

// M05: a will that waits for its delay is not published when the credential is revoked meanwhile.
func TestDelayedWillThenRevoke(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, h *house) {
		w, other := h.device("pump", all), h.device("other", all)
		witness := h.witness(mqtt.V5)
		for _, one := range []*who{w, other} {
			h.connect(one, mqtt.V5, staying, leaving("state", 1)).Drop()
		}
		h.eventually("both wait", func() bool { return h.waiting() == 2 })
		h.revoke(w)
		if p := witness.Message(); p.Payload != "will of other" {
			t.Errorf("published: %q", p.Payload)
		}
		h.eventually("the will is refused", func() bool { return strings.Contains(h.log.String(), "a will is not published") })
		h.nothing(witness)
	})
}

// 3.1.3.2.2: a client that is back in time leaves no will; one that begins anew has ended the session of the will, which is sent at once.
func TestDelayedWillThenReconnect(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		w := h.device("pump", all)
		witness := h.witness(mqtt.V5)
		h.connect(w, mqtt.V5, staying, leaving("state", 1000)).Drop()
		h.eventually("the will waits", func() bool { return h.waiting() == 1 })
		c := h.connect(w, mqtt.V5, staying, leaving("state", 1000))
		if h.waiting() != 0 {
			t.Error("the will still waits")
		}
		h.nothing(witness)

		c.Drop()
		h.eventually("the will waits", func() bool { return h.waiting() == 1 })
		c = h.connect(w, mqtt.V5)
		if p := witness.Message(); p.Payload != "will of pump" {
			t.Errorf("published: %q", p.Payload)
		}
		c.Disconnect()

		// Taken over while it lives: the same, without a moment in which nobody is connected.
		first := h.connect(w, mqtt.V5, staying, leaving("state", 1000))
		second := h.connect(w, mqtt.V5, staying, leaving("state", 1000))
		first.Closed()
		second.Ping()
		h.eventually("one session is left", func() bool { return h.door.Stats().Sessions == 1 })
		h.nothing(witness)
		third := h.connect(w, mqtt.V5)
		second.Closed()
		if p := witness.Message(); p.Payload != "will of pump" {
			t.Errorf("published: %q", p.Payload)
		}
		third.Disconnect()
		h.gone("pump")
		h.nothing(witness)
	})
}

// The delay of a will ends with its session at the latest (3.1.3.2.2).
func TestWillDelayIsBoundedBySession(t *testing.T) {
	h := newHouse(t)
	w := h.device("pump", all)
	witness := h.witness(mqtt.V5)
	h.connect(w, mqtt.V5, leaving("state", 1000)).Drop() // its session ends with the connection
	if p := witness.Message(); p.Payload != "will of pump" {
		t.Errorf("published: %q", p.Payload)
	}
	c := h.connect(w, mqtt.V5, staying, leaving("state", 1000))
	c.DisconnectWith(mqtt.DisconnectWithWill, mqtt.Properties(nil).AppendNumber(mqtt.SessionExpiry, 0))
	if p := witness.Message(); p.Payload != "will of pump" {
		t.Errorf("published: %q", p.Payload)
	}
}

// Wills that wait have bounded memory: one for which there is no room is sent at once, and who comes back makes room.
func TestWaitingWillsAreBounded(t *testing.T) {
	h := newHouse(t)
	w := h.device("pump", all)
	witness := h.witness(mqtt.V5)
	wills := &h.door.wills
	room := func() int {
		wills.mu.Lock()
		defer wills.mu.Unlock()
		return wills.room
	}
	wills.mu.Lock()
	wills.room = 2*(4<<10) + 4<<9 // for two, not for three
	wills.mu.Unlock()
	before := room()
	drop := func(id string) { h.connect(w, mqtt.V5, called(id), staying, leaving("state", 1000)).Drop() }
	for i := range 2 {
		drop(fmt.Sprintf("pump:%d", i))
		h.eventually("the will waits", func() bool { return h.waiting() == i+1 })
	}
	h.nothing(witness)
	drop("pump:2")
	if p := witness.Message(); p.Payload != "will of pump:2" {
		t.Errorf("published: %q", p.Payload)
	}
	for i := range 2 {
		h.connect(w, mqtt.V5, called(fmt.Sprintf("pump:%d", i)), staying).Disconnect()
	}
	if n := room(); n != before {
		t.Errorf("%d bytes of room, not %d", n, before)
	}
	drop("pump:2")
	h.eventually("the will waits", func() bool { return h.waiting() == 1 })
	h.nothing(witness)
}

// A server that stops does not speak for its clients, who go to another one: wills that wait are forgotten, those of live sessions are
// not sent, and Shutdown waits for neither.
func TestWillsOfAServerThatStops(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		w := h.device("pump", all)
		witness := h.witness(mqtt.V5)
		h.connect(w, mqtt.V5, staying, leaving("state", 1000)).Drop()
		h.eventually("the will waits", func() bool { return h.waiting() == 1 })
		h.connect(w, mqtt.V5, called("pump:2"), leaving("state", 0))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := h.door.Shutdown(ctx); err != nil || h.waiting() != 0 {
			t.Error(err, h.waiting())
		}
		h.nothing(witness)
	})
}

// A CONNECT that was not accepted leaves no will (MQTT-3.1.2-8): clients that come again and again to a broker which refuses
// them would make more and more of them.
func TestWillOfARefusedConnect(t *testing.T) {
	var wills atomic.Int32
	r := newRelay(t, func(c net.Conn) {
		b := make([]byte, 1000)
		n, _ := c.Read(b)
		if strings.Contains(string(b[:n]), "/will") {
			wills.Add(1)
		}
		c.Write([]byte("\x20\x03\x00\x88\x00"))
	})
	h := newHouse(t, behindRelay(r))
	w := h.device("pump", all)
	for range 3 {
		if code := h.knock(h.addr, w.config(mqtt.V5, leaving("state", 0))); code != mqtt.ServerUnavailable {
			t.Errorf("0x%02X", byte(code))
		}
		h.gone("pump")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	h.must(h.door.Shutdown(ctx)) // which waits for wills
	if n := wills.Load(); n > 0 {
		t.Errorf("the broker was asked %d times to take a will", n)
	}
}

// M05: a credential that is revoked while a slow broker is given the will ends that, too.
func TestRevokedWhileTheWillIsSent(t *testing.T) {
	asked, revoked := make(chan struct{}), make(chan struct{})
	got := make(chan []byte, 1)
	r := newRelay(t, func(c net.Conn) {
		b := make([]byte, 1000)
		n, _ := c.Read(b)
		if !strings.Contains(string(b[:n]), "/will") {
			c.Write([]byte("\x20\x03\x00\x00\x00"))
			io.Copy(io.Discard, c)
			return
		}
		close(asked)
		<-revoked
		c.Write([]byte("\x20\x03\x00\x00\x00"))
		all, _ := io.ReadAll(c)
		got <- all
	})
	h := newHouse(t, behindRelay(r))
	w := h.device("pump", all)
	h.connect(w, mqtt.V5, leaving("state", 0)).Drop()
	<-asked
	h.revoke(w)
	close(revoked)
	if b := <-got; len(b) > 0 {
		t.Errorf("after the revocation the broker is sent % x", b)
	}
	h.eventually("the will is refused", func() bool { return strings.Contains(h.log.String(), "a will is not published") })
}

// A client that comes back and is refused has not resumed its session: the will goes on waiting.
func TestDelayedWillThenRefusedReconnect(t *testing.T) {
	var n atomic.Int32
	goOn := make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	defer release()
	r := newRelay(t, func(c net.Conn) {
		c.Read(make([]byte, 1000))
		if n.Add(1) == 1 {
			c.Write([]byte("\x20\x03\x00\x00\x00"))
			io.Copy(io.Discard, c)
			return
		}
		<-goOn
		c.Write([]byte("\x20\x03\x00\x88\x00"))
	})
	h := newHouse(t, behindRelay(r))
	w := h.device("pump", all)
	first := h.connect(w, mqtt.V5, staying, leaving("state", 1000))
	second := testkit.DialMQTT(t, h.addr, testkit.MQTTConfig{})
	second.Send(mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, ClientID: []byte("pump"), HasUser: true, User: []byte(w.token)}))
	h.eventually("the second one is on its way", func() bool { return n.Load() == 2 })
	first.Drop()
	h.eventually("the first one ends", func() bool { return h.door.Stats().Sessions == 1 })
	h.eventually("its will waits", func() bool { return h.waiting() == 1 })
	release()
	if p := second.Expect(mqtt.CONNACK); p.Connack.Code == mqtt.Success {
		t.Error("the second one is let in")
	}
	h.gone("pump")
	if h.waiting() != 1 {
		t.Error("the will waits no more")
	}
}
