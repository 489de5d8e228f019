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

// agenda knows when sessions end and wills are due. An item says when to look
// at a session, not what to do: whether it still is so is seen then.
type agenda struct {
	mu    sync.Mutex
	items items
	wake  chan struct{}
}

type item struct {
	at      int64 // ns since 1970
	session *session
	will    uint64 // number of a will; 0: the end of the session
}

type items []item

func (x items) Len() int           { return len(x) }
func (x items) Less(i, j int) bool { return x[i].at < x[j].at }
func (x items) Swap(i, j int)      { x[i], x[j] = x[j], x[i] }
func (x *items) Push(v any)        { *x = append(*x, v.(item)) }
func (x *items) Pop() any {
	old := *x
	n := len(old) - 1
	v := old[n]
	old[n] = item{}
	*x = old[:n]
	return v
}

func (a *agenda) add(at int64, s *session, will uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	heap.Push(&a.items, item{at, s, will})
	if a.items[0].session == s {
		select {
		case a.wake <- struct{}{}:
		default:
		}
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
		if it.will != 0 {
			b.settle(it.session.takeWill(it.will))
			continue
		}
		b.settle(b.expire(it.session))
	}
	return next
}

// expire ends a session whose time is over.
func (b *Broker) expire(s *session) (left leftover) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sessions[s.id] != s || !s.due(b.now()) {
		return left
	}
	return b.end(s, 0)
}
