package authority

import (
	"context"
	"slices"

	"cardea/internal/credential"
)

// isOwner reports whether a principal may everything in the organisation, and can now.
func (b *book) isOwner(p *credential.Principal) bool {
	return b.roles[credential.RoleOwner].BuiltIn && !p.Disabled && p.DeletedAt.IsZero() && slices.Contains(p.Roles, credential.RoleOwner)
}

// keepOwner refuses a change that would take the last owner from an organisation: nobody of it could put that right. now is what becomes
// of the principal; nil if it is deleted. Another owner is made an expectation of the change, so that of two who go at once one stays. An
// organisation that is disabled needs none: that is how one is taken down.
func (a *Authority) keepOwner(ctx context.Context, ch *change, b *book, old, now *credential.Principal) error {
	if b.org.Disabled || !b.isOwner(old) || now != nil && b.isOwner(now) {
		return nil
	}
	f := credential.PrincipalFilter{Org: old.Org, Role: credential.RoleOwner, Limit: maxLimit}
	for {
		page, next, err := a.store.Principals(ctx, f)
		if err != nil {
			return err
		}
		for i := range page {
			if other := &page[i]; other.ID != old.ID && b.isOwner(other) {
				ch.also(credential.Expect{Principal: other.ID, Version: other.Version})
				return nil
			}
		}
		if f.Cursor = next; next == "" {
			break
		}
	}
	return credential.Errorf(credential.Conflict, "%s is the last owner of the organisation %s: give somebody else the role %s first", old.Name, old.Org, credential.RoleOwner)
}
