package mqttdoor

import (
	"slices"
	"sync"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/mqtt"
	"cardea/internal/policy"
)

// subscriptions are what a session is subscribed to, as far as the door has seen it, and the requests that the broker has not answered.
type subscriptions struct {
	mu       sync.Mutex
	live     map[string]mqtt.Options
	asked    map[uint16]*request // SUBSCRIBE by packet id
	leaving  map[uint16]bool     // UNSUBSCRIBE of the client, by packet id
	ownLeave map[uint16]bool     // those of the door
}

// request is a SUBSCRIBE that went to the broker with the filters that are allowed.
type request struct {
	filters []string
	options []mqtt.Options
	codes   []byte // of all filters of the client's packet; asked marks those that the broker answers

	by     *gate.Identity          // whose rights it was judged by
	before map[string]mqtt.Options // of filters that it asks for anew; they stay if the broker refuses
}

// asked marks a code that is the broker's to give. It is none of MQTT's.
const asked = 0x7F

// maxRequests bounds requests that are not answered.
const maxRequests = 256

var (
	errRequests = &mqtt.Error{Code: mqtt.QuotaExceeded, Why: "too many requests are not answered yet"}
	errInUse    = &mqtt.Error{Code: mqtt.ProtocolError, Why: "a packet identifier is used again before its answer came"}
	errSuback   = &mqtt.Error{Code: mqtt.ProtocolError, Why: "a SUBACK that answers nothing"}
)

// subscribe judges each filter. What is allowed goes on; the answer for the rest is given with the broker's.
func (in *inbound) subscribe(h mqtt.Head, b []byte) (verdict, error) {
	s := in.s
	p, err := mqtt.ReadSubscribe(s.version, h, b)
	if err != nil {
		return drop, err
	}
	r, allowed := s.judgeFilters(p.Filters, s.spend())
	if len(allowed) == 0 {
		in.scratch = mqtt.AppendSuback(in.scratch[:0], s.version, mqtt.SUBACK, p.ID, nil, r.codes)
		return drop, s.w.insert(in.scratch)
	}
	if err := s.subs.ask(p.ID, r); err != nil {
		return drop, err
	}
	if len(allowed) == len(r.codes) {
		return pass, nil
	}
	in.scratch = mqtt.AppendSubscribe(in.scratch[:0], s.version, p.ID, p.Props, allowed)
	return in.flow.swapFor(h.Total(), in.scratch), nil
}

// judgeFilters says for each filter whether it goes on, or which code refuses it: all of them if the request itself may not be.
func (s *Session) judgeFilters(filters mqtt.Filters, why credential.Reason) (*request, []mqtt.Filter) {
	r := &request{by: s.id.Load()}
	var allowed []mqtt.Filter
	room := s.door.limits.Subscriptions - s.subs.count()
	for one, rest, ok := filters.Next(); ok; one, rest, ok = rest.Next() {
		code := denials[why.Class()]
		if why == credential.OK {
			code = s.judgeFilter(one)
		}
		if code == asked && len(allowed) >= room && !s.subs.has(one.Filter) {
			code = mqtt.QuotaExceeded // M16
		}
		if code == asked {
			allowed = append(allowed, one)
			r.filters = append(r.filters, string(one.Filter))
			r.options = append(r.options, one.Options)
			r.codes = append(r.codes, asked)
			continue
		}
		s.refused.Add(1)
		r.codes = append(r.codes, subackCode(s.version, code))
	}
	return r, allowed
}

func (s *Session) judgeFilter(f mqtt.Filter) mqtt.Code {
	switch {
	case !mqtt.ValidFilter(f.Filter):
		return mqtt.TopicFilterInvalid
	case levels(view(f.Filter)) > s.door.limits.Levels+2: // a shared one has two more
		return mqtt.QuotaExceeded
	case slices.Contains(s.listener.RefusedFilters, view(f.Filter)):
		return s.listener.refusedFilter()
	}
	if why := s.maySubscribe(string(f.Filter), f.Options.QoS()); why != credential.OK {
		if code := denials[why.Class()]; code != mqtt.NotAuthorized {
			return code
		}
		return s.listener.refusedFilter()
	}
	return asked
}

// maySubscribe asks about the filter without what makes it a shared subscription (M01).
func (s *Session) maySubscribe(filter string, qos byte) credential.Reason {
	inner, ok := policy.Unshare(filter)
	if !ok {
		return credential.NoRule
	}
	a := s.access("subscribe")
	a.Resource, a.QoS = inner, qos
	return s.allowed(&a)
}

func (u *subscriptions) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.live)
}

func (u *subscriptions) has(filter []byte) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, ok := u.live[string(filter)]
	return ok
}

