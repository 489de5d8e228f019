package authority

import (
	"context"
	"errors"
	"time"

	"cardea/internal/audit"
	"cardea/internal/credential"
)

// Events lists events of the caller's organisation. The local administrator who names no organisation gets those of all.
func (a *Authority) Events(ctx context.Context, c Caller, f credential.EventFilter) ([]credential.Event, error) {
	if err := a.Authorize(c, "events:read", "/events/*"); err != nil {
		return nil, err
	}
	if !c.Local || f.Org != "" {
		f.Org = c.Org
	}
	f.Limit = clampLimit(f.Limit)
	return a.store.Events(ctx, f)
}

// Refusals lists what was refused since a time. They are of no organisation, because who was refused is
// often nobody; only the organisation that is there from the start may see them.
func (a *Authority) Refusals(ctx context.Context, c Caller, since time.Time, limit int) ([]credential.Refusals, error) {
	if err := a.authorizeLog(c, "events:read"); err != nil {
		return nil, err
	}
	return a.store.RefusalsOf(ctx, since, clampLimit(limit))
}

func (a *Authority) authorizeLog(c Caller, verb string) error {
	if c.Org != credential.DefaultOrg && !c.Local {
		return credential.Errorf(credential.NoRight, "this belongs to the organisation %s", credential.DefaultOrg)
	}
	return a.Authorize(c, verb, "/events/*")
}

// LogState is what VerifyLog found.
type LogState struct {
	Events int64  // how many were read and found good
	Head   []byte // hash of the last good one
	OK     bool
	Seq    int64  // the first bad one, 0 if none
	Wrong  string // what is wrong with it
}

// VerifyLog recomputes the chain from the first event to the last, and misses those that the log once had (A06).
func (a *Authority) VerifyLog(ctx context.Context, c Caller) (LogState, error) {
	if err := a.authorizeLog(c, "events:verify"); err != nil {
		return LogState{}, err
	}
	known, err := a.store.Policy(ctx) // for its revision: the log goes on to there at least
	if err != nil {
		return LogState{}, err
	}
	var v audit.Verifier
	var after int64
	for {
		page, err := a.store.Events(ctx, credential.EventFilter{After: after, Limit: maxLimit})
		if err != nil {
			return LogState{}, err
		}
		for i := range page {
			if err := v.Add(&page[i]); err != nil {
				return logState(&v, err), nil
			}
			after = page[i].Seq
		}
		if len(page) < maxLimit {
			return logState(&v, reaches(&v, known.Revision)), nil
		}
	}
}

// reaches says what is missing at the end of a log that has had an event of this number.
func reaches(v *audit.Verifier, seq int64) error {
	if last, _ := v.Last(); last >= seq {
		return nil
	}
	return v.Ends(seq, nil)
}

func logState(v *audit.Verifier, err error) LogState {
	_, head := v.Last()
	s := LogState{Events: v.Count(), Head: head, OK: err == nil}
	if f, ok := errors.AsType[*audit.Fault](err); ok {
		s.Seq, s.Wrong = f.Seq, f.Why
	}
	return s
}
