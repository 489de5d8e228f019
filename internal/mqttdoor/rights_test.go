package mqttdoor

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// subscriptions are what the embedded broker has for a session of the principal.
func (h *house) subscriptions(key string) (filters []string) {
	for _, f := range h.broker.Subscriptions(key) {
		filters = append(filters, string(f.Filter))
	}
	return filters
}

// key is how the broker calls a session of a principal that is its own name's.
func (h *house) key(name string) string {
	h.Helper()
	p, err := h.authority.Principal(context.Background(), h.local, name)
	h.must(err)
	return p.Org + "/" + p.ID + "/" + name
}

// M06: retained messages are published only with the right to retain, and read only with the right to read, as of now.
func TestRetained(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		suffix := fmt.Sprint(v)
		with := h.connect(h.device("with"+suffix, "allow mqtt:publish keep"+suffix+"/#"), v)
		without := h.connect(h.device("without"+suffix, "allow mqtt:publish keep"+suffix+"/# retain=false"), v)
		reader := h.device("reader"+suffix, "allow mqtt:subscribe keep"+suffix+"/+")
		topic := "keep" + suffix + "/a"
		if code := with.PublishWith(mqtt.Publish{Topic: []byte(topic), QoS: 1, Retain: true}, "kept"); code.Failed() {
			t.Errorf("with the right: 0x%02X", byte(code))
		}
		// Neither overwritten nor deleted by who may not.
		for _, payload := range []string{"other", ""} {
			without.PublishWith(mqtt.Publish{Topic: []byte(topic), Retain: true}, payload)
		}
		without.Ping()
		r := h.connect(reader, v)
		r.Subscribe(testkit.Filter("keep"+suffix+"/+", 1))
		if p := r.Message(); p.Payload != "kept" || !p.Publish.Retain {
			t.Errorf("retained: %q %v", p.Payload, p.Publish.Retain)
		}
		r.Disconnect()
		// A deny that comes later hides it, though the subscription was allowed before and comes back with the session.
		r = h.connect(reader, v, staying)
		r.Subscribe(testkit.Filter("keep"+suffix+"/+", 1))
		r.Message()
		r.Disconnect()
		h.may(reader.name, "allow mqtt:subscribe keep"+suffix+"/b")
		r = h.connect(reader, v, staying)
		if codes := r.Subscribe(testkit.Filter("keep"+suffix+"/+", 1)); codes[0] != failed(v) {
			t.Errorf("SUBACK %x", codes)
		}
		r.Ping()
		if got := r.Inbox(); len(got) > 0 {
			t.Errorf("read: %q", got[0].Payload)
		}
	})
}

// M07: what was queued for a session while its right to read was taken away is not delivered when it comes back, nor is what is
// retained, nor what is published then; what it may still read is.
func TestRightToReadRemovedWhileOffline(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		suffix := fmt.Sprint(v)
		w := h.device("reader"+suffix, "allow mqtt:subscribe secret/#", "allow mqtt:subscribe open/#")
		pub := h.connect(h.service("pub"+suffix, all), v)
		c := h.connect(w, v, staying, byHand)
		if codes := c.Subscribe(testkit.Filter("secret/#", 2), testkit.Filter("open/#", 2)); codes[0] != 2 || codes[1] != 2 {
			t.Fatalf("SUBACK %x", codes)
		}
		for qos := byte(1); qos <= 2; qos++ { // in flight: delivered and not acknowledged
			pub.Publish("secret/inflight", "inflight", qos)
			c.Message()
		}
		c.Drop()
		h.gone(w.name)
		for qos := range byte(3) {
			pub.Publish("secret/queued", "queued", qos)
			pub.Publish("open/queued", "open", qos)
		}
		h.may(w.name, "allow mqtt:subscribe open/#")

		c = h.connect(w, v, staying)
		if !c.Connack.SessionPresent {
			t.Fatal("the session is not there any more")
		}
		pub.Publish("secret/new", "new", 1)
		pub.Publish("open/new", "end", 1)
		for _, p := range c.MessagesBefore("end") {
			if p.Payload != "open" {
				t.Errorf("delivered: %q on %s", p.Payload, p.Publish.Topic)
			}
		}
		if h.broker != nil {
			h.eventually("the subscription has ended", func() bool {
				got := h.subscriptions(h.key(w.name))
				return len(got) == 1 && got[0] == "open/#"
			})
		}
		// Nothing is stuck: the broker believes that all was delivered.
		c.Drop()
		h.gone(w.name)
		h.may(w.name, all)
		c = h.connect(w, v, staying)
		pub.Publish("open/new", "end", 2)
		for _, p := range c.MessagesBefore("end") {
			t.Errorf("delivered when the right is back: %q on %s", p.Payload, p.Publish.Topic)
		}
	})
}

