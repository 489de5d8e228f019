package authority

import (
	"context"
	"time"

	"cardea/internal/credential"
)

// betterRotate is what is said to whoever gives an application key more time.
const betterRotate = "extending works, but rotation with an overlap is better: the secret does not grow old, and nobody is locked out"

// SetExpirationDate sets another end of an application key: a later one by the rules of [Authority.Extend], or an earlier one
// that is in the future. Errors: as Extend; Conflict for other kinds.
func (a *Authority) SetExpirationDate(ctx context.Context, c Caller, id string, until time.Time) (Extended, error) {
	until = until.UTC().Truncate(time.Microsecond)
	return a.setEnd(ctx, c, id, func(*credential.Credential) (time.Time, error) { return until, nil })
}

// ResetExpirationDate gives an application key the end that a new one would get now if it asked for none (L02). Errors: as SetExpirationDate.
func (a *Authority) ResetExpirationDate(ctx context.Context, c Caller, id string) (Extended, error) {
	return a.setEnd(ctx, c, id, func(cred *credential.Credential) (time.Time, error) {
		b, err := a.book(ctx, cred.Org)
		if err != nil {
			return time.Time{}, err
		}
		r := b.rules(cred.Kind)
		if r.DefaultLifetime == 0 {
			return time.Time{}, credential.Errorf(credential.Conflict, "%s has no default lifetime: set the date", r)
		}
		return a.now().Add(r.DefaultLifetime), nil
	})
}

// setEnd moves the end of an application key to where pick says.
func (a *Authority) setEnd(ctx context.Context, c Caller, id string, pick func(*credential.Credential) (time.Time, error)) (Extended, error) {
	return retry(0, func() (Extended, error) {
		rec, err := a.credential(ctx, c, "extend", id)
		if err != nil {
			return Extended{}, err
		}
		cred := &rec.Credential
		if err := onlyAppKey(cred); err != nil {
			return Extended{}, err
		}
		until, err := pick(cred)
		if err != nil {
			return Extended{}, err
		}
		switch {
		case until.Equal(cred.ExpiresAt) && !until.IsZero():
			return Extended{Credential: *cred}, nil
		case cred.ExpiresAt.IsZero() || until.Before(cred.ExpiresAt):
			now, err := a.shorten(ctx, c, &rec, until)
			return Extended{Credential: now}, err
		}
		warnings, err := a.staysBehind(ctx, &rec, until)
		if err != nil {
			return Extended{}, err
		}
		now, err := a.extend(ctx, c, rec, until)
		return Extended{now, append(warnings, betterRotate)}, err
	})
}

// shorten moves the end of a credential to an earlier instant. That gives nobody anything.
func (a *Authority) shorten(ctx context.Context, c Caller, rec *credential.Record, until time.Time) (credential.Credential, error) {
	cred := rec.Credential
	ch := a.begin(c)
	if err := accepted(&cred); err != nil {
		return cred, err
	}
	if len(aliveProofs(&cred, ch.at)) == 0 {
		return cred, credential.Errorf(credential.Conflict, "the credential %s has expired: rotate it, or make a new one", cred.ID)
	}
	var p credential.Problems
	if until.IsZero() {
		p.Add("expires_at", "is empty")
	} else if !until.After(ch.at) {
		p.Add("expires_at", "is not in the future: revoke the credential instead")
	}
	if err := p.Err(); err != nil {
		return cred, err
	}
	d := details{}
	d.set("expires_at", stamp(cred.ExpiresAt), stamp(until))
	set := credential.SetProofs{ID: cred.ID, Version: cred.Version, Proofs: cred.Proofs, ExpiresAt: until}
	ch.do(set, "credential.shorten", aboutCredential(cred.ID, rec.Principal.Name), d)
	if err := a.commit(ctx, ch); err != nil {
		return cred, err
	}
	cred.ExpiresAt = until
	cred.Version++
	return cred, nil
}
