package authority

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cardea/internal/credential"
	"cardea/internal/scram"
)

const (
	maxAlive     = 4 // versions of a credential that are good at the same time
	maxProofs    = 8 // versions that are kept, ended ones included
	recentlyUsed = 24 * time.Hour
)

// Rotate gives a credential a new version. The ones before end after the overlap, and never later than they would have
// without it. The new version lives as long from now on as the one before was meant to; so a rotation also brings
// back an expired credential, but none of its old versions. What the policy of the kind demanded later does not stand in the way
// of a rotation; only the new version lives no longer than the policy allows by now, and the answer says so. Errors: Invalid, NotFound, Conflict if it was revoked or has too
// many living versions, NeedsForce (R07), NoRight, Down.
func (a *Authority) Rotate(ctx context.Context, c Caller, id string, r Rotation) (Issued, error) {
	rec, err := a.credential(ctx, c, "rotate", id)
	if err != nil {
		return Issued{}, err
	}
	key := r.Idempotency
	r.Idempotency = ""
	m, err := newMemo(c, "Rotate", key, []any{id, r})
	if err != nil {
		return Issued{}, err
	}
	m.hide(r.material())
	from, err := r.check(&rec.Credential)
	if err != nil {
		return Issued{}, err
	}
	kept, err := a.once(ctx, m, func() (reply, error) {
		return a.rotate(ctx, c, id, r, from, m)
	})
	if err != nil {
		return Issued{}, err
	}
	return kept.Issued[0], nil
}

func (a *Authority) rotate(ctx context.Context, c Caller, id string, r Rotation, from source, m *memo) (reply, error) {
	rec, err := a.credential(ctx, c, "rotate", id)
	if err != nil {
		return reply{}, err
	}
	if err := a.checkClock(ctx); err != nil {
		return reply{}, err
	}
	ch := a.begin(c)
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return reply{}, err
	}
	if err := a.mayTurn(ctx, c, b, &rec, r, ch.at); err != nil {
		return reply{}, err
	}
	ch.also(credential.Expect{Principal: rec.Principal.ID, Version: rec.Principal.Version})
	ends, note := b.rules(rec.Credential.Kind).renewed(&rec.Credential, ch.at)
	is, err := a.turn(ctx, ch, &rec, r, from, ends)
	if err != nil {
		return reply{}, err
	}
	if note != "" {
		is.Warnings = append(is.Warnings, note)
	}
	kept := reply{Issued: []Issued{is}}
	if err := a.remember(ch, m, kept); err != nil {
		return reply{}, err
	}
	return kept, a.commitWithRoom(ctx, ch, b, b.revived(ch, &rec))
}

// source is what a new version is made of: the public key of a certificate, if the caller has one of its own, or what the keys of SCRAM come from.
type source struct {
	key   *publicKey
	scram *renewal
}

// check checks the form of a request for a rotation of a credential.
func (r *Rotation) check(c *credential.Credential) (source, error) {
	var p credential.Problems
	switch {
	case r.Overlap < 0:
		p.Add("overlap", "is negative")
	case r.Overlap > maxOverlap:
		p.Add("overlap", "is more than %d days", maxOverlap/day)
	}
	var from source
	if c.Kind == credential.Certificate {
		from.key = readCSR(&p, "csr", r.CSR)
	} else if len(r.CSR) > 0 {
		p.Add("csr", "is for certificates only")
	}
	m := r.material()
	if c.Kind != credential.SCRAM {
		m.refuse(&p)
		return from, p.Err()
	}
	from.scram = &renewal{material: m}
	h, _ := scram.HashOf(c.Algorithm)
	m.check(&p, h, c.Username)
	if m.iterations != 0 && !m.imports() {
		p.Add("iterations", "stays what it is when the password changes: leave it out")
	}
	return from, p.Err()
}