// M07: a live session whose right to read is taken away gets nothing from the moment at which the change is acknowledged,
// and its subscriptions end by themselves. Others are left alone.
func TestRightToReadRemovedWhileConnected(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		suffix := fmt.Sprint(v)
		w := h.device("reader"+suffix, "allow mqtt:subscribe secret/#", "allow mqtt:subscribe open/#")
		other := h.connect(h.device("other"+suffix, all), v)
		pub := h.connect(h.service("pub"+suffix, all), v)
		c := h.connect(w, v)
		c.Subscribe(testkit.Filter("secret/#", 2), testkit.Filter("open/#", 2), testkit.Filter("$share/g/secret/+", 1))
		other.Subscribe(testkit.Filter("secret/#", 2))
		pub.Publish("secret/a", "before", 2)
		if p := c.Message(); p.Payload != "before" {
			t.Errorf("%q", p.Payload)
		}
		h.may(w.name, "allow mqtt:subscribe open/#")
		for qos := range byte(3) {
			pub.Publish("secret/a", "after", qos)
		}
		pub.Publish("open/a", "end", 2)
		for _, p := range c.MessagesBefore("end") {
			if p.Payload == "after" {
				t.Errorf("delivered: %s at QoS %d", p.Publish.Topic, p.Publish.QoS)
			}
		}
		if h.broker != nil {
			h.eventually("the subscriptions have ended", func() bool {
				got := h.subscriptions(h.key(w.name))
				return len(got) == 1 && got[0] == "open/#"
			})
		}
		other.Messages(4)
		// The right is back, the subscription is not: the client is to ask again, and may.
		h.may(w.name, all)
		if codes := c.Subscribe(testkit.Filter("secret/#", 1)); codes[0] != 1 {
			t.Errorf("SUBACK %x", codes)
		}
		pub.Publish("secret/a", "again", 1)
		if p := c.Message(); p.Payload != "again" {
			t.Errorf("%q", p.Payload)
		}
	})
}

// leavings are the filters that a broker is told to end, request by request.
type leavings struct {
	Upstream
	mu sync.Mutex
	of []string
}

func (l *leavings) Unsubscribe(s *Session, filters []string) {
	l.mu.Lock()
	l.of = append(l.of, strings.Join(filters, " "))
	l.mu.Unlock()
	l.Upstream.Unsubscribe(s, filters)
}

func (l *leavings) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.of)
}

// M07: a SUBSCRIBE that is on its way to the broker when the right goes. Whoever looks again at that moment may come before the broker has
// it; when the broker answers it is looked at once more.
func TestRightRemovedBeforeSuback(t *testing.T) {
	for _, v := range versions {
		l := &leavings{}
		h := newHouse(t, func(h *house, c *Config) { l.Upstream = h.embedded(); c.Upstream = l })
		b := benchIn(h, "allow mqtt:subscribe a/+", "allow mqtt:subscribe open")
		c := &script{say: mqtt.AppendSubscribe(nil, v, 1, nil, []mqtt.Filter{testkit.Filter("a/+", 0), testkit.Filter("open", 0)}), pieces: whole}
		s := b.session(v, c)
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
		h.may("pump", "allow mqtt:subscribe open")
		s.id.Store(h.identity(h.another("pump")))
		s.reassess()
		if n := l.count(); n != 1 {
			t.Fatalf("looked at when rights changed: %v", l.of)
		}
		if _, err := s.Write(mqtt.AppendSuback(nil, v, mqtt.SUBACK, 1, nil, []byte{0, 0})); err != nil {
			t.Fatal(err)
		}
		h.eventually("it is looked at again", func() bool { return l.count() == 2 })
		if l.of[1] != "a/+" {
			t.Errorf("ended: %v", l.of)
		}
		if filters, _ := s.subs.list(); len(filters) != 1 || filters[0] != "open" {
			t.Errorf("what is left: %v", filters)
		}
	}
}

