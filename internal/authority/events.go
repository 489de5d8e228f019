package authority

import (
	"context"
	"errors"
	"time"

	"cardea/internal/audit"
	"cardea/internal/credential"
	"cardea/internal/secret"
)

// Events lists events of the caller's organisation. The local administrator gets those of all organisations, unless the
// filter names one, or it acts in another than the one that is there from the start.
func (a *Authority) Events(ctx context.Context, c Caller, f credential.EventFilter) ([]credential.Event, error) {
	if err := a.Authorize(c, "events:read", "/events/*"); err != nil {
		return nil, err
	}
	if !seesAll(c) || f.Org != "" {
		f.Org = c.Org
	}
	f.Limit = clampLimit(f.Limit)
	return a.store.Events(ctx, f)
}

// seesAll reports whether a caller may see what is of every organisation at once.
func seesAll(c Caller) bool { return c.Local && c.Org == credential.DefaultOrg }

// Refusals lists what was refused since a time, as far as it was about credentials of the caller's organisation. Of whom
// nothing is known is shown to the organisation that runs the installation, and all of it to its local administrator.
func (a *Authority) Refusals(ctx context.Context, c Caller, since time.Time, limit int) ([]credential.Refusals, error) {
	if err := a.Authorize(c, "events:read", "/events/*"); err != nil {
		return nil, err
	}
	limit = clampLimit(limit)
	if seesAll(c) {
		return a.store.RefusalsOf(ctx, since, limit)
	}
	all, err := a.store.RefusalsOf(ctx, since, maxRefusals)
	if err != nil {
		return nil, err
	}
	orgs := map[string]string{} // of credentials, by ID
	own := []credential.Refusals{}
	for _, r := range all {
		org, known := orgs[r.Credential]
		if !known {
			if org, err = a.orgOf(ctx, r.Credential); err != nil {
				return nil, err
			}
			orgs[r.Credential] = org
		}
		if org == c.Org {
			if own = append(own, r); len(own) == limit {
				break
			}
		}
	}
	return own, nil
}

// maxRefusals is in how many of the newest refusals those of an organisation are looked for.
const maxRefusals = 5000

// orgOf is the organisation of a credential; the one that runs the installation for an ID that nobody has.
func (a *Authority) orgOf(ctx context.Context, id string) (string, error) {
	if len(id) != secret.IDLen {
		return credential.DefaultOrg, nil
	}
	rec, err := a.store.Credential(ctx, id)
	if credential.IsNotFound(err) {
		return credential.DefaultOrg, nil
	}
	return rec.Credential.Org, err
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
	if err := a.Authorize(c, "events:verify", "/events/*"); err != nil {
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
