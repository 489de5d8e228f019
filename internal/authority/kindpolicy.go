package authority

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"cardea/internal/credential"
)

// Bounds of what a policy may hold.
const (
	maxPattern    = 256
	maxNumber     = 10_000
	maxNotices    = 16
	maxSessions   = 10_000
	maxSession    = 90 * day
	minSession    = time.Minute
	minPolicySpan = time.Hour // of what is done about a credential after a while
)

// AnyVersion is for a change of whatever version there is.
const AnyVersion int64 = -1

// policyKinds are those that have a policy.
func policyKinds() []credential.Kind { return append(credential.Kinds(), credential.Password) }

// KindPolicies lists what the organisation demands of each kind; Version is 0 where nobody has said anything.
func (a *Authority) KindPolicies(ctx context.Context, c Caller) ([]credential.KindPolicy, error) {
	if err := a.Authorize(c, "policies:read", "/policies/*"); err != nil {
		return nil, err
	}
	all, err := a.store.Policy(ctx)
	if err != nil {
		return nil, err
	}
	var list []credential.KindPolicy
	for _, k := range policyKinds() {
		list = append(list, clonePolicy(all.OfKind(c.Org, k)))
	}
	return list, nil
}

// KindPolicy returns what the organisation demands of a kind.
func (a *Authority) KindPolicy(ctx context.Context, c Caller, k credential.Kind) (credential.KindPolicy, error) {
	return a.kindPolicy(ctx, c, "read", k)
}

// kindPolicy finds one and asks for a right on it.
func (a *Authority) kindPolicy(ctx context.Context, c Caller, verb string, k credential.Kind) (credential.KindPolicy, error) {
	hidden := notFound("policy", string(k))
	if !slices.Contains(policyKinds(), k) {
		return credential.KindPolicy{}, hidden
	}
	if err := a.permit(c, "policies", verb, string(k), hidden); err != nil {
		return credential.KindPolicy{}, err
	}
	all, err := a.store.Policy(ctx)
	return clonePolicy(all.OfKind(c.Org, k)), err
}

// clonePolicy returns a policy of the caller's own: the store shares what it answers.
func clonePolicy(p credential.KindPolicy) credential.KindPolicy {
	p.Networks, p.Notices = slices.Clone(p.Networks), slices.Clone(p.Notices)
	return p
}

// SetKindPolicy changes what is demanded of a kind: change gets the policy as it is, and may be called again. version is the one
// that was read, 0 for one that nobody has set, [AnyVersion] for whatever it is. No credential that exists is touched: what is demanded
// counts from the next creation, extension, rotation or change of the field on (L02). Errors: Invalid, NotFound, Conflict, NoRight.
func (a *Authority) SetKindPolicy(ctx context.Context, c Caller, k credential.Kind, version int64, change func(*credential.KindPolicy)) (credential.KindPolicy, error) {
	return retry(max(0, version), func() (credential.KindPolicy, error) {
		old, err := a.kindPolicy(ctx, c, "update", k)
		if err != nil {
			return old, err
		}
		if version != AnyVersion && version != old.Version {
			return old, policyChanged(k)
		}
		now := clonePolicy(old)
		change(&now)
		now.Org, now.Kind, now.Version = old.Org, old.Kind, old.Version
		completePolicy(&now)
		if err := checkKindPolicy(&now); err != nil {
			return old, err
		}
		slices.SortFunc(now.Notices, func(a, b time.Duration) int { return cmp.Compare(b, a) }) // after the check, which names them by their place
		d := policyDetails(&old, &now)
		if len(d) == 0 && old.Version > 0 {
			return old, nil
		}
		ch := a.begin(c)
		ch.do(credential.PutKindPolicy{KindPolicy: now}, "policy.update", aboutPolicy(k), d)
		if err := a.commit(ctx, ch); err != nil {
			if credential.KindOf(err) == credential.Exists { // somebody was faster to set the first one
				err = overtaken{policyChanged(k)}
			}
			return old, err
		}
		now.Version++
		return now, nil
	})
}