// A filter that is asked for again, which the broker refuses, is still subscribed to, and is looked at when rights change.
func TestRefusedSubscribeAgain(t *testing.T) {
	u, by := &subscriptions{}, &gate.Identity{}
	answered := func(id uint16, o mqtt.Options, code byte) {
		if err := u.ask(id, &request{by: by, filters: []string{"a"}, options: []mqtt.Options{o}, codes: []byte{asked}}); err != nil {
			t.Fatal(err)
		}
		if _, changed, err := u.answer(mqtt.Suback{ID: id, Codes: []byte{code}}, by); changed || err != nil {
			t.Fatal(changed, err)
		}
	}
	answered(1, 1, 0x80)
	if filters, _ := u.list(); len(filters) != 0 {
		t.Errorf("refused: %v", filters)
	}
	answered(2, 1, 1)
	answered(3, 2, 0x80)
	if filters, options := u.list(); len(filters) != 1 || options[0] != 1 {
		t.Errorf("%v %v", filters, options)
	}
	answered(4, 2, 2)
	if _, options := u.list(); options[0] != 2 {
		t.Errorf("%v", options)
	}
}

// Rights that change while messages flow: a publisher's are looked at with every message, whatever was allowed before it.
func TestRightToPublishRemoved(t *testing.T) {
	each(t, func(t *testing.T, h *house, v mqtt.Version) {
		w := h.device(fmt.Sprintf("pump-%d", v), all)
		witness := h.witness(v)
		c := h.connect(w, v)
		c.Publish("a", "before", 1)
		h.may(w.name, "allow mqtt:publish b")
		c.Publish("a", "after", 0)
		c.Publish("b", "other", 1)
		if got := []string{witness.Message().Payload, witness.Message().Payload}; got[0] != "before" || got[1] != "other" {
			t.Errorf("published: %q", got)
		}
		h.nothing(witness)
	})
}

// Quarantine (O09): a session goes on, but only where the scope of that name lets it; it may connect anew; released it has its rights back.
func TestQuarantine(t *testing.T) {
	eachBroker(t, func(t *testing.T, h *house) {
		w := h.device("pump", all)
		h.may(credential.ScopeQuarantine, "allow mqtt:* firmware/#")
		pub := h.connect(h.service("pub", all), mqtt.V5)
		c := h.connect(w, mqtt.V5)
		c.Subscribe(testkit.Filter("a/#", 1), testkit.Filter("firmware/#", 1))
		_, err := h.authority.Quarantine(context.Background(), h.local, w.cred, "test")
		h.must(err)
		for range 2 {
			if code := c.Publish("a/b", "refused", 1); code != mqtt.NotAuthorized {
				t.Errorf("publish: 0x%02X", byte(code))
			}
			pub.Publish("a/b", "refused", 1)
			if code := c.Publish("firmware/status", "allowed", 1); code.Failed() {
				t.Errorf("publish: 0x%02X", byte(code))
			}
			if p := c.Message(); p.Payload != "allowed" {
				t.Errorf("delivered: %q", p.Payload)
			}
			c.Disconnect()
			c = h.connect(w, mqtt.V5) // it may come back
			if codes := c.Subscribe(testkit.Filter("a/#", 1), testkit.Filter("firmware/#", 1)); codes[0] != failed(mqtt.V5) || codes[1] != 1 {
				t.Errorf("SUBACK %x", codes)
			}
		}
		_, err = h.authority.Release(context.Background(), h.local, w.cred, "test")
		h.must(err)
		if codes := c.Subscribe(testkit.Filter("a/#", 1)); codes[0] != 1 {
			t.Errorf("released: SUBACK %x", codes)
		}
		if code := c.Publish("a/b", "x", 1); code.Failed() {
			t.Errorf("released: 0x%02X", byte(code))
		}
	})
}
