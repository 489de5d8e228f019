package authority

import (
	"context"

	"cardea/internal/credential"
)

// NewUser gives an application key to another user.
type NewUser struct {
	User       string // name or ID
	AllowAdmin bool   // the user is an administrator, and that is meant
}

// Moved is an application key with its new user.
type Moved struct {
	Credential    credential.Credential
	PrincipalName string
	Warnings      []string
}

// SetPrincipal gives an application key to another user: ThingWorx's SetUserName. The caller needs credentials:update on both
// and must have all that the key may with the new one (J26). It answers after this node's gate knows; sessions that were made
// with the key end. Errors: Invalid, NotFound, Conflict for other kinds or if it has ended, NoRight, Down.
func (a *Authority) SetPrincipal(ctx context.Context, c Caller, id string, n NewUser) (Moved, error) {
	return retry(0, func() (Moved, error) {
		rec, err := a.credential(ctx, c, "update", id)
		if err != nil {
			return Moved{}, err
		}
		if err := onlyAppKey(&rec.Credential); err != nil {
			return Moved{}, err
		}
		if rec.Credential.State.Ended() {
			return Moved{}, ended(&rec.Credential)
		}
		to, err := a.keyUser(ctx, c, n.User)
		if err != nil {
			return Moved{}, err
		}
		return a.setPrincipal(ctx, c, &rec, &to, n.AllowAdmin)
	})
}

// keyUser finds whom a key is to be given to. As at [wishes.authorize], a refusal tells nothing about an ID.
func (a *Authority) keyUser(ctx context.Context, c Caller, ref string) (credential.Principal, error) {
	var u credential.Principal
	found := false
	if plausibleRef(ref) {
		var err error
		u, err = a.store.Principal(ctx, c.Org, ref)
		if err != nil && !credential.IsNotFound(err) {
			return u, err
		}
		found = err == nil && u.DeletedAt.IsZero()
	}
	object := ref
	if found {
		object = u.Name
	}
	if a.Authorize(c, "credentials:update", "/credentials/"+object) != nil {
		return u, credential.Errorf(credential.NoRight, "the right credentials:update on %s is missing", quote("/credentials/"+ref))
	}
	var p credential.Problems
	switch {
	case ref == "":
		p.Add("principal", "is empty")
	case !found:
		p.Add("principal", "does not exist: %s", quote(ref))
	case u.Disabled:
		p.Add("principal", "is disabled: %s", u.Name)
	case !credential.AppKey.For(u.Kind):
		p.Add("principal", "is a %s: an application key is for a user", u.Kind)
	}
	return u, p.Err()
}

func (a *Authority) setPrincipal(ctx context.Context, c Caller, rec *credential.Record, to *credential.Principal, allowAdmin bool) (Moved, error) {
	m := Moved{Credential: rec.Credential, PrincipalName: to.Name}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return m, err
	}
	admin := b.administers(to.Roles)
	if err := a.mayMove(c, b, rec, to, admin && !allowAdmin); err != nil {
		return m, err
	}
	if admin {
		m.Warnings = append(m.Warnings, isAdministrator(to.Name))
	}
	if to.ID == rec.Principal.ID {
		return m, nil
	}
	ch := a.begin(c)
	ch.also(credential.Expect{Principal: to.ID, Version: to.Version})
	d := details{}
	d.set("principal", rec.Principal.Name, to.Name)
	if admin {
		d["admin"] = yesNo(true)
	}
	op := credential.SetPrincipal{ID: rec.Credential.ID, Version: rec.Credential.Version, Principal: to.ID}
	ch.do(op, "credential.update", aboutCredential(rec.Credential.ID, to.Name), d)
	if err := a.endSessions(ctx, ch, &rec.Credential, rec.Principal.Name, "its application key was given to another user"); err != nil {
		return m, err
	}
	more := map[crowd]int{}
	if b.rules(rec.Credential.Kind).MaxNumber > 0 {
		more[crowd{to.ID, to.Name, rec.Credential.Kind}] = 1
	}
	if err := a.commitWithRoom(ctx, ch, b, more); err != nil {
		return m, err
	}
	m.Credential.Principal = to.ID
	m.Credential.Version++
	return m, nil
}

// mayMove refuses what the new user may not have, or the caller not give.
func (a *Authority) mayMove(c Caller, b *book, rec *credential.Record, to *credential.Principal, unmeant bool) error {
	var p credential.Problems
	if unmeant {
		p.Add("allow_admin", "%s", needsAllowAdmin(to.Name))
	}
	if err := b.checkSubset(&p, rec.Credential.Kind, to, rec.Credential.Scopes); err != nil {
		return err
	}
	if err := p.Err(); err != nil {
		return err
	}
	if err := b.mayIssue(c, to.Roles, rec.Credential.Scopes); err != nil {
		return err
	}
	r := b.rules(rec.Credential.Kind)
	if !r.Approval || rec.Credential.State == credential.StatePending || a.approves(c, to.Name) {
		return nil
	}
	return credential.Errorf(credential.NoRight,
		"%s demands that somebody else approves whose the credential %s is: ask who has the right credentials:approve, or make a new one", r, rec.Credential.ID)
}
