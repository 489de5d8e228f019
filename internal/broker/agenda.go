package broker

import (
	"container/heap"
	"sync"
	"time"
)

const (
	second = int64(time.Second)
	minute = 60 * second
)

// agenda knows when sessions are to be looked at, because one ends or its will is due. What is to be done is seen then.
// A session is there once, and not any more when it has ended.
type agenda struct {
	mu    sync.Mutex
	items items
	wake  chan struct{}
}

type item struct {
	at      int64 // ns since 1970
	session *session
}

type items []item

func (x items) Len() int           { return len(x) }
func (x items) Less(i, j int) bool { return x[i].at < x[j].at }

func (x items) Swap(i, j int) {
	x[i], x[j] = x[j], x[i]
	x[i].session.place, x[j].session.place = i+1, j+1
}

func (x *items) Push(v any) {
	*x = append(*x, v.(item))
	v.(item).session.place = len(*x)
}

func (x *items) Pop() any {
	old := *x
	n := len(old) - 1
	v := old[n]
	old[n] = item{}
	*x = old[:n]
	v.session.place = 0
	return v
}

// add puts a session there, or gives it another time.
func (a *agenda) add(at int64, s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.place == 0 {
		heap.Push(&a.items, item{at, s})
	} else {
		a.items[s.place-1].at = at
		heap.Fix(&a.items, s.place-1)
	}
	if a.items[0].session == s {
		poke(a.wake)
	}
}

func (a *agenda) remove(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.place != 0 {
		heap.Remove(&a.items, s.place-1)
	}
}

// due takes the items whose time has come, and says in how many ns the next one's will; -1 if there is none.
func (a *agenda) due(now int64) (list []item, next int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.items) > 0 && a.items[0].at <= now {
		list = append(list, heap.Pop(&a.items).(item))
	}
	if len(a.items) == 0 {
		return list, -1
	}
	return list, a.items[0].at - now
}

// keepTime ends sessions and sends wills when they are due, until the broker closes.
func (b *Broker) keepTime() {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	for {
		next := b.look()
		if next < 0 || next > int64(time.Hour) {
			next = int64(time.Hour)
		}
		t.Reset(time.Duration(next))
		select {
		case <-t.C:
		case <-b.agenda.wake:
		case <-b.quit:
			return
		}
	}
}

// look does what is due, and says in how many ns there is more; -1 for not known yet.
func (b *Broker) look() int64 {
	list, next := b.agenda.due(b.now())
	for _, it := range list {
		b.settle(b.visit(it))
	}
	if len(list) > 0 { // which may have brought new ones
		_, next = b.agenda.due(0)
		if next >= 0 {
			next = max(next-b.now(), 0)
		}
	}
	return next
}

// visit looks at a session whose time has come.
func (b *Broker) visit(it item) (left leftover) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, now := it.session, b.now()
	s.mu.Lock()
	if s.next == it.at {
		s.next = 0
	}
	if s.ended || s.conn != nil {
		s.mu.Unlock()
		return left
	}
	if s.expires != 0 && s.expires <= now {
		s.mu.Unlock()
		return b.end(s, 0)
	}
	defer s.mu.Unlock()
	if s.will != nil && s.will.due <= now {
		left.will, s.will = s.will, nil
	}
	s.schedule()
	return left
}

// schedule puts a session without a connection on the agenda for what is due first, unless it is there for something earlier. s.mu is held.
func (s *session) schedule() {
	at := s.expires
	if s.will != nil && (at == 0 || s.will.due < at) {
		at = s.will.due
	}
	if at != 0 && (s.next == 0 || at < s.next) {
		s.next = at
		s.b.agenda.add(at, s)
	}
}
