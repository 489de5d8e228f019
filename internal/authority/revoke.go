package authority

import (
	"context"

	"cardea/internal/credential"
)

// Revoke ends a credential for good. It answers after this node's gate refuses the credential and its live sessions are
// cut. One that is revoked already is returned as it is.
func (a *Authority) Revoke(ctx context.Context, c Caller, id, reason string) (credential.Credential, error) {
	return a.end(ctx, c, id, reason, "revoke", credential.StateRevoked)
}

// RevokeShown is Revoke for a credential of the caller's own principal, whose whole secret was shown. It needs no right: whoever has it could
// do all that it can, and makes an end of that.
func (a *Authority) RevokeShown(ctx context.Context, c Caller, id, reason string) (credential.Credential, error) {
	c.own = true
	return a.Revoke(ctx, c, id, reason)
}

// DeleteCredential revokes a credential and takes it out of all lists; its history stays in the audit log.
func (a *Authority) DeleteCredential(ctx context.Context, c Caller, id, reason string) error {
	_, err := a.end(ctx, c, id, reason, "delete", credential.StateDeleted)
	return err
}

func (a *Authority) end(ctx context.Context, c Caller, id, reason, verb string, to credential.State) (credential.Credential, error) {
	return retry(0, func() (credential.Credential, error) {
		rec, err := a.credential(ctx, c, verb, id)
		if err != nil {
			return credential.Credential{}, err
		}
		var p credential.Problems
		checkReason(&p, reason)
		if err := p.Err(); err != nil {
			return credential.Credential{}, err
		}
		if rec.Credential.State == to {
			// Whoever revoked it may still wait for the gate: this answer must not come earlier than that one.
			about := aboutCredential(id, rec.Principal.Name)
			a.tellGate(ctx, []credential.Touch{{Seq: rec.Revision, Org: rec.Credential.Org, Subject: about}})
			return rec.Credential, nil
		}
		ch := a.begin(c)
		typ := "credential." + verb
		if rec.Credential.Kind == credential.SessionKey {
			typ = "session.end"
		}
		cred := endCredential(ch, rec.Credential, rec.Principal.Name, to, typ, reason)
		if err := a.endSessions(ctx, ch, &rec.Credential, rec.Principal.Name, "what it was made with has ended"); err != nil {
			return rec.Credential, err
		}
		return cred, a.commit(ctx, ch)
	})
}

// endCredential adds to the change that a credential ends, and returns what becomes of it.
func endCredential(ch *change, cred credential.Credential, principal string, to credential.State, typ, reason string) credential.Credential {
	return endVersion(ch, cred, 0, principal, to, typ, reason)
}

// endVersion is endCredential, but only if the credential is still at a version; 0 for any.
func endVersion(ch *change, cred credential.Credential, version int64, principal string, to credential.State, typ, reason string) credential.Credential {
	d := details{"kind": string(cred.Kind)}
	d.set("state", string(cred.State), string(to))
	proofDetails(d, &cred.Proofs[0])
	op := credential.EndCredential{ID: cred.ID, Version: version, State: to, At: ch.at, Reason: reason}
	ch.because(op, typ, aboutCredential(cred.ID, principal), d, reason)
	if to == credential.StateDeleted && cred.Avatar != "" {
		ch.also(credential.PutAvatar{Credential: cred.ID})
	}
	if !cred.State.Ended() {
		cred.EndedAt, cred.EndReason = ch.at, reason
	}
	cred.State = to
	cred.Version++
	return cred
}
