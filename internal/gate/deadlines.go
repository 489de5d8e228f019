package gate

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"cardea/internal/credential"
)

// Sessions whose deadline is near are in a heap; the others are looked through
// now and then. So a request that is over in a moment costs no timer.
const (
	lookEvery = 30 * time.Second
	lookAhead = 2 * lookEvery
	tickEvery = 100 * time.Millisecond // for the wall clock and the staleness bound
)

// deadlines cuts sessions when their time is over.
type deadlines struct {
	horizon atomic.Int64 // sessions that end before it are in the heap; ns since 1970
	wake    chan struct{}

	mu   sync.Mutex
	heap near
}

// near is a heap of sessions by deadline. A session whose deadline has moved is
// in it more than once; its own deadline decides.
type near []ending

type ending struct {
	at int64
	w  *Watched
}

func (n near) Len() int           { return len(n) }
func (n near) Less(i, j int) bool { return n[i].at < n[j].at }
func (n near) Swap(i, j int)      { n[i], n[j] = n[j], n[i] }
func (n *near) Push(x any)        { *n = append(*n, x.(ending)) }
func (n *near) Pop() any {
	old := *n
	last := old[len(old)-1]
	old[len(old)-1] = ending{}
	*n = old[:len(old)-1]
	return last
}

func (d *deadlines) init() { d.wake = make(chan struct{}, 1) }

// expect puts a session into the heap if it ends before the horizon. The
// session must be registered: the next look finds it if it does not.
func (d *deadlines) expect(w *Watched) {
	at := w.deadline.Load()
	if at >= d.horizon.Load() {
		return
	}
	d.mu.Lock()
	heap.Push(&d.heap, ending{at, w})
	first := d.heap[0].at == at
	d.mu.Unlock()
	if first {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

// next returns the first deadline, or never.
func (d *deadlines) next() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.heap) == 0 {
		return never
	}
	return d.heap[0].at
}

// due takes out the sessions that end now or ended before.
func (d *deadlines) due(now int64) []*Watched {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ws []*Watched
	for len(d.heap) > 0 && d.heap[0].at <= now {
		ws = append(ws, heap.Pop(&d.heap).(ending).w)
	}
	return ws
}

// look moves the horizon and puts what ends before it into a new heap.
func (g *Gate) look(now int64) {
	d := &g.deadlines
	old := d.horizon.Load()
	d.horizon.Store(now + int64(lookAhead)) // before looking: who comes now sees it, or is seen
	var fresh []*Watched
	for _, w := range g.sessions.all() {
		if at := w.deadline.Load(); at >= old && at < now+int64(lookAhead) {
			fresh = append(fresh, w)
		}
	}
	for _, w := range fresh {
		d.expect(w)
	}
}

// keepTime cuts what has ended, until ctx ends.
func (g *Gate) keepTime(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var looked time.Duration
	var alarms int64
	g.look(g.clock.nano())
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.deadlines.wake:
		case <-timer.C:
		}
		alarms = g.syncClock(alarms)
		g.watchStaleness()
		now := g.clock.nano()
		g.expire(now)
		if mono := g.clock.Mono(); mono-looked >= lookEvery || now+int64(lookEvery) > g.deadlines.horizon.Load() {
			looked = mono
			g.look(now)
			g.limits.sweep(mono)
			g.guesses.sweep(mono)
			g.meters.sweep(mono)
			g.expire(now)
		}
		timer.Reset(min(tickEvery, max(0, time.Duration(g.deadlines.next()-g.clock.nano()))))
	}
}

// expire cuts the sessions whose deadline has come. Whose deadline was moved waits again.
func (g *Gate) expire(now int64) {
	for _, w := range g.deadlines.due(now) {
		if w.deadline.Load() > now {
			g.deadlines.expect(w)
			continue
		}
		w.cut(credential.Expired)
	}
}

// syncClock looks at the wall clock, and raises the alarm when it has gone back (D09).
func (g *Gate) syncClock(alarms int64) int64 {
	g.clock.Sync()
	now := g.clock.Alarms()
	if now != alarms {
		g.log.Error("the wall clock went back; the gate's time goes on, and nothing is revived", "behind", g.clock.Behind())
	}
	return now
}
