package gate

import (
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawBuckets draws a rate, and the buckets of nodes that share it.
func drawBuckets(t *rapid.T, most int) (rate, burst int64, nodes []*bucket) {
	rate = rapid.OneOf(rapid.Int64Range(1, 50), rapid.Int64Range(1, maxRate)).Draw(t, "rate")
	burst = rapid.OneOf(rapid.Int64Range(1, 50), rapid.Int64Range(1, 1000)).Draw(t, "burst")
	n := rapid.IntRange(1, most).Draw(t, "nodes")
	for range n {
		b := &bucket{}
		b.set(rate, burst, 0)
		b.share(n, 0)
		b.level = b.full()
		nodes = append(nodes, b)
	}
	return rate, burst, nodes
}

// drawStep draws a time between two requests: none, some, or about as long as a token takes.
func drawStep(t *rapid.T, rate int64) time.Duration {
	token := int64(time.Second) / rate
	return time.Duration(rapid.OneOf(
		rapid.Just[int64](0), rapid.Int64Range(0, 3), rapid.Int64Range(0, 2*token+2), rapid.Int64Range(0, int64(10*time.Second)),
	).Draw(t, "step"))
}

// No stretch of time sees more pass than the burst and what the rate brings in that time, to the nanosecond: on
// one node, and on several that know of each other.
func TestBucketIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate, burst, nodes := drawBuckets(t, 5)
		var passed []int64
		now := time.Duration(0)
		for range rapid.IntRange(1, 200).Draw(t, "requests") {
			now += drawStep(t, rate)
			b := nodes[rapid.IntRange(0, len(nodes)-1).Draw(t, "node")]
			b.fill(now)
			b.fill(now - time.Duration(rapid.Int64Range(0, 5).Draw(t, "late"))) // of somebody who is no request
			if b.wait() == 0 {
				b.take()
				passed = append(passed, int64(now))
			}
			if b.level < 0 || b.level > b.full() {
				t.Fatalf("level %d of %d", b.level, b.full())
			}
		}
		most := max(burst, int64(len(nodes)))
		for i := range passed {
			for j := i; j < len(passed); j++ {
				count := big.NewInt(int64(j-i+1) * int64(time.Second))
				may := new(big.Int).Mul(big.NewInt(rate), big.NewInt(passed[j]-passed[i]))
				may.Add(may, new(big.Int).Mul(big.NewInt(most), big.NewInt(int64(time.Second))))
				if count.Cmp(may) > 0 {
					t.Fatalf("%d passed in %dns, at %d a second and %d at once on %d nodes", j-i+1, passed[j]-passed[i], rate, most, len(nodes))
				}
			}
		}
	})
}

// Whoever comes back after the time that was told gets through, and not a nanosecond before.
func TestBucketTellsWhen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate, _, nodes := drawBuckets(t, 7)
		b, now := nodes[0], time.Duration(0)
		for range rapid.IntRange(1, 100).Draw(t, "requests") {
			now += drawStep(t, rate)
			b.fill(now)
			if wait := b.wait(); wait > 0 {
				early := *b
				if early.fill(now + wait - 1); early.wait() == 0 {
					t.Fatalf("a request passes before %v are over", wait)
				}
				now += wait
				b.fill(now)
			}
			if wait := b.wait(); wait > 0 {
				t.Fatalf("it is %v more", wait)
			}
			has, next := b.left()
			later := *b
			later.fill(now + next)
			if more, _ := later.left(); next > 0 && more != has+1 {
				t.Fatalf("%d tokens, after %v it is %d", has, next, more)
			}
			b.take()
			if left, _ := b.left(); left != has-1 {
				t.Fatalf("%d tokens are left of %d", left, has)
			}
		}
	})
}

// Neither another rate nor another number of nodes gives back what was taken: what there is stays, up to what there is room for.
func TestBucketDoesNotRefill(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, _, nodes := drawBuckets(t, 3)
		b := nodes[0]
		for b.wait() == 0 && rapid.IntRange(0, 20).Draw(t, "more") > 0 {
			b.take()
		}
		for range rapid.IntRange(1, 10).Draw(t, "changes") {
			had := new(big.Rat).SetFrac64(b.level, b.token())
			if rapid.Bool().Draw(t, "nodes or rate") {
				b.share(rapid.IntRange(0, 2*maxNodes).Draw(t, "n"), 0)
			} else {
				b.set(rapid.Int64Range(1, 2*maxRate).Draw(t, "rate"), rapid.Int64Range(1, 2*maxRate).Draw(t, "burst"), 0)
			}
			has := new(big.Rat).SetFrac64(b.level, b.token())
			if has.Cmp(had) > 0 || b.level < 0 {
				t.Fatalf("%v tokens became %v", had, has)
			}
			lost := new(big.Rat).Sub(had, has)
			if b.level < b.full() && lost.Cmp(new(big.Rat).SetFrac64(1, b.token())) > 0 {
				t.Fatalf("%v tokens became %v, though there was room", had, has)
			}
		}
	})
}
