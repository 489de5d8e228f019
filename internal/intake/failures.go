package intake

import (
	"container/heap"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Failures remember how often a source has failed lately: each has a bucket of
// tokens, a failure takes one, time puts them back. Make them with
// [NewFailures]; their methods may be called at the same time. They need no
// goroutine: whoever calls clears away a little of what is over.
type Failures struct {
	every    time.Duration
	capacity time.Duration // of a bucket, as the time in which it fills
	sources  int
	start    time.Time // of the monotonic clock

	n atomic.Int64 // sources that are remembered

	mu      sync.Mutex
	buckets buckets
}

// NewFailures lets a source fail burst times at once, and then once for each
// every. A burst of 0 never blocks. It remembers as many sources as it is
// told, at least one, at some 150 bytes each; when there are more, it forgets the one
// whose bucket is the fullest, so that who is blocked goes last.
func NewFailures(burst int, every time.Duration, sources int) *Failures {
	return &Failures{
		every:    every,
		capacity: time.Duration(max(burst, 0)) * every,
		sources:  max(sources, 1),
		start:    time.Now(),
		buckets:  buckets{at: map[netip.Prefix]int{}},
	}
}

// Note counts one failure of addr.
func (f *Failures) Note(addr netip.Addr) {
	if f.capacity <= 0 {
		return
	}
	source, now := Source(addr), time.Since(f.start)
	f.mu.Lock()
	defer f.mu.Unlock()
	b := &f.buckets
	f.forget(now)
	i, known := b.at[source]
	if !known {
		if len(b.list) == f.sources {
			heap.Remove(b, 0)
		}
		i = b.add(bucket{source, now})
	}
	// no more than empty: who was let in many times before the first failure waits no longer for it
	b.list[i].full = min(max(b.list[i].full, now)+f.every, now+f.capacity)
	heap.Fix(b, i)
	f.n.Store(int64(len(b.list)))
}

// Blocked reports whether addr has to wait before it may try again. Where
// nobody failed lately that costs one load.
func (f *Failures) Blocked(addr netip.Addr) bool {
	if f.n.Load() == 0 {
		return false
	}
	source, now := Source(addr), time.Since(f.start)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(now)
	f.n.Store(int64(len(f.buckets.list)))
	i, known := f.buckets.at[source]
	return known && f.buckets.list[i].full-now > f.capacity-f.every
}

// forget takes out a few of those that are full again: more than one, so that
// none are left in the end, and not all, so that nobody waits for it.
func (f *Failures) forget(now time.Duration) {
	b := &f.buckets
	for range 4 {
		if len(b.list) == 0 || b.list[0].full > now {
			return
		}
		heap.Remove(b, 0)
	}
}

// bucket is what is known of one source.
type bucket struct {
	source netip.Prefix
	full   time.Duration // when it will be full again, on the monotonic clock
}

// buckets are a heap of container/heap, the fullest first, whose positions can be looked up.
type buckets struct {
	list []bucket
	at   map[netip.Prefix]int
}

// add puts a bucket at the end and returns where that is. [heap.Fix] is to follow.
func (b *buckets) add(one bucket) int {
	b.list = append(b.list, one)
	b.at[one.source] = len(b.list) - 1
	return len(b.list) - 1
}

func (b *buckets) Len() int           { return len(b.list) }
func (b *buckets) Less(i, j int) bool { return b.list[i].full < b.list[j].full }

func (b *buckets) Swap(i, j int) {
	b.list[i], b.list[j] = b.list[j], b.list[i]
	b.at[b.list[i].source], b.at[b.list[j].source] = i, j
}

// Push is for the interface.
func (b *buckets) Push(x any) { b.add(x.(bucket)) }

// Pop drops the last one. Nobody asks what it was.
func (b *buckets) Pop() any {
	last := len(b.list) - 1
	delete(b.at, b.list[last].source)
	b.list = b.list[:last]
	return nil
}