// ask notes a request before it goes to the broker.
func (u *subscriptions) ask(id uint16, r *request) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.asked[id] != nil:
		return errInUse
	case len(u.asked) >= maxRequests:
		return errRequests
	}
	if u.asked == nil {
		u.asked = map[uint16]*request{}
	}
	if u.live == nil {
		u.live = map[string]mqtt.Options{}
	}
	u.asked[id] = r
	for i, f := range r.filters { // at once: what may come of it must be looked at when rights change
		if was, ok := u.live[f]; ok {
			if r.before == nil {
				r.before = map[string]mqtt.Options{}
			}
			r.before[f] = was
		}
		u.live[f] = r.options[i]
	}
	return nil
}

// answer takes the broker's SUBACK and returns the codes for the client. It
// reports whether rights have changed on the way: what the broker has begun then must be looked at again, for what looked before may have come too early.
func (u *subscriptions) answer(a mqtt.Suback, now *gate.Identity) (codes []byte, changed bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.asked[a.ID]
	if r == nil {
		return nil, false, errSuback
	}
	delete(u.asked, a.ID)
	if len(a.Codes) != len(r.filters) {
		return nil, false, errSuback
	}
	changed = r.by != now
	n := 0
	for i, c := range r.codes {
		if c != asked {
			continue
		}
		r.codes[i] = a.Codes[n]
		u.settle(r, n, mqtt.Code(a.Codes[n]).Failed(), changed)
		n++
	}
	return r.codes, changed, nil
}

// settle notes what has become of a filter that was asked for. The lock is held.
func (u *subscriptions) settle(r *request, n int, failed, changed bool) {
	f := r.filters[n]
	was, had := r.before[f]
	switch {
	case failed && had:
		u.live[f] = was
	case failed:
		delete(u.live, f)
	case changed: // it may have been taken for gone
		u.live[f] = r.options[n]
	}
}

// unsubscribing notes an UNSUBSCRIBE of the client.
func (u *subscriptions) unsubscribing(p mqtt.Subscribe) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.leaving) >= maxRequests {
		return errRequests
	}
	if u.leaving == nil {
		u.leaving = map[uint16]bool{}
	}
	u.leaving[p.ID] = true
	for one, rest, ok := p.Filters.Next(); ok; one, rest, ok = rest.Next() {
		delete(u.live, string(one.Filter))
	}
	return nil
}

// left takes an UNSUBACK and reports whether it is for the client.
func (u *subscriptions) left(id uint16) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.leaving[id] {
		delete(u.leaving, id)
		return true
	}
	own := u.ownLeave[id]
	delete(u.ownLeave, id)
	return !own
}

// leave returns a packet id for an UNSUBSCRIBE of the door's own: one that the client does not use at the moment, from the end where clients seldom are.
func (u *subscriptions) leave() uint16 {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ownLeave == nil {
		u.ownLeave = map[uint16]bool{}
	}
	id := uint16(65535)
	for u.leaving[id] || u.asked[id] != nil || u.ownLeave[id] {
		id--
	}
	u.ownLeave[id] = true
	return id
}

// bring notes what a session was subscribed to before this connection.
func (u *subscriptions) bring(filters []mqtt.Filter) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.live == nil {
		u.live = map[string]mqtt.Options{}
	}
	for _, f := range filters {
		if _, ok := u.live[string(f.Filter)]; !ok {
			u.live[string(f.Filter)] = f.Options
		}
	}
}

// list returns what there is, in order.
func (u *subscriptions) list() (filters []string, options []mqtt.Options) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for f := range u.live {
		filters = append(filters, f)
	}
	slices.Sort(filters)
	for _, f := range filters {
		options = append(options, u.live[f])
	}
	return filters, options
}

func (u *subscriptions) forget(filters []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, f := range filters {
		delete(u.live, f)
	}
}

// reassess ends the subscriptions that are not allowed any more. Deliveries
// are asked about one by one, so nothing comes of them in the meantime (M07).
func (s *Session) reassess() {
	s.reassessing.Lock()
	defer s.reassessing.Unlock()
	filters, options := s.subs.list()
	var gone []string
	for i, f := range filters {
		if s.maySubscribe(f, options[i].QoS()) != credential.OK {
			gone = append(gone, f)
		}
	}
	if len(gone) == 0 || s.over() {
		return
	}
	s.subs.forget(gone)
	s.refused.Add(uint64(len(gone)))
	s.door.upstream.Unsubscribe(s, gone)
	if similar, tell := s.door.told.Sample(refusal{why: "reassess"}); tell {
		s.door.log.Info("subscriptions ended, because rights have changed", "session", s.about(), "number", len(gone), "similar", similar)
	}
}
