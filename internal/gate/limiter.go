package gate

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// What a source may get wrong for one credential, and for one user name, behind which people stand who mistype (E01).
const (
	attempts    = 30              // at once
	guesses     = 90              // of passwords: NIST SP 800-63B allows 100
	attemptTime = 2 * time.Second // then one for each of these
	maxBuckets  = 65536
)

// limiter counts wrong secrets by the credential's id, as it was presented,
// and the source. Ids that do not exist are counted as well, so that it tells
// nobody which do. It is read at every authentication: where nobody got
// anything wrong lately, that costs a load or two.
type limiter struct {
	hash  func(key) uint64
	most  time.Duration // attempts at once, each as attemptTime
	n     atomic.Int64
	cells [1 << 16]atomic.Int32 // how many buckets have a key with this part of the hash
	parts [shardCount]limiterPart
}

type limiterPart struct {
	mu      sync.Mutex
	buckets map[bucketKey]time.Duration // when it will be full again, on the monotonic clock
}

type bucketKey struct {
	key    key
	source [2]uint64
}

func (l *limiter) init(hash func(key) uint64, most int) {
	l.hash, l.most = hash, time.Duration(most)
	for i := range l.parts {
		l.parts[i].buckets = map[bucketKey]time.Duration{}
	}
}

func (l *limiter) cell(h uint64) *atomic.Int32 { return &l.cells[h&uint64(len(l.cells)-1)] }

func (l *limiter) part(h uint64) *limiterPart { return &l.parts[h>>(64-shardBits)] }

// sourceOf is what counts as one source: an IPv4 address, however it is
// written, or an IPv6 network of 64 bits.
func sourceOf(a netip.Addr) [2]uint64 {
	a = a.Unmap()
	b := a.As16()
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	if a.Is6() {
		lo = 0
	}
	return [2]uint64{hi, lo}
}

// wait returns how long a source must wait before it may try a key again; 0 if it need not.
func (l *limiter) wait(k key, h uint64, src netip.Addr, now time.Duration) time.Duration {
	if l.n.Load() == 0 || l.cell(h).Load() == 0 {
		return 0
	}
	p := l.part(h)
	p.mu.Lock()
	full, ok := p.buckets[bucketKey{k, sourceOf(src)}]
	p.mu.Unlock()
	if !ok {
		return 0
	}
	return max(0, full-now-(l.most-1)*attemptTime)
}

// wrong counts one wrong attempt.
func (l *limiter) wrong(k key, h uint64, src netip.Addr, now time.Duration) {
	b := bucketKey{k, sourceOf(src)}
	p := l.part(h)
	p.mu.Lock()
	defer p.mu.Unlock()
	full, ok := p.buckets[b]
	if !ok {
		if len(p.buckets) >= maxBuckets/shardCount {
			l.evict(p, now)
		}
		l.n.Add(1)
		l.cell(h).Add(1)
	}
	p.buckets[b] = max(full, now) + attemptTime
}

// right forgets what a source got wrong: it has shown that it knows better.
func (l *limiter) right(k key, h uint64, src netip.Addr) {
	if l.n.Load() == 0 || l.cell(h).Load() == 0 {
		return
	}
	b := bucketKey{k, sourceOf(src)}
	p := l.part(h)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.buckets[b]; ok {
		l.remove(p, b)
	}
}

// evict takes out what is full, or else the fullest of a few: what is blocked goes last.
func (l *limiter) evict(p *limiterPart, now time.Duration) {
	const sample = 16
	var fullest bucketKey
	best, seen := time.Duration(never), 0
	for b, full := range p.buckets { // in random order
		if full < best {
			fullest, best = b, full
		}
		if seen++; seen >= sample && best > now || seen >= 4*sample {
			break
		}
		if full <= now {
			l.remove(p, b)
		}
	}
	if _, ok := p.buckets[fullest]; ok && len(p.buckets) >= maxBuckets/shardCount {
		l.remove(p, fullest)
	}
}

// sweep takes out what is full.
func (l *limiter) sweep(now time.Duration) {
	if l.n.Load() == 0 {
		return
	}
	for i := range l.parts {
		p := &l.parts[i]
		p.mu.Lock()
		for b, full := range p.buckets {
			if full <= now {
				l.remove(p, b)
			}
		}
		p.mu.Unlock()
	}
}

func (l *limiter) remove(p *limiterPart, b bucketKey) {
	delete(p.buckets, b)
	l.n.Add(-1)
	l.cell(l.hash(b.key)).Add(-1)
}
