package authority

import (
	"context"
	"fmt"
	"time"

	"cardea/internal/credential"
)

// Extend moves the end of a credential to a later instant. Not for
// certificates, whose end is signed, nor for one that has expired: those are rotated. More time is a grant
// of all that the credential may (J26).
func (a *Authority) Extend(ctx context.Context, c Caller, id string, until time.Time) (credential.Credential, error) {
	e, err := a.ExtendCredential(ctx, c, id, until)
	return e.Credential, err
}

// ExtendCredential is [Authority.Extend] with warnings of what goes on ending earlier.
func (a *Authority) ExtendCredential(ctx context.Context, c Caller, id string, until time.Time) (Extended, error) {
	until = until.UTC().Truncate(time.Microsecond)
	return retry(0, func() (Extended, error) {
		rec, err := a.credential(ctx, c, "extend", id)
		if err != nil {
			return Extended{}, err
		}
		warnings, err := a.staysBehind(ctx, &rec, until)
		if err != nil {
			return Extended{}, err
		}
		cred, err := a.extend(ctx, c, rec, until)
		return Extended{cred, warnings}, err
	})
}

func (a *Authority) extend(ctx context.Context, c Caller, rec credential.Record, until time.Time) (credential.Credential, error) {
	cred := rec.Credential
	if err := a.checkClock(ctx); err != nil {
		return cred, err
	}
	ch := a.begin(c)
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return cred, err
	}
	if err := mayExtend(&cred, b.rules(cred.Kind), until, ch.at); err != nil {
		return cred, err
	}
	if err := b.mayIssue(c, rec.Principal.Roles, cred.Scopes); err != nil {
		return cred, err
	}
	if err := notBootstrap(rec.Principal.Name); err != nil {
		return cred, err
	}
	ch.also(credential.Expect{Principal: rec.Principal.ID, Version: rec.Principal.Version})
	d := details{}
	d.set("expires_at", stamp(cred.ExpiresAt), stamp(until))
	set := credential.SetProofs{ID: cred.ID, Version: cred.Version, Proofs: cred.Proofs, ExpiresAt: until}
	ch.do(set, "credential.extend", aboutCredential(cred.ID, rec.Principal.Name), d)
	if err := a.commit(ctx, ch); err != nil {
		return cred, err
	}
	cred.ExpiresAt = until
	cred.Version++
	return cred, nil
}

func mayExtend(c *credential.Credential, r *kindRules, until, now time.Time) error {
	if err := accepted(c); err != nil {
		return err
	}
	var p credential.Problems
	if err := notOfAPassword(c); err != nil {
		return err
	}
	switch {
	case c.Kind == credential.Certificate:
		return credential.Errorf(credential.Conflict, "the end of a certificate is signed and cannot be moved: rotate the credential %s", c.ID)
	case len(aliveProofs(c, now)) == 0:
		return credential.Errorf(credential.Conflict, "the credential %s has expired: rotate it, or make a new one", c.ID)
	case !c.Proofs[0].ExpiresAt.IsZero():
		return credential.Errorf(credential.Conflict, "the newest version of the credential %s was retired: rotate it", c.ID)
	case until.IsZero():
		p.Add("expires_at", "is empty")
	case c.ExpiresAt.IsZero():
		return credential.Errorf(credential.Conflict, "the credential %s has no end that could be moved", c.ID)
	case !until.After(c.ExpiresAt):
		p.Add("expires_at", "is not after the present end, %s", c.ExpiresAt.UTC().Format(time.RFC3339))
	default:
		r.checkEnd(&p, "expires_at", until, now)
	}
	return p.Err()
}

// staysBehind names what does not move with the end of a credential: older versions, which keep the end that a
// rotation gave them, and the certificate of a device, which ended together with its token until now.
func (a *Authority) staysBehind(ctx context.Context, rec *credential.Record, until time.Time) ([]string, error) {
	var warnings []string
	cred := &rec.Credential
	for _, p := range aliveProofs(cred, a.now()) {
		if end := cred.Ends(&p); p.N != cred.Proofs[0].N && end.Before(until) {
			warnings = append(warnings, fmt.Sprintf("version %d still ends at %s", p.N, stamp(end)))
		}
	}
	if cred.Kind != credential.DeviceToken {
		return warnings, nil
	}
	for _, status := range []string{"active", "quarantined"} {
		f := credential.CredentialFilter{Org: cred.Org, Principal: cred.Principal, Kind: credential.Certificate, Status: status, Now: a.now(), Limit: 1}
		newest, _, err := a.store.Credentials(ctx, f)
		if err != nil {
			return nil, err
		}
		if len(newest) > 0 && newest[0].ExpiresAt.Before(until) {
			warnings = append(warnings, fmt.Sprintf("the certificate %s of %s still ends at %s: its end is signed, rotate it",
				newest[0].ID, rec.Principal.Name, stamp(newest[0].ExpiresAt)))
		}
	}
	return warnings, nil
}
