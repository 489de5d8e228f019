package authority

import (
	"context"
	"io"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// adminTokenLife is how long a bootstrap token is good, if no user is made before.
const adminTokenLife = 24 * time.Hour

// AdminToken makes an API token of the principal "bootstrap", valid for 24 h or until the first user is made. Only for the local administrator.
func (a *Authority) AdminToken(ctx context.Context, c Caller) (secret.Text, time.Time, error) {
	if err := onlyLocal(c, "the bootstrap token"); err != nil {
		return secret.Text{}, time.Time{}, err
	}
	var is Issued
	err := a.store.Exclusive(ctx, firstUserLock, func(ctx context.Context) (err error) {
		is, err = retry(0, func() (Issued, error) { return a.adminToken(ctx, c) })
		return err
	})
	if err != nil {
		return secret.Text{}, time.Time{}, err
	}
	return is.Secret, is.Credential.ExpiresAt, nil
}

func (a *Authority) adminToken(ctx context.Context, c Caller) (Issued, error) {
	if err := a.checkClock(ctx); err != nil {
		return Issued{}, err
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return Issued{}, err
	}
	if b.org.Disabled {
		return Issued{}, credential.Errorf(credential.Conflict, "the organisation %s is disabled: enable it first", c.Org)
	}
	if !b.hasRole(credential.RoleAdmin) {
		return Issued{}, credential.Errorf(credential.Conflict, "the organisation %s has no role %s", c.Org, credential.RoleAdmin)
	}
	ch := a.begin(c)
	p, err := a.store.Principal(ctx, c.Org, NameBootstrap)
	switch {
	case credential.IsNotFound(err):
		p, err = newPrincipal(ch, NewPrincipal{
			Kind: credential.Service, Name: NameBootstrap, Roles: []string{credential.RoleAdmin},
			Description: "The administrator's first token is of this principal.",
		})
	case err == nil && p.Disabled:
		err = credential.Errorf(credential.Conflict, "the principal %s is disabled: enable it first", p.Name)
	case err == nil:
		ch.also(credential.Expect{Principal: p.ID, Version: p.Version})
	}
	if err != nil {
		return Issued{}, err
	}
	id, err := secret.NewID(secret.IDLen)
	if err != nil {
		return Issued{}, err
	}
	is, err := a.makeToken(ch, &draft{principal: p.Name, Credential: credential.Credential{
		ID: id, Org: p.Org, Kind: credential.APIKey, Principal: p.ID, Name: "admin token", State: credential.StateActive,
		ExpiresAt: ch.at.Add(adminTokenLife), CreatedAt: ch.at, CreatedBy: c.Actor.Principal, Version: 1,
	}})
	if err != nil {
		return Issued{}, err
	}
	return is, a.commit(ctx, ch)
}

// firstUserLock keeps a bootstrap token from being made between the moment at which those that the first user ends
// are counted and the one at which that user is there.
const firstUserLock = "first-user"

// beforeAnyUser runs fn, under the lock if there is no user yet.
func (a *Authority) beforeAnyUser(ctx context.Context, org string, fn func(context.Context) error) error {
	there, err := a.hasUsers(ctx, org)
	switch {
	case err != nil:
		return err
	case there:
		return fn(ctx)
	}
	return a.store.Exclusive(ctx, firstUserLock, fn)
}

func (a *Authority) hasUsers(ctx context.Context, org string) (bool, error) {
	users, _, err := a.store.Principals(ctx, credential.PrincipalFilter{Org: org, Kind: credential.User, Limit: 1})
	return len(users) > 0, err
}

// notBootstrap refuses to give the principal "bootstrap" anything that lasts: its tokens are those of AdminToken,
// good for a day or until the first user is made (W08).
func notBootstrap(principal string) error {
	if principal != NameBootstrap {
		return nil
	}
	return credential.Errorf(credential.NoRight,
		"the principal %s has only the tokens that 'cardea admin token' makes, and they cannot be made to last: make a user or a service", NameBootstrap)
}

// endBootstrap adds to a change that makes a user: if it is the first, all bootstrap tokens are revoked.
func (a *Authority) endBootstrap(ctx context.Context, ch *change) error {
	org := ch.caller.Org
	if there, err := a.hasUsers(ctx, org); err != nil || there {
		return err
	}
	p, err := a.store.Principal(ctx, org, NameBootstrap)
	if credential.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return a.eachCredential(ctx, credential.CredentialFilter{Org: org, Principal: p.ID}, func(l credential.Listed) error {
		if !l.State.Ended() {
			endCredential(ch, l.Credential, p.Name, credential.StateRevoked, "credential.revoke", "the first user was made")
		}
		return nil
	})
}

// Backup writes the plain content of a backup; who calls it encrypts. Only for the local administrator. The backup
// holds its own event.
func (a *Authority) Backup(ctx context.Context, c Caller, w io.Writer) error {
	if err := onlyInstallation(c, "a backup"); err != nil {
		return err
	}
	ch := a.begin(c)
	ch.do(nil, "system.backup", credential.Subject{Kind: "system", ID: "backup"}, nil)
	if err := a.commit(ctx, ch); err != nil {
		return err
	}
	return a.store.Dump(ctx, w)
}
