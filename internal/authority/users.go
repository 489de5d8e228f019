package authority

import (
	"context"
	"crypto/rand"
	"strconv"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// Proven is the version of a user's password that a caller has shown to know.
type Proven struct {
	Credential string // ID
	Proof      int    // [credential.Proof.N]
}

// SetPassword gives a user a password, or another one. Who may do that can be that user, so the caller must have all that the
// user may (J26). What was made with the one before ends at once: its login sessions (R05, W03), and an invitation.
// Errors: Invalid, NotFound, NoRight, Conflict for the caller's own (see [Authority.ChangePassword]) and for a disabled user, Down.
func (a *Authority) SetPassword(ctx context.Context, c Caller, ref string, password secret.Text) (credential.Credential, error) {
	phc := ""
	return retry(0, func() (credential.Credential, error) {
		p, err := a.userToBecome(ctx, c, "password", ref)
		if err != nil {
			return credential.Credential{}, err
		}
		if phc == "" {
			if phc, err = hashPassword(ctx, &p, password); err != nil {
				return credential.Credential{}, err
			}
		}
		return a.storePassword(ctx, a.begin(c), &p, phc)
	})
}

// ChangePassword gives the caller, a user, another password. They must have proven the present one: a session that was left
// open is not enough. It ends what SetPassword ends, the caller's own session among them.
func (a *Authority) ChangePassword(ctx context.Context, c Caller, shown Proven, password secret.Text) (credential.Credential, error) {
	phc := ""
	return retry(0, func() (credential.Credential, error) {
		p, err := a.ownUser(ctx, c, "password", "/me/password")
		if err != nil {
			return credential.Credential{}, err
		}
		rec, err := a.store.Named(ctx, p.Org, credential.Password, p.Name)
		if err != nil && !credential.IsNotFound(err) {
			return credential.Credential{}, err
		}
		if err != nil || rec.Credential.ID != shown.Credential || rec.Credential.Proofs[0].N != shown.Proof {
			return credential.Credential{}, credential.Errorf(credential.Conflict, "the password was changed meanwhile: begin again")
		}
		if phc == "" {
			if phc, err = hashPassword(ctx, &p, password); err != nil {
				return credential.Credential{}, err
			}
		}
		return a.storePassword(ctx, a.begin(c), &p, phc)
	})
}

// RemovePassword takes a user's password away, with all login sessions. It is no error if there is none.
func (a *Authority) RemovePassword(ctx context.Context, c Caller, ref, reason string) error {
	_, err := retry(0, func() (none, error) {
		p, err := a.userAsked(ctx, c, "password", ref)
		if err != nil {
			return none{}, err
		}
		var bad credential.Problems
		checkReason(&bad, reason)
		if err := bad.Err(); err != nil {
			return none{}, err
		}
		ch := a.begin(c)
		ch.also(credential.PutSetting{Name: inviteSetting(p.ID)}) // who is to have no password is not to set one either
		rec, err := a.store.Named(ctx, p.Org, credential.Password, p.Name)
		if credential.IsNotFound(err) {
			return none{}, a.commit(ctx, ch)
		}
		if err != nil {
			return none{}, err
		}
		endCredential(ch, rec.Credential, p.Name, credential.StateDeleted, "credential.delete", reason)
		if err := a.endSessions(ctx, ch, &rec.Credential, p.Name, "the password was removed"); err != nil {
			return none{}, err
		}
		return none{}, a.commit(ctx, ch)
	})
	return err
}

// userAsked finds a living user and asks for a right of the noun users. Who may not read the principal does not learn that there is one.
func (a *Authority) userAsked(ctx context.Context, c Caller, verb, ref string) (credential.Principal, error) {
	hidden := notFound("user", ref)
	if !plausibleRef(ref) {
		return credential.Principal{}, hidden
	}
	p, err := a.store.Principal(ctx, c.Org, ref)
	if credential.IsNotFound(err) || err == nil && (p.Kind != credential.User || !p.DeletedAt.IsZero()) {
		return credential.Principal{}, hidden
	}
	if err != nil {
		return credential.Principal{}, err
	}
	if err := a.Authorize(c, "users:"+verb, "/users/"+p.Name); err != nil {
		if a.Authorize(c, "principals:read", "/principals/"+p.Name) == nil {
			return credential.Principal{}, err
		}
		return credential.Principal{}, hidden
	}
	return p, nil
}

// userToBecome is userAsked for what would let the caller be that user.
func (a *Authority) userToBecome(ctx context.Context, c Caller, verb, ref string) (credential.Principal, error) {
	p, err := a.userAsked(ctx, c, verb, ref)
	if err != nil {
		return p, err
	}
	switch {
	case !c.Local && c.Actor.Principal == p.Name:
		return p, credential.Errorf(credential.Conflict, "nobody resets their own password: change it with the present one, or ask another administrator")
	case p.Disabled:
		return p, credential.Errorf(credential.Conflict, "the user %s is disabled: enable them first", p.Name)
	}
	if err := a.checkClock(ctx); err != nil {
		return p, err
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return p, err
	}
	return p, b.mayIssue(c, p.Roles, nil)
}

// hashPassword checks a new password of a user and hashes it. No error holds it (K03).
func hashPassword(ctx context.Context, p *credential.Principal, password secret.Text) (string, error) {
	var bad credential.Problems
	text := password.Reveal()
	if secret.Looks(text) {
		bad.Add("password", "contains a token: take something that is no other credential")
	} else {
		secret.CheckPassword(&bad, "password", text, p.Name, p.Org)
	}
	if err := bad.Err(); err != nil {
		return "", err
	}
	text, err := secret.PreparePassword(text)
	if err != nil { // CheckPassword has refused it
		return "", &credential.Error{Kind: credential.Internal, Err: err}
	}
	return secret.HashPassword(ctx, text)
}

// storePassword commits that a user has the password of a hash, and no other one, and no invitation.
func (a *Authority) storePassword(ctx context.Context, ch *change, p *credential.Principal, phc string) (credential.Credential, error) {
	if err := a.checkClock(ctx); err != nil {
		return credential.Credential{}, err
	}
	pol, err := a.store.Policy(ctx)
	if err != nil {
		return credential.Credential{}, err
	}
	rules := pol.OfKind(p.Org, credential.Password)
	ch.also(
		credential.Expect{Principal: p.ID, Version: p.Version},
		credential.PutSetting{Name: inviteSetting(p.ID)},
	)
	rec, err := a.store.Named(ctx, p.Org, credential.Password, p.Name)
	var cred credential.Credential
	switch {
	case credential.IsNotFound(err):
		cred, err = a.firstPassword(ch, p, phc, &rules)
	case err == nil:
		cred, err = a.nextPassword(ctx, ch, &rec, phc, &rules)
	}
	if err != nil {
		return credential.Credential{}, err
	}
	return cred, a.commit(ctx, ch)
}

func (a *Authority) firstPassword(ch *change, p *credential.Principal, phc string, rules *credential.KindPolicy) (credential.Credential, error) {
	id, err := secret.NewID(secret.IDLen)
	if err != nil {
		return credential.Credential{}, err
	}
	cred := credential.Credential{
		ID: id, Org: p.Org, Kind: credential.Password, Principal: p.ID, Username: p.Name, State: credential.StateActive,
		CreatedAt: ch.at, CreatedBy: ch.caller.Actor.Principal, Version: 1,
	}
	passwordEnd(ch, &cred, rules)
	proof, err := a.passwordProof(id, 1, phc, ch)
	if err != nil {
		return credential.Credential{}, err
	}
	cred.Proofs = []credential.Proof{proof}
	d := createDetails(&cred)
	d.put("username", cred.Username)
	ch.do(credential.CreateCredential{Credential: cred}, "credential.create", aboutCredential(id, p.Name), d)
	return cred, nil
}

// nextPassword replaces the one before: of that nothing is kept.
func (a *Authority) nextPassword(ctx context.Context, ch *change, rec *credential.Record, phc string, rules *credential.KindPolicy) (credential.Credential, error) {
	cred := rec.Credential
	proof, err := a.passwordProof(cred.ID, cred.Proofs[0].N+1, phc, ch)
	if err != nil {
		return cred, err
	}
	was := cred.ExpiresAt
	passwordEnd(ch, &cred, rules)
	cred.Proofs = []credential.Proof{proof}
	d := details{"kind": string(cred.Kind), "version": strconv.Itoa(proof.N)}
	d.set("expires_at", stamp(was), stamp(cred.ExpiresAt))
	set := credential.SetProofs{ID: cred.ID, Version: cred.Version, Proofs: cred.Proofs, ExpiresAt: cred.ExpiresAt}
	ch.do(set, "credential.rotate", aboutCredential(cred.ID, rec.Principal.Name), d)
	cred.Version++
	return cred, a.endSessions(ctx, ch, &cred, rec.Principal.Name, "the password was changed")
}

// passwordEnd sets when a new password ends: by default never.
func passwordEnd(ch *change, cred *credential.Credential, rules *credential.KindPolicy) {
	life := rules.DefaultLifetime
	if rules.MaxLifetime > 0 && (life == 0 || life > rules.MaxLifetime) {
		life = rules.MaxLifetime
	}
	cred.ExpiresAt = time.Time{}
	if life > 0 {
		cred.ExpiresAt = ch.at.Add(life).Truncate(time.Microsecond)
	}
}

func (a *Authority) passwordProof(id string, n int, phc string, ch *change) (credential.Proof, error) {
	sealed, err := a.ring.Seal(credential.ProofSealedAs(id, n), []byte(phc))
	if err != nil {
		return credential.Proof{}, err
	}
	hash := make([]byte, 32)
	_, _ = rand.Read(hash) // never fails
	return credential.Proof{N: n, Hash: hash, Sealed: sealed, CreatedAt: ch.at}, nil
}
