package authority

import (
	"context"
	"sync"
	"time"

	"cardea/internal/credential"
)

const (
	// settingClock holds the high-water mark of the clock: the time of the newest
	// event to within a minute, RFC 3339. It never goes back but by AcceptClock.
	settingClock = "clock.high"
	// clockSlack is how far behind the mark the clock may be.
	clockSlack = 5 * time.Minute
	// clockStep is how far the clock runs before the mark is written again.
	clockStep = time.Minute
)

// clock reads the time and remembers the mark that it must not fall behind (D09).
type clock struct {
	read func() time.Time
	mu   sync.Mutex
	high time.Time // zero until it was loaded
}

// now is in microseconds and without a monotonic part, as the store keeps it,
// so that an answer equals what is read later.
func (a *Authority) now() time.Time {
	return a.clock.read().UTC().Round(0).Truncate(time.Microsecond)
}

// checkClock refuses with Down if the clock was set back: what would be issued
// now would be dated wrong and live too long. Ending things goes on.
func (a *Authority) checkClock(ctx context.Context) error {
	high, err := a.clockMark(ctx)
	if err != nil {
		return err
	}
	now := a.now()
	if !now.Before(high.Add(-clockSlack)) {
		return nil
	}
	// Before it is refused: another node may have been told meanwhile that the clock is right.
	if high, err = a.loadMark(ctx); err != nil || !now.Before(high.Add(-clockSlack)) {
		return err
	}
	a.log.Error("the clock is behind the last recorded change", "now", now, "last", high)
	return credential.Errorf(credential.Down,
		"the server's clock says %s, but a change was recorded at %s: nothing is issued until the clock is right; set it, or if it is right, run 'cardea doctor --accept-clock' on the server",
		now.Format(time.RFC3339), high.Format(time.RFC3339))
}

func (a *Authority) clockMark(ctx context.Context) (time.Time, error) {
	a.clock.mu.Lock()
	high := a.clock.high
	a.clock.mu.Unlock()
	if !high.IsZero() {
		return high, nil
	}
	return a.loadMark(ctx)
}

// loadMark reads the mark that all nodes share.
func (a *Authority) loadMark(ctx context.Context) (time.Time, error) {
	text, err := a.store.Setting(ctx, settingClock)
	if err != nil {
		return time.Time{}, err
	}
	if text == "" {
		return time.Time{}, nil
	}
	high, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, &credential.Error{Kind: credential.Internal, Message: "the setting " + settingClock + " is not a time", Err: err}
	}
	a.setMark(high)
	return high, nil
}

func (a *Authority) setMark(t time.Time) {
	a.clock.mu.Lock()
	a.clock.high = t
	a.clock.mu.Unlock()
}

// raiseMark returns the operation that writes a mark of now, or nil if the
// written one is new enough or another node's is later.
func (a *Authority) raiseMark(ctx context.Context, now time.Time) (credential.Op, error) {
	high, err := a.clockMark(ctx)
	if err != nil || now.Before(high.Add(clockStep)) {
		return nil, err
	}
	high, err = a.loadMark(ctx)
	if err != nil || now.Before(high.Add(clockStep)) {
		return nil, err
	}
	return markOp(now), nil
}

func markOp(t time.Time) credential.Op {
	return credential.PutSetting{Name: settingClock, Value: t.Format(time.RFC3339Nano)}
}

// AcceptClock makes the present time the mark from which the clock is judged,
// after a clock that ran ahead was set right. Only for the local administrator.
func (a *Authority) AcceptClock(ctx context.Context, c Caller) error {
	if err := onlyInstallation(c, "accepting the clock"); err != nil {
		return err
	}
	high, err := a.loadMark(ctx)
	if err != nil {
		return err
	}
	ch := a.begin(c)
	d := details{}
	d.set("clock", high.Format(time.RFC3339), ch.at.Format(time.RFC3339))
	ch.do(markOp(ch.at), "system.clock", credential.Subject{Kind: "system", ID: settingClock}, d)
	if err := a.commit(ctx, ch); err != nil {
		return err
	}
	a.setMark(ch.at)
	return nil
}
