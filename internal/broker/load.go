package broker

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// loading is what is known while the segments are read.
type loading struct {
	b        *Broker
	st       *store
	sessions map[uint64]*loaded
	messages map[uint64]*message
	retained map[string]uint64 // message of each topic
	missing  int               // messages that should be there and are not
	unknown  int               // records that make no sense
}

// loaded is a session that is being read.
type loaded struct {
	s       *session
	live    bool // its client was connected
	entries map[uint64]loadedEntry
}

type loadedEntry struct {
	entry
	message uint64
}

// load reads what is on the disk into the broker, and begins a new segment.
func (st *store) load() error {
	numbers, err := st.segments()
	if err != nil {
		return err
	}
	l := &loading{b: st.b, st: st, sessions: map[uint64]*loaded{}, messages: map[uint64]*message{}, retained: map[string]uint64{}}
	damaged := false
	for i, n := range numbers {
		hurt, err := l.segment(n, i == len(numbers)-1)
		if err != nil {
			return err
		}
		damaged = damaged || hurt
	}
	st.lsn = restored
	st.onDisk.Store(restored)
	l.finish()
	if st.segment, err = createSegment(st.disk, last(numbers)+1, st.mark); err != nil {
		return fmt.Errorf("broker: beginning a segment: %w", err)
	}
	st.number = st.segment.number
	st.sizes.Add(st.segment.size)
	st.old = numbers
	if damaged {
		return st.setAside(numbers)
	}
	return nil
}