// ResetKindPolicy goes back to the default. version is as in SetKindPolicy. One that nobody has set stays as it is.
func (a *Authority) ResetKindPolicy(ctx context.Context, c Caller, k credential.Kind, version int64) error {
	_, err := retry(max(0, version), func() (none, error) {
		old, err := a.kindPolicy(ctx, c, "update", k)
		if err != nil {
			return none{}, err
		}
		if version != AnyVersion && version != old.Version {
			return none{}, policyChanged(k)
		}
		if old.Version == 0 {
			return none{}, nil
		}
		now := credential.DefaultKindPolicy(c.Org, k)
		ch := a.begin(c)
		op := credential.DeleteKindPolicy{Org: c.Org, Kind: k, Version: old.Version}
		ch.do(op, "policy.reset", aboutPolicy(k), policyDetails(&old, &now))
		return none{}, a.commit(ctx, ch)
	})
	return err
}

func aboutPolicy(k credential.Kind) credential.Subject {
	return credential.Subject{Kind: "policy", ID: string(k)}
}

func policyChanged(k credential.Kind) error {
	return credential.Errorf(credential.Conflict, "the policy for %s was changed meanwhile: read it again", k)
}

// hasSessions reports whether sessions can be made of a kind.
func hasSessions(k credential.Kind) bool { return k == credential.AppKey || k == credential.Password }

// completePolicy gives what must be something the default.
func completePolicy(p *credential.KindPolicy) {
	byDefault := credential.DefaultKindPolicy(p.Org, p.Kind)
	if p.UnusedAction == "" {
		p.UnusedAction = byDefault.UnusedAction
	}
	if p.LeakAction == "" {
		p.LeakAction = byDefault.LeakAction
	}
	if p.MaxSessions == 0 {
		p.MaxSessions = byDefault.MaxSessions
	}
	if p.SessionLife == 0 {
		p.SessionLife = byDefault.SessionLife
	}
}

// checkKindPolicy names all that is wrong with a policy.
func checkKindPolicy(k *credential.KindPolicy) error {
	var p credential.Problems
	checkSpan(&p, "default_lifetime", k.DefaultLifetime, time.Second, maxLifetime)
	checkSpan(&p, "max_lifetime", k.MaxLifetime, time.Second, maxLifetime)
	if k.MaxLifetime > 0 && k.DefaultLifetime > k.MaxLifetime {
		p.Add("default_lifetime", "is longer than max_lifetime, %s", credential.FormatDuration(k.MaxLifetime))
	}
	if k.Kind == credential.Certificate {
		if k.DefaultLifetime == 0 {
			p.Add("default_lifetime", "is missing: a certificate has an end")
		}
		if !k.RequireExpiry {
			p.Add("require_expiry", "is false: a certificate has an end")
		}
	}
	checkNetworks(&p, "networks", k.Networks)
	checkPattern(&p, "name_pattern", k.NamePattern)
	if k.MaxNumber < 0 || k.MaxNumber > maxNumber {
		p.Add("max_number", "must be 1 to %d, or 0 for no bound", maxNumber)
	}
	checkSpan(&p, "rotation_age", k.RotationAge, minPolicySpan, maxLifetime)
	checkSpan(&p, "unused_after", k.UnusedAfter, minPolicySpan, maxLifetime)
	checkAction(&p, "unused_action", k.UnusedAction, credential.ActionWarn, credential.ActionQuarantine)
	checkNotices(&p, "notices", k.Notices)
	checkAction(&p, "leak_action", k.LeakAction, credential.ActionRevoke, credential.ActionQuarantine)
	checkSpan(&p, "purge_after", k.PurgeAfter, minPolicySpan, maxLifetime)
	checkSessions(&p, k)
	checkPasswords(&p, k)
	return p.Err()
}

// checkSpan holds for a length of time that may be 0, for none. They are kept in seconds.
func checkSpan(p *credential.Problems, field string, d, least, most time.Duration) {
	switch {
	case d == 0:
	case d < 0:
		p.Add(field, "is negative")
	case d < least:
		p.Add(field, "is less than %s", credential.FormatDuration(least))
	case d > most:
		p.Add(field, "is more than %s", credential.FormatDuration(most))
	case d%time.Second != 0:
		p.Add(field, "is not a number of whole seconds")
	}
}

