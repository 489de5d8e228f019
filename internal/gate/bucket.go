package gate

import (
	"math"
	"math/bits"
	"time"
)

// bucket lets requests pass at a rate. It holds tokens, one of which each request takes; new ones come in as time goes by, until it is
// full. It counts in whole numbers, so that no stretch of time sees more pass than what was in it and what came in meanwhile.
//
// Nodes share a rate: each has a bucket for its part, which holds one token at least.
type bucket struct {
	rate  int64         // tokens a second, of all nodes; 0: everything passes
	burst int64         // tokens of full buckets, of all nodes
	nodes int64         // at least 1
	level int64         // nodes * 1e9 of it are a token; rate of it come in every nanosecond
	at    time.Duration // when level was that, on the monotonic clock
}

// What a bucket counts with at most, so that nothing overflows. No node serves a thousandth of it.
const (
	maxRate  = 1_000_000_000
	maxNodes = 1_000_000
)

func (b *bucket) token() int64 { return b.nodes * int64(time.Second) }

func (b *bucket) full() int64 { return max(b.burst*int64(time.Second), b.token()) }

func (b *bucket) isFull() bool { return b.rate == 0 || b.level >= b.full() }

// set gives the bucket another rate. What it holds stays, as far as it has room: only one that had no rate before is full.
func (b *bucket) set(rate, burst int64, now time.Duration) {
	b.fill(now)
	isNew := b.rate == 0
	b.rate, b.burst, b.nodes = min(rate, maxRate), min(burst, maxRate), max(1, b.nodes)
	if isNew {
		b.level = b.full()
	}
	b.level = min(b.level, b.full())
}

// share makes it the bucket of one of so many nodes. It holds as many tokens as before, as far as it has room.
func (b *bucket) share(nodes int, now time.Duration) {
	b.fill(now)
	n := min(max(1, int64(nodes)), maxNodes)
	if n == b.nodes {
		return
	}
	// Both fit into 128 bits; a quotient that does not fit into 64 is more than full.
	hi, lo := bits.Mul64(uint64(b.level), uint64(n))
	was, level := uint64(b.nodes), uint64(math.MaxUint64)
	if hi < was {
		level, _ = bits.Div64(hi, lo, was)
	}
	b.nodes = n
	b.level = int64(min(level, uint64(b.full())))
}

// fill takes in what has come since. For who has looked at the clock before somebody else, and comes after, no time has passed. Requests
// must come in the order of their times.
func (b *bucket) fill(now time.Duration) {
	passed := int64(now - b.at)
	if passed <= 0 {
		return
	}
	b.at = now
	if b.rate == 0 {
		return
	}
	if room := b.full() - b.level; passed >= (room+b.rate-1)/b.rate {
		b.level = b.full()
		return
	}
	b.level += passed * b.rate
}

// wait returns how long it is until there is a token to take; 0 if there is one. Call fill before.
func (b *bucket) wait() time.Duration {
	lacks := b.token() - b.level
	if b.rate == 0 || lacks <= 0 {
		return 0
	}
	return time.Duration((lacks + b.rate - 1) / b.rate)
}

// take takes the token that wait has found.
func (b *bucket) take() {
	if b.rate > 0 {
		b.level -= b.token()
	}
}

// left returns how many tokens there are, and how long it is until there is one more; 0 if there is no room for that.
func (b *bucket) left() (int64, time.Duration) {
	if b.rate == 0 {
		return 0, 0
	}
	n := b.level / b.token()
	if b.full()/b.token() == n {
		return n, 0
	}
	return n, time.Duration((b.token() - b.level%b.token() + b.rate - 1) / b.rate)
}
