package authority

import (
	"context"

	"cardea/internal/credential"
)

// approves reports whether a credential of a principal that the caller makes needs nobody else's approval: the caller may
// approve, and it is not for itself.
func (a *Authority) approves(c Caller, principal string) bool {
	return (c.Local || c.Actor.Principal != principal) && a.Authorize(c, "credentials:approve", "/credentials/"+principal) == nil
}

// awaitApproval makes a new credential pending if its policy demands approval and the caller's alone does not do.
func (a *Authority) awaitApproval(c Caller, b *book, d *draft) {
	if !b.rules(d.Kind).Approval || a.approves(c, d.principal) {
		return
	}
	d.State = credential.StatePending
	d.warnings = append(d.warnings, b.rules(d.Kind).String()+" demands approval: the "+string(d.Kind)+
		" is not accepted before somebody with the right credentials:approve on /credentials/"+d.principal+" has approved it")
}

// accepted returns Conflict for a credential that has ended, or that nobody has approved yet.
func accepted(c *credential.Credential) error {
	switch {
	case c.State.Ended():
		return ended(c)
	case c.State == credential.StatePending:
		return credential.Errorf(credential.Conflict, "the credential %s is pending: it must be approved first", c.ID)
	}
	return nil
}

// Approve makes a pending credential active; its secret works from the answer on. It gives away all that the credential may, so
// the caller must have that (J26). Nobody approves what is their own: a credential of theirs, one that they answer for or one that they
// have made. One that is active already is returned as it is. version is the one that was looked at; 0 for whatever it is now.
// Errors: Invalid, NotFound, NoRight, Down; Conflict if it is not pending, has expired or was changed.
func (a *Authority) Approve(ctx context.Context, c Caller, id, reason string, version int64) (credential.Credential, error) {
	return retry(version, func() (credential.Credential, error) {
		rec, err := a.pending(ctx, c, id, reason, version)
		if err != nil || rec.Credential.State == credential.StateActive {
			return rec.Credential, err
		}
		return a.approve(ctx, c, &rec, reason)
	})
}

// pending finds a credential that may be approved or denied. For one that is active already it waits until the gate knows.
func (a *Authority) pending(ctx context.Context, c Caller, id, reason string, version int64) (credential.Record, error) {
	rec, err := a.credential(ctx, c, "approve", id)
	if err != nil {
		return rec, err
	}
	cred := &rec.Credential
	var p credential.Problems
	checkReason(&p, reason)
	if err := p.Err(); err != nil {
		return rec, err
	}
	switch cred.State {
	case credential.StatePending:
		return rec, checkVersion("credential", version, cred.Version)
	case credential.StateActive:
		a.tellGate(ctx, []credential.Touch{{Seq: rec.Revision, Org: cred.Org, Subject: aboutCredential(cred.ID, rec.Principal.Name)}})
		return rec, nil
	case credential.StateQuarantined:
		return rec, credential.Errorf(credential.Conflict, "the credential %s is in quarantine, not pending", cred.ID)
	}
	return rec, ended(cred)
}

func (a *Authority) approve(ctx context.Context, c Caller, rec *credential.Record, reason string) (credential.Credential, error) {
	cred := rec.Credential
	if err := a.notOwn(ctx, c, rec); err != nil {
		return cred, err
	}
	if err := a.checkClock(ctx); err != nil {
		return cred, err
	}
	ch := a.begin(c)
	if len(aliveProofs(&cred, ch.at)) == 0 {
		return cred, credential.Errorf(credential.Conflict, "the credential %s has expired: make a new one", cred.ID)
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return cred, err
	}
	if err := b.mayIssue(c, rec.Principal.Roles, cred.Scopes); err != nil {
		return cred, err
	}
	ch.also(credential.Expect{Principal: rec.Principal.ID, Version: rec.Principal.Version})
	d := details{"kind": string(cred.Kind)}
	d.set("state", string(cred.State), string(credential.StateActive))
	proofDetails(d, &cred.Proofs[0])
	op := credential.Approve{ID: cred.ID, Version: cred.Version}
	ch.because(op, "credential.approve", aboutCredential(cred.ID, rec.Principal.Name), d, reason)
	if err := a.commit(ctx, ch); err != nil {
		return cred, err
	}
	cred.State = credential.StateActive
	cred.Version++
	return cred, nil
}

// notOwn refuses whoever the credential speaks for, who answers for it and who has made it.
func (a *Authority) notOwn(ctx context.Context, c Caller, rec *credential.Record) error {
	owner, err := a.ownerName(ctx, &rec.Credential)
	if err != nil {
		return err
	}
	if who := c.Actor.Principal; who == rec.Principal.Name || who == owner || who == rec.Credential.CreatedBy {
		return credential.Errorf(credential.NoRight, "the credential %s is the caller's own, and nobody approves their own: ask somebody else", rec.Credential.ID)
	}
	return nil
}

// Deny ends a pending credential for good, with a reason. Errors as of Approve.
func (a *Authority) Deny(ctx context.Context, c Caller, id, reason string) (credential.Credential, error) {
	return retry(0, func() (credential.Credential, error) {
		rec, err := a.pending(ctx, c, id, reason, 0)
		if err != nil {
			return rec.Credential, err
		}
		if rec.Credential.State != credential.StatePending {
			return rec.Credential, credential.Errorf(credential.Conflict, "the credential %s was approved already: revoke it", id)
		}
		if reason == "" {
			return rec.Credential, &credential.Error{Kind: credential.Invalid, Fields: []credential.FieldError{{Field: "reason", Message: "is empty: say why it is denied"}}}
		}
		ch := a.begin(c)
		cred := endCredential(ch, rec.Credential, rec.Principal.Name, credential.StateRevoked, "credential.deny", reason)
		return cred, a.commit(ctx, ch)
	})
}