func checkAction(p *credential.Problems, field, action string, known ...string) {
	if !slices.Contains(known, action) {
		p.Add(field, "must be %s", list(known, func(s string) string { return s }))
	}
}

func checkPattern(p *credential.Problems, field, pattern string) {
	before := len(*p)
	if checkText(p, field, pattern, maxPattern); len(*p) > before || pattern == "" {
		return
	}
	if _, err := compileName(pattern); err != nil {
		p.Add(field, "is not a regular expression as RE2 has them: %s", err.Error())
	}
}

func checkNotices(p *credential.Problems, field string, notices []time.Duration) {
	if len(notices) > maxNotices {
		p.Add(field, "has more than %d entries", maxNotices)
		return
	}
	for i, n := range notices {
		if n == 0 {
			p.Add(item(field, i), "must be longer than zero")
			continue
		}
		checkSpan(p, item(field, i), n, time.Minute, maxLifetime)
	}
	checkRepeats(p, field, notices)
}

func checkSessions(p *credential.Problems, k *credential.KindPolicy) {
	if !hasSessions(k.Kind) {
		for _, f := range [...]struct {
			field string
			said  bool
		}{{"max_sessions", k.MaxSessions != 0}, {"session_life", k.SessionLife != 0}, {"session_idle", k.SessionIdle != 0}} {
			if f.said {
				p.Add(f.field, "is for app_key and password only")
			}
		}
		return
	}
	if k.MaxSessions < 1 || k.MaxSessions > maxSessions {
		p.Add("max_sessions", "must be 1 to %d", maxSessions)
	}
	checkSpan(p, "session_life", k.SessionLife, minSession, maxSession)
	checkSpan(p, "session_idle", k.SessionIdle, minSession, maxSession)
	if k.SessionIdle > k.SessionLife {
		p.Add("session_idle", "is longer than session_life, %s", credential.FormatDuration(k.SessionLife))
	}
}

// checkPasswords refuses what says nothing of a password: a user has one, without a name, good from anywhere.
func checkPasswords(p *credential.Problems, k *credential.KindPolicy) {
	if k.Kind != credential.Password {
		return
	}
	for _, f := range [...]struct {
		field string
		said  bool
	}{
		{"require_networks", k.RequireNetworks},
		{"networks", len(k.Networks) > 0},
		{"name_pattern", k.NamePattern != ""},
		{"approval", k.Approval},
		{"max_number", k.MaxNumber != 0},
	} {
		if f.said {
			p.Add(f.field, "is not for password")
		}
	}
}

// policyDetails are the fields that a change of a policy changes.
func policyDetails(old, now *credential.KindPolicy) details {
	d := details{}
	was, is := policyFields(old), policyFields(now)
	for i := range was {
		d.set(was[i][0], was[i][1], is[i][1])
	}
	return d
}

func policyFields(k *credential.KindPolicy) [][2]string {
	span := func(d time.Duration) string {
		if d == 0 {
			return ""
		}
		return credential.FormatDuration(d)
	}
	number := func(n int) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprint(n)
	}
	return [][2]string{
		{"default_lifetime", span(k.DefaultLifetime)},
		{"max_lifetime", span(k.MaxLifetime)},
		{"require_expiry", yesNo(k.RequireExpiry)},
		{"require_networks", yesNo(k.RequireNetworks)},
		{"networks", networks(k.Networks)},
		{"name_pattern", k.NamePattern},
		{"approval", yesNo(k.Approval)},
		{"max_number", number(k.MaxNumber)},
		{"rotation_age", span(k.RotationAge)},
		{"unused_after", span(k.UnusedAfter)},
		{"unused_action", k.UnusedAction},
		{"notices", list(k.Notices, span)},
		{"leak_action", k.LeakAction},
		{"purge_after", span(k.PurgeAfter)},
		{"max_sessions", number(k.MaxSessions)},
		{"session_life", span(k.SessionLife)},
		{"session_idle", span(k.SessionIdle)},
	}
}
