package authority

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// Leak is a token that was found where it should not be.
type Leak struct {
	Org        string
	Credential string // ID of what it is a token of
	Proof      int    // version
	Where      string // URL or words of whoever reports it; may be empty
	Reporter   string // likewise
	Source     string // address that the report came from
}

// FormatDocument is what scanners of other people need to know of our tokens, as JSON.
func FormatDocument() []byte { return secret.FormatDocument() }

// CheckLeak adds to p what is wrong with the words of a report.
func CheckLeak(p *credential.Problems, where, reporter string) {
	checkText(p, "source_url", where, maxReasonLen)
	checkText(p, "reporter", reporter, maxNameLen)
}

// Leaked does what the policy of the credential's kind says about one whose token was found in public (R08): it is revoked, or put into quarantine; of one that was rotated meanwhile only the old version ends.
// Nobody's right is asked: whoever holds a token may end it. Where there is nothing to do, because it has ended or is in quarantine, the event comes once a day. A version that is no more was no leak of anything.
func (a *Authority) Leaked(ctx context.Context, l Leak) error {
	_, err := retry(0, func() (none, error) { return none{}, a.leaked(ctx, l) })
	return err
}

func (a *Authority) leaked(ctx context.Context, l Leak) error {
	rec, err := a.store.Credential(ctx, l.Credential)
	if err != nil {
		return err
	}
	cred := rec.Credential
	c := system()
	c.Org, c.Actor.Source = cred.Org, l.Source
	ch := a.begin(c)
	live := !cred.State.Ended() && indexOf(aliveProofs(&cred, ch.at), l.Proof) >= 0
	d := details{"kind": string(cred.Kind)}
	d.put("where", printable(l.Where))
	d.put("reporter", printable(l.Reporter))
	b, err := a.book(ctx, cred.Org)
	if err != nil {
		return err
	}
	const reason, nothing = "its token was found in public", "none"
	action := b.all.OfKind(cred.Org, cred.Kind).LeakAction
	switch {
	case !live:
		action = nothing
	case cred.Kind == credential.SessionKey || cred.State == credential.StatePending:
		action = credential.ActionRevoke
	case l.Proof != cred.Proofs[0].N: // an older version, which a rotation has left for a while: the newest was not found, and goes on
		action = "retire"
	case action == credential.ActionQuarantine && cred.State == credential.StateQuarantined:
		action = nothing
	}
	if action == nothing {
		today := ch.at.Truncate(day)
		first, err := a.store.Once(ctx, "leak/"+cred.ID+"/"+today.Format(time.DateOnly), today.Add(day))
		if err != nil || !first {
			return err
		}
	}
	d["action"] = action
	ch.do(nil, "credential.leaked", aboutCredential(cred.ID, rec.Principal.Name), d)
	switch {
	case action == nothing:
	case action == "retire":
		proofs := slices.Clone(cred.Proofs)
		at := indexOf(proofs, l.Proof)
		old := details{"version": fmt.Sprint(l.Proof)}
		old.set("version_expires_at", stamp(cred.Ends(&proofs[at])), stamp(ch.at))
		proofs[at].ExpiresAt = ch.at
		set := credential.SetProofs{ID: cred.ID, Version: cred.Version, Proofs: proofs, ExpiresAt: cred.ExpiresAt}
		ch.because(set, "credential.retire", aboutCredential(cred.ID, rec.Principal.Name), old, reason)
	case action != credential.ActionQuarantine:
		endCredential(ch, cred, rec.Principal.Name, credential.StateRevoked, "credential.revoke", reason)
		if err := a.endSessions(ctx, ch, &cred, rec.Principal.Name, reason); err != nil {
			return err
		}
	default:
		op := credential.SetQuarantine{ID: cred.ID, Version: cred.Version, On: true, At: ch.at, Reason: reason}
		ch.because(op, "credential.quarantine", aboutCredential(cred.ID, rec.Principal.Name), nil, reason)
	}
	return a.commit(ctx, ch)
}
