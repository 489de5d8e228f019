package jobs

import (
	"math/rand/v2"
	"time"
)

// waits is the schedule of attempts to deliver a notice: the first of the example in Standard Webhooks, a day in all.
var waits = [...]time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 10 * time.Hour,
}

// MaxAttempts is how often delivering a notice is tried.
const MaxAttempts = len(waits)

// Backoff is how long to wait before an attempt, counted from 1, after the one before it. Up to a fifth is added by chance, so that
// what has failed together is not tried together again.
func Backoff(attempt int) time.Duration {
	d := waits[min(max(attempt, 1), MaxAttempts)-1]
	if d == 0 {
		return 0
	}
	return d + rand.N(d/5)
}
