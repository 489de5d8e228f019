package authority

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cardea/internal/credential"
)

// Quarantine leaves a credential good but takes from it all that it may, save what the organisation's scope
// [credential.ScopeQuarantine] allows. It answers after this node's gate decides so: live sessions go on with those
// rights, or were cut if they may not. One that is in quarantine already is returned as it is. Nothing is asked about
// what the scope allows: who wrote it had that, and gave it to whatever comes into quarantine.
// Errors: Invalid, NotFound, Conflict if it has ended, NoRight, Down.
func (a *Authority) Quarantine(ctx context.Context, c Caller, id, reason string) (Quarantined, error) {
	return retry(0, func() (Quarantined, error) {
		rec, err := a.credential(ctx, c, "quarantine", id)
		if err != nil {
			return Quarantined{}, err
		}
		warnings, err := a.aboutQuarantine(ctx, &rec)
		if err != nil {
			return Quarantined{}, err
		}
		cred, err := a.setQuarantine(ctx, c, &rec, true, reason)
		return Quarantined{cred, warnings}, err
	})
}

// Release takes a credential out of quarantine. That gives it back all that it may, so the caller must have
// that (J26). One that is not in quarantine is returned as it is. Errors: Invalid, NotFound, Conflict if it has ended, NoRight, Down.
func (a *Authority) Release(ctx context.Context, c Caller, id, reason string) (credential.Credential, error) {
	return retry(0, func() (credential.Credential, error) {
		rec, err := a.credential(ctx, c, "release", id)
		if err != nil {
			return credential.Credential{}, err
		}
		b, err := a.book(ctx, c.Org)
		if err != nil {
			return credential.Credential{}, err
		}
		if err := b.mayIssue(c, rec.Principal.Roles, rec.Credential.Scopes); err != nil {
			return credential.Credential{}, err
		}
		return a.setQuarantine(ctx, c, &rec, false, reason)
	})
}

// setQuarantine puts a credential into quarantine or takes it out, and returns what becomes of it.
func (a *Authority) setQuarantine(ctx context.Context, c Caller, rec *credential.Record, on bool, reason string) (credential.Credential, error) {
	cred := rec.Credential
	var p credential.Problems
	checkReason(&p, reason)
	if err := p.Err(); err != nil {
		return cred, err
	}
	if err := accepted(&cred); err != nil {
		return cred, err
	}
	if err := notOfASession(&cred); err != nil {
		return cred, err
	}
	about := aboutCredential(cred.ID, rec.Principal.Name)
	to, typ := credential.StateActive, "credential.release"
	if on {
		to, typ = credential.StateQuarantined, "credential.quarantine"
	}
	if cred.State == to {
		// Whoever was faster may still wait for the gate: this answer must not come earlier than that one.
		a.tellGate(ctx, []credential.Touch{{Seq: rec.Revision, Org: cred.Org, Subject: about}})
		return cred, nil
	}
	ch := a.begin(c)
	if !on {
		ch.also(credential.Expect{Principal: rec.Principal.ID, Version: rec.Principal.Version}) // its roles are what is given back
	}
	d := details{"kind": string(cred.Kind)}
	d.set("state", string(cred.State), string(to))
	proofDetails(d, &cred.Proofs[0])
	ch.because(credential.SetQuarantine{ID: cred.ID, Version: cred.Version, On: on, At: ch.at, Reason: reason}, typ, about, d, reason)
	if err := a.commit(ctx, ch); err != nil {
		return cred, err
	}
	cred.State, cred.EndedAt, cred.EndReason = to, time.Time{}, ""
	if on {
		cred.EndedAt, cred.EndReason = ch.at, reason
	}
	cred.Version++
	return cred, nil
}

// aboutQuarantine says what whoever puts a credential into quarantine may not expect: that there is no scope for it, and
// what its principal can go on with.
func (a *Authority) aboutQuarantine(ctx context.Context, rec *credential.Record) ([]string, error) {
	var warnings []string
	b, err := a.book(ctx, rec.Credential.Org)
	if err != nil {
		return nil, err
	}
	if !b.hasScope(credential.ScopeQuarantine) {
		warnings = append(warnings, fmt.Sprintf("there is no scope %s: what is in quarantine may nothing until you make one", credential.ScopeQuarantine))
	}
	f := credential.CredentialFilter{Org: rec.Credential.Org, Principal: rec.Principal.ID, Status: "active", Now: a.now(), Limit: fewUsers + 2}
	page, _, err := a.store.Credentials(ctx, f)
	if err != nil {
		return nil, err
	}
	var others []string
	for _, l := range page {
		if l.ID != rec.Credential.ID {
			others = append(others, fmt.Sprintf("%s (%s)", l.ID, l.Kind))
		}
	}
	if len(others) == 0 {
		return warnings, nil
	}
	more := ""
	if len(others) > fewUsers {
		others, more = others[:fewUsers], " and others"
	}
	return append(warnings, fmt.Sprintf("%s has other credentials, which are not in quarantine: %s%s", rec.Principal.Name, strings.Join(others, ", "), more)), nil
}