// mayTurn refuses a rotation that the state of the credential, its use or the caller's rights forbid.
func (a *Authority) mayTurn(ctx context.Context, c Caller, b *book, rec *credential.Record, r Rotation, now time.Time) error {
	cred := &rec.Credential
	if err := accepted(cred); err != nil {
		return err
	}
	if err := notOfAPassword(cred); err != nil {
		return err
	}
	if err := hasNoSecret(cred); err != nil {
		return err
	}
	if rec.Principal.Disabled {
		return credential.Errorf(credential.Conflict, "the principal %s is disabled: enable it first", rec.Principal.Name)
	}
	if err := b.mayIssue(c, rec.Principal.Roles, cred.Scopes); err != nil {
		return err
	}
	if err := notBootstrap(rec.Principal.Name); err != nil {
		return err
	}
	alive := aliveProofs(cred, now)
	if r.Overlap > 0 && len(alive) >= maxAlive {
		return credential.Errorf(credential.Conflict, "the credential %s has %d versions that are good: retire one of them first", cred.ID, maxAlive)
	}
	if r.Overlap > 0 || r.Force {
		return nil
	}
	return a.refuseIfUsed(ctx, cred, alive, now, "rotate with an overlap, or insist with force")
}

// aliveProofs returns the versions of c that are good at an instant.
func aliveProofs(c *credential.Credential, at time.Time) []credential.Proof {
	var alive []credential.Proof
	for _, p := range c.Proofs {
		if end := c.Ends(&p); end.IsZero() || at.Before(end) {
			alive = append(alive, p)
		}
	}
	return alive
}

// refuseIfUsed returns NeedsForce if one of the versions was used within the
// last day, and says when, from where and what to do (R07).
func (a *Authority) refuseIfUsed(ctx context.Context, c *credential.Credential, versions []credential.Proof, now time.Time, way string) error {
	used, err := a.usage(ctx, c.ID)
	if err != nil {
		return err
	}
	for _, p := range versions {
		u, seen := used[p.N]
		if seen && u.LastAt.After(now.Add(-recentlyUsed)) {
			return credential.Errorf(credential.NeedsForce, "version %d of the credential %s is in use: %s; %s", p.N, c.ID, lastUse(u), way)
		}
	}
	return nil
}

func lastUse(u credential.Usage) string {
	from := "an unknown address"
	if u.LastSource.IsValid() {
		from = u.LastSource.String()
	}
	return fmt.Sprintf("it was last used at %s from %s", u.LastAt.UTC().Format(time.RFC3339), from)
}

// turn adds to the change that a credential gets a new version which ends at an instant.
func (a *Authority) turn(ctx context.Context, ch *change, rec *credential.Record, r Rotation, from source, ends time.Time) (Issued, error) {
	cred := rec.Credential
	is := Issued{PrincipalName: rec.Principal.Name}
	var err error
	if is.OwnerName, err = a.ownerName(ctx, &cred); err != nil {
		return Issued{}, err
	}
	n := cred.Proofs[0].N + 1
	var proof credential.Proof
	var made *login
	switch cred.Kind {
	case credential.Certificate:
		leaf, err := a.sign(ctx, ch, from.key, leafWish{principal: rec.Principal.Name, credential: cred.ID, notBefore: cred.NotBefore, until: ends})
		if err != nil {
			return Issued{}, err
		}
		leaf.into(&is)
		proof, ends = leaf.proof(n, ch.at), leaf.ends
		ch.also(credential.SettleSerial{Serial: leaf.serial, Credential: cred.ID, At: ch.at})
	case credential.SCRAM:
		if made, err = from.scram.turn(ctx, a, &cred, r.Overlap); err != nil {
			return Issued{}, err
		}
		if proof, err = a.scramProof(cred.ID, n, &made.keys, ch.at); err != nil {
			return Issued{}, err
		}
		is.Secret = made.shown
	default:
		if proof, is.Secret, err = a.newToken(cred.Kind, cred.ID, n, ch.at); err != nil {
			return Issued{}, err
		}
	}
	about := details{}
	loginDetails(about, &cred, made)
	a.noteTurn(ch, &cred, proof, r.Overlap, ends, rec.Principal.Name, about)
	is.PreviousEnds = cred.Ends(&cred.Proofs[1])
	is.Credential = cred
	return is, nil
}

// noteTurn puts the new version in front, gives the old ones their ends and adds operation and event, whose details begin with d.
func (a *Authority) noteTurn(ch *change, cred *credential.Credential, proof credential.Proof, overlap time.Duration, ends time.Time, principal string, d details) {
	proofs := superseded(cred, proof, overlap, ch.at)
	d.put("version", fmt.Sprint(proof.N))
	d.set("expires_at", stamp(cred.ExpiresAt), stamp(ends))
	d.put("previous_expires_at", stamp(proofs[1].ExpiresAt))
	proofDetails(d, &proof)
	set := credential.SetProofs{ID: cred.ID, Version: cred.Version, Proofs: proofs, ExpiresAt: ends}
	ch.do(set, "credential.rotate", aboutCredential(cred.ID, principal), d)
	cred.Proofs, cred.ExpiresAt = proofs, ends
	cred.Version++
}

