package broker

import (
	"cardea/internal/mqtt"
)

// route is who gets the messages of a topic.
type route struct {
	topic   string
	gen     uint64 // of the index when it was made
	targets []target
	groups  []*group
}

// target is a session that gets a message once, whatever number of its subscriptions match (3.3.4).
type target struct {
	session *session
	qos     byte // highest of the subscriptions
	asIs    bool // retain as published
	noLocal bool // some of the subscriptions do not want the session's own messages
	subIDs  string
	own     *target // if noLocal: what the session gets of its own messages; nil for nothing
}

// routeAs is route for somebody who has one that may still be it.
func (x *index) routeAs(last *route, topic []byte) *route {
	if last != nil && last.gen == x.gen.Load() && last.topic == string(topic) {
		return last
	}
	return x.route(topic)
}

// route returns who gets the messages of a topic.
func (x *index) route(topic []byte) *route {
	gen := x.gen.Load()
	x.cacheMu.RLock()
	r := x.cache[string(topic)]
	x.cacheMu.RUnlock()
	if r != nil && r.gen == gen {
		return r
	}
	fresh := x.build(topic)
	x.keep(fresh)
	return fresh
}

func (x *index) keep(r *route) {
	x.cacheMu.Lock()
	defer x.cacheMu.Unlock()
	if old := x.cache[r.topic]; old != nil {
		x.cached -= len(old.targets)
	}
	if len(x.cache) >= maxRoutes || x.cached+len(r.targets) > maxTargets {
		clear(x.cache)
		x.cached = 0
	}
	x.cache[r.topic] = r
	x.cached += len(r.targets)
}

func (x *index) build(topic []byte) *route {
	x.mu.RLock()
	defer x.mu.RUnlock()
	r := &route{topic: string(topic), gen: x.gen.Load()}
	var leaves []*leaf
	x.match(topic, func(l *leaf) { leaves = append(leaves, l) })
	n := 0
	for _, l := range leaves {
		n += len(l.subs)
	}
	r.targets = make([]target, 0, n)
	// Within one leaf each session is there once.
	var seen map[*session]int
	if len(leaves) > 1 && n > 1 {
		seen = make(map[*session]int, n)
	}
	for _, l := range leaves {
		for _, s := range l.subs {
			r.add(s, seen)
		}
		for _, g := range l.groups {
			r.groups = append(r.groups, g)
		}
	}
	return r
}

func (r *route) add(s *subscription, seen map[*session]int) {
	if i, twice := seen[s.session]; twice {
		r.targets[i].merge(s)
		return
	}
	if seen != nil {
		seen[s.session] = len(r.targets)
	}
	t := s.target()
	if s.opts.NoLocal() {
		t.noLocal = true
	}
	r.targets = append(r.targets, t)
}

// target is what a session gets by one subscription.
func (s *subscription) target() target {
	t := target{session: s.session, qos: s.opts.QoS(), asIs: s.opts.RetainAsPublished()}
	if s.id != 0 {
		t.subIDs = string(mqtt.Properties(nil).AppendNumber(mqtt.SubscriptionIdentifier, s.id))
	}
	return t
}

func (t *target) merge(s *subscription) {
	more := s.target()
	switch {
	case s.opts.NoLocal() && !t.noLocal:
		own := *t
		t.noLocal, t.own = true, &own
	case !s.opts.NoLocal() && t.noLocal && t.own != nil:
		t.own.join(&more)
	case !s.opts.NoLocal() && t.noLocal:
		own := more
		t.own = &own
	}
	t.join(&more)
}

func (t *target) join(more *target) {
	t.qos = max(t.qos, more.qos)
	t.asIs = t.asIs || more.asIs
	t.subIDs += more.subIDs
}
