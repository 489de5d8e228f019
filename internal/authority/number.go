package authority

import (
	"context"

	"cardea/internal/credential"
)

// numberLock is held by who counts and commits, in an organisation.
const numberLock = "number/"

// crowd is the credentials of one kind that one principal has.
type crowd struct {
	principal, name string // ID and name
	kind            credential.Kind
}

// crowdsOf counts what a batch adds to crowds that the policies bound.
func (b *book) crowdsOf(drafts []draft) map[crowd]int {
	more := map[crowd]int{}
	for i := range drafts {
		if b.rules(drafts[i].Kind).MaxNumber > 0 {
			more[crowd{drafts[i].Principal, drafts[i].principal, drafts[i].Kind}]++
		}
	}
	return more
}

// revived is the crowd that a rotation adds to because it brings an expired credential back.
func (b *book) revived(ch *change, recs ...*credential.Record) map[crowd]int {
	more := map[crowd]int{}
	for _, rec := range recs {
		cred := &rec.Credential
		if b.rules(cred.Kind).MaxNumber > 0 && len(aliveProofs(cred, ch.at)) == 0 {
			more[crowd{cred.Principal, rec.Principal.Name, cred.Kind}]++
		}
	}
	return more
}

// commitWithRoom commits a change that adds to crowds, if there is room in each. Of two that come at once for the last place
// one gets it: who counts and commits does so alone, over all nodes. Where nothing is bounded nobody waits.
func (a *Authority) commitWithRoom(ctx context.Context, ch *change, b *book, more map[crowd]int) error {
	if len(more) == 0 {
		return a.commit(ctx, ch)
	}
	return a.store.Exclusive(ctx, numberLock+b.org.Name, func(ctx context.Context) error {
		if err := a.hasRoom(ctx, b, more); err != nil {
			return err
		}
		return a.commit(ctx, ch)
	})
}

// hasRoom returns Conflict if a crowd would get larger than the policy of its kind allows.
func (a *Authority) hasRoom(ctx context.Context, b *book, more map[crowd]int) error {
	for c, n := range more {
		there, err := a.crowdSize(ctx, b, c)
		if err != nil {
			return err
		}
		if r := b.rules(c.kind); there+n > r.MaxNumber {
			return credential.Errorf(credential.Conflict, "%s has %d: %s allows at most %d at the same time; revoke one that is not needed",
				c.name, there, r, r.MaxNumber)
		}
	}
	return nil
}

// crowdSize counts a crowd. What has expired is not counted; what is pending or in quarantine is.
func (a *Authority) crowdSize(ctx context.Context, b *book, c crowd) (n int, err error) {
	for _, status := range []string{"active", "quarantined", "pending"} {
		f := credential.CredentialFilter{Org: b.org.Name, Principal: c.principal, Kind: c.kind, Status: status}
		if err := a.eachCredential(ctx, f, func(credential.Listed) error { n++; return nil }); err != nil {
			return 0, err
		}
	}
	return n, nil
}