// superseded are the versions of a credential with a new one in front; the others end after the overlap, and none later than it would have.
func superseded(cred *credential.Credential, proof credential.Proof, overlap time.Duration, now time.Time) []credential.Proof {
	stop := now.Add(overlap).Truncate(time.Microsecond)
	proofs := []credential.Proof{proof}
	for _, p := range cred.Proofs {
		if end := cred.Ends(&p); end.IsZero() || stop.Before(end) {
			p.ExpiresAt = stop
		} else {
			p.ExpiresAt = end // the credential's end moves; this version's does not
		}
		proofs = append(proofs, p)
	}
	return forget(proofs, now)
}

// forget drops the oldest versions that have ended while there are too many.
func forget(proofs []credential.Proof, now time.Time) []credential.Proof {
	for i := len(proofs) - 1; i > 1 && len(proofs) > maxProofs; i-- {
		if !now.Before(proofs[i].ExpiresAt) {
			proofs = slices.Delete(proofs, i, i+1)
		}
	}
	return proofs
}

// Retire ends an old version now. NeedsForce if it was used within the last day, or the newest was never seen (R07).
// A version that has ended is left as it is. The only living version cannot be retired: Conflict.
func (a *Authority) Retire(ctx context.Context, c Caller, id string, proof int, force bool) (credential.Credential, error) {
	return retry(0, func() (credential.Credential, error) {
		rec, err := a.credential(ctx, c, "rotate", id)
		if err != nil {
			return credential.Credential{}, err
		}
		return a.retire(ctx, c, rec, proof, force)
	})
}

func (a *Authority) retire(ctx context.Context, c Caller, rec credential.Record, n int, force bool) (credential.Credential, error) {
	cred := rec.Credential
	if cred.State.Ended() {
		return cred, ended(&cred)
	}
	ch := a.begin(c)
	at := indexOf(cred.Proofs, n)
	if at < 0 {
		return cred, credential.Errorf(credential.NotFound, "the credential %s has no version %d", cred.ID, n)
	}
	alive := aliveProofs(&cred, ch.at)
	if indexOf(alive, n) < 0 {
		return cred, nil
	}
	if len(alive) == 1 {
		return cred, credential.Errorf(credential.Conflict, "version %d is the only one of the credential %s that is good: revoke the credential, or rotate it first", n, cred.ID)
	}
	if !force {
		if err := a.mayRetire(ctx, &cred, cred.Proofs[at], alive[0].N, ch.at); err != nil {
			return cred, err
		}
	}
	d := details{"version": fmt.Sprint(n)}
	d.set("version_expires_at", stamp(cred.Ends(&cred.Proofs[at])), stamp(ch.at))
	proofDetails(d, &cred.Proofs[at])
	cred.Proofs = slices.Clone(cred.Proofs)
	cred.Proofs[at].ExpiresAt = ch.at
	set := credential.SetProofs{ID: cred.ID, Version: cred.Version, Proofs: cred.Proofs, ExpiresAt: cred.ExpiresAt}
	ch.do(set, "credential.retire", aboutCredential(cred.ID, rec.Principal.Name), d)
	if err := a.commit(ctx, ch); err != nil {
		return rec.Credential, err
	}
	cred.Version++
	return cred, nil
}

// mayRetire asks whether somebody would be locked out; newest is the newest version that is good.
func (a *Authority) mayRetire(ctx context.Context, c *credential.Credential, p credential.Proof, newest int, now time.Time) error {
	if err := a.refuseIfUsed(ctx, c, []credential.Proof{p}, now, "insist with force"); err != nil {
		return err
	}
	if p.N == newest {
		return nil
	}
	used, err := a.usage(ctx, c.ID)
	if err != nil {
		return err
	}
	if _, seen := used[newest]; seen {
		return nil
	}
	return credential.Errorf(credential.NeedsForce,
		"version %d, the newest of the credential %s, was never used: whoever holds it may not have it yet; insist with force", newest, c.ID)
}

func indexOf(proofs []credential.Proof, n int) int {
	for i, p := range proofs {
		if p.N == n {
			return i
		}
	}
	return -1
}
