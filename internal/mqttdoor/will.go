package mqttdoor

import (
	"context"
	"math"
	"sync"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/mqtt"
)

// will is a will message and when it is to be sent.
type will struct {
	message Message
	delay   uint32 // in seconds (3.1.3.2.2)
	expiry  uint32 // of the session, in seconds, which bounds it; the highest value is for ever
}

func newWill(c *mqtt.Connect) *will {
	w := &will{expiry: math.MaxUint32, message: Message{
		Topic: string(c.Will.Topic), Payload: append([]byte(nil), c.Will.Payload...),
		QoS: c.Will.QoS, Retain: c.Will.Retain, Version: c.Version,
		Props: c.Will.Props.AppendWithout(nil, mqtt.WillDelay),
	}}
	if c.Version == mqtt.V5 {
		w.delay, _ = c.Will.Props.Number(mqtt.WillDelay)
		w.expiry, _ = c.Props.Number(mqtt.SessionExpiry)
	}
	return w
}

// size is the memory that a will keeps while it waits, in bytes, about: its session's is a part.
func (w *will) size() int {
	return 4<<10 + len(w.message.Topic) + len(w.message.Payload) + len(w.message.Props)
}

// isDue says whether a will is to be sent after a session has ended so. What the gate has cut says nothing any more,
// unless an administrator only kicked it; a server that stops does not speak for its clients, who go to another one.
func (e *ending) isDue() bool {
	switch e.how {
	case left:
		return false
	case cut:
		return e.reason == credential.Kicked
	}
	return true
}

// wills holds the wills that wait for their delay to pass.
type wills struct {
	door *Door
	mu   sync.Mutex
	of   map[string]*waiting // by the session's key
	room int                 // bytes that may wait further
	n    sync.WaitGroup      // those being sent
	over bool

	slots chan struct{} // for those being sent
}

type waiting struct {
	timer *time.Timer
	send  func()
	size  int // in bytes, about
}

// maxWaiting bounds the memory of the wills that wait, in bytes; a delay may be of 136 years.
const maxWaiting = 64 << 20

// maxSending bounds wills that are sent at the same time: a network that breaks makes many.
const maxSending = 32

func (w *wills) init(d *Door) {
	w.door, w.of, w.room, w.slots = d, map[string]*waiting{}, maxWaiting, make(chan struct{}, maxSending)
}

// settle does with the will of a session that is over what is due.
func (w *wills) settle(s *Session, e *ending) {
	if s.will == nil || !e.isDue() {
		return
	}
	id, source := s.id.Load(), s
	send := func() { w.send(source, id) }
	delay := min(s.will.delay, s.will.expiry)
	if delay == 0 {
		w.begin(send)
		return
	}
	other := w.door.owners.others(s)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case other == nil || !other.resumed: // one that is on its way may be refused; if it is not, resumed finds the will
		w.wait(s.key, time.Duration(delay)*time.Second, &waiting{send: send, size: s.will.size()})
	case other.clean:
		w.start(send)
	} // otherwise the session goes on (MQTT-3.1.3-9)
}

// wait sends after a delay, unless the session is resumed; at once if there is no room to keep it. The lock is held.
func (w *wills) wait(key string, delay time.Duration, one *waiting) {
	if w.over {
		return
	}
	w.forget(key)
	if one.size > w.room {
		w.start(one.send)
		return
	}
	w.of[key] = one
	w.room -= one.size
	one.timer = time.AfterFunc(delay, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.of[key] == one {
			w.forget(key)
			w.start(one.send)
		}
	})
}

// forget takes the will that waits for a session, if there is one, and returns it. The lock is held.
func (w *wills) forget(key string) *waiting {
	one := w.of[key]
	if one == nil {
		return nil
	}
	one.timer.Stop()
	delete(w.of, key)
	w.room += one.size
	return one
}

// resumed is told that a session begins: a will of the one before is not sent if it goes on, and at once if it ends.
func (w *wills) resumed(s *Session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.resumed = true
	if one := w.forget(s.key); one != nil && s.clean {
		w.start(one.send)
	}
}

// begin sends on a goroutine of its own.
func (w *wills) begin(send func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.start(send)
}

// start is begin. The lock is held.
func (w *wills) start(send func()) {
	if w.over {
		return
	}
	w.n.Go(func() {
		w.slots <- struct{}{}
		defer func() {
			<-w.slots
			if p := recover(); p != nil { // M22
				w.door.log.Error("a will is not published, because of a fault", "panic", p)
			}
		}()
		send()
	})
}

// willPatience bounds one attempt to publish a will; willRetries are the pauses before further ones.
const willPatience = 10 * time.Second

var willRetries = []time.Duration{time.Second, 5 * time.Second}

// send asks the rules again, as of now, and publishes.
func (w *wills) send(s *Session, id *gate.Identity) {
	d := w.door
	for try := 0; ; try++ {
		allowed, err := w.try(s, id)
		switch {
		case !allowed: // M04, M05
			d.log.Info("a will is not published: it is not allowed any more", "session", s.about())
			return
		case err == nil:
			d.count.wills.Add(1)
			return
		}
		if try == len(willRetries) || !d.pause(willRetries[try]) {
			d.log.Warn("a will could not be published", "session", s.about(), "error", err)
			return
		}
	}
}

// try publishes once, if the identity is still somebody who may; an identity that the gate cuts meanwhile is not.
func (w *wills) try(s *Session, id *gate.Identity) (allowed bool, err error) {
	d := w.door
	ctx, cancel := context.WithTimeout(d.ctx, willPatience)
	defer cancel()
	watch, why := d.gate.Watch(ctx, id, gate.Live{
		Door: doorName, Kind: "request", Source: s.source.Addr(), About: "will of " + s.clientID, Cut: func(credential.Reason) { cancel() },
	})
	if why != credential.OK {
		return false, nil
	}
	defer watch.Close()
	if s.mayWill(s.will) != credential.OK {
		return false, nil
	}
	return true, d.upstream.Publish(ctx, s, &s.will.message)
}

// mayWill asks whether a will may be published.
func (s *Session) mayWill(w *will) credential.Reason {
	a := s.access("publish")
	a.Resource, a.QoS, a.Retain = w.message.Topic, w.message.QoS, w.message.Retain
	return s.allowed(&a)
}

// close forgets what waits and returns when nothing is being sent.
func (w *wills) close() {
	w.mu.Lock()
	w.over = true
	for key := range w.of {
		w.forget(key)
	}
	w.mu.Unlock()
	w.n.Wait()
}