// segments lists the numbers of the segments, in order.
func (st *store) segments() (numbers []uint64, err error) {
	names, err := st.disk.names()
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	for _, name := range names {
		if n, ok := segmentNumber(name); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func last(numbers []uint64) uint64 {
	if len(numbers) == 0 {
		return 0
	}
	return numbers[len(numbers)-1]
}

// segment reads one segment. It reports whether something in it is damaged.
func (l *loading) segment(n uint64, isLast bool) (damaged bool, err error) {
	name := segmentName(n)
	b, err := l.st.disk.read(name)
	if err != nil {
		return false, fmt.Errorf("broker: %w", err)
	}
	s, err := scan(b, isLast, l.record)
	if err != nil {
		return false, fmt.Errorf("broker: %s: %w", name, err)
	}
	l.st.sizes.Add(s.end)
	switch {
	case s.damaged > 0:
		l.st.say("a segment of the broker's log is damaged; what is readable is kept", "file", name, "places", s.damaged)
	case s.torn:
		l.st.say("the end of the broker's log was being written when the process ended; it is cut off", "file", name, "at", s.end)
	}
	if s.damaged == 0 && s.end == 0 {
		return false, l.st.disk.remove(name) // it never became one
	}
	if s.damaged == 0 && s.end < int64(len(b)) {
		if err := l.st.disk.truncate(name, s.end); err != nil {
			return false, fmt.Errorf("broker: %w", err)
		}
	}
	return s.damaged > 0, nil
}

// setAside writes all that could be read to the new segment and gives the older ones names under which they are found but not read.
func (st *store) setAside(numbers []uint64) error {
	st.old = nil
	if err := st.rewrite(); err != nil {
		return err
	}
	for _, n := range numbers {
		name := segmentName(n)
		if err := st.disk.keepAside(name, name+".damaged"); err != nil {
			return fmt.Errorf("broker: %w", err)
		}
	}
	st.sizes.Store(st.segment.size)
	return st.disk.sync()
}

var errFormat = errors.New("a record is of a type that this version does not know")

// record takes in one record.
func (l *loading) record(body []byte) error {
	f := fields{b: body}
	switch t := f.byte(); t {
	case recSynced:
		return nil
	case recMessage:
		l.message(&f)
	case recRefer:
		id, s := f.number(), l.session(f.number())
		l.put(s, f.entry(), id, f.bad)
	case recDone:
		s, seq := l.session(f.number()), f.number()
		delete(s.entries, seq)
	case recReceipt:
		s, seq := l.session(f.number()), f.number()
		if e, ok := s.entries[seq]; ok {
			e.state = released
			s.entries[seq] = e
		}
	case recRelease:
		s, id := l.session(f.number()), f.number()
		delete(s.s.received, uint16(id))
	case recSession:
		l.whole(&f)
	case recEnd:
		delete(l.sessions, f.number())
	case recLife:
		l.session(f.number()).life(&f)
	case recSubscribe:
		s, sub := l.session(f.number()), f.subscription()
		sub.session = s.s
		s.s.subs[sub.filter] = sub
	case recUnsubscribe:
		s, filter := l.session(f.number()), f.bytes()
		delete(s.s.subs, string(filter))
	case recUnretain:
		delete(l.retained, string(f.bytes()))
	default:
		return errFormat
	}
	if f.bad {
		l.unknown++
	}
	return nil
}

// session returns a session that is being read. What belongs to one that has ended goes nowhere.
func (l *loading) session(number uint64) *loaded {
	if s := l.sessions[number]; s != nil {
		return s
	}
	return l.fresh(number)
}

func (l *loading) fresh(number uint64) *loaded {
	l.b.lastSession = max(l.b.lastSession, number)
	return &loaded{
		s:       &session{b: l.b, number: number, subs: map[string]*subscription{}, received: map[uint16]uint64{}},
		entries: map[uint64]loadedEntry{},
	}
}

func (l *loading) put(s *loaded, e entry, message uint64, bad bool) {
	if bad {
		return
	}
	s.s.seq = max(s.s.seq, e.seq)
	s.entries[e.seq] = loadedEntry{e, message}
}

func (l *loading) message(f *fields) {
	m, flags, from, packetID := f.message()
	if f.bad {
		return
	}
	l.st.lastMessage = max(l.st.lastMessage, m.number)
	m.lsn.Store(restored)
	l.messages[m.number] = m
	if flags&flagRetained != 0 {
		l.retained[string(m.topic)] = m.number
	}
	if flags&flagFrom != 0 {
		l.session(from).s.received[packetID] = restored
	}
	for f.more() {
		s := l.session(f.number())
		l.put(s, f.entry(), m.number, f.bad)
	}
}

func (s *loaded) life(f *fields) {
	s.s.expiry, s.s.expires = uint32(f.number()), int64(f.number())
	s.live = f.byte() == 1
	s.s.sent = f.number()
}

// whole reads a recSession.
func (l *loading) whole(f *fields) {
	s := l.fresh(f.number())
	s.s.id = string(f.bytes())
	s.life(f)
	s.s.seq = f.number()
	for n := f.number(); n > 0 && !f.bad; n-- {
		sub := f.subscription()
		sub.session = s.s
		s.s.subs[sub.filter] = sub
	}
	for n := f.number(); n > 0 && !f.bad; n-- {
		s.s.received[uint16(f.number())] = restored
	}
	for f.more() {
		id := f.number()
		l.put(s, f.entry(), id, f.bad)
	}
	if !f.bad {
		l.sessions[s.s.number] = s
	}
}

// finish makes sessions and retained messages of what was read.
func (l *loading) finish() {
	for _, n := range l.retained {
		if m := l.messages[n]; m != nil {
			l.b.retained.put(l.b, m)
		}
	}
	list := make([]*loaded, 0, len(l.sessions))
	for _, s := range l.sessions {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *loaded) int { return cmp.Compare(a.s.number, b.s.number) })
	for _, s := range list {
		l.enter(s)
	}
	for _, m := range l.messages {
		if m.refs.Load() > 0 {
			m.size = m.diskSize()
			l.st.live.Add(m.size)
		}
	}
	if l.missing+l.unknown > 0 {
		l.st.say("not all of the broker's log makes sense; the rest is kept", "messages missing", l.missing, "records", l.unknown)
	}
}

// enter puts a session into the broker. A newer one of the same client takes the place of an older one.
func (l *loading) enter(x *loaded) {
	s, b := x.s, l.b
	if old := b.sessions[s.id]; old != nil {
		b.end(old, 0)
	}
	s.kept.Store(true)
	b.lasting.Add(lasts(s.expiry))
	b.sessions[s.id] = s
	for _, sub := range s.subs {
		s.subBytes += len(sub.filter)
		b.index.add(sub, nil)
		b.stats.subscriptions.Add(1)
	}
	l.st.live.Add(s.cost())
	l.queue(x)
	if s.expiry == forever {
		return
	}
	if x.live || s.expires == 0 {
		s.expires = b.now() + int64(s.expiry)*second
	}
	s.schedule()
}

// queue puts the entries of a session into its queue.
func (l *loading) queue(x *loaded) {
	s := x.s
	order := make([]uint64, 0, len(x.entries))
	for seq := range x.entries {
		order = append(order, seq)
	}
	slices.Sort(order)
	for i, seq := range order {
		e := x.entries[seq]
		if e.msg = l.messages[e.message]; e.msg == nil {
			l.missing++
			continue
		}
		// What the client of a session had got when the process was killed is not known: it may have been these.
		if x.live && i < l.b.limits.Inflight {
			s.sent = max(s.sent, seq)
		}
		if e.state == waiting && seq <= s.sent {
			e.state = sent
		}
		s.queue.push(e.entry)
		l.b.hold(e.msg)
		l.b.waiting.Add(1)
		l.st.live.Add(entryCost)
	}
}
